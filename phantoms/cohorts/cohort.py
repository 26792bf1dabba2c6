"""The description of a cohort: who is in it, and which effects are planted."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from .design import CohortError, Design
from .laws import DIAGNOSES, ICV_MEDIAN, LAWS

OLDEST = 110.0
"""Largest age at a later visit [years]."""
PATIENTS_FROM = 50.0
"""Youngest age of a cohort with patients [years]: the effects stand for late onset."""
Effect = float | Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class CohortSpec:
    """What a cohort is made of.

    Parameters
    ----------
    n_subjects : int
        Number of subjects.
    seed : int
        Seed; subject k depends on (seed, k) only, so adding subjects never changes earlier ones.
    age_range : tuple of float
        Youngest and oldest age [years] at the first visit, drawn uniformly; 18 to 95.
    male_fraction : float
        Probability of a male subject.
    age_effect, sex_effect, diagnosis_effect : float or dict
        Multiplier of the age (sex, diagnosis) term, for all regions or per region (others keep 1); the key
        ``lesions`` stands for white-matter lesions. Zero plants no effect.
    tissue_age_effect : float
        Multiplier of the age laws of the tissue parameters.
    volume_spread, tissue_spread, icv_spread, shape_spread : float
        Multipliers of the residual spreads, and of the 1.5 mm random deformation.
    prefix : str
        Start of the subject identifiers.
    diagnoses : dict
        Share of each diagnosis of `phantoms.cohorts.laws.DIAGNOSES`; the shares add up to 1.
    visits : tuple of float
        Years after the first visit, starting with 0.
    lesions : float
        Multiplier of the volume of white-matter lesions; 0 paints none.
    lesion_contrast : float
        Exponent of the lesions' contrast to white matter: 1 as in `phantoms.cohorts.lesions.CONTRAST`.
    texture : float
        Relative standard deviation of the fine texture of proton density; 0 = none.
    design : Design
        Sites and their confounding with age, sex and diagnosis.
    """

    n_subjects: int
    seed: int = 0
    age_range: tuple[float, float] = (20.0, 80.0)
    male_fraction: float = 0.5
    age_effect: Effect = 1.0
    sex_effect: Effect = 1.0
    diagnosis_effect: Effect = 1.0
    tissue_age_effect: float = 1.0
    volume_spread: float = 1.0
    tissue_spread: float = 1.0
    icv_spread: float = 1.0
    shape_spread: float = 1.0
    prefix: str = "sub-"
    diagnoses: Mapping[str, float] = field(default_factory=lambda: {"control": 1.0})
    visits: tuple[float, ...] = (0.0,)
    lesions: float = 0.0
    lesion_contrast: float = 1.0
    texture: float = 0.0
    design: Design = field(default_factory=Design)

    def __post_init__(self) -> None:
        object.__setattr__(self, "age_range", tuple(self.age_range))
        object.__setattr__(self, "visits", tuple(self.visits))
        if not (isinstance(self.n_subjects, int) and 1 <= self.n_subjects <= 100_000):
            raise CohortError(f"n_subjects must be 1..100000; got {self.n_subjects!r}.")
        if not (isinstance(self.seed, int) and self.seed >= 0):
            raise CohortError(f"seed must be an integer >= 0; got {self.seed!r}.")
        if len(self.age_range) != 2 or not 18 <= self.age_range[0] <= self.age_range[1] <= 95:
            raise CohortError(
                f"age_range must lie within 18..95 years, youngest first; got {self.age_range}."
            )
        if not 0 <= self.male_fraction <= 1:
            raise CohortError(f"male_fraction must be 0..1; got {self.male_fraction}.")
        if not (isinstance(self.prefix, str) and re.fullmatch(r"[A-Za-z0-9_-]{1,64}", self.prefix)):
            raise CohortError(
                f"prefix must be 1..64 letters, digits, '-' or '_' (it starts file names); "
                f"got {self.prefix!r}."
            )
        for key, top in _LIMITS.items():
            if not 0 <= getattr(self, key) <= top:
                raise CohortError(f"{key} must be 0..{top:g}; got {getattr(self, key)}.")
        for key in ("age_effect", "sex_effect", "diagnosis_effect", "tissue_age_effect"):
            self._check_effect(key)
        self._check_diagnoses()
        self._check_visits()
        # What the design cannot reach is refused here and not at the first draw.
        self.design.shares("sex", self.male_fraction)
        self.design.shares("diagnosis", self.patients)

    def _check_effect(self, key: str) -> None:
        effect = getattr(self, key)
        values = effect if isinstance(effect, Mapping) else {"": effect}
        for region, value in values.items():
            if region and region not in (*LAWS, "lesions"):
                raise CohortError(f"{key} must name regions of {sorted(LAWS)} or 'lesions'; got {region!r}.")
            if not (isinstance(value, int | float) and math.isfinite(value) and -3 <= value <= 3):
                raise CohortError(f"{key} must be -3..3; got {value}.")

    def _check_diagnoses(self) -> None:
        if unknown := set(self.diagnoses) - set(DIAGNOSES):
            raise CohortError(f"diagnoses must be of {sorted(DIAGNOSES)}; got {sorted(unknown)}.")
        shares = list(self.diagnoses.values())
        if not all(0 <= s <= 1 for s in shares) or abs(sum(shares) - 1) > 1e-6:
            raise CohortError(
                f"diagnoses must have shares 0..1 that add up to 1; got {dict(self.diagnoses)}."
            )
        if self.patients > 0 and self.age_range[0] < PATIENTS_FROM:
            raise CohortError(
                f"age_range must start at {PATIENTS_FROM:g} years or later in a cohort with patients; got "
                f"{self.age_range}. A patient's age would otherwise have to depend on the diagnosis."
            )

    def _check_visits(self) -> None:
        v = self.visits
        rising = all(b > a for a, b in pairwise(v))
        if not (1 <= len(v) <= 100 and v[0] == 0 and rising and self.age_range[1] + v[-1] <= OLDEST):
            raise CohortError(
                f"visits must be increasing years from 0, at most up to an age of {OLDEST:g}; got {v}."
            )

    @property
    def patients(self) -> float:
        """Share of subjects who are no controls."""
        return float(1.0 - self.diagnoses.get("control", 0.0))

    def effect(self, kind: Literal["age", "sex", "diagnosis"], region: str, site: int = 0) -> float:
        """Return the multiplier of the age, sex or diagnosis term of a region at a site."""
        if self.design.kind == "null":
            return 0.0
        effect = getattr(self, f"{kind}_effect")
        value = float(effect.get(region, 1.0) if isinstance(effect, Mapping) else effect)
        return value * self.design.age_factor(site) if kind == "age" else value

    def median_icv(self, sex: str) -> float:
        """Return the median intracranial volume [m^3]; with a null design that of both sexes."""
        if self.design.kind == "null":
            return math.sqrt(ICV_MEDIAN["F"] * ICV_MEDIAN["M"])
        return ICV_MEDIAN[sex]

    def expected(
        self, age: float, sex: str, icv: float, *, diagnosis: str = "control", site: int = 0
    ) -> dict[str, float]:
        """Return the planted law's volumes [m^3] without residuals, at severity 1."""
        change = DIAGNOSES[diagnosis].volumes
        return {
            region: law.median(
                age,
                sex,
                icv,
                age_effect=self.effect("age", region, site),
                sex_effect=self.effect("sex", region, site),
            )
            * math.exp(self.effect("diagnosis", region, site) * change.get(region, 0.0))
            for region, law in LAWS.items()
        }


_LIMITS = {
    **dict.fromkeys(("volume_spread", "tissue_spread", "icv_spread", "shape_spread"), 2.0),
    "lesions": 10.0,
    "lesion_contrast": 2.0,
    "texture": 0.1,
}

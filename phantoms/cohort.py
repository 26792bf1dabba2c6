"""Cohorts: age, sex, intracranial volume and the regional volumes and tissue parameters that follow.

The laws are our own simple forms. They agree in size with open statements of the literature and were checked
against published brain charts, whose tables are not part of this package:

* cortical grey matter shrinks by 0.35 %/y (Crivello 2014: 0.83 %/y at 65-82 y; Hedman 2012: whole brain
  0 to 0.5 %/y)
* cerebral white matter is largest at about 29 y and falls with the square of the distance from there
* ventricles grow by 2.2 %/y, about 0.3 mL/y in midlife
* hippocampus loses 0.4 %/y over the whole adult span (meta-analysis of healthy aging, older samples:
  0.85 %/y)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

REFERENCE_AGE = 30.0
REFERENCE_ICV = 1.525e-3
ICV_MEDIAN = {"F": 1.45e-3, "M": 1.60e-3}
"""Median intracranial volume [m^3] (rounded from published brain charts)."""
ICV_LOG_SD = 0.09
Z_LIMIT = 2.0
"""Residuals are drawn from a normal distribution truncated here, so that every anatomy can be reached."""


class CohortError(ValueError):
    """A cohort description is not usable."""


@dataclass(frozen=True, kw_only=True)
class VolumeLaw:
    """Median volume of a region: v30 (ICV/1525 mL)^gamma exp(sex/2 [M], -sex/2 [F] + age terms).

    Parameters
    ----------
    v30 : float
        Volume [m^3] at 30 y for an intracranial volume of 1525 mL, mean of both sexes.
    slope, curve : float
        Log change per year, and per year squared, relative to the age of 30 y.
    gamma : float
        Exponent of the intracranial volume.
    sex : float
        Log difference men - women at equal intracranial volume.
    spread : float
        Standard deviation of the log residual.
    """

    v30: float
    slope: float
    curve: float = 0.0
    gamma: float = 0.8
    sex: float = 0.0
    spread: float = 0.05

    def median(self, age: float, sex: str, icv: float, *, age_effect: float, sex_effect: float) -> float:
        """Return the median volume [m^3]; effects multiply the age and sex terms of the logarithm."""
        d = age - REFERENCE_AGE
        half = 0.5 * self.sex * (1 if sex == "M" else -1)
        body = self.gamma * math.log(icv / REFERENCE_ICV) + sex_effect * half
        return self.v30 * math.exp(body + age_effect * (self.slope * d + self.curve * d * d))


LAWS: dict[str, VolumeLaw] = {
    "cortical_gm": VolumeLaw(v30=537e-6, slope=-0.0035, gamma=0.8, sex=0.015, spread=0.05),
    "cerebral_wm": VolumeLaw(v30=476e-6, slope=-1e-4, curve=-4.5e-5, gamma=1.0, sex=0.02, spread=0.05),
    "ventricles": VolumeLaw(v30=14e-6, slope=0.022, gamma=0.9, sex=0.12, spread=0.30),
    "hippocampus": VolumeLaw(v30=9.2e-6, slope=-0.004, gamma=0.7, spread=0.07),
    "thalamus": VolumeLaw(v30=16.3e-6, slope=-0.004, gamma=0.7, spread=0.05),
    "caudate": VolumeLaw(v30=8.0e-6, slope=-0.003, gamma=0.7, spread=0.07),
    "putamen": VolumeLaw(v30=10.6e-6, slope=-0.0045, gamma=0.7, spread=0.06),
    "pallidum": VolumeLaw(v30=3.9e-6, slope=-0.003, gamma=0.7, spread=0.06),
    "amygdala": VolumeLaw(v30=3.9e-6, slope=-0.0025, gamma=0.7, spread=0.07),
    "cerebellum_gm": VolumeLaw(v30=103e-6, slope=-0.0026, gamma=0.7, spread=0.06),
    "cerebellum_wm": VolumeLaw(v30=28e-6, slope=-0.002, gamma=0.8, spread=0.06),
}
"""Law per region, both sides together. Sulcal fluid takes what the intracranial volume leaves; the brainstem
follows the intracranial volume and the random deformation."""

PARAMETER_SPREAD = {"t1": 0.03, "t2": 0.04, "pd": 0.012, "chi": 0.15}
"""Between-subject standard deviation of tissue parameters (modelling choice)."""
_GREY = ("gm", "cerebellar_gm", "hippocampus", "amygdala")
_WHITE = ("wm", "cerebellar_wm", "brainstem", "spinal_cord")
_DEEP = ("thalamus", "caudate", "putamen", "pallidum")
_IRON = {
    "pallidum": (21.41, 0.09, 0.37),
    "putamen": (14.62, 0.04, 0.46),
    "caudate": (9.66, 0.05, 0.33),
}
"""Iron a (1 - exp(-b age)) + c [mg/100 g], Hallgren & Sourander 1958 (quoted, source not opened)."""


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
        Youngest and oldest age [years], drawn uniformly; 18 to 95.
    male_fraction : float
        Probability of a male subject.
    age_effect, sex_effect : float or dict
        Multiplier of the age (sex) term, for all regions or per region (others keep 1). Zero plants no
        effect.
    tissue_age_effect : float
        Multiplier of the age laws of the tissue parameters.
    volume_spread, tissue_spread, icv_spread, shape_spread : float
        Multipliers of the residual spreads, and of the 1.5 mm random deformation.
    prefix : str
        Start of the subject identifiers.
    """

    n_subjects: int
    seed: int = 0
    age_range: tuple[float, float] = (20.0, 80.0)
    male_fraction: float = 0.5
    age_effect: float | Mapping[str, float] = 1.0
    sex_effect: float | Mapping[str, float] = 1.0
    tissue_age_effect: float = 1.0
    volume_spread: float = 1.0
    tissue_spread: float = 1.0
    icv_spread: float = 1.0
    shape_spread: float = 1.0
    prefix: str = "sub-"

    def __post_init__(self) -> None:
        if not (isinstance(self.n_subjects, int) and 1 <= self.n_subjects <= 100_000):
            raise CohortError(f"n_subjects must be 1..100000; got {self.n_subjects!r}.")
        if not (isinstance(self.seed, int) and self.seed >= 0):
            raise CohortError(f"seed must be an integer >= 0; got {self.seed!r}.")
        low, high = self.age_range
        if not 18 <= low <= high <= 95:
            raise CohortError(f"age_range must lie within 18..95 years; got {self.age_range}.")
        if not 0 <= self.male_fraction <= 1:
            raise CohortError(f"male_fraction must be 0..1; got {self.male_fraction}.")
        for key in ("volume_spread", "tissue_spread", "icv_spread", "shape_spread"):
            if not 0 <= getattr(self, key) <= 2:
                raise CohortError(f"{key} must be 0..2; got {getattr(self, key)}.")
        for key in ("age_effect", "sex_effect", "tissue_age_effect"):
            self._check_effect(key)

    def _check_effect(self, key: str) -> None:
        effect = getattr(self, key)
        values = effect if isinstance(effect, Mapping) else {"": effect}
        for region, value in values.items():
            if region and region not in LAWS:
                raise CohortError(f"{key} must name regions of {sorted(LAWS)}; got {region!r}.")
            if not (math.isfinite(value) and -3 <= value <= 3):
                raise CohortError(f"{key} must be -3..3; got {value}.")

    def effect(self, kind: Literal["age", "sex"], region: str) -> float:
        """Return the multiplier of the age or sex term of a region."""
        effect = self.age_effect if kind == "age" else self.sex_effect
        return float(effect.get(region, 1.0) if isinstance(effect, Mapping) else effect)

    def expected(self, age: float, sex: str, icv: float) -> dict[str, float]:
        """Return the planted law's volumes [m^3] without residuals."""
        return {
            region: law.median(
                age, sex, icv, age_effect=self.effect("age", region), sex_effect=self.effect("sex", region)
            )
            for region, law in LAWS.items()
        }


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One drawn subject.

    Parameters
    ----------
    id : str
        Identifier, e.g. ``sub-0001``.
    index, seed : int
        Key of the subject's random streams.
    age : float
        Age [years].
    sex : {"F", "M"}
        Sex.
    icv : float
        Intracranial volume [m^3].
    volumes : dict
        Target volume [m^3] per region.
    expected : dict
        The planted law's volume [m^3] per region at this age, sex and intracranial volume, without residual.
    scale : dict
        Multipliers per tissue and parameter, as in `Phantom.scale`.
    shape_sigma : float
        Strength of the random deformation [m].
    """

    id: str
    index: int
    seed: int
    age: float
    sex: Literal["F", "M"]
    icv: float
    volumes: dict[str, float]
    expected: dict[str, float]
    scale: dict[str, dict[str, float]] = field(default_factory=dict)
    shape_sigma: float = 1.5e-3

    def rng(self, stream: int) -> np.random.Generator:
        """Return the subject's own generator: 0 draws the description, 1 the shape."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(self.index, stream)))

    def row(self) -> dict[str, Any]:
        """Return a flat table row: participant_id, age, sex, icv_ml and one target volume [mL] per region."""
        volumes = {f"{k}_ml": v * 1e6 for k, v in self.volumes.items()}
        return {
            "participant_id": self.id,
            "age": self.age,
            "sex": self.sex,
            "icv_ml": self.icv * 1e6,
            **volumes,
        }


def sample_cohort(spec: CohortSpec) -> tuple[Subject, ...]:
    """Draw the subjects of a cohort.

    Parameters
    ----------
    spec : CohortSpec
        Description.

    Returns
    -------
    tuple of Subject
        The subjects, in order.
    """
    return tuple(_draw(spec, k) for k in range(spec.n_subjects))


def _truncated(rng: np.random.Generator) -> float:
    while True:
        z = float(rng.standard_normal())
        if abs(z) <= Z_LIMIT:
            return z


def _draw(spec: CohortSpec, index: int) -> Subject:
    rng = np.random.default_rng(np.random.SeedSequence(spec.seed, spawn_key=(index, 0)))
    # Ages are rounded to what a participants table shows, so that table and truth are the same number.
    age = round(float(rng.uniform(*spec.age_range)), 1)
    sex: Literal["F", "M"] = "M" if rng.random() < spec.male_fraction else "F"
    icv = ICV_MEDIAN[sex] * math.exp(spec.icv_spread * ICV_LOG_SD * _truncated(rng))
    expected = spec.expected(age, sex, icv)
    volumes = {
        region: median * math.exp(spec.volume_spread * LAWS[region].spread * _truncated(rng))
        for region, median in expected.items()
    }
    return Subject(
        id=f"{spec.prefix}{index + 1:04d}",
        index=index,
        seed=spec.seed,
        age=age,
        sex=sex,
        icv=icv,
        volumes=volumes,
        expected=expected,
        scale=tissue_scale(age, rng, age_effect=spec.tissue_age_effect, spread=spec.tissue_spread),
        shape_sigma=1.5e-3 * spec.shape_spread,
    )


def tissue_scale(
    age: float, rng: np.random.Generator, *, age_effect: float = 1.0, spread: float = 1.0
) -> dict[str, dict[str, float]]:
    """Return multipliers of tissue parameters for a subject.

    Age laws (small, because published signs disagree between regions): white matter T1 rises with the square
    of the distance from 40 y (+1.1 % at 70 y), its T2 by 0.1 %/y after 50 y; cortical T1 falls by 0.04 %/y
    from 40 y; the susceptibility of the basal ganglia follows their iron, relative to 40 y, and T2' its
    inverse. White matter, grey matter and deep nuclei share one residual per parameter and class.

    Parameters
    ----------
    age : float
        Age [years].
    rng : Generator
        Source of the residuals.
    age_effect, spread : float
        Multipliers of the age laws and of the residuals.

    Returns
    -------
    dict
        Multipliers per tissue.
    """
    out: dict[str, dict[str, float]] = {}
    d = age - 40.0
    for tissues in (_GREY, _WHITE, _DEEP):
        residual = {k: math.exp(spread * sd * _truncated(rng)) for k, sd in PARAMETER_SPREAD.items()}
        for name in tissues:
            factors = dict(residual)
            if name in _WHITE:
                factors["t1"] *= 1.0 + age_effect * 1.2e-5 * d * d
                factors["t2"] *= 1.0 + age_effect * 1e-3 * max(age - 50.0, 0.0)
            elif name in _GREY:
                factors["t1"] *= 1.0 - age_effect * 4e-4 * d
            if name in _IRON:
                a, b, c = _IRON[name]
                ratio = (a * (1 - math.exp(-b * age)) + c) / (a * (1 - math.exp(-b * 40.0)) + c)
                factors["chi"] *= ratio**age_effect
                factors["t2_prime"] = ratio**-age_effect
            out[name] = factors
    return out

"""The people of a cohort: drawn from its description, each with streams of random numbers of their own."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np

from .cohort import CohortSpec
from .laws import DIAGNOSES, ICV_LOG_SD, LAWS, LESION_SPREAD, SEVERITY_SD, TRUNCATED_SD, lesion_volume
from .tissue_laws import tissue_scale, truncated_normal


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One drawn subject at one visit.

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
        The planted law's volume [m^3] per region at this age, sex, intracranial volume and diagnosis, without
        residual.
    scale : dict
        Multipliers per tissue and parameter, as in `Phantom.scale`.
    shape_sigma : float
        Strength of the random deformation [m].
    diagnosis : str
        Key of `phantoms.cohorts.laws.DIAGNOSES`.
    severity : float
        Multiplier of the diagnosis' logarithmic effects, 1 for controls.
    sites : tuple of str
        Where the subject is seen.
    visit : int
        Number of the visit, from 0.
    years : float
        Time since the first visit.
    lesion_volume : float
        Volume of white-matter lesions [m^3].
    lesion_contrast, texture, tissue_age_effect : float
        As in `CohortSpec`.
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
    diagnosis: str = "control"
    severity: float = 1.0
    sites: tuple[str, ...] = ()
    visit: int = 0
    years: float = 0.0
    lesion_volume: float = 0.0
    lesion_contrast: float = 1.0
    texture: float = 0.0
    tissue_age_effect: float = 1.0

    def rng(self, stream: int) -> np.random.Generator:
        """Return the subject's own generator: 0 draws the description, 1 shape, 3 lesions, 4 texture."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(self.index, stream)))

    def row(self) -> dict[str, Any]:
        """Return a flat table row: participant_id, age, sex, icv_ml, target volumes [mL] and the rest."""
        volumes = {f"{k}_ml": v * 1e6 for k, v in self.volumes.items()}
        return {
            "participant_id": self.id,
            "age": self.age,
            "sex": self.sex,
            "icv_ml": self.icv * 1e6,
            **volumes,
            "diagnosis": self.diagnosis,
            "site": ",".join(self.sites),
            "visit": self.visit,
            "years": self.years,
            "lesions_ml": self.lesion_volume * 1e6,
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
        One per subject and visit: by subject, then by visit.
    """
    return tuple(visit for k in range(spec.n_subjects) for visit in _draw(spec, k))


def _draw(spec: CohortSpec, index: int) -> list[Subject]:
    rng = np.random.default_rng(np.random.SeedSequence(spec.seed, spawn_key=(index, 0)))
    site = spec.design.site_of(index)
    window = spec.design.age_window(site, *spec.age_range)
    # Ages are rounded to what a participants table shows, so that table and truth are the same number.
    age = round(float(rng.uniform(*window)), 1)
    male = float(spec.design.shares("sex", spec.male_fraction)[site])
    sex: Literal["F", "M"] = "M" if rng.random() < male else "F"
    icv = spec.median_icv(sex) * math.exp(spec.icv_spread * ICV_LOG_SD * truncated_normal(rng))
    residual = {r: spec.volume_spread * law.spread * truncated_normal(rng) for r, law in LAWS.items()}
    diagnosis, severity, load = _condition(spec, index, site)
    everywhere = spec.design.kind == "traveling"
    first = Subject(
        id=f"{spec.prefix}{index + 1:04d}",
        index=index,
        seed=spec.seed,
        age=age,
        sex=sex,
        icv=icv,
        volumes={},
        expected={},
        shape_sigma=1.5e-3 * spec.shape_spread,
        diagnosis=diagnosis,
        severity=severity,
        sites=spec.design.sites if everywhere else (spec.design.sites[site],),
        lesion_contrast=spec.lesion_contrast,
        texture=spec.texture,
        tissue_age_effect=max(0.0, spec.tissue_age_effect) if spec.design.kind != "null" else 0.0,
    )
    state = rng.bit_generator.state
    out = []
    for visit, years in enumerate(spec.visits):
        rng.bit_generator.state = state  # the same person has the same residuals at every visit
        out.append(_at_visit(spec, first, visit, years, site, residual, load, rng))
    return out


def _condition(spec: CohortSpec, index: int, site: int) -> tuple[str, float, float]:
    """Draw diagnosis, severity and the log residual of the lesion load, from a stream of their own."""
    rng = np.random.default_rng(np.random.SeedSequence(spec.seed, spawn_key=(index, 2)))
    chance, kind, z, load = rng.random(), rng.random(), truncated_normal(rng), truncated_normal(rng)
    diagnosis, severity = "control", 1.0
    if chance < float(spec.design.shares("diagnosis", spec.patients)[site]):
        names = [d for d in spec.diagnoses if d != "control" and spec.diagnoses[d] > 0]
        steps = np.cumsum([spec.diagnoses[d] for d in names])
        diagnosis = names[min(int(np.searchsorted(steps, kind * steps[-1], "right")), len(names) - 1)]
        severity = 1.0 + SEVERITY_SD * z
    return diagnosis, severity, spec.volume_spread * LESION_SPREAD * load


def _at_visit(
    spec: CohortSpec, first: Subject, visit: int, years: float, site: int, residual: dict[str, float],
    load: float, rng: np.random.Generator,
) -> Subject:  # fmt: skip
    """Return the subject some years later: the law moves on, a disease adds its rates, residuals stay."""
    age = round(first.age + years, 2)
    disease = DIAGNOSES[first.diagnosis]
    expected = spec.expected(age, first.sex, first.icv, diagnosis=first.diagnosis, site=site)
    volumes = {}
    for region in LAWS:
        planted = spec.effect("diagnosis", region, site)
        change = planted * disease.volumes.get(region, 0.0)
        progress = planted * disease.rates.get(region, 0.0) * years
        expected[region] *= math.exp(progress)
        more = (first.severity - 1.0) * (change + progress)
        volumes[region] = expected[region] * math.exp(residual[region] + more)
    factor = math.exp(spec.effect("diagnosis", "lesions", site) * math.log(disease.lesions) * first.severity)
    lesions = spec.lesions * factor * math.exp(load)
    if lesions > 0:
        effects = {f"{k}_effect": spec.effect(k, "lesions", site) for k in ("age", "sex")}
        lesions *= lesion_volume(age, first.sex, **effects)
    tissue_age = 0.0 if spec.design.kind == "null" else spec.tissue_age_effect
    return replace(
        first, age=age, visit=visit, years=years, volumes=volumes, expected=expected, lesion_volume=lesions,
        scale=tissue_scale(age, rng, age_effect=tissue_age, spread=spec.tissue_spread),
    )  # fmt: skip


def planted_effects(spec: CohortSpec) -> dict[str, Any]:
    """Return what the cohort's description plants, in numbers that an analysis can be held against.

    Per region: log change per year at 50 y of the age term at every site, log difference men - women at
    equal head size, log ratio and Cohen's d (in units of the residual's standard deviation) of every
    diagnosis, its further log change per year, exponent of the intracranial volume and residual standard
    deviation. JSON-able.
    """
    sites = range(len(spec.design.sites))
    regions: dict[str, Any] = {}
    for region, law in LAWS.items():
        sd = spec.volume_spread * law.spread * TRUNCATED_SD
        planted = spec.effect("diagnosis", region)
        ratio = {d: planted * DIAGNOSES[d].volumes.get(region, 0.0) for d in spec.diagnoses}
        slope = law.age_term(50.5) - law.age_term(49.5)
        regions[region] = {
            "age_log_per_year": [spec.effect("age", region, k) * slope for k in sites],
            "sex_log": spec.effect("sex", region) * law.sex,
            "icv_exponent": law.gamma,
            "residual_log_sd": sd,
            "diagnosis_log": ratio,
            "diagnosis_d": {d: v / sd if sd > 0 else None for d, v in ratio.items()},
            "rate_log_per_year": {d: planted * DIAGNOSES[d].rates.get(region, 0.0) for d in spec.diagnoses},
        }
    return {
        "design": asdict(spec.design),
        "age_windows": [list(spec.design.age_window(k, *spec.age_range)) for k in sites],
        "male_share": spec.design.shares("sex", spec.male_fraction).tolist(),
        "patient_share": spec.design.shares("diagnosis", spec.patients).tolist(),
        "severity_sd": SEVERITY_SD * TRUNCATED_SD,
        "regions": regions,
    }

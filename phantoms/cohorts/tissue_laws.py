"""How tissue parameters differ between people: age, iron, and a residual of each person."""

from __future__ import annotations

import math

import numpy as np

from .laws import Z_LIMIT

GREY = ("gm", "cerebellar_gm", "hippocampus", "amygdala")
WHITE = ("wm", "cerebellar_wm", "brainstem", "spinal_cord")
DEEP = (
    "thalamus",
    "caudate",
    "putamen",
    "pallidum",
    "accumbens",
    "red_nucleus",
    "substantia_nigra",
    "dentate",
)
PARAMETER_SPREAD = {
    GREY: {"t1": 0.07, "t2": 0.04, "pd": 0.014, "chi": 0.15},
    WHITE: {"t1": 0.04, "t2": 0.04, "pd": 0.025, "chi": 0.15},
    DEEP: {"t1": 0.07, "t2": 0.04, "pd": 0.014, "chi": 0.15},
}
"""Between-subject standard deviation of tissue parameters, relative, before truncation.

T1 from the in vivo part of the RRSG challenge (rrsg2020/analysis, 56 data sets at 3 T: genu 828 +- 38 ms,
cortex 1548 +- 156 ms), rounded down because that spread includes scanners and fits; PD from the water
content of white (69.1 +- 1.7 %) and grey matter (83.7 +- 1.2 %), 10.3389/fneur.2019.01333; T2 and
susceptibility are choices."""
REFERENCE_AGE = 40.0
"""Age [years] for which the tissue table stands."""
IRON = {
    "pallidum": (21.41, 0.09, 0.37),
    "putamen": (14.62, 0.04, 0.46),
    "caudate": (9.66, 0.05, 0.33),
    "gm": (3.0, 0.04, 0.33),
}
"""Iron a (1 - exp(-b age)) + c [mg/100 g], Hallgren & Sourander 1958 (quoted, source not opened)."""
_LIPID = 0.15 / 5.7


def iron(tissue: str, age: float) -> float:
    """Return the iron of a tissue [mass fraction] at an age [years]."""
    a, b, c = IRON[tissue]
    return (a * (1.0 - math.exp(-b * age)) + c) * 1e-5


def iron_r2(content: float, b0: float = 3.0) -> float:
    """Return R2 [1/s] = 9 + (0.9 + 2e4 [Fe] + 5.7 [lipid]) B0 (van Gelderen) with 0.15/5.7 of lipid."""
    return 9.0 + (0.9 + 2e4 * content + 5.7 * _LIPID) * b0


def age_factors(tissue: str, age: float, age_effect: float = 1.0) -> dict[str, float]:
    """Return the multipliers that age brings, relative to the table.

    White matter: T1 x (1 + 1.2e-5 (age-40)^2), T2 +0.1 %/y after 50 y. Cortex: T1 -0.04 %/y from 40 y (both
    small, because published signs disagree between regions). Iron: T2 by `iron_r2` at 3 T; susceptibility in
    proportion to the iron of the basal ganglia; T2' inversely. White matter: diffusivity +0.2 %/y after 50 y
    (the sign is published; the size is a choice).
    """
    d = age - REFERENCE_AGE
    late = max(age - 50.0, 0.0)
    out: dict[str, float] = {}
    if tissue in WHITE:
        out["t1"] = 1.0 + age_effect * 1.2e-5 * d * d
        out["t2"] = 1.0 + age_effect * 1e-3 * late
        out["adc"] = 1.0 + age_effect * 2e-3 * late
    elif tissue in GREY:
        out["t1"] = 1.0 - age_effect * 4e-4 * d
    source = "gm" if tissue in GREY else tissue
    if source in IRON:
        now, then = iron(source, age), iron(source, REFERENCE_AGE)
        ratio = (now / then) ** age_effect
        out["t2"] = out.get("t2", 1.0) * (iron_r2(then) / iron_r2(now)) ** age_effect
        if source != "gm":  # of the cortex iron is only a part
            out["chi"] = ratio
            out["t2_prime"] = 1.0 / ratio
    return out


def tissue_scale(
    age: float, rng: np.random.Generator, *, age_effect: float = 1.0, spread: float = 1.0
) -> dict[str, dict[str, float]]:
    """Return multipliers of tissue parameters for a subject: `age_factors` times residuals.

    White matter, grey matter and deep nuclei share one residual per parameter and class; T2' goes with the
    inverse of the susceptibility.

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
    for tissues, spreads in PARAMETER_SPREAD.items():
        residual = {k: math.exp(spread * sd * truncated_normal(rng)) for k, sd in spreads.items()}
        residual["t2_prime"] = 1.0 / residual["chi"]
        for name in tissues:
            factors = dict(residual)
            for key, factor in age_factors(name, age, age_effect).items():
                factors[key] = factors.get(key, 1.0) * factor
            out[name] = factors
    return out


def truncated_normal(rng: np.random.Generator) -> float:
    """Return a standard normal number within +-`Z_LIMIT`."""
    while True:
        z = float(rng.standard_normal())
        if abs(z) <= Z_LIMIT:
            return z

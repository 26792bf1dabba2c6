"""Laws of adult anatomy: volumes over age, sex and head size, lesions, and what dementia changes.

The laws are our own simple forms. Open statements differ among themselves by factors of two to three, with
longitudinal rates above cross-sectional ones; the laws lie between them, and their medians from 20 to 90 y
were held against published brain charts, whose tables are not part of this package (largest deviation 4 %):

* whole brain: 0 %/y at 18-35 y, 0.2 at 35 y, 0.5 from 60 y on (Hedman 2012, 56 longitudinal studies); laws:
  cortex and white matter 0.2 %/y at 25-35 y, 0.3 at 60 y, 0.4 at 80 y; white matter is largest at about 29 y
* cortex -0.7 mL/y, ventricles +0.3 mL/y at 21-70 y (73 men), grey matter -0.83 %/y at 65-82 y (Crivello
  2014); laws: -1.8 mL/y, +0.4 mL/y, -0.3 %/y
* hippocampus -0.85 %/y in healthy older samples (Fraser 2015); law: -0.4 %/y over the whole adult span
* white-matter lesions grow from 43 y on, exponentially, and are larger in women; size and slope are choices

Effects of Alzheimer's disease: hippocampus x0.77 (Shi 2009: -24.2 and -23.1 %), the others are modelling
choices of that size; mild cognitive impairment is half of it in the logarithm (-12 %, as in Shi 2009).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

REFERENCE_AGE = 30.0
REFERENCE_ICV = 1.525e-3
ICV_MEDIAN = {"F": 1.45e-3, "M": 1.60e-3}
"""Median intracranial volume [m^3] (rounded from published brain charts)."""
ICV_LOG_SD = 0.09
Z_LIMIT = 2.0
"""Residuals are drawn from a normal distribution truncated here, so that every anatomy can be reached."""
TRUNCATED_SD = 0.8796256610342398
"""Standard deviation of a standard normal variable truncated at +-2: sqrt(1 - 4 phi(2) / (2 Phi(2) - 1))."""


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
        Standard deviation of the log residual before its truncation at `Z_LIMIT`.
    """

    v30: float
    slope: float
    curve: float = 0.0
    gamma: float = 0.8
    sex: float = 0.0
    spread: float = 0.05

    def median(self, age: float, sex: str, icv: float, *, age_effect: float, sex_effect: float) -> float:
        """Return the median volume [m^3]; effects multiply the age and sex terms of the logarithm."""
        half = 0.5 * self.sex * (1 if sex == "M" else -1)
        body = self.gamma * math.log(icv / REFERENCE_ICV) + sex_effect * half
        return self.v30 * math.exp(body + age_effect * self.age_term(age))

    def age_term(self, age: float) -> float:
        """Return the logarithm of the median relative to that at 30 y."""
        d = age - REFERENCE_AGE
        return self.slope * d + self.curve * d * d


LAWS: dict[str, VolumeLaw] = {
    "cortical_gm": VolumeLaw(v30=539e-6, slope=-0.0040, curve=1e-5, gamma=0.8, sex=0.015, spread=0.05),
    "cerebral_wm": VolumeLaw(v30=476e-6, slope=-1e-4, curve=-4.5e-5, gamma=1.0, sex=0.02, spread=0.05),
    "ventricles": VolumeLaw(v30=14.5e-6, slope=0.0208, curve=3.5e-5, gamma=0.9, sex=0.12, spread=0.35),
    "hippocampus": VolumeLaw(v30=9.2e-6, slope=-0.004, gamma=0.7, spread=0.07),
    "thalamus": VolumeLaw(v30=16.3e-6, slope=-0.004, gamma=0.7, spread=0.05),
    "caudate": VolumeLaw(v30=8.0e-6, slope=-0.003, gamma=0.7, spread=0.07),
    "putamen": VolumeLaw(v30=10.6e-6, slope=-0.0045, gamma=0.7, spread=0.06),
    "pallidum": VolumeLaw(v30=3.9e-6, slope=-0.003, gamma=0.7, spread=0.06),
    "amygdala": VolumeLaw(v30=3.9e-6, slope=-0.0025, gamma=0.7, spread=0.07),
    "cerebellum_gm": VolumeLaw(v30=113.5e-6, slope=-0.0026, gamma=0.7, spread=0.06),
    "cerebellum_wm": VolumeLaw(v30=28e-6, slope=-0.002, gamma=0.8, spread=0.06),
}
"""Law per region, both sides together. Sulcal fluid takes what the intracranial volume leaves; the brainstem
and other small structures follow the intracranial volume and the random deformation."""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What a diagnosis adds to the laws, at severity 1.

    Parameters
    ----------
    volumes : dict
        Log ratio to a control of the same age, sex and head size, per region.
    rates : dict
        Further log change per year between visits, beyond normal ageing.
    lesions : float
        Factor of the lesion load.
    """

    volumes: dict[str, float] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)
    lesions: float = 1.0


_AD_VOLUMES = {
    "hippocampus": math.log(0.77),
    "amygdala": math.log(0.80),
    "cortical_gm": math.log(0.94),
    "ventricles": math.log(1.45),
}
_AD_RATES = {"hippocampus": -0.030, "amygdala": -0.020, "cortical_gm": -0.010, "ventricles": 0.057}
_MCI_RATES = {"hippocampus": -0.0175, "amygdala": -0.012, "cortical_gm": -0.005, "ventricles": 0.025}
DIAGNOSES: dict[str, Diagnosis] = {
    "control": Diagnosis(),
    "mci": Diagnosis(
        volumes={k: 0.5 * v for k, v in _AD_VOLUMES.items()}, rates=_MCI_RATES, lesions=math.sqrt(2.0)
    ),
    "ad": Diagnosis(volumes=_AD_VOLUMES, rates=_AD_RATES, lesions=2.0),
    "wml": Diagnosis(lesions=4.0),
}
"""Diagnoses: control, mild cognitive impairment, Alzheimer's disease, and a high load of lesions.

Rates are the differences to controls of the ADNI rates in PMC3032014, table 3 (hippocampus -4.0 and -1.0 %/y,
ventricles +9.9 and +4.2 %/y; MCI: mean of the stable and the converting group); amygdala and cortex are
modelling choices. The factor of `wml` is a choice."""
SEVERITY_SD = 0.3
"""Spread of a patient's severity about 1, truncated at `Z_LIMIT` (a modelling choice)."""

LESION_ONSET = 43.0
LESION_SPREAD = 1.0
LESION_SLOPE = 0.058


def lesion_volume(age: float, sex: str, *, age_effect: float = 1.0, sex_effect: float = 1.0) -> float:
    """Return the median volume of white-matter lesions [m^3] of a control.

    0.7 mL exp(0.058 (age - 50)), constant below the onset at 43 y, times 1.1 in women (sqrt(1.1) either way).
    """
    years = max(age, LESION_ONSET) - 50.0
    half = 0.5 * math.log(1.1) * (1 if sex == "F" else -1)
    return 0.7e-6 * math.exp(age_effect * LESION_SLOPE * years + sex_effect * half)

"""Intervals over subjects for the dissection, and weights that let features of different units be pooled."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .bootstrap import jackknife_ci
from .dissection import Design, dissect
from .inputs import FloatArray, MetricInputError

ANSWERS = (
    "fixed",
    "left",
    "destroyed",
    "invented",
    "residue_removed",
    "confounded",
    "gap_closed",
    "biology_lost_share",
)


def feature_weights(truth: npt.ArrayLike, subject: npt.ArrayLike) -> FloatArray:
    """Return 1 / variance of every feature over subjects (0 where it does not vary): weights for `pooled`."""
    values = np.asarray(truth, dtype=np.float64)
    first = np.unique(np.asarray(subject), return_index=True)[1]
    variance = values[first].var(axis=0)
    return np.asarray(np.divide(1.0, variance, out=np.zeros_like(variance), where=variance > 0.0))


def dissection_intervals(
    raw: npt.ArrayLike,
    harmonized: npt.ArrayLike,
    truth: npt.ArrayLike,
    *,
    site: npt.ArrayLike,
    subject: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    weights: npt.ArrayLike | None = None,
    design: Design = "auto",
    level: float = 0.95,
) -> dict[str, tuple[float, float, float]]:
    """Return (estimate, low, high) of every answer of `Dissection.pooled`.

    Intervals are jackknife intervals over subjects: a bootstrap draws subjects twice, which makes people
    more alike and site means noisier, and so shifts the very shares in question. Parameters are those of
    `dissect` and `Dissection.pooled`. The limits are nan where leaving out some subject leaves nothing to
    dissect.
    """
    whole = dissect(raw, harmonized, truth, site=site, subject=subject, groups=groups, design=design)
    fixed: Design = "crossed" if whole.design == "crossed" else "nested"

    def statistic(*arrays: npt.NDArray[Any]) -> FloatArray:
        r, h, t, place, person = arrays
        try:
            part = dissect(r, h, t, site=place, subject=person, groups=groups, design=fixed)
        except MetricInputError:
            return np.full(len(ANSWERS), np.nan)
        answer = part.pooled(weights=weights)
        return np.array([answer[name] for name in ANSWERS])

    interval = jackknife_ci(statistic, raw, harmonized, truth, site, subject, clusters=subject, level=level)
    rows = zip(interval.estimate, interval.low, interval.high, strict=True)
    return {name: (float(e), float(a), float(b)) for name, (e, a, b) in zip(ANSWERS, rows, strict=True)}

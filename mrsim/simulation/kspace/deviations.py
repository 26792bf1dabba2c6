"""Small deviations of the played path from the demanded one, as phases that the object's places turn by.

Maxwell terms, and what delays and eddy currents change in k, leave the tensor grid of a Cartesian scan as it
is: they join the modulation (`modulation`), with seven maps over the object: the four of the Maxwell terms
and the three coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .path import Readouts
from .played import MAXWELL

TERMS = 7
_SAME = 0.04
"""Share of the tolerance [cycles] below which the phases of two courses count as equal."""
_SMALL = 1.0
"""Cycles across the object up to which a deviation of k is a modulation; beyond it k itself is used."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Deviations:
    """Deviations of all readouts.

    base : (R, 7) at their first sample: Maxwell integrals [Hz^2 s/m^2] and k [1/m];
    courses : distinct courses (J, 7) since the first sample;  course : (R,) which each readout has.
    """

    base: np.ndarray
    courses: tuple[np.ndarray, ...]
    course: np.ndarray

    @classmethod
    def none(cls, count: int) -> Deviations:
        """No deviation."""
        return cls(base=np.zeros((count, 0)), courses=(), course=np.zeros(count, np.int64))

    @property
    def terms(self) -> int:
        """Number of maps."""
        return int(self.base.shape[1])


def deviations(
    nominal: Readouts, played: Readouts, scale: np.ndarray, largest: np.ndarray, tolerance: float, *,
    follow_k: bool,
) -> Deviations | None:  # fmt: skip
    """Deviations of the played from the nominal path; None where k deviates too far.

    Parameters
    ----------
    nominal, played : Readouts
    scale : array (3, 3)
        Linear error of the gradients, applied to both.
    largest : array (7,)
        Largest absolute value of each map over the object.
    tolerance : float
        Of the modulation.
    follow_k : bool
        Whether k is a deviation at all (else only Maxwell terms are).
    """
    if played.base.shape[1] <= 3:
        return Deviations.none(played.adc.size)
    step = _SAME * tolerance / np.maximum(largest, 1e-30)
    base = np.zeros((played.adc.size, TERMS))
    base[:, :4] = played.base[:, MAXWELL:]
    if follow_k:
        base[:, 4:] = (played.base[:, :3] - nominal.base) @ scale
    pairs, which = np.unique(np.stack([played.pattern, nominal.pattern], axis=1), axis=0, return_inverse=True)
    known: dict[bytes, int] = {}
    courses: list[np.ndarray] = []
    number, first = np.empty(len(pairs), np.int64), np.zeros((len(pairs), TERMS))
    for i, (p, n) in enumerate(pairs):
        course = np.zeros((len(played.offsets[p]), TERMS))
        course[:, :4] = played.offsets[p][:, MAXWELL:]
        if follow_k:
            course[:, 4:] = (played.offsets[p][:, :3] - nominal.offsets[n]) @ scale
        first[i], course = course[0], course - course[0]
        number[i] = known.setdefault(np.rint(course / step).tobytes(), len(courses))
        if number[i] == len(courses):
            courses.append(course)
    which = which.reshape(-1)
    found = Deviations(base=base + first[which], courses=tuple(courses), course=number[which])
    along = np.max([np.abs(c).max(axis=0) for c in courses], axis=0)
    cycles = (np.abs(found.base).max(axis=0) + along)[4:] @ largest[4:]
    return None if follow_k and cycles > _SMALL else found

"""Groups of readouts that share a modulation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .path import Readouts


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """Readouts that share one modulation.

    members : indices of the readouts;  variant : (members,) which timing and course each has;
    since_rf, tau : (variants, J) time since the pulse's end and tau of each sample [s];
    course : (variants,) number of the course of deviations along the readout.
    """

    members: np.ndarray
    variant: np.ndarray
    since_rf: np.ndarray
    tau: np.ndarray
    course: np.ndarray


def cluster(values: np.ndarray, tolerance: float) -> np.ndarray:
    """Return the cluster of each value: sorted neighbours closer than ``tolerance`` belong together."""
    order = np.argsort(values, kind="stable")
    index = np.empty(values.size, np.int64)
    index[order] = np.concatenate([[0], np.cumsum(np.diff(values[order]) > tolerance)])
    return index


def readout_groups(
    readouts: Readouts, members: np.ndarray, since_rf: np.ndarray, kind: np.ndarray, courses: np.ndarray
) -> list[Group]:
    """Group readouts of equal sampling.

    Parameters
    ----------
    readouts : Readouts
    members : int array (m,)
        The readouts to group.
    since_rf : array (m,)
        First sample minus the end of the pulse that acts on them [s].
    kind : int array (m,)
        Further distinction (diffusion weighting).
    courses : int array (R,)
        Number of the course that the modulation takes along each readout.
    """
    sizes = np.array([o.shape[0] for o in readouts.offsets])[readouts.pattern[members]]
    key = np.stack(
        [sizes, cluster(readouts.dwell[members], 1e-10), cluster(readouts.freq[members], 1e-3), kind], axis=1
    )
    _, which = np.unique(key, axis=0, return_inverse=True)
    which = which.reshape(-1)
    found = []
    for g in range(int(which.max()) + 1):
        own = np.flatnonzero(which == g)
        chosen = members[own]
        time = readouts.dwell[chosen[0]] * np.arange(int(sizes[own[0]]))
        course = courses[chosen]
        timing = np.stack([np.round(since_rf[own], 8), np.round(readouts.tau[chosen], 8), course], axis=1)
        kinds, first, variant = np.unique(timing, axis=0, return_index=True, return_inverse=True)
        found.append(
            Group(
                members=chosen, variant=variant.reshape(-1), since_rf=kinds[:, :1] + time,
                tau=kinds[:, 1:2] + time, course=courses[chosen[first]],
            )
        )  # fmt: skip
    return found

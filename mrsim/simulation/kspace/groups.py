"""Groups of readouts that share a modulation, and the Fourier transforms that encode them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import numpy as np
from numba import njit

from .encode import Grid, TensorEncoder, nonuniform, nufft
from .path import Readouts

_WASTE = 6.0
"""Lines of the tensor grids over lines wanted, above which a NUFFT is cheaper."""
_TRACKS = 8
"""Distinct courses along the readout axis that are still transformed as tensor grids, one by one."""


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


def _unique(values: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct values within ``tolerance`` and the index of each value among them."""
    _, first, index = np.unique(np.rint(values / tolerance), return_index=True, return_inverse=True)
    return values[first], index.reshape(-1)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _accumulate(
    out: np.ndarray, coil: int, samples: np.ndarray, member: np.ndarray, row: np.ndarray, column: np.ndarray,
    curve: np.ndarray,
) -> None:  # fmt: skip
    """Add ``curve[member] * samples[row, column]`` to ``out[member, coil]``."""
    for i in range(member.size):
        line = samples[row[i], column[i]]
        r = member[i]
        for j in range(curve.shape[1]):
            out[r, coil, j] += curve[r, j] * line[j]


class Encoder(ABC):
    """Fourier transform of a map at the samples of one group of readouts (R, J)."""

    @abstractmethod
    def energy(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the spectral energy of an image at each readout (R,), and at each sample along (J,)."""

    @abstractmethod
    def add(self, image: np.ndarray, curve: np.ndarray, out: np.ndarray, coil: int) -> None:
        """Add ``curve`` (R, J) times the transform of an image to ``out`` (R, coils, J)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Track:
    """Readouts with one course along the read axis: a tensor grid, and where each lies on it."""

    tensor: TensorEncoder
    member: np.ndarray
    row: np.ndarray
    column: np.ndarray


@final
class TensorGroup(Encoder):
    """Readouts along the read axis: three matrix products per course along it."""

    def __init__(self, grid: Grid, k: list[np.ndarray], track: np.ndarray, tolerance: float) -> None:
        self._tracks = []
        for t in np.unique(track):
            member = np.flatnonzero(track == t)
            first = np.stack([k[m][0] for m in member])
            k_phase, row = _unique(first[:, 1], tolerance)
            k_slice, column = _unique(first[:, 2], tolerance)
            tensor = TensorEncoder.build(grid, k[member[0]][:, 0], k_phase, k_slice)
            self._tracks.append(_Track(tensor=tensor, member=member, row=row, column=column))
        self.cost = sum(t.tensor.phase.shape[0] * t.tensor.partition.shape[0] for t in self._tracks)
        self._work = [t.tensor.buffers() for t in self._tracks] if self.cost < _WASTE * len(k) else []
        self._shape = (len(k), k[0].shape[0])

    def energy(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Encoder.energy`."""
        across, along = np.zeros(self._shape[0]), np.zeros(self._shape[1])
        for t, work in zip(self._tracks, self._work, strict=True):
            power = np.abs(t.tensor.forward(image, work)) ** 2
            across[t.member] = power.sum(axis=2)[t.row, t.column]
            along += power.sum(axis=(0, 1))
        return across, along

    def add(self, image: np.ndarray, curve: np.ndarray, out: np.ndarray, coil: int) -> None:
        """See `Encoder.add`."""
        for t, work in zip(self._tracks, self._work, strict=True):
            samples = t.tensor.forward(image, work)
            _accumulate(out, coil, samples, t.member, t.row, t.column, curve)


@final
class NonuniformGroup(Encoder):
    """Readouts anywhere in k-space: a NUFFT, of type 2 from the grid or type 3 from displaced voxels."""

    def __init__(self, grid: Grid, k: np.ndarray, reached: np.ndarray | None, eps: float = 1e-5) -> None:
        self._grid, self._k, self._reached, self._eps = grid, k.reshape(-1, 3), reached, max(eps, 1e-6)
        self._shape = k.shape[:2]

    def _transform(self, image: np.ndarray) -> np.ndarray:
        if self._reached is None:
            return nufft(image, self._grid, self._k, eps=self._eps).reshape(self._shape)
        return nonuniform(image, self._grid, self._reached, self._k, eps=self._eps).reshape(self._shape)

    def energy(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Encoder.energy`."""
        power = np.abs(self._transform(image)) ** 2
        return power.sum(axis=1), power.sum(axis=0)

    def add(self, image: np.ndarray, curve: np.ndarray, out: np.ndarray, coil: int) -> None:
        """See `Encoder.add`."""
        out[:, coil] += curve * self._transform(image)


def encoder_of(
    grid: Grid, k: list[np.ndarray], reached: np.ndarray | None, *, tolerance: float = 1e-3
) -> Encoder:
    """Choose the encoder of some readouts.

    Parameters
    ----------
    grid : Grid
    k : list of arrays (J, 3)
        Spatial frequencies of each readout [1/m].
    reached : array (3, phase, slice, read) or None
        Where the gradient coils' fields put each voxel [m]; None = where it is.
    tolerance : float
        Relative error that taking neighbouring k as equal may leave.
    """
    if reached is None:
        # Largest error of a phase at the edge of the object, uniform over +-step.
        step = tolerance / (np.pi * max(s * n for s, n in zip(grid.spacing, grid.shape, strict=True)))
        straight = max(float(np.ptp(x[:, 1:], axis=0).max()) for x in k) < 2 * step
        ends = np.stack([np.concatenate([x[0, :1], x[-1, :1], x[x.shape[0] // 3, :1]]) for x in k])
        _, track = np.unique(np.rint(ends / (2 * step)), axis=0, return_inverse=True)
        track = track.reshape(-1)
        if straight and track.max() < _TRACKS:
            found = TensorGroup(grid, k, track, 2 * step)
            if found.cost < _WASTE * len(k):
                return found
    return NonuniformGroup(grid, np.stack(k), reached, min(0.1 * tolerance, 1e-3))

"""Fourier transforms of the terms of a group at its samples, for all coils."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from numba import njit

from .cascade import Cascade, Terms, build_cascade, lattice_of
from .encode import Grid, TensorEncoder, nonuniform, nufft

_WASTE = 6.0
"""Lines of the tensor grids over lines wanted, above which a NUFFT is cheaper."""
_TRACKS = 8
"""Distinct courses along the readout axis that are still transformed as tensor grids, one by one."""
_TRAIN_SHARE = 0.2
"""Share of the tolerance that tensor trains of the weights may leave."""


def _unique(values: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct values within ``tolerance`` and the index of each value among them."""
    _, first, index = np.unique(np.rint(values / tolerance), return_index=True, return_inverse=True)
    return values[first], index.reshape(-1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Tracks:
    """Where readouts lie in k-space [1/m].

    start : (R, 3);  course : (C, J, 3) samples relative to the start;  of : (R,) course of each readout.
    """

    start: np.ndarray
    course: np.ndarray
    of: np.ndarray

    def k_of(self, r: int) -> np.ndarray:
        """Spatial frequencies (J, 3) of a readout."""
        return np.asarray(self.start[r] + self.course[self.of[r]])


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


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _place(
    out: np.ndarray, coil: int, samples: np.ndarray, member: np.ndarray, row: np.ndarray, column: np.ndarray
) -> None:
    """Write ``samples[row, column]`` to ``out[member, coil]``."""
    for i in range(member.size):
        out[member[i], coil] = samples[row[i], column[i]]


class Encoder(ABC):
    """Fourier transform of a map at the samples of one group of readouts (R, J)."""

    @abstractmethod
    def energy(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the spectral energy of an image at each readout (R,), and at each sample along (J,)."""

    @abstractmethod
    def encode(self, images: np.ndarray, terms: Terms, coils: Iterable[np.ndarray], out: np.ndarray) -> float:
        """Write sum_q t_q(r, j) F[coil g_q](r, j) to ``out`` (R, coils, J); images (Q, phase, slice, read).

        Returns the relative error that the weights of the terms have in it.
        """


@dataclass(frozen=True, kw_only=True, eq=False)
class _Track:
    """Readouts with one course along the read axis: a tensor grid, and where each lies on it.

    visit : (members,) how many readouts before it lie on the same line (other echoes, volumes).
    """

    tensor: TensorEncoder
    member: np.ndarray
    row: np.ndarray
    column: np.ndarray
    visit: np.ndarray

    def cascade(self, terms: Terms, tolerance: float) -> tuple[Cascade | None, np.ndarray]:
        """Build the transform of all terms together if that is cheaper, and each readout's row in it."""
        lines, visits = self.tensor.phase.shape[0], int(self.visit.max()) + 1
        row = self.row + lines * self.visit
        again = replace(self.tensor, phase=np.tile(self.tensor.phase, (visits, 1)))
        shape = (lines * visits, self.tensor.partition.shape[0])
        lattice = lattice_of(terms, self.member, row, self.column, shape, tolerance)
        return build_cascade(lattice, terms.size, again, tolerance), row


@final
class TensorGroup(Encoder):
    """Readouts along the read axis: three matrix products per course along it."""

    def __init__(self, grid: Grid, tracks: Tracks, track: np.ndarray, step: float, tolerance: float) -> None:
        self._tolerance, self._tracks = tolerance, []
        for t in np.unique(track):
            member = np.flatnonzero(track == t)
            first = tracks.start[member] + tracks.course[tracks.of[member], 0]
            k_phase, row = _unique(first[:, 1], 2 * step)
            k_slice, column = _unique(first[:, 2], 2 * step)
            tensor = TensorEncoder.build(grid, tracks.k_of(int(member[0]))[:, 0], k_phase, k_slice)
            visit = _occurrence(row * k_slice.size + column)
            self._tracks.append(_Track(tensor=tensor, member=member, row=row, column=column, visit=visit))
        self.cost = sum(t.tensor.phase.shape[0] * t.tensor.partition.shape[0] for t in self._tracks)
        self._shape = (len(tracks.of), tracks.course.shape[1])

    def energy(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Encoder.energy`."""
        across, along = np.zeros(self._shape[0]), np.zeros(self._shape[1])
        for t in self._tracks:
            power = np.abs(t.tensor.forward(image)) ** 2
            across[t.member] = power.sum(axis=2)[t.row, t.column]
            along += power.sum(axis=(0, 1))
        return across, along

    def encode(self, images: np.ndarray, terms: Terms, coils: Iterable[np.ndarray], out: np.ndarray) -> float:
        """See `Encoder.encode`."""
        plans = [(t, *t.cascade(terms, _TRAIN_SHARE * self._tolerance)) for t in self._tracks]
        single = [t for t, plan, _ in plans if plan is None]
        weighted = [(image, terms.curve(q)) for q, image in enumerate(images)] if single else []
        work = [t.tensor.buffers() for t in single]
        for c, coil in enumerate(coils):
            for t, plan, row in plans:
                if plan is not None:
                    _place(out, c, plan.samples(images, coil), t.member, row, t.column)
            for image, curve in weighted:
                seen = coil * image
                for t, buffers in zip(single, work, strict=True):
                    samples = t.tensor.forward(seen, buffers)
                    _accumulate(out, c, samples, t.member, t.row, t.column, curve)
        return max((plan.error for _, plan, _ in plans if plan is not None), default=0.0)


def _occurrence(values: np.ndarray) -> np.ndarray:
    """How many equal values come before each."""
    order = np.argsort(values, kind="stable")
    place = np.arange(values.size)
    starts = np.flatnonzero(np.diff(values[order], prepend=values[order[0]] - 1))
    found = np.empty(values.size, np.int64)
    found[order] = place - np.repeat(starts, np.diff(np.append(starts, values.size)))
    return found


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

    def encode(self, images: np.ndarray, terms: Terms, coils: Iterable[np.ndarray], out: np.ndarray) -> float:
        """See `Encoder.encode`."""
        curves = [terms.curve(q) for q in range(len(images))]
        for c, coil in enumerate(coils):
            for image, curve in zip(images, curves, strict=True):
                out[:, c] += curve * self._transform(coil * image)
        return 0.0


def encoder_of(grid: Grid, tracks: Tracks, reached: np.ndarray | None, *, tolerance: float = 1e-3) -> Encoder:
    """Choose the encoder of some readouts.

    Parameters
    ----------
    grid : Grid
    tracks : Tracks
        Where the readouts lie in k-space.
    reached : array (3, phase, slice, read) or None
        Where the gradient coils' fields put each voxel [m]; None = where it is.
    tolerance : float
        Relative error that taking neighbouring k as equal may leave.
    """
    if reached is None:
        # Largest error of a phase at the edge of the object, uniform over +-step.
        step = tolerance / (np.pi * max(s * n for s, n in zip(grid.spacing, grid.shape, strict=True)))
        straight = float(np.ptp(tracks.course[:, :, 1:], axis=1).max()) < 2 * step
        ends = tracks.course[:, [0, -1, tracks.course.shape[1] // 3], 0][tracks.of] + tracks.start[:, :1]
        _, track = np.unique(np.rint(ends / (2 * step)), axis=0, return_inverse=True)
        track = track.reshape(-1)
        if straight and track.max() < _TRACKS:
            found = TensorGroup(grid, tracks, track, step, tolerance)
            if found.cost < _WASTE * len(track):
                return found
    k = tracks.start[:, None] + tracks.course[tracks.of]
    return NonuniformGroup(grid, k, reached, min(0.1 * tolerance, 1e-3))

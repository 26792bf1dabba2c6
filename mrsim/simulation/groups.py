"""Groups of readouts that share a trajectory along the readout, and with it one Fourier transform."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .encode import Grid, TensorEncoder, nufft
from .timeline import Readouts


@dataclass(frozen=True, kw_only=True)
class Group:
    """Readouts that share one trajectory along the readout, and so one Fourier transform.

    members : indices of the readouts;  variant : (members,) which timing each has;
    since_rf, tau : (variants, samples) time since the pulse's end and tau of each sample [s].
    """

    members: np.ndarray
    variant: np.ndarray
    since_rf: np.ndarray
    tau: np.ndarray


def _cluster(values: np.ndarray, tolerance: float) -> np.ndarray:
    """Return the cluster of each value: sorted neighbours closer than ``tolerance`` belong together."""
    order = np.argsort(values, kind="stable")
    index = np.empty(values.size, np.int64)
    index[order] = np.concatenate([[0], np.cumsum(np.diff(values[order]) > tolerance)])
    return index


def readout_groups(readouts: Readouts) -> list[Group]:
    """Group the readouts of equal k along the readout (to 0.01 1/m), dwell and demodulation frequency."""
    key = np.stack(
        [
            readouts.pattern, _cluster(readouts.base[:, 0], 1e-2), _cluster(readouts.dwell, 1e-10),
            _cluster(readouts.freq, 1e-3),
        ],
        axis=1,
    )  # fmt: skip
    _, group = np.unique(key, axis=0, return_inverse=True)
    found = []
    for g in range(int(group.max()) + 1):
        members = np.flatnonzero(group.reshape(-1) == g)
        first = members[0]
        time = readouts.dwell[first] * np.arange(readouts.offsets[readouts.pattern[first]].shape[0])
        timing = np.stack([readouts.since_rf[members], readouts.tau[members]], axis=1)
        kinds, variant = np.unique(np.round(timing, 8), axis=0, return_inverse=True)
        found.append(
            Group(
                members=members, variant=variant.reshape(-1), since_rf=kinds[:, :1] + time,
                tau=kinds[:, 1:] + time,
            )
        )  # fmt: skip
    return found


def _unique(values: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct values within ``tolerance`` and the index of each value among them."""
    _, first, index = np.unique(np.rint(values / tolerance), return_index=True, return_inverse=True)
    return values[first], index.reshape(-1)


class GroupEncoder:
    """Fourier transform of a map at the samples of one group of readouts.

    Called with an image it returns samples (a, b, samples); readout i of the group is item
    (``row[i]``, ``column[i]``). Readouts along the read axis take three DFTs, all others a NUFFT.
    """

    def __init__(self, grid: Grid, readouts: Readouts, members: np.ndarray) -> None:
        self._grid = grid
        offsets = readouts.offsets[readouts.pattern[members[0]]]
        base = readouts.base[members]
        tolerance = 1e-3 / max(s * n for s, n in zip(grid.spacing, grid.shape, strict=True))
        self._work: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
        self._tensor: TensorEncoder | None = None
        if np.ptp(offsets[:, 1:], axis=0).max() < tolerance:
            across = base + offsets[0] * np.array([0.0, 1.0, 1.0])
            k_phase, self.row = _unique(across[:, 1], tolerance)
            k_slice, self.column = _unique(across[:, 2], tolerance)
            self._tensor = TensorEncoder.build(grid, base[0, 0] + offsets[:, 0], k_phase, k_slice)
        else:
            self._k = (base[:, None, :] + offsets[None, :, :]).reshape(-1, 3)
            self.row, self.column = np.arange(members.size), np.zeros(members.size, np.int64)

    def energy(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the spectral energy of an image at each readout of the group, and at each sample along."""
        if self._tensor is None:
            power = np.abs(self(image)[:, 0]) ** 2
            return power.sum(axis=1), power.sum(axis=0)
        power = np.abs(self._tensor.forward(image)) ** 2
        return power.sum(axis=2)[self.row, self.column], power.sum(axis=(0, 1))

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Transform an image (phase, slice, read) into samples (a, b, samples), valid until the next call."""
        if self._tensor is not None:
            self._work = self._work or self._tensor.buffers()
            return self._tensor.forward(image, self._work)
        return nufft(image, self._grid, self._k).reshape(self.row.size, 1, -1)

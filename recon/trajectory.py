"""Samples with their k-space positions, and stacks of equal planes among them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .cartesian import CartesianGrid
from .errors import RawDataError
from .noise import NoiseModel
from .raw import RawData

__all__ = ["Planes", "Samples", "collect", "stack_of_planes"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Samples:
    """Samples anywhere in k-space.

    positions : [cycles per encoded pixel], (point, dimension);  data : (coil, point);
    readouts : number of readouts where all have equally many samples, else 0
    """

    positions: NDArray[np.float64]
    data: NDArray[np.complexfloating]
    readouts: int = 0

    @property
    def dims(self) -> int:
        """Dimensions of the trajectory."""
        return int(self.positions.shape[1])


@dataclass(frozen=True, kw_only=True, slots=True)
class Planes:
    """A stack of equal planes: positions (point, 2) and data (partition, coil, point)."""

    positions: NDArray[np.float64]
    data: NDArray[np.complex64]


def collect(raw: RawData, rows: NDArray[np.intp], grid: CartesianGrid, noise: NoiseModel) -> Samples:
    """Gather the samples of the rows, whitened, with positions in cycles per encoded pixel.

    Files store those (-0.5 .. 0.5, the ISMRMRD convention) or cycles per encoded field of view; larger values
    are taken as the latter.

    Raises
    ------
    RawDataError
        No trajectory, a trajectory with no extent, or a flat one for a three-dimensional matrix.
    """
    wanted = np.zeros(len(raw.heads), bool)
    wanted[rows] = True
    samples, positions, counts = [], [], []
    for group in raw.groups:
        own = np.flatnonzero(wanted[group.index])
        if not len(own) or group.trajectory is None:
            continue
        heads = raw.heads[group.index[own]]
        for pre, post in np.unique(np.stack([heads["discard_pre"], heads["discard_post"]], axis=1), axis=0):
            part = own[(heads["discard_pre"] == pre) & (heads["discard_post"] == post)]
            keep = slice(int(pre), group.data.shape[2] - int(post))
            data = group.data[part][:, :, keep]
            samples.append(np.moveaxis(data, 1, 0).reshape(data.shape[1], -1))
            positions.append(group.trajectory[part][:, keep].reshape(-1, group.trajectory.shape[2]))
            counts.append(data.shape[2])
    if not samples or len({p.shape[1] for p in positions}) > 1:
        raise RawDataError(f"{raw.source}: readouts need trajectories of one dimension. Store them again.")
    joined = np.concatenate(samples, axis=1)
    where = np.concatenate(positions).astype(np.float64)[:, :3]  # a fourth column is a density, recomputed
    flat = where.shape[1] == 2
    if where.shape[1] == 1:
        raise RawDataError(f"{raw.source}: a 1D trajectory makes no image. Store 2D or 3D positions.")
    if where.shape[1] == 3 and grid.encoded[2] == 1:
        where = where[:, :2]  # one plane, wherever it lies along the slice axis
    elif flat and grid.out[2] > 1:
        raise RawDataError(
            f"{raw.source}: a 2D trajectory cannot fill a matrix of {grid.out}. Store 3D positions."
        )
    if np.abs(where).max() > 0.75:
        where = where / np.asarray(grid.encoded[: where.shape[1]], float)
    if noise.whitening is not None:
        joined = noise.whitening @ joined
    count = len(rows) if len(set(counts)) == 1 and counts[0] * len(rows) == len(where) else 0
    return Samples(positions=where, data=joined, readouts=count)


def stack_of_planes(samples: Samples, grid: CartesianGrid) -> Planes | None:
    """Sort samples into partitions, None where they do not lie on equal planes of the encoded matrix.

    Positions may differ by 1 % of a line.
    """
    n = grid.encoded[2]
    if samples.dims != 3 or not samples.readouts:
        return None
    where = samples.positions.reshape(samples.readouts, -1, 3)
    kz = where[:, :, 2] * n
    level = np.rint(kz[:, 0]).astype(int)
    if np.abs(kz - level[:, None]).max() > 0.01:
        return None
    partitions, counts = np.unique(level, return_counts=True)
    if partitions.min() < -(n // 2) or partitions.max() >= n - n // 2 or len(set(counts)) > 1:
        return None
    line = 0.01 / max(grid.encoded[:2])
    # Equal readouts of different partitions come together in the order of their first and last samples.
    keys = np.round(where[:, [0, -1], :2].reshape(len(where), -1) / line).astype(int)
    order = np.lexsort((*keys.T, level))
    sorted_rows = order.reshape(len(partitions), -1)
    plane = where[sorted_rows][..., :2]
    if np.abs(plane - plane[:1]).max() > line:
        return None
    coils = len(samples.data)
    data = samples.data.reshape(coils, samples.readouts, -1)[:, sorted_rows]
    full = np.zeros((n, coils, plane[0].size // 2), np.complex64)
    full[partitions + n // 2] = np.moveaxis(data, 1, 0).reshape(len(partitions), coils, -1)
    return Planes(positions=plane[0].reshape(-1, 2), data=full)

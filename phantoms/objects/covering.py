"""Grids that cover an object with a voxel to spare."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..phantom import PhantomError

VoxelSize = float | tuple[float, float, float]
LARGEST = 0.05
"""Voxel edge [m]: what is larger was given in millimetres."""
MAX_BYTES = 8 * 1024**3


def voxel_edges(voxel_size: VoxelSize) -> NDArray[np.float64]:
    """Return the three edge lengths [m], or raise `PhantomError`."""
    size = np.broadcast_to(np.asarray(voxel_size, float), 3)
    if not (np.isfinite(size).all() and (size > 0).all() and size.max() <= LARGEST):
        raise PhantomError(
            f"voxel_size must be positive and at most {LARGEST} m; got {voxel_size}. Give metres."
        )
    return size


def covering_shape(
    voxel_size: VoxelSize, lengths: Sequence[float], *, bytes_per_voxel: int = 128
) -> tuple[int, ...]:
    """Return the voxels per axis that cover `lengths` [m] with a voxel to spare on each side.

    Parameters
    ----------
    voxel_size : float or tuple of float
        Voxel edge lengths [m].
    lengths : sequence of float
        What is to be covered along each axis [m].
    bytes_per_voxel : int
        Memory that drawing takes per voxel; by default that of sampled ellipsoids.

    Raises
    ------
    PhantomError
        If a length is not usable, or drawing would take more than `MAX_BYTES`.
    """
    size = voxel_edges(voxel_size)[: len(lengths)].tolist()
    if not all(math.isfinite(length) and length > 0 for length in lengths):
        raise PhantomError(f"lengths of an object must be positive metres; got {tuple(lengths)}.")
    shape = tuple(math.ceil(n / s - 1e-9) + 2 for n, s in zip(lengths, size, strict=True))
    if (need := math.prod(shape) * bytes_per_voxel) > MAX_BYTES:
        raise PhantomError(
            f"voxel_size must be larger for an object of {' x '.join(f'{n:.3g}' for n in lengths)} m: "
            f"{' x '.join(map(str, shape))} voxels take {need / 1024**3:.3g} GiB, {MAX_BYTES >> 30} at most. "
            "Lengths are in metres."
        )
    return shape


def covering_lines(
    voxel_size: VoxelSize, low: NDArray[np.float64], high: NDArray[np.float64], *, bytes_per_voxel: int
) -> list[NDArray[np.float64]]:
    """Return the voxel centres [m] along x, y, z of a grid around the box from `low` to `high` (3,) [m]."""
    size = voxel_edges(voxel_size)
    shape = covering_shape(voxel_size, (high - low).tolist(), bytes_per_voxel=bytes_per_voxel)
    middle = 0.5 * (low + high)
    return [m + s * (np.arange(n) - 0.5 * (n - 1)) for m, s, n in zip(middle, size, shape, strict=True)]

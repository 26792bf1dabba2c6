"""Volume fractions of spheres on a grid."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_CHORDS = 60
"""Chords across the radius of a sphere, about; along them volumes are exact."""


def sphere_fractions(
    lines: Sequence[NDArray[np.float64]], center: Sequence[float], radius: float
) -> tuple[tuple[slice, slice, slice], NDArray[np.float32]]:
    """Volume fractions of a sphere on a regular grid.

    Each voxel is cut by chords along z, on a lattice over x and y; their lengths inside the sphere are exact.

    Parameters
    ----------
    lines : sequence of three ndarray
        Voxel centres along x, y, z [m], evenly spaced.
    center, radius
        The sphere [m].

    Returns
    -------
    where : tuple of slice
        The part of the grid that the sphere reaches; empty slices where it lies outside.
    fractions : ndarray, float32
        Fractions 0..1 on that part.
    """
    where, edges, fine = [], [], []
    for line, c in zip(lines, center, strict=True):
        size = float(line[1] - line[0])
        near = np.flatnonzero(np.abs(line - c) < radius + 0.5 * size)
        part = slice(int(near[0]), int(near[-1]) + 1) if near.size else slice(0, 0)
        where.append(part)
        sub = min(max(3, math.ceil(_CHORDS * size / radius)), 24)
        offsets = (np.arange(sub) + 0.5) / sub - 0.5
        fine.append(line[part, None] + offsets * size - c)
        edges.append((line[part] - c - 0.5 * size, size))
    x, y = fine[0][:, :, None, None], fine[1][None, None]
    half = np.sqrt(np.maximum(radius**2 - x**2 - y**2, 0.0))[..., None]
    low, size = edges[2]
    inside = np.clip(np.minimum(low + size, half) - np.maximum(low, -half), 0.0, None) / size
    return (where[0], where[1], where[2]), inside.mean(axis=(1, 3)).astype(np.float32)

"""Shapes of the heads as signed distances [mm], and what share of a voxel they fill."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Voxel centres [mm] of a regular grid, one array of shape (x, y, z) per axis, and its steps [mm]."""

    x: Array
    y: Array
    z: Array
    step: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @property
    def width(self) -> float:
        """Mean voxel edge [mm]."""
        return math.prod(self.step) ** (1.0 / 3.0)

    @property
    def origin(self) -> NDArray[np.float64]:
        """Centre of the first voxel [mm]."""
        return np.array([self.x[0, 0, 0], self.y[0, 0, 0], self.z[0, 0, 0]], np.float64)


def soft(distance: Array, width: float = 1.0) -> Array:
    """Return the inside fraction of a voxel from the signed distance [mm] of its centre."""
    return np.asarray(np.clip(0.5 - distance / width, 0.0, 1.0), np.float32)


def ellipsoid(t: Grid, centre: tuple[float, float, float], axes: tuple[float, float, float]) -> Array:
    """Approximate signed distance [mm] to an ellipsoid mirrored at x = 0, negative inside."""
    d = np.sqrt(
        ((np.abs(t.x) - centre[0]) / axes[0]) ** 2
        + ((t.y - centre[1]) / axes[1]) ** 2
        + ((t.z - centre[2]) / axes[2]) ** 2
    )
    return np.asarray((d - 1.0) * min(axes), np.float32)


def tube(t: Grid, points: NDArray[np.float64]) -> Array:
    """Signed distance [mm] to a tube along (x, y, z, radius) points, mirrored at x = 0."""
    best = np.full(t.x.shape, np.inf, np.float32)
    ax = np.abs(t.x)
    for p, q in pairwise(points):
        d = q[:3] - p[:3]
        u = ((ax - p[0]) * d[0] + (t.y - p[1]) * d[1] + (t.z - p[2]) * d[2]) / float(d @ d)
        u = np.clip(u, 0.0, 1.0)
        r = np.sqrt((ax - p[0] - u * d[0]) ** 2 + (t.y - p[1] - u * d[1]) ** 2 + (t.z - p[2] - u * d[2]) ** 2)
        best = np.minimum(best, r - (p[3] + u * (q[3] - p[3])))
    return best


def smooth_union(a: Array, b: Array, radius: float) -> Array:
    """Union of two signed distances with a rounded joint."""
    h = np.clip(0.5 + 0.5 * (b - a) / radius, 0.0, 1.0)
    return np.asarray(b * (1.0 - h) + a * h - radius * h * (1.0 - h), np.float32)


class Filling:
    """Fractions of a grid that take their room one after another.

    Parameters
    ----------
    room : ndarray
        What is free in each voxel at first, 0..1.
    """

    def __init__(self, room: Array) -> None:
        self.room = room
        self.parts: dict[str, Array] = {}

    def take(self, name: str, part: Array) -> None:
        """Give a tissue as much of `part` as is still free."""
        got = np.minimum(part, self.room)
        self.parts[name] = np.asarray(self.parts.get(name, 0.0) + got, np.float32)
        np.subtract(self.room, got, out=self.room)

    def leave(self, part: Array) -> None:
        """Keep room free of everything that follows."""
        np.subtract(self.room, np.minimum(part, self.room), out=self.room)

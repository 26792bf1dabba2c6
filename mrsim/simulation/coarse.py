"""Coarse grids over a placed object, and where its head lies: what field models are computed on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import fields
from .placement import PlacedPhantom

COIL_SPACING = 6e-3
"""Spacing of the grid on which coil and transmit fields are computed [m]."""
FIELD_SPACING = 3e-3
"""Spacing of the grid on which the susceptibility field is computed [m]."""


@dataclass(frozen=True, kw_only=True)
class Coarse:
    """A coarse tensor grid over the object with the matrices that interpolate it to the fine grid."""

    axes: tuple[np.ndarray, np.ndarray, np.ndarray]
    matrices: tuple[np.ndarray, np.ndarray, np.ndarray]

    @classmethod
    def over(cls, placed: PlacedPhantom, spacing: float) -> Coarse:
        """Grid of about ``spacing`` [m] spanning the placed object, at least 4 points per axis."""
        axes = []
        for i in range(3):
            fine = placed.grid.axis(i)
            count = max(4, int(np.ceil((fine[-1] - fine[0]) / spacing)) + 1)
            half = 0.5 * placed.grid.spacing[i]
            axes.append(np.linspace(fine[0] - half, fine[-1] + half, count))
        matrices = tuple(fields.spline_matrix(axes[i], placed.grid.axis(i)) for i in (1, 2, 0))
        return cls(axes=(axes[0], axes[1], axes[2]), matrices=matrices)  # type: ignore[arg-type]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Array shape (phase, slice, read)."""
        return (self.axes[1].size, self.axes[2].size, self.axes[0].size)

    def mean_of(self, fine: np.ndarray) -> np.ndarray:
        """Coarse averages of a fine map (phase, slice, read): normalised transpose of the interpolation."""
        down = [np.asarray(np.maximum(m, 0.0).T) for m in self.matrices]
        down = [m / np.maximum(m.sum(axis=1, keepdims=True), 1e-12) for m in down]
        return fields.upsample(fine, (down[0], down[1], down[2]))


@dataclass(frozen=True, kw_only=True)
class Head:
    """Centre and semi-axes of the object in the world frame [m], for fields that follow the head."""

    center: np.ndarray
    semi_axes: np.ndarray

    @classmethod
    def of(cls, placed: PlacedPhantom) -> Head:
        """Bounding ellipsoid of the part of the object around the brain."""
        weight = placed.brain if placed.brain.any() else placed.fractions.sum(axis=0)
        bounds = []
        for axis, i in ((0, 1), (1, 2), (2, 0)):
            hit = np.flatnonzero(weight.sum(axis=tuple(a for a in range(3) if a != axis)) > 0)
            bounds.append((i, placed.grid.axis(i)[[hit[0], hit[-1]]]))
        low_high = np.empty((2, 3))
        for i, (low, high) in bounds:
            low_high[:, i] = low, high
        middle = placed.to_world[:3, :3] @ low_high.mean(axis=0) + placed.to_world[:3, 3]
        extent = np.abs(placed.to_world[:3, :3]) @ (0.5 * (low_high[1] - low_high[0]))
        return cls(center=middle, semi_axes=np.maximum(extent, 1e-3))

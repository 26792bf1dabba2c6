"""Where gradient coils put the object: linear errors as a change of k, all others voxel by voxel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from protocols import Prescription

from ..gradients import GradientSystem
from ..scanned import ScannedObject

_MARGIN = 5e-3
"""Reach beyond the object of the points that tell whether a field is linear [m]: an object may be a point."""
_LINEAR = 2e-6
"""Displacements count as linear when they leave less [m]."""


def displaced(
    obj: ScannedObject, system: GradientSystem, prescription: Prescription, f0: float
) -> tuple[ScannedObject, np.ndarray, np.ndarray]:
    """Object with the maps that a gradient system needs, and its linear part.

    Parameters
    ----------
    obj : ScannedObject
    system : GradientSystem
    prescription : Prescription
    f0 : float
        Centre frequency [Hz], of the Maxwell terms.

    Returns
    -------
    obj : ScannedObject
        With ``reached`` where the field of the coils is not linear, and ``maxwell`` where it acts.
    scale, offset : arrays (3, 3), (3,)
        Otherwise a voxel at x appears at scale @ x + offset [m], logical axes.
    """
    scale, offset = np.eye(3), np.zeros(3)
    grid = obj.placed.grid
    axes = (grid.axis(0), grid.axis(1), grid.axis(2))
    if system.concomitant:
        obj = replace(obj, maxwell=_maxwell(obj, axes, f0))
    if system.field is not None:
        matrix, center = prescription.rotation, np.asarray(prescription.center, float)

        def reach(some: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
            world = obj.placed.coordinates(some)
            found = system.field.field(world.reshape(-1, 3))  # type: ignore[union-attr]
            return np.asarray((found - center) @ matrix)

        few = tuple(np.linspace(a[0] - _MARGIN, a[-1] + _MARGIN, 9) for a in axes)
        at = np.stack(np.meshgrid(few[1], few[2], few[0], indexing="ij"), axis=-1).reshape(-1, 3)[
            :, [2, 0, 1]
        ]
        with_one = np.hstack([at, np.ones((len(at), 1))])
        got = reach((few[0], few[1], few[2]))
        solution, *_ = np.linalg.lstsq(with_one, got, rcond=None)
        if np.abs(with_one @ solution - got).max() < _LINEAR:
            scale, offset = solution[:3].T, solution[3]
        else:
            shape = grid.array_shape
            rows = [reach((axes[0], axes[1][i : i + 1], axes[2])).T for i in range(shape[0])]
            reached = np.stack(rows, axis=1).reshape(3, *shape).astype(np.float32)
            diffusion = None if obj.diffusion is None else replace(obj.diffusion, field=system.field)
            obj = replace(obj, reached=reached, diffusion=diffusion)
    return obj, scale, offset


def _maxwell(obj: ScannedObject, axes: tuple[np.ndarray, np.ndarray, np.ndarray], f0: float) -> np.ndarray:
    """Maxwell maps (4, phase, slice, read) [m^2/Hz] in the world frame, as of `bloch.fields.maxwell_maps`."""
    read, phase, part = axes
    m = obj.placed.to_world
    x, y, z = (
        (m[i, 1] * phase[:, None, None] + m[i, 2] * part[None, :, None] + m[i, 0] * read[None, None, :] + m[i, 3])
        .astype(np.float32) for i in range(3)
    )  # fmt: skip
    return np.stack([z * z / 2, (x * x + y * y) / 8, -x * z / 2, -y * z / 2]) / np.float32(f0)

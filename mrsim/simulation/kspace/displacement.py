"""Where gradient coils put the object: linear errors as a change of k, all others voxel by voxel."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np
from scipy.ndimage import map_coordinates

from phantoms import Phantom
from protocols import Prescription, Scanner

from ..diffusion import PlacedDiffusion
from ..fields import spline_matrix, upsample
from ..gradient_fields import GradientField, object_positions
from ..placement import Displacement, place
from ..scanned import ScannedObject, merge_alike
from ..session import Session

_COARSE = 8e-3
"""Spacing on which the coils' field is inverted [m]: its ninth order bends by micrometres over this."""
_ROOM = 20e-3

_MARGIN = 5e-3
"""Reach beyond the object of the points that tell whether a field is linear [m]: an object may be a point."""
_LINEAR = 2e-6
"""Displacements count as linear when they leave less [m]."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class CoilDisplacement(Displacement):
    """Displacement by gradient coils, from its values on a coarse grid.

    axes : (read, phase, slice) of that grid [m];  values : (3, phase, slice, read) real minus encoded [m].
    """

    axes: tuple[np.ndarray, np.ndarray, np.ndarray]
    values: np.ndarray

    @classmethod
    def over(
        cls, axes: tuple[np.ndarray, np.ndarray, np.ndarray], field: GradientField, prescription: Prescription
    ) -> CoilDisplacement:
        """Invert the field of the coils over an extent."""
        coarse = []
        for a in axes:
            count = max(5, int(np.ceil((a[-1] - a[0]) / _COARSE)) + 1)
            coarse.append(np.linspace(a[0], a[-1], count))
        matrix, center = prescription.rotation, np.asarray(prescription.center, float)
        p, s, r = np.meshgrid(coarse[1], coarse[2], coarse[0], indexing="ij")
        logical = np.stack([r, p, s], axis=-1).reshape(-1, 3)
        real = (object_positions(field, logical @ matrix.T + center) - center) @ matrix
        values = (real - logical).T.reshape(3, *p.shape)
        return cls(axes=(coarse[0], coarse[1], coarse[2]), values=values)

    def shift(self, axes: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
        """See `Displacement.shift`."""
        matrices = self._matrices(axes)
        return np.stack([upsample(v, matrices) for v in self.values])

    def volume(self, axes: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
        """See `Displacement.volume`."""
        # Array axes are (phase, slice, read), components (read, phase, slice).
        steps = [float(a[1] - a[0]) for a in (self.axes[1], self.axes[2], self.axes[0])]
        rows = [np.stack(np.gradient(v, *steps, edge_order=2)) for v in self.values]
        jacobian = np.stack([np.stack([row[2], row[0], row[1]]) for row in rows])
        jacobian += np.eye(3)[:, :, None, None, None]
        determinant = np.linalg.det(np.moveaxis(jacobian, (0, 1), (-2, -1)))
        return upsample(determinant, self._matrices(axes))

    def _matrices(
        self, axes: tuple[np.ndarray, np.ndarray, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        a, b, c = (spline_matrix(self.axes[i], axes[i]) for i in (1, 2, 0))
        return a, b, c


def linear_part(
    field: GradientField | None, obj: ScannedObject, prescription: Prescription
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Where a gradient system puts a voxel at x: scale @ x + offset [m] on logical axes, and whether exactly.

    Parameters
    ----------
    field : GradientField or None
    obj : ScannedObject
    prescription : Prescription
    """
    if field is None:
        return np.eye(3), np.zeros(3), True
    axes = [obj.placed.grid.axis(i) for i in range(3)]
    few = [np.linspace(a[0] - _MARGIN, a[-1] + _MARGIN, 9) for a in axes]
    p, s, r = np.meshgrid(few[1], few[2], few[0], indexing="ij")
    at = np.stack([r, p, s], axis=-1).reshape(-1, 3)
    got = _reached(field, at, prescription)
    with_one = np.hstack([at, np.ones((len(at), 1))])
    solution, *_ = np.linalg.lstsq(with_one, got, rcond=None)
    if np.abs(with_one @ solution - got).max() < _LINEAR:
        return solution[:3].T, solution[3], True
    return np.eye(3), np.zeros(3), False


def _reached(field: GradientField, at: np.ndarray, prescription: Prescription) -> np.ndarray:
    """Places (n, 3) that gradients give to logical places (n, 3) [m]."""
    matrix, center = prescription.rotation, np.asarray(prescription.center, float)
    return np.asarray((field.field(at @ matrix.T + center) - center) @ matrix)


def with_reached(obj: ScannedObject, field: GradientField, prescription: Prescription) -> ScannedObject:
    """Object that knows where the field of the coils puts each of its voxels."""
    grid = obj.placed.grid
    rows = []
    for y in grid.axis(1):
        s, r = np.meshgrid(grid.axis(2), grid.axis(0), indexing="ij")
        at = np.stack([r, np.full_like(r, y), s], axis=-1).reshape(-1, 3)
        rows.append(_reached(field, at, prescription).T.reshape(3, *r.shape))
    reached = np.stack(rows, axis=1).astype(np.float32)
    diffusion = None if obj.diffusion is None else replace(obj.diffusion, field=field)
    return replace(obj, reached=reached, diffusion=diffusion)


def as_encoded(
    obj: ScannedObject, phantom: Phantom, field: GradientField, prescription: Prescription, scanner: Scanner,
    session: Session,
) -> ScannedObject:  # fmt: skip
    """Object resampled to where the field of the coils encodes it, the fields that it meets with it.

    One trilinear interpolation takes the phantom's maps there, as for a turned head; signal is conserved by
    the change of volume.
    """
    merged, tissues, _ = merge_alike(phantom, scanner.b0)
    grid = obj.placed.grid
    axes = tuple(np.array([grid.axis(i)[0] - _ROOM, grid.axis(i)[-1] + _ROOM]) for i in range(3))
    displacement = CoilDisplacement.over((axes[0], axes[1], axes[2]), field, prescription)
    placed = place(merged, prescription, session.pose, brain=phantom.brain_mask(), displacement=displacement)
    new = placed.grid
    fine = (new.axis(0), new.axis(1), new.axis(2))
    shift = displacement.shift(fine)
    index = np.empty((3, *new.array_shape), np.float32)
    for row, axis in enumerate((1, 2, 0)):
        own = fine[axis].reshape([-1 if i == row else 1 for i in range(3)])
        index[row] = (own + shift[axis] - grid.first[axis]) / grid.spacing[axis]
    df, b1 = (map_coordinates(m, index, order=1, mode="nearest") for m in (obj.df, obj.b1))
    return replace(
        obj, placed=placed, df=df.astype(np.float32), b1=b1.astype(np.float32),
        occupied=np.asarray(placed.fractions.any(axis=0)),
        diffusion=PlacedDiffusion.of(merged, tissues, placed, session.pose, field=field),
    )  # fmt: skip


def with_maxwell(obj: ScannedObject, f0: float) -> ScannedObject:
    """Object with its Maxwell maps; ``f0`` centre frequency [Hz]."""
    grid = obj.placed.grid
    return replace(obj, maxwell=_maxwell(obj, (grid.axis(0), grid.axis(1), grid.axis(2)), f0))


def _maxwell(obj: ScannedObject, axes: tuple[np.ndarray, np.ndarray, np.ndarray], f0: float) -> np.ndarray:
    """Maxwell maps (4, phase, slice, read) [m^2/Hz] in the world frame, as of `bloch.fields.maxwell_maps`."""
    read, phase, part = axes
    m = obj.placed.to_world
    x, y, z = (
        (
            m[i, 1] * phase[:, None, None] + m[i, 2] * part[None, :, None] + m[i, 0] * read[None, None, :]
            + m[i, 3]
        ).astype(np.float32)
        for i in range(3)
    )  # fmt: skip
    return np.stack([z * z / 2, (x * x + y * y) / 8, -x * z / 2, -y * z / 2]) / np.float32(f0)

"""The map between a template and a subject, as it is stored with the subject."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..phantom import PhantomError
from .deformation import Field, exponential, jacobian

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Diffeomorphism:
    """The map that made a subject: y = `scale` (x + u(x)), u the displacement of exp(`velocity`).

    x is a place in the template and y the same place of the subject, both in world RAS [m]. The inverse is
    x = y / `scale` + w(y / `scale`), w the displacement of exp(-`velocity`): it is the map by which the
    template was pulled. Both are integrated by scaling and squaring on the velocity's grid and are trilinear
    between its nodes, so that they are inverse to each other within the discretization (`residual`).

    Parameters
    ----------
    velocity : ndarray, float32, shape (3, a, b, c)
        Stationary velocity field [m] along x, y, z.
    affine : ndarray, shape (4, 4)
        Node index -> place in the template [m]; axis-aligned and isotropic.
    scale : float
        Linear size of the subject relative to the template.
    """

    velocity: Field
    affine: Array
    scale: float

    def __post_init__(self) -> None:
        velocity, affine = np.asarray(self.velocity, np.float32), np.asarray(self.affine, np.float64)
        if velocity.ndim != 4 or velocity.shape[0] != 3 or min(velocity.shape[1:]) < 2:
            raise PhantomError(f"velocity must have shape (3, a, b, c) of 2 or more; got {velocity.shape}.")
        if not np.isfinite(velocity).all():
            raise PhantomError("velocity must be finite; got NaN or infinity.")
        square = affine.shape == (4, 4) and np.isfinite(affine).all()
        spacing = float(affine[0, 0]) if square else 0.0
        if spacing <= 0 or not np.array_equal(affine[:, :3], np.diag([spacing] * 3 + [1.0])[:, :3]):
            raise PhantomError(
                f"affine of a map must be an isotropic, axis-aligned grid; got {affine.tolist()}."
            )
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise PhantomError(f"scale of a map must be positive; got {self.scale}.")
        object.__setattr__(self, "velocity", velocity)
        object.__setattr__(self, "affine", affine)

    @property
    def spacing(self) -> float:
        """Distance of the nodes [m]."""
        return float(self.affine[0, 0])

    def displacement(self, *, inverse: bool = False) -> Field:
        """Return u, or w of the inverse, at the nodes: float32, shape (3, a, b, c) [m], before `scale`."""
        return exponential(-self.velocity if inverse else self.velocity, self.spacing)

    def jacobian(self, *, inverse: bool = False) -> NDArray[np.float32]:
        """Return the determinant of x + u(x) at the nodes, (a, b, c); times scale^3 it is dV_y / dV_x."""
        return jacobian(self.displacement(inverse=inverse), self.spacing)

    def to_subject(self, points: Array) -> Array:
        """Return where places (n, 3) of the template are in the subject [m]."""
        x = _checked(points)
        return self.scale * (x + self._at(self.displacement(), x))

    def to_template(self, points: Array) -> Array:
        """Return where places (n, 3) of the subject are in the template [m]."""
        y = _checked(points) / self.scale
        return y + self._at(self.displacement(inverse=True), y)

    def residual(self, points: Array) -> Array:
        """Return |to_subject(to_template(y)) - y| [m] for places (n, 3) of the subject."""
        return np.asarray(np.linalg.norm(self.to_subject(self.to_template(points)) - points, axis=1))

    def _at(self, u: Field, points: Array) -> Array:
        index = ((points - self.affine[:3, 3]) / self.spacing).T
        return np.stack([ndimage.map_coordinates(c, index, order=1, mode="nearest") for c in u], axis=1)


def _checked(points: Array) -> Array:
    points = np.asarray(points, np.float64)
    if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
        raise PhantomError(f"points must be finite, shape (n, 3) [m]; got shape {points.shape}.")
    return points

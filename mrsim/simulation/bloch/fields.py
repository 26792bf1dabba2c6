"""The encoding fields: which integrals over time multiply which maps over space.

Field 0, 1, 2 are the world gradients with the coordinates, field 3 is time with the off-resonance, field 4
is a homogeneous field with 1 (RF carriers, B0 eddy currents, shifts of a rigid body). Others follow as they
are needed: the four Maxwell terms, and for bodies that deform the coordinates at further moments.

Maxwell terms of a gradient set with symmetric coils at main field B0 (Bernstein et al., Magn Reson Med
39:300-308, 1998): df = [(Gx z - Gz x / 2)^2 + (Gy z - Gz y / 2)^2] gamma-bar / (2 B0).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..gradients import GradientField

GRADIENTS, TIME = 3, 3


@dataclass(frozen=True, kw_only=True)
class FieldLayout:
    """Which fields are there and where.

    maxwell : whether Maxwell terms follow the first five;
    knots : moments at which the coordinates of a deforming body are given, 1 for one that keeps its shape.
    """

    maxwell: bool = False
    knots: int = 1

    @property
    def uniform_at(self) -> int:
        """Index of the homogeneous field."""
        return 4

    @property
    def maxwell_at(self) -> int:
        """Index of the first Maxwell term."""
        return 5

    @property
    def knots_at(self) -> int:
        """Index of the coordinates at the second knot."""
        return self.maxwell_at + 4 * self.maxwell

    @property
    def size(self) -> int:
        """Number of fields."""
        return self.knots_at + 3 * (self.knots - 1)


def maxwell_maps(position: np.ndarray, f0: float) -> np.ndarray:
    """Spatial factors (4, n) [m^2/Hz] of the products Gx^2 + Gy^2, Gz^2, Gx Gz, Gy Gz in [Hz^2/m^2]."""
    x, y, z = position.T
    return np.stack([z * z / 2, (x * x + y * y) / 8, -x * z / 2, -y * z / 2]) / f0


def spatial_factors(
    layout: FieldLayout,
    position: np.ndarray,
    df: np.ndarray,
    *,
    center: np.ndarray,
    coil_field: GradientField | None,
    f0: float,
) -> np.ndarray:
    """Map ``psi`` (D, n) of every encoding field.

    Parameters
    ----------
    layout : FieldLayout
    position : array (knots, n, 3)
        World positions [m] at each knot.
    df : array (n,)
        Off-resonance [Hz].
    center : array (3,)
        World point at which the gradients count as zero [m].
    coil_field : GradientField or None
        Spatial field of the gradient coils, None = linear.
    f0 : float
        Centre frequency [Hz], of the Maxwell terms.
    """
    psi = np.zeros((layout.size, df.size))
    for k in range(layout.knots):
        reached = position[k] if coil_field is None else coil_field.field(position[k])
        at = 0 if k == 0 else layout.knots_at + 3 * (k - 1)
        psi[at : at + 3] = (reached - center).T
    psi[TIME] = df
    psi[layout.uniform_at] = 1.0
    if layout.maxwell:
        psi[layout.maxwell_at : layout.maxwell_at + 4] = maxwell_maps(position.mean(axis=0), f0)
    return psi

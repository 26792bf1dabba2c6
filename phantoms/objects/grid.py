"""A lattice of cubes: distortion in three dimensions, with closed-form k-space."""

from __future__ import annotations

import math

from ..phantom import Phantom, PhantomError
from ..tissues import TissueTable
from .bodies import Body, Box, Vector
from .body_phantom import BodyPhantom
from .ellipsoids import body_tissue


def grid_bodies(count: int = 8, spacing: float = 0.02, wall: float = 0.004) -> BodyPhantom:
    """Return `count`^3 cubes, `spacing` [m] apart, with silent walls of `wall` [m], without relaxation."""
    if not (1 <= count <= 20 and 0.0 < wall < spacing):
        raise PhantomError(
            f"count must be 1 to 20 and 0 < wall < spacing; got {count}, wall {wall} m, spacing {spacing} m."
        )
    places = [spacing * (k - 0.5 * (count - 1)) for k in range(count)]
    edge = spacing - wall
    bodies: tuple[Body, ...] = tuple(
        Box(tissue="object", center=(x, y, z), lengths=(edge,) * 3, name=f"cube-{i}-{j}-{k}")
        for i, x in enumerate(places)
        for j, y in enumerate(places)
        for k, z in enumerate(places)
    )
    tissue = body_tissue("object", t1=math.inf, t2=math.inf, t2_prime=math.inf)
    truth = {"phantom": "grid of cubes", "count": count, "spacing": spacing, "wall": wall, "places": places}
    return BodyPhantom(
        name="grid", bodies=bodies, table=TissueTable.uniform(tissue), truth=truth, chi_outside=0.0
    )


def grid_phantom(
    voxel_size: float | Vector = 2e-3, count: int = 8, spacing: float = 0.02, wall: float = 0.004
) -> Phantom:
    """Return a lattice of cubes with silent walls.

    Parameters
    ----------
    voxel_size : float or tuple of float
        Voxel size [m].
    count : int
        Cubes per axis.
    spacing, wall : float
        Distance of the cubes' centres and of their faces [m].
    """
    return grid_bodies(count, spacing, wall).phantom(voxel_size)

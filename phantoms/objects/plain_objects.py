"""Mathematical objects of the registry on grids that cover them."""

from __future__ import annotations

import math

from ..phantom import Phantom
from . import shepp_logan as objects
from .covering import VoxelSize, covering_shape, voxel_edges


def shepp_logan_2d(voxel_size: VoxelSize = 1e-3, fov: float = 0.2) -> Phantom:
    """Return a Shepp-Logan slice that spans `fov` [m], as thick as its voxels."""
    x, y, z = voxel_edges(voxel_size).tolist()
    nx, ny = covering_shape((x, y, z), (fov, fov))
    return objects.shepp_logan_2d((nx, ny), (x, y), fov, thickness=z)


def shepp_logan_3d(voxel_size: VoxelSize = 2e-3, fov: float = 0.2) -> Phantom:
    """Return a three-dimensional Shepp-Logan that spans `fov` [m]."""
    nx, ny, nz = covering_shape(voxel_size, (fov,) * 3)
    return objects.shepp_logan_3d((nx, ny, nz), voxel_size, fov)


def sphere(
    voxel_size: VoxelSize = 2e-3,
    radius: float = 0.08,
    t1: float = math.inf,
    t2: float = math.inf,
    t2_prime: float = math.inf,
) -> Phantom:
    """Return a sphere of `radius` [m] with its relaxation times [s]."""
    nx, ny, nz = covering_shape(voxel_size, (2.0 * radius,) * 3)
    return objects.uniform_sphere((nx, ny, nz), voxel_size, radius, t1=t1, t2=t2, t2_prime=t2_prime)


def uniform(
    voxel_size: VoxelSize = 2e-3,
    lengths: tuple[float, float, float] = (0.16, 0.16, 0.16),
    t1: float = math.inf,
    t2: float = math.inf,
    t2_prime: float = math.inf,
) -> Phantom:
    """Return a box of edge `lengths` [m] with its relaxation times [s]."""
    nx, ny, nz = covering_shape(voxel_size, lengths)
    return objects.uniform_box((nx, ny, nz), voxel_size, lengths, t1=t1, t2=t2, t2_prime=t2_prime)


def point(
    voxel_size: float = 1e-3,
    position: tuple[float, float, float] = (0.0, 0.0, 0.0),
    t1: float = math.inf,
    t2: float = math.inf,
    t2_prime: float = math.inf,
) -> Phantom:
    """Return one filled voxel at a `position` [m] with its relaxation times [s]."""
    voxel_edges(voxel_size)
    return objects.point_phantom(position, voxel_size=voxel_size, t1=t1, t2=t2, t2_prime=t2_prime)

"""Ready test objects: Shepp-Logan in two and three dimensions, sphere, box and point."""

from __future__ import annotations

import math

import numpy as np

from ..phantom import Phantom
from ..tissues import TissueTable
from .ellipsoids import Ellipsoid, EllipsoidPhantom, body_tissue, centred_affine


def shepp_logan_2d(
    shape: tuple[int, int], voxel_size: float | tuple[float, float], fov: float, **options: float
) -> Phantom:
    """Return the modified Shepp-Logan phantom as one slice.

    Its exact k-space is ``EllipsoidPhantom.shepp_logan(fov, 2).kspace(k)``, per unit of slice thickness.

    Parameters
    ----------
    shape : tuple of int
        In-plane voxels.
    voxel_size : float or tuple of float
        Voxel size [m].
    fov : float
        Length of the unit square's side [m].
    **options
        Further arguments of `EllipsoidPhantom.phantom`.
    """
    body = EllipsoidPhantom.shepp_logan(fov, 2)
    return body.phantom(shape, voxel_size, name="shepp-logan-2d", **options)  # type: ignore[arg-type]


def shepp_logan_3d(
    shape: tuple[int, int, int], voxel_size: float | tuple[float, float, float], fov: float, **options: float
) -> Phantom:
    """Return the three-dimensional modified Shepp-Logan phantom.

    Its exact k-space is ``EllipsoidPhantom.shepp_logan(fov).kspace(k)``.

    Parameters
    ----------
    shape : tuple of int
        Voxels.
    voxel_size : float or tuple of float
        Voxel size [m].
    fov : float
        Length of the unit cube's side [m].
    **options
        Further arguments of `EllipsoidPhantom.phantom`.
    """
    body = EllipsoidPhantom.shepp_logan(fov, 3)
    return body.phantom(shape, voxel_size, name="shepp-logan-3d", **options)  # type: ignore[arg-type]


def uniform_sphere(
    shape: tuple[int, int, int],
    voxel_size: float | tuple[float, float, float],
    radius: float,
    *,
    t1: float = math.inf,
    t2: float = math.inf,
    t2_prime: float = math.inf,
) -> Phantom:
    """Return a uniform sphere of `radius` [m] in air, centred on the origin.

    Its k-space is ``4 pi r^3 (sin q - q cos q) / q^3`` with ``q = 2 pi r |k|``.
    """
    body = EllipsoidPhantom(bodies=(Ellipsoid(intensity=1.0, axes=(radius,) * 3, center=(0.0,) * 3),))
    return body.phantom(shape, voxel_size, name="sphere", t1=t1, t2=t2, t2_prime=t2_prime)


def uniform_box(
    shape: tuple[int, int, int],
    voxel_size: float | tuple[float, float, float],
    lengths: tuple[float, float, float],
    *,
    t1: float = math.inf,
    t2: float = math.inf,
    t2_prime: float = math.inf,
) -> Phantom:
    """Return a uniform box of edge `lengths` [m], centred on the origin, with exact partial volumes.

    Its k-space is the product of ``L sinc(k L)`` over the axes (numpy's sinc).
    """
    size = tuple(np.broadcast_to(np.asarray(voxel_size, float), 3).tolist())
    parts = []
    for n, v, length in zip(shape, size, lengths, strict=True):
        low = (np.arange(n) - 0.5 * n) * v
        overlap = np.minimum(low + v, 0.5 * length) - np.maximum(low, -0.5 * length)
        parts.append(np.clip(overlap / v, 0.0, 1.0))
    f = parts[0][:, None, None] * parts[1][None, :, None] * parts[2][None, None, :]
    table = TissueTable.uniform(body_tissue("object", t1=t1, t2=t2, t2_prime=t2_prime))
    return Phantom(
        name="box",
        tissues=("object",),
        fractions=f[None].astype(np.float32),
        affine=centred_affine(shape, size),
        table=table,
        chi_outside=0.0,
    )


def point_phantom(
    position: tuple[float, float, float] = (0.0, 0.0, 0.0),
    *,
    voxel_size: float = 1e-3,
    t1: float = math.inf,
    t2: float = math.inf,
    t2_prime: float = math.inf,
) -> Phantom:
    """Return one filled voxel of edge `voxel_size` at a world position [m].

    Its k-space is ``exp(-2 pi i k.r)`` times the product of ``L sinc(k L)`` over the axes (numpy's sinc).
    """
    affine = np.diag([voxel_size] * 3 + [1.0])
    affine[:3, 3] = position
    table = TissueTable.uniform(body_tissue("object", t1=t1, t2=t2, t2_prime=t2_prime))
    return Phantom(
        name="point",
        tissues=("object",),
        fractions=np.ones((1, 1, 1, 1), np.float32),
        affine=affine,
        table=table,
        chi_outside=0.0,
    )

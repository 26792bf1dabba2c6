"""Sums of uniform ellipses or ellipsoids: closed-form k-space and voxelisation with partial volumes.

The k-space convention is S(k) = integral of m(r) exp(-2 pi i k.r), k in 1/m, so S(0) is the integral of m.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..phantom import Phantom, PhantomError
from ..tissues import TissueProperties, TissueTable

# intensity, half axes a b, centre x y, angle [rad]; Toft 1996 ("modified"), unit square -1..1
_SL2 = (
    (1.0, 0.69, 0.92, 0, 0, 0),
    (-0.8, 0.6624, 0.874, 0, -0.0184, 0),
    (-0.2, 0.11, 0.31, 0.22, 0, -math.radians(18)),
    (-0.2, 0.16, 0.41, -0.22, 0, math.radians(18)),
    (0.1, 0.21, 0.25, 0, 0.35, 0),
    (0.1, 0.046, 0.046, 0, 0.1, 0),
    (0.1, 0.046, 0.046, 0, -0.1, 0),
    (0.1, 0.046, 0.023, -0.08, -0.605, 0),
    (0.1, 0.023, 0.023, 0, -0.605, 0),
    (0.1, 0.023, 0.046, 0.06, -0.605, 0),
)
# intensity, half axes a b c, centre x y z, angle about z [degrees], unit cube -1..1
_SL3 = (
    (1.0, 0.69, 0.92, 0.9, 0, 0, 0, 0),
    (-0.8, 0.6624, 0.874, 0.88, 0, 0, 0, 0),
    (-0.2, 0.41, 0.16, 0.21, -0.22, 0, -0.25, 108),
    (-0.2, 0.31, 0.11, 0.22, 0.22, 0, -0.25, 72),
    (0.1, 0.21, 0.25, 0.5, 0, 0.35, -0.25, 0),
    (0.1, 0.046, 0.046, 0.046, 0, 0.1, -0.25, 0),
    (0.1, 0.046, 0.023, 0.02, -0.08, -0.65, -0.25, 0),
    (0.1, 0.046, 0.023, 0.02, 0.06, -0.65, -0.25, 90),
    (0.1, 0.056, 0.04, 0.1, 0.06, -0.105, 0.625, 90),
    (0.1, 0.056, 0.056, 0.1, 0, 0.1, 0.625, 0),
)


@dataclass(frozen=True, kw_only=True)
class Ellipsoid:
    """A uniform ellipse (two axes) or ellipsoid (three axes).

    Parameters
    ----------
    intensity : float
        Signal density; bodies add up where they overlap.
    axes : tuple of float
        Half axes [m].
    center : tuple of float
        Centre [m].
    angle : float
        Rotation about z [rad], counter-clockwise seen from +z.
    """

    intensity: float
    axes: tuple[float, ...]
    center: tuple[float, ...]
    angle: float = 0.0

    def __post_init__(self) -> None:
        if len(self.axes) not in (2, 3) or len(self.center) != len(self.axes):
            raise PhantomError(
                f"axes and center must both have 2 or 3 entries; got {self.axes}, {self.center}."
            )
        if not all(a > 0 and math.isfinite(a) for a in self.axes):
            raise PhantomError(f"axes must be positive lengths in metres; got {self.axes}.")

    def _local(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rotate vectors (n, dim) into the body's frame."""
        c, s = math.cos(self.angle), math.sin(self.angle)
        out = vectors.copy()
        out[:, 0] = c * vectors[:, 0] + s * vectors[:, 1]
        out[:, 1] = -s * vectors[:, 0] + c * vectors[:, 1]
        return out

    def radius(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the normalised radius of points (n, dim) [m]: 1 on the surface, below 1 inside."""
        local = self._local(points - np.asarray(self.center)) / np.asarray(self.axes)
        return np.asarray(np.sqrt((local**2).sum(axis=1)))

    def kspace(self, k: NDArray[np.float64]) -> NDArray[np.complex128]:
        """Return the closed-form k-space at k (n, dim) [1/m]."""
        q = 2.0 * np.pi * np.sqrt(((self._local(k) * np.asarray(self.axes)) ** 2).sum(axis=1))
        size = self.intensity * float(np.prod(self.axes))
        shape = disk_transform(q) if len(self.axes) == 2 else ball_transform(q)
        return np.asarray(size * shape * np.exp(-2j * np.pi * (k @ np.asarray(self.center))))


def disk_transform(q: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fourier transform of the unit disk at angular frequency q: 2 pi J1(q)/q."""
    from scipy.special import j1

    safe = np.where(q < 1e-4, 1.0, q)
    return np.where(q < 1e-4, np.pi * (1.0 - q**2 / 8.0), 2.0 * np.pi * j1(safe) / safe)


def ball_transform(q: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fourier transform of the unit ball at angular frequency q: 4 pi (sin q - q cos q)/q^3."""
    safe = np.where(q < 1e-2, 1.0, q)
    near = 4.0 * np.pi / 3.0 * (1.0 - q**2 / 10.0 + q**4 / 280.0)
    return np.where(q < 1e-2, near, 4.0 * np.pi * (np.sin(safe) - safe * np.cos(safe)) / safe**3)


@dataclass(frozen=True, kw_only=True)
class EllipsoidPhantom:
    """A sum of uniform ellipses or ellipsoids.

    Parameters
    ----------
    bodies : tuple of Ellipsoid
        All two-dimensional or all three-dimensional.
    """

    bodies: tuple[Ellipsoid, ...]

    def __post_init__(self) -> None:
        if len({len(b.axes) for b in self.bodies}) != 1:
            raise PhantomError("bodies must be one or more, all ellipses or all ellipsoids.")

    @classmethod
    def shepp_logan(cls, fov: float, dimensions: int = 3) -> EllipsoidPhantom:
        """Return the modified Shepp-Logan phantom; the unit square or cube -1..1 spans `fov` [m]."""
        if dimensions not in (2, 3) or not (math.isfinite(fov) and fov > 0):
            raise PhantomError(f"fov must be positive metres in 2 or 3 dimensions; got {fov}, {dimensions}.")
        h = 0.5 * fov
        if dimensions == 2:
            bodies = [
                Ellipsoid(intensity=i, axes=(a * h, b * h), center=(x * h, y * h), angle=phi)
                for i, a, b, x, y, phi in _SL2
            ]
        else:
            bodies = [
                Ellipsoid(
                    intensity=i,
                    axes=(a * h, b * h, c * h),
                    center=(x * h, y * h, z * h),
                    angle=math.radians(phi),
                )
                for i, a, b, c, x, y, z, phi in _SL3
            ]
        return cls(bodies=tuple(bodies))

    @property
    def dimensions(self) -> int:
        """Two or three."""
        return len(self.bodies[0].axes)

    def kspace(self, k: ArrayLike) -> NDArray[np.complex128]:
        """Return the closed-form k-space.

        Parameters
        ----------
        k : array_like, shape (..., dimensions)
            Positions [1/m].

        Returns
        -------
        ndarray, complex128, shape (...)
            Signal; S(0) is the integral of the intensity [m^dimensions].
        """
        points = np.asarray(k, float)
        if points.ndim == 0 or points.shape[-1] != self.dimensions:
            raise PhantomError(f"k must have shape (..., {self.dimensions}); got {points.shape}.")
        flat = points.reshape(-1, self.dimensions)
        total = np.zeros(len(flat), np.complex128)
        for body in self.bodies:
            total += body.kspace(flat)
        return total.reshape(points.shape[:-1])

    def levels(
        self, shape: tuple[int, ...], voxel_size: tuple[float, ...], sub: int = 6
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Voxelise: volume fraction of each intensity level.

        Voxels that a surface may cross are sampled at `sub` points per axis, all others at their centre. The
        grid is centred on the origin.

        Parameters
        ----------
        shape, voxel_size : tuple
            Grid; voxel size in metres.
        sub : int
            Samples per axis at surfaces.

        Returns
        -------
        values : ndarray, shape (level,)
            Intensities other than zero.
        fractions : ndarray, float32, shape (level, *shape)
            Their volume fractions.
        """
        n, size = self.dimensions, np.asarray(voxel_size, float)
        if len(shape) != n or size.shape != (n,) or not (size > 0).all() or sub < 1:
            raise PhantomError(
                f"shape and voxel_size must have {n} positive entries; got {shape}, {voxel_size}."
            )
        lines = [(np.arange(m) - 0.5 * (m - 1)) * v for m, v in zip(shape, size, strict=True)]
        points = np.stack(np.meshgrid(*lines, indexing="ij"), -1).reshape(-1, n)
        reach = 0.5 * float(np.linalg.norm(size))
        value = np.zeros(len(points))
        touched = []
        for body in self.bodies:
            r = body.radius(points)
            touched.append(np.abs(r - 1.0) * min(body.axes) <= reach)
            value += body.intensity * ((r <= 1.0) & ~touched[-1])
        crossed = np.logical_or.reduce(touched)
        edge = np.flatnonzero(crossed)
        offsets = (np.arange(sub) + 0.5) / sub - 0.5
        inner = np.stack(np.meshgrid(*[offsets * v for v in size], indexing="ij"), -1).reshape(-1, n)
        samples = np.repeat(value[edge][None].astype(np.float32), len(inner), axis=0)
        for body, near in zip(self.bodies, touched, strict=True):
            column = np.flatnonzero(near[edge])
            at = points[near]
            for row, shift in zip(samples, inner, strict=True):
                row[column] += np.float32(body.intensity) * (body.radius(at + shift) <= 1.0)
        samples, value = np.round(samples, 5), np.round(value, 5)
        found = np.unique(
            np.concatenate([np.unique(value[~crossed]), np.unique(samples).astype(float)]).round(5)
        )
        found = found[np.abs(found) > 1e-4]
        fractions = np.zeros((len(found), len(points)), np.float32)
        for k, v in enumerate(found):
            fractions[k] = ~crossed & (np.abs(value - v) < 1e-4)
            fractions[k, edge] = (np.abs(samples - np.float32(v)) < 1e-4).mean(axis=0, dtype=np.float64)
        return found, fractions.reshape(len(found), *shape)

    def phantom(
        self,
        shape: tuple[int, ...],
        voxel_size: float | tuple[float, ...],
        *,
        name: str = "ellipsoids",
        per_level: bool = False,
        thickness: float | None = None,
        sub: int = 6,
        t1: float = math.inf,
        t2: float = math.inf,
        t2_prime: float = math.inf,
    ) -> Phantom:
        """Return a `Phantom` on a grid centred on the origin.

        Parameters
        ----------
        shape : tuple of int
            Voxels, one entry per dimension.
        voxel_size : float or tuple of float
            Voxel size [m].
        name : str
            Name of the phantom.
        per_level : bool
            False: one tissue "object" of proton density 1 whose fraction is the intensity. True: one tissue
            per intensity, with that proton density, whose fraction is its volume.
        thickness : float, optional
            Slice thickness of a two-dimensional phantom [m]; default: the first voxel size.
        sub : int
            Samples per axis at surfaces.
        t1, t2, t2_prime : float
            Relaxation times [s]; infinite: the object keeps its signal.

        Returns
        -------
        Phantom
            Two-dimensional bodies give one slice.
        """
        n = self.dimensions
        size = tuple(np.broadcast_to(np.asarray(voxel_size, float), n).tolist())
        values, fractions = self.levels(shape, size, sub)
        if values.min() < 0 or values.max() > 1 + 1e-9:
            raise PhantomError(
                f"intensities must sum to 0..1 for a Phantom; got {values.min()}..{values.max()}."
            )
        if per_level:
            names = tuple(f"level_{v:.3f}" for v in values)
            densities = values.tolist()
        else:
            names, densities = ("object",), [1.0]
            fractions = np.tensordot(values.astype(np.float32), fractions, axes=(0, 0))[None]
        tissues = [
            body_tissue(m, t1=t1, t2=t2, t2_prime=t2_prime, pd=d)
            for m, d in zip(names, densities, strict=True)
        ]
        if n == 2:
            fractions, size = fractions[..., None], (*size, size[0] if thickness is None else thickness)
        return Phantom(
            name=name,
            tissues=names,
            fractions=np.clip(fractions, 0, 1),
            affine=centred_affine(fractions.shape[1:], size),
            table=TissueTable.uniform(*tissues),
            chi_outside=0.0,
        )


def body_tissue(name: str, *, t1: float, t2: float, t2_prime: float, pd: float = 1.0) -> TissueProperties:
    """Return a test object's tissue, without susceptibility, diffusion or shift."""
    source = {"all": "test object, given by the caller"}
    return TissueProperties(name=name, t1=t1, t2=t2, t2_prime=t2_prime, pd=pd, sources=source, verified=True)


def centred_affine(shape: tuple[int, ...], size: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the affine of a grid centred on the origin, from its shape and voxel size [m]."""
    affine = np.diag([*size, 1.0])
    affine[:3, 3] = -0.5 * (np.asarray(shape) - 1) * np.asarray(size)
    return affine

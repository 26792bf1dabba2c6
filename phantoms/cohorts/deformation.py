"""Fold-free deformations: stationary velocity fields on a coarse grid and their exponentials.

A velocity field v [m] on a regular grid is integrated by scaling and squaring; the displacement u of exp(v)
is defined by exp(v)(x) = x + u(x). Fields have shape (3, nx, ny, nz) and live in world coordinates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import fft

Field = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A coarse, axis-aligned, isotropic grid: first voxel centre [m], spacing [m] and number of nodes."""

    origin: tuple[float, float, float]
    spacing: float
    shape: tuple[int, int, int]

    @classmethod
    def covering(
        cls, affine: NDArray[np.float64], shape: tuple[int, ...], spacing: float, margin: float
    ) -> Grid:
        """Return a grid that covers a volume's voxels with a margin [m]."""
        size = np.diag(affine)[:3]
        low = affine[:3, 3] - 0.5 * size - margin
        high = affine[:3, 3] + (np.asarray(shape) - 0.5) * size + margin
        count = [math.ceil((h - lo) / spacing) + 1 for lo, h in zip(low, high, strict=True)]
        return cls(origin=(float(low[0]), float(low[1]), float(low[2])), spacing=spacing,
                   shape=(count[0], count[1], count[2]))  # fmt: skip


@njit(cache=True, fastmath={"contract"})  # type: ignore[untyped-decorator]
def _square(u: Field, scale: float, out: Field) -> None:
    """Write out(x) = u(x) + u(x + u(x)), trilinear, clamped at the border; u (x, y, z, 3) in voxels / scale.

    Components lie side by side: the eight neighbours of a node are eight cache lines and not twenty-four.
    """
    nx, ny, nz, _ = u.shape
    s, zero, one = np.float32(scale), np.float32(0), np.float32(1)
    tx, ty, tz = np.float32(nx - 1.001), np.float32(ny - 1.001), np.float32(nz - 1.001)
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                px = min(max(np.float32(i) + u[i, j, k, 0] * s, zero), tx)
                py = min(max(np.float32(j) + u[i, j, k, 1] * s, zero), ty)
                pz = min(max(np.float32(k) + u[i, j, k, 2] * s, zero), tz)
                a, b, c = int(px), int(py), int(pz)
                fx, fy, fz = px - np.float32(a), py - np.float32(b), pz - np.float32(c)
                w00, w01 = (one - fx) * (one - fy), (one - fx) * fy
                w10, w11 = fx * (one - fy), fx * fy
                for m in range(3):
                    low = w00 * u[a, b, c, m] + w01 * u[a, b + 1, c, m]
                    low += w10 * u[a + 1, b, c, m] + w11 * u[a + 1, b + 1, c, m]
                    high = w00 * u[a, b, c + 1, m] + w01 * u[a, b + 1, c + 1, m]
                    high += w10 * u[a + 1, b, c + 1, m] + w11 * u[a + 1, b + 1, c + 1, m]
                    out[i, j, k, m] = u[i, j, k, m] + low * (one - fz) + high * fz


@njit(cache=True)  # type: ignore[untyped-decorator]
def pull(fields: Field, u: Field, spacing: float) -> Field:
    """Return fields(x + u(x)) for fields of shape (n, x, y, z), trilinear, clamped at the border."""
    n, nx, ny, nz = fields.shape
    out = np.zeros_like(fields)
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                px = min(max(i + u[0, i, j, k] / spacing, 0.0), nx - 1.001)
                py = min(max(j + u[1, i, j, k] / spacing, 0.0), ny - 1.001)
                pz = min(max(k + u[2, i, j, k] / spacing, 0.0), nz - 1.001)
                a, b, c = int(px), int(py), int(pz)
                fx, fy, fz = px - a, py - b, pz - c
                for m in range(n):
                    f = fields[m]
                    x00 = f[a, b, c] * (1 - fz) + f[a, b, c + 1] * fz
                    x01 = f[a, b + 1, c] * (1 - fz) + f[a, b + 1, c + 1] * fz
                    x10 = f[a + 1, b, c] * (1 - fz) + f[a + 1, b, c + 1] * fz
                    x11 = f[a + 1, b + 1, c] * (1 - fz) + f[a + 1, b + 1, c + 1] * fz
                    out[m, i, j, k] = (x00 * (1 - fy) + x01 * fy) * (1 - fx) + (
                        x10 * (1 - fy) + x11 * fy
                    ) * fx
    return out


def exponential(v: Field, spacing: float) -> Field:
    """Return the displacement [m] of exp(v) by scaling and squaring.

    The number of squarings keeps the first step below 0.05 of the spacing (at least 6).
    """
    largest = float(np.abs(v).max()) / spacing
    steps = max(6, math.ceil(math.log2(max(largest, 1e-9) / 0.05)))
    u = np.ascontiguousarray(np.moveaxis(v, 0, -1) / np.float32(2.0**steps), np.float32)
    out = np.empty_like(u)
    for _ in range(steps):
        _square(u, 1.0 / spacing, out)
        u, out = out, u
    return np.ascontiguousarray(np.moveaxis(u, -1, 0))


def jacobian(u: Field, spacing: float) -> NDArray[np.float32]:
    """Return the Jacobian determinant of x + u(x) by central differences."""
    return _determinant([[_gradient(u[m], a, spacing) for a in range(3)] for m in range(3)])


def lowest_jacobian(u: Field, spacing: float) -> float:
    """Return the least Jacobian determinant of the trilinear map x + u(x), at the corners of all cells."""
    steps = [np.diff(u, axis=a + 1) / np.float32(spacing) for a in range(3)]
    lowest = np.inf
    for corner in range(8):
        at = [(corner >> a) & 1 for a in range(3)]
        g = []
        for a in range(3):
            take = [slice(None) if b == a else slice(at[b], at[b] + u.shape[b + 1] - 1) for b in range(3)]
            g.append(steps[a][(slice(None), *take)])
        lowest = min(lowest, float(_determinant([[g[a][m] for a in range(3)] for m in range(3)]).min()))
    return lowest


def _determinant(g: list[list[NDArray[np.float32]]]) -> NDArray[np.float32]:
    """Return the determinant of identity + g, g[m][a] = d u_m / d x_a."""
    a, b, c = 1 + g[0][0], 1 + g[1][1], 1 + g[2][2]
    return np.asarray(
        a * (b * c - g[1][2] * g[2][1])
        - g[0][1] * (g[1][0] * c - g[1][2] * g[2][0])
        + g[0][2] * (g[1][0] * g[2][1] - b * g[2][0]),
        np.float32,
    )


def _gradient(f: NDArray[np.float32], axis: int, spacing: float) -> NDArray[np.float32]:
    return np.asarray(np.gradient(f, spacing, axis=axis), np.float32)


def random_velocity(
    grid: Grid, rng: np.random.Generator, *, sigma: float = 1.5e-3, length: float = 25e-3
) -> Field:
    """Return a smooth random velocity field.

    White normal noise of standard deviation `sigma` [m] per component on nodes `length` [m] apart,
    interpolated by cubic B-splines.

    Parameters
    ----------
    grid : Grid
        Where the field lives.
    rng : Generator
        Random stream.
    sigma, length : float
        Strength and node distance [m].

    Returns
    -------
    ndarray, float32, shape (3, x, y, z)
        Velocity [m].
    """
    from scipy import ndimage

    factor = length / grid.spacing
    nodes = [math.ceil(n / factor) + 4 for n in grid.shape]
    noise = rng.standard_normal((3, *nodes)) * sigma
    for axis, n in enumerate(grid.shape):
        # A spline is linear in its nodes and separable: one matrix per axis.
        line = [np.arange(n) / factor + 1.5]
        basis = np.stack([ndimage.map_coordinates(e, line, order=3) for e in np.eye(nodes[axis])])
        # Summed by numpy itself: the bytes must not depend on the number of BLAS threads.
        noise = np.moveaxis((np.moveaxis(noise, axis + 1, -1)[..., None] * basis).sum(axis=-2), -1, axis + 1)
    return np.ascontiguousarray(noise, np.float32)


def potential_velocity(divergence: NDArray[np.float32], spacing: float) -> Field:
    """Return the irrotational velocity whose divergence is given (closed walls at the grid's border).

    Solves the discrete Poisson equation with a cosine transform; the mean of the divergence is removed.
    The gradient uses the same central differences as `jacobian`, on a potential smoothed to match them.
    """
    shape = divergence.shape
    spectrum = fft.dctn(divergence, type=2)
    eigen = np.zeros(shape, np.float32)
    for axis, n in enumerate(shape):
        # Wide Laplacian (central difference applied twice) + narrow share, so that no mode is invisible.
        theta = np.pi * np.arange(n) / n
        lam = (0.5 * np.sin(theta) ** 2 + (1 - np.cos(theta))) / spacing**2
        eigen -= lam.reshape([-1 if a == axis else 1 for a in range(3)]).astype(np.float32)
    eigen[0, 0, 0] = 1.0
    spectrum /= eigen
    spectrum[0, 0, 0] = 0.0
    potential = np.asarray(fft.idctn(spectrum, type=2), np.float32)
    return np.stack([_gradient(potential, a, spacing) for a in range(3)])

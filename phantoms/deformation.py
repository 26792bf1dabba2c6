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


@njit(cache=True)  # type: ignore[untyped-decorator]
def _square(u: Field, scale: float, out: Field) -> None:
    """Write out(x) = u(x) + u(x + u(x)), trilinear, clamped at the border; u in voxels times 1/scale."""
    _, nx, ny, nz = u.shape
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                px = min(max(i + u[0, i, j, k] * scale, 0.0), nx - 1.001)
                py = min(max(j + u[1, i, j, k] * scale, 0.0), ny - 1.001)
                pz = min(max(k + u[2, i, j, k] * scale, 0.0), nz - 1.001)
                a, b, c = int(px), int(py), int(pz)
                fx, fy, fz = px - a, py - b, pz - c
                for m in range(3):
                    x00 = u[m, a, b, c] * (1 - fz) + u[m, a, b, c + 1] * fz
                    x01 = u[m, a, b + 1, c] * (1 - fz) + u[m, a, b + 1, c + 1] * fz
                    x10 = u[m, a + 1, b, c] * (1 - fz) + u[m, a + 1, b, c + 1] * fz
                    x11 = u[m, a + 1, b + 1, c] * (1 - fz) + u[m, a + 1, b + 1, c + 1] * fz
                    y0 = x00 * (1 - fy) + x01 * fy
                    y1 = x10 * (1 - fy) + x11 * fy
                    out[m, i, j, k] = u[m, i, j, k] + y0 * (1 - fx) + y1 * fx


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
    u = np.ascontiguousarray(v / np.float32(2.0**steps), np.float32)
    out = np.empty_like(u)
    for _ in range(steps):
        _square(u, 1.0 / spacing, out)
        u, out = out, u
    return u


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


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def _displace(p: NDArray[np.float64], u: Field, coarse: NDArray[np.float64]) -> None:
    """Move a point by the trilinearly interpolated displacement, clamped at the border of the grid."""
    _, nx, ny, nz = u.shape
    qx = min(max((p[0] - coarse[0, 0]) / coarse[1, 0], 0.0), nx - 1.001)
    qy = min(max((p[1] - coarse[0, 1]) / coarse[1, 1], 0.0), ny - 1.001)
    qz = min(max((p[2] - coarse[0, 2]) / coarse[1, 2], 0.0), nz - 1.001)
    a, b, c = int(qx), int(qy), int(qz)
    fx, fy, fz = qx - a, qy - b, qz - c
    for m in range(3):
        x00 = u[m, a, b, c] * (1 - fz) + u[m, a, b, c + 1] * fz
        x01 = u[m, a, b + 1, c] * (1 - fz) + u[m, a, b + 1, c + 1] * fz
        x10 = u[m, a + 1, b, c] * (1 - fz) + u[m, a + 1, b, c + 1] * fz
        x11 = u[m, a + 1, b + 1, c] * (1 - fz) + u[m, a + 1, b + 1, c + 1] * fz
        p[m] += (x00 * (1 - fy) + x01 * fy) * (1 - fx) + (x10 * (1 - fy) + x11 * fy) * fx


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def _gather(
    p: NDArray[np.float64],
    packed: NDArray[np.uint16],
    cells: NDArray[np.uint32],
    source: NDArray[np.float64],
    sums: NDArray[np.float64],
) -> bool:
    """Add the trilinear fractions at a point to `sums`; False where there is only air."""
    nx, ny, nz, _ = packed.shape
    gx = (p[0] - source[0, 0]) / source[1, 0]
    gy = (p[1] - source[0, 1]) / source[1, 1]
    # The lowest plane is continued: the neck is cut by the field of view, not by air.
    gz = max((p[2] - source[0, 2]) / source[1, 2], 0.0)
    if min(gx, gy) < 0 or gx >= nx - 1 or gy >= ny - 1 or gz >= nz - 1:
        return False
    a, b, c = int(gx), int(gy), int(gz)
    bits = cells[a, b, c]
    if bits == 0:
        return False
    fx, fy, fz = gx - a, gy - b, gz - c
    t = 0
    while bits != 0:
        if bits & 1:
            x00 = packed[a, b, c, t] * (1 - fz) + packed[a, b, c + 1, t] * fz
            x01 = packed[a, b + 1, c, t] * (1 - fz) + packed[a, b + 1, c + 1, t] * fz
            x10 = packed[a + 1, b, c, t] * (1 - fz) + packed[a + 1, b, c + 1, t] * fz
            x11 = packed[a + 1, b + 1, c, t] * (1 - fz) + packed[a + 1, b + 1, c + 1, t] * fz
            sums[t] += (x00 * (1 - fy) + x01 * fy) * (1 - fx) + (x10 * (1 - fy) + x11 * fy) * fx
        bits >>= np.uint32(1)
        t += 1
    return True


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def _is_near(
    i: int,
    j: int,
    k: int,
    target: NDArray[np.float64],
    coarse: NDArray[np.float64],
    near: NDArray[np.bool_],
) -> bool:
    """Look up the coarse node nearest to an output voxel; outside the grid nothing is excluded."""
    nx, ny, nz = near.shape
    a = (target[0, 0] + target[1, 0] * i - coarse[0, 0]) / coarse[1, 0]
    b = (target[0, 1] + target[1, 1] * j - coarse[0, 1]) / coarse[1, 1]
    c = (target[0, 2] + target[1, 2] * k - coarse[0, 2]) / coarse[1, 2]
    if min(a, b, c) < 0 or a > nx - 1 or b > ny - 1 or c > nz - 1:
        return True
    return bool(near[int(a + 0.5), int(b + 0.5), int(c + 0.5)])


@njit(cache=True)  # type: ignore[untyped-decorator]
def warp_packed(
    packed: NDArray[np.uint16],
    cells: NDArray[np.uint32],
    source: NDArray[np.float64],
    u: Field,
    coarse: NDArray[np.float64],
    target: NDArray[np.float64],
    near: NDArray[np.bool_],
    sub: int,
    out: NDArray[np.uint8],
    side: NDArray[np.uint8],
) -> None:
    """Pull tissue fractions through x + u(x) with `sub`^3 samples per output voxel.

    Parameters
    ----------
    packed : ndarray, uint16, shape (x, y, z, tissue)
        Source fractions in units of 1/65535.
    cells : ndarray, uint32, shape (x, y, z)
        Bit set of the tissues present at the eight corners of each source cell.
    source, target : ndarray, shape (2, 3)
        First voxel centre and voxel size [m] of source and output; `target` in source-space scale.
    u : ndarray, shape (3, a, b, c)
        Displacement [m] on the coarse grid.
    coarse : ndarray, shape (2, 3)
        First node and spacing [m] of the coarse grid.
    near : ndarray, bool, shape (a, b, c)
        Coarse nodes that the deformation may bring into the source body; elsewhere is air.
    sub : int
        Samples per axis and voxel.
    out : ndarray, uint8, shape (tissue, x, y, z)
        Result in units of 1/255; each voxel's sum is rounded, not each part.
    side : ndarray, uint8, shape (x, y, z)
        Share of samples (0..255) whose source lies at x < 0; 0 in air.
    """
    nt, nx, ny, nz = out.shape
    sums = np.zeros(nt)
    samples = sub**3
    unit = 255.0 / 65535.0 / samples
    p = np.zeros(3)
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                if not _is_near(i, j, k, target, coarse, near):
                    continue
                sums[:] = 0.0
                left = 0
                hit = False
                for s in range(samples):
                    p[0] = target[0, 0] + target[1, 0] * (i + (s // (sub * sub) + 0.5) / sub - 0.5)
                    p[1] = target[0, 1] + target[1, 1] * (j + ((s // sub) % sub + 0.5) / sub - 0.5)
                    p[2] = target[0, 2] + target[1, 2] * (k + (s % sub + 0.5) / sub - 0.5)
                    _displace(p, u, coarse)
                    left += p[0] < 0.0
                    hit |= _gather(p, packed, cells, source, sums)
                side[i, j, k] = (255 * left) // samples
                if hit:
                    _round_off(sums, unit, out[:, i, j, k])


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def _round_off(sums: NDArray[np.float64], unit: float, out: NDArray[np.uint8]) -> None:
    """Round running sums, so that the parts add up to the rounded total (at most 255)."""
    running = 0.0
    before = 0
    for t in range(sums.size):
        running += sums[t] * unit
        now = min(int(running + 0.5), 255)
        out[t] = now - before
        before = now


@njit(cache=True)  # type: ignore[untyped-decorator]
def occupied_cells(here: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return per cell the union of the bit sets at its eight corners."""
    nx, ny, nz = here.shape
    cells = np.zeros_like(here)
    for i in range(nx - 1):
        for j in range(ny - 1):
            for k in range(nz - 1):
                bits = np.uint32(0)
                for m in range(8):
                    bits |= here[i + (m >> 2), j + ((m >> 1) & 1), k + (m & 1)]
                cells[i, j, k] = bits
    return cells

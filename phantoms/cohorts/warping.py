"""Kernels that pull all tissues of a head through a deformation at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .deformation import Field


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def _displace(p: NDArray[np.float64], u: Field, coarse: NDArray[np.float64]) -> None:
    """Move a point by the displacement u (a, b, c, 3), trilinear, clamped at the grid's border."""
    nx, ny, nz, _ = u.shape
    qx = min(max((p[0] - coarse[0, 0]) * coarse[2, 0], 0.0), nx - 1.001)
    qy = min(max((p[1] - coarse[0, 1]) * coarse[2, 1], 0.0), ny - 1.001)
    qz = min(max((p[2] - coarse[0, 2]) * coarse[2, 2], 0.0), nz - 1.001)
    a, b, c = int(qx), int(qy), int(qz)
    fx, fy, fz = qx - a, qy - b, qz - c
    w00, w01, w10, w11 = (1 - fx) * (1 - fy), (1 - fx) * fy, fx * (1 - fy), fx * fy
    for m in range(3):
        low = w00 * u[a, b, c, m] + w01 * u[a, b + 1, c, m]
        low += w10 * u[a + 1, b, c, m] + w11 * u[a + 1, b + 1, c, m]
        high = w00 * u[a, b, c + 1, m] + w01 * u[a, b + 1, c + 1, m]
        high += w10 * u[a + 1, b, c + 1, m] + w11 * u[a + 1, b + 1, c + 1, m]
        p[m] += low * (1 - fz) + high * fz


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def _gather(
    p: NDArray[np.float64],
    packed: NDArray[np.uint8 | np.uint16],
    cells: NDArray[np.uint32],
    source: NDArray[np.float64],
    sums: NDArray[np.float64],
) -> Any:
    """Add the trilinear fractions at a point to `sums`; return the bit set of the tissues, 0 in air."""
    nx, ny, nz, _ = packed.shape
    gx = (p[0] - source[0, 0]) * source[2, 0]
    gy = (p[1] - source[0, 1]) * source[2, 1]
    # The lowest plane is continued: the neck is cut by the field of view, not by air.
    gz = max((p[2] - source[0, 2]) * source[2, 2], 0.0)
    if min(gx, gy) < 0 or gx >= nx - 1 or gy >= ny - 1 or gz >= nz - 1:
        return np.uint32(0)
    a, b, c = int(gx), int(gy), int(gz)
    found = cells[a, b, c]
    if found == 0:
        return found
    fx, fy, fz = gx - a, gy - b, gz - c
    w00, w01, w10, w11 = (1 - fx) * (1 - fy), (1 - fx) * fy, fx * (1 - fy), fx * fy
    bits = found
    t = 0
    while bits != 0:
        if bits & 1:
            low = w00 * packed[a, b, c, t] + w01 * packed[a, b + 1, c, t]
            low += w10 * packed[a + 1, b, c, t] + w11 * packed[a + 1, b + 1, c, t]
            high = w00 * packed[a, b, c + 1, t] + w01 * packed[a, b + 1, c + 1, t]
            high += w10 * packed[a + 1, b, c + 1, t] + w11 * packed[a + 1, b + 1, c + 1, t]
            sums[t] += low * (1 - fz) + high * fz
        bits >>= np.uint32(1)
        t += 1
    return found


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
    a = (target[0, 0] + target[1, 0] * i - coarse[0, 0]) * coarse[2, 0]
    b = (target[0, 1] + target[1, 1] * j - coarse[0, 1]) * coarse[2, 1]
    c = (target[0, 2] + target[1, 2] * k - coarse[0, 2]) * coarse[2, 2]
    if min(a, b, c) < 0 or a > nx - 1 or b > ny - 1 or c > nz - 1:
        return True
    return bool(near[int(a + 0.5), int(b + 0.5), int(c + 0.5)])


@njit(cache=True, nogil=True, fastmath={"contract"})  # type: ignore[untyped-decorator]
def warp_packed(
    packed: NDArray[np.uint8 | np.uint16],
    cells: NDArray[np.uint32],
    source: NDArray[np.float64],
    u: Field,
    coarse: NDArray[np.float64],
    target: NDArray[np.float64],
    near: NDArray[np.bool_],
    sub: int,
    levels: float,
    out: NDArray[np.uint8],
    side: NDArray[np.uint8],
) -> None:
    """Pull tissue fractions through x + u(x) with `sub`^3 samples per output voxel.

    Parameters
    ----------
    packed : ndarray, uint8 or uint16, shape (x, y, z, tissue)
        Source fractions in units of 1/`levels`.
    cells : ndarray, uint32, shape (x, y, z)
        Bit set of the tissues present at the eight corners of each source cell.
    source, target : ndarray, shape (3, 3)
        First voxel centre, voxel size [m] and its inverse of source and output; `target` in source-space
        scale.
    u : ndarray, shape (a, b, c, 3)
        Displacement [m] on the coarse grid.
    coarse : ndarray, shape (3, 3)
        First node, spacing [m] and its inverse of the coarse grid.
    near : ndarray, bool, shape (a, b, c)
        Coarse nodes that the deformation may bring into the source body; elsewhere is air.
    sub : int
        Samples per axis and voxel.
    levels : float
        Code of a full voxel: 255 or 65535.
    out : ndarray, uint8, shape (tissue, x, y, z)
        Result in units of 1/255; each voxel's sum is rounded, not each part.
    side : ndarray, uint8, shape (x, y, z)
        Share of samples (0..255) whose source lies at x < 0; 0 in air.
    """
    nt, nx, ny, nz = out.shape
    sums = np.zeros(nt)
    samples = sub**3
    unit = 255.0 / levels / samples
    p = np.zeros(3)
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                if not _is_near(i, j, k, target, coarse, near):
                    continue
                left = 0
                found = np.uint32(0)
                for s in range(samples):
                    p[0] = target[0, 0] + target[1, 0] * (i + (s // (sub * sub) + 0.5) / sub - 0.5)
                    p[1] = target[0, 1] + target[1, 1] * (j + ((s // sub) % sub + 0.5) / sub - 0.5)
                    p[2] = target[0, 2] + target[1, 2] * (k + (s % sub + 0.5) / sub - 0.5)
                    _displace(p, u, coarse)
                    left += p[0] < 0.0
                    found |= _gather(p, packed, cells, source, sums)
                side[i, j, k] = (255 * left) // samples
                if found != 0:
                    _round_off(sums, found, unit, out[:, i, j, k])


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def _round_off(sums: NDArray[np.float64], found: np.uint32, unit: float, out: NDArray[np.uint8]) -> None:
    """Round running sums, so that the parts add up to the rounded total (at most 255), and clear them."""
    running = 0.0
    before = 0
    t = 0
    while found != 0:
        if found & 1:
            running += sums[t] * unit
            sums[t] = 0.0
            now = min(int(running + 0.5), 255)
            out[t] = now - before
            before = now
        found >>= np.uint32(1)
        t += 1


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


@njit(cache=True, fastmath={"contract"})  # type: ignore[untyped-decorator]
def sample_through(
    field: NDArray[np.float32],
    frame: NDArray[np.float64],
    u: Field,
    coarse: NDArray[np.float64],
    target: NDArray[np.float64],
    out: NDArray[np.float32],
) -> None:
    """Write field(x + u(x)) at the voxel centres of `out`, trilinear; voxels outside the field stay.

    field : (x, y, z), with `frame` like `source` in `warp_packed`;  u, coarse, target : as there.
    """
    nx, ny, nz = field.shape
    p = np.zeros(3)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            for k in range(out.shape[2]):
                p[0] = target[0, 0] + target[1, 0] * i
                p[1] = target[0, 1] + target[1, 1] * j
                p[2] = target[0, 2] + target[1, 2] * k
                _displace(p, u, coarse)
                gx = (p[0] - frame[0, 0]) * frame[2, 0]
                gy = (p[1] - frame[0, 1]) * frame[2, 1]
                gz = (p[2] - frame[0, 2]) * frame[2, 2]
                if min(gx, gy, gz) < 0 or gx >= nx - 1 or gy >= ny - 1 or gz >= nz - 1:
                    continue
                a, b, c = int(gx), int(gy), int(gz)
                fx, fy, fz = gx - a, gy - b, gz - c
                w00, w01, w10, w11 = (1 - fx) * (1 - fy), (1 - fx) * fy, fx * (1 - fy), fx * fy
                low = w00 * field[a, b, c] + w01 * field[a, b + 1, c]
                low += w10 * field[a + 1, b, c] + w11 * field[a + 1, b + 1, c]
                high = w00 * field[a, b, c + 1] + w01 * field[a, b + 1, c + 1]
                high += w10 * field[a + 1, b, c + 1] + w11 * field[a + 1, b + 1, c + 1]
                out[i, j, k] = low * (1 - fz) + high * fz

"""RF pulses with relaxation, off-resonance and gradients acting throughout, for one block of spins.

Each raster step is one exact rotation about its mean field, with relaxation split evenly around it (Strang:
second order in the step).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from .arithmetic import OPTIONS, decay, rotation_series
from .kernel_free import add_phases, exchange, losses
from .tables import Pulses, Spins, Work

_TAU = 2 * math.pi


@njit(nogil=True, **OPTIONS)  # type: ignore[untyped-decorator]
def _relax(
    x: np.ndarray, y: np.ndarray, z: np.ndarray, k1: np.ndarray, k2: np.ndarray, m0: np.ndarray
) -> None:
    for i in range(x.size):
        x[i] -= x[i] * k2[i]
        y[i] -= y[i] * k2[i]
        z[i] += (m0[i] - z[i]) * k1[i]


@njit(nogil=True, **OPTIONS)  # type: ignore[untyped-decorator]
def _rotate(
    x: np.ndarray, y: np.ndarray, z: np.ndarray, re: float, im: float, px: np.ndarray, py: np.ndarray,
    w: np.ndarray, k1: np.ndarray, k2: np.ndarray, m0: np.ndarray,
) -> None:  # fmt: skip
    """Rotate about (B1, w) [rad] with the transmit field (px, py) of each spin, then relax.

    Rodrigues' formula without a unit vector: M + sin|b|/|b| (M x b) + (1 - cos|b|)/|b|^2 (M x b) x b.
    """
    br, bi = x.dtype.type(re), x.dtype.type(im)
    for i in range(x.size):
        mx, my, mz, bz = x[i], y[i], z[i], w[i]
        bx = br * px[i] - bi * py[i]
        by = br * py[i] + bi * px[i]
        s, c = rotation_series(bx * bx + by * by + bz * bz)
        ax = my * bz - mz * by
        ay = mz * bx - mx * bz
        az = mx * by - my * bx
        mx += s * ax + c * (ay * bz - az * by)
        my += s * ay + c * (az * bx - ax * bz)
        mz += s * az + c * (ax * by - ay * bx)
        x[i] = mx - mx * k2[i]
        y[i] = my - my * k2[i]
        z[i] = mz + (m0[i] - mz) * k1[i]


@njit(nogil=True, **OPTIONS)  # type: ignore[untyped-decorator]
def _saturate(
    zb: np.ndarray, power: float, dt: float, px: np.ndarray, py: np.ndarray, line: np.ndarray
) -> None:
    """Saturation of the bound pool at the rate pi w1^2 g; ``power`` is (w1 dt)^2 at the nominal field."""
    rate = zb.dtype.type(math.pi * power / dt)
    for i in range(zb.size):
        zb[i] *= decay(rate * (px[i] * px[i] + py[i] * py[i]) * line[i])


@njit(nogil=True, **OPTIONS)  # type: ignore[untyped-decorator]
def play_pulse(
    x: np.ndarray, y: np.ndarray, z: np.ndarray, zb: np.ndarray, m0: np.ndarray, lo: int, spins: Spins,
    pulses: Pulses, number: int, phase: float, shim: int, work: Work,
) -> None:  # fmt: skip
    """Play one pulse of RF phase ``phase`` [cycles] on the spins from ``lo`` on, with equilibrium ``m0``."""
    n = x.size
    r1, r2 = spins.r1[lo : lo + n], spins.r2[lo : lo + n]
    px, py = spins.b1[shim, 0, lo : lo + n], spins.b1[shim, 1, lo : lo + n]
    w, k1, k2 = work.row[0, :n], work.row[1, :n], work.row[2, :n]
    h1, h2 = work.row[3, :n], work.row[4, :n]
    two_pools = zb.size > 0
    c, s = math.cos(_TAU * phase), math.sin(_TAU * phase)
    for run in range(pulses.pulse[number], pulses.pulse[number + 1]):
        dt = pulses.dt[run]
        losses(0.5 * dt, r1, r2, h1, h2)
        for i in range(n):
            if two_pools:
                h1[i] = 0
            k1[i], k2[i] = h1[i] * (2 - h1[i]), h2[i] * (2 - h2[i])
        _relax(x, y, z, h1, h2, m0)
        last = pulses.run[run + 1] - 1
        for step in range(pulses.run[run], last + 1):
            if step == pulses.run[run] or not pulses.same[step]:
                add_phases(work.psi, pulses.dphi[step], work.phase[:n])
                for i in range(n):
                    w[i] = _TAU * work.phase[i]
            re, im = pulses.b1[step, 0], pulses.b1[step, 1]
            if two_pools:
                exchange(0.5 * dt, r1, m0, spins.bound, lo, z, zb)
                line = spins.bound[pulses.line[number], lo : lo + n]
                _saturate(zb, re * re + im * im, dt, px, py, line)
            re, im = re * c - im * s, im * c + re * s
            if step < last:
                _rotate(x, y, z, re, im, px, py, w, k1, k2, m0)
            else:
                _rotate(x, y, z, re, im, px, py, w, h1, h2, m0)
            if two_pools:
                exchange(0.5 * dt, r1, m0, spins.bound, lo, z, zb)


@njit(nogil=True, **OPTIONS)  # type: ignore[untyped-decorator]
def make_map(
    table: np.ndarray, lo: int, n: int, spins: Spins, pulses: Pulses, number: int, shim: int, work: Work
) -> None:
    """Affine map of one pulse of phase 0 for the spins from ``lo`` on: it is linear in M but for recovery.

    table : (12, N), rows 0 to 8 the images of the unit vectors x, y, z, rows 9 to 11 that of zero.
    """
    none = spins.m0[:0]
    for column in range(4):
        x = table[3 * column, lo : lo + n]
        y = table[3 * column + 1, lo : lo + n]
        z = table[3 * column + 2, lo : lo + n]
        m0 = work.row[5, :n]
        for i in range(n):
            x[i], y[i], z[i] = column == 0, column == 1, column == 2
            m0[i] = spins.m0[lo + i] if column == 3 else 0
        play_pulse(x, y, z, none, m0, lo, spins, pulses, number, 0.0, shim, work)


@njit(nogil=True, **OPTIONS)  # type: ignore[untyped-decorator]
def apply_map(x: np.ndarray, y: np.ndarray, z: np.ndarray, table: np.ndarray, lo: int, phase: float) -> None:
    """Play a pulse by its map, with RF phase ``phase`` [cycles]: turn back, map, turn forth."""
    n = x.size
    c, s = x.dtype.type(math.cos(_TAU * phase)), x.dtype.type(math.sin(_TAU * phase))
    xx, yx, zx = table[0, lo : lo + n], table[1, lo : lo + n], table[2, lo : lo + n]
    xy, yy, zy = table[3, lo : lo + n], table[4, lo : lo + n], table[5, lo : lo + n]
    xz, yz, zz = table[6, lo : lo + n], table[7, lo : lo + n], table[8, lo : lo + n]
    x0, y0, z0 = table[9, lo : lo + n], table[10, lo : lo + n], table[11, lo : lo + n]
    for i in range(n):
        a, b, d = x[i] * c + y[i] * s, y[i] * c - x[i] * s, z[i]
        p = xx[i] * a + xy[i] * b + xz[i] * d + x0[i]
        q = yx[i] * a + yy[i] * b + yz[i] * d + y0[i]
        z[i] = zx[i] * a + zy[i] * b + zz[i] * d + z0[i]
        x[i], y[i] = p * c - q * s, p * s + q * c

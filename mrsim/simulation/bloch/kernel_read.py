"""Readouts: the signal of one block of spins at a run of ADC samples.

The state is not touched. The first sample is found from exact phases in float64; from there on each spin's
magnetization is multiplied by its own constant factor per sample (and that factor by another one where the
gradient is on a ramp). Runs are short enough that the recurrence does not drift; every run starts afresh.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .arithmetic import OPTIONS, decay, turn
from .kernel_free import add_phases, wrap
from .tables import Steps


@njit(nogil=True, **OPTIONS)  # type: ignore[untyped-decorator]
def anchor(
    x: np.ndarray, y: np.ndarray, u: np.ndarray, time: float, path: float, r2: np.ndarray, adc: np.ndarray,
    a: np.ndarray, b: np.ndarray,
) -> None:  # fmt: skip
    """Magnetization (a, b) of every spin at the first sample."""
    t, p = x.dtype.type(time), x.dtype.type(path)
    for i in range(x.size):
        c, s = turn(u[i])
        e = decay(t * r2[i] + p * adc[i])
        a[i] = (x[i] * c + y[i] * s) * e
        b[i] = (y[i] * c - x[i] * s) * e


@njit(nogil=True, **OPTIONS)  # type: ignore[untyped-decorator]
def factor(
    steps: Steps, number: int, psi: np.ndarray, r2: np.ndarray, adc: np.ndarray, phase: np.ndarray,
    u: np.ndarray, row: np.ndarray,
) -> None:  # fmt: skip
    """Factor from sample to sample (rows 8, 9) and, on a ramp, the factor of that factor (rows 10, 11)."""
    n = u.size
    q0, q1, f0, f1 = row[8], row[9], row[10], row[11]
    add_phases(psi, steps.rate[number], phase)
    wrap(phase, u)
    t, p = u.dtype.type(steps.dwell[number]), u.dtype.type(steps.path[number])
    for i in range(n):
        c, s = turn(u[i])
        e = decay(t * r2[i] + p * adc[i])
        q0[i], q1[i] = c * e, -s * e
    if steps.curved[number]:
        add_phases(psi, steps.curve[number], phase)
        wrap(phase, u)
        for i in range(n):
            c, s = turn(u[i])
            f0[i], f1[i] = c, -s


@njit(nogil=True, **OPTIONS)  # type: ignore[untyped-decorator]
def sum_linear(a: np.ndarray, b: np.ndarray, row: np.ndarray, count: int, out: np.ndarray) -> None:
    """Add the sums over all spins of ``count`` samples to ``out`` (2, count); a, b are used up.

    row : (12, B) work rows, of which `factor` has filled the last four. Four samples a pass, so that
    the magnetization stays in registers and arithmetic is the bound, not the cache.
    """
    n = a.size
    zero = a.dtype.type(0)
    q0, q1 = row[8], row[9]
    whole = count - count % 4
    for j in range(0, whole, 4):
        a0, a1, a2, a3, b0, b1, b2, b3 = zero, zero, zero, zero, zero, zero, zero, zero
        for i in range(n):
            x, y, c, s = a[i], b[i], q0[i], q1[i]
            a0 += x
            b0 += y
            x, y = x * c - y * s, x * s + y * c
            a1 += x
            b1 += y
            x, y = x * c - y * s, x * s + y * c
            a2 += x
            b2 += y
            x, y = x * c - y * s, x * s + y * c
            a3 += x
            b3 += y
            a[i], b[i] = x * c - y * s, x * s + y * c
        out[0, j] += a0
        out[0, j + 1] += a1
        out[0, j + 2] += a2
        out[0, j + 3] += a3
        out[1, j] += b0
        out[1, j + 1] += b1
        out[1, j + 2] += b2
        out[1, j + 3] += b3
    for j in range(whole, count):
        a0, b0 = zero, zero
        for i in range(n):
            x, y, c, s = a[i], b[i], q0[i], q1[i]
            a0 += x
            b0 += y
            a[i], b[i] = x * c - y * s, x * s + y * c
        out[0, j] += a0
        out[1, j] += b0


@njit(nogil=True, **OPTIONS)  # type: ignore[untyped-decorator]
def sum_curved(a: np.ndarray, b: np.ndarray, row: np.ndarray, count: int, out: np.ndarray) -> None:
    """As `sum_linear`, with a factor that turns from sample to sample; its rows are used up."""
    n = a.size
    zero = a.dtype.type(0)
    q0, q1, f0, f1 = row[8], row[9], row[10], row[11]
    whole = count - count % 2
    for j in range(0, whole, 2):
        a0, a1, b0, b1 = zero, zero, zero, zero
        for i in range(n):
            x, y, c, s, f, g = a[i], b[i], q0[i], q1[i], f0[i], f1[i]
            a0 += x
            b0 += y
            x, y = x * c - y * s, x * s + y * c
            c, s = c * f - s * g, c * g + s * f
            a1 += x
            b1 += y
            a[i], b[i] = x * c - y * s, x * s + y * c
            q0[i], q1[i] = c * f - s * g, c * g + s * f
        out[0, j] += a0
        out[0, j + 1] += a1
        out[1, j] += b0
        out[1, j + 1] += b1
    if whole < count:
        a0, b0 = zero, zero
        for i in range(n):
            a0 += a[i]
            b0 += b[i]
        out[0, whole] += a0
        out[1, whole] += b0


@njit(nogil=True, **OPTIONS)  # type: ignore[untyped-decorator]
def tile_linear(a: np.ndarray, b: np.ndarray, row: np.ndarray, tile: np.ndarray) -> None:
    """Write the next four samples of every spin into ``tile`` (4, 2, B), real and imaginary part."""
    q0, q1 = row[8], row[9]
    r0, r1, r2, r3 = tile[0, 0], tile[1, 0], tile[2, 0], tile[3, 0]
    i0, i1, i2, i3 = tile[0, 1], tile[1, 1], tile[2, 1], tile[3, 1]
    for i in range(a.size):
        x, y, c, s = a[i], b[i], q0[i], q1[i]
        r0[i], i0[i] = x, y
        x, y = x * c - y * s, x * s + y * c
        r1[i], i1[i] = x, y
        x, y = x * c - y * s, x * s + y * c
        r2[i], i2[i] = x, y
        x, y = x * c - y * s, x * s + y * c
        r3[i], i3[i] = x, y
        a[i], b[i] = x * c - y * s, x * s + y * c


@njit(nogil=True, **OPTIONS)  # type: ignore[untyped-decorator]
def tile_curved(a: np.ndarray, b: np.ndarray, row: np.ndarray, tile: np.ndarray) -> None:
    """As `tile_linear`, with a factor that turns from sample to sample."""
    q0, q1, f0, f1 = row[8], row[9], row[10], row[11]
    for j in range(4):
        here, there = tile[j, 0], tile[j, 1]
        for i in range(a.size):
            x, y, c, s, f, g = a[i], b[i], q0[i], q1[i], f0[i], f1[i]
            here[i], there[i] = x, y
            a[i], b[i] = x * c - y * s, x * s + y * c
            q0[i], q1[i] = c * f - s * g, c * g + s * f


@njit(nogil=True, **OPTIONS)  # type: ignore[untyped-decorator]
def weigh(
    tile: np.ndarray, n: int, coil: np.ndarray, lo: int, first: int, count: int, out: np.ndarray
) -> None:
    """Add the sums of a tile over the spins, weighted by every coil, to ``out`` (coils, 2, samples).

    Part of a complex matrix product: two coils by four samples are sixteen sums that stay in registers.
    coil : (coils, 2, N) sensitivities of all spins, an even number of coils;  lo : first spin of the block.
    """
    zero = tile.dtype.type(0)
    r0, r1, r2, r3 = tile[0, 0], tile[1, 0], tile[2, 0], tile[3, 0]
    i0, i1, i2, i3 = tile[0, 1], tile[1, 1], tile[2, 1], tile[3, 1]
    sums = np.empty((2, 2, 4))
    for c in range(0, coil.shape[0], 2):
        p, q = coil[c, 0, lo : lo + n], coil[c, 1, lo : lo + n]
        v, w = coil[c + 1, 0, lo : lo + n], coil[c + 1, 1, lo : lo + n]
        a0, a1, a2, a3, b0, b1, b2, b3 = zero, zero, zero, zero, zero, zero, zero, zero
        c0, c1, c2, c3, d0, d1, d2, d3 = zero, zero, zero, zero, zero, zero, zero, zero
        for i in range(n):
            s, t, x, y = p[i], q[i], v[i], w[i]
            a0 += r0[i] * s - i0[i] * t
            b0 += r0[i] * t + i0[i] * s
            c0 += r0[i] * x - i0[i] * y
            d0 += r0[i] * y + i0[i] * x
            a1 += r1[i] * s - i1[i] * t
            b1 += r1[i] * t + i1[i] * s
            c1 += r1[i] * x - i1[i] * y
            d1 += r1[i] * y + i1[i] * x
            a2 += r2[i] * s - i2[i] * t
            b2 += r2[i] * t + i2[i] * s
            c2 += r2[i] * x - i2[i] * y
            d2 += r2[i] * y + i2[i] * x
            a3 += r3[i] * s - i3[i] * t
            b3 += r3[i] * t + i3[i] * s
            c3 += r3[i] * x - i3[i] * y
            d3 += r3[i] * y + i3[i] * x
        sums[0, 0, 0], sums[0, 0, 1], sums[0, 0, 2], sums[0, 0, 3] = a0, a1, a2, a3
        sums[0, 1, 0], sums[0, 1, 1], sums[0, 1, 2], sums[0, 1, 3] = b0, b1, b2, b3
        sums[1, 0, 0], sums[1, 0, 1], sums[1, 0, 2], sums[1, 0, 3] = c0, c1, c2, c3
        sums[1, 1, 0], sums[1, 1, 1], sums[1, 1, 2], sums[1, 1, 3] = d0, d1, d2, d3
        for k in range(2):
            for part in range(2):
                for j in range(count):
                    out[c + k, part, first + j] += sums[k, part, j]

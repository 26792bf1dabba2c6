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


@njit(cache=True, nogil=True, **OPTIONS)  # type: ignore[untyped-decorator]
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


@njit(cache=True, nogil=True, **OPTIONS)  # type: ignore[untyped-decorator]
def factor(
    steps: Steps, number: int, psi: np.ndarray, r2: np.ndarray, adc: np.ndarray, phase: np.ndarray,
    u: np.ndarray, row: np.ndarray,
) -> None:  # fmt: skip
    """Factor from sample to sample (rows 0, 1) and, on a ramp, the factor of that factor (rows 2, 3)."""
    n = u.size
    add_phases(psi, steps.rate[number], phase)
    wrap(phase, u)
    t, p = u.dtype.type(steps.dwell[number]), u.dtype.type(steps.path[number])
    for i in range(n):
        c, s = turn(u[i])
        e = decay(t * r2[i] + p * adc[i])
        row[0, i], row[1, i] = c * e, -s * e
    if steps.curved[number]:
        add_phases(psi, steps.curve[number], phase)
        wrap(phase, u)
        for i in range(n):
            c, s = turn(u[i])
            row[2, i], row[3, i] = c, -s


@njit(cache=True, nogil=True, **OPTIONS)  # type: ignore[untyped-decorator]
def sum_linear(a: np.ndarray, b: np.ndarray, row: np.ndarray, count: int, out: np.ndarray) -> None:
    """Add the sums over all spins of ``count`` samples to ``out`` (2, count); a, b are used up."""
    n = a.size
    zero = a.dtype.type(0)
    whole = count - count % 4
    for j in range(0, whole, 4):
        a0, a1, a2, a3, b0, b1, b2, b3 = zero, zero, zero, zero, zero, zero, zero, zero
        for i in range(n):
            x, y, c, s = a[i], b[i], row[0, i], row[1, i]
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
            x, y, c, s = a[i], b[i], row[0, i], row[1, i]
            a0 += x
            b0 += y
            a[i], b[i] = x * c - y * s, x * s + y * c
        out[0, j] += a0
        out[1, j] += b0


@njit(cache=True, nogil=True, **OPTIONS)  # type: ignore[untyped-decorator]
def sum_curved(a: np.ndarray, b: np.ndarray, row: np.ndarray, count: int, out: np.ndarray) -> None:
    """As `sum_linear`, with a factor that turns from sample to sample; its rows 0, 1 are used up."""
    n = a.size
    zero = a.dtype.type(0)
    whole = count - count % 2
    for j in range(0, whole, 2):
        a0, a1, b0, b1 = zero, zero, zero, zero
        for i in range(n):
            x, y, c, s, f, g = a[i], b[i], row[0, i], row[1, i], row[2, i], row[3, i]
            a0 += x
            b0 += y
            x, y = x * c - y * s, x * s + y * c
            c, s = c * f - s * g, c * g + s * f
            a1 += x
            b1 += y
            a[i], b[i] = x * c - y * s, x * s + y * c
            row[0, i], row[1, i] = c * f - s * g, c * g + s * f
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


@njit(cache=True, nogil=True, **OPTIONS)  # type: ignore[untyped-decorator]
def keep_linear(a: np.ndarray, b: np.ndarray, row: np.ndarray, count: int, rows: np.ndarray) -> None:
    """Write ``count`` samples of every spin into ``rows`` (count, 2 B): real parts, then imaginary parts."""
    n = a.size
    half = rows.shape[1] // 2
    for j in range(count):
        for i in range(n):
            x, y, c, s = a[i], b[i], row[0, i], row[1, i]
            rows[j, i], rows[j, half + i] = x, y
            a[i], b[i] = x * c - y * s, x * s + y * c


@njit(cache=True, nogil=True, **OPTIONS)  # type: ignore[untyped-decorator]
def keep_curved(a: np.ndarray, b: np.ndarray, row: np.ndarray, count: int, rows: np.ndarray) -> None:
    """As `keep_linear`, with a factor that turns from sample to sample."""
    n = a.size
    half = rows.shape[1] // 2
    for j in range(count):
        for i in range(n):
            x, y, c, s, f, g = a[i], b[i], row[0, i], row[1, i], row[2, i], row[3, i]
            rows[j, i], rows[j, half + i] = x, y
            a[i], b[i] = x * c - y * s, x * s + y * c
            row[0, i], row[1, i] = c * f - s * g, c * g + s * f

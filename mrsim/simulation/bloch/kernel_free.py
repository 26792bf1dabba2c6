"""Free precession and relaxation, in closed form over any time, for one block of spins.

Frame and signs: M+ = Mx + i My turns by exp(-2 pi i phase); see `mrsim.simulation.bloch.program`.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from .arithmetic import OPTIONS, loss, turn

_STEP = np.uint64(0x9E3779B97F4A7C15)


@njit(nogil=True, **OPTIONS)  # type: ignore[untyped-decorator]
def add_phases(psi: np.ndarray, dphi: np.ndarray, phase: np.ndarray) -> None:
    """Phase of every spin [cycles]: the sum over encoding fields, in float64.

    psi : (D, B), of which the first ``phase.size`` columns count. Rows are taken out before the loops: only a
    contiguous row is read by vector loads.
    """
    n = phase.size
    a, b, c, d = dphi[0], dphi[1], dphi[2], dphi[3]
    p, q, r, s = psi[0], psi[1], psi[2], psi[3]
    for i in range(n):
        phase[i] = a * p[i] + b * q[i] + c * r[i] + d * s[i]
    for f in range(4, dphi.size):
        a, p = dphi[f], psi[f]
        if a != 0.0:
            for i in range(n):
                phase[i] += a * p[i]


@njit(nogil=True, **OPTIONS)  # type: ignore[untyped-decorator]
def wrap(phase: np.ndarray, u: np.ndarray) -> None:
    """Reduce to [-1/2, 1/2] in float64, then round: no digit is lost to whole turns."""
    for i in range(phase.size):
        u[i] = phase[i] - math.floor(phase[i] + 0.5)


@njit(nogil=True, **OPTIONS)  # type: ignore[untyped-decorator]
def losses(time: float, r1: np.ndarray, r2: np.ndarray, k1: np.ndarray, k2: np.ndarray) -> None:
    """Shares 1 - exp(-t R) that relax over ``time`` [s].

    What is lost, not what is left: in single precision 1 - 1e-6 has one digit of the 1e-6.
    """
    for i in range(r1.size):
        t = r1.dtype.type(time)
        k1[i] = loss(t * r1[i])
        k2[i] = loss(t * r2[i])


@njit(nogil=True, **OPTIONS)  # type: ignore[untyped-decorator]
def precess(
    x: np.ndarray, y: np.ndarray, z: np.ndarray, u: np.ndarray, k1: np.ndarray, k2: np.ndarray, m0: np.ndarray
) -> None:
    """Turn by ``u`` [cycles] and relax."""
    for i in range(x.size):
        c, s = turn(u[i])
        a, b = x[i] - x[i] * k2[i], y[i] - y[i] * k2[i]
        x[i] = a * c + b * s
        y[i] = b * c - a * s
        z[i] += (m0[i] - z[i]) * k1[i]


@njit(nogil=True, **OPTIONS)  # type: ignore[untyped-decorator]
def exchange(
    time: float, r1: np.ndarray, m0: np.ndarray, bound: np.ndarray, lo: int, z: np.ndarray, zb: np.ndarray
) -> None:
    """Longitudinal relaxation of two exchanging pools over ``time`` [s], exactly (2 x 2 exponential).

    bound : table of all spins; those from ``lo`` on are meant.
    """
    for i in range(z.size):
        equilibrium, to, back, r1b = bound[0, lo + i], bound[1, lo + i], bound[2, lo + i], bound[3, lo + i]
        a, b, c, d = -(r1[i] + to), back, to, -(r1b + back)
        mean, half = 0.5 * (a + d), 0.5 * (a - d)
        root = math.sqrt(half * half + b * c)
        slow, fast = math.exp((mean + root) * time), math.exp((mean - root) * time)
        cosh = 0.5 * (slow + fast)
        sinh = 0.5 * (slow - fast) / root if root * time > 1e-6 else slow * time
        p, q = z[i] - m0[i], zb[i] - equilibrium
        z[i] = m0[i] + (cosh + sinh * half) * p + sinh * b * q
        zb[i] = equilibrium + sinh * c * p + (cosh - sinh * half) * q


@njit(nogil=True, **OPTIONS)  # type: ignore[untyped-decorator]
def _mix(value: np.uint64) -> np.uint64:
    """Mix 64 bits: finalizer of splitmix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@njit(nogil=True, **OPTIONS)  # type: ignore[untyped-decorator]
def _normals(key: np.uint64, serial: np.uint64) -> tuple[float, float, float, float]:
    """Return four standard normal numbers of a spin's ``key`` at operation ``serial`` (Box-Muller)."""
    base = _mix(key + serial * _STEP)
    n = np.empty(4)
    for k in range(2):
        u = np.float64(_mix(base + np.uint64(2 * k + 1) * _STEP) >> np.uint64(11)) * 2.0**-53
        v = np.float64(_mix(base + np.uint64(2 * k + 2) * _STEP) >> np.uint64(11)) * 2.0**-53
        r = math.sqrt(-2.0 * math.log(1.0 - u))
        n[2 * k], n[2 * k + 1] = r * math.cos(2 * math.pi * v), r * math.sin(2 * math.pi * v)
    return n[0], n[1], n[2], n[3]


@njit(nogil=True, **OPTIONS)  # type: ignore[untyped-decorator]
def diffuse(
    walk: np.ndarray, serial: int, key: np.ndarray, adc: np.ndarray, shift: np.ndarray, phase: np.ndarray
) -> None:
    """Random walk over one free precession: exact joint Gaussian of end point and accumulated phase.

    A Brownian path W under a gradient g gains the displacement dW ~ N(0, 2 D T) and the phase
    ``I = int K_rest dW`` with K_rest(t) the moment from t to the end; their covariance is 2 D int K_rest dt
    and the variance of I is 2 D int K_rest^2 dt, so four normal numbers give both without any time step.

    walk : row of `Ops.walk`;  shift : (3, B) displacement so far, updated;  phase : (B,) [cycles], added to.
    """
    duration = walk[0]
    if duration <= 0.0:
        return
    for i in range(phase.size):
        if adc[i] > 0.0:
            n0, n1, n2, n3 = _normals(key[i], np.uint64(serial))
            spread = math.sqrt(2.0 * adc[i] * duration)
            gain = 0.0
            d0, d1, d2 = spread * n0, spread * n1, spread * n2
            gain = (walk[1] * d0 + walk[2] * d1 + walk[3] * d2) / duration
            phase[i] += gain + math.sqrt(2.0 * adc[i] * walk[4]) * n3
            shift[0, i] += d0
            shift[1, i] += d1
            shift[2, i] += d2

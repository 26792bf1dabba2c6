"""Solid harmonics and their derivatives, as polynomials of the coordinates (nothing is singular on the axis).

R_n^m = r^n P_n^m(cos theta) exp(i m phi) with the unnormalised associated Legendre functions without the
Condon-Shortley phase. Recurrences and derivatives as in Hobson, The theory of spherical and ellipsoidal
harmonics (1931), chapters II and IV; both are tested against finite differences.
"""

from __future__ import annotations

import math

import numpy as np


def solid_harmonics(position: np.ndarray, degree: int) -> np.ndarray:
    """Return R_n^m of all points.

    Parameters
    ----------
    position : array (p, 3)
        Positions, in any unit.
    degree : int
        Highest degree.

    Returns
    -------
    complex array (degree + 1, degree + 1, p), entry (n, m); zero for m > n.
    """
    x, y, z = np.asarray(position, float).T
    r2 = x * x + y * y + z * z
    out = np.zeros((degree + 1, degree + 1, x.size), complex)
    sector = np.ones(x.size, complex)
    for m in range(degree + 1):
        out[m, m] = sector
        if m < degree:
            out[m + 1, m] = (2 * m + 1) * z * sector
        for n in range(m + 2, degree + 1):
            out[n, m] = ((2 * n - 1) * z * out[n - 1, m] - (n + m - 1) * r2 * out[n - 2, m]) / (n - m)
        sector = sector * (2 * m + 1) * (x + 1j * y)
    return out


def solid_gradients(values: np.ndarray) -> np.ndarray:
    """Return the derivatives of all R_n^m along x, y, z.

    d/dz R_n^m = (n + m) R_(n-1)^m;  (d/dx + i d/dy) R_n^m = -R_(n-1)^(m+1);
    (d/dx - i d/dy) R_n^m = (n + m)(n + m - 1) R_(n-1)^(m-1).

    Parameters
    ----------
    values : complex array (degree + 1, degree + 1, p)
        As of `solid_harmonics`.

    Returns
    -------
    complex array (3, degree + 1, degree + 1, p)
    """
    degree = values.shape[0] - 1
    out = np.zeros((3, *values.shape), complex)
    for n in range(1, degree + 1):
        for m in range(n + 1):
            up = -values[n - 1, m + 1] if m + 1 <= degree else np.zeros(values.shape[2])
            down = (n + m) * (n + m - 1) * values[n - 1, m - 1] if m else np.conj(up)
            out[0, n, m] = 0.5 * (up + down)
            out[1, n, m] = -0.5j * (up - down)
            out[2, n, m] = (n + m) * values[n - 1, m]
    return out


def harmonic_basis(position: np.ndarray, order: int, *, radius: float = 0.1) -> np.ndarray:
    """Return real solid harmonics up to an order, as shim coils make them.

    Parameters
    ----------
    position : array (p, 3)
        Positions [m].
    order : int
        Highest degree, >= 0.
    radius : float
        Radius [m] at which the terms are of order 1 (Schmidt's quasi-normalisation).

    Returns
    -------
    array (p, (order + 1)^2): 1; then per degree m = 0, cos 1, sin 1, cos 2, ... The linear ones are z, x, y.
    """
    values = solid_harmonics(np.asarray(position, float) / radius, order)
    columns = []
    for n in range(order + 1):
        columns.append(values[n, 0].real)
        for m in range(1, n + 1):
            scale = math.sqrt(2 * math.factorial(n - m) / math.factorial(n + m))
            columns += [scale * values[n, m].real, scale * values[n, m].imag]
    return np.stack(columns, axis=1)

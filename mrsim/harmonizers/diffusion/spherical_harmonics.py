"""Real spherical harmonics of even degree, regularised fits, and their rotation invariants (RISH).

The basis is the one DIPY calls "descoteaux07" in its legacy form, by scipy: for order m of degree l, with
theta the polar and phi the azimuthal angle of the direction,

    Y = Re(Y_l^0) for m = 0,  sqrt(2) Re(Y_l^|m|) for m < 0,  sqrt(2) Im(Y_l^|m|) for m > 0.

Descoteaux M, Angelino E, Fitzgibbons S, Deriche R. Regularized, fast, and robust analytical Q-ball imaging.
Magn Reson Med 58 (2007) 497-510, doi 10.1002/mrm.21277.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def even_degrees(highest: int) -> NDArray[np.intp]:
    """Return the degree of each basis function up to degree `highest`, (highest + 1)(highest + 2) / 2."""
    return np.concatenate([np.full(2 * degree + 1, degree) for degree in range(0, highest + 1, 2)])


def harmonics(directions: Array, highest: int) -> Array:
    """Return the basis at unit vectors (n, 3), shape (n, functions), degree by degree, m from -l to l."""
    from scipy.special import sph_harm_y

    theta = np.arccos(np.clip(directions[:, 2], -1.0, 1.0))
    phi = np.arctan2(directions[:, 1], directions[:, 0])
    columns = []
    for degree in range(0, highest + 1, 2):
        for order in range(-degree, degree + 1):
            value = sph_harm_y(degree, abs(order), theta, phi)
            part = value.imag if order > 0 else value.real
            columns.append(part if order == 0 else np.sqrt(2.0) * part)
    return np.stack(columns, axis=1)


def fit_matrix(basis: Array, highest: int, smoothing: float) -> Array:
    r"""Return the matrix (functions, n) from signals to coefficients.

    .. math:: (2 B^T B + \lambda L)^{-1} 2 B^T, \qquad L = \operatorname{diag}(l^2 (l + 1)^2)

    Laplace-Beltrami regularisation; the factor 2 counts each direction with its antipode, where the signal is
    the same.

    Raises
    ------
    ValueError
        If there are fewer directions than functions.
    """
    if basis.shape[0] < basis.shape[1]:
        raise ValueError(
            f"sh_order must leave no more than one function per direction; got order {highest} with "
            f"{basis.shape[1]} functions and {basis.shape[0]} directions. Lower sh_order."
        )
    degree = even_degrees(highest).astype(np.float64)
    penalty = smoothing * (degree * (degree + 1.0)) ** 2
    matrix = np.linalg.solve(2.0 * basis.T @ basis + np.diag(penalty), 2.0 * basis.T)
    return np.asarray(matrix, dtype=np.float64)


def rotation_invariants(coefficients: Array, highest: int) -> Array:
    """Return the energy of each even degree, (..., highest / 2 + 1): the sum of squares over its orders."""
    degrees = even_degrees(highest)
    energies = [
        (coefficients[..., degrees == degree] ** 2).sum(axis=-1) for degree in range(0, highest + 1, 2)
    ]
    return np.stack(energies, axis=-1)

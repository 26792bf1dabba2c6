"""Fibre orientation distributions as real spherical harmonics."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import lpmv

from .phantom import PhantomError

MAX_ORDER = 20


def harmonics(directions: ArrayLike, order: int) -> NDArray[np.float64]:
    """Return the real, even, orthonormal spherical harmonics at unit vectors.

    Y_l0 = N_l0 P_l0(cos theta); Y_lm = sqrt(2) N_lm P_lm(cos theta) cos(m phi) for m > 0, with sin(|m| phi)
    for m < 0, without the Condon-Shortley phase; theta from +z, phi from +x. Coefficients run over l = 0, 2,
    ..., `order` and m = -l..l: the order of MRtrix3 and of DIPY's bases.

    Parameters
    ----------
    directions : array_like (..., 3)
        Unit vectors.
    order : int
        Largest l, even, 0 to 20.

    Returns
    -------
    ndarray (..., coefficients)
        (order + 1)(order + 2)/2 values per direction.
    """
    if not (isinstance(order, int) and 0 <= order <= MAX_ORDER and order % 2 == 0):
        raise PhantomError(f"order must be even, 0 to {MAX_ORDER}; got {order!r}.")
    n = np.asarray(directions, np.float64)
    cosine, phi = np.clip(n[..., 2], -1.0, 1.0), np.arctan2(n[..., 1], n[..., 0])
    out = []
    for degree in range(0, order + 1, 2):
        for m in range(-degree, degree + 1):
            k = abs(m)
            ratio = math.factorial(degree - k) / math.factorial(degree + k)
            norm = math.sqrt((2 * degree + 1) / (4 * math.pi) * ratio * (2 if m else 1))
            wave = np.cos(k * phi) if m >= 0 else np.sin(k * phi)
            # scipy's Legendre functions carry (-1)^m.
            out.append(norm * (-1.0) ** k * lpmv(k, degree, cosine) * wave)
    return np.stack(out, axis=-1)


def fibre_odf(directions: ArrayLike, weights: ArrayLike, order: int = 8) -> NDArray[np.float32]:
    """Return the coefficients of sum_p w_p delta(n_p), cut at a degree.

    Parameters
    ----------
    directions : array_like (fibres, ..., 3)
        Unit vectors; ignored where the weight is 0.
    weights : array_like (fibres, ...)
        Shares; the integral of the distribution over the sphere is their sum.
    order : int
        Largest degree, even.

    Returns
    -------
    ndarray, float32, shape (..., coefficients)
        In the basis of `harmonics`.
    """
    n, w = np.asarray(directions, np.float64), np.asarray(weights, np.float64)
    if n.shape[:-1] != w.shape or n.shape[-1:] != (3,):
        raise PhantomError(f"directions must be (*weights, 3); got {n.shape} with weights {w.shape}.")
    out = np.zeros((*w.shape[1:], (order + 1) * (order + 2) // 2), np.float32)
    for vectors, shares in zip(n, w, strict=True):
        where = shares > 0
        out[where] += (shares[where][:, None] * harmonics(vectors[where], order)).astype(np.float32)
    return out


def odf_amplitude(coefficients: ArrayLike, directions: ArrayLike) -> NDArray[np.float64]:
    """Return the distribution (..., n) along unit vectors (n, 3)."""
    c = np.asarray(coefficients, np.float64)
    order = round((np.sqrt(8 * c.shape[-1] + 1) - 3) / 2)
    return np.asarray(c @ harmonics(directions, order).T)

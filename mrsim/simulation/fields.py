"""B0 from susceptibility with shimming, and B1+ from the standing wave, on a coarse grid.

Both are smooth where there is signal; they are computed on a few-millimetre grid and interpolated by
cubic splines to the simulation grid.
"""

from __future__ import annotations

import numpy as np
from scipy import fft
from scipy.interpolate import make_interp_spline


def dipole_field(
    chi: np.ndarray, spacing: np.ndarray, direction: np.ndarray, *, pad: int = 2, outside: float
) -> np.ndarray:
    """Relative field shift of a susceptibility map, Lorentz sphere corrected.

    Convolution with the dipole kernel 1/3 - (k.b)^2/k^2 (Marques and Bowtell, Concepts Magn Reson B
    25:65-78, 2005; Salomir et al. 19:26-34, 2003).

    Parameters
    ----------
    chi : array (x, y, z)
        Susceptibility [ppm].
    spacing : array (3,)
        Grid spacing [m].
    direction : array (3,)
        Unit vector of B0 in the grid's axes.
    pad : int
        Grid is enlarged this many times against wrap-around.
    outside : float
        Susceptibility around the map [ppm].

    Returns
    -------
    array (x, y, z): field shift [ppm of B0].
    """
    shape = chi.shape
    big = [fft.next_fast_len(pad * n, real=True) for n in shape]
    spectrum = fft.rfftn(np.asarray(chi - outside, dtype=np.float32), s=big, workers=1)
    axes = [fft.fftfreq(big[i], spacing[i]) for i in (0, 1)] + [fft.rfftfreq(big[2], spacing[2])]
    kx, ky, kz = (a.reshape([-1 if j == i else 1 for j in range(3)]) for i, a in enumerate(axes))
    k2 = kx**2 + ky**2 + kz**2
    along = kx * direction[0] + ky * direction[1] + kz * direction[2]
    k2[0, 0, 0] = 1.0
    kernel = (1.0 / 3.0 - along**2 / k2).astype(np.float32)
    kernel[0, 0, 0] = 0.0
    field = fft.irfftn(spectrum * kernel, s=big, workers=1)
    return np.asarray(field[: shape[0], : shape[1], : shape[2]])


def harmonics(points: np.ndarray, order: int) -> np.ndarray:
    """Solid harmonics up to ``order`` (0 to 3) at points (p, 3) [m] in units of 0.1 m, shape (p, terms)."""
    if order not in (0, 1, 2, 3):
        raise ValueError(f"shim order must be 0, 1, 2 or 3; got {order}. Check the scanner record.")
    x, y, z = (np.asarray(points, float) / 0.1).T
    r2 = x**2 + y**2
    terms = [np.ones_like(x)]
    if order >= 1:
        terms += [x, y, z]
    if order >= 2:
        terms += [z**2 - r2 / 2, z * x, z * y, x**2 - y**2, x * y]
    if order >= 3:
        terms += [
            z**3 - 1.5 * z * r2, x * (z**2 - r2 / 4), y * (z**2 - r2 / 4), z * (x**2 - y**2), x * y * z,
            x**3 - 3 * x * y**2, 3 * x**2 * y - y**3,
        ]  # fmt: skip
    return np.stack(terms, axis=1)


def shim(field: np.ndarray, points: np.ndarray, region: np.ndarray, order: int) -> np.ndarray:
    """Subtract the spherical harmonics that best null ``field`` inside ``region``.

    Parameters
    ----------
    field : array (p,)
        Field shift, any unit.
    points : array (p, 3)
        Positions [m].
    region : array (p,)
        Weights >= 0 of the shim volume (the brain).
    order : int
        Highest order of the shim coils, 0 (frequency only) to 3.

    Raises
    ------
    ValueError
        If the region is empty or the order unknown.
    """
    inside = np.flatnonzero(region > 0)
    if inside.size == 0:
        raise ValueError("the shim region must not be empty; got no voxel with brain tissue.")
    basis = harmonics(points, order)
    root = np.sqrt(region[inside])[:, None]
    coefficients, *_ = np.linalg.lstsq(basis[inside] * root, field[inside] * root[:, 0], rcond=None)
    return np.asarray(field - basis @ coefficients)


def b1_dome(points: np.ndarray, *, b0: float, curvature_3t: float, semi_axes: np.ndarray) -> np.ndarray:
    """Relative transmit field of a volume coil around a head-like dielectric.

    Leading order of the standing wave J0(k rho) in an elliptic cylinder: 1 - d rho^2, with d growing as
    B0^2 because the wave number does (compare Hoult, J Magn Reson Imaging 12:46-67, 2000). Not yet
    normalised.

    Parameters
    ----------
    points : array (p, 3)
        Positions relative to the centre of the head [m].
    b0 : float
        Field [T].
    curvature_3t : float
        d at 3 T, in units of the head's semi-axes.
    semi_axes : array (3,)
        Semi-axes of the head [m].
    """
    rho2 = np.sum((np.asarray(points) / np.asarray(semi_axes)) ** 2 * np.array([1.0, 1.0, 0.6]), axis=1)
    # A cosine keeps the leading term and stays positive outside the head.
    d = curvature_3t * (b0 / 3.0) ** 2
    return np.asarray(np.cos(np.minimum(np.sqrt(2 * d * rho2), 1.3)))


def spline_matrix(coarse: np.ndarray, fine: np.ndarray) -> np.ndarray:
    """Matrix (fine, coarse) of cubic-spline interpolation between coordinates [m], float32."""
    degree = min(3, coarse.size - 1)
    spline = make_interp_spline(coarse, np.eye(coarse.size), k=degree)
    return np.asarray(spline(np.clip(fine, coarse[0], coarse[-1])), dtype=np.float32)


def upsample(values: np.ndarray, matrices: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    """Separable interpolation of a coarse 3-D map by one matrix per axis."""
    a, b, c = matrices
    n0, n1, n2 = values.shape
    if np.iscomplexobj(values):
        values = np.asarray(values, dtype=np.complex64)
        a, b, c = (m.astype(np.complex64) for m in matrices)
    else:
        values = np.asarray(values, dtype=np.float32)
    x = (a @ values.reshape(n0, -1)).reshape(-1, n1, n2)
    x = np.matmul(b, x)
    return np.asarray((x.reshape(-1, n2) @ c.T).reshape(a.shape[0], b.shape[0], -1))

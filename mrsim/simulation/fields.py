"""B0 from susceptibility with shimming, and interpolation of smooth fields from a coarse grid.

Fields are smooth where there is signal; they are computed on a few-millimetre grid and interpolated by
cubic splines to the simulation grid.
"""

from __future__ import annotations

import numpy as np
from scipy import fft
from scipy.interpolate import make_interp_spline

from .harmonics import harmonic_basis


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
        Highest order of the shim coils, 0 (frequency only) to 6.

    Raises
    ------
    ValueError
        If the region is empty or the order unknown.
    """
    inside = np.flatnonzero(region > 0)
    if inside.size == 0:
        raise ValueError("the shim region must not be empty; got no voxel with brain tissue.")
    if not 0 <= order <= 6:
        raise ValueError(f"shim order must be 0..6; got {order}. Check the scanner record.")
    basis = harmonic_basis(points, order)
    root = np.sqrt(region[inside])[:, None]
    coefficients, *_ = np.linalg.lstsq(basis[inside] * root, field[inside] * root[:, 0], rcond=None)
    return np.asarray(field - basis @ coefficients)


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

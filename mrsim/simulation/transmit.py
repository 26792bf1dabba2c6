"""Transmit field B1+ of a volume coil around a head-like dielectric, relative to its mean."""

from __future__ import annotations

import numpy as np

_AXIAL = 0.6
"""Weight of the head-foot direction: the field of a birdcage varies less along its axis."""


def elliptic_radius_squared(points: np.ndarray, semi_axes: np.ndarray) -> np.ndarray:
    """Return the squared distance from the centre in units of the head, the axial direction weighted less.

    points : (p, 3) relative to the centre of the head [m];  semi_axes : (3,) of the head [m].
    """
    unit = np.asarray(points) / np.asarray(semi_axes)
    return np.asarray(np.sum(unit**2 * np.array([1.0, 1.0, _AXIAL]), axis=1))


def dome(points: np.ndarray, *, b0: float, curvature_3t: float, semi_axes: np.ndarray) -> np.ndarray:
    """Relative transmit field with a central dome: 1.5 and 3 T.

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
    # A cosine keeps the leading term and stays positive outside the head.
    d = curvature_3t * (b0 / 3.0) ** 2
    rho2 = elliptic_radius_squared(points, semi_axes)
    return np.asarray(np.cos(np.minimum(np.sqrt(2 * d * rho2), 1.3)))


def standing_wave(
    points: np.ndarray, *, b0: float, curvature_3t: float, semi_axes: np.ndarray, loss_tangent: float
) -> np.ndarray:
    """Relative transmit field of the circularly polarised mode at ultra-high field.

    The co-rotating field of a birdcage in a dielectric cylinder is J0(k rho) (Hoult, as in `dome`), with
    k^2 = omega^2 mu epsilon (1 - i tan delta): bright in the centre, a dark ring that losses keep from
    being black, brighter again outside. k is set by the dome that the same head has at 3 T,
    k^2 a^2 = 4 d (B0 / 3 T)^2. The magnitude is returned, not yet normalised.

    Parameters
    ----------
    points, b0, curvature_3t, semi_axes
        As of `dome`.
    loss_tangent : float
        tan delta = sigma / (omega epsilon): about 0.7 for brain (0.6 S/m, relative permittivity 52) at 7 T.
    """
    from scipy.special import jv

    square = 4 * curvature_3t * (b0 / 3.0) ** 2 * (1.0 - 1j * loss_tangent)
    # Beyond 1.5 head radii there is no tissue; J0 of a complex argument would grow without bound.
    rho2 = np.minimum(elliptic_radius_squared(points, semi_axes), 1.5**2)
    return np.asarray(np.abs(jv(0, np.sqrt(square * rho2))))

"""Transmit field (flip angle over nominal) from double-angle and actual-flip-angle images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .inputs import FloatArray, MetricInputError

_ROUNDS = 60
"""Bisections: an angle within pi is found to double precision."""


def double_angle_b1(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    flip: float,
    *,
    tr: float = np.inf,
    t1: npt.ArrayLike = 1.0,
) -> FloatArray:
    """Flip angle over nominal from spoiled images at `flip` and twice that.

    The ratio second/first is 2 cos a (1 - E1 cos a)/(1 - E1 cos 2a) with E1 = exp(-TR/T1); for long TR it is
    the 2 cos a of Insko and Bolinger, J Magn Reson A 103:82-85, 1993.

    Parameters
    ----------
    first, second : array_like, shape (...)
        Magnitudes, with the sign of `second` kept where a may pass 90 degrees.
    flip : float
        Nominal angle of the first image [rad], below pi/2.
    tr : float
        Repetition time [s].
    t1 : array_like, shape (...)
        T1 [s]; an error of it matters little where TR is several T1.

    Returns
    -------
    ndarray, shape (...)
        NaN where no angle below 120 degrees gives the ratio.
    """
    if not 0.0 < flip < 0.5 * np.pi:
        raise MetricInputError(f"flip must lie between 0 and pi/2; got {flip}. Give radians.")
    a, b = np.asarray(first, float), np.asarray(second, float)
    if a.shape != b.shape or not (a > 0.0).all():
        raise MetricInputError(
            f"first and second must match and first be positive; got {a.shape}, {b.shape}."
        )
    e1 = np.broadcast_to(np.exp(-tr / np.asarray(t1, float)), a.shape)
    ratio = b / a

    def excess(angle: FloatArray) -> FloatArray:
        c = np.cos(angle)
        return np.asarray(2.0 * c * (1.0 - e1 * c) / (1.0 - e1 * (2.0 * c * c - 1.0)) - ratio)

    # The ratio falls with the angle for any E1 up to 120 degrees, starting from at most 2.
    low, high = np.full(a.shape, 1e-4), np.full(a.shape, 2.0 * np.pi / 3.0)
    valid = (excess(low) >= 0.0) & (excess(high) <= 0.0)
    for _ in range(_ROUNDS):
        middle = 0.5 * (low + high)
        above = excess(middle) > 0.0
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.where(valid, 0.5 * (low + high) / flip, np.nan)


def actual_flip_b1(first: npt.ArrayLike, second: npt.ArrayLike, flip: float, tr_ratio: float) -> FloatArray:
    """Flip angle over nominal from actual-flip-angle images: cos a = (r n - 1)/(n - r), r = second/first.

    Yarnykh, Magn Reson Med 57:192-200, 2007; exact in the limit TR1, TR2 << T1 and ideal spoiling.

    Parameters
    ----------
    first, second : array_like, shape (...)
        Magnitudes after the short and after the long interval.
    flip : float
        Nominal angle [rad].
    tr_ratio : float
        n = TR2/TR1, the long over the short interval.
    """
    if not tr_ratio > 1.0:
        raise MetricInputError(
            f"tr_ratio must exceed 1; got {tr_ratio}. Give the long TR over the short one."
        )
    if not 0.0 < flip < np.pi:
        raise MetricInputError(f"flip must lie between 0 and pi; got {flip}. Give radians.")
    a, b = np.asarray(first, float), np.asarray(second, float)
    r = b / np.where(a > 0.0, a, np.nan)
    cosine = (r * tr_ratio - 1.0) / (tr_ratio - r)
    return np.asarray(np.arccos(np.where(np.abs(cosine) <= 1.0, cosine, np.nan)) / flip)

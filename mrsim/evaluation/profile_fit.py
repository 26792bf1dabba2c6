"""Least squares of models with one nonlinear parameter, for all voxels at once.

Amplitudes enter the models of relaxometry linearly. Projecting them out (variable projection, Golub and
Pereyra, SIAM J Numer Anal 10:413-432, 1973) leaves one nonlinear parameter, which is searched over a whole
range: the result does not depend on a starting value and cannot stop in a local minimum.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from .inputs import FloatArray, MetricInputError

Cost = Callable[[FloatArray], FloatArray]
"""Sum of squared residuals of every voxel for one trial value per voxel."""

_GRID = 160
_GOLDEN = 0.5 * (5.0**0.5 - 1.0)
_STEPS = 45
"""Golden sections after the grid: the bracket shrinks by 4e-10, below the rounding of the cost."""


def minimise(cost: Cost, count: int, bounds: tuple[float, float]) -> FloatArray:
    """Minimise over one positive parameter per voxel.

    Parameters
    ----------
    cost
        Takes trial values of shape (count,).
    count
        Number of voxels.
    bounds
        Range of the parameter; searched evenly in its logarithm.

    Returns
    -------
    ndarray, shape (count,)
        The minimiser; one at a bound means that the data do not determine it inside the range.
    """
    grid = np.geomspace(*bounds, _GRID)
    best, place = np.full(count, np.inf), np.zeros(count, np.intp)
    for n, value in enumerate(grid):
        now = cost(np.full(count, value))
        better = now < best
        best[better], place[better] = now[better], n
    low = np.log(grid[np.maximum(place - 1, 0)])
    high = np.log(grid[np.minimum(place + 1, _GRID - 1)])
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = cost(np.exp(left)), cost(np.exp(right))
    for _ in range(_STEPS):
        smaller = at_left < at_right
        high, low = np.where(smaller, right, high), np.where(smaller, low, left)
        new = np.where(smaller, high - _GOLDEN * (high - low), low + _GOLDEN * (high - low))
        at_new = cost(np.exp(new))
        left, right = np.where(smaller, new, right), np.where(smaller, left, new)
        at_left, at_right = np.where(smaller, at_new, at_right), np.where(smaller, at_left, at_new)
    return np.asarray(np.exp(0.5 * (low + high)))


def project(
    data: npt.NDArray[np.inexact], *columns: FloatArray
) -> tuple[npt.NDArray[np.inexact], FloatArray]:
    """Best amplitudes of one or two model columns and the squared residual that is left.

    Parameters
    ----------
    data : ndarray, shape (voxel, n)
        Real or complex measurements.
    *columns : ndarray, shape (voxel, n)
        Real model columns.

    Returns
    -------
    amplitudes : ndarray, shape (column, voxel)
        Real or complex, as the data.
    residual : ndarray, shape (voxel,)
        Sum of squared moduli.
    """
    if len(columns) == 1:
        (f,) = columns
        power = (f * f).sum(axis=1)
        amplitude = (f * data).sum(axis=1) / np.where(power > 0.0, power, 1.0)
        rest = data - amplitude[:, None] * f
        return amplitude[None], np.asarray((np.abs(rest) ** 2).sum(axis=1))
    f, g = columns
    mean_f, mean_g, mean_y = ((f * f).sum(axis=1), (f * g).sum(axis=1), (f * data).sum(axis=1))
    # Gram-Schmidt: the part of g that f does not explain.
    slope = mean_g / np.where(mean_f > 0.0, mean_f, 1.0)
    new = g - slope[:, None] * f
    power = (new * new).sum(axis=1)
    b = (new * data).sum(axis=1) / np.where(power > 0.0, power, 1.0)
    a = mean_y / np.where(mean_f > 0.0, mean_f, 1.0) - slope * b
    rest = data - a[:, None] * f - b[:, None] * g
    return np.stack([a, b]), np.asarray((np.abs(rest) ** 2).sum(axis=1))


def voxels(
    signals: npt.ArrayLike, settings: int, *, magnitude: bool = False
) -> tuple[npt.NDArray[np.inexact], tuple[int, ...]]:
    """Check measurements of shape (..., settings) and flatten them to (voxel, settings).

    Raises
    ------
    MetricInputError
        If the last axis does not match, or values are not finite.
    """
    data = np.asarray(signals)
    data = data.astype(np.complex128 if np.iscomplexobj(data) else np.float64)
    if data.ndim == 0 or data.shape[-1] != settings:
        raise MetricInputError(
            f"signals must have shape (..., {settings}), one value per setting; got {data.shape}."
        )
    if not np.isfinite(data).all():
        raise MetricInputError("signals must be finite; got NaN or infinity. Mask such voxels first.")
    if magnitude and (np.iscomplexobj(data) or (data < 0.0).any()):
        raise MetricInputError("signals must be real and not negative here. Take the modulus first.")
    return data.reshape(-1, settings), data.shape[:-1]


def per_voxel(values: npt.ArrayLike | None, shape: tuple[int, ...], name: str, default: float) -> FloatArray:
    """Return a positive map flattened to (voxel,), or the default everywhere."""
    if values is None:
        return np.full(int(np.prod(shape)), default)
    try:
        flat = np.broadcast_to(np.asarray(values, np.float64), shape).reshape(-1)
    except ValueError as error:
        raise MetricInputError(f"{name} must match the voxels {shape}; got {np.shape(values)}.") from error
    if not (np.isfinite(flat).all() and (flat > 0.0).all()):
        raise MetricInputError(f"{name} must be finite and positive. Mask voxels without it first.")
    return flat


def settings(values: npt.ArrayLike, name: str, least: int) -> FloatArray:
    """Check a list of positive settings, such as flip angles or times."""
    flat = np.atleast_1d(np.asarray(values, np.float64))
    if flat.ndim != 1 or flat.size < least or not (np.isfinite(flat).all() and (flat > 0.0).all()):
        raise MetricInputError(f"{name} must be {least} or more positive numbers; got {flat.tolist()}.")
    return flat

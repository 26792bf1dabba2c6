"""Minimising one number per feature, for all features at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

# Halvings of a bracket of width 1: to float64 rounding of the argument.
_HALVINGS = 52


def minimise_each(
    criterion: Callable[[Vector], tuple[Vector, Vector]], grid: Vector, n_features: int
) -> Vector:
    """Return the argument with the least criterion for each feature.

    The best point of the grid is found first, so of several minima the lowest one at the grid's resolution is
    taken; the zero of the slope between its neighbours follows by bisection, which fixes the argument to
    rounding where comparing values would leave half of the digits. No start value, no random folds.

    Parameters
    ----------
    criterion
        Takes one argument per feature, shape (n_features,), and returns value and slope per feature.
    grid
        Increasing arguments that span the search.
    n_features
        Number of features.
    """
    values = np.array([criterion(np.full(n_features, point))[0] for point in grid])
    best = values.argmin(axis=0)
    low, high = grid[np.maximum(best - 1, 0)], grid[np.minimum(best + 1, grid.size - 1)]
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        rising = criterion(middle)[1] > 0.0
        low, high = np.where(rising, low, middle), np.where(rising, middle, high)
    found: Vector = (low + high) / 2.0
    return found

"""Compiled loops over voxels for the segmentation (imports numba, hence a module of its own)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit


@njit(cache=True)  # type: ignore[untyped-decorator]
def expectation(
    levels: npt.NDArray[np.int32],
    classes: npt.NDArray[np.float32],
    table: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    counts: npt.NDArray[np.float64],
    mass: npt.NDArray[np.float64],
) -> Any:
    """Add expected voxels to `counts`, prior mass per unit weight to `mass`; return the log likelihood.

    levels (n,), classes (6, n) prior per voxel, table (level, 6) likelihood, weights (6,), counts (level, 6),
    mass (6,).
    """
    n_classes = weights.shape[0]
    joint = np.empty(n_classes)
    total = 0.0
    for v in range(levels.shape[0]):
        level = levels[v]
        prior_sum = 0.0
        evidence = 0.0
        for c in range(n_classes):
            prior = weights[c] * classes[c, v]
            prior_sum += prior
            joint[c] = prior * table[level, c]
            evidence += joint[c]
        total += np.log(evidence / prior_sum)
        for c in range(n_classes):
            counts[level, c] += joint[c] / evidence
            mass[c] += classes[c, v] / prior_sum
    return total


@njit(cache=True)  # type: ignore[untyped-decorator]
def expected_fractions(
    levels: npt.NDArray[np.int32],
    classes: npt.NDArray[np.float32],
    table: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    first: npt.NDArray[np.float64],
) -> Any:
    """Return the expected tissue fractions (n, 3); `first` is E[f | level, class] (level, 6, 3)."""
    n_classes = weights.shape[0]
    out = np.zeros((levels.shape[0], 3), dtype=np.float32)
    for v in range(levels.shape[0]):
        level = levels[v]
        evidence = 0.0
        csf, gm, wm = 0.0, 0.0, 0.0
        for c in range(n_classes):
            joint = weights[c] * classes[c, v] * table[level, c]
            evidence += joint
            csf += joint * first[level, c, 0]
            gm += joint * first[level, c, 1]
            wm += joint * first[level, c, 2]
        out[v, 0] = csf / evidence
        out[v, 1] = gm / evidence
        out[v, 2] = wm / evidence
    return out


@njit(cache=True)  # type: ignore[untyped-decorator]
def pure_expectation(
    levels: npt.NDArray[np.int32],
    classes: npt.NDArray[np.float32],
    table: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    means: npt.NDArray[np.float64],
) -> Any:
    """Return per voxel the probability of being pure and the expected pure intensity."""
    n = levels.shape[0]
    share = np.empty(n)
    expected = np.empty(n)
    for v in range(n):
        level = levels[v]
        evidence = 0.0
        pure = 0.0
        value = 0.0
        for c in range(weights.shape[0]):
            joint = weights[c] * classes[c, v] * table[level, c]
            evidence += joint
            if c < 3:
                pure += joint
                value += joint * means[c]
        share[v] = pure / evidence
        expected[v] = value / pure if pure > 0.0 else means[1]
    return share, expected

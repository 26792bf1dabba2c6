"""Three intensity classes of a brain by fuzzy c-means, and which of them is which tissue."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Rank of the class mean, darkest first. T1w: fluid < grey < white; T2w: white < grey < fluid; FLAIR: fluid is
# nulled and white matter darker than grey; PDw: white matter has the least water.
WHITE_MATTER_RANK = {"T1w": 2, "T2w": 0, "FLAIR": 1, "PDw": 0}
FLUID_RANK = {"T1w": 0, "T2w": 2, "FLAIR": 0, "PDw": 2}

_CLASSES = 3
_ROUNDS = 300
# Largest move of a class mean, in units of the intensity range, at which the iteration has settled.
_SETTLED = 1e-9


def tissue_rank(ranks: dict[str, int], contrast: str) -> int:
    """Return the rank of a tissue's class, or refuse an unknown contrast.

    Raises
    ------
    ValueError
        If `contrast` is not a known BIDS suffix.
    """
    if contrast not in ranks:
        raise ValueError(
            f"contrast must be one of {', '.join(ranks)}; got '{contrast}'. Use the BIDS suffix of the image."
        )
    return ranks[contrast]


def fuzzy_classes(values: Array) -> tuple[Array, Array]:
    r"""Return class means (3,), darkest first, and memberships (3, n) of fuzzy c-means with exponent 2.

    .. math::
        u_{kn} = \frac{(x_n - c_k)^{-2}}{\sum_j (x_n - c_j)^{-2}}, \qquad
        c_k = \frac{\sum_n u_{kn}^2 x_n}{\sum_n u_{kn}^2}

    Starts from three quantiles, so there is no random start; iterates to convergence.

    Raises
    ------
    ValueError
        If the values do not spread over three classes.

    References
    ----------
    Bezdek JC. Pattern recognition with fuzzy objective function algorithms. Plenum (1981).
    """
    low, high = float(values.min()), float(values.max())
    if not high - low > 1e-12 * max(abs(low), abs(high)):
        raise ValueError(
            f"image must vary inside the mask; got values from {low:g} to {high:g}. "
            "Check the image and its mask."
        )
    scaled = (values - low) / (high - low)
    centres = np.quantile(scaled, (np.arange(_CLASSES) + 0.5) / _CLASSES)
    if np.unique(centres).size < _CLASSES:  # quantised images
        centres = (np.arange(_CLASSES) + 0.5) / _CLASSES
    for _ in range(_ROUNDS):
        weight = _memberships(scaled, centres) ** 2
        moved = (weight @ scaled) / weight.sum(axis=1)
        settled = np.abs(moved - centres).max() < _SETTLED
        centres = moved
        if settled:
            break
    order = np.argsort(centres)
    return low + (high - low) * centres[order], _memberships(scaled, centres[order])


def class_means(values: Array, memberships: Array) -> Array:
    """Return the membership-weighted mean intensity of each class, (3,)."""
    means: Array = (memberships @ values) / memberships.sum(axis=1)
    return means


def _memberships(values: Array, centres: Array) -> Array:
    # A value on a centre has distance 0: the smallest float makes its membership there 1.
    inverse = 1.0 / np.maximum((values - centres[:, None]) ** 2, np.finfo(float).eps ** 2)
    inverse /= inverse.sum(axis=0)
    return np.asarray(inverse, dtype=np.float64)

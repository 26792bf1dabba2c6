"""Rank-1 lattices that spread sub-spins evenly over a voxel and a line shape."""

from __future__ import annotations

from functools import lru_cache
from math import gcd

import numpy as np
from numpy.typing import NDArray

DIMENSIONS = 4
BUDGET = 2**18
"""Candidates times points that are compared: the search for one lattice stays below 50 ms."""


@lru_cache(maxsize=256)
def korobov_generator(n: int) -> int:
    """Return the generator a, coprime to n, of the best Korobov lattice {i (1, a, a^2, a^3) / n mod 1}.

    Best is the smallest worst-case error of integrating functions with square-integrable mixed derivatives
    (the P2 criterion, Sloan & Joe, Lattice Methods for Multiple Integration, 1994), the mean over the points
    of ``prod_d (1 + 2 pi^2 B2(x_d))`` with the Bernoulli polynomial B2(x) = x^2 - x + 1/6. All generators are
    compared for small n, an even choice of them for large n.

    Parameters
    ----------
    n : int
        Number of points, >= 1.

    Returns
    -------
    int
        1 <= a <= max(1, n/2); the mirrored n - a is equally good.
    """
    candidates = np.array([a for a in range(1, n // 2 + 1) if gcd(a, n) == 1] or [1], np.int64)
    keep = max(8, BUDGET // n)
    if candidates.size > keep:
        candidates = candidates[np.linspace(0, candidates.size - 1, keep).astype(np.intp)]
    x = np.arange(n) / n
    kernel = 1.0 + 2.0 * np.pi**2 * (x * x - x + 1.0 / 6.0)
    i = np.arange(n, dtype=np.int64)
    product = np.broadcast_to(kernel, (candidates.size, n)).copy()
    power = np.ones_like(candidates)
    for _ in range(DIMENSIONS - 1):
        power = power * candidates % n
        product *= kernel[power[:, None] * i % n]
    return int(candidates[np.argmin(product.mean(axis=1))])


def lattice_points(n: int) -> NDArray[np.float64]:
    """Return the n lattice points in the unit cube, shape (n, 4); each axis has each of 0/n..(n-1)/n."""
    a = korobov_generator(n)
    i = np.arange(n, dtype=np.int64)
    columns = []
    power = 1
    for _ in range(DIMENSIONS):
        columns.append(i * power % n)
        power = power * a % n
    return np.stack(columns, axis=-1) / n

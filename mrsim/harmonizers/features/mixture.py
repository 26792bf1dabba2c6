"""Two-component normal mixtures of many features at once, for finding a hidden grouping of samples."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.float64]

_ROUNDS = 500
_SETTLED = 1e-10
# A component narrower than this fraction of the feature's spread has collapsed onto single samples.
_NARROWEST = 1e-3


class Mixture(NamedTuple):
    """Weights, means and standard deviations (2, p), the lower mean first, and log likelihood (p,)."""

    weight: Table
    mean: Table
    sd: Table
    log_likelihood: Table


def fit_mixture(X: Table) -> Mixture:
    """Fit two normal components to every column of X by expectation maximisation.

    Starts from the halves below and above the median: no random start, and the order of samples plays no
    part.
    """
    spread = X.std(axis=0)
    high = np.median(X, axis=0) < X
    share = np.stack([~high, high]).astype(np.float64)
    before = np.full(X.shape[1], -np.inf)
    for _ in range(_ROUNDS):
        total = share.sum(axis=1)
        mean = (share * X).sum(axis=1) / total
        variance = (share * (X - mean[:, None]) ** 2).sum(axis=1) / total
        sd = np.maximum(np.sqrt(variance), _NARROWEST * spread)
        weight = total / len(X)
        share, log_likelihood = _shares(X, weight, mean, sd)
        if (np.abs(log_likelihood - before) <= _SETTLED * np.abs(log_likelihood)).all():
            break
        before = log_likelihood
    order = np.argsort(mean, axis=0)
    low_first = [np.take_along_axis(a, order, axis=0) for a in (weight, mean, sd)]
    return Mixture(low_first[0], low_first[1], low_first[2], log_likelihood)


def upper_component(x: Table, weight: Table, mean: Table, sd: Table) -> NDArray[np.bool_]:
    """Return which samples of one feature, (n,), belong to the component with the larger mean."""
    share, _ = _shares(x[:, None], weight[:, None], mean[:, None], sd[:, None])
    upper: NDArray[np.bool_] = share[1, :, 0] > share[0, :, 0]
    return upper


def information_gain(X: Table, mixture: Mixture) -> Table:
    """Return by how much Akaike's criterion prefers two components to one, per feature; no unit enters."""
    sd = X.std(axis=0)
    single = -0.5 * len(X) * (np.log(2.0 * np.pi * sd**2) + 1.0)
    # 5 parameters against 2.
    gain: Table = 2.0 * (mixture.log_likelihood - single) - 2.0 * (5 - 2)
    return gain


def _shares(X: Table, weight: Table, mean: Table, sd: Table) -> tuple[Table, Table]:
    """Return each component's share in each sample (2, n, p), and the log likelihood (p,)."""
    z = (X - mean[:, None]) / sd[:, None]
    log_density = np.log(weight / (np.sqrt(2.0 * np.pi) * sd))[:, None] - 0.5 * z**2
    total = np.logaddexp(log_density[0], log_density[1])
    return np.exp(log_density - total), total.sum(axis=0)

"""Bootstrap confidence intervals over subjects.

Scans of one subject are not independent, so whole subjects are drawn (cluster bootstrap). Percentile and BCa:
Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 13-14. Expanded percentile: Hesterberg,
The American Statistician 69(4):371-386, 2015; with few subjects (the demo has six) it is the only one of the
three whose coverage comes near the stated level.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .inputs import FloatArray, MetricInputError

Method = Literal["percentile", "bca", "expanded"]
METHODS: tuple[Method, ...] = ("percentile", "bca", "expanded")


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate with its interval; arrays where the statistic returns arrays.

    `n` counts subjects (clusters), `n_failed` the replicates (of `n_boot`) left out because the statistic was
    not finite there (the worst element where the statistic is an array).
    """

    estimate: FloatArray
    low: FloatArray
    high: FloatArray
    level: float
    method: str
    n: int
    n_boot: int
    n_failed: int

    def scalars(self) -> tuple[float, float, float]:
        """Return (estimate, low, high) of a scalar statistic as floats."""
        return float(self.estimate), float(self.low), float(self.high)


def resample_indices(n: int, n_boot: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return `n_boot` samples with replacement of range(n), shape (n_boot, n)."""
    return rng.integers(0, n, size=(n_boot, n))


def bootstrap_ci(
    statistic: Callable[..., Any],
    *arrays: npt.ArrayLike,
    rng: np.random.Generator,
    clusters: npt.ArrayLike | None = None,
    n_boot: int = 2000,
    level: float = 0.95,
    method: Method = "percentile",
    vectorised: bool = False,
) -> Interval:
    """Return a bootstrap confidence interval of a statistic over subjects.

    Parameters
    ----------
    statistic
        Function of the arrays that returns a number or an array. With `vectorised` it gets arrays with one
        more leading axis, shape (replicate, row, ...), and returns (replicate, ...).
    arrays
        Data; the first axis is the row (a subject, or a scan where `clusters` are given) and is resampled
        together.
    rng
        Source of randomness.
    clusters
        Subject label of every row; all rows of a drawn subject enter. None: every row is its own subject.
    n_boot, level, method
        Replicates, confidence level, and `percentile`, `bca` or `expanded`.
    vectorised
        One call for all replicates; needs clusters of equal size.

    Returns
    -------
    Interval
        BCa's acceleration comes from the jackknife over subjects. A statistic that does not vary gives a
        point.

    Raises
    ------
    MetricInputError
        For fewer than two subjects, rows that do not match, or clusters of unequal size with `vectorised`.
    """
    data = [np.asarray(a) for a in arrays]
    groups = _groups(data, clusters)
    _check_options(groups, n_boot, level, method)
    single = _single(statistic) if vectorised else statistic
    estimate = np.asarray(_call(single, data, np.concatenate(groups)), dtype=np.float64)
    draws = resample_indices(len(groups), n_boot, rng)
    replicates = _replicates(statistic, data, groups, draws, vectorised)
    if replicates.shape != (n_boot, *estimate.shape):
        raise MetricInputError(
            f"statistic must return {(n_boot, *estimate.shape)} over replicates; got {replicates.shape}."
        )
    jackknife = _leave_one_out(single, data, groups) if method == "bca" else None
    low, high, failed = _limits(estimate, replicates, jackknife, len(groups), level, method)
    return Interval(
        estimate=estimate,
        low=low,
        high=high,
        level=level,
        method=method,
        n=len(groups),
        n_boot=n_boot,
        n_failed=failed,
    )


def jackknife_ci(
    statistic: Callable[..., Any],
    *arrays: npt.ArrayLike,
    clusters: npt.ArrayLike | None = None,
    level: float = 0.95,
) -> Interval:
    """Return a delete-one-subject jackknife interval: estimate -+ t(n - 1) standard errors.

    For statistics that a bootstrap distorts because drawing a subject twice makes subjects more alike
    (variances, site means over few subjects), and smooth enough for the jackknife (not quantiles).
    Deterministic. Parameters as in `bootstrap_ci`; `n_boot` of the result is the number of subjects.
    """
    from scipy.special import stdtrit

    data = [np.asarray(a) for a in arrays]
    groups = _groups(data, clusters)
    _check_options(groups, 10, level, METHODS[0])
    n = len(groups)
    estimate = np.asarray(_call(statistic, data, np.concatenate(groups)), dtype=np.float64)
    leave = _leave_one_out(statistic, data, groups)
    failed = int(np.count_nonzero(~np.isfinite(leave), axis=0).max(initial=0))
    se = np.sqrt((n - 1) / n * np.sum((leave - leave.mean(axis=0)) ** 2, axis=0))
    half = float(-stdtrit(n - 1, (1.0 - level) / 2.0)) * se
    return Interval(
        estimate=estimate,
        low=estimate - half,
        high=estimate + half,
        level=level,
        method="jackknife",
        n=n,
        n_boot=n,
        n_failed=failed,
    )


def _leave_one_out(
    statistic: Callable[..., Any], data: list[npt.NDArray[Any]], groups: list[npt.NDArray[np.int64]]
) -> FloatArray:
    rows = [np.concatenate([g for other, g in enumerate(groups) if other != k]) for k in range(len(groups))]
    return np.stack([np.asarray(_call(statistic, data, r), dtype=np.float64) for r in rows])


def _groups(data: list[npt.NDArray[Any]], clusters: npt.ArrayLike | None) -> list[npt.NDArray[np.int64]]:
    if not data or any(a.ndim == 0 for a in data):
        raise MetricInputError("arrays must have a first axis of rows; got a scalar or nothing.")
    n = data[0].shape[0]
    if any(a.shape[0] != n for a in data):
        raise MetricInputError(f"arrays must share their number of rows; got {[a.shape[0] for a in data]}.")
    if clusters is None:
        return list(np.arange(n, dtype=np.int64)[:, None])
    labels = np.asarray(clusters)
    if labels.shape != (n,):
        raise MetricInputError(f"clusters must have one label per row ({n}); got shape {labels.shape}.")
    codes = np.unique(labels, return_inverse=True)[1]
    return [np.flatnonzero(codes == c) for c in range(int(codes.max()) + 1)]


def _check_options(groups: list[Any], n_boot: int, level: float, method: str) -> None:
    if len(groups) < 2:
        raise MetricInputError(f"a bootstrap needs at least 2 subjects; got {len(groups)}.")
    if n_boot < 10 or not 0.0 < level < 1.0:
        raise MetricInputError(f"n_boot must be >= 10 and 0 < level < 1; got {n_boot} and {level}.")
    if method not in METHODS:
        raise MetricInputError(f"method must be one of {METHODS}; got {method!r}.")


def _single(statistic: Callable[..., Any]) -> Callable[..., Any]:
    def one(*arrays: npt.NDArray[Any]) -> Any:
        return np.asarray(statistic(*(a[None] for a in arrays)))[0]

    return one


def _call(statistic: Callable[..., Any], data: list[npt.NDArray[Any]], rows: npt.NDArray[Any]) -> Any:
    return statistic(*(a[rows] for a in data))


def _replicates(
    statistic: Callable[..., Any],
    data: list[npt.NDArray[Any]],
    groups: list[npt.NDArray[np.int64]],
    draws: npt.NDArray[np.int64],
    vectorised: bool,
) -> FloatArray:
    if not vectorised:
        values = [_call(statistic, data, np.concatenate([groups[g] for g in draw])) for draw in draws]
        return np.asarray(values, dtype=np.float64)
    if len({g.size for g in groups}) > 1:
        raise MetricInputError("vectorised needs subjects with equally many rows; got unequal numbers.")
    rows = np.stack(groups)[draws].reshape(draws.shape[0], -1)
    return np.asarray(statistic(*(a[rows] for a in data)), dtype=np.float64)


def _limits(
    estimate: FloatArray,
    replicates: FloatArray,
    jackknife: FloatArray | None,
    n: int,
    level: float,
    method: Method,
) -> tuple[FloatArray, FloatArray, int]:
    flat = replicates.reshape(replicates.shape[0], -1)
    centre = estimate.reshape(-1)
    leave = None if jackknife is None else jackknife.reshape(jackknife.shape[0], -1)
    low, high = np.full(centre.shape, np.nan), np.full(centre.shape, np.nan)
    failed = 0
    for k in range(centre.size):
        good = flat[np.isfinite(flat[:, k]), k]
        failed = max(failed, flat.shape[0] - good.size)
        if good.size < 2 or not np.isfinite(centre[k]):
            continue
        tails = _tails(centre[k], good, None if leave is None else leave[:, k], n, level, method)
        low[k], high[k] = np.quantile(good, tails)
    return low.reshape(estimate.shape), high.reshape(estimate.shape), failed


def _tails(
    estimate: float,
    replicates: FloatArray,
    jackknife: FloatArray | None,
    n: int,
    level: float,
    method: Method,
) -> tuple[float, float]:
    from scipy.special import ndtr, ndtri, stdtrit

    alpha = (1.0 - level) / 2.0
    if method == "expanded":
        tail = float(ndtr(np.sqrt(n / (n - 1.0)) * stdtrit(n - 1, alpha)))
        return tail, 1.0 - tail
    if method == "percentile" or jackknife is None or np.ptp(replicates) == 0.0:
        return alpha, 1.0 - alpha
    below = np.mean(replicates < estimate) + 0.5 * np.mean(replicates == estimate)
    z0 = float(ndtri(np.clip(below, 0.5 / replicates.size, 1.0 - 0.5 / replicates.size)))
    leave = jackknife[np.isfinite(jackknife)]
    spread = leave.mean() - leave
    energy = float(np.sum(spread**2))
    accel = float(np.sum(spread**3)) / (6.0 * energy**1.5) if energy > 0.0 else 0.0
    ends = [ndtr(z0 + (z0 + z) / (1.0 - accel * (z0 + z))) for z in (ndtri(alpha), ndtri(1.0 - alpha))]
    return float(ends[0]), float(ends[1])

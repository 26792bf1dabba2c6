"""Biology that is still there, and biology that never was.

Planted effects (age) are compared with the effects recovered from measured features; a planted effect of zero
gives the false-positive rate. The unit of analysis is the subject: scans of a traveling subject are averaged
first, else p-values would count every scanner as a new person.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .bootstrap import bootstrap_ci
from .inputs import FloatArray, MetricInputError, check_finite

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Slopes:
    """Age slopes [feature units per year] of several features, with standard errors, p-values and freedom."""

    slope: FloatArray
    se: FloatArray
    p_value: FloatArray
    freedom: int


def subject_means(values: npt.ArrayLike, subject: npt.ArrayLike) -> tuple[FloatArray, npt.NDArray[Any]]:
    """Return per-subject means of rows (scan, ...) and the sorted subject labels."""
    x = np.asarray(values, dtype=np.float64)
    labels, codes, counts = np.unique(np.asarray(subject), return_inverse=True, return_counts=True)
    if codes.shape != x.shape[:1]:
        raise MetricInputError(f"subject must have one label per row ({x.shape[0]}); got {codes.shape}.")
    sums = np.zeros((labels.size, *x.shape[1:]))
    np.add.at(sums, codes, x)
    return sums / counts.reshape(-1, *([1] * (x.ndim - 1))), labels


def design_matrix(age: npt.ArrayLike, covariates: Mapping[str, npt.ArrayLike] | None = None) -> FloatArray:
    """Return columns intercept, age, and every covariate.

    Numbers enter centred, labels one-hot without the first. `covariates` is how sex, intracranial volume or
    site are adjusted for: `{"sex": ..., "icv": ...}`.
    """
    a = check_finite("age", np.asarray(age))
    columns = [np.ones(a.size), a]
    for name, given in (covariates or {}).items():
        values = np.asarray(given)
        if values.shape != a.shape:
            raise MetricInputError(f"covariate {name!r} must have shape {a.shape}; got {values.shape}.")
        if np.issubdtype(values.dtype, np.number):
            number = check_finite(name, values)
            columns.append(number - number.mean())
        else:
            columns += [(values == level).astype(np.float64) for level in np.unique(values)[1:]]
    return np.column_stack(columns)


def age_slopes(
    values: npt.ArrayLike, age: npt.ArrayLike, *, covariates: Mapping[str, npt.ArrayLike] | None = None
) -> Slopes:
    """Return least-squares age slopes of every feature.

    Parameters
    ----------
    values
        Array (subject,) or (subject, feature).
    age
        Array (subject,) [years].
    covariates
        Nuisance regressors, see `design_matrix`.

    Raises
    ------
    MetricInputError
        If the design is rank deficient (age confounded with a covariate) or leaves no degree of freedom.
    """
    from scipy.special import stdtr

    design = design_matrix(age, covariates)
    y = check_finite("values", np.asarray(values))
    if y.shape[0] != design.shape[0]:
        raise MetricInputError(f"values must have one row per age ({design.shape[0]}); got {y.shape[0]}.")
    freedom = design.shape[0] - design.shape[1]
    if freedom < 1 or np.linalg.matrix_rank(design) < design.shape[1]:
        raise MetricInputError(
            f"age and covariates must be separable with subjects to spare; got {design.shape[0]} subjects "
            f"for {design.shape[1]} regressors. Drop a covariate."
        )
    inverse = np.linalg.pinv(design)
    beta = inverse @ y
    residual = y - design @ beta
    variance = np.sum(residual**2, axis=0) / freedom
    se = np.sqrt(variance * float(inverse[1] @ inverse[1]))
    slope = np.asarray(beta[1])
    t = np.divide(slope, se, out=np.full(np.shape(slope), np.inf), where=se > 0.0)
    t = np.where((se == 0.0) & (slope == 0.0), 0.0, t)
    p = 2.0 * stdtr(freedom, -np.abs(t))
    return Slopes(slope=slope, se=np.asarray(se), p_value=np.asarray(p), freedom=freedom)


def age_recovery(
    measured: npt.ArrayLike,
    truth: npt.ArrayLike,
    age: npt.ArrayLike,
    *,
    names: Sequence[str],
    rng: np.random.Generator,
    covariates: Mapping[str, npt.ArrayLike] | None = None,
    n_boot: int = 1000,
) -> pd.DataFrame:
    """Return recovered over true age slope per feature; 1 is right, less is lost biology, more is invented.

    Parameters
    ----------
    measured, truth
        Arrays (subject, feature): measured values (averaged over a subject's scans) and the true ones.
    age
        Array (subject,) [years].
    names
        Feature names.
    rng, n_boot
        For the 95 % expanded percentile interval over subjects; measured and true values are drawn together,
        so the interval does not contain the sampling error of the effect itself.
    covariates
        Sex, intracranial volume, ...: used for both slopes.

    Returns
    -------
    DataFrame
        Columns `feature`, `planted` and `recovered` [units per year], `ratio`, `ci_low`, `ci_high`, `p_value`
        (of the recovered slope), `n`. The ratio is nan where the true slope is zero.
    """
    import pandas as pd

    m, t = check_finite("measured", np.asarray(measured)), check_finite("truth", np.asarray(truth))
    if m.shape != t.shape or m.ndim != 2 or m.shape[1] != len(names):
        raise MetricInputError(
            f"measured and truth must be (subject, {len(names)}); got {m.shape}, {t.shape}."
        )
    got, want = age_slopes(m, age, covariates=covariates), age_slopes(t, age, covariates=covariates)
    design = design_matrix(age, covariates)

    def ratio(d: FloatArray, a: FloatArray, b: FloatArray) -> FloatArray:
        # Replicates whose design lost rank would give an arbitrary slope: they count as failed.
        gram = np.swapaxes(d, -1, -2) @ d
        usable = np.linalg.matrix_rank(d) == d.shape[-1]
        gram[~usable] = np.eye(d.shape[-1])
        solve = np.linalg.solve(gram, np.swapaxes(d, -1, -2))[..., 1:2, :]
        top, bottom = (solve @ a)[..., 0, :], (solve @ b)[..., 0, :]
        out = np.divide(top, bottom, out=np.full(top.shape, np.nan), where=np.abs(bottom) > 1e-12 * scale)
        out[~usable] = np.nan
        return np.asarray(out)

    scale = np.maximum(t.std(axis=0), np.finfo(float).tiny)
    interval = bootstrap_ci(ratio, design, m, t, rng=rng, n_boot=n_boot, method="expanded", vectorised=True)
    return pd.DataFrame(
        {
            "feature": list(names),
            "planted": want.slope,
            "recovered": got.slope,
            "ratio": interval.estimate,
            "ci_low": interval.low,
            "ci_high": interval.high,
            "p_value": got.p_value,
            "n": m.shape[0],
        }
    )


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A proportion with its 95 % Wilson interval."""

    rate: float
    low: float
    high: float
    n: int


def false_positive_rate(p_values: npt.ArrayLike, *, alpha: float = 0.05) -> Rate:
    """Return the share of p-values below alpha, for tests whose planted effect is zero; alpha is right.

    The interval is Wilson's and takes the tests as independent; features of one cohort are not, so pass
    p-values of many cohorts or read the interval as a lower bound of the uncertainty.
    """
    p = check_finite("p_values", np.asarray(p_values)).ravel()
    if p.size == 0 or p.min() < 0.0 or p.max() > 1.0:
        raise MetricInputError(f"p_values must hold numbers in [0, 1]; got {p.size} of them.")
    return _wilson(int(np.count_nonzero(p < alpha)), p.size)


def invented_effect_rate(
    transform: Callable[[FloatArray, npt.NDArray[Any], FloatArray], npt.ArrayLike],
    values: npt.ArrayLike,
    site: npt.ArrayLike,
    *,
    draw_covariate: Callable[[np.random.Generator, npt.NDArray[Any]], npt.ArrayLike],
    rng: np.random.Generator,
    n_draws: int = 100,
    alpha: float = 0.05,
) -> Rate:
    """Return how often a harmonizer makes an effect of a covariate that was never there.

    Parameters
    ----------
    transform
        `transform(values, site, covariate)` -> harmonized values: the harmonizer, given the covariate to
        preserve.
    values
        Array (subject, feature), one scan per subject.
    site
        Site label of every row.
    draw_covariate
        `draw_covariate(rng, site)` -> random covariate that does not depend on `values`; it may depend on
        site, which is how confounded designs are tested.
    rng, n_draws, alpha
        Draws of the covariate and the level of the slope test (no site regressor, as an analyst would test
        harmonized data).
    """
    x = check_finite("values", np.asarray(values))
    labels = np.asarray(site)
    p_values = []
    for _ in range(n_draws):
        covariate = np.asarray(draw_covariate(rng, labels), dtype=np.float64)
        harmonized = np.asarray(transform(x, labels, covariate), dtype=np.float64)
        p_values.append(age_slopes(harmonized, covariate).p_value)
    return false_positive_rate(np.stack(p_values), alpha=alpha)


def volume_errors(measured: npt.ArrayLike, truth: npt.ArrayLike, *, names: Sequence[str]) -> pd.DataFrame:
    """Return the error of measured against true volumes per feature (any unit; usually mL).

    Columns: `feature`, `bias` (mean difference), `bias_percent` (of the mean truth), `mae`, `slope` (of
    measured on true: 1 is right), `correlation` (Pearson), `rank` (Spearman's rho: rank preservation), `n`.
    The last three are nan where the truth does not vary.
    """
    import pandas as pd

    m, t = check_finite("measured", np.asarray(measured)), check_finite("truth", np.asarray(truth))
    if m.shape != t.shape or m.ndim != 2 or m.shape[1] != len(names) or m.shape[0] < 2:
        raise MetricInputError(f"measured and truth must be (>= 2, {len(names)}); got {m.shape}, {t.shape}.")
    bias, dm, dt = (m - t).mean(axis=0), m - m.mean(axis=0), t - t.mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.sum(dm * dt, axis=0) / np.sum(dt**2, axis=0)
        percent = 100.0 * bias / t.mean(axis=0)
    return pd.DataFrame(
        {
            "feature": list(names),
            "bias": bias,
            "bias_percent": np.where(np.isfinite(percent), percent, np.nan),
            "mae": np.abs(m - t).mean(axis=0),
            "slope": np.where(np.isfinite(slope), slope, np.nan),
            "correlation": [_pearson(a, b) for a, b in zip(m.T, t.T, strict=True)],
            "rank": [rank_correlation(a, b) for a, b in zip(m.T, t.T, strict=True)],
            "n": m.shape[0],
        }
    )


def rank_correlation(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Return Spearman's rho (mean ranks for ties); nan where one of the two is constant."""
    from scipy.stats import rankdata

    a, b = check_finite("first", np.asarray(first)), check_finite("second", np.asarray(second))
    return _pearson(np.asarray(rankdata(a)), np.asarray(rankdata(b)))


def identification_rate(values: npt.ArrayLike, subject: npt.ArrayLike, site: npt.ArrayLike) -> float:
    """Return how often a scan's nearest scan *on another site* is of the same subject (fingerprinting).

    Features are standardised over all scans; the distance is Euclidean. Saturates at 1 for anatomy: a floor
    for harmonizers, not a score to win.
    """
    x = check_finite("values", np.asarray(values))
    people, sites = np.asarray(subject), np.asarray(site)
    spread = x.std(axis=0)
    z = (x[:, spread > 0.0] - x[:, spread > 0.0].mean(axis=0)) / spread[spread > 0.0]
    distance = np.sum((z[:, None, :] - z[None, :, :]) ** 2, axis=-1)
    distance[sites[:, None] == sites[None, :]] = np.inf
    possible = np.any((people[:, None] == people[None, :]) & np.isfinite(distance), axis=1)
    if not possible.any():
        raise MetricInputError(
            "subjects must be seen on at least two sites; got none. Use traveling subjects."
        )
    nearest = people[np.argmin(distance, axis=1)]
    return float(np.mean(nearest[possible] == people[possible]))


def _pearson(a: FloatArray, b: FloatArray) -> float:
    da, db = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((da @ da) * (db @ db)))
    return float(da @ db) / norm if norm > 0.0 else float("nan")


def _wilson(hits: int, n: int) -> Rate:
    z = 1.959963984540054
    p = hits / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * float(np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)))
    return Rate(rate=p, low=max(centre - half, 0.0), high=min(centre + half, 1.0), n=n)

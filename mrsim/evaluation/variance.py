"""Where the variance of a feature sits: subject, scanner, their interaction, repeat.

Tables are tidy: one row per scan, columns `subject`, `scanner`, (`repeat`), and one column per feature.
References: Shrout and Fleiss, Psychol Bull 86(2):420-428, 1979 (ICC); Searle, Casella and McCulloch, Variance
Components, 1992, chapter 4 (ANOVA estimators); Bland and Altman, Lancet 327:307-310, 1986.

ICC(3,1) ignores any additive scanner effect, so additive harmonization cannot move it: report both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from .inputs import FloatArray, MetricInputError, check_finite

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class VarianceComponents:
    """Variances [feature units squared] of a crossed design, each truncated at zero.

    `interaction` is subject by scanner; `residual` is scan-rescan. Without repeats the two cannot be told
    apart: `residual` is then nan and `interaction` holds their sum. `untruncated` keeps the raw ANOVA
    estimates in the order subject, scanner, interaction, residual.
    """

    between_subject: float
    between_scanner: float
    interaction: float
    residual: float
    mean: float
    n_subjects: int
    n_scanners: int
    n_dropped: int
    untruncated: tuple[float, float, float, float]

    @property
    def within_subject(self) -> float:
        """Variance of one scan of a given subject on a random scanner."""
        return self.between_scanner + self.interaction + float(np.nan_to_num(self.residual))

    @property
    def scanner_share(self) -> float:
        """Share of the total variance that is between scanners (interaction included, repeat noise not)."""
        total = self.between_subject + self.within_subject
        return (self.between_scanner + self.interaction) / total if total > 0.0 else float("nan")


def variance_components(
    table: pd.DataFrame, feature: str, *, subject: str = "subject", scanner: str = "scanner"
) -> VarianceComponents:
    """Return ANOVA estimates of the two-way random-effects model y_ijk = mu + s_i + c_j + (sc)_ij + e_ijk.

    Subjects that miss a scanner are left out and counted. Unequal repeats are handled by unweighted-means
    analysis: the sums of squares are those of the cell means, and residual variance enters through the
    harmonic mean of the cell counts.

    Raises
    ------
    MetricInputError
        If fewer than two subjects or scanners form a complete crossing.
    """
    means, counts, residual, dropped = _cells(table, feature, subject, scanner)
    n, k = means.shape
    grand = float(means.mean())
    rows, columns = means.mean(axis=1), means.mean(axis=0)
    ms_row = k * float(np.sum((rows - grand) ** 2)) / (n - 1)
    ms_col = n * float(np.sum((columns - grand) ** 2)) / (k - 1)
    rest = means - rows[:, None] - columns[None, :] + grand
    ms_rest = float(np.sum(rest**2)) / ((n - 1) * (k - 1))
    noise = 0.0 if np.isnan(residual) else residual * float(np.mean(1.0 / counts))
    raw = ((ms_row - ms_rest) / k, (ms_col - ms_rest) / n, ms_rest - noise, residual)
    return VarianceComponents(
        between_subject=max(raw[0], 0.0),
        between_scanner=max(raw[1], 0.0),
        interaction=max(raw[2], 0.0),
        residual=residual,
        mean=grand,
        n_subjects=n,
        n_scanners=k,
        n_dropped=dropped,
        untruncated=raw,
    )


def crossed_matrix(
    table: pd.DataFrame, feature: str, *, subject: str = "subject", scanner: str = "scanner"
) -> FloatArray:
    """Return the (subject, scanner) matrix of cell means over the subjects seen on every scanner."""
    return _cells(table, feature, subject, scanner)[0]


def icc(matrix: npt.ArrayLike, kind: Literal["2,1", "3,1"] = "2,1") -> FloatArray:
    """Return the single-measure intraclass correlation of Shrout and Fleiss.

    Parameters
    ----------
    matrix
        Array (..., subject, scanner); leading axes (bootstrap replicates, features) are kept.
    kind
        `2,1`: absolute agreement, scanners random; `3,1`: consistency, scanners fixed.

    Returns
    -------
    ndarray
        (MSR - MSE) / (MSR + (k-1) MSE [+ k (MSC - MSE) / n for `2,1`]); nan where nothing varies.
    """
    x = check_finite("matrix", np.asarray(matrix))
    if x.ndim < 2 or x.shape[-2] < 2 or x.shape[-1] < 2:
        raise MetricInputError(f"matrix must be (..., subject >= 2, scanner >= 2); got shape {x.shape}.")
    if kind not in ("2,1", "3,1"):
        raise MetricInputError(f"kind must be '2,1' or '3,1'; got {kind!r}.")
    n, k = x.shape[-2:]
    rows, columns = x.mean(axis=-1, keepdims=True), x.mean(axis=-2, keepdims=True)
    grand = x.mean(axis=(-2, -1), keepdims=True)
    msr = k * np.sum((rows - grand) ** 2, axis=(-2, -1)) / (n - 1)
    msc = n * np.sum((columns - grand) ** 2, axis=(-2, -1)) / (k - 1)
    mse = np.sum((x - rows - columns + grand) ** 2, axis=(-2, -1)) / ((n - 1) * (k - 1))
    bottom = msr + (k - 1) * mse
    if kind == "2,1":
        bottom = bottom + k * (msc - mse) / n
    top = msr - mse
    return np.asarray(np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=bottom != 0.0))


def within_subject_cov(matrix: npt.ArrayLike) -> FloatArray:
    """Return the within-subject between-scanner coefficient of variation [%].

    `matrix` is (..., subject, scanner). Root mean square over subjects of sd / mean (sd with n - 1). nan
    where a subject's mean is not positive: a CoV needs a ratio scale, and means near zero make it
    meaningless.
    """
    x = check_finite("matrix", np.asarray(matrix))
    if x.ndim < 2 or x.shape[-1] < 2:
        raise MetricInputError(f"matrix must be (..., subject, scanner >= 2); got shape {x.shape}.")
    mean, sd = x.mean(axis=-1), x.std(axis=-1, ddof=1)
    ratio = np.divide(sd, mean, out=np.full(mean.shape, np.nan), where=mean > 0.0)
    return np.asarray(100.0 * np.sqrt(np.mean(ratio**2, axis=-1)))


def scan_rescan_cov(
    table: pd.DataFrame, feature: str, *, subject: str = "subject", scanner: str = "scanner"
) -> float:
    """Return the scan-rescan CoV [%]: rms over (subject, scanner) cells with repeats; nan without any."""
    grouped = table.groupby([subject, scanner])[feature]
    counts, means, sds = grouped.count(), grouped.mean(), grouped.std(ddof=1)
    use = counts >= 2
    if not bool(use.any()) or bool((means[use] <= 0.0).any()):
        return float("nan")
    return float(100.0 * np.sqrt(np.mean(np.asarray(sds[use] / means[use], dtype=np.float64) ** 2)))


@dataclass(frozen=True, kw_only=True)
class BlandAltman:
    """Agreement of two measurements: mean difference, its 95 % interval, limits of agreement."""

    bias: float
    bias_low: float
    bias_high: float
    sd: float
    loa_low: float
    loa_high: float
    n: int


def bland_altman(first: npt.ArrayLike, second: npt.ArrayLike) -> BlandAltman:
    """Return Bland-Altman statistics of first - second; limits are bias -+ 1.96 sd, the interval is t."""
    from scipy.special import stdtrit

    a, b = check_finite("first", np.asarray(first)), check_finite("second", np.asarray(second))
    if a.shape != b.shape or a.ndim != 1 or a.size < 2:
        raise MetricInputError(
            f"first and second must be equally long vectors (>= 2); got {a.shape}, {b.shape}."
        )
    difference = a - b
    bias, sd = float(difference.mean()), float(difference.std(ddof=1))
    half = float(stdtrit(a.size - 1, 0.975)) * sd / float(np.sqrt(a.size))
    return BlandAltman(
        bias=bias,
        bias_low=bias - half,
        bias_high=bias + half,
        sd=sd,
        loa_low=bias - 1.96 * sd,
        loa_high=bias + 1.96 * sd,
        n=a.size,
    )


def variance_table(
    table: pd.DataFrame, features: Sequence[str], *, subject: str = "subject", scanner: str = "scanner"
) -> pd.DataFrame:
    """Return one row per feature: components, both ICCs, within-subject and scan-rescan CoV [%]."""
    import pandas as pd

    rows: list[dict[str, object]] = []
    for feature in features:
        parts = variance_components(table, feature, subject=subject, scanner=scanner)
        matrix = crossed_matrix(table, feature, subject=subject, scanner=scanner)
        rows.append(
            {
                "feature": feature,
                "between_subject": parts.between_subject,
                "between_scanner": parts.between_scanner,
                "interaction": parts.interaction,
                "residual": parts.residual,
                "scanner_share": parts.scanner_share,
                "icc_2_1": float(icc(matrix, "2,1")),
                "icc_3_1": float(icc(matrix, "3,1")),
                "within_subject_cov": float(within_subject_cov(matrix)),
                "scan_rescan_cov": scan_rescan_cov(table, feature, subject=subject, scanner=scanner),
                "n": parts.n_subjects,
            }
        )
    return pd.DataFrame(rows)


def _cells(
    table: pd.DataFrame, feature: str, subject: str, scanner: str
) -> tuple[FloatArray, FloatArray, float, int]:
    """Return cell means and counts of complete subjects, pooled within-cell variance, subjects left out."""
    missing = [c for c in (subject, scanner, feature) if c not in table.columns]
    if missing:
        raise MetricInputError(f"table must have columns {missing}; got {list(table.columns)}.")
    data = table[[subject, scanner, feature]].dropna()
    grouped = data.groupby([subject, scanner], observed=True)[feature]
    means, counts = grouped.mean().unstack(), grouped.count().unstack()
    complete = means.notna().all(axis=1)
    n_complete, n_scanners = int(complete.sum()), means.shape[1]
    if n_complete < 2 or n_scanners < 2:
        raise MetricInputError(
            f"feature {feature!r} must be measured for at least 2 subjects on all of at least 2 scanners; "
            f"got {n_complete} complete subjects on {n_scanners} scanners. Use traveling subjects."
        )
    spread = grouped.var(ddof=1)
    extra = grouped.count() - 1
    freedom = int(extra.sum())
    pooled = float((spread.fillna(0.0) * extra).sum()) / freedom if freedom else float("nan")
    return (
        np.asarray(means[complete], dtype=np.float64),
        np.asarray(counts[complete], dtype=np.float64),
        pooled,
        int((~complete).sum()),
    )

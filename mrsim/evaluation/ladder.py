"""The ladder of site effects: scan-rescan, same vendor, across vendors, across fields.

Every rung is the same number, the coefficient of variation of a *pair* of scans of one subject: |x - y| /
sqrt(2) over their mean, root mean square over pairs. So rungs compare directly and each contains the noise of
two scans. Published sizes: intra-scanner 0.5-3 %, same vendor 2-5 %, across vendors 5-20 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from .bootstrap import bootstrap_ci
from .inputs import FloatArray, MetricInputError

if TYPE_CHECKING:
    import pandas as pd

RUNGS = ("scan-rescan", "same vendor", "across vendors", "across fields")
COLUMNS = ("subject", "scanner", "vendor", "field", "repeat")


def site_effect_ladder(
    table: pd.DataFrame,
    features: Sequence[str],
    *,
    rng: np.random.Generator,
    n_boot: int = 1000,
    field_tolerance: float = 0.2,
) -> pd.DataFrame:
    """Return the pairwise CoV [%] of every feature on every rung, with intervals over subjects.

    Parameters
    ----------
    table
        One row per scan: `subject`, `scanner`, `vendor`, `field` [T], `repeat` and the features.
    features
        Columns to score.
    rng, n_boot
        For the 95 % expanded percentile interval over subjects (nan with one subject).
    field_tolerance
        Scanners whose fields differ by at most this [T] count as one field (2.89 T and 3 T).

    Returns
    -------
    DataFrame
        Columns `feature`, `rung`, `cov` [%], `ci_low`, `ci_high`, `n_pairs`, `n` (subjects). A last feature
        named `median` holds the median over features per rung. Rungs without a pair are left out; a feature
        with a mean that is not positive gives nan.
    """
    import pandas as pd

    missing = [c for c in (*COLUMNS, *features) if c not in table.columns]
    if missing or not features:
        raise MetricInputError(f"table must have columns {missing or 'for at least one feature'}.")
    squared, counts = _pair_sums(table, list(features), field_tolerance)
    rows: list[dict[str, object]] = []
    for r, rung in enumerate(RUNGS):
        use = counts[:, r] > 0
        if not use.any():
            continue
        sums, pairs = squared[use, r], counts[use, r]
        low, high = _interval(sums, pairs, rng, n_boot)
        covs = _cov(sums[None], pairs[None])[0]
        for f, name in enumerate([*features, "median"]):
            rows.append(
                {
                    "feature": name,
                    "rung": rung,
                    "cov": float(covs[f]),
                    "ci_low": float(low[f]),
                    "ci_high": float(high[f]),
                    "n_pairs": int(pairs.sum()),
                    "n": int(use.sum()),
                }
            )
    if not rows:
        raise MetricInputError("table must hold a subject with two scans; got none. Use traveling subjects.")
    result = pd.DataFrame(rows)
    order = {name: i for i, name in enumerate([*features, "median"])}
    return result.sort_values("feature", key=lambda c: c.map(order), kind="stable").reset_index(drop=True)


def _pair_sums(table: pd.DataFrame, features: list[str], tolerance: float) -> tuple[FloatArray, FloatArray]:
    """Return summed squared pair CoVs (subject, rung, feature) and numbers of pairs (subject, rung)."""
    groups = [group for _, group in table.groupby("subject", sort=True)]
    squared = np.zeros((len(groups), len(RUNGS), len(features)))
    counts = np.zeros((len(groups), len(RUNGS)))
    for s, group in enumerate(groups):
        values = group[features].to_numpy(dtype=np.float64)
        scanner, vendor = group["scanner"].to_numpy(), group["vendor"].to_numpy()
        field = group["field"].to_numpy(dtype=np.float64)
        for i, j in combinations(range(len(group)), 2):
            if scanner[i] == scanner[j]:
                rung = 0
            elif abs(field[i] - field[j]) > tolerance:
                rung = 3
            else:
                rung = 1 if vendor[i] == vendor[j] else 2
            mean = 0.5 * (values[i] + values[j])
            half = (values[i] - values[j]) ** 2 / 2.0
            squared[s, rung] += np.divide(half, mean**2, out=np.full(mean.shape, np.nan), where=mean > 0.0)
            counts[s, rung] += 1
    return squared, counts


def _cov(squared: FloatArray, counts: FloatArray) -> FloatArray:
    """Return (replicate, feature + 1): the CoV [%] per feature, then their median."""
    total = squared.sum(axis=1) / counts.sum(axis=1)[:, None]
    covs = 100.0 * np.sqrt(total)
    valid = np.isfinite(covs).any(axis=0)
    middle = np.nanmedian(covs[:, valid], axis=1) if valid.any() else np.full(covs.shape[0], np.nan)
    return np.concatenate([covs, middle[:, None]], axis=1)


def _interval(
    squared: FloatArray, counts: FloatArray, rng: np.random.Generator, n_boot: int
) -> tuple[FloatArray, FloatArray]:
    if squared.shape[0] < 2:
        empty = np.full(squared.shape[-1] + 1, np.nan)
        return empty, empty
    interval = bootstrap_ci(_cov, squared, counts, rng=rng, n_boot=n_boot, method="expanded", vectorised=True)
    return interval.low, interval.high

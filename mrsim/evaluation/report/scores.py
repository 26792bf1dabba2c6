"""The scores as tables that people can read: methods down, metrics across, families one below the other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..tables import METRICS
from .data import ReportData, contrast_order, number
from .words import significant

FAMILIES: tuple[tuple[str, str], ...] = (
    (
        "What was fixed, left, destroyed",
        "fixed left destroyed invented residue_removed confounded gap_closed biology_lost_share",
    ),
    (
        "Distance to the same subject under the reference scanner",
        "nrmse_matched ssim_matched psnr_matched mae_matched correlation nrmse ssim psnr mae",
    ),
    (
        "Tissue contrast",
        "wm_gm_ratio_error gm_csf_ratio_error wm_gm_cnr_error gm_csf_cnr_error gm_position_error",
    ),
    ("Detail", "edge_energy_ratio edge_correlation high_frequency_ratio"),
    (
        "Site probe (under the balanced accuracy: the range of shuffled labels)",
        "site_balanced_accuracy site_excess site_frozen_accuracy",
    ),
    ("Agreement between scanners", "within_subject_cov scan_rescan_cov scanner_share icc_2_1 icc_3_1"),
    ("Biology", "age_slope_ratio diagnosis_effect_ratio false_positive_rate volume_bias volume_rank"),
)
_EXPOSED = frozenset({"site_frozen_accuracy", "site_balanced_accuracy"})
"""No mark for the best: a frozen probe is shown to be seen through, accuracy below its null is no success."""
_SHARE = "share of raw error"
_ARROWS = {"lower": "↓", "higher": "↑"}


@dataclass(frozen=True, kw_only=True)
class ScoreCell:
    """One value with its interval; `badness` is what sorting and marks go by (nan: nothing to sort)."""

    value: str
    interval: str
    badness: float
    mark: str = ""

    @property
    def sort(self) -> str:
        """Sort key for the page."""
        return repr(self.badness) if math.isfinite(self.badness) else ""


@dataclass(frozen=True, kw_only=True)
class Column:
    """Heading of a metric."""

    name: str
    unit: str
    arrow: str
    meaning: str


@dataclass(frozen=True, kw_only=True)
class ScoreTable:
    """One family of metrics in one contrast, or one metric by feature."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, int, tuple[ScoreCell, ...]], ...]


_NONE = ScoreCell(value="–", interval="", badness=math.nan)


def contrasts(data: ReportData) -> list[str]:
    """Return the contrasts that have scores."""
    if data.scores is None or not len(data.scores):
        return []
    return sorted({str(c) for c in data.scores["contrast"]}, key=contrast_order)


def family_tables(data: ReportData, contrast: str) -> list[ScoreTable]:
    """Return one table per family of metrics: rows methods, columns metrics."""
    found = _rows(data, contrast)
    plain = {metric for _, metric in found if ":" not in metric}
    known = {name for _, names in FAMILIES for name in names.split()}
    families = [(title, [n for n in names.split() if n in plain]) for title, names in FAMILIES]
    families.append(("Other", sorted(plain - known)))
    tables = []
    for title, metrics in families:
        methods = [m for m in data.methods if any((m, metric) in found for metric in metrics)]
        if methods:
            tables.append(_table(data, title, methods, metrics, found))
    return tables


def feature_tables(data: ReportData, contrast: str) -> list[ScoreTable]:
    """Return one table per metric that is told by feature: rows methods, columns features."""
    found = _rows(data, contrast)
    bases = sorted({metric.split(":", 1)[0] for _, metric in found if ":" in metric})
    tables = []
    for base in bases:
        metrics = sorted({metric for _, metric in found if metric.startswith(base + ":")})
        methods = [m for m in data.methods if any((m, metric) in found for metric in metrics)]
        tables.append(_table(data, base, methods, metrics, found))
    return tables


def _rows(data: ReportData, contrast: str) -> dict[tuple[str, str], dict[str, Any]]:
    if data.scores is None:
        return {}
    part = data.scores[data.scores["contrast"].astype(str) == contrast]
    return {(str(r["method"]), str(r["metric"])): r for r in part.to_dict("records")}  # type: ignore[misc]


def _table(
    data: ReportData,
    title: str,
    methods: list[str],
    metrics: list[str],
    found: dict[tuple[str, str], dict[str, Any]],
) -> ScoreTable:
    cells = {(m, metric): _cell(found.get((m, metric)), metric) for m in methods for metric in metrics}
    for metric in metrics:
        _mark(data, methods, metric, cells)
    columns = tuple(_column(metric, found) for metric in metrics)
    rows = tuple((m, i, tuple(cells[m, metric] for metric in metrics)) for i, m in enumerate(methods))
    return ScoreTable(title=title, columns=columns, rows=rows)


def _column(metric: str, found: dict[tuple[str, str], dict[str, Any]]) -> Column:
    row = next(r for (_, name), r in found.items() if name == metric)
    base, _, feature = metric.partition(":")
    known = METRICS.get(base)
    target = known.target if known is not None else None
    arrow = _ARROWS.get(str(row["direction"]), f"→ {target:g}" if target is not None else "→ target")
    unit = str(row["unit"])
    return Column(
        name=(feature or base).replace("_", " "),
        unit={"1": "", _SHARE: f"% {_SHARE.removeprefix('share ')}"}.get(unit, unit),
        arrow=arrow,
        meaning=known.meaning if known is not None else "",
    )


def _cell(row: dict[str, Any] | None, metric: str) -> ScoreCell:
    if row is None:
        return _NONE
    value, low, high = (number(row[k]) for k in ("value", "ci_low", "ci_high"))
    factor = 100.0 if str(row["unit"]) == _SHARE else 1.0
    if not math.isfinite(value):
        return _NONE
    known = METRICS.get(metric.split(":", 1)[0])
    target = known.target if known is not None else None
    badness = {"lower": value, "higher": -value}.get(str(row["direction"]), math.nan)
    if str(row["direction"]) == "target" and target is not None:
        badness = abs(value - target)
    shown, low, high = factor * value, factor * low, factor * high
    text, *limits = (_percent(v) if factor != 1.0 else significant(v) for v in (shown, low, high))
    interval = " to ".join(limits) if math.isfinite(low) and math.isfinite(high) else ""
    return ScoreCell(value=text, interval=interval, badness=badness)


def _percent(value: float) -> str:
    text = f"{value:.1f}"
    return "0.0" if text == "-0.0" else text.replace("-", "−")


def _mark(data: ReportData, methods: list[str], metric: str, cells: dict[tuple[str, str], ScoreCell]) -> None:
    """Mark the best and the worst harmonizer of a metric, and a control that beats them all."""
    if metric.split(":", 1)[0] in _EXPOSED:
        return
    ranked = {
        m: cells[m, metric].badness
        for m in methods
        if data.kind(m) in ("image", "feature") and math.isfinite(cells[m, metric].badness)
    }
    if len(set(ranked.values())) < 2:
        return
    best, worst = min(ranked.values()), max(ranked.values())
    for method in methods:
        badness = cells[method, metric].badness
        mark = {best: "best", worst: "worst"}.get(badness, "") if method in ranked else ""
        if method not in ranked and badness < best and data.harmonizer(method) == "blur":
            mark = "beats"
        if mark:
            old = cells[method, metric]
            cells[method, metric] = ScoreCell(
                value=old.value, interval=old.interval, badness=old.badness, mark=mark
            )

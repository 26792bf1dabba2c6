"""Figures of biology: measured against true regions over age, and recovered over planted slopes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .data import ReportData, contrast_order, number
from .style import GRID, INK, KIND_COLORS, MUTED, figure_style, new_figure, svg_uri

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_METHODS = 7
KEY_REGIONS = 3
RATIO_RANGE = (-1.0, 3.0)
_PREFERRED = ("hippocamp", "ventric", "cort", "gm", "grey", "gray", "wm", "white", "thalam", "csf")
Ages = list[tuple[float, float, float]]
Ratio = tuple[float, float, float]


def contrasts(data: ReportData, key: str) -> list[str]:
    """Return the contrasts under which rows of `age` or `age_slopes` were measured ("": not said)."""
    named = {str(r.get("contrast", "")) for d in data.details.values() for r in d.get(key, ())}
    return sorted(named, key=contrast_order)


def title(feature: str) -> str:
    """Return a feature's name as people write it."""
    return feature.removeprefix("volume:").replace("_", " ")


def key_features(data: ReportData, contrast: str) -> list[str]:
    """Return the features worth a scatter plot: the regions that people look for first."""
    named = {
        str(r["feature"])
        for d in data.details.values()
        for r in d.get("age", ())
        if r.get("feature") and str(r.get("contrast", "")) == contrast
    }
    rank = {f: next((i for i, p in enumerate(_PREFERRED) if p in f.lower()), len(_PREFERRED)) for f in named}
    chosen: list[str] = []
    for feature in sorted(named, key=lambda f: (rank[f], len(f), f)):
        # One region per kind first: two hippocampi tell the same story.
        if rank[feature] == len(_PREFERRED) or rank[feature] not in {rank[c] for c in chosen}:
            chosen.append(feature)
    return chosen[:KEY_REGIONS]


def age_figure(data: ReportData, contrast: str) -> str | None:
    """Return measured (filled) and true (hollow) values over age: rows are regions, columns methods."""
    features = key_features(data, contrast)
    found = {(m, f): _ages(data, m, f, contrast) for m in data.methods for f in features}
    methods = data.shown([m for m in data.methods if any(found[m, f] for f in features)], MAX_METHODS)
    if not features or not methods:
        return None
    with figure_style():
        figure = new_figure(1.2 + 1.5 * max(len(methods), 3), 0.6 + 1.6 * len(features))
        axes = figure.subplots(len(features), len(methods), squeeze=False, sharex=True, sharey="row")
        for row, feature in zip(axes, features, strict=True):
            for ax, method in zip(row, methods, strict=True):
                _age_panel(ax, found[method, feature], KIND_COLORS[data.kind(method)])
            row[0].set_ylabel(f"{title(feature)} [mL]" if feature.startswith("volume:") else title(feature))
        for ax, method in zip(axes[0], methods, strict=True):
            ax.set_title(method, color=KIND_COLORS[data.kind(method)])
        figure.supxlabel("age [years]", fontsize=9)
        return svg_uri(figure)


def _ages(data: ReportData, method: str, feature: str, contrast: str) -> Ages:
    rows = data.details.get(method, {}).get("age", ())
    points = [
        (number(r.get("age")), number(r.get("measured")), number(r.get("truth")))
        for r in rows
        if str(r.get("feature")) == feature and str(r.get("contrast", "")) == contrast
    ]
    return [p for p in points if math.isfinite(p[0]) and math.isfinite(p[1])]


def _age_panel(ax: Axes, points: Ages, color: str) -> None:
    import numpy as np

    ax.grid(True)
    ax.tick_params(labelsize=7)
    if not points:
        ax.text(0.5, 0.5, "not measured", ha="center", va="center", transform=ax.transAxes, color=MUTED)
        return
    age, measured, truth = (np.array(v, dtype=float) for v in zip(*points, strict=True))
    for values, style, shade in ((truth, "--", MUTED), (measured, "-", color)):
        use = np.isfinite(values)
        if use.sum() >= 2 and np.ptp(age[use]) > 0.0:
            ends, centred = np.array([age[use].min(), age[use].max()]), age[use] - age[use].mean()
            slope = centred @ values[use] / (centred @ centred)
            ax.plot(ends, values[use].mean() + slope * (ends - age[use].mean()), style, color=shade, lw=1.3)
    many = age.size > 200
    ax.plot(age, truth, "o", mfc="white", mec=MUTED, ms=4.2, mew=0.9, ls="", rasterized=many)
    ax.plot(age, measured, "o", color=color, ms=4.2, mec="white", mew=0.4, ls="", rasterized=many)


def slope_figure(data: ReportData, contrast: str) -> str | None:
    """Return recovered over planted age slopes with intervals, one panel per method."""
    everything = {m: found for m in data.methods if (found := slope_ratios(data, m, contrast))}
    rows = {m: everything[m] for m in data.shown(list(everything), MAX_METHODS)}
    if not rows:
        return None
    features = sorted({f for found in rows.values() for f in found})
    with figure_style():
        figure, axes = method_panels(data, list(rows), [title(f) for f in features])
        for ax, (method, found) in zip(axes, rows.items(), strict=True):
            _forest(ax, features, found, KIND_COLORS[data.kind(method)])
        axes[0].set_xlim(RATIO_RANGE[0] - 0.12, RATIO_RANGE[1] + 0.12)
        axes[0].set_xticks(range(-1, 4))
        figure.supxlabel("recovered / planted age slope (1 is right)", fontsize=9)
        return svg_uri(figure)


def method_panels(data: ReportData, methods: Sequence[str], rows: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """Return a figure with a panel per method beside each other, and shared rows of these names."""
    figure = new_figure(1.9 + 1.4 * max(len(methods), 3), 0.95 + 0.24 * len(rows))
    axes = list(figure.subplots(1, len(methods), squeeze=False, sharex=True, sharey=True)[0])
    for ax, method in zip(axes, methods, strict=True):
        ax.set_title(method, color=KIND_COLORS[data.kind(method)])
        ax.tick_params(axis="y", length=0)
        ax.grid(True, axis="x")
    axes[0].set_yticks(range(len(rows)), rows)
    axes[0].set_ylim(len(rows) - 0.4, -0.6)
    return figure, axes


def slope_ratios(data: ReportData, method: str, contrast: str) -> dict[str, Ratio]:
    """Return slope over planted slope with limits per feature; features without a planted slope drop out."""
    found: dict[str, Ratio] = {}
    for row in data.details.get(method, {}).get("age_slopes", ()):
        ratio = _ratio(row)
        if ratio is not None and row.get("feature") and str(row.get("contrast", "")) == contrast:
            found[str(row["feature"])] = ratio
    return found


def _ratio(row: Mapping[str, Any]) -> Ratio | None:
    """Read a slope; where `ratio` is given, `low` and `high` are its limits, else those of the slope."""
    truth, slope, given = (number(row.get(key)) for key in ("truth", "slope", "ratio"))
    limits = number(row.get("low")), number(row.get("high"))
    if "ratio" in row:
        return (given, *limits) if math.isfinite(given) else None
    if not (math.isfinite(truth) and math.isfinite(slope)) or truth == 0.0:
        return None
    low, high = sorted(limit / truth for limit in limits)
    return slope / truth, low, high


def _forest(ax: Axes, features: Sequence[str], found: Mapping[str, Ratio], color: str) -> None:
    left, right = RATIO_RANGE
    ax.axvline(1.0, color=INK, lw=1.0)
    ax.axvline(0.0, color=GRID, lw=1.0)
    for y, feature in enumerate(features):
        if feature not in found:
            continue
        value, low, high = found[feature]
        if math.isfinite(low) and math.isfinite(high):
            ax.plot(
                [min(max(low, left), right), max(min(high, right), left)],
                [y, y],
                color=color,
                lw=1.5,
                alpha=0.6,
            )
        shape = "o" if left <= value <= right else ("<" if value < left else ">")
        size = 4.5 if shape == "o" else 6.0
        ax.plot(min(max(value, left), right), y, shape, color=color, ms=size, clip_on=False)

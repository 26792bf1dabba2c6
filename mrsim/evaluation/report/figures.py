"""Figures of site: where scans lie, what a probe decodes, and the ladder of site effects."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .data import ReportData, number
from .style import (
    GRID,
    INK,
    KIND_COLORS,
    KIND_MARKERS,
    MARKERS,
    MUTED,
    figure_style,
    new_figure,
    scanner_colors,
    svg_uri,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PUBLISHED = {
    "scan-rescan": (0.5, 3.0),
    "same vendor": (2.0, 5.0),
    "across vendors": (5.0, 20.0),
    "across fields": (5.0, 30.0),
}
"""Coefficients of variation [%] between scans of one person in the literature, by what differs."""
TICKS = ("0.1", "0.2", "0.5", "1", "2", "5", "10", "20", "50")
MAX_METHODS = 8
MAX_VECTORS = 500
"""Points of a panel above which they are drawn as pixels, to keep the file small."""


def embedding_figure(data: ReportData, contrast: str) -> str | None:
    """Return scatter plots of the image descriptors, one panel per method; None where there are none."""
    everything = {m: p for m in data.methods if (p := _points(data, m, contrast))}
    found = {m: everything[m] for m in data.shown(list(everything), MAX_METHODS)}
    if not found:
        return None
    everyone = [p for points in found.values() for p in points]
    # Features have components of their own: only images share axes.
    frame = _frame([p for m, points in found.items() if not data.on_features(m) for p in points])
    subjects = sorted({str(p["subject"]) for p in everyone})
    columns = min(4, len(found))
    lines = math.ceil(len(found) / columns)
    with figure_style():
        figure = new_figure(2.75 * columns, 2.45 * lines)
        axes = figure.subplots(lines, columns, squeeze=False)
        for ax in axes.flat[len(found) :]:
            ax.set_axis_off()
        for ax, (method, points) in zip(axes.flat, found.items(), strict=False):
            _scatter(ax, data, points, subjects)
            if frame is not None and not data.on_features(method):
                ax.set_xlim(*frame[0])
                ax.set_ylim(*frame[1])
            ax.set_title(method, color=KIND_COLORS[data.kind(method)])
        figure.supxlabel("component 1", fontsize=9)
        figure.supylabel("component 2", fontsize=9)
        return svg_uri(figure)


def _frame(points: Sequence[Mapping[str, Any]]) -> tuple[tuple[float, float], tuple[float, float]] | None:
    if not points:
        return None
    ends = []
    for key in ("x", "y"):
        values = [number(p[key]) for p in points]
        room = 0.07 * (max(values) - min(values) or 1.0)
        ends.append((min(values) - room, max(values) + room))
    return ends[0], ends[1]


def _points(data: ReportData, method: str, contrast: str) -> list[Mapping[str, Any]]:
    rows = data.details.get(method, {}).get("embedding", ())
    finite = [r for r in rows if math.isfinite(number(r.get("x"))) and math.isfinite(number(r.get("y")))]
    return [r for r in finite if r.get("contrast") == contrast]


def _scatter(
    ax: Axes, data: ReportData, points: Sequence[Mapping[str, Any]], subjects: Sequence[str]
) -> None:
    colors = scanner_colors(data.sessions)
    for i, subject in enumerate(subjects):
        own = [p for p in points if str(p["subject"]) == subject]
        ax.scatter(
            [p["x"] for p in own], [p["y"] for p in own], s=26, marker=MARKERS[i % len(MARKERS)],
            c=[colors.get(str(p.get("session")), MUTED) for p in own], alpha=0.85, linewidths=0.4,
            edgecolors="white", rasterized=len(points) > MAX_VECTORS,
        )  # fmt: skip
    ax.grid(True)
    ax.tick_params(labelsize=7)


def probe_figure(data: ReportData) -> str | None:
    """Return what site probes decode, per contrast and method, beside the shuffled-label interval."""
    rows = {c: [(m, p) for m in data.methods if (p := _probe(data, m, c))] for c in data.contrasts}
    rows = {c: found for c, found in rows.items() if found}
    if not rows:
        return None
    most = max(len(found) for found in rows.values())
    with figure_style():
        figure = new_figure(5.5 * len(rows) if len(rows) > 1 else 7.5, 1.35 + 0.34 * most)
        axes = figure.subplots(1, len(rows), squeeze=False, sharex=True)[0]
        for ax, (contrast, found) in zip(axes, rows.items(), strict=True):
            _probe_rows(ax, data, found)
            ax.set_title(contrast)
            ax.set_xlabel("balanced accuracy of the site probe")
        handles, labels = _legend(axes)
        figure.legend(handles, labels, loc="outside lower center", ncols=6 if len(rows) > 1 else 3)
        return svg_uri(figure)


def _legend(axes: Sequence[Axes]) -> tuple[list[Any], list[str]]:
    """Return each label once, over all panels."""
    seen: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            seen.setdefault(label, handle)
    return list(seen.values()), list(seen)


def _probe(data: ReportData, method: str, contrast: str) -> Mapping[str, Any] | None:
    probe = data.details.get(method, {}).get("probe", {}).get(contrast)
    return probe if probe and math.isfinite(number(probe.get("balanced_accuracy"))) else None


_EXTRA = {
    "frozen": ("frozen: trained on raw images", "|", "#d1495b"),
    "forest": ("retrained forest", "*", "#8a6d00"),
    "mask_only": ("brain mask alone", "s", "#5c6875"),
    "demographics": ("age, sex alone", "^", "#5c6875"),
}


def _probe_rows(ax: Axes, data: ReportData, found: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    for y, (method, probe) in enumerate(found):
        low, high = number(probe.get("null_low")), number(probe.get("null_high"))
        if math.isfinite(low) and math.isfinite(high):
            ax.barh(y, high - low, left=low, height=0.62, color=GRID, label="shuffled labels, middle 95 %")
        for key, (label, marker, color) in _EXTRA.items():
            value = number(probe.get(key))
            if math.isfinite(value):
                size, top = (12, 4) if marker == "|" else (6, 3)
                ax.plot(
                    value,
                    y,
                    marker,
                    color=color,
                    mfc="none",
                    ms=size,
                    mew=1.5,
                    ls="",
                    label=label,
                    zorder=top,
                )
        kind = data.kind(method)
        ax.plot(
            number(probe["balanced_accuracy"]), y, "o", color=KIND_COLORS[kind], ms=7.5, ls="", zorder=5,
            label="retrained on these images" if y == 0 else None,
        )  # fmt: skip
    chance = number(found[0][1].get("chance"))
    if math.isfinite(chance):
        ax.axvline(chance, color=MUTED, lw=0.9, ls=":", label="chance")
    ax.set_yticks(range(len(found)), [m for m, _ in found])
    for text, (method, _) in zip(ax.get_yticklabels(), found, strict=True):
        text.set_color(KIND_COLORS[data.kind(method)])
    ax.set_ylim(len(found) - 0.4, -0.6)
    ax.set_xlim(0.0, 1.03)
    ax.grid(True, axis="x")


def ladder_rows(data: ReportData) -> list[dict[str, Any]]:
    """Return the rungs that are there, lowest first: `step`, `cov`, `low`, `high` [%], `n`, `published`."""
    given = data.ladder or data.details.get("raw", {}).get("ladder", ())
    rows = []
    for entry in given:
        step = str(entry.get("step", entry.get("rung", "")))
        if entry.get("feature", "median") != "median" or not math.isfinite(number(entry.get("cov"))):
            continue
        rows.append(
            {
                "step": step,
                "cov": number(entry["cov"]),
                "low": number(entry.get("low", entry.get("ci_low"))),
                "high": number(entry.get("high", entry.get("ci_high"))),
                "n": entry.get("n"),
                "published": PUBLISHED.get(step),
            }
        )
    order = list(PUBLISHED)
    return sorted(rows, key=lambda r: order.index(r["step"]) if r["step"] in order else len(order))


def ladder_figure(data: ReportData) -> str | None:
    """Return the ladder of site effects beside the published ranges; None without a rung."""
    rows = ladder_rows(data)
    if not rows:
        return None
    with figure_style():
        figure = new_figure(8.2, 0.95 + 0.48 * len(rows))
        ax = figure.subplots()
        for y, row in enumerate(rows):
            if row["published"]:
                low, high = row["published"]
                ax.barh(
                    y, high - low, left=low, height=0.56, color="#cfe3dd", label=_once("published range", y)
                )
            if math.isfinite(row["low"]) and math.isfinite(row["high"]):
                ax.plot(
                    [max(row["low"], 1e-3), row["high"]], [y, y], color=INK, lw=2.0, solid_capstyle="butt"
                )
            ax.plot(
                row["cov"], y, KIND_MARKERS["image"], color=INK, ms=7.5, ls="", label=_once("this study", y)
            )
            ax.annotate(
                f"{row['cov']:.2g} %", (row["cov"], y), (0, 8), textcoords="offset points", ha="center"
            )
        ax.set_yticks(range(len(rows)), [r["step"] for r in rows])
        ax.set_ylim(len(rows) - 0.45, -0.65)
        ax.set_xscale("log")
        ax.set_xticks([float(t) for t in TICKS], labels=TICKS)
        ax.minorticks_off()
        values = [v for r in rows for v in (r["cov"], r["low"]) if v > 0.0]
        ax.set_xlim(max(min([0.4, *values]) * 0.8, 0.05), max(40.0, *(1.2 * r["cov"] for r in rows)))
        ax.set_xlabel("coefficient of variation between two scans of one person [%]")
        ax.grid(True, axis="x")
        handles, labels = _legend([ax])
        ax.legend(handles, labels, loc="upper right", ncols=1)
        return svg_uri(figure)


def _once(label: str, index: int) -> str | None:
    return label if index == 0 else None

"""The decisive pictures: site error left against biology destroyed, and the split of the raw error."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .data import Answer, ReportData
from .style import (
    INK,
    KIND_COLORS,
    KIND_MARKERS,
    KIND_WORDS,
    MUTED,
    PART_COLORS,
    PARTS,
    figure_style,
    new_figure,
    svg_uri,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Parts = dict[str, Answer]
_OFFSETS = (
    (8, 7, "left"),
    (8, -13, "left"),
    (-8, 7, "right"),
    (-8, -13, "right"),
    (11, -3, "left"),
    (-11, -3, "right"),
    (0, 12, "center"),
    (0, -18, "center"),
)


def dissected(data: ReportData, contrast: str) -> dict[str, Parts]:
    """Return the dissections of a contrast, raw left out: there is nothing that it did."""
    found = {m: data.dissection(m, contrast) for m in data.methods if m != "raw"}
    return {m: parts for m, parts in found.items() if parts}


def trade_figure(data: ReportData) -> str | None:
    """Return site error left (x) against biology destroyed (y), one panel per contrast."""
    found = {c: dissected(data, c) for c in data.contrasts}
    found = {
        c: {m: p for m, p in methods.items() if {"left", "destroyed"} <= p.keys()}
        for c, methods in found.items()
    }
    found = {c: methods for c, methods in found.items() if methods}
    if not found:
        return None
    with figure_style():
        width = 5.5 if len(found) > 1 else 7.2
        figure = new_figure(width * len(found), 4.6)
        axes = figure.subplots(1, len(found), squeeze=False)[0]
        for ax, (contrast, methods) in zip(axes, found.items(), strict=True):
            _trade(ax, data, methods)
            ax.set_title(contrast)
        kinds = [k for k in KIND_COLORS if any(data.kind(m) == k for ms in found.values() for m in ms)]
        handles = [
            axes[0].plot(
                [], [], KIND_MARKERS[k], color=KIND_COLORS[k], ms=7, label=KIND_WORDS[k],
                mfc="white" if k == "control" else KIND_COLORS[k], mew=1.6,
            )[0]
            for k in kinds
        ]  # fmt: skip
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
        # Labels are placed in points, so the layout must be settled before.
        figure.draw_without_rendering()
        for ax, methods in zip(axes, found.values(), strict=True):
            _name_points(ax, data, methods)
        return svg_uri(figure)


def _trade(ax: Axes, data: ReportData, methods: dict[str, Parts]) -> None:
    for method, parts in methods.items():
        kind = data.kind(method)
        x, y = parts["left"], parts["destroyed"]
        color = KIND_COLORS[kind]
        for answer, horizontal in ((x, True), (y, False)):
            if answer.bounded:
                ends = [100 * answer.low, 100 * answer.high]
                at = [100 * (y if horizontal else x).value] * 2
                ax.plot(*((ends, at) if horizontal else (at, ends)), color=color, lw=1.1, alpha=0.55)
        fill = "white" if kind == "control" else color
        ax.plot(100 * x.value, 100 * y.value, KIND_MARKERS[kind], color=color, mfc=fill, mew=1.6, ms=8)
    _limits(ax, methods)
    ax.axhline(0.0, color=MUTED, lw=0.9)
    ax.axvline(0.0, color=MUTED, lw=0.9)
    ax.set_xlabel("site error left [% of raw error]")
    ax.set_ylabel("biology destroyed [% of raw error]")
    ax.grid(True)
    ax.plot(0, 0, "*", color=PART_COLORS["fixed"], ms=15, mec="white", zorder=5)


def _limits(ax: Axes, methods: dict[str, Parts]) -> None:
    """Frame the estimates; an interval that would dwarf them may leave the frame."""
    for name, setter in (("left", ax.set_xlim), ("destroyed", ax.set_ylim)):
        answers = [p[name] for p in methods.values()]
        values = [100 * a.value for a in answers]
        span = max(max(values), 0.0) - min(min(values), 0.0) or 1.0
        ends = [100 * e for a in answers if a.bounded for e in (a.low, a.high)]
        low = max(min([0.0, *values, *ends]), min([0.0, *values]) - span)
        high = min(max([0.0, *values, *ends]), max([0.0, *values]) + span)
        room = 0.09 * (high - low or 1.0)
        setter(low - room, high + 1.6 * room)


def _name_points(ax: Axes, data: ReportData, methods: dict[str, Parts]) -> None:
    """Write each name beside its point, where it hides the least."""
    scale = 72.0 / ax.figure.dpi
    spots = {
        m: tuple(v * scale for v in ax.transData.transform((100 * p["left"].value, 100 * p["destroyed"].value)))
        for m, p in methods.items()
    }
    star = tuple(v * scale for v in ax.transData.transform((0.0, 0.0)))
    frame = ax.get_window_extent()
    edges = (frame.x0 * scale, frame.x1 * scale, frame.y0 * scale, frame.y1 * scale)
    taken: list[tuple[float, float, float, float]] = []
    labels = [*((m, spots[m], KIND_COLORS[data.kind(m)], False) for m in sorted(spots))]
    labels.append(("ideal", star, "#1f7a6d", True))
    at = {m: (100 * p["left"].value, 100 * p["destroyed"].value) for m, p in methods.items()}
    for text, spot, color, italic in labels:
        wide = 5.6 * len(text)
        choice = min(_OFFSETS, key=lambda o: _badness(_label_box(spot, o, wide), spots, taken, edges))
        taken.append(_label_box(spot, choice, wide))
        note = ax.annotate(
            text, (0.0, 0.0) if italic else at[text], xytext=choice[:2], textcoords="offset points",
            ha=choice[2], color=color, fontsize=8.5, zorder=6, style="italic" if italic else "normal",
        )  # fmt: skip
        note.set_in_layout(False)


def _label_box(
    spot: tuple[float, ...], offset: tuple[int, int, str], wide: float
) -> tuple[float, float, float, float]:
    left = spot[0] + offset[0] - {"left": 0.0, "center": wide / 2, "right": wide}[offset[2]]
    bottom = spot[1] + offset[1]
    return left, left + wide, bottom - 2.0, bottom + 9.0


def _badness(
    box: tuple[float, float, float, float],
    spots: dict[str, tuple[float, ...]],
    taken: list[tuple[float, float, float, float]],
    edges: tuple[float, ...],
) -> float:
    x0, x1, y0, y1 = box
    hidden = sum(x0 - 5 < s[0] < x1 + 5 and y0 - 5 < s[1] < y1 + 5 for s in spots.values())
    crossed = sum(
        max(0.0, min(x1, b[1]) - max(x0, b[0])) * max(0.0, min(y1, b[3]) - max(y0, b[2])) for b in taken
    )
    outside = max(0.0, edges[0] - x0) + max(0.0, x1 - edges[1]) + max(0.0, edges[2] - y0) + max(0.0, y1 - edges[3])
    return 30.0 * hidden + crossed + 20.0 * outside


def split_figure(data: ReportData) -> str | None:
    """Return stacked bars: what was fixed to the left, what is left or was newly broken to the right."""
    found = {c: dissected(data, c) for c in data.contrasts}
    found = {c: methods for c, methods in found.items() if methods}
    if not found:
        return None
    most = max(len(methods) for methods in found.values())
    with figure_style():
        figure = new_figure(5.5 * len(found) if len(found) > 1 else 7.2, 1.25 + 0.4 * most)
        axes = figure.subplots(1, len(found), squeeze=False)[0]
        for ax, (contrast, methods) in zip(axes, found.items(), strict=True):
            _bars(ax, data, methods)
            ax.set_title(contrast)
        handles = [axes[0].barh(0, 0, color=PART_COLORS[p], label=p) for p in PARTS]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
        return svg_uri(figure)


def _bars(ax: Axes, data: ReportData, methods: dict[str, Parts]) -> None:
    for y, parts in enumerate(methods.values()):
        gone, there = 0.0, 0.0
        for name in PARTS:
            if name not in parts:
                continue
            value = 100 * parts[name].value
            good = -value if name == "fixed" else value
            color = PART_COLORS[name]
            # Beyond its own side a part is hatched: error that was added, or damage that was undone.
            hatch = "////" if (good > 0.0) == (name == "fixed") else None
            start = there if good > 0.0 else gone
            ax.barh(y, good, left=start, height=0.62, color=color, hatch=hatch, edgecolor="white", lw=0.6)
            gone, there = (gone, there + good) if good > 0.0 else (gone + good, there)
    ax.axvline(0.0, color=INK, lw=1.0)
    ax.set_yticks(range(len(methods)), list(methods))
    for text, method in zip(ax.get_yticklabels(), methods, strict=True):
        text.set_color(KIND_COLORS[data.kind(method)])
    ax.set_ylim(len(methods) - 0.4, -0.6)
    ax.set_xlabel("gone  \u2190  % of raw error  \u2192  still there or new")
    low, high = ax.get_xlim()
    if not (math.isfinite(low) and high > low):
        ax.set_xlim(-1.0, 1.0)
    ax.xaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    ax.grid(True, axis="x")

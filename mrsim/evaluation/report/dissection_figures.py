"""The decisive pictures: site error left against biology destroyed, and the split of the raw error."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .answer import Parts, dissected
from .data import RAW, Answer, ReportData
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
    from matplotlib.figure import Figure

Methods = Mapping[str, Parts]
Box = tuple[float, float, float, float]
_FAR = 3.0
"""A point this many times farther out than the median one is drawn at the edge, with its value."""
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


def _grid(count: int, height: float, single: float) -> tuple[Figure, list[Axes]]:
    """Return a figure of `count` panels, at most two side by side."""
    columns, lines = min(2, count), math.ceil(count / 2)
    figure = new_figure(5.6 * columns if columns > 1 else single, height * lines)
    axes = list(figure.subplots(lines, columns, squeeze=False).flat)
    for ax in axes[count:]:
        ax.set_axis_off()
    figure.get_layout_engine().set(h_pad=0.09)  # type: ignore[union-attr,call-arg]
    return figure, axes[:count]


def trade_figure(data: ReportData) -> str | None:
    """Return site error left (x) against biology destroyed (y), one panel per place."""
    found: dict[str, Methods] = {}
    for place in data.places:
        whole = {m: p for m, p in dissected(data, place).items() if {"left", "destroyed"} <= p.keys()}
        if set(whole) - {RAW}:
            found[place] = whole
    if not found:
        return None
    with figure_style():
        figure, axes = _grid(len(found), 4.2, 7.4)
        for ax, (place, methods) in zip(axes, found.items(), strict=True):
            _trade(ax, data, methods)
            ax.set_title(place)
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


def _trade(ax: Axes, data: ReportData, methods: Methods) -> None:
    for method, parts in methods.items():
        color = KIND_COLORS[data.kind(method)]
        x, y = parts["left"], parts["destroyed"]
        for answer, horizontal in ((x, True), (y, False)):
            if answer.bounded:
                ends = [100 * answer.low, 100 * answer.high]
                at = [100 * (y if horizontal else x).value] * 2
                ax.plot(*((ends, at) if horizontal else (at, ends)), color=color, lw=1.1, alpha=0.45)
    ax.set_xlim(_frame([p["left"] for p in methods.values()]))
    ax.set_ylim(_frame([p["destroyed"] for p in methods.values()]))
    for method, parts in methods.items():
        kind = data.kind(method)
        place = _inside(ax, parts)
        fill = "white" if kind == "control" else KIND_COLORS[kind]
        style: dict[str, Any] = {"color": KIND_COLORS[kind], "mfc": fill, "mew": 1.6, "ms": 8, "zorder": 5}
        ax.plot(*place, KIND_MARKERS[kind], clip_on=False, **style)
    ax.axhline(0.0, color=MUTED, lw=0.9)
    ax.axvline(0.0, color=MUTED, lw=0.9)
    ax.set_xlabel("site error left [% of raw error]")
    ax.set_ylabel("biology destroyed [% of raw error]")
    ax.grid(True)
    ax.plot(0, 0, "*", color=PART_COLORS["fixed"], ms=15, mec="white", zorder=4)


def _frame(answers: list[Answer]) -> tuple[float, float]:
    """Frame the points; far ones, and intervals that would dwarf all points, may leave the frame."""
    values = [100 * a.value for a in answers]
    far = _FAR * max(statistics.median(abs(v) for v in values), 20.0)
    near = [v for v in values if abs(v) <= far]
    low, high = min(0.0, *near), max(0.0, *near)
    room = 0.16 * max(high - low, 4.0)
    ends = [100 * e for a in answers if a.bounded and abs(100 * a.value) <= far for e in (a.low, a.high)]
    bottom = max(min(low, *ends, low), low - 3.0 * room)
    top = min(max(high, *ends, high), high + 3.0 * room)
    return bottom - 0.6 * room, top + room


def _inside(ax: Axes, parts: Parts) -> tuple[float, float]:
    """Return where a point is drawn: its place, or the edge nearest to it."""
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    x, y = 100 * parts["left"].value, 100 * parts["destroyed"].value
    return min(max(x, left), right), min(max(y, bottom), top)


def _label(ax: Axes, method: str, parts: Parts) -> str:
    """Return a method's name, with its value on an axis that it leaves."""
    x, y = _inside(ax, parts)
    left, destroyed = 100 * parts["left"].value, 100 * parts["destroyed"].value
    if x != left:
        return f"{method}: {left:.0f} % left"
    return method if y == destroyed else f"{method}: {destroyed:.0f} % destroyed"


def _name_points(ax: Axes, data: ReportData, methods: Methods) -> None:
    """Write each name beside its point, where it hides the least."""
    scale = 72.0 / ax.figure.dpi
    at = {m: _inside(ax, p) for m, p in methods.items()}
    points = [(_label(ax, m, methods[m]), at[m], KIND_COLORS[data.kind(m)], "normal") for m in sorted(at)]
    points.append(("ideal", (0.0, 0.0), "#1f7a6d", "italic"))
    spots = [tuple(v * scale for v in ax.transData.transform(place)) for _, place, _, _ in points]
    frame = ax.get_window_extent()
    edges = (frame.x0 * scale, frame.x1 * scale, frame.y0 * scale, frame.y1 * scale)
    taken: list[Box] = []
    for (text, place, color, style), spot in zip(points, spots, strict=True):
        wide = 5.6 * len(text)
        choice = min(_OFFSETS, key=lambda o: _badness(_label_box(spot, o, wide), spots, taken, edges))
        taken.append(_label_box(spot, choice, wide))
        note = ax.annotate(
            text, place, xytext=choice[:2], textcoords="offset points", ha=choice[2], color=color,
            fontsize=8.5, zorder=6, style=style,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6},
        )  # fmt: skip
        note.set_in_layout(False)


def _label_box(spot: tuple[float, ...], offset: tuple[int, int, str], wide: float) -> Box:
    left = spot[0] + offset[0] - {"left": 0.0, "center": wide / 2, "right": wide}[offset[2]]
    bottom = spot[1] + offset[1]
    return left, left + wide, bottom - 2.0, bottom + 9.0


def _badness(box: Box, spots: list[tuple[float, ...]], taken: list[Box], edges: tuple[float, ...]) -> float:
    x0, x1, y0, y1 = box
    hidden = sum(x0 - 5 < s[0] < x1 + 5 and y0 - 5 < s[1] < y1 + 5 for s in spots)
    crossed = sum(
        max(0.0, min(x1, b[1]) - max(x0, b[0])) * max(0.0, min(y1, b[3]) - max(y0, b[2])) for b in taken
    )
    outside = sum(max(0.0, v) for v in (edges[0] - x0, x1 - edges[1], edges[2] - y0, y1 - edges[3]))
    return 30.0 * hidden + crossed + 20.0 * outside


def split_figure(data: ReportData) -> str | None:
    """Return stacked bars: what was fixed to the left, what is left or was newly broken to the right."""
    found = {p: dissected(data, p) for p in data.places}
    found = {p: methods for p, methods in found.items() if set(methods) - {RAW}}
    if not found:
        return None
    most = max(len(methods) for methods in found.values())
    with figure_style():
        figure, axes = _grid(len(found), 0.9 + 0.34 * most, 7.4)
        for ax, (place, methods) in zip(axes, found.items(), strict=True):
            _bars(ax, data, methods)
            ax.set_title(place)
        handles = [axes[0].barh(0, 0, color=PART_COLORS[p], label=p) for p in PARTS]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
        return svg_uri(figure)


def _bars(ax: Axes, data: ReportData, methods: Methods) -> None:
    ends = [_bar(ax, y, parts) for y, parts in enumerate(methods.values())]
    right = [end for _, end in ends]
    frame = min(max(*right, 1.0), _FAR * max(statistics.median(right), 20.0))
    ax.set_xlim(min(0.0, *(start for start, _ in ends)) - 0.06 * frame, 1.08 * frame)
    for y, end in enumerate(right):
        if end > 1.08 * frame:
            ax.annotate(
                f"to {end:.0f} %", (1.07 * frame, y), (-2, 0), textcoords="offset points", ha="right",
                va="center", fontsize=8,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.2},
            )  # fmt: skip
    ax.axvline(0.0, color=INK, lw=1.0)
    ax.set_yticks(range(len(methods)), list(methods))
    for text, method in zip(ax.get_yticklabels(), methods, strict=True):
        text.set_color(KIND_COLORS[data.kind(method)])
    ax.set_ylim(len(methods) - 0.4, -0.6)
    ax.set_xlabel("gone  \u2190  % of raw error  \u2192  still there or new")
    ax.xaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    ax.grid(True, axis="x")


def _bar(ax: Axes, y: int, parts: Parts) -> tuple[float, float]:
    """Draw one method and return the ends of its bar.

    Negative parts are hatched: site error that was added is the last piece of what is left (which contains
    it), damage of the raw scan that was undone is gone.
    """
    value = {name: 100 * parts[name].value for name in PARTS if name in parts}
    added = max(0.0, -value.get("fixed", 0.0))
    pieces = [("fixed", -max(0.0, value.get("fixed", 0.0)), False)]
    pieces += [(n, min(0.0, value.get(n, 0.0)), True) for n in ("destroyed", "invented")]
    pieces += [("left", max(0.0, value.get("left", 0.0) - added), False), ("left", added, True)]
    pieces += [(n, max(0.0, value.get(n, 0.0)), False) for n in ("destroyed", "invented")]
    gone, there = 0.0, 0.0
    for name, size, hatched in pieces:
        if abs(size) < 1e-9:
            continue
        ax.barh(
            y, size, left=gone if size < 0.0 else there, height=0.62, color=PART_COLORS[name],
            hatch="////" if hatched else None, edgecolor="white", lw=0.6,
        )  # fmt: skip
        gone, there = gone + min(0.0, size), there + max(0.0, size)
    return gone, there

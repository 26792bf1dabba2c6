"""Bars of an attribution: single cause, leave-one-out and Shapley value with its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .style import INK, figure_style, new_figure, svg_uri

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .attribution_page import AttributionPage

COLORS = {"shapley": "#0072B2", "single": "#E69F00", "left": "#009E73"}
WORDS = {"shapley": "Shapley value", "single": "cause alone", "left": "leave-one-out"}
_PANELS = {
    "nmse:wm": "squared difference",
    "signed:wm": "signed share (projection)",
    "nmse:raw": "squared, scanners' own units",
}
_FEATURES = (
    "volume:gm", "volume:wm", "volume:csf", "volume:ventricles", "volume:hippocampus", "ratio:gm/wm",
    "boundary_width", "thickness",
)  # fmt: skip
_BAR = 0.27


def bars_figure(page: AttributionPage) -> str | None:
    """Return the causes' parts of the image differences in % of the whole; None without image measures."""
    panels = {name: m for name in _PANELS if (m := page.index(name)) is not None and page.found.total[m]}
    if not panels:
        return None
    count = len(page.found.players)
    with figure_style():
        figure = new_figure(11.2, 1.3 + 0.42 * count)
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for ax, (name, m) in zip(axes, panels.items(), strict=True):
            _bars(ax, page, m)
            ax.set_title(_PANELS[name])
            ax.set_xlabel("% of the whole")
        axes[0].set_yticks(range(count), [page.found.players[i].replace("_", " ") for i in page.order])
        axes[0].set_ylim(count - 0.45, -0.55)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
        return svg_uri(figure)


def _bars(ax: Axes, page: AttributionPage, m: int) -> None:
    found = page.found
    percent = 100.0 / found.total[m]
    place = np.arange(len(found.players))
    rows = page.order
    for k, (key, values) in enumerate(
        {"shapley": found.shapley, "single": found.single, "left": found.leave_one_out}.items()
    ):
        ax.barh(
            place + (k - 1) * _BAR,
            percent * values[rows, m],
            height=_BAR,
            color=COLORS[key],
            label=WORDS[key],
        )
    if not found.exact:
        ends = np.sort(percent * np.stack([found.low[rows, m], found.high[rows, m]]), axis=0)
        ax.hlines(place - _BAR, ends[0], ends[1], color=INK, lw=1.4, zorder=3)
    ax.axvline(0.0, color=INK, lw=0.8)
    ax.grid(True, axis="x")


def feature_figure(page: AttributionPage) -> str | None:
    """Return the Shapley values of the features, one panel each; None without features."""
    panels = {name: m for name in _FEATURES if (m := page.index(name)) is not None}
    if not panels:
        return None
    count, columns = len(page.found.players), min(4, len(panels))
    lines = -(-len(panels) // columns)
    with figure_style():
        figure = new_figure(11.2, (0.9 + 0.2 * count) * lines)
        axes = figure.subplots(lines, columns, sharey=True, squeeze=False)
        for ax in axes.flat[len(panels) :]:
            ax.set_axis_off()
        for ax, (name, m) in zip(axes.flat, panels.items(), strict=False):
            _feature_panel(ax, page, m)
            ax.set_title(name.replace("_", " ").replace(":", " "))
        axes[0, 0].set_yticks(range(count), [page.found.players[i].replace("_", " ") for i in page.order])
        axes[0, 0].set_ylim(count - 0.45, -0.55)
        figure.supxlabel(
            "part of the difference [% of the reference's value]; the line is the whole", fontsize=9
        )
        return svg_uri(figure)


def _feature_panel(ax: Axes, page: AttributionPage, m: int) -> None:
    found, rows = page.found, page.order
    place = np.arange(len(rows))
    ax.barh(place, found.shapley[rows, m], height=0.66, color=COLORS["shapley"])
    if not found.exact:
        ax.hlines(place, found.low[rows, m], found.high[rows, m], color=INK, lw=1.2, zorder=3)
    ax.axvline(0.0, color=INK, lw=0.8)
    ax.axvline(float(found.total[m]), color="#d1495b", lw=1.2, ls="--")
    ax.grid(True, axis="x")

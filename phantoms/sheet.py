"""The sheet of a phantom's picture: planes, colours, scale bar, colour bars and the list of tissues."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .slices import Plane, Volume

BACKGROUND, INK, FAINT = "#0b0d10", "#e8e6e1", "#8b9096"
COLOURS = {
    "gm": "#c98a86", "wm": "#efe6d6", "csf": "#3f7fbf", "ventricular_csf": "#5fb0e5",
    "cerebellar_gm": "#b5716f", "cerebellar_wm": "#d9c9ae", "thalamus": "#6fae7b", "caudate": "#3fa39a",
    "putamen": "#2f8f6f", "pallidum": "#b8c95a", "hippocampus": "#e59a3c", "amygdala": "#d96f4e",
    "brainstem": "#cdb8e0", "spinal_cord": "#b49acb", "skull": "#8f969e", "marrow": "#d7b45f",
    "fat": "#e8cf6b", "skin": "#b98b6b", "muscle": "#8e3b3f", "blood": "#d3324b", "vessels": "#d3324b",
    "venous_blood": "#4a64c8", "arterial_blood": "#e0344c", "dentate": "#c7a04a", "accumbens": "#58b8ac",
    "substantia_nigra": "#7a5f8f", "red_nucleus": "#d9605a", "cartilage": "#9fb8c4", "wmh": "#ffd24a",
    "extracranial_fluid": "#4a6f8f", "water": "#4f9bd6", "air": "#000000", "dura": "#a88fb5",
}  # fmt: skip
_PLANES = (("axial", 2, (0, 1)), ("coronal", 1, (0, 2)), ("sagittal", 0, (1, 2)))
_LETTERS = (("L", "R"), ("P", "A"), ("I", "S"))
_MARGIN = 0.03
_MAX_LISTED = 30
COLUMNS = {"Tissues": "Tissues", "T1": "T1 (ms)", "T2": "T2 (ms)", "PD": "Proton density"}
"""Title per column; one without any value is left out."""
_THIN = 1.0
"""Height [inch] of a picture that has no room for words beside it."""
_SHOWN = 0.02
"""Share of the largest density below which the times of a voxel are not drawn."""
_TICKS = np.array([m * 10.0**e for e in range(-6, 6) for m in (1, 2, 5)])


def tissue_colour(name: str, number: int) -> tuple[float, float, float]:
    """Return the colour of a tissue: its own, or one of evenly spread hues."""
    from matplotlib.colors import to_rgb

    if name in COLOURS:
        red, green, blue = to_rgb(COLOURS[name])
        return float(red), float(green), float(blue)
    return colorsys.hsv_to_rgb((0.58 + 0.618034 * number) % 1.0, 0.55, 0.9)


class Sheet:
    """The figure: one row per plane, one column per quantity, tissues listed at the right."""

    def __init__(self, volume: Volume, cross: tuple[int, ...]) -> None:
        self.volume = volume
        self.cross = cross
        self.edges = 1e3 * np.linalg.norm(volume.affine[:3, :3], axis=0)
        self.box = self._cropped()
        self.rows = [p for p in _PLANES if all(volume.shape[a] > 1 for a in p[2])] or [_PLANES[0]]
        self.planes = [volume.plane(axis, cross[axis]) for _, axis, _ in self.rows]
        colours = [tissue_colour(n, k) for k, n in enumerate(volume.names)]
        self.colours = np.array(colours).reshape(-1, 3)
        self.densest = max(float(p.pd.max()) for p in self.planes)
        images = {n: [self._image(n, p) for p in self.planes] for n in COLUMNS}
        self.images = {n: i for n, i in images.items() if any(np.isfinite(k).any() for k in i)}

    def _cropped(self) -> list[tuple[int, int]]:
        out = []
        for (a, b), n in zip(self.volume.occupied(), self.volume.shape, strict=True):
            margin = round(_MARGIN * (b - a + 1)) + 1
            out.append((max(a - margin, 0), min(b + margin, n - 1)))
        return out

    def _length(self, axis: int) -> float:
        a, b = self.box[axis]
        return float((b - a + 1) * self.edges[axis])

    def figure(self, title: tuple[str, str], footer: str) -> Any:
        """Return the matplotlib figure under a title and its detail, over a line of small print."""
        from matplotlib.figure import Figure

        widest = max(self._length(axes[0]) for _, _, axes in self.rows)
        heights = [self._length(axes[1]) for _, _, axes in self.rows]
        inch = 2.35 / widest
        tall = max(sum(heights) * inch + 0.12 * len(heights), 2.4)
        columns = len(self.images)
        size = 2.55 * columns + 2.8, tall + 1.95
        figure = Figure(figsize=size, facecolor=BACKGROUND)
        grid = figure.add_gridspec(
            len(self.rows) + 1, columns + 1, left=0.45 / size[0], right=1 - 0.25 / size[0],
            top=1 - 1.15 / size[1], bottom=0.5 / size[1],
            wspace=0.11, hspace=0.05, width_ratios=[1.0] * columns + [0.95],
            height_ratios=[*[h * tall / sum(heights) for h in heights], 0.14],
        )  # fmt: skip
        style: dict[str, Any] = {"va": "center", "parse_math": False}  # names of files are not formulas
        figure.text(0.3 / size[0], 1 - 0.30 / size[1], title[0], color=INK, size=17, weight="bold", **style)
        figure.text(0.3 / size[0], 1 - 0.58 / size[1], title[1], color=FAINT, size=10.5, **style)
        figure.text(0.3 / size[0], 0.17 / size[1], footer[:190], color=FAINT, size=7.5, **style)
        self._draw(figure, grid)
        self._list(figure.add_subplot(grid[:, columns]), tall)
        return figure

    def _draw(self, figure: Any, grid: Any) -> None:
        for column, (name, images) in enumerate(self.images.items()):
            axes = [figure.add_subplot(grid[r, column]) for r in range(len(self.rows))]
            drawn = None
            style = {} if name == "Tissues" else _style(name, images)
            for ax, image, (_, _, across) in zip(axes, images, self.rows, strict=True):
                drawn = self._show(ax, image, across, style)
            axes[0].set_title(COLUMNS[name], color=INK, fontsize=11.5, pad=8, weight="bold")
            if column == 0:
                self._scale_bar(figure.add_subplot(grid[len(self.rows), 0]), axes[0])
                for ax, (plane, axis, across) in zip(axes, self.rows, strict=True):
                    self._letters(ax, plane, axis, across)
            else:
                _colour_bar(figure, figure.add_subplot(grid[len(self.rows), column]), drawn, style)

    def _image(self, name: str, plane: Plane) -> NDArray[Any]:
        if name == "Tissues":
            mixed = np.einsum("tab,tc->abc", np.clip(plane.tissues, 0, 1), self.colours)
            return np.asarray(np.clip(mixed, 0, 1))
        if name == "PD":
            return np.where(plane.pd > 0, plane.pd, np.nan)
        times = 1e3 * (plane.t1 if name == "T1" else plane.t2)
        shown = (plane.pd > _SHOWN * self.densest) & np.isfinite(times)
        return np.asarray(np.where(shown, times, np.nan))

    def _show(self, ax: Any, image: NDArray[Any], across: tuple[int, int], style: dict[str, Any]) -> Any:
        (a, b), (c, d) = (self.box[k] for k in across)
        cut = image[a : b + 1, c : d + 1].swapaxes(0, 1)
        wide, tall = self._length(across[0]), self._length(across[1])
        drawn = ax.imshow(
            cut, origin="lower", extent=(0, wide, 0, tall), interpolation="nearest", aspect="equal", **style
        )
        ax.set_facecolor("black")
        ax.set_xticks([])
        ax.set_yticks([])
        for spine in ax.spines.values():
            spine.set_edgecolor("#23272d")
        return drawn

    def _letters(self, ax: Any, plane: str, axis: int, across: tuple[int, int]) -> None:
        from matplotlib.patheffects import withStroke

        edge = withStroke(linewidth=2, foreground=BACKGROUND)  # readable on bright tissue, too
        style: dict[str, Any] = {"color": INK, "fontsize": 8.5, "transform": ax.transAxes, "weight": "bold"}
        style["path_effects"] = [edge]
        left, right = _LETTERS[across[0]]
        down, up = _LETTERS[across[1]]
        ax.text(0.02, 0.5, left, ha="left", va="center", **style)
        ax.text(0.98, 0.5, right, ha="right", va="center", **style)
        box = ax.get_position()
        thin = box.height * ax.figure.get_figheight() < _THIN
        if not thin:
            ax.text(0.5, 0.02, down, ha="center", va="bottom", **style)
            ax.text(0.5, 0.98, up, ha="center", va="top", **style)
        world = self.volume.affine @ np.array([*self.cross, 1.0])
        place = f"{'xyz'[axis]} = {1e3 * world[axis]:.0f} mm"
        if thin:  # a word beside it would be longer than the picture is high
            ax.set_ylabel(
                place.removesuffix(" mm"), color=FAINT, fontsize=6.5, rotation=0, ha="right", va="center"
            )
        else:
            ax.set_ylabel(f"{plane}  {place}", color=FAINT, fontsize=8, labelpad=3)
        for k, horizontal in ((across[0], False), (across[1], True)):
            at = (self.cross[k] - self.box[k][0] + 0.5) * self.edges[k]
            line = ax.axhline if horizontal else ax.axvline
            line(at, color=INK, linewidth=0.5, alpha=0.28)

    def _scale_bar(self, ax: Any, above: Any) -> None:
        """Draw a round length under the first column, to the scale of its pictures."""
        wide = self._length(self.rows[0][2][0])
        length = max(t for t in _TICKS if t <= wide / 3)
        figure = ax.figure
        figure.canvas.draw() if hasattr(figure.canvas, "draw") else None
        share = length / wide * above.get_position().width / ax.get_position().width
        ax.axis("off")
        ax.set_xlim(0, 1)
        ax.set_ylim(0, 1)
        ax.plot([0.5 - share / 2, 0.5 + share / 2], [0.75, 0.75], color=INK, linewidth=2.2)
        text = f"{length / 10:g} cm" if length >= 10 else f"{length:g} mm"
        ax.text(0.5, 0.1, text, color=INK, fontsize=8.5, ha="center", va="top")

    def _list(self, ax: Any, tall: float) -> None:
        """List the tissues with their colours and volumes."""
        ax.axis("off")
        ax.set_xlim(0, 1)
        ax.set_ylim(0, 1)
        volumes = self.volume.volumes
        order = sorted(range(len(self.volume.names)), key=lambda k: -volumes[self.volume.names[k]])
        step = min(0.235 / (tall + 0.3), 0.96 / max(len(order[:_MAX_LISTED]) + 1, 1))
        for row, k in enumerate(order[:_MAX_LISTED]):
            name = self.volume.names[k]
            y = 0.985 - row * step
            ax.plot([0.085], [y], marker="s", markersize=8, color=self.colours[k], clip_on=False)
            ax.text(0.135, y, name.replace("_", " "), color=INK, fontsize=9, va="center", parse_math=False)
            ax.text(1.0, y, _millilitres(volumes[name]), color=FAINT, fontsize=9, va="center", ha="right")
        if len(order) > _MAX_LISTED:
            rest = f"and {len(order) - _MAX_LISTED} more"
            ax.text(0.135, 0.985 - _MAX_LISTED * step, rest, color=FAINT, fontsize=9, va="center")


def _millilitres(volume: float) -> str:
    ml = volume * 1e6
    return f"{ml:,.0f} mL" if ml >= 100 else f"{ml:.3g} mL"


def _style(name: str, images: list[NDArray[Any]]) -> dict[str, Any]:
    """Return colours and range of one quantity, the same in all planes."""
    import matplotlib as mpl
    from matplotlib.colors import LogNorm, Normalize

    colours = mpl.colormaps[{"T1": "magma", "T2": "viridis"}.get(name, "gray")].with_extremes(bad="black")
    values = np.concatenate([i.ravel() for i in images])
    values = values[np.isfinite(values) & (values > 0)]
    if not values.size:
        return {"cmap": colours, "norm": Normalize(0, 1)}
    low, high = (float(v) for v in np.percentile(values, (4, 99.5)))
    if name == "PD":
        return {"cmap": colours, "norm": Normalize(0, max(high, 1e-12))}
    if high / low > 4:
        return {"cmap": colours, "norm": LogNorm(low * 0.9, high * 1.05)}
    return {"cmap": colours, "norm": Normalize(0, high * 1.05)}


def _colour_bar(figure: Any, ax: Any, drawn: Any, style: dict[str, Any]) -> None:
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    bar = figure.colorbar(drawn, cax=ax, orientation="horizontal")
    norm = style["norm"]
    if isinstance(norm, LogNorm):
        inside = _TICKS[(norm.vmin <= _TICKS) & (norm.vmax >= _TICKS)]
        decades = inside[np.isclose(np.log10(inside) % 1, 0) | np.isclose(np.log10(inside) % 1, 1)]
        bar.ax.xaxis.set_major_locator(FixedLocator((inside if inside.size <= 6 else decades).tolist()))
        bar.ax.xaxis.set_minor_locator(NullLocator())
    else:
        bar.ax.xaxis.set_major_locator(MaxNLocator(4))
    bar.ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    bar.outline.set_edgecolor("#23272d")
    bar.ax.tick_params(colors=INK, labelsize=8, length=2.5)

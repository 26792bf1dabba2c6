"""Colours and figure style of the report, the same in every figure; figures become data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .data import Kind

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, MUTED, GRID = "#1d2733", "#5c6875", "#e3e7eb"
# Okabe and Ito's colours without the yellow that vanishes on white, then Tol's muted ones.
_SCANNERS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#332288",
    "#882255",
    "#999933",
    "#44AA99",
)
KIND_COLORS: dict[Kind, str] = {
    "raw": "#1d2733",
    "control": "#6b7580",
    "image": "#3557a7",
    "feature": "#a3541b",
}
KIND_WORDS: dict[Kind, str] = {
    "raw": "no harmonization",
    "control": "control",
    "image": "image harmonizer",
    "feature": "feature harmonizer",
}
KIND_MARKERS: dict[Kind, str] = {"raw": "X", "control": "D", "image": "o", "feature": "s"}
PART_COLORS = {"fixed": "#2f9e8f", "left": "#e0b94a", "destroyed": "#c2415d", "invented": "#6a3d9a"}
PARTS: tuple[str, ...] = tuple(PART_COLORS)
MARKERS = "osD^vP<>Xhpd*"


def scanner_colors(sessions: Sequence[str]) -> dict[str, str]:
    """Return one colour per scanner, by its place in the study."""
    return {label: _SCANNERS[i % len(_SCANNERS)] for i, label in enumerate(sessions)}


@contextmanager
def figure_style() -> Iterator[None]:
    """Fix everything that could change a figure's bytes or its look, whatever the user's own settings."""
    import matplotlib as mpl

    settings: Any = {
        "svg.hashsalt": "mrsim",
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 9.0,
        "axes.titlesize": 9.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelsize": 9.0,
        "axes.edgecolor": "#b6bec6",
        "axes.labelcolor": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.unicode_minus": True,
        "grid.color": GRID,
        "grid.linewidth": 0.8,
        "text.color": INK,
        "text.parse_math": False,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelsize": 8.0,
        "ytick.labelsize": 8.0,
        "legend.frameon": False,
        "legend.fontsize": 8.5,
        "lines.linewidth": 1.4,
    }
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(settings)
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return a figure [inch] that no graphical backend or global state knows of."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    return figure


def svg_uri(figure: Figure) -> str:
    """Return a figure as a data URI: an image of its own, so its style cannot leak into the page."""
    buffer = io.BytesIO()
    meta = {"Date": None, "Creator": None}
    figure.savefig(buffer, format="svg", metadata=meta, transparent=True)
    # Measured with matplotlib's own font, shown in the reader's: every system font named is narrower.
    text = buffer.getvalue().decode().replace("'DejaVu Sans'", _FONTS)
    return data_uri(text.encode(), "image/svg+xml")


_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans'"


def data_uri(content: bytes, media_type: str) -> str:
    """Return bytes as a data URI."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"

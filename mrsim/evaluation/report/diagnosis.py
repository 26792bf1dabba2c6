"""What is left of the difference that a diagnosis makes: the figure, and the sentence of the header."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .biology_figures import MAX_METHODS, method_panels, title
from .data import RAW, ReportData, number
from .style import INK, KIND_COLORS, MUTED, figure_style, svg_uri
from .words import listed

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

_WORDS = {"ad": "Alzheimer's disease", "mci": "mild cognitive impairment", "wml": "a high load of lesions"}


@dataclass(frozen=True, kw_only=True)
class Effect:
    """Patients against controls in one region, as differences in per cent; limits may be nan.

    `planted_d` is the planted effect in standard deviations (Cohen's d).
    """

    feature: str
    diagnosis: str
    planted_d: float
    truth: float
    found: float
    low: float
    high: float


def effects(data: ReportData, method: str, contrast: str) -> dict[tuple[str, str], Effect]:
    """Return what a method found of each diagnosis, by diagnosis and region."""
    rows = data.details.get(method, {}).get("diagnosis", ())
    found = [_effect(row) for row in rows if str(row.get("contrast", "")) == contrast]
    return {(e.diagnosis, e.feature): e for e in found if math.isfinite(e.truth) and math.isfinite(e.found)}


def _effect(row: Mapping[str, Any]) -> Effect:
    keys = ("truth", "recovered", "recovered_low", "recovered_high")
    truth, found, low, high = (100.0 * math.expm1(number(row.get(key))) for key in keys)
    return Effect(
        feature=str(row.get("feature", "")),
        diagnosis=str(row.get("diagnosis", "")),
        planted_d=number(row.get("planted_d")),
        truth=truth,
        found=found,
        low=low,
        high=high,
    )


def diagnosis_figure(data: ReportData, contrast: str) -> str | None:
    """Return true and recovered differences of patients to controls: rows are regions, panels methods."""
    everything = {m: found for m in data.methods if (found := effects(data, m, contrast))}
    shown = {m: everything[m] for m in data.shown(list(everything), MAX_METHODS)}
    if not shown:
        return None
    rows = sorted({key for found in shown.values() for key in found})
    with figure_style():
        figure, axes = method_panels(data, list(shown), [_row_name(key, rows) for key in rows])
        for ax, (method, found) in zip(axes, shown.items(), strict=True):
            _panel(ax, rows, found, KIND_COLORS[data.kind(method)])
        figure.supxlabel("patients against controls of equal age, sex and head size [%]", fontsize=9)
        return svg_uri(figure)


def _row_name(key: tuple[str, str], rows: Sequence[tuple[str, str]]) -> str:
    """Name a row by its region, and by the diagnosis where there are several."""
    several = len({diagnosis for diagnosis, _ in rows}) > 1
    return f"{title(key[1])} ({key[0]})" if several else title(key[1])


def _panel(
    ax: Axes, rows: Sequence[tuple[str, str]], found: Mapping[tuple[str, str], Effect], color: str
) -> None:
    ax.axvline(0.0, color=MUTED, lw=1.0)
    for y, key in enumerate(rows):
        if key not in found:
            continue
        effect = found[key]
        if math.isfinite(effect.low) and math.isfinite(effect.high):
            ax.plot([effect.low, effect.high], [y, y], color=color, lw=1.5, alpha=0.6)
        ax.plot(effect.truth, y, "o", mfc="white", mec=INK, ms=5.5, mew=1.1, zorder=3)
        ax.plot(effect.found, y, "o", color=color, ms=4.5, mec="white", mew=0.4, zorder=4)
    ax.tick_params(axis="x", labelsize=7)


def diagnosis_sentences(data: ReportData, contrasts: Sequence[str]) -> list[Markup]:
    """Tell, per diagnosis, what every method finds where it stands out most among people (first contrast)."""
    told = []
    for contrast in contrasts[:1]:
        raw = effects(data, RAW, contrast)
        for diagnosis in sorted({d for d, _ in raw}):
            planted = [e for e in raw.values() if e.diagnosis == diagnosis and abs(e.planted_d) > 0.0]
            if planted:
                most = max(planted, key=lambda e: abs(e.planted_d))
                told.append(_sentence(data, contrast, most))
    return told


def _sentence(data: ReportData, contrast: str, raw: Effect) -> Markup:
    from markupsafe import Markup

    key = raw.diagnosis, raw.feature
    judged = [m for m in data.methods if m != RAW and not data.control(m)]
    found = {m: effects(data, m, contrast).get(key) for m in judged}
    others = listed([f"{m} {_percent(effect.found)}" for m, effect in found.items() if effect])
    name = _WORDS.get(raw.diagnosis, raw.diagnosis)
    text = Markup(
        "<strong>{}, {}:</strong> patients truly differ from controls of equal age, sex and head size by "
        "<strong>{}</strong>; the raw scans show {}"
    ).format(name[:1].upper() + name[1:], title(raw.feature), _percent(raw.truth), _percent(raw.found))
    return text + (f", after harmonization {others}." if others else ".")


def _percent(value: float) -> str:
    text = f"{value:+.0f}"
    return f"{'0' if text in ('+0', '-0') else text.replace('-', '−')} %"

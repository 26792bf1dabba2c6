"""One page that says which cause explains how much of the difference between two scanners."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..attribution import Attribution
from .attribution_figures import bars_figure, feature_figure
from .attribution_words import answer, caveats
from .page import asset, render, write_page
from .pictures import DIFFERENCE_RANGE, colorbar_stops, diverging
from .style import data_uri
from .words import share, significant

PLANES = {"axial": 2, "coronal": 1, "sagittal": 0}
_MARGIN = 2
"""Voxels shown around the brain."""
_HEIGHT = 190
"""Of the pictures [pixels]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AttributionPage:
    """What the page is made of.

    Attributes
    ----------
    title, reference, other, contrast, subject
        What was compared.
    voxel_size
        Of the analysis grid [m].
    scanners, cards
        Label -> record.
    words
        Cause -> what it is.
    idle, off
        Causes that change nothing between these scanners, and causes that were left off.
    measures
        Name, unit, kind (image or feature) and meaning of every measure of `found`.
    found
        The split.
    coalitions, scans, seed
        How it was made.
    mask, reference_image, other_image, differences
        Brain, the two images and the difference by cause ('' for all), over the white-matter median.
    """

    title: str
    reference: str
    other: str
    contrast: str
    subject: str
    voxel_size: float
    scanners: Mapping[str, Mapping[str, Any]]
    cards: Mapping[str, Mapping[str, Any]]
    words: Mapping[str, str]
    idle: tuple[str, ...]
    off: tuple[str, ...]
    measures: tuple[tuple[str, str, str, str], ...]
    found: Attribution
    coalitions: int
    scans: int
    seed: int
    mask: npt.NDArray[Any]
    reference_image: npt.NDArray[Any]
    other_image: npt.NDArray[Any]
    differences: Mapping[str, npt.NDArray[Any]]

    def index(self, name: str) -> int | None:
        """Return the place of a measure; None where it was not measured."""
        names = [m[0] for m in self.measures]
        return names.index(name) if name in names else None

    @property
    def headline(self) -> int:
        """The measure that the answer is about: the normalised image difference, or the first there is."""
        found = self.index("nmse:wm")
        return 0 if found is None else found

    @property
    def order(self) -> list[int]:
        """Causes from the largest to the smallest Shapley value of the headline."""
        return [int(i) for i in np.argsort(-np.abs(self.found.shapley[:, self.headline]), kind="stable")]


def build_attribution_page(page: AttributionPage) -> str:
    """Return the page as one HTML document without any external reference."""
    return render(
        "attribution.html.j2",
        {
            "page": page,
            "style": asset("page.css"),
            "sentences": answer(page),
            "caveats": caveats(page),
            "facts": _facts(page),
            "bars": bars_figure(page),
            "feature_bars": feature_figure(page),
            "tables": _tables(page),
            "pictures": _pictures(page),
            "planes": list(PLANES),
            "colorbar": colorbar_stops(),
            "difference_range": DIFFERENCE_RANGE,
            "scanner_rows": [_scanner_row(page, label) for label in (page.reference, page.other)],
        },
    )


def write_attribution_page(path: Path | str, page: AttributionPage) -> None:
    """Write the page under a temporary name in the target folder, then rename it."""
    write_page(Path(path), build_attribution_page(page))


def _facts(page: AttributionPage) -> list[tuple[str, str]]:
    found = page.found
    orders = ("0", "sampling error") if found.exact else (str(2 * found.pairs), "orders, in antithetic pairs")
    return [
        (str(len(found.players)), "causes act"),
        (str(page.coalitions), "sets of causes"),
        (str(page.scans), "images"),
        (f"{1e3 * page.voxel_size:g} mm", "analysis grid"),
        orders,
    ]


def _scanner_row(page: AttributionPage, label: str) -> dict[str, str]:
    record, card = page.scanners[label], page.cards[label]
    timing, geometry = card.get("timing", {}), card.get("geometry", {})
    seconds = {name: timing.get(name) for name in ("tr", "te", "ti")}
    return {
        "label": label,
        "model": f"{record.get('manufacturer', '')} {record.get('model', '')}".strip(),
        "field": f"{record['field']['f0'] / 42.577478518e6:.3f} T" if "field" in record else "–",
        "card": str(card.get("name", "–")),
        "times": ", ".join(f"{n.upper()} {1e3 * v:.4g} ms" for n, v in seconds.items() if v is not None),
        "matrix": " x ".join(str(n) for n in geometry.get("matrix", ())),
    }


def _tables(page: AttributionPage) -> list[dict[str, Any]]:
    """Return one table per measure, the headline first."""
    order = [page.headline, *(m for m in range(len(page.measures)) if m != page.headline)]
    return [_table(page, m) for m in order]


def _table(page: AttributionPage, m: int) -> dict[str, Any]:
    found, (name, unit, kind, meaning) = page.found, page.measures[m]

    def shown(value: float) -> str:
        return significant(float(value), 3)

    rows = [
        {
            "cause": found.players[i],
            "words": page.words.get(found.players[i], ""),
            "single": shown(found.single[i, m]),
            "left": shown(found.leave_one_out[i, m]),
            "shapley": shown(found.shapley[i, m]),
            "error": "–" if found.exact else shown(found.standard_error[i, m]),
            "interval": "–" if found.exact else f"{shown(found.low[i, m])} to {shown(found.high[i, m])}",
            "share": share(float(found.share[i, m])) if math.isfinite(found.share[i, m]) else "–",
        }
        for i in page.order
    ]
    return {
        "name": name, "unit": "" if unit == "1" else unit, "kind": kind, "meaning": meaning, "rows": rows,
        "total": shown(found.total[m]), "interaction": shown(found.interaction[m]),
        "left_sum": shown(found.leave_one_out[:, m].sum()), "single_sum": shown(found.single[:, m].sum()),
    }  # fmt: skip


def _pictures(page: AttributionPage) -> list[dict[str, Any]]:
    """Return rows of pictures: the two images, the whole difference, and that of each cause alone."""
    high = 1.25 * max(float(np.percentile(page.reference_image[page.mask], 99.0)), 1e-6)
    rows = [
        _picture_row(page, page.reference, "the reference image", page.reference_image, high),
        _picture_row(page, page.other, "the other image", page.other_image, high),
    ]
    named = [("", "all causes"), *((page.found.players[i], "") for i in page.order)]
    for cause, words in named:
        change = page.differences[cause]
        rms = 100.0 * float(np.sqrt(np.mean(change[page.mask] ** 2)))
        note = f"rms {significant(rms, 2)} % of white matter"
        rows.append(_picture_row(page, words or cause, note, change, None))
    return rows


def _picture_row(
    page: AttributionPage, name: str, note: str, volume: npt.NDArray[Any], high: float | None
) -> dict[str, Any]:
    cells = [
        {"uri": _picture(page, volume, axis, high), "alt": f"{name}, {plane}"}
        for plane, axis in PLANES.items()
    ]
    return {"name": name, "note": note, "cells": cells, "light": high is None}


def _picture(page: AttributionPage, volume: npt.NDArray[Any], axis: int, high: float | None) -> str:
    """Return the slice through the centre of the brain as a data URI.

    Grey from 0 to `high`; without it, a difference in diverging colours. Values are over white matter's.
    """
    from PIL import Image

    where: list[slice | int] = []
    for other in range(3):
        hits = np.flatnonzero(page.mask.any(axis=tuple(a for a in range(3) if a != other)))
        where.append(slice(max(0, int(hits[0]) - _MARGIN), int(hits[-1]) + 1 + _MARGIN))
        if other == axis:
            where[-1] = int(hits[0] + hits[-1]) // 2
    cut = np.asarray(volume[tuple(where)], dtype=np.float64).T[::-1]
    if high is not None:
        picture = np.round(np.clip(cut / high, 0.0, 1.0) * 255.0).astype(np.uint8)
    else:
        inside = page.mask[tuple(where)].T[::-1]
        picture = np.round(diverging(100.0 * cut / DIFFERENCE_RANGE)).astype(np.uint8)
        picture[~inside] = 255
    scale = max(1, round(_HEIGHT / picture.shape[0]))
    picture = picture.repeat(scale, axis=0).repeat(scale, axis=1)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, format="WEBP", lossless=True, method=3)
    return data_uri(buffer.getvalue(), "image/webp")

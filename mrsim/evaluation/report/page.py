"""The page itself: one HTML file that needs nothing but a browser, with the same bytes for the same data."""

from __future__ import annotations

import base64
import hashlib
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..tables import METRICS
from . import biology_figures, dissection_figures, figures
from .answer import rows as answer_rows
from .answer import unverified_count, verdict
from .data import ReportData
from .diagnosis import diagnosis_figure
from .participants import participants_table, visits
from .pictures import (
    DIFFERENCE_RANGE,
    MAX_COLUMNS,
    QUALITIES,
    Panel,
    Quality,
    colorbar_stops,
    columns_of,
    panels,
)
from .recipe import boilerplate, card_rows, flat, scanner_rows, unverified
from .scores import contrasts as scored_contrasts
from .scores import family_tables, feature_tables
from .style import KIND_COLORS, KIND_WORDS, PART_COLORS, PARTS, scanner_colors
from .words import counted, listed, significant

TARGET_BYTES = 8_000_000
"""Pictures give up quality step by step until the page is smaller than this."""
CAP_BYTES = 15_000_000
"""A page above this would choke browsers: pictures are left out."""
_MAX_ROWS = 200
_VIEW_WORDS = {
    "same": "same window per row",
    "own": "own window per image",
    "difference": "what is wrong",
}


def build_report(data: ReportData) -> str:
    """Return the report as one HTML document without any external reference.

    Equal data give equal bytes (with the same versions of matplotlib and pillow). Pictures are stored without
    loss where the page stays below `TARGET_BYTES`; else they are compressed, then coarser, then fewer, which
    the page says.
    """
    context = _context(data)
    page = ""
    for quality in QUALITIES:
        page = _render(context | _pictures(data, quality))
        if len(page.encode()) <= TARGET_BYTES:
            return page
    if len(page.encode()) <= CAP_BYTES:
        return page
    return _render(context | _pictures(data, None))


def write_report(path: Path | str, data: ReportData) -> None:
    """Write the report under a temporary name in the target folder, then rename it."""
    write_page(Path(path), build_report(data))


def write_page(target: Path, text: str) -> None:
    """Write a page so that its file is there whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def render(template: str, context: Mapping[str, Any]) -> str:
    """Return a template of this folder, filled."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(asset(template)).render(context)


def _render(context: Mapping[str, Any]) -> str:
    return render("template.html.j2", context)


def asset(name: str) -> str:
    """Return the text of a file of this folder."""
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def _context(data: ReportData) -> dict[str, Any]:
    script = asset("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    paragraphs, citations = boilerplate(data)
    return {
        "data": data,
        "style": asset("page.css"),
        "script": script,
        "script_hash": f"sha256-{digest}",
        "verdict": verdict(data),
        "answers": [(p, found) for p in data.places if (found := answer_rows(data, p))],
        "facts": _facts(data),
        "scanners": scanner_rows(data),
        "cards": card_rows(data),
        "participants": participants_table(data),
        "colors": scanner_colors(data.sessions),
        "kind_colors": KIND_COLORS,
        "kind_words": KIND_WORDS,
        "part_colors": PART_COLORS,
        "parts": PARTS,
        "failures": _failures(data),
        "max_rows": _MAX_ROWS,
        "figures": _figures(data),
        "missing": _missing(data),
        "hidden": _hidden(data),
        "left_out": _left_out(data),
        "level": data.level,
        "ladder": _ladder(data),
        "glossary": [(name.replace("_", " "), metric.meaning) for name, metric in METRICS.items()],
        "tables": [(c, family_tables(data, c), feature_tables(data, c)) for c in scored_contrasts(data)],
        "unverified": unverified(data),
        "unverified_count": unverified_count(data),
        "recipe": flat(data.recipe),
        "study": flat(data.study),
        "paragraphs": paragraphs,
        "citations": citations,
    }


def _facts(data: ReportData) -> list[tuple[str, str]]:
    """Return the numbers of the header strip."""
    repeats = [int(s.get("repeats", 1)) for s in data.study.get("scanners", ())] or [1] * len(data.scanners)
    scans = visits(data, repeats) * len(data.contrasts)
    harmonizers = [m for m in data.methods if m != "raw"]
    controls = sum(data.control(m) for m in harmonizers)
    return [
        (str(data.people), "subject" if data.people == 1 else "subjects"),
        (str(len(data.scanners)), "scanner" if len(data.scanners) == 1 else "scanners"),
        (
            str(len(data.contrasts)),
            f"contrasts ({listed(data.contrasts)})" if len(data.contrasts) > 1 else "contrast",
        ),
        (str(scans), "scans planned"),
        (str(len(harmonizers)), f"methods, {counted(controls, 'control')} among them"),
        (str(len(data.failures)), "failed cells"),
    ]


def _left_out(data: ReportData) -> list[tuple[str, str, str, str]]:
    """Return scores that this study cannot have: what, where, of which methods, why."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for method in data.methods:
        for row in data.details.get(method, {}).get("left_out", ()):
            key = tuple(str(row.get(name, "")) for name in ("what", "contrast", "why"))
            found.setdefault((key[0], key[1], key[2]), []).append(method)
    everybody = len(data.methods)
    return [
        (what, place, "all" if len(methods) == everybody else listed(methods), why)
        for (what, place, why), methods in found.items()
    ]


def _figures(data: ReportData) -> dict[str, Any]:
    embeddings = [(c, figures.embedding_figure(data, c)) for c in data.contrasts]
    return {
        "trade": dissection_figures.trade_figure(data),
        "split": dissection_figures.split_figure(data),
        "embeddings": [(c, uri) for c, uri in embeddings if uri],
        "probe": figures.probe_figure(data),
        "ages": _by_contrast(data, "age", biology_figures.age_figure),
        "slopes": _by_contrast(data, "age_slopes", biology_figures.slope_figure),
        "diagnoses": _by_contrast(data, "diagnosis", diagnosis_figure),
        "ladder": figures.ladder_figure(data),
    }


def _by_contrast(
    data: ReportData, key: str, draw: Callable[[ReportData, str], str | None]
) -> list[tuple[str, str]]:
    drawn = [(contrast, draw(data, contrast)) for contrast in biology_figures.contrasts(data, key)]
    return [(contrast, uri) for contrast, uri in drawn if uri]


def _failures(data: ReportData) -> list[dict[str, str]]:
    rows = []
    for failure in data.failures:
        key = failure.get("key", "–")
        if isinstance(key, Mapping):
            key = ", ".join(f"{name} {key[name]}" for name in sorted(key, key=str))
        row = {
            "stage": str(failure.get("stage", "–")),
            "key": str(key),
            "error": str(failure.get("error", "–")),
        }
        rows.append(row)
    return sorted(rows, key=lambda row: (row["stage"], row["key"]))


def _hidden(data: ReportData) -> list[str]:
    """Return the methods that have no panel of their own in the figures of biology, for want of room."""
    return [m for m in data.methods if m not in data.shown(data.methods, biology_figures.MAX_METHODS)]


def _missing(data: ReportData) -> dict[str, list[str]]:
    """Return per kind of evidence the methods that have none of it."""
    keys = ("embedding", "probe", "age", "age_slopes", "diagnosis", "dissection")
    methods = data.methods
    absent = {
        key: [
            m
            for m in methods
            if not data.details.get(m, {}).get(key) and not (key == "dissection" and m == "raw")
        ]
        for key in keys
    }
    return absent


def _ladder(data: ReportData) -> dict[str, Any]:
    """Return the rungs as text, and whether they stand in the published order and ranges."""
    rows = figures.ladder_rows(data)
    known = [r for r in rows if r["published"]]
    covs = [r["cov"] for r in known]
    table = []
    for row in rows:
        low, high = row["published"] or (math.nan, math.nan)
        within = "" if math.isnan(low) else ("inside" if low <= row["cov"] <= high else "outside")
        table.append(
            (
                row["step"],
                f"{significant(row['cov'], 2)} %",
                f"{significant(row['low'], 2)} to {significant(row['high'], 2)}"
                if math.isfinite(row["low"])
                else "–",
                str(row["n"] if row["n"] is not None else "–"),
                "–" if math.isnan(low) else f"{low:g} to {high:g} %",
                within,
            )
        )
    ordered = len(covs) > 1 and all(a < b for a, b in pairwise(covs))
    absent = [s for s in figures.PUBLISHED if s not in {r["step"] for r in rows}]
    return {"rows": table, "ordered": ordered, "count": len(covs), "absent": absent}


def _pictures(data: ReportData, quality: Quality | None) -> dict[str, Any]:
    shown: Iterator[Panel] | tuple[()] = panels(data, quality) if quality is not None else ()
    found = list(shown)
    sessions = {i.session for i in data.scans}
    columns = columns_of(data)
    return {
        "panels": found,
        "panel_contrasts": _distinct([p.contrast for p in found]),
        "panel_planes": _distinct([p.plane for p in found]),
        "panel_views": [(v, _VIEW_WORDS[v]) for v in _distinct([p.view for p in found])],
        "picture_words": quality.words if quality is not None else "",
        "pictures_dropped": quality is None and bool(data.scans),
        "true_target": bool(data.truths),
        "not_shown": sorted(sessions - {s for s, _ in columns}),
        "max_columns": MAX_COLUMNS,
        "difference_range": DIFFERENCE_RANGE,
        "colorbar": colorbar_stops(),
    }


def _distinct(items: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(items))

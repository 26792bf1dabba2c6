"""Attributions in their output folder: prepare, run, and read what came out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .attribute_plan import RESULTS, Choices, PreparedAttribution, prepare_attribution
from .canonical import pretty_json, write_durably
from .output import check_output, create_output, locked
from .problems import InputError
from .progress import Reporter
from .project import PLAN_FILE, RESOLVED_FILE, STUDY_FILE
from .runner import RunOptions, RunResult, run_plan
from .stage import Stage

__all__ = [
    "Choices",
    "PreparedAttribution",
    "prepare_attribution",
    "read_attribution",
    "run_attribution",
]


def run_attribution(
    prepared: PreparedAttribution,
    root: Path,
    stages: Mapping[str, Stage],
    options: RunOptions | None = None,
    reporter: Reporter | None = None,
) -> RunResult:
    """Run a prepared attribution in an output folder, taking up what is already there.

    Raises
    ------
    InputError
        When the folder cannot be used, or another run is at work in it; nothing is written then.
    """
    # A study and its attribution publish different files: they do not share a folder.
    name = f"{prepared.study.study.name} (attribution)"
    check_output(root, name)
    create_output(root, name)
    with locked(root):
        try:
            _write_recipe(prepared, root)
        except OSError as error:
            raise InputError.single(file=str(root), cause=f"cannot be written: {error.strerror}") from None
        return run_plan(prepared.plan, stages, root, options, reporter)


def _write_recipe(prepared: PreparedAttribution, root: Path) -> None:
    (root / "code").mkdir(exist_ok=True)
    write_durably(root / STUDY_FILE, prepared.path.read_bytes())
    write_durably(root / RESOLVED_FILE, pretty_json(prepared.study.record()))
    write_durably(root / PLAN_FILE, prepared.plan.to_jsonl())


def read_attribution(root: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the rows of the table (numbers as floats, missing as nan) and the record of an attribution."""
    lines = (root / RESULTS[0]).read_text(encoding="utf-8").splitlines()
    names = lines[0].split("\t")
    rows = [dict(zip(names, line.split("\t"), strict=True)) for line in lines[1:]]
    typed = [{k: v if k in {"cause", "measure", "unit"} else _number(v) for k, v in r.items()} for r in rows]
    return typed, json.loads((root / RESULTS[1]).read_text(encoding="utf-8"))


def _number(text: str) -> float:
    return float("nan") if text == "n/a" else float(text)

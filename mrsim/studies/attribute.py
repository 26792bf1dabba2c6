"""Attributions in their output folder: prepare, run, and read what came out."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .attribute_plan import RESULTS, AttributionPlanner, PreparedAttribution
from .canonical import pretty_json, write_durably
from .libraries import Libraries
from .output import check_output, create_output, locked
from .problems import InputError
from .progress import Reporter
from .project import PLAN_FILE, RESOLVED_FILE, STUDY_FILE
from .runner import RunOptions, RunResult, run_plan
from .stage import Stage
from .study import Study
from .study_input import check_study
from .toml_input import read_toml

__all__ = [
    "Choices",
    "PreparedAttribution",
    "prepare_attribution",
    "read_attribution",
    "run_attribution",
]


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What the command line says over the ``[attribution]`` section; None leaves the file's word."""

    scanners: tuple[str, ...] | None = None
    contrast: str | None = None
    subject: int | None = None
    causes: tuple[str, ...] | None = None
    permutations: int | None = None
    voxel_size_mm: float | None = None


def prepare_attribution(
    path: Path, libraries: Libraries, stages: Mapping[str, Stage], choices: Choices | None = None
) -> PreparedAttribution:
    """Read a study file, choose two scanners, and plan every scan that their attribution needs.

    Raises
    ------
    InputError
        With all problems of the file and of the choices.
    """
    study = check_study(_chosen(read_toml(path), choices or Choices()), file=str(path), libraries=libraries)
    labels = _two_scanners(study, str(path))
    try:
        return AttributionPlanner(path, study, labels, libraries, stages).prepared()
    except InputError:
        raise
    except ValueError as error:
        raise InputError.single(file=str(path), cause=str(error)) from error


def _chosen(data: dict[str, Any], choices: Choices) -> dict[str, Any]:
    """Return the tables of a study with the choices of the command line in their places."""
    wanted = {
        field.name: getattr(choices, field.name)
        for field in dataclasses.fields(choices)
        if field.name != "voxel_size_mm" and getattr(choices, field.name) is not None
    }
    section = data.get("attribution", {})
    if wanted and isinstance(section, dict):
        lists = {name: list(v) if isinstance(v, tuple) else v for name, v in wanted.items()}
        data = {**data, "attribution": {**section, **lists}}
    protocols = data.get("protocols")
    if choices.voxel_size_mm is not None and isinstance(protocols, list):
        size = {"voxel_size_mm": choices.voxel_size_mm}
        data = {**data, "protocols": [{**p, **size} if isinstance(p, dict) else p for p in protocols]}
    return data


def _two_scanners(study: Study, file: str) -> tuple[str, str]:
    """Return the labels of reference and other."""
    if study.attribution.scanners is not None:
        first, second = study.attribution.scanners
        return first, second
    labels = [scanner.label for scanner in study.scanners]
    if len(labels) != 2:
        raise InputError.single(
            file=file,
            place="attribution.scanners",
            cause=f"two scanners are compared; the study holds {len(labels)} ({', '.join(labels)})",
            remedy="Choose two: --scanners A,B, or scanners = [...] in [attribution], the reference first.",
        )
    first = study.study.reference_scanner
    return first, next(label for label in labels if label != first)


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

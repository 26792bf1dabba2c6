"""Cohort descriptions as TOML files."""

from __future__ import annotations

import tomllib
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from .cohort import CohortSpec
from .design import CohortError, Design

MAX_BYTES = 64 * 1024
_TABLES = ("cohort", "design")
_PER_REGION = ("cohort.age_effect", "cohort.sex_effect", "cohort.diagnosis_effect")


def load_cohort_spec(path: str | Path) -> CohortSpec:
    """Read a cohort's description: the fields of `CohortSpec` in ``[cohort]``, of `Design` in ``[design]``.

    Parameters
    ----------
    path : str or Path
        TOML file of at most 64 KiB.

    Returns
    -------
    CohortSpec

    Raises
    ------
    CohortError
        With file and field, if the description is not usable.
    FileNotFoundError
        If there is no such file.
    """
    path = Path(path)
    with path.open("rb") as handle:
        raw = handle.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise CohortError(f"{path}: must be at most {MAX_BYTES // 1024} KiB; this is no cohort file.")
    try:
        data = tomllib.loads(raw.decode("utf-8-sig"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise CohortError(f"{path}: must be TOML text; {error}.") from error
    if unknown := set(data) - set(_TABLES):
        raise CohortError(f"{path}: tables must be of {_TABLES}; got {sorted(unknown)}.")
    if "cohort" not in data:
        raise CohortError(f"{path}: the table [cohort] is required; a minimal one is: n_subjects = 10.")
    try:
        design = Design(**_values(Design, data.get("design", {}), "design"))
        return CohortSpec(**_values(CohortSpec, data["cohort"], "cohort"), design=design)
    except CohortError as error:
        raise CohortError(f"{path}: {error}") from error


def _values(kind: type[Any], table: Any, name: str) -> dict[str, Any]:
    """Return the checked values of a table; types are those of the class's defaults."""
    if not isinstance(table, dict):
        raise CohortError(f"{name} must be a table; write [{name}].")
    known = {f.name: f for f in fields(kind) if f.name != "design"}
    if unknown := set(table) - set(known):
        raise CohortError(f"{name} must have fields of {sorted(known)}; got {sorted(unknown)}.")
    needed = [k for k, f in known.items() if f.default is MISSING and f.default_factory is MISSING]
    if missing := [k for k in needed if k not in table]:
        raise CohortError(f"{name}.{missing[0]} is required and missing.")
    return {key: _value(f"{name}.{key}", value, known[key]) for key, value in table.items()}


def _value(place: str, value: Any, known: Any) -> Any:
    """Return a value of the kind that the field's default has; a field without one is a whole number."""
    default = 0 if known.default is MISSING else known.default
    if known.default_factory is not MISSING:
        default = known.default_factory()
    if isinstance(default, tuple):
        return _row(place, value, str if isinstance(default[0], str) else float)
    if isinstance(default, str | int):
        kind, word = (str, "text") if isinstance(default, str) else (int, "a whole number")
        if isinstance(value, bool) or not isinstance(value, kind):
            raise CohortError(f"{place} must be {word}; got {value!r}.")
        return value
    if isinstance(value, dict) and (isinstance(default, dict) or place in _PER_REGION):
        return {k: _number(f"{place}.{k}", v) for k, v in value.items()}
    if isinstance(default, dict):
        raise CohortError(f"{place} must be a table of numbers; got {value!r}.")
    return _number(place, value)


def _row(place: str, value: Any, kind: type[Any]) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise CohortError(f"{place} must be a list; got {value!r}.")
    if kind is float:
        return tuple(_number(place, v) for v in value)
    if not all(isinstance(v, str) for v in value):
        raise CohortError(f"{place} must be a list of texts; got {value!r}.")
    return tuple(value)


def _number(place: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CohortError(f"{place} must be a number; got {value!r}.")
    return float(value)

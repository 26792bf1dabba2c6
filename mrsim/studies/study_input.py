"""From a study file to a checked `Study`, or to all of its problems at once."""

import inspect
import re
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from .checks import Finding, cross_check
from .libraries import Libraries, library_check
from .problems import InputError, Problem, did_you_mean, nearest, shown
from .study import Study
from .toml_input import read_toml

Location = tuple[str | int, ...]

_EXPECTED = {
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "string_type": "must be text in quotes",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "tuple_type": "must be an array",
    "list_type": "must be an array",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be greater than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} entry",
    "too_long": "must have at most {max_length} entries",
    "literal_error": "must be {expected}",
}


def load_study(path: Path | str, libraries: Libraries | None = None) -> Study:
    """Read and check a study file.

    Parameters
    ----------
    path : Path or str
        The TOML file.
    libraries : Libraries, optional
        What is installed; when given, names of scanners, protocol cards and harmonizers are checked too.

    Returns
    -------
    Study
        The study, complete with defaults.

    Raises
    ------
    InputError
        With all problems found, each with its key path.
    """
    return check_study(read_toml(path), file=str(path), libraries=libraries)


def check_study(data: Mapping[str, Any], *, file: str, libraries: Libraries | None = None) -> Study:
    """Check parsed tables; see `load_study`."""
    problems: list[Problem] = []
    study: Study | None = None
    try:
        study = Study.model_validate(dict(data))
    except ValidationError as error:
        problems += _translate(error, file)
    sections = _valid_sections(data)
    findings: Iterable[Finding] = cross_check(sections)
    if libraries is not None:
        findings = [*findings, *library_check(sections, libraries)]
    problems += [
        Problem(file=file, place=place, cause=cause, remedy=remedy) for place, cause, remedy in findings
    ]
    if problems or study is None:
        raise InputError(problems)
    return study


def _valid_sections(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return those top-level sections that are valid by themselves (defaults where absent)."""
    sections: dict[str, Any] = {}
    for name, field in Study.model_fields.items():
        if name not in data:
            if not field.is_required():
                sections[name] = field.get_default(call_default_factory=True)
            continue
        annotation = field.rebuild_annotation()
        try:
            sections[name] = TypeAdapter(annotation).validate_python(data[name])
        except ValidationError:
            continue
    return sections


def _translate(error: ValidationError, file: str) -> Iterator[Problem]:
    errors = error.errors(include_url=False)
    missing = {detail["loc"] for detail in errors if detail["type"] == "missing"}
    explained: set[Location] = set()
    problems: list[tuple[Location, Problem]] = []
    for detail in errors:
        location = detail["loc"]
        if detail["type"] == "extra_forbidden":
            problem, answered = _unknown_key(location, missing, file)
            explained |= answered
            problems.append((location, problem))
        elif detail["type"] != "missing" and not _is_echo(detail):
            problems.append((location, _wrong_value(detail, file)))
    yield from (problem for _, problem in problems)
    for location in sorted(missing - explained, key=str):
        yield Problem(
            file=file,
            place=_place(location),
            cause="is required and missing",
            remedy=_missing_remedy(location),
        )


def _is_echo(detail: Mapping[str, Any]) -> bool:
    """Whether an array counts as too short only because its entries are wrong, which is already told."""
    size = len(detail["input"]) if isinstance(detail["input"], list) else 0
    return bool(detail["type"] == "too_short" and size >= detail["ctx"]["min_length"])


def _unknown_key(location: Location, missing: set[Location], file: str) -> tuple[Problem, set[Location]]:
    """Merge an unknown key with the missing key that was meant."""
    parent, key = location[:-1], str(location[-1])
    known = _known_keys(parent)
    match = nearest(key, known)
    meant = (*parent, match) if match else ()
    remedy = did_you_mean(key, known) if known else ""
    if match and meant in missing:
        remedy = f"Did you mean {match!r}, which is required and missing?"
    return (
        Problem(file=file, place=_place(location), cause=f"unknown key {shown(key)}", remedy=remedy),
        {meant} & missing,
    )


def _wrong_value(detail: Mapping[str, Any], file: str) -> Problem:
    context = detail.get("ctx", {})
    expected = _EXPECTED.get(detail["type"])
    if detail["type"] == "value_error":
        expected = str(context["error"])
    elif expected is not None:
        expected = expected.format(**context)
    else:
        expected = str(detail["msg"]).replace("Input should be", "must be")
    remedy = ""
    if detail["type"] == "literal_error" and isinstance(detail["input"], str):
        choices = re.findall(r"'([^']*)'", str(context["expected"]))
        match = nearest(detail["input"], choices)
        remedy = f"Did you mean {match!r}?" if match else ""
    got = "" if "; got" in expected else f"; got {shown(detail['input'])}"
    return Problem(file=file, place=_place(detail["loc"]), cause=f"{expected}{got}", remedy=remedy)


def _missing_remedy(location: Location) -> str:
    if len(location) == 1:
        name = str(location[0])
        header = f"[[{name}]]" if name in {"scanners", "protocols"} else f"[{name}]"
        return f"Add a {header} table; `mrsim init` writes a study to start from."
    return ""


def _place(location: Location) -> str:
    """Key path of a location, cut so that a hostile key cannot flood the terminal."""
    text = ".".join(str(part) for part in location)
    printable = "".join(character if character.isprintable() else "?" for character in text)
    return printable if len(printable) <= 120 else f"{printable[:117]}..."


def _known_keys(location: Location) -> tuple[str, ...]:
    """Return the keys that the models know at a place."""
    annotation: Any = Study
    for part in location:
        model = _model_in(annotation)
        if isinstance(part, str) and model is not None and part in model.model_fields:
            annotation = model.model_fields[part].annotation
    model = _model_in(annotation)
    return tuple(model.model_fields) if model is not None else ()


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model inside an annotation such as ``Annotated[tuple[Model, ...]]``."""
    if inspect.isclass(annotation) and typing.get_origin(annotation) is None:
        return annotation if issubclass(annotation, BaseModel) else None
    for argument in typing.get_args(annotation):
        model = _model_in(argument)
        if model is not None:
            return model
    return None

"""What all sections of a study file share: a strict base, and the kinds of values that they hold."""

import math
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator

LABEL = re.compile(r"[0-9A-Za-z]{1,32}")
STUDY_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}")
NATIVE = "native"


def _label(value: str) -> str:
    if LABEL.fullmatch(value) is None:
        raise ValueError("must be 1 to 32 letters or digits (0-9, A-Z, a-z)")
    return value


def _study_name(value: str) -> str:
    if STUDY_NAME.fullmatch(value) is None:
        raise ValueError(
            "must be 1 to 64 letters, digits, hyphens or underscores, beginning with a letter or digit"
        )
    return value


def _one_line(value: str) -> str:
    if any(ord(character) < 32 for character in value):
        raise ValueError("must be one line of text without control characters")
    return value


def _cards(value: object) -> object:
    """Read the word "native": it means that no scanner has another card than its own."""
    if value == NATIVE:
        return {}
    if isinstance(value, str):
        raise ValueError('must be "native" or a table {scanner_label = "card name"}')
    return value


def _params(value: dict[str, Any]) -> dict[str, Any]:
    """Parameters are numbers, text, truth values, or lists of these: nothing nested, nothing infinite."""
    for key, item in value.items():
        for entry in item if isinstance(item, list) else [item]:
            _check_scalar(key, entry)
    return value


def _overrides(value: dict[str, Any]) -> dict[str, Any]:
    """Check overrides: each names a value, or a group of values, of the scanner record."""
    for key, item in value.items():
        for name, entry in item.items() if isinstance(item, dict) else [(key, item)]:
            _check_scalar(name if name == key else f"{key}.{name}", entry)
    return value


def _check_scalar(key: str, entry: object) -> None:
    if not isinstance(entry, bool | int | float | str):
        raise ValueError(f"{key!r} must be a number, text or a truth value")
    if isinstance(entry, float) and not math.isfinite(entry):
        raise ValueError(f"{key!r} must be finite; got {entry}")


def _effect(value: object) -> float | dict[str, float]:
    """Read one number, or one per region; which regions there are, the cohort knows."""
    if isinstance(value, dict):
        return {str(region): _number(f"{region!r} ", entry) for region, entry in value.items()}
    return _number("", value, "must be a number, or a table {region = number}")


def _number(name: str, value: object, expected: str = "must be a number") -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name}{expected}")
    if not math.isfinite(value):
        raise ValueError(f"{name}must be a finite number")
    return float(value)


Label = Annotated[str, AfterValidator(_label)]
StudyName = Annotated[str, AfterValidator(_study_name)]
Line = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_one_line)]
Params = Annotated[dict[str, Any], AfterValidator(_params)]
Overrides = Annotated[dict[str, Any], AfterValidator(_overrides)]
Cards = Annotated[dict[str, Line], BeforeValidator(_cards)]
Effect = Annotated[float | dict[str, float], PlainValidator(_effect)]


class Section(BaseModel):
    """Strict, closed and frozen: unknown keys, wrong types, infinities and NaN are refused."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        allow_inf_nan=False,
        frozen=True,
        validate_default=True,
        hide_input_in_errors=True,
    )

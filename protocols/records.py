"""Strict reading of TOML records into frozen dataclasses: all errors at once, nearest known names."""

from __future__ import annotations

import dataclasses
import difflib
import math
import tomllib
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
MAX_BYTES = 256 * 1024
_LIBRARY = Path(__file__).parent / "library"


class RecordError(ValueError):
    """A record breaks its rules; `errors` lists every broken rule with its key path."""

    def __init__(self, what: str, errors: Sequence[str]) -> None:
        self.errors = tuple(errors)
        super().__init__(f"{what}: " + "; ".join(self.errors))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where a group of values comes from.

    Attributes
    ----------
    source : str
        Paper, data set or page.
    verified : bool
        False where the source was not opened or the value is an assumption.
    """

    source: str
    verified: bool = False


def require(owner: str, rules: Sequence[tuple[bool, str]]) -> None:
    """Raise one RecordError with the messages of all rules that do not hold."""
    broken = [message for holds, message in rules if not holds]
    if broken:
        raise RecordError(owner, broken)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file of bounded size.

    Raises
    ------
    RecordError
        If the file is too large, not UTF-8, or not TOML.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise RecordError(path.name, [f"file must not exceed {MAX_BYTES} bytes; got {size}"])
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecordError(path.name, [f"must be valid TOML; {error}"]) from error


def find_record(kind: str, name_or_path: str | Path) -> Path:
    """Path of a library record by name, or of a user's file by path.

    Raises
    ------
    RecordError
        If neither exists; names the nearest library record.
    """
    path = Path(name_or_path)
    if path.suffix == ".toml" or isinstance(name_or_path, Path):
        if not path.is_file():
            raise RecordError(kind, [f"file must exist; got {path}"])
        return path
    names = list_records(kind)
    if str(name_or_path) not in names:
        hint = nearest(str(name_or_path), names)
        raise RecordError(
            kind, [f"must be one of {', '.join(names)} or a .toml path; got {name_or_path!r}{hint}"]
        )
    return _LIBRARY / kind / f"{name_or_path}.toml"


def list_records(kind: str) -> tuple[str, ...]:
    """Sorted names of the library records of one kind ('protocols' or 'scanners')."""
    return tuple(sorted(path.stem for path in (_LIBRARY / kind).glob("*.toml")))


def nearest(name: str, known: Sequence[str]) -> str:
    """Give a hint '. Did you mean ...?', or an empty string."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f". Did you mean {close[0]!r}?" if close else ""


def load_record(cls: type[T], data: Mapping[str, Any], what: str) -> T:
    """Turn a parsed TOML table into a dataclass, nested tables into nested dataclasses.

    A nested table may carry `source` and `verified`; they are collected in the field `provenance`
    of the outermost record, keyed by table name.

    Raises
    ------
    RecordError
        With every unknown key, missing key, wrong type and broken rule, each with its key path.
    """
    errors: list[str] = []
    provenance: dict[str, Provenance] = {}
    record = _build(cls, data, "", errors, provenance)
    if errors or record is None:
        raise RecordError(what, errors)
    return record


def _build(
    cls: type[T], data: Mapping[str, Any], path: str, errors: list[str], provenance: dict[str, Provenance]
) -> T | None:
    hints = get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    before = len(errors)
    values: dict[str, Any] = {}
    table = dict(data)
    if path and "source" not in fields:
        _take_provenance(table, path, errors, provenance)
    for key in table:
        if key not in fields:
            errors.append(f"{path}{key}: unknown key{nearest(key, list(fields))}")
    for name, spec in fields.items():
        if name in table:
            values[name] = _convert(hints[name], table[name], f"{path}{name}", errors, provenance)
        elif spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING:
            errors.append(f"{path}{name}: missing")
    if len(errors) > before:
        return None
    if not path and "provenance" in fields:
        values["provenance"] = {**provenance, **values.get("provenance", {})}
    try:
        return cls(**values)
    except RecordError as error:
        errors.extend(f"{path}{message}" for message in error.errors)
    return None


def _take_provenance(
    table: dict[str, Any], path: str, errors: list[str], provenance: dict[str, Provenance]
) -> None:
    source, verified = table.pop("source", None), table.pop("verified", None)
    if source is None and verified is None:
        return
    if not isinstance(source, str) or not source or not isinstance(verified, bool):
        errors.append(f"{path}source, {path}verified: must be a text and true or false, given together")
        return
    provenance[path.rstrip(".")] = Provenance(source=source, verified=verified)


def _convert(hint: Any, value: Any, path: str, errors: list[str], provenance: dict[str, Provenance]) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _convert(next(a for a in args if a is not type(None)), value, path, errors, provenance)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if isinstance(value, Mapping):
            return _build(hint, value, path + ".", errors, provenance)
        errors.append(f"{path}: must be a table; got {value!r}")
        return None
    if origin is Literal:
        return _convert_choice(args, value, path, errors)
    if origin is tuple:
        return _convert_tuple(args, value, path, errors, provenance)
    if origin is dict:
        return _convert_dict(args, value, path, errors, provenance)
    return _convert_scalar(hint, value, path, errors)


def _convert_choice(choices: tuple[Any, ...], value: Any, path: str, errors: list[str]) -> Any:
    if value not in choices:
        names = [str(choice) for choice in choices]
        errors.append(f"{path}: must be one of {', '.join(names)}; got {value!r}{nearest(str(value), names)}")
    return value


def _convert_tuple(
    args: tuple[Any, ...], value: Any, path: str, errors: list[str], provenance: dict[str, Provenance]
) -> Any:
    if not isinstance(value, list):
        errors.append(f"{path}: must be a list; got {value!r}")
        return None
    hints = [args[0]] * len(value) if args[-1] is Ellipsis else list(args)
    if len(hints) != len(value):
        errors.append(f"{path}: must have {len(hints)} entries; got {len(value)}")
        return None
    pairs = zip(hints, value, strict=True)
    return tuple(_convert(h, v, f"{path}[{i}]", errors, provenance) for i, (h, v) in enumerate(pairs))


def _convert_dict(
    args: tuple[Any, ...], value: Any, path: str, errors: list[str], provenance: dict[str, Provenance]
) -> Any:
    if not isinstance(value, Mapping):
        errors.append(f"{path}: must be a table; got {value!r}")
        return None
    return {key: _convert(args[1], item, f"{path}.{key}", errors, provenance) for key, item in value.items()}


def _convert_scalar(hint: Any, value: Any, path: str, errors: list[str]) -> Any:
    if hint is Any:
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        errors.append(f"{path}: must be a {hint.__name__}; got {value!r}")
    elif isinstance(value, float) and not math.isfinite(value):
        errors.append(f"{path}: must be finite; got {value}")
    return value

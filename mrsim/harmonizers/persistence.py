"""Saving fitted harmonizers as a readable JSON file plus an npz file with the arrays; nothing is pickled.

The JSON file names the npz file, whose name carries the start of its SHA-256 digest. The npz is written
first and the JSON renamed into place last, so a reader finds either the old pair or the new one. The same
state gives the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from .base import Harmonizer, learned_state
from .registry import HARMONIZERS, harmonizer_class

_FORMAT = "mrsim-harmonizer"
_VERSION = 1
_TUPLE = "__tuple__"
_NESTED = "__harmonizer__"
_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9_]*_")
# A header holds names, sites and covariate levels: far below this. Refusing more bounds what a hostile file
# can do.
_MAX_HEADER_BYTES = 16 * 2**20


class HarmonizerFileError(ValueError):
    """A saved harmonizer is damaged, foreign, or of a class that is not known."""


def save_harmonizer(path: str | os.PathLike[str], harmonizer: Harmonizer) -> Path:
    """Write a fitted harmonizer to `path` (``.json``) and an npz file beside it; return the JSON's path.

    Raises
    ------
    NotFittedError
        If it is not fitted.
    HarmonizerFileError
        If the suffix is not ``.json``, or a parameter or learned attribute is of a type that cannot be
        stored.
    """
    target = Path(path)
    if target.suffix != ".json":
        raise HarmonizerFileError(
            f"path must end with .json; got '{target.name}'. Use e.g. '{target.stem or 'harmonizer'}.json'."
        )
    harmonizer.require_fitted()
    arrays: dict[str, Any] = {}
    record = _record(harmonizer, "", arrays)
    payload = _npz_bytes(arrays)
    digest = hashlib.sha256(payload).hexdigest()
    header = {
        "format": _FORMAT,
        "format_version": _VERSION,
        "mrsim_version": __version__,
        **record,
        "arrays": {"file": f"{target.stem}.{digest[:12]}.npz", "sha256": digest},
    }
    text = json.dumps(header, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    previous = _arrays_file(target)
    _replace(target.with_name(header["arrays"]["file"]), payload)
    _replace(target, text.encode())
    if previous is not None and previous != header["arrays"]["file"]:
        target.with_name(previous).unlink(missing_ok=True)
    return target


def load_harmonizer(path: str | os.PathLike[str], *, classes: Iterable[type[Harmonizer]] = ()) -> Harmonizer:
    """Read a harmonizer that :func:`save_harmonizer` wrote.

    Parameters
    ----------
    path
        The JSON file.
    classes
        Harmonizer classes of one's own that may be loaded, beside the registered ones.

    Raises
    ------
    HarmonizerFileError
        If the files are damaged or foreign, or the class is neither registered nor in `classes`.
    """
    source = Path(path)
    header = _read_header(source)
    known = {_identifier(cls): cls for cls in classes}
    harmonizer = _rebuilt(header, _read_arrays(source, header["arrays"]), "", known, source)
    harmonizer.require_fitted()
    return harmonizer


def _record(harmonizer: Harmonizer, prefix: str, arrays: dict[str, Any]) -> dict[str, Any]:
    """Return class, parameters and state for JSON; put arrays into `arrays` under prefixed names."""
    state: dict[str, Any] = {}
    for name, value in learned_state(harmonizer).items():
        if isinstance(value, np.ndarray):
            arrays[prefix + name] = value
        elif isinstance(value, Harmonizer):
            state[name] = {_NESTED: _record(value, f"{prefix}{name}.", arrays)}
        elif isinstance(value, list) and value and all(isinstance(item, Harmonizer) for item in value):
            inner = [_record(item, f"{prefix}{name}.{i}.", arrays) for i, item in enumerate(value)]
            state[name] = {_NESTED: inner}
        else:
            state[name] = _plain(value, name)
    params = {name: _plain(value, name) for name, value in harmonizer.get_params().items()}
    return {"class": _identifier(type(harmonizer)), "params": params, "state": state}


def _rebuilt(
    record: dict[str, Any],
    arrays: dict[str, Any],
    prefix: str,
    known: dict[str, type[Harmonizer]],
    source: Path,
) -> Harmonizer:
    """Undo ``_record``."""
    cls = _class_of(record["class"], known, source)
    try:
        harmonizer = cls(**_restored(record["params"]))
    except (TypeError, ValueError) as error:
        raise HarmonizerFileError(
            f"params in '{source.name}' must fit {cls.__name__}; got an error: {error} "
            "The file was written by another version of that class."
        ) from None
    own = {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
    learned = {name: value for name, value in own.items() if "." not in name}
    for name, value in record["state"].items():
        inner = value.get(_NESTED) if isinstance(value, dict) else None
        if isinstance(inner, list):
            learned[name] = [
                _rebuilt(r, arrays, f"{prefix}{name}.{i}.", known, source) for i, r in enumerate(inner)
            ]
        elif inner is not None:
            learned[name] = _rebuilt(inner, arrays, f"{prefix}{name}.", known, source)
        else:
            learned[name] = _restored(value)
    for attribute, value in learned.items():
        if not _ATTRIBUTE.fullmatch(attribute) or hasattr(cls, attribute):
            raise HarmonizerFileError(
                f"attributes in '{source.name}' must be learned ones, ending with an underscore; got "
                f"'{attribute}'. The file was not written by save_harmonizer."
            )
        setattr(harmonizer, attribute, value)
    return harmonizer


def _class_of(name: Any, known: dict[str, type[Harmonizer]], source: Path) -> type[Harmonizer]:
    if name in HARMONIZERS:
        return harmonizer_class(name)
    if name in known:
        return known[name]
    raise HarmonizerFileError(
        f"class in '{source.name}' must be registered or in `classes`; got '{name}'. "
        "Pass load_harmonizer(path, classes=[YourHarmonizer])."
    )


def _identifier(cls: type[Harmonizer]) -> str:
    inside = cls.__module__.removeprefix(f"{__package__}.")
    for name, location in HARMONIZERS.items():
        if location == f"{inside}:{cls.__qualname__}":
            return name
    return f"{cls.__module__}:{cls.__qualname__}"


def _plain(value: Any, name: str) -> Any:
    """Return a JSON value that reads back equal, or refuse."""
    if isinstance(value, float) and not math.isfinite(value):
        raise HarmonizerFileError(f"{name} must be finite to be saved; got {value}. Store it in an array.")
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) is list:
        return [_plain(item, name) for item in value]
    if type(value) is tuple:
        return {_TUPLE: [_plain(item, name) for item in value]}
    if type(value) is dict and all(type(key) is str for key in value):
        return {key: _plain(item, name) for key, item in value.items()}
    raise HarmonizerFileError(
        f"{name} must be None, bool, int, float, str, a list, tuple or dict of these, or (learned only) "
        f"an array or harmonizer to be saved; got {type(value).__name__}. Convert it in the harmonizer."
    )


def _restored(value: Any) -> Any:
    """Undo what ``_plain`` did to tuples, which JSON does not know."""
    if isinstance(value, list):
        return [_restored(item) for item in value]
    if isinstance(value, dict):
        if set(value) == {_TUPLE}:
            return tuple(_restored(item) for item in value[_TUPLE])
        return {key: _restored(item) for key, item in value.items()}
    return value


def _npz_bytes(arrays: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            if array.dtype.kind not in "biufcU":
                raise HarmonizerFileError(
                    f"{name} must be a numeric, boolean or text array; got dtype {array.dtype}. Convert it."
                )
            # ZipInfo's default date is 1980: equal state, equal bytes.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    return buffer.getvalue()


def _read_header(source: Path) -> dict[str, Any]:
    if source.stat().st_size > _MAX_HEADER_BYTES:
        raise HarmonizerFileError(
            f"'{source.name}' must be a harmonizer's JSON file of at most {_MAX_HEADER_BYTES} bytes; "
            f"got {source.stat().st_size}. Pass the file that save_harmonizer returned."
        )
    try:
        header = json.loads(source.read_text(encoding="utf-8"))
    except ValueError as error:
        raise HarmonizerFileError(
            f"'{source.name}' must be JSON; got an error: {error}. Save it again."
        ) from None
    shape = {"class": str, "params": dict, "state": dict, "arrays": dict, "format_version": int}
    if not isinstance(header, dict) or header.get("format") != _FORMAT:
        raise HarmonizerFileError(
            f"'{source.name}' must be written by save_harmonizer (format '{_FORMAT}'); got something else. "
            "Pass the JSON file that save_harmonizer returned."
        )
    for key, kind in shape.items():
        if not isinstance(header.get(key), kind):
            raise HarmonizerFileError(
                f"'{source.name}' must have a key '{key}' of type {kind.__name__}; got "
                f"{header.get(key)!r:.60}. The file is damaged: save it again."
            )
    if header["format_version"] != _VERSION:
        raise HarmonizerFileError(
            f"'{source.name}' must have format version {_VERSION}; got {header['format_version']}. "
            f"It was written by mrsim {header.get('mrsim_version')}: load it with that version."
        )
    return header


def _read_arrays(source: Path, entry: dict[str, Any]) -> dict[str, Any]:
    file, digest = entry.get("file"), entry.get("sha256")
    if not isinstance(file, str) or Path(file).name != file or not file.endswith(".npz"):
        raise HarmonizerFileError(
            f"'{source.name}' must name an npz file in its own folder; got {file!r:.60}. Save it again."
        )
    beside = source.with_name(file)
    if not beside.is_file():
        raise HarmonizerFileError(
            f"'{file}' must lie beside '{source.name}'; got no such file. Copy both files together."
        )
    payload = beside.read_bytes()
    if hashlib.sha256(payload).hexdigest() != digest:
        raise HarmonizerFileError(
            f"'{file}' must have the SHA-256 digest that '{source.name}' records; got another. "
            "The file is damaged or was replaced: save it again."
        )
    with np.load(io.BytesIO(payload), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _arrays_file(target: Path) -> str | None:
    """Return the npz name of the save that is about to be replaced, if there is one."""
    try:
        name = _read_header(target)["arrays"].get("file")
    except (OSError, HarmonizerFileError):
        return None
    ours = isinstance(name, str) and re.fullmatch(re.escape(target.stem) + r"\.[0-9a-f]{12}\.npz", name)
    return name if ours else None


def _replace(target: Path, payload: bytes) -> None:
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise

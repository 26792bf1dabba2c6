"""Strict reading of HDF5 files that a user hands in: plain, complete and of the expected size, or refused."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..file_error import PhantomFileError, present_file

REALS = ("f8", "f4")
INTEGERS = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")
MAX_TEXT_ATTRIBUTE = 4096
MAX_JSON = 16 * 1024**2
HASHED_AT_ONCE = 16 * 1024**2


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """Open a file for reading; what goes wrong in h5py becomes a `PhantomFileError` that names the file."""
    import h5py

    present_file(path)
    try:
        with h5py.File(path, "r") as f:
            yield f
    except (OSError, RuntimeError) as error:
        raise PhantomFileError(f"{path}: must be a complete HDF5 file; {error}.") from error


@contextmanager
def written_hdf5(path: Path) -> Iterator[Any]:
    """Open a file for writing that appears under its name only when complete."""
    import h5py

    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with h5py.File(temporary, "w") as f:
            yield f
            f.flush()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def has(f: Any, name: str) -> bool:
    """Return whether a group has an entry of that name, of whatever kind."""
    return f.get(name, getlink=True) is not None


def group(f: Any, path: Path, name: str) -> Any:
    """Return a group stored in the file itself; `name` may be a path of several."""
    import h5py

    for part in name.split("/"):
        _plain_link(f, path, part)
        f = f[part]
        if not isinstance(f, h5py.Group):
            raise PhantomFileError(f"{path}: {part!r} of {name!r} must be a group; got a dataset.")
    return f


def dataset(
    f: Any, path: Path, name: str, kinds: tuple[str, ...], ndim: int | tuple[int, ...], limit: int
) -> Any:
    """Return a dataset that is stored in the file itself and has an expected type, rank and size.

    Parameters
    ----------
    f : h5py.Group
        Where to look.
    path : Path
        Named in errors.
    name : str
        Name of the dataset; groups before it are separated by slashes.
    kinds : tuple of str
        NumPy type codes that are accepted, whatever the byte order.
    ndim : int or tuple of int
        Accepted numbers of axes.
    limit : int
        Most values accepted; checked before anything is read.

    Raises
    ------
    PhantomFileError
        If it is absent, a link, external, virtual, of another type, rank or size.
    """
    import h5py

    where, _, last = name.rpartition("/")
    f = group(f, path, where) if where else f
    _plain_link(f, path, last)
    d = f[last]
    if not isinstance(d, h5py.Dataset) or d.is_virtual or d.external:
        raise PhantomFileError(f"{path}: {name!r} must be a plain dataset; got external or virtual storage.")
    ranks = (ndim,) if isinstance(ndim, int) else ndim
    if d.dtype.str.lstrip("<>|=") not in kinds or d.ndim not in ranks:
        raise PhantomFileError(
            f"{path}: {name!r} must have {' or '.join(map(str, ranks))} axes of type {' or '.join(kinds)}; "
            f"got {d.dtype} {d.shape}."
        )
    if d.size == 0 or d.size > limit:
        raise PhantomFileError(f"{path}: {name!r} must have 1..{limit} values; got shape {d.shape}.")
    return d


def _plain_link(f: Any, path: Path, name: str) -> None:
    import h5py

    link = f.get(name, getlink=True)
    if link is None:
        raise PhantomFileError(f"{path}: dataset {name!r} must be present; the file has {sorted(f)}.")
    if not isinstance(link, h5py.HardLink):
        raise PhantomFileError(f"{path}: {name!r} must be stored in the file itself; got a link.")


def values(
    f: Any,
    path: Path,
    name: str,
    ndim: int | tuple[int, ...],
    limit: int,
    *,
    infinite: bool = False,
    kinds: tuple[str, ...] = (*REALS, *INTEGERS),
) -> NDArray[np.float64]:
    """Return the numbers of a dataset as float64, without NaN and, unless allowed, without infinity."""
    array = dataset(f, path, name, kinds, ndim, limit)[()].astype(np.float64)
    bad = np.isnan(array) if infinite else ~np.isfinite(array)
    if bad.any():
        at = tuple(int(i) for i in np.argwhere(bad)[0])
        wanted = "numbers" if infinite else "finite numbers"
        raise PhantomFileError(
            f"{path}: {name!r} must hold {wanted}; got {array[at]} at {at}. "
            "Repair the values in the program that wrote the file."
        )
    return np.asarray(array)


def attribute_text(holder: Any, path: Path, name: str, default: str | None = None) -> str:
    """Return a text attribute, or the default where it is absent."""
    if name not in holder.attrs:
        if default is not None:
            return default
        raise PhantomFileError(f"{path}: {holder.name!r} must have the attribute {name!r}.")
    value = holder.attrs[name]
    value = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    if not isinstance(value, str) or len(value) > MAX_TEXT_ATTRIBUTE:
        raise PhantomFileError(f"{path}: attribute {name!r} of {holder.name!r} must be a short text.")
    return value


def attribute_number(holder: Any, path: Path, name: str, default: float | None = None) -> float:
    """Return a finite number attribute, or the default where it is absent."""
    if name not in holder.attrs and default is not None:
        return default
    value = np.asarray(holder.attrs.get(name, np.nan))
    if value.size != 1 or value.dtype.kind not in "iuf" or not np.isfinite(value).all():
        raise PhantomFileError(f"{path}: {holder.name!r} must have the finite number attribute {name!r}.")
    return float(value.reshape(()))


def text(f: Any, path: Path, name: str) -> str:
    """Return a scalar text dataset."""
    import h5py

    _plain_link(f, path, name)
    d = f[name]
    if not isinstance(d, h5py.Dataset) or d.shape != () or h5py.check_string_dtype(d.dtype) is None:
        raise PhantomFileError(f"{path}: {name!r} must be one text; got {d}.")
    if d.is_virtual or d.external:
        raise PhantomFileError(f"{path}: {name!r} must be a plain dataset; got external or virtual storage.")
    return str(d.asstr(errors="replace")[()])[:MAX_TEXT_ATTRIBUTE]


def json_object(f: Any, path: Path, name: str, needed: tuple[str, ...]) -> dict[str, Any]:
    """Return the JSON object stored as bytes in a dataset, with some keys at least."""
    raw = dataset(f, path, name, ("u1",), 1, MAX_JSON)[()].tobytes()
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise PhantomFileError(f"{path}: {name!r} must be JSON text; {error}.") from error
    if not isinstance(found, dict):
        raise PhantomFileError(f"{path}: {name!r} must be a JSON object; got {type(found).__name__}.")
    if missing := [k for k in needed if k not in found]:
        raise PhantomFileError(f"{path}: {name!r} must have the keys {needed}; missing {missing}.")
    return found


def content_hash(f: Any) -> str:
    """Return the SHA-256 of all datasets of an open file: names, types, shapes and values, not storage."""
    import h5py

    digest = hashlib.sha256()
    names: list[str] = []
    f.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    for name in sorted(names):
        d = f[name]
        digest.update(f"{name} {d.dtype.str} {d.shape};".encode())
        if d.dtype.kind == "O":
            digest.update(str(d.asstr()[()]).encode())
        elif d.ndim == 0:
            digest.update(d[()].tobytes())
        else:
            step = max(1, HASHED_AT_ONCE // max(1, d.size // len(d)))
            for start in range(0, len(d), step):  # in parts: a file may be larger than memory
                digest.update(np.ascontiguousarray(d[start : start + step]).tobytes())
    return digest.hexdigest()

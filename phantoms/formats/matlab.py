"""Bounded reading of MATLAB files: numeric arrays and the fields of one struct, nothing else.

Versions 5 to 7.2 (with or without compression) are read by SciPy after a check of how large the compressed
parts become; version 7.3 is HDF5. Function handles, objects and tables are refused, never interpreted.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..file_error import PhantomFileError
from .hdf5 import INTEGERS, REALS, dataset, group, open_hdf5

MAX_BYTES = 4 * 1024**3
"""Of all arrays of a file together once they are uncompressed."""
_HEADER = 128
_COMPRESSED = 15
_STEP = 1024**2


def is_mat5(path: Path) -> bool:
    """Return whether a file is a MATLAB file of version 5 to 7.2."""
    with path.open("rb") as file:
        head = file.read(_HEADER)
    return head.startswith(b"MATLAB 5.0") and head[126:] in (b"IM", b"MI")


def has_mat5_variable(path: Path, name: str) -> bool:
    """Return whether a MATLAB file of version 5 to 7.2 has a variable of that name."""
    from scipy.io import whosmat

    try:
        return any(found == name for found, _, _ in whosmat(path))
    except Exception as error:  # SciPy raises a dozen types on damaged files
        raise PhantomFileError(f"{path}: must be a complete MATLAB file; {error}.") from error


def read_arrays(path: Path, name: str | None = None) -> dict[str, Any]:
    """Return the numeric variables of a MATLAB file, or the fields of its struct `name`.

    Parameters
    ----------
    path : Path
        File of version 5 to 7.3.
    name : str, optional
        Struct of one element; its fields are returned instead. Text fields become str, others that are not
        numeric are left out.

    Returns
    -------
    dict
        Arrays with MATLAB's axes, at least two.

    Raises
    ------
    PhantomFileError
        If the file is damaged, too large or has no such struct.
    """
    return _read_hdf5(path, name) if not is_mat5(path) else _read_mat5(path, name)


def _read_mat5(path: Path, name: str | None) -> dict[str, Any]:
    from scipy.io import loadmat

    _check_size(path)
    try:
        found: dict[str, Any] = loadmat(path, struct_as_record=True)
    except Exception as error:  # SciPy raises a dozen types on damaged files
        raise PhantomFileError(f"{path}: must be a complete MATLAB file; {error}.") from error
    found = {k: v for k, v in found.items() if not k.startswith("__")}
    if name is not None:
        value = found.get(name)
        if not isinstance(value, np.ndarray) or value.dtype.names is None or value.size != 1:
            raise PhantomFileError(
                f"{path}: must hold the struct {name!r} of one element; got {sorted(found)[:20]}."
            )
        record = value.reshape(-1)[0]
        found = {k: record[k] for k in value.dtype.names}
    return {k: v for k, v in ((k, _plain(v)) for k, v in found.items()) if v is not None}


def _plain(value: Any) -> NDArray[Any] | str | None:
    if not isinstance(value, np.ndarray):
        return None
    if value.dtype.kind == "U":
        return "".join(value.ravel().tolist())
    return value if value.dtype.kind in "iufb" else None


def _check_size(path: Path) -> None:
    """Refuse a file whose compressed parts grow beyond the limit, before SciPy expands them."""
    total, end = 0, path.stat().st_size
    with path.open("rb") as file:
        order = "<" if file.read(_HEADER)[126:] == b"IM" else ">"
        while file.tell() + 8 <= end:
            kind, size = struct.unpack(order + "II", file.read(8))
            if size > end - file.tell():
                raise PhantomFileError(
                    f"{path}: must be a complete MATLAB file; a part of {size} bytes ends after the file. "
                    "Fetch it again."
                )
            total += _expanded(path, file, size, total) if kind == _COMPRESSED else size
            if kind != _COMPRESSED:
                file.seek(size, 1)
            if total > MAX_BYTES:
                raise PhantomFileError(f"{path}: arrays must take at most {MAX_BYTES >> 30} GiB in memory.")


def _expanded(path: Path, file: Any, size: int, before: int) -> int:
    reader, length, left = zlib.decompressobj(), 0, size
    try:
        while left:
            chunk = file.read(min(left, _STEP))
            left -= len(chunk)
            while chunk and before + length <= MAX_BYTES:
                length += len(reader.decompress(chunk, _STEP * 16))
                chunk = reader.unconsumed_tail
    except zlib.error as error:
        raise PhantomFileError(f"{path}: must be a complete MATLAB file; {error}.") from error
    return length


def _read_hdf5(path: Path, name: str | None) -> dict[str, Any]:
    with open_hdf5(path) as f:
        where = f if name is None else group(f, path, name)
        limit = MAX_BYTES // 8
        out: dict[str, Any] = {}
        for key in where:
            if key.startswith("#"):
                continue
            kind = where.get(key, getclass=True)
            if kind is None or kind.__name__ != "Dataset" or where[key].dtype.kind not in "iuf":
                continue
            d = dataset(where, path, key, (*REALS, *INTEGERS), tuple(range(1, 8)), limit)
            if d.attrs.get("MATLAB_class") == b"char":
                out[key] = "".join(map(chr, np.ravel(d[()]).astype(int)))
            else:
                out[key] = d[()].T  # MATLAB's first axis is the last one of HDF5
    return out

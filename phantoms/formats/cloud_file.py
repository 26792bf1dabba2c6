"""The native file of a point cloud: HDF5 with every field, movement in the layout of KomaMRI."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..bound import BoundPool
from ..cloud import PointCloud
from ..file_error import PhantomFileError
from ..phantom import PhantomError
from .hdf5 import (
    REALS,
    attribute_number,
    content_hash,
    dataset,
    group,
    has,
    json_object,
    open_hdf5,
    values,
    written_hdf5,
)
from .koma_motion import read_motion
from .koma_write import write_motion

FORMAT = "mrsim-cloud"
VERSION = 1
MAX_POINTS = 256 * 1024**2
_ROWS = ("m0", "t1", "t2", "t2_prime", "df", "adc")
_BOUND = ("m0", "k_f", "t1", "t2")


def save_cloud(path: str | Path, cloud: PointCloud) -> None:
    """Write a point cloud to an HDF5 file.

    All fields are kept exactly; a movement becomes actions of KomaMRI's kinds, which move the points alike.
    Columns of equal values are stored once. The file appears under its name only when complete.

    Parameters
    ----------
    path : str or Path
        Target file; an existing one is replaced.
    cloud : PointCloud
        What to write.

    Raises
    ------
    PhantomError
        If the movement is of a kind of one's own or its points were selected unevenly.
    """
    header = {"name": cloud.name, "source": cloud.source}
    with written_hdf5(Path(path)) as f:
        f.attrs["format"], f.attrs["version"] = FORMAT, VERSION
        f.attrs["points"], f.attrs["signal_scale"] = np.int64(cloud.size), cloud.signal_scale
        if cloud.b0 is not None:
            f.attrs["b0"] = cloud.b0
        f.create_dataset("header", data=np.frombuffer(json.dumps(header).encode(), np.uint8))
        _write(f, "position", cloud.position)
        for key in _ROWS:
            _write(f, key, getattr(cloud, key))
        for key in ("b1", "sensitivity"):
            if (field := getattr(cloud, key)) is not None:
                _write(f, key, np.stack([field.real, field.imag], axis=-1))
        for key in ("voxel", "index"):
            if getattr(cloud, key) is not None:
                _write(f, key, getattr(cloud, key))
        if cloud.bound is not None:
            f.create_group("bound").attrs["lineshape"] = cloud.bound.lineshape
            for key in _BOUND:
                _write(f["bound"], key, getattr(cloud.bound, key))
        if cloud.motion is not None:
            write_motion(f, cloud.motion, cloud.size)
        f.attrs["sha256"] = content_hash(f)


def _write(f: Any, name: str, data: Any) -> None:
    same = data.ndim == 1 and data.size > 1 and bool((data == data[0]).all())
    options: dict[str, Any] = {} if data.size < 64 or same else {"compression": "lzf", "shuffle": True}
    f.create_dataset(name, data=data[:1] if same else data, track_times=False, **options)


def load_cloud(path: str | Path) -> PointCloud:
    """Read a point cloud written by `save_cloud`, as strictly as all phantom files.

    Raises
    ------
    PhantomFileError
        With file and field, if the file is not as it must be.
    FileNotFoundError
        If there is no such file.
    """
    path = Path(path)
    with open_hdf5(path) as f:
        if f.attrs.get("format") != FORMAT or f.attrs.get("version") != VERSION:
            raise PhantomFileError(
                f"{path}: format must be {FORMAT!r}, version {VERSION}; "
                f"got {f.attrs.get('format')!r}, {f.attrs.get('version')!r}."
            )
        return _read(f, path)


def _read(f: Any, path: Path) -> PointCloud:
    n = int(attribute_number(f, path, "points"))
    if not 0 < n <= MAX_POINTS:
        raise PhantomFileError(f"{path}: attribute 'points' must be 1..{MAX_POINTS}; got {n}.")
    header = json_object(f, path, "header", ("name", "source"))

    def column(where: Any, name: str, infinite: bool = False) -> Any:
        value = values(where, path, name, 1, MAX_POINTS, infinite=infinite)
        if value.size not in (1, n):
            raise PhantomFileError(f"{path}: {name!r} must have 1 or {n} values; got {value.size}.")
        return np.broadcast_to(value, (n,)) if value.size == 1 else value

    def channels(name: str) -> Any:
        value = values(f, path, name, 3, 2 * 1024 * MAX_POINTS, kinds=REALS)
        if value.shape[-1] != 2:
            raise PhantomFileError(
                f"{path}: {name!r} must end in real and imaginary parts; got {value.shape}."
            )
        return value[..., 0] + 1j * value[..., 1]

    try:
        position = values(f, path, "position", 2, 3 * MAX_POINTS)
        if position.shape != (n, 3):
            raise PhantomFileError(f"{path}: 'position' must have shape ({n}, 3); got {position.shape}.")
        bound = None
        if has(f, "bound"):
            where = group(f, path, "bound")
            columns = {k: column(where, k, k in ("t1", "t2")) for k in _BOUND}
            bound = BoundPool(lineshape=where.attrs.get("lineshape"), **columns)
        return PointCloud(
            name=str(header["name"]),
            position=position,
            **{k: column(f, k, k.startswith("t")) for k in _ROWS},
            b1=channels("b1"),
            sensitivity=channels("sensitivity") if has(f, "sensitivity") else None,
            voxel=values(f, path, "voxel", 2, 9) if has(f, "voxel") else None,
            signal_scale=attribute_number(f, path, "signal_scale"),
            motion=read_motion(f, path, position),
            bound=bound,
            index=dataset(f, path, "index", ("i8",), 1, MAX_POINTS)[()] if has(f, "index") else None,
            source=dict(header["source"]),
            b0=attribute_number(f, path, "b0") if "b0" in f.attrs else None,
        )
    except (PhantomError, TypeError, KeyError) as error:
        raise PhantomFileError(f"{path}: content must describe a point cloud; {error}") from error

"""Writing of BIfTI phantoms, version 1."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cloud import PointCloud
from ..gridding import PointGrid, PointTissue, point_grid, point_tissues
from ..phantom import Phantom, PhantomError
from ..voxels import GAMMA_BAR
from .bifti import CHANNELS, DEFAULTS, UNITS

WRITTEN_SCHEMA = "https://raw.githubusercontent.com/mrx-org/bifti-phantoms/main/bifti-phantom-v1.schema.json"
MAX_KINDS = 256
_UNIT = {"ADC": 1e-9}
_COLUMNS = {"T1": "t1", "T2": "t2", "T2'": "t2_prime", "ADC": "adc", "dB0": "df"}
_FILE_WORDS = {"T2'": "T2dash"}

Array = NDArray[np.float64]
Value = float | Array


@dataclass(frozen=True, kw_only=True, eq=False)
class _Layer:
    """One tissue to write: its voxels, density, and numbers or one value per voxel."""

    name: str
    index: NDArray[np.int64]
    density: NDArray[Any]
    values: dict[str, Value] = field(default_factory=dict)
    channels: dict[str, list[Any]] = field(default_factory=dict)


def write_bifti(
    path: str | Path, source: Phantom | PointCloud, *, b0: float | None = None
) -> tuple[str, ...]:
    """Write a phantom as BIfTI: the JSON file and its NIfTI maps beside it.

    ``density`` is the fraction times the proton density, as readers of the format take it. A phantom writes
    one number per tissue and parameter, at one field strength; densities are single precision (6e-8). A
    cloud keeps its values exactly: as numbers where a tissue has one, else as maps, in double precision where
    single would round. Positions come from the NIfTI affine, which is single precision (about 1e-8 m). Maps
    are turned into RAS order. Maps are ``NAME.nii.gz`` (density), ``NAME_T1.nii.gz``, ..., all files are
    written to temporary names and renamed, the JSON file last.

    Parameters
    ----------
    path : str or Path
        The JSON file, ``NAME.json``; existing files are replaced.
    source : Phantom or PointCloud
        What to write. The points of a cloud must lie on a grid.
    b0 : float, optional
        Field strength [T]: required for a phantom, and for a cloud that does not know its own.

    Returns
    -------
    tuple of str
        What the format could not hold, one line each.

    Raises
    ------
    PhantomError
        If the field strength is missing or the points lie on no grid.
    """
    path = Path(path)
    if path.suffix != ".json":
        raise PhantomError(f"path of a BIfTI phantom must end in .json; got {path.name!r}.")
    if isinstance(source, Phantom):
        field_strength = _field(b0, None)
        layers, shape, affine = _of_phantom(source, field_strength), source.shape, source.affine
        lost = phantom_losses(source, field_strength)
    else:
        field_strength = _field(b0, source.b0)
        grid = point_grid(source)
        layers, shape, affine = _of_cloud(source, grid), grid.shape, grid.affine
        lost = cloud_losses(source)
    if not layers:
        raise PhantomError(f"{source.name!r} must have a tissue with signal; all densities are 0.")
    files = _Files(stem=path.stem, shape=shape, affine=affine)
    tissues = {layer.name: _entry(files, layer) for layer in layers}
    header = {
        "$schema": WRITTEN_SCHEMA,
        "units": UNITS,
        "system": {"gyro": GAMMA_BAR * 1e-6, "B0": field_strength},
        "tissues": tissues,
    }
    files.write(path, json.dumps(header, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    return lost


def _field(asked: float | None, known: float | None) -> float:
    if asked is not None and known is not None and asked != known:
        raise PhantomError(f"b0 must be that of the values, {known} T; got {asked} T.")
    b0 = known if asked is None else asked
    if b0 is None or not 0 < b0 < np.inf:
        raise PhantomError(f"b0 must be a positive field strength [T] for a BIfTI phantom; got {b0}.")
    return b0


def phantom_losses(phantom: Phantom, b0: float) -> tuple[str, ...]:
    """Return what of a phantom no exchange format holds, one line each."""
    rows = phantom.properties(b0)
    silent = [p.name for p, f in zip(rows, phantom.fractions, strict=True) if not p.pd and f.any()]
    told = (
        (any(len(phantom.table.curves[n].b0) > 1 for n in phantom.tissues),
         f"tissue values at other fields than {b0:g} T, and their sources"),
        (any(p.pd != 1 for p in rows) or phantom.texture is not None,
         "proton density apart from fractions (their product is kept)"),
        (any(p.chi for p in rows), "susceptibilities, and the fields that come of them"),
        (bool(silent), f"tissues without signal: {', '.join(silent)}"),
        (any(p.shift_ppm for p in rows), "that a shift of frequency is a chemical one (it becomes dB0)"),
        (any(p.semisolid for p in rows), "semisolid pools of the tissues"),
        (phantom.diffusion is not None, "the diffusion model: compartments and fibres (ADC is kept)"),
        (phantom.labels is not None, "region labels"),
        (phantom.transform is not None, "the map from the template"),
        (bool(phantom.truth), "the truth block (age, volumes, seeds, ...)"),
        (bool(phantom.provenance), "provenance and licence"),
    )  # fmt: skip
    return tuple(text for is_lost, text in told if is_lost)


def cloud_losses(cloud: PointCloud) -> tuple[str, ...]:
    """Return what of a cloud a BIfTI phantom cannot hold, one line each."""
    lost = []
    if cloud.motion is not None:
        lost.append("the movement of the points")
    if cloud.bound is not None:
        lost.append("bound pools and their exchange")
    if cloud.voxel is None:
        lost.append("that the points have no extent: they become voxels of the size of their spacing")
    if cloud.voxel is None or not np.isclose(cloud.signal_scale, abs(np.linalg.det(cloud.voxel)), rtol=1e-6):
        lost.append("the scale of the signal: it becomes the integral of the density over space")
    return tuple(lost)


def _of_phantom(phantom: Phantom, b0: float) -> list[_Layer]:
    layers = []
    texture = None if phantom.texture is None else phantom.texture.ravel()
    for fractions, p in zip(phantom.fractions, phantom.properties(b0), strict=True):
        flat = fractions.ravel()
        index = np.flatnonzero(flat if texture is None else flat * texture)
        if not index.size or p.pd == 0:
            continue
        density = flat[index].astype(np.float64) * p.pd
        if texture is not None:
            density *= texture[index]
        layers.append(
            _Layer(
                name=p.name,
                index=index,
                density=density.astype(np.float32),
                values={
                    "T1": p.t1,
                    "T2": p.t2,
                    "T2'": p.t2_prime,
                    "ADC": p.adc,
                    "dB0": p.shift_ppm * 1e-6 * GAMMA_BAR * b0,
                },
            )
        )
    return layers


def _of_cloud(cloud: PointCloud, grid: PointGrid) -> list[_Layer]:
    """Return the tissues of a cloud; points without magnetization have no place in the file."""
    layers = []
    for part in point_tissues(cloud, grid.index, MAX_KINDS):
        points = part.points[cloud.m0[part.points] > 0]
        if points.size:
            layers.append(_layer(cloud, grid, PointTissue(name=part.name, points=points)))
    return layers


def _layer(cloud: PointCloud, grid: PointGrid, part: PointTissue) -> _Layer:
    fields = {"B1+": cloud.b1, "B1-": cloud.sensitivity}
    return _Layer(
        name=part.name,
        index=grid.index[part.points],
        density=cloud.m0[part.points],
        values={k: _one(getattr(cloud, c)[part.points]) for k, c in _COLUMNS.items()},
        channels={
            k: [_one(row[part.points]) for row in rows]
            for k, rows in fields.items()
            if rows is not None and not (len(rows) == 1 and (rows == 1).all())
        },
    )


def _one(values: NDArray[Any]) -> Any:
    """Return the number that all values are, or the values; real where nothing is imaginary."""
    if np.iscomplexobj(values) and not values.imag.any():
        values = values.real
    same = (values == values[0]).all() and not np.iscomplexobj(values)
    return float(values[0]) if same else values


class _Files:
    """Volumes that wait to be written, by the file they go to."""

    def __init__(self, *, stem: str, shape: tuple[int, int, int], affine: Array) -> None:
        self.stem = stem
        self.shape = shape
        self.affine = affine
        self.volumes: dict[str, list[tuple[NDArray[np.int64], NDArray[Any]]]] = {}

    def add(self, word: str, index: NDArray[np.int64], values: NDArray[Any]) -> str:
        """Keep a volume for the file of a property; return the reference to it."""
        name = f"{self.stem}{word}.nii.gz"
        volumes = self.volumes.setdefault(name, [])
        volumes.append((index, values))
        return f"{name}[{len(volumes) - 1}]"

    def write(self, path: Path, text: str) -> None:
        """Write all maps, then the JSON text; nothing appears under its name before all are complete."""
        with _renamed_at_last() as temporary:
            for name, volumes in self.volumes.items():
                self._save(temporary(path.with_name(name)), volumes)
            temporary(path).write_text(text, encoding="utf-8")

    def _save(self, path: Path, volumes: list[tuple[NDArray[np.int64], NDArray[Any]]]) -> None:
        from nibabel.funcs import as_closest_canonical
        from nibabel.nifti1 import Nifti1Image

        data = np.zeros((len(volumes), int(np.prod(self.shape))), _storage([v for _, v in volumes]))
        for row, (index, values) in zip(data, volumes, strict=True):
            row[index] = values
        affine = self.affine.copy()
        affine[:3] *= 1e3
        grid = np.moveaxis(data.reshape(len(volumes), *self.shape), 0, -1)
        image: Any = as_closest_canonical(Nifti1Image(grid, affine))
        image.set_sform(image.affine, code=2)
        image.set_qform(None, code=0)
        image.header.set_xyzt_units("mm")
        image.to_filename(path)


@contextmanager
def _renamed_at_last() -> Iterator[Any]:
    """Give temporary names that become the real ones when all went well, in the order they were asked for."""
    waiting: list[tuple[Path, Path]] = []

    def temporary(path: Path) -> Path:
        suffix = "".join(s for s in path.suffixes if s in (".nii", ".gz"))
        made = path.with_name(f".{path.name}.{os.getpid()}.tmp{suffix}")
        waiting.append((made, path))
        return made

    try:
        yield temporary
        for made, path in waiting:
            made.replace(path)
    finally:
        for made, _ in waiting:
            made.unlink(missing_ok=True)


def _storage(values: list[NDArray[Any]]) -> np.dtype[Any]:
    """Return the smallest type of NIfTI that holds all values exactly."""
    is_complex = any(np.iscomplexobj(v) for v in values)
    single = np.dtype(np.complex64 if is_complex else np.float32)
    with np.errstate(over="ignore"):
        exact = all(np.array_equal(v.astype(single).astype(v.dtype), v) for v in values)
    return single if exact else np.dtype(np.complex128 if is_complex else np.float64)


def _entry(files: _Files, layer: _Layer) -> dict[str, Any]:
    entry: dict[str, Any] = {"density": files.add("", layer.index, layer.density)}
    for key, value in layer.values.items():
        unit = _UNIT.get(key, 1.0)
        if isinstance(value, float):
            if value != DEFAULTS[key]:  # also infinity, which JSON cannot hold
                entry[key] = value / unit
        else:
            entry[key] = files.add(f"_{_FILE_WORDS.get(key, key)}", layer.index, value / unit)
    for key in CHANNELS:
        if key in layer.channels:
            entry[key] = [
                value if isinstance(value, float) else files.add(f"_{key}", layer.index, value)
                for value in layer.channels[key]
            ]
    return entry

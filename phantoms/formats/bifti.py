"""BIfTI phantoms, version 1: a JSON file of tissues that refers to NIfTI maps beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cloud import PointCloud
from ..file_error import PhantomFileError, blamed_on, present_file
from .nifti import Grid, MapReader

SCHEMA = re.compile(r"(nifti|bifti)-phantom-v1(\.[^/]*)?$")
UNITS = {
    "gyro": "MHz/T", "B0": "T", "T1": "s", "T2": "s", "T2'": "s", "ADC": "10^-3 mm^2/s", "dB0": "Hz",
    "B1+": "rel", "B1-": "rel",
}  # fmt: skip
KEYS = ("$schema", "units", "system", "reslice_to", "tissues")
DEFAULTS = {"T1": np.inf, "T2": np.inf, "T2'": np.inf, "ADC": 0.0, "dB0": 0.0}
CHANNELS = ("B1+", "B1-")
MAX_JSON = 16 * 1024**2
MAX_TISSUES = 256
MAX_CHANNELS = 256
MAX_VOXELS = 512**3
LARGEST = 1e300


@dataclass(frozen=True, kw_only=True, eq=False)
class _Tissue:
    """Values of one tissue at its voxels; channels are (channel, n)."""

    name: str
    index: NDArray[np.int64]
    density: NDArray[np.float64]
    scalars: dict[str, NDArray[np.float64]]
    channels: dict[str, NDArray[np.complex128]]


def read_bifti(path: str | Path) -> PointCloud:
    """Read a BIfTI phantom (once called NIfTI phantom).

    One point per voxel and tissue with a density above zero; overlapping tissues overlap. m0 is the density,
    ADC is in 1e-3 mm^2/s, absent times are infinite. Maps must share one grid unless `reslice_to` gives one:
    then they are interpolated linearly in each direction; outside its map a density falls to zero and a
    property keeps its border value. Transformations of a map see the statistics of the map after that.

    Parameters
    ----------
    path : str or Path
        The JSON file; its maps lie in the same folder or below.

    Returns
    -------
    PointCloud
        `signal_scale` is the voxel volume [m^3], so that the signal is the integral of the density over
        space. A tissue with a single entry of B1+ or B1- has it in all channels.

    Raises
    ------
    PhantomFileError
        With file, tissue and field, if something is missing, damaged or not allowed by the format.
    FileNotFoundError
        If there is no such JSON file.
    """
    path = Path(path)
    header = _header(path)
    reader = MapReader(folder=path.parent, origin=str(path), grid=_reslice(path, header.get("reslice_to")))
    tissues = [_tissue(path, reader, str(k), v) for k, v in header["tissues"].items()]
    tissues = [t for t in tissues if t.index.size]
    if not tissues or reader.grid is None:
        raise PhantomFileError(f"{path}: at least one voxel must have a density above 0; none has.")
    return _cloud(path, header, reader.grid, tissues)


def _cloud(path: Path, header: dict[str, Any], grid: Grid, tissues: list[_Tissue]) -> PointCloud:
    def gather(key: str) -> NDArray[np.float64]:
        return np.concatenate([t.scalars[key] for t in tissues])

    voxel = grid.affine[:3, :3] * 1e-3
    index = np.concatenate([t.index for t in tissues])
    places = np.stack(np.unravel_index(index, grid.shape), axis=-1)
    single = all(len(t.channels["B1-"]) == 1 and (t.channels["B1-"] == 1).all() for t in tissues)
    with blamed_on(path, "maps must describe tissue"):
        return PointCloud(
            name=path.stem,
            position=places @ voxel.T + grid.affine[:3, 3] * 1e-3,
            m0=np.concatenate([t.density for t in tissues]),
            t1=gather("T1"),
            t2=gather("T2"),
            t2_prime=gather("T2'"),
            df=gather("dB0"),
            adc=gather("ADC") * 1e-9,
            b1=_joined(path, tissues, "B1+"),
            sensitivity=None if single else _joined(path, tissues, "B1-"),
            voxel=voxel,
            signal_scale=float(abs(np.linalg.det(voxel))),
            index=index,
            source={
                "format": "bifti",
                "file": path.name,
                "shape": list(grid.shape),
                "affine_mm": grid.affine.tolist(),
                "gyro_mhz_per_t": header["system"]["gyro"],
                "tissues": {t.name: int(t.index.size) for t in tissues},
            },
            b0=float(header["system"]["B0"]),
        )


def _joined(path: Path, tissues: list[_Tissue], key: str) -> NDArray[np.complex128]:
    count = max(len(t.channels[key]) for t in tissues)
    for t in tissues:
        if len(t.channels[key]) not in (1, count):
            raise PhantomFileError(
                f"{path}: {key!r} of tissue {t.name!r} must have 1 or {count} channels like the others; "
                f"got {len(t.channels[key])}."
            )
    parts = [np.broadcast_to(t.channels[key], (count, t.index.size)) for t in tissues]
    return np.concatenate(parts, axis=1)


def _tissue(path: Path, reader: MapReader, name: str, entry: Any) -> _Tissue:
    where = f"tissue {name!r}"
    allowed = {"density", *DEFAULTS, *CHANNELS}
    if not isinstance(entry, dict) or "density" not in entry or set(entry) - allowed:
        raise PhantomFileError(
            f"{path}: {where} must be an object with 'density' and any of {sorted(allowed)}; "
            f"got {sorted(entry) if isinstance(entry, dict) else entry!r}."
        )
    if not isinstance(entry["density"], str):
        raise PhantomFileError(f"{path}: density of {where} must be a map like 'file.nii.gz[0]'.")
    density = reader.values(entry["density"], f"density of {where}", outside="zero").ravel()
    index = np.flatnonzero(~(density <= 0))  # NaN stays in and is refused below
    chosen = density[index]
    if not np.isfinite(chosen).all():
        raise PhantomFileError(
            f"{path}: density of {where} must be finite; the map {entry['density']} is not."
        )
    scalars = {
        k: _value(path, reader, entry.get(k, default), f"{k} of {where}", index).real
        for k, default in DEFAULTS.items()
    }
    channels = {k: _channels(path, reader, entry.get(k, [1]), f"{k} of {where}", index) for k in CHANNELS}
    return _Tissue(name=name, index=index, density=chosen, scalars=scalars, channels=channels)


def _channels(
    path: Path, reader: MapReader, entry: Any, where: str, index: NDArray[np.int64]
) -> NDArray[np.complex128]:
    if not isinstance(entry, list) or not 0 < len(entry) <= MAX_CHANNELS:
        raise PhantomFileError(f"{path}: {where} must be a list of 1..{MAX_CHANNELS} channels.")
    rows = [_value(path, reader, e, f"channel {i} of {where}", index, True) for i, e in enumerate(entry)]
    return np.stack(rows).astype(np.complex128)


def _value(
    path: Path, reader: MapReader, entry: Any, where: str, index: NDArray[np.int64], is_complex: bool = False
) -> NDArray[Any]:
    if _is_number(entry):
        return np.full(index.size, float(entry))
    func = None
    if isinstance(entry, dict) and set(entry) == {"file", "func"} and isinstance(entry["func"], str):
        entry, func = entry["file"], entry["func"]
    if not isinstance(entry, str):
        raise PhantomFileError(
            f"{path}: {where} must be a number, a map like 'file.nii.gz[0]' or an object of 'file' and "
            f"'func'; got {str(entry)[:80]!r}."
        )
    value = reader.values(entry, where, func=func, is_complex=is_complex).ravel()[index]
    if np.isnan(value).any():
        raise PhantomFileError(
            f"{path}: {where} must be a number wherever the tissue is; the map {entry} has NaN there. "
            "Fill the map or set the density to 0."
        )
    return value


def _is_number(value: Any) -> bool:
    """Return whether parsed JSON is a number that a float can hold: whole ones may be of any length."""
    whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST
    return whole or isinstance(value, float)


def is_bifti(value: Any) -> bool:
    """Return whether parsed JSON calls itself a BIfTI phantom of version 1."""
    return isinstance(value, dict) and bool(SCHEMA.search(str(value.get("$schema", ""))))


def _header(path: Path) -> dict[str, Any]:
    present_file(path)
    if path.stat().st_size > MAX_JSON:
        raise PhantomFileError(f"{path}: a BIfTI file must be smaller than {MAX_JSON >> 20} MiB.")
    try:
        header: Any = json.loads(path.read_text(encoding="utf-8-sig"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise PhantomFileError(f"{path}: must be JSON text; {error}.") from error
    if not is_bifti(header) or not {"units", "system", "tissues"} <= set(header) <= set(KEYS):
        raise PhantomFileError(
            f"{path}: a BIfTI phantom must have the keys {KEYS} ('reslice_to' may be absent) and no others, "
            f"and a $schema that ends in bifti-phantom-v1; "
            f"got {sorted(header) if isinstance(header, dict) else type(header).__name__}."
        )
    if header["units"] != UNITS:
        raise PhantomFileError(f"{path}: 'units' must be exactly {UNITS}; got {header['units']}.")
    _check_system(path, header["system"])
    tissues = header["tissues"]
    if not isinstance(tissues, dict) or not 0 < len(tissues) <= MAX_TISSUES:
        raise PhantomFileError(f"{path}: 'tissues' must be an object of 1..{MAX_TISSUES} tissues.")
    return dict(header)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number: leave the entry out for infinity")


def _check_system(path: Path, system: Any) -> None:
    if (
        not isinstance(system, Mapping)
        or set(system) != {"gyro", "B0"}
        or not all(_is_number(v) and 0 < v < np.inf for v in system.values())
    ):
        raise PhantomFileError(
            f"{path}: 'system' must hold the positive numbers gyro [MHz/T] and B0 [T]; got {system}."
        )


def _reslice(path: Path, entry: Any) -> Grid | None:
    if entry is None:
        return None
    try:
        affine = np.vstack([np.asarray(entry["affine"], np.float64), (0, 0, 0, 1)])
        shape = tuple(entry["resolution"])
        if set(entry) != {"affine", "resolution"} or not all(type(k) is int for k in shape):
            raise ValueError(f"got the keys {sorted(entry)} and the resolution {shape}")
    except (TypeError, ValueError, KeyError) as error:
        raise PhantomFileError(
            f"{path}: 'reslice_to' must hold affine and resolution (whole numbers) only; {error}."
        ) from error
    if (
        affine.shape != (4, 4)
        or not np.isfinite(affine).all()
        or len(shape) != 3
        or min(shape) < 1
        or int(np.prod(shape)) > MAX_VOXELS
        or np.linalg.det(affine) == 0
    ):
        raise PhantomFileError(
            f"{path}: 'reslice_to' must have an invertible affine of 3 rows of 4 numbers and a resolution of "
            f"three counts with at most {MAX_VOXELS} voxels; got {entry}."
        )
    return Grid(shape=shape, affine=affine)

"""Phantoms of MRzero before BIfTI: NumPy archives of maps, and MATLAB files with one array."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cloud import PointCloud
from ..file_error import PhantomFileError, blamed_on, present_file
from .matlab import read_arrays

NEEDED = ("PD_map", "T1_map", "T2_map", "T2dash_map", "D_map")
OPTIONAL = ("B0_map", "B1_map", "FOV")
DEFAULT_FOV = (0.192, 0.192, 0.192)
MAT_SIZE = (0.2, 0.2, 0.008)
MAT_T2_PRIME = 0.03
MAT_ADC = 1e-9
MAX_VOXELS = 512**3
MAX_CHANNELS = 64
MAX_BYTES = 8 * 1024**3

Array = NDArray[np.float64]


def read_mrzero(path: str | Path) -> PointCloud:
    """Read a phantom of MRzero from before BIfTI.

    A NumPy archive (.npz) holds PD_map, T1_map, T2_map, T2dash_map [s], D_map [1e-3 mm^2/s] and may hold
    B0_map [Hz], B1_map (x, y, z) or (channel, x, y, z) and FOV (3) [m], 0.192 m each by default; masks of
    tissues (``tissue_*``) are not needed. MRzero invents fields where the maps are absent; here they are
    homogeneous. A MATLAB file holds one array (x, y[, z], 5) of PD, T1, T2 [s], B0 [Hz], B1 on
    0.2 x 0.2 x 0.008 m, with T2' = 30 ms and D = 1e-3 mm^2/s, as MRzero assumes.

    Points lie where MRzero simulates them, at ``-FOV/2 + i FOV/n`` along each axis: half a voxel from the
    symmetric place. Voxels with PD > 0 are kept.

    Parameters
    ----------
    path : str or Path
        .npz or .mat file. Nothing is unpickled.

    Returns
    -------
    PointCloud
        `signal_scale` is the voxel volume [m^3].

    Raises
    ------
    PhantomFileError
        With file and field, if the file is not as it must be.
    FileNotFoundError
        If there is no such file.
    """
    path = present_file(path)
    maps = _from_npz(path) if zipfile.is_zipfile(path) else _from_mat(path)
    return _cloud(path, maps)


def is_mrzero_npz(path: Path) -> bool:
    """Return whether a zip archive holds the maps of an MRzero phantom."""
    with zipfile.ZipFile(path) as archive:
        names = {n.removesuffix(".npy") for n in archive.namelist()}
    return bool(names & set(NEEDED))


def _from_npz(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            infos = {i.filename.removesuffix(".npy"): i for i in archive.infolist()}
        if missing := [k for k in NEEDED if k not in infos]:
            raise PhantomFileError(
                f"{path}: must hold the arrays {NEEDED}; missing {missing}, "
                f"the file has {sorted(infos)[:20]}."
            )
        wanted = [k for k in (*NEEDED, *OPTIONAL) if k in infos]
        if sum(infos[k].file_size for k in wanted) > MAX_BYTES:
            raise PhantomFileError(f"{path}: arrays must take at most {MAX_BYTES >> 30} GiB.")
        with np.load(path, allow_pickle=False) as archive:
            return {k: archive[k] for k in wanted}
    except (OSError, EOFError, zipfile.BadZipFile, NotImplementedError, MemoryError) as error:
        raise PhantomFileError(f"{path}: must be a complete NumPy archive; {error}.") from error
    except ValueError as error:
        if isinstance(error, PhantomFileError):
            raise
        raise PhantomFileError(f"{path}: must hold plain numeric arrays; {error}.") from error


def _from_mat(path: Path) -> dict[str, Any]:
    found = {k: v for k, v in read_arrays(path).items() if isinstance(v, np.ndarray)}
    if len(found) != 1:
        raise PhantomFileError(
            f"{path}: a MATLAB phantom must hold exactly one array (x, y, z, 5) or the struct VObj; "
            f"got {sorted(found)[:20]}."
        )
    ((name, data),) = found.items()
    if data.ndim not in (3, 4) or data.shape[-1] != 5 or data.dtype.kind not in "iuf":
        raise PhantomFileError(
            f"{path}: {name!r} must have the axes (x, y, 5) or (x, y, z, 5) of PD, T1, T2, B0, B1; "
            f"got {data.dtype} {data.shape}."
        )
    data = data[:, :, None] if data.ndim == 3 else data
    pd, t1, t2, b0, b1 = np.moveaxis(data, -1, 0)
    return {
        "PD_map": pd,
        "T1_map": t1,
        "T2_map": t2,
        "T2dash_map": np.full(pd.shape, MAT_T2_PRIME),
        "D_map": np.full(pd.shape, MAT_ADC * 1e9),
        "B0_map": b0,
        "B1_map": b1,
        "FOV": np.array(MAT_SIZE),
    }


def _real(path: Path, maps: dict[str, Any], name: str, shape: tuple[int, ...] | None) -> Array:
    value = np.asarray(maps[name])
    if value.dtype.kind not in "iufb":
        raise PhantomFileError(f"{path}: {name!r} must hold real numbers; got {value.dtype}.")
    if shape is not None and value.shape != shape:
        raise PhantomFileError(f"{path}: {name!r} must have the shape {shape} of PD_map; got {value.shape}.")
    return value.astype(np.float64)


def _transmit(path: Path, maps: dict[str, Any], shape: tuple[int, ...], index: NDArray[np.intp]) -> Any:
    if "B1_map" not in maps:
        return np.ones((1, 1), np.complex128)
    value = np.asarray(maps["B1_map"])
    value = value[None] if value.ndim == 3 else value
    if value.ndim != 4 or value.shape[1:] != shape or value.dtype.kind not in "iufc":
        raise PhantomFileError(
            f"{path}: 'B1_map' must have the shape {shape} or (channel, *{shape}); got {value.shape}."
        )
    if len(value) > MAX_CHANNELS:
        raise PhantomFileError(
            f"{path}: 'B1_map' must have at most {MAX_CHANNELS} channels; got {len(value)}."
        )
    return value.reshape(len(value), -1)[:, index].astype(np.complex128)


def _cloud(path: Path, maps: dict[str, Any]) -> PointCloud:
    pd = _real(path, maps, "PD_map", None)
    if pd.ndim != 3 or not 0 < pd.size <= MAX_VOXELS:
        raise PhantomFileError(
            f"{path}: 'PD_map' must have three axes and at most {MAX_VOXELS} voxels; got {pd.shape}."
        )
    fov = _real(path, maps, "FOV", None).ravel() if "FOV" in maps else np.array(DEFAULT_FOV)
    if fov.size != 3 or not (np.isfinite(fov).all() and (fov > 0).all()):
        raise PhantomFileError(f"{path}: 'FOV' must be three positive metres; got {fov.tolist()}.")
    if np.isnan(pd).any() or pd.min() < 0:
        raise PhantomFileError(f"{path}: 'PD_map' must be numbers >= 0; got {pd.min()}.")
    index = np.flatnonzero(pd > 0)
    if not index.size:
        raise PhantomFileError(f"{path}: 'PD_map' must be above 0 somewhere; it is 0 everywhere.")

    def column(name: str, positive: bool = False) -> Array:
        value = _real(path, maps, name, pd.shape).ravel()[index]
        if np.isnan(value).any() or (positive and not (value > 0).all()):
            wanted = "positive" if positive else "numbers"
            raise PhantomFileError(
                f"{path}: {name!r} must be {wanted} wherever PD_map > 0; got {value.min()}. "
                "Set PD_map to 0 there or give the value."
            )
        return value

    spacing = fov / pd.shape
    places = np.stack(np.unravel_index(index, pd.shape), axis=-1)
    with blamed_on(path, "maps must describe tissue"):
        return PointCloud(
            name=path.stem,
            position=places * spacing - fov / 2,
            m0=pd.ravel()[index],
            t1=column("T1_map", True),
            t2=column("T2_map", True),
            t2_prime=column("T2dash_map", True),
            df=column("B0_map") if "B0_map" in maps else np.array(0.0),
            adc=column("D_map") * 1e-9,
            b1=_transmit(path, maps, pd.shape, index),
            voxel=np.diag(spacing),
            signal_scale=float(np.prod(spacing)),
            index=index,
            source={"format": "mrzero", "file": path.name, "shape": list(pd.shape)},
        )

"""Reading of any phantom file, told apart by its content."""

from __future__ import annotations

import json
from pathlib import Path

from .bifti import MAX_JSON, is_bifti, read_bifti
from .cloud import PointCloud
from .hdf5 import PhantomFileError, open_hdf5
from .io import FORMAT, load_phantom
from .jemris import is_jemris, read_jemris
from .koma import is_koma, read_koma
from .phantom import Phantom

UNDERSTOOD = (
    "a phantom written by save_phantom, a JEMRIS sample (sample/data) or spin list (x, y, z, ρ, T1, T2, T2s, "
    "Δw), a KomaMRI .phantom, or the JSON file of a BIfTI (NIfTI) phantom of version 1"
)


def read_phantom_file(path: str | Path) -> Phantom | PointCloud:
    """Read a phantom file of any format that is understood; the name of the file plays no part.

    Parameters
    ----------
    path : str or Path
        HDF5 file of `save_phantom`, JEMRIS or KomaMRI, or the JSON file of a BIfTI phantom.

    Returns
    -------
    Phantom or PointCloud
        A phantom on a grid for our own format, a point cloud for the others.

    Raises
    ------
    PhantomFileError
        If the content is none of these, with a list of what is understood, or is damaged.
    FileNotFoundError
        If there is no such file.
    """
    import h5py

    path = Path(path)
    if path.is_dir():
        raise PhantomFileError(f"{path}: a phantom must be a file; got a folder. Name the file in it.")
    if not path.is_file():
        raise FileNotFoundError(f"phantom file {path} must exist; nothing found there.")
    if h5py.is_hdf5(path):
        return _read_hdf5(path)
    if _looks_like_bifti(path):
        return read_bifti(path)
    raise PhantomFileError(f"{path}: content must be {UNDERSTOOD}; got none of these.")


def _read_hdf5(path: Path) -> Phantom | PointCloud:
    with open_hdf5(path) as f:
        native = f.attrs.get("format") == FORMAT
        koma, jemris = is_koma(f), is_jemris(f, path)
        content = sorted(f)
    if native:
        return load_phantom(path)
    if koma:
        return read_koma(path)
    if jemris:
        return read_jemris(path)
    raise PhantomFileError(f"{path}: content must be {UNDERSTOOD}; got an HDF5 file with {content[:20]}.")


def _looks_like_bifti(path: Path) -> bool:
    if path.stat().st_size > MAX_JSON:
        return False
    try:
        return is_bifti(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, RecursionError):
        return False

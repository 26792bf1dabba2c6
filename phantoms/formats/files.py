"""Reading of any phantom file, told apart by its content."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..cloud import PointCloud
from ..file_error import PhantomFileError, present_file
from ..phantom import Phantom
from .bifti import MAX_JSON, is_bifti, read_bifti
from .brainweb import is_brainweb, read_brainweb
from .cloud_file import FORMAT as CLOUD_FORMAT
from .cloud_file import load_cloud
from .hdf5 import has, open_hdf5
from .io import FORMAT, load_phantom
from .jemris import is_jemris, read_jemris
from .koma import is_koma, read_koma
from .matlab import has_mat5_variable, is_mat5
from .mrilab import read_mrilab
from .mrzero import is_mrzero_npz, read_mrzero
from .xcat import is_xcat, read_xcat

UNDERSTOOD = (
    "a phantom written by save_phantom or save_cloud, a JEMRIS sample (sample/data) or spin list (x, y, z, "
    "ρ, T1, T2, T2s, Δw), a KomaMRI .phantom, the JSON file of a BIfTI (NIfTI) phantom of version 1, an "
    "MRiLab VObj (.mat), maps of MRzero (.npz, .mat), a BrainWeb volume (.rawb, .raws, .mnc, as BrainWeb "
    "names it) or a frame of XCAT (<case>_act_<n>.bin)"
)


def read_phantom_file(path: str | Path, *, b0: float = 3.0) -> Phantom | PointCloud:
    """Read a phantom file of any format that is understood.

    The content tells the format; only raw volumes without any header (BrainWeb, XCAT) are known by their
    names.

    Parameters
    ----------
    path : str or Path
        The file; of a BIfTI phantom the JSON file; of BrainWeb a volume or the folder of one anatomy.
    b0 : float
        Field strength [T] for chemical shifts that a file gives per tesla (MRiLab).

    Returns
    -------
    Phantom or PointCloud
        A phantom on a grid where the file has tissues with one value each (ours, BrainWeb, XCAT); a point
        cloud where it has values per voxel or per spin. `phantom_from_cloud` turns a cloud of few tissues
        into a phantom.

    Raises
    ------
    PhantomFileError
        If the content is none of these, with a list of what is understood, or is damaged.
    FileNotFoundError
        If there is no such file.
    """
    path = Path(path)
    if path.is_dir():
        if is_brainweb(path):
            return read_brainweb(path)
        raise PhantomFileError(f"{path}: a phantom must be a file; got a folder. Name the file in it.")
    present_file(path)
    if (reader := _reader(path)) is None:
        raise PhantomFileError(f"{path}: content must be {UNDERSTOOD}; got none of these.{_hint(path)}")
    return read_mrilab(path, b0=b0) if reader is read_mrilab else reader(path)


def _reader(path: Path) -> Callable[[Path], Phantom | PointCloud] | None:
    import h5py

    if is_brainweb(path):  # before HDF5: MINC 2 is HDF5
        return read_brainweb
    if h5py.is_hdf5(path):
        return _hdf5_reader(path)
    if is_mat5(path):
        return read_mrilab if has_mat5_variable(path, "VObj") else read_mrzero
    if zipfile.is_zipfile(path):
        return read_mrzero if is_mrzero_npz(path) else None
    if is_xcat(path):
        return read_xcat
    return read_bifti if _looks_like_bifti(path) else None


def _hdf5_reader(path: Path) -> Callable[[Path], Phantom | PointCloud]:
    with open_hdf5(path) as f:
        ours: dict[Any, Callable[[Path], Phantom | PointCloud]] = {
            FORMAT: load_phantom,
            CLOUD_FORMAT: load_cloud,
        }
        reader = ours.get(f.attrs.get("format"))
        if reader is None:
            if is_koma(f):
                reader = read_koma
            elif is_jemris(f, path):
                reader = read_jemris
            elif has(f, "VObj"):
                reader = read_mrilab
        content = sorted(f)
    if reader is None:
        raise PhantomFileError(
            f"{path}: content must be {UNDERSTOOD}; got an HDF5 file with {content[:20]}."
            f"{_koma_hint(content)}"
        )
    return reader


def _koma_hint(content: list[str]) -> str:
    if "position" in content and "contrast" in content:
        return " A KomaMRI phantom must have the attribute 'Ns'."
    return ""


def _hint(path: Path) -> str:
    if path.name.endswith((".nii", ".nii.gz")):
        return " Name the JSON file of the phantom that these maps belong to."
    if path.suffix == ".phantom":
        return " The file is not complete: write or fetch it again."
    return ""


def _looks_like_bifti(path: Path) -> bool:
    if path.stat().st_size > MAX_JSON:
        return False
    try:
        return is_bifti(json.loads(path.read_text(encoding="utf-8-sig")))
    except (ValueError, RecursionError):
        return False

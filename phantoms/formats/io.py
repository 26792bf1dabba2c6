"""The native phantom file: HDF5 with uint8 or float32 fractions, written atomically and read strictly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..file_error import PhantomFileError
from ..phantom import Phantom, PhantomError
from ..tissues import TissueTable
from .diffeomorphism_file import read_diffeomorphism, write_diffeomorphism
from .diffusion_file import read_diffusion, write_diffusion
from .hdf5 import content_hash, dataset, has, json_object, open_hdf5, written_hdf5

FORMAT = "mrsim-phantom"
VERSIONS = (1, 2, 3)
"""1: fractions, labels and header;  2: also a diffusion model or a texture;  3: also the map from a template.
A file has the lowest version whose readers lose nothing of it."""
MAX_VOXELS = 1024**3
MAX_TISSUES = 64
HEADER_KEYS = ("name", "tissues", "table", "scale", "regions", "truth", "chi_outside")


def save_phantom(path: str | Path, phantom: Phantom) -> None:
    """Write a phantom to an HDF5 file.

    Nothing is lost. Fractions that are multiples of 1/255 (all subjects of a cohort are) are stored as
    uint8, others as float32; tissue curves at all fields, scale, labels, truth, provenance, the diffusion
    model and the map from the template go with them. The attribute ``sha256`` is the hash of the content
    (`check_content`). The file appears under its name only when complete.

    Parameters
    ----------
    path : str or Path
        Target file; an existing one is replaced.
    phantom : Phantom
        What to write.
    """
    path = Path(path)
    header = {
        "name": phantom.name,
        "tissues": list(phantom.tissues),
        "table": TissueTable(curves={n: phantom.table.curves[n] for n in phantom.tissues}).to_dict(),
        "scale": phantom.scale,
        "regions": {str(k): v for k, v in phantom.regions.items()},
        "truth": phantom.truth,
        "chi_outside": phantom.chi_outside,
        **({"provenance": phantom.provenance} if phantom.provenance else {}),
    }
    codes = np.rint(phantom.fractions * np.float32(255.0)).astype(np.uint8)
    exact = np.array_equal(codes.astype(np.float32) / np.float32(255.0), phantom.fractions)
    with written_hdf5(path) as f:
        f.attrs["format"] = FORMAT
        f.attrs["version"] = _version(phantom)
        f.create_dataset("header", data=np.frombuffer(json.dumps(header).encode(), np.uint8))
        f.create_dataset("affine", data=phantom.affine)
        data = codes if exact else phantom.fractions
        options: dict[str, Any] = {"compression": "lzf", "track_times": False}
        f.create_dataset("fractions", data=data, chunks=(1, *_chunk(phantom.shape)), **options)
        if phantom.labels is not None:
            f.create_dataset("labels", data=phantom.labels, chunks=_chunk(phantom.shape), **options)
        if phantom.texture is not None:
            f.create_dataset("texture", data=phantom.texture, chunks=_chunk(phantom.shape), **options)
        if phantom.diffusion is not None:
            write_diffusion(f.create_group("diffusion"), phantom.diffusion)
        if phantom.transform is not None:
            write_diffeomorphism(f.create_group("transform"), phantom.transform)
        f.attrs["sha256"] = content_hash(f)


def _version(phantom: Phantom) -> int:
    if phantom.transform is not None:
        return 3
    return 1 if phantom.diffusion is None and phantom.texture is None else 2


def _chunk(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    return min(shape[0], 32), shape[1], shape[2]


def check_content(path: str | Path) -> str | None:
    """Return the hash of the content of a file of ours, None where it was written without one.

    Raises
    ------
    PhantomFileError
        If the content is not what was written.
    """
    path = Path(path)
    with open_hdf5(path) as f:
        stated = f.attrs.get("sha256")
        if stated is None:
            return None
        found = content_hash(f)
    if found != stated:
        raise PhantomFileError(
            f"{path}: content must have the hash {str(stated)[:16]}... that was written with it; "
            f"got {found[:16]}.... The file was changed or damaged: make or fetch it again."
        )
    return found


def load_phantom(path: str | Path) -> Phantom:
    """Read a phantom written by `save_phantom`.

    Links, external and virtual storage, unknown types and impossible sizes are refused; nothing is unpickled.

    Parameters
    ----------
    path : str or Path
        File to read.

    Returns
    -------
    Phantom
        The phantom, validated.

    Raises
    ------
    PhantomFileError
        With file and field, if the file is not as it must be.
    FileNotFoundError
        If there is no such file.
    """
    path = Path(path)
    with open_hdf5(path) as f:
        if f.attrs.get("format") != FORMAT:
            raise PhantomFileError(f"{path}: format must be {FORMAT!r}; got {f.attrs.get('format')!r}.")
        if (version := f.attrs.get("version")) not in VERSIONS:
            raise PhantomFileError(
                f"{path}: version must be one of {VERSIONS}; got {version!r}. "
                "A newer release wrote it: upgrade mrsim, or write it again with this one's save_phantom."
            )
        return _read(f, path)


def _read(f: Any, path: Path) -> Phantom:
    header = json_object(f, path, "header", HEADER_KEYS)
    affine = dataset(f, path, "affine", ("f8",), 2, 16)[()]
    d = dataset(f, path, "fractions", ("u1", "f4"), 4, MAX_TISSUES * MAX_VOXELS)
    tissues = tuple(str(t) for t in header["tissues"])
    if d.shape[0] != len(tissues) or np.prod(d.shape[1:]) > MAX_VOXELS:
        raise PhantomFileError(
            f"{path}: 'fractions' must have shape ({len(tissues)}, x, y, z); got {d.shape}."
        )
    fractions = np.empty(d.shape, np.float32)
    if d.dtype == np.uint8:
        levels = np.arange(256, dtype=np.float32) / np.float32(255.0)
        for k in range(d.shape[0]):
            np.take(levels, d[k], out=fractions[k])
    else:
        d.read_direct(fractions)
    labels = None
    if has(f, "labels"):
        labels = dataset(f, path, "labels", ("i2",), 3, MAX_VOXELS)[()]
    texture = None
    if has(f, "texture"):
        texture = dataset(f, path, "texture", ("f4",), 3, MAX_VOXELS)[()]
    try:
        return Phantom(
            name=str(header["name"]),
            tissues=tissues,
            fractions=fractions,
            affine=affine,
            table=TissueTable.from_dict(header["table"]),
            scale={str(k): {str(p): float(x) for p, x in v.items()} for k, v in header["scale"].items()},
            labels=labels,
            regions={int(k): str(v) for k, v in header["regions"].items()},
            truth=dict(header["truth"]),
            provenance=dict(header.get("provenance", {})),
            chi_outside=float(header["chi_outside"]),
            diffusion=read_diffusion(f, path) if has(f, "diffusion") else None,
            texture=texture,
            transform=read_diffeomorphism(f, path) if has(f, "transform") else None,
        )
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        kind = "" if isinstance(error, PhantomError) else f"{type(error).__name__}: "
        raise PhantomFileError(f"{path}: content must describe a phantom; {kind}{error}") from error

"""NIfTI and JSON writer: temporary name, then rename; equal images give equal bytes."""

from __future__ import annotations

import gzip
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from .diffusion import gradient_table
from .options import Image

__all__ = ["write_nifti"]


def write_nifti(path: str | Path, image: Image, sidecar: dict[str, Any] | None = None) -> Path:
    """Write an image as NIfTI-1 (``.nii`` or ``.nii.gz``) with its BIDS sidecar next to it.

    Parameters
    ----------
    path
        Target, ending in ``.nii`` or ``.nii.gz``; the sidecar gets the same stem and ``.json``, and a
        diffusion-weighted series its ``.bval`` and ``.bvec``.
    image
        Its affine in metres becomes millimetres here; scanner-based coordinates (qform and sform code 1).
    sidecar
        Keys that add to or replace those of ``image.meta["sidecar"]``.

    Returns
    -------
    Path
        The written image.

    Raises
    ------
    ValueError
        The name has another suffix, or the data or affine are not finite.
    """
    import nibabel as nib

    path = Path(path)
    stem = _stem(path)
    if not np.isfinite(image.affine).all() or not np.isfinite(image.data).all():
        raise ValueError(
            f"data and affine must be finite; got NaN or infinity for {path}. Check the raw data."
        )
    affine = image.affine.copy()
    affine[:3] *= 1e3
    nii = nib.Nifti1Image(image.data, affine)
    nii.header.set_xyzt_units("mm", "sec")
    nii.set_sform(affine, code=1)
    nii.set_qform(affine, code=1)
    content = nii.to_bytes()
    if path.suffix == ".gz":
        content = gzip.compress(content, compresslevel=4, mtime=0)
    record = {**image.meta.get("sidecar", {}), **(sidecar or {})}
    text = json.dumps(record, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"
    _write(path, content)
    _write(stem.with_name(stem.name + ".json"), text.encode())
    if "diffusion" in image.meta:
        for suffix, table in zip((".bval", ".bvec"), gradient_table(image.meta["diffusion"]), strict=True):
            _write(stem.with_name(stem.name + suffix), table.encode())
    return path


def _stem(path: Path) -> Path:
    for suffix in (".nii.gz", ".nii"):
        if path.name.endswith(suffix) and len(path.name) > len(suffix):
            return path.with_name(path.name[: -len(suffix)])
    raise ValueError(f"path must end in .nii or .nii.gz; got {path.name!r}. Rename the target.")


def _write(path: Path, content: bytes) -> None:
    """Write to a temporary file in the same folder, then rename over the target."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        # mkstemp makes private files; give the mode an ordinary new file would have.
        mask = os.umask(0)
        os.umask(mask)
        Path(name).chmod(0o666 & ~mask)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise

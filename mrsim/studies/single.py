"""Writing whole files or none, and reconstructing single scans."""

import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .problems import InputError


@contextmanager
def finished_whole(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` that becomes `path` only if the block succeeds."""
    if not path.absolute().parent.is_dir():
        raise InputError.single(
            file=str(path),
            cause=f"folder {str(path.absolute().parent)!r} does not exist",
            remedy="Make it first.",
        )
    if path.is_dir() and any(path.iterdir()):
        raise InputError.single(
            file=str(path), cause="is a folder that is not empty", remedy="Give another --out."
        )
    temporary = path.with_name(f".{secrets.token_hex(6)}.{path.name}")
    try:
        yield temporary
        if path.is_dir():
            path.rmdir()
        temporary.replace(path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


def need_file(path: Path, what: str) -> Path:
    """Refuse a path that is not a file; nothing is guessed."""
    if not path.is_file():
        cause = "is a folder, not a file" if path.is_dir() else "no such file"
        raise InputError.single(file=str(path), cause=cause, remedy=f"Give {what}.")
    return path


def recon_file(raw: Path, out: Path, choices: Mapping[str, Any]) -> dict[str, Any]:
    """Reconstruct a raw data file to NIfTI and sidecar.

    Parameters
    ----------
    raw : Path
        ISMRMRD file of any origin.
    out : Path
        ``.nii`` or ``.nii.gz``; the sidecar gets the same stem and ``.json``.
    choices : mapping
        Fields of `recon.ReconOptions`; None leaves the default.

    Returns
    -------
    dict
        Shape and voxel size [mm] of the image.
    """
    from recon import ReconOptions, read_raw, reconstruct, write_nifti

    if not out.name.endswith((".nii", ".nii.gz")):
        raise InputError.single(
            file=str(out), cause="must end in .nii or .nii.gz", remedy="Give another --out."
        )
    if not out.absolute().parent.is_dir():
        raise InputError.single(file=str(out), cause="its folder does not exist", remedy="Make it first.")
    options: ReconOptions = ReconOptions(
        **{key: value for key, value in choices.items() if value is not None}
    )
    image = reconstruct(read_raw(need_file(raw, "an ISMRMRD file (.h5, .mrd)")), options)
    write_nifti(out, image)
    size = [1e3 * float((image.affine[:3, axis] ** 2).sum() ** 0.5) for axis in range(3)]
    return {"shape": image.data.shape, "voxel_size_mm": [round(edge, 3) for edge in size]}

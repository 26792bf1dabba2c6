"""Volumes between stages: NIfTI in millimetres on disk, arrays with metre affines in memory."""

import gzip
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


def save_volume(path: Path, data: "np.ndarray[Any, Any]", affine: "np.ndarray[Any, Any]") -> None:
    """Write ``.nii.gz`` with fast compression and no time stamp, so that equal data give equal bytes."""
    import nibabel as nib
    import numpy as np

    millimetres = np.array(affine, dtype=np.float64)
    millimetres[:3] *= 1e3
    image = nib.Nifti1Image(data, millimetres)
    image.header.set_xyzt_units("mm")
    image.set_sform(millimetres, code=2)
    image.set_qform(millimetres, code=2)
    path.write_bytes(gzip.compress(image.to_bytes(), compresslevel=1, mtime=0))


def load_image(path: Path) -> Any:
    """Nibabel image of a file, its samples in memory."""
    import nibabel as nib
    import numpy as np

    image = nib.Nifti1Image.from_bytes(gzip.decompress(path.read_bytes()))
    data = np.asarray(image.dataobj)
    if np.issubdtype(data.dtype, np.floating):
        data = data.astype(np.float32)
    return nib.Nifti1Image(data, image.affine, image.header)


def load_volume(path: Path) -> tuple["np.ndarray[Any, Any]", "np.ndarray[Any, Any]"]:
    """Read the samples (float32) and the affine [m] of a file."""
    import numpy as np

    image = load_image(path)
    affine = np.array(image.affine, dtype=np.float64)
    affine[:3] *= 1e-3
    return np.asarray(image.dataobj, dtype=np.float32), affine


def resample(
    data: "np.ndarray[Any, Any]", index: "np.ndarray[Any, Any]", shape: tuple[int, int, int], *, order: int
) -> "np.ndarray[Any, Any]":
    """Sample a volume at ``index @ (i, j, k, 1)`` for all voxels of a grid, zero outside.

    Parameters
    ----------
    data : array (x, y, z)
    index : array (4, 4)
        Voxel of the new grid -> voxel of ``data``.
    shape : tuple of int
        New grid.
    order : int
        Spline order: 1 or 3.
    """
    import numpy as np
    from scipy.ndimage import affine_transform

    out = np.empty(shape, dtype=np.float32)
    affine_transform(
        np.asarray(data, dtype=np.float32), index[:3, :3], index[:3, 3], output_shape=shape, output=out,
        order=order, mode="constant", cval=0.0,
    )  # fmt: skip
    return out

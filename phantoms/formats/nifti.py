"""Strict reading of single NIfTI volumes that a phantom file refers to, on one grid."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..file_error import PhantomFileError
from .expression import ExpressionError, evaluate

REFERENCE = re.compile(r"(?P<file>.+\.nii(\.gz)?)\[(?P<volume>\d{1,6})\]")
MAX_VOXELS = 512**3
MAX_VALUES = 2**32
"""Of all volumes of one file: a compressed one is unpacked up to the volume that is asked for."""
SAME_GRID = 1e-4
"""Difference between affines [mm] that one grid may have: NIfTI stores them in single precision."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """Voxel counts and affine (4, 4), voxel index (centre) -> world [mm]."""

    shape: tuple[int, ...]
    affine: NDArray[np.float64]

    def same(self, other: Grid) -> bool:
        """Return whether two grids are one."""
        return self.shape == other.shape and bool(np.allclose(self.affine, other.affine, atol=SAME_GRID))


class MapReader:
    """Reads volumes of NIfTI files beside a phantom file.

    Parameters
    ----------
    folder : Path
        Where the files lie; references must not leave it.
    origin : str
        Phantom file named in errors.
    grid : Grid, optional
        Grid to interpolate to. Without it the first map read sets the grid and all others must lie on it.
    """

    def __init__(self, *, folder: Path, origin: str, grid: Grid | None) -> None:
        self.folder = folder
        self.origin = origin
        self.grid = grid
        self._interpolates = grid is not None

    def values(
        self,
        reference: str,
        where: str,
        *,
        func: str | None = None,
        is_complex: bool = False,
        outside: Literal["zero", "border"] = "border",
    ) -> NDArray[Any]:
        """Return the values of a map on the grid, shape (x, y, z).

        Parameters
        ----------
        reference : str
            ``file.nii[k]`` or ``file.nii.gz[k]``, k counted from 0.
        where : str
            Use of the map, for errors.
        func : str, optional
            Expression of x applied to the values on the grid.
        is_complex : bool
            Whether complex values are accepted.
        outside : {'zero', 'border'}
            Value outside the map when it is interpolated.

        Raises
        ------
        PhantomFileError
            With phantom file, use and map.
        """
        image, volume, path = self._open(reference, where)
        try:
            data = np.asanyarray(image.dataobj[..., volume] if len(image.shape) == 4 else image.dataobj)
        except (OSError, ValueError, EOFError) as error:
            raise self._error(where, f"{path} must be a complete NIfTI file; {error}.") from error
        if np.iscomplexobj(data) and not is_complex:
            raise self._error(where, f"{path} must hold real numbers; got {data.dtype}.")
        if data.dtype.kind not in "biufc":
            raise self._error(where, f"{path} must hold numbers; got {data.dtype} (colours?).")
        data = data.astype(np.complex128 if np.iscomplexobj(data) else np.float64)
        data = self._on_grid(data, Grid(shape=data.shape, affine=_affine(image)), where, path, outside)
        if func is None:
            return data
        try:
            return evaluate(func, data)
        except ExpressionError as error:
            raise self._error(where, f"func must be arithmetic; {error}") from error

    def _error(self, where: str, text: str) -> PhantomFileError:
        return PhantomFileError(f"{self.origin}: {where}: {text}")

    def _open(self, reference: str, where: str) -> tuple[Any, int, Path]:
        from nibabel.filebasedimages import ImageFileError
        from nibabel.nifti1 import Nifti1Image
        from nibabel.nifti2 import Nifti2Image
        from nibabel.spatialimages import HeaderDataError

        match = REFERENCE.fullmatch(reference)
        if match is None:
            raise self._error(where, f"a map must be written 'file.nii.gz[k]'; got {reference[:80]!r}.")
        path = self.folder / match["file"]
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise self._error(where, f"maps must lie beside the phantom file; got {match['file']!r}.")
        if not path.is_file():
            raise self._error(
                where,
                f"the map {match['file']!r} must exist in {self.folder}; nothing found there. Fetch it.",
            )
        try:
            second = Nifti2Image.path_maybe_image(path)[0]
            image: Any = (Nifti2Image if second else Nifti1Image).from_filename(path)
        except (ImageFileError, HeaderDataError, OSError, ValueError, EOFError) as error:
            raise self._error(where, f"{path} must be a NIfTI file; {error}.") from error
        self._check_units(image, where, path)
        shape, volume = image.shape, int(match["volume"])
        volumes = shape[3] if len(shape) == 4 else 1
        if len(shape) not in (3, 4) or not 0 < np.prod(shape[:3], dtype=np.int64) <= MAX_VOXELS:
            raise self._error(
                where, f"{path} must have 3 or 4 axes and at most {MAX_VOXELS} voxels; got {shape}."
            )
        if np.prod(shape, dtype=object) > MAX_VALUES:
            raise self._error(where, f"{path} must hold at most {MAX_VALUES} values; got the shape {shape}.")
        if volume >= volumes:
            raise self._error(
                where, f"{path} must have the volume {volume}; it has {volumes}, counted from 0."
            )
        return image, volume, path

    def _check_units(self, image: Any, where: str, path: Path) -> None:
        """Refuse a header that says another unit than mm, and an affine that says nothing."""
        unit = (
            image.header.get_xyzt_units()[0] if int(image.header["xyzt_units"]) & 7 in (0, 1, 2, 3) else "?"
        )
        if unit not in ("mm", "unknown"):
            raise self._error(
                where, f"{path} must have millimetres (xyzt_units); got {unit}. Scale its affine to mm."
            )
        if not np.isfinite(image.affine).all() or np.linalg.det(image.affine[:3, :3]) == 0:
            raise self._error(where, f"{path} must have an invertible affine; got {image.affine.tolist()}.")

    def _on_grid(
        self, data: NDArray[Any], own: Grid, where: str, path: Path, outside: Literal["zero", "border"]
    ) -> NDArray[Any]:
        if self.grid is None:
            self.grid = own
        if self.grid.same(own):
            return data
        if not self._interpolates:
            raise self._error(
                where,
                f"{path} must lie on the grid of the first map, shape {self.grid.shape}; got {own.shape} or "
                "another affine. Add 'reslice_to' to the phantom file.",
            )
        return _interpolated(data, own, self.grid, outside)


def _affine(image: Any) -> NDArray[np.float64]:
    return np.asarray(image.affine, np.float64)


def _interpolated(
    data: NDArray[Any], own: Grid, target: Grid, outside: Literal["zero", "border"]
) -> NDArray[Any]:
    """Return trilinear samples of a map at the voxel centres of another grid."""
    from scipy.ndimage import map_coordinates

    matrix = np.linalg.inv(own.affine) @ target.affine
    index = np.indices(target.shape).reshape(3, -1)
    # Rounded, so that a centre on the border of the map is not outside of it by 1e-16.
    places = np.round(matrix[:3, :3] @ index + matrix[:3, 3:], 9)
    mode = "grid-constant" if outside == "zero" else "nearest"
    return np.asarray(map_coordinates(data, places, order=1, mode=mode, cval=0.0).reshape(target.shape))

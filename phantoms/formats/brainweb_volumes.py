"""Volumes of BrainWeb: grids of the two releases, raw bytes and shorts, MINC, labels and fractions."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..file_error import PhantomFileError

RAW_SHORT_MAX = 4095
"""Shorts are written so that the largest value of the volume's range is this."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """One of the two sets of anatomies: grid, names of the labels 0.. and BrainWeb's range of fuzzy codes."""

    shape: tuple[int, int, int]
    spacing: float
    origin: tuple[float, float, float]
    labels: tuple[str, ...]

    @property
    def affine(self) -> NDArray[np.float64]:
        """Voxel index (centre) -> world [m]."""
        affine = np.diag([self.spacing] * 3 + [1.0])
        affine[:3, 3] = self.origin
        return affine


ONE = Release(
    shape=(181, 217, 181),
    spacing=1e-3,
    origin=(-0.090, -0.126, -0.072),
    labels=("", "csf", "gm", "wm", "fat", "muscle_skin", "skin", "skull", "glial", "connective", "ms_lesion"),
)
"""The first anatomy and its three variants with lesions."""
TWENTY = Release(
    shape=(362, 434, 362),
    spacing=0.5e-3,
    origin=(-0.09025, -0.12625, -0.07225),
    labels=(
        "", "csf", "gm", "wm", "fat", "muscle", "muscle_skin", "skull", "vessels", "around_fat", "dura",
        "marrow",
    ),
)  # fmt: skip
"""The twenty anatomies."""


def labels_of(path: Path, codes: NDArray[Any], release: Release) -> NDArray[np.int64]:
    """Return labels of the codes of a discrete volume, whichever way they are scaled."""
    present = np.unique(codes)
    count = len(release.labels)
    scales = (1.0, RAW_SHORT_MAX / 9, RAW_SHORT_MAX / 10, RAW_SHORT_MAX / 255)
    for scale in scales:
        numbers = np.rint(present / scale)
        # Codes of the twenty anatomies may differ by one from the scaled label.
        if numbers.max() < count and (np.abs(present - numbers * scale) <= (0.01 if scale == 1 else 1)).all():
            return np.rint(codes / scale).astype(np.int64)
    raise PhantomFileError(
        f"{path}: a discrete volume must hold the labels 0..{count - 1}, as they are or scaled to "
        f"0..{RAW_SHORT_MAX}; got codes up to {present.max():g}."
    )


def fraction_of(path: Path, codes: NDArray[Any], kind: str) -> NDArray[np.float32]:
    """Return the fraction that a fuzzy volume codes, told by its background: air holds none of any tissue."""
    faces = np.concatenate([codes[[0, -1]].ravel(), codes[:, [0, -1]].ravel(), codes[:, :, [0, -1]].ravel()])
    air = float(np.median(faces))
    if codes.dtype == np.uint8:
        # "Signed" bytes: 128 codes 0 and 127 codes 255. Vessels have 1 for air instead of 0.
        codes = (codes.astype(np.int16) - 128) % 256 if air in (128, 129) else codes.astype(np.int16)
        top, air = 255.0, 1.0 if air in (1, 129) and kind == "ves" else 0.0
        value = np.where(codes <= air, 0, codes).astype(np.float32)
    elif codes.dtype.kind in "iu":
        top, value = float(RAW_SHORT_MAX), np.maximum(codes.astype(np.float32) - np.float32(air), 0.0)
    else:
        value = codes.astype(np.float32)
        top = 1.0 if value.max() <= 1.001 else 255.0
    value /= np.float32(top)
    if not np.isfinite(value).all() or value.min() < 0 or value.max() > 1.001:
        raise PhantomFileError(f"{path}: fractions must lie in 0..1; got {value.min():g}..{value.max():g}.")
    return np.minimum(value, np.float32(1.0))


def averaged(volume: NDArray[np.float32], edge: int) -> NDArray[np.float32]:
    """Return means over cubes; an incomplete last cube holds air beyond the border."""
    if edge == 1:
        return volume
    pad = [(0, -n % edge) for n in volume.shape]
    a, b, c = (n // edge + (n % edge > 0) for n in volume.shape)
    return np.asarray(np.pad(volume, pad).reshape(a, edge, b, edge, c, edge).mean(axis=(1, 3, 5)), np.float32)


def coarser(affine: NDArray[np.float64], edge: int) -> NDArray[np.float64]:
    """Return the affine of the cubes that `averaged` makes."""
    out = affine.copy()
    out[:3, :3] *= edge
    out[:3, 3] += affine[:3, :3] @ np.full(3, (edge - 1) / 2)
    return out


def read_volume(
    path: Path, shape: tuple[int, int, int] | None
) -> tuple[NDArray[Any], NDArray[np.float64], Release]:
    """Return codes (x, y, z), affine [m] and the release of a volume."""
    if path.name.lower().removesuffix(".gz").endswith((".mnc", ".minc")):
        return _minc(path)
    raw = _bytes(path)
    for release in (ONE, TWENTY):
        size = release.shape if shape is None else shape
        count = int(np.prod(size))
        if len(raw) in (count, 2 * count):
            kind = np.dtype("u1") if len(raw) == count else np.dtype("<u2")
            codes = np.frombuffer(raw, kind).reshape(size[::-1]).transpose(2, 1, 0)
            if kind.itemsize == 2 and codes.max() > RAW_SHORT_MAX + 1:
                codes = codes.byteswap()
            return codes, release.affine, release
    expected = [int(np.prod(r.shape)) for r in (ONE, TWENTY)] if shape is None else [int(np.prod(shape))]
    raise PhantomFileError(
        f"{path}: a raw BrainWeb volume must have {' or '.join(map(str, expected))} bytes or twice as many; "
        f"got {len(raw)}. Give the shape of a cropped one."
    )


def _bytes(path: Path) -> bytes:
    """Return the content, unpacked; no more than the largest volume is ever unpacked."""
    limit = 2 * int(np.prod(TWENTY.shape)) + 1
    try:
        with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
            return file.read(limit)
    except (OSError, EOFError, zlib.error) as error:
        raise PhantomFileError(f"{path}: must be a complete file; {error}.") from error


def _minc(path: Path) -> tuple[NDArray[Any], NDArray[np.float64], Release]:
    import nibabel
    from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

    try:
        image: Any = nibabel.load(path)
        if int(np.prod(image.shape)) > 2 * int(np.prod(TWENTY.shape)):
            raise PhantomFileError(
                f"{path}: a volume must have at most {TWENTY.shape} voxels; got {image.shape}."
            )
        turn = io_orientation(image.affine)
        data = apply_orientation(np.asarray(image.dataobj), turn)
        affine = image.affine @ inv_ornt_aff(turn, image.shape)
    except PhantomFileError:
        raise
    except Exception as error:  # nibabel passes on what netCDF, HDF5 and gzip raise
        raise PhantomFileError(f"{path}: must be a complete MINC volume; {error}.") from error
    if data.ndim != 3 or not np.isfinite(data).all():
        raise PhantomFileError(f"{path}: a volume must have three axes of finite numbers; got {data.shape}.")
    affine = affine.copy()
    affine[:3] *= 1e-3
    spacing = float(np.linalg.norm(affine[:3, 0]))
    return np.asarray(data, np.float64), affine, TWENTY if spacing < 0.75e-3 else ONE

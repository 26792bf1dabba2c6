"""From acquisitions to Cartesian k-space: selection, sorting, readout transform, sampling pattern.

Readouts are transformed along the readout at once and cropped to the reconstructed field of view, so that
everything later works on half the data and on independent slabs in x.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .header import Encoding
from .lines import readout_lines
from .noise import NoiseModel
from .raw import AcquisitionFlag, RawData, RawDataError

__all__ = [
    "CartesianGrid",
    "KSpace",
    "calibration_only",
    "imaging_rows",
    "line_indices",
    "load_kspace",
    "make_grid",
    "sorted_volumes",
]

_NOT_IMAGE = (
    AcquisitionFlag.NOISE
    | AcquisitionFlag.NAVIGATION
    | AcquisitionFlag.PHASE_CORRECTION
    | AcquisitionFlag.HP_FEEDBACK
    | AcquisitionFlag.DUMMY
    | AcquisitionFlag.RT_FEEDBACK
    | AcquisitionFlag.SURFACE_COIL_CORRECTION
    | AcquisitionFlag.PHASE_STABILIZATION_REFERENCE
    | AcquisitionFlag.PHASE_STABILIZATION
)
VOLUME_COUNTERS = ("contrast", "phase", "repetition", "set")


@dataclass(frozen=True, kw_only=True, slots=True)
class CartesianGrid:
    """Matrices along (read, phase, partition).

    encoded : sampled matrix with oversampling;  kept : pixels inside the reconstructed field of view, at
    encoded pixel size;  out : matrix of the reconstructed image;  pixel : size of an output pixel [m]
    """

    encoding: Encoding
    encoded: tuple[int, int, int]
    kept: tuple[int, int, int]
    out: tuple[int, int, int]
    pixel: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class KSpace:
    """One volume or slice: image space along read, k-space along phase and partition.

    lines : (n, coil, x) complex64, one row for each distinct (ky, kz);  ky, kz : (n,) indices on the encoded
    matrix, centre at N // 2;  calibration_only : rows not to be used in the image;
    lattice : offsets of the regular undersampling pattern;  shape : (x, coil, ky, kz)
    """

    lines: NDArray[np.complex64]
    ky: NDArray[np.intp]
    kz: NDArray[np.intp]
    calibration_only: NDArray[np.bool_]
    lattice: tuple[int, int]
    acceleration: tuple[int, int]
    shape: tuple[int, int, int, int]

    def mask(self, *, calibration: bool = False) -> NDArray[np.bool_]:
        """Return the sampled positions (ky, kz); with `calibration`, also of the calibration-only lines."""
        rows = np.ones(len(self.ky), bool) if calibration else ~self.calibration_only
        mask = np.zeros(self.shape[2:], bool)
        mask[self.ky[rows], self.kz[rows]] = True
        return mask

    def lattice_mask(self) -> NDArray[np.bool_]:
        """Return the sampled positions that lie on the regular undersampling pattern."""
        mask = self.mask()
        on = np.zeros_like(mask)
        (oy, oz), (ry, rz) = self.lattice, self.acceleration
        on[oy::ry, oz::rz] = True
        return mask & on

    def slab(self, start: int, stop: int) -> NDArray[np.complex64]:
        """Zero-filled k-space (x, coil, ky, kz) of a range in x."""
        _, coils, ny, nz = self.shape
        rows = ~self.calibration_only
        full = np.zeros((stop - start, coils, ny * nz), np.complex64)
        full[:, :, (self.ky * nz + self.kz)[rows]] = self.lines[rows, :, start:stop].transpose(2, 1, 0)
        return full.reshape(stop - start, coils, ny, nz)


def make_grid(encoding: Encoding, zero_fill: tuple[int, int, int] | None = None) -> CartesianGrid:
    """Matrices of the reconstruction from the header's encoded and reconstructed spaces.

    The kept matrix covers the reconstructed field of view at the encoded pixel size; where the header's
    reconstructed matrix is finer, the image is interpolated by zero filling. `zero_fill` overrides it.
    """
    encoded, pixel = encoding.encoded.matrix, encoding.encoded.pixel
    kept = tuple(
        min(n, max(1, round(fov / p))) for n, fov, p in zip(encoded, encoding.recon.fov, pixel, strict=True)
    )
    # A reconstructed matrix at most one pixel off is rounding of the header's, not an interpolation.
    out = zero_fill or tuple(
        k if abs(k - r) <= 1 and e <= k + 1 else r
        for k, r, e in zip(kept, encoding.recon.matrix, encoded, strict=True)
    )
    size = tuple(k * p / o for k, p, o in zip(kept, pixel, out, strict=True))
    return CartesianGrid(
        encoding=encoding,
        encoded=encoded,
        kept=(kept[0], kept[1], kept[2]),
        out=(out[0], out[1], out[2]),
        pixel=(size[0], size[1], size[2]),
    )


def imaging_rows(raw: RawData, encoding: int = 0) -> NDArray[np.intp]:
    """Return the indices of the acquisitions that belong to an encoding's image or its calibration."""
    rows = np.flatnonzero(~raw.flagged(_NOT_IMAGE) & (raw.heads["encoding_space_ref"] == encoding))
    if not len(rows):
        raise RawDataError(
            f"{raw.source}: no imaging readouts for encoding {encoding}. Choose another encoding."
        )
    if raw.flagged(AcquisitionFlag.COMPRESSED)[rows].any():
        raise RawDataError(f"{raw.source}: compressed readouts are not supported. Decompress the file first.")
    channels = np.unique(raw.heads["active_channels"][rows])
    if len(channels) > 1:
        raise RawDataError(
            f"{raw.source}: imaging readouts have {channels} channels. Keep one coil per file."
        )
    return rows


def calibration_only(raw: RawData) -> NDArray[np.bool_]:
    """Mask (n,) of readouts that calibrate and are no part of the image."""
    return raw.flagged(AcquisitionFlag.CALIBRATION) & ~raw.flagged(AcquisitionFlag.CALIBRATION_AND_IMAGING)


def sorted_volumes(
    raw: RawData, rows: NDArray[np.intp]
) -> list[tuple[dict[str, int], list[NDArray[np.intp]]]]:
    """Group rows by (contrast, phase, repetition, set), then by slice: [(counters, rows per slice), ...].

    Calibration lines that were acquired once serve all volumes: a slice without its own gets those of the
    first volume that has some. They make no volume of their own.
    """
    only = calibration_only(raw)[rows]
    if only.all():
        only = np.zeros_like(only)
    image, reference = rows[~only], rows[only]
    heads = raw.heads[image]
    keys = np.stack([heads[name] for name in VOLUME_COUNTERS], axis=1)
    volumes, member = np.unique(keys, axis=0, return_inverse=True)
    result = []
    for v, key in enumerate(volumes):
        own = image[member.reshape(-1) == v]
        slices = raw.heads["slice"][own]
        parts = [
            np.sort(np.concatenate([own[slices == s], _calibration_of(raw, reference, int(s), key)]))
            for s in np.unique(slices)
        ]
        result.append((dict(zip(VOLUME_COUNTERS, map(int, key), strict=True)), parts))
    return result


def _calibration_of(
    raw: RawData, reference: NDArray[np.intp], number: int, key: NDArray[np.int32]
) -> NDArray[np.intp]:
    """Calibration rows of a slice: of the same volume, else of the first that has some."""
    here = reference[raw.heads["slice"][reference] == number]
    if not len(here):
        return np.asarray(here)
    keys = np.stack([raw.heads[name][here] for name in VOLUME_COUNTERS], axis=1)
    own = (keys == key).all(axis=1)
    return np.asarray(here[own] if own.any() else here[(keys == keys[0]).all(axis=1)])


def load_kspace(
    raw: RawData,
    rows: NDArray[np.intp],
    grid: CartesianGrid,
    noise: NoiseModel,
    correct: Callable[[NDArray[np.intp], NDArray[np.complex64]], NDArray[np.complex64]] | None = None,
) -> KSpace:
    """Sort one volume's (or slice's) readouts into hybrid space; averages are averaged.

    `correct` may change the lines (row, coil, x) of the rows, in image space along the readout, before that.

    Raises
    ------
    RawDataError
        A counter or a readout lies outside the encoded matrix.
    """
    ky = line_indices(raw, rows, grid, 1)
    kz = line_indices(raw, rows, grid, 2)
    only = calibration_only(raw)[rows]
    shared = raw.flagged(AcquisitionFlag.CALIBRATION_AND_IMAGING)[rows]
    lines = readout_lines(raw, rows, grid)
    if correct is not None:
        lines = correct(rows, lines)
    if noise.whitening is not None:
        lines = np.matmul(noise.whitening, lines)
    nz = grid.encoded[2]
    key = (ky * nz + kz) * 2 + only
    unique, first, inverse, counts = np.unique(
        key, return_index=True, return_inverse=True, return_counts=True
    )
    if len(unique) < len(key):
        order = np.argsort(inverse.reshape(-1), kind="stable")
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        lines = np.add.reduceat(lines[order], starts, axis=0) / counts[:, None, None].astype(np.float32)
    else:
        lines = lines[first]
    plain = ~(only | shared)
    acceleration = grid.encoding.acceleration
    pattern = plain if plain.any() else ~only if (~only).any() else np.ones_like(only)
    lattice = (_offset(ky[pattern], acceleration[0]), _offset(kz[pattern], acceleration[1]))
    return KSpace(
        lines=np.ascontiguousarray(lines, np.complex64),
        ky=ky[first],
        kz=kz[first],
        calibration_only=only[first],
        lattice=lattice,
        acceleration=acceleration,
        shape=(grid.kept[0], lines.shape[1], grid.encoded[1], nz),
    )


def _offset(k: NDArray[np.intp], factor: int) -> int:
    return int(np.argmax(np.bincount(k % factor, minlength=factor)))


def line_indices(raw: RawData, rows: NDArray[np.intp], grid: CartesianGrid, axis: int) -> NDArray[np.intp]:
    """Index on the encoded matrix, centre of k-space at N // 2."""
    n = grid.encoded[axis]
    limit = grid.encoding.limits.get(f"kspace_encoding_step_{axis}")
    center = n // 2 if limit is None else limit.center
    values = raw.heads[f"kspace_encode_step_{axis}"][rows].astype(np.intp)
    if limit is not None and limit.center == 0 and values.max() >= n // 2 and values.max() < n:
        center = n // 2  # a centre that was never filled in: the counters span the whole matrix
    index = values + n // 2 - center
    bad = (index < 0) | (index >= n)
    if bad.any():
        i = int(np.argmax(bad))
        raise RawDataError(
            f"{raw.source}: readout {rows[i]}: kspace_encode_step_{axis} = {values[i]} with centre {center} "
            f"lies outside the encoded matrix of {n}. Correct encodingLimits or matrixSize."
        )
    return np.asarray(index)

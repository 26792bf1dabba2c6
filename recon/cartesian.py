"""From acquisitions to Cartesian k-space: selection, sorting, readout transform, sampling pattern.

Readouts are transformed along the readout at once and cropped to the reconstructed field of view, so that
everything later works on half the data and on independent slabs in x.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft as _fft

from .header import Encoding
from .noise import NoiseModel
from .raw import AcquisitionFlag, RawData, RawDataError

__all__ = ["CartesianGrid", "KSpace", "imaging_rows", "load_kspace", "make_grid", "sorted_volumes"]

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
_BATCH = 256


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


def sorted_volumes(
    raw: RawData, rows: NDArray[np.intp]
) -> list[tuple[dict[str, int], list[NDArray[np.intp]]]]:
    """Group rows by (contrast, phase, repetition, set), then by slice: [(counters, rows per slice), ...]."""
    heads = raw.heads[rows]
    keys = np.stack([heads[name] for name in VOLUME_COUNTERS], axis=1)
    volumes, member = np.unique(keys, axis=0, return_inverse=True)
    result = []
    for v, key in enumerate(volumes):
        own = rows[member.reshape(-1) == v]
        slices = raw.heads["slice"][own]
        parts = [own[slices == s] for s in np.unique(slices)]
        result.append((dict(zip(VOLUME_COUNTERS, map(int, key), strict=True)), parts))
    return result


def load_kspace(raw: RawData, rows: NDArray[np.intp], grid: CartesianGrid, noise: NoiseModel) -> KSpace:
    """Sort one volume's (or slice's) readouts into hybrid space; averages are averaged.

    Raises
    ------
    RawDataError
        A counter or a readout lies outside the encoded matrix.
    """
    ky = _counter(raw, rows, grid, 1)
    kz = _counter(raw, rows, grid, 2)
    only = (raw.flagged(AcquisitionFlag.CALIBRATION) & ~raw.flagged(AcquisitionFlag.CALIBRATION_AND_IMAGING))[
        rows
    ]
    shared = raw.flagged(AcquisitionFlag.CALIBRATION_AND_IMAGING)[rows]
    lines = _readouts(raw, rows, grid)
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


def _counter(raw: RawData, rows: NDArray[np.intp], grid: CartesianGrid, axis: int) -> NDArray[np.intp]:
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
    return index


def _readouts(raw: RawData, rows: NDArray[np.intp], grid: CartesianGrid) -> NDArray[np.complex64]:
    """Image-space readouts (row, coil, x), oversampling removed, in the order of `rows`."""
    coils = int(raw.heads["active_channels"][rows[0]])
    result = np.empty((len(rows), coils, grid.kept[0]), np.complex64)
    place = np.full(len(raw.heads), -1, np.intp)
    place[rows] = np.arange(len(rows))
    reverse = raw.flagged(AcquisitionFlag.REVERSE)
    for group in raw.groups:
        inside = np.flatnonzero(place[group.index] >= 0)
        if not len(inside):
            continue
        heads = raw.heads[group.index[inside]]
        kinds = np.stack(
            [
                heads["discard_pre"],
                heads["discard_post"],
                heads["center_sample"],
                reverse[group.index[inside]],
            ],
            axis=1,
        )
        for kind in np.unique(kinds, axis=0):
            own = inside[(kinds == kind).all(axis=1)]
            where = _placement(raw, int(group.index[own[0]]), kind, group.data.shape[2], grid.encoded[0])
            for i in range(0, len(own), _BATCH):
                part = own[i : i + _BATCH]
                result[place[group.index[part]]] = _transform(group.data[part], where, grid)
    return result


def _placement(raw: RawData, row: int, kind: NDArray[Any], samples: int, n: int) -> tuple[slice, int]:
    """Slice of the stored samples to use and the index of its first sample on the encoded matrix."""
    pre, post, center, reverse = (int(v) for v in kind)
    kept = samples - pre - post
    if center == 0 and kept == n:
        center = n // 2  # never filled in by the writer: a full symmetric readout
    if reverse:
        center = samples - 1 - center
        pick = slice(samples - 1 - post, pre - 1 if pre else None, -1)
        start = n // 2 - (center - post)
    else:
        pick = slice(pre, samples - post)
        start = n // 2 - (center - pre)
    if start == 1 and reverse and kept == n:
        start = 0  # N // 2 written for both directions: the readout is symmetric about the centre
    if start < 0 or start + kept > n:
        raise RawDataError(
            f"{raw.source}: readout {row}: {kept} samples with center_sample {int(kind[2])} do not fit the "
            f"encoded matrix of {n}. Correct center_sample or encodedSpace."
        )
    return pick, start


def _transform(
    data: NDArray[np.complex64], where: tuple[slice, int], grid: CartesianGrid
) -> NDArray[np.complex64]:
    """Zero-fill, inverse transform and crop readouts; shifts are folded into the copies."""
    pick, start = where
    samples = data[:, :, pick]
    n, keep = grid.encoded[0], grid.kept[0]
    half, count = n // 2, samples.shape[2]
    buffer = np.zeros((*data.shape[:2], n), np.complex64)
    low = max(0, min(count, half - start))  # samples before the centre of the matrix
    buffer[:, :, n - half + start : n - half + start + low] = samples[:, :, :low]
    first = start + low - half
    buffer[:, :, first : first + count - low] = samples[:, :, low:]
    image = _fft.ifft(buffer, axis=2, norm="ortho", overwrite_x=True, workers=1)
    out = np.empty((*data.shape[:2], keep), np.complex64)
    out[:, :, keep // 2 :] = image[:, :, : keep - keep // 2]
    out[:, :, : keep // 2] = image[:, :, n - keep // 2 :]
    return out

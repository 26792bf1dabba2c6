"""Readouts to image space along the read axis: reversal, zero filling, regridding of ramps, cropping."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft as _fft

from .errors import RawDataError
from .raw import AcquisitionFlag, RawData, ReadoutGroup

if TYPE_CHECKING:
    from .cartesian import CartesianGrid

__all__ = ["line_positions", "readout_lines", "regrid_matrix"]

_BATCH = 256
_REGULARISATION = 1e-4
_MAX_MATRIX = 2**26


def readout_lines(raw: RawData, rows: NDArray[np.intp], grid: CartesianGrid) -> NDArray[np.complex64]:
    """Image-space readouts (row, coil, x), oversampling removed, in the order of `rows`.

    Lines of an echo train whose samples are not equidistant in k (sampling on the ramps) are regridded where
    the header describes the readout; all others are Fourier transformed.

    Raises
    ------
    RawDataError
        A readout lies outside the encoded matrix.
    """
    coils = int(raw.heads["active_channels"][rows[0]])
    result = np.empty((len(rows), coils, grid.kept[0]), np.complex64)
    place = np.full(len(raw.heads), -1, np.intp)
    place[rows] = np.arange(len(rows))
    for group in raw.groups:
        inside = np.flatnonzero(place[group.index] >= 0)
        if not len(inside):
            continue
        if grid.encoding.trajectory == "epi" and grid.encoding.epi is not None:
            _regridded(raw, group, inside, grid, result, place)
        else:
            _transformed(raw, group, inside, grid, result, place)
    return result


def _transformed(
    raw: RawData,
    group: ReadoutGroup,
    inside: NDArray[np.intp],
    grid: CartesianGrid,
    result: NDArray[np.complex64],
    place: NDArray[np.intp],
) -> None:
    """Equidistant readouts of one shape."""
    heads = raw.heads[group.index[inside]]
    reverse = raw.flagged(AcquisitionFlag.REVERSE)[group.index[inside]]
    names = ("discard_pre", "discard_post", "center_sample")
    kinds = np.stack([*(heads[name] for name in names), reverse], axis=1)
    for kind in np.unique(kinds, axis=0):
        own = inside[(kinds == kind).all(axis=1)]
        where = _placement(raw, int(group.index[own[0]]), kind, group.data.shape[2], grid.encoded[0])
        for i in range(0, len(own), _BATCH):
            part = own[i : i + _BATCH]
            result[place[group.index[part]]] = _transform(group.data[part], where, grid)


def _regridded(
    raw: RawData,
    group: ReadoutGroup,
    inside: NDArray[np.intp],
    grid: CartesianGrid,
    result: NDArray[np.complex64],
    place: NDArray[np.intp],
) -> None:
    """Readouts of one shape whose samples lie anywhere on their line."""
    positions = line_positions(raw, group, inside, grid)
    kinds, which = np.unique(np.round(positions, 3), axis=0, return_inverse=True)
    for number in range(len(kinds)):
        own = inside[which.reshape(-1) == number]
        to_image = _line_to_image(kinds[number].tobytes(), grid.encoded[0], grid.kept[0])
        for i in range(0, len(own), _BATCH):
            part = own[i : i + _BATCH]
            result[place[group.index[part]]] = group.data[part] @ to_image


@lru_cache(maxsize=32)
def _line_to_image(positions: bytes, n: int, keep: int) -> NDArray[np.complex64]:
    """Matrix (sample, x) from samples at positions (NaN: not used) to the kept pixels."""
    where = np.frombuffer(positions)
    # Position x of the kept pixels in units of the encoded field of view.
    x = (np.arange(keep) - keep // 2) / n
    fourier = np.exp(2j * np.pi * np.outer(x, np.arange(n) - n // 2)) / np.sqrt(n)
    used = np.isfinite(where)
    matrix = np.zeros((len(where), keep), np.complex64)
    matrix[used] = (fourier @ regrid_matrix(where[used], n)).T
    return matrix


def line_positions(
    raw: RawData, group: ReadoutGroup, inside: NDArray[np.intp], grid: CartesianGrid
) -> NDArray[np.float64]:
    """Find k along the read axis of every sample [1 / encoded field of view]: (row, sample), NaN if cut.

    The stored trajectory where there is one, else the trapezoid of the header, with the samples' extent that
    of the encoded matrix; reversed lines fall.

    Raises
    ------
    RawDataError
        The stored positions of a line move along the phase axis by more than a fifth of a line.
    """
    heads, samples = raw.heads[group.index[inside]], group.data.shape[2]
    n = grid.encoded[0]
    if samples * max(n, samples) > _MAX_MATRIX:
        raise RawDataError(
            f"{raw.source}: readout {group.index[inside[0]]}: {samples} samples on a matrix of {n} are too "
            "many for an EPI line. Take out trajectoryDescription to have the trajectory gridded."
        )
    if group.trajectory is not None:
        stored = group.trajectory[inside].astype(np.float64)
        if np.abs(stored).max() <= 0.75:  # cycles per pixel, as of the ISMRMRD convention
            stored = stored * np.asarray((*grid.encoded, 1)[: stored.shape[2]], float)
        if stored.shape[2] > 1 and np.ptp(stored[:, :, 1], axis=1).max() > 0.2:
            i = int(np.argmax(np.ptp(stored[:, :, 1], axis=1)))
            raise RawDataError(
                f"{raw.source}: readout {group.index[inside[i]]}: an EPI line must stay at one phase "
                f"encoding; it moves by {np.ptp(stored[i, :, 1]):.2f} lines. Take out trajectoryDescription "
                "to have the trajectory gridded."
            )
        positions = stored[:, :, 0]
    else:
        description = grid.encoding.epi
        assert description is not None  # asked for only where the header describes the readout
        fov = grid.encoding.encoded.fov[0]
        line = description.positions(samples, fov, n / fov)
        reverse = raw.flagged(AcquisitionFlag.REVERSE)[group.index[inside]]
        positions = np.where(reverse[:, None], -line, line)
    if np.abs(positions).max() > 4 * n:
        raise RawDataError(
            f"{raw.source}: samples of an EPI line lie at up to {np.abs(positions).max():.3g} / FOV, the "
            f"encoded matrix reaches {n / 2:g}. Correct the trajectory or its description."
        )
    index = np.arange(samples)
    outside = (index < heads["discard_pre"][:, None]) | (index >= samples - heads["discard_post"][:, None])
    return np.asarray(np.where(outside, np.nan, positions))


def regrid_matrix(
    positions: NDArray[np.float64], n: int, regularisation: float = _REGULARISATION
) -> NDArray[np.float64]:
    """Matrix (n, samples) from samples anywhere on a line to the n equidistant ones of an encoded matrix.

    The minimum-norm interpolation of a signal whose object fills the encoded field of view: S (G + eps)^-1
    with G and S the sinc kernel between samples and from samples to grid (uniform resampling of Rosenfeld
    1998, doi:10.1002/mrm.1910400103, in its minimum-norm form). Equidistant samples return unchanged.

    Parameters
    ----------
    positions
        k of the samples [1 / field of view], (samples,).
    n
        Points of the grid, k = 0 at n // 2.
    regularisation
        Tikhonov term relative to the kernel's diagonal; it averages samples denser than the grid.
    """
    grid = np.arange(n) - n // 2
    gram = np.sinc(positions[:, None] - positions[None, :])
    gram[np.diag_indices_from(gram)] += regularisation
    return np.asarray(np.linalg.solve(gram, np.sinc(positions[:, None] - grid[None, :])).T)


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

"""From raw data to an image: the stages in their order."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cartesian import CartesianGrid, imaging_rows, load_kspace, make_grid, sorted_volumes
from .coils import CoilMaps, walsh_maps
from .fourier import fft_centred, ifft_centred, resize_centred
from .geometry import image_affine, slice_order, to_canonical
from .gridding import grid_volume, has_trajectory
from .intensity import receive_profile, scale_to_bits
from .nifti import write_nifti
from .noise import NoiseModel, noise_covariance
from .options import Image, ReconOptions
from .raw import AcquisitionFlag, RawData, RawDataError, read_raw
from .sidecar import bids_sidecar
from .volume import Record, combine_coils, reconstruct_cartesian
from .windows import filter_and_interpolate

__all__ = ["reconstruct", "reconstruct_file"]

_IGNORED = {
    "phase-correction": AcquisitionFlag.PHASE_CORRECTION,
    "navigator": AcquisitionFlag.NAVIGATION,
    "dummy": AcquisitionFlag.DUMMY,
    "feedback": AcquisitionFlag.HP_FEEDBACK | AcquisitionFlag.RT_FEEDBACK,
    "surface-coil correction": AcquisitionFlag.SURFACE_COIL_CORRECTION,
}


def reconstruct(raw: RawData, options: ReconOptions | None = None) -> Image:
    """Reconstruct all volumes of one encoding.

    Parameters
    ----------
    raw
        A measurement, as read by `read_raw`.
    options
        The stages; by default GRAPPA where accelerated, homodyne where partial, adaptive combination.

    Returns
    -------
    Image
        Magnitudes (float32, or integers with `options.bits`) or complex64; one volume for each combination
        of contrast, phase, repetition and set.

    Raises
    ------
    RawDataError
        The measurement cannot be sorted into the k-space that its header describes.
    """
    options = options or ReconOptions()
    if options.encoding >= len(raw.header.encodings):
        raise RawDataError(
            f"{raw.source}: encoding {options.encoding} asked for; the header has "
            f"{len(raw.header.encodings)}. Choose another encoding."
        )
    rows = imaging_rows(raw, options.encoding)
    grid = make_grid(raw.header.encodings[options.encoding], options.zero_fill)
    noise = noise_covariance(raw) if options.prewhiten else NoiseModel(note="no prewhitening asked for")
    record = Record(notes=[*raw.notes, noise.note])
    _note_ignored(raw, record)
    griddable = has_trajectory(raw, rows, grid)
    volumes = sorted_volumes(raw, rows)
    images, first = [], []
    for _, slices in volumes:
        ordered = slice_order(raw, slices)
        if len(ordered) > 1 and grid.encoded[2] > 1:
            raise RawDataError(
                f"{raw.source}: {len(ordered)} slabs of {grid.encoded[2]} partitions: multi-slab data are "
                "not supported. Split the file by slice counter."
            )
        first.append(np.array([part[0] for part in ordered]))
        make = _gridded if griddable else _cartesian
        images.append(
            np.concatenate([make(raw, part, grid, noise, options, record) for part in ordered], axis=2)
        )
    if len({i.shape for i in images}) > 1:
        raise RawDataError(f"{raw.source}: volumes have different numbers of slices. Split the file.")
    data = images[0] if len(images) == 1 else np.stack(images, axis=3)
    stacked = len(first[0]) > 1 or grid.encoded[2] == 1
    affine, notes = image_affine(raw, first[0], grid.out, grid.pixel, centred_slices=not stacked)
    for text in notes:
        record.note(text)
    record.recipe |= {"options": asdict(options), "noise_sigma": noise.sigma}
    if len(volumes) > 1:
        record.recipe["volumes"] = [key for key, _ in volumes]
    return _finish(data, affine, bids_sidecar(raw, rows, grid, options, record.recipe), options, record)


def reconstruct_file(
    raw_path: str | Path, nifti_path: str | Path, options: ReconOptions | None = None
) -> Image:
    """Read a raw data file, reconstruct it, write NIfTI and sidecar, and return the image."""
    image = reconstruct(read_raw(raw_path), options)
    write_nifti(nifti_path, image)
    return image


def _note_ignored(raw: RawData, record: Record) -> None:
    for name, flag in _IGNORED.items():
        count = int(raw.flagged(flag).sum())
        if count:
            record.note(f"{count} {name} readouts ignored")


def _cartesian(
    raw: RawData,
    rows: NDArray[np.intp],
    grid: CartesianGrid,
    noise: NoiseModel,
    options: ReconOptions,
    record: Record,
) -> NDArray[Any]:
    kspace = load_kspace(raw, rows, grid, noise)
    return reconstruct_cartesian(kspace, grid, options, record, raw.source)


def _gridded(
    raw: RawData,
    rows: NDArray[np.intp],
    grid: CartesianGrid,
    noise: NoiseModel,
    options: ReconOptions,
    record: Record,
) -> NDArray[Any]:
    """Coil images from the stored trajectory, filtered and combined."""
    record.recipe["acceleration_method"] = "none"
    record.note(f"stored trajectory gridded (header says '{grid.encoding.trajectory}')")
    images = grid_volume(raw, rows, grid, noise)
    if options.window.active:
        images = np.stack([filter_and_interpolate(c, options.window, grid.out) for c in images])
    maps = None
    if options.combine != "rss" and len(images) > 1:
        shape = tuple(min(n, 64) for n in grid.out)
        low = ifft_centred(resize_centred(fft_centred(images, (1, 2, 3)), shape, (1, 2, 3)), (1, 2, 3))
        maps = CoilMaps(maps=walsh_maps(low, size=5))
    if len(images) == 1:
        return np.asarray(images[0])
    return combine_coils(maps, options)(images.swapaxes(0, 1), 0, grid.out)


def _finish(
    data: NDArray[Any],
    affine: NDArray[np.float64],
    sidecar: dict[str, Any],
    options: ReconOptions,
    record: Record,
) -> Image:
    """Magnitude, receive profile, scaling and axis order."""
    if options.magnitude:
        data = np.abs(data)
    if options.intensity_correction != "none":
        size = np.linalg.norm(affine[:3, :3], axis=0)
        mean = np.abs(data) if data.ndim == 3 else np.abs(data).mean(axis=3)
        profile = receive_profile(mean, tuple(size), width=options.profile_width)
        data = data / (profile if data.ndim == 3 else profile[..., None])
        record.note("receive profile estimated from the image itself and divided out (prescan_normalize)")
        sidecar["IntensityNormalization"] = options.intensity_correction
    if options.bits is not None:
        data, factor = scale_to_bits(data, options.bits)
        record.recipe["intensity_scale"] = factor
    if options.canonical:
        data, affine = to_canonical(data, affine)
    meta = {"sidecar": sidecar, "recipe": record.recipe, "notes": record.notes}
    return Image(data=np.ascontiguousarray(data), affine=affine, meta=meta)

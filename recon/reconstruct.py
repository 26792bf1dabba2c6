"""From raw data to an image: the stages in their order."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cartesian import imaging_rows, make_grid, sorted_volumes
from .diffusion import bvectors, volume_diffusion
from .distortion import correct_distortion
from .geometry import canonical_axes, image_affine, to_canonical
from .intensity import receive_profile, scale_to_bits
from .nifti import write_nifti
from .noise import NoiseModel, noise_covariance
from .options import Image, ReconOptions
from .raw import AcquisitionFlag, RawData, RawDataError, read_raw
from .sidecar import bids_sidecar
from .stages import Job
from .volume import Record
from .volume_sidecar import stack_sidecars, volume_sidecar

__all__ = ["reconstruct", "reconstruct_file", "reconstruct_volumes"]

_IGNORED = {
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
        of contrast, phase, repetition and set.  Values that differ between volumes are lists in the sidecar;
        ``meta["diffusion"]`` holds b-values [s/mm^2] and directions in image axes where there are some.

    Raises
    ------
    RawDataError
        The measurement cannot be sorted into the k-space that its header describes.
    """
    return _series(raw, options or ReconOptions())[0]


def reconstruct_volumes(raw: RawData, options: ReconOptions | None = None) -> tuple[Image, ...]:
    """Reconstruct as `reconstruct`, one three-dimensional image with its own sidecar for each volume.

    Intensities are scaled over the series as a whole; ``meta["counters"]`` tells contrast, phase,
    repetition and set of each.
    """
    image, keys, sidecars = _series(raw, options or ReconOptions())
    data = image.data if image.data.ndim == 4 else image.data[..., None]
    images = []
    for number, (key, own) in enumerate(zip(keys, sidecars, strict=True)):
        meta = {**image.meta, "sidecar": {**image.meta["sidecar"], **own}, "counters": key}
        if "diffusion" in meta:
            meta["diffusion"] = {
                "bval": [meta["diffusion"]["bval"][number]],
                "bvec": [[row[number]] for row in meta["diffusion"]["bvec"]],
            }
        images.append(
            Image(data=np.ascontiguousarray(data[..., number]), affine=image.affine.copy(), meta=meta)
        )
    return tuple(images)


def reconstruct_file(
    raw_path: str | Path, nifti_path: str | Path, options: ReconOptions | None = None
) -> Image:
    """Read a raw data file, reconstruct it, write NIfTI and sidecar, and return the image."""
    image = reconstruct(read_raw(raw_path), options)
    write_nifti(nifti_path, image)
    return image


def make_job(raw: RawData, options: ReconOptions) -> Job:
    """Check a measurement and collect what its volumes have in common."""
    if options.encoding >= len(raw.header.encodings):
        raise RawDataError(
            f"{raw.source}: encoding {options.encoding} asked for; the header has "
            f"{len(raw.header.encodings)}. Choose another encoding."
        )
    rows = imaging_rows(raw, options.encoding)
    noise = noise_covariance(raw) if options.prewhiten else NoiseModel(note="no prewhitening asked for")
    record = Record(notes=[*raw.notes, noise.note])
    grid = make_grid(raw.header.encodings[options.encoding], options.zero_fill)
    return Job(raw=raw, rows=rows, grid=grid, noise=noise, options=options, record=record)


def _series(raw: RawData, options: ReconOptions) -> tuple[Image, list[dict[str, int]], list[dict[str, Any]]]:
    """Image of all volumes, their counters and what is particular to each sidecar."""
    job = make_job(raw, options)
    grid, record = job.grid, job.record
    volumes = sorted_volumes(raw, job.rows)
    if options.shared_maps:
        job.share_maps([slices for _, slices in volumes])
    images, first = [], []
    for _, slices in volumes:
        data, rows = job.volume(slices)
        images.append(data)
        first.append(rows)
    if len({i.shape for i in images}) > 1:
        raise RawDataError(f"{raw.source}: volumes have different numbers of slices. Split the file.")
    data = images[0] if len(images) == 1 else np.stack(images, axis=3)
    stacked = len(first[0]) > 1 or grid.encoded[2] == 1
    affine, notes = image_affine(raw, first[0], grid.out, grid.pixel, centred_slices=not stacked)
    for text in notes:
        record.note(text)
    _note_ignored(job)
    record.recipe |= {"options": asdict(options), "noise_sigma": job.noise.sigma}
    keys = [key for key, _ in volumes]
    if len(volumes) > 1:
        record.recipe["volumes"] = keys
    base = bids_sidecar(raw, job.rows, grid, options, record.recipe)
    if len(first[0]) > 1:
        base["SpacingBetweenSlices"] = round(1e3 * float(np.linalg.norm(affine[:3, 2])), 6)
    data, affine, permuted = _finish(data, affine, base, job)
    own = [volume_sidecar(raw, key, keys, np.concatenate(slices), grid, permuted) for key, slices in volumes]
    meta: dict[str, Any] = {
        "sidecar": base | stack_sidecars(own),
        "recipe": record.recipe,
        "notes": record.notes,
    }
    weighting = volume_diffusion(raw, keys)
    if weighting is not None:
        meta["diffusion"] = {
            "bval": [float(b) for b in np.round(weighting[0] * 1e-6, 6)],
            "bvec": bvectors(weighting[1], affine).tolist(),
        }
    return Image(data=np.ascontiguousarray(data), affine=affine, meta=meta), keys, own


def _note_ignored(job: Job) -> None:
    raw, ghost = job.raw, job.ghost
    ignored = dict(_IGNORED)
    if ghost is not None and ghost.phases:
        shifts = [p["shift_samples"] for p in ghost.phases]
        source = "the image's entropy" if job.options.ghost_correction == "entropy" else "navigators"
        job.record.recipe["ghost_correction"] = ghost.phases[:4096]
        job.record.note(
            f"odd and even lines aligned from {source}: {float(np.median(shifts)):+.4f} samples (median)"
        )
    else:
        ignored["phase-correction"] = AcquisitionFlag.PHASE_CORRECTION
    for name, flag in ignored.items():
        count = int(raw.flagged(flag).sum())
        if count:
            job.record.note(f"{count} {name} readouts ignored")


def _finish(
    data: NDArray[Any], affine: NDArray[np.float64], sidecar: dict[str, Any], job: Job
) -> tuple[NDArray[Any], NDArray[np.float64], tuple[tuple[int, ...], tuple[int, ...]]]:
    """Magnitude, distortion, receive profile, scaling and axis order."""
    options, record = job.options, job.record
    if options.magnitude:
        data = np.abs(data)
    if options.distortion_correction != "none":
        data = correct_distortion(data, affine, job.raw, options, sidecar, record)
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
        if options.scaling == "philips":
            data = data * np.float32(options.rescale_slope)
            sidecar |= {
                "PhilipsRescaleSlope": options.rescale_slope,
                "PhilipsRescaleIntercept": 0.0,
                "PhilipsScaleSlope": factor,
                "UsePhilipsFloatNotDisplayScaling": 0,
            }
    order, sign = canonical_axes(affine) if options.canonical else ((0, 1, 2), (1, 1, 1))
    if options.canonical:
        data, affine = to_canonical(data, affine)
    return data, affine, (order, sign)

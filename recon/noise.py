"""Receiver noise: covariance from the noise scan and prewhitening."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .raw import AcquisitionFlag, RawData

__all__ = ["NoiseModel", "noise_covariance", "whitening_matrix"]


@dataclass(frozen=True, kw_only=True, slots=True)
class NoiseModel:
    """Noise of the imaging readouts.

    covariance : E[n n^H] of one complex sample, shape (coil, coil), or None where the file has no noise scan
    whitening : matrix (coil, coil) complex64 to apply to the coils
    sigma : standard deviation of one real component of a whitened sample, or None
    note : one sentence for the reconstruction's record
    """

    covariance: NDArray[np.complex128] | None = None
    whitening: NDArray[np.complex64] | None = None
    sigma: float | None = None
    note: str = ""


def whitening_matrix(covariance: NDArray[np.complex128]) -> NDArray[np.complex64]:
    """Matrix W with W Psi W^H = mean(diag Psi) * identity.

    The usual whitening L^-1 (Psi = L L^H) turns the data into units of their own noise, so that the image
    brightness would depend on the noise level; the factor keeps the data's units (mean noise power
    unchanged).
    """
    lower = np.linalg.cholesky(covariance)
    scale = np.sqrt(np.trace(covariance).real / len(covariance))
    return np.asarray(scale * np.linalg.inv(lower), np.complex64)


def noise_covariance(raw: RawData) -> NoiseModel:
    """Noise covariance of the imaging readouts from the readouts flagged as noise measurements.

    The variance of a sample is proportional to the receiver bandwidth, so the measured covariance is
    multiplied by the ratio of the noise scan's dwell time to the imaging dwell time, and divided by the
    header's relative receiver noise bandwidth (Kellman and McVeigh 2005, doi:10.1002/mrm.20713).
    """
    noise = raw.flagged(AcquisitionFlag.NOISE)
    if not noise.any():
        return _identity("no noise scan: coils taken as uncorrelated with equal noise")
    imaging = raw.heads[~noise]
    channels = np.unique(imaging["active_channels"]) if len(imaging) else np.empty(0, int)
    parts = [g for g in raw.groups if noise[g.index].any() and g.data.shape[1] in channels]
    if len(channels) != 1 or not parts:
        return _identity("noise scan ignored: its channels differ from the imaging channels")
    samples = np.concatenate([_samples(raw, g.index, g.data, noise) for g in parts], axis=1)
    coils, count = samples.shape
    if count < 4 * coils:
        return _identity(f"noise scan ignored: {count} samples are too few for {coils} coils")
    samples -= samples.mean(axis=1, keepdims=True)
    covariance = samples @ samples.conj().T / (count - 1)
    if np.linalg.eigvalsh(covariance)[0] <= 1e-10 * np.trace(covariance).real:
        return _identity("noise scan ignored: its covariance is singular")
    ratio, note = _bandwidth_ratio(raw, noise)
    covariance = covariance * ratio
    sigma = float(np.sqrt(np.trace(covariance).real / coils / 2))
    return NoiseModel(
        covariance=covariance,
        whitening=whitening_matrix(covariance),
        sigma=sigma,
        note=f"prewhitened, {note}",
    )


def _identity(note: str) -> NoiseModel:
    return NoiseModel(note=note)


def _samples(
    raw: RawData, index: NDArray[np.intp], data: NDArray[np.complex64], noise: NDArray[np.bool_]
) -> NDArray[np.complex128]:
    rows = np.flatnonzero(noise[index])
    head = raw.heads[index[rows[0]]]
    kept = data[rows, :, head["discard_pre"] : data.shape[2] - head["discard_post"]]
    return np.moveaxis(kept, 1, 0).reshape(data.shape[1], -1).astype(np.complex128)


def _bandwidth_ratio(raw: RawData, noise: NDArray[np.bool_]) -> tuple[float, str]:
    dwell_noise = float(np.median(raw.heads["sample_time_us"][noise]))
    dwell_image = float(np.median(raw.heads["sample_time_us"][~noise]))
    if dwell_noise <= 0 or dwell_image <= 0:
        return 1.0, "dwell times unknown, no bandwidth scaling"
    ratio = dwell_noise / dwell_image / raw.header.noise_bandwidth
    return ratio, f"noise bandwidth ratio {ratio:.4g}"

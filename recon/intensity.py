"""Receive-profile correction and integer scaling of finished images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["receive_profile", "scale_to_bits"]

Floats = NDArray[np.float32]


def receive_profile(
    image: Floats, voxel_size: tuple[float, float, float], *, width: float = 0.03, floor: float = 0.1
) -> Floats:
    """Smooth receive profile of a magnitude image, mean 1 over the object.

    There is no body-coil reference in the data, so the profile is the object's own brightness smoothed over
    its support: a normalised convolution with a Gaussian of standard deviation `width` [m].  It takes out
    what varies slowly, anatomy included: a filter of the SCIC kind, not a measured B1-.

    Parameters
    ----------
    image
        Magnitudes, shape (x, y, z).
    voxel_size
        Size of a voxel [m].
    width
        Standard deviation of the Gaussian [m].
    floor
        Fraction of the 99th percentile below which a voxel counts as background; the profile is kept above
        the same fraction of its maximum.
    """
    # A Gaussian of `width` needs samples every width / 3 only: averages over blocks of that size.
    factors = tuple(max(1, min(n, int(width / 3 / v))) for n, v in zip(image.shape, voxel_size, strict=True))
    low = _block_mean(image, factors)
    support = (low > floor * np.percentile(low, 99)).astype(np.float32)
    if not support.any():
        return np.ones_like(image)
    sigma = [width / (f * v) for f, v in zip(factors, voxel_size, strict=True)]
    smooth = ndimage.gaussian_filter(low * support, sigma, mode="constant")
    weight = ndimage.gaussian_filter(support, sigma, mode="constant")
    profile: Any = smooth / np.maximum(weight, 1e-3)
    profile /= float(profile[support > 0].mean())
    profile = np.maximum(profile, floor * profile.max())
    for axis, (n, f) in enumerate(zip(image.shape, factors, strict=True)):
        profile = np.moveaxis(np.tensordot(_interpolation(n, f), profile, axes=(1, axis)), 0, axis)
    return np.asarray(profile, np.float32)


def _block_mean(image: Floats, factors: tuple[int, ...]) -> Floats:
    for axis, f in enumerate(factors):
        starts = np.arange(0, image.shape[axis], f)
        counts = np.diff(np.append(starts, image.shape[axis])).astype(np.float32)
        shape = [-1 if a == axis else 1 for a in range(image.ndim)]
        image = np.asarray(np.add.reduceat(image, starts, axis=axis) / counts.reshape(shape), np.float32)
    return image


def _interpolation(n: int, factor: int) -> Floats:
    """Linear interpolation (n, blocks) from block centres to voxels, constant beyond the outer centres."""
    starts = np.arange(0, n, factor)
    centres = 0.5 * (starts + np.minimum(starts + factor, n) - 1)
    return np.stack([np.interp(np.arange(n), centres, unit) for unit in np.eye(len(starts))], axis=1).astype(
        np.float32
    )


def scale_to_bits(data: Floats, bits: int) -> tuple[NDArray[Any], float]:
    """Round to integers 0 .. 2^bits - 1 with the series maximum at the top; returns data and the factor."""
    top = float(data.max())
    factor = (2**bits - 1) / top if top > 0 else 1.0
    dtype = np.int16 if bits < 16 else np.uint16
    return np.rint(np.clip(data, 0, None) * factor).astype(dtype), factor

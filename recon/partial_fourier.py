"""Partial Fourier along phase or partition: zero filling, homodyne detection, POCS."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .fourier import fft_centred, ifft_centred

__all__ = ["PARTIAL_FOURIER", "homodyne", "pocs", "sampled_range"]

PARTIAL_FOURIER = ("zero", "homodyne", "pocs")

Complex = NDArray[np.complex64]


def sampled_range(mask: NDArray[np.bool_], factor: int) -> tuple[int, int] | None:
    """First and one past the last sampled index, or None where the coverage is symmetric about the centre.

    Symmetric truncation is a lower resolution, not partial Fourier; `factor` is the undersampling, by which
    the ends of a full pattern may be short.
    """
    n = len(mask)
    found = np.flatnonzero(mask)
    low, high = int(found[0]), int(found[-1]) + 1
    missing_low, missing_high = low, n - high
    if abs(missing_low - missing_high) <= max(2, factor):
        return None
    if min(n // 2 - low, high - 1 - n // 2) < 1:
        return None  # the centre itself is at the edge: nothing to estimate the phase from
    # The dense side is complete but for the lattice; take its end as sampled.
    return (low, n) if missing_low > missing_high else (0, high)


def _positions(n: int, sampled: tuple[int, int], center: float | None) -> tuple[NDArray[np.float64], float]:
    """Distance from the centre towards the acquired side, and half width of the symmetric centre."""
    low, high = sampled
    center = n // 2 if center is None else center
    half = min(center - low, high - 1 - center)
    k = np.arange(n) - center
    return np.asarray(k if low > 0 else -k, float), half


def _along(weights: NDArray[np.float64], ndim: int, axis: int) -> NDArray[np.float32]:
    return weights.astype(np.float32).reshape([-1 if a == axis else 1 for a in range(ndim)])


def _low_phase(k: Complex, distance: NDArray[np.float64], half: float, axis: int) -> Complex:
    taper = np.where(np.abs(distance) <= half, 0.5 + 0.5 * np.cos(np.pi * distance / (half + 1)), 0)
    low = ifft_centred(k * _along(taper, k.ndim, axis), (axis,))
    return np.asarray(low / np.maximum(np.abs(low), 1e-30))


def homodyne(k: Complex, axis: int, sampled: tuple[int, int], center: float | None = None) -> Complex:
    """Image (complex: real homodyne image times the low-resolution phase) from partial k-space.

    `k` must be in image space along all other axes.  Weights rise linearly from 0 to 2 over the symmetric
    centre (Noll 1991, doi:10.1109/42.79473); the phase comes from that centre.  A linear phase moves the echo
    by some lines, and the ramp would then brighten or darken the whole image: `center` is the echo's position
    on the axis (index N // 2 by default).
    """
    distance, half = _positions(k.shape[axis], sampled, center)
    ramp = np.clip(1 + distance / (half + 0.5), 0, 2)
    phase = _low_phase(k, distance, half, axis)
    image = ifft_centred(k * _along(ramp, k.ndim, axis), (axis,))
    return np.asarray((image * phase.conj()).real * phase)


def pocs(
    k: Complex, axis: int, sampled: tuple[int, int], center: float | None = None, iterations: int = 8
) -> Complex:
    """Projection onto the low-resolution phase and onto the measured data, alternating.

    Haacke 1991 (doi:10.1016/0022-2364(91)90253-P); shapes as in `homodyne`.
    """
    distance, half = _positions(k.shape[axis], sampled, center)
    phase = _low_phase(k, distance, half, axis)
    low, high = sampled
    known = [slice(None)] * k.ndim
    known[axis] = slice(low, high)
    image = ifft_centred(k, (axis,))
    for _ in range(iterations):
        projected = (image * phase.conj()).real * phase
        guess = fft_centred(projected, (axis,))
        guess[tuple(known)] = k[tuple(known)]
        image = ifft_centred(guess, (axis,))
    return image

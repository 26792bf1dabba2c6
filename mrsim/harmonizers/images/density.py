"""Tissue modes from a smoothed histogram.

Gaussian kernel density estimate on a regular grid by linear binning and Fourier transform: Silverman BW,
Applied Statistics 31 (1982) 93-99 (algorithm AS 176), with the correction for linear binning of Jones MC and
Lotwick HW, Applied Statistics 33 (1984) 120-122. Bandwidth and grid are those of intensity-normalization
2.2.4: the bandwidth is 1/80 of the largest value, so the modes scale with the image (a bandwidth in fixed
units, as in its version 3, makes them depend on units).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BANDWIDTHS_PER_MAXIMUM = 80
_GRID = 128
_MARGIN_BANDWIDTHS = 3.0

# contrast -> (which mode is the reference tissue, voxels above this percentile are left out)
_REFERENCE_MODE = {
    "T1w": ("last", 96.0),
    "T2w": ("largest", 100.0),
    "FLAIR": ("largest", 100.0),
    "PDw": ("first", 99.0),
}


def tissue_mode(values: NDArray[np.float64], *, contrast: str) -> float:
    """Return the intensity of the reference tissue's histogram mode.

    Raises
    ------
    ValueError
        For an unknown contrast, or values that are all equal or without a positive maximum.
    """
    if contrast not in _REFERENCE_MODE:
        raise ValueError(
            f"contrast must be one of {', '.join(_REFERENCE_MODE)}; got '{contrast}'. "
            "Use the BIDS suffix of the image."
        )
    which, percentile = _REFERENCE_MODE[contrast]
    kept = values if percentile == 100.0 else values[values <= np.percentile(values, percentile)]
    grid, density = kernel_density(kept)
    peaks = np.flatnonzero((density[1:-1] > density[:-2]) & (density[1:-1] > density[2:])) + 1
    if which == "largest" or peaks.size == 0:  # no strict peak: only where neighbours tie to the last bit
        return float(grid[np.argmax(density)])
    return float(grid[peaks[-1] if which == "last" else peaks[0]])


def kernel_density(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (grid, density), 128 points each, of the values' Gaussian kernel density estimate.

    Raises
    ------
    ValueError
        If the largest value is not positive, or all values are equal.
    """
    highest, lowest = float(values.max()), float(values.min())
    if highest <= 0.0 or highest == lowest:
        raise ValueError(
            "image must have varying intensities with a positive maximum inside the mask; "
            f"got values from {lowest:g} to {highest:g}. Pass magnitude images, not standardised ones."
        )
    bandwidth = highest / _BANDWIDTHS_PER_MAXIMUM
    start = lowest - _MARGIN_BANDWIDTHS * bandwidth
    stop = highest + _MARGIN_BANDWIDTHS * bandwidth
    grid, step = np.linspace(start, stop, _GRID, retstep=True)
    position = (values - start) / step
    cell = position.astype(np.intp)
    weight = position - cell
    counts = np.bincount(cell, weights=1.0 - weight, minlength=_GRID)
    counts += np.bincount(cell + 1, weights=weight, minlength=_GRID)
    frequency = np.arange(_GRID // 2 + 1)
    kernel = np.exp(-2.0 * (np.pi * bandwidth / (stop - start) * frequency) ** 2)
    binning = 1.0 - (np.pi * frequency / _GRID) ** 2 / 3.0
    density = np.fft.irfft(np.fft.rfft(counts / (step * values.size)) * kernel / binning, n=_GRID)
    return grid, density

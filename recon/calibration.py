"""The fully sampled centre of k-space, for GRAPPA kernels and sensitivities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .cartesian import KSpace
from .fourier import crop, fft_centred

__all__ = ["calibration_block"]


def calibration_block(kspace: KSpace, size: tuple[int, int, int]) -> NDArray[np.complex64]:
    """Largest fully sampled block about the centre, at most `size`: k-space (coil, kx, ky, kz).

    Calibration-only lines take precedence over imaging lines at the same place.  The centre of k-space is at
    index N // 2 of the block.
    """
    mask = kspace.mask(calibration=True)
    (y0, y1), (z0, z1) = _rectangle(mask, size[1], size[2])
    row = np.full(mask.shape, -1, np.intp)
    order = np.argsort(kspace.calibration_only, kind="stable")
    row[kspace.ky[order], kspace.kz[order]] = order
    block = kspace.lines[row[y0:y1, z0:z1]].transpose(2, 3, 0, 1)
    k = fft_centred(np.ascontiguousarray(block), (1,))
    return np.ascontiguousarray(crop(k, 1, min(size[0], k.shape[1])), np.complex64)


def _rectangle(mask: NDArray[np.bool_], most_y: int, most_z: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Largest fully sampled rectangle about the centre: a lattice line may be longer than the block."""
    ny, nz = mask.shape
    z0, z1 = _run(mask[ny // 2], most_z)
    found = []
    for n in range(z1 - z0, 0, -1):
        z = (nz // 2 - n // 2, nz // 2 - n // 2 + n)
        y = _run(np.asarray(mask[:, z[0] : z[1]].all(axis=1)), most_y)
        found.append((n * (y[1] - y[0]), y, z))
    return max(found)[1:]


def _run(mask: NDArray[np.bool_], most: int) -> tuple[int, int]:
    """Centred run of True about N // 2 with the centre at half its length, at most `most` long."""
    center = len(mask) // 2
    if not mask[center]:
        return center, center + 1
    gaps = np.flatnonzero(~mask)
    below = center - (gaps[gaps < center].max() + 1 if (gaps < center).any() else 0)
    above = (gaps[gaps > center].min() if (gaps > center).any() else len(mask)) - center
    n = min(2 * min(int(below), int(above)), most)
    if int(above) > int(below) and n < most:
        n = min(2 * int(below) + 1, most)
    n = max(n, 1)
    return center - n // 2, center - n // 2 + n

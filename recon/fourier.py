"""Centred unitary Fourier transforms and zero-fill interpolation, single threaded.

k-space follows s(k) = sum m(r) exp(-2 pi i k.r), with k = 0 at index N // 2 and r = 0 at voxel N // 2, so the
image is the inverse transform.  Transforms are unitary: white noise keeps its standard deviation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import fft as _fft

__all__ = ["crop", "fft_centred", "ifft_centred", "resize_centred"]

Complex = NDArray[np.complex64]


def ifft_centred(k: Complex, axes: Sequence[int]) -> Complex:
    """Image from k-space along `axes`."""
    shifted = _fft.ifftshift(k, axes=axes)
    image = _fft.ifftn(shifted, axes=axes, norm="ortho", overwrite_x=True, workers=1)
    return np.asarray(_fft.fftshift(image, axes=axes))


def fft_centred(image: Complex, axes: Sequence[int]) -> Complex:
    """k-space from image along `axes`; the adjoint and inverse of `ifft_centred`."""
    shifted = _fft.ifftshift(image, axes=axes)
    k = _fft.fftn(shifted, axes=axes, norm="ortho", overwrite_x=True, workers=1)
    return np.asarray(_fft.fftshift(k, axes=axes))


def crop(array: NDArray[np.generic], axis: int, size: int) -> NDArray[np.generic]:
    """Central `size` entries along an axis; index N // 2 becomes index size // 2."""
    start = array.shape[axis] // 2 - size // 2
    key = [slice(None)] * array.ndim
    key[axis] = slice(start, start + size)
    return array[tuple(key)]


def resize_centred(array: Complex, shape: Sequence[int], axes: Sequence[int]) -> Complex:
    """Crop or zero-pad along `axes` so that index N // 2 stays at N // 2."""
    for axis, size in zip(axes, shape, strict=True):
        old = array.shape[axis]
        if size <= old:
            array = crop(array, axis, size)  # type: ignore[assignment]
        else:
            before = size // 2 - old // 2
            width = [(0, 0)] * array.ndim
            width[axis] = (before, size - old - before)
            array = np.pad(array, width)
    return array

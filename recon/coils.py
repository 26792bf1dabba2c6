"""Receive sensitivities and coil combination.

Sensitivities vary slowly, so they are estimated on a coarse grid from the centre of k-space and interpolated
slab by slab where they are used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .fourier import ifft_centred, resize_centred

__all__ = ["CoilMaps", "dominant_eigenvector", "espirit_maps", "low_resolution", "rss", "walsh_maps"]

Complex = NDArray[np.complex64]


def rss(images: Complex, axis: int = 0) -> NDArray[np.float32]:
    """Root of the sum of squares over the coil axis."""
    power = images.real**2 + images.imag**2
    return np.asarray(np.sqrt(power.sum(axis=axis)), np.float32)


def low_resolution(calibration: Complex, shape: tuple[int, int, int]) -> Complex:
    """Coil images (coil, x, y, z) on a coarse grid over the same field of view, Hann tapered.

    `calibration` is the central block of k-space (coil, kx, ky, kz).  The taper suppresses the ringing of
    the truncation, which would otherwise enter the sensitivities.
    """
    k = calibration.copy()
    for axis in (1, 2, 3):
        n = k.shape[axis]
        if n > 1:
            taper = 0.5 + 0.5 * np.cos(np.pi * (np.arange(n) - n // 2) / (n / 2 + 1))
            k *= taper.astype(np.float32).reshape([-1 if a == axis else 1 for a in range(4)])
    return ifft_centred(resize_centred(k, shape, (1, 2, 3)), (1, 2, 3))


def dominant_eigenvector(matrices: NDArray[np.complexfloating], iterations: int = 10) -> Complex:
    """Find unit eigenvectors (..., n) of the largest eigenvalue of Hermitian semi-definite (..., n, n).

    Two squarings, then power iteration from the column of the largest diagonal entry: the contraction is
    (second / first eigenvalue)^(4 * iterations).
    """
    n = matrices.shape[-1]
    flat = matrices.reshape(-1, n, n)
    result = np.empty(flat.shape[:2], flat.dtype)
    step = max(1, 2**16 // n**2)  # blocks that stay in the cache through all iterations
    for i in range(0, len(flat), step):
        result[i : i + step] = _power_iteration(flat[i : i + step], iterations)
    return result.reshape(matrices.shape[:-1])


def _power_iteration(matrices: NDArray[np.complexfloating], iterations: int) -> NDArray[np.complexfloating]:
    n = matrices.shape[-1]
    diagonal = np.einsum("...ii->...i", matrices).real
    power = matrices / np.maximum(diagonal.sum(axis=-1), 1e-30)[..., None, None]
    start = np.argmax(diagonal, axis=-1)
    vector = np.take_along_axis(power, start[..., None, None], axis=-1)
    for _ in range(2):
        power = power @ power
        power /= np.maximum(np.einsum("...ii->...", power).real, 1e-30)[..., None, None]
    for _ in range(iterations):
        vector = power @ vector
        vector /= np.maximum(np.linalg.norm(vector, axis=-2, keepdims=True), 1e-30)
    result = vector[..., 0]
    result[np.linalg.norm(result, axis=-1) < 0.5] = 1 / np.sqrt(n)  # a zero matrix
    return np.asarray(result)


def walsh_maps(images: Complex, *, size: int = 3, masked: bool = False) -> Complex:
    """Sensitivities (coil, x, y, z) of unit norm from low-resolution coil images.

    The dominant eigenvector of the local coil covariance (Walsh 2000,
    doi:10.1002/(SICI)1522-2594(200005)43:5<682::AID-MRM10>3.0.CO;2-G).  The free phase is set against one
    virtual coil, the dominant combination of the whole volume (Buehrer 2009), so that the combined image
    keeps the object's phase.

    With `masked` the maps are zero outside the object (below 5 % of the largest root sum of squares, one
    coarse voxel of margin): unfolding must not move signal to where there is none.
    """
    coils, shape = len(images), images.shape[1:]
    covariance = np.empty((*shape, coils, coils), np.complex64)
    window = [min(size, n) for n in shape]
    for i in range(coils):
        for j in range(i + 1):
            product = images[i] * images[j].conj()
            smooth = ndimage.uniform_filter(product, window, mode="nearest")
            covariance[..., i, j] = smooth
            covariance[..., j, i] = smooth.conj()
    vectors = dominant_eigenvector(covariance)
    flat = images.reshape(coils, -1)
    reference = dominant_eigenvector(flat @ flat.conj().T)
    maps = np.moveaxis(_align(vectors, reference), -1, 0)
    if masked:
        low = rss(images)
        maps = maps * ndimage.binary_dilation(low >= 0.05 * low.max())
    return np.asarray(maps)


def _align(vectors: Complex, reference: Complex) -> Complex:
    """Set the phase of vectors (..., coil) so that their product with the reference is positive."""
    product = vectors @ reference.conj()
    phase = product / np.maximum(np.abs(product), 1e-30)
    return np.asarray(vectors * phase.conj()[..., None], np.complex64)


def espirit_maps(
    calibration: Complex,
    shape: tuple[int, int, int],
    *,
    kernel: int = 6,
    threshold: float = 0.02,
    crop: float = 0.8,
) -> tuple[Complex, NDArray[np.float32]]:
    """ESPIRiT sensitivities on a grid over the field of view.

    Uecker et al. 2014 (doi:10.1002/mrm.24751).  The projector onto the calibration's signal space is summed
    over equal shifts first, so that only a (2 k - 1)^d stencil has to be transformed for each pair of coils.

    Parameters
    ----------
    calibration
        Central block of k-space (coil, kx, ky, kz).
    shape
        Grid (x, y, z) of the maps.
    kernel
        Kernel width, reduced to 4 for three-dimensional blocks and to the block where that is smaller.
    threshold
        Singular values below this fraction of the largest belong to the null space.
    crop
        Maps are zero where the eigenvalue is smaller.

    Returns
    -------
    maps, eigenvalue
        Shapes (coil, x, y, z) and (x, y, z).
    """
    coils, *block = calibration.shape
    width = [min(n, kernel if block[2] == 1 else min(kernel, 4)) if n > 1 else 1 for n in block]
    windows = np.lib.stride_tricks.sliding_window_view(calibration, width, axis=(1, 2, 3))
    patches = windows.transpose(1, 2, 3, 0, 4, 5, 6).reshape(-1, coils * int(np.prod(width)))
    values, vectors = np.linalg.eigh(patches.T.conj() @ patches)
    vectors = vectors[:, values > threshold**2 * values[-1]].conj()
    stencil = _shift_sums(vectors, coils, width)
    operator = _evaluate(stencil, shape) / np.prod(width)
    maps = dominant_eigenvector(operator, iterations=15)
    value = np.einsum("...i,...ij,...j->...", maps.conj(), operator, maps, optimize=True).real
    flat = calibration.reshape(coils, -1)
    reference = dominant_eigenvector(flat @ flat.conj().T)
    maps = np.moveaxis(_align(maps, reference), -1, 0)
    return maps * (value > crop), np.asarray(value, np.float32)


def _shift_sums(vectors: Complex, coils: int, width: list[int]) -> Complex:
    """Sum the projector over pairs of taps with equal shift: (2 wx - 1, 2 wy - 1, 2 wz - 1, coil, coil)."""
    v = vectors.reshape(coils, *width, -1)
    full = [2 * w - 1 for w in width]
    spectrum = np.fft.fftn(v, s=full, axes=(1, 2, 3))
    product = np.einsum("axyzv,bxyzv->xyzab", spectrum, spectrum.conj(), optimize=True)
    return np.fft.fftshift(np.fft.ifftn(product, axes=(0, 1, 2)), axes=(0, 1, 2)).astype(np.complex64)


def _evaluate(stencil: Complex, shape: tuple[int, int, int]) -> Complex:
    """Fourier sum of the stencil at the grid's positions: (x, y, z, coil, coil)."""
    result = stencil
    for n in shape:
        taps = result.shape[0]
        r = (np.arange(n) - n // 2) / n
        matrix = np.exp(2j * np.pi * np.outer(r, np.arange(taps) - taps // 2)).astype(np.complex64)
        result = np.moveaxis(np.tensordot(matrix, result, axes=(1, 0)), 0, 2)
    return result


@dataclass(frozen=True, kw_only=True, slots=True)
class CoilMaps:
    """Maps (coil, x, y, z) on a coarse grid over the encoded field of view; interpolated linearly on use.

    ratio : imaged field of view over the grid's field of view, for each axis
    """

    maps: Complex
    ratio: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def slab(self, start: int, stop: int, shape: tuple[int, int, int]) -> Complex:
        """Unit-norm maps (x, coil, y, z) of the range in x of an image matrix `shape`."""
        full = self.interpolate(start, stop, shape)
        norm = np.sqrt((full.real**2 + full.imag**2).sum(axis=1, keepdims=True))
        full /= np.maximum(norm, 1e-12)
        return full

    def interpolate(self, start: int, stop: int, shape: tuple[int, int, int]) -> Complex:
        """As `slab`, without normalisation."""
        lx, ly, lz = (
            _linear(n, m, r) for n, m, r in zip(shape, self.maps.shape[1:], self.ratio, strict=True)
        )
        part = np.tensordot(lx[start:stop], self.maps, axes=(1, 1)) @ lz.T
        real = np.ascontiguousarray(part).view(np.float32)
        return np.ascontiguousarray(ly @ real).view(np.complex64)


def _linear(n: int, m: int, ratio: float) -> NDArray[np.float32]:
    """Matrix (n, m) of periodic linear interpolation; both grids have their centre at index N // 2."""
    position = (np.arange(n) - n // 2) / n * ratio * m + m // 2
    low = np.floor(position).astype(int)
    part = position - low
    matrix = np.zeros((n, m), np.float32)
    np.add.at(matrix, (np.arange(n), low % m), 1 - part)
    np.add.at(matrix, (np.arange(n), (low + 1) % m), part)
    return matrix

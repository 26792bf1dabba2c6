"""SENSE: closed-form unfolding for regular patterns, conjugate gradients for any pattern.

Pruessmann et al. 1999 (doi:10.1002/(SICI)1522-2594(199911)42:5<952::AID-MRM16>3.0.CO;2-S) and 2001
(doi:10.1002/mrm.1241).  The data are expected prewhitened, so the noise covariance is a multiple of the
identity; `g_factor` takes it explicitly.  Both work on hybrid space (x, coil, ky, kz): each x is its own
problem.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .fourier import fft_centred, ifft_centred

__all__ = ["cg_sense", "g_factor", "sense_adjoint", "sense_forward", "unfold"]

Complex = NDArray[np.complex64]


def _fold(array: Complex, acceleration: tuple[int, int]) -> Complex:
    """Split (..., y, z) into its aliases: (..., y / R1, z / R2, R1 * R2)."""
    (ry, rz), (ny, nz) = acceleration, array.shape[-2:]
    split = array.reshape(*array.shape[:-2], ry, ny // ry, rz, nz // rz)
    moved = np.moveaxis(split, (-4, -2), (-2, -1))
    return np.ascontiguousarray(moved).reshape(*array.shape[:-2], ny // ry, nz // rz, ry * rz)


def _unfold_layout(aliases: Complex, acceleration: tuple[int, int]) -> Complex:
    ry, rz = acceleration
    *lead, my, mz, _ = aliases.shape
    split = aliases.reshape(*lead, my, mz, ry, rz)
    return np.moveaxis(split, (-2, -1), (-4, -2)).reshape(*lead, my * ry, mz * rz)


def unfold(
    k: Complex,
    maps: Complex,
    acceleration: tuple[int, int],
    lattice: tuple[int, int],
    *,
    regularisation: float = 1e-3,
) -> Complex:
    """Image (x, y, z) from zero-filled regular samples.

    Parameters
    ----------
    k
        Hybrid k-space (x, coil, ky, kz), zero off the lattice; matrices divisible by the acceleration.
    maps
        Sensitivities (x, coil, y, z).
    acceleration, lattice
        Undersampling factors and the offsets of the first sampled line, along (ky, kz).
    regularisation
        Tikhonov term relative to the mean diagonal of the local system.
    """
    ny, nz = k.shape[2:]
    if ny % acceleration[0] or nz % acceleration[1]:
        raise ValueError(
            f"matrix ({ny}, {nz}) must be divisible by the acceleration {acceleration}. Use cg_sense instead."
        )
    factor = np.float32(acceleration[0] * acceleration[1])
    aliased = ifft_centred(k, (2, 3))[:, :, : ny // acceleration[0], : nz // acceleration[1]] * factor
    encoding = _fold(maps * _alias_phase(k.shape[2:], acceleration, lattice), acceleration)
    e = np.moveaxis(encoding, 1, 3)  # (x, y', z', coil, alias)
    normal = e.conj().swapaxes(-1, -2) @ e
    mean = np.einsum("...ii->...", normal).real / normal.shape[-1]
    diagonal = np.einsum("...ii->...i", normal)
    diagonal += (regularisation * mean + 1e-12)[..., None]
    right = e.conj().swapaxes(-1, -2) @ np.moveaxis(aliased, 1, 3)[..., None]
    aliases = np.linalg.solve(normal, right)[..., 0]
    return np.asarray(_unfold_layout(aliases, acceleration), np.complex64)


def _alias_phase(shape: tuple[int, ...], acceleration: tuple[int, int], lattice: tuple[int, int]) -> Complex:
    """Phase with which each alias enters the fold, relative to the position where it is read."""
    phases = []
    for n, r, offset in zip(shape, acceleration, lattice, strict=True):
        alias = np.arange(n) // (n // r)
        # Sampling k = offset - N // 2 + R j folds in m(y + a N / R) with the phase
        # -2 pi a (offset - N // 2) / R.
        phases.append(np.exp(-2j * np.pi * alias * (offset - n // 2) / r).astype(np.complex64))
    return np.asarray(phases[0][:, None] * phases[1][None, :])


def g_factor(
    encoding: NDArray[np.complexfloating], covariance: NDArray[np.complexfloating] | None = None
) -> NDArray[np.float64]:
    """Geometry factor sqrt([(S^H Psi^-1 S)^-1]_ii [S^H Psi^-1 S]_ii) of each alias.

    `encoding` has shape (..., coil, alias), `covariance` (coil, coil) or None for uncorrelated noise.
    """
    e = np.asarray(encoding, np.complex128)
    inverse = np.eye(e.shape[-2]) if covariance is None else np.linalg.inv(covariance)
    normal = e.conj().swapaxes(-1, -2) @ inverse @ e
    diagonal = np.einsum("...ii->...i", normal).real
    inverted = np.einsum("...ii->...i", np.linalg.inv(normal)).real
    return np.asarray(np.sqrt(diagonal * inverted))


def sense_forward(image: Complex, maps: Complex, mask: NDArray[np.bool_]) -> Complex:
    """Hybrid k-space (x, coil, ky, kz) of an image (x, y, z), zero where not sampled."""
    return np.asarray(fft_centred(maps * image[:, None], (2, 3)) * mask)


def sense_adjoint(k: Complex, maps: Complex, mask: NDArray[np.bool_]) -> Complex:
    """Adjoint of `sense_forward`."""
    return np.asarray((maps.conj() * ifft_centred(k * mask, (2, 3))).sum(axis=1))


def cg_sense(
    k: Complex,
    maps: Complex,
    mask: NDArray[np.bool_],
    *,
    regularisation: float = 1e-3,
    iterations: int = 30,
    tolerance: float = 1e-4,
) -> Complex:
    """Minimise |A m - k|^2 + regularisation |m|^2 by conjugate gradients, for each x on its own.

    Stops when the residual of every x has fallen below `tolerance` times its start.
    """
    image = np.zeros((k.shape[0], *k.shape[2:]), np.complex64)
    residual = sense_adjoint(k, maps, mask)
    direction = residual.copy()
    power = _power(residual)
    start = np.maximum(power, 1e-30)
    for _ in range(iterations):
        if (power <= tolerance**2 * start).all():
            break
        applied = (
            sense_adjoint(sense_forward(direction, maps, mask), maps, mask)
            + np.float32(regularisation) * direction
        )
        curvature = np.einsum("xyz,xyz->x", direction.conj(), applied).real
        step = (power / np.maximum(curvature, 1e-30)).astype(np.float32)[:, None, None]
        image += step * direction
        residual -= step * applied
        new = _power(residual)
        direction = residual + (new / np.maximum(power, 1e-30)).astype(np.float32)[:, None, None] * direction
        power = new
    return image


def _power(a: Complex) -> NDArray[np.float64]:
    return np.asarray((a.real.astype(np.float64) ** 2 + a.imag.astype(np.float64) ** 2).sum(axis=(1, 2)))

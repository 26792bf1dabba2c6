"""GRAPPA for regular undersampling along phase and partition.

Griswold et al. 2002 (doi:10.1002/mrm.10171).  The kernel spans (kx, ky, kz) and is calibrated in k-space; as
the readout is fully sampled it is applied in hybrid space, where its extent along kx becomes one small
matrix product for each x.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["GrappaKernel", "calibrate_grappa", "fill_mask"]

Complex = NDArray[np.complex64]


@dataclass(frozen=True, kw_only=True, slots=True)
class GrappaKernel:
    """Interpolation weights, shape (target, coil, source tap, kx tap), target counting missing cell members.

    Source taps run over (source coil, ky tap, kz tap); taps are offsets in lattice cells.
    """

    weights: NDArray[np.complex128]
    acceleration: tuple[int, int]
    taps: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]

    @property
    def targets(self) -> tuple[tuple[int, int], ...]:
        """Offsets (ky, kz) of the missing positions inside a lattice cell."""
        return _targets(self.acceleration)

    def hybrid(self, n: int) -> Complex:
        """Weights at each of n positions x: (x, target * coil, source tap)."""
        x = np.arange(n) - n // 2
        phase = np.exp(-2j * np.pi * np.outer(x, self.taps[0]) / n)
        weights = np.einsum("xd,tcsd->xtcs", phase, self.weights)
        return np.ascontiguousarray(weights.reshape(n, -1, weights.shape[3]), np.complex64)

    def apply(self, k: Complex, hybrid: Complex, lattice: tuple[int, int], todo: NDArray[np.bool_]) -> None:
        """Fill the positions `todo` (ky, kz) of hybrid k-space (x, coil, ky, kz) in place.

        `hybrid` holds the weights of the same range in x; `lattice` the offsets of the sampled lattice.
        """
        coils, ny, nz = k.shape[1:]
        grid = [
            _Axis(n, r, o, t)
            for n, r, o, t in zip((ny, nz), self.acceleration, lattice, self.taps[1:], strict=True)
        ]
        gy, gz = grid
        source = np.zeros((coils, gy.padded, gz.padded), np.complex64)
        stack = np.empty((coils, len(gy.taps), len(gz.taps), gy.cells, gz.cells), np.complex64)
        cells = np.zeros(
            (coils, gy.cells, self.acceleration[0], gz.cells, self.acceleration[1]), np.complex64
        )
        for i in range(len(k)):
            source[:, gy.inner, gz.inner] = k[i, :, lattice[0] :: gy.r, lattice[1] :: gz.r]
            for (a, ty), (b, tz) in itertools.product(enumerate(gy.starts), enumerate(gz.starts)):
                stack[:, a, b] = source[:, ty : ty + gy.cells, tz : tz + gz.cells]
            filled = hybrid[i] @ stack.reshape(-1, gy.cells * gz.cells)
            filled = filled.reshape(-1, coils, gy.cells, gz.cells)
            for t, (dy, dz) in enumerate(self.targets):
                cells[:, :, dy, :, dz] = filled[t]
            full = cells.reshape(coils, gy.cells * gy.r, gz.cells * gz.r)
            np.copyto(k[i], full[:, gy.first : gy.first + ny, gz.first : gz.first + nz], where=todo)


class _Axis:
    """Lattice cells along one axis; one more before the first sample where it is undersampled."""

    def __init__(self, n: int, r: int, offset: int, taps: tuple[int, ...]) -> None:
        self.r, self.taps = r, taps
        samples = len(range(offset, n, r))
        extra = 1 if r > 1 else 0
        self.cells = samples + extra
        before = extra - taps[0]
        self.inner = slice(before, before + samples)
        self.starts = [t - taps[0] for t in taps]
        self.padded = before + samples + max(taps[-1], 0)
        self.first = r * extra - offset


def _targets(acceleration: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    ry, rz = acceleration
    return tuple(t for t in itertools.product(range(ry), range(rz)) if t != (0, 0))


def _taps(acceleration: tuple[int, int], shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    ry, rz = acceleration
    three = shape[3] > 1
    ky = ((-1, 0, 1, 2) if rz == 1 else (0, 1)) if ry > 1 else (-1, 0, 1)
    kz = ((-1, 0, 1, 2) if ry == 1 else (0, 1)) if rz > 1 else (-1, 0, 1) if three else (0,)
    kx = (-1, 0, 1) if three else (-2, -1, 0, 1, 2)
    return (kx, ky, kz)


def calibrate_grappa(
    acs: Complex, acceleration: tuple[int, int], *, regularisation: float = 1e-4
) -> GrappaKernel:
    """Fit the kernel to a fully sampled block by regularised least squares.

    Parameters
    ----------
    acs
        Calibration block in k-space, shape (coil, kx, ky, kz).
    acceleration
        Undersampling along (ky, kz).
    regularisation
        Tikhonov term relative to the mean diagonal of the normal matrix.

    Raises
    ------
    ValueError
        The block is smaller than the kernel.
    """
    taps = _taps(acceleration, acs.shape)
    steps = (1, *acceleration)
    spans = [
        (-t[0] * r, n - max(t[-1] * r, r - 1)) for t, r, n in zip(taps, steps, acs.shape[1:], strict=True)
    ]
    if any(stop - start < 1 for start, stop in spans):
        raise ValueError(
            f"calibration block must exceed the kernel for acceleration {acceleration}; got {acs.shape[1:]} "
            "(kx, ky, kz). Acquire more calibration lines."
        )
    acs = acs * np.complex64(1 / max(float(np.abs(acs).max()), 1e-30))

    def block(dx: int, dy: int, dz: int) -> Complex:
        d = (dx, dy, dz)
        key = tuple(slice(start + o, stop + o) for (start, stop), o in zip(spans, d, strict=True))
        return np.asarray(acs[(slice(None), *key)])

    sources = [
        block(dx, acceleration[0] * dy, acceleration[1] * dz)
        for dy, dz, dx in itertools.product(taps[1], taps[2], taps[0])
    ]
    a = np.stack(sources, axis=1).reshape(len(acs) * len(sources), -1)
    b = np.stack([block(0, *t) for t in _targets(acceleration)]).reshape(-1, a.shape[1])
    normal = (a.conj() @ a.T).astype(np.complex128)
    normal[np.diag_indices_from(normal)] += regularisation * np.trace(normal).real / len(normal)
    solution = np.linalg.solve(normal, (a.conj() @ b.T).astype(np.complex128))
    weights = solution.T.reshape(len(_targets(acceleration)), len(acs), -1, len(taps[0]))
    return GrappaKernel(weights=weights, acceleration=acceleration, taps=taps)  # type: ignore[arg-type]


def fill_mask(lattice: NDArray[np.bool_], sampled: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Positions (ky, kz) to be filled: missing ones that lie between acquired positions of the lattice.

    Positions outside the acquired range (partial Fourier, elliptical corners) stay empty.
    """
    inside = _between(_between(lattice, 1), 0)
    return np.asarray(inside & ~sampled)


def _between(mask: NDArray[np.bool_], axis: int) -> NDArray[np.bool_]:
    before = np.logical_or.accumulate(mask, axis=axis)
    after = np.flip(np.logical_or.accumulate(np.flip(mask, axis), axis=axis), axis)
    return np.asarray(before & after)

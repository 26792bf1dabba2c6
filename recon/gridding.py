"""Reconstruction from stored trajectories (radial, spiral, any): NUFFT and Toeplitz iterations."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft as _fft

from .cartesian import CartesianGrid
from .coils import CoilMaps, low_resolution, walsh_maps
from .errors import RawDataError
from .fourier import crop, fft_centred, ifft_centred, resize_centred
from .noise import NoiseModel
from .options import ReconOptions
from .raw import RawData
from .trajectory import Samples, collect, stack_of_planes
from .volume import Record, combine_coils
from .windows import filter_and_interpolate

__all__ = ["Gridder", "NufftPlan", "density_compensation"]

_MAP_LINES = 24
_BATCH_POINTS = 2**22
MAX_POINTS = 2**28  # of the doubled matrix: 4 GiB


def density_compensation(
    points: list[NDArray[np.float64]], shape: tuple[int, ...], iterations: int = 6
) -> NDArray[np.float64]:
    """Compute weights that make gridding flat, by w <- w T / (K w) (after Pipe and Menon, MRM 41:179, 1999).

    K smooths k-space over one step of the doubled field of view; T is what K makes of a full Cartesian grid
    with unit weights, so that such a grid keeps equal weights up to its edges.  `points` are angular
    frequencies in [-pi, pi) per axis.
    """
    dims = len(points)
    forward, adjoint = _nufft(dims, 2), _nufft(dims, 1)
    double = tuple(2 * n for n in shape)
    half = [p / 2 for p in points]  # twice the field of view
    taper = np.ones(double)
    for axis, n in enumerate(double):
        r = np.abs(np.arange(n) - n // 2) / (n / 2)
        taper = taper * np.clip(1 - r, 0, 1).reshape([-1 if a == axis else 1 for a in range(dims)])

    def smooth(where: list[NDArray[np.float64]], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        image = adjoint(*where, weights.astype(np.complex128), double, eps=1e-4, isign=1, nthreads=1)
        return np.asarray(np.abs(forward(*half, image * taper, eps=1e-4, isign=-1, nthreads=1)))

    axes = [np.pi * (np.arange(n) - n // 2) / n for n in shape]
    cartesian = [np.ascontiguousarray(g.ravel()) for g in np.meshgrid(*axes, indexing="ij")]
    target = smooth(cartesian, np.ones(len(cartesian[0])))
    weights = np.ones(len(points[0]))
    for _ in range(iterations):
        weights = weights * target / np.maximum(smooth(half, weights), 1e-12)
    return np.asarray(weights / weights.sum())


def _nufft(dimensions: int, kind: int) -> Any:
    import finufft

    return getattr(finufft, f"nufft{dimensions}d{kind}")


class NufftPlan:
    """One set of k-space points on one image matrix: density weights, adjoint, and normal operator.

    The normal operator A^H W A is a convolution with the weighted point spread function, applied by FFTs on
    the doubled matrix (Fessler et al. 2005, doi:10.1109/TSP.2005.853152).
    """

    def __init__(self, points: list[NDArray[np.float64]], shape: tuple[int, ...]) -> None:
        self.points, self.shape = points, shape
        self.weights = density_compensation(points, shape)
        double = tuple(2 * n for n in shape)
        spread = _nufft(len(points), 1)(
            *points, self.weights.astype(np.complex128), double, eps=1e-6, isign=1, nthreads=1
        )
        self._spectrum = _fft.fftn(_fft.ifftshift(spread), workers=1)
        self._axes = tuple(range(-len(shape), 0))

    def adjoint(self, samples: NDArray[np.complexfloating]) -> NDArray[np.complex128]:
        """A^H W s for samples (n, point): images (n, *shape)."""
        weighted = np.ascontiguousarray(samples * self.weights, np.complex128)
        image = _nufft(len(self.points), 1)(*self.points, weighted, self.shape, eps=1e-6, isign=1, nthreads=1)
        return np.asarray(image.reshape(len(samples), *self.shape))

    def normal(self, images: NDArray[np.complexfloating]) -> NDArray[np.complex128]:
        """A^H W A m for images (..., *shape)."""
        double = [2 * n for n in self.shape]
        spectrum = _fft.fftn(images, s=double, axes=self._axes, workers=1)
        spectrum *= self._spectrum
        result = _fft.ifftn(spectrum, axes=self._axes, overwrite_x=True, workers=1)
        return np.asarray(result[(..., *(slice(n) for n in self.shape))])

    def least_squares(
        self, samples: NDArray[np.complexfloating], iterations: int = 8
    ) -> NDArray[np.complex128]:
        """Images (n, *shape) of samples (n, point) by a few conjugate gradient steps, each on its own.

        Density compensation makes the system nearly the identity; the steps repair what it leaves, above all
        around the centre of radial and spiral trajectories.
        """
        result = np.empty((len(samples), *self.shape), np.complex128)
        batch = max(1, _BATCH_POINTS // int(np.prod([2 * n for n in self.shape])))
        for i in range(0, len(samples), batch):
            result[i : i + batch] = self._solve(self.adjoint(samples[i : i + batch]), iterations)
        return result

    def _solve(self, right: NDArray[np.complex128], iterations: int) -> NDArray[np.complex128]:
        image = np.zeros_like(right)
        residual, direction = right, right.copy()
        start = power = _power(residual)
        for _ in range(iterations):
            if (power <= 1e-8 * start).all():
                break
            applied = self.normal(direction)
            step = power / np.maximum(_dot(direction, applied), 1e-300)
            image += _column(step, image) * direction
            residual = residual - _column(step, image) * applied
            previous, power = power, _power(residual)
            direction = residual + _column(power / np.maximum(previous, 1e-300), image) * direction
        return image

    def sense(
        self,
        samples: NDArray[np.complexfloating],
        maps: NDArray[np.complexfloating],
        *,
        regularisation: float,
        iterations: int = 40,
        tolerance: float = 1e-4,
    ) -> NDArray[np.complex128]:
        """CG-SENSE image of samples (coil, point) with sensitivities (coil, *shape); Pruessmann 2001."""
        right = (maps.conj() * self.adjoint(samples)).sum(axis=0)
        image = np.zeros(self.shape, np.complex128)
        residual, direction = right, right.copy()
        start = power = float(np.vdot(residual, residual).real)
        for _ in range(iterations):
            if power <= tolerance**2 * start:
                break
            applied = regularisation * direction
            for one in maps:
                applied += one.conj() * self.normal(one * direction)
            step = power / max(float(np.vdot(direction, applied).real), 1e-300)
            image += step * direction
            residual = np.asarray(residual - step * applied)
            previous, power = power, float(np.vdot(residual, residual).real)
            direction = residual + power / previous * direction
        return image


def _power(a: NDArray[np.complex128]) -> NDArray[np.float64]:
    return np.asarray((a.real**2 + a.imag**2).reshape(len(a), -1).sum(axis=1))


def _dot(a: NDArray[np.complex128], b: NDArray[np.complex128]) -> NDArray[np.float64]:
    return np.asarray((a.conj() * b).real.reshape(len(a), -1).sum(axis=1))


def _column(values: NDArray[np.float64], like: NDArray[np.complex128]) -> NDArray[np.float64]:
    return values.reshape(-1, *([1] * (like.ndim - 1)))


@dataclass(kw_only=True)
class Gridder:
    """Images of slices and slabs from stored trajectories; equal trajectories are planned once."""

    grid: CartesianGrid
    options: ReconOptions
    _plans: dict[str, NufftPlan] = field(default_factory=dict)

    def image(self, raw: RawData, rows: NDArray[np.intp], noise: NoiseModel, record: Record) -> NDArray[Any]:
        """Reconstruct the combined image (x, y, z) of one slice or slab, filtered.

        Raises
        ------
        RawDataError
            The trajectory cannot fill the matrix.
        """
        sensing = self.options.acceleration in ("sense", "cg_sense")
        record.recipe["acceleration_method"] = "cg_sense" if sensing else "none"
        samples = collect(raw, rows, self.grid, noise)
        planes = stack_of_planes(samples, self.grid)
        if planes is None:
            return self._combined(samples, self.grid.out if samples.dims == 3 else (*self.grid.out[:2], 1))
        record.note("partitions with equal planes: Fourier transform along the partitions, then gridding")
        k = ifft_centred(planes.data, (0,))
        k = np.asarray(crop(k, 0, self.grid.kept[2]))
        out = [
            self._combined(Samples(positions=planes.positions, data=part), (*self.grid.out[:2], 1))
            for part in k
        ]
        image = np.concatenate(out, axis=2)
        return _interpolate_partitions(image, self.grid.out[2])

    def _combined(self, samples: Samples, shape: tuple[int, int, int]) -> NDArray[Any]:
        dims = samples.dims
        plan, inside = self._plan(samples, shape[:dims])
        values = samples.data[:, inside]
        # As bright as the unitary Cartesian transform followed by interpolation to the output matrix.
        scale = float(np.prod(shape[:dims]) / np.sqrt(np.prod(self.grid.encoded[:dims])))
        images = np.asarray(plan.least_squares(values).reshape(-1, *shape) * scale, np.complex64)
        if self.options.acceleration in ("sense", "cg_sense") and len(images) > 1:
            return self._sense(plan, values, images, shape, scale)
        if self.options.window.active:
            images = np.stack([filter_and_interpolate(c, self.options.window, shape) for c in images])
        if len(images) == 1:
            return np.asarray(images[0])
        maps = None
        if self.options.combine != "rss":
            small = tuple(min(n, 64) for n in shape)
            low = ifft_centred(resize_centred(fft_centred(images, (1, 2, 3)), small, (1, 2, 3)), (1, 2, 3))
            maps = CoilMaps(maps=walsh_maps(low, size=5))
        return combine_coils(maps, self.options)(images.swapaxes(0, 1), 0, shape)

    def _sense(
        self,
        plan: NufftPlan,
        values: NDArray[np.complexfloating],
        images: NDArray[np.complex64],
        shape: tuple[int, int, int],
        scale: float,
    ) -> NDArray[Any]:
        """CG-SENSE with maps from the centre of k-space, which these trajectories sample densely."""
        block = tuple(min(n, _MAP_LINES) for n in shape)
        center = resize_centred(fft_centred(images, (1, 2, 3)), block, (1, 2, 3))
        small = tuple(min(n, 64) for n in shape)
        low = low_resolution(np.ascontiguousarray(center), small)  # type: ignore[arg-type]
        maps = CoilMaps(maps=walsh_maps(low, masked=True)).slab(0, shape[0], shape)
        full = np.moveaxis(maps, 1, 0).reshape(len(images), *plan.shape)
        image = plan.sense(values, full, regularisation=self.options.regularisation).reshape(shape) * scale
        result = np.asarray(image, np.complex64)
        if self.options.window.active:
            result = filter_and_interpolate(result, self.options.window, shape)
        return result

    def _plan(self, samples: Samples, shape: tuple[int, ...]) -> tuple[NufftPlan, NDArray[np.bool_]]:
        dims = samples.dims
        if np.prod([2.0 * n for n in shape]) > MAX_POINTS:
            raise RawDataError(
                f"a doubled matrix of {shape} exceeds {MAX_POINTS} points for gridding. Check matrixSize, or "
                "ask for a smaller zero_fill."
            )
        step = np.asarray(self.grid.pixel[:dims]) / np.asarray(self.grid.encoding.encoded.pixel[:dims])
        angle = 2 * np.pi * samples.positions * step
        inside = np.asarray(np.all(np.abs(angle) <= np.pi * (1 + 1e-6), axis=1))
        points = [np.ascontiguousarray(np.clip(angle[inside, d], -np.pi, np.pi)) for d in range(dims)]
        digest = hashlib.sha256(np.round(angle, 7).tobytes() + repr(shape).encode()).hexdigest()
        if digest not in self._plans:
            if len(self._plans) >= 8:  # trajectories that differ from volume to volume are not kept
                self._plans.clear()
            self._plans[digest] = NufftPlan(points, shape)
        return self._plans[digest], inside


def _interpolate_partitions(image: NDArray[Any], n: int) -> NDArray[Any]:
    if image.shape[2] == n:
        return image
    k = fft_centred(np.asarray(image, np.complex64), (2,))
    scale = np.float32(np.sqrt(n / image.shape[2]))
    result = ifft_centred(resize_centred(k, (n,), (2,)), (2,)) * scale
    return np.abs(result) if not np.iscomplexobj(image) else result

"""One volume (or slice) of Cartesian data: acceleration, partial Fourier, filter, combination."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .calibration import calibration_block
from .cartesian import CartesianGrid, KSpace
from .coils import CoilMaps, espirit_maps, low_resolution, rss, walsh_maps
from .fourier import crop, fft_centred, ifft_centred
from .grappa import GrappaKernel, calibrate_grappa, fill_mask
from .options import ReconOptions
from .partial_fourier import homodyne, pocs, sampled_range
from .raw import RawDataError
from .sense import cg_sense, unfold
from .windows import filter_and_interpolate

__all__ = ["Record", "combine_coils", "grappa_kernel", "reconstruct_cartesian", "sensitivity_maps"]

Complex = NDArray[np.complex64]
_GRAPPA_BLOCK = (32, 32, 24)
_MAP_BLOCK = (32, 32, 32)


@dataclass(kw_only=True, slots=True)
class Record:
    """What was done, for the image's metadata."""

    recipe: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Add a note once."""
        if text not in self.notes:
            self.notes.append(text)


def reconstruct_cartesian(
    kspace: KSpace,
    grid: CartesianGrid,
    options: ReconOptions,
    record: Record,
    source: str,
    maps: CoilMaps | None = None,
    kernel: GrappaKernel | None = None,
) -> NDArray[Any]:
    """Image (x, y, z) of one volume on the output matrix: float32 magnitudes after RSS, else complex64.

    `maps` are sensitivities over the encoded field of view, `kernel` the weights of GRAPPA; estimated from
    the data where None.
    """
    method = options.acceleration
    if method == "auto":
        method = "grappa" if max(kspace.acceleration) > 1 else "none"
    if max(kspace.acceleration) == 1 and method in ("grappa", "none"):
        method = "none"
        _note_gaps(kspace, record)
    record.recipe["acceleration_method"] = method
    partial = _partial_axis(kspace, options, record)
    if maps is None:
        maps = sensitivity_maps(kspace, options)
    if method in ("sense", "cg_sense"):
        return _sense(kspace, grid, options, method, partial, record, maps)
    if maps is not None:
        full = kspace.shape[2:]
        ratio = (1.0, grid.kept[1] / full[0], grid.kept[2] / full[1])
        maps = CoilMaps(maps=maps.maps, ratio=ratio)
    if method == "grappa" and kernel is None:
        kernel = grappa_kernel(kspace, source)
    return _coil_wise(kspace, grid, options, kernel if method == "grappa" else None, partial, maps)


def _note_gaps(kspace: KSpace, record: Record) -> None:
    mask = kspace.mask()
    missing = int(fill_mask(mask, mask).sum())
    if missing:
        record.note(
            f"{missing} missing lines inside the sampled range zero-filled (header says no acceleration)"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Partial:
    """Partial Fourier along axis 2 (phase) or 3 (partition): sampled range and position of the echo."""

    axis: int
    sampled: tuple[int, int]
    center: float


def _partial_axis(kspace: KSpace, options: ReconOptions, record: Record) -> _Partial | None:
    """Find the most partial axis, if any."""
    mask = kspace.mask()
    found = []
    for axis in (0, 1):
        n = mask.shape[axis]
        sampled = (
            sampled_range(np.asarray(mask.any(axis=1 - axis)), kspace.acceleration[axis]) if n > 8 else None
        )
        if sampled is not None:
            found.append(((sampled[1] - sampled[0]) / n, axis, sampled))
    found.sort()
    for fraction, axis, _ in found:
        record.recipe["partial_fourier_" + ("phase", "partition")[axis]] = round(fraction, 4)
    if not found or options.partial_fourier == "zero":
        return None
    if len(found) > 1:
        record.note("partial Fourier along two axes: the less partial one is zero-filled")
    _, axis, sampled = found[0]
    return _Partial(axis=axis + 2, sampled=sampled, center=_echo_center(kspace, axis, sampled))


def _echo_center(kspace: KSpace, axis: int, sampled: tuple[int, int]) -> float:
    """Centroid of the power about its peak along an axis; N // 2 where it is not near there."""
    n = kspace.shape[2 + axis]
    rows = ~kspace.calibration_only
    index = (kspace.ky, kspace.kz)[axis][rows]
    lines = kspace.lines[rows]
    power = np.einsum("ncx,ncx->n", lines.conj(), lines).real
    mean = np.bincount(index, power, n) / np.maximum(np.bincount(index, minlength=n), 1)
    half = min(n // 2 - sampled[0], sampled[1] - 1 - n // 2)
    peak = int(np.argmax(mean))
    if abs(peak - n // 2) > half // 2 or not 2 <= peak < n - 2:
        return float(n // 2)
    near = slice(peak - 2, peak + 3)
    return float((mean[near] * np.arange(n)[near]).sum() / mean[near].sum())


def _to_image(k: Complex, partial: _Partial | None, options: ReconOptions) -> Complex:
    """Image (x, coil, y, z) from hybrid k-space (x, coil, ky, kz)."""
    if partial is None:
        return ifft_centred(k, (2, 3))
    k = ifft_centred(k, (5 - partial.axis,))
    method = homodyne if options.partial_fourier == "homodyne" else pocs
    return method(k, partial.axis, partial.sampled, partial.center)


def _crop(image: NDArray[Any], grid: CartesianGrid, axes: tuple[int, int]) -> NDArray[Any]:
    for axis, n in zip(axes, grid.kept[1:], strict=True):
        image = crop(image, axis, n)
    return image


def _coil_wise(
    kspace: KSpace,
    grid: CartesianGrid,
    options: ReconOptions,
    kernel: GrappaKernel | None,
    partial: _Partial | None,
    maps: CoilMaps | None,
) -> NDArray[Any]:
    """Coil images slab by slab, then combination; with a filter, coil images of the whole volume."""
    combine = combine_coils(maps, options)
    fill = None if kernel is None else _filling(kspace, kernel)
    nx, coils = kspace.shape[:2]
    filtering = options.window.active or grid.out != grid.kept
    out: NDArray[Any] = np.empty(grid.kept, np.float32 if options.combine == "rss" else np.complex64)
    stored = np.empty((coils, *grid.kept), np.complex64) if filtering else None
    for a in range(0, nx, options.slab):
        b = min(a + options.slab, nx)
        k = kspace.slab(a, b)
        if fill is not None:
            fill(k, a, b)
        images = _crop(_to_image(k, partial, options), grid, (2, 3))
        if stored is None:
            out[a:b] = combine(images, a, grid.kept)
        else:
            stored[:, a:b] = images.swapaxes(0, 1)
    return out if stored is None else _filter_and_combine(stored, grid, options, combine)


def _filter_and_combine(
    stored: Complex, grid: CartesianGrid, options: ReconOptions, combine: Callable[..., NDArray[Any]]
) -> NDArray[Any]:
    if grid.out == grid.kept:
        for c in range(len(stored)):
            stored[c] = filter_and_interpolate(stored[c], options.window, grid.out)
    else:
        stored = np.stack([filter_and_interpolate(coil, options.window, grid.out) for coil in stored])
    slabs = range(0, grid.out[0], options.slab)
    parts = [combine(stored[:, a : a + options.slab].swapaxes(0, 1), a, grid.out) for a in slabs]
    return np.concatenate(parts)


def sensitivity_maps(kspace: KSpace, options: ReconOptions) -> CoilMaps | None:
    """Sensitivities over the encoded field of view on a coarse grid, or None for root-sum-of-squares."""
    sensing = options.acceleration in ("sense", "cg_sense")
    kind = options.sensitivities if sensing else options.combine
    if kind == "rss":
        return None
    block = calibration_block(kspace, _MAP_BLOCK)
    full = (kspace.shape[0], *kspace.shape[2:])
    shape = tuple(min(n, 32 if full[2] > 1 else 64) for n in full)
    maps = (
        espirit_maps(block, shape)[0]  # type: ignore[arg-type]
        if kind == "espirit"
        else walsh_maps(low_resolution(block, shape), masked=sensing)  # type: ignore[arg-type]
    )
    return CoilMaps(maps=maps)


def combine_coils(maps: CoilMaps | None, options: ReconOptions) -> Callable[..., NDArray[Any]]:
    """Return a function (images (x, coil, y, z), start in x, matrix) -> combined (x, y, z)."""

    def combine(images: Complex, start: int, shape: tuple[int, int, int]) -> NDArray[Any]:
        if maps is None:
            return rss(images, axis=1)
        weights = maps.slab(start, start + len(images), shape)
        return np.asarray(np.einsum("xcyz,xcyz->xyz", weights.conj(), images))

    return combine


def grappa_kernel(kspace: KSpace, source: str) -> GrappaKernel:
    """Weights fitted to the calibration lines.

    Raises
    ------
    RawDataError
        There are too few of them.
    """
    try:
        return calibrate_grappa(calibration_block(kspace, _GRAPPA_BLOCK), kspace.acceleration)
    except ValueError as error:
        raise RawDataError(f"{source}: {error}") from None


def _filling(kspace: KSpace, kernel: GrappaKernel) -> Callable[[Complex, int, int], None]:
    hybrid = kernel.hybrid(kspace.shape[0])
    todo = fill_mask(kspace.lattice_mask(), kspace.mask())

    def fill(k: Complex, a: int, b: int) -> None:
        kernel.apply(k, hybrid[a:b], kspace.lattice, todo)

    return fill


def _sense(
    kspace: KSpace,
    grid: CartesianGrid,
    options: ReconOptions,
    method: str,
    partial: _Partial | None,
    record: Record,
    maps: CoilMaps | None,
) -> Complex:
    assert maps is not None  # the SENSE methods always estimate sensitivities
    nx, _, ny, nz = kspace.shape
    if method == "sense" and (ny % kspace.acceleration[0] or nz % kspace.acceleration[1]):
        record.note("matrix not divisible by the acceleration: SENSE solved by conjugate gradients")
        method = "cg_sense"
    mask = kspace.lattice_mask() if method == "sense" else kspace.mask()
    image = np.empty((nx, ny, nz), np.complex64)
    for a in range(0, nx, options.slab):
        b = min(a + options.slab, nx)
        k = kspace.slab(a, b)
        weights = maps.slab(a, b, (nx, ny, nz))
        if method == "sense":
            image[a:b] = unfold(
                k * mask, weights, kspace.acceleration, kspace.lattice, regularisation=options.regularisation
            )
        else:
            image[a:b] = cg_sense(k, weights, mask, regularisation=options.regularisation)
    if partial is not None:
        image = _to_image(fft_centred(image, (1, 2))[:, None], partial, options)[:, 0]
    image = np.ascontiguousarray(_crop(image, grid, (1, 2)))
    if options.window.active or grid.out != grid.kept:
        image = filter_and_interpolate(image, options.window, grid.out)
    return image

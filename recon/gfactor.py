"""Maps of the noise that parallel imaging adds: SENSE in closed form, GRAPPA from its weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .cartesian import KSpace, sorted_volumes
from .coils import CoilMaps
from .errors import RawDataError
from .geometry import image_affine, slice_order, to_canonical
from .grappa import GrappaKernel
from .options import Image, ReconOptions
from .raw import RawData
from .reconstruct import make_job
from .sense import g_factor as sense_g_factor
from .volume import grappa_kernel, sensitivity_maps

__all__ = ["g_factor", "grappa_g_factor", "grappa_image_weights"]

Complex = NDArray[np.complex64]


def g_factor(raw: RawData, options: ReconOptions | None = None) -> Image:
    """Geometry factor of the first volume of an accelerated Cartesian measurement.

    SNR of the accelerated image = SNR of the full one / (g sqrt(R)), with R the acceleration of the regular
    pattern; calibration lines that are part of the image, partial Fourier and filters are left out.

    Parameters
    ----------
    raw
        A measurement.
    options
        ``acceleration`` chooses the method: SENSE for ``sense`` and ``cg_sense`` (closed form from the
        sensitivities, Pruessmann 1999), else GRAPPA (from its weights in image space, Breuer et al. 2009,
        doi:10.1002/mrm.22066).  Noise is that of the noise scan where there is one, else alike in all coils.

    Returns
    -------
    Image
        g (x, y, z), 1 where nothing is accelerated, 0 outside the sensitivities of SENSE.

    Raises
    ------
    RawDataError
        The measurement is not Cartesian, or holds several slices at once.
    """
    options = options or ReconOptions()
    sensing = options.acceleration in ("sense", "cg_sense")
    if options.combine == "rss" and not sensing:
        options = replace(options, combine="adaptive")  # equals RSS where there is signal
    job = make_job(raw, options)
    multiband = job.grid.encoding.multiband
    if job.gridder is not None or (multiband is not None and multiband.factor > 1):
        raise RawDataError(
            f"{raw.source}: a g-factor map needs Cartesian lines of single slices. Choose another file."
        )
    slices = slice_order(raw, sorted_volumes(raw, job.rows)[0][1])
    maps = [_slice(job.kspace(rows), options, job.grid.kept, raw.source) for rows in slices]
    data = np.concatenate(maps, axis=2).astype(np.float32)
    grid = job.grid
    pixel = tuple(np.asarray(grid.pixel) * grid.out / np.asarray(grid.kept))
    first = np.array([rows[0] for rows in slices])
    stacked = len(first) > 1 or grid.encoded[2] == 1
    affine, _ = image_affine(raw, first, grid.kept, pixel, centred_slices=not stacked)
    if options.canonical:
        data, affine = to_canonical(data, affine)
    kind = "SENSE" if sensing else "GRAPPA"
    meta = {"recipe": {"g_factor": kind, "acceleration": list(grid.encoding.acceleration)}, "sidecar": {}}
    return Image(data=np.ascontiguousarray(data), affine=affine, meta=meta)


def _slice(
    kspace: KSpace, options: ReconOptions, kept: tuple[int, int, int], source: str
) -> NDArray[np.float64]:
    nx, _, ny, nz = kspace.shape
    if max(kspace.acceleration) == 1 or kspace.shape[1] == 1:
        return np.ones(kept)
    coarse = sensitivity_maps(kspace, options)
    assert coarse is not None  # a combination with sensitivities was asked for
    maps = coarse.slab(0, nx, (nx, ny, nz))
    if options.acceleration in ("sense", "cg_sense"):
        full = sense_map(maps, kspace.acceleration)
    else:
        full = grappa_g_factor(grappa_kernel(kspace, source), maps)
    y, z = ny // 2 - kept[1] // 2, nz // 2 - kept[2] // 2
    return full[:, y : y + kept[1], z : z + kept[2]]


def sense_map(maps: Complex, acceleration: tuple[int, int]) -> NDArray[np.float64]:
    """Geometry factor (x, y, z) of SENSE with unit-covariance noise, from sensitivities (x, coil, y, z).

    Aliases of y are y + a n / R, whether n is divisible by R or not (sensitivities are interpolated to
    the places between voxels).
    """
    nx, _, ny, nz = maps.shape
    coarse = CoilMaps(maps=np.moveaxis(maps, 1, 0))
    (ry, rz), result = acceleration, np.zeros((nx, ny, nz))
    shifts = [(a / ry, b / rz) for a in range(ry) for b in range(rz)]
    for x in range(nx):
        aliases = np.stack([_shifted(coarse.maps[:, x], s) for s in shifts], axis=-1)
        encoding = np.moveaxis(aliases, 0, 2)  # (y, z, coil, alias)
        seen = np.linalg.norm(encoding, axis=2) > 1e-6
        inside = seen[..., 0]
        values = np.zeros((ny, nz))
        for pattern in np.unique(seen[inside], axis=0):
            own = inside & (seen == pattern).all(axis=-1)
            part = encoding[own][:, :, pattern]
            # More aliases than coils, or equal ones, cannot be told apart: a bound instead of infinity.
            normal = np.linalg.eigvalsh(part.conj().swapaxes(-1, -2) @ part)
            good = normal[:, 0] > 1e-6 * normal[:, -1]
            found = np.full(len(part), 1e3)
            found[good] = sense_g_factor(part[good])[:, 0]
            values[own] = found
        result[x] = values
    return result


def _shifted(image: Complex, shift: tuple[float, float]) -> Complex:
    """Image (coil, y, z) moved by parts of its extent along y and z, periodic, linear in between."""
    for axis, part in enumerate(shift):
        n = image.shape[1 + axis]
        position = (np.arange(n) + part * n) % n
        low = np.floor(position + 1e-9).astype(int)
        rest = (position - low).reshape([-1 if a == axis + 1 else 1 for a in range(3)])
        rest = np.where(np.abs(rest) < 1e-9, 0.0, rest)
        lower, upper = (np.take(image, (low + s) % n, axis=1 + axis) for s in (0, 1))
        image = np.asarray(lower * (1 - rest) + upper * rest, np.complex64)
    return image


def grappa_image_weights(kernel: GrappaKernel, x: int, shape: tuple[int, int, int]) -> Complex:
    """Weights of a kernel in image space at one x: (y, z, target coil, source coil) on the matrix `shape`.

    The reconstruction is a convolution of the zero-filled k-space with the identity and the kernel, so a
    product in image space.
    """
    _, ty, tz = kernel.taps
    hybrid = kernel.hybrid(shape[0])[x]
    coils = kernel.weights.shape[1]
    weights = hybrid.reshape(len(kernel.targets), coils, coils, len(ty), len(tz))
    result = np.tile(np.eye(coils, dtype=np.complex64), (shape[1], shape[2], 1, 1))
    for (t, a, b), phase in _tap_phases(kernel, shape[1:]).items():
        result += phase[..., None, None] * weights[t, :, :, a, b]
    return result


def grappa_g_factor(kernel: GrappaKernel, maps: Complex) -> NDArray[np.float64]:
    """Geometry factor (x, y, z) of GRAPPA with unit-covariance noise, combined with maps (x, coil, y, z).

    g^2 = |p^H W|^2 / (R^2 |p^H|^2): the zero-filled image has the variance of the full one times 1 / R, and
    W amplifies it; a full image has R times the samples.
    """
    nx, coils, ny, nz = maps.shape
    _, ty, tz = kernel.taps
    reduction = kernel.acceleration[0] * kernel.acceleration[1]
    hybrid = kernel.hybrid(nx).reshape(nx, len(kernel.targets), coils, coils, len(ty), len(tz))
    phases = _tap_phases(kernel, (ny, nz))
    result = np.empty((nx, ny, nz))
    for x in range(nx):
        p = np.moveaxis(maps[x], 0, -1).conj()  # (y, z, coil)
        combined = p.copy()
        for (t, a, b), phase in phases.items():
            combined += (p @ hybrid[x, t, :, :, a, b]) * phase[..., None]
        noise = (combined.real**2 + combined.imag**2).sum(axis=-1)
        plain = np.maximum((p.real**2 + p.imag**2).sum(axis=-1), 1e-30)
        result[x] = np.sqrt(noise / plain) / reduction
    return result


def _tap_phases(kernel: GrappaKernel, shape: tuple[int, int]) -> dict[tuple[int, int, int], Complex]:
    """Phase (y, z) of each element of the kernel in image space.

    Target k takes from k - target + R * tap, so the kernel's element sits at target - R * tap.
    """
    (ry, rz), (_, ty, tz) = kernel.acceleration, kernel.taps
    y, z = ((np.arange(n) - n // 2) / n for n in shape)
    phases = {}
    for t, (dy, dz) in enumerate(kernel.targets):
        for a, tap_y in enumerate(ty):
            for b, tap_z in enumerate(tz):
                angle = np.add.outer(y * (dy - ry * tap_y), z * (dz - rz * tap_z))
                phases[t, a, b] = np.exp(2j * np.pi * angle).astype(np.complex64)
    return phases

"""Reconstruction from stored trajectories (EPI with ramps, radial, spiral): gridding with finufft."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cartesian import CartesianGrid
from .noise import NoiseModel
from .raw import RawData, RawDataError

__all__ = ["density_compensation", "grid_volume", "has_trajectory"]


def has_trajectory(raw: RawData, rows: NDArray[np.intp], grid: CartesianGrid) -> bool:
    """Whether the stored trajectory has to be used: one is stored and the header does not say Cartesian."""
    stored = raw.heads["trajectory_dimensions"][rows]
    if grid.encoding.trajectory == "cartesian":
        return False
    if not (stored > 0).all():
        raise RawDataError(
            f"{raw.source}: trajectory '{grid.encoding.trajectory}' needs stored k-space positions; readout "
            f"{int(rows[np.argmin(stored)])} has none. Store them or grid the data first."
        )
    return True


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


def grid_volume(
    raw: RawData, rows: NDArray[np.intp], grid: CartesianGrid, noise: NoiseModel
) -> NDArray[np.complex64]:
    """Coil images (coil, x, y, z) on the output matrix by density-compensated least squares.

    Trajectories are in cycles per encoded pixel, -0.5 .. 0.5 (the ISMRMRD convention); where a file stores
    larger values they are taken in cycles per field of view.
    """
    samples, positions = _collect(raw, rows, noise)
    dims = positions.shape[1]
    if dims == 2 and grid.out[2] > 1:
        raise RawDataError(
            f"{raw.source}: a 2D trajectory cannot fill a matrix of {grid.out}. Store 3D positions."
        )
    out = grid.out[:dims]
    if np.abs(positions).max() > 0.75:
        positions = positions / np.asarray(grid.encoded[:dims], float)
    step = np.asarray(grid.pixel[:dims]) / np.asarray(grid.encoding.encoded.pixel[:dims])
    angle = 2 * np.pi * positions * step
    points = [np.ascontiguousarray(angle[:, d]) for d in range(dims)]
    inside = np.all(np.abs(angle) <= np.pi * (1 + 1e-6), axis=1)
    points = [np.clip(p[inside], -np.pi, np.pi) for p in points]
    weights = density_compensation(points, out)
    image = _least_squares(points, np.ascontiguousarray(samples[:, inside], np.complex128), weights, out)
    # As bright as the unitary Cartesian transform followed by interpolation to the output matrix.
    scale = np.prod(out) / np.sqrt(np.prod(grid.encoded[:dims]))
    return np.asarray(image.reshape(-1, *out, *([1] * (3 - dims))) * scale, np.complex64)


def _least_squares(
    points: list[NDArray[np.float64]],
    samples: NDArray[np.complex128],
    weights: NDArray[np.float64],
    shape: tuple[int, ...],
    iterations: int = 8,
) -> NDArray[np.complex128]:
    """Solve A^H W A m = A^H W s by a few conjugate gradient steps, coil by coil, starting from nothing.

    Density compensation makes the system nearly the identity; the steps repair what it leaves, above all
    around the centre of radial and spiral trajectories.
    """
    forward, adjoint = _nufft(len(points), 2), _nufft(len(points), 1)
    result = np.zeros((len(samples), *shape), np.complex128)
    for coil, values in enumerate(samples):
        image = result[coil]
        residual = adjoint(*points, values * weights, shape, eps=1e-5, isign=1, nthreads=1)
        direction, power = residual.copy(), np.vdot(residual, residual).real
        start = power
        for _ in range(iterations):
            if power <= 1e-8 * start:
                break
            predicted = forward(*points, direction, eps=1e-5, isign=-1, nthreads=1)
            applied = adjoint(*points, predicted * weights, shape, eps=1e-5, isign=1, nthreads=1)
            step = power / np.vdot(direction, applied).real
            image += step * direction
            residual -= step * applied
            previous, power = power, np.vdot(residual, residual).real
            direction = residual + power / previous * direction
    return result


def _collect(
    raw: RawData, rows: NDArray[np.intp], noise: NoiseModel
) -> tuple[NDArray[np.complex64], NDArray[np.float64]]:
    wanted = np.zeros(len(raw.heads), bool)
    wanted[rows] = True
    samples, positions = [], []
    for group in raw.groups:
        own = np.flatnonzero(wanted[group.index])
        if not len(own) or group.trajectory is None:
            continue
        head = raw.heads[group.index[own[0]]]
        keep = slice(head["discard_pre"], group.data.shape[2] - head["discard_post"])
        samples.append(np.moveaxis(group.data[own][:, :, keep], 1, 0).reshape(group.data.shape[1], -1))
        positions.append(group.trajectory[own][:, keep].reshape(-1, group.trajectory.shape[2]))
    joined = np.concatenate(samples, axis=1)
    where = np.concatenate(positions).astype(np.float64)
    if where.shape[1] > 3:
        where = where[:, :3]  # a fourth column is a density, recomputed here
    if where.shape[1] == 3 and not where[:, 2].any():
        where = where[:, :2]
    if noise.whitening is not None:
        joined = noise.whitening @ joined
    return joined, where

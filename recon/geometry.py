"""Where the image lies: from ISMRMRD positions and directions (LPS, mm) to a RAS+ affine [m]."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .raw import RawData, RawDataError

__all__ = ["canonical_axes", "image_affine", "slice_order", "to_canonical"]

Matrix = NDArray[np.float64]


def image_affine(
    raw: RawData,
    first_rows: NDArray[np.intp],
    shape: tuple[int, int, int],
    pixel: tuple[float, float, float],
    *,
    centred_slices: bool,
) -> tuple[Matrix, tuple[str, ...]]:
    """Affine of an image with axes (read, phase, slice) and notes on what had to be assumed.

    The `position` of a readout is the centre of the field of view, where the phase of the Fourier encoding
    is zero: the centre of voxel N // 2.  For stacks of slices `first_rows` holds one readout per slice, in
    order, the first position is the centre of slice 0 and the spacing comes from the positions.

    Raises
    ------
    RawDataError
        Directions are not orthonormal, or slices are not equally spaced along the slice direction.
    """
    heads = raw.heads[first_rows]
    directions, notes = _directions(raw, heads[0])
    size = list(pixel)
    if not centred_slices and len(first_rows) > 1:
        size[2] = _spacing(raw, heads, directions[:, 2])
    columns = directions * np.asarray(size)
    index = [n // 2 for n in shape]
    if not centred_slices:
        index[2] = 0
    affine = np.eye(4)
    affine[:3, :3] = columns
    affine[:3, 3] = 1e-3 * heads[0]["position"] - columns @ np.asarray(index, float)
    affine[:2] *= -1  # LPS to RAS
    return affine, notes


def _directions(raw: RawData, head: Any) -> tuple[Matrix, tuple[str, ...]]:
    directions = np.stack([head["read_dir"], head["phase_dir"], head["slice_dir"]], axis=1)
    if not directions.any():
        return np.eye(3), ("directions missing in the file: read, phase, slice taken as L, P, S",)
    if not np.isfinite(directions).all() or np.abs(directions.T @ directions - np.eye(3)).max() > 1e-3:
        raise RawDataError(
            f"{raw.source}: read_dir, phase_dir and slice_dir must be orthonormal; "
            f"got {directions.T.tolist()}. Correct the acquisition headers."
        )
    return directions, ()


def slice_order(raw: RawData, slices: list[NDArray[np.intp]]) -> list[NDArray[np.intp]]:
    """Slices sorted along the slice direction (the counter may be in acquisition order)."""
    heads = raw.heads[[rows[0] for rows in slices]]
    along = (heads["position"] * heads[0]["slice_dir"]).sum(axis=1)
    return [slices[i] for i in np.argsort(along, kind="stable")]


def _spacing(raw: RawData, heads: NDArray[Any], direction: Matrix) -> float:
    along = 1e-3 * heads["position"] @ direction
    steps = np.diff(along)
    step = float(steps.mean())
    if step <= 0 or np.abs(steps - step).max() > 0.02 * step + 1e-6:
        raise RawDataError(
            f"{raw.source}: slices must be equally spaced along slice_dir; got spacings "
            f"{np.round(1e3 * steps, 3)[:6]} mm. Reconstruct each slice group from its own file."
        )
    return step


def canonical_axes(affine: Matrix) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Order and signs of the array axes that come closest to R, A, S.

    Returns `(order, sign)`: output axis w is input axis `order[w]`, flipped where `sign[w]` is -1.
    """
    cosine = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    order, sign = [-1, -1, -1], [1, 1, 1]
    left = np.abs(cosine)
    for _ in range(3):
        world, axis = np.unravel_index(np.argmax(left), left.shape)
        order[world] = int(axis)
        sign[world] = 1 if cosine[world, axis] > 0 else -1
        left[world, :] = left[:, axis] = -1
    return tuple(order), tuple(sign)


def to_canonical(data: NDArray[Any], affine: Matrix) -> tuple[NDArray[Any], Matrix]:
    """Permute and flip the first three axes to come closest to RAS+; the affine follows."""
    order, sign = canonical_axes(affine)
    rest = tuple(range(3, data.ndim))
    data = data.transpose(*order, *rest)
    affine = affine[:, [*order, 3]].copy()
    for axis, s in enumerate(sign):
        if s < 0:
            data = np.flip(data, axis)
            affine[:3, 3] += affine[:3, axis] * (data.shape[axis] - 1)
            affine[:3, axis] *= -1
    return np.ascontiguousarray(data), affine

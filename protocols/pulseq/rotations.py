"""Rotation of the gradients of a block (Pulseq extension ROTATIONS)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..sequence import FloatArray, GradEvent, IntArray

_SAME_TIME = 1e-12  # s; rounding of times that are meant to be equal
_ZERO = 1e-12  # of the largest amplitude; rounding of the matrix product


def rotation_matrix(quaternion: Sequence[float]) -> FloatArray:
    """Return the matrix of a unit quaternion (q0, qx, qy, qz), scalar first.

    Parameters
    ----------
    quaternion : sequence of 4 floats
        Rotation by 2 arccos(q0) about the axis (qx, qy, qz), right-handed; normalised here.

    Returns
    -------
    ndarray of float, shape (3, 3)
        R with g' = R g, as ``mr.aux.quat.toRotMat`` of the reference toolbox.
    """
    q = np.asarray(quaternion, dtype=np.float64)
    w, x, y, z = q / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def rotate_blocks(
    events: tuple[GradEvent, ...],
    numbers: dict[str, IntArray],
    rotations: Mapping[int, FloatArray],
    rotation_ids: NDArray[np.int32],
) -> tuple[GradEvent, ...]:
    """Play rotated gradients in the blocks that have a rotation.

    Parameters
    ----------
    events : tuple of GradEvent
        Gradient library.
    numbers : dict of str to ndarray of int32, shape (n_blocks,)
        Event numbers of the axes 'gx', 'gy', 'gz'; changed in place.
    rotations : mapping of int to ndarray, shape (3, 3)
        Rotation matrices by id.
    rotation_ids : ndarray of int32, shape (n_blocks,)
        Rotation of each block, 0 = none.

    Returns
    -------
    tuple of GradEvent
        The library with the rotated events appended.
    """
    library = list(events)
    curves: dict[tuple[int, ...], tuple[FloatArray, FloatArray]] = {}
    known: dict[tuple[int, ...], tuple[int, ...]] = {}
    axes = ("gx", "gy", "gz")
    for block in np.flatnonzero(rotation_ids).tolist():
        played = tuple(int(numbers[axis][block]) for axis in axes)
        identity = int(rotation_ids[block])
        if not any(played) or np.array_equal(rotations[identity], np.eye(3)):
            continue
        key = (*played, identity)
        if key not in known:
            if played not in curves:
                curves[played] = common_knots([library[n - 1] if n else None for n in played])
            times, values = curves[played]
            limit = _ZERO * float(np.abs(values).max())
            known[key] = tuple(_append(library, times, row, limit) for row in rotations[identity] @ values)
        for axis, number in zip(axes, known[key], strict=True):
            numbers[axis][block] = number
    return tuple(library)


def _append(library: list[GradEvent], times: FloatArray, values: FloatArray, limit: float) -> int:
    """Add an event and return its number, or 0 where the gradient does not exceed `limit`."""
    if np.abs(values).max() <= limit:
        return 0
    library.append(GradEvent(times=times, values=values))
    return len(library)


def common_knots(events: Sequence[GradEvent | None]) -> tuple[FloatArray, FloatArray]:
    """Put several gradients on the union of their knots.

    Parameters
    ----------
    events : sequence of GradEvent or None
        Piecewise-linear gradients, zero outside their knots.

    Returns
    -------
    times : ndarray of float, shape (n,)
        Union of the knot times [s]; a time at which any gradient jumps comes twice.
    values : ndarray of float, shape (len(events), n)
        Values [Hz/m], exact between the knots.
    """
    union = np.sort(np.concatenate([event.times for event in events if event is not None]))
    union = union[np.concatenate(([True], np.diff(union) > _SAME_TIME))]
    before, after = np.zeros((2, len(events), union.size))
    for row, event in enumerate(events):
        if event is not None:
            before[row], after[row] = _limits(event, union)
    keep_before = np.ones(union.size, dtype=bool)
    keep_after = np.any(before != after, axis=0)
    keep_before[0], keep_after[0], keep_after[-1] = union.size == 1, True, union.size == 1
    pairs = np.flatnonzero(np.stack([keep_before, keep_after], axis=1).ravel())
    values = np.stack([before, after], axis=2).reshape(len(events), -1)[:, pairs]
    return np.repeat(union, 2)[pairs], values


def _limits(event: GradEvent, at: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return left and right limits of a gradient at sorted times that include its knots."""
    knots, values = at[np.searchsorted(at, event.times, side="right") - 1], event.values
    first = np.searchsorted(knots, at, side="left")  # first knot at or after each time
    last = np.searchsorted(knots, at, side="right") - 1  # last knot at or before each time
    inside = (first > 0) & (first < knots.size)
    before = np.where(inside, _linear(knots, values, np.clip(first, 1, knots.size - 1), at), 0.0)
    inside = (last >= 0) & (last < knots.size - 1)
    after = np.where(inside, _linear(knots, values, np.clip(last + 1, 1, knots.size - 1), at), 0.0)
    return before, after


def _linear(knots: FloatArray, values: FloatArray, right: NDArray[np.intp], at: FloatArray) -> FloatArray:
    """Interpolate between the knots `right - 1` and `right`."""
    span = knots[right] - knots[right - 1]
    weight = (at - knots[right - 1]) / np.where(span > 0.0, span, 1.0)
    return np.asarray(values[right - 1] * (1.0 - weight) + values[right] * weight)

"""Checks that the metrics share: shapes, masks, finite numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


class MetricInputError(ValueError):
    """Arrays, masks or labels that a metric cannot score."""


def check_mask(mask: npt.ArrayLike, shape: tuple[int, ...]) -> BoolArray:
    """Return `mask` as a boolean array of `shape` with at least one voxel.

    Raises
    ------
    MetricInputError
        If the mask has another shape or is empty.
    """
    flags: BoolArray = np.asarray(mask).astype(bool)
    if flags.shape != tuple(shape):
        raise MetricInputError(
            f"mask must have the image's shape {tuple(shape)}; got {flags.shape}. Resample the mask first."
        )
    if not flags.any():
        raise MetricInputError("mask must contain at least one voxel; got an empty mask. Check its grid.")
    return flags


def masked(mask: npt.ArrayLike, **arrays: npt.ArrayLike) -> tuple[FloatArray, ...]:
    """Return the values of each named array inside `mask`, as float64 vectors in the order given.

    Raises
    ------
    MetricInputError
        If shapes differ, the mask is empty, or a value inside the mask is not finite.
    """
    shape: tuple[int, ...] | None = None
    vectors: list[FloatArray] = []
    flags: BoolArray | None = None
    for name, array in arrays.items():
        values = np.asarray(array)
        if shape is None or flags is None:
            shape, flags = values.shape, check_mask(mask, values.shape)
        if values.shape != shape:
            raise MetricInputError(f"{name} must have shape {shape}; got {values.shape}. Resample it first.")
        vectors.append(check_finite(name, values[flags].astype(np.float64)))
    return tuple(vectors)


def check_finite(name: str, values: npt.NDArray[Any]) -> FloatArray:
    """Return `values` as float64 or raise `MetricInputError` naming how many of them are not finite."""
    array: FloatArray = np.asarray(values, dtype=np.float64)
    bad = array.size - int(np.count_nonzero(np.isfinite(array)))
    if bad:
        raise MetricInputError(f"{name} must be finite; got {bad} of {array.size} values that are not.")
    return array


def check_voxel_size(voxel_size: npt.ArrayLike) -> tuple[float, ...]:
    """Return the voxel size [m] as a tuple; every edge must be positive and below 0.1 m."""
    sizes = tuple(float(v) for v in np.atleast_1d(np.asarray(voxel_size, dtype=np.float64)))
    if not all(0.0 < v < 0.1 for v in sizes):
        raise MetricInputError(
            f"voxel_size must be in metres, 0 < edge < 0.1; got {sizes}. Divide millimetres by 1000."
        )
    return sizes


def bounding_box(mask: BoolArray) -> tuple[slice, ...]:
    """Return the smallest box of slices that holds every voxel of `mask`."""
    box: list[slice] = []
    for axis in range(mask.ndim):
        others = tuple(a for a in range(mask.ndim) if a != axis)
        hits = np.flatnonzero(mask.any(axis=others))
        box.append(slice(int(hits[0]), int(hits[-1]) + 1))
    return tuple(box)

"""RF pulses as piecewise-constant steps, for exact integration of the Bloch equation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .sequence import FloatArray, RfEvent, SequenceError

_TIME_TOLERANCE = 1e-12  # s; rounding of times counted from block start
_EQUAL = 1e-12  # of the peak amplitude; rounding of the run-length code


def rf_steps(event: RfEvent, raster: float) -> tuple[FloatArray, NDArray[np.complex128]]:
    """Cut a pulse into steps of constant amplitude.

    A uniformly rastered pulse holds each sample over its raster interval. A pulse with a time shape
    is the linear interpolation of its points, zero outside them: each step has the mean of its
    stretch and is not longer than `raster`, but a stretch of equal amplitude (a block pulse, the
    zeros around the points) is one step of its full length.

    Parameters
    ----------
    event : RfEvent
        The pulse.
    raster : float
        RF raster time [s], ``sequence.rasters["rf"]``.

    Returns
    -------
    durations : ndarray of float, shape (m,)
        Step lengths [s], all > 0; the first step starts at ``event.delay`` and the sum is
        ``event.shape_duration``.
    b1 : ndarray of complex, shape (m,)
        Amplitude [Hz] (gamma-bar B1). Phase and frequency offsets of the event are not included;
        the phase of a frequency offset counts from ``event.delay``.

    Raises
    ------
    SequenceError
        If `raster` is not positive.
    """
    if not raster > 0.0:
        raise SequenceError(f"raster must be positive; got {raster} s. Pass sequence.rasters['rf'].")
    if event.shape_duration <= _TIME_TOLERANCE:
        return np.zeros(0), np.zeros(0, dtype=np.complex128)
    middle = event.delay + 0.5 * event.shape_duration
    if event.times.size == 1 and abs(event.times[0] - middle) < _TIME_TOLERANCE:
        # One sample in the middle holds over the pulse, whatever the raster.
        return np.array([event.shape_duration]), event.b1.copy()
    knots = event.times - event.delay
    if _is_uniform(knots, event.shape_duration, raster):
        return np.full(knots.size, event.shape_duration / knots.size), event.b1.copy()
    knots = np.clip(knots, 0.0, event.shape_duration)
    times = np.concatenate(([0.0, knots[0]], knots, [knots[-1], event.shape_duration]))
    values = np.concatenate(([0.0, 0.0], event.b1, [0.0, 0.0]))
    return _linear_steps(times, values, raster)


def _is_uniform(knots: FloatArray, length: float, raster: float) -> bool:
    centres = (np.arange(knots.size) + 0.5) * raster
    same_length = abs(length - knots.size * raster) < _TIME_TOLERANCE
    return same_length and bool(np.abs(knots - centres).max() < _TIME_TOLERANCE)


def _linear_steps(
    times: FloatArray, values: NDArray[np.complex128], raster: float
) -> tuple[FloatArray, NDArray[np.complex128]]:
    """Cut a piecewise-linear curve; vertical edges (equal times) take no time."""
    lengths, rises = np.diff(times), np.diff(values)
    keep = lengths > _TIME_TOLERANCE
    lengths, rises, starts = lengths[keep], rises[keep], values[:-1][keep]
    tolerance = _EQUAL * np.abs(values).max()
    flat = np.abs(rises) <= tolerance
    joined = flat[1:] & flat[:-1] & (np.abs(np.diff(starts)) <= tolerance)
    heads = np.flatnonzero(np.concatenate(([True], ~joined)))
    lengths, starts, rises, flat = np.add.reduceat(lengths, heads), starts[heads], rises[heads], flat[heads]
    counts = np.where(flat, 1, np.ceil(lengths / raster - 1e-6)).astype(np.int64).clip(1)
    segment = np.repeat(np.arange(counts.size), counts)
    place = np.arange(segment.size) - np.repeat(np.cumsum(counts) - counts, counts)
    fraction = (place + 0.5) / counts[segment]
    return lengths[segment] / counts[segment], starts[segment] + rises[segment] * fraction

"""Gradients of a Pulseq file as piecewise-linear events, with the edges that old files leave out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..sequence import FloatArray, GradEvent, IntArray
from .seqfile import Row, SeqFileError
from .tables import EDGE, SeqTables, sample_times

AXES = ("gx", "gy", "gz")


def raw_gradients(file: SeqTables) -> dict[int, GradEvent]:
    """Return the events of [GRADIENTS] and [TRAP] by id; edges of old arbitrary ones are still open."""
    both = set(file.gradients) & set(file.traps)
    if both:
        line = int(file.traps[min(both)]["line"])
        raise SeqFileError(f"gradient id {min(both)} must not be in [GRADIENTS] and in [TRAP]", line)
    events = {identity: _arbitrary(file, row) for identity, row in file.gradients.items()}
    return events | {identity: _trapezoid(row) for identity, row in file.traps.items()}


def _trapezoid(row: Row) -> GradEvent:
    times = row["delay"] + np.cumsum([0.0, row["rise"], row["flat"], row["fall"]])
    if times[-1] <= times[0] and row["amplitude"]:
        raise SeqFileError("a trapezoid must last longer than 0 s", int(row["line"]))
    values = row["amplitude"] * np.array([0.0, 1.0, 1.0, 0.0])
    if row["flat"] == 0 and row["rise"] and row["fall"]:
        times, values = np.delete(times, 2), np.delete(values, 2)  # a triangle
    return GradEvent(times=times, values=values)


def _arbitrary(file: SeqTables, row: Row) -> GradEvent:
    """Set the edge knots of version 1.5; `resolve_edges` sets those of older files."""
    shape = file.shape(row, "shape_id")
    times, duration = sample_times(file, row, shape.size, file.rasters["gradient"])
    if times.size != shape.size or (row.get("time_id", 0) > 0 and times.size < 2):
        raise SeqFileError("amplitude and time shapes of a gradient must be equally long", int(row["line"]))
    values = row["amplitude"] * shape
    if row.get("time_id", 0) <= 0:
        times = np.concatenate(([0.0], times, [duration]))
        values = np.concatenate(([row.get("first", 0.0)], values, [row.get("last", 0.0)]))
    return GradEvent(times=row["delay"] + times, values=values)


def raw_end(file: SeqTables, identity: int, event: GradEvent) -> float:
    """Return the end of a gradient [s] from block start, rounded up to the raster."""
    row = file.gradients.get(identity)
    if row is not None and row.get("time_id", 0) > 0:
        return row["delay"] + sample_times(file, row, 0, file.rasters["gradient"])[1]
    return event.duration


def resolve_edges(
    file: SeqTables,
    raw: Mapping[int, GradEvent],
    numbers: dict[str, IntArray],
    ends: FloatArray,
    duration: FloatArray,
) -> tuple[GradEvent, ...]:
    """Restore the edge values that files before 1.5 leave out.

    The first edge continues the gradient of the block before, the last one follows from linear
    interpolation through the samples at raster centres, as in the reference toolbox. A shape that is
    played after different gradients becomes several events; `numbers` is updated.
    """
    events = list(raw.values())
    open_ids = {
        n + 1 for n, i in enumerate(raw) if i in file.gradients and file.gradients[i].get("time_id", 0) == 0
    }
    if file.version >= (1, 5, 0) or not file.gradients:
        return tuple(events)
    variants: dict[tuple[int, float], int] = {}
    for axis in AXES:
        previous = 0.0
        for block, number in enumerate(numbers[axis].tolist()):
            if not number:
                previous = 0.0
                continue
            event = events[number - 1]
            if number in open_ids:
                first = previous if event.times[0] < EDGE else 0.0
                variant = variants.get((number, first))
                if variant is None:
                    events.append(_with_edges(event, first))
                    variant = variants[number, first] = len(events)
                numbers[axis][block] = variant
                event = events[variant - 1]
            aligned = ends[number] > duration[block] - EDGE
            previous = float(event.values[-1]) if aligned else 0.0
    return tuple(events)


def _with_edges(event: GradEvent, first: float) -> GradEvent:
    """Set edges such that every sample is the mean of the raster edges beside it."""
    samples = event.values[1:-1]
    signs = 1.0 - 2.0 * (np.arange(samples.size) % 2)
    last = (2.0 * float(np.sum(signs * samples)) * signs[-1]) + first * (-1.0) ** samples.size
    return GradEvent(times=event.times, values=np.concatenate(([first], samples, [last])))

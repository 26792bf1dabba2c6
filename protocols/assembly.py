"""From the tables of a Pulseq file to a checked `Sequence`."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as AbstractSequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .extensions import Extensions, evaluate_labels
from .seqfile import Row, SeqFileError
from .sequence import AdcEvent, FloatArray, GradEvent, IntArray, RfEvent, Sequence, Signature

E = TypeVar("E")
_EDGE = 2e-9  # s; files hold times to 1 ns at best
_MAX_DURATION = 7 * 86400.0
_AXES = ("gx", "gy", "gz")
_COLUMNS = {"rf": 2, "gx": 3, "gy": 4, "gz": 5, "adc": 6}


@dataclass
class SeqTables:
    """Tables of one file while it is assembled."""

    version: tuple[int, int, int]
    blocks: NDArray[np.int64]
    lines: AbstractSequence[int]
    definitions: dict[str, float | tuple[float, ...] | str] = field(default_factory=dict)
    rasters: dict[str, float] = field(default_factory=dict)
    shapes: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    rf: dict[int, Row] = field(default_factory=dict)
    rf_use: dict[int, str] = field(default_factory=dict)
    gradients: dict[int, Row] = field(default_factory=dict)
    traps: dict[int, Row] = field(default_factory=dict)
    adc: dict[int, Row] = field(default_factory=dict)
    delays: dict[int, Row] = field(default_factory=dict)
    extensions: Extensions = field(default_factory=Extensions)

    def shape(self, row: Row, key: str) -> NDArray[np.float64]:
        """Return the shape that a row refers to."""
        identity = int(row[key])
        if identity not in self.shapes:
            raise SeqFileError(f"{key} {identity} does not exist in [SHAPES]", int(row["line"]))
        return self.shapes[identity]


def assemble(file: SeqTables, signature: Signature) -> Sequence:
    """Build events and blocks and check them against each other.

    Raises
    ------
    SeqFileError
        On dangling references, content beyond its block, or an RF pulse during a readout.
    """
    rf, rf_numbers = _library({i: _rf_event(file, i, row) for i, row in file.rf.items()})
    adc, adc_numbers = _library({i: _adc_event(file, row) for i, row in file.adc.items()})
    both = set(file.gradients) & set(file.traps)
    if both:
        raise SeqFileError(f"gradient id {min(both)} must not be in [GRADIENTS] and in [TRAP]")
    raw = {i: _raw_gradient(file, row) for i, row in file.gradients.items()}
    raw |= {i: _trapezoid(row) for i, row in file.traps.items()}
    _, grad_numbers = _library(raw)
    known = {"rf": rf_numbers, "adc": adc_numbers, "gx": grad_numbers, "gy": grad_numbers, "gz": grad_numbers}
    numbers = {name: _renumber(file, _COLUMNS[name], table) for name, table in known.items()}
    grad_ends = [_raw_end(file, i, raw[i]) for i in raw]
    ends = {"rf": [e.end for e in rf], "adc": [e.end for e in adc], **dict.fromkeys(_AXES, grad_ends)}
    content = np.max([np.array([0.0, *ends[name]])[numbers[name]] for name in _COLUMNS], axis=0)
    duration = _durations(file, content)
    _check_overlap(file, numbers, rf, adc)
    gradients = _resolve_edges(file, raw, numbers, np.array([0.0, *grad_ends]), duration)
    labels = evaluate_labels(file.extensions, file.blocks[:, 7], file.blocks[:, 6], file.lines)
    return Sequence(
        start=np.concatenate(([0.0], np.cumsum(duration)[:-1])),
        duration=duration,
        rf_events=rf,
        grad_events=gradients,
        adc_events=adc,
        labels=labels,
        definitions=file.definitions,
        version=file.version,
        rasters=file.rasters,
        signature=signature,
        **numbers,
    )


def _library(events: Mapping[int, E]) -> tuple[tuple[E, ...], dict[int, int]]:
    return tuple(events.values()), {identity: n + 1 for n, identity in enumerate(events)}


def _renumber(file: SeqTables, column: int, numbers: Mapping[int, int]) -> IntArray:
    """Map the file's ids to positions in a library; 0 stays none."""
    ids = file.blocks[:, column]
    unique, inverse = np.unique(ids, return_inverse=True)
    missing = [int(i) for i in unique if i and int(i) not in numbers]
    if missing:
        block = int(np.flatnonzero(ids == missing[0])[0])
        name = {2: "RF", 6: "ADC"}.get(column, "gradient")
        raise SeqFileError(f"block refers to {name} event {missing[0]}, which is missing", file.lines[block])
    mapped = np.array([numbers.get(int(i), 0) for i in unique], dtype=np.int32)
    return np.asarray(mapped[inverse.reshape(-1)], dtype=np.int32)


def _rf_event(file: SeqTables, identity: int, row: Row) -> RfEvent:
    line, raster = int(row["line"]), file.rasters["rf"]
    magnitude = file.shape(row, "mag_id")
    phase = file.shape(row, "phase_id") if row["phase_id"] else np.zeros_like(magnitude)
    times, duration = _sample_times(file, row, magnitude.size, raster)
    if not magnitude.size == phase.size == times.size:
        raise SeqFileError("magnitude, phase and time shapes of an RF pulse must be equally long", line)
    delay = row["delay"]
    if "center" in row:
        center = row["center"]
    else:
        peak = np.flatnonzero(np.abs(magnitude) >= 0.99999 * np.abs(magnitude).max())
        center = 0.5 * float(times[peak[0]] + times[peak[-1]])
    if center > duration + _EDGE:
        raise SeqFileError(f"RF center must lie inside the pulse; got {center:g} s of {duration:g} s", line)
    return RfEvent(
        times=delay + times,
        b1=row["amplitude"] * magnitude * np.exp(2j * np.pi * phase),
        delay=delay,
        shape_duration=duration,
        center=delay + center,
        freq_offset=row["freq"],
        phase_offset=row["phase"],
        freq_ppm=row.get("freq_ppm", 0.0),
        phase_ppm=row.get("phase_ppm", 0.0),
        use=file.rf_use.get(identity, "undefined"),
    )


def _sample_times(file: SeqTables, row: Row, count: int, raster: float) -> tuple[FloatArray, float]:
    """Sample times from the start of a shape, and the shape's length [s]."""
    time_id = int(row.get("time_id", 0))
    if time_id == 0:
        return np.asarray((np.arange(count) + 0.5) * raster), count * raster
    if time_id == -1:
        return np.asarray((np.arange(count) + 1) * 0.5 * raster), (count + 1) * 0.5 * raster
    times = file.shape(row, "time_id") * raster
    if times[0] < 0 or np.any(np.diff(times) < 0):
        raise SeqFileError("time shape must not be negative and must not decrease", int(row["line"]))
    return times, float(np.ceil(times[-1] / raster - 1e-6) * raster)


def _adc_event(file: SeqTables, row: Row) -> AdcEvent:
    modulation = None
    if row.get("phase_id"):
        modulation = 2.0 * np.pi * file.shape(row, "phase_id")
        if modulation.size != int(row["num"]):
            raise SeqFileError("ADC phase shape must have one value per sample", int(row["line"]))
    return AdcEvent(
        num=int(row["num"]),
        dwell=row["dwell"],
        delay=row["delay"],
        freq_offset=row["freq"],
        phase_offset=row["phase"],
        freq_ppm=row.get("freq_ppm", 0.0),
        phase_ppm=row.get("phase_ppm", 0.0),
        phase_modulation=modulation,
    )


def _trapezoid(row: Row) -> GradEvent:
    times = row["delay"] + np.cumsum([0.0, row["rise"], row["flat"], row["fall"]])
    if times[-1] <= times[0] and row["amplitude"]:
        raise SeqFileError("a trapezoid must last longer than 0 s", int(row["line"]))
    values = row["amplitude"] * np.array([0.0, 1.0, 1.0, 0.0])
    if row["flat"] == 0 and row["rise"] and row["fall"]:
        times, values = np.delete(times, 2), np.delete(values, 2)  # a triangle
    return GradEvent(times=times, values=values)


def _raw_gradient(file: SeqTables, row: Row) -> GradEvent:
    """Arbitrary gradient; edge knots are set here for 1.5 and by `_resolve_edges` before."""
    shape = file.shape(row, "shape_id")
    times, duration = _sample_times(file, row, shape.size, file.rasters["gradient"])
    if times.size != shape.size or (row.get("time_id", 0) > 0 and times.size < 2):
        raise SeqFileError("amplitude and time shapes of a gradient must be equally long", int(row["line"]))
    values = row["amplitude"] * shape
    if row.get("time_id", 0) <= 0:
        times = np.concatenate(([0.0], times, [duration]))
        values = np.concatenate(([row.get("first", 0.0)], values, [row.get("last", 0.0)]))
    return GradEvent(times=row["delay"] + times, values=values)


def _raw_end(file: SeqTables, identity: int, event: GradEvent) -> float:
    row = file.gradients.get(identity)
    if row is not None and row.get("time_id", 0) > 0:
        return row["delay"] + _sample_times(file, row, 0, file.rasters["gradient"])[1]
    return event.duration


def _durations(file: SeqTables, content: FloatArray) -> FloatArray:
    """Block durations: stored since 1.4, before the longest of delay and content."""
    stored = file.blocks[:, 1]
    if file.version >= (1, 4, 0):
        duration = stored * file.rasters["block"]
        bad = np.flatnonzero(content > duration + _EDGE)
        if bad.size:
            block = int(bad[0])
            message = f"events must end inside their block of {duration[block]:g} s; got {content[block]:g} s"
            raise SeqFileError(message, file.lines[block])
    else:
        _, delays = _library(file.delays)
        numbers = _delay_numbers(file, delays)
        values = np.array([0.0, *(row["delay"] for row in file.delays.values())])
        duration = np.maximum(values[numbers], content)
    if duration.sum() > _MAX_DURATION:
        raise SeqFileError(
            f"the sequence must not last longer than {_MAX_DURATION:g} s; got {duration.sum():g} s"
        )
    return np.asarray(duration, dtype=np.float64)


def _delay_numbers(file: SeqTables, delays: Mapping[int, int]) -> IntArray:
    missing = [b for b, i in enumerate(file.blocks[:, 1].tolist()) if i and i not in delays]
    if missing:
        raise SeqFileError("block refers to a delay that does not exist in [DELAYS]", file.lines[missing[0]])
    return np.array([delays.get(i, 0) for i in file.blocks[:, 1].tolist()], dtype=np.int32)


def _check_overlap(
    file: SeqTables,
    numbers: Mapping[str, IntArray],
    rf: AbstractSequence[RfEvent],
    adc: AbstractSequence[AdcEvent],
) -> None:
    for block in np.flatnonzero(numbers["rf"] & -(numbers["adc"] > 0).astype(np.int32)).tolist():
        pulse, window = rf[numbers["rf"][block] - 1], adc[numbers["adc"][block] - 1]
        if min(pulse.end, window.end) - max(pulse.delay, window.delay) > _EDGE:
            raise SeqFileError("RF and ADC of one block must not overlap in time", file.lines[block])


def _resolve_edges(
    file: SeqTables,
    raw: Mapping[int, GradEvent],
    numbers: dict[str, IntArray],
    ends: FloatArray,
    duration: FloatArray,
) -> tuple[GradEvent, ...]:
    """Edge values that files before 1.5 leave out.

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
    for axis in _AXES:
        previous = 0.0
        for block, number in enumerate(numbers[axis].tolist()):
            if not number:
                previous = 0.0
                continue
            event = events[number - 1]
            if number in open_ids:
                first = previous if event.times[0] < _EDGE else 0.0
                variant = variants.get((number, first))
                if variant is None:
                    events.append(_with_edges(event, first))
                    variant = variants[number, first] = len(events)
                numbers[axis][block] = variant
                event = events[variant - 1]
            aligned = ends[number] > duration[block] - _EDGE
            previous = float(event.values[-1]) if aligned else 0.0
    return tuple(events)


def _with_edges(event: GradEvent, first: float) -> GradEvent:
    """Edges such that every sample is the mean of the raster edges beside it."""
    samples = event.values[1:-1]
    signs = 1.0 - 2.0 * (np.arange(samples.size) % 2)
    last = (2.0 * float(np.sum(signs * samples)) * signs[-1]) + first * (-1.0) ** samples.size
    return GradEvent(times=event.times, values=np.concatenate(([first], samples, [last])))

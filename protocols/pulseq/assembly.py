"""From the tables of a Pulseq file to a checked `Sequence`."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as AbstractSequence
from typing import TypeVar

import numpy as np

from ..sequence import AdcEvent, IntArray, RfEvent, Sequence, Signature
from .block_times import block_durations, soft_delay_values
from .gradients import AXES, raw_end, raw_gradients, resolve_edges
from .labels import evaluate_labels
from .rotations import rotate_blocks
from .seqfile import Row, SeqFileError
from .tables import EDGE, SeqTables, sample_times

E = TypeVar("E")
_COLUMNS = {"rf": 2, "gx": 3, "gy": 4, "gz": 5, "adc": 6}


def assemble(
    file: SeqTables, signature: Signature, soft_delays: Mapping[str, float] | None = None
) -> Sequence:
    """Build events and blocks and check them against each other.

    Parameters
    ----------
    file : SeqTables
        Tables of the file.
    signature : Signature
        Checksum of the file.
    soft_delays : mapping of str to float, optional
        Value [s] per hint; without it the stored durations stand.

    Raises
    ------
    SeqFileError
        On dangling references, content beyond its block, or an RF pulse during a readout.
    """
    rf, rf_numbers = _library({i: _rf_event(file, i, row) for i, row in file.rf.items()})
    adc, adc_numbers = _library({i: _adc_event(file, row) for i, row in file.adc.items()})
    raw = raw_gradients(file)
    _, grad_numbers = _library(raw)
    known = {"rf": rf_numbers, "adc": adc_numbers, **dict.fromkeys(AXES, grad_numbers)}
    numbers = {name: _renumber(file, _COLUMNS[name], table) for name, table in known.items()}
    grad_ends = np.array([0.0, *(raw_end(file, i, event) for i, event in raw.items())])
    ends = {"rf": [0.0, *(e.end for e in rf)], "adc": [0.0, *(e.end for e in adc)]}
    content = np.max([np.array(ends.get(n, grad_ends))[numbers[n]] for n in _COLUMNS], axis=0)
    used = file.extensions.of_blocks(file.blocks[:, 7], file.lines)
    duration = block_durations(file, content, used["DELAYS"], soft_delays)
    _check_overlap(file, numbers, rf, adc)
    gradients = resolve_edges(file, raw, numbers, grad_ends, duration)
    gradients = rotate_blocks(gradients, numbers, file.extensions.rotations, used["ROTATIONS"])
    shims, shim_numbers = _library(file.extensions.shims)
    return Sequence(
        start=np.concatenate(([0.0], np.cumsum(duration)[:-1])),
        duration=duration,
        rf_events=rf,
        grad_events=gradients,
        adc_events=adc,
        labels=evaluate_labels(file.extensions, file.blocks[:, 7], file.blocks[:, 6], file.lines),
        definitions=file.definitions,
        version=file.version,
        rasters=file.rasters,
        signature=signature,
        rf_shims=shims,
        shim=np.array([shim_numbers.get(i, 0) for i in used["RF_SHIMS"].tolist()], dtype=np.int32),
        soft_delays=soft_delay_values(file, duration, used["DELAYS"]),
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
    times, duration = sample_times(file, row, magnitude.size, raster)
    if not magnitude.size == phase.size == times.size:
        raise SeqFileError("magnitude, phase and time shapes of an RF pulse must be equally long", line)
    if duration <= 0.0:
        raise SeqFileError("an RF pulse must last longer than 0 s", line)
    delay = row["delay"]
    if "center" in row:
        center = row["center"]
    else:
        peak = np.flatnonzero(np.abs(magnitude) >= 0.99999 * np.abs(magnitude).max())
        center = 0.5 * float(times[peak[0]] + times[peak[-1]])
    if center > duration + EDGE:
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


def _check_overlap(
    file: SeqTables,
    numbers: Mapping[str, IntArray],
    rf: AbstractSequence[RfEvent],
    adc: AbstractSequence[AdcEvent],
) -> None:
    for block in np.flatnonzero(numbers["rf"] & -(numbers["adc"] > 0).astype(np.int32)).tolist():
        pulse, window = rf[numbers["rf"][block] - 1], adc[numbers["adc"][block] - 1]
        if min(pulse.end, window.end) - max(pulse.delay, window.delay) > EDGE:
            raise SeqFileError("RF and ADC of one block must not overlap in time", file.lines[block])

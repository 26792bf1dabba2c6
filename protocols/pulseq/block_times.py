"""Durations of the blocks of a Pulseq file, with the soft delays that a user may set."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..sequence import FloatArray, IntArray
from .extensions import SoftDelay
from .seqfile import SeqFileError
from .tables import EDGE, SeqTables

_MAX_DURATION = 7 * 86400.0
_RASTER_TOLERANCE = 1e-9  # s; offsets are stored in whole microseconds


def block_durations(
    file: SeqTables, content: FloatArray, delay_ids: IntArray, soft_delays: Mapping[str, float] | None
) -> FloatArray:
    """Return block durations: stored since 1.4, before the longest of delay and content.

    Parameters
    ----------
    file : SeqTables
        Tables of the file.
    content : ndarray of float, shape (n_blocks,)
        End of the last event of each block [s].
    delay_ids : ndarray of int, shape (n_blocks,)
        Soft delay of each block, 0 = none.
    soft_delays : mapping of str to float or None
        Value [s] per hint.

    Returns
    -------
    ndarray of float, shape (n_blocks,)
        Durations [s].
    """
    duration = _stored(file, content)
    if soft_delays:
        duration = _with_soft_delays(file, duration, delay_ids, soft_delays)
    bad = np.flatnonzero(content > duration + EDGE)
    if bad.size:
        block = int(bad[0])
        message = f"events must end inside their block of {duration[block]:g} s; got {content[block]:g} s"
        raise SeqFileError(message + _hint_text(file, delay_ids, block, soft_delays), file.lines[block])
    if duration.sum() > _MAX_DURATION:
        raise SeqFileError(
            f"the sequence must not last longer than {_MAX_DURATION:g} s; got {duration.sum():g} s"
        )
    return duration


def soft_delay_values(file: SeqTables, duration: FloatArray, delay_ids: IntArray) -> dict[str, float]:
    """Return the value [s] per hint that the durations correspond to, by the first block of each."""
    values: dict[str, float] = {}
    for block in np.flatnonzero(delay_ids).tolist():
        delay = file.extensions.soft_delays[int(delay_ids[block])]
        values.setdefault(delay.hint, delay.value(float(duration[block])))
    return values


def _stored(file: SeqTables, content: FloatArray) -> FloatArray:
    if file.version >= (1, 4, 0):
        return np.asarray(file.blocks[:, 1] * file.rasters["block"], dtype=np.float64)
    ids = file.blocks[:, 1].tolist()
    missing = [block for block, identity in enumerate(ids) if identity and identity not in file.delays]
    if missing:
        raise SeqFileError("block refers to a delay that does not exist in [DELAYS]", file.lines[missing[0]])
    delays = np.array([file.delays[identity]["delay"] if identity else 0.0 for identity in ids])
    return np.asarray(np.maximum(delays, content))


def _with_soft_delays(
    file: SeqTables, duration: FloatArray, delay_ids: IntArray, values: Mapping[str, float]
) -> FloatArray:
    """Set the durations of the blocks whose hint has a value."""
    hints = _hints(file, delay_ids)
    unknown = [hint for hint in values if hint not in hints]
    if unknown:
        listed = ", ".join(hints) or "none"
        raise SeqFileError(f"soft_delays must be hints of the file ({listed}); got {unknown[0]!r}")
    duration = duration.copy()
    for block in np.flatnonzero(delay_ids).tolist():
        delay = file.extensions.soft_delays[int(delay_ids[block])]
        if delay.hint in values:
            duration[block] = _duration(file, delay, float(values[delay.hint]), file.lines[block], hints)
    return duration


def _duration(file: SeqTables, delay: SoftDelay, value: float, line: int, hints: list[str]) -> float:
    """Duration of a block [s] for a soft delay of `value` [s]."""
    raster = file.rasters["block"]
    duration = delay.duration(value)
    steps = round(duration / raster) if np.isfinite(duration) else -1
    if steps < 0 or abs(steps * raster - duration) > _RASTER_TOLERANCE:
        raise SeqFileError(
            f"soft delay {delay.hint!r} must give a block duration (value / {delay.factor:g} + "
            f"{delay.offset:g} s) that is a multiple of {raster:g} s, not below 0; got {duration:g} s from "
            f"{value:g} s. Hints of the file: {', '.join(hints)}",
            line,
        )
    return steps * raster


def _hints(file: SeqTables, delay_ids: IntArray) -> list[str]:
    """Hints in the order of their numbers."""
    used = [file.extensions.soft_delays[int(i)] for i in np.unique(delay_ids) if i]
    return list(dict.fromkeys(delay.hint for delay in sorted(used, key=lambda delay: delay.number)))


def _hint_text(file: SeqTables, delay_ids: IntArray, block: int, values: Mapping[str, float] | None) -> str:
    """Words about the soft delay that made a block too short."""
    if not values or not delay_ids[block]:
        return ""
    hint = file.extensions.soft_delays[int(delay_ids[block])].hint
    return f" with soft delay {hint!r}. Hints of the file: {', '.join(_hints(file, delay_ids))}"

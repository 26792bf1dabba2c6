"""Tables of one Pulseq file between reading and assembly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..sequence import FloatArray
from .extensions import Extensions
from .seqfile import Row, SeqFileError

EDGE = 2e-9
"""Tolerance of times [s]; files hold them to 1 ns at best."""


@dataclass
class SeqTables:
    """Tables of one file while it is assembled."""

    version: tuple[int, int, int]
    blocks: NDArray[np.int64]
    lines: Sequence[int]
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


def sample_times(file: SeqTables, row: Row, count: int, raster: float) -> tuple[FloatArray, float]:
    """Return the sample times from the start of a shape, and the shape's length [s]."""
    time_id = int(row.get("time_id", 0))
    if time_id == 0:
        return np.asarray((np.arange(count) + 0.5) * raster), count * raster
    if time_id == -1:
        return np.asarray((np.arange(count) + 1) * 0.5 * raster), (count + 1) * 0.5 * raster
    times = file.shape(row, "time_id") * raster
    if times[0] < 0 or np.any(np.diff(times) < 0):
        raise SeqFileError("time shape must not be negative and must not decrease", int(row["line"]))
    return times, float(np.ceil(times[-1] / raster - 1e-6) * raster)

"""The pulses of a scan and what lies between them, as the phase graph plays them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SPOILED = 1_000_000_000
"""Shift of an interval that leaves no transverse magnetization."""


@dataclass(frozen=True, kw_only=True)
class PulseTrain:
    """What the phase graph plays: for each pulse its map and phase, then an interval to the next pulse.

    shape : (P,) index of the pulse's map;  phase : (P,) RF phase [rad];
    interval : (P,) index into the arrays of intervals for the time after the pulse;
    order : (P,) coherence order of the signal that is read after the pulse;  tau : (P,) time that this path
    has spent dephasing off resonance [s];
    dwell : (U,) durations from the end of a pulse to the start of the next [s];  precession : (U,) from
    centre to centre [s];  shifts : (U,) moments in units, or SPOILED: no transverse magnetization is left;
    unit : |unit moment| [1/m].
    """

    shape: np.ndarray
    phase: np.ndarray
    interval: np.ndarray
    order: np.ndarray
    tau: np.ndarray
    dwell: np.ndarray
    precession: np.ndarray
    shifts: np.ndarray
    unit: float

    def only(self, pulses: np.ndarray) -> PulseTrain:
        """Train of some pulses (increasing), the intervals between them joined."""
        edges = np.append(pulses, self.shape.size)
        totals = []
        for values in (self.dwell, self.precession, self.shifts.astype(float)):
            running = np.concatenate([[0.0], np.cumsum(values[self.interval])])
            totals.append(np.diff(running[edges]))
        spoils = np.concatenate([[0], np.cumsum(self.shifts[self.interval] == SPOILED)])
        totals[2][np.diff(spoils[edges]) > 0] = SPOILED
        rows = np.stack([np.round(totals[0], 9), np.round(totals[1], 9), totals[2]], axis=1)
        kinds, interval = np.unique(rows, axis=0, return_inverse=True)
        return PulseTrain(
            shape=self.shape[pulses], phase=self.phase[pulses], interval=interval.reshape(-1),
            order=self.order[pulses], tau=self.tau[pulses], dwell=kinds[:, 0], precession=kinds[:, 1],
            shifts=kinds[:, 2].astype(np.int64), unit=self.unit,
        )  # fmt: skip

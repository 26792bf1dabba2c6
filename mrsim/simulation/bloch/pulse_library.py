"""Distinct RF pulses of a sequence, cut into the time steps that the kernels take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from protocols import RfEvent, Sequence, rf_steps

from .tables import Pulses

_TAU = 2 * np.pi
MAX_ANGLE = 1.0
"""Rotation of one step [rad] up to which the kernels' series hold to round-off."""
MAX_STEPS = 20_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Stepping:
    """How finely pulses are stepped.

    scale : (D,) largest |psi| of each encoding field;  b1 : largest |B1+| of any spin;
    r2 : largest transverse rate [1/s] beyond which no accuracy is asked;
    tolerance : error that splitting relaxation from rotation may leave per pulse [M0].
    """

    scale: np.ndarray
    b1: float
    r2: float
    tolerance: float


class PulseLibrary:
    """Pulses met so far; each distinct one is stored once.

    Parameters
    ----------
    sequence : Sequence
    f0 : float
        Centre frequency [Hz].
    sign : float
        Sense of RF phases: -1 Pulseq's, +1 JEMRIS's (see `mrsim.simulation.bloch.program`).
    stepping : Stepping
    """

    def __init__(self, sequence: Sequence, *, f0: float, sign: float, stepping: Stepping) -> None:
        self._sequence, self._f0, self._sign, self._stepping = sequence, f0, sign, stepping
        self._waves: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._shape: dict[int, int] = {}
        self._shapes: dict[tuple[bytes, bytes, float], int] = {}
        self._known: dict[tuple[int, bytes], int] = {}
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._lines: list[int] = []
        self.offsets = carrier_offsets(sequence, f0)
        self._table: Pulses | None = None

    def _wave(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return steps [s] and B1 [Hz], carrier offset included, of RF event ``number`` (from 1)."""
        found = self._waves.get(number)
        if found is None:
            event = self._sequence.rf_events[number - 1]
            steps, b1 = rf_steps(event, self._sequence.rasters["rf"])
            offset = event.total_freq_offset(self._f0)
            steps, b1 = _refined(steps, b1, offset)
            middle = np.cumsum(steps) - 0.5 * steps
            b1 = b1 * np.exp(_TAU * 1j * offset * middle)
            found = self._waves[number] = steps, (b1 if self._sign > 0 else b1.conj())
        return found

    def edges(self, number: int) -> np.ndarray:
        """Return the times of the step edges of an RF event [s] from the start of its block."""
        event: RfEvent = self._sequence.rf_events[number - 1]
        steps, _ = self._wave(number)
        return np.asarray(event.delay + np.concatenate([[0.0], np.cumsum(steps)]))

    def shape(self, number: int) -> int:
        """Return the number shared by RF events that differ in their phase only."""
        if number not in self._shape:
            steps, b1 = self._wave(number)
            event = self._sequence.rf_events[number - 1]
            key = (np.round(steps, 12).tobytes(), b1.tobytes(), event.total_freq_offset(self._f0))
            self._shape[number] = self._shapes.setdefault(key, len(self._shapes))
        return self._shape[number]

    def add(self, number: int, phi: np.ndarray) -> int:
        """Return the pulse of an RF event whose phase integrals at the step edges are ``phi`` (edges, D)."""
        dphi = np.diff(phi, axis=0)
        key = (self.shape(number), np.round(dphi * self._stepping.scale, 10).tobytes())
        if key not in self._known:
            steps, b1 = self._wave(number)
            self._known[key] = len(self._parts)
            self._parts.append(self._split(*_merged(steps, b1, dphi)))
            offset = self._sequence.rf_events[number - 1].total_freq_offset(self._f0)
            self._lines.append(4 + int(np.searchsorted(self.offsets, offset)))
            self._table = None
        return self._known[key]

    def _split(
        self, steps: np.ndarray, b1: np.ndarray, dphi: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Subdivide steps that turn too far or relax too much; (dt, rotation, dphi) of each part."""
        how = self._stepping
        angle = _TAU * (np.abs(b1) * how.b1 * steps + np.abs(dphi) @ how.scale)
        # Strang splitting: the error of n parts of a step is about R T angle^2 / (24 n^2).
        share = how.tolerance * steps / max(float(steps.sum()), 1e-12)
        relax = np.sqrt(how.r2 * steps * angle**2 / (24.0 * share))
        parts = np.ceil(np.maximum(np.maximum(angle / MAX_ANGLE, relax), 1.0)).astype(np.int64)
        if parts.sum() > MAX_STEPS:
            raise ValueError(
                f"an RF pulse needs {int(parts.sum())} time steps; at most {MAX_STEPS} are taken. "
                "Check its amplitude and the gradient during it."
            )
        dt = np.repeat(steps / parts, parts)
        rotation = _TAU * np.repeat(b1 * steps / parts, parts)
        return (
            dt,
            np.stack([rotation.real, rotation.imag], axis=1),
            np.repeat(dphi / parts[:, None], parts, axis=0),
        )

    def table(self) -> Pulses:
        """All pulses so far, for the kernels."""
        if self._table is None:
            self._table = _pack(self._parts, self._lines, self._stepping.scale.size)
        return self._table


def _merged(steps: np.ndarray, b1: np.ndarray, dphi: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Join steps of constant B1 and field: one rotation, however long, is exact."""
    rate = dphi / steps[:, None]
    size = max(float(np.abs(b1).max(initial=0.0)), 1e-300)
    span = np.maximum(np.abs(rate).max(axis=0, initial=0.0), 1e-300)
    equal = (np.abs(np.diff(b1)) <= 1e-12 * size) & np.all(
        np.abs(np.diff(rate, axis=0)) <= 1e-9 * span, axis=1
    )
    first = np.flatnonzero(np.concatenate([[True], ~equal]))
    return np.add.reduceat(steps, first), b1[first], np.add.reduceat(dphi, first, axis=0)


def carrier_offsets(sequence: Sequence, f0: float) -> np.ndarray:
    """Distinct carrier offsets of all RF events [Hz], increasing."""
    return np.unique([event.total_freq_offset(f0) for event in sequence.rf_events])


def _refined(steps: np.ndarray, b1: np.ndarray, offset: float) -> tuple[np.ndarray, np.ndarray]:
    """Cut long steps so that a carrier offset turns by at most 0.01 cycles in each."""
    parts = np.maximum(np.ceil(np.abs(offset) * steps / 0.01), 1.0).astype(np.int64)
    if parts.max(initial=1) == 1:
        return steps, b1
    return np.repeat(steps / parts, parts), np.repeat(b1, parts)


def _pack(parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]], lines: list[int], fields: int) -> Pulses:
    """Flat tables of pulses, runs of equal steps, and steps."""
    pulse, run, dt = [0], [0], []
    for steps, _, _ in parts:
        base = run[-1]
        change = np.flatnonzero(np.abs(np.diff(steps)) > 1e-12 * steps[1:]) + 1
        run += [base + int(c) for c in (*change, steps.size)]
        dt += [float(steps[c]) for c in (0, *change)]
        pulse.append(len(dt))
    b1 = np.concatenate([b for _, b, _ in parts]) if parts else np.zeros((0, 2))
    dphi = np.concatenate([d for _, _, d in parts]) if parts else np.zeros((0, fields))
    same = np.zeros(len(b1), np.bool_)
    same[1:] = np.abs(np.diff(dphi, axis=0)).max(axis=1, initial=0.0) <= 1e-12
    return Pulses(
        pulse=np.array(pulse, np.int64), run=np.array(run, np.int64), dt=np.array(dt, float),
        b1=np.ascontiguousarray(b1), dphi=np.ascontiguousarray(dphi), same=same,
        line=np.array(lines, np.int64),
    )  # fmt: skip

"""Distinct RF pulses of a sequence, cut into the time steps that the kernels take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from protocols import Sequence, rf_steps

from .tables import Pulses

Evaluate = Callable[[np.ndarray], np.ndarray]
"""Phase integrals (n, D) at times (n,) from the start of a block."""

_TAU = 2 * np.pi
MAX_ANGLE = 1.0
"""Rotation of one step [rad] up to which the kernels' series hold to round-off."""
MAX_STEPS = 20_000_000
_RF_RASTER = 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class Stepping:
    """How finely pulses are stepped.

    scale : (D,) largest |psi| of each encoding field; coordinates at further moments as at the first;
    b1 : largest |B1+| of any spin;
    r2 : largest transverse rate [1/s] beyond which no accuracy is asked;
    tolerance : error that stepping may leave per pulse [M0], from relaxation and from fields that change.
    """

    scale: np.ndarray
    b1: float
    r2: float
    tolerance: float

    def scale_of(self, fields: int) -> np.ndarray:
        """Return the scale of ``fields`` encoding fields."""
        more = fields - self.scale.size
        return np.concatenate([self.scale, np.resize(self.scale[:3], more)]) if more > 0 else self.scale


@dataclass(frozen=True, kw_only=True, eq=False)
class PlayedPulse:
    """One pulse in one field: its number in the table, and the state it leaves.

    number : of the pulse;  start, end : times from the start of the block [s];
    before, after : (D,) phase integrals from the start of the block to the start of the pulse, and to its end
    with the turn back from the frame of the carrier.
    """

    number: int
    start: float
    end: float
    before: np.ndarray
    after: np.ndarray


class PulseLibrary:
    """Pulses met so far; each distinct one is stored once.

    A pulse is integrated in the frame of its carrier: the offset is one more homogeneous field, so that a
    pulse of constant amplitude is one exact rotation.

    Parameters
    ----------
    sequence : Sequence
    f0 : float
        Centre frequency [Hz].
    sign : float
        Sense of RF phases: -1 Pulseq's, +1 JEMRIS's (see `mrsim.simulation.bloch.program`).
    stepping : Stepping
    uniform_at : int
        Index of the homogeneous encoding field.
    """

    def __init__(
        self, sequence: Sequence, *, f0: float, sign: float, stepping: Stepping, uniform_at: int
    ) -> None:
        self._sequence, self._f0, self._sign, self._stepping = sequence, f0, sign, stepping
        self._uniform = uniform_at
        self._waves: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._known: dict[tuple[bytes, ...], int] = {}
        self._parts: list[_Parts] = []
        self._lines: list[int] = []
        self._offsets = carrier_offsets(sequence, f0)
        self._table: Pulses | None = None

    def forget(self) -> None:
        """Drop all pulses: in another window the fields are others."""
        self._known, self._parts, self._lines, self._table = {}, [], [], None

    def _wave(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return steps [s] and B1 [Hz] of RF event ``number`` (from 1), equal neighbours joined."""
        found = self._waves.get(number)
        if found is None:
            event = self._sequence.rf_events[number - 1]
            steps, b1 = rf_steps(event, self._sequence.rasters.get("rf", _RF_RASTER))
            if steps.size:
                equal = np.abs(np.diff(b1)) <= 1e-12 * float(np.abs(b1).max())
                first = np.flatnonzero(np.concatenate([[True], ~equal]))
                steps, b1 = np.add.reduceat(steps, first), b1[first]
            found = self._waves[number] = steps, (b1 if self._sign > 0 else b1.conj())
        return found

    def play(self, number: int, evaluate: Evaluate, knots: np.ndarray) -> PlayedPulse | None:
        """Return an RF event in given fields; None if it has no length.

        Parameters
        ----------
        number : int
            RF event, from 1.
        evaluate : callable
            Phase integrals (n, D) at times from the start of the block.
        knots : array
            Times from the start of the block at which gradients have kinks.
        """
        steps, b1 = self._wave(number)
        if steps.size == 0:
            return None
        event = self._sequence.rf_events[number - 1]
        edges, b1 = _cut(event.delay + np.concatenate([[0.0], np.cumsum(steps)]), b1, knots)
        edges, b1 = self._refine(edges, b1, evaluate)
        phi = evaluate(edges)
        steps, dphi = np.diff(edges), np.diff(phi, axis=0)
        offset = self._sign * event.total_freq_offset(self._f0)
        dphi[:, self._uniform] += offset * steps
        after = phi[-1].copy()
        after[self._uniform] += offset * float(steps.sum())
        return PlayedPulse(
            number=self._add(event.total_freq_offset(self._f0), steps, b1, dphi),
            start=float(edges[0]), end=float(edges[-1]), before=phi[0], after=after,
        )  # fmt: skip

    def _refine(self, edges: np.ndarray, b1: np.ndarray, evaluate: Evaluate) -> tuple[np.ndarray, np.ndarray]:
        """Subdivide steps in which the field changes, until taking its mean is within the tolerance."""
        how, steps = self._stepping, np.diff(edges)
        phi, middle = evaluate(edges), evaluate(0.5 * (edges[1:] + edges[:-1]))
        scale = how.scale_of(phi.shape[1])
        bend = _TAU * np.abs(middle - 0.5 * (phi[1:] + phi[:-1])) @ scale
        # Second Magnus term of a field that changes linearly: angle of B1 times change of the other
        # angle / 12; the change is eight times the bend in the middle.
        error = 8.0 * bend * _TAU * np.abs(b1) * how.b1 * steps / 12.0
        allowed = how.tolerance * steps / steps.sum()
        parts = np.ceil(np.sqrt(error / allowed)).clip(1, 10_000).astype(np.int64)
        if parts.max(initial=1) == 1:
            return edges, b1
        fine = np.concatenate(
            [
                [edges[0]],
                *(np.linspace(a, b, n + 1)[1:] for a, b, n in zip(edges, edges[1:], parts, strict=False)),
            ]
        )
        return fine, np.repeat(b1, parts)

    def _add(self, carrier: float, steps: np.ndarray, b1: np.ndarray, dphi: np.ndarray) -> int:
        scale = self._stepping.scale_of(dphi.shape[1])
        # Rounded, so that a phase multiplied in and out again makes no new pulse: 1e-9 Hz is nothing.
        key = (
            np.round(steps, 12).tobytes(),
            np.round(b1, 9).tobytes(),
            np.round(dphi * scale, 10).tobytes(),
        )
        if key not in self._known:
            self._known[key] = len(self._parts)
            self._parts.append(_split(*_merged(steps, b1, dphi), self._stepping))
            self._lines.append(4 + int(np.searchsorted(self._offsets, carrier)))
            self._table = None
        return self._known[key]

    def table(self, fields: int) -> Pulses:
        """All pulses so far, for the kernels."""
        if self._table is None:
            self._table = _pack(self._parts, self._lines, fields)
        return self._table


_Parts = tuple[np.ndarray, np.ndarray, np.ndarray]


def _cut(edges: np.ndarray, b1: np.ndarray, knots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Add the knots inside a pulse to its edges."""
    inside = knots[(knots > edges[0] + 1e-11) & (knots < edges[-1] - 1e-11)]
    if inside.size == 0:
        return edges, b1
    place = np.searchsorted(edges, inside)
    near = np.minimum(np.abs(edges[place] - inside), np.abs(edges[place - 1] - inside))
    inside, place = inside[near > 1e-11], place[near > 1e-11]
    fine = np.insert(edges, place, inside)
    return fine, b1[np.searchsorted(edges, 0.5 * (fine[1:] + fine[:-1])) - 1]


def _merged(steps: np.ndarray, b1: np.ndarray, dphi: np.ndarray) -> _Parts:
    """Join steps of constant B1 and field: one rotation, however long, is exact."""
    rate = dphi / steps[:, None]
    size = max(float(np.abs(b1).max(initial=0.0)), 1e-300)
    span = np.maximum(np.abs(rate).max(axis=0, initial=0.0), 1e-300)
    equal = (np.abs(np.diff(b1)) <= 1e-12 * size) & np.all(
        np.abs(np.diff(rate, axis=0)) <= 1e-9 * span, axis=1
    )
    first = np.flatnonzero(np.concatenate([[True], ~equal]))
    return np.add.reduceat(steps, first), b1[first], np.add.reduceat(dphi, first, axis=0)


def _split(steps: np.ndarray, b1: np.ndarray, dphi: np.ndarray, how: Stepping) -> _Parts:
    """Subdivide steps that turn too far or relax too much; (dt, rotation, dphi) of each part."""
    flip = _TAU * np.abs(b1) * how.b1 * steps
    angle = flip + _TAU * np.abs(dphi) @ how.scale_of(dphi.shape[1])
    # Strang splitting: n parts of a step leave an error below R T [W, [W, R]] / (8 n^2); relaxation commutes
    # with precession, so one of the two rotations is that of B1.
    share = how.tolerance * steps / float(steps.sum())
    relax = np.sqrt(how.r2 * steps * flip * angle / (8.0 * share))
    parts = np.ceil(np.maximum(np.maximum(angle / MAX_ANGLE, relax), 1.0))
    if parts.sum() > MAX_STEPS:
        raise ValueError(
            f"an RF pulse needs {parts.sum():.3g} time steps; at most {MAX_STEPS} are taken. "
            "Check its amplitude and the gradient during it."
        )
    parts = parts.astype(np.int64)
    dt = np.repeat(steps / parts, parts)
    rotation = _TAU * np.repeat(b1 * steps / parts, parts)
    return (
        dt,
        np.stack([rotation.real, rotation.imag], axis=1),
        np.repeat(dphi / parts[:, None], parts, axis=0),
    )


def carrier_offsets(sequence: Sequence, f0: float) -> np.ndarray:
    """Distinct carrier offsets of all RF events [Hz], increasing."""
    return np.unique([event.total_freq_offset(f0) for event in sequence.rf_events])


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

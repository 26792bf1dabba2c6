"""From a Pulseq sequence to what the phase graph and the encoder need.

The path followed is the one that the k-space convention of Pulseq describes: an excitation starts it at
k = 0, tau = 0; a refocusing pulse negates k and tau. Between pulses only the *net* gradient moment matters
to the phase graph; all net moments must be integer multiples of one vector (phase encoding rewound), which
is checked here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from protocols import Prescription, RfEvent, Scanner, Sequence, gradient_integral, infer_use

from .epg import PulseTrain


class UnsupportedSequenceError(ValueError):
    """The sequence breaks an assumption of the k-space engine."""


@dataclass(frozen=True, kw_only=True)
class PulseShape:
    """One distinct RF waveform: b1 [Hz] held over steps [s], carrier offset [Hz], centre from start [s]."""

    b1: np.ndarray
    steps: np.ndarray
    freq_offset: float
    center: float


@dataclass(frozen=True, kw_only=True)
class Readouts:
    """All ADC windows with signal, in play order (R readouts).

    adc : (R,) index among all ADC blocks;  pulse : (R,) pulse that precedes it;
    base : (R, 3) k at the start of its block [1/m];  pattern : (R,) index into ``offsets``;
    offsets : per pattern (samples, 3) k relative to ``base`` [1/m];
    since_rf : (R,) first sample minus end of the pulse [s];  tau : (R,) tau at the first sample [s];
    dwell : (R,) [s];  phase : (R,) demodulation phase at the first sample [rad];  freq : (R,) [Hz].
    """

    adc: np.ndarray
    pulse: np.ndarray
    base: np.ndarray
    pattern: np.ndarray
    offsets: tuple[np.ndarray, ...]
    since_rf: np.ndarray
    tau: np.ndarray
    dwell: np.ndarray
    phase: np.ndarray
    freq: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """Pulse train, its waveforms, and its readouts."""

    train: PulseTrain
    shapes: tuple[PulseShape, ...]
    readouts: Readouts


class _Moments:
    """Gradient moment [1/m] from the start of the sequence to any point of a block."""

    def __init__(self, sequence: Sequence) -> None:
        self._sequence = sequence
        areas = sequence.block_moments()
        self.at_block_start = np.vstack([np.zeros(3), np.cumsum(areas, axis=0)[:-1]])
        self._cache: dict[tuple[object, ...], np.ndarray] = {}
        self._axis: dict[tuple[object, ...], np.ndarray] = {}

    def inside(self, block: int, key: object, times: np.ndarray) -> np.ndarray:
        """Moment from block start to ``times`` (n, 3); ``key`` identifies the times for caching."""
        s = self._sequence
        ids = (int(s.gx[block]), int(s.gy[block]), int(s.gz[block]))
        whole = self._cache.get((*ids, key))
        if whole is None:
            # Axis by axis first: the many combinations of encoding steps share few gradients.
            columns = [self._along(number, key, times) for number in ids]
            whole = self._cache[(*ids, key)] = np.stack(columns, axis=1)
        return whole

    def _along(self, number: int, key: object, times: np.ndarray) -> np.ndarray:
        found = self._axis.get((number, key))
        if found is None:
            events = self._sequence.grad_events
            found = gradient_integral(events[number - 1], times) if number else np.zeros(times.size)
            self._axis[(number, key)] = found
        return found


def _distinct_shapes(events: tuple[RfEvent, ...], f0: float) -> tuple[np.ndarray, tuple[PulseShape, ...]]:
    """Index of each RF event's waveform among the distinct ones (phase offsets aside)."""
    index: dict[tuple[object, ...], int] = {}
    shapes: list[PulseShape] = []
    of_event = np.zeros(len(events), dtype=np.int64)
    for i, event in enumerate(events):
        steps = event.sample_widths
        freq = event.total_freq_offset(f0)
        center = round(event.center - event.delay, 12)
        key = (event.b1.tobytes(), np.round(steps, 12).tobytes(), freq, center)
        if key not in index:
            index[key] = len(shapes)
            shapes.append(PulseShape(b1=event.b1, steps=steps, freq_offset=freq, center=center))
        of_event[i] = index[key]
    return of_event, tuple(shapes)


def _common_unit(moments: np.ndarray, tolerance: float) -> np.ndarray:
    """Largest vector of which all ``moments`` (n, 3) are integer multiples within ``tolerance`` [1/m]."""
    lengths = np.linalg.norm(moments, axis=1)
    spoiling = moments[lengths > tolerance]
    if spoiling.size == 0:
        raise UnsupportedSequenceError(
            "the net gradient moment between pulses must spoil; got zero in every interval (a balanced "
            "sequence). The k-space engine covers spoiled gradient-echo and spin-echo trains only."
        )
    shortest = spoiling[np.argmin(np.linalg.norm(spoiling, axis=1))]
    for divisor in range(1, 9):
        unit = shortest / divisor
        multiples = np.rint(spoiling @ unit / (unit @ unit))
        if np.all(np.linalg.norm(spoiling - multiples[:, None] * unit, axis=1) <= tolerance):
            return np.asarray(unit)
    worst = int(np.argmax(np.linalg.norm(spoiling - multiples[:, None] * unit, axis=1)))
    raise UnsupportedSequenceError(
        "net gradient moments between pulses must be integer multiples of one spoiler; got "
        f"{spoiling[worst].round(3).tolist()} 1/m beside {shortest.round(3).tolist()} 1/m. Rewind the phase "
        "encoding before the next pulse, or simulate with spins (exact Bloch engine)."
    )


@dataclass(frozen=True, kw_only=True)
class _Path:
    """k and tau right after each pulse, and where the pulses are."""

    center: np.ndarray
    end: np.ndarray
    k0: np.ndarray
    tau0: np.ndarray
    moment: np.ndarray


def _follow(sequence: Sequence, moments: _Moments) -> _Path:
    """Walk through all pulses along the path of the k-space convention."""
    blocks = sequence.rf_blocks
    events = sequence.rf_events
    uses = [infer_use(event) for event in events]
    n = blocks.size
    center, end = np.empty(n), np.empty(n)
    k0, tau0, moment = np.zeros((n, 3)), np.zeros(n), np.zeros((n, 3))
    for p, block in enumerate(blocks):
        number = int(sequence.rf[block]) - 1
        event = events[number]
        center[p] = sequence.start[block] + event.center
        end[p] = sequence.start[block] + event.end
        at_center = moments.inside(block, ("rf", event.center), np.array([event.center]))[0]
        moment[p] = moments.at_block_start[block] + at_center
        if p == 0 or uses[number] == "excitation":
            continue
        k, tau = k0[p - 1] + moment[p] - moment[p - 1], tau0[p - 1] + center[p] - center[p - 1]
        sign = -1.0 if uses[number] == "refocusing" else 1.0
        k0[p], tau0[p] = sign * k, sign * tau
    return _Path(center=center, end=end, k0=k0, tau0=tau0, moment=moment)


def _pulse_train(
    sequence: Sequence, path: _Path, of_event: np.ndarray, f0: float, tolerance: float
) -> PulseTrain:
    blocks = sequence.rf_blocks
    events = sequence.rf_events
    number = sequence.rf[blocks] - 1
    phases = np.array([event.total_phase_offset(f0) for event in events])[number]
    last_moment = moments_to_end(sequence) - path.moment[-1]
    net = np.vstack([np.diff(path.moment, axis=0), last_moment[None]])
    # The interval after the last pulse is never heard again: it may end anywhere.
    unit = _common_unit(net[:-1], tolerance) if len(net) > 1 else np.array([1.0 / tolerance, 0.0, 0.0])
    per_unit = unit / (unit @ unit)
    start = sequence.start[blocks] + np.array([event.delay for event in events])[number]
    gaps = np.append(start[1:] - path.end[:-1], max(sequence.total_duration - path.end[-1], 0.0))
    kinds, interval = np.unique(
        np.stack([np.round(gaps, 9), np.rint(net @ per_unit)], axis=1), axis=0, return_inverse=True
    )
    order = path.k0 @ per_unit
    _check_orders(path.k0, order, unit, tolerance)
    return PulseTrain(
        shape=of_event[number],
        phase=phases,
        interval=interval.reshape(-1),
        order=np.rint(order).astype(np.int64),
        dwell=kinds[:, 0],
        shifts=kinds[:, 1].astype(np.int64),
        unit=float(np.linalg.norm(unit)),
    )


def _check_orders(k0: np.ndarray, order: np.ndarray, unit: np.ndarray, tolerance: float) -> None:
    residual = np.linalg.norm(k0 - np.rint(order)[:, None] * unit, axis=1)
    if residual.max(initial=0.0) > tolerance:
        p = int(np.argmax(residual))
        raise UnsupportedSequenceError(
            "after each refocusing pulse the echo path must sit on a whole coherence order; got "
            f"k = {k0[p].round(3).tolist()} 1/m after pulse {p} with unit {unit.round(3).tolist()} 1/m. "
            "Balance the crushers: moment(excitation to refocusing) = half of moment(refocusing to "
            "refocusing)."
        )


def moments_to_end(sequence: Sequence) -> np.ndarray:
    """Net gradient moment of the whole sequence [1/m], shape (3,)."""
    return np.asarray(sequence.block_moments().sum(axis=0))


def _readouts(sequence: Sequence, path: _Path, moments: _Moments, f0: float) -> Readouts:
    blocks = sequence.adc_blocks
    pulse = np.searchsorted(sequence.rf_blocks, blocks, side="right") - 1
    heard = np.flatnonzero(pulse >= 0)
    pattern_of: dict[bytes, int] = {}
    seen: dict[int, int] = {}
    offsets: list[np.ndarray] = []
    pattern, base = np.empty(heard.size, np.int64), np.empty((heard.size, 3))
    first, dwell = np.empty(heard.size), np.empty(heard.size)
    phase, freq = np.empty(heard.size), np.empty(heard.size)
    for r, a in enumerate(heard):
        block, number = int(blocks[a]), int(sequence.adc[blocks[a]])
        event = sequence.adc_events[number - 1]
        window = ("adc", event.num, event.dwell, event.delay)
        inside = moments.inside(block, window, event.sample_times)
        known = seen.get(id(inside))
        if known is None:
            # Events that differ only in phase or amplitude rounding share one pattern.
            content = np.round(inside, 4).tobytes()
            known = seen[id(inside)] = pattern_of.setdefault(content, len(offsets))
            if known == len(offsets):
                offsets.append(inside)
        pattern[r] = known
        p = pulse[a]
        base[r] = path.k0[p] + moments.at_block_start[block] - path.moment[p]
        first[r] = sequence.start[block] + event.sample_times[0]
        dwell[r], freq[r] = event.dwell, event.freq_offset + event.freq_ppm * 1e-6 * f0
        phase[r] = event.phase_offset + event.phase_ppm * 1e-6 * f0 + np.pi * freq[r] * event.dwell
    p = pulse[heard]
    return Readouts(
        adc=heard, pulse=p, base=base, pattern=pattern, offsets=tuple(offsets),
        since_rf=first - path.end[p], tau=path.tau0[p] + first - path.center[p],
        dwell=dwell, phase=phase, freq=freq,
    )  # fmt: skip


def kspace_readouts(sequence: Sequence, *, f0: float) -> Readouts:
    """Where in k-space every readout lies, of any sequence.

    Parameters
    ----------
    sequence : Sequence
    f0 : float
        Centre frequency [Hz], for offsets given in ppm.

    Raises
    ------
    UnsupportedSequenceError
        If no readout follows a pulse: such a sequence has no raw data.
    """
    moments = _Moments(sequence)
    path = _follow(sequence, moments)
    readouts = _readouts(sequence, path, moments, f0)
    if readouts.adc.size == 0:
        raise UnsupportedSequenceError(
            f"a readout must follow a pulse; the sequence has {sequence.rf_blocks.size} pulses and "
            f"{sequence.adc_blocks.size} readouts. There is no signal to simulate."
        )
    return readouts


def timeline(sequence: Sequence, *, f0: float) -> Timeline:
    """Analyse a sequence for the k-space engine.

    Parameters
    ----------
    sequence : Sequence
        As read from a Pulseq file.
    f0 : float
        Centre frequency [Hz], for offsets given in ppm.

    Raises
    ------
    UnsupportedSequenceError
        If the sequence has no pulse or no readout, is balanced, or does not rewind its encoding.
    """
    if sequence.rf_blocks.size == 0 or sequence.adc_blocks.size == 0:
        raise UnsupportedSequenceError(
            f"a sequence needs pulses and readouts; got {sequence.rf_blocks.size} RF and "
            f"{sequence.adc_blocks.size} ADC blocks. Check the file."
        )
    moments = _Moments(sequence)
    path = _follow(sequence, moments)
    readouts = _readouts(sequence, path, moments, f0)
    if readouts.adc.size == 0:
        raise UnsupportedSequenceError(
            "every readout precedes the first pulse: there is no signal to simulate."
        )
    k_max = max(float(np.abs(pattern).max()) for pattern in readouts.offsets)
    # 0.5 % of a cycle across the finest voxel: below the dephasing of any other approximation here.
    tolerance = max(0.01 * k_max, 1e-3)
    of_event, shapes = _distinct_shapes(sequence.rf_events, f0)
    train = _pulse_train(sequence, path, of_event, f0, tolerance)
    return Timeline(train=train, shapes=shapes, readouts=readouts)


def with_scale_error(line: Timeline, scanner: Scanner, prescription: Prescription) -> Timeline:
    """Return the k-space that a scanner's gradients really reach: its calibration error per world axis.

    The reconstruction assumes nominal gradients, so the object appears larger by the error.
    """
    error = np.asarray(scanner.gradients.scale_error)
    if not error.any():
        return line
    axes = prescription.rotation
    matrix = np.eye(3) + axes.T @ np.diag(error) @ axes
    readouts = replace(
        line.readouts,
        base=line.readouts.base @ matrix.T,
        offsets=tuple(offsets @ matrix.T for offsets in line.readouts.offsets),
    )
    return replace(line, readouts=readouts)

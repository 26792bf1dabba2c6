"""From pulses and net gradient moments to the train that the phase graphs play.

Between pulses only the net moment matters. All net moments must be integer multiples of one vector (phase
encoding rewound), or zero throughout (balanced), or end before an excitation that finds the transverse
magnetization gone; what such an excitation would really find is estimated and told.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from protocols import Sequence

from .path import NominalMoments, Path, Readouts, UnsupportedSequenceError, follow, readouts_of
from .pulse_train import SPOILED, PulseTrain
from .pulses import PulseShape, distinct_shapes

_SHORT_TRAIN = 3
"""Refocusing pulses after an excitation up to which crushers may be of any size and direction."""
_REFUSED = 0.3
"""Share of the transverse magnetization left at an excitation that is taken as found empty: refused above."""


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """Pulse train, its waveforms, its nominal readouts and what was assumed.

    train : all pulses;  shapes : their distinct waveforms;  path : where they are;  readouts : nominal;
    balanced : whether no gradient moment is left between pulses;
    fresh : (P,) whether a pulse is taken to find no transverse magnetization;
    gap : (P,) time from the last RF centre [s], 0 for the first;
    unit : (3,) moment of one order [1/m], zero where orders do not stand for moments;
    unit_time : time that one order takes to dephase [s], where all intervals agree, else 0.
    """

    train: PulseTrain
    shapes: tuple[PulseShape, ...]
    path: Path
    readouts: Readouts
    balanced: bool
    fresh: np.ndarray
    gap: np.ndarray
    unit: np.ndarray
    unit_time: float


def _common_unit(moments: np.ndarray, tolerance: float) -> tuple[np.ndarray, float]:
    """Largest vector of which ``moments`` (n, 3) are integer multiples, and the worst residual [1/m]."""
    lengths = np.linalg.norm(moments, axis=1)
    spoiling = moments[lengths > tolerance]
    if spoiling.size == 0:
        return np.array([1.0 / tolerance, 0.0, 0.0]), 0.0
    shortest = spoiling[np.argmin(np.linalg.norm(spoiling, axis=1))]
    best, least = shortest, np.inf
    for divisor in range(1, 9):
        unit = shortest / divisor
        multiples = np.rint(spoiling @ unit / (unit @ unit))
        worst = float(np.linalg.norm(spoiling - multiples[:, None] * unit, axis=1).max())
        if worst < least:
            best, least = unit, worst
        if least <= tolerance:
            break
    return np.asarray(best), least


@dataclass(frozen=True, kw_only=True)
class _Lattice:
    """Net moments as whole numbers: shifts (P,) with SPOILED where an excitation is taken to find nothing.

    unit : the vector they count [1/m];  exact : whether all moments are its multiples.
    """

    unit: np.ndarray
    shifts: np.ndarray
    exact: bool = True


def _lattice(path: Path, net: np.ndarray, tolerance: float) -> _Lattice:
    """Find the lattice of the net moments ``net`` (P, 3) after each pulse, the last one unheard."""
    unit, residual = _common_unit(net[:-1], tolerance)
    if residual <= tolerance:
        return _Lattice(unit=unit, shifts=np.rint(net @ unit / (unit @ unit)))
    excites = np.array([use == "excitation" for use in path.use])
    before_excitation = np.append(excites[1:], True)
    inner = net[~before_excitation]
    unit, residual = _common_unit(inner, tolerance)
    shifts = np.rint(net @ unit / (unit @ unit))
    if residual > tolerance:
        shifts[~before_excitation] = _separate(path, inner, residual, tolerance)
        return _Lattice(unit=unit, shifts=np.where(before_excitation, SPOILED, shifts), exact=False)
    on = np.linalg.norm(net - shifts[:, None] * unit, axis=1) <= tolerance
    on &= bool(len(inner)) and bool((np.linalg.norm(inner, axis=1) > tolerance).any())
    return _Lattice(unit=unit, shifts=np.where(before_excitation & ~on, SPOILED, shifts))


def _separate(path: Path, inner: np.ndarray, residual: float, tolerance: float) -> np.ndarray:
    """Give each distinct moment of short echo trains a number that no sum of others reaches.

    With few refocusing pulses after fresh excitations (diffusion preparations) only the echo path is left by
    the crushers: it is enough that the orders keep the pathways apart.
    """
    refocusing = np.array([use == "refocusing" for use in path.use])
    start = np.flatnonzero([use == "excitation" for use in path.use])
    counts = np.add.reduceat(refocusing, start) if start.size else refocusing.sum(keepdims=True)
    if counts.max(initial=0) > _SHORT_TRAIN:
        raise UnsupportedSequenceError(
            "net gradient moments between the pulses of an echo train must be integer multiples of one "
            f"crusher; the nearest lattice misses by {residual:.3f} 1/m. Rewind the phase encoding before "
            "the next pulse, or simulate with spins (exact Bloch engine)."
        )
    _, kind = np.unique(np.rint(inner / (4 * tolerance)), axis=0, return_inverse=True)
    return np.asarray(3.0 ** np.minimum(kind.reshape(-1), 8))


def _orders(path: Path, lattice: _Lattice, tolerance: float) -> np.ndarray:
    """Coherence order of the echo path after each pulse, checked against its k where the lattice is exact."""
    order = np.zeros(len(path.use), np.int64)
    for p in range(1, order.size):
        if path.use[p] != "excitation":
            at = order[p - 1] + int(lattice.shifts[p - 1])
            order[p] = -at if path.use[p] == "refocusing" else at
    residual = np.linalg.norm(path.k0[:, :3] - order[:, None] * lattice.unit, axis=1)
    if lattice.exact and residual.max(initial=0.0) > tolerance:
        p = int(np.argmax(residual))
        raise UnsupportedSequenceError(
            "after each refocusing pulse the echo path must sit on a whole coherence order; got "
            f"k = {path.k0[p, :3].round(3).tolist()} 1/m after pulse {p} with unit "
            f"{lattice.unit.round(3).tolist()} 1/m. Balance the crushers: moment(excitation to refocusing) = "
            "half of moment(refocusing to refocusing)."
        )
    return order


def _tolerance(readouts: Readouts) -> float:
    """0.5 % of a cycle across the finest voxel: below the dephasing of any other approximation here."""
    k_max = max(float(np.abs(pattern[:, :3]).max(initial=0.0)) for pattern in readouts.offsets)
    return max(0.01 * k_max, 1e-3)


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
        If the sequence has no pulse or no readout, or its encoding is neither rewound nor spoiled.
    """
    if sequence.rf_blocks.size == 0 or sequence.adc_blocks.size == 0:
        raise UnsupportedSequenceError(
            f"a sequence needs pulses and readouts; got {sequence.rf_blocks.size} RF and "
            f"{sequence.adc_blocks.size} ADC blocks. Check the file."
        )
    moments = NominalMoments(sequence)
    path = follow(sequence, moments)
    readouts = readouts_of(sequence, path, moments, f0)
    tolerance = _tolerance(readouts)
    last = np.asarray(sequence.block_moments().sum(axis=0)) - path.moment[-1]
    net = np.vstack([np.diff(path.moment, axis=0), last[None]])
    balanced = len(net) > 2 and bool((np.linalg.norm(net[1:-1], axis=1) <= tolerance).all())
    if balanced:
        # A preparation that dephases leaves nothing; all else stays in order 0.
        shifts = np.where(np.linalg.norm(net, axis=1) > tolerance, SPOILED, 0)
        lattice = _Lattice(unit=np.array([1.0 / tolerance, 0.0, 0.0]), shifts=shifts, exact=False)
    else:
        lattice = _lattice(path, net, tolerance)
    train, shapes = _pulse_train(sequence, path, lattice, tolerance, f0)
    return Timeline(
        train=train, shapes=shapes, path=path, readouts=readouts, balanced=balanced,
        fresh=np.concatenate([[True], lattice.shifts[:-1] == SPOILED]),
        gap=np.concatenate([[0.0], np.diff(path.center)]),
        unit=lattice.unit if lattice.exact else np.zeros(3), unit_time=_unit_time(train),
    )  # fmt: skip


def _unit_time(train: PulseTrain) -> float:
    """Time per order of the intervals inside echo trains, where they agree."""
    heard = (train.shifts != SPOILED) & (train.shifts != 0)
    times = train.precession[heard] / train.shifts[heard]
    if times.size == 0:
        return 0.0
    shortest = float(times[np.argmin(np.abs(times))])
    count = np.bincount(train.interval, minlength=train.shifts.size)[heard]
    agree = np.abs(times - shortest) < 0.01 * abs(shortest)
    return shortest if count[agree].sum() > 0.5 * count.sum() else 0.0


def _pulse_train(
    sequence: Sequence, path: Path, lattice: _Lattice, tolerance: float, f0: float
) -> tuple[PulseTrain, tuple[PulseShape, ...]]:
    shape, phase, shapes = distinct_shapes(sequence, f0)
    blocks, events = sequence.rf_blocks, sequence.rf_events
    number = sequence.rf[blocks] - 1
    start = sequence.start[blocks] + np.array([event.delay for event in events])[number]
    gaps = np.append(start[1:] - path.end[:-1], max(sequence.total_duration - path.end[-1], 0.0))
    precession = np.append(np.diff(path.center), max(sequence.total_duration - path.center[-1], 0.0))
    rows = np.stack([np.round(gaps, 9), np.round(precession, 9), lattice.shifts], axis=1)
    kinds, interval = np.unique(rows, axis=0, return_inverse=True)
    train = PulseTrain(
        shape=shape, phase=phase, interval=interval.reshape(-1), order=_orders(path, lattice, tolerance),
        tau=path.tau0, dwell=kinds[:, 0], precession=kinds[:, 1], shifts=kinds[:, 2].astype(np.int64),
        unit=float(np.linalg.norm(lattice.unit)),
    )  # fmt: skip
    return train, shapes


def _after_saturation(line: Timeline) -> np.ndarray:
    """Pulses (P,) before which a saturation was spoiled beyond the reach of all readouts.

    What it left across is dephased wherever the path goes before the next gap, which is judged by itself.
    """
    readouts = line.readouts
    reach = np.abs(readouts.base[:, :3]).max()
    reach += max(float(np.abs(pattern[:, :3]).max(initial=0.0)) for pattern in readouts.offsets)
    spoiler = np.linalg.norm(np.diff(line.path.moment[:, :3], axis=0), axis=1)
    saturates = np.array([use == "saturation" for use in line.path.use[:-1]], bool)
    return np.concatenate([[False], saturates & (spoiler > 2 * reach)])


def spoiling_error(line: Timeline, t2: np.ndarray, share: np.ndarray) -> float:
    """Largest share of transverse magnetization that really waits at an excitation taken to find none.

    Parameters
    ----------
    line : Timeline
    t2, share : arrays (tissues,)
        Relaxation times [s] and shares of the signal.

    Raises
    ------
    UnsupportedSequenceError
        If it exceeds the limit: gradients that neither rewind nor spoil evenly at a short repetition time.
    """
    assumed = line.fresh & (np.arange(line.fresh.size) > 0) & ~_after_saturation(line)
    if not assumed.any():
        return 0.0
    shortest = float(line.gap[assumed].min())
    left = float(np.sum(share / share.sum() * np.exp(-shortest / t2)))
    if left > _REFUSED:
        raise UnsupportedSequenceError(
            f"{100 * left:.0f} % of the transverse magnetization is left {1e3 * shortest:.1f} ms after a "
            "pulse, where an excitation follows without rewound encoding; the k-space engine can take it as "
            f"spoiled only below {100 * _REFUSED:.0f} %. Rewind the encoding, or simulate with spins "
            "(exact Bloch engine)."
        )
    return left

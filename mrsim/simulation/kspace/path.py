"""Where in k-space a sequence is at every pulse and every sample.

The path is the one that the k-space convention of Pulseq describes: an excitation starts it at k = 0 and
tau = 0; a refocusing pulse negates k and tau. Followed alike are further integrals that a pulse negates: the
phase of homogeneous fields and the Maxwell terms (`played`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import numpy as np

from protocols import Sequence, gradient_integral, infer_use


class UnsupportedSequenceError(ValueError):
    """The sequence breaks an assumption of the k-space engine."""


@dataclass(frozen=True, kw_only=True)
class Readouts:
    """All ADC windows with signal, in play order (R readouts).

    adc : (R,) index among all ADC blocks;  pulse : (R,) pulse that precedes it;
    base : (R, D) path at the start of its block, the first three components k [1/m];
    pattern : (R,) index into ``offsets``;  offsets : per pattern (samples, D) path relative to ``base``;
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


class Moments(ABC):
    """Integrals from the start of the sequence to any time, D components, the first three k [1/m].

    at_block_start : (blocks, D).
    """

    at_block_start: np.ndarray

    @abstractmethod
    def inside(self, block: int, window: tuple[float, ...], times: np.ndarray) -> np.ndarray:
        """Integral from the start of a block to ``times`` in it, (n, D); ``window`` names the times.

        Equal results may be one object, so that they can be recognised by identity.
        """


@final
class NominalMoments(Moments):
    """Gradient moments as the sequence demands them (D = 3)."""

    def __init__(self, sequence: Sequence) -> None:
        self._sequence = sequence
        areas = sequence.block_moments()
        self.at_block_start = np.vstack([np.zeros(3), np.cumsum(areas, axis=0)[:-1]])
        self._cache: dict[tuple[object, ...], np.ndarray] = {}
        self._axis: dict[tuple[object, ...], np.ndarray] = {}

    def inside(self, block: int, window: tuple[float, ...], times: np.ndarray) -> np.ndarray:
        """See `Moments.inside`."""
        s = self._sequence
        ids = (int(s.gx[block]), int(s.gy[block]), int(s.gz[block]))
        whole = self._cache.get((*ids, window))
        if whole is None:
            # Axis by axis first: the many combinations of encoding steps share few gradients.
            columns = [self._along(number, window, times) for number in ids]
            whole = self._cache[(*ids, window)] = np.stack(columns, axis=1)
        return whole

    def _along(self, number: int, window: tuple[float, ...], times: np.ndarray) -> np.ndarray:
        found = self._axis.get((number, window))
        if found is None:
            events = self._sequence.grad_events
            found = gradient_integral(events[number - 1], times) if number else np.zeros(times.size)
            self._axis[(number, window)] = found
        return found


@dataclass(frozen=True, kw_only=True)
class Path:
    """Path right after each pulse (P pulses), and where the pulses are.

    center, end : (P,) times [s];  use : what each pulse is for;  k0 : (P, D) path after it;
    tau0 : (P,) [s];  moment : (P, D) integral from the start of the sequence to its centre.
    """

    center: np.ndarray
    end: np.ndarray
    use: tuple[str, ...]
    k0: np.ndarray
    tau0: np.ndarray
    moment: np.ndarray


def follow(sequence: Sequence, moments: Moments) -> Path:
    """Walk through all pulses along the path of the k-space convention."""
    blocks = sequence.rf_blocks
    events = sequence.rf_events
    kinds = [infer_use(event) for event in events]
    n, size = blocks.size, moments.at_block_start.shape[1]
    center, end = np.empty(n), np.empty(n)
    k0, tau0, moment = np.zeros((n, size)), np.zeros(n), np.zeros((n, size))
    use = []
    for p, block in enumerate(blocks):
        number = int(sequence.rf[block]) - 1
        event = events[number]
        use.append(kinds[number])
        center[p] = sequence.start[block] + event.center
        end[p] = sequence.start[block] + event.end
        at_center = moments.inside(block, (event.center,), np.array([event.center]))[0]
        moment[p] = moments.at_block_start[block] + at_center
        if p == 0 or use[p] == "excitation":
            continue
        k, tau = k0[p - 1] + moment[p] - moment[p - 1], tau0[p - 1] + center[p] - center[p - 1]
        sign = -1.0 if use[p] == "refocusing" else 1.0
        k0[p], tau0[p] = sign * k, sign * tau
    return Path(center=center, end=end, use=tuple(use), k0=k0, tau0=tau0, moment=moment)


class _Patterns:
    """Distinct courses of the path inside readouts."""

    def __init__(self) -> None:
        self.offsets: list[np.ndarray] = []
        self._of_content: dict[bytes, int] = {}
        self._seen: dict[int, int] = {}

    def number(self, inside: np.ndarray) -> int:
        """Index of a course; events that differ only by rounding share one."""
        known = self._seen.get(id(inside))
        if known is None:
            content = np.round(inside, 4).tobytes()
            known = self._seen[id(inside)] = self._of_content.setdefault(content, len(self.offsets))
            if known == len(self.offsets):
                self.offsets.append(inside)
        return known


def readouts_of(sequence: Sequence, path: Path, moments: Moments, f0: float) -> Readouts:
    """All readouts that follow a pulse.

    Raises
    ------
    UnsupportedSequenceError
        If there is none: such a sequence has no raw data.
    """
    blocks = sequence.adc_blocks
    pulse = np.searchsorted(sequence.rf_blocks, blocks, side="right") - 1
    heard = np.flatnonzero(pulse >= 0)
    if heard.size == 0:
        raise UnsupportedSequenceError(
            f"a readout must follow a pulse; the sequence has {sequence.rf_blocks.size} pulses and "
            f"{sequence.adc_blocks.size} readouts. There is no signal to simulate."
        )
    patterns, kept = _Patterns(), []
    pattern, base = np.empty(heard.size, np.int64), np.empty((heard.size, path.k0.shape[1]))
    first, dwell = np.empty(heard.size), np.empty(heard.size)
    phase, freq = np.empty(heard.size), np.empty(heard.size)
    for r, a in enumerate(heard):
        block, number = int(blocks[a]), int(sequence.adc[blocks[a]])
        event = sequence.adc_events[number - 1]
        inside = moments.inside(block, (event.num, event.dwell, event.delay), event.sample_times)
        kept.append(inside)  # alive, so that identities stay distinct
        pattern[r] = patterns.number(inside)
        p = pulse[a]
        base[r] = path.k0[p] + moments.at_block_start[block] - path.moment[p]
        first[r] = sequence.start[block] + event.sample_times[0]
        dwell[r], freq[r] = event.dwell, event.freq_offset + event.freq_ppm * 1e-6 * f0
        phase[r] = event.phase_offset + event.phase_ppm * 1e-6 * f0 + np.pi * freq[r] * event.dwell
    p = pulse[heard]
    return Readouts(
        adc=heard, pulse=p, base=base, pattern=pattern, offsets=tuple(patterns.offsets),
        since_rf=first - path.end[p], tau=path.tau0[p] + first - path.center[p],
        dwell=dwell, phase=phase, freq=freq,
    )  # fmt: skip


def kspace_readouts(sequence: Sequence, *, f0: float) -> Readouts:
    """Where in k-space every readout lies, of any sequence, as demanded.

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
    moments = NominalMoments(sequence)
    return readouts_of(sequence, follow(sequence, moments), moments, f0)

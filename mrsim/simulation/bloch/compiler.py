"""The compiler: walks through the blocks of a sequence and writes operations, a window at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from protocols import RfEvent, Sequence

from ..waveform import Integrals, Waveform, in_body, reach
from .fields import TIME
from .pending import EchoPath, Pending, StepTable
from .program import Encoding, Rows, Window
from .pulse_library import Evaluate, PlayedPulse, PulseLibrary
from .segments import cut_readout
from .tables import FREE, PULSE, READ

_PLANS = 8192
"""Plans of blocks that are kept: some tens of megabytes."""


class BlockPlan:
    """What one block does, times [s] and phase integrals counted from its start.

    end : (D,) phase integrals over the whole block;
    rf : its pulse, None without one;
    runs : of its readout: time (r,), integrals (r, D), count (r,), rate (r, D), curve (r, D); or nothing.
    """

    def __init__(
        self,
        sequence: Sequence,
        block: int,
        evaluate: Evaluate,
        knots: np.ndarray,
        how: Encoding,
        library: PulseLibrary,
    ) -> None:
        self.end = evaluate(np.array([sequence.duration[block]]))[0]
        number = int(sequence.rf[block])
        self.rf: PlayedPulse | None = library.play(number, evaluate, knots) if number else None
        self.runs: tuple[np.ndarray, ...] = ()
        self.adc_start = np.inf
        event = sequence.adc_event(block)
        if event is not None:
            times = event.sample_times
            phi = evaluate(times)
            count, rate, curve = cut_readout(
                phi, how.stepping.scale_of(phi.shape[1]), how.tolerance, how.longest
            )
            first = np.concatenate([[0], np.cumsum(count)[:-1]])
            self.runs = (times[first], phi[first], count, rate, curve)
            self.adc_start = float(times[0])


class Compiler:
    """Operations of a sequence, window by window.

    Parameters
    ----------
    sequence : Sequence
    how : Encoding
    knots : callable or None
        For bodies that deform: gives the times [s] of the coordinates between two times; None otherwise.
    samples, rows : int
        A window ends at the block that exceeds one of these numbers of ADC samples and operations.
    """

    def __init__(
        self, sequence: Sequence, how: Encoding, *, knots: Callable[[float, float], np.ndarray] | None = None,
        samples: int = 1 << 16, rows: int = 1 << 14,
    ) -> None:  # fmt: skip
        self.sequence, self.how = sequence, how
        self.library = PulseLibrary(
            sequence, f0=how.f0, sign=how.sign, stepping=how.stepping, uniform_at=how.layout.uniform_at
        )
        self._knots, self._samples, self._rows = knots, samples, rows
        self._plans: dict[tuple[int, ...], tuple[BlockPlan, Integrals]] = {}
        self._receiver: dict[int, np.ndarray] = {}
        # Events that differ in their phase only are planned once.
        self._rf_kind = _kinds([_rf_content(e, how.f0) for e in sequence.rf_events])
        self._adc_kind = _kinds([(e.num, e.dwell, e.delay) for e in sequence.adc_events])
        self._ticks = np.rint(sequence.duration * 1e9).astype(np.int64).tolist()
        # b-value of the echo path and its moment since the excitation.
        self._b, self._path = 0.0, np.zeros(3)

    def windows(self) -> Iterator[Window]:
        """All windows in play order."""
        block, total = 0, self.sequence.n_blocks
        while block < total:
            stop = self._window_end(block)
            yield self._compile(block, stop)
            block = stop

    def _window_end(self, first: int) -> int:
        s = self.sequence
        samples = np.array([0, *(e.num for e in s.adc_events)])
        most = min(first + max(self._rows // 4, 1), s.n_blocks)
        running = np.cumsum(samples[s.adc[first:most]])
        stop = first + int(np.searchsorted(running, self._samples, side="left")) + 1
        if self._knots is not None:
            start = float(s.start[first])
            ends = s.start[first:most] + s.duration[first:most]
            # A handful of knots a window: the coordinates at each are fields of their own.
            stop = min(stop, first + max(1, int(np.searchsorted(ends, start + 5e-3, side="right"))))
        return min(stop, most)

    def _compile(self, first: int, stop: int) -> Window:
        s = self.sequence
        start, end = float(s.start[first]), float(s.start[stop - 1] + s.duration[stop - 1])
        knots = np.array([start]) if self._knots is None else self._knots(start, end)
        whole = None if self.how.repeats else self._integrals(first, stop, start, end)
        if knots.size > 1:
            self.library.forget()
        rows, steps = Rows(), StepTable()
        receiver: list[np.ndarray] = []
        done, elapsed, samples = np.zeros(self.how.layout.size + self._more_knots(knots)), 0.0, 0
        for block in range(first, stop):
            plan, integrals, base = self._plan(block, whole, start, knots)
            done, elapsed = self._emit(block, plan, integrals, base, rows, steps, done, elapsed, samples)
            number = int(s.adc[block])
            if number:
                receiver.append(self._receiver_phase(number))
                samples += s.adc_events[number - 1].num
        if elapsed > 0.0 and not self.how.walk:
            rows.add(FREE, elapsed, done)
        return Window(
            ops=rows.table(done.size, self.how.walk), steps=steps.table(done.size), samples=samples,
            receiver=np.concatenate(receiver) if receiver else np.zeros(0), knots=knots,
            pulses=self.library.table(done.size),
        )  # fmt: skip

    def _more_knots(self, knots: np.ndarray) -> int:
        return 0 if self._knots is None else 3 * (knots.size - 1)

    def _integrals(self, first: int, stop: int, start: float, end: float) -> Integrals:
        """Integrals of the played waveform on world axes over a window, times from its start."""
        s, how = self.sequence, self.how
        before, after = how.system.memory
        low = int(np.searchsorted(s.start + s.duration, start - before, side="right"))
        high = int(np.searchsorted(s.start, end + after, side="left"))
        blocks = np.arange(min(low, first), max(high, stop))
        wave = Waveform.of_blocks(s, blocks, start).rotated(how.rotation)
        if how.system.changes_waveforms:
            wave = how.system.play(reach(wave, -before, end - start + after), 0.0, end - start)
        elif how.pose is not None or how.drift:
            wave = wave.with_axis(np.zeros((wave.left.shape[0], 2, 1)))
        if how.drift:
            wave = wave.drifting(start, how.drift)
        if how.pose is not None:
            wave = in_body(wave, how.pose, start)
        return Integrals(wave)

    def _plan(
        self, block: int, whole: Integrals | None, start: float, knots: np.ndarray
    ) -> tuple[BlockPlan, Integrals, float]:
        """Plan of a block, the integrals it was made from, and the block's start on their clock."""
        s = self.sequence
        if whole is not None:
            base = float(s.start[block]) - start
            evaluate = self._evaluator(whole, base, knots - start)
            kinks = np.concatenate([whole.wave.times, knots - start]) - base
            return BlockPlan(s, block, evaluate, kinks, self.how, self.library), whole, base
        played = (int(a[block]) for a in (s.gx, s.gy, s.gz))
        key = (self._rf_kind[s.rf[block]], self._adc_kind[s.adc[block]], *played, self._ticks[block])
        if key not in self._plans:
            if len(self._plans) >= _PLANS:
                self._plans.clear()
            wave = Waveform.of_blocks(s, [block], float(s.start[block])).rotated(self.how.rotation)
            integrals = Integrals(wave)
            evaluate = self._evaluator(integrals, 0.0, np.zeros(1))
            plan = BlockPlan(s, block, evaluate, wave.times, self.how, self.library)
            self._plans[key] = plan, integrals
        return (*self._plans[key], 0.0)

    def _evaluator(self, integrals: Integrals, base: float, knots: np.ndarray) -> Evaluate:
        layout = self.how.layout
        size = layout.size + (3 * (knots.size - 1) if self._knots is not None else 0)

        def absolute(times: np.ndarray) -> np.ndarray:
            phi = np.zeros((times.size, size))
            moment = integrals.moment(times)
            phi[:, :3] = moment[:, :3]
            phi[:, TIME] = times
            if moment.shape[1] > 3:
                phi[:, layout.uniform_at] = moment[:, 3]
            if layout.maxwell:
                phi[:, layout.maxwell_at : layout.maxwell_at + 4] = integrals.products(times)
            if knots.size > 1:
                weighted = integrals.weighted(times, knots)
                phi[:, :3] = weighted[:, 0, :3]
                phi[:, layout.knots_at :] = weighted[:, 1:, :3].reshape(times.size, -1)
            return phi

        zero = absolute(np.array([base]))
        return lambda times: absolute(base + times) - zero

    def _emit(
        self, block: int, plan: BlockPlan, integrals: Integrals, base: float, rows: Rows, steps: StepTable,
        done: np.ndarray, elapsed: float, samples: int,
    ) -> tuple[np.ndarray, float]:  # fmt: skip
        """Write the operations of one block; return phases and time that are left to precess."""
        pending = Pending(done, elapsed, integrals if self.how.walk else None, base)
        mark = None
        if self.how.path:
            mark = EchoPath(self._b, self._path, integrals, base, self.sequence.rf_event(block))
        reads_first = plan.rf is None or plan.adc_start < plan.rf.start
        if reads_first:
            self._read(block, plan, rows, steps, pending, samples, mark)
        if plan.rf is not None:
            pending.advance(rows, plan.rf.start, plan.rf.before)
            event = self.sequence.rf_events[int(self.sequence.rf[block]) - 1]
            turn = self.how.sign * event.total_phase_offset(self.how.f0) / (2 * np.pi)
            shim, nothing = int(self.sequence.shim[block]), np.zeros(plan.end.size)
            rows.add(PULSE, 0.0, nothing, link=plan.rf.number, turn=turn, shim=shim)
            pending.restart(plan.rf.end, plan.rf.after)
        if not reads_first:
            self._read(block, plan, rows, steps, pending, samples, mark)
        if mark is not None:
            self._b, self._path = mark.end(float(self.sequence.duration[block]))
        if self.how.walk:
            pending.advance(rows, float(self.sequence.duration[block]), plan.end)
        return pending.rest(float(self.sequence.duration[block]), plan.end)

    def _read(
        self, block: int, plan: BlockPlan, rows: Rows, steps: StepTable, pending: Pending, first: int,
        mark: EchoPath | None,
    ) -> None:  # fmt: skip
        if not plan.runs:
            return
        dwell = self.sequence.adc_events[int(self.sequence.adc[block]) - 1].dwell
        for time, phi, count, rate, curve in zip(*plan.runs, strict=True):
            path, growth = (0.0, 0.0) if mark is None else mark.at(float(time), float(dwell), int(count))
            if self.how.walk:
                pending.advance(rows, float(time), phi)
            elapsed, gained = pending.since(float(time), phi)
            link = steps.add(rate, curve, float(dwell), growth)
            rows.add(READ, elapsed, gained, link=link, first=first, samples=int(count), path=path)
            first += int(count)

    def _receiver_phase(self, number: int) -> np.ndarray:
        """Phase of the receiver at each sample of an ADC event [rad], in the sense of the signal."""
        if number not in self._receiver:
            event, f0 = self.sequence.adc_events[number - 1], self.how.f0
            freq = event.freq_offset + event.freq_ppm * 1e-6 * f0
            phase = event.phase_offset + event.phase_ppm * 1e-6 * f0
            total = phase + 2 * np.pi * freq * (event.sample_times - event.delay)
            if event.phase_modulation is not None:
                total = total + event.phase_modulation
            self._receiver[number] = self.how.sign * total
        return self._receiver[number]


def _rf_content(event: RfEvent, f0: float) -> tuple[object, ...]:
    """Return all of an RF event but its phase."""
    return (event.times.tobytes(), event.b1.tobytes(), event.delay, event.shape_duration, event.center,
            event.total_freq_offset(f0), event.use)  # fmt: skip


def _kinds(contents: list[tuple[object, ...]]) -> list[int]:
    """Return the number of the kind of each event, 0 for none."""
    known: dict[tuple[object, ...], int] = {}
    return [0, *(known.setdefault(content, len(known) + 1) for content in contents)]

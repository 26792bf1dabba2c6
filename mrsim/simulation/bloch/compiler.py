"""The compiler: walks through the blocks of a sequence and writes operations, a window at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from protocols import Sequence, infer_use

from .fields import TIME
from .program import Encoding, Rows, Window
from .pulse_library import Evaluate, PlayedPulse, PulseLibrary
from .segments import cut_readout
from .tables import FREE, PULSE, READ, Steps
from .waveform import Integrals, Waveform

_TAU2 = (2 * np.pi) ** 2
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
        rows, steps = Rows(), _StepTable()
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
            wave = how.system.play(_reach(wave, -before, end - start + after), 0.0, end - start)
        elif how.pose is not None:
            wave = wave.with_axis(np.zeros((wave.left.shape[0], 2, 1)))
        if how.pose is not None:
            wave = _in_body(wave, how.pose, start)
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
        events = (int(a[block]) for a in (s.rf, s.gx, s.gy, s.gz, s.adc))
        key = (*events, round(float(s.duration[block]) * 1e9))
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
        self, block: int, plan: BlockPlan, integrals: Integrals, base: float, rows: Rows, steps: _StepTable,
        done: np.ndarray, elapsed: float, samples: int,
    ) -> tuple[np.ndarray, float]:  # fmt: skip
        """Write the operations of one block; return phases and time that are left to precess."""
        pending = _Pending(done, elapsed, integrals if self.how.walk else None, base)
        mark = _EchoPath(self, integrals, base, block) if self.how.path else None
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
        self, block: int, plan: BlockPlan, rows: Rows, steps: _StepTable, pending: _Pending, first: int,
        mark: _EchoPath | None,
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


class _Pending:
    """Free precession that has been collected but not yet written."""

    def __init__(self, done: np.ndarray, elapsed: float, walk: Integrals | None, base: float) -> None:
        # Phase and time that the state lags behind the start of the block.
        self._lag, self._late, self._walk, self._base = done, elapsed, walk, base

    def since(self, time: float, phi: np.ndarray) -> tuple[float, np.ndarray]:
        """Time and phases from the state to a moment of the block."""
        return self._late + time, self._lag + phi

    def advance(self, rows: Rows, time: float, phi: np.ndarray) -> None:
        """Bring the state to a moment of the block."""
        elapsed, gained = self.since(time, phi)
        if elapsed > 0.0:
            walk = None
            if self._walk is not None:
                walk = self._walk.residual_walk(self._base - self._late, self._base + time)
            rows.add(FREE, elapsed, gained, walk=walk)
        self.restart(time, phi)

    def restart(self, time: float, phi: np.ndarray) -> None:
        """Note that the state is at a moment of the block."""
        self._late, self._lag = -time, -phi

    def rest(self, duration: float, end: np.ndarray) -> tuple[np.ndarray, float]:
        """Phases and time that are left at the end of the block."""
        return self._lag + end, self._late + duration


class _EchoPath:
    """b-value along the k-space path: new at an excitation, moment negated by a refocusing."""

    def __init__(self, compiler: Compiler, integrals: Integrals, base: float, block: int) -> None:
        self._b, self._k, self._integrals, self._base = compiler._b, compiler._path, integrals, base
        self._from = 0.0
        s = compiler.sequence
        event = s.rf_event(block)
        self._pulse = None if event is None else (event.center, infer_use(event))

    def at(self, time: float, dwell: float, count: int) -> tuple[float, float]:
        """b-value at a time of the block and its growth per sample over a run [s/m^2]."""
        b = self._value(time)[0]
        if count == 1:
            return b, 0.0
        return b, (self._value(time + dwell * (count - 1))[0] - b) / (count - 1)

    def end(self, time: float) -> tuple[float, np.ndarray]:
        """b-value and moment at the end of the block."""
        return self._value(time)

    def _value(self, time: float) -> tuple[float, np.ndarray]:
        if self._pulse is not None and time > self._pulse[0]:
            center, use = self._pulse
            self._pulse = None
            b, k = self._value(center)
            if use == "excitation":
                b, k = 0.0, np.zeros(3)
            elif use == "refocusing":
                k = -k
            self._b, self._k, self._from = b, k, center
        ends = self._base + np.array([self._from, time])
        once, square = (np.asarray(a)[:, :3] for a in self._integrals.moment_integrals(ends))
        start, stop = self._integrals.moment(ends)[:, :3]
        span = time - self._from
        # k(t) = k_from + K(t) - K(from), squared and integrated.
        offset = self._k - start
        b = offset @ offset * span + 2 * offset @ (once[1] - once[0]) + (square[1] - square[0]).sum()
        return self._b + _TAU2 * float(b), self._k + stop - start


class _StepTable:
    """Distinct steps between samples."""

    def __init__(self) -> None:
        self._index: dict[bytes, int] = {}
        self._rate: list[np.ndarray] = []
        self._curve: list[np.ndarray] = []
        self._dwell: list[float] = []
        self._path: list[float] = []

    def add(self, rate: np.ndarray, curve: np.ndarray, dwell: float, path: float) -> int:
        """Return the number of a step."""
        key = rate.tobytes() + curve.tobytes() + np.array([dwell, path]).tobytes()
        if key not in self._index:
            self._index[key] = len(self._rate)
            self._rate.append(rate)
            self._curve.append(curve)
            self._dwell.append(dwell)
            self._path.append(path)
        return self._index[key]

    def table(self, fields: int) -> Steps:
        """Arrays for the kernels."""
        curve = np.array(self._curve, float).reshape(-1, fields)
        return Steps(
            rate=np.array(self._rate, float).reshape(-1, fields), curve=curve,
            dwell=np.array(self._dwell, float),
            path=np.array(self._path, float), curved=np.any(curve != 0.0, axis=1),
        )  # fmt: skip


def _reach(wave: Waveform, first: float, last: float) -> Waveform:
    """Waveform with zeros added so that it spans at least [first, last]."""
    return wave.cut(min(first, float(wave.times[0])), max(last, float(wave.times[-1])))


def _in_body(
    wave: Waveform, pose: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], start: float
) -> Waveform:
    """Waveform as a moving rigid body feels it: R(t)^T G(t), and G(t) . origin(t) as a homogeneous field.

    The products are taken as linear over at most 20 microseconds, where a body turns by less than 1e-4 rad.
    """
    fine = np.arange(wave.times[0], wave.times[-1], 2e-5)
    wave = Waveform.join([*(wave.knots(a) for a in range(wave.left.shape[1])), (fine, np.zeros_like(fine))],
                         float(wave.times[0]), float(wave.times[-1]))  # fmt: skip
    rotation, origin = pose(start + wave.times)
    sides = []
    for values, at in ((wave.left, slice(None, -1)), (wave.right, slice(1, None))):
        turned = np.einsum("tij,ti->tj", rotation[at], values[:, :3])
        shift = np.einsum("ti,ti->t", origin[at], values[:, :3]) + values[:, 3]
        sides.append(np.hstack([turned, shift[:, None]]))
    return Waveform(times=wave.times, left=sides[0], right=sides[1])

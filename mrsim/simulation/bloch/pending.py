"""What is carried from block to block while a sequence is compiled."""

from __future__ import annotations

import numpy as np

from protocols import RfEvent, infer_use

from ..waveform import Integrals
from .program import Rows
from .tables import FREE, Steps

_TAU2 = (2 * np.pi) ** 2


class Pending:
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


class EchoPath:
    """b-value along the k-space path: new at an excitation, moment negated by a refocusing."""

    def __init__(
        self, b: float, k: np.ndarray, integrals: Integrals, base: float, event: RfEvent | None
    ) -> None:
        self._b, self._k, self._integrals, self._base = b, k, integrals, base
        self._from = 0.0
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


class StepTable:
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

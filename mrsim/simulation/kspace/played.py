"""Where the gradients of a real system lead: delays, low-pass, eddy currents, Maxwell terms.

The path has eight components: k on the logical axes [1/m], the phase of homogeneous fields [cycles], and the
integrals of Gx^2 + Gy^2, Gz^2, Gx Gz, Gy Gz on world axes [Hz^2 s/m^2] that multiply the Maxwell maps.

All filters are linear and act on the moments themselves, exactly for the piecewise-linear waveforms of a
sequence: a delay shifts them; the Gaussian low-pass exp(-(f/fc)^2) is an average over a normal distribution
of delays with SD 1/(sqrt(2) pi fc), taken by Gauss-Hermite quadrature; an eddy-current term with step
response a exp(-t/tau) subtracts a y, with y' = -y/tau + G.
"""

from __future__ import annotations

from typing import final

import numpy as np
from numba import njit

from protocols import GradEvent, Sequence, gradient_integral

from ..gradients import GradientSystem
from .path import Moments, UnsupportedSequenceError
from .squares import Squares

SIZE, HOMOGENEOUS, MAXWELL = 8, 3, 4
_NODES = 12
"""Gauss-Hermite nodes of the low-pass: a polynomial of degree 23 over four SD; moments are quadratics."""
_K_STEP = 4e-3
"""Eddy-current courses count as equal within this [1/m]: a thousandth of a cycle across 0.25 m."""
_MARGIN = 1e-3
"""Longest that delays and the low-pass reach ahead [s]."""


@njit(cache=True)  # type: ignore[untyped-decorator]
def _relax(end: np.ndarray, decay: np.ndarray) -> np.ndarray:
    """Value of y at the start of each block from its growth in each block and its decay over it."""
    out = np.zeros(end.size)
    value = 0.0
    for b in range(end.size):
        out[b] = value
        value = value * decay[b] + end[b]
    return out


def _response(event: GradEvent, at: np.ndarray, tau: float) -> np.ndarray:
    """Return y(t), t from block start, for y' = -y/tau + G from y(0) = 0, exact."""
    times, values = event.times, event.values
    out = np.zeros(at.size)
    for t0, t1, g0, g1 in zip(times[:-1], times[1:], values[:-1], values[1:], strict=True):
        if t1 <= t0:
            continue
        slope = (g1 - g0) / (t1 - t0)
        u = np.clip(at - t0, 0.0, t1 - t0)
        # Particular solution of a linear drive, then free decay after the segment.
        grown = tau * (g0 - slope * tau) * -np.expm1(-u / tau) + slope * tau * u
        out += grown * np.exp(-np.maximum(at - t1, 0.0) / tau)
    return out


@final
class PlayedMoments(Moments):
    """Moments as a gradient system plays them.

    Parameters
    ----------
    sequence : Sequence
    system : GradientSystem
        Its spatial field plays no role here.
    axes : array (3, 3)
        World directions of the logical axes, in columns.

    Raises
    ------
    UnsupportedSequenceError
        For a measured impulse response, which the exact engine plays.
    """

    def __init__(self, sequence: Sequence, system: GradientSystem, axes: np.ndarray) -> None:
        if system.impulse_response is not None:
            raise UnsupportedSequenceError(
                "a tabulated impulse response is played by the exact Bloch engine only; give delays, a "
                "low-pass and eddy currents to the k-space engine."
            )
        self._sequence, self._system, self._axes = sequence, system, np.asarray(axes, float)
        self._ids = np.stack([sequence.gx, sequence.gy, sequence.gz], axis=1).astype(np.int64)
        areas = sequence.block_moments()
        self._nominal = np.vstack([np.zeros(3), np.cumsum(areas, axis=0)])
        self._memo: dict[tuple[object, ...], np.ndarray] = {}
        self._late_parts: dict[tuple[object, ...], tuple[int, list[np.ndarray]]] = {}
        self._responses: dict[tuple[object, ...], np.ndarray] = {}
        self._late_known: dict[bytes, tuple[int, list[np.ndarray]]] = {}
        self._begin = np.array([np.inf, *(e.times[0] for e in sequence.grad_events)])
        self._mix = np.einsum("al,am->alm", self._axes, self._axes)
        self._eddies = self._eddy_states()
        self._squares = Squares(sequence, self._ids, self._axes) if system.concomitant else None
        blocks = sequence.n_blocks
        self.at_block_start = np.zeros((blocks, SIZE))
        self.at_block_start[:, :3] = self._nominal[:-1]
        if self._squares is not None:
            self.at_block_start[:, MAXWELL:] = self._squares.at_block_start

    def _eddy_states(self) -> list[np.ndarray]:
        """For each eddy term y at the start of every block, per logical axis (blocks, 3)."""
        s, found = self._sequence, []
        known: dict[float, np.ndarray] = {}
        for term in self._system.eddy:
            tau = term.time_constant
            if tau not in known:
                decay = np.exp(-s.duration / tau)
                columns = []
                for axis in range(3):
                    end = np.zeros(s.n_blocks)
                    kinds, inverse = np.unique(
                        np.stack([self._ids[:, axis], np.rint(s.duration * 1e9)], axis=1), axis=0,
                        return_inverse=True,
                    )  # fmt: skip
                    values = [
                        _response(s.grad_events[int(i) - 1], np.array([d * 1e-9]), tau)[0] if i else 0.0
                        for i, d in kinds
                    ]
                    end[:] = np.asarray(values)[inverse.reshape(-1)]
                    columns.append(_relax(end, decay))
                known[tau] = np.stack(columns, axis=1)
            found.append(known[tau])
        return found

    def inside(self, block: int, window: tuple[float, ...], times: np.ndarray) -> np.ndarray:
        """See `Moments.inside`."""
        ids = self._met(block, float(times[-1]))
        late = [self._late(block, axis, window, times) for axis in range(3)] if self._late_matters else []
        starts = [y[block] for y in self._eddies]
        scale = [abs(e.amplitude) / _K_STEP for e in self._system.eddy]
        quantised = tuple(
            tuple(np.rint(y * c).astype(int).tolist()) for y, c in zip(starts, scale, strict=True)
        )
        key = (ids, window, tuple(number for number, _ in late), quantised)
        found = self._memo.get(key)
        if found is None:
            found = np.zeros((times.size, SIZE))
            for axis in range(3):
                found[:, axis] = self._demanded(block, axis, times)
            for axis, (_, parts) in enumerate(late):
                for world, part in enumerate(parts):
                    found[:, :3] += np.outer(part, self._mix[world, :, axis])
            found[:, :4] += self._induced(block, window, times, starts)
            if self._squares is not None:
                found[:, MAXWELL:] = self._squares.inside(block, window, times)
            self._memo[key] = found
        return found

    def _met(self, block: int, last: float) -> tuple[int, ...]:
        """Events of a block that begin before a time in it; 0 for all others."""
        return tuple(
            int(i) if i and self._begin[i] < last + _MARGIN else 0 for i in self._ids[block].tolist()
        )

    @property
    def _late_matters(self) -> bool:
        return any(self._system.delay) or self._system.low_pass is not None

    def _late(
        self, block: int, axis: int, window: tuple[float, ...], times: np.ndarray
    ) -> tuple[int, list[np.ndarray]]:
        """Return filtered minus demanded moment of a logical axis for each world axis, and its number."""
        near = self._ids[max(block - 1, 0) : block + 2, axis].tobytes()
        key = (axis, near, window)
        found = self._late_parts.get(key)
        if found is None:
            parts = [self._filtered(block, axis, world, times) for world in range(3)]
            content = np.round(np.concatenate(parts), 4).tobytes()
            known = self._late_known.setdefault(content, (len(self._late_known), parts))
            found = self._late_parts[key] = known
        return found

    def _filtered(self, block: int, axis: int, world: int, times: np.ndarray) -> np.ndarray:
        """Moment after delay and low-pass of a world axis, minus the demanded one."""
        if np.abs(self._mix[world, :, axis]).max() < 1e-9:
            return np.zeros(times.size)
        low_pass = self._system.low_pass
        sigma = 0.0 if low_pass is None else 1.0 / (np.sqrt(2.0) * np.pi * low_pass)
        nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES if sigma else 1)
        late = np.zeros(times.size)
        for node, weight in zip(nodes, weights / weights.sum(), strict=True):
            late += weight * self._demanded(block, axis, times - self._system.delay[world] - sigma * node)
        return np.asarray(late - self._demanded(block, axis, times))

    def _demanded(self, block: int, axis: int, times: np.ndarray) -> np.ndarray:
        """Demanded moment from the block's start to times that may lie a block before or after it."""
        s, n = self._sequence, self._sequence.n_blocks
        out = np.zeros(times.size)
        for other in (block - 1, block, block + 1):
            if not 0 <= other < n:
                continue
            number = self._ids[other, axis]
            offset = float(s.start[other] - s.start[block])
            if other != block and not ((times < 0) if other < block else (times > s.duration[block])).any():
                continue
            if not number:
                continue
            event = s.grad_events[number - 1]
            if other < block:
                # Moment from time t < 0 to the start of the block, taken back.
                whole = gradient_integral(event, np.array([s.duration[other]]))[0]
                part = gradient_integral(event, np.minimum(times, 0.0) - offset)
                out -= whole - part
            else:
                out += gradient_integral(event, np.maximum(times - offset, 0.0))
        return out

    def _induced(
        self, block: int, window: tuple[float, ...], times: np.ndarray, starts: list[np.ndarray]
    ) -> np.ndarray:
        """Moments of eddy currents: k on logical axes and homogeneous phase, (n, 4)."""
        out = np.zeros((times.size, 4))
        for term, y in zip(self._system.eddy, starts, strict=True):
            for axis in range(3):
                weight = self._axes[term.source, axis]
                if abs(weight) < 1e-9:
                    continue
                number = self._ids[block, axis]
                course = y[axis] * np.exp(-times / term.time_constant)
                if number:
                    course = course + self._own(int(number), window, times, term.time_constant)
                course = -term.amplitude * weight * course
                if term.target is None:
                    out[:, HOMOGENEOUS] += course
                else:
                    out[:, :3] += np.outer(course, self._axes[term.target])
        return out

    def _own(self, number: int, window: tuple[float, ...], times: np.ndarray, tau: float) -> np.ndarray:
        """Response to a gradient of the block itself."""
        key = (number, window, tau)
        found = self._responses.get(key)
        if found is None:
            event = self._sequence.grad_events[number - 1]
            found = self._responses[key] = _response(event, times, tau)
        return found

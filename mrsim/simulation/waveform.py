"""Gradient waveforms of a stretch of a sequence as linear segments, and their exact time integrals."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Blocks
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from protocols import Sequence

_TICK = 1e-11
"""Knots closer than this [s] are one: files hold nanoseconds, sums of block lengths round at 1e-13 s."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Waveform:
    """Gradients (A axes, mostly 3) as linear segments that may jump in between.

    times : (m + 1,) ends of the segments [s];  left, right : (m, A) gamma-bar G at the start and the end of
    each segment [Hz/m]. Outside there is no gradient.
    """

    times: np.ndarray
    left: np.ndarray
    right: np.ndarray

    @classmethod
    def of_blocks(cls, sequence: Sequence, blocks: Blocks[int] | np.ndarray, origin: float) -> Waveform:
        """Waveform of some consecutive blocks on logical axes; times count from ``origin`` [s]."""
        axes = [_axis_knots(sequence, ids, blocks, origin) for ids in (sequence.gx, sequence.gy, sequence.gz)]
        first = float(sequence.start[blocks[0]]) - origin
        last = float(sequence.start[blocks[-1]] + sequence.duration[blocks[-1]]) - origin
        return cls.join(axes, first, last)

    @classmethod
    def join(cls, axes: list[tuple[np.ndarray, np.ndarray]], first: float, last: float) -> Waveform:
        """Waveform on [first, last] from knots (times, values) of each axis; equal times are a jump."""
        inside = [t[(t > first) & (t < last)] for t, _ in axes]
        times = np.unique(np.rint(np.concatenate([*inside, [first, last]]) / _TICK)) * _TICK
        if times.size < 2:
            times = np.array([first, first + _TICK])
        middle = 0.5 * (times[1:] + times[:-1])
        left, right = np.zeros((middle.size, len(axes))), np.zeros((middle.size, len(axes)))
        for axis, (t, g) in enumerate(axes):
            if t.size < 2:
                continue
            i = np.searchsorted(t, middle, side="right") - 1
            within = (i >= 0) & (i < t.size - 1)
            j = np.clip(i, 0, t.size - 2)
            width = t[j + 1] - t[j]
            slope = (g[j + 1] - g[j]) / np.where(width > 0.0, width, 1.0)
            for out, at in ((left, times[:-1]), (right, times[1:])):
                out[:, axis] = np.where(within, g[j] + slope * (at - t[j]), 0.0)
        return cls(times=times, left=left, right=right)

    def rotated(self, matrix: np.ndarray) -> Waveform:
        """Waveform on other axes: ``matrix`` (3, 3) times the gradient."""
        return Waveform(times=self.times, left=self.left @ matrix.T, right=self.right @ matrix.T)

    def with_axis(self, values: np.ndarray) -> Waveform:
        """Waveform with one more axis; ``values`` (m, 2, 1) at both ends of each segment."""
        return Waveform(
            times=self.times,
            left=np.hstack([self.left, values[:, 0]]),
            right=np.hstack([self.right, values[:, 1]]),
        )

    def drifting(self, start: float, drift: float) -> Waveform:
        """Waveform whose axis 3, a homogeneous field, drifts: ``drift`` [Hz/s] from time -``start`` on."""
        left, right = self.left.copy(), self.right.copy()
        left[:, 3] += drift * (start + self.times[:-1])
        right[:, 3] += drift * (start + self.times[1:])
        return Waveform(times=self.times, left=left, right=right)

    def knots(self, axis: int) -> tuple[np.ndarray, np.ndarray]:
        """Knots of one axis, two at every inner time (the values before and after)."""
        times = np.repeat(self.times, 2)[1:-1]
        return times, np.stack([self.left[:, axis], self.right[:, axis]], axis=1).reshape(-1)

    def delayed(self, delay: np.ndarray) -> Waveform:
        """Waveform whose axis a comes ``delay[a]`` [s] later, on the same stretch of time."""
        shifted = [(t + d, g) for (t, g), d in zip(self._axes(), delay, strict=True)]
        return Waveform.join(shifted, float(self.times[0]), float(self.times[-1]))

    def cut(self, first: float, last: float) -> Waveform:
        """Return the part of the waveform on [first, last]."""
        return Waveform.join(self._axes(), first, last)

    def _axes(self) -> list[tuple[np.ndarray, np.ndarray]]:
        return [self.knots(a) for a in range(self.left.shape[1])]

    def sampled(self, at: np.ndarray) -> np.ndarray:
        """Values (n, A) at given times, the mean of both sides of a jump."""
        return np.asarray(0.5 * (self._values(at, "left") + self._values(at, "right")))

    def _values(self, at: np.ndarray, side: str) -> np.ndarray:
        nudge = -_TICK if side == "left" else _TICK
        i = np.searchsorted(self.times, at + nudge, side="right") - 1
        within = (i >= 0) & (i < len(self.left))
        i = np.clip(i, 0, len(self.left) - 1)
        share = ((at - self.times[i]) / (self.times[i + 1] - self.times[i])).clip(0.0, 1.0)[:, None]
        values = self.left[i] * (1.0 - share) + self.right[i] * share
        return np.asarray(np.where(within[:, None], values, 0.0))


def _axis_knots(
    sequence: Sequence, ids: np.ndarray, blocks: Blocks[int] | np.ndarray, origin: float
) -> tuple[np.ndarray, np.ndarray]:
    """Knots of one axis, with zeros around every event."""
    times: list[np.ndarray] = []
    values: list[np.ndarray] = []
    for block in blocks:
        number = int(ids[block])
        if not number:
            continue
        event = sequence.grad_events[number - 1]
        t = event.times + (float(sequence.start[block]) - origin)
        times += [t[:1], t, t[-1:]]
        values += [np.zeros(1), event.values, np.zeros(1)]
    if not times:
        return np.zeros(0), np.zeros(0)
    joined = np.concatenate(times)
    # Blocks touch: round-off must not put the end of one after the start of the next.
    return np.maximum.accumulate(joined), np.concatenate(values)


def reach(wave: Waveform, first: float, last: float) -> Waveform:
    """Waveform with zeros added so that it spans at least [first, last]."""
    return wave.cut(min(first, float(wave.times[0])), max(last, float(wave.times[-1])))


def in_body(
    wave: Waveform, pose: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], start: float
) -> Waveform:
    """Waveform as a moving rigid body feels it: R(t)^T G(t), and G(t) . origin(t) as a homogeneous field.

    The products are taken as linear over at most 10 microseconds, where a body turns by less than 1e-4 rad.
    """
    fine = np.arange(wave.times[0], wave.times[-1], 1e-5)
    wave = Waveform.join([*(wave.knots(a) for a in range(wave.left.shape[1])), (fine, np.zeros_like(fine))],
                         float(wave.times[0]), float(wave.times[-1]))  # fmt: skip
    rotation, origin = pose(start + wave.times)
    sides = []
    for values, at in ((wave.left, slice(None, -1)), (wave.right, slice(1, None))):
        turned = np.einsum("tij,ti->tj", rotation[at], values[:, :3])
        shift = np.einsum("ti,ti->t", origin[at], values[:, :3]) + values[:, 3]
        sides.append(np.hstack([turned, shift[:, None]]))
    return Waveform(times=wave.times, left=sides[0], right=sides[1])


class Integrals:
    """Exact time integrals of a waveform, its products and its weights, from its start to any time."""

    def __init__(self, wave: Waveform) -> None:
        self.wave = self._wave = wave
        self._width = np.diff(wave.times)
        self._slope = (wave.right - wave.left) / self._width[:, None]
        self._area = _running(0.5 * (wave.left + wave.right) * self._width[:, None])

    def _locate(self, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Segment and time within it."""
        times = self._wave.times
        at = np.clip(at, times[0], times[-1])
        i = np.clip(np.searchsorted(times, at, side="right") - 1, 0, self._width.size - 1)
        return i, (at - times[i])[:, None]

    def moment(self, at: np.ndarray) -> np.ndarray:
        """Integral of each gradient [1/m], (n, A)."""
        i, u = self._locate(at)
        return np.asarray(self._area[i] + u * (self._wave.left[i] + 0.5 * u * self._slope[i]))

    def products(self, at: np.ndarray) -> np.ndarray:
        """Integrals of (Gx^2 + Gy^2, Gz^2, Gx Gz, Gy Gz) [Hz^2 s/m^2], (n, 4)."""
        i, u = self._locate(at)
        found = self._product_sums[i] + self._products_inside(i, u)
        return np.stack([found[:, 0] + found[:, 1], found[:, 2], found[:, 3], found[:, 4]], axis=1)

    @cached_property
    def _product_terms(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Polynomial coefficients of the integral of GxGx, GyGy, GzGz, GxGz, GyGz within each segment."""
        g, s = self._wave.left, self._slope
        a, b = [0, 1, 2, 0, 1], [0, 1, 2, 2, 2]
        return (g[:, a] * g[:, b], 0.5 * (g[:, a] * s[:, b] + s[:, a] * g[:, b]), s[:, a] * s[:, b] / 3)

    def _products_inside(self, i: np.ndarray, u: np.ndarray) -> np.ndarray:
        first, second, third = self._product_terms
        return np.asarray(u * (first[i] + u * (second[i] + u * third[i])))

    @cached_property
    def _product_sums(self) -> np.ndarray:
        return _running(self._products_inside(np.arange(self._width.size), self._width[:, None]))

    def weighted(self, at: np.ndarray, knots: np.ndarray) -> np.ndarray:
        """Integrals of each gradient times each hat function over ``knots`` [1/m], (n, knots, 3).

        The hats are linear between the knots and sum to 1 from the first knot to the last.
        """
        # int G t dt, exact per segment, gives every linear weight.
        start, g, s = self._wave.times[:-1, None], self._wave.left, self._slope

        def inside(i: np.ndarray, u: np.ndarray) -> np.ndarray:
            t = start[i]
            return np.asarray(u * (g[i] * t + u * (0.5 * (s[i] * t + g[i]) + u * s[i] / 3)))

        total = _running(inside(np.arange(self._width.size), self._width[:, None]))

        def first_moment(times: np.ndarray) -> np.ndarray:
            i, u = self._locate(times)
            return np.asarray(total[i] + inside(i, u))

        out = np.zeros((at.size, knots.size, 3))
        for j in range(knots.size - 1):
            low, high = knots[j], knots[j + 1]
            t = np.clip(at, low, high)
            m = self.moment(t) - self.moment(np.array([low]))
            m1 = first_moment(t) - first_moment(np.array([low]))
            rise = (m1 - low * m) / (high - low)
            out[:, j + 1] += rise
            out[:, j] += m - rise
        return out

    def moment_integrals(self, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Time integrals of the moment [s/m] and of its square [s/m^2] per axis, both (n, A)."""
        g, c, area = self._wave.left, 0.5 * self._slope, self._area

        def inside(i: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            # k(u) = a + b u + c u^2
            a, b, d = area[i], g[i], c[i]
            once = u * (a + u * (b / 2 + u * d / 3))
            square = u * (
                a * a + u * (a * b + u * ((b * b + 2 * a * d) / 3 + u * (b * d / 2 + u * d * d / 5)))
            )
            return once, square

        whole = inside(np.arange(self._width.size), self._width[:, None])
        i, u = self._locate(at)
        once, square = inside(i, u)
        return _running(whole[0])[i] + once, _running(whole[1])[i] + square

    def residual_walk(self, start: float, stop: float) -> np.ndarray:
        """Return what a random walk from ``start`` to ``stop`` needs: a row of `Ops.walk`.

        Returns
        -------
        (5,) duration [s]; integral of the moment still to come, K(stop) - K(t), per axis [s/m]; integral of
        its square, summed over the axes, minus |first|^2 / duration [s/m^2].
        """
        ends = np.array([start, stop])
        once, square = self.moment_integrals(ends)
        k = self.moment(ends[1:])[0, :3]
        duration = max(stop - start, 1e-12)
        p, q = np.diff(once[:, :3], axis=0)[0], np.diff(square[:, :3], axis=0)[0]
        first = k * duration - p
        rest = k * k * duration - 2 * k * p + q - first * first / duration
        return np.array([duration, *first, max(float(rest.sum()), 0.0)])


def _running(values: np.ndarray) -> np.ndarray:
    """Return the sums before each row, with one row of zeros in front and the total at the end."""
    return np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])

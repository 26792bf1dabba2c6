"""Magnetization histories: every distinct tissue, transmit field, off-resonance and place in a slice once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from ..fields import spline_matrix
from .epg import histories
from .pulse_train import PulseTrain
from .pulses import Bins, PulseShape, pulse_maps
from .shots import shots_of

_STEPS = 400
"""Steps of a selective pulse, at most: its waveform is averaged to these."""
_LONGEST_STEP = 1e-5
"""Of any pulse [s]: what splitting relaxation from rotation leaves is then 1e-6 for T2 of 2 ms."""
_CHUNK_BYTES = 1.5e8


@dataclass(frozen=True, kw_only=True, eq=False)
class Played:
    """A train of pulses as it acts on one class of spins.

    train : the pulses that act;  shapes : waveforms that its indices mean;  direction : (3,) of positions;
    unit_time : time that one coherence order takes to dephase off resonance [s];
    drop : share of M0 below which the highest orders are dropped;
    longitudinal : shapes of which only what they do to Mz is heard (inversions, saturations).
    """

    train: PulseTrain
    shapes: tuple[PulseShape, ...]
    direction: np.ndarray
    max_states: int
    threads: int
    unit_time: float = 0.0
    drop: float = 1e-7
    longitudinal: frozenset[int] = frozenset()

    def signals(self, bins: Bins, after: np.ndarray, beside: tuple[int, ...] = (0,)) -> np.ndarray:
        """Signal after some pulses, in the sign convention of the raw data, complex (pulses, bins).

        With several orders ``beside`` the echo path's own, (orders, pulses, bins).
        """
        used, shape = np.unique(self.train.shape, return_inverse=True)
        positions = np.any(bins.position)
        shapes = [self.shapes[int(i)].refined(_LONGEST_STEP) for i in used]
        if positions:
            shapes = [s.merged(_STEPS) for s in shapes]
        train = PulseTrain(**{**self.train.__dict__, "shape": shape.reshape(-1)})
        shots = shots_of(train)
        out = np.empty((len(beside), len(after), bins.size), np.complex64)
        parts = self._chunks(bins.size, train, len(shapes))

        def play(part: slice) -> None:
            some = Bins(**{name: getattr(bins, name)[part] for name in bins.__dataclass_fields__})
            maps = [
                pulse_maps(
                    s.b1, s.steps, some, freq_offset=s.freq_offset, center=s.center,
                    gradient=s.gradient @ self.direction if positions else None,
                )
                for s in shapes
            ]  # fmt: skip
            found = histories(
                train, np.stack([m for m, _ in maps]), np.stack([c for _, c in maps]), some,
                max_states=self.max_states, after=after, beside=beside, drop=self.drop,
                shots=shots,
            )  # fmt: skip
            found = found.conj().reshape(some.size, len(after), -1)
            # Orders beside the echo path have dephased for longer or less long: taken out here, put back
            # voxel by voxel.
            turns = np.outer(some.shift * self.unit_time, beside)
            out[:, :, part] = (found * np.exp(2j * np.pi * turns)[:, None, :]).transpose(2, 1, 0)

        if self.threads > 1 and len(parts) > 1:
            with ThreadPoolExecutor(self.threads) as pool:
                list(pool.map(play, parts))
        else:
            for part in parts:
                play(part)
        return out[0] if len(beside) == 1 else out

    def _chunks(self, count: int, train: PulseTrain, shapes: int) -> list[slice]:
        """Slices of bins whose tables stay small."""
        states = min(
            self.max_states, 2 + int(np.abs(np.where(train.shifts < 1_000_000, train.shifts, 0)).sum())
        )
        each = 16.0 * train.shape.size + 24.0 * train.dwell.size * max(states, 8) + 200.0 * shapes
        size = int(np.clip(_CHUNK_BYTES / self.threads / each, 8, max(8, -(-count // (4 * self.threads)))))
        return [slice(i, min(i + size, count)) for i in range(0, count, size)]


def chebyshev_nodes(low: float, high: float, count: int) -> np.ndarray:
    """Chebyshev extrema over [low, high]; their middle where one is enough."""
    if high - low < 1e-6 or count == 1:
        return np.array([0.5 * (low + high)])
    angle = np.pi * np.arange(count) / (count - 1)
    return 0.5 * (low + high) - 0.5 * (high - low) * np.cos(angle)


def polynomial_matrix(nodes: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Matrix (at, nodes) of the polynomial through the nodes."""
    if nodes.size == 1:
        return np.ones((at.size, 1))
    from scipy.interpolate import BarycentricInterpolator

    # Explicit generator: scipy permutes the nodes for stability, the result does not depend on it.
    rng = np.random.default_rng(0)
    return np.asarray(BarycentricInterpolator(nodes, np.eye(nodes.size), rng=rng)(at))


@dataclass(frozen=True, kw_only=True)
class TableAxis:
    """Where histories are played along one property, and the finer even grid that is read from.

    nodes : (n,) where they are played;  low, step, size : of the fine grid;  matrix : (size, n).
    """

    nodes: np.ndarray
    low: float
    step: float
    size: int
    matrix: np.ndarray

    @classmethod
    def single(cls, value: float) -> TableAxis:
        """One value for all."""
        return cls(nodes=np.array([value]), low=value, step=1.0, size=1, matrix=np.ones((1, 1)))

    @classmethod
    def chebyshev(cls, low: float, high: float, count: int, fine: int) -> TableAxis:
        """Polynomial through Chebyshev nodes."""
        nodes = chebyshev_nodes(low, high, count)
        if nodes.size == 1:
            return cls.single(float(nodes[0]))
        at = np.linspace(low, high, fine)
        return cls(nodes=nodes, low=low, step=at[1] - at[0], size=fine, matrix=polynomial_matrix(nodes, at))

    @classmethod
    def spline(cls, low: float, high: float, spacing: float, fine: int) -> TableAxis:
        """Cubic spline through even nodes at most ``spacing`` apart, ``fine`` table entries to each."""
        count = max(4, int(np.ceil((high - low) / spacing)) + 1)
        nodes = np.linspace(low, high, count)
        at = np.linspace(low, high, fine * (count - 1) + 1)
        return cls(
            nodes=nodes, low=low, step=at[1] - at[0], size=at.size,
            matrix=spline_matrix(nodes, at).astype(float),
        )  # fmt: skip

    def averaged(self, width: float, wave: float = 0.0) -> TableAxis:
        """Axis whose entries are means over a box around them, weighted by a wave that is 1 in its middle.

        Parameters
        ----------
        width : float
            Of the box.
        wave : float
            Spatial frequency f: the weight at distance x is exp(-2 pi i f x).
        """
        if self.size == 1 or width < 0.02 * self.step:
            return self
        # Gauss-Legendre inside the box, linear interpolation of the table beyond its fine step.
        points = max(5, int(np.ceil(2 * width / self.step)), int(np.ceil(6 * abs(wave) * width)))
        x, w = np.polynomial.legendre.leggauss(min(points, 64))
        mean = np.zeros(self.matrix.shape, complex if wave else float)
        cells = np.arange(self.size)
        for at, weight in zip(0.5 * width * x, 0.5 * w, strict=True):
            u = np.clip(cells + at / self.step, 0.0, self.size - 1.0)
            i = np.minimum(u.astype(int), self.size - 2)
            part = (u - i)[:, None]
            value = self.matrix[i] * (1.0 - part) + self.matrix[i + 1] * part
            mean += weight * (np.exp(-2j * np.pi * wave * at) if wave else 1.0) * value
        return TableAxis(nodes=self.nodes, low=self.low, step=self.step, size=self.size, matrix=mean)

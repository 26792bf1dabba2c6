"""Integrals of products of piecewise-linear gradients, exact: they multiply the Maxwell maps."""

from __future__ import annotations

import numpy as np

from protocols import GradEvent, Sequence

_PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))


class Squares:
    """Integrals of products of gradients, from unit waveforms and amplitudes."""

    def __init__(self, sequence: Sequence, ids: np.ndarray, axes: np.ndarray) -> None:
        self._sequence, self._ids, self._axes = sequence, ids, axes
        self._unit = np.zeros(len(sequence.grad_events) + 1, np.int64)
        self._size = np.zeros(len(sequence.grad_events) + 1)
        shapes: dict[bytes, int] = {}
        self._shapes: list[GradEvent] = []
        for i, event in enumerate(sequence.grad_events, start=1):
            size = float(event.values[np.argmax(np.abs(event.values))])
            if size == 0.0:
                continue
            content = np.round(event.times, 10).tobytes() + np.round(event.values / size, 7).tobytes()
            number = shapes.setdefault(content, len(shapes) + 1)
            if number > len(self._shapes):
                self._shapes.append(GradEvent(times=event.times, values=event.values / size))
            self._unit[i], self._size[i] = number, size
        self._cache: dict[tuple[object, ...], np.ndarray] = {}
        self.at_block_start = self._blocks()

    def _blocks(self) -> np.ndarray:
        """Integrals up to the start of every block, (blocks, 4)."""
        totals = np.zeros((self._ids.shape[0], 6))
        duration = self._sequence.duration
        for column, (a, b) in enumerate(_PAIRS):
            i, j = self._ids[:, a], self._ids[:, b]
            kinds, inverse = np.unique(
                np.stack([self._unit[i], self._unit[j], np.rint(duration * 1e9)], axis=1), axis=0,
                return_inverse=True,
            )  # fmt: skip
            values = np.array([self._product(int(u), int(v), ("whole", t), np.array([t * 1e-9]))[0]
                               for u, v, t in kinds])  # fmt: skip
            totals[:, column] = values[inverse.reshape(-1)] * self._size[i] * self._size[j]
        whole = self._world(totals)
        return np.vstack([np.zeros(4), np.cumsum(whole, axis=0)[:-1]])

    def _world(self, products: np.ndarray) -> np.ndarray:
        """Turn logical products (n, 6) into the four of the Maxwell terms on world axes."""
        full = np.empty((len(products), 3, 3))
        for column, (a, b) in enumerate(_PAIRS):
            full[:, a, b] = full[:, b, a] = products[:, column]
        world = np.einsum("al,nlm,bm->nab", self._axes, full, self._axes)
        return np.stack(
            [world[:, 0, 0] + world[:, 1, 1], world[:, 2, 2], world[:, 0, 2], world[:, 1, 2]], axis=1
        )

    def _product(self, u: int, v: int, window: tuple[object, ...], at: np.ndarray) -> np.ndarray:
        """Integral of two unit waveforms' product from block start to times."""
        if not u or not v:
            return np.zeros(at.size)
        found = self._cache.get((u, v, window))
        if found is None:
            found = self._cache[(u, v, window)] = _product_integral(
                self._shapes[u - 1], self._shapes[v - 1], at
            )
        return found

    def inside(self, block: int, window: tuple[float, ...], times: np.ndarray) -> np.ndarray:
        """Integrals from the start of a block to times in it, (n, 4)."""
        ids = self._ids[block]
        columns = []
        for a, b in _PAIRS:
            part = self._product(int(self._unit[ids[a]]), int(self._unit[ids[b]]), window, times)
            columns.append(part * self._size[ids[a]] * self._size[ids[b]])
        return self._world(np.stack(columns, axis=1))


def _product_integral(first: GradEvent, second: GradEvent, at: np.ndarray) -> np.ndarray:
    """Integral of the product of two piecewise-linear waveforms, exact (cubic in each segment)."""
    knots = np.unique(np.concatenate([first.times, second.times, [0.0], at]))
    middle = 0.5 * (knots[1:] + knots[:-1])

    def values(event: GradEvent, t: np.ndarray) -> np.ndarray:
        return np.asarray(np.interp(t, event.times, event.values, left=0.0, right=0.0))

    # Simpson is exact for the quadratic product; inside a segment both are linear, so ends are extrapolated.
    total = np.zeros(knots.size)
    quarter = 0.25 * (knots[1:] - knots[:-1])
    ends = []
    for event in (first, second):
        m, q = values(event, middle), values(event, middle + quarter)
        ends.append((m - 2 * (q - m), m, m + 2 * (q - m)))
    product = [a * b for a, b in zip(ends[0], ends[1], strict=True)]
    steps = (knots[1:] - knots[:-1]) / 6 * (product[0] + 4 * product[1] + product[2])
    total[1:] = np.cumsum(steps)
    return np.asarray(total[np.searchsorted(knots, at)])

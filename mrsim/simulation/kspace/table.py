"""The table of what the pulses make of the spins of one class of readouts."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .axes import Axes
from .histories import Played
from .pulses import Bins
from .skeleton import skeleton_of
from .slices import SliceClass
from .spins import Species

_DIRECT = 400
"""Table entries up to which all histories are recorded whole; of more, a random sample of them."""
_SAMPLE = 256
_BALANCED_SAMPLE = 1024
_ALL = 6000
"""Entries up to which all are played; of more, those of a skeleton."""
_SPREAD = 16_000_000
"""Numbers of a table up to which axes are spread to their fine grids."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """Signal after some pulses for all spins of a class, values (S, B1, df, place, pulses) complex64.

    An axis is spread to its fine grid, or compact: ``rows`` (orders, fine, n) then tell the weights of the
    table's n entries at each point of the fine grid; (0, 0, 0) where it is spread.  order : (S,) its number;
    error : relative, of entries that are not played themselves.
    """

    values: np.ndarray
    axes: Axes
    order: np.ndarray
    rows: tuple[np.ndarray, np.ndarray, np.ndarray]
    error: float = 0.0

    def some(self, columns: np.ndarray, factor: np.ndarray) -> Table:
        """Table of some pulses, each with a factor."""
        values = np.ascontiguousarray(self.values[..., columns] * factor.astype(np.complex64))
        return Table(values=values, axes=self.axes, order=self.order, rows=self.rows, error=self.error)

    @property
    def grids(self) -> np.ndarray:
        """Low end, step and size of each axis's fine grid, float32 (3, 3)."""
        a = self.axes
        return np.array([[x.low, x.step, x.size] for x in (a.b1, a.df, a.place)], np.float32)


class SpinTable:
    """Histories of a class of spins, played when asked for.

    Parameters
    ----------
    played : Played
        Train of the class.
    species : Species
    heard : SliceClass
    axes : Axes
    tolerance : float
        Relative error that entries which are not played may have.
    """

    def __init__(
        self, played: Played, species: Species, heard: SliceClass, axes: Axes, tolerance: float
    ) -> None:
        self._played, self.species, self._heard, self.axes = played, species, heard, axes
        self._tolerance = tolerance
        self._kinds = np.unique(species.tissue)
        self._row = np.searchsorted(self._kinds, species.tissue)
        self._orders = tuple(dict.fromkeys(species.order.tolist()))
        self._sizes = (self._kinds.size, axes.b1.nodes.size, axes.df.nodes.size, axes.place.nodes.size)
        rng = np.random.default_rng(0)  # which nodes stand for all; the result stays within the tolerance
        total, count = int(np.prod(self._sizes)), _BALANCED_SAMPLE if axes.balanced else _SAMPLE
        self._total, self._whole = total, total <= _DIRECT
        if self._whole or total <= count:
            self.sample = np.arange(total)
        else:
            self.sample = np.sort(rng.choice(total, count, replace=False))
        self._recorded: dict[bytes, np.ndarray] = {}

    def _bins(self, at: np.ndarray) -> Bins:
        """Bins of the entries with indices (4, n): tissue, B1+, off-resonance, place."""
        first = np.array([int(np.flatnonzero(self._row == k)[0]) for k in range(self._kinds.size)])
        a, s, heard = self.axes, self.species, self._heard
        kind = first[at[0]]
        b1, df, place = (axis.nodes[i] for axis, i in zip((a.b1, a.df, a.place), at[1:], strict=True))
        shift = df + s.shift[kind]
        position = np.zeros(kind.size)
        if heard.spacing or heard.slope:
            position = heard.center + place - (shift / heard.slope if heard.slope else 0.0)
        return Bins(t1=s.t1[kind], t2=s.t2[kind], adc=s.adc[kind], b1=b1, shift=shift, position=position)

    def sample_weights(self, share: np.ndarray) -> np.ndarray:
        """Energy share of each sampled bin; ``share`` (tissues,) of the object."""
        tissue = self._kinds[self.sample // self.axes.nodes]
        counts = np.bincount(tissue, minlength=share.size)[tissue]
        return np.asarray(share[tissue] / share.sum() / counts)

    def sampled(self, after: np.ndarray) -> np.ndarray:
        """Histories of the sampled bins after many pulses, (orders, pulses, sample)."""
        found = self._signals(np.stack(np.unravel_index(self.sample, self._sizes)), after)
        if self._whole:
            self._recorded = {b"after": after, b"found": found}
        return found

    def _signals(self, at: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Signals of all orders (orders, pulses, bins), the turn of each order's own path taken out."""
        found = self._played.signals(self._bins(at), after, self._orders)
        return found if found.ndim == 3 else found[None]

    def table(self, after: np.ndarray) -> Table:
        """Table of the signal after few pulses."""
        nodes, matrices, error = self._nodes(after)
        a = self.axes
        slot = np.array([self._orders.index(int(o)) for o in self.species.order])
        nodes = np.tensordot(matrices[0], nodes, (1, 2)).transpose(1, 0, 3, 4, 5, 2)[slot, self._row]
        if a.balanced:
            nodes = self._halves(nodes)
        means = [a.place.averaged(a.width, a.wave * o).matrix @ matrices[3] for o in self._orders]
        fine = [(a.b1.matrix @ matrices[1])[None], (a.df.matrix @ matrices[2])[None], np.stack(means)]
        spread = _Spread(values=nodes)
        for axis in range(3):
            spread.to_fine(axis, fine[axis], slot)
        return Table(
            values=np.ascontiguousarray(spread.values, dtype=np.complex64), axes=a, order=slot,
            rows=(spread.rows[0], spread.rows[1], spread.rows[2]), error=error,
        )  # fmt: skip

    def _nodes(self, after: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, ...], float]:
        """Signals at nodes (orders, pulses, tissue, B1, df, place), matrices to all nodes, error."""
        every = tuple(np.eye(n) for n in self._sizes)
        shape = (len(self._orders), len(after), *self._sizes)
        if self._recorded:
            rows = np.searchsorted(self._recorded[b"after"], after)
            return self._recorded[b"found"][:, rows].reshape(shape), every, 0.0
        if self._total <= _ALL:
            at = np.stack(np.unravel_index(np.arange(self._total), self._sizes))
            return self._signals(at, after).reshape(shape), every, 0.0
        whole = (2,) if self.axes.balanced else ()
        found = skeleton_of(lambda at: self._signals(at, after), self._sizes, whole, self._tolerance)
        return found.core, found.matrices, found.error

    def _halves(self, nodes: np.ndarray) -> np.ndarray:
        """Split balanced coherences into those that dephase and those that rephase, and damp them by T2'.

        In powers of exp(-2 pi i df TR) each has spent a whole number of TR off resonance: the average over a
        Lorentzian of half width 1 / (2 pi T2') damps it by exp(-|n| TR / T2').
        """
        if not np.any(self.species.side):
            return nodes
        count = nodes.shape[2]
        step = self.axes.df.nodes[1] - self.axes.df.nodes[0]
        # Signals turn with exp(-2 pi i df tau): the transform with + finds tau.
        spectrum = np.fft.ifft(nodes, axis=2) * count
        tau = np.fft.fftfreq(count, step)
        keep = np.where(self.species.side[:, None] > 0, tau >= -1e-12, tau < -1e-12)
        damp = keep * np.exp(-np.abs(tau)[None, :] * self.species.rate[:, None])
        damped = spectrum * damp[:, None, :, None, None]
        return np.asarray(np.fft.fft(damped, axis=2) / count)


@dataclass(kw_only=True, eq=False)
class _Spread:
    """A table on its way to fine grids: values (S, B1, df, place, pulses), rows of the compact axes."""

    values: np.ndarray
    rows: list[np.ndarray] = field(default_factory=list)

    def to_fine(self, axis: int, matrices: np.ndarray, slot: np.ndarray) -> None:
        """Spread an axis to its fine grid by the matrices (orders or 1, fine, n) if memory allows."""
        fine, n = matrices.shape[1:]
        if self.values.size // n * fine > _SPREAD:
            self.rows.append(np.ascontiguousarray(matrices, dtype=np.complex64))
            return
        self.rows.append(np.zeros((0, 0, 0), np.complex64))
        moved = np.moveaxis(self.values, 1 + axis, 1)
        if len(matrices) == 1:
            done = np.moveaxis(np.tensordot(matrices[0], moved, (1, 1)), 0, 1)
        else:
            done = np.stack([np.tensordot(matrices[o], m, (1, 0)) for o, m in zip(slot, moved, strict=True)])
        self.values = np.moveaxis(done, 1, 1 + axis)

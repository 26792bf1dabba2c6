"""The table of what the pulses make of the spins of one class of readouts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .axes import Axes
from .histories import Played
from .pulses import Bins
from .slices import SliceClass
from .spins import Species

_DIRECT = 400
"""Table entries up to which all histories are recorded whole; of more, a random sample of them."""
_SAMPLE = 256
_BALANCED_SAMPLE = 1024


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """Signal after some pulses for all spins of a class: values (S, B1, df, place, pulses) complex64."""

    values: np.ndarray
    axes: Axes


class SpinTable:
    """Histories of a class of spins, played when asked for.

    Parameters
    ----------
    played : Played
        Train of the class.
    species : Species
    heard : SliceClass
    axes : Axes
    """

    def __init__(self, played: Played, species: Species, heard: SliceClass, axes: Axes) -> None:
        self._played, self.species, self._heard, self.axes = played, species, heard, axes
        self._kinds = np.unique(species.tissue)
        self._row = np.searchsorted(self._kinds, species.tissue)
        self._orders = tuple(dict.fromkeys(species.order.tolist()))
        self.bins = self._bins()
        rng = np.random.default_rng(0)  # which nodes stand for all; the result stays within the tolerance
        total, count = self.bins.size, _BALANCED_SAMPLE if axes.balanced else _SAMPLE
        self._whole = total <= _DIRECT
        self.sample = (
            np.arange(total) if self._whole else np.sort(rng.choice(total, min(total, count), replace=False))
        )
        self._recorded: dict[bytes, np.ndarray] = {}

    def _bins(self) -> Bins:
        """Return one bin per tissue and node, tissue slowest, place fastest."""
        first = np.array([int(np.flatnonzero(self._row == k)[0]) for k in range(self._kinds.size)])
        a, s, heard = self.axes, self.species, self._heard
        mesh = np.meshgrid(first, a.b1.nodes, a.df.nodes, a.place.nodes, indexing="ij")
        kind, b1, df, place = (m.reshape(-1) for m in mesh)
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
        some = Bins(**{n: getattr(self.bins, n)[self.sample] for n in self.bins.__dataclass_fields__})
        found = self._signals(some, after)
        if self._whole:
            self._recorded = {b"after": after, b"found": found}
        return found

    def _signals(self, bins: Bins, after: np.ndarray) -> np.ndarray:
        """Signals of all orders (orders, pulses, bins), the turn of each order's own path taken out."""
        found = self._played.signals(bins, after, self._orders)
        return found if found.ndim == 3 else found[None]

    def table(self, after: np.ndarray) -> Table:
        """Table of the signal after few pulses."""
        if self._recorded:
            rows = np.searchsorted(self._recorded[b"after"], after)
            values = self._recorded[b"found"][:, rows]
        else:
            values = self._signals(self.bins, after)
        a = self.axes
        shape = (len(self._orders), self._kinds.size, a.b1.nodes.size, a.df.nodes.size, a.place.nodes.size)
        nodes = np.moveaxis(values.reshape(len(self._orders), len(after), *shape[1:]), 1, -1)
        slot = np.array([self._orders.index(int(o)) for o in self.species.order])
        nodes = nodes[slot, self._row]
        if a.balanced:
            nodes = self._halves(nodes)
        fine = np.einsum("sbdzm,Bb->sBdzm", nodes, a.b1.matrix, optimize=True)
        fine = np.einsum("sbdzm,Dd->sbDzm", fine, a.df.matrix, optimize=True)
        means = {o: a.place.averaged(a.width, a.wave * o).matrix for o in self._orders}
        fine = np.stack(
            [
                np.einsum("bdzm,Zz->bdZm", f, means[int(o)], optimize=True)
                for f, o in zip(fine, self.species.order, strict=True)
            ]
        )
        return Table(values=np.ascontiguousarray(fine, dtype=np.complex64), axes=a)

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

"""The spins that one class of readouts hears, and the table of what the pulses make of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..fields import spline_matrix
from ..scanned import ScannedObject
from .histories import Played, TableAxis
from .pulses import Bins, pulse_maps
from .slices import Selection, SliceClass

_TRANSMIT = 33
"""Entries of the tables over B1+; linear interpolation between them is right to 1e-4."""
_DIRECT = 400
"""Table entries up to which all histories are recorded whole; of more, a random sample of them."""
_SAMPLE = 256
_BALANCED_SAMPLE = 1024
_QUANTILES = (0.002, 0.998)
"""Off-resonance during pulses is resolved between these quantiles."""
_BANDS = 96
"""Nodes over one period 1/TR of a balanced sequence."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Species:
    """Kinds of spins (S): a tissue, or one half of a tissue's coherences in a balanced sequence.

    tissue : (S,) index of the tissue;  pd, t1, t2, adc : (S,);  rate : (S,) 1 / T2' [1/s];
    shift : (S,) chemical shift [Hz];  side : (S,) 0 where T2' acts along the echo path, else the sign with
    which it acts on the time after the pulse;  order : (S,) coherence order relative to the echo path's: what
    crushers leave of others where a slice's profile is steep;  late : (S,) how much longer than the echo
    path that order has dephased [s].
    """

    tissue: np.ndarray
    pd: np.ndarray
    t1: np.ndarray
    t2: np.ndarray
    adc: np.ndarray
    rate: np.ndarray
    shift: np.ndarray
    side: np.ndarray
    order: np.ndarray
    late: np.ndarray

    @property
    def size(self) -> int:
        """Number of species."""
        return int(self.tissue.size)

    @classmethod
    def of(
        cls, obj: ScannedObject, shift: np.ndarray, *, balanced: bool, orders: tuple[int, ...] = (0,),
        unit_time: float = 0.0,
    ) -> Species:  # fmt: skip
        """Return the species of an object; ``shift`` (tissues,) [Hz], ``orders`` heard, time of an order."""
        columns = {
            name: np.array([getattr(t, name) for t in obj.tissues], float)
            for name in ("pd", "t1", "t2", "adc")
        }
        rate = np.array([1.0 / t.t2_prime for t in obj.tissues])
        tissue, side = np.arange(rate.size), np.zeros(rate.size, np.int64)
        if balanced and np.any(rate > 0):
            tissue = np.repeat(tissue, 2)
            side = np.tile([1, -1], rate.size)
        order = np.repeat(np.asarray(orders, np.int64), tissue.size)
        tissue, side = np.tile(tissue, len(orders)), np.tile(side, len(orders))
        return cls(
            tissue=tissue, side=side, order=order, late=order * unit_time, rate=rate[tissue], shift=shift[tissue],
            **{name: values[tissue] for name, values in columns.items()},
        )  # fmt: skip

    def decay(self, since_rf: np.ndarray, tau: np.ndarray) -> np.ndarray:
        """Relaxation and chemical shift since the pulse, complex (..., S) for times (...,) [s]."""
        time = np.where(self.side == 0, np.abs(tau)[..., None], self.side * tau[..., None])
        real = -since_rf[..., None] / self.t2 - self.rate * time
        return np.asarray(np.exp(real - 2j * np.pi * self.shift * (tau[..., None] + self.late)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Window:
    """The part of the object that a class hears, arrays flat over its voxels (N).

    part : slices into (phase, slice, read);  fractions : (tissues, N);  b1, df : (N,);
    place : (N,) position along the direction of selection from the class's centre [m];
    width : extent of a voxel along it [m];  maxwell : (7, N) maps of the deviations (`deviations`) or (0, N);
    waves : per order beside the echo path its phase and its mean over each voxel, complex64 (N,).
    """

    part: tuple[slice, slice, slice]
    fractions: np.ndarray
    b1: np.ndarray
    df: np.ndarray
    place: np.ndarray
    width: float
    maxwell: np.ndarray
    waves: dict[int, np.ndarray]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along (phase, slice, read)."""
        a, b, c = (s.stop - s.start for s in self.part)
        return (a, b, c)

    @property
    def occupied(self) -> np.ndarray:
        """Mask (N,) of voxels with tissue."""
        return np.asarray(self.fractions.any(axis=0))


def window_of(
    obj: ScannedObject, heard: SliceClass, chosen: Selection | None, coordinate: np.ndarray | None,
    shift: np.ndarray, terms: int,
) -> Window | None:  # fmt: skip
    """Cut out what a class hears; None where it hears nothing of the object.

    ``coordinate`` (phase, slice, read) [m] along the direction of selection, where there is one; ``terms`` of
    the deviations.
    """
    grid = obj.placed.grid
    shape = grid.array_shape
    part = [slice(0, n) for n in shape]
    margin = 0.0
    if chosen is not None and heard.slope:
        reach = np.abs(obj.df).max(initial=0.0) + np.abs(shift).max(initial=0.0)
        margin = float(reach / abs(heard.slope))
    if coordinate is not None and np.isfinite(heard.low):
        width = float(np.abs(chosen.direction) @ np.asarray(grid.spacing))  # type: ignore[union-attr]
        near = (coordinate >= heard.low - margin - width) & (coordinate <= heard.high + margin + width)
        near &= obj.occupied
        if not near.any():
            return None
        for axis in range(3):
            hits = np.flatnonzero(near.any(axis=tuple(a for a in range(3) if a != axis)))
            part[axis] = slice(int(hits[0]), int(hits[-1]) + 1)
    cut = (part[0], part[1], part[2])
    whole = obj.placed.fractions[(slice(None), *cut)]
    count = int(np.prod(whole.shape[1:]))
    place = np.zeros(count, np.float32)
    width = 0.0
    if coordinate is not None:
        place = (coordinate[cut].reshape(-1) - heard.center).astype(np.float32)
        width = float(np.abs(chosen.direction) @ np.asarray(grid.spacing))  # type: ignore[union-attr]
    return Window(
        part=cut, fractions=np.ascontiguousarray(whole.reshape(len(whole), -1)),
        b1=np.ascontiguousarray(obj.b1[cut]).reshape(-1), df=np.ascontiguousarray(obj.df[cut]).reshape(-1),
        place=place, width=width, maxwell=obj.deviation_maps(cut, terms), waves={},
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Axes:
    """Axes of a class's table.

    width : box over which entries are averaged along the place [m];  wave : spatial frequency of one order
    along it [1/m].
    """

    b1: TableAxis
    df: TableAxis
    place: TableAxis
    balanced: bool
    width: float
    wave: float

    @property
    def nodes(self) -> int:
        """Nodes for each species."""
        return self.b1.nodes.size * self.df.nodes.size * self.place.nodes.size


def axes_of(
    window: Window, heard: SliceClass, played: Played, *, b1_nodes: int, period: float, profile: bool,
    wave: float, tolerance: float,
) -> Axes:  # fmt: skip
    """Choose the nodes of a class's table.

    Parameters
    ----------
    window, heard : Window, SliceClass
    played : Played
        Its pulses tell how finely off-resonance during them must be resolved.
    b1_nodes : int
        Nodes over B1+, at most.
    period : float
        1/TR of a balanced sequence [Hz], else 0.
    profile : bool
        Whether pulses have the profiles that they have, or the box of their half maxima.
    wave : float
        Moment of one coherence order along the direction of selection [1/m].
    tolerance : float
        Error that interpolation over off-resonance may leave in a pulse.
    """
    inside = window.occupied
    b1, df = window.b1[inside], window.df[inside]
    # A selective pulse turns by less than a non-selective inversion: fewer nodes do.
    count = b1_nodes if heard.spacing == 0.0 else min(b1_nodes, 6)
    if tolerance >= 1e-3:
        count = min(count, 7)
    low, high = float(df.min()), float(df.max())
    if period:
        turns = max(1, int(np.ceil((high - low) / period + 1e-9)))
        nodes = low + period * np.arange(turns * _BANDS) / _BANDS
        over_df = _periodic(nodes, low, period * turns)
    else:
        # A few voxels beside air may be far off: pulses act on them as on the edge of the others.
        low, high = (float(q) for q in np.quantile(df, _QUANTILES))
        over_df = _off_resonance(played, low, high, tolerance)
    if heard.spacing and profile:
        over_place = TableAxis.spline(heard.low - heard.center, heard.high - heard.center, heard.spacing, 4)
    else:
        over_place = TableAxis.single(0.0)
    return Axes(
        b1=TableAxis.chebyshev(float(b1.min()), float(b1.max()), count, _TRANSMIT),
        df=over_df, place=over_place, balanced=bool(period), width=window.width, wave=wave,
    )  # fmt: skip


def _off_resonance(played: Played, low: float, high: float, tolerance: float) -> TableAxis:
    """Fewest nodes over [low, high] [Hz] whose cubic spline keeps every pulse within the tolerance."""
    single = TableAxis.single(0.5 * (low + high))
    if high - low < 1e-3:
        return single
    at = np.linspace(low, high, 65)
    one = np.ones(at.size)
    bins = Bins(t1=1e9 * one, t2=1e9 * one, adc=0 * one, b1=one, shift=at)
    columns = []
    for i in np.unique(played.train.shape).tolist():
        shape = played.shapes[i].refined(1e-5).merged(400)
        maps = pulse_maps(
            shape.b1, shape.steps, bins, freq_offset=shape.freq_offset, center=shape.center
        )[0]  # fmt: skip
        columns.append(maps[:, 2, 2:] if i in played.longitudinal else maps.reshape(at.size, -1))
    truth = np.hstack(columns)
    if np.abs(truth - truth[at.size // 2]).max() < tolerance:
        return single
    for count in (4, 6, 8, 12, 16, 24, 32, 48, 64):
        axis = TableAxis.spline(low, high, (high - low) / (count - 1), max(2, 64 // count))
        picked = np.stack([np.interp(axis.nodes, at, c) for c in truth.T], axis=1) if count < 48 else None
        if picked is None:
            return axis
        again = spline_matrix(axis.nodes, at).astype(float) @ picked
        if np.abs(again - truth).max() < tolerance:
            return axis
    return axis


def _periodic(nodes: np.ndarray, low: float, length: float) -> TableAxis:
    """Trigonometric interpolation of even nodes over whole periods, eight entries to each node."""
    fine = 8 * nodes.size
    at = low + length * np.arange(fine + 1) / fine
    spectrum = np.fft.fft(np.eye(nodes.size), axis=0)
    order = np.fft.fftfreq(nodes.size, 1.0 / nodes.size)
    wave = np.exp(2j * np.pi * np.outer((at - low) / length, order))
    return TableAxis(
        nodes=nodes, low=low, step=at[1] - at[0], size=at.size, matrix=(wave @ spectrum).real / nodes.size
    )


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

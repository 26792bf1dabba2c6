"""The nodes of the spins' table: B1+, off-resonance, place in the profile."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..fields import spline_matrix
from .histories import Played, TableAxis
from .pulses import Bins, pulse_maps
from .slices import SliceClass
from .spins import Window

_TRANSMIT = 33
"""Entries of the tables over B1+; linear interpolation between them is right to 1e-4."""
_QUANTILES = (0.002, 0.998)
"""Off-resonance during pulses is resolved between these quantiles."""
_BANDS = 96
"""Nodes over one period 1/TR of a balanced sequence."""


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
    # Degree 4 leaves 4e-4 of the sine of a 180 degree pulse over +-30 %, degree 6 leaves 1e-6.
    if tolerance >= 2e-4:
        count = min(count, 7 if tolerance < 2e-3 else 5)
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

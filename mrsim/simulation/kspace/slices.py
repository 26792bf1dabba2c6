"""Which spins a readout can hear: the slices that selective pulses excite.

Positions are measured along the one direction in which all selective pulses of a sequence select. Readouts
whose excitations reach the same stretch of it form a class; pulses that leave that stretch alone drop out of
its train, and slices that meet the same train at their own places share one calculation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .path import UnsupportedSequenceError
from .pulses import Bins, PulseShape, pulse_maps
from .train import Timeline

_FLAT = 0.02
"""Gradient times duration times extent [cycles] below which a pulse counts as non-selective."""
_HEARD = 5e-4
"""Excited transverse magnetization [M0] at which a slice's stretch ends."""
_LEFT_ALONE = 3e-4
"""Deviation from identity below which a pulse leaves a stretch alone."""
_STEPS = 400
"""Steps of a selective pulse, at most: its waveform is averaged to these."""
_FINE = 6.0
"""Nodes per period of the highest spatial frequency that a pulse can imprint (gradient times duration)."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Direction of slice selection on the logical axes, (3,), and the extent of the object along it [m]."""

    direction: np.ndarray
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, eq=False)
class SliceClass:
    """Readouts that hear the same stretch of the object.

    readouts : their indices;  pulses : indices of the pulses that act there (increasing);
    last : (readouts,) position in ``pulses`` of the pulse before each readout;
    low, high : the stretch [m], infinite where nothing selects;  center : its reference position [m];
    slope : gradient of the excitation along the direction [Hz/m], 0 where nothing selects;
    spacing : distance of profile nodes [m], 0 where one node is enough.
    """

    readouts: np.ndarray
    pulses: np.ndarray
    last: np.ndarray
    low: float
    high: float
    center: float
    slope: float
    spacing: float


def selection_of(shapes: tuple[PulseShape, ...], corners: np.ndarray) -> Selection | None:
    """Find the direction in which pulses select; None where none does.

    Parameters
    ----------
    shapes : tuple of PulseShape
    corners : array (n, 3)
        Points that span the object, logical coordinates [m].

    Raises
    ------
    UnsupportedSequenceError
        If pulses select in different directions.
    """
    extent = float(np.ptp(corners, axis=0).max())
    chosen = [s.at_center for s in shapes if _selects(s, extent)]
    if not chosen:
        return None
    longest = max(chosen, key=lambda g: float(np.linalg.norm(g)))
    direction = longest / np.linalg.norm(longest)
    if direction[np.argmax(np.abs(direction))] < 0:
        direction = -direction
    for g in chosen:
        if np.linalg.norm(g - (g @ direction) * direction) > 1e-3 * np.linalg.norm(g):
            raise UnsupportedSequenceError(
                "all selective pulses must select along one direction; got gradients "
                f"{g.round(0).tolist()} and {longest.round(0).tolist()} Hz/m. Use the exact Bloch engine."
            )
    along = corners @ direction
    return Selection(direction=direction, low=float(along.min()), high=float(along.max()))


def _selects(shape: PulseShape, extent: float) -> bool:
    return bool(np.linalg.norm(shape.gradient, axis=1).max() * shape.duration * extent > _FLAT)


def _probe(shape: PulseShape, direction: np.ndarray, at: np.ndarray, b1: float) -> np.ndarray:
    """Compute the maps (n, 3, 3) of a pulse at positions, without relaxation."""
    one = np.ones(at.size)
    bins = Bins(t1=1e9 * one, t2=1e9 * one, adc=0 * one, b1=b1 * one, shift=0 * one, position=at)
    small = shape.merged(_STEPS)
    return pulse_maps(
        small.b1, small.steps, bins, freq_offset=small.freq_offset, center=small.center,
        gradient=small.gradient @ direction,
    )[0]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Profiles:
    """What each shape does along the direction of selection: positions, transverse magnetization, action."""

    at: np.ndarray
    excited: np.ndarray
    action: np.ndarray


def _profiles(shapes: tuple[PulseShape, ...], chosen: Selection, spacing: float) -> _Profiles:
    margin = 5 * spacing
    at = np.arange(chosen.low - margin, chosen.high + margin + spacing, spacing)
    excited, action = np.empty((len(shapes), at.size)), np.empty((len(shapes), at.size))
    for i, shape in enumerate(shapes):
        maps = _probe(shape, chosen.direction, at, 1.0)
        excited[i] = np.abs(maps[:, 0, 2])
        action[i] = np.abs(maps - np.eye(3)).max(axis=(1, 2))
    return _Profiles(at=at, excited=excited, action=action)


def slice_classes(line: Timeline, chosen: Selection | None, *, ideal: bool = False) -> list[SliceClass]:
    """Sort readouts by the stretch that their excitation reaches.

    With ``ideal`` each stretch is the box of the excitation's half maxima and has no profile.

    Raises
    ------
    UnsupportedSequenceError
        If a pulse for another slice stands between an excitation and its readout.
    """
    readouts = line.readouts
    everything = np.arange(readouts.adc.size)
    if chosen is None:
        return [
            SliceClass(
                readouts=everything, pulses=np.arange(line.train.shape.size), last=readouts.pulse,
                low=-np.inf, high=np.inf, center=0.0, slope=0.0, spacing=0.0,
            )
        ]  # fmt: skip
    extent = chosen.high - chosen.low
    selective = [s for s in line.shapes if _selects(s, extent)]
    finest = max(float(np.abs(s.gradient @ chosen.direction).max()) * s.duration for s in selective)
    spacing = 1.0 / (_FINE * finest)
    profiles = _profiles(line.shapes, chosen, spacing)
    starts = np.flatnonzero([use == "excitation" for use in line.path.use])
    starts = starts if starts.size else np.array([0])
    begin = starts[(np.searchsorted(starts, readouts.pulse, side="right") - 1).clip(min=0)]
    shape = line.train.shape[begin]
    return [
        _class(line, chosen, profiles, everything[shape == kind], int(kind), spacing, ideal)
        for kind in np.unique(shape)
    ]


def _class(
    line: Timeline, chosen: Selection, profiles: _Profiles, members: np.ndarray, kind: int, spacing: float,
    ideal: bool,
) -> SliceClass:  # fmt: skip
    """Class of the readouts excited by shape ``kind``."""
    excitation = line.shapes[kind]
    heard = np.flatnonzero(profiles.excited[kind] > _HEARD)
    if heard.size == 0:
        heard = np.array([int(np.argmax(profiles.excited[kind]))])
    low, high = profiles.at[heard[0]] - spacing, profiles.at[heard[-1]] + spacing
    inside = (profiles.at >= low) & (profiles.at <= high)
    acts = profiles.action[:, inside].max(axis=1) > _LEFT_ALONE
    pulses = np.flatnonzero(acts[line.train.shape])
    before = line.readouts.pulse[members]
    last = np.searchsorted(pulses, before, side="right") - 1
    if np.any(last < 0) or np.any(pulses[last] != before):
        raise UnsupportedSequenceError(
            "the pulse before a readout must act on the slice that is read; a pulse of another slice stands "
            "between excitation and readout. Use the exact Bloch engine."
        )
    slope = float(excitation.at_center @ chosen.direction)
    if abs(slope) * excitation.duration * (chosen.high - chosen.low) < _FLAT:
        slope = 0.0
    center = excitation.freq_offset / slope if slope else 0.5 * (low + high)
    if ideal:
        low, high = _half_maxima(profiles.at, profiles.excited[kind])
    selects = not ideal and any(
        _selects(line.shapes[i], chosen.high - chosen.low) for i in np.unique(line.train.shape[pulses])
    )
    return SliceClass(
        readouts=members, pulses=pulses, last=last, low=float(low), high=float(high), center=float(center),
        slope=slope, spacing=spacing if selects else 0.0,
    )  # fmt: skip


def _half_maxima(at: np.ndarray, excited: np.ndarray) -> tuple[float, float]:
    """Outermost positions of half the largest excitation, linear in between."""
    half = 0.5 * excited.max()
    above = np.flatnonzero(excited >= half)
    edges = []
    for i, step in ((above[0], -1), (above[-1], 1)):
        j = int(np.clip(i + step, 0, at.size - 1))
        rise = excited[i] - excited[j]
        edges.append(at[i] + (at[j] - at[i]) * ((excited[i] - half) / rise if rise > 0 else 0.0))
    return float(edges[0]), float(edges[1])

"""Multiband pulses: one pulse at several slice positions at once."""

from __future__ import annotations

import copy
import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from ..cards.settings import Selection
from ..cards.settings_epi import Epi
from ..sequence import GAMMA_BAR
from .composer import BuildError
from .selection import Pulse, slice_order, slice_positions


def band_slices(selection: Selection, multiband: int) -> list[list[int]]:
    """Slices that are excited together, in the order of excitation; each group ascends.

    Group g holds slices g, g + G, g + 2 G, ... of G groups: bands are as far apart as possible.
    """
    groups = selection.n_slices // multiband
    order = slice_order(dataclasses.replace(selection, n_slices=groups, concatenations=1))
    return [[group + band * groups for band in range(multiband)] for group in order]


def band_distance(selection: Selection, multiband: int) -> float:
    """Distance between neighbouring bands [m]; 0 for one band."""
    if multiband == 1:
        return 0.0
    return selection.n_slices // multiband * (selection.thickness + selection.gap)


def band_phases(epi: Epi) -> list[float]:
    """RF phase of each band [rad]; see `Epi.band_phases`."""
    if epi.band_phases == "equal":
        return [0.0] * epi.multiband
    return [math.pi * band**2 / epi.multiband for band in range(epi.multiband)]


def group_position(selection: Selection, slices: list[int]) -> float:
    """Mean position of a group along the slice axis [m]."""
    return float(np.mean(slice_positions(selection)[slices]))


def multiband_pulse(pulse: Pulse, offsets: list[float], phases: list[float]) -> Pulse:
    """Sum of copies of a selective pulse.

    Parameters
    ----------
    pulse : Pulse
        Selective pulse of one band.
    offsets : list of float
        Position of each band relative to the group's [m].
    phases : list of float
        Phase of each band at the RF centre [rad].

    Returns
    -------
    Pulse
        Plays ``b1(t) sum_b exp(i (2 pi f_b (t - t_center) + phase_b))`` with ``f_b = G x_b``.
    """
    event = copy.copy(pulse.event)
    if hasattr(event, "shape_IDs"):
        del event.shape_IDs
    carriers = 2.0 * np.pi * pulse.amplitude * np.asarray(offsets)
    time = np.asarray(event.t) - float(event.center)
    waves = np.exp(1j * (carriers[:, None] * time[None, :] + np.asarray(phases)[:, None]))
    event.signal = np.asarray(event.signal) * waves.sum(axis=0)
    return dataclasses.replace(pulse, event=event)


def peak_b1(pulse: Pulse) -> float:
    """Largest amplitude of a pulse [T]."""
    signal: NDArray[np.complex128] = np.asarray(pulse.event.signal)
    return float(np.abs(signal).max() / GAMMA_BAR)


def check_peak(pulse: Pulse, limit: float | None, name: str) -> None:
    """Raise BuildError where a pulse is stronger than the transmitter; names the length that fits."""
    peak = peak_b1(pulse)
    if limit is not None and peak > limit:
        longer = float(pulse.event.shape_dur) * peak / limit
        raise BuildError(
            f"selection.{name} must be at least {longer:.6f} s for a peak of {limit:.4g} T; this pulse needs "
            f"{peak:.4g} T. Or take epi.band_phases = 'schroeder', or fewer bands."
        )

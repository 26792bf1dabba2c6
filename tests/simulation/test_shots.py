"""Histories that end once they are periodic against the whole train played pulse by pulse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mrsim.simulation.kspace.epg import histories
from mrsim.simulation.kspace.pulse_train import PulseTrain
from mrsim.simulation.kspace.pulses import Bins, pulse_maps
from mrsim.simulation.kspace.shots import shots_of

BINS = Bins(
    t1=np.array([0.8, 1.6, 4.3]), t2=np.array([0.07, 0.09, 1.9]), adc=np.array([7e-10, 8e-10, 3e-9]),
    b1=np.array([0.8, 1.0, 1.15]), shift=np.array([-12.0, 0.0, 31.0]),
)  # fmt: skip
ORDERS = np.array([0, -1, 2])


def maps(*degrees):
    found = [
        pulse_maps(np.array([np.deg2rad(d) / (2 * np.pi * 1e-4)]), np.array([1e-4]), BINS) for d in degrees
    ]
    return np.stack([m for m, _ in found]), np.stack([c for _, c in found])


def train_period(shape):
    """Pulses from one first pulse to the next."""
    return int(np.flatnonzero(np.asarray(shape[1:]) == shape[0])[0]) + 1


def train_of(shape, phase, interval, order, shifts, *, dwell=(8e-3, 0.3, 0.9)):
    """Train whose echo paths have dephased for longer from pulse to pulse of a shot."""
    period = train_period(shape)
    return PulseTrain(
        shape=np.asarray(shape), phase=np.asarray(phase, float), interval=np.asarray(interval),
        order=np.asarray(order), tau=1e-3 * (np.arange(len(shape)) % period), dwell=np.asarray(dwell),
        precession=np.asarray(dwell), shifts=np.asarray(shifts), unit=900.0,
    )  # fmt: skip


def inversion_prepared(step=1):
    """Sixty shots: inversion, 20 spoiled readouts, recovery, with moments that do not dephase for good."""
    shape = np.tile([0] + [1] * 20, 60)
    n = np.tile(np.arange(21), 60)
    phase = np.deg2rad(50.0) * n * (n + 1) / 2
    interval = np.tile([1] + [0] * 19 + [2], 60)
    return train_of(shape, phase, interval, 0 * shape, [step, 8 * step, 4 * step])


def turbo_spin_echo(flips=9):
    """Thirty shots of an excitation and refocusing pulses, the excitation's phase alternating."""
    shape = np.tile([1] + [2] * flips, 30)
    phase = np.where(shape == 1, np.pi / 2 + np.pi * (np.arange(shape.size) // (flips + 1) % 2), 0.0)
    interval = np.tile([0] + [1] * (flips - 1) + [2], 30)
    order = np.tile([0] + [-1] * flips, 30)
    return train_of(shape, phase, interval, order, [1, 2, 9], dwell=(5e-3, 10e-3, 1.4))


def spoiled_gradient_echoes(step=1):
    """A steady state of 900 pulses, without any preparation."""
    n = np.arange(900)
    return train_of(0 * n + 1, np.deg2rad(117.0) * n * (n + 1) / 2, 0 * n, 0 * n, [step, 8, 8])


def played(train, wanted, *, repeat, drop):
    matrices, offsets = maps(180, 9, 150)
    shots = shots_of(train)
    if not repeat:
        shots = replace(shots, until=0 * shots.until)
    return histories(
        train, matrices, offsets, BINS, after=wanted, beside=tuple(ORDERS), max_states=300, drop=drop,
        shots=shots,
    )  # fmt: skip


CASES = {
    "inversion": inversion_prepared(),
    "negative moments": inversion_prepared(-1),
    "spin echoes": turbo_spin_echo(),
    "steady state": spoiled_gradient_echoes(),
    "steady state, moment of three orders": spoiled_gradient_echoes(3),
}


@pytest.mark.parametrize("case", CASES)
def test_a_train_that_has_become_periodic_repeats_itself(case):
    train = CASES[case]
    drop = 2e-5
    wanted = np.arange(train.shape.size)[2::3]
    whole = played(train, wanted, repeat=False, drop=1e-12)
    found = played(train, wanted, repeat=True, drop=drop)
    assert shots_of(train).repeated > 0.8 * train.shape.size
    assert np.abs(whole).max() > 0.05
    # Five times what is dropped, plus what was dropped.
    assert np.abs(found - whole).max() < 6 * drop
    # It is not played to the end, or the result would be exact.
    exact = played(train, wanted, repeat=False, drop=drop)
    assert np.abs(found - exact)[:, -1].max() > 0.0


def test_a_change_of_phase_within_a_shot_ends_the_repetition():
    train = inversion_prepared()
    phase = train.phase.copy()
    phase[21 * 30 + 5 :] += 0.3
    other = replace(train, phase=phase)
    wanted = np.arange(train.shape.size)
    whole = played(other, wanted, repeat=False, drop=1e-12)
    assert np.abs(played(other, wanted, repeat=True, drop=1e-6) - whole).max() < 6e-6
    assert set(shots_of(train).until[1:-1]) == {59}
    assert set(shots_of(other).until[1:29]) == {29}


def test_a_train_without_repetition_is_played_pulse_by_pulse():
    rng = np.random.default_rng(3)
    train = train_of([1] * 30, rng.uniform(0, 6, 30), [0] * 30, [0] * 30, [1, 8, 8])
    assert shots_of(train).repeated == 0

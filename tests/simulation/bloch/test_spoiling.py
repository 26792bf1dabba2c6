"""Sub-spins of a voxel against phase graphs: how many of them stand for a dephased voxel.

The phase graphs are those of the k-space engine; `tests.simulation.test_epg` holds them to golden numbers.
"""

from __future__ import annotations

import numpy as np
import pytest

from mrsim.simulation.kspace.epg import histories
from mrsim.simulation.kspace.pulse_train import PulseTrain
from mrsim.simulation.kspace.pulses import Bins, pulse_maps
from protocols import AdcEvent

from .sequences import INSTANT, Score, hard, heard, moment, spins

VOXEL = np.array([4e-3, 3e-3, 5e-3])
WHOLE, BROKEN = np.array([1.0, 0.0, 0.0]), np.array([3.3, 1.7, 0.0])
"""Spoilers per interval [cycles per voxel]."""


def graph(flips, phases, dwell, shifts, orders, t1, t2):
    """Signal right after every pulse; equal flip angles share a map."""
    bins = Bins(t1=np.array([t1]), t2=np.array([t2]), adc=np.zeros(1), b1=np.ones(1), shift=np.zeros(1))
    distinct, shape = np.unique(flips, return_inverse=True)
    maps = [
        pulse_maps(np.array([np.deg2rad(f) / (2 * np.pi * INSTANT)]), np.array([INSTANT]), bins)
        for f in distinct
    ]  # fmt: skip
    kinds, interval = np.unique(np.stack([dwell, shifts], axis=1), axis=0, return_inverse=True)
    train = PulseTrain(
        shape=shape, phase=np.deg2rad(phases), interval=interval.reshape(-1), order=orders,
        tau=np.zeros(len(orders)), dwell=kinds[:, 0], precession=kinds[:, 0], shifts=kinds[:, 1].astype(int),
        unit=1.0,
    )  # fmt: skip
    return histories(
        train, np.stack([m for m, _ in maps]), np.stack([c for _, c in maps]), bins, max_states=2000
    )[0]


def played(flips, phases, dwell, shifts, waits, spoiler, *, t1, t2, sub_spins, voxels, seed=3):
    """Signal ``waits`` seconds after every pulse, receiver on the pulse's phase zero."""
    events, score = {}, Score()
    adc = [AdcEvent(num=1, dwell=1e-10, delay=w - 0.5e-10) if w else None for w in waits]
    for flip, phase, time, shift, read in zip(flips, phases, dwell, shifts, adc, strict=True):
        key = (flip, phase)
        if key not in events:
            events[key] = hard(flip, phase)
        area = shift * spoiler / VOXEL
        for axis, a in zip("xyz", area, strict=True):
            events.setdefault((axis, a, time), moment(a, time))
        gradients = {f"g{axis}": events[axis, a, time] for axis, a in zip("xyz", area, strict=True)}
        score.add(INSTANT, rf=events[key]).add(time, adc=read, **gradients)
    position = np.zeros((voxels, 3))
    position[:, 0] = (np.arange(voxels) - (voxels - 1) / 2) * VOXEL[0]
    cloud = spins(voxels, position=position, t1=np.array(t1), t2=np.array(t2), voxel=np.diag(VOXEL))
    return heard(cloud, score.sequence(), spins_per_voxel=sub_spins, seed=seed)


def nrmse(got, wanted):
    return float(np.linalg.norm(np.abs(got) - np.abs(wanted)) / np.linalg.norm(wanted))


def refocused_train(flips):
    """90 degrees, then refocusing pulses with one spoiler on either side: (graph, spins)."""
    n, half = len(flips), 4e-3
    angles, phases = np.array([90.0, *flips]), np.array([90.0] + [0.0] * n)
    dwell, shifts = np.array([half] + [2 * half] * n), np.array([1] + [2] * n)
    after = graph(angles, phases, dwell, shifts, np.array([0] + [-1] * n), 0.9, 0.1)
    wanted = after[1:] * np.exp(-half / 0.1)
    return wanted, (angles, phases, dwell, shifts, np.array([0.0] + [half] * n))


def spoiled_train(flip, increment, n, tr=15e-3):
    """Signal just after each pulse: (graph, spins)."""
    k = np.arange(n)
    phases = np.mod(increment * k * (k + 1) / 2, 360.0)
    flips, ones = np.full(n, float(flip)), np.ones(n)
    wanted = graph(flips, phases, ones * tr, ones.astype(int), np.zeros(n, int), 1.0, 0.1)
    return wanted, (flips, phases, ones * tr, ones, ones * 1e-9)


TRAINS = {
    "constant": refocused_train([120.0] * 24),
    "variable": refocused_train(list(np.linspace(150.0, 40.0, 40))),
    "spoiled 50": spoiled_train(20, 50, 200), "spoiled 117": spoiled_train(20, 117, 200),
    "spoiled 150": spoiled_train(20, 150, 200),
}  # fmt: skip
RELAXATION = {name: (1.0 if "spoiled" in name else 0.9, 0.1) for name in TRAINS}


def error(name, spoiler, sub_spins, voxels):
    """Relative RMS error of the magnitudes of a train."""
    wanted, train = TRAINS[name]
    t1, t2 = RELAXATION[name]
    return nrmse(played(*train, spoiler, t1=t1, t2=t2, sub_spins=sub_spins, voxels=voxels), wanted)


@pytest.mark.parametrize("voxels", [1, 50])
@pytest.mark.parametrize("name", TRAINS)
def test_whole_cycles_converge_to_the_phase_graph(name, voxels):
    """n sub-spins hold n orders exactly: 24 to 40 refocused intervals, or 64 of 15 ms (T2 100 ms: e^-9.6)."""
    errors = {n: error(name, WHOLE, n, voxels) for n in (1, 4, 16, 64)}
    print(name, voxels, errors)
    assert errors[1] > 0.04
    assert errors[64] < 2e-5
    assert errors[16] < 0.07  # 16 orders are fewer than are alive


@pytest.mark.parametrize("name", TRAINS)
def test_broken_cycles_cancel_between_voxels(name):
    """Every voxel's own sum is not zero then; as the lattice goes on from voxel to voxel, their sum is.

    61 is the package's least number with winding-up. Open ends of the row of 50 voxels are left.
    """
    errors = {n: error(name, BROKEN, n, 50) for n in (1, 16, 61, 256)}
    print(name, errors)
    assert errors[1] > 0.04
    assert errors[16] < 2e-3
    assert errors[61] < 1e-5
    assert errors[256] < 1e-5


GOLDEN = {
    # Deviation from ideal spoiling in percent to 0.1; TR 15 ms, T1 1 s, T2 100 ms, 1200 pulses, from the
    # phase graph and a brute-force sum that agree.
    (20, 50): -3.6, (20, 84): -3.3, (20, 117): -2.2, (20, 150): -0.4, (20, 169): -3.6,
    (30, 50): -8.7, (30, 84): -9.4, (30, 117): 2.1, (30, 150): -3.6, (30, 169): -8.7,
}  # fmt: skip


@pytest.mark.parametrize(("flip", "increment"), GOLDEN)
def test_steady_state_of_rf_spoiling(flip, increment):
    """128 sub-spins with one cycle per interval: orders above 127 have decayed by e^-19."""
    n = 1200
    k = np.arange(n)
    phases = np.mod(increment * k * (k + 1) / 2, 360.0)
    ones, waits = np.ones(n), np.zeros(n)
    waits[-1] = 1e-9
    got = played(
        np.full(n, float(flip)), phases, 15e-3 * ones, ones, waits, WHOLE, t1=1.0, t2=0.1, sub_spins=128,
        voxels=1,
    )  # fmt: skip
    e1, a = np.exp(-0.015), np.deg2rad(flip)
    ideal = np.sin(a) * (1 - e1) / (1 - e1 * np.cos(a))
    deviation = 100 * (abs(got[-1]) / ideal - 1)
    print(flip, increment, round(deviation, 3))
    assert deviation == pytest.approx(GOLDEN[flip, increment], abs=0.06)


def test_transient_of_a_balanced_train():
    """Nothing is dephased: one spin per voxel is the phase graph, here with a half-angle start."""
    n, tr = 120, 5e-3
    flips = np.array([25.0] + [50.0] * n)
    phases = np.array([0.0, *(180.0 * (np.arange(1, n + 1) % 2))])
    dwell, ones = np.array([tr / 2] + [tr] * n), np.ones(n + 1)
    wanted = graph(flips, phases, dwell, 0 * ones, np.zeros(n + 1, int), 1.0, 0.1)
    for sub_spins in (1, 7):
        got = played(
            flips, phases, dwell, 0 * ones, 1e-9 * ones, WHOLE, t1=1.0, t2=0.1, sub_spins=sub_spins, voxels=1
        )
        np.testing.assert_allclose(np.abs(got), np.abs(wanted), atol=1e-6)

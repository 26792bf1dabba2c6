"""What must not change the result: threads, batches, blocks, the unit of magnetization."""

from __future__ import annotations

import numpy as np
import pytest

from mrsim.simulation.bloch import Machine, engine, simulate_cloud
from phantoms import RigidMotion
from protocols import AdcEvent

from .sequences import Score, double, hard, heard, knots, shaped, spins, trapezoid

N = 3000


@pytest.fixture(scope="module")
def cloud():
    rng = np.random.default_rng(1)
    sensitivity = rng.normal(size=(3, N)) + 1j * rng.normal(size=(3, N))
    return spins(
        N, position=rng.normal(0, 0.05, (N, 3)), df=rng.normal(0, 50, N), t1=rng.uniform(0.5, 2, N),
        t2=rng.uniform(0.05, 0.2, N), sensitivity=sensitivity, m0=rng.uniform(0, 1, N),
        b1=(1 + 0.2 * rng.normal(size=(1, N))).astype(complex),
    )  # fmt: skip


@pytest.fixture(scope="module")
def sequence():
    score = Score(1e-5)
    for k in range(4):
        rf = shaped(300 * np.hanning(100), 1e-5, phase_deg=40.0 * k)
        score.add(2e-3, rf=rf, gz=trapezoid(1e5, 1e-3, 1e-4))
        gy = knots([0, 1e-3, 2e-3, 3e-3], [0, 1e4 * k, -1e4, 0])
        adc = AdcEvent(num=301, dwell=1e-5, delay=0.0)
        score.add(5e-3, gx=trapezoid(3e4, 3e-3, 2e-4), gy=gy, adc=adc)
    return score.sequence()


@pytest.mark.parametrize("precision", ["double", "single"])
def test_threads_do_not_change_a_bit(cloud, sequence, precision):
    one, two = (
        simulate_cloud(cloud, sequence, options=double(precision=precision, threads=k)) for k in (1, 2)
    )
    assert np.array_equal(one.samples, two.samples)
    assert np.array_equal(one.magnetization, two.magnetization)


def test_batches_add_up(cloud, sequence, monkeypatch):
    """Pulses and runs of readouts are cut for a batch, to their tolerances: 4 pulses of 1e-8."""
    whole = simulate_cloud(cloud, sequence, options=double(rf_tolerance=1e-8))
    monkeypatch.setattr(engine, "BATCH", 700)
    parts = simulate_cloud(cloud, sequence, options=double(rf_tolerance=1e-8))
    np.testing.assert_allclose(parts.samples, whole.samples, atol=4e-8 * np.abs(whole.samples).max())
    np.testing.assert_allclose(parts.magnetization, whole.magnetization, atol=4e-8)


def test_signal_is_linear_in_density_and_scale(cloud, sequence):
    base = heard(cloud, sequence)
    doubled = heard(cloud.replace({"m0": 2 * cloud.m0, "signal_scale": 0.5}), sequence)
    # Powers of two: every operation scales exactly.
    np.testing.assert_array_equal(doubled, base)


def test_parts_of_a_cloud_sum(cloud, sequence):
    first, rest = cloud.select(np.arange(1000)), cloud.select(np.arange(1000, N))
    total = heard(first, sequence) + heard(rest, sequence)
    whole = heard(cloud, sequence)
    np.testing.assert_allclose(total, whole, atol=1e-9 * np.abs(whole).max())


def test_sensitivity_of_one_is_no_coil(cloud, sequence):
    without = heard(cloud.replace({"sensitivity": None}), sequence)
    ones = heard(cloud.replace({"sensitivity": np.ones((1, N))}), sequence)
    np.testing.assert_allclose(ones, without, atol=1e-13 * np.abs(without).max())


def test_a_body_that_stands_still_is_none(cloud, sequence):
    machine = Machine(center=np.array([0.01, 0.02, 0.03]))
    still = RigidMotion(times=np.array([0.0, 1]), translation=np.zeros((2, 3)), angles=np.zeros((2, 3)))
    moving = heard(cloud.replace({"motion": still}), sequence, machine=machine)
    fixed = heard(cloud, sequence, machine=machine)
    # Phases of 1e3 cycles, summed from another start.
    np.testing.assert_allclose(moving, fixed, atol=1e-9 * np.abs(fixed).max())


def test_nothing_diffuses_without_a_coefficient(cloud, sequence):
    base = heard(cloud, sequence)
    for mode in ("attenuation", "random_walk"):
        got = heard(cloud, sequence, diffusion=mode)
        np.testing.assert_allclose(got, base, atol=1e-12 * np.abs(base).max())


def test_phase_tolerance_bounds_the_error(cloud, sequence):
    best = heard(cloud, sequence, phase_tolerance=1e-12)
    for tolerance in (1e-3, 1e-5, 1e-7, 1e-10):
        error = np.abs(heard(cloud, sequence, phase_tolerance=tolerance) - best).max()
        assert error <= 2 * np.pi * tolerance * cloud.m0.sum() * np.abs(cloud.sensitivity).max()


def test_blocks_may_be_split():
    """A trapezoid and its readout in one block, or the same waveform in three."""
    whole = Score().add(1e-3, rf=hard(60, 20)).add(4e-3, gx=trapezoid(5e4, 3e-3, 5e-4),
                                                   adc=AdcEvent(num=400, dwell=1e-5, delay=0.0))  # fmt: skip
    parts = Score().add(4e-4, rf=hard(60, 20)).add(6e-4)
    parts.add(
        5e-4, gx=knots([0.0, 5e-4], [0.0, 5e4]), adc=AdcEvent(num=50, dwell=1e-5, delay=0.0)
    )  # fmt: skip
    parts.add(3e-3, gx=trapezoid(5e4, 3e-3), adc=AdcEvent(num=300, dwell=1e-5, delay=0.0))
    parts.add(5e-4, gx=knots([0.0, 5e-4], [5e4, 0.0]), adc=AdcEvent(num=50, dwell=1e-5, delay=0.0))
    body = spins(50, position=np.random.default_rng(0).normal(0, 0.05, (50, 3)), t1=np.array(0.9),
                 t2=np.array(0.07))  # fmt: skip
    np.testing.assert_allclose(
        heard(body, parts.sequence()), heard(body, whole.sequence()), atol=2e-9
    )  # fmt: skip


def test_expanding_before_or_within_is_the_same():
    """The bounds that pulses are stepped by cover the sub-spins: T2' of 2 ms reaches 250 kHz."""
    points = spins(
        40, position=np.linspace(-0.05, 0.05, 40)[:, None] * [1, 0.3, 0], t2=np.full(40, 0.1),
        t2_prime=np.full(40, 2e-3), voxel=np.diag([2.5e-3, 3e-3, 4e-3]),
    )  # fmt: skip
    score = Score(1e-5)
    score.add(3e-4, rf=hard(90, length=2e-4))
    score.add(3e-3, gx=trapezoid(2e4, 2e-3, 2e-4), adc=AdcEvent(num=100, dwell=2e-5, delay=0.0))
    sequence = score.sequence()
    seed = engine._piece_seed(5, 0)
    before = points.expand(61, seed=seed, common=seed)
    within = simulate_cloud(points, sequence, options=double(spins_per_voxel=61), seed=5).samples
    without = simulate_cloud(before, sequence, options=double()).samples
    # Pulses and runs are cut by different bounds, to 1e-6 of a pulse.
    np.testing.assert_allclose(within, without, atol=1e-5 * np.abs(without).max())

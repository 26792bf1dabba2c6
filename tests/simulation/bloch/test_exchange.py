"""Two pools with exchange and saturation against matrix exponentials, and the absorption lines."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad, simpson
from scipy.linalg import expm

from mrsim.simulation.bloch.lineshape import lineshape
from phantoms import BoundPool

from .sequences import Score, final, hard, shaped, spins

T2_BOUND = 12e-6
STEP, COUNT, FREQ, DF, SHARE, K_F = 5e-5, 100, 2000.0, 30.0, 0.1, 4.0
R1, R2, R1_BOUND = 1 / 1.2, 1 / 0.08, 1.0


def pool(k_f=K_F, kind="super_lorentzian"):
    return BoundPool(
        m0=np.array([SHARE]), k_f=np.array([k_f]), t1=np.array([1 / R1_BOUND]), t2=np.array([T2_BOUND]),
        lineshape=kind,
    )  # fmt: skip


def voxel(bound):
    return spins(t1=np.array(1 / R1), t2=np.array(1 / R2), df=np.array([DF]), bound=bound)


def generator(w1, g, k_f=K_F):
    """Affine 5 x 5 generator of (Mx, My, Mz, Mz bound, 1) under a field w1 [rad/s]."""
    back, saturation = k_f / SHARE, np.pi * abs(w1) ** 2 * g
    bx, by, bz = w1.real, w1.imag, 2 * np.pi * DF
    return np.array(
        [
            [-R2, bz, -by, 0, 0],
            [-bz, -R2, bx, 0, 0],
            [by, -bx, -R1 - k_f, back, R1],
            [0, 0, k_f, -R1_BOUND - back - saturation, R1_BOUND * SHARE],
            [0, 0, 0, 0, 0],
        ]
    )


@pytest.mark.parametrize("kind", ["super_lorentzian", "lorentzian", "gaussian"])
def test_train_of_soft_pulses_off_resonance(kind):
    """The reference plays the carrier in eight parts of a step: 2e-5 of a step's turn of 0.1 cycles."""
    b1 = 300 * np.hanning(COUNT)
    score = Score(STEP)
    for _ in range(4):
        score.add(COUNT * STEP, rf=shaped(b1, STEP, freq=FREQ)).add(5e-3)
    g = lineshape(kind, FREQ, np.array([T2_BOUND]))[0]
    v = np.array([0, 0, 1, SHARE, 1.0])
    times = (np.arange(8 * COUNT) + 0.5) * STEP / 8
    w1 = 2 * np.pi * np.repeat(b1, 8) * np.exp(-2j * np.pi * FREQ * times)
    pulse = np.eye(5)
    for w in w1:
        pulse = expm(generator(w, g) * STEP / 8) @ pulse
    rest = expm(generator(0j, g) * 5e-3)
    for _ in range(4):
        v = rest @ pulse @ v
    assert v[2] < 0.985  # saturation is at work
    np.testing.assert_allclose(final(voxel(pool(kind=kind)), score.sequence())[:, 0], v[:3], atol=2e-5)


def test_without_exchange_the_bound_pool_is_not_felt():
    score = Score()
    for phase in (0, 40, 170):
        score.add(3e-3, rf=hard(70, phase, length=1e-3, freq=200.0)).add(2e-2)
    alone, beside = final(voxel(None), score.sequence()), final(voxel(pool(k_f=0.0)), score.sequence())
    np.testing.assert_allclose(beside, alone, atol=1e-6)


def test_detailed_balance_keeps_equilibrium_and_exchange_keeps_the_sum():
    """Nothing moves in equilibrium; an inversion recovers along the 2 x 2 exponential."""
    rest = Score().add(1e-6, rf=hard(0.0)).add(0.7).sequence()
    np.testing.assert_allclose(final(voxel(pool()), rest)[:, 0], [0, 0, 1], atol=1e-9)
    back = K_F / SHARE
    g = lineshape("super_lorentzian", 0.0, np.array([T2_BOUND]))[0]
    length = 1e-6
    matrix = np.array([[-R1 - K_F, back], [K_F, -R1_BOUND - back]])
    bound = SHARE * np.exp(-np.pi * (np.pi / length) ** 2 * g * length)
    wanted = np.array([1, SHARE]) + expm(matrix * 0.05) @ np.array([-2.0, bound - SHARE])
    sequence = Score().add(length, rf=hard(180, length=length)).add(0.05).sequence()
    # Relaxation and exchange during 1 us: 1e-6 s times 44 1/s.
    assert final(voxel(pool()), sequence)[2, 0] == pytest.approx(wanted[0], abs=5e-5)


@pytest.mark.parametrize("kind", ["gaussian", "lorentzian"])
def test_lines_integrate_to_one_over_the_offset_in_radians(kind):
    def g(f):
        return lineshape(kind, f, np.array([T2_BOUND]))[0]

    edges = [0.0, 2e3, 2e4, 2e5, 2e6, 2e8, 1e12]
    total = sum(quad(g, a, b, limit=200)[0] for a, b in pairwise(edges))
    # The Lorentzian's wing beyond 1e12 Hz holds 1e-8.
    assert 2 * 2 * np.pi * total == pytest.approx(1.0, abs=1e-7)


def super_lorentzian(offset):
    """The integral over orientations by adaptive quadrature."""

    def at(u):
        p = abs(3 * u * u - 1)
        return np.sqrt(2 / np.pi) * T2_BOUND / p * np.exp(-2 * (2 * np.pi * offset * T2_BOUND / p) ** 2)

    magic = 1 / np.sqrt(3)
    return sum(quad(at, a, b, limit=2000, epsabs=1e-14, epsrel=1e-9)[0] for a, b in ((0, magic), (magic, 1)))


@pytest.mark.parametrize("offset", [1501.0, 2000.0, 5000.0, -20e3, 50e3, 100e3])
def test_super_lorentzian_outside_its_centre(offset):
    got = lineshape("super_lorentzian", offset, np.array([T2_BOUND]))[0]
    assert got == pytest.approx(super_lorentzian(offset), rel=2e-7)


def test_super_lorentzian_integrates_to_one_less_what_the_continuation_removes():
    """The line itself, with its logarithmic peak, has unit area; the bounded centre takes 7 % away."""

    def g(f):
        return lineshape("super_lorentzian", f, np.array([T2_BOUND]))[0]

    # Simpson's rule in the logarithm of the offset; below 1 mHz there is 1e-6 of the area.
    u = np.linspace(np.log(1500.0), np.log(2e5), 81)
    outer = simpson([g(f) * f for f in np.exp(u)], x=u)
    u = np.linspace(np.log(1e-3), np.log(1500.0), 41)
    peak = simpson([super_lorentzian(f) * f for f in np.exp(u)], x=u)
    # Steps of 0.36 in the logarithm: 1e-4 of the area.
    assert 4 * np.pi * (outer + peak) == pytest.approx(1.0, abs=2e-4)
    f = np.linspace(0.0, 1499.9, 11)
    inner = simpson([g(x) for x in f], x=f)
    assert 4 * np.pi * (outer + inner) == pytest.approx(0.93, abs=0.01)


def test_on_resonance_value_of_gloor():
    """1.4e-5 s at T2 = 12 us (Gloor 2008); ways to continue to the centre differ by 15 %."""
    assert lineshape("super_lorentzian", 0.0, np.array([T2_BOUND]))[0] == pytest.approx(1.4e-5, rel=0.15)

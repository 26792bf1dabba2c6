"""Diffusion against the b-values of Stejskal and Tanner."""

from __future__ import annotations

import numpy as np
import pytest

from protocols import GAMMA_BAR

from .sequences import Score, hard, heard, sample, spins, trapezoid

G, DELTA, APART, ADC = 40e-3 * GAMMA_BAR, 20e-3, 40e-3, 0.8e-9
# G 40 mT/m, delta 20 ms, Delta 40 ms, rectangular and with ramps of 0.5 ms [s/m^2]: gamma^2 G^2
# [d^2 (D - d/3) + e^3/30 - d e^2/6]; golden digits of a closed form that brute force confirmed.
GOLDEN = {0.0: 1526.787e6, 0.5e-3: 1526.692e6}


def spin_echo(rise, imaging=0.0):
    """Diffusion lobes around a refocusing pulse; ``imaging`` [Hz/m] is a constant gradient throughout."""
    lobe, gap = trapezoid(G, DELTA - rise, rise), APART - DELTA - rise
    pulse = 1e-8
    extra = {}
    if imaging:
        return _with_imaging(rise, imaging, pulse)
    score = Score().add(pulse, rf=hard(90, use="excitation")).add(DELTA + rise, gx=lobe, **extra)
    score.add(gap / 2).add(pulse, rf=hard(180, 90, use="refocusing")).add(gap / 2 - pulse)
    return score.add(DELTA + rise, gx=lobe).add(1e-3, adc=sample(1e-4)).sequence()


def _with_imaging(rise, imaging, pulse):
    length = DELTA + rise
    lobe, gap = trapezoid(G, DELTA - rise, rise), APART - DELTA - rise
    both = trapezoid(imaging, length)
    half = trapezoid(imaging, gap / 2)
    score = Score().add(pulse, rf=hard(90, use="excitation")).add(length, gx=lobe, gy=both)
    score.add(gap / 2, gy=half).add(pulse, rf=hard(180, 90, use="refocusing")).add(gap / 2, gy=half)
    return score.add(length, gx=lobe, gy=both).add(1e-3, adc=sample(1e-4)).sequence()


@pytest.mark.parametrize("rise", GOLDEN)
def test_attenuation_of_stejskal_and_tanner(rise):
    """exp(-b D) with b to the seven digits of the golden value."""
    s = abs(heard(spins(adc=np.array([ADC])), spin_echo(rise), diffusion="attenuation")[0])
    assert -np.log(s) / ADC == pytest.approx(GOLDEN[rise], rel=1e-6)


@pytest.mark.parametrize("mode", ["attenuation", "random_walk"])
def test_constant_imaging_gradient_adds_its_own_b_value(mode):
    """Orthogonal constant gradient over two halves T: 2/3 (2 pi g)^2 T^3, no cross term."""
    g = 3e5
    half = DELTA + (APART - DELTA) / 2
    b = GOLDEN[0.0] + 2 / 3 * (2 * np.pi * g) ** 2 * half**3
    n = 1 if mode == "attenuation" else 100_000
    cloud = spins(n, adc=np.full(n, 0.4e-9))
    s = heard(cloud, spin_echo(0.0, g), diffusion=mode, seed=11)[0]
    if mode == "attenuation":
        assert -np.log(abs(s)) / 0.4e-9 == pytest.approx(b, rel=1e-6)
    else:
        # Mean of 1e5 cosines: standard error below 1/sqrt(2e5) = 0.0022.
        assert abs(abs(s) - np.exp(-b * 0.4e-9)) < 3 * 0.0023


@pytest.mark.parametrize("rise", GOLDEN)
def test_random_walk_of_many_spins(rise):
    """1e5 spins: standard error of the mean cosine sqrt((1 + e^(-4bD))/2 - e^(-2bD))/sqrt(n) = 0.0020."""
    n = 100_000
    s = heard(spins(n, adc=np.full(n, ADC)), spin_echo(rise), diffusion="random_walk", seed=7)[0]
    assert abs(abs(s) - np.exp(-GOLDEN[rise] * ADC)) < 3 * 0.0020
    assert abs(s.real / abs(s)) < 0.03 or abs(s.imag / abs(s)) < 0.03


def test_free_walk_in_a_readout_gradient():
    """exp(-(2 pi g)^2 D t^3 / 3) at an FID sample read while the gradient is on."""
    g, t, n = 4e6, 8e-3, 100_000
    score = Score().add(1e-8, rf=hard(90, use="excitation"))
    sequence = score.add(1e-2, gx=trapezoid(g, 1e-2), adc=sample(t)).sequence()
    wanted = np.exp(-((2 * np.pi * g) ** 2) * 2e-9 * t**3 / 3)
    assert 0.05 < wanted < 0.9
    exact = abs(heard(spins(adc=np.array([2e-9])), sequence, diffusion="attenuation")[0])
    assert exact == pytest.approx(wanted, rel=1e-5)
    s = abs(heard(spins(n, adc=np.full(n, 2e-9)), sequence, diffusion="random_walk", seed=3)[0])
    assert abs(s - wanted) < 3 * 0.0023

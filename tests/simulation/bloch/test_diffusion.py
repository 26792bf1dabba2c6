"""Diffusion against the b-values of Stejskal and Tanner."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from protocols import GAMMA_BAR

from .sequences import Score, hard, heard, knots, sample, spins, trapezoid

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


def b_value(waves, refocusing, end):
    """4 pi^2 int |k|^2 dt by quadrature, k negated at the refocusing; waves (times, values) per axis."""
    t = np.unique(np.concatenate([[0.0, refocusing, end], *(w[0] for w in waves)]))
    t = t[t <= end]
    nodes, weights = np.polynomial.legendre.leggauss(3)
    k, total = np.zeros(len(waves)), 0.0
    for low, high in pairwise(t):
        if low == refocusing:
            k = -k
        ends = np.array(
            [np.interp([low + 1e-12, high - 1e-12], *w, left=0.0, right=0.0) for w in waves]
        )  # fmt: skip
        u = 0.5 * (high - low) * (nodes + 1)
        rise = (ends[:, 1] - ends[:, 0])[:, None] / (high - low)
        inside = k[:, None] + ends[:, :1] * u + 0.5 * rise * u**2
        # |k|^2 is of fourth order in time: three Gauss nodes are exact.
        total += 0.5 * (high - low) * float((weights * inside**2).sum())
        k = k + 0.5 * (ends[:, 0] + ends[:, 1]) * (high - low)
    return 4 * np.pi**2 * total


@pytest.mark.parametrize("mode", ["attenuation", "random_walk"])
def test_imaging_gradients_on_the_same_axis_add_cross_terms(mode):
    """A crusher pair and a readout prephaser along the diffusion lobes; a weaker pair along y."""
    rise, gap = 5e-4, APART - DELTA - 5e-4
    diffusing = (np.cumsum([0.0, rise, DELTA - rise, rise]), G * np.array([0.0, 1.0, 1.0, 0.0]))
    crush = (np.cumsum([0.0, rise, gap / 2 - 2 * rise, rise]), 0.7 * G * np.array([0.0, 1.0, 1.0, 0.0]))
    other = (crush[0], -0.4 * crush[1])
    half = DELTA + rise + gap / 2
    x = [diffusing, (crush[0] + DELTA + rise, crush[1]), (crush[0] + half, crush[1]),
         (diffusing[0] + half + gap / 2, diffusing[1])]  # fmt: skip
    y = [(other[0] + DELTA + rise, other[1]), (other[0] + half, 0.5 * other[1])]
    waves = [tuple(np.concatenate(v) for v in zip(*axis, strict=True)) for axis in (x, y)]
    end = 2 * half
    alone, b = (b_value(w, half, end) for w in ([diffusing_pair(x)], waves))
    assert alone == pytest.approx(GOLDEN[rise], rel=1e-6)
    assert b > 1.2 * alone
    pulse = 1e-9
    score = Score().add(pulse, rf=hard(90, length=pulse, use="excitation"))
    score.add(DELTA + rise, gx=knots(*diffusing)).add(gap / 2, gx=knots(*crush), gy=knots(*other))
    score.add(pulse, rf=hard(180, 90, length=pulse, use="refocusing"))
    score.add(gap / 2, gx=knots(*crush), gy=knots(other[0], 0.5 * other[1]))
    sequence = score.add(DELTA + rise, gx=knots(*diffusing), adc=sample(DELTA + rise - 1e-9)).sequence()
    # The remaining moment along y turns a point off the origin, not one at it.
    adc, n = 0.3e-9, 1 if mode == "attenuation" else 100_000
    s = abs(heard(spins(n, adc=np.full(n, adc)), sequence, diffusion=mode, seed=5)[0])
    print(mode, -np.log(s) / adc / b - 1)
    if mode == "attenuation":
        assert -np.log(s) / adc == pytest.approx(b, rel=1e-6)
    else:
        assert abs(s - np.exp(-b * adc)) < 3 * 0.0023


def diffusing_pair(x):
    """The outer two of four gradients as one wave."""
    return tuple(np.concatenate(v) for v in zip(x[0], x[3], strict=True))


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

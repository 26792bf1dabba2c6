"""Steady states, inversion, dephasing and displacement against textbook formulas.

Golden numbers come from closed forms that a recursion or brute force confirmed (Deichmann et al., NeuroImage
12:112-127, 2000, for the inversion-prepared train); they are given to six digits.
"""

from __future__ import annotations

import numpy as np
import pytest

from protocols import GAMMA_BAR, AdcEvent

from .sequences import INSTANT, Score, final, hard, heard, line, moment, sample, spins, trapezoid

VOXEL = np.diag([4e-3, 3e-3, 5e-3])


def spoiled_signal(t1, flip, tr, pulses=2400, t2=0.02):
    """Last signal of an ideally spoiled train: T2 short against TR / 10, so nothing transverse comes back."""
    pulse, score = hard(flip), Score()
    for _ in range(pulses):
        score.add(tr, rf=pulse)
    score.add(tr, rf=pulse, adc=sample(2 * INSTANT))
    return abs(heard(spins(t1=np.array(t1), t2=np.array(t2)), score.sequence())[0])


@pytest.mark.parametrize(
    ("t1", "flip", "signal"),
    [
        (0.832, 8, 0.064676), (0.832, 15, 0.051425), (1.331, 8, 0.048908), (1.331, 15, 0.034685),
        # Ernst angles.
        (0.832, 7.4219, 0.064859), (1.331, 5.8711, 0.051280),
    ],
)  # fmt: skip
def test_ideally_spoiled_gradient_echo(t1, flip, signal):
    """T2 0.4 ms: exp(-7/0.4) = 2e-8 comes back; within the 10 ns of the pulse 1e-4 of the signal is lost."""
    got = spoiled_signal(t1, flip, 7e-3, t2=4e-4) * np.exp(1.5 * INSTANT / 4e-4)
    assert got == pytest.approx(signal, abs=1e-6)


def test_gradient_and_rf_spoiling_agree_with_the_formula_within_its_known_deviation():
    """5 degrees and 117 degrees of increment deviate by at most 0.3 % at T1 1 s, T2 100 ms, TR 15 ms."""
    n, tr, flip = 1200, 15e-3, 5.0
    phases = np.mod(117.0 * np.arange(n) * (np.arange(n) + 1) / 2, 360.0)
    events = {p: hard(flip, p) for p in np.unique(phases)}
    score, spoiler = Score(), moment(1 / 4e-3, tr)
    for p in phases:
        score.add(INSTANT, rf=events[p]).add(tr, gx=spoiler)
    score.add(INSTANT, rf=events[phases[0]], adc=sample(1.1 * INSTANT))
    cloud = spins(1, t1=np.array(1.0), t2=np.array(0.1), voxel=VOXEL)
    z = final(cloud, score.sequence(), spins_per_voxel=128)[2, 0]
    e1, a = np.exp(-tr), np.deg2rad(flip)
    longitudinal = (1 - e1) / (1 - e1 * np.cos(a)) * np.cos(a)
    assert z == pytest.approx(longitudinal, rel=3e-3)


@pytest.mark.parametrize(("tr", "null"), [(np.inf, 0.693147), (5.0, 0.686432)])
def test_inversion_recovery_is_null(tr, null):
    """T1 ln 2, and T1 ln[2 / (1 + exp(-TR/T1))] where the repetition is finite; 1e-6 s are 1e-6 of M0."""
    score = Score()
    if np.isfinite(tr):
        # The readout pulse of the repetition before.
        score.add(INSTANT, rf=hard(90)).add(tr - null)
    score.add(INSTANT, rf=hard(180)).add(null - INSTANT)
    cloud = spins(1, t1=np.array(1.0), t2=np.array(0.1))
    assert abs(final(cloud, score.sequence())[2, 0]) < 1e-6


def test_spin_echo_of_finite_repetition():
    """[1 - 2 exp(-(TR - TE/2)/T1) + exp(-TR/T1)] exp(-TE/T2); T1 832, T2 80, TR 600, TE 14 ms.

    The line of spins is crushed around each refocusing and spoiled by 7 cycles after each echo.
    """
    te, tr = 14e-3, 0.6
    crush, spoil = moment(1.0, te / 2), moment(7.0, tr - te)
    score = Score()
    for _ in range(6):
        score.add(INSTANT, rf=hard(90, 90)).add(te / 2 - INSTANT, gx=crush)
        score.add(INSTANT, rf=hard(180)).add(te / 2 - INSTANT, gx=crush, adc=sample(te / 2 - 2 * INSTANT))
        score.add(tr - te, gx=spoil)
    # Echoes that stray from earlier shots: e^-7.5 = 6e-4 of them, dephased by the spoiler.
    got = abs(heard(line(64, t1=np.array(0.832), t2=np.array(0.08)), score.sequence())[-1])
    assert got == pytest.approx(0.424424, abs=2e-6)
    assert abs(got - 0.431321) > 6e-3


@pytest.mark.parametrize(("t1", "signal"), [(0.838, 0.047086), (1.607, 0.021693), (4.163, 0.005813)])
def test_inversion_prepared_train_of_deichmann(t1, signal):
    """TR 2300 TI 900 ES 7.1 ms, N 176, k-centre pulse 88, 9 degrees, ideal spoiling (T2 0.4 ms)."""
    es, n, centre, ti, tr = 7.1e-3, 176, 88, 0.9, 2.3
    before = ti - centre * es
    pulse, inversion, score = hard(9), hard(180), Score()
    shots = 1 + int(np.ceil(14 * t1 / tr))
    for _ in range(shots):
        score.add(before, rf=inversion)
        for k in range(n):
            score.add(es, rf=pulse, adc=sample(2 * INSTANT) if k == centre else None)
        score.add(tr - before - n * es)
    got = abs(heard(spins(t1=np.array(t1), t2=np.array(4e-4)), score.sequence())[-1])
    assert got * np.exp(1.5 * INSTANT / 4e-4) == pytest.approx(signal, abs=1e-6)


@pytest.mark.parametrize(("field", "bandwidth", "pixels"), [(3.0, 150.0, 2.90), (3.0, 240.0, 1.81)])
def test_fat_is_displaced_along_the_readout(field, bandwidth, pixels):
    """3.4 ppm / bandwidth per pixel, opposite to the gradient; a point's place is the slope of its phase."""
    n, pixel = 64, 2e-3
    dwell = 1 / (bandwidth * n)
    gradient = 1 / (n * pixel * dwell)
    fat = -3.4e-6 * GAMMA_BAR * field
    adc = AdcEvent(num=n, dwell=dwell, delay=1e-4)
    score = (
        Score()
        .add(INSTANT, rf=hard(90))
        .add(n * dwell + 2e-4, gx=trapezoid(gradient, n * dwell + 2e-4), adc=adc)
    )
    places = []
    for df in (0.0, fat):
        s = heard(spins(position=np.array([[7e-3, 0, 0]]), df=np.array([df])), score.sequence())
        slope = np.polyfit(np.arange(n), np.unwrap(np.angle(s)), 1)[0]
        places.append(-slope / (2 * np.pi * gradient * dwell) / pixel)
    assert places[0] == pytest.approx(3.5, abs=1e-9)
    assert places[1] - places[0] == pytest.approx(fat / bandwidth, abs=1e-9)
    assert abs(places[1] - places[0]) == pytest.approx(pixels, abs=6e-3)


@pytest.mark.parametrize("with_voxel", [True, False])
def test_t2_prime_decays_and_is_refocused(with_voxel):
    """exp(-t/T2') of 400 points with 64 sub-spins each, and nothing of it at a spin echo.

    One point is met to (2 t/T2')^(1/4) n^(-3/4)/sqrt(pi) = 0.03, the mean of 400 to a twentieth of that.
    """
    prime = 0.03
    times = np.array([2e-3, 10e-3, 20e-3, 30e-3, 60e-3])
    score, last = Score().add(INSTANT, rf=hard(90)), 0.0
    for t in times:
        score.add(t - last, adc=sample(t - last - 1e-9))
        last = t
    score.add(INSTANT, rf=hard(180, 90)).add(last + 1e-3, adc=sample(last - 1e-9))
    points = 400
    cloud = spins(
        points, position=np.zeros((points, 3)), t2_prime=np.array(prime), voxel=VOXEL if with_voxel else None
    )
    s = np.abs(heard(cloud, score.sequence(), spins_per_voxel=64))
    np.testing.assert_allclose(s[:-1], np.exp(-times / prime), atol=3 * 0.03 / 20)
    # Sample and pulse centre are off by nanoseconds, the line's tail reaches 1e6 / (2 pi T2').
    assert s[-1] == pytest.approx(1.0, abs=1e-4)


def test_one_isochromat_has_no_t2_prime():
    score = Score().add(INSTANT, rf=hard(90)).add(0.05, adc=sample(0.04))
    assert abs(heard(spins(t2_prime=np.array(0.03)), score.sequence())[0]) == pytest.approx(1.0, abs=1e-9)

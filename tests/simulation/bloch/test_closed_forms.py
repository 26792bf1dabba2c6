"""Golden numbers of textbook sequences: each from a closed form and from a brute force that agree.

They are given to five or six digits, which is the tolerance unless another is explained.
"""

from __future__ import annotations

import numpy as np
import pytest

from .sequences import INSTANT, Score, final, hard, heard, line, sample, shaped, spins, trapezoid

# Hennig 1988: 90 degrees along the echo phase, T1 1 s, T2 100 ms, echo spacing 10 ms; and without relaxation.
RELAXING = {
    180: [0.90484, 0.81873, 0.74082],
    150: [0.84422, 0.82469, 0.69785],
    120: [0.67863, 0.79647, 0.63691, 0.60688, 0.56365, 0.50861],
    90: [0.45242, 0.65260, 0.59050],
    60: [0.22621, 0.38711, 0.43403],
}
LASTING = {120: [0.75, 0.9375, 0.84375, 0.85547, 0.88477], 60: [0.25, 0.4375, 0.53125, 0.54297]}


def echo_train(flip, count, t1, t2):
    """Echoes of a line of 64 spins, turned by one cycle across it per half spacing: exact up to order 63."""
    half = 5e-3
    crusher, pulse = trapezoid(1 / half, half), hard(flip)
    score = Score().add(INSTANT, rf=hard(90, 90))
    for _ in range(count):
        score.add(half, gx=crusher).add(INSTANT, rf=pulse)
        score.add(half, gx=crusher, adc=sample(half - 1e-10))
    return np.abs(heard(line(64, t1=np.array(t1), t2=np.array(t2)), score.sequence()))


@pytest.mark.parametrize("flip", RELAXING)
def test_cpmg_with_stimulated_echoes(flip):
    echoes = echo_train(flip, len(RELAXING[flip]), 1.0, 0.1)
    np.testing.assert_allclose(echoes, RELAXING[flip], atol=6e-6)


@pytest.mark.parametrize("flip", LASTING)
def test_cpmg_without_relaxation(flip):
    np.testing.assert_allclose(echo_train(flip, len(LASTING[flip]), np.inf, np.inf), LASTING[flip], atol=6e-6)


def test_balanced_steady_state_of_freeman_and_hill():
    """45 degrees, alternating, TR 5 TE 2.5 ms, T1 1 s, T2 100 ms after 1200 pulses (e^-6 per T1)."""
    golden = {0.0: 0.152496, 25.0: 0.148922, 50.0: 0.132191, 75.0: 0.085242, 99.0: 0.007122}
    pulses, score = (hard(45), hard(45, 180)), Score()
    for k in range(1200):
        score.add(5e-3, rf=pulses[k % 2])
    score.add(2.5e-3 + INSTANT / 2, rf=pulses[0])
    cloud = spins(5, m0=np.ones(5), df=np.array(list(golden)), t1=np.array(1.0), t2=np.array(0.1))
    x, y, _ = final(cloud, score.sequence())
    np.testing.assert_allclose(np.hypot(x, y), list(golden.values()), atol=1e-6)


@pytest.mark.parametrize(("b1", "angle"), [(50, 0.01571), (100, 0.06280), (200, 0.25085)])
def test_bloch_siegert_shift(b1, angle):
    """Rectangle of 8 ms, 4 kHz away, on a spin along B1 at its start: exact Bloch values, five digits."""
    length = 8e-3
    pulse = hard(360 * b1 * length, length=length, freq=4e3)
    with_pulse = Score().add(INSTANT, rf=hard(90, 90)).add(length, rf=pulse).sequence()
    without = Score().add(INSTANT, rf=hard(90, 90)).add(length).sequence()
    (x, y, _), (x0, y0, _) = final(spins(), with_pulse)[:, 0], final(spins(), without)[:, 0]
    assert np.angle((x + 1j * y) / (x0 + 1j * y0)) == pytest.approx(angle, abs=6e-6)


@pytest.mark.parametrize(
    ("tbw", "widths"),
    [(2, (1.1502, 1.3458, 0.767)), (4, (0.9979, 1.0889, 0.666)), (8, (0.9992, 1.0177, 0.703))],
)
def test_slice_profiles_of_hamming_sincs(tbw, widths):
    """Full width at half maximum relative to TBW/T at 10 and 90 degrees and as a scaled inversion.

    Half of the centre's value where the profile ripples; the golden values took steps of the order of 1e-3.
    """
    length, raster = 3e-3, 4e-6
    t = (np.arange(750) + 0.5) * raster - length / 2
    shape = (0.54 + 0.46 * np.cos(2 * np.pi * t / length)) * np.sinc(tbw * t / length)
    f = np.linspace(-3000, 3000, 3001)
    cloud = spins(f.size, m0=np.ones(f.size), df=f)
    for flip, width in zip((10, 90, 180), widths, strict=True):
        b1 = shape * np.deg2rad(flip) / (2 * np.pi * shape.sum() * raster)
        sequence = Score(raster).add(length, rf=shaped(b1, raster)).sequence()
        x, y, z = final(cloud, sequence)
        profile = (1 - z) / 2 if flip == 180 else np.hypot(x, y)
        level = 0.5 * profile[f.size // 2]
        inside = np.flatnonzero(profile >= level)
        a, b = inside[0], inside[-1]
        low = np.interp(level, profile[a - 1 : a + 1], f[a - 1 : a + 1])
        high = np.interp(-level, -profile[b : b + 2], f[b : b + 2])
        assert (high - low) * length / tbw == pytest.approx(width, abs=1.5e-3)

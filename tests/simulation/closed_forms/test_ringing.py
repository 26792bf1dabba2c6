"""Truncated k-space: Gibbs' overshoot and the point spread with and without windows.

k-space from -kmax to kmax of a box from -a to a gives (Si(u (y + a)) - Si(u (y - a))) / pi, u = 2 pi kmax:
the first maximum beside an edge overshoots its step by 1/2 - ... = Si(pi) / pi - 1/2 = 8.949 %. A point
gives sinc, whose width at half height is 1.2067 pixels; windows widen it (values for 256 points).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import sici

from protocols.cards.settings import Readout, Rf, Timing
from recon import Window, reconstruct

from .bench import IDEAL, PERFECT, PLAIN, axis, body, card, coordinate, quiet, scan

POINTS, PIXEL, FINER = 256, 1e-3, 16
OVERSHOOT = sici(np.pi)[0] / np.pi - 0.5
LONG_LIVED = {"t1": 10.0, "t2": 5.0}
# Window, its formula at |k| / kmax, width [px] and noise (root mean square): reference table, 256 points.
WINDOWS = {
    "none": (Window(), np.ones_like, 1.207, 1.0),
    "Hamming": (Window(kind="hamming"), lambda r: 0.54 + 0.46 * np.cos(np.pi * r), 1.815, 0.630),
    "Hann": (Window(kind="hann"), lambda r: np.cos(0.5 * np.pi * r) ** 2, 2.000, 0.612),
    "Tukey 0.5": (
        Window(kind="tukey", alpha=0.5),
        lambda r: np.where(r < 0.5, 1.0, np.sin(np.pi * r) ** 2),
        1.573,
        0.829,
    ),
    "Fermi 1, 10/128": (
        Window(kind="fermi", radius=1.0, width=10 / 128),
        lambda r: 1 / (1 + np.exp(12.8 * (r - 1))),
        1.264,
        0.952,
    ),
    "Fermi .9, .05": (
        Window(kind="fermi", radius=0.9, width=0.05),
        lambda r: 1 / (1 + np.exp(20 * (r - 0.9))),
        1.339,
        0.922,
    ),
    "Gauss 0.5": (Window(kind="gaussian", sigma=0.5), lambda r: np.exp(-2 * r**2), 1.641, 0.664),
}


def readout_card():
    """Gradient echo with 256 points along the readout; few lines."""
    return card(
        "gre", (POINTS * PIXEL, 0.016, 0.016), (POINTS, 4, 4), rf=Rf(flip_deg=5.0),
        timing=Timing(tr=0.02, te=0.008, dummy_shots=0), readout=Readout(bandwidth=400.0),
    )  # fmt: skip


def line(fraction, spacing):
    """Body that varies along the readout only, one voxel across."""
    x = axis(fraction.size, spacing)
    axes = (x, axis(2, 1e-3), axis(2, 1e-3))
    return body({"object": fraction[:, None, None] * np.ones((1, 2, 2))}, axes, object=LONG_LIVED)


def profile(done, window=None):
    """Coordinates [px] and magnitudes along the readout through the middle, interpolated by FINER."""
    options = replace(PLAIN, zero_fill=(FINER * POINTS, 4, 4), window=window or Window())
    image = done.image(options)
    return coordinate(image, 0) / PIXEL, image.data[:, 2, 2]


def measure_step(half_width=40.25):
    """Coordinates [px], image of a box of half_width pixels (height 1), and its closed form."""
    spacing = PIXEL / 32
    count = round(2 * half_width * 32)
    x, data = profile(scan(readout_card(), line(np.ones(count), spacing)))
    expected = (sici(np.pi * (x + half_width))[0] - sici(np.pi * (x - half_width))[0]) / np.pi
    inside = np.abs(x) < 10
    return x, data * (expected[inside].mean() / data[inside].mean()), expected


def measure_points(names=tuple(WINDOWS)):
    """Per window: coordinates [px] and point spread (height 1)."""
    done = scan(readout_card(), line(np.array([0.0, 1.0, 0.0]), PIXEL / 64))
    spreads = {}
    for name in names:
        x, data = profile(done, WINDOWS[name][0])
        spreads[name] = (x, data / data.max())
    return spreads


def width(x, spread):
    """Full width at half of the maximum, linear between points."""
    top = int(np.argmax(spread))
    right = top + int(np.argmax(spread[top:] < 0.5))
    left = top - int(np.argmax(spread[top::-1] < 0.5))

    def cross(inner, outer):
        return x[inner] + (x[outer] - x[inner]) * (spread[inner] - 0.5) / (spread[inner] - spread[outer])

    return abs(cross(right - 1, right) - cross(left + 1, left))


def test_overshoot_of_a_step():
    """The closed form everywhere to 0.2 % of the step; 8.949 % within the far edge's ripple, 1/(80 pi^2)."""
    x, data, expected = measure_step()
    error = np.abs(data - np.abs(expected)).max()
    found = data[np.abs(x - 40.25) < 2].max() - 1
    print(f"overshoot {100 * found:.3f} % (closed form {100 * OVERSHOOT:.3f} %), profile within {error:.5f}")
    assert pytest.approx(OVERSHOOT, abs=1e-5) == 0.08949
    assert error < 2e-3
    assert found == pytest.approx(OVERSHOOT, abs=1.5e-3)


def test_point_spread_without_and_with_windows():
    """Widths to 0.5 %: digits of the table, k = 0 half a sample off the window's middle."""
    for name, (x, spread) in measure_points().items():
        found, wanted = width(x, spread), WINDOWS[name][2]
        print(f"{name}: FWHM {found:.4f} px ({wanted})")
        assert found == pytest.approx(wanted, rel=5e-3), name


def root_mean_square(formula, points):
    r = np.abs(np.arange(points) - points // 2) / (points // 2)
    return np.sqrt(np.mean(formula(r) ** 2))


def measure_noise(names=tuple(WINDOWS), seeds=10):
    """Per window: noise over that without a window, found and expected; windows act along all three axes."""
    source = quiet(
        readout_card(), line(np.array([0.0, 1.0, 0.0]), PIXEL / 64), scanner=IDEAL, options=PERFECT,
        noise_samples=64,
    )  # fmt: skip
    files, rows, plain = [source.noisy(seed) for seed in range(seeds)], [], 1.0
    for name in names:
        window, formula = WINDOWS[name][:2]
        options = replace(PLAIN, combine="adaptive", magnitude=False, window=window)
        noise = [(a := reconstruct(f, options).data) - a.mean() for f in files]
        sd = float(np.std(noise))
        plain = sd if name == "none" else plain
        along = [root_mean_square(formula, n) for n in (POINTS, 4, 4)]
        rows.append((sd / plain, np.prod(along), along[0], WINDOWS[name][3]))
    return np.array(rows)


def test_noise_with_windows():
    """To 3 %: windows leave as few as 4000 independent of 41000 complex voxels."""
    for name, (found, expected, along, wanted) in zip(WINDOWS, measure_noise(), strict=True):
        print(f"{name}: noise {found:.4f} ({expected:.4f}); 256 points {along:.4f} ({wanted})")
        assert along == pytest.approx(wanted, abs=2e-3), name
        assert found == pytest.approx(expected, rel=0.03), name

"""T2 decay along an echo train blurs its images: the point spread is the transform of the decay over k.

With 180 degree pulses echo n has exp(-n ESP / T2). Over the train of N echoes the decay is d = N ESP / T2,
and k = kappa / pixel, |kappa| <= 1/2. Ascending order weighs k with exp(-d (kappa + 1/2)), whose transform is
sinh(z) / z, z = d / 2 - i pi u, at u pixels; order from the centre outwards with exp(-2 d |kappa|), whose
transform is 2 Re[(1 - exp(-(d - i pi u))) / (2 d - 2 pi i u)]. Widths at half height: 1.207 pixels without
decay; sqrt(3) d / pi and 2 d / pi for strong ones. T1 equals T2 here: while a pulse of finite length turns
them, dephased spins relax by T1 for a part of it, which stretches the decay otherwise.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq

from protocols.cards.settings import Readout, Rf, Timing

from .bench import PLAIN, axis, body, card, coordinate, scan

ECHOES, SPACING, PIXEL, FINER = 64, 6e-3, 2e-3, 16
ORDERS = ("linear", "centric")


def spread_of(order, decay, u):
    """Closed form of the point spread at u pixels; 1 at 0."""

    def form(at):
        if order == "linear":
            z = 0.5 * decay - 1j * np.pi * at
            return np.abs(np.sinh(z) / z)
        return np.abs(2 * ((1 - np.exp(-(decay - 1j * np.pi * at))) / (2 * decay - 2j * np.pi * at)).real)

    return form(np.asarray(u, float)) / form(np.zeros(1))


def width_of(order, decay):
    """Full width at half height of the closed form [px]."""
    far = 2.0 + 2.0 * decay
    return 2 * brentq(lambda u: spread_of(order, decay, u)[0] - 0.5, 1e-6, far if decay > 1 else 1.2)


def point_image(order, t2):
    """Coordinates [px], point spread (1 at its top), echo of each line: single shot per partition."""
    centre = ECHOES // 2 if order == "linear" else 0
    protocol = card(
        "tse", (0.016, ECHOES * PIXEL, 0.016), (8, ECHOES, 4), suffix="T2w",
        timing=Timing(
            tr=1.0, te=(centre + 1) * SPACING, echo_spacing=SPACING, turbo_factor=ECHOES, dummy_shots=0,
            view_order=order,
        ),
        rf=Rf(flip_deg=90.0, refocusing_deg=(180.0,)), readout=Readout(bandwidth=800.0),
    )  # fmt: skip
    axes = tuple(axis(3, PIXEL / 64) for _ in range(3))
    point = np.zeros((3, 3, 3))
    point[1, 1, 1] = 1.0
    done = scan(protocol, body({"point": point}, axes, point={"t1": t2, "t2": t2}))
    image = done.image(replace(PLAIN, zero_fill=(8, FINER * ECHOES, 4)))
    x = coordinate(image, 1) / PIXEL
    data = image.data[4, :, 2].astype(float)
    imaging = done.sequence.label("NOISE") == 0
    lines = done.sequence.label("LIN")[imaging].reshape(4, ECHOES)
    return x, data / data.max(), lines


def sum_of_echoes(order, decay, u):
    """Point spread of the lines themselves: sum over echoes instead of the integral."""
    k = np.arange(ECHOES) - ECHOES // 2
    echo = np.arange(ECHOES) if order == "linear" else np.argsort(np.lexsort((k, np.abs(k))))
    weight = np.exp(-decay * echo / ECHOES)
    return np.abs(np.exp(2j * np.pi * np.outer(u, k) / ECHOES) @ weight) / weight.sum()


def width(x, spread):
    """Full width at half height, linear between points."""
    above = np.flatnonzero(spread > 0.5)
    low, high = above[0], above[-1]

    def cross(inner, outer):
        return x[inner] + (x[outer] - x[inner]) * (spread[inner] - 0.5) / (spread[inner] - spread[outer])

    return abs(cross(high, high + 1) - cross(low, low - 1))


def measure_blurring(order, times):
    """Rows (d = N ESP / T2, width found, width expected [px], largest deviation from the sum)."""
    rows = []
    for t2 in times:
        decay = ECHOES * SPACING / t2
        x, found, _ = point_image(order, t2)
        near = np.abs(x) < 12
        error = np.abs(found - sum_of_echoes(order, decay, x))[near].max()
        rows.append((decay, width(x, found), width_of(order, decay), error))
    return np.array(rows)


def check(order, times):
    rows = measure_blurring(order, times)
    for decay, found, expected, error in rows:
        print(f"{order}, d = {decay:.3f}: FWHM {found:.4f} px ({expected:.4f}), spread within {error:.5f}")
    # An integral for 64 lines, sqrt(3) sinh(d / 128) for its argument: 0.2 % at d = 12.8.
    np.testing.assert_allclose(rows[:, 1], rows[:, 2], rtol=0.01)
    assert rows[:, 3].max() < 2e-3


@pytest.mark.parametrize("order", ORDERS)
def test_point_spread(order):
    check(order, [0.08])


@pytest.mark.slow
@pytest.mark.parametrize("order", ORDERS)
def test_point_spread_over_t2(order):
    check(order, [0.03, 0.05, 0.2, 2.0])


def test_orders_of_the_lines():
    ascending, outwards = (point_image(order, 0.1)[2] for order in ORDERS)
    np.testing.assert_array_equal(ascending, np.tile(np.arange(ECHOES), (4, 1)))
    assert (np.diff(np.abs(outwards - ECHOES // 2), axis=1) >= 0).all()
    np.testing.assert_array_equal(np.sort(outwards, axis=1), ascending)


def test_limits_of_the_closed_forms():
    """No decay: sinc, 1.2067 pixels. Strong decay: the widths of 1 / |d - 2 pi i u| and of a Lorentzian."""
    for order, factor in zip(ORDERS, (np.sqrt(3), 2.0), strict=True):
        assert width_of(order, 1e-9) == pytest.approx(1.2067, abs=1e-4)
        assert width_of(order, 30.0) == pytest.approx(30.0 * factor / np.pi, rel=2e-3)

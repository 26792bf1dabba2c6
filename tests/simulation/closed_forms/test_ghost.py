"""The N/2 ghost of echo-planar images: delays of the readout gradient, and phases of odd against even lines.

A delay tau under a readout gradient G shifts lines that run forwards and backwards by +-G tau: at x their
phases are +-theta, theta = 2 pi x G tau (G in Hz/m). Even and odd lines add up to cos theta, and alternate
by sin theta, which half a field of view away is a ghost of tan theta times the image. A homogeneous eddy
current that decays within the ramp, a exp(-t / T) [m] times the gradient step, leaves the phases
+-2 pi a T G everywhere.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mrsim.simulation.gradients import EddyCurrent, GradientSystem
from protocols.cards.settings import Readout, Rf, Timing
from protocols.cards.settings_epi import Epi

from .bench import PLAIN, axis, body, card, cloud, coordinate, scan, slices

LINES, PIXEL, AT = 48, 4e-3, 0.012
NAVIGATED = replace(PLAIN, ghost_correction="navigator")
LEFT = 0.002
"""Ghost over image that may stay after the navigators' correction."""


def bar():
    """Bar along the readout, a cloud of 1.5 pixels across, 12 mm off the centre."""
    axes = (axis(88, 1.6e-3, 1e-3), axis(28, 2e-3, AT), axis(8, 1.2e-3))
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    smooth = 1.0 / (1.0 + np.exp((np.abs(x) - 0.06) / 1.5e-3))
    return body({"water": smooth * cloud(y, AT, 6e-3) * np.ones_like(z)}, axes, water={"t1": 0.3, "t2": 0.2})


def echo_planar(gradients, *, ramp_sampling=False):
    """Scan of the bar; gradient of its readout [Hz/m]."""
    protocol = card(
        "epi", (LINES * PIXEL, LINES * PIXEL, PIXEL), (LINES, LINES, 1), suffix="bold",
        selection=slices(PIXEL), timing=Timing(tr=1.0, te=0.04, dummy_shots=0), rf=Rf(flip_deg=60.0),
        readout=Readout(bandwidth=1500.0, oversampling=1), epi=Epi(ramp_sampling=ramp_sampling),
    )  # fmt: skip
    done = scan(protocol, bar(), gradients=gradients)
    return done, max(float(np.abs(e.values).max()) for e in reading(done.sequence))


def reading(sequence):
    """Readout gradients of the lines."""
    return [sequence.grad_events[int(sequence.gx[b]) - 1] for b in sequence.adc_blocks if sequence.gx[b]]


def ghost_over_image(image):
    """Coordinates [m] along the readout, and the ghost's height over the image's there."""
    x, y = coordinate(image, 0), coordinate(image, 1)
    row = int(np.argmin(np.abs(y - AT)))
    ghost = np.sqrt((image.data[:, np.arange(row - 6, row + 7) - LINES // 2, 0] ** 2).sum(axis=1))
    main = np.sqrt((image.data[:, row - 6 : row + 7, 0] ** 2).sum(axis=1))
    inside = np.abs(x) < 0.052
    return x[inside], (ghost / main)[inside]


def measure_delay(delays=(2e-6,)):
    """Per delay [s]: x [m], ghost found and expected, and left after correction; shift that was found."""
    result = []
    for tau in delays:
        done, strength = echo_planar(GradientSystem(delay=(tau, 0.0, 0.0)))
        x, found = ghost_over_image(done.image())
        corrected = done.image(NAVIGATED)
        left = ghost_over_image(corrected)[1]
        shift = corrected.meta["recipe"]["ghost_correction"][0]["shift_samples"]
        wanted = 2 * tau * strength * LINES * PIXEL
        result.append((tau, x, found, np.abs(np.tan(2 * np.pi * x * strength * tau)), left, (shift, wanted)))
    return result


def measure_phase(lengths=(2e-3,), decay=12e-6):
    """Per amplitude of a B0 eddy current [m]: ghost (mean, range), expected, left after correction."""
    rows = []
    for a in lengths:
        eddy = EddyCurrent(source=0, target=None, amplitude=a, time_constant=decay)
        done, strength = echo_planar(GradientSystem(eddy=(eddy,)))
        found = ghost_over_image(done.image())[1]
        left = ghost_over_image(done.image(NAVIGATED))[1]
        rows.append((a, found.mean(), np.ptp(found), np.tan(2 * np.pi * a * decay * strength), left.max()))
    return np.array(rows)


def test_delay_of_the_readout_gradient():
    ((tau, _, found, expected, left, shift),) = measure_delay()
    print(
        f"delay {1e6 * tau:.1f} us: ghost up to {found.max():.4f}, "
        f"worst {np.abs(found - expected).max():.5f}; "
        f"corrected {left.max():.5f}; navigators {shift[0]:+.5f} samples ({shift[1]:.5f})"
    )
    assert expected.max() > 0.2
    # Truncation of the bar's ends and of 1.5-pixel clouds; 1e-4 from the compression.
    np.testing.assert_allclose(found, expected, atol=3e-3)
    assert abs(shift[0]) == pytest.approx(shift[1], rel=0.01)
    assert left.max() < LEFT


def test_phase_of_odd_and_even_lines():
    ((a, found, spread, expected, left),) = measure_phase()
    print(
        f"eddy current {1e3 * a:.1f} mm: ghost {found:.5f} (tan phi {expected:.5f}, "
        f"spread {spread:.5f}); left {left:.5f}"
    )
    assert found == pytest.approx(expected, rel=0.01)
    assert spread < 3e-3
    assert left < LEFT


@pytest.mark.slow
def test_delays_and_phases_of_both_signs():
    for _, _, found, expected, left, _ in measure_delay((-3e-6, -1e-6, 0.5e-6)):
        np.testing.assert_allclose(found, expected, atol=3e-3)
        assert left.max() < LEFT
    rows = measure_phase((-1e-3, 5e-4, 4e-3))
    np.testing.assert_allclose(rows[:, 1], np.abs(rows[:, 3]), rtol=0.01, atol=5e-4)
    assert rows[:, 4].max() < LEFT


def test_no_ghost_with_perfect_gradients():
    done, _ = echo_planar(GradientSystem())
    assert ghost_over_image(done.image())[1].max() < 3e-3

"""Imperfect gradients against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from mrsim.simulation.bloch import (
    EddyCurrent,
    GradientSystem,
    ImpulseResponse,
    Machine,
    SphericalHarmonicField,
)
from mrsim.simulation.bloch.fields import maxwell_maps
from protocols import AdcEvent

from .sequences import Score, hard, heard, knots, spins

PLACE = np.array([[0.03, 0.05, -0.04]])
G, RAMP, FLAT_END = 1e6, 4e-4, 5e-3
LEAD = 2e-3


def times():
    return (np.arange(100) + 0.5) * 1.5e-4


def trapezoid_readout():
    """Excitation, 2 ms of rest, then a trapezoid read throughout and after."""
    gradient = knots([0.0, RAMP, FLAT_END, FLAT_END + RAMP], [0.0, G, G, 0.0])
    score = Score().add(LEAD, rf=hard(90, 90))
    return score.add(2e-2, gx=gradient, adc=AdcEvent(num=100, dwell=1.5e-4, delay=0.0)).sequence()


def phase(system):
    """Phase that a gradient system adds to a perfect one [cycles], in the sense of M+."""
    sequence, cloud = trapezoid_readout(), spins(position=PLACE)
    played = heard(cloud, sequence, machine=Machine(gradients=system))
    return np.unwrap(-np.angle(played / heard(cloud, sequence))) / (2 * np.pi)


@pytest.mark.parametrize(("target", "amplitude"), [(0, 0.004), (1, -0.003), (None, 2e-4)])
def test_eddy_current_of_a_trapezoid(target, amplitude):
    """A ramp of slope s induces -a s tau (1 - exp(-t/tau)) (Lenz); its integral is closed too."""
    tau = 3e-3
    system = GradientSystem(
        eddy=(EddyCurrent(source=0, target=target, amplitude=amplitude, time_constant=tau),)
    )

    def ramp(t):
        t = np.clip(t, 0.0, None)
        return -(tau * t - tau**2 * (1 - np.exp(-t / tau)))

    t = times()
    shape = ramp(t) - ramp(t - RAMP) - ramp(t - FLAT_END) + ramp(t - FLAT_END - RAMP)
    wanted = amplitude * G / RAMP * shape * (1.0 if target is None else PLACE[0, target])
    assert np.abs(wanted).max() > 0.05
    # Waveforms are linear between 2 us samples, where the knots lie: (2 us / 3 ms)^2 / 12 of the phase.
    np.testing.assert_allclose(phase(system), wanted, atol=1e-8)


def test_impulse_response_of_one_changes_nothing():
    response = ImpulseResponse(frequency=np.array([0.0, 1e3, 2.6e5]), response=np.ones((3, 3), complex))
    # Through an FFT of 2 us samples and back: round-off of a phase of 200 cycles.
    np.testing.assert_allclose(phase(GradientSystem(impulse_response=response)), 0.0, atol=1e-9)


@pytest.mark.parametrize("delay", [7e-6, 10e-6, -4e-6])
@pytest.mark.parametrize("filtered", [False, True])
def test_delay_shifts_the_moment(delay, filtered):
    """exp(i 2 pi x gamma-bar G tau) on the flat top, nothing after the gradient."""
    response = ImpulseResponse(frequency=np.array([0.0, 2.6e5]), response=np.ones((3, 2), complex))
    system = GradientSystem(delay=(delay, 0.0, 0.0), impulse_response=response if filtered else None)
    got, t = phase(system), times()
    flat, after = (t > RAMP + 5e-5) & (t < FLAT_END - 5e-5), t > FLAT_END + RAMP + 5e-5
    wanted = -PLACE[0, 0] * G * delay
    # Filtered: a delay of half samples is an interpolation of a waveform that is not band-limited.
    tolerance = 1e-5 if filtered else 1e-10
    np.testing.assert_allclose(got[flat], wanted, atol=tolerance)
    np.testing.assert_allclose(got[after], 0.0, atol=tolerance)


def test_low_pass_is_symmetric_and_keeps_the_moment():
    """Without phase: on the flat top and after the gradient the moment is the demanded one."""
    got, t = phase(GradientSystem(low_pass=5e3)), times()
    flat, after = (t > 1e-3) & (t < 4e-3), t > FLAT_END + 1e-3
    np.testing.assert_allclose(got[flat | after], 0.0, atol=1e-8)
    ramps = ~(flat | after)
    assert np.abs(got[ramps]).max() > 1e-3


CLOSED = {
    # Solid harmonics r^n P_nm(cos theta) cos(m phi) without the Condon-Shortley phase.
    (2, 0): lambda x, y, z: z**2 - (x**2 + y**2) / 2,
    (3, 0): lambda x, y, z: z**3 - 1.5 * z * (x**2 + y**2),
    (3, 1): lambda x, y, z: 1.5 * x * (4 * z**2 - x**2 - y**2),
    (3, 3): lambda x, y, z: 15 * (x**3 - 3 * x * y**2),
}


@pytest.mark.parametrize("order", CLOSED)
def test_spherical_harmonics_in_closed_form(order):
    r0, c = 0.25, 0.07
    field = SphericalHarmonicField(radius=r0, cosine=((), ((*order, c),), ()))
    r = np.random.default_rng(2).normal(0, 0.1, (50, 3))
    wanted = r.copy()
    wanted[:, 1] += c * r0 * CLOSED[order](*r.T) / r0 ** order[0]
    np.testing.assert_allclose(field.field(r), wanted, atol=1e-14)


def test_spherical_harmonics_are_harmonic():
    """The Laplacian of every term vanishes: in a vacuum Bz is harmonic."""
    rng = np.random.default_rng(4)
    terms = tuple((n, m, float(rng.normal())) for n in range(2, 7) for m in range(n + 1))
    field = SphericalHarmonicField(radius=0.2, cosine=(terms, (), ()), sine=((), terms[1:], ()))
    r, h = rng.uniform(-0.08, 0.08, (20, 3)), 1e-3
    laplacian = -6 * field.field(r)
    for axis in np.eye(3) * h:
        laplacian += field.field(r + axis) + field.field(r - axis)
    # Fourth derivatives times h^4 / 12 of terms up to 10: against second derivatives times h^2.
    step = np.array([h, 0.0, 0.0])
    curvature = np.abs(field.field(r + step) + field.field(r - step) - 2 * field.field(r)).max()
    assert np.abs(laplacian).max() < 1e-3 * curvature


def test_maxwell_terms_are_the_second_order_of_the_field_strength():
    """|B| of a set with Bx = Gx z - Gz x / 2, By = Gy z - Gz y / 2, Bz = B0 + G . r, less B0 + G . r."""
    f0, r = 20e6, np.array([[0.1, -0.07, 0.13], [-0.05, 0.2, 0.04]])
    gx, gy, gz = g = np.array([8e5, -5e5, 9e5])
    x, y, z = r.T
    bz = f0 + r @ g
    strength = np.sqrt((gx * z - gz * x / 2) ** 2 + (gy * z - gz * y / 2) ** 2 + bz**2)
    products = np.array([gx**2 + gy**2, gz**2, gx * gz, gy * gz])
    # Next order: the linear field relative to B0, 2 %.
    np.testing.assert_allclose(products @ maxwell_maps(r, f0), strength - bz, rtol=0.02)

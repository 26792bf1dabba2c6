"""Order of convergence of the steps of pulses, and bounds on what they leave."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from mrsim.simulation.bloch import pulse_library
from protocols import AdcEvent

from .sequences import Score, final, hard, heard, knots, shaped, spins, trapezoid


def slope(errors):
    """Mean order per halving of the step."""
    return np.log2(errors[0] / errors[-1]) / (len(errors) - 1)


def coarse(monkeypatch, parts):
    """Make the stepping take ``parts`` equal parts of every stored step, whatever the tolerance says."""

    def split(steps, b1, dphi, how):
        turn = 2 * np.pi * np.stack([b1.real, b1.imag], axis=1) * steps[:, None]
        return tuple(np.repeat(v / parts, parts, axis=0) for v in (steps, turn, dphi))

    monkeypatch.setattr(pulse_library, "_split", split)


def relaxing(t, m, b1, df, r1, r2):
    w = 2 * np.pi * np.array([b1, 0.0, df])
    return np.cross(m, w) - np.array([m[0] * r2, m[1] * r2, (m[2] - 1) * r1])


def test_splitting_of_relaxation_is_second_order(monkeypatch):
    """Rectangle of 2 ms on T1 8 ms, T2 3 ms, 150 Hz off: halving the step quarters the error."""
    b1, length, df, t1, t2 = 120.0, 2e-3, 150.0, 8e-3, 3e-3
    ode = solve_ivp(
        relaxing, (0, length), [0, 0, 1.0], args=(b1, df, 1 / t1, 1 / t2), method="DOP853", rtol=1e-12,
        atol=1e-13,
    )  # fmt: skip
    wanted = ode.y[:, -1]
    sequence = Score().add(length, rf=hard(360 * b1 * length, length=length)).sequence()
    cloud, errors = spins(df=np.array([df]), t1=np.array([t1]), t2=np.array([t2])), []
    for parts in (4, 8, 16, 32, 64):
        coarse(monkeypatch, parts)
        got = final(cloud, sequence)[:, 0]
        errors.append(np.abs(got - wanted).max())
    print("relaxation", errors)
    assert slope(errors) == pytest.approx(2.0, abs=0.1)
    assert errors[-1] < 1e-4


def test_mean_fields_of_a_gradient_ramp_are_second_order(monkeypatch):
    """The same rectangle under a steep ramp as ever finer samples, without refinement."""
    monkeypatch.setattr(pulse_library.PulseLibrary, "_refine", lambda self, edges, b1, evaluate: (edges, b1))
    length, flip = 1e-3, np.deg2rad(110)
    b1 = flip / (2 * np.pi * length)
    ramp = knots([0.0, length], [-4e4, 1e5])
    ode = solve_ivp(
        lambda t, m: np.cross(m, 2 * np.pi * np.array([b1, 0.0, 0.02 * (-4e4 + 1.4e5 * t / length)])),
        (0, length), [0, 0, 1.0], method="DOP853", rtol=1e-12, atol=1e-13,
    )  # fmt: skip
    cloud, errors = spins(position=np.array([[0.02, 0.0, 0.0]])), []
    for n in (10, 20, 40, 80, 160):
        # A ripple of 1e-9 keeps equal neighbours from being joined.
        wave = b1 * (1 + 1e-9 * (-1.0) ** np.arange(n))
        got = final(cloud, Score(length / n).add(length, rf=shaped(wave, length / n), gx=ramp).sequence())[
            :, 0
        ]
        errors.append(np.abs(got - ode.y[:, -1]).max())
    print("ramp", errors)
    assert slope(errors) == pytest.approx(2.0, abs=0.15)


def test_a_sampled_waveform_converges_with_second_order_to_the_smooth_one():
    """Hann pulse under a ramping gradient on coarser and finer rasters (samples at the middle of steps)."""
    length, ramp = 2e-3, knots([0.0, 1e-3, 2e-3], [0.0, 3e4, -2e4])
    peak = np.deg2rad(140) / (np.pi * length)

    def smooth(t, m):
        b = peak * (1 - np.cos(2 * np.pi * t / length)) / 2
        g = np.interp(t, ramp.times, ramp.values)
        return (
            np.cross(m, 2 * np.pi * np.array([b, 0.0, 60.0 + 0.015 * g]))
            - m * [20.0, 20.0, 1.0]
            + [0, 0, 1.0]
        )

    m = np.array([0, 0, 1.0])
    for low, high in ((0.0, 1e-3), (1e-3, 2e-3)):
        m = solve_ivp(smooth, (low, high), m, method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
    cloud = spins(
        position=np.array([[0.015, 0.0, 0.0]]), df=np.array([60.0]), t1=np.array([1.0]), t2=np.array([0.05])
    )
    errors = []
    for n in (20, 40, 80, 160):
        t = (np.arange(n) + 0.5) * length / n
        wave = peak * (1 - np.cos(2 * np.pi * t / length)) / 2
        got = final(cloud, Score(length / n).add(length, rf=shaped(wave, length / n), gx=ramp).sequence(),
                    rf_tolerance=1e-9)[:, 0]  # fmt: skip
        errors.append(np.abs(got - m).max())
    print("raster", errors)
    assert slope(errors) == pytest.approx(2.0, abs=0.15)


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-6, 1e-8, 1e-10])
def test_readout_phases_keep_their_tolerance(tolerance):
    """Samples on the curved parts of a waveform: 2 pi times the tolerance in cycles, plus round-off."""
    n, dwell = 600, 5e-6
    times = np.linspace(0.0, 3e-3, 31)
    wave = knots(times, 4e5 * np.sin(2 * np.pi * times / 3e-3))
    other, adc = trapezoid(2e5, 1e-3, 1e-3), AdcEvent(num=n, dwell=dwell, delay=0.0)
    sequence = Score().add(1e-6, rf=hard(90)).add(3.1e-3, gx=wave, gy=other, adc=adc).sequence()
    r = np.array([0.09, -0.07, 0.0])
    got = heard(spins(position=r[None]), sequence, phase_tolerance=tolerance)
    at = (np.arange(n) + 0.5) * dwell
    phase = np.zeros(n)
    for grad, x in ((wave, r[0]), (other, r[1])):
        edges = np.union1d(grad.times, at)
        values = np.interp(edges, grad.times, grad.values, left=0.0, right=0.0)
        area = np.concatenate([[0.0], np.cumsum(np.diff(edges) * (values[1:] + values[:-1]) / 2)])
        phase += x * np.interp(at, edges, area)
    error = np.abs(got / got[0] - np.exp(-2j * np.pi * (phase - phase[0]))).max()
    print(tolerance, error)
    # The first sample has no error of its own; the recurrence over 512 samples rounds at 1e-13.
    assert error < 2 * np.pi * tolerance + 1e-11

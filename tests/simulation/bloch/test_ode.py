"""The engine against scipy's DOP853 on sequences drawn at random.

The integrator steps from knot to knot of all waveforms, where the Bloch equation is smooth; its tolerance of
1e-10 leaves errors below 1e-8. The carrier of a pulse is a continuous wave there.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from mrsim.simulation.bloch import BlochOptions, simulate_cloud

from .sequences import Score, final, hard, knots, shaped, spins, trapezoid

# Single precision: round-off of 6e-8 a step, which adds up in one sense at worst: 1.4e-5 was seen in some
# hundred steps, 1e-4 is what a simulator is asked for.
SINGLE = 1e-4


def bloch(cloud, sequence, point=0, path=None):
    """Magnetization (3,) of one spin at the end by DOP853; ``path`` gives its position (3,) at a time."""
    r, b1 = cloud.position[point], cloud.b1[0, point]
    r1, r2, df, m0 = 1 / cloud.t1[point], 1 / cloud.t2[point], cloud.df[point], cloud.m0[point]
    m = np.array([0.0, 0.0, m0])
    for block in range(sequence.n_blocks):
        event, gradients, start = sequence.rf_event(block), sequence.gradients(block), sequence.start[block]
        cuts = {0.0, float(sequence.duration[block])}
        for g in gradients:
            cuts |= set(map(float, g.times)) if g is not None else set()
        if event is not None:
            # Samples hold from midpoint to midpoint; two equal samples are one rectangle.
            edges = event.delay + np.concatenate([[0.0], np.cumsum(event.sample_widths)])
            cuts |= set(map(float, edges))
        times = np.array(sorted(cuts))
        for low, high in pairwise(times):
            if high - low < 1e-12:
                continue
            middle = 0.5 * (low + high)
            ends = [
                np.interp(
                    [low + 1e-13, high - 1e-13], g.times, g.values, left=0.0, right=0.0
                ) if g is not None else np.zeros(2)
                for g in gradients
            ]  # fmt: skip
            amplitude = 0.0
            if event is not None and event.delay < middle < event.end:
                amplitude = event.b1[np.searchsorted(edges, middle, side="right") - 1]

            def slope(t, m, low=low, high=high, ends=ends, amplitude=amplitude, event=event, start=start):
                share = (t - low) / (high - low)
                at = r if path is None else path(start + t)
                bz = df + sum(x * (e[0] + share * (e[1] - e[0])) for x, e in zip(at, ends, strict=True))
                b = 0.0
                if event is not None:
                    phase = event.phase_offset + 2 * np.pi * event.freq_offset * (t - event.delay)
                    b = np.conj(amplitude * np.exp(1j * phase) * b1)
                field = 2 * np.pi * np.array([np.real(b), np.imag(b), bz])
                return np.cross(m, field) - np.array([m[0] * r2, m[1] * r2, (m[2] - m0) * r1])

            m = solve_ivp(slope, (low, high), m, method="DOP853", rtol=1e-10, atol=1e-12).y[:, -1]
    return m


@dataclass(frozen=True)
class Case:
    cloud: object
    sequence: object


@st.composite
def cases(draw):
    number = lambda low, high: draw(st.floats(low, high, allow_nan=False))  # noqa: E731
    t1 = number(0.02, 2.0)
    cloud = spins(
        position=np.array([[number(-0.1, 0.1) for _ in range(3)]]), df=np.array([number(-300, 300)]),
        t1=np.array([t1]), t2=np.array([t1 * number(0.05, 1.0)]),
        b1=np.array([[number(0.3, 1.5) * np.exp(1j * number(-3, 3))]]),
    )  # fmt: skip
    score = Score(rf_raster=1e-5)
    for number_of_block in range(draw(st.integers(1, 4))):
        length = 2.5e-3
        gradients = {}
        for axis in ("gx", "gy", "gz"):
            kind = draw(st.sampled_from(["none", "trapezoid", "arbitrary"]))
            if kind == "trapezoid":
                gradients[axis] = trapezoid(number(-2e4, 2e4), 1.1e-3, number(1e-4, 5e-4), delay=2e-4)
            elif kind == "arbitrary":
                values = [number(-2e4, 2e4) for _ in range(6)]
                gradients[axis] = knots(np.linspace(0.0, 2.3e-3, 6), values)
        rf = None
        kind = draw(st.sampled_from(["none", "hard", "shaped"] if number_of_block else ["hard", "shaped"]))
        phase, freq = number(-180, 180), number(-1000, 1000)
        if kind == "hard":
            rf = hard(number(1, 180), phase, length=number(1e-4, 8e-4), freq=freq, delay=3e-4)
        elif kind == "shaped":
            b1 = [number(-400, 400) + 1j * number(-400, 400) for _ in range(12)]
            rf = shaped(np.repeat(b1, 5), 1e-5, phase_deg=phase, freq=freq, delay=1e-4)
        score.add(length, rf=rf, **gradients)
        score.add(number(1e-4, 2e-2))
    return Case(cloud, score.sequence())


QUIET = dict(
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@settings(max_examples=25, **QUIET)
@given(cases())
def test_random_sequences_keep_the_tolerance_of_pulses(case):
    """``rf_tolerance`` bounds what the steps of one pulse leave; 1e-9 is the integrator's own error."""
    wanted, pulses = bloch(case.cloud, case.sequence), case.sequence.rf_blocks.size
    for tolerance in (1e-3, 1e-6, 1e-8):
        got = final(case.cloud, case.sequence, rf_tolerance=tolerance)[:, 0]
        assert np.abs(got - wanted).max() < pulses * tolerance + 1e-9


@settings(max_examples=6, **QUIET)
@given(cases())
def test_random_sequences_in_single_precision(case):
    got = simulate_cloud(case.cloud, case.sequence, options=BlochOptions(threads=1)).magnetization[:, 0]
    assert np.abs(got - bloch(case.cloud, case.sequence)).max() < SINGLE


@pytest.mark.parametrize("freq", [-900.0, 1000.0, 7000.0])
def test_a_carrier_offset_is_a_continuous_wave(freq):
    """On the carrier's frequency a rectangle of 90 degrees leaves no longitudinal magnetization."""
    sequence = Score(1e-5).add(3e-3, rf=shaped(np.full(300, 250 / 3), 1e-5, freq=freq)).sequence()
    assert abs(final(spins(df=np.array([freq])), sequence)[2, 0]) < 1e-12


def test_a_gradient_may_ramp_during_a_rectangular_pulse():
    """A rectangle is one stretch of equal amplitude, but the field within it is not."""
    gradient = knots([0.0, 0.5e-3, 1e-3], [0.0, 1e5, 0.0])
    sequence = Score().add(1e-3, rf=hard(90, length=1e-3), gx=gradient).sequence()
    cloud = spins(position=np.array([[0.02, 0.0, 0.0]]))
    np.testing.assert_allclose(final(cloud, sequence)[:, 0], bloch(cloud, sequence), atol=1e-6)

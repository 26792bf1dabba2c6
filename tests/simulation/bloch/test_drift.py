"""A frequency that drifts: the exact engine's homogeneous field against its integral and the fast phase."""

from __future__ import annotations

import numpy as np
import pytest

from mrsim.simulation import Session, SimulationOptions
from mrsim.simulation.artifacts import with_frequency_drift
from mrsim.simulation.bloch import Machine
from mrsim.simulation.bloch.scan import sample_times, scanned_cloud, simulate_bloch
from mrsim.simulation.scan_events import events_of
from protocols import AdcEvent

from ..conftest import body, scanner
from ..tiny import spoiled_gre
from .sequences import Score, hard, heard, spins

DRIFT = 2.0
ADC = AdcEvent(num=32, dwell=1e-3, delay=0.0)


def gradient_echoes(count=3, gap=20.0):
    """Excitation and 32 ms of signal, again every ``gap`` seconds."""
    score = Score()
    for _ in range(count):
        score.add(1e-3, rf=hard(90, 90)).add(gap - 1e-3, adc=ADC)
    return score.sequence()


def drifted(sequence, cloud):
    machine = Machine(frequency_drift=DRIFT)
    ratio = heard(cloud, sequence, machine=machine) / heard(cloud, sequence)
    return np.angle(ratio)


def wrapped(phase):
    return np.angle(np.exp(1j * phase))


def test_phase_is_the_integral_of_the_drift():
    """-2 pi drift (t^2 - t_exc^2) / 2 after each excitation; relaxed spins forget the ones before."""
    sequence = gradient_echoes()
    got = drifted(sequence, spins(t1=0.5, t2=0.1)).reshape(3, 32)
    for i, row in enumerate(got):
        start = 20.0 * i
        t = start + 1e-3 + ADC.sample_times
        wanted = -np.pi * DRIFT * (t**2 - start**2)
        # The pulse ends 10 ns after the start.
        np.testing.assert_allclose(wrapped(row - wanted), 0.0, atol=1e-4)
    assert np.abs(got[2]).max() > 1.0


def test_the_fast_phase_keeps_its_stated_error():
    """drift t tau instead of the integral: pi drift tau^2 apart."""
    sequence = gradient_echoes()
    got = drifted(sequence, spins(t1=0.5, t2=0.1)).reshape(3, 32)
    tau = 1e-3 + ADC.sample_times
    times = [20.0 * i + tau for i in range(3)]
    fast = with_frequency_drift([np.ones((1, 32), complex)] * 3, times, [tau] * 3, DRIFT)
    for row, phase in zip(got, fast, strict=True):
        assert np.abs(wrapped(row - np.angle(phase[0]))).max() < np.pi * DRIFT * tau[-1] ** 2 + 1e-4


def test_a_spin_echo_refocuses_all_but_the_drift_between_its_halves():
    """At the echo of TE: phase of drift (TE/2)^2, whatever the time of the scan."""
    half = 0.025
    score = Score()
    score.add(30.0).add(half, rf=hard(90, 90)).add(half - 16e-3, rf=hard(180, 0))
    sequence = score.add(0.1, adc=AdcEvent(num=32, dwell=1e-3, delay=0.0)).sequence()
    got = drifted(sequence, spins(t1=10.0, t2=1.0))
    t = 30.0 + half + (half - 16e-3) + ADC.sample_times
    first = ((30.0 + half) ** 2 - 30.0**2) / 2
    second = (t**2 - (30.0 + half) ** 2) / 2
    np.testing.assert_allclose(wrapped(got + 2 * np.pi * DRIFT * (second - first)), 0.0, atol=2e-4)
    echo = np.interp(30.0 + 2 * half, t, np.unwrap(got))
    assert wrapped(echo) == pytest.approx(-2 * np.pi * DRIFT * half**2, abs=2e-3)


def test_a_visit_reaches_the_exact_engine(upright):
    """Movement turns the cloud, the receiver drifts, spikes hit their samples: as drawn and recorded."""
    rng = np.random.default_rng(1)
    phantom = body(rng.uniform(0.2, 1, (4, 3, 3)), 0.03, (-0.04, -0.03, -0.03), t1=1.0, t2=0.1)
    sequence = spoiled_gre((8, 6, 4), (0.2, 0.2, 0.2), tr=0.5)
    session = Session(motion="severe", gain_drift=1e-3, spike_rate=3.0, entropy=(7, 8))
    options = SimulationOptions(b0=False, b1=False, coils=False, noise=False)
    raw = simulate_bloch(
        phantom, sequence, scanner(), upright, rng=np.random.default_rng(0), session=session, options=options
    )
    events = events_of(sequence, session)
    assert raw.recipe["events"] == events.record()
    assert events.spikes
    cloud, _ = scanned_cloud(phantom, upright, scanner(), session, options)
    moving = cloud.replace({"motion": events.motion.as_phantom_motion()})
    plain = [
        simulate_bloch(c, sequence, scanner(), upright, rng=np.random.default_rng(0)).data
        for c in (moving, cloud)
    ]
    assert np.abs(np.stack(plain[0]) - np.stack(plain[1])).max() > 0.1 * np.abs(np.stack(plain[1])).max()
    hit = {s.readout for s in events.spikes}
    for i, (got, still, t) in enumerate(zip(raw.data, plain[0], sample_times(sequence), strict=True)):
        different = np.abs(got - still * (1 + 1e-3 * t)) > 1e-5 * np.abs(still).max()
        assert different.any() == (i in hit)

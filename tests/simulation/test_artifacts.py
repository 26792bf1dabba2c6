"""Drift and spikes on lists of readouts against their formulas."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mrsim.simulation.artifacts import (
    Spike,
    draw_spikes,
    spike_record,
    with_frequency_drift,
    with_gain_drift,
    with_spikes,
)


def readouts(rng=None, counts=(40, 64, 40), coils=3):
    rng = rng or np.random.default_rng(5)
    return [
        (rng.normal(size=(coils, n)) + 1j * rng.normal(size=(coils, n))).astype(np.complex64) for n in counts
    ]


def test_frequency_drift_is_a_phase_of_drift_times_time_times_tau():
    data = readouts()
    times = [np.linspace(10.0 * i, 10.0 * i + 5e-3, d.shape[1]) for i, d in enumerate(data)]
    tau = [np.linspace(2e-3, 7e-3, d.shape[1]) for d in data]
    tau[1] = -tau[1]
    changed = with_frequency_drift(data, times, tau, 0.3)
    for before, after, t, u in zip(data, changed, times, tau, strict=True):
        assert after.dtype == np.complex64
        cycles = 0.3 * t * u
        np.testing.assert_allclose(after, before * np.exp(-2j * np.pi * cycles), rtol=1e-5)
    assert np.abs(np.angle(changed[2] / data[2])).max() > 0.1
    assert all(a is b for a, b in zip(with_frequency_drift(data, times, tau, 0.0), data, strict=True))


def test_a_drift_moves_the_image_along_the_slow_axis_as_a_frequency_does():
    """Across an EPI train tau grows line by line: f0 + drift t shifts by f times the train's duration."""
    lines, spacing, start, drift = 64, 0.5e-3, 120.0, 0.5
    tau = [np.full(1, 5e-3 + i * spacing) for i in range(lines)]
    times = [np.full(1, start) + u for u in tau]
    flat = [np.ones((1, 1), complex) for _ in range(lines)]
    phase = np.unwrap(np.angle(np.ravel(with_frequency_drift(flat, times, tau, drift))))
    slope = np.polyfit(np.arange(lines), phase, 1)[0] / (2 * np.pi)  # cycles per line = pixels / lines
    # 60 Hz over a train of 32 ms: 1.92 pixels; the drift within the train adds 3e-4 of it.
    assert -slope * lines == pytest.approx(drift * start * spacing * lines, rel=1e-3)


def test_gain_drift_scales_signal_and_noise():
    data = readouts()
    times = [np.full(d.shape[1], 100.0 * i) for i, d in enumerate(data)]
    changed = with_gain_drift(data, times, 1e-4)
    for i, (before, after) in enumerate(zip(data, changed, strict=True)):
        np.testing.assert_allclose(after, before * (1 + 1e-2 * i), rtol=1e-6)
    with pytest.raises(ValueError, match="gain drift must keep the gain positive"):
        with_gain_drift(data, times, -0.01)


def test_spikes_change_one_sample_by_their_size():
    data = readouts()
    spike = Spike(readout=1, sample=20, amplitude=10.0, phase=0.5)
    changed = with_spikes(data, [spike])
    difference = [np.abs(a - b) for a, b in zip(changed, data, strict=True)]
    assert [d.any() for d in difference] == [False, True, False]
    assert np.count_nonzero(difference[1].any(axis=0)) == 1
    rms = np.sqrt(np.mean(np.abs(data[1][:, 4:37]) ** 2, axis=1))
    np.testing.assert_allclose(changed[1][:, 20] - data[1][:, 20], 10 * rms * np.exp(0.5j), rtol=1e-5)


def test_spikes_do_not_see_each_other():
    data = readouts()
    spikes = [Spike(readout=0, sample=k, amplitude=30.0, phase=float(k)) for k in (10, 12)]
    both, swapped = with_spikes(data, spikes), with_spikes(data, spikes[::-1])
    np.testing.assert_array_equal(both[0], swapped[0])
    with pytest.raises(ValueError, match="spikes must lie in the data; got readout 7, sample 0 of 3"):
        with_spikes(data, [Spike(readout=7, sample=0, amplitude=5.0, phase=0.0)])


def test_drawn_spikes_are_poisson_uniform_and_recorded():
    """Mean 4 per volume over 500 volumes: 2000 +- 45; positions uniform over samples, not over readouts."""
    counts = [100, 300]
    rng = np.random.default_rng(3)
    spikes = draw_spikes(rng, counts, rate=4.0, amplitude=(5.0, 50.0), volumes=500)
    assert len(spikes) == pytest.approx(2000, abs=5 * 45)
    assert np.mean([s.readout for s in spikes]) == pytest.approx(0.75, abs=0.05)
    assert all(0 <= s.sample < counts[s.readout] for s in spikes)
    sizes = np.array([s.amplitude for s in spikes])
    assert (sizes.min(), sizes.max()) == (pytest.approx(5.0, rel=0.02), pytest.approx(50.0, rel=0.02))
    assert np.median(sizes) == pytest.approx(np.sqrt(250), rel=0.05)  # log-uniform
    assert json.loads(json.dumps(spike_record(spikes)))[0]["sample"] == spikes[0].sample
    assert draw_spikes(rng, counts, rate=0.0) == ()
    assert draw_spikes(rng, [], rate=100.0) == ()


def test_a_spike_is_a_stripe_pattern_in_the_image():
    """|FT of one sample| is the same in every voxel: amplitude / N."""
    k = [np.zeros((1, 32), complex) for _ in range(32)]
    k[16][0, :] = 1.0
    spiked = with_spikes(k, [Spike(readout=16, sample=3, amplitude=8.0, phase=0.0)])
    stripes = np.abs(np.fft.ifft2(np.vstack(spiked) - np.vstack(k)))
    np.testing.assert_allclose(stripes, 8.0 / 32**2, rtol=1e-12)

"""RF pulses as steps: the steps' integrals equal those of the curve that the file describes."""

import numpy as np
import pytest

from protocols import RfEvent, SequenceError, rf_steps

RASTER = 1e-6


def pulse(times, b1, *, delay=100e-6, length=None):
    times = np.asarray(times, dtype=float)
    return RfEvent(
        times=delay + times,
        b1=np.asarray(b1, dtype=complex),
        delay=delay,
        shape_duration=times[-1] if length is None else length,
        center=delay,
        freq_offset=50.0,
        phase_offset=1.0,
    )


def test_rastered_samples_hold_over_their_interval():
    b1 = np.exp(1j * np.arange(7)) * np.arange(7)
    durations, steps = rf_steps(pulse((np.arange(7) + 0.5) * RASTER, b1, length=7 * RASTER), RASTER)
    np.testing.assert_allclose(durations, RASTER, rtol=1e-12)
    np.testing.assert_array_equal(steps, b1)


def test_a_block_pulse_is_one_step():
    durations, steps = rf_steps(pulse([0, 500e-6], [250, 250]), RASTER)
    np.testing.assert_allclose(durations, [500e-6])
    np.testing.assert_array_equal(steps, [250])


def test_equal_points_join_to_one_step_and_vertical_edges_do_not():
    times = np.array([0, 10, 30, 30, 50, 60]) * 1e-6
    durations, steps = rf_steps(pulse(times, [2, 2, 2, -3j, -3j, -3j]), RASTER)
    np.testing.assert_allclose(durations, [30e-6, 30e-6])
    np.testing.assert_array_equal(steps, [2, -3j])


def test_outside_its_points_a_pulse_is_zero():
    durations, steps = rf_steps(pulse([5e-6, 15e-6], [1, 1], length=20e-6), RASTER)
    np.testing.assert_allclose(durations, [5e-6, 10e-6, 5e-6])
    np.testing.assert_array_equal(steps, [0, 1, 0])


def test_one_point_plays_nothing():
    durations, steps = rf_steps(pulse([3.2e-6], [1], length=4e-6), RASTER)
    assert durations.sum() == pytest.approx(4e-6)
    assert not steps.any()


def test_a_ramp_is_cut_into_raster_steps_with_midpoint_values():
    durations, steps = rf_steps(pulse([0, 4e-6], [0, 8]), RASTER)
    np.testing.assert_allclose(durations, RASTER)
    np.testing.assert_allclose(steps, [1, 3, 5, 7])


def test_integrals_equal_those_of_the_linear_curve():
    rng = np.random.default_rng(3)
    times = np.concatenate(([2.3e-6], 2.3e-6 + np.cumsum(rng.uniform(0.2e-6, 9e-6, 80))))
    b1 = rng.normal(size=81) + 1j * rng.normal(size=81)
    b1[20:25] = b1[20]  # a flat stretch
    length = np.ceil(times[-1] / RASTER) * RASTER
    durations, steps = rf_steps(pulse(times, b1, length=length), RASTER)
    assert durations.sum() == pytest.approx(length, rel=1e-12)
    assert durations.min() > 0
    # the cumulated integral is exact at every point of the shape, not at the end only
    ends = np.cumsum(durations)
    exact = np.concatenate(([0], np.cumsum(0.5 * (b1[1:] + b1[:-1]) * np.diff(times))))
    ours = np.interp(times, np.concatenate(([0], ends)), np.concatenate(([0], np.cumsum(durations * steps))))
    np.testing.assert_allclose(ours, exact, atol=1e-18)
    longest = np.sort(durations)[::-1]
    assert longest[0] == pytest.approx(times[24] - times[20])
    assert longest[1] <= max(RASTER, times[0], length - times[-1]) * (1 + 1e-6)


def test_the_second_moment_converges_with_the_raster():
    """First moment of a ramp: steps of means err by at most rise * raster**2 / 12 per segment."""
    event = pulse([0, 100e-6, 200e-6], [0, 1000, 0])
    exact = 1000 * 100e-6 * 100e-6  # area times its centre
    for raster in (1e-6, 2e-6, 10e-6):
        durations, steps = rf_steps(event, raster)
        centres = np.cumsum(durations) - 0.5 * durations
        assert abs(np.sum(durations * steps * centres) - exact) <= 2 * 1000 * raster**2 / 12


def test_a_pulse_of_no_length_has_no_steps():
    assert [part.size for part in rf_steps(pulse([0], [1], length=0.0), RASTER)] == [0, 0]


def test_raster_must_be_positive():
    with pytest.raises(SequenceError, match="raster must be positive"):
        rf_steps(pulse([0, 1e-6], [1, 1]), 0.0)


def test_one_sample_in_the_middle_holds_over_the_pulse():
    durations, steps = rf_steps(pulse([2e-6], [3], length=4e-6), RASTER)
    np.testing.assert_allclose(durations, [4e-6])
    np.testing.assert_allclose(steps, [3])

"""Movement of the head: traces, generators, framewise displacement, and the exact engine's view of them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mrsim.simulation.motion import (
    MARKOV_RANGE,
    MOTION_KINDS,
    HeadMotion,
    draw_motion,
    framewise_displacement,
    nod,
    restless,
    slide,
    still_adult,
)

CENTER = np.array([0.0, -0.01, -0.06])
POINT = np.array([[0.05, 0.08, 0.06], [-0.03, 0.0, 0.1]])


def moved(motion, times, points=POINT):
    m = motion.matrices(np.asarray(times))
    return np.einsum("tij,nj->tni", m[:, :3, :3], points) + m[:, None, :3, 3]


def trace(kind):
    rng = np.random.default_rng(11)
    return HeadMotion(
        times=np.array([0.0, 1.5, 4.0]), translation=rng.normal(0, 2e-3, (3, 3)),
        angles=rng.normal(0, 0.05, (3, 3)), center=CENTER, kind=kind,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["linear", "step"])
def test_the_exact_engine_sees_the_same_movement(kind):
    motion = trace(kind)
    times = np.array([0.0, 0.4, 1.49, 1.5, 2.2, 3.9999, 4.0, 9.0])
    played = motion.as_phantom_motion().positions(POINT, times)
    np.testing.assert_allclose(moved(motion, times), played, atol=1e-12)


def test_steps_keep_each_pose_until_the_next():
    motion = trace("step")
    np.testing.assert_allclose(moved(motion, [1.6]), moved(motion, [3.99]), atol=0)
    assert np.abs(moved(motion, [1.49]) - moved(motion, [1.5])).max() > 1e-4
    middle = motion.parameters(np.array([0.75]))[0]
    np.testing.assert_array_equal(middle[0], motion.translation[0])
    linear = trace("linear")
    np.testing.assert_allclose(linear.parameters(np.array([0.75]))[0][0], linear.translation[:2].mean(axis=0))


def test_rotations_turn_about_the_centre_first_x_then_y_then_z():
    quarter = HeadMotion(
        times=np.array([0.0]), translation=np.array([[1e-3, 0, 0]]),
        angles=np.deg2rad([[90.0, 0.0, 90.0]]), center=CENTER,
    )  # fmt: skip
    # y -> z by the first turn; z stays by the second.
    got = moved(quarter, [0.0], CENTER + np.array([[0.0, 0.02, 0.0]]))[0, 0]
    np.testing.assert_allclose(got, CENTER + np.array([1e-3, 0, 0.02]), atol=1e-12)
    np.testing.assert_allclose(
        moved(quarter, [0.0], CENTER[None])[0, 0], CENTER + np.array([1e-3, 0, 0]), atol=1e-12
    )


def test_framewise_displacement_by_hand():
    """|dx| + |dy| + |dz| + 50 mm (|da| + |db| + |dc|)."""
    motion = HeadMotion(
        times=np.array([0.0, 2.0]), translation=np.array([[0, 0, 0], [1e-3, -2e-3, 0]]),
        angles=np.array([[0, 0, 0], [0.01, 0, -0.02]]), center=CENTER,
    )  # fmt: skip
    np.testing.assert_allclose(framewise_displacement(motion, np.array([0.0, 2.0])), [3e-3 + 0.05 * 0.03])
    np.testing.assert_allclose(framewise_displacement(motion, np.array([0.0, 1.0, 2.0])), [2.25e-3] * 2)


def test_a_cooperative_adult_stays_within_a_millimetre():
    """0.1 to 1 mm and degrees over 5 minutes; FD 0.05 to 0.3 mm per 2 s volume."""
    reach, fd = [], []
    for seed in range(40):
        motion = still_adult(np.random.default_rng(seed), 300.0, center=CENTER)
        assert not np.any(motion.translation[0]) and not np.any(motion.angles[0])  # noqa: PT018
        reach.append((np.abs(motion.translation).max() * 1e3, np.rad2deg(np.abs(motion.angles).max())))
        fd.append(framewise_displacement(motion, np.arange(0, 300, 2.0)).mean() * 1e3)
    reach = np.array(reach)
    assert reach.min() > 0.09
    assert reach.max() < 1.1  # the tremor comes on top
    assert reach.max() > 0.6
    assert 0.05 < np.median(fd) < 0.3
    assert 0.05 < min(fd) < max(fd) < 0.6


@pytest.mark.parametrize("kind", sorted(MARKOV_RANGE))
def test_restless_people_reach_their_range_in_steps(kind):
    translation, angle = MARKOV_RANGE[kind]
    motion = draw_motion(kind, (1, 2), 600.0, center=CENTER)
    assert motion.kind == "step"
    np.testing.assert_allclose(np.abs(motion.translation).max(axis=0), translation)
    np.testing.assert_allclose(np.abs(motion.angles).max(axis=0), angle)
    assert not motion.translation[0].any()


def test_the_markov_chain_rests_as_long_as_its_rates_say():
    """Stationary share of rest: pi = pi P gives 0.8 for rates 0.1 (leave) and 0.4 (return)."""
    motion = restless(np.random.default_rng(4), 2e4, center=CENTER, translation=1.0, angle=1.0, interval=1.0)
    still = np.mean(np.diff(motion.translation, axis=0) == 0.0)
    assert still == pytest.approx(0.8, abs=0.01)


def test_draws_depend_on_visit_and_scan_only():
    a, b = (draw_motion("still", (5, 6), 100.0, center=CENTER, key="t1w") for _ in range(2))
    np.testing.assert_array_equal(a.translation, b.translation)
    c = draw_motion("still", (5, 6), 100.0, center=CENTER, key="flair")
    assert not np.array_equal(a.translation, c.translation)
    assert draw_motion("none", (5, 6), 100.0, center=CENTER) is None
    with pytest.raises(ValueError, match=f"motion must be one of {', '.join(MOTION_KINDS)}; got 'wild'"):
        draw_motion("wild", (5, 6), 100.0, center=CENTER)


def test_nods_and_slides():
    one = nod(10.0, angle=0.1, length=2.0, center=CENTER)
    angles = one.parameters(np.array([0.0, 10.5, 11.0, 12.0, 50.0]))[1]
    np.testing.assert_allclose(angles[:, 0], [0, 0.05, 0.1, 0, 0])
    assert not angles[:, 1:].any()
    drift = slide(60.0, translation=[0, 0, 3e-3], angles=[0.02, 0, 0], center=CENTER)
    np.testing.assert_allclose(drift.parameters(np.array([20.0]))[0][0], [0, 0, 1e-3])
    assert json.loads(json.dumps(drift.record()))["translation_m"][1] == [0, 0, 3e-3]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"times": np.array([0.0, 0.0])}, "times must increase by more than 2 us"),
        ({"translation": np.zeros((3, 3))}, r"translation must be finite and of shape \(2, 3\)"),
        ({"angles": np.full((2, 3), np.nan)}, "angles must be finite"),
        ({"kind": "cubic"}, "kind must be linear or step; got 'cubic'"),
    ],
)
def test_bad_traces(change, text):
    good = {
        "times": np.array([0.0, 1.0]), "translation": np.zeros((2, 3)), "angles": np.zeros((2, 3)),
        "center": CENTER,
    }  # fmt: skip
    with pytest.raises(ValueError, match=text):
        HeadMotion(**{**good, **change})

import h5py
import numpy as np
import pytest

from phantoms import (
    Composition,
    PathMotion,
    PhantomError,
    PhantomFileError,
    RigidMotion,
    read_koma,
    write_koma,
)
from phantoms.actions import HeartBeat, Rotate, TimeCurve, Translate

from ...simulation.bloch.sequences import Score, heard, sample
from ..koma_files import CURVE, POINTS, RAMP, RNG, SHIFT, TIMES, TURN, add_motion, base, cloud

PATH = RNG.normal(size=(4, 3, 3)) * 0.01


@pytest.mark.parametrize(
    "motion",
    [
        RigidMotion(
            times=np.array([0.0, 0.3, 1.0]),
            translation=RNG.normal(size=(3, 3)) * 0.01,
            angles=RNG.normal(size=(3, 3)),
            center=np.array([0.01, -0.02, 0.03]),
        ),
        PathMotion(times=np.array([0.1, 0.2, 0.3, 0.8]), displacement=PATH, spins=np.array([4, 0, 1])),
        PathMotion(times=np.array([0.1, 0.2, 0.3, 0.8]), displacement=PATH, period=0.9),
    ],
)
def test_round_trip_of_motion(tmp_path, motion):
    write_koma(tmp_path / "a.phantom", cloud(motion=motion))
    back = read_koma(tmp_path / "a.phantom").motion
    assert back.is_rigid == motion.is_rigid
    assert np.allclose(back.positions(POINTS, TIMES), motion.positions(POINTS, TIMES), atol=1e-14)
    if motion.is_rigid:
        turn, shift = back.pose(TIMES)
        whole = POINTS @ turn.transpose(0, 2, 1) + shift[:, None]
        assert np.allclose(whole, motion.positions(POINTS, TIMES), atol=1e-14)


def triangle(periodic=True, peak=0.4, end=1.0):
    knots = np.array([0.0, peak, end]) if 0 < peak < end else np.array([0.0, end])
    unit = np.array([0.0, 1.0, 0.0]) if 0 < peak < end else np.array([0.0, 1.0] if peak else [1.0, 0.0])
    return TimeCurve(times=knots, unit=unit, periodic=periodic)


@pytest.mark.parametrize(
    "curve",
    [
        TimeCurve(times=np.array([0.2, 0.7]), unit=np.array([0.0, 1.0])),
        triangle(),
        triangle(peak=0.0),
        triangle(peak=1.0),
    ],
)
def test_files_of_the_old_time_types_are_written_and_read(tmp_path, curve):
    turn = Rotate(curve=curve, angles=np.array([0.1, 0.2, 0.3]), center=POINTS.mean(axis=0), follows=True)
    beat = HeartBeat(curve=curve, circumferential=-0.1, radial=0.1, longitudinal=0.0, radius=0.1)
    for action in (turn, beat):
        motion = Composition(actions=(action,))
        write_koma(tmp_path / "a.phantom", cloud(motion=motion), times="range")
        with h5py.File(tmp_path / "a.phantom") as f:
            assert f.attrs["Version"] == "0.9.0-DEV"
            assert f["motion/motion_1/time"].attrs["type"] in ("TimeRange", "Periodic")
            assert "center" not in f["motion/motion_1/action"].attrs
        back = read_koma(tmp_path / "a.phantom").motion
        if action is turn:
            assert np.allclose(back.positions(POINTS, TIMES), motion.positions(POINTS, TIMES), atol=1e-14)
        else:
            assert np.allclose(back.actions[0].curve.at(TIMES), curve.at(TIMES), atol=1e-14)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (Translate(curve=triangle(periodic=False), shift=np.ones(3)), "one ramp from 0 to 1"),
        (Rotate(curve=triangle(), angles=np.ones(3), center=np.zeros(3)), "about the centre of mass only"),
    ],
)
def test_what_the_old_time_types_cannot_say_is_refused(tmp_path, action, message):
    with pytest.raises(PhantomError, match=message):
        write_koma(tmp_path / "a.phantom", cloud(motion=Composition(actions=(action,))), times="range")
    assert not list(tmp_path.iterdir())


def test_translation_and_rotation_of_all_spins_are_rigid(tmp_path):
    path = base(tmp_path / "a.phantom")
    add_motion(path, 1, SHIFT, RAMP)
    add_motion(path, 2, TURN, CURVE, ("SpinRange", {"range": "1:6"}, {}))
    m = read_koma(path).motion
    assert m.is_rigid
    r = m.positions(POINTS, [0.2])[0]
    a, b, g = np.deg2rad([15.0, 10.0, 5.0])  # half of yaw, roll, pitch
    rz = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    ry = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    rx = np.array([[1, 0, 0], [0, np.cos(g), -np.sin(g)], [0, np.sin(g), np.cos(g)]])
    com = POINTS.mean(axis=0)
    expected = (POINTS - com) @ (rz @ ry @ rx).T + com + 0.2 * np.array([0.01, 0, -0.02])
    assert np.allclose(r, expected, atol=1e-15)
    turn, shift = m.pose([0.2])
    assert np.allclose(POINTS @ turn[0].T + shift[0], expected, atol=1e-15)


@pytest.mark.parametrize("center", ["(0.01, -0.02, 0.03)", np.array([0.01, -0.02, 0.03])])
def test_fixed_centres(tmp_path, center):
    path = base(tmp_path / "a.phantom")
    add_motion(path, 1, ("Rotate", {"pitch": 0.0, "roll": 0.0, "yaw": 90.0, "center": center}, {}), RAMP)
    m = read_koma(path).motion
    assert np.allclose(m.positions(np.array([[0.01, -0.02, 0.03]]), [0.7]), [[[0.01, -0.02, 0.03]]])
    assert not m.actions[0].follows


@pytest.mark.parametrize(
    ("time", "t", "u"),
    [
        (("TimeRange", {"t_start": 0.2, "t_end": 0.6}, {}), [0, 0.3, 1], [0, 0.25, 1]),
        (("TimeRange", {"t_start": 0.2, "t_end": 0.2}, {}), [0, 0.1999, 0.2, 1], [0, 0, 1, 1]),
        (("Periodic", {"period": 1.0, "asymmetry": 0.2}, {}), [0.1, 0.6, 1.1], [0.5, 0.5, 0.5]),
        (("Periodic", {"period": 1.0, "asymmetry": 0.0}, {}), [0.1, 1.25], [0.9, 0.75]),
        (("Periodic", {"period": 1.0, "asymmetry": 1.0}, {}), [0.1, 1.25], [0.1, 0.25]),
        (CURVE, [0.2, 0.7, 1.2], [0.5, 0.5, 0.5]),
        (  # two repeats of 0.5 and 2 times the length
            (
                "TimeCurve",
                {"periodic": "false"},
                {"t": [0, 0.5, 1], "t_unit": [0, 1, 0], "periods": [0.5, 2]},
            ),
            [0.25, 0.5, 1.0, 1.5, 2.5, 3.0],
            [1, 0, 0.5, 1, 0, 0],
        ),
        (  # repeats that jump back
            (
                "TimeCurve",
                {"periodic": "false"},
                {"t": [0.0, 1.0], "t_unit": [0.0, 1.0], "periods": [1.0, 1.0]},
            ),
            [0.5, 1.5, 3.0],
            [0.5, 0.5, 1.0],
        ),
    ],
)
def test_time_curves_of_both_ages(tmp_path, time, t, u):
    path = base(tmp_path / "a.phantom")
    add_motion(path, 1, SHIFT, time)
    moved = read_koma(path).motion.positions(POINTS, t) - POINTS
    assert np.allclose(moved[..., 0], 0.01 * np.array(u)[:, None], atol=1e-12)


def test_paths_are_arrays_of_spins_by_times(tmp_path):
    path = base(tmp_path / "a.phantom")
    d = RNG.normal(size=(3, 3, 3))  # axis, time, spin as h5py sees it
    data = dict(zip(("dx", "dy", "dz"), d, strict=True))
    reset = {"spin_reset": np.zeros((3, 3), np.int64)}
    add_motion(path, 1, ("FlowPath", {}, data | reset), RAMP, ("SpinRange", {"range": "2:2:6"}, {}))
    moved = read_koma(path).motion.positions(POINTS, [0.25])[0] - POINTS
    assert np.allclose(moved[1::2], (0.5 * d[:, 0] + 0.5 * d[:, 1]).T)
    assert (moved[::2] == 0).all()
    assert not read_koma(path).motion.resets


@pytest.mark.parametrize("kind", [np.int64, np.uint8, bool])
def test_spins_that_return_fresh_are_kept_for_files_and_refused_by_the_engine(tmp_path, kind):
    path = base(tmp_path / "a.phantom")
    data = dict(zip(("dx", "dy", "dz"), RNG.normal(size=(3, 4, 3)), strict=True))
    reset = np.zeros((4, 3), kind)
    reset[2, 1] = 1
    add_motion(
        path, 1, ("FlowPath", {}, data | {"spin_reset": reset}), RAMP, ("SpinRange", {"range": "1:2:5"}, {})
    )
    c = read_koma(path)
    assert c.motion.resets
    assert c.select([2, 3, 4]).motion.resets
    write_koma(tmp_path / "b.phantom", c)
    with h5py.File(tmp_path / "b.phantom") as f:
        assert f["motion/motion_1/action"].attrs["type"] == "FlowPath"
        assert np.array_equal(f["motion/motion_1/action/spin_reset"], reset)
    assert np.allclose(read_koma(tmp_path / "b.phantom").motion.positions(POINTS, TIMES),
                       c.motion.positions(POINTS, TIMES))  # fmt: skip
    with pytest.raises(ValueError, match="must not reset spins"):
        heard(c, Score().add(1e-3, adc=sample(5e-4)).sequence())
    add_motion(
        path,
        2,
        ("FlowPath", {}, data | {"spin_reset": reset[1:3]}),
        RAMP,
        ("SpinRange", {"range": "1:2:5"}, {}),
    )
    with pytest.raises(PhantomFileError, match="'spin_reset' of 'motion_2' must have shape"):
        read_koma(path)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((("Wobble", {}, {}), RAMP), "action of 'motion_1' must be Translate"),
        ((("Translate", {"dx": np.nan, "dy": 0.0, "dz": 0.0}, {}), RAMP), "number attribute 'dx'"),
        ((SHIFT, ("Clock", {}, {})), "time of 'motion_1' must be TimeCurve"),
        ((SHIFT, ("Periodic", {"period": 0.0, "asymmetry": 0.5}, {})), "period of 'motion_1'"),
        ((SHIFT, ("TimeCurve", {}, {"t": [0.0, 0.0], "t_unit": [0.0, 1.0]})), "increasing t"),
        ((SHIFT, ("TimeRange", {"t_start": 1.0, "t_end": np.inf}, {})), "number attribute 't_end'"),
        ((SHIFT, RAMP, ("SpinRange", {"range": "1:7"}, {})), r"range of 'motion_1' must lie in 1\.\.6"),
        ((SHIFT, RAMP, ("SpinRange", {"range": "__import__('os')"}, {})), "must be AllSpins or SpinRange"),
        ((("Rotate", {"pitch": 0.0, "roll": 0.0, "yaw": 9.0, "center": "(1, 2)"}, {}), RAMP), "three finite"),
        ((("Path", {}, {k: np.zeros((2, 5)) for k in ("dx", "dy", "dz")}), RAMP), r"shape \(times, 6\)"),
    ],
)
def test_bad_motion_is_refused_by_name(tmp_path, parts, message):
    path = base(tmp_path / "a.phantom")
    add_motion(path, 1, *parts)
    with pytest.raises(PhantomFileError, match=rf"a\.phantom: .*{message}"):
        read_koma(path)


def test_rotation_about_a_centre_that_a_heart_beat_moves_is_refused(tmp_path):
    path = base(tmp_path / "a.phantom")
    beat = {"circumferential_strain": -0.3, "radial_strain": 0.0, "longitudinal_strain": 0.5}
    add_motion(path, 1, ("HeartBeat", beat, {}), RAMP)
    add_motion(path, 2, TURN, RAMP)
    with pytest.raises(PhantomFileError, match="Give the rotation a fixed center"):
        read_koma(path)

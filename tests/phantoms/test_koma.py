import h5py
import numpy as np
import pytest

from phantoms import (
    Composition,
    PathMotion,
    PhantomError,
    PhantomFileError,
    PointCloud,
    RigidMotion,
    read_koma,
    read_phantom_file,
    write_koma,
)
from phantoms.actions import HeartBeat, Rotate, TimeCurve, Translate

from ..simulation.bloch.sequences import Score, heard, sample
from .samples import KOMA, needs

RNG = np.random.default_rng(3)
POINTS = RNG.normal(size=(6, 3)) * 0.05
TIMES = np.array([0.0, 0.1, 0.33, 0.5, 0.77, 1.4])


def cloud(**changes):
    values = {
        "name": "six",
        "position": POINTS,
        "m0": RNG.random(6),
        "t1": RNG.random(6) + 1,
        "t2": np.append(RNG.random(5) + 0.1, np.inf),
        "t2_prime": np.append(RNG.random(4) + 0.01, [np.inf, np.inf]),
        "df": RNG.normal(size=6) * 100,
        "adc": RNG.random(6) * 1e-9,
    }
    return PointCloud(**{**values, **changes})


def base(path, **contrast):
    with h5py.File(path, "w") as f:
        f.attrs["Version"], f.attrs["Name"], f.attrs["Ns"], f.attrs["Dims"] = "0.9.1", "six", 6, 3
        for axis, key in enumerate("xyz"):
            f[f"position/{key}"] = POINTS[:, axis]
        f.create_group("contrast")
        for key, value in contrast.items():
            f[f"contrast/{key}"] = value
    return path


def add_motion(path, number, action, time, spins=None):
    """Each part is (type, attributes, datasets)."""
    with h5py.File(path, "r+") as f:
        where = f.require_group(f"motion/motion_{number}")
        for key, part in (("action", action), ("time", time), ("spins", spins or ("AllSpins", {}, {}))):
            kind, attributes, datasets = part
            g = where.create_group(key)
            g.attrs["type"] = kind
            g.attrs.update(attributes)
            for k, v in datasets.items():
                g[k] = v


RAMP = ("TimeRange", {"t_start": 0.0, "t_end": 1.0}, {})
CURVE = ("TimeCurve", {"periodic": "true", "periods": 1.0}, {"t": [0.0, 0.4, 1.0], "t_unit": [0.0, 1.0, 0.0]})
SHIFT = ("Translate", {"dx": 0.01, "dy": 0.0, "dz": -0.02}, {})
TURN = ("Rotate", {"pitch": 10.0, "roll": 20.0, "yaw": 30.0}, {"center": "CenterOfMass"})


def test_round_trip_without_motion(tmp_path):
    c = cloud()
    write_koma(tmp_path / "a.phantom", c)
    d = read_phantom_file(tmp_path / "a.phantom")
    for key in ("position", "m0", "t1", "t2"):
        assert np.array_equal(getattr(d, key), getattr(c, key))
    # rates are stored as their sum, frequencies times 2 pi: rounding only
    assert d.t2_prime == pytest.approx(c.t2_prime, rel=1e-9)
    assert d.df == pytest.approx(c.df, rel=1e-14)
    assert d.adc == pytest.approx(c.adc)
    assert (d.name, d.motion, d.voxel, d.signal_scale) == ("six", None, None, 1.0)
    assert [p.name for p in tmp_path.iterdir()] == ["a.phantom"]


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


def test_what_the_format_cannot_hold_is_refused(tmp_path):
    with pytest.raises(PhantomError, match="no sensitivity"):
        write_koma(tmp_path / "a.phantom", cloud(sensitivity=np.ones((2, 6))))
    with pytest.raises(PhantomError, match="no b1"):
        write_koma(tmp_path / "a.phantom", cloud(b1=np.full((1, 6), 0.9)))
    assert not list(tmp_path.iterdir())


def test_absent_values_have_the_defaults_of_koma(tmp_path):
    c = read_koma(base(tmp_path / "a.phantom", T2=np.full(6, 0.1), T2s=np.full(6, 0.05)))
    assert (c.m0 == 1).all()
    assert np.isinf(c.t1).all()
    assert c.t2_prime == pytest.approx(np.full(6, 0.1))
    c = read_koma(base(tmp_path / "b.phantom", T2=np.full(6, 0.1), T2s=np.full(6, 1e6)))
    assert np.isinf(c.t2_prime).all()  # a T2* beyond T2 says nothing about dephasing


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


def test_spins_that_return_fresh_are_kept_for_files_and_refused_by_the_engine(tmp_path):
    path = base(tmp_path / "a.phantom")
    data = dict(zip(("dx", "dy", "dz"), RNG.normal(size=(3, 4, 3)), strict=True))
    reset = np.zeros((4, 3), np.int64)
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.attrs.__setitem__("Ns", 7), "'x' must have 'Ns' = 7 values; got 6"),
        (lambda f: f.attrs.__delitem__("Ns"), "number attribute 'Ns'"),
        (lambda f: f.attrs.__setitem__("Ns", 10**12), "'Ns' must be"),
        (lambda f: f.create_dataset("contrast/T9", data=np.ones(6)), "'contrast' must hold"),
        (lambda f: f.create_dataset("contrast/T1", data=np.zeros(6)), "'T1' must be positive"),
        (
            lambda f: f.create_dataset("contrast/T1", data=np.full(6, np.nan)),
            "'T1' must hold numbers; got nan",
        ),
        (lambda f: f.create_dataset("contrast/ρ", data=-np.ones(6)), "m0 must be finite and >= 0"),
        (lambda f: f.create_dataset("contrast/Δw", data=np.full(6, np.inf)), "'Δw' must hold finite"),
        (lambda f: f.__setitem__("motion", h5py.ExternalLink("b.h5", "/motion")), "'motion' must be stored"),
    ],
)
def test_bad_files_are_refused(tmp_path, change, message):
    path = base(tmp_path / "a.phantom")
    with h5py.File(path, "r+") as f:
        change(f)
    with pytest.raises(PhantomFileError, match=rf"a\.phantom: .*{message}"):
        read_koma(path)


@needs(KOMA)
def test_contracting_ring(tmp_path):
    c = read_phantom_file(KOMA / "contracting_ring.phantom")
    assert (c.name, c.size) == ("Contracting Ring", 16108)
    assert (c.t1 == 1.026).all()
    assert (c.t2 == 0.042).all()
    assert (c.m0 == 0.9).all()
    assert np.isinf(c.t2_prime).all()
    assert isinstance(c.motion, Composition)
    assert not c.motion.is_rigid
    beat, turn = c.motion.actions
    assert isinstance(beat, HeartBeat)
    assert isinstance(turn, Rotate)
    assert (beat.circumferential, beat.radial, beat.longitudinal) == (-0.4, 0.4, 0.0)
    assert np.rad2deg(turn.angles) == pytest.approx([0, 0, 30])
    assert c.motion.knots(1.6).tolist() == [0.0, 0.5, 1.0, 1.5]
    r = c.motion.positions(c.position, [0.0, 0.5])
    assert np.allclose(r[0], c.position)
    assert np.hypot(r[1, :, 0], r[1, :, 1]).max() == pytest.approx(0.6 * 0.045)
    outer = int(np.argmax(c.position[:, 0]))
    angles = np.arctan2(r[:, outer, 1], r[:, outer, 0])
    assert np.rad2deg(angles[1] - angles[0]) == pytest.approx(30)
    write_koma(tmp_path / "new.phantom", c)
    again = read_koma(tmp_path / "new.phantom")
    assert np.allclose(again.motion.positions(c.position, TIMES), c.motion.positions(c.position, TIMES))
    with pytest.raises(PhantomError, match="times must be one of"):
        write_koma(tmp_path / "new.phantom", c, times="old")
    write_koma(tmp_path / "old.phantom", c, times="range")
    again = read_koma(tmp_path / "old.phantom")
    assert np.allclose(again.motion.positions(c.position, TIMES), c.motion.positions(c.position, TIMES))

import numpy as np
import pytest

from phantoms import Composition, PathMotion, PhantomError, PhantomFileError, RigidMotion
from phantoms.actions import HeartBeat, Path, Rotate, TimeCurve, Translate

from .samples import JEMRIS, needs

RNG = np.random.default_rng(7)
POINTS = RNG.normal(size=(5, 3)) * 0.05
RAMP = TimeCurve(times=np.array([0.0, 1.0]), unit=np.array([0.0, 1.0]))


def rotation(axis, angle):
    """Rodrigues' formula: independent of the product of Euler matrices."""
    k = np.cross(np.eye(3), np.eye(3)[axis])
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k


def turned(x, y, z):
    return rotation(2, z) @ rotation(1, y) @ rotation(0, x)


def test_helper_turns_right_handed():
    assert np.allclose(rotation(2, np.pi / 2) @ [1, 0, 0], [0, 1, 0])
    assert np.allclose(rotation(0, np.pi / 2) @ [0, 1, 0], [0, 0, 1])


def test_rigid_pose_is_the_formula_between_knots_and_flat_outside():
    m = RigidMotion(
        times=np.array([0.1, 0.3, 0.9]),
        translation=RNG.normal(size=(3, 3)),
        angles=RNG.normal(size=(3, 3)),
        center=np.array([0.01, 0.02, -0.03]),
    )
    turn, shift = m.pose([0.0, 0.2, 0.45, 2.0])
    for i, (a, t) in enumerate(
        [
            (m.angles[0], m.translation[0]),
            (m.angles[:2].mean(axis=0), m.translation[:2].mean(axis=0)),
            (0.75 * m.angles[1] + 0.25 * m.angles[2], 0.75 * m.translation[1] + 0.25 * m.translation[2]),
            (m.angles[2], m.translation[2]),
        ]
    ):
        assert np.allclose(turn[i], turned(*a), atol=1e-14)
        assert np.allclose(shift[i], t, atol=1e-14)
    r = m.positions(POINTS, [0.2])
    assert r.shape == (1, 5, 3)
    assert np.allclose(r[0], (POINTS - m.center) @ turn[1].T + m.center + shift[1], atol=1e-14)
    assert m.knots(0.5).tolist() == [0.1, 0.3]
    assert m.is_rigid
    assert m.select(np.array([0])) is m


def test_rigid_motion_of_one_knot_stands_still():
    m = RigidMotion(times=np.array([0.0]), translation=np.ones((1, 3)), angles=np.zeros((1, 3)))
    assert np.allclose(m.positions(POINTS, [0.0, 5.0]), POINTS + 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"times": np.array([0.0, 0.0])}, "times must increase strictly; entry 1 does"),
        ({"translation": np.zeros((3, 3))}, "translation must be finite"),
        ({"angles": np.full((2, 3), np.nan)}, "angles must be finite"),
        ({"center": np.zeros(2)}, "center must be finite"),
    ],
)
def test_bad_rigid_motion_is_refused(changes, message):
    good = {"times": np.array([0.0, 1.0]), "translation": np.zeros((2, 3)), "angles": np.zeros((2, 3))}
    with pytest.raises(PhantomError, match=message):
        RigidMotion(**{**good, **changes})


@needs(JEMRIS)
def test_jemris_table():
    m = RigidMotion.from_jemris(JEMRIS / "rigid_rot_epi_sphere" / "motion.dat")
    turn, shift = m.pose([0.2])  # 0.02 and -0.01 mm/ms, 0.15 degrees/ms about z
    assert np.allclose(shift[0], [4e-3, -2e-3, 0], atol=1e-12)
    assert np.allclose(turn[0], rotation(2, np.deg2rad(30)), atol=1e-9)
    assert m.times[-1] == pytest.approx(1.1)


@pytest.mark.parametrize("text", ["", "0 0 0\n", "0 0\n0 0 0 0 0 0 0\n", "0 0 0\n0 0 0 0 0 0\n"])
def test_bad_jemris_tables_are_refused(tmp_path, text):
    (tmp_path / "m.dat").write_text(text)
    with pytest.raises(PhantomFileError, match="3 numbers in its first line"):
        RigidMotion.from_jemris(tmp_path / "m.dat")


def test_words_and_disorder_in_jemris_tables_are_named(tmp_path):
    path = tmp_path / "m.dat"
    path.write_text("0 0 0\n0 a 0 0 0 0 0\n")
    with pytest.raises(PhantomFileError, match=r"m\.dat: line 2 must hold numbers"):
        RigidMotion.from_jemris(path)
    path.write_text("0 0 0\n1 0 0 0 0 0 0\n0 0 0 0 0 0 0\n")
    with pytest.raises(PhantomFileError, match=r"m\.dat: times must increase"):
        RigidMotion.from_jemris(path)
    with pytest.raises(FileNotFoundError):
        RigidMotion.from_jemris(tmp_path / "none.dat")


def test_paths_move_their_spins_only_and_repeat():
    d = np.zeros((3, 2, 3))
    d[1, 0, 0], d[1, 1, 2] = 0.01, 0.02
    m = PathMotion(times=np.array([0.0, 0.4, 1.0]), displacement=d, spins=np.array([3, 1]), period=1.0)
    for t in (0.2, 3.2):
        moved = m.positions(POINTS, [t])[0] - POINTS
        expected = np.zeros((5, 3))
        expected[3, 0], expected[1, 2] = 0.005, 0.01
        assert np.allclose(moved, expected, atol=1e-15)
    assert np.allclose(m.knots(2.0), [0, 0.4, 1.0, 1.4, 2.0])
    saw = PathMotion(
        times=np.array([0.0, 1.0]), displacement=np.array([[[0.0] * 3], [[1.0] * 3]]), period=1.0
    )
    last, first = saw.positions(POINTS[:1], saw.knots(1.5)[-2:])[:, 0, 0] - POINTS[0, 0]
    assert (last, first) == pytest.approx((1.0, 0.0))  # the instant before the jump is a knot
    assert not m.is_rigid
    with pytest.raises(PhantomError, match="pose needs a rigid motion; got PathMotion"):
        m.pose([0.0])
    index = np.array([1, 1, 0, 3])
    assert np.allclose(
        m.select(index).positions(POINTS[index], [0.3]), m.positions(POINTS, [0.3])[:, index], atol=1e-15
    )
    with pytest.raises(PhantomError, match="spins must be points of the cloud"):
        m.positions(POINTS[:2], [0.0])
    with pytest.raises(PhantomError, match="period"):
        PathMotion(times=np.array([0.0, 2.0]), displacement=np.zeros((2, 1, 3)), period=1.0)


def test_time_curves_repeat_and_name_their_kinks():
    c = TimeCurve(times=np.array([0.1, 0.3, 0.6]), unit=np.array([0.0, 1.0, 0.0]), periodic=True)
    assert np.allclose(c.at(np.array([0.2, 0.7, 1.2, -0.3])), [0.5, 0.5, 0.5, 0.5])
    assert np.allclose(c.knots(1.0), [0.1, 0.3, 0.6, 0.8])
    assert np.allclose(c.knots(0.5, np.array([0.5])), [0.1, 0.2, 0.3, 0.45])
    saw = TimeCurve(times=np.array([0.0, 1.0]), unit=np.array([0.0, 1.0]), periodic=True)
    before, at = saw.at(saw.knots(1.5)[-2:])
    assert before == pytest.approx(1.0)  # the instant before the jump is a knot too
    assert at == 0.0


def test_composed_rotations_and_shifts_are_rigid():
    later = TimeCurve(times=np.array([0.2, 0.8]), unit=np.array([0.0, 1.0]))
    center, com = np.array([0.02, 0, 0.01]), POINTS.mean(axis=0)
    m = Composition(
        actions=(
            Rotate(curve=later, angles=np.array([0.3, -0.2, 0.5]), center=com, follows=True),
            Translate(curve=RAMP, shift=np.array([0.01, 0.02, 0.03])),
            Rotate(curve=RAMP, angles=np.array([-0.4, 0.1, 0.6]), center=center),
        )
    )
    assert m.is_rigid
    t = np.array([0.0, 0.1, 0.5, 2.0])
    turn, shift = m.pose(t)
    r = m.positions(POINTS, t)
    assert np.allclose(r, POINTS @ turn.transpose(0, 2, 1) + shift[:, None], atol=1e-15)
    # by hand at t = 0.5: first the fixed centre, then the centre of mass where it has got to, then the shift
    first = (POINTS - center) @ turned(-0.2, 0.05, 0.3).T + center
    second = (first - first.mean(axis=0)) @ turned(0.15, -0.1, 0.25).T + first.mean(axis=0)
    assert np.allclose(r[2], second + np.array([0.005, 0.01, 0.015]), atol=1e-15)
    assert m.knots(0.9).tolist() == [0.0, 0.2, 0.8]


def test_some_spins_make_a_composition_deform():
    m = Composition(actions=(Translate(curve=RAMP, shift=np.ones(3), spins=np.array([1, 2])),))
    assert not m.is_rigid
    with pytest.raises(PhantomError, match="got Composition"):
        m.pose([0.0])
    moved = m.positions(POINTS, [1.0])[0] - POINTS
    assert np.allclose(moved[[1, 2]], 1.0)
    assert (moved[[0, 3, 4]] == 0).all()
    assert not m.select(np.array([0, 4])).actions


def test_heart_beat_contracts_a_ring():
    angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle), np.ones(12)], axis=-1) * [0.04, 0.04, 0.01]
    ring[::2, :2] /= 2
    m = Composition(
        actions=(HeartBeat(curve=RAMP, circumferential=-0.4, radial=0.4, longitudinal=-0.5, radius=0.04),)
    )
    r = m.positions(ring, [0.5])[0]
    # r' = r + u (c R - s (R - r)): 40 -> 40 - 8 = 32 mm; 20 -> 20 + (-16 - 8) / 2 = 8 mm
    assert np.allclose(np.hypot(r[:, 0], r[:, 1])[1::2], 0.032)
    assert np.allclose(np.hypot(r[:, 0], r[:, 1])[::2], 0.008)
    assert np.allclose(np.arctan2(r[:, 1], r[:, 0]), np.arctan2(ring[:, 1], ring[:, 0]))
    assert np.allclose(r[:, 2], 0.0075)
    assert np.allclose(m.positions(ring, [1.0])[0, ::2, :2], 0.0)  # never through the axis


def test_path_action_selects_and_has_kinks():
    d = RNG.normal(size=(4, 5, 3))
    m = Composition(actions=(Path(curve=RAMP, displacement=d, rows=np.arange(5)),))
    assert np.allclose(m.positions(POINTS, [1 / 3])[0], POINTS + d[1])
    assert np.allclose(m.knots(2.0), [0, 1 / 3, 2 / 3, 1])
    index = np.array([4, 0, 0])
    part = m.select(index)
    assert np.allclose(part.positions(POINTS[index], [0.4]), m.positions(POINTS, [0.4])[:, index])
    again = part.select(np.array([2, 0]))
    assert np.allclose(again.positions(POINTS[[0, 4]], [0.4]), m.positions(POINTS, [0.4])[:, [0, 4]])


def test_centre_of_mass_of_partly_moved_spins_is_refused():
    some = Rotate(curve=RAMP, angles=np.ones(3), center=np.zeros(3), spins=np.array([0, 1]))
    rest = Rotate(curve=RAMP, angles=np.ones(3), center=np.zeros(3), spins=np.array([1, 2]), follows=True)
    with pytest.raises(PhantomError, match="all of its points or none"):
        Composition(actions=(some, rest))

import h5py
import numpy as np
import pytest

from phantoms import (
    Composition,
    PhantomError,
    PhantomFileError,
    read_koma,
    read_phantom_file,
    write_koma,
)
from phantoms.actions import HeartBeat, Rotate

from ..koma_files import TIMES, base, cloud
from ..samples import KOMA, needs


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


def test_spins_without_magnetization_need_no_times(tmp_path):
    rho, times = np.array([1.0, 0, 1, 0, 0, 1]), np.array([0.5, 0, 0.5, 0, 0, 0.5])
    c = read_koma(base(tmp_path / "a.phantom", **{"ρ": rho, "T1": times, "T2": times, "T2s": times}))
    assert c.size == 6  # ranges of motions count them
    assert np.isinf(c.t1[rho == 0]).all()
    assert (c.t1[rho > 0] == 0.5).all()


def test_numbers_may_be_single_or_whole_and_of_either_byte_order(tmp_path):
    c = read_koma(base(tmp_path / "a.phantom", T1=np.full(6, 2, ">i4"), T2=np.full(6, 0.5, ">f4")))
    assert (c.t1 == 2).all()
    assert (c.t2 == 0.5).all()


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

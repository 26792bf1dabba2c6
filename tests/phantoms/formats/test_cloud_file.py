import h5py
import numpy as np
import pytest

from phantoms import (
    BoundPool,
    PathMotion,
    PhantomFileError,
    PointCloud,
    RigidMotion,
    check_content,
    load_cloud,
    read_phantom_file,
    save_cloud,
)

RNG = np.random.default_rng(9)
N = 90
COLUMNS = ("position", "m0", "t1", "t2", "t2_prime", "df", "adc", "b1", "sensitivity", "voxel", "index")


def full(**changes):
    values = {
        "name": "α",
        "position": RNG.normal(size=(N, 3)),
        "m0": RNG.random(N),
        "t1": RNG.random(N) + 1,
        "t2": np.append(RNG.random(N - 1), np.inf),
        "t2_prime": np.full(N, np.inf),
        "df": RNG.normal(size=N),
        "adc": np.full(N, 1e-9),
        "b1": RNG.normal(size=(2, N)) + 1j * RNG.normal(size=(2, N)),
        "sensitivity": RNG.normal(size=(3, N)) + 1j,
        "voxel": RNG.normal(size=(3, 3)),
        "index": RNG.permutation(N),
        "signal_scale": 0.25,
        "bound": BoundPool(m0=RNG.random(N), k_f=RNG.random(N), t1=np.ones(N), t2=np.full(N, 1e-5)),
        "source": {"format": "test", "shape": [9, 5, 2]},
        "b0": 2.89,
    }
    return PointCloud(**{**values, **changes})


def same(a, b):
    for name in COLUMNS:
        x, y = getattr(a, name), getattr(b, name)
        assert x is y is None or np.array_equal(x, y), name
    assert (a.name, a.source, a.b0, a.signal_scale) == (b.name, b.source, b.b0, b.signal_scale)
    for name in ("m0", "k_f", "t1", "t2"):
        assert a.bound is b.bound is None or np.array_equal(getattr(a.bound, name), getattr(b.bound, name))


def test_every_field_comes_back(tmp_path):
    for c in (
        full(),
        full(bound=None, sensitivity=None, voxel=None, index=None, b0=None, b1=np.ones((1, 1))),
    ):
        save_cloud(tmp_path / "a.h5", c)
        same(c, read_phantom_file(tmp_path / "a.h5"))
        assert len(check_content(tmp_path / "a.h5")) == 64
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def test_movement_comes_back(tmp_path):
    times = np.array([0.0, 0.3, 1.0])
    moves = (
        RigidMotion(times=times, translation=RNG.normal(size=(3, 3)), angles=RNG.normal(size=(3, 3))),
        PathMotion(times=times, displacement=RNG.normal(size=(3, N, 3)), period=1.2),
    )
    for motion in moves:
        c = full(motion=motion)
        save_cloud(tmp_path / "a.h5", c)
        back = load_cloud(tmp_path / "a.h5").motion
        at = np.array([0.0, 0.2, 0.31, 1.1, 2.0])
        # a rigid body is stored as turns about three axes: rounding only
        assert np.allclose(back.positions(c.position, at), motion.positions(c.position, at), atol=1e-13)


def test_same_cloud_same_bytes(tmp_path):
    c = full()
    for name in "ab":
        save_cloud(tmp_path / name, c)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.attrs.__setitem__("version", 9), "version 1"),
        (lambda f: f.attrs.__setitem__("points", 7), r"'position' must have shape \(7, 3\)"),
        (lambda f: f.attrs.__setitem__("points", 10**12), "attribute 'points' must be"),
        (lambda f: f.__delitem__("t1"), "'t1' must be present"),
        (lambda f: f["t1"].__setitem__(3, -1.0), "t1 must be positive"),
        (lambda f: f["df"].__setitem__(3, np.nan), "'df' must hold finite numbers; got nan"),
        (lambda f: f["bound"].attrs.__setitem__("lineshape", "box"), "bound.lineshape must be one of"),
        (lambda f: f["header"].__setitem__(0, 0), "'header' must be JSON"),
    ],
)
def test_bad_files_are_refused(tmp_path, change, message):
    save_cloud(tmp_path / "a.h5", full())
    with h5py.File(tmp_path / "a.h5", "r+") as f:
        change(f)
    with pytest.raises(PhantomFileError, match=rf"a\.h5: .*{message}"):
        load_cloud(tmp_path / "a.h5")


def test_a_changed_value_is_found_by_the_hash(tmp_path):
    save_cloud(tmp_path / "a.h5", full())
    with h5py.File(tmp_path / "a.h5", "r+") as f:
        f["m0"][5] = 0.123
    load_cloud(tmp_path / "a.h5")
    with pytest.raises(PhantomFileError, match=r"a\.h5: content must have the hash"):
        check_content(tmp_path / "a.h5")

import zipfile

import numpy as np
import pytest
from scipy.io import savemat

from phantoms import PhantomFileError, read_mrzero, read_phantom_file

SHAPE = (4, 3, 2)
RNG = np.random.default_rng(2)


def maps(**changes):
    pd = RNG.random(SHAPE)
    pd[0] = 0
    base = {
        "PD_map": pd, "T1_map": np.where(pd > 0, 1.5, 0), "T2_map": np.where(pd > 0, 0.1, 0),
        "T2dash_map": np.where(pd > 0, 0.05, 0), "D_map": np.where(pd > 0, 0.8, 0),
    }  # fmt: skip
    return {k: v for k, v in {**base, **changes}.items() if v is not None}


def written(path, **changes):
    np.savez_compressed(path, **maps(**changes))
    return path


def test_maps_units_and_places(tmp_path):
    m = maps(FOV=np.array([0.04, 0.06, 0.02]), B0_map=RNG.normal(size=SHAPE), B1_map=RNG.random((2, *SHAPE)))
    np.savez(tmp_path / "a.npz", **m, tissue_gm=np.ones(SHAPE, bool))
    c = read_phantom_file(tmp_path / "a.npz")
    inside = m["PD_map"] > 0
    i, j, k = np.nonzero(inside)
    assert np.array_equal(c.m0, m["PD_map"][inside])
    assert np.array_equal(c.df, m["B0_map"][inside])
    assert np.array_equal(c.b1.real, m["B1_map"][:, inside])
    assert c.adc == pytest.approx(np.full(c.size, 0.8e-9))
    # where MRzero simulates them: -FOV/2 + i FOV/n
    expected = np.stack([i * 0.01 - 0.02, j * 0.02 - 0.03, k * 0.01 - 0.01], axis=-1)
    assert c.position == pytest.approx(expected, abs=1e-15)
    assert c.signal_scale == pytest.approx(2e-6)


def test_defaults(tmp_path):
    c = read_mrzero(written(tmp_path / "a.npz", B1_map=RNG.random(SHAPE)))
    assert c.voxel == pytest.approx(np.diag([0.048, 0.064, 0.096]))
    assert c.b1.shape == (1, c.size)
    assert (c.df == 0).all()  # MRzero would invent a field


def test_matlab_array(tmp_path):
    data = RNG.random((3, 4, 5)) + 0.1
    savemat(tmp_path / "a.mat", {"cest": data})
    c = read_phantom_file(tmp_path / "a.mat")
    flat = data.reshape(-1, 5)
    for name, column in zip(("m0", "t1", "t2", "df"), flat.T, strict=False):
        assert np.array_equal(getattr(c, name), column)
    assert np.array_equal(c.b1[0].real, flat[:, 4])
    assert (c.t2_prime == 0.03).all()
    assert c.voxel == pytest.approx(np.diag([0.2 / 3, 0.05, 0.008]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"T2dash_map": None}, r"missing \['T2dash_map'\]"),
        ({"T1_map": np.ones((4, 3))}, "'T1_map' must have the shape"),
        ({"T1_map": np.zeros(SHAPE)}, "'T1_map' must be positive wherever PD_map > 0"),
        ({"T2_map": np.full(SHAPE, np.nan)}, "'T2_map' must be positive wherever"),
        ({"PD_map": -np.ones(SHAPE)}, "'PD_map' must be numbers >= 0"),
        ({"PD_map": np.zeros(SHAPE)}, "'PD_map' must be above 0 somewhere"),
        ({"PD_map": np.ones((4, 3))}, "'PD_map' must have three axes"),
        ({"FOV": np.array([0.2, 0.2])}, "'FOV' must be three positive metres"),
        ({"FOV": np.array([0.2, 0.2, -1])}, "'FOV' must be three positive metres"),
        ({"B1_map": np.ones((2, 2, *SHAPE))}, "'B1_map' must have the shape"),
        ({"T1_map": np.array([{}], object)}, "must hold plain numeric arrays"),
        ({"T1_map": np.full(SHAPE, "x")}, "'T1_map' must hold real numbers"),
    ],
)
def test_bad_archives_are_refused(tmp_path, changes, message):
    with pytest.raises(PhantomFileError, match=rf"a\.npz: .*{message}"):
        read_phantom_file(written(tmp_path / "a.npz", **changes))


def test_nothing_is_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    np.savez(tmp_path / "a.npz", **maps(D_map=np.array([Trap()], object)))
    with pytest.raises(PhantomFileError, match="plain numeric arrays"):
        read_phantom_file(tmp_path / "a.npz")
    assert not (tmp_path / "sprung").exists()


def test_damaged_and_swollen_archives(tmp_path, monkeypatch):
    path = written(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        for key in maps():
            archive.writestr(f"{key}.npy", b"\x93NUMPY\x01\x00nonsense")
    with pytest.raises(PhantomFileError, match=r"b\.npz: must "):
        read_phantom_file(tmp_path / "b.npz")
    whole = path.read_bytes()
    (tmp_path / "c.npz").write_bytes(whole[:100] + bytes(200) + whole[300:])
    with pytest.raises(PhantomFileError, match=r"c\.npz: must "):
        read_phantom_file(tmp_path / "c.npz")
    monkeypatch.setattr("phantoms.formats.mrzero.MAX_BYTES", 100)
    with pytest.raises(PhantomFileError, match="arrays must take at most"):
        read_phantom_file(path)


def test_a_matlab_file_of_something_else(tmp_path):
    savemat(tmp_path / "a.mat", {"a": np.ones((3, 3, 5)), "b": np.ones(3)})
    with pytest.raises(PhantomFileError, match="exactly one array"):
        read_phantom_file(tmp_path / "a.mat")
    savemat(tmp_path / "a.mat", {"a": np.ones((3, 3, 4))})
    with pytest.raises(PhantomFileError, match=r"axes \(x, y, 5\)"):
        read_phantom_file(tmp_path / "a.mat")

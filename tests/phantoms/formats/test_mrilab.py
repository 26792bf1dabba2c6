import h5py
import numpy as np
import pytest
from scipy.io import savemat

from phantoms import PhantomFileError, phantom_from_cloud, read_mrilab, read_phantom_file

from ..samples import FORMATS, needs

MRILAB = FORMATS / "mrilab"
X, Y, Z = 3, 4, 2


def virtual_object(**changes):
    """A VObj as MATLAB's meshgrid lays it out: rows are y, columns x."""
    x, y, z = np.meshgrid(np.arange(X), np.arange(Y), np.arange(Z), indexing="xy")
    rho = (x + 10.0 * y + 100.0 * z) / 1000
    values = {
        "Gyro": 267538030.3797, "ChemShift": 0, "XDim": X, "YDim": Y, "ZDim": Z, "XDimRes": 1e-3,
        "YDimRes": 2e-3, "ZDimRes": 3e-3, "Type": "Water", "TypeNum": 1, "Rho": rho,
        "T1": np.where(rho > 0, 0.9, 0.0), "T2": np.where(rho > 0, 0.1, 0.0),
        "T2Star": np.where(rho > 0, 0.05, 0.0),
    }  # fmt: skip
    return {**values, **changes}


def written(path, **changes):
    savemat(path, {"VObj": virtual_object(**changes)}, do_compression=True)
    return path


def test_rows_are_y_and_the_middle_is_the_origin(tmp_path):
    c = read_phantom_file(written(tmp_path / "v.mat"))
    i, j, k = np.unravel_index(c.index, (X, Y, Z))
    assert c.m0 == pytest.approx((i + 10 * j + 100 * k) / 1000)
    assert c.size == X * Y * Z - 1  # the first voxel has Rho 0
    assert c.position == pytest.approx(
        np.stack([(i - 1) * 1e-3, (j - 1.5) * 2e-3, (k - 0.5) * 3e-3], axis=-1), abs=1e-15
    )
    assert (c.t1 == 0.9).all()
    assert c.t2_prime == pytest.approx(np.full(c.size, 0.1))  # 1/0.05 - 1/0.1
    assert c.signal_scale == pytest.approx(6e-9)
    assert c.b0 == 3.0


def test_an_array_of_first_axis_x_is_seen_by_its_shape(tmp_path):
    maps = {k: virtual_object()[k].swapaxes(0, 1) for k in ("Rho", "T1", "T2", "T2Star")}
    a, b = read_mrilab(written(tmp_path / "a.mat")), read_mrilab(written(tmp_path / "b.mat", **maps))
    assert np.array_equal(a.m0, b.m0)
    assert np.array_equal(a.position, b.position)


def test_a_single_slice_loses_its_axis_in_matlab(tmp_path):
    maps = {k: virtual_object()[k][:, :, 0] for k in ("Rho", "T1", "T2", "T2Star")}
    c = read_mrilab(written(tmp_path / "v.mat", ZDim=1, **maps))
    assert c.size == X * Y - 1


def test_air_may_hold_anything_and_no_shift_may_be_empty(tmp_path):
    obj = virtual_object()
    air = {k: np.where(obj["Rho"] > 0, obj[k], np.nan) for k in ("T1", "T2", "T2Star")}
    plain = read_mrilab(written(tmp_path / "a.mat"))
    c = read_mrilab(written(tmp_path / "v.mat", **air, ChemShift=np.zeros((0, 0))))
    assert np.array_equal(c.t1, plain.t1)
    assert np.array_equal(c.df, plain.df)


def test_files_of_version_7_3_are_hdf5_with_reversed_axes(tmp_path):
    obj = virtual_object()
    with h5py.File(tmp_path / "v.mat", "w") as f:
        for key, value in obj.items():
            if key == "Type":
                f["VObj/Type"] = np.frombuffer(b"W\0a\0t\0e\0r\0", np.uint16)[:, None]
                f["VObj/Type"].attrs["MATLAB_class"] = np.bytes_("char")
            else:
                f[f"VObj/{key}"] = np.atleast_2d(np.asarray(value, float)).T
    a, b = read_phantom_file(tmp_path / "v.mat"), read_mrilab(written(tmp_path / "w.mat"))
    for name in ("m0", "position", "t1", "t2_prime"):
        assert np.array_equal(getattr(a, name), getattr(b, name))


def pools(rho, **changes):
    shape = (Y, X, Z, len(rho))
    base = {k: np.ones(shape) * v for k, v in {"T1": 1.0, "T2": 0.05, "T2Star": 0.05}.items()}
    return {
        "TypeNum": len(rho),
        "Rho": np.ones(shape) * rho,
        "ChemShift": np.zeros(len(rho)),
        **base,
        **changes,
    }


def test_pools_of_different_shift_overlap(tmp_path):
    c = read_mrilab(written(tmp_path / "v.mat", **pools([0.7, 0.3], ChemShift=[0, -140])), b0=1.5)
    assert c.size == 2 * X * Y * Z
    assert sorted(np.unique(c.df)) == [-210.0, 0.0]  # Hz/T times 1.5 T
    assert np.array_equal(np.sort(c.index), np.repeat(np.arange(X * Y * Z), 2))
    p = phantom_from_cloud(c)
    assert p.tissues == ("pool-1", "pool-2")
    assert p.properties(1.5)[1].shift_ppm == pytest.approx(-140 / 42.577478518)


def test_a_bound_pool_belongs_to_the_free_pool_it_exchanges_with(tmp_path):
    k = np.zeros((Y, X, Z, 4))
    k[..., 1], k[..., 2] = 8.0, 45.333
    c = read_mrilab(written(tmp_path / "v.mat", Type="Two-pool MT", K=k, **pools([0.85, 0.15])))
    assert (c.bound.m0 == 0.15).all()
    assert (c.bound.k_f == 8.0).all()
    assert c.source["lost"] == []
    # three pools: two free ones that exchange with each other, the third bound to the first
    rates = np.zeros((Y, X, Z, 3, 3))
    rates[..., 0, 1], rates[..., 1, 0], rates[..., 0, 2], rates[..., 2, 0] = 20, 150, 8, 40
    three = pools([0.75, 0.1, 0.15], TypeFlag=[0, 0, 1], LineShapeFlag=[0, 0, 1], K=rates)
    c = read_mrilab(written(tmp_path / "w.mat", Type="Two F Pools/One B Pool", **three))
    n = X * Y * Z
    assert c.bound.k_f.tolist() == [8.0] * n + [0.0] * n
    assert c.bound.lineshape == "gaussian"
    assert c.source["lost"] == ["exchange between free pools"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Rho": np.zeros((Y, X, Z))}, "'Rho' of a free pool must be above 0"),
        ({"T1": np.zeros((Y, X, Z))}, "'T1' must be positive seconds wherever Rho > 0"),
        ({"T2": np.full((Y, X, Z), -0.1)}, "'T2' must be positive seconds wherever Rho > 0"),
        ({"T2": np.full((Y, X, Z), np.nan)}, "'T2' must be positive seconds wherever Rho > 0; got nan"),
        ({"Rho": np.full((Y, X, Z), np.nan)}, "'Rho' must be finite and not negative"),
        ({"T1": np.ones((Y, X, Z + 1))}, "'T1' must hold numbers of shape"),
        ({"T1": np.ones((Z, Y, X))}, r"'T1' must have the axes \(YDim, XDim, ZDim\)"),
        ({"XDim": 0}, "'XDim' must be one positive number"),
        ({"XDimRes": -1.0}, "'XDimRes' must be one positive number"),
        ({"XDim": 1e9, "YDim": 1e9}, "at most|134217728 voxels"),
        ({"ChemShift": [0, 1]}, "'ChemShift' must hold 1 finite"),
        ({"T1": "text"}, "'T1' must hold numbers"),
    ],
)
def test_bad_objects_are_refused_with_file_and_field(tmp_path, changes, message):
    with pytest.raises(PhantomFileError, match=rf"v\.mat: .*({message})"):
        read_mrilab(written(tmp_path / "v.mat", **changes))


def test_damaged_and_swollen_files(tmp_path, monkeypatch):
    path = written(tmp_path / "v.mat")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PhantomFileError, match=r"v\.mat: must be a complete MATLAB file"):
        read_phantom_file(path)
    savemat(path, {"VObj": {"XDim": 1}})
    with pytest.raises(PhantomFileError, match="VObj must have the fields"):
        read_phantom_file(path)
    # a bomb: a few kB that grow beyond the limit are refused before SciPy expands them
    savemat(path, {"VObj": virtual_object(Rho=np.zeros(10**6))}, do_compression=True)
    assert path.stat().st_size < 50_000
    monkeypatch.setattr("phantoms.formats.matlab.MAX_BYTES", 10**6)
    with pytest.raises(PhantomFileError, match="arrays must take at most"):
        read_phantom_file(path)


@needs(MRILAB)
def test_samples():
    c = read_phantom_file(MRILAB / "BrainTissue.mat")
    assert sorted(np.unique(c.t1)) == [0.6, 0.95, 4.5]
    assert c.source["shape"] == [100, 100, 32]
    p = phantom_from_cloud(c)
    assert p.shape == (100, 100, 32)
    # 1126 voxels of 8 mm3 in each of 32 slices
    assert sorted(p.volumes().values()) == pytest.approx([1126 * 32 * 8e-9] * 3, rel=1e-6)
    w = read_phantom_file(MRILAB / "WaterFatPhantom.mat")
    assert dict(zip(*np.unique(w.df, return_counts=True), strict=True)) == {-420.0: 267312, 0.0: 566784}
    m = read_phantom_file(MRILAB / "MT.mat")
    assert np.unique(m.bound.t2).tolist() == [7e-6]
    # detailed balance of the file: 8 * 0.85 = 45.33 * 0.15
    assert np.unique(m.bound.k_f * m.m0 / m.bound.m0) == pytest.approx(45 + 1 / 3)
    g = read_phantom_file(MRILAB / "GM.mat")
    assert np.unique(g.df).tolist() == [0.0, 900.0]
    assert g.source["lost"] == ["exchange between free pools"]

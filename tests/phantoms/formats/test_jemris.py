import h5py
import numpy as np
import pytest

from phantoms import (
    PhantomFileError,
    PointCloud,
    RigidMotion,
    phantom_from_cloud,
    read_jemris,
    read_phantom_file,
)

from ..samples import JEMRIS, KOMA, needs


def write_sample(path, data, resolution=(1.0, 2.0, 3.0), offset=(0.0, 0.0, 0.0), column=True):
    with h5py.File(path, "w") as f:
        f["sample/data"] = data
        shape = (3, 1) if column else (1, 3)
        f["sample/resolution"] = np.reshape(resolution, shape)
        f["sample/offset"] = np.reshape(offset, shape)
    return path


def block(*shape):
    data = np.zeros((*shape, 5))
    data[..., 0] = 1.0
    data[..., 1:4] = 0.001, 0.01, 0.03
    return data


@pytest.mark.parametrize("column", [True, False])
def test_axes_units_and_order(tmp_path, column):
    data = block(2, 3, 4)  # z, y, x
    data[1, 0, 2, :] = 0.5, 0.0, 0.02, 0.0, 20 * np.pi
    data[0, 1, 1, 0] = 0.0
    data[0, 1, 2, 0] = -1.0
    c = read_jemris(write_sample(tmp_path / "a.h5", data, (1, 2, 4), (10, 0, -5), column))
    assert isinstance(c, PointCloud)
    assert c.size == 22  # two voxels without magnetization are dropped
    assert c.signal_scale == 1 / 22
    assert np.allclose(np.diag(c.voxel), [1e-3, 2e-3, 4e-3])
    i = int(np.flatnonzero(c.m0 == 0.5)[0])
    assert np.allclose(c.position[i], [10.5e-3, -2e-3, -3e-3], atol=1e-15)
    assert (c.t1[i], c.t2_prime[i]) == (np.inf, np.inf)
    assert (c.t2[i], c.df[i]) == pytest.approx((0.05, 10.0))
    assert c.index[i] == np.ravel_multi_index((2, 0, 1), (4, 3, 2))
    other = 0 if i else 1
    assert (c.t1[other], c.t2[other], c.t2_prime[other]) == pytest.approx((1.0, 0.1, 0.05))
    assert c.source["shape"] == [4, 3, 2]


def test_squeezed_axes_are_slices_and_lines(tmp_path):
    flat = read_jemris(write_sample(tmp_path / "a.h5", block(3, 4)))
    line = read_jemris(write_sample(tmp_path / "b.h5", block(6)))
    assert (flat.size, line.size) == (12, 6)
    assert (flat.position[:, 2] == 0).all()
    assert np.ptp(line.position, axis=0) == pytest.approx([5e-3, 0, 0])


def test_an_offset_may_be_absent(tmp_path):
    plain = read_jemris(write_sample(tmp_path / "a.h5", block(2, 3, 4)))
    other = read_jemris(edited(tmp_path, lambda f: f.__delitem__("sample/offset")))
    assert np.array_equal(plain.position, other.position)


def test_pools_of_a_voxel_overlap_and_are_one_spin(tmp_path):
    data = np.repeat(block(2, 3, 4)[..., None, :], 2, axis=3)  # z, y, x, pool
    data[..., 1, 0], data[..., 1, 4] = 0.2, 40 * np.pi
    data[1, 2, 3, 1, 0] = 0.0
    c = read_jemris(write_sample(tmp_path / "a.h5", data))
    assert (c.size, c.signal_scale) == (47, 1 / 24)
    one = np.flatnonzero(c.m0 == 1.0)
    two = np.flatnonzero(c.m0 == 0.2)
    assert np.array_equal(c.position[one][:-1], c.position[two])
    assert np.array_equal(c.index[one][:-1], c.index[two])
    assert c.df[two] == pytest.approx(np.full(23, 20.0))
    assert c.source["lost"] == []
    with h5py.File(tmp_path / "a.h5", "r+") as f:
        f["sample/helper"] = np.ones((2, 2))
    assert read_jemris(tmp_path / "a.h5").source["lost"] == ["exchange between 2 pools (sample/helper)"]
    single = read_jemris(write_sample(tmp_path / "b.h5", data[:, :, :, :1]))
    assert np.array_equal(
        single.position, read_jemris(write_sample(tmp_path / "c.h5", data[..., 0, :])).position
    )


def test_a_brain_keeps_its_sets_of_values(tmp_path):
    """The five sets of JEMRIS's own brain, (M0, T1, T2) in ms, as rates in the file."""
    sets = {(0.77, 500, 70), (0.86, 833, 83), (1.0, 350, 70), (1.0, 900, 47), (1.0, 2569, 329)}
    data = np.zeros((2, 3, 6, 5))
    rows = np.array(sorted(sets))
    data[..., 0] = np.resize([*rows[:, 0], 0.0], (2, 3, 6))
    data[..., 1:3] = 1 / np.resize([*rows[:, 1:], (np.inf, np.inf)], (2, 3, 6, 2))
    data[..., 3] = 1.5 * data[..., 2]
    c = read_jemris(write_sample(tmp_path / "a.h5", data))
    assert c.size == 30
    found = {(m, round(1e3 * a, 9), round(1e3 * b, 9)) for m, a, b in zip(c.m0, c.t1, c.t2, strict=True)}
    assert found == sets
    p = phantom_from_cloud(c)
    assert len(p.tissues) == 5
    assert p.volumes()[p.tissues[0]] == pytest.approx(6 * p.voxel_volume)


def edited(tmp_path, change):
    path = write_sample(tmp_path / "a.h5", block(2, 3, 4))
    with h5py.File(path, "r+") as f:
        change(f)
    return path


def put(name, value):
    def change(f):
        del f[name]
        f[name] = value

    return change


def linked(f):
    del f["sample/data"]
    f["sample/data"] = h5py.ExternalLink("other.h5", "/sample/data")


def linked_group(f):
    f.move("sample", "hidden")
    f["sample"] = h5py.SoftLink("/hidden")


def set_value(index, value):
    def change(f):
        f["sample/data"][index] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("sample/data", np.ones((2, 3, 4))), "must be M0, R1, R2"),
        (put("sample/data", np.ones((2, 5), bool)), "axes of type f8 or f4"),
        (put("sample/data", np.ones((1, 1, 1, 1, 2, 5))), "axes of type f8 or f4"),
        (put("sample/data", np.zeros((2, 5))), "at least one spin must have M0 > 0; none of 2"),
        (put("sample/resolution", np.array([[1.0, 2.0]])), "3 numbers"),
        (put("sample/resolution", np.array([[1.0], [0.0], [1.0]])), "resolution' must be positive"),
        (set_value((0, 0, 0, 2), -0.1), "rates .* must not be negative"),
        (
            set_value((0, 1, 2, 3), np.nan),
            r"'sample/data' must hold finite numbers; got nan at \(0, 1, 2, 3\)",
        ),
        (set_value((0, 1, 2, 4), np.inf), "finite numbers; got inf"),
        (lambda f: f.__delitem__("sample/resolution"), "'resolution' must be present"),
        (linked, "'data' must be stored in the file itself"),
        (linked_group, "'sample' must be stored in the file itself"),
    ],
)
def test_bad_samples_are_refused_by_file_and_field(tmp_path, change, message):
    with pytest.raises(PhantomFileError, match=rf"a\.h5: .*{message}"):
        read_jemris(edited(tmp_path, change))


def test_huge_samples_are_refused_before_reading(tmp_path):
    path = write_sample(tmp_path / "a.h5", block(2))
    with h5py.File(path, "r+") as f:
        del f["sample/data"]
        f.create_dataset("sample/data", (1024, 1024, 1024, 5), "f8", chunks=(1, 8, 8, 5))  # never allocated
    with pytest.raises(PhantomFileError, match=r"'sample/data' must have 1\.\."):
        read_jemris(path)


def write_list(path, **changes):
    columns = {"x": [0.0, 1e-3], "y": [0.0, 0.0], "z": [0.0, 2e-3], "ρ": [1.0, 0.5]}
    columns |= {"T1": [1.0, np.inf], "T2": [0.1, 0.2], "T2s": [0.05, np.inf], "Δw": [0.0, 2 * np.pi]}
    with h5py.File(path, "w") as f:
        for key, value in {**columns, **changes}.items():
            f[key] = np.array(value)
    return path


def test_spin_lists(tmp_path):
    c = read_phantom_file(write_list(tmp_path / "spins.dat"))
    assert c.voxel is None
    assert c.t1.tolist() == [1.0, np.inf]
    assert c.t2_prime == pytest.approx([0.1, np.inf])
    assert c.df == pytest.approx([0.0, 1.0])
    assert c.signal_scale == 0.5
    with pytest.raises(PhantomFileError, match="equally long"):
        read_jemris(write_list(tmp_path / "a.h5", x=[0.0, 0.0, 0.0]))
    with pytest.raises(PhantomFileError, match=r"times \['T2'\] must be positive"):
        read_jemris(write_list(tmp_path / "a.h5", T2=[0.0, 1.0]))
    with pytest.raises(PhantomFileError, match="'T1' must hold numbers; got nan"):
        read_jemris(write_list(tmp_path / "a.h5", T1=[np.nan, 1.0]))
    with h5py.File(tmp_path / "a.h5", "w") as f:
        f["x"] = np.zeros(3)
    with pytest.raises(PhantomFileError, match=r"missing \['y'"):
        read_jemris(tmp_path / "a.h5")


@needs(KOMA)
def test_published_objects():
    spins, sphere = read_jemris(KOMA / "phantom_sphere.h5"), read_jemris(KOMA / "sphere_chemical_shift.h5")
    for c in (spins, sphere):
        assert c.size == 7825
        assert (c.t1.min(), c.t1.max(), c.t2.min(), c.t2.max()) == pytest.approx((0.05, 0.1, 0.05, 0.1))
        assert c.df.max() == pytest.approx(200 / (2 * np.pi))
        assert np.isinf(c.t2_prime).all()
    # The list holds the same object in the same order.
    assert np.allclose(spins.position, sphere.position, atol=1e-15)
    assert np.allclose(spins.df, sphere.df)
    assert read_jemris(KOMA / "shepplogan.h5").size == 4120
    column = read_jemris(KOMA / "column1d.h5")
    assert column.size == 200
    assert np.ptp(column.position, axis=0) == pytest.approx([0.199, 0, 0])
    with pytest.raises(FileNotFoundError):
        read_jemris(KOMA / "none.h5")


@needs(JEMRIS)
@pytest.mark.parametrize(
    ("case", "spins"),
    [
        ("koma_a_column1d_epi", 200),
        ("koma_b_sphere_cs_epi", 7825),
        ("gre64_rfspoil_shepplogan", 1027),
        ("tse32_sphere_etl8", 870),
        ("ste_3pulses", 1200),
        ("sech_inversion_db", 201),
        ("slicesel_sinc_column_z", 801),
        ("concomitant_0p55T_epi", 729),
        ("nlg_cubic", 256),
        ("rigid_rot_epi_sphere", 870),
    ],
)
def test_reference_objects_have_the_stated_spins(case, spins):
    c = read_phantom_file(JEMRIS / case / "sample.h5")
    assert c.size == spins
    assert np.isinf(c.t2_prime).all()  # R2* plays no part in these files
    if case == "concomitant_0p55T_epi":
        assert c.position.mean(axis=0) == pytest.approx([5e-3, 5e-3, 20e-3])


@needs(JEMRIS)
@pytest.mark.parametrize(("sign", "low", "high"), [(1, 0.0, 0.002), (-1, 0.5, 2.0)])
def test_positions_frequencies_and_motion_explain_a_signal_of_jemris(sign, low, high):
    """Phases of freely precessing, turning spins against JEMRIS; turned the other way they explain nothing.

    Trapezoidal integration on a grid of 10 us, instant excitation: good to 0.1 %, asked for 0.2 %.
    """
    folder = JEMRIS / "rigid_rot_epi_sphere"
    c = read_jemris(folder / "sample.h5")
    m = RigidMotion.from_jemris(folder / "motion.dat")
    m = RigidMotion(times=m.times, translation=m.translation, angles=sign * m.angles, center=m.center)
    with h5py.File(folder / "seqdiag.h5") as f:
        time, first = np.unique(f["seqdiag/T"][()].ravel(), return_index=True)
        gradient = [f[f"seqdiag/{k}"][()].ravel()[first] for k in ("GX", "GY")]  # rad/(ms mm)
        excited = time[f["seqdiag/TXM"][()].ravel()[first] > 0].mean()
    with h5py.File(folder / "signal.h5") as f:
        times, signal = f["signal/times"][()].ravel(), f["signal/channels/00"][()]
    keep = times < 60.0
    times, signal = times[keep], signal[keep, 0] + 1j * signal[keep, 1]
    t = np.unique(np.concatenate([np.arange(excited, 60.0, 0.01), times, time[time < 60.0]]))
    t = t[t >= excited]
    r = m.positions(c.position, t * 1e-3) * 1e3
    rate = sum(np.interp(t, time, g)[:, None] * r[..., i] for i, g in enumerate(gradient))
    rate += 2 * np.pi * c.df * 1e-3
    phase = np.cumsum(0.5 * (rate[1:] + rate[:-1]) * np.diff(t)[:, None], axis=0)[
        np.searchsorted(t, times) - 1
    ]
    decay = np.exp(-(times - excited)[:, None] * 1e-3 / c.t2)
    own = 1j * (c.m0 * decay * np.exp(-1j * phase)).sum(axis=1) * c.signal_scale
    assert low <= np.linalg.norm(own - signal) / np.linalg.norm(signal) < high

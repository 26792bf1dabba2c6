import json

import h5py
import numpy as np
import pytest

from phantoms import (
    Diffeomorphism,
    Phantom,
    PhantomFileError,
    check_content,
    load_phantom,
    save_phantom,
    shepp_logan_3d,
)


@pytest.fixture
def phantom():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 120, (2, 7, 8, 9))
    return Phantom(
        name="sub-0001",
        tissues=("gm", "wm"),
        fractions=codes.astype(np.float32) / np.float32(255),
        affine=np.array([[2e-3, 0, 0, -0.01], [0, 1e-3, 0, 0.02], [0, 0, 3e-3, 0.03], [0, 0, 0, 1]]),
        scale={"wm": {"t1": 1.02}},
        labels=rng.integers(0, 3, (7, 8, 9)).astype(np.int16),
        regions={1: "cortical_gm", 2: "cerebral_wm"},
        truth={"age": 42.5, "volumes_ml": {"cortical_gm": 1.5}},
        chi_outside=9.2,
    )


def test_round_trip_is_exact(tmp_path, phantom):
    save_phantom(tmp_path / "a.h5", phantom)
    p = load_phantom(tmp_path / "a.h5")
    for key in ("name", "tissues", "scale", "regions", "truth", "chi_outside"):
        assert getattr(p, key) == getattr(phantom, key)
    for key in ("fractions", "affine", "labels"):
        assert np.array_equal(getattr(p, key), getattr(phantom, key))
        assert getattr(p, key).dtype == getattr(phantom, key).dtype
    assert p.properties(2.89) == phantom.properties(2.89)
    assert [f.name for f in tmp_path.iterdir()] == ["a.h5"]
    with h5py.File(tmp_path / "a.h5") as f:
        assert f["fractions"].dtype == np.uint8


def test_fractions_between_steps_stay_float(tmp_path):
    p = shepp_logan_3d((12, 13, 11), 0.02, 0.22)
    save_phantom(tmp_path / "s.h5", p)
    q = load_phantom(tmp_path / "s.h5")
    assert np.array_equal(p.fractions, q.fractions)
    assert q.properties(3.0) == p.properties(3.0)  # infinite times survive JSON


@pytest.fixture
def mapped(phantom):
    velocity = np.random.default_rng(1).normal(0, 1e-3, (3, 4, 5, 6)).astype(np.float32)
    transform = Diffeomorphism(velocity=velocity, affine=np.diag([3e-3, 3e-3, 3e-3, 1]), scale=0.95)
    return phantom.replace({"transform": transform})


def test_the_map_from_the_template_comes_back(tmp_path, phantom, mapped):
    save_phantom(tmp_path / "a.h5", mapped)
    found = load_phantom(tmp_path / "a.h5").transform
    assert np.array_equal(found.velocity, mapped.transform.velocity)
    assert np.array_equal(found.affine, mapped.transform.affine)
    assert found.scale == 0.95
    save_phantom(tmp_path / "b.h5", phantom)
    with h5py.File(tmp_path / "a.h5") as a, h5py.File(tmp_path / "b.h5") as b:
        # Programs of the first versions refuse what they would lose, and read everything else.
        assert (a.attrs["version"], b.attrs["version"]) == (3, 1)
    edit(tmp_path / "a.h5", lambda f: f["transform/velocity"].__setitem__((0, 0, 0, 0), 1e-3))
    with pytest.raises(PhantomFileError, match="content must have the hash"):
        check_content(tmp_path / "a.h5")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda g: replace(g, "scale", -1.0), "scale of a map must be positive"),
        (lambda g: replace(g, "velocity", np.zeros((3, 4, 5), np.float32)), "'velocity' must have 4 axes"),
        (lambda g: g.__delitem__("affine"), "'affine' must be present"),
    ],
)
def test_damaged_maps_are_refused(tmp_path, mapped, change, text):
    save_phantom(tmp_path / "a.h5", mapped)
    edit(tmp_path / "a.h5", lambda f: change(f["transform"]))
    with pytest.raises(PhantomFileError, match=text) as error:
        load_phantom(tmp_path / "a.h5")
    assert "a.h5" in str(error.value)


def test_same_phantom_gives_the_same_bytes(tmp_path, phantom):
    save_phantom(tmp_path / "a.h5", phantom)
    save_phantom(tmp_path / "b.h5", phantom)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_a_failed_write_leaves_the_old_file(tmp_path, phantom, monkeypatch):
    save_phantom(tmp_path / "a.h5", phantom)
    before = (tmp_path / "a.h5").read_bytes()

    def fail(*_args, **_kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(h5py.File, "flush", fail)
    with pytest.raises(OSError, match="disk full"):
        save_phantom(tmp_path / "a.h5", phantom)
    assert (tmp_path / "a.h5").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def edit(path, change):
    with h5py.File(path, "r+") as f:
        change(f)


def replace(f, name, data):
    del f[name]
    f[name] = data


def change_header(f, **changes):
    header = json.loads(f["header"][()].tobytes())
    header.update(changes)
    replace(f, "header", np.frombuffer(json.dumps(header).encode(), np.uint8))


def external(f):
    del f["fractions"]
    f["fractions"] = h5py.ExternalLink("other.h5", "/fractions")


def outside(f):
    del f["labels"]
    f.create_dataset("labels", (7, 8, 9), "i2", external=[("raw.bin", 0, 1008)])


def virtual(f):
    layout = h5py.VirtualLayout(shape=(2, 7, 8, 9), dtype="u1")
    layout[:] = h5py.VirtualSource("other.h5", "x", shape=(2, 7, 8, 9))
    del f["fractions"]
    f.create_virtual_dataset("fractions", layout)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda f: f.attrs.__setitem__("format", "other"), "format must be 'mrsim-phantom'"),
        (lambda f: f.attrs.__setitem__("version", 9), "version must be one of .* upgrade mrsim"),
        (lambda f: f.__delitem__("affine"), "'affine' must be present"),
        (external, "'fractions' must be stored in the file itself"),
        (outside, "'labels' must be a plain dataset"),
        (virtual, "'fractions' must be a plain dataset"),
        (lambda f: replace(f, "fractions", np.zeros((2, 7, 8), np.uint8)), "'fractions' must have 4 axes"),
        (lambda f: replace(f, "fractions", np.zeros((3, 7, 8, 9), np.uint8)), r"shape \(2, x, y, z\)"),
        (lambda f: replace(f, "fractions", np.full((2, 7, 8, 9), 255, np.uint8)), "sum to at most 1"),
        (
            lambda f: replace(f, "labels", np.zeros((7, 8, 9), np.float64)),
            "'labels' must have 3 axes of type i2",
        ),
        (lambda f: replace(f, "labels", np.zeros((7, 8, 8), np.int16)), "labels must be int16 of shape"),
        (lambda f: replace(f, "affine", np.full((4, 4), np.nan)), "affine must be a finite"),
        (lambda f: replace(f, "header", np.frombuffer(b"{", np.uint8)), "'header' must be JSON"),
        (lambda f: replace(f, "header", np.frombuffer(b"[1]", np.uint8)), "'header' must be a JSON object"),
        (lambda f: replace(f, "header", np.frombuffer(b"{}", np.uint8)), "must have the keys"),
        (lambda f: change_header(f, table={}), "must be in the table"),
        (lambda f: change_header(f, table={"gm": {}}), "table entry 'gm' is not complete"),
        (lambda f: change_header(f, scale=[1]), "content must describe a phantom"),
        (lambda f: change_header(f, chi_outside="x"), "content must describe a phantom"),
    ],
)
def test_bad_files_are_refused_with_file_and_field(tmp_path, phantom, change, text):
    path = tmp_path / "bad.h5"
    save_phantom(path, phantom)
    edit(path, change)
    with pytest.raises(PhantomFileError, match=text) as info:
        load_phantom(path)
    assert "bad.h5" in str(info.value)


def test_huge_datasets_are_refused_before_reading(tmp_path, phantom):
    path = tmp_path / "huge.h5"
    save_phantom(path, phantom)

    def grow(f):
        del f["fractions"]
        f.create_dataset("fractions", (2, 4096, 4096, 4096), "u1", chunks=(1, 8, 8, 8))  # never allocated

    edit(path, grow)
    with pytest.raises(PhantomFileError, match="'fractions' must have"):
        load_phantom(path)


def test_truncated_and_foreign_files(tmp_path, phantom):
    path = tmp_path / "cut.h5"
    save_phantom(path, phantom)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(PhantomFileError, match=r"cut\.h5: must be a complete HDF5 file"):
        load_phantom(path)
    path.write_text("hello")
    with pytest.raises(PhantomFileError, match="complete HDF5 file"):
        load_phantom(path)
    with pytest.raises(FileNotFoundError, match="must exist"):
        load_phantom(tmp_path / "none.h5")

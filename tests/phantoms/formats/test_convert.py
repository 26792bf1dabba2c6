"""From one format to another: what stays, what is told, and that both engines hear the same object."""

import h5py
import numpy as np
import pytest

from mrsim.simulation import SimulationOptions, simulate
from phantoms import (
    Phantom,
    PhantomError,
    PointCloud,
    cloud_from_phantom,
    phantom_from_cloud,
    read_koma,
    read_phantom_file,
    write_phantom_file,
)
from phantoms.gridding import point_grid
from protocols import Prescription

from ...simulation.bloch.sequences import INSTANT, Score, hard, heard, sample, trapezoid
from ...simulation.conftest import scanner
from ...simulation.tiny import spoiled_gre
from ..samples import FORMATS, JEMRIS, needs

RNG = np.random.default_rng(4)
SHAPE = (5, 4, 3)


def body(**changes):
    fractions = np.zeros((3, *SHAPE), np.float32)
    fractions[0, 1:3, 1:3, 1], fractions[1, 2:4, 1:3, 1], fractions[2, 0, 0] = 0.5, 0.375, 1.0
    affine = np.diag([2e-3, 3e-3, 4e-3, 1.0])
    affine[:3, 3] = -3e-3, 5e-3, 1e-3
    values = {"name": "b", "tissues": ("gm", "wm", "fat"), "fractions": fractions, "affine": affine}
    return Phantom(**{**values, "truth": {"age": 3.0}, "chi_outside": 0.0, **changes})


def by_place(cloud, *names):
    """Rows of a cloud sorted by place and T1, so that two orders of the same points compare."""
    order = np.lexsort((cloud.t1, *np.round(cloud.position, 6).T))
    return [getattr(cloud, n)[order] for n in names]


NAMES = ("position", "m0", "t1", "t2", "t2_prime", "df", "adc")


@pytest.mark.parametrize("suffix", [".h5", ".json", ".phantom"])
def test_every_format_holds_the_same_spins(tmp_path, suffix):
    told = write_phantom_file(tmp_path / f"a{suffix}", body(), b0=1.5)
    back = read_phantom_file(tmp_path / f"a{suffix}")
    if isinstance(back, Phantom):
        assert told.lost == ()
        back = cloud_from_phantom(back, 1.5)
    else:
        assert any("truth block" in line for line in told.lost)
    for name, a, b in zip(
        NAMES, by_place(cloud_from_phantom(body(), 1.5), *NAMES), by_place(back, *NAMES), strict=True
    ):
        # BIfTI: single precision of density (6e-8) and affine; KomaMRI: T2* and 2 pi f, rounding only
        assert a == pytest.approx(b, rel=1e-7, abs=1e-9 if name == "position" else 0), name


def test_a_cloud_of_tissues_becomes_a_phantom_again(tmp_path):
    write_phantom_file(tmp_path / "a.json", body(), b0=3.0)
    told = write_phantom_file(tmp_path / "b.h5", read_phantom_file(tmp_path / "a.json"))
    assert told.kind == "phantom"
    p = read_phantom_file(tmp_path / "b.h5")
    assert p.tissues == ("gm", "wm", "fat")
    assert p.shape == SHAPE
    assert p.provenance["values_hold_at_t"] == 3.0
    density = np.array([q.pd for q in p.properties(3.0)])[:, None, None, None] * p.fractions
    expected = np.array([q.pd for q in body().properties(3.0)])[:, None, None, None] * body().fractions
    assert density == pytest.approx(expected, rel=2e-7)
    again = write_phantom_file(tmp_path / "c.json", p)  # its own field, without being asked
    assert again.notes == ()
    assert read_phantom_file(tmp_path / "c.json").b0 == 3.0
    with pytest.raises(PhantomError, match=r"b0 must be 3\.0 T, where the values"):
        write_phantom_file(tmp_path / "c.json", p, b0=1.5)


def bloch_signal(source, sequence):
    cloud = cloud_from_phantom(source, 1.5) if isinstance(source, Phantom) else source
    return heard(cloud, sequence)


@pytest.mark.parametrize("suffix", [".json", ".phantom", ".h5"])
def test_the_exact_engine_hears_the_same_object(tmp_path, suffix):
    score = Score()
    score.add(INSTANT, rf=hard(70.0))
    for step in range(8):
        score.add(4e-3, gx=trapezoid(2e4 * (1 + step), 1e-3), gy=trapezoid(1.3e4, 2e-3), adc=sample(3e-3))
    sequence = score.sequence()
    whole = bloch_signal(body(), sequence)
    write_phantom_file(tmp_path / f"a{suffix}", body(), b0=1.5)
    read = read_phantom_file(tmp_path / f"a{suffix}")
    scale = 1.0 if suffix != ".phantom" else body().voxel_volume  # KomaMRI holds no volume
    # densities of BIfTI are single precision
    assert np.abs(scale * bloch_signal(read, sequence) - whole).max() < 1e-6 * np.abs(whole).max()
    assert np.abs(whole[-1]) < 0.9 * np.abs(whole[0])  # the object matters
    if suffix == ".json":
        tissues = bloch_signal(phantom_from_cloud(read), sequence)
        assert np.abs(tissues - whole).max() < 1e-6 * np.abs(whole).max()


def test_the_kspace_engine_hears_the_same_object(tmp_path):
    upright = Prescription(
        read_dir=np.array([1.0, 0, 0]), phase_dir=np.array([0, 1.0, 0]), slice_dir=np.array([0, 0, 1.0]),
        center=np.zeros(3),
    )  # fmt: skip
    sequence = spoiled_gre((8, 6, 4), (0.02, 0.02, 0.02), flip_deg=15, dummies=2)
    options = SimulationOptions(b0=False, b1=False, coils=False, noise=False, tolerance=1e-6)

    def signal(phantom):
        rng = np.random.default_rng(0)
        raw = simulate(phantom, sequence, scanner(f0=63.87e6), upright, rng=rng, options=options)
        return np.stack([d[0] for d in raw.data])

    b0 = 63.87e6 / 42.577478518e6
    write_phantom_file(tmp_path / "a.json", body(), b0=b0)
    read = phantom_from_cloud(read_phantom_file(tmp_path / "a.json"))
    assert read.tissues == body().tissues
    whole, again = signal(body()), signal(read)
    # two compressions of 1e-6 each, in single precision, of densities rounded to single precision
    assert np.abs(again - whole).max() < 5e-6 * np.abs(whole).max()


def test_what_has_values_per_voxel_stays_a_cloud(tmp_path):
    columns = {k: RNG.random(100) + 1 for k in ("m0", "t1", "t2", "t2_prime", "df", "adc")}
    many = PointCloud(name="m", position=np.arange(300.0).reshape(100, 3), b0=3.0, **columns)
    told = write_phantom_file(tmp_path / "a.h5", many)
    assert (told.kind, told.format) == ("cloud", "native")
    assert "--engine bloch" in told.notes[0]
    assert isinstance(read_phantom_file(tmp_path / "a.h5"), PointCloud)


def test_losses_are_told(tmp_path):
    c = cloud_from_phantom(body(), 3.0)
    c = c.replace({"b1": np.full((1, c.size), 0.9), "sensitivity": np.ones((2, c.size))})
    told = write_phantom_file(tmp_path / "a.phantom", c)
    for word in ("extent", "3 T", "B1+", "B1-"):
        assert any(word in line for line in told.lost)
    assert (read_koma(tmp_path / "a.phantom").b1 == 1).all()


def test_formats_are_known_by_suffix_or_by_name(tmp_path):
    with pytest.raises(PhantomError, match=r"x\.nii: the suffix must be one of"):
        write_phantom_file(tmp_path / "x.nii", body())
    with pytest.raises(PhantomError, match="format must be one of native, bifti"):
        write_phantom_file(tmp_path / "x.h5", body(), format="dicom")
    assert write_phantom_file(tmp_path / "x.dat", body(), format="koma").format == "koma"
    assert write_phantom_file(tmp_path / "x.dat", body(), format="koma", b0=1.5).notes == ()


def test_points_without_extent_find_their_grid():
    places = np.argwhere(np.ones((4, 3, 1)))
    keep = RNG.permutation(12)[:9]
    r = places[keep] * [2e-3, 5e-3, 1.0] + [0.01, 0.02, 0.03]
    grid = point_grid(PointCloud(name="p", position=r, m0=np.ones(9), t1=np.ones(9), t2=np.ones(9)))
    assert np.diag(grid.affine)[:3] == pytest.approx([2e-3, 5e-3, 2e-3])
    found = np.stack(np.unravel_index(grid.index, grid.shape), axis=-1)
    assert found @ grid.affine[:3, :3].T + grid.affine[:3, 3] == pytest.approx(r)
    with pytest.raises(PhantomError, match="must lie on a grid"):
        point_grid(
            PointCloud(name="p", position=RNG.random((30, 3)), m0=np.ones(30), t1=np.ones(30), t2=np.ones(30))
        )


@needs(FORMATS)
def test_foreign_samples_become_phantoms(tmp_path):
    told = write_phantom_file(tmp_path / "a.h5", read_phantom_file(FORMATS / "koma" / "shepplogan.h5"))
    assert told.kind == "phantom"
    assert len(read_phantom_file(tmp_path / "a.h5").tissues) == 5
    c = read_phantom_file(FORMATS / "koma" / "sphere_chemical_shift.h5")
    assert write_phantom_file(tmp_path / "b.json", c, b0=1.5).kind == "phantom"
    back = read_phantom_file(tmp_path / "b.json")
    for name, a, b in zip(NAMES, by_place(c, *NAMES), by_place(back, *NAMES), strict=True):
        # the affine of NIfTI is single precision
        assert np.array_equal(a, b) if name != "position" else np.abs(a - b).max() < 1e-8, name


@needs(JEMRIS)
def test_matlab_and_h5py_vectors_and_three_dimensions(tmp_path):
    data = np.zeros((2, 3, 4, 5))
    data[1, 2, 3] = 0.8, 1 / 900, 1 / 80, 1 / 60, 10.0
    data[0, 1, 2] = 0.5, 0.0, 1 / 70, 1 / 70, 0.0
    for number, shape in enumerate([(1, 3), (3, 1), (3,)]):
        with h5py.File(tmp_path / f"{number}.h5", "w") as f:
            f["sample/data"] = data
            f["sample/resolution"] = np.array([1.0, 2.0, 3.0]).reshape(shape)
            f["sample/offset"] = np.array([0.5, 0.0, -1.0]).reshape(shape)
        c = read_phantom_file(tmp_path / f"{number}.h5")
        assert c.position == pytest.approx(np.array([[1, 0, -2.5], [2, 2, 0.5]]) * 1e-3)
        assert c.t1 == pytest.approx([np.inf, 0.9])
        assert c.t2_prime[1] == pytest.approx(1e-3 / (1 / 60 - 1 / 80))

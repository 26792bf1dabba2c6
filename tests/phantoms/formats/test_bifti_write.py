import copy
import json

import nibabel
import numpy as np
import pytest

from phantoms import (
    Phantom,
    PhantomError,
    PhantomFileError,
    PointCloud,
    cloud_from_phantom,
    read_bifti,
    write_bifti,
)

from ..samples import BIFTI, needs
from ..schema import violations

RNG = np.random.default_rng(5)
SHAPE = (4, 3, 5)
VOXEL = np.diag([2e-3, 3e-3, 4e-3])
ORIGIN = np.array([-3e-3, 5e-3, -7e-3])
# The affine of NIfTI is single precision: 7 mm to 6e-8 of it
SINGLE = 1e-9


def gridded(index, **changes):
    index = np.asarray(index)
    places = np.stack(np.unravel_index(index, SHAPE), axis=-1)
    n = index.size
    values = {
        "name": "grid",
        "position": places @ VOXEL.T + ORIGIN,
        "m0": RNG.random(n) + 0.1,
        "t1": RNG.random(n) + 1,
        "t2": np.append(RNG.random(n - 1) + 0.1, np.inf),
        "voxel": VOXEL,
        "index": index,
        "signal_scale": float(np.linalg.det(VOXEL)),
        "source": {"shape": list(SHAPE)},
        "b0": 1.5,
    }
    return PointCloud(**{**values, **changes})


def equal(a, b, *names):
    for name in names:
        assert np.array_equal(getattr(a, name), getattr(b, name)), name


def test_a_cloud_comes_back_exactly(tmp_path):
    n = 12
    c = gridded(
        np.sort(RNG.permutation(60)[:n]),
        t2_prime=np.append(RNG.random(n - 2), [np.inf, np.inf]),
        df=RNG.normal(size=n) * 100,
        b1=RNG.normal(size=(3, n)) + 1j * RNG.normal(size=(3, n)),
        sensitivity=RNG.normal(size=(2, n)) + 0j,
    )
    assert write_bifti(tmp_path / "g.json", c) == ()
    d = read_bifti(tmp_path / "g.json")
    equal(c, d, "m0", "t1", "t2", "t2_prime", "df", "b1", "sensitivity", "index")
    assert d.position == pytest.approx(c.position, abs=SINGLE)
    assert (d.b0, d.source["shape"]) == (1.5, list(SHAPE))
    assert d.signal_scale == pytest.approx(c.signal_scale, rel=1e-6)
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_numbers_that_are_equal_are_written_as_numbers(tmp_path):
    c = gridded(
        [1, 5, 9], t1=np.full(3, 0.8), t2=np.full(3, 0.07), adc=np.full(3, 1e-9), b1=np.full((1, 3), 0.9)
    )
    write_bifti(tmp_path / "g.json", c)
    header = json.loads((tmp_path / "g.json").read_text())
    (tissue,) = header["tissues"].values()
    assert tissue == {
        "density": "g.nii.gz[0]", "T1": 0.8, "T2": 0.07, "ADC": pytest.approx(1.0), "B1+": [0.9],
    }  # fmt: skip
    assert sorted(p.name for p in tmp_path.iterdir()) == ["g.json", "g.nii.gz"]
    image = nibabel.load(tmp_path / "g.nii.gz")
    assert image.shape == (*SHAPE, 1)  # always four axes
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (2, 0)
    assert image.header.get_xyzt_units()[0] == "mm"
    assert nibabel.aff2axcodes(image.affine) == ("R", "A", "S")
    read = read_bifti(tmp_path / "g.json")
    assert (read.b1 == 0.9).all()


def test_tissues_may_overlap_and_sum(tmp_path):
    c = gridded(
        [3, 7, 7, 8], t1=np.array([1.0, 1.0, 0.3, 0.3]), t2=np.full(4, 0.1), df=np.array([0, 0, -220, -220])
    )
    write_bifti(tmp_path / "g.json", c)
    d = read_bifti(tmp_path / "g.json")
    assert list(d.source["tissues"].values()) == [2, 2]
    equal(c, d, "m0", "t1", "df", "index")


def test_maps_are_turned_into_ras_order(tmp_path):
    flipped = np.diag([-2e-3, 3e-3, 4e-3])
    c = gridded(np.arange(60))
    places = np.stack(np.unravel_index(c.index, SHAPE), axis=-1)
    c = c.replace({"voxel": flipped, "position": places @ flipped.T + ORIGIN})
    write_bifti(tmp_path / "g.json", c)
    assert nibabel.aff2axcodes(nibabel.load(tmp_path / "g.nii.gz").affine) == ("R", "A", "S")
    d = read_bifti(tmp_path / "g.json")
    order = np.lexsort(np.round(d.position, 6).T), np.lexsort(np.round(c.position, 6).T)
    assert d.position[order[0]] == pytest.approx(c.position[order[1]], abs=SINGLE)
    assert np.array_equal(d.m0[order[0]], c.m0[order[1]])


def head(**changes):
    fractions = np.zeros((3, *SHAPE), np.float32)
    fractions[0, 1:3], fractions[1, 3], fractions[2, 0] = 0.6, 1.0, 0.25
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = VOXEL, ORIGIN
    names = {"tissues": ("gm", "fat", "skull"), "fractions": fractions, "affine": affine}
    return Phantom(**{"name": "h", **names, **changes})


def test_density_is_fraction_times_proton_density(tmp_path):
    p = head(truth={"age": 40.0}, scale={"gm": {"t1": 1.1}})
    lost = write_bifti(tmp_path / "h.json", p, b0=7.0)
    assert any("truth block" in line for line in lost)
    assert any("proton density" in line for line in lost)
    assert any("other fields than 7 T" in line for line in lost)
    gm, fat, skull = p.properties(7.0)
    c, whole = read_bifti(tmp_path / "h.json"), cloud_from_phantom(p, 7.0)
    whole = whole.select(whole.m0 > 0)
    equal(c, whole, "index", "t1", "t2", "t2_prime")
    # densities are single precision
    assert c.m0 == pytest.approx(whole.m0, rel=6e-8)
    # chemical shift in Hz at this field: no key of its own, so it is the off-resonance of the tissue
    assert c.df == pytest.approx(whole.df, rel=1e-12)
    assert c.df.min() == pytest.approx(fat.shift_ppm * 1e-6 * 42.577478518e6 * 7.0)
    assert c.adc == pytest.approx(whole.adc, rel=1e-12)
    assert c.b0 == 7.0
    header = json.loads((tmp_path / "h.json").read_text())
    assert header["tissues"]["gm"]["T1"] == gm.t1 == pytest.approx(1.1 * head().properties(7.0)[0].t1)
    assert ("skull" in header["tissues"]) == (skull.pd > 0)


def test_texture_is_part_of_the_density(tmp_path):
    texture = np.ones(SHAPE, np.float32)
    texture[1] = 0.5
    write_bifti(tmp_path / "h.json", head(texture=texture), b0=3.0)
    whole = cloud_from_phantom(head(texture=texture), 3.0)
    assert read_bifti(tmp_path / "h.json").m0 == pytest.approx(whole.m0[whole.m0 > 0], rel=6e-8)


@pytest.mark.parametrize(
    ("source", "arguments", "message"),
    [
        (head(), {}, "b0 must be a positive field strength"),
        (gridded([1, 2], b0=None), {}, "b0 must be a positive field strength"),
        (gridded([1, 2]), {"b0": 3.0}, "b0 must be that of the values, 1.5 T"),
        (
            gridded([1, 2], position=np.array([[0, 0, 0], [0.9e-3, 0, 0]])),
            {},
            "must lie on a grid of their voxels",
        ),
    ],
)
def test_what_cannot_be_written_leaves_nothing(tmp_path, source, arguments, message):
    with pytest.raises(PhantomError, match=message):
        write_bifti(tmp_path / "x.json", source, **arguments)
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_files(tmp_path, monkeypatch):
    write_bifti(tmp_path / "h.json", head(), b0=3.0)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def fail(*_args, **_kwargs):
        raise OSError("disk full")

    monkeypatch.setattr("pathlib.Path.write_text", fail)
    with pytest.raises(OSError, match="disk full"):
        write_bifti(tmp_path / "h.json", head(), b0=7.0)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


CHANGES = [
    lambda h: h.pop("units"),
    lambda h: h.update(comment="x"),
    lambda h: h["units"].update(T1="ms"),
    lambda h: h["system"].update(B0="3"),
    lambda h: h["system"].pop("gyro"),
    lambda h: h["system"].update(field=3),
    lambda h: h.update({"$schema": "bifti-phantom-v2.json"}),
    lambda h: h.update(tissues={}),
    lambda h: h.update(reslice_to={"affine": [[1, 0, 0, 0]] * 2, "resolution": [2, 2, 2]}),
    lambda h: h.update(reslice_to={"affine": np.eye(4)[:3].tolist(), "resolution": [2, 2.5, 2]}),
    lambda h: h.update(reslice_to={"affine": np.eye(4)[:3].tolist(), "resolution": [2, 0, 2]}),
    lambda h: h.update(reslice_to={"affine": np.eye(4)[:3].tolist(), "resolution": [2, 2, 2], "x": 1}),
    lambda h: h["tissues"]["gm"].update(T1="h.nii.gz"),
    lambda h: h["tissues"]["gm"].update(T1=[1.0]),
    lambda h: h["tissues"]["gm"].update(density=1.0),
    lambda h: h["tissues"]["gm"].update(density={"file": "h.nii.gz[0]", "func": "x"}),
    lambda h: h["tissues"]["gm"].pop("density"),
    lambda h: h["tissues"]["gm"].update({"B1+": []}),
    lambda h: h["tissues"]["gm"].update({"B1-": 1.0}),
    lambda h: h["tissues"]["gm"].update(PD=1.0),
    lambda h: h["tissues"]["gm"].update(dB0={"file": "h.nii.gz[0]", "func": "x ** 2"}),
    lambda h: h["tissues"]["gm"].update(dB0={"file": "h.nii.gz[0]", "func": "sin(x)"}),
    lambda h: h["tissues"]["gm"].update(dB0={"file": "h.nii.gz[0]", "func": "x", "more": 1}),
    lambda h: h["tissues"]["gm"].update(dB0={"file": "h.nii.gz[0]"}),
]


@needs(BIFTI)
@pytest.mark.parametrize("change", [None, *CHANGES])
def test_the_official_schema_and_the_reader_agree(tmp_path, change):
    schema = json.loads((BIFTI / "bifti-phantom-v1.schema.json").read_text())
    write_bifti(tmp_path / "h.json", head(), b0=3.0)
    header = json.loads((tmp_path / "h.json").read_text())
    if change is None:
        assert violations(header, schema, schema) == []
        read_bifti(tmp_path / "h.json")
        return
    broken = copy.deepcopy(header)
    change(broken)
    found = violations(broken, schema, schema)
    # "x ** 2" passes the pattern of the schema and no reader's grammar
    assert found or "**" in json.dumps(broken)
    (tmp_path / "h.json").write_text(json.dumps(broken))
    with pytest.raises(PhantomFileError, match=r"h\.json: "):
        read_bifti(tmp_path / "h.json")


@needs(BIFTI)
@pytest.mark.parametrize("name", ["shapes", "shapes_resliced", "subj42-3T"])
def test_demonstration_phantoms_come_back(tmp_path, name):
    a = read_bifti(BIFTI / f"{name}.json")
    write_bifti(tmp_path / f"{name}.json", a)
    b = read_bifti(tmp_path / f"{name}.json")
    equal(a, b, "m0", "t1", "t2", "t2_prime", "df", "adc", "b1", "index")
    assert b.position == pytest.approx(a.position, abs=2e-8)  # 110 mm in single precision
    assert a.source["tissues"] == b.source["tissues"]
    schema = json.loads((BIFTI / "bifti-phantom-v1.schema.json").read_text())
    assert violations(json.loads((tmp_path / f"{name}.json").read_text()), schema, schema) == []


def test_maps_in_other_units_are_refused(tmp_path):
    write_bifti(tmp_path / "h.json", head(), b0=3.0)
    image = nibabel.load(tmp_path / "h.nii.gz")
    image.header.set_xyzt_units("meter")
    data = np.asarray(image.dataobj)
    nibabel.Nifti1Image(data, image.affine, image.header).to_filename(tmp_path / "h.nii.gz")
    with pytest.raises(PhantomFileError, match="must have millimetres"):
        read_bifti(tmp_path / "h.json")

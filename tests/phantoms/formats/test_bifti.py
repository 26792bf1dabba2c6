import json

import nibabel
import numpy as np
import pytest

from phantoms import PhantomFileError, PointCloud, read_bifti, read_phantom_file
from phantoms.formats.bifti import UNITS
from phantoms.formats.expression import ExpressionError, evaluate

from ..samples import BIFTI, MNI, needs

X = np.array([1.0, 2.0, 6.0])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("x - 420", X - 420),
        ("x / x_max", X / 6),
        ("(x - x_mean) / x_std", (X - 3) / X.std()),
        ("x_min", np.full(3, 1.0)),
        ("1.5e-3*x", 1.5e-3 * X),
        (".5 + 1. * -x", 0.5 - X),
        ("2 - 3 - 4 * x / 2 / 2", -1 - X),
        ("--x", X),
        ("-(x+1)*2", -(X + 1) * 2),
        (" x ", X),
    ],
)
def test_expressions(text, value):
    assert np.allclose(evaluate(text, X), value, rtol=1e-15)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "x +",
            "(x",
            "x)",
            "x x",
            "2x",
            "x ** 2",
            "y",
            "x_",
            "xx",
            "x.real",
            "__import__('os')",
            "1e",
            "x,1",
        ),
        *("(" * 60 + "x" + ")" * 60, "-" * 60 + "x", "x+" * 600 + "x"),
    ],
)
def test_what_is_no_expression_is_refused(text):
    with pytest.raises(ExpressionError, match="an expression must"):
        evaluate(text, X)


AFFINE = np.array([[2.0, 0, 0, -3], [0, 3.0, 0, 5], [0, 0, 4.0, -7], [0, 0, 0, 1]])


def save_map(path, data, affine=AFFINE, slope=None):
    image = nibabel.Nifti1Image(data, affine)
    if slope is not None:
        image.header.set_slope_inter(slope, 0)
    image.to_filename(path)


@pytest.fixture
def maps(tmp_path):
    rng = np.random.default_rng(0)
    density = np.zeros((3, 4, 2, 2), np.float32)
    density[1, 2, 1, 0] = 0.75
    density[2, 0, 0] = 0.5, 0.25
    save_map(tmp_path / "d.nii.gz", density)
    save_map(tmp_path / "p.nii.gz", rng.random((3, 4, 2, 3)).astype(np.float32) + 1)
    return tmp_path


def write(folder, tissues, **changes):
    top = {
        "$schema": "https://example.org/bifti-phantom-v1.json",
        "units": UNITS,
        "system": {"gyro": 42.5764, "B0": 1.5},
        "tissues": tissues,
    }
    (folder / "p.json").write_text(json.dumps({k: v for k, v in {**top, **changes}.items() if v is not None}))
    return folder / "p.json"


def test_points_values_and_units(maps):
    p = np.asarray(nibabel.load(maps / "p.nii.gz").dataobj)
    tissues = {
        "a": {"density": "d.nii.gz[0]", "T1": 1.5, "T2": "p.nii.gz[1]", "T2'": 0.03, "ADC": 0.8},
        "b": {
            "density": "d.nii.gz[1]",
            "dB0": {"file": "p.nii.gz[0]", "func": "x - x_max - 440"},
            "B1+": ["p.nii.gz[2]", 0.5],
            "B1-": [2, "p.nii.gz[0]"],
        },
    }
    c = read_phantom_file(write(maps, tissues))
    assert isinstance(c, PointCloud)
    assert c.m0.tolist() == [0.75, 0.5, 0.25]
    assert c.index.tolist() == [np.ravel_multi_index(i, (3, 4, 2)) for i in [(1, 2, 1), (2, 0, 0), (2, 0, 0)]]
    assert np.allclose(c.position[0], [-1e-3, 11e-3, -3e-3], atol=1e-15)
    assert c.t1.tolist() == [1.5, 1.5, np.inf]
    assert c.t2[:2] == pytest.approx([p[1, 2, 1, 1], p[2, 0, 0, 1]])
    assert np.isinf(c.t2[2])
    assert c.t2_prime.tolist() == [0.03, 0.03, np.inf]
    assert c.adc == pytest.approx([0.8e-9, 0.8e-9, 0])
    assert c.df == pytest.approx([0, 0, p[2, 0, 0, 0] - p[..., 0].max() - 440])
    assert np.allclose(c.b1, [[1, 1, p[2, 0, 0, 2]], [1, 1, 0.5]])
    assert np.allclose(c.sensitivity, [[1, 1, 2], [1, 1, p[2, 0, 0, 0]]])
    assert np.allclose(np.diag(c.voxel), [2e-3, 3e-3, 4e-3])
    assert c.signal_scale == pytest.approx(24e-9)
    assert c.b0 == 1.5


def test_slopes_are_honoured(tmp_path):
    save_map(tmp_path / "d.nii.gz", np.full((2, 2, 2, 1), 51, np.uint8), slope=1 / 255)
    c = read_bifti(write(tmp_path, {"a": {"density": "d.nii.gz[0]"}}))
    assert c.m0 == pytest.approx(np.full(8, 0.2), rel=1e-6)  # the slope is single precision


@pytest.mark.parametrize("kind", ["u1", "i1", ">i2", "u2", "i4", "u4", "i8", "u8", "f4", ">f8"])
def test_maps_of_every_number_type_agree(tmp_path, kind):
    data = np.arange(48).reshape(3, 4, 2, 2)
    image = nibabel.Nifti1Image(data.astype(kind), AFFINE, dtype=np.dtype(kind))
    image.header.set_slope_inter(0.5, 2.0)
    image.to_filename(tmp_path / "d.nii")
    c = read_bifti(write(tmp_path, {"a": {"density": "d.nii[1]"}}))
    assert np.array_equal(c.m0, 0.5 * data[..., 1].ravel() + 2.0)


def test_places_follow_sform_then_qform_then_the_voxel_size(tmp_path):
    tissues, data = {"a": {"density": "d.nii[0]"}}, np.ones((3, 4, 2), np.float32)
    turned = np.array([[0, 0, -4.0, 10], [-2, 0, 0, 5], [0, 3, 0, 1], [0, 0, 0, 1]])

    def first_point(sform, qform):
        image = nibabel.Nifti1Image(data, AFFINE)
        image.set_sform(sform, 0 if sform is None else 2)
        image.set_qform(qform, 0 if qform is None else 1)
        image.to_filename(tmp_path / "d.nii")
        return read_bifti(write(tmp_path, tissues))

    c = first_point(turned, AFFINE)
    assert np.allclose(c.voxel, turned[:3, :3] * 1e-3)
    assert np.allclose(c.position[1], (turned[:3, 3] + turned[:3, 2]) * 1e-3)  # the last index is fastest
    assert np.allclose(first_point(None, turned).position, c.position, atol=1e-8)
    # Neither: nibabel centres the volume, with x to the left as Analyze has it.
    assert first_point(None, None).position.mean(axis=0) == pytest.approx(np.zeros(3), abs=1e-9)


def test_second_nifti_headers_and_byte_order_marks(maps):
    plain = read_bifti(write(maps, {"a": {"density": "d.nii.gz[0]"}}))
    image = nibabel.load(maps / "d.nii.gz")
    nibabel.Nifti2Image(np.asarray(image.dataobj), image.affine).to_filename(maps / "d.nii.gz")
    path = write(maps, {"a": {"density": "d.nii.gz[0]"}})
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert np.array_equal(read_phantom_file(path).position, plain.position)


def test_colours_and_endless_numbers_are_refused_by_name(maps):
    colours = np.zeros((3, 4, 2), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.Nifti1Image(colours, AFFINE).to_filename(maps / "c.nii")
    with pytest.raises(PhantomFileError, match=r"density of tissue 'a': .*c\.nii must hold numbers"):
        read_bifti(write(maps, {"a": {"density": "c.nii[0]"}}))
    with pytest.raises(PhantomFileError, match="T1 of tissue 'a' must be a number"):
        read_bifti(write(maps, {"a": {"density": "d.nii.gz[0]", "T1": 10**400}}))
    with pytest.raises(PhantomFileError, match="positive numbers gyro"):
        read_bifti(write(maps, {"a": {"density": "d.nii.gz[0]"}}, system={"gyro": 42.6, "B0": 10**400}))


def test_complex_fields(maps):
    save_map(maps / "c.nii", np.full((3, 4, 2, 1), 0.5 + 0.25j, np.complex64))
    c = read_bifti(write(maps, {"a": {"density": "d.nii.gz[0]", "B1+": ["c.nii[0]"]}}))
    assert np.allclose(c.b1, 0.5 + 0.25j)
    with pytest.raises(PhantomFileError, match=r"T1 of tissue 'a': .* must hold real numbers"):
        read_bifti(write(maps, {"a": {"density": "d.nii.gz[0]", "T1": "c.nii[0]"}}))


def test_reslicing_is_linear_and_zero_outside(tmp_path):
    ramp = np.arange(4.0)[:, None, None, None] * np.ones((1, 3, 2, 1)) + 1
    save_map(tmp_path / "d.nii", ramp.astype(np.float32), np.diag([2.0, 2.0, 2.0, 1.0]))
    target = {"affine": [[1, 0, 0, 0.5], [0, 2, 0, 0], [0, 0, 2, 0]], "resolution": [12, 3, 2]}
    tissue = {"density": "d.nii[0]", "T1": {"file": "d.nii[0]", "func": "x / x_max"}}
    c = read_bifti(write(tmp_path, {"a": tissue}, reslice_to=target))
    row = c.select((c.index % 6) == 0)
    assert row.position[:, 0] == pytest.approx(np.arange(0.5, 8, 1) * 1e-3)
    # slope 1/2 per mm up to the last centre at 6 mm, then down to 0 at 8 mm; the property stays at its border
    assert row.m0 == pytest.approx([1.25, 1.75, 2.25, 2.75, 3.25, 3.75, 3.0, 1.0])
    assert row.t1 * 4 == pytest.approx([1.25, 1.75, 2.25, 2.75, 3.25, 3.75, 4.0, 4.0])
    assert c.signal_scale == pytest.approx(4e-9)


def test_a_map_on_another_grid_needs_reslicing(maps):
    save_map(maps / "q.nii.gz", np.ones((3, 4, 3, 1), np.float32))
    with pytest.raises(PhantomFileError, match=r"must lie on the grid of the first map.*Add 'reslice_to'"):
        read_bifti(write(maps, {"a": {"density": "d.nii.gz[0]", "T1": "q.nii.gz[0]"}}))


D = {"density": "d.nii.gz[0]"}


@pytest.mark.parametrize(
    ("tissues", "changes", "message"),
    [
        ({}, {}, "'tissues' must be an object of 1"),
        ({"a": {"T1": 1.0}}, {}, "tissue 'a' must be an object with 'density'"),
        ({"a": {**D, "T3": 1.0}}, {}, "tissue 'a' must be an object with 'density'"),
        ({"a": {"density": 1.0}}, {}, "density of tissue 'a' must be a map"),
        ({"a": {"density": "d.nii.gz"}}, {}, "a map must be written"),
        ({"a": {"density": "d.nii.gz[2]"}}, {}, "must have the volume 2; it has 2"),
        ({"a": {"density": "../d.nii.gz[0]"}}, {}, "maps must lie beside the phantom file"),
        ({"a": {"density": "/etc/d.nii.gz[0]"}}, {}, "maps must lie beside the phantom file"),
        ({"a": {"density": "p.json.nii[0]"}}, {}, "the map 'p.json.nii' must exist"),
        ({"a": {**D, "T1": True}}, {}, "T1 of tissue 'a' must be a number"),
        ({"a": {**D, "T1": 0.0}}, {}, "t1 must be positive seconds"),
        ({"a": {**D, "T1": {"file": "p.nii.gz[0]", "func": "0 / (x - x)"}}}, {}, "T1 of tissue 'a' .*NaN"),
        ({"a": {**D, "T1": {"file": "p.nii.gz[0]", "func": "exec(x)"}}}, {}, "func must be arithmetic"),
        ({"a": {**D, "B1+": 1.0}}, {}, r"B1\+ of tissue 'a' must be a list"),
        ({"a": {**D, "B1+": [1, 1]}, "b": {**D, "B1+": [1, 1, 1]}}, {}, "must have 1 or 3 channels"),
        ({"a": D}, {"units": {**UNITS, "T1": "ms"}}, "'units' must be exactly"),
        ({"a": D}, {"system": {"gyro": 42.5, "B0": 0}}, "'system' must hold the positive numbers"),
        ({"a": D}, {"extra": 1}, "must have the keys"),
        ({"a": D}, {"$schema": "https://example.org/bifti-phantom-v2"}, "must have the keys"),
        ({"a": D}, {"reslice_to": {"affine": [[1, 0, 0, 0]] * 3, "resolution": [2, 2, 2]}}, "invertible"),
        ({"a": D}, {"reslice_to": {"resolution": [2, 2, 2]}}, "'reslice_to' must hold affine"),
        ({"a": D}, {"reslice_to": {"affine": np.eye(4)[:3].tolist(), "resolution": [10**4] * 3}}, "at most"),
    ],
)
def test_bad_phantoms_are_refused(maps, tissues, changes, message):
    with pytest.raises(PhantomFileError, match=rf"p\.json: .*{message}"):
        read_bifti(write(maps, tissues, **changes))


def test_damaged_maps_are_named(maps):
    whole = (maps / "d.nii.gz").read_bytes()
    for content in (whole[: len(whole) // 2], b"no nifti at all"):
        (maps / "d.nii.gz").write_bytes(content)
        with pytest.raises(PhantomFileError, match=r"density of tissue 'a': .*d\.nii\.gz must be a"):
            read_bifti(write(maps, {"a": D}))
    save_map(maps / "d.nii.gz", np.full((2, 2, 2, 1), np.nan, np.float32))
    with pytest.raises(PhantomFileError, match=r"density of tissue 'a' must be finite"):
        read_bifti(write(maps, {"a": D}))
    save_map(maps / "d.nii.gz", np.zeros((2, 2, 2, 1), np.float32))
    with pytest.raises(PhantomFileError, match="at least one voxel"):
        read_bifti(write(maps, {"a": D}))


def test_infinity_is_no_json(maps):
    path = write(maps, {"a": {**D, "T1": np.inf}})
    with pytest.raises(PhantomFileError, match="leave the entry out for infinity"):
        read_bifti(path)
    path.write_text("{")
    with pytest.raises(PhantomFileError, match="must be JSON text"):
        read_bifti(path)
    with pytest.raises(FileNotFoundError):
        read_bifti(maps / "none.json")


@needs(BIFTI)
def test_demonstration_phantoms():
    c = read_bifti(BIFTI / "shapes.json")
    assert c.b1.shape == (2, c.size)
    assert c.source["tissues"].keys() == {"disk", "ring", "background"}
    r = read_bifti(BIFTI / "shapes_resliced.json")
    assert r.source["shape"] == [60, 48, 4]
    # the same object: its mass changes by what the border of a coarse grid loses in interpolation
    assert r.m0.sum() * r.signal_scale == pytest.approx(c.m0.sum() * c.signal_scale, rel=0.01)
    s = read_bifti(BIFTI / "subj42-3T.json")
    assert s.b1.shape == (8, s.size)
    assert s.source["shape"] == [100, 100, 1]
    assert s.sensitivity is None
    with pytest.raises(
        PhantomFileError, match=r"subj04\.json: density of tissue 'gm': the map 'subj04\.nii\.gz'"
    ):
        read_bifti(BIFTI / "subj04.json")


@needs(MNI)
def test_template_fills_its_mask():
    c = read_bifti(MNI / "mni2009a2mm-3T.json")
    # 1886.5 mL inside the template's mask; uint8 fractions round by up to 1/510 of each voxel
    assert c.m0.sum() * c.signal_scale * 1e6 == pytest.approx(1886.5, rel=1e-3)
    assert c.t1[c.m0 > 0.9].min() == pytest.approx(0.838)

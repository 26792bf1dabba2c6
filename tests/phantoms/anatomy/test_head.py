from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy import ndimage

from phantoms import PhantomError, colin27_head, icbm152_head
from phantoms.anatomy.head import COLIN_FILE, HEAD_FILE, REGION_TISSUES
from phantoms.anatomy.head_file import pack, read_head_file, write_head_file

SHARED = Path(__file__).parents[3].parent / "shared"
HEADS = {"icbm152": icbm152_head, "colin27": colin27_head}
FILES = {"icbm152": HEAD_FILE, "colin27": COLIN_FILE}
both = pytest.mark.parametrize("name", HEADS)
FINE = 1.5e-3
SCALE = {"icbm152": 0.9025e-3, "colin27": 0.9109e-3}
"""Head metres per MNI millimetre, from the intracranial volumes."""


@pytest.fixture(scope="module", params=HEADS)
def head(request):
    """Each head at 1.5 mm, once for all tests that look at places."""
    return HEADS[request.param](FINE)


# A mean adult of 30 years, women and men averaged: what the builds were asked for [mL].
PAINTED = {
    "cerebellum_wm": 28, "thalamus": 16.3, "caudate": 8.0, "putamen": 10.6, "pallidum": 3.9,
    "hippocampus": 9.2, "amygdala": 3.9, "accumbens": 1.0, "red_nucleus": 0.56, "substantia_nigra": 1.0,
    "dentate": 1.8,
}  # fmt: skip
# Means of large adult cohorts, both sides [mL]; a normal adult lies within 35 % (about 3 SD).
PUBLISHED = {
    "caudate": 7.2, "putamen": 9.9, "pallidum": 3.4, "hippocampus": 7.7, "amygdala": 3.2, "accumbens": 1.0,
}  # fmt: skip


def centroid(p, name):
    f = p.fraction(name).astype(float)
    index = [(f * i).sum() / f.sum() for i in np.indices(p.shape, sparse=True)]
    return (p.affine[:3] @ [*index, 1.0])[:3]


@both
def test_painted_volumes_are_those_of_a_mean_adult(name, small_heads):
    truth = small_heads[name].truth
    for region, want in PAINTED.items():
        # The file holds steps of 1/255; rounding moves the small nuclei by less than 0.5 %.
        assert truth["volumes_ml"][region] == pytest.approx(want, rel=5e-3), region
    assert truth["icv_ml"] == pytest.approx(1525, rel=1e-3)
    for region, mean in PUBLISHED.items():
        assert 0.65 < truth["volumes_ml"][region] / mean < 1.35, region


@both
def test_segmented_volumes_are_plausible(name, small_heads):
    v = small_heads[name].truth["volumes_ml"]
    assert 10 < v["ventricles"] < 35
    assert 18 < v["brainstem"] < 30
    assert 95 < v["cerebellum_gm"] < 130
    # Intracranial vessels: a few millilitres of arteries, sinuses about 10 mL.
    assert 1.5 < v["arteries"] < 6
    assert 5 < v["veins"] < 20
    grey = sum(v[r] for r in ("cortical_gm", "cerebellum_gm", *PAINTED)) - v["cerebellum_wm"]
    white = v["cerebral_wm"] + v["cerebellum_wm"] + v["brainstem"]
    # Grey over white matter of adults is 1.1 to 1.7, fluid a tenth to a quarter of the intracranial volume.
    assert 1.1 < grey / white < 1.7
    assert 0.1 < (v["sulcal_csf"] + v["ventricles"]) / 1525 < 0.26


def test_the_average_head_meets_the_volumes_it_was_sharpened_to(small_heads):
    v = small_heads["icbm152"].truth["volumes_ml"]
    assert v["cortical_gm"] == pytest.approx(537, rel=1e-3)
    assert v["cerebral_wm"] == pytest.approx(476, rel=1e-3)


def test_nuclei_lie_where_they_belong(head):
    """Centres of the right-side nuclei in MNI mm, within 5 mm of stereotactic positions."""
    p = head
    x = p.affine[0, 3] + p.affine[0, 0] * np.arange(p.shape[0])
    scale = SCALE[p.name]  # head mm per MNI mm
    places = {
        "thalamus": (11, -19, 7), "caudate": (12, 12, 10), "putamen": (26, 2, 0), "pallidum": (20, -4, -1),
        "hippocampus": (27, -22, -14), "amygdala": (23, -4, -19), "accumbens": (10, 11, -7),
        "red_nucleus": (5, -20, -9), "substantia_nigra": (10, -17, -12), "dentate": (15, -57, -34),
    }  # fmt: skip
    for nucleus, place in places.items():
        f = p.fraction(nucleus) * (x > 0)[:, None, None]
        index = [(f * i).sum(dtype=float) / f.sum(dtype=float) for i in np.indices(p.shape, sparse=True)]
        at = (p.affine[:3] @ [*index, 1.0])[:3] / scale
        assert np.abs(at - place).max() < 5.0, (nucleus, at)


def test_one_brain_is_symmetric_the_other_is_not(head):
    p = head
    n = p.shape[0]
    assert p.affine[0, 3] == pytest.approx(-0.5 * (n - 1) * p.affine[0, 0])  # the grid is centred
    f = p.fraction("gm")
    asymmetry = float(np.abs(f - f[::-1]).sum(dtype=float) / (2.0 * f.sum(dtype=float)))
    print(f"{p.name}: share of the cortex without a mirror image {asymmetry:.3f}")
    # Courses of arteries may break a tie differently on the two sides.
    assert asymmetry < 0.01 if p.name == "icbm152" else asymmetry > 0.2


def test_the_skull_has_no_hole(head):
    """Above the base no brain or fluid touches fat, muscle, skin or air."""
    p = head
    inner = p.fraction(*REGION_TISSUES.values()) > 0.5
    bone = p.fraction("skull", "marrow") > 0.3
    z = p.affine[2, 3] + p.affine[2, 2] * np.arange(p.shape[2])
    near = ndimage.binary_dilation(inner) & ~inner & ~bone
    soft = p.fraction("fat", "muscle", "skin") + (1.0 - p.fractions.sum(axis=0))
    assert not (near & (soft > 0.6))[:, :, z > -0.03].any()


def test_no_grey_rim_lines_the_lateral_ventricles(head):
    """Beyond the ventricles there is white matter or a nucleus, hardly cortex."""
    p = head
    z = p.affine[2, 3] + p.affine[2, 2] * np.arange(p.shape[2])
    x = p.affine[0, 3] + p.affine[0, 0] * np.arange(p.shape[0])
    body = (p.fraction("ventricular_csf") > 0.5) & (np.abs(z - 0.02) < 8e-3)
    rim = ndimage.binary_dilation(body, iterations=1) & ~body & (np.abs(x) > 6e-3)[:, None, None]
    cortex = p.fraction("gm")[rim].mean(dtype=float)
    print(f"{p.name}: mean cortex within 1.5 mm of the lateral ventricles {cortex:.3f}")
    assert cortex < 0.08


@pytest.mark.parametrize(("name", "size"), [("colin27", (2.7e-3, 3.1e-3, 3.9e-3)), ("icbm152", 7.3e-3)])
def test_any_voxel_size_keeps_every_volume(name, size):
    coarse = HEADS[name](size)
    assert coarse.voxel_size == pytest.approx(np.broadcast_to(size, 3).tolist())
    file = read_head_file(FILES[name])
    unit = np.linalg.det(file.affine[:3, :3])
    volumes = coarse.volumes()
    for tissue, (_, codes) in zip(file.tissues, file.parts, strict=True):
        # Area averaging is exact; sums of float32 fractions leave 1e-5.
        want = codes.sum(dtype=np.int64) / file.levels * unit
        assert volumes[tissue] == pytest.approx(want, rel=2e-5), tissue


def test_averaging_keeps_the_position():
    # First moments agree between grids: no half-voxel shift.
    a, b = icbm152_head((2.7e-3, 3.1e-3, 3.9e-3)), icbm152_head(2e-3)
    for name in ("thalamus", "skin", "wm"):
        # Averaging keeps first moments exactly on matching cells, to 1 % of a voxel at partial edges.
        assert centroid(a, name) == pytest.approx(centroid(b, name), abs=3e-5)


@both
def test_fractions_and_labels(name, small_heads):
    p = small_heads[name]
    total = p.fractions.sum(axis=0)
    assert p.fractions.min() >= 0
    assert total.max() <= 1 + 1e-5
    assert total[:, :, -1].max() < 0.1  # air above the head
    found = {p.regions[k] for k in np.unique(p.labels) if k}
    # A vessel or the nigra may fill no 3 mm voxel by more than half.
    assert set(p.regions.values()) - found <= {"arteries", "accumbens_left", "accumbens_right", "veins"}
    label = {v: k for k, v in p.regions.items()}
    x = p.affine[0, 3] + p.affine[0, 0] * np.arange(p.shape[0])
    where = np.nonzero(p.labels == label["hippocampus_left"])[0]
    assert (x[where] < 0).all()  # left is negative x in RAS+
    brain = p.brain_mask().sum() * p.voxel_volume * 1e6
    assert 1050 < brain < 1350  # adult brain with ventricles, mL


def test_every_voxel_inside_the_skull_is_full(head):
    p = head
    inside = ndimage.binary_erosion(p.fraction(*REGION_TISSUES.values()) > 0.99)
    assert np.abs(p.fractions.sum(axis=0)[inside] - 1.0).max() < 1e-5


def test_surfaces_are_in_anatomical_order(head):
    p = head
    o = np.rint(np.linalg.inv(p.affine) @ [0, 0, 0, 1])[:3].astype(int)
    column = p.fractions[:, o[0] + 20, o[1], o[2] :]
    depth = [
        int(np.argmax(column[p.tissues.index(n)][::-1] > 0.3)) for n in ("skin", "fat", "skull", "csf", "gm")
    ]
    assert depth == sorted(depth)
    assert len(set(depth)) == len(depth)
    # Scalp-to-brain distance over the calvarium: 12-21 mm in two full-head templates; linear scale 0.9.
    assert 10 < (depth[4] - depth[0]) * 1.5 < 21


def test_sinuses_hold_air_inside_the_head(head):
    """Nasal cavity of the synthetic head, sphenoid sinus of the real one."""
    p = head
    place = {"icbm152": (0, 48, -52), "colin27": (0, 14, -40)}[p.name]
    at = SCALE[p.name] * np.array(place)
    i = np.rint(np.linalg.inv(p.affine) @ [*at, 1])[:3].astype(int)
    assert p.fractions[:, i[0], i[1], i[2]].sum() < 0.1


def test_the_notice_travels(small_heads):
    text = HEAD_FILE.with_name("NOTICE-MNI.txt").read_text()
    for part in (
        "Copyright (C) 1993-2004 Louis Collins",
        "Copyright (C) 1993-2009 Louis Collins",
        "Permission to use, copy, modify, and distribute",
    ):
        assert part in text
    notice = (Path(__file__).parents[3] / "NOTICE").read_text()
    for name, path in FILES.items():
        with h5py.File(path) as f:
            assert f.attrs["notice"] == text
        p = small_heads[name]
        assert p.truth["notice"] == text
        assert p.provenance["notice"] == text
        assert path.name in notice
    assert sum(path.stat().st_size for path in FILES.values()) < 8e6


def test_packing_loses_nothing(tmp_path):
    rng = np.random.default_rng(5)
    draws = rng.multinomial(100, (0.2, 0.5, 0.2, 0.1), size=(5, 6, 7)).astype(np.uint8)
    draws[0] = (100, 0, 0, 0)  # one tissue only
    draws[1] = (0, 40, 0, 0)  # partly air
    codes = {n: np.ascontiguousarray(draws[..., k]) for k, n in enumerate("abcd")}
    labels, amounts = pack(codes, 100)
    assert len(labels) == len(amounts) == 4
    write_head_file(tmp_path / "h.h5", codes, affine=np.eye(4), levels=100, notice="n", origin="o")
    back = read_head_file(tmp_path / "h.h5")
    assert (back.notice, back.origin, back.levels, back.shape) == ("n", "o", 100, (5, 6, 7))
    for name, (box, data) in zip(back.tissues, back.parts, strict=True):
        full = np.zeros(back.shape, np.uint8)
        full[box] = data
        assert np.array_equal(full, codes[name]), name


def test_shared_arrays_cannot_be_changed():
    p = icbm152_head(3e-3)
    assert icbm152_head(3e-3) is p
    with pytest.raises(ValueError, match="read-only"):
        p.fractions[0, 0, 0, 0] = 1.0


@pytest.mark.parametrize("size", [0.0, -1e-3, 1.0, float("nan")])
def test_bad_voxel_sizes_are_refused(size):
    with pytest.raises(PhantomError, match="voxel_size must be in metres"):
        icbm152_head(size)


def assert_same(path, made):
    file = read_head_file(path)
    for name, (_, codes) in zip(file.tissues, file.parts, strict=True):
        # Library versions may move a rounding; the volume may not.
        assert made[name].sum(dtype=np.int64) == pytest.approx(codes.sum(dtype=np.int64), rel=1e-4), name


@pytest.mark.slow
def test_the_build_reproduces_the_average_head():
    source = SHARED / "reference" / "data" / "anatomy"
    if not source.is_dir():
        pytest.skip("the ICBM 152 source maps are not at ../shared")
    from phantoms.anatomy._build_head import quantise
    from phantoms.anatomy.build_icbm152 import build, load_template

    parts, scale = build(load_template(source))
    assert read_head_file(HEAD_FILE).affine[0, 0] == pytest.approx(scale * 1e-3, rel=1e-9)
    assert_same(HEAD_FILE, quantise(parts))


@pytest.mark.slow
def test_the_build_reproduces_colin27():
    source = SHARED / "reference" / "data" / "anatomy"
    if not source.is_dir():
        pytest.skip("Colin27 and the ICBM 152 maps are not at ../shared")
    from phantoms.anatomy._build_head import quantise
    from phantoms.anatomy.build_colin27 import build, load

    parts, scale = build(*load(source / "ch2.nii.gz", source))
    assert read_head_file(COLIN_FILE).affine[0, 0] == pytest.approx(scale * 1e-3, rel=1e-9)
    assert_same(COLIN_FILE, quantise(parts))


def test_regions_cover_the_brain(small_heads):
    p = small_heads["icbm152"]
    assert set(REGION_TISSUES.values()) <= set(p.tissues)
    assert sum(p.truth["volumes_ml"][r] for r in REGION_TISSUES) == pytest.approx(p.truth["icv_ml"])

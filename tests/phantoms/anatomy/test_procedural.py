import numpy as np
import pytest
from scipy import ndimage

from phantoms import PhantomError, procedural_head
from phantoms.anatomy.head import REGION_TISSUES
from phantoms.anatomy.procedural import THICKNESS

SIZE = 3e-3


@pytest.fixture(scope="module")
def head():
    return procedural_head(SIZE, seed=3)


def test_it_has_what_the_packaged_heads_have(head, small_heads):
    assert head.tissues == small_heads["icbm152"].tissues
    assert head.regions == small_heads["icbm152"].regions
    assert head.provenance["licence"] == "none needed"
    assert all(v > 0 for v in head.volumes().values())


def test_fractions_are_shares(head):
    total = head.fractions.sum(axis=0)
    assert head.fractions.min() >= 0.0
    assert total.max() <= 1.0 + 1e-5
    inside = ndimage.binary_erosion(head.fraction(*REGION_TISSUES.values()) > 0.99)
    assert np.abs(total[inside] - 1.0).max() < 1e-5


def test_volumes_are_plausible(head):
    v = head.truth["volumes_ml"]
    # Adults: intracranial 1.2 to 1.8 L, nuclei as in the packaged heads within 40 %.
    assert 1200 < head.truth["icv_ml"] < 1800
    grey, white = v["cortical_gm"] + v["cerebellum_gm"], v["cerebral_wm"] + v["cerebellum_wm"]
    assert 400 < grey < 800
    assert 350 < white < 650
    for region, want in {"thalamus": 16.3, "caudate": 8.0, "putamen": 10.6, "hippocampus": 9.2}.items():
        assert v[region] == pytest.approx(want, rel=0.4), region
    assert 8 < v["ventricles"] < 30


def test_the_seed_makes_the_folds():
    same, other = (procedural_head(6e-3, seed=s) for s in (0, 1))
    assert np.array_equal(same.fractions, procedural_head(6e-3, seed=0).fractions)
    moved = np.abs(same.fraction("gm") - other.fraction("gm")).sum() / same.fraction("gm").sum()
    assert moved > 0.3
    assert np.array_equal(same.fraction("thalamus"), other.fraction("thalamus"))


def test_folding_adds_cortex_of_the_same_thickness(head):
    """The volume of the ribbon over its thickness is its area; a smooth brain has less than half of it."""
    flat = procedural_head(SIZE, seed=3, folding=0.0)
    area = [p.truth["volumes_ml"]["cortical_gm"] / THICKNESS * 10 for p in (flat, head)]
    print(f"cortical area {area[0]:.0f} cm2 smooth, {area[1]:.0f} cm2 folded")
    # Adults: 1600 to 2100 cm2 of cortex, about two thirds of it in sulci.
    assert 1400 < area[1] < 2200
    assert area[1] > 1.6 * area[0]
    # On the smooth brain a vertical cut through the crown integrates to the thickness over the cosine of the
    # hull's slope, 30 mm off the midline 28 degrees.
    o = np.rint(np.linalg.solve(flat.affine, [0.03, 0.0, 0.0, 1.0]))[:3].astype(int)
    z = flat.affine[2, 3] + flat.affine[2, 2] * np.arange(flat.shape[2])
    crown = flat.fraction("gm")[o[0], o[1], z > 0.045].sum(dtype=float) * SIZE * 1e3
    assert crown == pytest.approx(THICKNESS / 0.88, rel=0.1)


def test_the_skull_has_no_hole(head):
    inner = head.fraction(*REGION_TISSUES.values()) > 0.5
    bone = head.fraction("skull", "marrow") > 0.3
    z = head.affine[2, 3] + head.affine[2, 2] * np.arange(head.shape[2])
    near = ndimage.binary_dilation(inner) & ~inner & ~bone
    soft = head.fraction("fat", "muscle", "skin") + (1.0 - head.fractions.sum(axis=0))
    assert not (near & (soft > 0.7))[:, :, z > 0.0].any()


@pytest.mark.parametrize(
    ("options", "word"),
    [({"voxel_size": 2.0}, "metres"), ({"folding": 3.0}, "folding must be 0 to 1.5")],
)
def test_wrong_requests_are_explained(options, word):
    with pytest.raises(PhantomError, match=word):
        procedural_head(**options)

from pathlib import Path

import h5py
import numpy as np
import pytest

from phantoms import PhantomError, icbm152_head
from phantoms.head import HEAD_FILE, REGION_TISSUES

SHARED = Path(__file__).parents[2].parent / "shared"
# A mean adult of 30 years, women and men averaged: what the build was asked for [mL].
EXPECTED = {
    "cortical_gm": 537, "cerebral_wm": 476, "cerebellum_wm": 28, "thalamus": 16.3, "caudate": 8.0,
    "putamen": 10.6, "pallidum": 3.9, "hippocampus": 9.2, "amygdala": 3.9,
}  # fmt: skip


def test_volumes_are_those_of_a_mean_adult():
    truth = icbm152_head(3e-3).truth
    for region, want in EXPECTED.items():
        # The file holds steps of 1/255; rounding moves a volume by less than 0.1 %.
        assert truth["volumes_ml"][region] == pytest.approx(want, rel=1e-3), region
    assert truth["icv_ml"] == pytest.approx(1525, rel=1e-3)
    # Template's own: inside published adult ranges.
    assert 10 < truth["volumes_ml"]["ventricles"] < 25
    assert 18 < truth["volumes_ml"]["brainstem"] < 30


@pytest.mark.parametrize("size", [3e-3, (2.7e-3, 3.1e-3, 3.9e-3), 7.3e-3])
def test_any_voxel_size_keeps_every_volume(size):
    coarse = icbm152_head(size)
    assert coarse.voxel_size == pytest.approx(np.broadcast_to(size, 3).tolist())
    with h5py.File(HEAD_FILE) as f:
        unit = np.linalg.det(f.attrs["affine"][:3, :3])
        for name, volume in coarse.volumes().items():
            # Area averaging is exact; sums of float32 fractions leave 1e-5.
            assert volume == pytest.approx(f[name][()].sum(dtype=np.int64) / 255 * unit, rel=2e-5), name


def test_averaging_keeps_the_position():
    # First moments agree between grids: no half-voxel shift.
    def centroid(p, name):
        f = p.fraction(name).astype(float)
        index = [(f * i).sum() / f.sum() for i in np.indices(p.shape, sparse=True)]
        return p.affine[:3] @ [*index, 1.0]

    a, b = icbm152_head((2.7e-3, 3.1e-3, 3.9e-3)), icbm152_head(2e-3)
    for name in ("thalamus", "skin", "wm"):
        # Averaging keeps first moments exactly on matching cells, to 1 % of a voxel at partial edges.
        assert centroid(a, name) == pytest.approx(centroid(b, name), abs=3e-5)


def test_fractions_and_labels():
    p = icbm152_head(3e-3)
    total = p.fractions.sum(axis=0)
    assert p.fractions.min() >= 0
    assert total.max() <= 1 + 1e-5
    assert total[:, :, -1].max() < 0.01  # air above the head
    assert set(np.unique(p.labels)) == {0, *p.regions}
    names = {
        "hippocampus_left",
        "thalamus_right",
        "cortical_gm",
        "cerebral_wm",
        "ventricles",
        "cerebellum_gm",
    }
    assert names <= set(p.regions.values())
    label = {v: k for k, v in p.regions.items()}
    x = p.affine[0, 3] + p.affine[0, 0] * np.arange(p.shape[0])
    where = np.nonzero(p.labels == label["hippocampus_left"])[0]
    assert (x[where] < 0).all()  # left is negative x in RAS+
    brain = p.brain_mask().sum() * p.voxel_volume * 1e6
    assert 1050 < brain < 1350  # adult brain with ventricles, mL


def test_surfaces_are_in_anatomical_order():
    p = icbm152_head(1.4e-3)
    o = np.rint(np.linalg.inv(p.affine) @ [0, 0, 0, 1])[:3].astype(int)
    column = p.fractions[:, o[0] + 20, o[1], o[2] :]
    depth = [
        int(np.argmax(column[p.tissues.index(n)][::-1] > 0.3)) for n in ("skin", "fat", "skull", "csf", "gm")
    ]
    assert depth == sorted(depth)
    assert len(set(depth)) == len(depth)
    # Scalp-to-brain distance over the calvarium: 12-21 mm in two full-head templates; linear scale 0.9.
    assert 10 < (depth[4] - depth[0]) * 1.4 < 21


def test_sinuses_hold_air_inside_the_head():
    p = icbm152_head(2e-3)
    i = np.rint(np.linalg.inv(p.affine) @ [0, 0.048 * 0.9, -0.052 * 0.9, 1])[:3].astype(int)
    assert p.fractions[:, i[0], i[1], i[2]].sum() < 0.05


def test_the_notice_travels():
    text = HEAD_FILE.with_name("NOTICE-MNI.txt").read_text()
    for part in ("Copyright (C) 1993-2004 Louis Collins", "Permission to use, copy, modify, and distribute"):
        assert part in text
    with h5py.File(HEAD_FILE) as f:
        assert f.attrs["notice"] == text
    assert icbm152_head(3e-3).truth["notice"] == text
    assert "icbm152_head.h5" in (Path(__file__).parents[2] / "NOTICE").read_text()
    assert HEAD_FILE.stat().st_size < 8e6


def test_shared_arrays_cannot_be_changed():
    p = icbm152_head(3e-3)
    assert icbm152_head(3e-3) is p
    with pytest.raises(ValueError, match="read-only"):
        p.fractions[0, 0, 0, 0] = 1.0


@pytest.mark.parametrize("size", [0.0, -1e-3, 1.0, float("nan")])
def test_bad_voxel_sizes_are_refused(size):
    with pytest.raises(PhantomError, match="voxel_size must be in metres"):
        icbm152_head(size)


@pytest.mark.slow
def test_the_build_reproduces_the_file():
    source = SHARED / "reference" / "data" / "anatomy"
    if not source.is_dir():
        pytest.skip("the ICBM 152 source maps are not beside the repository")
    from phantoms.build_icbm152 import build, load_template, quantise

    parts, scale = build(load_template(source))
    made = quantise(parts)
    with h5py.File(HEAD_FILE) as f:
        assert f.attrs["affine"][0, 0] == pytest.approx(scale * 1e-3, rel=1e-9)
        for name, values in made.items():
            # Library versions may move a rounding; the volume may not.
            assert values.sum(dtype=np.int64) == pytest.approx(f[name][()].sum(dtype=np.int64), rel=1e-4)


def test_regions_cover_the_brain():
    p = icbm152_head(3e-3)
    assert set(REGION_TISSUES.values()) <= set(p.tissues)
    assert sum(p.truth["volumes_ml"][r] for r in REGION_TISSUES) == pytest.approx(p.truth["icv_ml"])

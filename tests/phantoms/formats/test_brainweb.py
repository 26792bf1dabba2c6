import gzip
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from phantoms import PhantomFileError, brainweb_tissues, read_brainweb, read_phantom_file

SMALL = (5, 4, 3)
RNG = np.random.default_rng(1)
MINC = Path(nibabel.__file__).parent / "tests" / "data"


def raw(path, volume, kind="u1"):
    """Write (x, y, z) with x fastest."""
    data = np.asarray(volume).astype(kind).transpose(2, 1, 0).tobytes()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return path


def test_a_discrete_volume_at_its_full_size(tmp_path):
    labels = np.zeros((181, 217, 181), np.uint8)
    labels[90, 126, 72] = 2
    labels[91:95, 126, 72] = 3
    labels[10, 20, 30:33] = 7
    p = read_phantom_file(raw(tmp_path / "phantom_1.0mm_normal_crisp.rawb", labels))
    assert p.tissues == ("gm", "wm", "skull")
    assert p.shape == (181, 217, 181)
    assert np.argwhere(p.fraction("gm")).tolist() == [[90, 126, 72]]
    assert p.fraction("wm").sum() == 4
    # the first voxel is at -90, -126, -72 mm: label 2 sits at the origin
    assert p.affine @ [90, 126, 72, 1] == pytest.approx([0, 0, 0, 1], abs=1e-12)
    assert "no grant to redistribute" in p.provenance["licence"]
    assert p.properties(1.5)[0].t1 == pytest.approx(0.833)
    assert p.properties(3.0)[2].pd == 0


@pytest.mark.parametrize("scale", [1, 4095 / 9, 4095 / 10, 4095 / 255])
def test_shorts_may_be_scaled(tmp_path, scale):
    labels = RNG.integers(0, 9, SMALL)
    labels[0, 0, :] = 9, 8, 7  # enough to know the scale
    path = raw(tmp_path / "phantom_1.0mm_normal_crisp.raws", np.rint(labels * scale), "<u2")
    p = read_brainweb(path, shape=SMALL)
    back = np.zeros(SMALL, int)
    names = ("", "csf", "gm", "wm", "fat", "muscle_skin", "skin", "skull", "glial", "connective")
    for name, f in zip(p.tissues, p.fractions, strict=True):
        back[f > 0] = names.index(name)
    assert np.array_equal(back, labels)


@pytest.mark.parametrize("offset", [0, 128])
@pytest.mark.parametrize("suffix", [".rawb", ".rawb.gz"])
def test_fuzzy_bytes_with_and_without_offset(tmp_path, offset, suffix):
    volumes = {k: np.zeros(SMALL, int) for k in ("csf", "gry", "wht")}
    volumes["gry"][2, 1, 1], volumes["wht"][2, 1, 1], volumes["csf"][1, 2, 1] = 200, 55, 255
    for key, volume in volumes.items():
        raw(tmp_path / f"subject04_{key}{suffix}", (volume + offset) % 256)
    raw(tmp_path / f"subject04_bck{suffix}", (255 + offset) % 256 * np.ones(SMALL))
    p = read_brainweb(tmp_path / f"subject04_gry{suffix}", shape=SMALL)
    assert sorted(p.tissues) == ["csf", "gm", "wm"]
    assert p.fraction("gm")[2, 1, 1] == pytest.approx(200 / 255)
    assert p.fraction("wm")[2, 1, 1] == pytest.approx(55 / 255)
    assert p.fraction("csf")[1, 2, 1] == 1
    assert p.fractions.sum() == pytest.approx(2)
    assert read_brainweb(tmp_path, shape=SMALL).tissues == p.tissues


def test_vessels_have_one_for_air(tmp_path):
    volume = np.ones(SMALL, int)
    volume[2, 2, 1] = 101
    raw(tmp_path / "subject05_ves.rawb", (volume + 128) % 256)
    p = read_brainweb(tmp_path / "subject05_ves.rawb", shape=SMALL)
    assert p.fraction("vessels").sum() == pytest.approx(101 / 255)


def test_fractions_above_one_in_sum_are_divided(tmp_path):
    both = np.zeros(SMALL, int)
    both[2, 1, 1] = 255
    for key in ("gry", "wht"):
        raw(tmp_path / f"s_{key}.rawb", both)
    p = read_brainweb(tmp_path / "s_gry.rawb", shape=SMALL)
    assert p.fractions[:, 2, 1, 1].tolist() == [0.5, 0.5]


def test_coarser_voxels_are_means_and_stay_in_place(tmp_path):
    labels = np.zeros((4, 4, 4), int)
    labels[2:, 2, 2] = 2
    path = raw(tmp_path / "a_crisp.rawb", labels)
    fine, coarse = (read_brainweb(path, shape=(4, 4, 4), coarsen=k) for k in (1, 2))
    assert coarse.shape == (2, 2, 2)
    assert coarse.fraction("gm")[1, 1, 1] == 2 / 8
    assert coarse.volumes()["gm"] == pytest.approx(fine.volumes()["gm"])
    center = [q.affine[:3, :3] @ (np.array(q.shape) - 1) / 2 + q.affine[:3, 3] for q in (fine, coarse)]
    assert center[0] == pytest.approx(center[1])


@pytest.mark.parametrize("name", ["tiny.mnc", "small.mnc"])
def test_minc_volumes_of_both_versions_lie_where_nibabel_says(tmp_path, name):
    image = nibabel.load(MINC / name)
    shutil.copy(MINC / name, tmp_path / "phantom_1.0mm_normal_gry.mnc")
    data = np.asarray(image.dataobj)
    if not (data.min() >= 0 and data.max() <= 255):
        with pytest.raises(PhantomFileError, match="fractions must lie in"):
            read_phantom_file(tmp_path)
        return
    p = read_phantom_file(tmp_path)
    assert nibabel.aff2axcodes(p.affine) == ("R", "A", "S")
    where = np.unravel_index(np.argmax(data), data.shape)
    world = image.affine @ [*where, 1]
    place = np.rint(np.linalg.inv(p.affine) @ [*(world[:3] * 1e-3), 1]).astype(int)[:3]
    top = 1 if data.max() <= 1.001 else 255
    assert p.fraction("gm")[tuple(place)] == pytest.approx(data.max() / top, rel=1e-6)


def test_bad_volumes_are_refused(tmp_path):
    path = raw(tmp_path / "a_crisp.rawb", np.full(SMALL, 40))
    with pytest.raises(PhantomFileError, match=r"a_crisp\.rawb: a raw BrainWeb volume must have 7109137 or"):
        read_phantom_file(path)
    with pytest.raises(PhantomFileError, match=r"must hold the labels 0\.\.10"):
        read_brainweb(path, shape=SMALL)
    raw(path, np.zeros(SMALL))
    with pytest.raises(PhantomFileError, match="all are background"):
        read_brainweb(path, shape=SMALL)
    (tmp_path / "b_gry.rawb.gz").write_bytes(b"\x1f\x8bbroken")
    with pytest.raises(PhantomFileError, match=r"b_gry\.rawb\.gz: must be a complete file"):
        read_phantom_file(tmp_path / "b_gry.rawb.gz")
    (tmp_path / "c_gry.mnc").write_bytes(b"CDF\x01broken")
    with pytest.raises(PhantomFileError, match=r"c_gry\.mnc: must be a complete MINC volume"):
        read_phantom_file(tmp_path / "c_gry.mnc")
    with pytest.raises(PhantomFileError, match="one BrainWeb anatomy; got 3"):
        read_brainweb(tmp_path)
    (tmp_path / "d").mkdir()
    raw(tmp_path / "d" / "s_bck.rawb", np.ones(SMALL))
    with pytest.raises(PhantomFileError, match="background only"):
        read_brainweb(tmp_path / "d")
    with pytest.raises(FileNotFoundError):
        read_brainweb(tmp_path / "none_gry.rawb")


def test_values_are_marked_as_not_verified():
    assert not any(brainweb_tissues().at(n, 1.5).verified for n in brainweb_tissues().names)
    csf, skin = (brainweb_tissues().at(n, 1.5) for n in ("csf", "skin"))
    assert csf.t2_star == pytest.approx(0.058)
    # BrainWeb's skin is a placeholder equal to fluid, and its T1 far below those of today.
    assert (skin.t1, skin.t2, skin.pd) == (csf.t1, csf.t2, csf.pd)
    assert [brainweb_tissues().at(n, 1.5).t1 for n in ("gm", "wm")] == pytest.approx([0.833, 0.5])

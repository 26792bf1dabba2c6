import math
import tomllib

import numpy as np
import pytest

from phantoms import PhantomError, load_phantom, nist_fiducials, nist_system_phantom, nist_vials, save_phantom
from phantoms.objects.nist import NIST_FILE
from phantoms.objects.spheres import sphere_fractions

BALL = 4.0 / 3.0 * math.pi


def center_of_mass(p, name):
    f = p.fraction(name).astype(float)
    index = np.argwhere(f > 0)
    weights = f[f > 0]
    return (p.affine @ np.append(weights @ index / weights.sum(), 1.0))[:3]


def test_sphere_volume_and_centroid_on_an_asymmetric_grid():
    # Off the lattice on purpose; the chord rule's own error is far below the 0.5 % that users may count on.
    lines = [np.arange(-0.02, 0.03, v) for v in (1.7e-3, 2.3e-3, 3.1e-3)]
    center, radius = (0.0041, -0.0013, 0.0027), 0.01
    where, part = sphere_fractions(lines, center, radius)
    volume = part.sum() * 1.7e-3 * 2.3e-3 * 3.1e-3
    print(f"relative error of a 10 mm sphere's volume: {volume / (BALL * radius**3) - 1:.1e}")
    assert volume == pytest.approx(BALL * radius**3, rel=1e-3)
    for axis, (line, part_of) in enumerate(zip(lines, where, strict=True)):
        other = tuple(a for a in range(3) if a != axis)
        assert part.sum(axis=other) @ line[part_of] / part.sum() == pytest.approx(center[axis], abs=2e-6)
    assert part.min() >= 0.0
    assert part.max() <= 1.0


def test_sphere_beside_the_grid_is_empty():
    lines = [np.arange(5) * 1e-3] * 3
    _, part = sphere_fractions(lines, (0.5, 0.0, 0.0), 0.01)
    assert part.size == 0


@pytest.mark.parametrize("size", [(2.1e-3, 1.6e-3, 2.7e-3), 4e-3])
def test_vials_have_their_volumes_and_places(size):
    p = nist_system_phantom(size, arrays=("t1", "t2"), fill="none", fiducials=False)
    for array in ("t1", "t2"):
        for vial in nist_vials(array):
            volume = p.fraction(vial.name).sum(dtype=float) * p.voxel_volume
            assert volume == pytest.approx(BALL * 0.01**3, rel=2e-3)
            assert center_of_mass(p, vial.name) == pytest.approx(vial.center, abs=2e-5)  # of 4 mm voxels


def test_complete_phantom():
    p = nist_system_phantom(5e-3)
    assert len(p.tissues) == 44
    assert p.tissues[-2:] == ("fiducial", "water")
    total = p.fractions.sum(dtype=float) * p.voxel_volume
    assert total == pytest.approx(BALL * 0.1**3, rel=1e-3)
    fiducials = p.fraction("fiducial").sum(dtype=float) * p.voxel_volume
    assert fiducials == pytest.approx(56 * BALL * 0.005**3, rel=5e-3)
    assert len(nist_fiducials()) == 56
    assert p.regions[1] == "nicl2-01"
    assert p.regions[28] == "mncl2-14"
    assert p.regions[98] == "fiducial-56"


def test_silent_fill_keeps_the_body_without_signal():
    loud, silent = (
        nist_system_phantom(8e-3, arrays=("t1",), fill=fill, fiducials=False) for fill in ("water", "silent")
    )
    assert np.array_equal(loud.fractions, silent.fractions)
    assert [p.properties(3.0)[-1].pd for p in (loud, silent)] == [1.0, 0.0]


def test_geometry_of_the_source():
    """Vial 1 at the top of the front plate; numbers run to the patient's left; the inner four."""
    one, two, *_ = nist_vials("t1")
    assert one.center == pytest.approx((0.0, 0.0565, 0.05))
    assert two.center == pytest.approx((-0.029389, 0.0565, 0.040451), abs=1e-6)
    assert nist_vials("t2")[0].center[1] == pytest.approx(0.0165)
    assert nist_vials("pd")[10].center == pytest.approx((0.02, -0.0235, 0.02))
    places = np.array([v.center for a in ("t1", "t2", "pd") for v in nist_vials(a)])
    gaps = np.linalg.norm(places[:, None] - places, axis=-1) + np.eye(len(places))
    assert gaps.min() > 0.02, "vials touch"
    apart = np.linalg.norm(places[:, None] - np.array(nist_fiducials()), axis=-1)
    assert apart.min() > 0.015, "a fiducial touches a vial"


def test_relaxation_times_follow_the_tables():
    first, second, lending = (nist_vials("t1", lot=lot) for lot in ("first", "second", "lending"))
    at3 = first[0].tissue.at(3.0)
    assert (at3.t1, at3.t2, at3.verified) == pytest.approx((1.989, 1.465, True))
    assert first[13].tissue.at(1.5).t1 == pytest.approx(0.022859)
    assert nist_vials("t2")[0].tissue.at(1.5).t1 == pytest.approx(2.376)
    assert second[2].tissue.at(3.0).t1 == pytest.approx(0.9983)
    assert not second[2].tissue.at(3.0).verified
    assert lending[0].tissue.at(3.0).t1 == pytest.approx(1.883965)
    # "3 T" of one vendor is 2.89 T: between the columns.
    assert first[0].tissue.at(1.5).t1 > first[0].tissue.at(2.893).t1 > at3.t1
    assert nist_vials("pd")[3].tissue.pd == pytest.approx(0.2)
    assert not nist_vials("pd")[3].tissue.verified[0]


def test_relaxation_is_linear_in_concentration():
    """The salts relax in proportion to concentration: a misprint in a table would stand out.

    Bounds are the largest deviations of such fits, 2.9 % for the T1 of nickel at 3 T.
    """
    data = tomllib.loads(NIST_FILE.read_text(encoding="utf-8"))["lot"]["first"]
    c = np.array(data["t1"]["concentration"])
    for row, rate, slope in zip(data["t1"]["t1_ms"], (0.30, 0.30), (0.617, 0.648), strict=True):
        assert np.abs(1e3 / np.array(row) / (rate + slope * c) - 1.0).max() < 0.035


def test_phantom_survives_a_file(tmp_path):
    p = nist_system_phantom(6e-3, arrays=("t1",), fill="none", fiducials=False)
    save_phantom(tmp_path / "nist.h5", p)
    q = load_phantom(tmp_path / "nist.h5")
    assert q.truth == p.truth
    assert q.tissues == p.tissues
    assert np.array_equal(q.labels, p.labels)
    assert q.table.at("nicl2-05", 3.0).t1 == p.table.at("nicl2-05", 3.0).t1


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"voxel_size": 2.0}, "metres"),
        ({"voxel_size": -1e-3}, "positive"),
        ({"lot": "third"}, "lot"),
        ({"arrays": ("t3",)}, "array"),
        ({"arrays": ("t1", "t1")}, "differ"),
        ({"fill": "oil"}, "fill"),
        ({"arrays": (), "fiducials": False}, "at least one"),
    ],
)
def test_wrong_requests_are_explained(arguments, word):
    with pytest.raises(PhantomError, match=word):
        nist_system_phantom(**arguments)

import matplotlib.image
import numpy as np
import pytest

from phantoms import Phantom, PhantomError, PointCloud, phantom_from_cloud, phantom_picture, uniform_sphere
from phantoms.slices import volume_of

SHAPE = (6, 9, 5)


def halves():
    """Right half fat, left half water below and cerebrospinal fluid above."""
    fractions = np.zeros((3, *SHAPE), np.float32)
    fractions[0, 3:], fractions[1, :3, :, :2], fractions[2, :3, :, 2:] = 1, 1, 0.5
    affine = np.diag([2e-3, 2e-3, 4e-3, 1.0])
    return Phantom(name="halves", tissues=("fat", "wm", "csf"), fractions=fractions, affine=affine)


def test_planes_hold_mean_rates_and_density():
    p = halves()
    fat, wm, csf = p.properties(3.0)
    plane = volume_of(p, 3.0).plane(1, 4)
    assert plane.t1.shape == (6, 5)
    assert plane.t1[5, 0] == pytest.approx(fat.t1)
    assert plane.t1[0, 0] == pytest.approx(wm.t1)
    assert plane.pd[0, 4] == pytest.approx(0.5 * csf.pd)
    assert plane.tissues[:, 5, 0].tolist() == [1, 0, 0]


def test_axes_are_turned_to_right_front_and_up():
    p = halves()
    affine = np.zeros((4, 4))
    affine[[2, 0, 1, 3], [0, 1, 2, 3]] = 4e-3, -2e-3, 2e-3, 1.0  # file axes: up, left, front
    turned = Phantom(
        name="t", tissues=p.tissues, affine=affine,
        fractions=np.ascontiguousarray(p.fractions.transpose(0, 3, 1, 2)[:, :, ::-1]),
    )  # fmt: skip
    a, b = volume_of(p, 3.0), volume_of(turned, 3.0)
    assert np.array_equal(a.shares, b.shares)
    assert np.diag(b.affine)[:3] == pytest.approx([2e-3, 2e-3, 4e-3])


def test_a_cloud_sums_its_points():
    c = PointCloud(
        name="c", position=np.array([[0, 0, 0], [0, 0, 0], [2e-3, 0, 1e-3], [0, 1e-3, 0]]),
        m0=np.array([1.0, 3.0, 2.0, 1.0]), t1=np.array([1.0, 3.0, 0.5, 1]), t2=np.full(4, 0.1),
        voxel=np.eye(3) * 1e-3,
    )  # fmt: skip
    plane = volume_of(c, 3.0).plane(2, 0)
    assert plane.pd[0, 0] == 4
    assert plane.t1[0, 0] == pytest.approx(4 / (1 / 1 + 3 / 3))
    assert np.isnan(plane.t1[1, 0])


def test_points_of_the_same_values_are_one_tissue_in_shared_voxels():
    """Two points of one voxel, as formats without tissues hold them: one tissue of both densities."""
    c = PointCloud(
        name="c", position=np.array([[0, 0, 0], [0, 0, 0], [0, 0, 0], [1e-3, 0, 0]]),
        m0=np.array([0.25, 0.5, 0.125, 1.0]), t1=np.array([1.0, 1.0, 0.5, 0.5]), t2=np.full(4, 0.1),
        voxel=np.eye(3) * 1e-3,
    )  # fmt: skip
    volume = volume_of(c, 3.0)
    assert volume.names == ("tissue-1", "tissue-2")
    assert volume.shares[:, 0, 0, 0] == pytest.approx([0.75, 0.125])
    p = phantom_from_cloud(c)
    density = np.array([t.pd for t in p.properties(3.0)])[:, None, None, None] * p.fractions
    assert density[:, :, 0, 0] == pytest.approx(np.array([[0.75, 0.0], [0.125, 1.0]]))


def test_planes_of_objects_show_their_inside():
    """A wall in the middle is not what is drawn, nor a plane without the insert."""
    walled = np.zeros((1, 9, 7, 5), np.float32)
    walled[0, 1:4], walled[0, 5:8] = 1, 1
    affine = np.diag([2e-3, 2e-3, 2e-3, 1.0])
    p = Phantom(name="w", tissues=("wm",), fractions=walled, affine=affine)
    x, y, z = volume_of(p.replace({"tissues": ("fat",)}), 3.0).middle()
    assert x in (3, 5)
    assert (y, z) == (3, 2)
    held = np.zeros((2, 9, 7, 13), np.float32)
    held[0], held[:, 4:6, 3, 8] = 1, [[0], [1]]
    p = Phantom(name="i", tissues=("fat", "muscle"), fractions=held, affine=affine)
    assert volume_of(p, 3.0).middle()[1:] == (3, 8)


def test_the_picture_shows_the_sides_where_they_are(tmp_path):
    phantom_picture(tmp_path / "a.png", halves(), dpi=60)
    picture = matplotlib.image.imread(tmp_path / "a.png")[..., :3]
    width = picture.shape[1]
    assert width > 600
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    assert picture[2, 2].max() < 0.1  # dark ground
    # first column, the tissues: fat is yellow (little blue) and lies at the right
    yellow = (picture[..., 0] > 0.8) & (picture[..., 2] < 0.55) & (picture[..., 1] > 0.7)
    column = yellow[:, : width // 5].sum(axis=0)
    assert column.any()
    cream = np.abs(picture[:, : width // 5] - [0xEF / 255, 0xE6 / 255, 0xD6 / 255]).max(axis=-1) < 0.02
    assert np.mean(np.nonzero(cream.sum(axis=0))) < np.mean(np.nonzero(column))


def test_same_phantom_same_picture(tmp_path):
    for name in ("a.png", "b.png"):
        phantom_picture(tmp_path / name, uniform_sphere((9, 8, 7), 2e-3, 6e-3), dpi=50)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_names_are_not_read_as_formulas(tmp_path):
    odd = halves().replace({"name": "$\\frac{$", "truth": {"age": "$\\x$", "sex": None}})
    phantom_picture(tmp_path / "a.png", odd, dpi=50)


def test_free_points_and_single_slices_can_be_drawn(tmp_path):
    r = np.random.default_rng(0).normal(size=(200, 3)) * 0.01
    ones = np.ones(200)
    phantom_picture(tmp_path / "a.png", PointCloud(name="a", position=r, m0=ones, t1=ones, t2=ones), dpi=50)
    one = np.ones(1)
    phantom_picture(tmp_path / "c.png", PointCloud(name="c", position=r[:1], m0=one, t1=one, t2=one), dpi=50)
    flat = halves().replace({"fractions": halves().fractions[..., 2:3]})
    phantom_picture(tmp_path / "b.png", flat, dpi=50)


def test_bad_requests(tmp_path):
    with pytest.raises(PhantomError, match=r"must end in \.png"):
        phantom_picture(tmp_path / "a.jpg", halves())
    with pytest.raises(PhantomError, match="at must lie inside"):
        phantom_picture(tmp_path / "a.png", halves(), at=(1.0, 0, 0))
    assert not list(tmp_path.iterdir())

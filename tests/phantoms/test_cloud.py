import math

import numpy as np
import pytest

from phantoms import (
    BoundPool,
    Phantom,
    PhantomError,
    PointCloud,
    RigidMotion,
    cloud_from_phantom,
    uniform_box,
)
from phantoms.lattice import korobov_generator, lattice_points

SIZES = (2, 3, 4, 7, 30, 64, 101, 1000, 4095, 4096)


def cloud(n=3, **changes):
    values = {
        "name": "points",
        "position": np.arange(3.0 * n).reshape(n, 3) * 1e-3,
        "m0": np.linspace(1.0, 2.0, n),
        "t1": np.full(n, 1.0),
        "t2": np.full(n, 0.1),
    }
    return PointCloud(**{**values, **changes})


def test_defaults_fill_all_points():
    c = cloud(3, t1=np.array(math.inf))
    assert c.size == 3
    assert c.coils == 1
    assert c.t1.tolist() == [math.inf] * 3
    assert c.t2_prime.tolist() == [math.inf] * 3
    assert c.df.tolist() == c.adc.tolist() == [0.0] * 3
    assert c.b1.shape == (1, 3)
    assert (c.b1 == 1).all()
    assert cloud(t2=np.full(3, 2.0)).t2[0] == 2.0  # longer than t1: allowed, simulators' test files do it


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"position": np.zeros((3, 2))}, "position must have shape"),
        ({"position": np.full((3, 3), np.nan)}, "position must be finite; point 0"),
        ({"m0": np.array([1.0, -1.0, 1.0])}, "m0 must be finite and >= 0; got -1.0 at point 1"),
        ({"m0": np.ones(2)}, r"m0 must have one value per point, shape \(3,\)"),
        ({"t1": np.array([1.0, 1.0, 0.0])}, "t1 must be positive seconds .* at point 2"),
        ({"t2": np.array([1.0, np.nan, 1.0])}, "t2 must be positive"),
        ({"t2_prime": np.array(-1.0)}, "t2_prime must be positive"),
        ({"df": np.array(np.inf)}, "df must be finite"),
        ({"adc": np.array(-1e-9)}, "adc must be finite and >= 0"),
        ({"b1": np.ones((2, 4))}, r"b1 must be finite and of shape \(channels, 3\)"),
        ({"sensitivity": np.ones(3)}, "sensitivity must be"),
        ({"voxel": np.eye(2)}, "voxel must be a finite"),
        ({"index": np.array([0, 1, -1])}, "index must be 3 voxel numbers"),
        ({"signal_scale": math.nan}, "signal_scale must be finite"),
        ({"b0": 0.0}, "b0 must be positive"),
        ({"motion": "left"}, "motion must be a Motion"),
        ({"source": {"file": {1, 2}}}, "source must hold plain JSON"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(PhantomError, match=message):
        cloud(**changes)


def test_bound_pool_is_checked():
    pool = {"m0": np.full(3, 0.1), "k_f": np.full(3, 4.0), "t1": np.ones(3), "t2": np.full(3, 1e-5)}
    assert cloud(bound=BoundPool(**pool)).bound.size == 3
    with pytest.raises(PhantomError, match=r"bound must describe all 3"):
        cloud(bound=BoundPool(**{k: v[:2] for k, v in pool.items()}))
    with pytest.raises(PhantomError, match=r"bound\.k_f must be finite and >= 0"):
        BoundPool(**{**pool, "k_f": np.full(3, -1.0)})
    with pytest.raises(PhantomError, match="lineshape must be one of"):
        BoundPool(**pool, lineshape="square")


def test_select_keeps_rows_together():
    c = cloud(4, b1=np.arange(8.0).reshape(2, 4), index=np.array([9, 8, 7, 6]), df=np.arange(4.0))
    s = c.select(np.array([2, 0]))
    assert np.array_equal(s.position, c.position[[2, 0]])
    assert s.b1.real.tolist() == [[2, 0], [6, 4]]
    assert s.index.tolist() == [7, 9]
    assert np.array_equal(c.select(c.df > 2.5).df, [3.0])
    for wrong in (np.array([4]), np.zeros(4, bool), np.array([0.5]), np.zeros(3, bool)):
        with pytest.raises(PhantomError, match="which must"):
            c.select(wrong)


@pytest.mark.parametrize("n", SIZES)
def test_each_projection_of_the_lattice_is_equally_spaced(n):
    assert math.gcd(korobov_generator(n), n) == 1
    steps = np.sort(lattice_points(n) * n, axis=0)
    assert np.allclose(steps, np.arange(n)[:, None], atol=1e-9)


@pytest.mark.parametrize("n", [64, 101, 512])
def test_lattice_has_no_low_order_alias_in_any_two_axes(n):
    # A diagonal (generator 1) would alias the order (1, -1).
    x = lattice_points(n)
    orders = [(p, q) for p in range(-2, 3) for q in range(-2, 3) if (p, q) != (0, 0)]
    for i, j in ((0, 1), (0, 2), (1, 2), (0, 3)):
        sums = [abs(np.exp(2j * np.pi * (p * x[:, i] + q * x[:, j])).mean()) for p, q in orders]
        assert max(sums) < 1e-9


@pytest.mark.parametrize("n", [3, 16, 64])
def test_voxel_is_integrated_exactly_below_n_cycles(n):
    voxel = np.array([[2e-3, 0, 0], [0.5e-3, 1e-3, 0], [0, 0, 3e-3]])
    c = cloud(2, voxel=voxel)
    e = c.expand(n, seed=5)
    offset = (e.position.reshape(2, n, 3) - c.position[:, None]) @ np.linalg.inv(voxel).T
    assert np.abs(offset).max() <= 0.5
    for order in range(1, n):
        assert np.abs(np.exp(2j * np.pi * order * offset).mean(axis=1)).max() < 1e-12 * n
    # order n aliases: the sum is a pure phase
    assert np.allclose(np.abs(np.exp(2j * np.pi * n * offset).mean(axis=1)), 1.0)


def test_expansion_divides_the_magnetization_and_repeats_the_rest():
    pool = BoundPool(m0=np.full(3, 0.1), k_f=np.ones(3), t1=np.ones(3), t2=np.full(3, 1e-5))
    sens = np.arange(6.0).reshape(2, 3) + 1j
    c = cloud(
        voxel=np.eye(3) * 1e-3, bound=pool, sensitivity=sens, index=np.array([4, 5, 6]), df=np.arange(3.0)
    )
    e = c.expand(5, seed=1)
    assert e.size == 15
    assert e.m0.sum() == pytest.approx(c.m0.sum())
    assert e.bound.m0.sum() == pytest.approx(pool.m0.sum())
    assert e.bound.k_f.tolist() == [1.0] * 15
    assert np.array_equal(e.sensitivity, np.repeat(sens, 5, axis=1))
    assert np.array_equal(e.index, np.repeat([4, 5, 6], 5))
    assert np.array_equal(e.df, np.repeat([0.0, 1.0, 2.0], 5))  # no T2': frequencies stay
    assert np.array_equal(e.voxel, c.voxel)
    assert e.signal_scale == c.signal_scale
    assert np.array_equal(c.expand(5, seed=1).position, e.position)
    assert not np.array_equal(c.expand(5, seed=2).position, e.position)
    assert c.expand(1, seed=1) is c


def test_df_gradient_follows_the_offsets():
    c = cloud(voxel=np.eye(3) * 1e-3, df=np.arange(3.0))
    gradient = np.arange(9.0).reshape(3, 3) * 1e3
    e = c.expand(20, seed=0, df_gradient=gradient)
    offset = e.position - np.repeat(c.position, 20, axis=0)
    expected = np.repeat(c.df, 20) + (offset * np.repeat(gradient, 20, axis=0)).sum(axis=1)
    assert np.allclose(e.df, expected, atol=1e-12)
    with pytest.raises(PhantomError, match="df_gradient must be finite"):
        c.expand(20, seed=0, df_gradient=np.zeros((2, 3)))
    with pytest.raises(PhantomError, match="n must be at least 1"):
        c.expand(0, seed=0)


@pytest.mark.parametrize("n", [16, 64, 256])
def test_expanded_line_decays_with_t2_prime(n):
    # Documented size of the error of one point; the largest of 400 independent ones stays below 4 times that,
    # and their mean is sqrt(400) times better (4 standard errors).
    t2_prime, points = 0.03, 400
    c = cloud(points, t2_prime=np.array(t2_prime))
    e = c.expand(n, seed=3)
    assert np.isinf(e.t2_prime).all()
    assert np.array_equal(e.position, np.repeat(c.position, n, axis=0))
    for tau in (0.25, 1.0, 2.0):
        fid = np.exp(2j * np.pi * e.df.reshape(points, n) * tau * t2_prime).mean(axis=1)
        bound = (2 * tau) ** 0.25 * n**-0.75 / math.sqrt(math.pi)
        assert np.abs(fid - math.exp(-tau)).max() < 4 * bound
        assert abs(fid.mean() - math.exp(-tau)) < 4 * bound / math.sqrt(points)


def test_motion_goes_along_with_expansion():
    motion = RigidMotion(
        times=np.array([0.0, 1.0]),
        translation=np.array([[0, 0, 0], [1e-3, 0, 0]]),
        angles=np.array([[0, 0, 0], [0, 0, 0.3]]),
    )
    e = cloud(voxel=np.eye(3) * 1e-3, motion=motion).expand(4, seed=0)
    assert e.motion.positions(e.position, [0.0, 0.5]).shape == (2, 12, 3)


def test_cloud_of_a_phantom_is_one_point_per_voxel_and_tissue():
    box = uniform_box((5, 6, 7), 2e-3, (4e-3, 6e-3, 8e-3))
    second = np.zeros(box.shape, np.float32)
    second[1, 2, 3] = 0.25
    fractions = np.stack([box.fractions[0] * 0.5, second])
    p = Phantom(name="two", tissues=("wm", "fat"), fractions=fractions, affine=box.affine)
    c = cloud_from_phantom(p, 3.0)
    wm, fat = p.properties(3.0)
    inside = int(np.count_nonzero(fractions[0]))
    assert c.size == inside + 1
    assert c.index[-1] == np.ravel_multi_index((1, 2, 3), box.shape)
    assert np.allclose(c.position[-1], (p.affine @ [1, 2, 3, 1])[:3], atol=1e-15)
    assert (c.t1[0], c.t2[-1], c.t2_prime[0], c.adc[-1]) == (wm.t1, fat.t2, wm.t2_prime, fat.adc)
    assert c.df[0] == 0
    assert c.df[-1] == pytest.approx(fat.shift_ppm * 1e-6 * 42.577478518e6 * 3.0, rel=1e-12)
    assert c.m0[-1] == pytest.approx(0.25 * fat.pd)
    volumes = p.volumes()
    assert c.m0.sum() * c.signal_scale == pytest.approx(
        volumes["wm"] * wm.pd + volumes["fat"] * fat.pd, rel=1e-6
    )
    assert c.b0 == 3.0
    with pytest.raises(PhantomError, match="b0 must be positive"):
        cloud_from_phantom(p, 0.0)
    with pytest.raises(PhantomError, match="must have tissue"):
        cloud_from_phantom(p.replace({"fractions": np.zeros_like(fractions)}), 3.0)

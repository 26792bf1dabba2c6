import math

import numpy as np
import pytest
from scipy import special

from phantoms import (
    Ellipsoid,
    EllipsoidPhantom,
    PhantomError,
    point_phantom,
    shepp_logan_2d,
    shepp_logan_3d,
    uniform_box,
    uniform_sphere,
)


def transform(p, ks):
    """Direct Fourier sum of a phantom's (single) tissue on a separable k grid, voxel box divided out."""
    f, size = p.fractions[0].astype(float), p.voxel_size
    for axis, k in enumerate(ks):
        x = p.affine[axis, 3] + p.affine[axis, axis] * np.arange(p.shape[axis])
        e = np.exp(-2j * np.pi * np.outer(k, x)) / np.sinc(k * size[axis])[:, None] * size[axis]
        f = np.moveaxis(np.tensordot(e, f, axes=(1, axis)), 0, axis)
    return f


def nrmse(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


def test_single_ellipse_equals_numerical_integral():
    # Shifted, rotated ellipse against quadrature in polar coordinates of the unit disk (own parametrisation).
    body = Ellipsoid(intensity=0.7, axes=(0.04, 0.09), center=(0.013, -0.02), angle=0.4)
    r, w = np.polynomial.legendre.leggauss(60)
    r, w = 0.5 * (r + 1), 0.5 * w
    phi = 2 * np.pi * np.arange(200) / 200
    c, s = math.cos(0.4), math.sin(0.4)
    u, v = 0.04 * np.outer(r, np.cos(phi)), 0.09 * np.outer(r, np.sin(phi))
    x, y = 0.013 + c * u - s * v, -0.02 + s * u + c * v
    weight = (w * r)[:, None] * (2 * np.pi / 200) * 0.04 * 0.09 * 0.7
    for k in ((0.0, 0.0), (7.0, -3.0), (20.0, 31.0)):
        want = (weight * np.exp(-2j * np.pi * (k[0] * x + k[1] * y))).sum()
        got = body.kspace(np.array([k]))[0]
        assert abs(got - want) < 1e-12  # quadrature is exact to round-off for these frequencies


def test_zero_frequency_is_the_volume():
    body = EllipsoidPhantom(
        bodies=(Ellipsoid(intensity=2.0, axes=(0.1, 0.2, 0.3), center=(0.01, 0, 0), angle=1.0),)
    )
    assert body.kspace([0.0, 0.0, 0.0]) == pytest.approx(2 * 4 / 3 * math.pi * 0.006, rel=1e-12)


def test_ball_equals_its_bessel_form_near_and_far_from_zero():
    body = Ellipsoid(intensity=1.0, axes=(0.1, 0.1, 0.1), center=(0.0, 0.0, 0.0))
    k = np.geomspace(1e-4, 200.0, 300)  # crosses the switch from series to closed form
    q = 2 * np.pi * 0.1 * k
    want = 0.1**3 * (2 * np.pi / q) ** 1.5 * special.jv(1.5, q)
    got = body.kspace(np.stack([0.6 * k, 0 * k, 0.8 * k], -1))
    # Cancellation in sin q - q cos q costs at most eps/q^2 = 2e-12 at the switch (q = 0.01).
    assert np.abs(got - want).max() < 1e-11 * want[0]


@pytest.mark.parametrize("dimensions", [2, 3])
def test_voxelised_shepp_logan_converges_to_its_closed_form(dimensions):
    fov, k = 0.22, np.arange(-8, 9) / 0.22
    body = EllipsoidPhantom.shepp_logan(fov, dimensions)
    errors = []
    for n in ((40, 46, 36), (60, 69, 54)) if dimensions == 3 else ((60, 69), (120, 138)):
        size = tuple(fov * 1.02 / m for m in n)
        if dimensions == 2:
            p = shepp_logan_2d(n, size, fov)
            got = transform(p, [k, k, np.zeros(1)])[..., 0] / p.voxel_size[2]
        else:
            p = shepp_logan_3d(n, size, fov)
            got = transform(p, [k, k, k])
        grid = np.stack(np.meshgrid(*[k] * dimensions, indexing="ij"), -1)
        errors.append((size[0], nrmse(got, body.kspace(grid))))
    errors.sort()
    # Partial volumes are sampled 6 times per axis and aliasing falls with the voxel: below 0.6 % at 3.7 mm in
    # three dimensions and at 1.9 mm in two (all energy in one plane); finer grids are better.
    assert errors[0][1] < 0.006
    assert errors[0][1] < errors[-1][1]


def test_levels_add_up_to_the_object():
    p = shepp_logan_3d((30, 33, 27), 0.008, 0.22)
    q = shepp_logan_3d((30, 33, 27), 0.008, 0.22, per_level=True)
    total = sum(f * t.pd for f, t in zip(q.fractions, q.properties(3.0), strict=True))
    assert np.abs(total - p.fractions[0]).max() < 1e-5  # both come from the same float32 samples
    assert len(q.tissues) >= 4
    assert q.fractions.sum(axis=0).max() <= 1 + 1e-6


def test_object_keeps_its_signal():
    (t,) = uniform_sphere((9, 9, 9), 0.01, 0.03).properties(3.0)
    assert math.isinf(t.t1)
    assert math.isinf(t.t2_star)
    assert t.pd == 1.0


def test_sphere_and_box_volumes():
    s = uniform_sphere((40, 44, 36), (5e-3, 4.5e-3, 5.5e-3), 0.08)
    # 6^3 samples in the surface voxels leave 0.05 % on this grid.
    assert s.volumes()["object"] == pytest.approx(4 / 3 * math.pi * 0.08**3, rel=5e-4)
    b = uniform_box((20, 21, 22), 5e-3, (0.051, 0.062, 0.073))
    assert b.volumes()["object"] == pytest.approx(0.051 * 0.062 * 0.073, rel=1e-6)  # float32 fractions
    ks = [np.array([3.0, 11.0]), np.array([-5.0, 2.0]), np.array([4.0, 9.0])]
    want = np.prod(np.meshgrid(*[n * np.sinc(n * k) for n, k in zip((0.051, 0.062, 0.073), ks, strict=True)],
                               indexing="ij"), axis=0)  # fmt: skip
    assert (
        nrmse(transform(b, ks), want) < 0.02
    )  # aliasing of a 5 mm grid at up to a tenth of its sampling rate


def test_point_sits_where_asked():
    p = point_phantom((0.01, -0.02, 0.03), voxel_size=5e-4)
    assert p.affine[:3, 3].tolist() == [0.01, -0.02, 0.03]
    assert p.volumes()["object"] == pytest.approx(1.25e-10)


def test_bad_requests_are_refused():
    with pytest.raises(PhantomError, match="axes must be positive"):
        Ellipsoid(intensity=1, axes=(0.0, 1.0), center=(0.0, 0.0))
    with pytest.raises(PhantomError, match=r"k must have shape \(..., 3\)"):
        EllipsoidPhantom.shepp_logan(0.2).kspace([[0.0, 1.0]])
    with pytest.raises(PhantomError, match="fov must be positive"):
        EllipsoidPhantom.shepp_logan(-1.0)
    two = EllipsoidPhantom(bodies=(Ellipsoid(intensity=2, axes=(0.05,) * 3, center=(0.0,) * 3),))
    with pytest.raises(PhantomError, match=r"must sum to 0\.\.1"):
        two.phantom((9, 9, 9), 0.02)

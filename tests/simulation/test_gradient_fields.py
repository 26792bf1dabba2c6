"""Gradient fields: published displacements, the conventions of two vendors, derivatives, the inverse."""

import math

import numpy as np
import pytest
from scipy.special import lpmv

from mrsim.simulation.gradient_fields import (
    PolynomialField,
    ScaledField,
    SphericalHarmonicField,
    imaged_positions,
    object_positions,
)
from mrsim.simulation.harmonics import harmonic_basis, solid_gradients, solid_harmonics
from protocols import list_coils, load_coil


def on_sphere(radius, count=2000, seed=1):
    u = np.random.default_rng(seed).normal(size=(count, 3))
    return radius * u / np.linalg.norm(u, axis=1, keepdims=True)


def coil_field(name):
    return SphericalHarmonicField.of_coil(load_coil(name))


def test_published_displacements_on_the_axis():
    """r0 sum C_n0 (z/r0)^n of the one published table; values to the digits they were worked out to."""
    z = np.array([50.0, 80.0, 100.0, 125.0, 150.0, 200.0]) * 1e-3
    axis = np.stack([0 * z, 0 * z, z], axis=1)
    moved = (coil_field("philips-mr-linac").field(axis) - axis)[:, 2] * 1e3
    np.testing.assert_allclose(moved, [-0.25, -1.06, -2.14, -4.39, -7.98, -20.7], atol=0.03)
    off_axis = coil_field("philips-mr-linac").field(axis)[:, :2]
    assert np.abs(off_axis).max() < 1e-15


def test_the_published_table_is_turned_to_right_anterior_superior():
    """Its x coil is anterior, its y coil left: cos(m phi) of one becomes sine of ours."""
    c31, c33, s31, s33 = -62.8179 / 2250, 3.8516 / 2250, -64.7650 / 2250, -5.2953 / 2250
    coil = load_coil("philips-mr-linac")
    first = {(t.n, t.m): t for t in coil.x if t.n == 3}
    second = {(t.n, t.m): t for t in coil.y if t.n == 3}
    # A point at anterior a, left l in the table's frame: right -l.
    a, left = 0.08, 0.05
    phi = math.atan2(left, a)
    r = math.hypot(a, left)
    p31, p33 = -1.5, 15.0  # at theta = 90 degrees, without the Condon-Shortley phase
    r0 = 0.225
    table_x = r0 * (r / r0) ** 3 * (c31 * p31 * math.cos(phi) + c33 * p33 * math.cos(3 * phi))
    table_y = r0 * (r / r0) ** 3 * (s31 * p31 * math.sin(phi) + s33 * p33 * math.sin(3 * phi))
    third = SphericalHarmonicField(
        radius=r0,
        cosine=(tuple((3, t.m, t.cosine) for t in first.values()), (), ()),
        sine=((), tuple((3, t.m, t.sine) for t in second.values()), ()),
    )
    point = np.array([[-left, a, 0.0]])
    moved = (third.field(point) - point)[0]
    # Coefficients are stored with six digits.
    np.testing.assert_allclose(moved, [-table_y, table_x, 0.0], rtol=1e-5, atol=1e-12)


def test_siemens_convention_against_its_own_formula():
    """B(n, m) = (r/R0)^n P_nm (A cos m phi + B sin m phi), P normalised, from SciPy's Legendre functions."""
    coil = load_coil("synthetic-siemens-80")
    assert coil.normalization == "siemens"
    p = on_sphere(0.12, 200)
    r, theta, phi = 0.12, np.arccos(p[:, 2] / 0.12), np.arctan2(p[:, 1], p[:, 0])
    wanted = p.copy()
    for axis, terms in enumerate((coil.x, coil.y, coil.z)):
        for t in terms:
            norm = math.sqrt(
                (2 * t.n + 1) * math.factorial(t.n - t.m) / (2 * math.factorial(t.n + t.m))
            ) if t.m else 1.0  # fmt: skip
            legendre = (-1) ** t.m * norm * lpmv(t.m, t.n, np.cos(theta))
            angular = t.cosine * np.cos(t.m * phi) + t.sine * np.sin(t.m * phi)
            wanted[:, axis] += coil.radius * (r / coil.radius) ** t.n * legendre * angular
    np.testing.assert_allclose(coil_field("synthetic-siemens-80").field(p), wanted, atol=1e-15)


@pytest.mark.parametrize("name", list_coils())
def test_coils_distort_as_diagnostic_ones_do(name):
    """1 to 3 mm at the edge of the brain, below 0.5 mm near the centre, never folding where they are used."""
    coil, field = load_coil(name), coil_field(name)

    def largest(radius):
        p = on_sphere(radius)
        return np.linalg.norm(field.field(p) - p, axis=1).max()

    assert 1e-3 < largest(0.095) < 3e-3
    assert largest(0.05) < 0.5e-3
    for radius in (0.5 * coil.valid_radius, coil.valid_radius):
        assert np.linalg.det(field.jacobian(on_sphere(radius))).min() > 0.2


@pytest.mark.parametrize("name", list_coils())
def test_inverse_of_the_distortion(name):
    """Forward of inverse and inverse of forward within 1e-3 mm over the coil's useful volume."""
    coil, field = load_coil(name), coil_field(name)
    radii = coil.valid_radius * np.random.default_rng(2).uniform(0, 1, (500, 1)) ** (1 / 3)
    r = on_sphere(1.0, 500) * radii
    imaged = imaged_positions(field, r)
    found = object_positions(field, imaged)
    assert np.abs(found - r).max() < 1e-6
    assert np.abs(imaged_positions(field, found) - imaged).max() < 1e-6


def test_places_without_an_origin_are_refused():
    field = coil_field("philips-mr-linac")
    with pytest.raises(ValueError, match=r"have no origin, such as \[0\.0, 0\.0, 0\.3[0-9]*\] m"):
        object_positions(field, np.array([[0.0, 0.0, 0.02], [0.0, 0.0, 0.31]]))


def test_linear_fields_need_no_search():
    r = on_sphere(0.1, 5)
    np.testing.assert_array_equal(object_positions(None, r), r)
    np.testing.assert_array_equal(imaged_positions(None, r), r)
    stretched = ScaledField(scale=(1.01, 0.99, 1.0))
    np.testing.assert_allclose(object_positions(stretched, stretched.field(r)), r, atol=1e-8)
    np.testing.assert_allclose(stretched.jacobian(r)[0], np.diag([1.01, 0.99, 1.0]))


@pytest.mark.parametrize("scaled", [False, True])
def test_jacobian_against_differences(scaled):
    """Central differences of 0.1 mm: (h / 0.1 m)^2 = 1e-6 of terms of order 1 is what they differ by."""
    field = coil_field("synthetic-head-7t")
    if scaled:
        field = ScaledField(base=field, scale=(1.02, 0.97, 1.01))
    r = on_sphere(0.1, 50)
    rough = super(type(field), field).jacobian(r)
    np.testing.assert_allclose(field.jacobian(r), rough, atol=2e-6)
    first = ((1.0, (1, 0, 0)), (2.0, (1, 2, 0)))
    cubic = PolynomialField(terms=(first, ((1.0, (0, 1, 0)),), ((1.0, (0, 0, 1)),)))
    exact = np.array([[1 + 2 * 0.03**2, 2 * 2 * 0.02 * 0.03, 0], [0, 1, 0], [0, 0, 1]])
    np.testing.assert_allclose(cubic.jacobian(np.array([[0.02, 0.03, 0.1]]))[0], exact, atol=1e-8)


def test_solid_harmonics_against_scipy_and_their_gradients_against_differences():
    degree, p = 9, on_sphere(0.9, 40, seed=3)
    values = solid_harmonics(p, degree)
    r, theta, phi = 0.9, np.arccos(p[:, 2] / 0.9), np.arctan2(p[:, 1], p[:, 0])
    for n in range(degree + 1):
        for m in range(n + 1):
            wanted = r**n * (-1) ** m * lpmv(m, n, np.cos(theta)) * np.exp(1j * m * phi)
            np.testing.assert_allclose(values[n, m], wanted, rtol=1e-9, atol=1e-9 * np.abs(wanted).max())
    h = 1e-5
    gradient = solid_gradients(values)
    for axis in range(3):
        step = h * np.eye(3)[axis]
        rough = (solid_harmonics(p + step, degree) - solid_harmonics(p - step, degree)) / (2 * h)
        # Third derivatives are up to n^3 times larger: 1e-10 n^3 / 6 of the largest value.
        scale = np.abs(gradient[axis]).max(axis=-1, keepdims=True) + 1.0
        assert (np.abs(gradient[axis] - rough) / scale).max() < 1e-7


def test_shim_basis_is_complete_and_harmonic():
    p = on_sphere(0.1, 200)
    basis = harmonic_basis(p, 4)
    assert basis.shape == (200, 25)
    # Schmidt's functions on the sphere: mean square 1 / (2n + 1) each (2000 points would make it 1 %).
    dense = harmonic_basis(on_sphere(0.1, 60000), 4)
    degree = np.repeat(np.arange(5), 2 * np.arange(5) + 1)
    np.testing.assert_allclose(np.mean(dense**2, axis=0), 1 / (2 * degree + 1), rtol=0.05)
    h = 1e-3
    laplacian = -6 * basis
    for step in h * np.eye(3):
        laplacian += harmonic_basis(p + step, 4) + harmonic_basis(p - step, 4)
    curvature = harmonic_basis(p + h * np.eye(3)[0], 4) + harmonic_basis(p - h * np.eye(3)[0], 4) - 2 * basis
    assert np.abs(laplacian).max() < 1e-3 * np.abs(curvature).max()

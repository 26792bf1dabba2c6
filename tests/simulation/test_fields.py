"""Field models against closed forms: susceptible sphere, harmonic shims, Nyquist noise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from mrsim.simulation import fields, noise
from mrsim.simulation.harmonics import harmonic_basis


def centred(shape, spacing):
    axes = [(np.arange(n) - (n - 1) / 2) * h for n, h in zip(shape, spacing, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


@pytest.mark.parametrize("direction", [(0, 0, 1), (0.6, 0, 0.8)])
def test_dipole_field_of_a_sphere(direction):
    """Inside 0 (Lorentz sphere), outside dchi/3 (a/r)^3 (3 cos^2 - 1).

    The edge is a Gaussian of one voxel, which changes nothing beyond it (shell theorem) and keeps the
    kernel's jump at the Nyquist frequency out of the comparison. 1 % of the largest value: wrap-around of
    the 2x padding, (20 mm / 100 mm)^3 = 0.8 %."""
    shape, h, a, chi = (60, 54, 64), 2e-3, 0.02, 5.0
    r = centred(shape, (h, h, h))
    distance = np.linalg.norm(r, axis=-1)
    body = gaussian_filter(np.clip((a - distance) / h + 0.5, 0, 1) * chi, 1.0)
    field = fields.dipole_field(body, np.array([h, h, h]), np.array(direction, float), outside=0.0)
    cosine = (r @ np.array(direction, float)) / np.maximum(distance, 1e-9)
    exact = np.where(distance > a, chi / 3 * (a / np.maximum(distance, a)) ** 3 * (3 * cosine**2 - 1), 0.0)
    away = (np.abs(distance - a) > 4 * h) & (distance < 0.045)
    assert np.abs(field - exact)[away].max() < 0.01 * 2 * chi / 3


def test_shim_removes_what_its_order_can():
    points = centred((9, 8, 10), (0.015, 0.016, 0.014)).reshape(-1, 3)
    first = harmonic_basis(points, 1) @ np.array([3.0, -2.0, 5.0, 1.0])
    second = harmonic_basis(points, 2)[:, 4]
    region = np.ones(len(points))
    assert np.abs(fields.shim(first, points, region, 1)).max() < 1e-9
    assert np.std(fields.shim(first + second, points, region, 1)) > 0.1 * np.std(second)
    assert np.abs(fields.shim(first + second, points, region, 2)).max() < 1e-9


@pytest.mark.parametrize("order", [3, 4, 5, 6])
def test_shims_of_high_order(order):
    points = centred((9, 8, 10), (0.015, 0.016, 0.014)).reshape(-1, 3)
    weights = np.random.default_rng(order).normal(size=(order + 1) ** 2)
    field = harmonic_basis(points, order) @ weights
    region = np.ones(len(points))
    assert np.abs(fields.shim(field, points, region, order)).max() < 1e-9 * np.abs(field).max()
    assert np.std(fields.shim(field, points, region, order - 1)) > 1e-2 * np.std(field)
    with pytest.raises(ValueError, match=r"shim order must be 0\.\.6; got 7"):
        fields.shim(field, points, region, 7)


def test_shim_needs_a_region():
    with pytest.raises(ValueError, match="shim region must not be empty"):
        fields.shim(np.zeros(4), np.zeros((4, 3)), np.zeros(4), 1)


def test_curie_magnetization_of_water():
    """N mu_p tanh(mu_p B0 / kT) with CODATA's proton moment; Curie's law is its first order (1e-5 here)."""
    moment, thermal = 1.41060679736e-26, 1.380649e-23 * 310.15
    protons = 2 * 6.02214076e23 * 993.3 / 18.01528e-3
    for b0 in (0.55, 3.0):
        exact = protons * moment * np.tanh(moment * b0 / thermal)
        assert noise.equilibrium_magnetization(b0) == pytest.approx(exact, rel=2e-5)


def test_noise_has_the_covariance_and_bandwidth_it_was_asked_for():
    """Sample covariance of 2e5 values: standard error 1/sqrt(2e5) = 0.2 %; 1.5 % allows six of them."""
    covariance = np.array([[2.0, 0.5, 0.1], [0.5, 1.0, 0.3], [0.1, 0.3, 1.5]])
    sample = noise.draw_noise(np.random.default_rng(1), covariance, 200, 1000, 7.0)
    flat = sample.transpose(1, 0, 2).reshape(3, -1)
    np.testing.assert_allclose((flat @ flat.conj().T).real / flat.shape[1], 7 * covariance, atol=0.015 * 14)
    assert abs(np.mean(flat.real * flat.imag)) < 0.05


def test_noise_factor_below_one_is_refused():
    with pytest.raises(ValueError, match=r"noise_factor must be at least 1; got 0\.5"):
        noise.noise_covariance(np.eye(2), f0=1e8, noise_factor=0.5)

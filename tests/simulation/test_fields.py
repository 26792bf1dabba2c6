"""Field models against closed forms: susceptible sphere, harmonic shims, current loops, Nyquist noise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from mrsim.simulation import coils, fields, noise
from mrsim.simulation.constants import MU_0


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


def test_harmonics_satisfy_laplace():
    """Second differences of each solid harmonic vanish to rounding (polynomials up to third degree)."""
    shape, h = (7, 7, 7), 5e-3
    grid = fields.harmonics(centred(shape, (h, h, h)).reshape(-1, 3), 3).T.reshape(16, *shape)
    laplacian = sum(np.gradient(np.gradient(grid, h, axis=i), h, axis=i) for i in (1, 2, 3))
    inner = laplacian[:, 2:-2, 2:-2, 2:-2]
    assert np.abs(inner).max() < 1e-6 * np.abs(np.gradient(np.gradient(grid, h, axis=1), h, axis=1)).max()


def test_shim_removes_what_its_order_can():
    points = centred((9, 8, 10), (0.015, 0.016, 0.014)).reshape(-1, 3)
    first = fields.harmonics(points, 1) @ np.array([3.0, -2.0, 5.0, 1.0])
    second = fields.harmonics(points, 2)[:, 4]
    region = np.ones(len(points))
    assert np.abs(fields.shim(first, points, region, 1)).max() < 1e-9
    assert np.std(fields.shim(first + second, points, region, 1)) > 0.1 * np.std(second)
    assert np.abs(fields.shim(first + second, points, region, 2)).max() < 1e-9


def test_shim_needs_a_region():
    with pytest.raises(ValueError, match="shim region must not be empty"):
        fields.shim(np.zeros(4), np.zeros((4, 3)), np.zeros(4), 1)


def test_transmit_dome_grows_with_field_squared():
    points = np.array([[0.0, 0, 0], [0.05, 0, 0]])
    axes = np.array([0.07, 0.09, 0.08])
    drop = [1 - fields.b1_dome(points, b0=b0, curvature_3t=0.1, semi_axes=axes)[1] for b0 in (1.5, 3.0)]
    assert drop[1] / drop[0] == pytest.approx(4.0, rel=0.05)  # leading order; the cosine bends it slightly


def test_loop_field_on_axis():
    """mu0 a^2 / (2 (a^2 + z^2)^1.5); a polygon of 64 sides with the circle's area has 0.12 % more wire."""
    a = 0.05
    loop = coils.LoopArray(center=np.zeros((1, 3)), normal=np.array([[0, 0, 1.0]]), radius=np.array([a]))
    z = np.array([0.0, 0.02, 0.05, 0.1])
    b, _ = coils.loop_fields(loop, np.stack([0 * z, 0 * z, z], axis=1))
    np.testing.assert_allclose(np.abs(b[0, :, 2]), MU_0 * a**2 / (2 * (a**2 + z**2) ** 1.5), rtol=1.5e-3)
    assert np.abs(b[0, :, :2]).max() < 1e-12


def test_vector_potential_curls_to_the_field():
    """B = curl A by central differences of 0.2 mm: error O(h^2) below 1e-4."""
    loop = coils.LoopArray(
        center=np.array([[0.0, 0, 0.1]]), normal=np.array([[0, 0.6, 0.8]]), radius=np.array([0.04])
    )
    p, h = np.array([0.02, -0.01, 0.03]), 2e-4
    steps = np.concatenate([p + h * np.eye(3), p - h * np.eye(3), p[None]])
    b, a = coils.loop_fields(loop, steps)
    d = (a[0, :3] - a[0, 3:6]) / (2 * h)  # d[i] = dA/dx_i
    curl = np.array([d[1, 2] - d[2, 1], d[2, 0] - d[0, 2], d[0, 1] - d[1, 0]])
    np.testing.assert_allclose(curl, b[0, 6], atol=1e-4 * np.abs(b[0, 6]).max())


def test_helmet_leaves_the_neck_open_and_spreads_loops():
    array = coils.helmet(16, semi_axes=(0.11, 0.13, 0.12), center=np.array([0, 0, 0.01]))
    assert array.center[:, 2].min() > 0.01 - 0.6 * 0.12
    gaps = np.linalg.norm(array.center[:, None] - array.center[None], axis=-1)[~np.eye(16, dtype=bool)]
    assert gaps.min() > 0.03
    np.testing.assert_allclose(np.linalg.norm(array.normal, axis=1), 1.0, atol=1e-12)


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


def test_sample_noise_dominates_and_correlates_neighbours():
    array = coils.helmet(8, semi_axes=(0.11, 0.135, 0.13), center=np.zeros(3))
    points = centred((12, 13, 12), (0.012, 0.013, 0.012)).reshape(-1, 3)
    inside = np.linalg.norm(points / np.array([0.07, 0.09, 0.08]), axis=1) < 1
    _, a = coils.loop_fields(array, points)
    resistance = coils.sample_resistance(a, inside * 0.012 * 0.013 * 0.012 * noise.BRAIN_CONDUCTIVITY)
    covariance = noise.noise_covariance(resistance, f0=127.7e6, noise_factor=1.5)
    assert np.linalg.eigvalsh(covariance).min() > 0
    d = np.sqrt(np.diag(covariance))
    correlation = np.abs(covariance / np.outer(d, d))[~np.eye(8, dtype=bool)]
    assert correlation.max() < 0.75
    assert correlation.max() > 0.05


def test_noise_factor_below_one_is_refused():
    with pytest.raises(ValueError, match=r"noise_factor must be at least 1; got 0\.5"):
        noise.noise_covariance(np.eye(2), f0=1e8, noise_factor=0.5)

import numpy as np
import pytest

from phantoms import PhantomError, fibre_odf
from phantoms.fodf import harmonics, odf_amplitude


def quadrature(n=24):
    """Directions and weights that integrate polynomials of degree < 2n over the sphere exactly."""
    x, w = np.polynomial.legendre.leggauss(n)
    phi = np.arange(2 * n) * np.pi / n
    z, p = np.meshgrid(x, phi, indexing="ij")
    r = np.sqrt(1 - z**2)
    return np.stack([r * np.cos(p), r * np.sin(p), z], -1).reshape(-1, 3), np.repeat(w, 2 * n) * np.pi / n


def test_harmonics_are_orthonormal_and_even():
    d, w = quadrature()
    y = harmonics(d, 8)
    assert y.shape[1] == 45
    assert y.T @ (w[:, None] * y) == pytest.approx(np.eye(45), abs=1e-12)
    assert harmonics(-d, 8) == pytest.approx(y, abs=1e-12)


def test_second_degree_is_the_textbook_one():
    n = np.array([[0.36, 0.48, 0.8]])
    x, y, z = n[0]
    half = np.sqrt(15 / np.pi) / 2
    want = [half * x * y * 2 / 2, half * y * z, np.sqrt(5 / np.pi) / 4 * (3 * z**2 - 1), half * x * z,
            half / 2 * (x**2 - y**2)]  # fmt: skip
    assert harmonics(n, 2)[0, 1:] == pytest.approx(np.array(want), abs=1e-12)


def test_a_distribution_integrates_to_its_weights_and_peaks_at_its_fibres():
    rng = np.random.default_rng(4)
    n = rng.normal(size=(2, 5, 3))
    n /= np.linalg.norm(n, axis=-1, keepdims=True)
    w = np.array([[0.7] * 5, [0.0] * 5])
    c = fibre_odf(n, w, 8)
    assert c.shape == (5, 45)
    d, area = quadrature()
    values = odf_amplitude(c, d)
    assert values @ area == pytest.approx(np.full(5, 0.7), rel=1e-5)  # float32 coefficients
    best = d[values.argmax(axis=1)]
    # The grid of directions is 7.5 degrees wide.
    assert (np.abs((best * n[0]).sum(axis=-1)) > np.cos(np.radians(7.5))).all()


def test_second_moment_is_that_of_the_fibres():
    """Degree 2 holds sum w n n^T exactly: integral of f n n^T = (2/15) (...) inverted through the delta."""
    n = np.array([[[1.0, 0, 0]], [[0, 0.6, 0.8]]])
    w = np.array([[0.4], [0.5]])
    d, area = quadrature()
    f = odf_amplitude(fibre_odf(n, w, 2), d)[0]
    got = np.einsum("k,k,ki,kj->ij", f, area, d, d)
    want = np.einsum("pm,pmi,pmj->ij", w, n, n)
    assert got == pytest.approx(want, abs=1e-6)


@pytest.mark.parametrize("order", [-2, 3, 22, 2.0])
def test_impossible_orders_are_refused(order):
    with pytest.raises(PhantomError, match="order must be even"):
        harmonics(np.eye(3), order)

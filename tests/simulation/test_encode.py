"""Encoding against the explicit sum, its adjoint, and the other implementation; asymmetric grids."""

from __future__ import annotations

import numpy as np
import pytest

from mrsim.simulation.kspace.compress import compress
from mrsim.simulation.kspace.encode import Grid, GridError, TensorEncoder, nufft

GRID = Grid(shape=(14, 9, 11), spacing=(2.1e-3, 3.3e-3, 2.7e-3), first=(-0.013, -0.0171, -0.0122))
K = tuple(
    np.sort(np.random.default_rng(2).uniform(-lim, lim, n)) for lim, n in ((210, 17), (120, 6), (160, 8))
)


def random_image(rng):
    shape = GRID.array_shape
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)


def explicit(image, k):
    """Fourier integral of voxel averages, one k at a time, double precision."""
    y, z, x = np.meshgrid(GRID.axis(1), GRID.axis(2), GRID.axis(0), indexing="ij")
    out = []
    for kx, ky, kz in k:
        sinc = np.prod(np.sinc(np.array([kx, ky, kz]) * np.array(GRID.spacing)))
        out.append(
            np.sum(image * np.exp(-2j * np.pi * (kx * x + ky * y + kz * z))) / sinc * GRID.voxel_volume
        )
    return np.array(out)


def test_tensor_encoding_equals_the_explicit_sum():
    image = random_image(np.random.default_rng(0))
    data = TensorEncoder.build(GRID, *K).forward(image)
    picks = [(3, 5, 2), (0, 0, 0), (5, 7, 16), (2, 1, 9)]
    expected = explicit(image, [(K[0][c], K[1][a], K[2][b]) for a, b, c in picks])
    # complex64 sums of 1386 terms: relative error about 1e-6 of the norm.
    np.testing.assert_allclose([data[p] for p in picks], expected, atol=3e-6 * np.abs(expected).max())


def test_nufft_equals_the_explicit_sum():
    image = random_image(np.random.default_rng(1))
    k = np.random.default_rng(3).uniform(-150, 150, (40, 3))
    np.testing.assert_allclose(
        nufft(image, GRID, k), explicit(image, k), atol=5e-5 * np.abs(explicit(image, k)).max()
    )  # asked accuracy 1e-5 of the largest intermediate value


def test_adjoint():
    rng = np.random.default_rng(4)
    encoder = TensorEncoder.build(GRID, *K)
    image = random_image(rng)
    data = (rng.normal(size=(6, 8, 17)) + 1j * rng.normal(size=(6, 8, 17))).astype(np.complex64)
    left = np.vdot(data, encoder.forward(image))
    right = np.vdot(encoder.adjoint(data), image)
    assert abs(left - right) < 1e-5 * abs(left)  # single precision


def test_compression_keeps_its_promise():
    rng = np.random.default_rng(6)
    rates = rng.uniform(1, 60, 50)
    matrix = np.exp(-rates[None, :] * np.linspace(0, 0.1, 300)[:, None] - 2j * np.pi * rates[None, :] * 0.01)
    columns, rows = rng.uniform(0, 1, 50), rng.uniform(0.1, 5, 300)
    weight = np.sqrt(rows[:, None] * columns[None, :])
    previous = 0
    for tolerance in (0.1, 1e-2, 1e-3, 1e-5):
        basis = compress(matrix, columns, rows, tolerance)
        left = (matrix - basis.curves @ basis.coefficients) * weight
        error = np.linalg.norm(left) / np.linalg.norm(matrix * weight)
        assert error <= tolerance
        assert basis.error == pytest.approx(error, rel=1e-6, abs=1e-12)
        assert basis.rank >= previous
        previous = basis.rank
    assert previous < 12  # 50 exponentials over this range are nearly dependent


def test_k_beyond_the_phantoms_nyquist_is_refused():
    with pytest.raises(GridError, match=r"k h <= 0.5\); got k = 260.0 1/m on voxels of 2.1 mm"):
        TensorEncoder.build(GRID, np.array([260.0]), K[1], K[2])

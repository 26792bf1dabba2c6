"""Parallel imaging against explicit matrices, closed forms and the fully sampled image."""

import numpy as np
import pytest

from recon import RawDataError, ReconOptions, reconstruct
from recon.fourier import fft_centred, ifft_centred
from recon.grappa import calibrate_grappa, fill_mask
from recon.sense import cg_sense, g_factor, sense_adjoint, sense_forward, unfold

from .synthetic import on_image_grid


def complex_normal(rng, *shape):
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def relative(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


class TestOperators:
    def test_transform_is_the_explicit_sum(self):
        rng = np.random.default_rng(0)
        k = complex_normal(rng, 7, 10)
        for axis, n in enumerate(k.shape):
            r = np.arange(n) - n // 2
            matrix = np.exp(2j * np.pi * np.outer(r, r) / n) / np.sqrt(n)
            expected = np.moveaxis(np.tensordot(matrix, k, axes=(1, axis)), 0, axis)
            assert relative(ifft_centred(k, (axis,)), expected) < 1e-6  # single precision

    def test_adjoint_of_the_transform(self):
        rng = np.random.default_rng(1)
        a, b = complex_normal(rng, 5, 6, 9), complex_normal(rng, 5, 6, 9)
        left, right = np.vdot(a, fft_centred(b, (1, 2))), np.vdot(ifft_centred(a, (1, 2)), b)
        assert abs(left - right) < 1e-5 * abs(left)

    def test_adjoint_of_sense(self):
        rng = np.random.default_rng(2)
        maps, image, k = (
            complex_normal(rng, 3, 4, 10, 7),
            complex_normal(rng, 3, 10, 7),
            complex_normal(rng, 3, 4, 10, 7),
        )
        mask = rng.random((10, 7)) < 0.4
        left = np.vdot(sense_forward(image, maps, mask), k)
        right = np.vdot(image, sense_adjoint(k, maps, mask))
        assert abs(left - right) < 1e-5 * abs(left)


class TestSense:
    def smooth_maps(self, nx, coils, ny, nz):
        y, z = np.meshgrid(np.linspace(-1, 1, ny), np.linspace(-1, 1, nz), indexing="ij")
        maps = [
            np.exp(-((y - np.cos(a)) ** 2) - (z - np.sin(a)) ** 2 + 1j * a) + 0.1
            for a in 2 * np.pi * np.arange(coils) / coils
        ]
        return np.broadcast_to(np.array(maps, np.complex64), (nx, coils, ny, nz)).copy()

    @pytest.mark.parametrize(
        ("acceleration", "lattice"), [((2, 1), (0, 0)), ((2, 1), (1, 0)), ((3, 1), (2, 0)), ((2, 2), (1, 0))]
    )
    def test_unfolding_is_exact_without_noise(self, acceleration, lattice):
        rng = np.random.default_rng(4)
        maps, image = self.smooth_maps(2, 6, 12, 8), complex_normal(rng, 2, 12, 8)
        mask = np.zeros((12, 8), bool)
        mask[lattice[0] :: acceleration[0], lattice[1] :: acceleration[1]] = True
        k = sense_forward(image, maps, mask)
        # Single precision times the condition number of the folds (below 1e3).
        assert relative(unfold(k, maps, acceleration, lattice, regularisation=0), image) < 1e-3
        assert (
            relative(cg_sense(k, maps, mask, regularisation=0, iterations=200, tolerance=1e-6), image) < 5e-3
        )

    def test_conjugate_gradients_solve_the_normal_equations(self):
        rng = np.random.default_rng(5)
        maps, image = complex_normal(rng, 1, 3, 6, 5), complex_normal(rng, 1, 6, 5)
        mask = rng.random((6, 5)) < 0.6
        k = sense_forward(image, maps, mask) + 0.1 * complex_normal(rng, 1, 3, 6, 5) * mask
        basis = np.eye(30, dtype=np.complex64).reshape(30, 1, 6, 5)
        matrix = np.stack([sense_forward(b, maps, mask).ravel() for b in basis], axis=1)
        lam = 0.05
        expected = np.linalg.solve(matrix.conj().T @ matrix + lam * np.eye(30), matrix.conj().T @ k.ravel())
        found = cg_sense(k, maps, mask, regularisation=lam, iterations=200, tolerance=1e-6)
        assert relative(found.ravel(), expected) < 1e-4  # the solver's tolerance times the condition number

    def test_g_factor_of_two_coils(self):
        # Two coils, two aliases, in closed form: with n_i = |s_i|^2 and the overlap c = s_1^H s_2,
        # S^H S = [[n1, c], [c*, n2]], so g^2 = n1 n2 / (n1 n2 - |c|^2) for both aliases.
        s = np.array([[1.0, 0.4], [0.3j, 0.9 - 0.2j]])
        overlap = np.vdot(s[:, 0], s[:, 1])
        powers = (np.abs(s) ** 2).sum(0)
        expected = np.sqrt(powers.prod() / (powers.prod() - abs(overlap) ** 2))
        assert g_factor(s) == pytest.approx([expected, expected], rel=1e-12)
        assert g_factor(s[:, :1]) == pytest.approx([1.0], rel=1e-12)  # R = 1

    def test_g_factor_with_correlated_noise(self):
        # Whitening the encoding first must give the same factor.
        s = np.array([[1.0, 0.4], [0.3j, 0.9 - 0.2j], [0.5, 0.1]])
        psi = np.array([[1, 0.3, 0.1j], [0.3, 2, 0.2], [-0.1j, 0.2, 0.7]])
        white = np.linalg.solve(np.linalg.cholesky(psi), s)
        assert g_factor(s, psi) == pytest.approx(g_factor(white), rel=1e-10)

    def test_noise_of_the_unfolded_image(self):
        # sigma = g sqrt(R) sigma_0 / |S|, by 400 repetitions (8 voxels deep along x): SD known to 1.3 %.
        rng = np.random.default_rng(6)
        ny, nz = 8, 1
        maps = self.smooth_maps(3000, 4, ny, nz)
        mask = np.zeros((ny, nz), bool)
        mask[::2] = True
        k = complex_normal(rng, 3000, 4, ny, nz) * mask
        image = unfold(k, maps, (2, 1), (0, 0), regularisation=0)
        s = maps[0, :, :, 0]
        pairs = np.stack([s[:, : ny // 2], s[:, ny // 2 :]], axis=-1).transpose(1, 0, 2)
        g = g_factor(pairs).T.ravel()
        expected = (
            g * np.sqrt(2) * np.sqrt(2) / np.linalg.norm(s, axis=0)
        )  # sqrt(R), and complex noise of power 2
        assert np.sqrt((np.abs(image) ** 2).mean(0))[:, 0] == pytest.approx(expected, rel=0.05)

    def test_matrix_must_divide(self):
        k = np.zeros((1, 2, 9, 4), np.complex64)
        with pytest.raises(ValueError, match="cg_sense"):
            unfold(k, k, (2, 1), (0, 0))


class TestGrappa:
    def test_exact_where_coils_are_plane_waves(self):
        # Four coils that are whole k-space steps: a missing line is another coil's acquired line exactly.
        rng = np.random.default_rng(7)
        base = complex_normal(rng, 12, 24, 14)
        coils = np.stack([np.roll(base, shift, axis=1) for shift in (-1, 0, 1, 2)])
        kernel = calibrate_grappa(coils[:, :, 2:22, 1:13], (2, 1), regularisation=1e-10)
        mask = np.zeros((24, 14), bool)
        mask[1::2] = True
        hybrid = ifft_centred(coils, (1,)).swapaxes(0, 1).copy()
        damaged = hybrid * mask
        todo = fill_mask(mask, mask)
        assert not todo[0].any()
        assert todo[2].all()
        kernel.apply(damaged, kernel.hybrid(12), (1, 0), todo)
        inner = slice(4, 20)
        assert relative(damaged[:, :, inner], hybrid[:, :, inner]) < 1e-3  # conditioning in single precision
        assert np.array_equal(damaged[:, :, 1::2], hybrid[:, :, 1::2])

    @pytest.mark.parametrize(
        ("changes", "limit"),
        [
            # 0.012 and 0.041 are pygrappa's errors at R = 2 and 3 (256 x 256, 8 coils); this matrix is small,
            # so more of its energy lies in lines that have to be filled.
            ({"acceleration": 2, "acs": 16}, 0.02),
            ({"acceleration": 3, "acs": 20}, 0.06),
            ({"acceleration": 2, "acs": 16, "acs_2": 14}, 0.03),
            ({"acceleration": 2, "acceleration_2": 2, "acs": 18, "acs_2": 14}, 0.04),
            ({"acceleration": 1, "acceleration_2": 2, "acs": 36, "acs_2": 12}, 0.03),
        ],
    )
    def test_error_against_full_sampling(self, measure, optimum, changes, limit):
        combined, _ = optimum
        image = on_image_grid(reconstruct(measure(**changes)).data)
        zero_filled = on_image_grid(reconstruct(measure(**changes), ReconOptions(acceleration="none")).data)
        assert relative(image, combined) < limit
        assert relative(image, combined) < 0.6 * relative(zero_filled, combined)

    def test_acs_lines_stay_as_measured(self, measure, kspace):
        from recon.calibration import calibration_block
        from recon.cartesian import imaging_rows, load_kspace, make_grid
        from recon.noise import NoiseModel

        raw = measure(acceleration=2, acs=12)
        k = load_kspace(raw, imaging_rows(raw), make_grid(raw.header.encodings[0]), NoiseModel())
        block = calibration_block(k, (80, 12, 20))
        assert block.shape == (6, 40, 12, 20)
        # A readout cropped in image space to half its field of view is the low-pass filtered, decimated one;
        # compare there.
        expected = ifft_centred(kspace[:, :, 12:24].astype(np.complex64), (1,))[:, 20:60]
        assert relative(ifft_centred(block, (1,)), expected) < 1e-5

    def test_calibration_too_small(self, measure):
        with pytest.raises(RawDataError, match="calibration block must exceed the kernel"):
            reconstruct(measure(acceleration=2, acs=0))

    @pytest.mark.parametrize("method", ["sense", "cg_sense"])
    def test_sense_from_the_file(self, measure, optimum, method):
        combined, _ = optimum
        image = on_image_grid(
            reconstruct(measure(acceleration=2, acs=16), ReconOptions(acceleration=method)).data
        )
        # Maps from 16 lines know the object's edges to two voxels only.
        assert relative(image, combined) < 0.05

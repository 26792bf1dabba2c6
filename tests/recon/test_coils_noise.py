"""Noise covariance, prewhitening, combination statistics, sensitivities against independent programs."""

import math

import numpy as np
import pytest

from recon import ReconOptions, reconstruct
from recon.coils import CoilMaps, dominant_eigenvector, espirit_maps, low_resolution, rss, walsh_maps
from recon.fourier import fft_centred
from recon.noise import noise_covariance

from . import synthetic
from .synthetic import Setup, on_image_grid


def covariance(coils, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((coils, 2 * coils)) + 1j * rng.standard_normal((coils, 2 * coils))
    return a @ a.conj().T / (2 * coils)


class TestNoise:
    def test_covariance_with_bandwidth_scaling(self, measure):
        psi = covariance(6)
        # The noise scan runs at twice the dwell time: half the variance, to be doubled by the reader.
        raw = measure(noise_covariance=psi, noise_scan=300, noise_dwell_us=10.0)
        model = noise_covariance(raw)
        # 300 * 80 samples: each entry is known to 1 / sqrt(24000) = 0.65 % of the diagonal; 5 sigma.
        assert np.abs(model.covariance - psi).max() < 0.033 * np.diag(psi).real.max()
        white = model.whitening @ psi @ model.whitening.conj().T
        mean = np.trace(psi).real / 6
        assert np.abs(white - mean * np.eye(6)).max() < 0.05 * mean
        assert model.sigma == pytest.approx(np.sqrt(mean / 2), rel=0.01)

    def test_without_a_noise_scan_nothing_changes(self, measure):
        model = noise_covariance(measure())
        assert model.whitening is None
        image = reconstruct(measure())
        assert any("no noise scan" in note for note in image.meta["notes"])

    def test_singular_or_short_scans_are_ignored(self, measure):
        raw = measure(noise_covariance=np.ones((6, 6)) + 1e-16 * np.eye(6) + np.eye(6) * 1e-13, noise_scan=50)
        assert "singular" in noise_covariance(raw).note

    def test_noise_level_through_the_transforms(self, tmp_path):
        # No object: pure noise of standard deviation 0.7 per component, unitary transforms, one coil.
        setup = Setup(coils=1, noise_covariance=np.array([[2 * 0.7**2]]), matrix=(40, 36, 20))
        kspace = np.zeros((1, 80, 36, 20))
        path = synthetic.write(tmp_path / "a.h5", setup, synthetic.acquisitions(setup, kspace))
        from recon import read_raw

        image = reconstruct(read_raw(path), ReconOptions(magnitude=False)).data
        # 28800 voxels: 1 / sqrt(2 * 28800) = 0.42 %; 4 sigma.
        assert image.real.std() == pytest.approx(0.7, rel=0.017)
        assert image.imag.std() == pytest.approx(0.7, rel=0.017)
        assert np.abs(image).mean() == pytest.approx(0.7 * math.sqrt(math.pi / 2), rel=0.015)  # Rayleigh

    @pytest.mark.parametrize("coils", [2, 8])
    def test_background_of_root_sum_of_squares(self, tmp_path, coils):
        from recon import read_raw

        setup = Setup(coils=coils, noise_covariance=2 * np.eye(coils), noise_scan=30)
        kspace = np.zeros((coils, 80, 36, 20))
        path = synthetic.write(tmp_path / "a.h5", setup, synthetic.acquisitions(setup, kspace))
        image = reconstruct(read_raw(path), ReconOptions(combine="rss")).data
        mean = math.sqrt(2) * math.gamma(coils + 0.5) / math.gamma(coils)  # nc-chi without signal
        spread = math.sqrt(2 * coils - mean**2)
        # The mean of 28800 voxels is known to 0.2 %, the spread to 0.5 %; whitening with an estimated
        # covariance adds 1 %.
        assert image.mean() == pytest.approx(mean, rel=0.02)
        assert image.std() == pytest.approx(spread, rel=0.03)

    def test_adaptive_background_is_lower(self, measure):
        raw = measure(noise_covariance=0.04 * np.eye(6), noise_scan=20)
        corner = np.s_[:4, :4]
        adaptive = reconstruct(raw).data[corner].mean()
        summed = reconstruct(raw, ReconOptions(combine="rss")).data[corner].mean()
        # Root sum of squares of six coils has 3.40 sigma, one combined channel 1.25 sigma (plus ringing).
        assert adaptive < 0.6 * summed


class TestMaps:
    @pytest.fixture
    def block(self, kspace):
        low = kspace[:, 40 - 24 : 40 + 24, 18 - 12 : 18 + 12, :].astype(np.complex64)
        from recon.fourier import crop, ifft_centred

        return crop(fft_centred(crop(ifft_centred(low, (1,)), 1, 24), (1,)), 1, 24)

    def test_dominant_eigenvector(self):
        rng = np.random.default_rng(0)
        a = rng.standard_normal((50, 7, 3)) + 1j * rng.standard_normal((50, 7, 3))
        a[..., 0] *= 3
        matrices = a @ a.conj().swapaxes(-1, -2)
        found = dominant_eigenvector(matrices, iterations=40)
        expected = np.linalg.eigh(matrices)[1][..., -1]
        assert np.abs((found.conj() * expected).sum(-1)) == pytest.approx(1, abs=1e-6)

    @pytest.mark.parametrize("kind", ["walsh", "espirit"])
    def test_direction_of_the_true_sensitivities(self, block, kind, optimum):
        setup = Setup()
        shape = setup.matrix
        positions = synthetic.voxel_positions(shape, setup.fov)
        true = synthetic.sensitivities(synthetic.coil_waves(6, setup.fov), positions)
        coarse = (24, 24, 20)
        maps = (
            walsh_maps(low_resolution(block, coarse)) if kind == "walsh" else espirit_maps(block, coarse)[0]
        )
        full = CoilMaps(maps=maps).slab(0, shape[0], shape)
        overlap = np.abs((full.swapaxes(0, 1).conj() * true).sum(0)) / np.linalg.norm(true, axis=0)
        _, mask = optimum
        # Loss of signal-to-noise by wrong maps: 1 - overlap; the edges see the truncation of 24 lines.
        assert np.quantile(overlap[mask], 0.05) > 0.99
        assert np.median(overlap[mask]) > 0.999

    def test_espirit_against_sigpy(self, tmp_path):
        from sigpy.mri.app import EspiritCalib

        setup = Setup(matrix=(48, 40, 1), oversampling=1, fov=(0.2, 0.18, 0.12))
        objects = tuple(((x, y, 0), (a, b, 10.0), d) for (x, y, _), (a, b, _), d in synthetic.OBJECT)
        kspace = synthetic.full_kspace(setup, objects)
        k = kspace[..., 0].astype(np.complex64)
        calibration = k[:, 12:36, 8:32, None]
        ours, value = espirit_maps(calibration, (48, 40, 1), kernel=6, threshold=0.02, crop=0.95)
        theirs = np.asarray(
            EspiritCalib(
                k, calib_width=24, thresh=0.02, kernel_width=6, crop=0.95, max_iter=100, show_pbar=False
            ).run()
        )
        inside = (np.abs(theirs).sum(0) > 0) & (value[..., 0] > 0.95)
        assert inside.sum() > 0.2 * inside.size
        # Both are unit vectors up to a phase; sigpy's power iteration and single precision leave 1e-3.
        overlap = np.abs((ours[..., 0].conj() * theirs).sum(0))[inside]
        assert overlap.min() > 0.995
        # The supports agree but for the voxels at the threshold.
        agree = (np.abs(theirs).sum(0) > 0) == (np.abs(ours[..., 0]).sum(0) > 0)
        assert agree.mean() > 0.97

    def test_combination_reaches_the_optimum(self, measure, optimum):
        combined, mask = optimum
        image = on_image_grid(reconstruct(measure()).data)
        # Loss by maps from the centre of k-space: below 1 % of the signal.
        assert np.linalg.norm((image - combined)[mask]) / np.linalg.norm(combined[mask]) < 0.01

    def test_rss(self):
        data = np.array([[3 + 0j, 1j], [4j, 0]], np.complex64)
        assert rss(data).tolist() == [5.0, 1.0]

    def test_interpolation_is_centred(self):
        # A linear function is interpolated exactly away from the periodic edge.
        coarse = (np.arange(16.0) - 8) / 16
        maps = np.broadcast_to(coarse[None, :, None, None] + 1, (1, 16, 4, 4)).astype(np.complex64)
        fine = CoilMaps(maps=maps).interpolate(0, 40, (40, 5, 6))[:, 0, 2, 3].real
        r = (np.arange(40) - 20) / 40
        inner = np.abs(r) < 0.4
        assert fine[inner] == pytest.approx(r[inner] + 1, abs=1e-6)

"""Geometry factors: closed forms, and the noise of many reconstructions."""

from dataclasses import replace

import numpy as np
import pytest

from recon import RawDataError, ReconOptions, g_factor, read_raw, reconstruct
from recon.calibration import calibration_block
from recon.cartesian import load_kspace, make_grid
from recon.gfactor import grappa_image_weights, sense_map
from recon.grappa import calibrate_grappa
from recon.noise import NoiseModel
from recon.sense import g_factor as closed_form

from . import synthetic, trains
from .synthetic import Setup, on_image_grid

SETUP = Setup(matrix=(24, 36, 1), fov=(0.192, 0.180, 0.004), coils=6, acceleration=2, acs=20)


def file(tmp_path, setup):
    """Lines of the lattice, and separate calibration lines."""
    full, acqs = trains.reference(setup), []
    for line in range(setup.matrix[1]):
        if line % setup.acceleration == (setup.matrix[1] // 2) % setup.acceleration:
            acqs.append(full[line])
    half, middle = setup.acs // 2, setup.matrix[1] // 2
    for a in trains.reference(setup)[middle - half : middle + half]:
        a.setFlag(synthetic.CALIBRATION + 1)
        acqs.append(a)
    return read_raw(synthetic.write(tmp_path / "g.h5", setup, acqs))


def test_two_coils():
    """By hand: S = [[1, a], [a, 1]] has g^2 = ((1 + a^2) / (1 - a^2))^2 for both aliases."""
    for a in (0.0, 0.3, 0.8):
        g = closed_form(np.array([[1, a], [a, 1]]))
        np.testing.assert_allclose(g, (1 + a**2) / (1 - a**2), rtol=1e-12)
    # Different coils and correlated noise, by the inverse of a 2 x 2 matrix written out.
    s = np.array([[1.0, 0.4j], [0.3, 0.9]])
    psi = np.array([[1.0, 0.2], [0.2, 2.0]])
    inverse = np.array([[2.0, -0.2], [-0.2, 1.0]]) / (2.0 - 0.04)
    m = s.conj().T @ inverse @ s
    det = (m[0, 0] * m[1, 1] - m[0, 1] * m[1, 0]).real
    expected = np.sqrt([m[1, 1].real * m[0, 0].real / det, m[0, 0].real * m[1, 1].real / det])
    np.testing.assert_allclose(closed_form(s, psi), expected, rtol=1e-12)


@pytest.mark.parametrize("method", ["grappa", "sense"])
def test_no_acceleration_costs_nothing(tmp_path, method):
    raw = file(tmp_path, replace(SETUP, acceleration=1, acs=0))
    g = g_factor(raw, ReconOptions(acceleration=method))
    np.testing.assert_array_equal(g.data, 1.0)


def test_sense_map_of_two_coils():
    """Sensitivities that repeat after half the field of view exchange their roles there."""
    a = 0.5
    maps = np.ones((3, 2, 8, 1), np.complex64)
    maps[:, 1, :4], maps[:, 0, 4:] = a, a
    np.testing.assert_allclose(sense_map(maps, (2, 1)), (1 + a**2) / (1 - a**2), rtol=1e-6)
    np.testing.assert_allclose(sense_map(maps, (1, 1)), 1.0, rtol=1e-6)
    # Coils that cannot tell the aliases apart are bounded.
    assert np.isfinite(sense_map(np.ones((1, 2, 8, 1), np.complex64), (2, 1))).all()


def test_image_weights_are_the_reconstruction(tmp_path):
    """The product in image space equals filling k-space (for complete lattices, cyclic at the edges)."""
    raw = file(tmp_path, SETUP)
    grid = make_grid(raw.header.encodings[0])
    kspace = load_kspace(raw, np.arange(len(raw.heads)), grid, NoiseModel())
    kernel = calibrate_grappa(calibration_block(kspace, (32, 32, 1)), (2, 1))
    k = kspace.slab(0, 24)
    k[:, :, ~kspace.lattice_mask()] = 0
    lattice = np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(k[7, :, :, 0], axes=1), axis=1), axes=1)
    weights = grappa_image_weights(kernel, 7, (24, 36, 1))[:, 0]
    product = np.einsum("yij,jy->iy", weights, lattice)
    kernel.apply(k, kernel.hybrid(24), kspace.lattice, ~kspace.lattice_mask())
    filled = np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(k[7, :, :, 0], axes=1), axis=1), axes=1)
    # Lines at the two ends take zeros where the product takes the other end.
    assert np.linalg.norm(product - filled) < 0.02 * np.linalg.norm(filled)


@pytest.mark.parametrize("method", ["grappa", "sense"])
def test_against_many_noisy_images(tmp_path, method):
    """Standard deviation of 120 reconstructions over sqrt(2 R) sigma is the map.

    Noise is on the image's lines only: in the calibration lines it would change kernel and sensitivities, an
    effect of its own.
    """
    options = ReconOptions(acceleration=method, magnitude=False, partial_fourier="zero")
    raw = file(tmp_path, SETUP)
    g = on_image_grid(g_factor(raw, options).data)[..., 0]
    group, rng, images = raw.groups[0], np.random.default_rng(7), []
    image_lines = ~raw.flagged(1 << synthetic.CALIBRATION)[group.index]
    sigma = 1e-3 * np.abs(group.data).max()
    for _ in range(120):
        white = rng.standard_normal((2, *group.data[image_lines].shape)).astype(np.float32) * sigma
        data = group.data.copy()
        data[image_lines] += white[0] + 1j * white[1]
        noisy = replace(raw, groups=(replace(group, data=data),))
        images.append(on_image_grid(reconstruct(noisy, options).data)[..., 0])
    spread = np.array(images)
    measured = np.sqrt(spread.real.var(axis=0, ddof=1) + spread.imag.var(axis=0, ddof=1)) / (2 * sigma)
    inside = np.abs(spread.mean(axis=0)) > 0.4 * np.abs(spread).max()
    ratio = measured[inside] / g[inside]
    # 120 complex draws know a deviation to 4.6 % a pixel; some 80 pairs of aliases their mean to 0.6 %.
    # At the ends of k-space GRAPPA's kernel reads zeros, where the map has it wrap around: up to 3 % here.
    assert ratio.mean() == pytest.approx(1.0, abs={"sense": 0.02, "grappa": 0.04}[method])
    assert ratio.std() < 0.07
    assert g[inside].max() > 1.5


def test_only_lines_of_single_slices(tmp_path):
    train = trains.Train()
    setup = replace(SETUP, acceleration=1, acs=0)
    xml = synthetic.header_xml(setup).replace("<trajectory>cartesian", "<trajectory>radial")
    acqs = trains.play(setup, train, range(36))
    raw = read_raw(synthetic.write(tmp_path / "a.h5", setup, acqs, xml=xml))
    with pytest.raises(RawDataError, match="needs Cartesian lines"):
        g_factor(raw)

"""Windows against the measured table of point spread functions, and zero filling."""

import numpy as np
import pytest

from recon import Window
from recon.windows import filter_and_interpolate, window_array

N = 256

# FWHM of |FFT(w)| zero-padded 64 times [pixels] and noise factor sqrt(mean w^2) on 256 points, by direct
# evaluation of the textbook windows.
TABLE = [
    (Window(), 1.207, 1.0),
    (Window(kind="hamming"), 1.815, 0.630),
    (Window(kind="hann"), 2.000, 0.612),
    (Window(kind="tukey", alpha=0.5), 1.573, 0.829),
    (Window(kind="fermi", radius=1.0, width=10 / 128), 1.264, 0.952),
    (Window(kind="fermi", radius=0.9, width=0.05), 1.339, 0.922),
    (Window(kind="gaussian", sigma=0.5), 1.641, 0.664),
]


def fwhm(weights):
    psf = np.abs(np.fft.fft(weights, 64 * N))[: 8 * 64]
    half = psf[0] / 2
    i = int(np.argmax(psf < half))
    return 2 * (i - 1 + (psf[i - 1] - half) / (psf[i - 1] - psf[i])) / 64


@pytest.mark.parametrize(("window", "width", "noise"), TABLE)
def test_resolution_and_noise(window, width, noise):
    weights = window_array(window, (N, 1, 1))[:, 0, 0].astype(float)
    assert weights[N // 2] == pytest.approx(1, abs=1e-5)
    # Half of the table's last digit, plus the one-sample offset between symmetric and periodic windows,
    # which shifts the width by up to 0.5 % on 256 points.
    assert fwhm(weights) == pytest.approx(width, rel=5e-3)
    assert np.sqrt((weights**2).mean()) == pytest.approx(noise, rel=5e-3)


def test_first_side_lobe_of_the_plain_window():
    psf = np.abs(np.fft.fft(window_array(Window(), (N, 1, 1))[:, 0, 0], 64 * N)) / N
    assert psf[64 : 64 * 2].max() == pytest.approx(0.217, abs=1e-3)  # Dirichlet kernel


def test_noise_factor_through_the_filter():
    rng = np.random.default_rng(3)
    shape = (48, 40, 20)
    noise = (rng.standard_normal((2, *shape)) * [[[[1]]], [[[1j]]]]).sum(0).astype(np.complex64)
    window = Window(kind="hann")
    out = filter_and_interpolate(noise, window, shape)
    expected = np.sqrt(np.mean(window_array(window, shape).astype(float) ** 2))
    # 38400 samples, of which about a fifth are independent after the filter: 1 / sqrt(2 * 7e3) = 0.8 %.
    assert out.real.std() / noise.real.std() == pytest.approx(expected, rel=0.03)


def test_elliptical_drops_the_corners():
    weights = window_array(Window(elliptical=True), (1, 200, 180))
    # Area of the inscribed ellipse; the discrete boundary adds about perimeter / area = 1 %.
    assert weights.mean() == pytest.approx(np.pi / 4, rel=0.01)


def test_zero_fill_keeps_brightness_and_centre():
    shape, finer = (16, 15, 9), (24, 30, 18)
    k = (3, -2, 1)  # whole cycles per field of view: a trigonometric polynomial is interpolated exactly

    def wave(sizes):
        axes = [np.exp(2j * np.pi * f * (np.arange(n) - n // 2) / n) for f, n in zip(k, sizes, strict=True)]
        return np.einsum("i,j,k->ijk", *axes)

    out = filter_and_interpolate(wave(shape).astype(np.complex64), Window(), finer)
    assert np.allclose(out, wave(finer), atol=1e-5)  # single precision


@pytest.mark.parametrize("bad", [{"kind": "kaiser"}, {"alpha": 0}, {"width": -1}, {"sigma": float("nan")}])
def test_bad_parameters(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Window(**bad)

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from mrsim import evaluation as ev
from mrsim.evaluation.image_structure import gradient_magnitude

from .brain import TISSUES, VOXEL

MEANS = (0.25, 0.6, 1.0)


@pytest.fixture
def scan(brain, rng):
    return brain.image(MEANS, noise=0.02, rng=rng)


@pytest.fixture
def fractions(brain):
    return dict(zip(TISSUES, brain.fractions, strict=True))


def test_tissue_values_are_the_planted_ones(brain, scan, fractions):
    values = ev.tissue_values(scan, fractions, brain.mask, purity=0.99)
    for mean, tissue in zip(MEANS, TISSUES, strict=True):
        # Median of > 1000 voxels of sd 0.02: standard error below 0.001; 5 of them.
        assert values[tissue][0] == pytest.approx(mean, abs=0.005)
        assert values[tissue][1] == pytest.approx(0.02, rel=0.1)


def test_contrast_measures_by_hand():
    contrast = ev.tissue_contrast({"csf": (1.0, 0.1), "gm": (2.0, 0.3), "wm": (4.0, 0.4)})
    assert contrast["wm_gm_ratio"] == 2.0
    assert contrast["gm_csf_ratio"] == 2.0
    assert contrast["wm_gm_cnr"] == pytest.approx(2.0 / np.sqrt(0.125))
    assert contrast["gm_position"] == pytest.approx(1 / 3)


def test_contrast_error_sees_flattened_contrast_and_only_that(brain, scan, fractions):
    flat = brain.image((0.25, 0.72, 1.0), noise=0.02, rng=np.random.default_rng(5))
    errors = ev.contrast_error(flat, scan, fractions, brain.mask, purity=0.99)
    # 1/0.72 against 1/0.6, and (0.72 - 0.25)/0.75 against (0.6 - 0.25)/0.75; noise of medians below 0.5 %.
    assert errors["wm_gm_ratio_error"] == pytest.approx(-16.7, abs=0.7)
    assert errors["gm_position_error"] == pytest.approx(16.0, abs=0.7)
    shifted = ev.contrast_error(3.0 * scan - 5.0, scan, fractions, brain.mask)
    assert shifted["gm_position_error"] == pytest.approx(0.0, abs=1e-9)
    assert shifted["wm_gm_cnr_error"] == pytest.approx(0.0, abs=1e-9)


def test_tissue_values_says_what_is_missing(brain, scan):
    with pytest.raises(ev.MetricInputError, match="'lesion' must have at least 20"):
        ev.tissue_values(scan, {"lesion": np.zeros(scan.shape)}, brain.mask)


def test_gradient_of_a_ramp_is_its_slope():
    shape, sizes = (8, 7, 6), (1e-3, 2e-3, 3e-3)
    x, y, z = np.meshgrid(*[np.arange(n) * d for n, d in zip(shape, sizes, strict=True)], indexing="ij")
    gradient = gradient_magnitude(3 * x - 4 * y + 12 * z, np.ones(shape), sizes)
    assert gradient.size == 6 * 5 * 4
    assert gradient == pytest.approx(13.0, rel=1e-9)


def test_edge_measures_are_free_of_units(brain, scan):
    plain, mapped = ev.edge_energy(scan, brain.mask, VOXEL), ev.edge_energy(9 * scan + 4, brain.mask, VOXEL)
    assert mapped == pytest.approx(plain, rel=1e-9)
    scores = ev.structure_scores(9 * scan + 4, scan, brain.mask, VOXEL)
    assert all(v == pytest.approx(1.0, rel=1e-6) for v in scores.values())


def test_blur_is_exposed_where_correlation_forgives_it(brain, scan):
    blurred = gaussian_filter(scan, 1.0)
    scores = ev.structure_scores(blurred, scan, brain.mask, VOXEL)
    assert ev.correlation(blurred, scan, brain.mask) > 0.93
    # A blur of one voxel takes a fifth of the edge energy here: twice the margin of the noise test below.
    assert scores["edge_energy_ratio"] < 0.9
    # exp(-(2 pi k sigma)^2) at half Nyquist is 0.085; the average spread of the image falls as well.
    assert scores["high_frequency_ratio"] < 0.3


def test_noise_raises_what_blur_lowers(brain, scan, rng):
    noisy = scan + rng.normal(0.0, 0.1, scan.shape)
    scores = ev.structure_scores(noisy, scan, brain.mask, VOXEL)
    assert scores["edge_energy_ratio"] > 1.05
    assert scores["high_frequency_ratio"] > 1.5


def test_power_ratio_of_a_gaussian_blur_is_its_transfer_function(rng):
    # White noise, full box: the ratio is exp(-(2 pi k sigma)^2)^2 up to each image's own standardisation.
    noise = rng.normal(0.0, 1.0, (64, 60, 56))
    sigma = 1.0
    blurred = gaussian_filter(noise, sigma, mode="wrap")
    mask = np.ones(noise.shape, bool)
    k, ratio = ev.power_spectrum_ratio(blurred, noise, mask, VOXEL, n_bands=12)
    wanted = np.exp(-((2 * np.pi * k * sigma * 2e-3) ** 2))
    got = ratio * blurred.var() / noise.var()
    # Lowest band: few coefficients; top bands: the rim's window leaks. The rest within band width and
    # sampling noise.
    assert got[1:7] == pytest.approx(wanted[1:7], rel=0.12)


def test_white_noise_has_a_flat_spectrum_of_one(rng):
    _, power = ev.power_spectrum(rng.normal(3.0, 5.0, (40, 44, 36)), np.ones((40, 44, 36)), VOXEL)
    # Some hundred coefficients per band from the third on, relative sd 1/sqrt(n).
    assert power[3:] == pytest.approx(1.0, abs=0.2)


def test_millimetres_are_refused(brain, scan):
    with pytest.raises(ev.MetricInputError, match="metres"):
        ev.edge_energy(scan, brain.mask, (2.0, 2.0, 2.0))

import numpy as np
import pytest

from mrsim import evaluation as ev
from mrsim.evaluation.image_metrics import local_moments

SHAPE = (7, 6, 9)
PAIRED = {
    "mae": ev.mae,
    "rmse": ev.rmse,
    "nrmse": ev.nrmse,
    "psnr": lambda x, y, m: ev.psnr(x, y, m, data_range=2.0),
    "ssim": lambda x, y, m: ev.ssim(x, y, m, data_range=2.0),
    "correlation": ev.correlation,
}
PERFECT = {"mae": 0.0, "rmse": 0.0, "nrmse": 0.0, "psnr": np.inf, "ssim": 1.0, "correlation": 1.0}


@pytest.fixture
def pair(rng):
    reference = rng.uniform(0.5, 1.5, SHAPE)
    image = reference + rng.normal(0.0, 0.1, SHAPE)
    mask = rng.random(SHAPE) < 0.6
    return image, reference, mask


@pytest.mark.parametrize("name", PAIRED)
def test_identity(name, pair):
    _, reference, mask = pair
    # Rounding only: sums of some hundred doubles.
    assert PAIRED[name](reference, reference, mask) == pytest.approx(PERFECT[name], abs=1e-12)


@pytest.mark.parametrize("name", ["mae", "rmse", "psnr", "ssim", "correlation"])
def test_symmetry(name, pair):
    image, reference, mask = pair
    forward, backward = PAIRED[name](image, reference, mask), PAIRED[name](reference, image, mask)
    assert forward == pytest.approx(backward, rel=1e-12)


def test_nrmse_is_not_symmetric_since_the_reference_scales_it(pair):
    image, reference, mask = pair
    assert ev.nrmse(2 * image, reference, mask) != pytest.approx(
        ev.nrmse(reference, 2 * image, mask), rel=0.01
    )


@pytest.mark.parametrize("name", ["mae", "rmse", "nrmse", "psnr", "correlation"])
def test_voxel_order_does_not_matter(name, pair, rng):
    order = rng.permutation(int(np.prod(SHAPE)))
    shuffled = [v.ravel()[order].reshape(SHAPE) for v in pair]
    assert PAIRED[name](*shuffled) == pytest.approx(PAIRED[name](*pair), rel=1e-12)


def test_ssim_follows_the_axes_but_not_their_order(pair):
    moved = [np.transpose(v, (2, 0, 1))[::-1] for v in pair]
    assert PAIRED["ssim"](*moved) == pytest.approx(PAIRED["ssim"](*pair), rel=1e-12)


@pytest.mark.parametrize("name", PAIRED)
def test_outside_the_mask_is_never_seen(name, pair):
    image, reference, mask = pair
    spoiled = np.where(mask, image, 1e9)
    assert PAIRED[name](spoiled, reference, mask) == pytest.approx(PAIRED[name](*pair), rel=1e-9)


def test_units(pair):
    image, reference, mask = pair
    k = 250.0
    assert ev.mae(k * image, k * reference, mask) == pytest.approx(k * ev.mae(image, reference, mask))
    assert ev.nrmse(k * image, k * reference, mask) == pytest.approx(ev.nrmse(image, reference, mask))
    scaled = ev.ssim(k * image, k * reference, mask, data_range=2.0 * k)
    assert scaled == pytest.approx(ev.ssim(image, reference, mask, data_range=2.0), rel=1e-9)
    decibel = ev.psnr(k * image, k * reference, mask, data_range=2.0 * k)
    assert decibel == pytest.approx(ev.psnr(image, reference, mask, data_range=2.0))


@pytest.mark.parametrize("name", PAIRED)
def test_bad_input_is_refused(name, pair):
    image, reference, mask = pair
    with pytest.raises(ev.MetricInputError, match="empty mask"):
        PAIRED[name](image, reference, np.zeros(SHAPE, bool))
    with pytest.raises(ev.MetricInputError, match="must have shape"):
        PAIRED[name](image, reference[:-1], mask)
    with pytest.raises(ev.MetricInputError, match="mask must have"):
        PAIRED[name](image, reference, mask[:-1])
    broken = image.copy()
    broken[tuple(np.argwhere(mask)[0])] = np.nan
    with pytest.raises(ev.MetricInputError, match="finite; got 1 of"):
        PAIRED[name](broken, reference, mask)


def test_hand_worked_values():
    image, reference = np.array([[1.0, 2.0, 4.0]]), np.array([[1.0, 4.0, 1.0]])
    mask = np.ones((1, 3), bool)
    assert ev.mae(image, reference, mask) == pytest.approx(5 / 3)
    assert ev.rmse(image, reference, mask) == pytest.approx(np.sqrt(13 / 3))
    assert ev.nrmse(image, reference, mask) == pytest.approx(np.sqrt(13 / 18))
    assert ev.nrmse(image, reference, mask, normalisation="range") == pytest.approx(np.sqrt(13 / 3) / 3)
    assert ev.nrmse(image, reference, mask, normalisation="mean") == pytest.approx(np.sqrt(13 / 3) / 2)
    assert ev.nrmse(image, reference, mask, normalisation="sd") == pytest.approx(np.sqrt(13 / 3) / np.sqrt(2))
    assert ev.psnr(image, reference, mask, data_range=10.0) == pytest.approx(10 * np.log10(100 / (13 / 3)))


def test_ssim_of_flat_images_is_the_luminance_term():
    a, b, span = 0.7, 1.1, 2.0
    c1 = (0.01 * span) ** 2
    got = ev.ssim(np.full(SHAPE, a), np.full(SHAPE, b), np.ones(SHAPE), data_range=span)
    assert got == pytest.approx((2 * a * b + c1) / (a * a + b * b + c1), rel=1e-9)


def test_ssim_equals_the_definition_window_by_window(pair):
    image, reference, mask = pair
    sigma, span = 1.5, 2.0
    reach = int(3.5 * sigma + 0.5)
    points = np.argwhere(mask)
    values = []
    for p in points:
        near = points[np.all(np.abs(points - p) <= reach, axis=1)]
        w = np.exp(-np.sum((near - p) ** 2, axis=1) / (2 * sigma**2))
        w /= w.sum()
        x, y = image[tuple(near.T)], reference[tuple(near.T)]
        mx, my = w @ x, w @ y
        vx, vy, cov = w @ (x - mx) ** 2, w @ (y - my) ** 2, w @ ((x - mx) * (y - my))
        c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
        values.append((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    assert ev.ssim(image, reference, mask, data_range=span) == pytest.approx(np.mean(values), rel=1e-9)


def test_ssim_of_a_mapped_image_needs_no_second_filtering(pair):
    image, reference, mask = pair
    fast = local_moments(image, reference, mask).ssim(2.0, slope=0.8, intercept=0.3).mean()
    assert fast == pytest.approx(ev.ssim(0.8 * image + 0.3, reference, mask, data_range=2.0), rel=1e-9)


@pytest.mark.parametrize("model", ["affine", "robust"])
def test_match_intensity_undoes_any_linear_map(model, pair):
    _, reference, mask = pair
    match = ev.match_intensity((reference - 3.0) / 7.0, reference, mask, model=model)
    assert match.slope == pytest.approx(7.0)
    assert match.intercept == pytest.approx(3.0)


def test_match_intensity_scale_goes_through_the_origin(pair):
    _, reference, mask = pair
    match = ev.match_intensity(reference / 7.0, reference, mask, model="scale")
    assert (match.slope, match.intercept) == (pytest.approx(7.0), 0.0)


def test_match_intensity_is_the_least_squares_optimum(pair, rng):
    image, reference, mask = pair
    best = ev.rmse(ev.match_intensity(image, reference, mask).apply(image), reference, mask)
    for slope, intercept in rng.normal(0.0, 0.02, (20, 2)):
        match = ev.match_intensity(image, reference, mask)
        other = (match.slope + slope) * image + match.intercept + intercept
        assert ev.rmse(other, reference, mask) > best


def test_inverted_contrast_is_not_forgiven(pair):
    _, reference, mask = pair
    match = ev.match_intensity(-reference, reference, mask)
    assert match.slope == 0.0
    assert ev.image_errors(5.0 - reference, reference, mask)["ssim_matched"] < 0.2


def test_image_errors_agrees_with_the_single_metrics(pair):
    image, reference, mask = pair
    scores = ev.image_errors(image, reference, mask)
    span = ev.reference_range(reference, mask)
    assert scores["data_range"] == span
    assert scores["mae"] == pytest.approx(ev.mae(image, reference, mask))
    assert scores["ssim"] == pytest.approx(ev.ssim(image, reference, mask, data_range=span))
    assert scores["psnr"] == pytest.approx(ev.psnr(image, reference, mask, data_range=span))
    matched = ev.match_intensity(image, reference, mask).apply(image)
    assert scores["nrmse_matched"] == pytest.approx(ev.nrmse(matched, reference, mask))
    assert scores["ssim_matched"] == pytest.approx(ev.ssim(matched, reference, mask, data_range=span))
    zscored = ev.image_errors((image - 1.0) / 0.3, reference, mask)
    for name in ("mae_matched", "nrmse_matched", "psnr_matched", "ssim_matched", "correlation"):
        assert zscored[name] == pytest.approx(scores[name], rel=1e-6)


def test_reference_range_needs_a_magnitude_image(pair):
    _, reference, mask = pair
    with pytest.raises(ev.MetricInputError, match="magnitude"):
        ev.reference_range(-reference, mask)

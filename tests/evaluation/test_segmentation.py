import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import truncnorm

from mrsim import evaluation as ev
from mrsim.evaluation.mixels import MixelModel, pair_priors

from .brain import TISSUES, VOXEL, bias_field, make_brain

T1W = (200.0, 480.0, 800.0)
NOISE = 24.0


@pytest.fixture(scope="module")
def priors(brain):
    # 6 mm FWHM and more: priors of other people, not the answer.
    return ev.smooth_priors(brain.fractions, sigma=(2.0, 2.0, 2.0))


@pytest.fixture(scope="module")
def biased(brain, priors):
    field = bias_field(brain.mask.shape)
    image = brain.image(T1W, noise=NOISE, rng=np.random.default_rng(11), bias=field)
    return image, field, ev.segment(image, brain.mask, priors)


def errors(segmentation, brain):
    volumes = ev.regional_volumes(segmentation.posteriors, voxel_volume=8e-9)
    return {t: 100.0 * (volumes[t] / brain.volumes[t] - 1.0) for t in TISSUES}


def test_volumes_without_bias(brain, priors, rng):
    image = brain.image(T1W, noise=NOISE, rng=rng)
    result = ev.segment(image, brain.mask, priors, options=ev.SegmentationOptions(bias_order=0))
    # The ribbon is two voxels thin, so half its voxels are mixed: the bound is the method's own bias
    # (measured: below 3 %), not noise (below 0.2 %).
    assert max(abs(e) for e in errors(result, brain).values()) < 4.0
    assert result.order_kept


def test_volumes_under_a_bias_field(brain, priors, biased):
    image, _, result = biased
    assert max(abs(e) for e in errors(result, brain).values()) < 4.0
    # Without the correction the field counts as noise: it is no decoration.
    plain = ev.segment(image, brain.mask, priors, options=ev.SegmentationOptions(bias_order=0))
    assert plain.sd > 2.0 * NOISE
    assert result.sd == pytest.approx(NOISE, rel=0.1)


def test_bias_field_is_recovered(brain, biased):
    _, field, result = biased
    log = np.log(result.bias[brain.mask]) - np.log(field[brain.mask])
    # Planted log sd 0.13; what remains is below a tenth of it.
    assert log.std() < 0.015


def test_means_and_noise_are_recovered(brain, priors, rng):
    image = brain.image(T1W, noise=NOISE, rng=rng)
    result = ev.segment(image, brain.mask, priors)
    for tissue, mean in zip(TISSUES, T1W, strict=True):
        # Intensity levels are 0.0016 of the span apart, pure voxels abundant: 2 % of the span of 600.
        assert result.means[tissue] == pytest.approx(mean, abs=12.0)
    assert result.sd == pytest.approx(NOISE, rel=0.1)


def test_fractions_in_mixed_voxels(brain, biased):
    _, _, result = biased
    gm, wm = brain.fractions[1], brain.fractions[2]
    mixed = brain.mask & (gm > 0.2) & (wm > 0.2) & (gm + wm > 0.99)
    error = result.posteriors[2][mixed] - wm[mixed]
    # Noise 24 over a step of 320 is 0.075 of fraction; the smooth prior pulls to its own
    # mixture (measured shift: 0.06).
    assert abs(error.mean()) < 0.1
    assert error.std() < 0.15


def test_fractions_sum_to_one_in_the_mask_only(brain, biased):
    total = biased[2].posteriors.sum(axis=0)
    assert total[brain.mask] == pytest.approx(1.0, abs=1e-5)
    assert np.all(total[~brain.mask] == 0.0)


def test_any_units_give_the_same_volumes(brain, priors, biased):
    image, _, result = biased
    zscored = ev.segment((image - 500.0) / 190.0, brain.mask, priors)
    # Exact in real numbers; rounding can move a voxel by one level.
    assert np.abs(zscored.posteriors - result.posteriors).max() < 5e-3
    corrected = (result.correct(image) - 500.0) / 190.0
    assert np.abs(zscored.correct((image - 500.0) / 190.0) - corrected).max() < 1e-3


def test_deterministic(brain, priors, biased):
    again = ev.segment(biased[0], brain.mask, priors)
    assert np.array_equal(again.posteriors, biased[2].posteriors)


def test_true_change_is_seen(brain, priors, rng):
    # Ventricles 15 % longer in each axis: about 3.3 mL less white matter, 3.3 mL more CSF, priors unchanged.
    other = make_brain(ventricle=1.15)
    seen, true = [], []
    for case in (brain, other):
        image = case.image(T1W, noise=NOISE, rng=rng)
        result = ev.segment(image, case.mask, priors)
        seen.append(ev.regional_volumes(result.posteriors, voxel_volume=8e-9)["csf"])
        true.append(case.volumes["csf"])
    assert (seen[1] - seen[0]) / (true[1] - true[0]) == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize(
    ("contrast", "means"),
    [("T2w", (900.0, 450.0, 300.0)), ("FLAIR", (60.0, 500.0, 390.0)), ("PDw", (900.0, 780.0, 640.0))],
)
def test_other_contrasts(brain, priors, rng, contrast, means):
    image = brain.image(means, noise=12.0, rng=rng)
    result = ev.segment(image, brain.mask, priors, options=ev.SegmentationOptions(contrast=contrast))
    assert result.order_kept
    # As for T1w where grey lies between the others; in FLAIR a CSF-grey mixture looks like white matter
    # (measured: 6.4 %).
    limit = 8.0 if contrast == "FLAIR" else 4.0
    assert max(abs(e) for e in errors(result, brain).values()) < limit


def test_inverted_contrast_is_told(brain, priors, rng):
    image = 1000.0 - brain.image(T1W, noise=NOISE, rng=rng)
    assert not ev.segment(image, brain.mask, priors).order_kept


def test_without_priors_the_order_names_the_tissues(brain, rng):
    result = ev.segment(brain.image(T1W, noise=12.0, rng=rng), brain.mask)
    assert result.order_kept
    # No prior tells a ventricle's wall (CSF-WM) from grey matter.
    assert max(abs(e) for e in errors(result, brain).values()) < 15.0


def test_refusals(brain):
    flat = np.ones(brain.mask.shape)
    with pytest.raises(ev.MetricInputError, match="must vary"):
        ev.segment(flat, brain.mask)
    with pytest.raises(ev.MetricInputError, match="priors must have shape"):
        ev.segment(np.indices(flat.shape)[0], brain.mask, np.ones((2, *brain.mask.shape)))
    with pytest.raises(ev.MetricInputError, match="contrast must be one of"):
        ev.SegmentationOptions(contrast="T1")


MODEL = MixelModel(means=np.array([0.3, 0.6, 1.0]), sd=0.05, weights=np.full(6, 1 / 6))


def test_mixture_densities_integrate_to_one():
    levels = np.linspace(-0.5, 2.0, 20_001)
    # Tails beyond the grid are 16 sd away; trapezoid error is negligible.
    assert np.trapezoid(MODEL.likelihood(levels), levels, axis=0) == pytest.approx(1.0, abs=1e-6)


def test_mixture_moments_are_those_of_a_truncated_normal():
    levels = np.array([0.2, 0.55, 0.7, 0.83, 1.1, 1.4])
    first, second = MODEL.moments(levels)
    for c, (i, j) in enumerate(((0, 1), (1, 2), (0, 2)), start=3):
        step = MODEL.means[i] - MODEL.means[j]
        centre, width = (levels - MODEL.means[j]) / step, MODEL.sd / abs(step)
        law = truncnorm((0 - centre) / width, (1 - centre) / width, loc=centre, scale=width)
        # scipy's own tail precision.
        assert first[:, c, i] == pytest.approx(law.mean(), abs=1e-6)
        assert second[:, c, i, i] == pytest.approx(law.mean() ** 2 + law.var(), abs=1e-6)
        assert first[:, c].sum(axis=1) == pytest.approx(1.0)


def test_far_levels_stay_finite():
    levels = np.array([-50.0, 50.0])
    first, second = MODEL.moments(levels)
    assert np.isfinite(MODEL.likelihood(levels)).all()
    assert np.isfinite(first).all()
    assert np.isfinite(second).all()


def test_pair_priors_add_up(rng):
    p = rng.dirichlet(np.ones(3), 50).T.astype(np.float32)
    six = pair_priors(p)
    assert six.sum(axis=0) == pytest.approx(1.0, abs=1e-6)
    # A voxel's expected tissue is kept: pure share plus half of each mixture.
    gm = six[1] + 0.5 * six[3] + 0.5 * six[4]
    assert gm == pytest.approx(p[1], abs=1e-6)


def test_likelihood_never_falls_without_a_bias_step(brain, priors, rng):
    image = brain.image(T1W, noise=NOISE, rng=rng)
    options = ev.SegmentationOptions(bias_order=0, partial_volume=False, tolerance=1e-9, max_iterations=20)
    trace = np.array(ev.segment(image, brain.mask, priors, options=options).log_likelihood)
    # Exact EM for means and sd; the weights' fixed point may lag by rounding of the levels.
    assert np.all(np.diff(trace) > -1e-4)


def test_boundary_width_of_a_gaussian_edge():
    # erf edge of sd s: step over the central gradient is s sqrt(2 pi); central differences widen s^2 by 1/6
    # voxel^2.
    s, n = 2.0, 40
    wm = gaussian_filter(
        np.repeat((np.arange(n) >= n // 2).astype(float)[:, None, None], 9, 1).repeat(9, 2), s
    )
    posteriors = np.stack([np.zeros_like(wm), 1 - wm, wm])
    width = ev.boundary_width(400 + 300 * wm, posteriors, np.ones(wm.shape), VOXEL, step=300.0)
    assert width == pytest.approx(np.sqrt(2 * np.pi) * s * 2e-3, rel=0.08)
    assert ev.boundary_width(4 + 3 * wm, posteriors, np.ones(wm.shape), VOXEL) == pytest.approx(
        width, rel=0.01
    )


def test_blur_widens_the_boundary_of_a_brain(brain, biased):
    image, _, result = biased
    sharp = ev.boundary_width(result.correct(image), result.posteriors, brain.mask, VOXEL)
    soft_image = gaussian_filter(result.correct(image), 1.0)
    assert ev.boundary_width(soft_image, result.posteriors, brain.mask, VOXEL) > 1.2 * sharp


def test_thickness_of_a_spherical_shell():
    n, inner, outer = 44, 28.0, 36.0
    axis = ((np.arange(n * 3) + 0.5) / 3 - n / 2) * 2.0
    r = np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2)
    blocks = [(r <= k).reshape(n, 3, n, 3, n, 3).mean(axis=(1, 3, 5)) for k in (inner, outer)]
    posteriors = np.stack([1 - blocks[1], blocks[1] - blocks[0], blocks[0]])
    wanted = (outer**3 - inner**3) / 3 / ((inner**2 + outer**2) / 2)
    # Total variation of a voxelised sphere by central differences: area within 3 %.
    assert ev.mean_thickness(posteriors, VOXEL) == pytest.approx(wanted * 1e-3, rel=0.03)


def test_regional_volumes_by_hand():
    posteriors = np.zeros((3, 2, 2, 1))
    posteriors[:, 0, 0, 0] = (0.2, 0.3, 0.5)
    posteriors[:, 1, 1, 0] = (1.0, 0.0, 0.0)
    weight = np.array([[[0.5], [1.0]], [[0.0], [1.0]]])
    volumes = ev.regional_volumes(
        posteriors,
        voxel_volume=1e-6,
        regions={"deep": weight, "ventricles": weight},
        tissues_of={"ventricles": ("csf",)},
    )
    assert volumes == pytest.approx(
        {"csf": 1.2, "gm": 0.3, "wm": 0.5, "brain": 0.8, "deep": 0.4, "ventricles": 1.1}
    )
    with pytest.raises(ev.MetricInputError, match="like a total"):
        ev.regional_volumes(posteriors, voxel_volume=1e-6, regions={"gm": weight})
    with pytest.raises(ev.MetricInputError, match="m\\^3"):
        ev.regional_volumes(posteriors, voxel_volume=8.0)


def test_label_regions_and_intensities():
    labels = np.array([[[1, 2], [2, 0]]])
    regions = ev.label_regions(labels, {1: "a", 2: "b", 3: "c"})
    medians = ev.regional_intensities(np.array([[[5.0, 1.0], [3.0, 9.0]]]), regions, np.ones(labels.shape))
    assert (medians["a"], medians["b"]) == (5.0, 2.0)
    assert np.isnan(medians["c"])


def test_scan_features_names_every_number(brain, biased):
    row = ev.scan_features(
        biased[0], biased[2], brain.mask, VOXEL, regions={"left": np.indices(brain.mask.shape)[0] < 25}
    )
    assert {"volume:gm", "volume:left", "intensity:wm", "boundary_width", "thickness"} <= set(row)
    assert row["intensity:wm"] / row["intensity:gm"] == pytest.approx(800 / 480, rel=0.03)


def test_align_to_mask_undoes_scale_and_shift(brain):
    big = make_brain(shape=(64, 66, 60), size=1.1)
    affine = np.diag([2e-3, 2e-3, 2e-3, 1.0])
    moved = affine.copy()
    moved[:3, 3] = (0.01, -0.02, 0.005)
    mapped = ev.align_to_mask(brain.fractions, brain.mask, affine, big.mask, moved)
    assert mapped.shape == (3, *big.mask.shape)
    overlap = np.minimum(mapped, big.fractions).sum(axis=(1, 2, 3)) / big.fractions.sum(axis=(1, 2, 3))
    # The folds' phase does not scale with the head, and linear interpolation blurs: thin grey matter
    # overlaps least.
    assert overlap[2] > 0.95
    assert overlap[1] > 0.6
    # Same grid and mask: nothing may move.
    same = ev.align_to_mask(brain.fractions, brain.mask, affine, brain.mask, affine)
    assert np.abs(same - brain.fractions).max() < 1e-4

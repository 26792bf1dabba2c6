"""Image methods: planted distortions with known answers, and the published software where it was run."""

import tracemalloc

import nibabel as nib
import numpy as np
import pytest

from mrsim.harmonizers import (
    BiasFieldCorrection,
    FuzzyCMeans,
    GaussianMixture,
    HistogramMatching,
    ImageInputError,
    KernelDensity,
    LeastSquares,
    MinMax,
    MultiImageCDFAlignment,
    Ravel,
    SpectrumSwap,
    TravelerError,
    WhiteStripe,
)
from mrsim.harmonizers.images.fuzzy_classes import class_means, fuzzy_classes

from ..references import HARMREF, needs_harmref

AFFINE = np.diag([8.0, 7.0, 9.0, 1.0])
SHAPE = (20, 24, 18)


def image(data):
    return nib.Nifti1Image(np.asarray(data), AFFINE)


def voxels(made):
    return np.asanyarray(made.dataobj)


def labels(size=1.0, shape=SHAPE):
    """White matter 3, grey matter 2, fluid 1 (rim and ventricle), air 0."""
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    radius = np.sqrt((x / 0.9) ** 2 + (y / 0.95) ** 2 + (z / 0.85) ** 2) / size
    tissue = np.select([radius < 0.7, radius < 0.9, radius < 1.0], [3, 2, 1], 0)
    tissue[(np.abs(x) < 0.25) & (np.abs(y) < 0.3) & (np.abs(z) < 0.25)] = 1
    return tissue


def head(seed, tissue=None):
    tissue = labels() if tissue is None else tissue
    rng = np.random.default_rng(seed)
    data = np.array([0.0, 250.0, 550.0, 800.0])[tissue] + 25.0 * rng.standard_normal(tissue.shape)
    return np.where(tissue > 0, data, 0.0), image((tissue > 0).astype(np.uint8))


@pytest.fixture(scope="module")
def reference_volumes():
    with np.load(HARMREF / "volumes.npz") as stored:
        vols, masks, tissue = (stored[name] for name in ("vols", "masks", "labels"))
    images = [nib.Nifti1Image(v, np.eye(4)) for v in vols]
    return images, [nib.Nifti1Image(m.astype(np.uint8), np.eye(4)) for m in masks], tissue


def transformed(method, images, masks, sites="aabbb"):
    method.fit(images, site=list(sites), masks=masks)
    return np.array(
        [voxels(method.transform(i, site=s, mask=m)) for i, m, s in zip(images, masks, sites, strict=True)]
    )


@needs_harmref
@pytest.mark.parametrize("method", [KernelDensity(), GaussianMixture()], ids=lambda m: type(m).__name__)
def test_white_matter_lands_on_one(method, reference_volumes):
    """Mean of the labelled tissue; the mode is a grid point of 128, the labels have 4 % spread."""
    images, masks, tissue = reference_volumes
    ours = transformed(method, images, masks)
    for made, label in zip(ours, tissue, strict=True):
        assert made[label == 3].mean() == pytest.approx(1.0, abs=0.01)


def test_fuzzy_classes_are_a_fixed_point():
    """The means follow from the memberships and the other way round, as the two equations say."""
    data, mask = head(3)
    x = data[voxels(mask) > 0]
    centres, u = fuzzy_classes(x)
    np.testing.assert_allclose((u**2 @ x) / (u**2).sum(axis=1), centres, rtol=1e-6)
    inverse = 1.0 / (x - centres[:, None]) ** 2
    np.testing.assert_allclose(u, inverse / inverse.sum(axis=0), atol=1e-9)
    np.testing.assert_allclose(class_means(x, u), [250, 550, 800], rtol=0.02)


def test_least_squares_is_the_best_scale():
    """No other factor brings the tissue means closer to the standard, and the first image alone sets it."""
    images, masks = zip(*[head(seed) for seed in (1, 2)], strict=True)
    images = [image(images[0]), image(1.7 * images[1])]
    fitted = LeastSquares(reference_site="first").fit(images, site=["first", "other"], masks=masks)
    alone = LeastSquares().fit(images[:1], site=["first"], masks=masks[:1])
    np.testing.assert_allclose(fitted.standard_means_, alone.standard_means_, rtol=1e-14)
    assert fitted.standard_means_[0] == pytest.approx(1.0)
    inside = voxels(masks[1]) > 0
    given = voxels(images[1])[inside]
    means = class_means(given, fuzzy_classes(given)[1])
    factor = voxels(fitted.transform(images[1], site="other", mask=masks[1]))[inside] / given
    errors = [
        np.linalg.norm(f * means - fitted.standard_means_) for f in factor[0] * np.array([0.99, 1, 1.01])
    ]
    assert errors[1] < min(errors[0], errors[2])
    assert np.ptp(factor) < 1e-6 * factor[0]


def test_minmax_and_its_percentiles():
    data, mask = head(4)
    inside = voxels(mask) > 0
    made = voxels(MinMax().fit([image(data)], site=["a"]).transform(image(data), site="a", mask=mask))
    assert (made[inside].min(), made[inside].max()) == (0.0, 1.0)
    robust = MinMax(percentile_min=2.0, percentile_max=98.0).fit([image(data)], site=["a"])
    inner = voxels(robust.transform(image(data), site="a", mask=mask))[inside]
    assert np.mean(inner < 0) == pytest.approx(0.02, abs=1e-3)
    with pytest.raises(ValueError, match="percentile_min must be below"):
        MinMax(percentile_min=60.0, percentile_max=50.0).fit([image(data)], site=["a"]).transform(
            image(data), site="a"
        )


def test_histogram_matching_undoes_a_monotone_distortion():
    """x -> 3 sqrt(x) is no line: quantiles find the inverse, to the curvature between two of 257.

    Between the peaks of the tissues they lie 100 apart, where 3 sqrt(x) leaves its chord by up to 100^2 / 8
    times f'' / f' = 1 / (2 x): 2 at the grey matter.
    """
    data, mask = head(5)
    bent = image(3.0 * np.sqrt(np.maximum(data, 0.0)))
    fitted = HistogramMatching(reference_site="good").fit(
        [image(data), bent], site=["good", "bent"], masks=[mask, mask]
    )
    inside = voxels(mask) > 0
    made = voxels(fitted.transform(bent, site="bent", mask=mask))[inside]
    low, high = np.quantile(data[inside], [0.01, 0.99])
    kept = (data[inside] > low) & (data[inside] < high)
    assert np.abs(made - data[inside])[kept].max() < 3.0
    same = voxels(fitted.transform(image(data), site="good", mask=mask))
    np.testing.assert_allclose(same, data, atol=1e-3)
    with pytest.raises(ImageInputError, match="reference_site must be one of the sites"):
        HistogramMatching(reference_site="x").fit([image(data)], site=["a"])


def test_cdf_alignment_keeps_differences_between_people():
    """Travelers at two sites; the people differ by brightness too, which matching to a mean would remove."""
    people, mask = [], head(0)[1]
    for i, own in enumerate((0.8, 1.0, 1.2)):
        people.append(own * head(10 + i)[0])
    scans = [image(f(p)) for p in people for f in (lambda x: x, lambda x: 1.5 * x + 20.0)]
    sites, subjects = ["a", "b"] * 3, [s for s in "xyz" for _ in range(2)]
    method = MultiImageCDFAlignment(reference_site="a")
    method.fit(scans, site=sites, masks=[mask] * 6, covariates={"subject": subjects})
    inside = voxels(mask) > 0
    for original, scan in zip(people, scans[1::2], strict=True):
        made = voxels(method.transform(scan, site="b", mask=mask))
        # The warp is a line here, and quantiles of one image are kept to rounding.
        np.testing.assert_allclose(made[inside], original[inside], atol=1e-2)
    with pytest.raises(TravelerError, match="column 'subject'"):
        MultiImageCDFAlignment().fit(scans, site=sites)
    with pytest.raises(ImageInputError, match="one row per image"):
        MultiImageCDFAlignment().fit(scans, site=sites, covariates={"subject": ["x"]})


def ravel_cohort():
    tissue = labels()
    rng = np.random.default_rng(8)
    pattern = 60.0 * np.linspace(-1, 1, SHAPE[0])[:, None, None] * np.ones(SHAPE)
    clean = [head(20 + i, tissue)[0] for i in range(8)]
    amounts = rng.standard_normal(8)
    dirty = [np.where(tissue > 0, c + a * pattern, 0.0) for c, a in zip(clean, amounts, strict=True)]
    return clean, dirty, image((tissue > 0).astype(np.uint8)), tissue


def test_ravel_equals_the_dense_equations():
    """The published algorithm on full matrices: SVD of the controls, regression, residual plus mean."""
    _, dirty, mask, _ = ravel_cohort()
    images, k = [image(d) for d in dirty], 2
    method = Ravel(n_factors=k, membership=0.9, agreement=0.75).fit(images, site=["a"] * 8, masks=[mask] * 8)
    stripe = WhiteStripe().fit(images, site=["a"] * 8)
    V = np.stack([voxels(stripe.transform(i, site="a", mask=mask)).ravel() for i in images], axis=1)
    V = V.astype(np.float64)
    Z = np.linalg.svd(V[method.control_.ravel()], full_matrices=False)[2][:k].T
    expected = V - (Z @ np.linalg.solve(Z.T @ Z, Z.T @ V.T)).T + V.mean(axis=1, keepdims=True)
    made = np.stack([voxels(method.transform(i, site="a", mask=mask)).ravel() for i in images], axis=1)
    np.testing.assert_allclose(made, expected, atol=1e-5 * np.abs(expected).max())  # float32 on both ways


def test_ravel_removes_a_shared_pattern_from_a_held_out_image():
    _, dirty, mask, tissue = ravel_cohort()
    images = [image(d) for d in dirty]
    method = Ravel(n_factors=2, membership=0.9, agreement=0.75).fit(
        images[:7], site=["a"] * 7, masks=[mask] * 7
    )
    slope = np.linspace(-1, 1, SHAPE[0])[:, None, None] * np.ones(SHAPE)
    white = tissue == 3
    made = voxels(method.transform(images[7], site="new", mask=mask))[white]
    striped = voxels(WhiteStripe().fit(images, site=["a"] * 8).transform(images[7], site="a", mask=mask))[
        white
    ]
    means = method.mean_[white]
    before, after = (abs(np.polyfit(slope[white], v - means, 1)[0]) for v in (striped, made))
    # Seven images with noise of half the pattern's size do not determine it better.
    assert after < 0.5 * before
    with pytest.raises(ValueError, match="Register it to them"):
        method.transform(image(head(1)[0][1:]), site="a")
    with pytest.raises(ValueError, match="images must share control voxels"):
        Ravel(membership=0.999999).fit(images, site=["a"] * 8, masks=[mask] * 8)


def test_spectrum_swap_exchanges_amplitudes_only_below_the_cutoff():
    first, second = image(head(1)[0]), image(1.6 * head(2, labels(0.9))[0])
    method = SpectrumSwap(cutoff=20.0, reference_site="a").fit([first, second], site=["a", "b"])
    out = voxels(method.transform(second, site="b")).astype(np.float64)
    spectra = [np.fft.fftn(voxels(i)) for i in (first, second)]
    made = np.fft.fftn(out)
    frequencies = [np.fft.fftfreq(n, d) for n, d in zip(SHAPE, (8e-3, 7e-3, 9e-3), strict=True)]
    axes = np.meshgrid(*frequencies, indexing="ij")
    low = sum(a**2 for a in axes) <= 20.0**2
    assert 20 < low.sum() < 0.2 * low.size
    tolerance = 1e-5 * np.abs(spectra[0]).max()  # float32 of the output
    np.testing.assert_allclose(np.abs(made[low]), np.abs(spectra[0][low]), atol=tolerance)
    np.testing.assert_allclose(made[~low], spectra[1][~low], atol=tolerance)
    turned = np.angle(made[low] * spectra[1][low].conj())
    assert np.abs(turned[np.abs(spectra[0][low]) > 1e3 * tolerance]).max() < 1e-2
    with pytest.raises(ValueError, match="cutoff must be in 1/m"):
        SpectrumSwap(cutoff=0.02).fit([first], site=["a"])
    with pytest.raises(ValueError, match="must have the grid"):
        method.transform(image(head(1)[0][1:]), site="a")


def test_bias_field_is_found_and_the_rest_left_alone():
    """A 60 % shading of one and a half waves over three tissues; without shading the image stays."""
    tissue = labels(shape=(30, 34, 28))
    affine = np.diag([6.0, 5.5, 7.0, 1.0])
    data, _ = head(6, tissue)
    data = np.maximum(data, 0.0)
    x, y, _ = np.meshgrid(*[np.linspace(-1, 1, n) for n in tissue.shape], indexing="ij")
    log_field = 0.25 * np.sin(1.5 * x + 0.4) + 0.15 * np.cos(2.0 * y)
    mask = nib.Nifti1Image((tissue > 0).astype(np.uint8), affine)
    method = BiasFieldCorrection().fit([], site=["a"])
    inside = tissue > 0
    shaded, flat = (nib.Nifti1Image(d, affine) for d in (data * np.exp(log_field), data))
    made, same = (voxels(method.transform(i, site="a", mask=mask)) for i in (shaded, flat))
    white = tissue == 3

    def variation(values):
        return values[white].std() / values[white].mean()

    print(f"\nwhite matter variation: {variation(data):.4f} true, {variation(voxels(shaded)):.4f} shaded, "
          f"{variation(made):.4f} corrected")  # fmt: skip
    assert variation(voxels(shaded)) > 3.0 * variation(data)
    assert variation(made) < 1.1 * variation(data)
    ratio = same[inside & (data > 0)] / data[inside & (data > 0)]
    assert np.abs(ratio - 1.0).max() < 0.03
    with pytest.raises(ValueError, match="cutoff must be in metres"):
        BiasFieldCorrection(cutoff=150.0).fit([], site=["a"]).transform(flat, site="a", mask=mask)


@pytest.mark.parametrize(
    ("contrast", "levels"),
    [
        ("T1w", (250, 550, 800)),
        ("T2w", (900, 500, 300)),
        ("FLAIR", (150, 800, 500)),
        ("PDw", (900, 700, 500)),
    ],
)
@pytest.mark.parametrize("kind", [FuzzyCMeans, GaussianMixture])
def test_white_matter_by_contrast(kind, contrast, levels):
    tissue = labels()
    rng = np.random.default_rng(2)
    data = np.array([0.0, *levels])[tissue] + 20.0 * rng.standard_normal(SHAPE)
    method = kind(contrast=contrast).fit([], site=["a"])
    made = voxels(method.transform(image(data), site="a", mask=image((tissue > 0).astype(np.uint8))))
    assert made[tissue == 3].mean() == pytest.approx(1.0, abs=0.02)
    with pytest.raises(ValueError, match="contrast must be one of"):
        kind(contrast="bold").fit([], site=["a"]).transform(image(data), site="a")


@pytest.mark.parametrize(
    "method", [Ravel(membership=0.9, agreement=0.5), HistogramMatching(), LeastSquares()], ids=repr
)
def test_memory_does_not_grow_with_the_cohort(method, monkeypatch):
    """Peak of what Python allocates while fitting on 4 and on 20 heads that are made when asked.

    RAVEL's blocks of constant size would hold all of these small heads: smaller blocks for small heads.
    """
    monkeypatch.setattr("mrsim.harmonizers.images.ravel._BLOCK_VALUES", 2**12)

    def peak(count):
        tissue = labels()
        _, mask = head(0, tissue)
        tracemalloc.start()
        method.fit(
            (image(head(seed, tissue)[0]) for seed in range(count)),
            site=["a"] * count,
            masks=(mask for _ in range(count)),
        )
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(2)  # imports
    few, many = peak(4), peak(20)
    print(f"\n{type(method).__name__}: {few / 2**20:.2f} MiB with 4, {many / 2**20:.2f} MiB with 20")
    # A head of 8640 voxels is 0.07 MiB as float64: 16 more of them would be 1.05 MiB.
    assert many < few + 0.5 * 2**20

"""Intensity methods and controls against closed forms; beside other packages: ../test_agreement.py."""

import nibabel as nib
import numpy as np
import pytest
from scipy.stats import gaussian_kde

from mrsim.harmonizers import GaussianBlur, Identity, ImageInputError, Nyul, WhiteStripe, ZScore
from mrsim.harmonizers.images.density import kernel_density, tissue_mode

SHAPE = (19, 24, 21)


def image(data, affine=None):
    return nib.Nifti1Image(np.asarray(data), np.diag([2.0, 1.5, 3.0, 1.0]) if affine is None else affine)


@pytest.fixture
def head():
    """Three tissues and air with their fractions; the largest class is not the brightest."""
    rng = np.random.default_rng(5)
    tissue = rng.choice(4, SHAPE, p=[0.4, 0.1, 0.3, 0.2])
    data = np.array([0.0, 300.0, 600.0, 900.0])[tissue] + 20.0 * rng.standard_normal(SHAPE) * (tissue > 0)
    return data, tissue > 0


def test_zscore_moments(head):
    data, mask = head
    out = ZScore().fit([image(data)], site=["a"])
    inside = np.asanyarray(out.transform(image(data), site="a", mask=image(mask.astype(np.uint8))).dataobj)[
        mask
    ]
    assert inside.mean(dtype=np.float64) == pytest.approx(0.0, abs=1e-6)
    assert inside.std(dtype=np.float64) == pytest.approx(1.0, rel=1e-6)


def test_kernel_density_equals_direct_sum(head):
    """scipy sums kernels exactly. The algorithm's period is 127 of 128 steps: a kernel 0.8 % too wide."""
    data, mask = head
    inside = data[mask]
    grid, density = kernel_density(inside)
    direct = gaussian_kde(inside, bw_method=inside.max() / 80 / inside.std(ddof=1))(grid)
    assert np.abs(density - direct).max() < 8e-3 * direct.max()


@pytest.mark.parametrize(
    ("contrast", "level"), [("T1w", 900.0), ("T2w", 600.0), ("FLAIR", 600.0), ("PDw", 300.0)]
)
def test_mode_by_contrast(head, contrast, level):
    """Rightmost, largest and leftmost mode; a grid cell is 8 units wide here, a bandwidth 12."""
    data, mask = head
    for gain in (1e-3, 1.0, 1e3):
        assert tissue_mode(gain * data[mask], contrast=contrast) == pytest.approx(
            gain * level, abs=12.0 * gain
        )


def test_white_stripe_lands_on_white_matter(head):
    data, mask = head
    fitted = WhiteStripe().fit([image(data)], site=["a"])
    out = np.asanyarray(fitted.transform(image(data), site="a", mask=image(mask.astype(np.uint8))).dataobj)
    white = out[(data > 850) & (data < 950)]
    # The stripe is 10 % of all voxels around the mode, narrower than the tissue's own spread.
    assert abs(np.median(white)) < 1.0


def test_white_stripe_refuses(head):
    data, _ = head
    fitted = WhiteStripe(contrast="T1").fit([image(data)], site=["a"])
    with pytest.raises(ValueError, match="contrast must be one of T1w, T2w, FLAIR, PDw; got 'T1'"):
        fitted.transform(image(data), site="a")
    standardised = image((data - data.mean()) / data.std() - 10.0)
    with pytest.raises(ValueError, match=r"positive maximum.*Pass magnitude images"):
        WhiteStripe().fit([standardised], site=["a"]).transform(standardised, site="a")


def test_nyul_undoes_a_monotone_piecewise_linear_distortion(head):
    """Two scanners that differ by gain and offset end up with the same image."""
    data, mask = head
    images = [image(data), image(3.0 * data + 40.0)]
    masks = [image(mask.astype(np.uint8))] * 2
    fitted = Nyul().fit(images, site=["a", "b"], masks=masks)
    first, second = (np.asanyarray(fitted.transform(i, site="a", mask=masks[0]).dataobj) for i in images)
    np.testing.assert_allclose(first, second, rtol=0, atol=1e-4)  # float32 of values up to 130


def test_nyul_landmarks_map_to_the_standard_scale(head):
    data, _ = head
    fitted = Nyul(output_min=0.0, output_max=10.0, percentile_step=25.0).fit([image(data)], site=["a"])
    np.testing.assert_array_equal(fitted.percentiles_, [1, 25, 50, 75, 99])
    assert fitted.standard_scale_[[0, -1]] == pytest.approx([0.0, 10.0])


def test_nyul_merges_tied_landmarks():
    """A quantised image has equal percentiles; the map stays finite and monotone."""
    rng = np.random.default_rng(8)
    coarse = image(rng.integers(1, 4, SHAPE).astype(np.int16))
    everywhere = image(np.ones(SHAPE, np.uint8))
    fitted = Nyul().fit([image(rng.normal(100, 10, SHAPE))], site=["a"], masks=[everywhere])
    out = np.asanyarray(fitted.transform(coarse, site="a", mask=everywhere).dataobj)
    levels = [np.unique(out[np.asanyarray(coarse.dataobj) == k]) for k in (1, 2, 3)]
    assert [len(level) for level in levels] == [1, 1, 1]
    assert levels[0] < levels[1] < levels[2]


@pytest.mark.parametrize(
    "params", [{"percentile_step": 0.5}, {"percentile_max": 80.0}, {"output_min": 5.0, "output_max": 5.0}]
)
def test_nyul_refuses_parameters(head, params):
    with pytest.raises(ValueError, match="; got "):
        Nyul(**params).fit([image(head[0])], site=["a"])


def test_blur_adds_its_variance_on_anisotropic_voxels():
    """A point spreads to the kernel's variance along each axis; cut at 4 sigma and sampled: 1 % off at "
    "most."""
    data = np.zeros((41, 43, 45))
    data[20, 21, 22] = 1.0
    point = image(data)
    out = np.asanyarray(GaussianBlur(fwhm=9e-3).fit([point], site=["a"]).transform(point, site="a").dataobj)
    assert out.sum(dtype=np.float64) == pytest.approx(1.0, rel=1e-5)
    for axis, voxel_mm in enumerate((2.0, 1.5, 3.0)):
        profile = out.sum(axis=tuple(k for k in range(3) if k != axis), dtype=np.float64)
        place = voxel_mm * np.arange(profile.size)
        mean = profile @ place / profile.sum()
        variance = profile @ (place - mean) ** 2 / profile.sum()
        assert variance == pytest.approx(9.0**2 / (8 * np.log(2)), rel=1e-2)


@pytest.mark.parametrize("fwhm", [4.0, 0.0, -1e-3, float("nan")])
def test_blur_refuses_millimetres(head, fwhm):
    fitted = GaussianBlur(fwhm=fwhm).fit([image(head[0])], site=["a"])
    with pytest.raises(ValueError, match="fwhm must be in metres"):
        fitted.transform(image(head[0]), site="a")


def test_identity_keeps_values_and_header(head):
    given = image(head[0].astype(np.float32), affine=np.diag([-2.0, 1.5, 3.0, 1.0]))
    given.set_sform(given.affine, code=4)
    given.set_qform(given.affine, code=1)
    given.header.set_xyzt_units("mm", "sec")
    out = Identity().fit([given], site=["a"]).transform(given, site="new")
    np.testing.assert_array_equal(np.asanyarray(out.dataobj), np.asanyarray(given.dataobj))
    assert (int(out.header["sform_code"]), int(out.header["qform_code"])) == (4, 1)
    assert out.header.get_xyzt_units() == ("mm", "sec")


def test_without_a_mask_the_foreground_is_above_the_mean(head):
    data, _ = head
    fitted = ZScore().fit([image(data)], site=["a"])
    out = fitted.transform(image(data), site="a")
    expected = (data - data[data > data.mean()].mean()) / data[data > data.mean()].std()
    np.testing.assert_allclose(np.asanyarray(out.dataobj), expected, rtol=1e-6)


def test_nan_outside_the_mask_is_kept(head):
    data, mask = head
    data[0, 0, 0], mask[0, 0, 0] = np.nan, False
    for method in (ZScore(), WhiteStripe(), Nyul()):
        small = image(mask.astype(np.uint8))
        out = np.asanyarray(
            method.fit([image(data)], site=["a"], masks=[small])
            .transform(image(data), site="a", mask=small)
            .dataobj
        )
        np.testing.assert_array_equal(np.isnan(out), np.isnan(data))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("masked", [True, False])
def test_non_finite_voxels_are_refused(head, bad, masked):
    data, mask = head
    fitted = ZScore().fit([image(data)], site=["a"])
    data[tuple(np.argwhere(mask)[0])] = bad
    data[tuple(np.argwhere(~mask)[0])] = -bad
    with pytest.raises(
        ImageInputError, match=f"image must be finite .*; got {1 if masked else 2} non-finite"
    ):
        fitted.transform(image(data), site="a", mask=image(mask.astype(np.uint8)) if masked else None)


def test_empty_mask_and_constant_image(head):
    data, mask = head
    fitted = ZScore().fit([image(data)], site=["a"])
    with pytest.raises(ImageInputError, match="mask must contain at least one voxel"):
        fitted.transform(image(data), site="a", mask=image(np.zeros(mask.shape, np.uint8)))
    with pytest.raises(ImageInputError, match="or the image if it is constant"):
        fitted.transform(image(np.ones(mask.shape)), site="a")


def test_lengths_are_checked_for_generators_too(head):
    one = image(head[0])
    with pytest.raises(ImageInputError, match=r"images must have one entry per site label \(3\); got 2"):
        Nyul().fit((one for _ in range(2)), site=list("aab"))
    with pytest.raises(ImageInputError, match=r"images must have one entry per site label \(2\); got more"):
        Nyul().fit((one for _ in range(3)), site=list("ab"))
    with pytest.raises(ImageInputError, match=r"masks must have one entry per site label \(2\); got 1"):
        Nyul().fit([one, one], site=list("ab"), masks=[one])


def test_fit_reads_files_without_keeping_them(head, tmp_path):
    """Proxy images stay proxies: nibabel's cache would hold the whole cohort."""
    nib.save(image(head[0]), tmp_path / "head.nii.gz")
    loaded = [nib.load(tmp_path / "head.nii.gz") for _ in range(3)]
    fitted = Nyul().fit(loaded, site=list("aab"))
    fitted.transform(loaded[0], site="a")
    assert not any(i.in_memory for i in loaded)

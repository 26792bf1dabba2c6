import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from mrsim import evaluation as ev
from mrsim.evaluation.dissection import TERMS

SHAPE, VOXEL = (20, 17, 22), (2e-3, 2e-3, 2e-3)
SITES = ("a", "b", "c")


@pytest.fixture
def study(rng):
    """Six people with fine and coarse texture of their own; three sites with gain and a smooth offset."""
    mask = np.zeros(SHAPE, bool)
    mask[2:-2, 2:-3, 1:-2] = True
    common = 5.0 + gaussian_filter(rng.normal(size=SHAPE), 2.0) * 10
    own = [gaussian_filter(rng.normal(size=SHAPE), 2.0) * 6 + 0.4 * rng.normal(size=SHAPE) for _ in range(6)]
    truth = {f"s{i}": common + extra for i, extra in enumerate(own)}
    offset = {s: gaussian_filter(rng.normal(size=SHAPE), 3.0) * 15 + k for k, s in enumerate(SITES)}
    raw, site, subject = [], [], []
    for name, image in truth.items():
        for k, s in enumerate(SITES):
            raw.append(image + 0.1 * (k - 1) * (image - common) + offset[s] + 0.1 * rng.normal(size=SHAPE))
            site.append(s)
            subject.append(name)
    return {"raw": raw, "truth": truth, "mask": mask, "site": site, "subject": subject}


def split(study, harmonized, **more):
    masks = dict.fromkeys(study["truth"], study["mask"])
    return ev.dissect_images(
        study["raw"], harmonized, study["truth"], masks,
        site=study["site"], subject=study["subject"], voxel_size=VOXEL, n_bands=6, **more
    )  # fmt: skip


def voxel_mse(study, images):
    truths = [study["truth"][s] for s in study["subject"]]
    return np.mean([np.mean((i - t)[study["mask"]] ** 2) for i, t in zip(images, truths, strict=True)])


@pytest.mark.parametrize("shape", [(6, 5, 8), (5, 6, 7)])
def test_elements_keep_the_energy(shape, rng):
    mask = rng.random(shape) < 0.7
    mask[0, 0, 0] = mask[-1, -1, -1] = True
    bands = ev.make_bands([mask], VOXEL, n_bands=3)
    image = rng.normal(size=shape)
    # Parseval; float32 elements.
    assert np.sum(bands.elements(image, mask) ** 2) == pytest.approx(np.mean(image[mask] ** 2), rel=1e-5)
    assert bands.groups().size == bands.elements(image, mask).size


def test_band_terms_add_up_to_the_voxel_error(study):
    blurred = [gaussian_filter(i, 1.0) for i in study["raw"]]
    result = split(study, blurred, match=False)
    # float32 transforms.
    assert sum(result.raw[t].sum() for t in TERMS) == pytest.approx(voxel_mse(study, study["raw"]), rel=1e-4)
    assert sum(result.harmonized[t].sum() for t in TERMS) == pytest.approx(
        voxel_mse(study, blurred), rel=1e-4
    )


def test_blur_destroys_biology_and_invents_next_to_nothing(study):
    result = split(study, [gaussian_filter(i, 1.2) for i in study["raw"]], match=False)
    answer = result.pooled()
    assert answer["destroyed"] > 0.0
    assert answer["destroyed"] > 5.0 * answer["invented"]
    # Site offsets are smooth: blur hardly touches them.
    assert abs(answer["fixed"]) < 0.2 * answer["left"]
    # Loss grows with frequency: exp(-(2 pi k sigma)^2 / 2) falls from band to band.
    assert np.all(np.diff(result.retained[:5]) < 0.0)


def test_retained_is_the_transfer_function_of_a_blur(rng):
    # White texture in a full box, blur with periodic borders: no leakage, so the gain of a band is the mean
    # of exp(-(2 pi k sigma)^2 / 2) over the band's coefficients, weighted by their energy (alike for white
    # noise).
    sigma, shape = 1.0, (24, 20, 22)
    truth = {f"s{i}": rng.normal(size=shape) for i in range(6)}
    site, subject = list(SITES) * 6, [f"s{i}" for i in range(6) for _ in SITES]
    raw = [truth[s] + 0.05 * rng.normal(size=shape) for s in subject]
    blurred = [gaussian_filter(r, sigma, mode="wrap", truncate=8.0) for r in raw]
    masks = {s: np.ones(shape, bool) for s in truth}
    result = ev.dissect_images(
        raw, blurred, truth, masks, site=site, subject=subject, voxel_size=VOXEL, n_bands=5, match=False
    )
    axes = np.meshgrid(*[np.fft.fftfreq(n, 2e-3) for n in shape], indexing="ij")
    k = np.sqrt(sum(a**2 for a in axes))
    band = np.minimum((k * 2 * 2e-3 * 5).astype(int), 4)
    expected = [np.exp(-0.5 * (2 * np.pi * k[band == b] * sigma * 2e-3) ** 2).mean() for b in range(5)]
    # Hundreds of coefficients per band times six people; the sampled Gaussian differs from its transform by
    # < 0.01.
    assert result.retained == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("match", [True, False])
def test_identity_and_oracle(study, match):
    same = split(study, study["raw"], match=match).pooled()
    for name in ("gap_closed", "fixed", "destroyed", "invented"):
        # Square roots of rounding in the Gram matrices.
        assert same[name] == pytest.approx(0.0, abs=1e-6)
    oracle = split(study, [study["truth"][s] for s in study["subject"]], match=False).pooled()
    assert oracle["gap_closed"] == pytest.approx(1.0)
    assert oracle["left"] == pytest.approx(0.0, abs=1e-9)


def test_units_of_the_whole_set_are_forgiven(study):
    truths = [study["truth"][s] for s in study["subject"]]
    answer = split(study, [(t - 4.0) / 2.5 for t in truths]).pooled()
    assert answer["gap_closed"] == pytest.approx(1.0, abs=1e-5)


def test_match_set_recovers_the_map(study):
    truths = [study["truth"][s] for s in study["subject"]]
    line = ev.match_set([(t - 4.0) / 2.5 for t in truths], truths, [study["mask"]] * len(truths))
    assert (line.slope, line.intercept) == (pytest.approx(2.5), pytest.approx(4.0))


def test_missing_truth_is_named(study):
    study["truth"].pop("s3")
    with pytest.raises(ev.MetricInputError, match="s3"):
        split(study, study["raw"])


def test_reduction_keeps_every_inner_product(study):
    masks = dict.fromkeys(study["truth"], study["mask"])
    blurred = [gaussian_filter(i, 1.0) for i in study["raw"]]
    reduced = ev.reduce_images(
        study["raw"], blurred, study["truth"], masks,
        site=study["site"], subject=study["subject"], voxel_size=VOXEL, n_bands=6, match=False,
    )  # fmt: skip
    assert reduced.raw.shape[1] <= 6 * (18 + 18 + 6)
    inside = study["mask"]
    for a, b in ((0, 0), (0, 1), (3, 17)):
        direct = np.mean(study["raw"][a][inside] * blurred[b][inside])
        # float32 elements.
        assert reduced.raw[a] @ reduced.harmonized[b] == pytest.approx(direct, rel=1e-4)

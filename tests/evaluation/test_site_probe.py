import subprocess
import sys

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from mrsim import evaluation as ev

from .brain import TISSUES, VOXEL, make_brain

N_SUBJECTS, SITES = 6, ("ge", "old", "philips", "siemens")
SUBJECT = np.repeat(np.arange(N_SUBJECTS), len(SITES))
SITE = np.tile(np.array(SITES), N_SUBJECTS)
FAST = ev.ProbeOptions(n_permutations=200)
# Shuffles that sklearn must learn one by one are kept few.
MODELS = [("kernel", 200), ("linear", 200), ("logistic", 9), ("forest", 3), ("boosting", 3)]


def design(rng, effect, n_features=12, spread=1.0):
    people = spread * rng.normal(size=(N_SUBJECTS, n_features))
    sites = effect * rng.normal(size=(len(SITES), n_features))
    codes = np.searchsorted(SITES, SITE)
    return people[SUBJECT] + sites[codes] + 0.3 * rng.normal(size=(SITE.size, n_features))


@pytest.mark.parametrize(("model", "n"), MODELS)
def test_clear_sites_are_found_by_every_model(model, n, rng):
    options = ev.ProbeOptions(model=model, n_permutations=n)
    result = ev.probe_site(design(rng, 1.5), SITE, SUBJECT, rng=rng, options=options)
    assert result.balanced_accuracy > 0.85
    assert result.p_high == pytest.approx(1 / (n + 1))
    assert result.excess > 0.4


def test_no_site_no_accuracy(rng):
    scores = [ev.probe_site(design(rng, 0.0), SITE, SUBJECT, rng=rng, options=FAST) for _ in range(30)]
    # Mean excess over 30 draws of 24 scans: sd about 0.09 / sqrt(30).
    assert np.mean([s.excess for s in scores]) == pytest.approx(0.0, abs=0.06)
    # p is uniform under the null: more than 6 of 30 below 0.05 has probability 1e-3.
    assert sum(s.p_high <= 0.05 for s in scores) <= 6


def test_null_holds_for_a_crossed_design_with_strong_people(rng):
    # Anatomy ten times the noise: shuffles within subjects keep it apart from site.
    p = [
        ev.probe_site(design(rng, 0.0, spread=10.0), SITE, SUBJECT, rng=rng, options=FAST).p_high
        for _ in range(30)
    ]
    assert sum(v <= 0.05 for v in p) <= 6


def test_subject_means_hide_no_site(rng):
    x = design(rng, 0.5, spread=5.0)
    centred = ev.probe_site(x, SITE, SUBJECT, rng=rng, options=FAST)
    plain = ev.probe_site(
        x, SITE, SUBJECT, rng=rng, options=ev.ProbeOptions(n_permutations=200, center_subjects=False)
    )
    assert centred.centered
    assert not plain.centered
    assert centred.balanced_accuracy > plain.balanced_accuracy


def test_subjects_never_leak_in_a_nested_design(rng):
    # Every person on one site, two scans each, no site effect: a probe that sees one scan of a person in
    # training would recognise the other.
    subject = np.repeat(np.arange(20), 2)
    site = np.array(list("abcd"))[subject % 4]
    scores = []
    for _ in range(15):
        x = rng.normal(size=(20, 8))[subject] + 0.01 * rng.normal(size=(40, 8))
        scores.append(ev.probe_site(x, site, subject, rng=rng, options=FAST).excess)
    # sd of one score about 0.12.
    assert np.mean(scores) == pytest.approx(0.0, abs=0.1)


def test_centring_artefact_shows_below_the_null(rng):
    # Removing site means leaves training means that point away from the held-out scans.
    x = design(rng, 1.0)
    for s in SITES:
        x[s == SITE] -= x[s == SITE].mean(axis=0)
    result = ev.probe_site(x, SITE, SUBJECT, rng=rng, options=FAST)
    assert result.excess < 0.0
    assert result.p_high > 0.5


def test_order_of_scans_does_not_change_the_score(rng):
    x = design(rng, 0.3)
    order = rng.permutation(SITE.size)
    options = ev.ProbeOptions(n_permutations=10, n_folds=6)
    a = ev.probe_site(x, SITE, SUBJECT, rng=np.random.default_rng(0), options=options)
    b = ev.probe_site(x[order], SITE[order], SUBJECT[order], rng=np.random.default_rng(0), options=options)
    # Leave one subject out: folds do not depend on the draw.
    assert a.balanced_accuracy == pytest.approx(b.balanced_accuracy)


def test_same_generator_same_null(rng):
    x = design(rng, 0.3)
    a, b = (
        ev.probe_site(x, SITE, SUBJECT, rng=np.random.default_rng(4), options=FAST).null for _ in range(2)
    )
    assert np.array_equal(a, b)


def test_refusals(rng):
    with pytest.raises(ev.MetricInputError, match="at least 2 sites"):
        ev.probe_site(np.ones((4, 2)), ["a"] * 4, [0, 1, 2, 3], rng=rng)
    with pytest.raises(ev.MetricInputError, match="2 subjects each"):
        ev.probe_site(np.ones((3, 2)), ["a", "a", "b"], [0, 1, 2], rng=rng)
    with pytest.raises(ev.MetricInputError, match="model must be"):
        ev.ProbeOptions(model="cnn")
    with pytest.raises(ev.MetricInputError, match="one site and subject per scan"):
        ev.probe_site(np.ones((4, 2)), ["a", "b"], [0, 1], rng=rng)


@pytest.fixture(scope="module")
def scans():
    """Six heads of different size; tissue contrast, point spread and noise differ by scanner."""
    rng = np.random.default_rng(77)
    looks = {
        "ge": ((210, 500, 800), 0.45, 25.0),
        "old": ((190, 520, 760), 0.6, 45.0),
        "philips": ((240, 560, 880), 0.5, 30.0),
        "siemens": ((200, 470, 800), 0.55, 22.0),
    }
    sizes, ventricles = np.linspace(0.9, 1.05, N_SUBJECTS), rng.uniform(0.8, 1.2, N_SUBJECTS)
    heads = [make_brain(size=s, ventricle=v) for s, v in zip(sizes, ventricles, strict=True)]
    images = [
        heads[i].image(looks[s][0], blur=looks[s][1], noise=looks[s][2], rng=rng)
        for i, s in zip(SUBJECT, SITE, strict=True)
    ]
    return heads, images


def describe(heads, images):
    rows = [
        ev.image_descriptors(
            image, heads[i].mask, VOXEL, tissues=dict(zip(TISSUES, heads[i].fractions, strict=True))
        )
        for i, image in zip(SUBJECT, images, strict=True)
    ]
    return ev.descriptor_matrix(rows)[0]


def test_blur_fools_the_frozen_probe_but_not_the_retrained_one(scans, rng):
    heads, images = scans
    raw = describe(heads, images)
    blurred = describe(heads, [gaussian_filter(i, 2.0) for i in images])
    start = ev.probe_site(raw, SITE, SUBJECT, rng=rng, options=FAST)
    frozen = ev.frozen_probe(raw, blurred, SITE, SUBJECT, rng=rng, options=FAST)
    retrained = ev.probe_site(blurred, SITE, SUBJECT, rng=rng, options=FAST)
    assert start.balanced_accuracy > 0.9
    # The frozen probe is down near its null ...
    assert frozen.frozen
    assert not frozen.centered
    assert frozen.balanced_accuracy < 0.6
    # ... while the site is there for whoever looks (one scan is 0.04).
    assert retrained.balanced_accuracy > 0.8
    assert retrained.balanced_accuracy > frozen.balanced_accuracy + 0.25
    assert retrained.p_high < 0.01


def test_mask_and_demographics_know_nothing_in_a_crossed_design(scans, rng):
    heads, _ = scans
    masks = ev.descriptor_matrix([ev.mask_descriptors(heads[i].mask, VOXEL) for i in SUBJECT])[0]
    result = ev.probe_site(masks, SITE, SUBJECT, rng=rng, options=FAST)
    assert result.excess == pytest.approx(0.0, abs=1e-9)
    people = ev.demographics_matrix(
        {"age": np.arange(6.0)[SUBJECT], "sex": np.array(list("mfmfmf"))[SUBJECT]}
    )
    assert people.shape == (24, 3)
    assert ev.probe_site(people, SITE, SUBJECT, rng=rng, options=FAST).excess == pytest.approx(0.0, abs=1e-9)


def test_descriptor_families(scans):
    heads, images = scans
    mask = heads[0].mask
    full = ev.image_descriptors(images[0], mask, VOXEL)
    assert {n.split(":")[0] for n in full} == {"intensity", "shape", "gradient", "spectrum", "thumbnail"}
    mapped = ev.image_descriptors(3.0 * images[0] + 7.0, mask, VOXEL)
    for name, value in full.items():
        if not name.startswith("intensity"):
            assert mapped[name] == pytest.approx(value, rel=1e-6, abs=1e-9)
    with pytest.raises(ev.MetricInputError, match="families must be among"):
        ev.image_descriptors(images[0], mask, VOXEL, families=("texture",))


def test_descriptor_matrix_keeps_what_all_share():
    matrix, names = ev.descriptor_matrix(
        [{"a": 1.0, "b": 2.0, "c": float("nan")}, {"b": 3.0, "a": 4.0, "c": 1.0}]
    )
    assert names == ("a", "b")
    assert matrix.tolist() == [[1.0, 2.0], [4.0, 3.0]]


def test_importing_the_package_is_cheap():
    code = (
        "import sys, mrsim.evaluation as e; assert e.mae; "
        "bad = {'sklearn', 'pandas', 'numba', 'scipy.stats'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)

"""Traveling-subject methods: planted biases come back, incomplete travels suffice, broken ones are named."""

import numpy as np
import pytest

from mrsim.harmonizers import (
    ComBat,
    DesignError,
    FeatureResidual,
    TravelerError,
    TravelingComBat,
    TravelingCorrection,
    TravelingRegression,
    TravelingSubjectGLM,
)

from ..references import needs_harmref, table, values

P = 8


def world(rng, *, travels, cohort=(40, 40, 40), noise=0.0, offset=1.5):
    """Measurement bias m, sampling bias s and an age effect; `travels` lists the sites of each traveler.

    The cohort as a whole differs from the travelers by `offset`.
    """
    m, s = rng.normal(size=(3, P)), rng.normal(size=(3, P))
    m, s = m - m.mean(axis=0), s - s.mean(axis=0)
    person = rng.normal(size=(len(travels), P))
    subject, site, base = [], [], []
    for number, sites in enumerate(travels):
        for i in sites:
            subject.append(f"t{number}")
            site.append(i)
            base.append(person[number])
    for i, n in enumerate(cohort):
        for k in range(n):
            subject.append(f"c{i}{k}")
            site.append(i)
            base.append(offset + s[i])
    site, age = np.array(site), rng.uniform(20, 80, len(site))
    truth = np.array(base) + 0.03 * age[:, None] + noise * rng.normal(size=(len(site), P))
    labels = np.array(list("abc"))[site].tolist()
    return truth + m[site], truth, m, s, labels, {"subject": np.array(subject), "age": age}


FULL = [(0, 1, 2)] * 5
HUB = [(0, 1)] * 3 + [(0, 2)] * 3


@pytest.mark.parametrize("travels", [FULL, HUB], ids=["all sites", "hub and spokes"])
def test_biases_are_told_apart(travels):
    """Without noise the linear model is exact: measurement bias removed, sampling bias kept."""
    X, truth, m, s, site, columns = world(np.random.default_rng(0), travels=travels)
    fitted = TravelingSubjectGLM().fit(X, site=site, covariates=columns)
    np.testing.assert_allclose(fitted.measurement_bias_, m, atol=1e-10)
    np.testing.assert_allclose(fitted.sampling_bias_, s, atol=1e-10)
    np.testing.assert_allclose(fitted.transform(X, site=site, covariates=columns), truth, atol=1e-10)


def test_random_participants_use_incomplete_travels_better():
    """Spokes with one traveler each beside many: both unbiased, the mixed model with less error."""
    errors = {"fixed": [], "random": []}
    for repeat in range(20):
        X, _, m, _, site, columns = world(
            np.random.default_rng(repeat), travels=[*HUB, (1, 2)], noise=1.0, cohort=(0, 0, 0)
        )
        for participants, found in errors.items():
            fitted = TravelingSubjectGLM(participants=participants).fit(X, site=site, covariates=columns)
            found.append(((fitted.measurement_bias_ - m) ** 2).mean())
    assert np.mean(errors["random"]) < np.mean(errors["fixed"])


def test_site_regression_removes_the_populations_too():
    """What the method is for: the cohorts' own differences survive TS-GLM and not site regression."""
    X, truth, _, _, site, columns = world(np.random.default_rng(2), travels=FULL, noise=0.1)
    age = {"age": columns["age"]}
    own = TravelingSubjectGLM().fit_transform(X, site=site, covariates=columns)
    plain = FeatureResidual().fit_transform(X, site=site, covariates=age)

    def between(Y):
        cohort = np.array([name.startswith("c") for name in columns["subject"]])
        means = np.array([Y[cohort & (np.array(site) == label)].mean(axis=0) for label in "abc"])
        return np.linalg.norm(means - means.mean(axis=0))

    assert between(own) == pytest.approx(between(truth), rel=0.1)
    assert between(plain) < 0.3 * between(truth)


def test_ridge_pulls_biases_to_zero():
    X, _, m, _, site, columns = world(np.random.default_rng(3), travels=FULL)
    norms = [
        np.linalg.norm(
            TravelingSubjectGLM(ridge=ridge).fit(X, site=site, covariates=columns).measurement_bias_
        )
        for ridge in (0.0, 5.0, 50.0)
    ]
    assert norms[0] == pytest.approx(np.linalg.norm(m))
    assert norms[0] > norms[1] > norms[2]


def test_a_cohort_that_differs_from_the_travelers_does_no_harm():
    """The same data with the cohort moved as a whole: the measurement bias does not move."""
    found = []
    for offset in (0.0, 100.0):
        X, _, _, _, site, columns = world(
            np.random.default_rng(4), travels=HUB, cohort=(10, 40, 70), noise=0.3, offset=offset
        )
        found.append(TravelingSubjectGLM().fit(X, site=site, covariates=columns).measurement_bias_)
    np.testing.assert_allclose(found[0], found[1], atol=1e-10)


METHODS = [TravelingSubjectGLM(), TravelingComBat(), TravelingCorrection(), TravelingRegression()]


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_sites_that_no_traveler_links(method):
    X, *_, site, columns = world(np.random.default_rng(5), travels=[(0, 1)] * 4)
    with pytest.raises(TravelerError, match=r"travels connect all sites; got 4 .*separate groups .*a, b.*c"):
        method.fit(X, site=site, covariates=columns)


def test_pairs_need_the_hub():
    """Additive factors compare pairs: without subjects at all sites the hub must be named."""
    X, _, m, _, site, columns = world(np.random.default_rng(6), travels=HUB)
    columns["age"] = np.zeros(len(site))
    with pytest.raises(TravelerError, match=r"site 'a' must have a traveler .*at all sites.*the hub"):
        TravelingCorrection().fit(X, site=site, covariates=columns)
    with pytest.raises(TravelerError, match=r"site 'c' must have a traveler .*at 'b'"):
        TravelingCorrection(reference_site="b").fit(X, site=site, covariates=columns)
    X, _, m, _, site, columns = world(np.random.default_rng(6), travels=[(0, 1), (0, 2)], noise=0.0)
    X = X - 0.03 * columns["age"][:, None]
    fitted = TravelingCorrection(reference_site="a").fit(X, site=site, covariates=columns)
    np.testing.assert_allclose(fitted.correction_, m[0] - m, atol=1e-10)


@needs_harmref
def test_balanced_travels_make_three_methods_one():
    """Every subject at every site twice: the GLM, the correction factors and site regression are equal."""
    rows, X = table("ts_covars.csv"), values("ts_features.csv")
    site = rows["SITE"].tolist()
    subject = rows[["subject"]]
    glm = TravelingSubjectGLM().fit_transform(X, site=site, covariates=subject)
    factors = TravelingCorrection().fit_transform(X, site=site, covariates=subject)
    np.testing.assert_allclose(glm, factors, atol=1e-12)
    np.testing.assert_allclose(glm, FeatureResidual().fit_transform(X, site=site), atol=1e-12)


@needs_harmref
@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_travelers_come_closer_to_themselves(method):
    rows, X = table("ts_covars.csv"), values("ts_features.csv")
    Y = method.fit_transform(X, site=rows["SITE"].tolist(), covariates=rows[["subject"]])

    def inside(Z):
        means = rows[["subject"]].assign(**{str(i): z for i, z in enumerate(Z.T)}).groupby("subject")
        return float(np.sqrt(means.var().to_numpy().mean()))

    # Site shifts have SD 0.15-0.2, repeats 0.04.
    assert inside(X) > 0.15
    assert inside(Y) < 0.06


@pytest.mark.parametrize("slope", ["least_squares", "orthogonal"])
def test_lines_are_found_without_noise(slope):
    rng = np.random.default_rng(7)
    person = rng.normal(size=(6, P))
    gain, shift = rng.uniform(0.5, 2.0, P), rng.normal(size=P)
    X = np.concatenate([person, shift + gain * person])
    method = TravelingRegression(reference_site="a", slope=slope)
    Y = method.fit_transform(X, site=["a"] * 6 + ["b"] * 6, covariates={"subject": np.tile(np.arange(6), 2)})
    np.testing.assert_allclose(Y, np.tile(person, (2, 1)), atol=1e-12)


def test_noise_flattens_the_least_squares_line_only():
    """Equal noise at both sites, half of the subjects' spread: the slope should be 1."""
    rng = np.random.default_rng(8)
    person = rng.normal(size=(400, 30))
    X = np.concatenate([person + 0.7 * rng.normal(size=person.shape) for _ in range(2)])
    site, columns = ["a"] * 400 + ["b"] * 400, {"subject": np.tile(np.arange(400), 2)}
    slopes = {
        slope: TravelingRegression(reference_site="a", slope=slope)
        .fit(X, site=site, covariates=columns)
        .slope_[1]
        .mean()
        for slope in ("least_squares", "orthogonal")
    }
    assert slopes["least_squares"] == pytest.approx(1 / (1 + 0.49), abs=0.02)
    assert slopes["orthogonal"] == pytest.approx(1.0, abs=0.03)


def test_a_line_needs_three_travelers():
    X, *_, site, columns = world(np.random.default_rng(9), travels=[(0, 1, 2)] * 2)
    with pytest.raises(TravelerError, match="site 'a' must have at least 3 travelers to fit a line; got 2"):
        TravelingRegression().fit(X, site=site, covariates=columns)


def test_ts_combat_keeps_the_populations_apart():
    """Site effects from travelers: the cohorts' difference stays, which ComBat on everybody removes."""
    X, truth, _, _, site, columns = world(
        np.random.default_rng(10), travels=[(0, 1, 2)] * 12, noise=0.3, cohort=(60, 60, 60)
    )
    X = X - 0.03 * columns["age"][:, None]
    truth = truth - 0.03 * columns["age"][:, None]
    own = TravelingComBat().fit_transform(X, site=site, covariates=columns)
    plain = ComBat().fit_transform(X, site=site)
    errors = [np.sqrt(((Y - truth - (Y - truth).mean(axis=0)) ** 2).mean()) for Y in (own, plain)]
    assert errors[0] < 0.6 * errors[1]


def test_a_covariate_tied_to_site():
    X, *_, site, columns = world(np.random.default_rng(11), travels=FULL)
    columns["age"] = np.array([float(label == "b") for label in site])
    for ridge in (0.0, 1.0):
        with pytest.raises(DesignError, match="'age', constant inside every site"):
            TravelingSubjectGLM(ridge=ridge).fit(X, site=site, covariates=columns)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (TravelingSubjectGLM(participants="mixed"), "participants must be 'fixed' or 'random'"),
        (TravelingSubjectGLM(ridge=-1.0), "ridge must be finite and at least 0"),
        (TravelingRegression(slope="total"), "slope must be 'least_squares' or 'orthogonal'"),
        (TravelingCorrection(reference_site="z"), r"reference_site must be one of the sites \(a, b, c\)"),
    ],
)
def test_refusals(method, message):
    X, *_, site, columns = world(np.random.default_rng(12), travels=FULL)
    with pytest.raises(ValueError, match=message):
        method.fit(X, site=site, covariates=columns)

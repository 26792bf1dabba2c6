"""Members of the ComBat family on planted truth, and against formulas written another way."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

from mrsim.harmonizers import (
    AutoComBat,
    BayesComBat,
    ComBat,
    ComBatGAM,
    ComBatLS,
    CovBat,
    FeatureZScore,
    GMMComBat,
    LongitudinalComBat,
    MComBat,
    MixedResidual,
    MMDShift,
    NestedComBat,
    Relief,
    UnseenSiteError,
)
from mrsim.harmonizers.features.mixture import fit_mixture
from mrsim.harmonizers.features.nested_combat import affected
from mrsim.harmonizers.features.splines import BSplineBasis, ThinPlateBasis

from ..planted import cohort


@pytest.fixture(scope="module")
def data():
    return cohort(np.random.default_rng(1), n=(40, 30, 20))


def fit(method, data, **other):
    return method.fit(data.X, site=data.site.tolist(), covariates={**data.covariates, **other})


def apply(method, data, **other):
    return method.transform(data.X, site=data.site.tolist(), covariates={**data.covariates, **other})


def rmse(a, b):
    return float(np.sqrt(np.mean((a - b) ** 2)))


# ComBat-GAM ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("basis", [BSplineBasis, ThinPlateBasis])
def test_penalty_is_the_integral_of_the_squared_second_derivative(basis):
    x = np.random.default_rng(0).uniform(20, 80, 50)
    spline = basis.of(x, 8)
    rng = np.random.default_rng(1)
    b = rng.normal(size=7)
    grid = np.linspace(x.min(), x.max(), 20_001)
    curve = spline.design(grid) @ b
    h = grid[1] - grid[0]
    second = (curve[2:] - 2 * curve[1:-1] + curve[:-2]) / h**2
    # Finite differences of a piecewise cubic on 20,000 steps: 1e-4 relative.
    assert b @ spline.penalty() @ b == pytest.approx((second**2).sum() * h, rel=2e-3)


@pytest.mark.parametrize("basis", [BSplineBasis, ThinPlateBasis])
def test_curves_continue_as_straight_lines(basis):
    x = np.random.default_rng(0).uniform(20, 80, 50)
    far = basis.of(x, 8).design(np.array([90.0, 100.0, 110.0]))
    np.testing.assert_allclose(far[2] - far[1], far[1] - far[0], atol=1e-8 * np.abs(far).max())


def test_gam_with_a_large_penalty_is_combat(data):
    site = data.site.tolist()
    smooth = ComBatGAM("age", penalty=1e9).fit_transform(data.X, site=site, covariates=data.covariates)
    line = ComBat().fit_transform(data.X, site=site, covariates=data.covariates)
    # What curvature is left goes down with the penalty.
    np.testing.assert_allclose(smooth, line, atol=1e-5)


@pytest.mark.parametrize("penalty", ["gcv", "reml"])
def test_chosen_penalty_is_the_best_of_a_fine_scan(data, penalty):
    """Criteria written out from hat matrix and likelihood for one feature."""
    from mrsim.harmonizers.features.penalised import PenalisedRegression
    from mrsim.harmonizers.regression import SiteRegression

    y = np.sin(data.age / 8.0)[:, None] + 0.5 * np.random.default_rng(2).normal(size=(len(data.X), 1))
    index = np.unique(data.site, return_inverse=True)[1]
    basis = BSplineBasis.of(data.age, 9)
    design, S = basis.design(data.age), basis.penalty()
    regression = SiteRegression.prepare(index, design, [str(i) for i in range(8)], 3)
    model = PenalisedRegression.prepare(regression, [S], penalty)
    inside = y - (regression.indicator.T @ y / regression.indicator.sum(axis=0)[:, None])[index]
    chosen = model._choose((model.regression.within.T @ inside).T, inside, slice(None))[0, 0]

    D = np.hstack([regression.indicator, design])
    P = np.zeros((11, 11))
    P[3:, 3:] = S

    def criterion(lam):
        A = D.T @ D + lam * P
        b = np.linalg.solve(A, D.T @ y)
        rss = float(((y - D @ b) ** 2).sum())
        if penalty == "gcv":
            edf = np.trace(np.linalg.solve(A, D.T @ D))
            return len(y) * rss / (len(y) - edf) ** 2
        # 7 curved directions; 3 sites and the straight line are free.
        deviance = rss + lam * float((b.T @ P @ b)[0, 0])
        return (len(y) - 4) * np.log(deviance) + np.linalg.slogdet(A)[1] - 7 * np.log(lam)

    scan = chosen * 10 ** np.linspace(-3, 3, 241)
    values = [criterion(lam) for lam in scan]
    assert criterion(chosen) <= min(values) + 1e-12 * abs(min(values))
    assert abs(int(np.argmin(values)) - 120) <= 1


def test_two_smooth_terms(data):
    """Both curves are found: better than one of them straight."""
    rng = np.random.default_rng(4)
    dose = rng.uniform(0, 1, len(data.age))
    curve = np.sin(data.age / 8.0) + 3 * (dose - 0.5) ** 2
    X = curve[:, None] + 0.2 * rng.normal(size=(len(dose), 6))
    columns = {"age": data.age, "dose": dose}
    both = ComBatGAM(["age", "dose"]).fit(X, site=data.site.tolist(), covariates=columns)
    one = ComBatGAM("age").fit(X, site=data.site.tolist(), covariates=columns)
    assert both.pooled_sd_.mean() == pytest.approx(0.19, abs=0.015)
    assert one.pooled_sd_.mean() > 1.2 * both.pooled_sd_.mean()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"smooth": "weight"}, r"smooth must name numeric covariates \(age, group\); got 'weight'"),
        ({"smooth": "group"}, r"distinct values of the covariates column 'group' \(2\)"),
        ({"smooth": "age", "basis": "fourier"}, "basis must be one of bspline, thin_plate"),
        ({"smooth": "age", "penalty": "loocv"}, "penalty must be 'gcv', 'reml'"),
        ({"smooth": "age", "penalty": -1.0}, "at least 0"),
    ],
)
def test_gam_refusals(data, params, message):
    with pytest.raises(ValueError, match=message):
        fit(ComBatGAM(**params), data)


# ComBatLS --------------------------------------------------------------------------------------------------


def test_location_scale_estimates_maximise_the_likelihood():
    """Against a general optimiser on the likelihood of one feature."""
    data = cohort(np.random.default_rng(6), n=(60, 50, 40))
    fitted = fit(ComBatLS(empirical_bayes=False), data)
    index = np.unique(data.site, return_inverse=True)[1]
    C = np.column_stack([data.age - data.age.mean(), data.group - data.group.mean()])
    D = np.hstack([np.eye(3)[index], C])
    y = data.X[:, 4]

    def loss(parameters):
        mean, log_sd = D @ parameters[:5], D @ parameters[5:]
        return float((log_sd + (y - mean) ** 2 * np.exp(-2 * log_sd) / 2).sum())

    start = np.concatenate([np.linalg.lstsq(D, y, rcond=None)[0], np.zeros(5)])
    best = minimize(loss, start, method="BFGS", options={"gtol": 1e-9, "maxiter": 5000})
    # BFGS with numerical gradients stops near 1e-5 of the parameters.
    np.testing.assert_allclose(fitted.coefficients_[:, 4], best.x[3:5], atol=1e-4)
    np.testing.assert_allclose(fitted.log_spread_[:, 4], best.x[8:10], atol=1e-4)


def test_spread_that_grows_with_age_survives():
    """Older people vary more, one site is older: ComBat makes the sites' spreads equal, ComBatLS not."""
    rng = np.random.default_rng(8)
    site = np.repeat(list("ab"), 400)
    age = np.concatenate([rng.normal(35, 8, 400), rng.normal(60, 8, 400)])
    sd = np.exp(0.02 * (age - 50))
    X = sd[:, None] * rng.normal(size=(800, 20)) * np.where(site == "b", 1.3, 1.0)[:, None]
    truth_ratio = np.exp(0.02 * 25)

    def ratio(method):
        Y = method.fit_transform(X, site=site.tolist(), covariates={"age": age})
        return Y[site == "b"].std() / Y[site == "a"].std()

    assert ratio(ComBatLS()) == pytest.approx(truth_ratio, rel=0.06)
    assert ratio(ComBat()) == pytest.approx(1.0, rel=0.06)


def test_location_scale_without_covariates_is_combat(data):
    site = data.site.tolist()
    np.testing.assert_allclose(
        ComBatLS().fit_transform(data.X, site=site), ComBat().fit_transform(data.X, site=site), rtol=1e-12
    )


# M-ComBat, CovBat, RELIEF, MMD -----------------------------------------------------------------------------


def test_m_combat_takes_the_largest_site(data):
    Y = apply(fit(MComBat(), data), data)
    np.testing.assert_array_equal(Y, apply(fit(ComBat(reference_site="a"), data), data))
    np.testing.assert_array_equal(Y[data.site == "a"], data.X[data.site == "a"])


def test_covbat_makes_the_sites_covariances_alike():
    data = cohort(np.random.default_rng(2), n=(200, 200, 200), covariance=True)

    def gap(Y):
        covariances = [np.cov(Y[data.site == s].T) for s in "abc"]
        return max(np.linalg.norm(a - b) for a in covariances for b in covariances)

    combat, covbat = apply(fit(ComBat(), data), data), apply(fit(CovBat(n_components=20), data), data)
    # The reference page finds the same: some of what ComBat leaves goes, most of it stays.
    assert gap(covbat) < 0.9 * gap(combat)


def test_covbat_refusals(data):
    with pytest.raises(ValueError, match="n_components must be between 1 and 30"):
        fit(CovBat(n_components=31), data)
    with pytest.raises(ValueError, match="explained must be between 0 and 1"):
        fit(CovBat(explained=95), data)


def test_relief_removes_a_latent_factor_of_one_site():
    rng = np.random.default_rng(3)
    site = np.repeat(list("abc"), 60)
    clean = rng.normal(size=(180, 40))
    factor = np.outer(rng.normal(size=180) * (site == "b"), rng.normal(size=40))
    X = clean + 2.0 * factor
    Y = Relief().fit_transform(X, site=site.tolist())
    direction = factor[np.argmax(np.abs(factor).sum(axis=1))]
    direction /= np.linalg.norm(direction)
    excess = [np.var(Z[site == "b"] @ direction) / np.var(Z[site == "a"] @ direction) for Z in (X, Y)]
    # Soft thresholds leave a part: singular values are lowered, not cut.
    assert excess[0] > 50
    assert excess[1] < 0.1 * excess[0]
    # Held-out samples of that site lose the factor too.
    new = rng.normal(size=(200, 40)) + 2.0 * rng.normal(size=(200, 1)) * 3.0 * direction
    fitted = Relief().fit(X, site=site.tolist())
    out = fitted.transform(new, site=["b"] * 200)
    assert np.var(out @ direction) < 0.15 * np.var(new @ direction)


def test_relief_that_does_not_settle(data):
    with pytest.raises(ValueError, match=r"max_iterations must be enough to settle; got 1 "):
        fit(Relief(max_iterations=1), data)


def test_mmd_shift_finds_an_affine_difference():
    """Target and site are the same samples on two scales: the map back is exact."""
    rng = np.random.default_rng(0)
    shape = np.concatenate([rng.normal(-2, 0.5, 60), rng.exponential(1.0, 60)])
    X = np.concatenate([shape, 3.0 + 1.7 * shape])[:, None]
    site = ["a"] * 120 + ["b"] * 120
    Y = MMDShift(reference_site="a").fit_transform(X, site=site)
    # The optimiser stops at a gradient of 1e-10 of a kernel mean.
    np.testing.assert_allclose(Y[120:, 0], shape, atol=1e-5)
    shifted = MMDShift(reference_site="a", scale=False).fit(X, site=site)
    np.testing.assert_array_equal(shifted.factor_, 1.0)


def test_mmd_shift_is_not_pulled_by_outliers():
    rng = np.random.default_rng(1)
    clean = rng.normal(size=400)
    X = clean[:, None].copy()
    X[200:] += 1.0
    X[200:206] += 60.0
    site = ["a"] * 200 + ["b"] * 200
    rest = np.r_[0:200, 206:400]
    by_kernel = MMDShift(reference_site="a").fit_transform(X, site=site)[rest, 0]
    by_moments = FeatureZScore().fit_transform(X, site=site)[rest, 0]
    # Three outliers in a hundred make the second site's standard deviation ten times what its bulk has.
    spread = [Y[200:].std() / Y[:200].std() for Y in (by_kernel, by_moments)]
    assert spread[0] == pytest.approx(1.0, abs=0.1)
    assert spread[1] < 0.3


# Mixed models ----------------------------------------------------------------------------------------------


def repeated(rng, n_subjects=60, visits=3):
    subject = np.repeat(np.arange(n_subjects), visits)
    site = rng.integers(0, 3, subject.size)
    person = rng.normal(0, 2.0, (n_subjects, 8))
    truth = person[subject] + 0.5 * rng.normal(size=(subject.size, 8))
    shift = rng.normal(0, 1.0, (3, 8))
    return truth + shift[site], truth, np.array(list("abc"))[site], subject


@pytest.mark.parametrize("method", [LongitudinalComBat(), MixedResidual()], ids=str)
def test_subjects_are_not_taken_for_sites(method):
    """Repeated scans: knowing the subject makes site effects several times more precise."""
    X, truth, site, subject = repeated(np.random.default_rng(0))
    Y = method.fit_transform(X, site=site.tolist(), covariates={"subject": subject})
    plain = ComBat(mean_only=True).fit_transform(X, site=site.tolist())

    def error(Z):
        difference = Z - truth
        return np.sqrt(((difference - difference.mean(axis=0)) ** 2).mean())

    assert error(Y) < 0.5 * error(plain)


def test_without_subject_variance_the_mixed_model_is_regression():
    """Subjects that differ less than by chance: the intercept's variance is 0."""
    rng = np.random.default_rng(2)
    subject = np.repeat(np.arange(20), 2)
    site = np.array(list("ab"))[rng.integers(0, 2, 40)]
    X = rng.normal(size=(40, 5))
    X -= np.repeat((X[::2] + X[1::2]) / 2, 2, axis=0)
    mixed = MixedResidual().fit(X, site=site.tolist(), covariates={"subject": subject})
    plain = np.array([X[site == s].mean(axis=0) for s in "ab"])
    expected = plain - np.array([(site == s).mean() for s in "ab"]) @ plain
    np.testing.assert_allclose(mixed.shift_, expected, atol=1e-12)


def test_subject_column_is_asked_for(data):
    with pytest.raises(
        ValueError, match=r"covariates must hold the column 'subject'; got \['age', 'group'\]"
    ):
        fit(LongitudinalComBat(), data)
    with pytest.raises(ValueError, match="subjects with several samples"):
        fit(MixedResidual("person"), data, person=np.arange(len(data.X)))


def test_whole_numbers_name_the_same_subject_as_int_and_float():
    X, _, site, subject = repeated(np.random.default_rng(5))
    fitted = LongitudinalComBat().fit(X, site=site.tolist(), covariates={"subject": subject})
    whole = fitted.transform(X, site=site.tolist(), covariates=pd.DataFrame({"subject": subject}))
    real = fitted.transform(
        X, site=site.tolist(), covariates=pd.DataFrame({"subject": subject.astype(float)})
    )
    np.testing.assert_array_equal(whole, real)


# Groups that are found or nested ---------------------------------------------------------------------------


def bimodal(rng):
    """A hidden property of half of the samples shifts the first ten features."""
    data = cohort(rng, n=(60, 60, 60))
    hidden = rng.integers(0, 2, len(data.X))
    moved = np.where(np.arange(30) < 10, 6.0, 0.0)
    return data, hidden, np.outer(hidden, moved)


def test_mixture_of_two_normals():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 1, 4000), rng.normal(5, 0.5, 6000)])
    found = fit_mixture(np.column_stack([x, -x]))
    np.testing.assert_allclose(found.weight, [[0.4, 0.6], [0.6, 0.4]], atol=0.02)
    np.testing.assert_allclose(found.mean, [[0, -5], [5, 0]], atol=0.06)
    np.testing.assert_allclose(found.sd, [[1, 0.5], [0.5, 1]], atol=0.05)


def test_hidden_group_is_removed_or_protected():
    data, hidden, effect = bimodal(np.random.default_rng(9))
    X = data.X + effect
    metadata = {"site": data.site.tolist(), "covariates": data.covariates}

    def gap(Y):
        return np.abs(Y[hidden == 1, :10].mean() - Y[hidden == 0, :10].mean())

    removed = GMMComBat().fit(X, **metadata)
    assert removed.group_feature_ < 10
    assert gap(removed.transform(X, **metadata)) < 0.5
    assert gap(GMMComBat("protect").fit_transform(X, **metadata)) == pytest.approx(6.0, abs=0.5)


def test_without_two_modes_it_is_combat():
    data = cohort(np.random.default_rng(1), n=(40, 30, 20))
    fitted = fit(GMMComBat(smallest=0.5), data)
    assert fitted.group_feature_ == -1
    np.testing.assert_array_equal(apply(fitted, data), apply(fit(ComBat(), data), data))


def test_clusters_of_settings_take_the_place_of_sites():
    """Five sites with two scanner models; a sixth site is harmonized by its settings alone."""
    rng = np.random.default_rng(3)
    model = np.repeat([0, 1], 60)
    frame = pd.DataFrame(
        {
            "echo_time": np.array([2.9, 4.2])[model] + 0.02 * rng.integers(0, 3, 120),
            "vendor": np.array(["North", "South"])[model],
            "age": rng.uniform(20, 80, 120),
        }
    )
    X = rng.normal(size=(120, 12)) + 2.0 * model[:, None]
    site = [f"site{i}" for i in rng.integers(0, 5, 120)]
    method = AutoComBat(["echo_time", "vendor"]).fit(X, site=site, covariates=frame)
    assert len(method.centres_) == 2
    expected = ComBat().fit(X, site=model.tolist(), covariates=frame[["age"]])
    np.testing.assert_allclose(
        method.transform(X, site=["new"] * 120, covariates=frame),
        expected.transform(X, site=model.tolist(), covariates=frame[["age"]]),
        rtol=1e-12,
    )


def test_auto_combat_names_a_missing_column(data):
    with pytest.raises(ValueError, match=r"acquisition must name columns .*\(age, group\); got 'echo_time'"):
        fit(AutoComBat("echo_time"), data)


def nested_table(rng):
    """Site shifts and a kernel that sharpens: two batch effects, crossed."""
    data = cohort(rng, n=(60, 60, 60))
    kernel = rng.integers(0, 2, len(data.X))
    X = data.X + 2.0 * kernel[:, None] * (1 + 0.2 * rng.normal(size=30))
    return data, X, np.array(["smooth", "sharp"])[kernel]


@pytest.mark.parametrize("order", ["given", "greedy", "optimal"])
def test_nested_combat_removes_both(order):
    data, X, kernel = nested_table(np.random.default_rng(4))
    metadata = {"site": data.site.tolist(), "covariates": {**data.covariates, "kernel": kernel}}
    method = NestedComBat("kernel", order=order).fit(X, **metadata)
    Y = method.transform(X, **metadata)
    assert set(method.sequence_) == {"site", "kernel"}
    assert affected(X, kernel) == 30
    assert affected(Y, kernel) <= 1
    assert affected(Y, data.site) <= 1
    with pytest.raises(UnseenSiteError, match=r"'kernel' must hold batch labels .*\(sharp, smooth\)"):
        method.transform(X[:1], site=["a"], covariates={"age": [50.0], "group": [0.0], "kernel": ["soft"]})


def test_affected_counts_like_scipy():
    from scipy.stats import ks_2samp

    rng = np.random.default_rng(0)
    X, labels = rng.normal(size=(120, 60)), np.array(list("ab"))[rng.integers(0, 2, 120)]
    X[labels == "b", :20] += 0.7
    exact = [
        ks_2samp(a, b, method="asymp").pvalue < 0.05
        for a, b in zip(X[labels == "a"].T, X[labels == "b"].T, strict=True)
    ]
    assert abs(affected(X, labels) - sum(exact)) <= 1


# Fully Bayesian --------------------------------------------------------------------------------------------


def test_posterior_shrinks_where_samples_are_few():
    """Six samples per site: closer to the truth than without a prior, as close as empirical Bayes."""
    errors = {"bayes": [], "eb": [], "none": []}
    for repeat in range(4):
        data = cohort(np.random.default_rng([repeat, 1]), n=(6, 6, 60), p=60)
        for name, method in {
            "bayes": BayesComBat(draws=200, warmup=100),
            "eb": ComBat(),
            "none": ComBat(empirical_bayes=False),
        }.items():
            Y = apply(fit(method, data), data)
            errors[name].append(rmse(Y - Y.mean(axis=0), data.truth - data.truth.mean(axis=0)))
    assert np.mean(errors["bayes"]) < 0.97 * np.mean(errors["none"])
    assert np.mean(errors["bayes"]) == pytest.approx(np.mean(errors["eb"]), rel=0.05)


def test_posterior_of_many_samples_is_the_empirical_one():
    data = cohort(np.random.default_rng(2), n=(800, 800, 800), p=12)
    bayes = fit(BayesComBat(draws=100, warmup=50), data)
    plain = fit(ComBat(), data)
    # Posterior standard deviations at n = 800: gamma 0.035, delta 5 %; a tenth of that for the mean of draws.
    np.testing.assert_allclose(bayes.gamma_, plain.gamma_star_, atol=0.02)
    np.testing.assert_allclose(bayes.delta_, plain.delta_star_, rtol=0.03)


def test_posterior_depends_on_the_seed_only():
    data = cohort(np.random.default_rng(3), n=(10, 10, 10), p=10)
    first, same, other = (apply(fit(BayesComBat(40, 20, seed), data), data) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert np.abs(first - other).max() > 1e-4

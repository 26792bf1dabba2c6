"""ComBat's own rules: estimates against plain formulas, covariates, held-out data, refusals."""

import numpy as np
import pandas as pd
import pytest

from mrsim.harmonizers import (
    ComBat,
    ComBatLS,
    CovBat,
    DesignError,
    DistributedComBat,
    FeatureZScore,
    MComBat,
    TableInputError,
    UnseenSiteError,
)
from mrsim.harmonizers.features import empirical_bayes as eb

from ..planted import apply, cohort, fit


@pytest.fixture
def data():
    rng = np.random.default_rng(3)
    n, p = 45, 7
    site = np.array(["a", "b", "c"])[np.arange(n) % 3]
    age = rng.uniform(20, 80, n)
    sex = np.array(["f", "m"])[rng.integers(0, 2, n)]
    X = 5 + 0.02 * age[:, None] + rng.normal(size=(n, p)) * np.where(site == "b", 2.0, 1.0)[:, None]
    X[site == "c"] += 1.5
    return X, site.tolist(), pd.DataFrame({"age": age, "sex": sex})


def test_parametric_estimates_solve_their_equations():
    """At the fixed point both conditional means hold; sva stops at a relative change of 1e-4."""
    rng = np.random.default_rng(0)
    z = rng.normal(0.5, 1.3, (12, 200)) * rng.uniform(0.7, 1.4, 200)
    gamma_hat, delta_hat = z.mean(axis=0), z.var(axis=0, ddof=1)
    gamma, delta = eb.parametric(gamma_hat, delta_hat, 11 * delta_hat, 12)
    m, s2, t2 = delta_hat.mean(), delta_hat.var(ddof=1), gamma_hat.var(ddof=1)
    expected = (12 * t2 * gamma_hat + delta * gamma_hat.mean()) / (12 * t2 + delta)
    shape, scale = (
        m**2 / s2 + 2,
        m**3 / s2 + m,
    )  # an inverse gamma's mean scale/(shape-1) is m, its variance s2
    np.testing.assert_allclose(gamma, expected, rtol=1e-3)
    spread = ((z - gamma) ** 2).sum(axis=0)
    np.testing.assert_allclose(delta, (scale + spread / 2) / (6 + shape - 1), rtol=1e-3)


def test_nonparametric_estimates_equal_the_plain_sum(monkeypatch):
    """Likelihood-weighted mean over the other features, written as loops; blocks of three rows."""
    rng = np.random.default_rng(1)
    z = rng.normal(0.3, 1.0, (9, 8))
    gamma_hat, delta_hat = z.mean(axis=0), z.var(axis=0, ddof=1)
    monkeypatch.setattr(eb, "_BLOCK_BYTES", 3 * 8 * 8)
    gamma, delta = eb.nonparametric(gamma_hat, delta_hat, 8 * delta_hat, 9)
    for v in range(8):
        others = [u for u in range(8) if u != v]
        weight = np.array(
            [
                np.prod(np.exp(-((z[:, v] - g) ** 2) / (2 * d)) / np.sqrt(2 * np.pi * d))
                for g, d in zip(gamma_hat[others], delta_hat[others], strict=True)
            ]
        )
        assert gamma[v] == pytest.approx(weight @ gamma_hat[others] / weight.sum(), rel=1e-12)
        assert delta[v] == pytest.approx(weight @ delta_hat[others] / weight.sum(), rel=1e-12)


def test_nonparametric_does_not_underflow():
    """With 2000 samples the likelihood itself is below the smallest float; its logarithm is not."""
    rng = np.random.default_rng(2)
    z = rng.normal(0.0, 1.0, (2000, 6))
    gamma, delta = eb.nonparametric(z.mean(axis=0), z.var(axis=0, ddof=1), 1999 * z.var(axis=0, ddof=1), 2000)
    assert np.isfinite(gamma).all()
    assert np.isfinite(delta).all()


def test_without_shrinkage_sites_get_equal_moments(data):
    """No empirical Bayes, no covariates: every site ends with the same mean and variance, exactly."""
    X, site, _ = data
    Y = ComBat(empirical_bayes=False).fit_transform(X, site=site)
    groups = [Y[np.array(site) == s] for s in "abc"]
    for group in groups[1:]:
        np.testing.assert_allclose(group.mean(axis=0), groups[0].mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(group.var(axis=0, ddof=1), groups[0].var(axis=0, ddof=1), rtol=1e-12)


def test_covariates_array_frame_and_coding_are_one(data):
    X, site, frame = data
    array = np.column_stack([frame["age"], (frame["sex"] == "m").astype(float)])
    mixed = frame.to_numpy(dtype=object)
    category = frame.assign(sex=pd.Categorical(frame["sex"]))
    expected = ComBat().fit_transform(X, site=site, covariates=frame)
    for other in (array, mixed, category, frame.assign(sex=frame["sex"] == "m")):
        np.testing.assert_array_equal(ComBat().fit_transform(X, site=site, covariates=other), expected)
    assert np.abs(ComBat().fit_transform(X, site=site) - expected).max() > 1e-3


def test_blocks_of_features_do_not_matter(data, monkeypatch):
    X, site, frame = data
    expected = ComBat().fit_transform(X, site=site, covariates=frame)
    monkeypatch.setattr(
        "mrsim.harmonizers.features.location_scale.feature_blocks",
        lambda n, p: [slice(i, i + 2) for i in range(0, p, 2)],
    )
    # Matrix products over other shapes may round differently in the last bits.
    np.testing.assert_allclose(ComBat().fit_transform(X, site=site, covariates=frame), expected, rtol=1e-13)


def test_reference_site_is_returned_bit_for_bit(data):
    X, site, frame = data
    Y = ComBat(reference_site="b").fit_transform(X, site=site, covariates=frame)
    kept = np.array(site) == "b"
    np.testing.assert_array_equal(Y[kept], X[kept])
    assert (Y[~kept] != X[~kept]).any(axis=0).all()


def test_held_out_equals_in_sample(data):
    X, site, frame = data
    fitted = ComBat().fit(X, site=site, covariates=frame)
    whole = fitted.transform(X, site=site, covariates=frame)
    part = fitted.transform(X[10:13], site=site[10:13], covariates=frame[10:13])
    np.testing.assert_allclose(part, whole[10:13], rtol=1e-13)


def test_float64_is_not_cast_and_float32_is_widened(data):
    X, site, _ = data
    tiny = X + 1e-12 * np.arange(len(X))[:, None]  # lost in float32
    moved = ComBat().fit_transform(tiny, site=site) - ComBat().fit_transform(X, site=site)
    assert np.abs(moved).max() > 1e-13
    single = ComBat().fit_transform(X.astype(np.float32), site=site)
    assert single.dtype == np.float64


@pytest.mark.parametrize("mean_only", [False, True])
def test_site_with_one_sample(data, mean_only):
    X, site, _ = data
    site = ["lonely", *site[1:]]
    if mean_only:
        assert np.isfinite(ComBat(mean_only=True).fit_transform(X, site=site)).all()
    else:
        with pytest.raises(ValueError, match=r"site must have at least 2 samples.*lonely.*mean_only=True"):
            ComBat().fit(X, site=site)


def test_collinear_covariate_is_named(data):
    X, site, frame = data
    tied = frame.assign(scanner_age=[{"a": 3.0, "b": 7.0, "c": 1.0}[s] for s in site])
    with pytest.raises(DesignError, match=r"covariates must vary inside.*'scanner_age'.*Drop"):
        ComBat().fit(X, site=site, covariates=tied)
    doubled = frame.assign(months=frame["age"] * 12)
    with pytest.raises(DesignError, match=r"linearly independent.*'age', 'months'.*Drop"):
        ComBat().fit(X, site=site, covariates=doubled)


def test_too_few_samples(data):
    X, site, frame = data
    with pytest.raises(DesignError, match=r"more samples than sites and covariate columns.*3 \+ 2.*got 5"):
        ComBat(mean_only=True).fit(X[:5], site=site[:5], covariates=frame[:5])


def test_constant_feature_raises_or_is_kept(data):
    X, site, frame = data
    X[:, 4] = 0.1
    with pytest.raises(ValueError, match=r"no variance in column 4.*constant_features='keep'"):
        ComBat().fit(X, site=site, covariates=frame)
    Y = ComBat(constant_features="keep").fit_transform(X, site=site, covariates=frame)
    np.testing.assert_array_equal(Y[:, 4], X[:, 4])
    without = ComBat().fit_transform(np.delete(X, 4, axis=1), site=site, covariates=frame)
    np.testing.assert_allclose(np.delete(Y, 4, axis=1), without, rtol=1e-13)  # and it is outside the priors


def test_feature_constant_inside_one_site(data):
    X, site, _ = data
    X[np.array(site) == "a", 2] = 0.0
    with pytest.raises(ValueError, match="no variance in column 2"):
        ComBat().fit(X, site=site)
    assert np.isfinite(ComBat(mean_only=True).fit_transform(X, site=site)).all()


def test_unseen_site(data):
    X, site, _ = data
    fitted = ComBat(unseen_site="raise").fit(X, site=site)
    with pytest.raises(UnseenSiteError, match=r"site must be one that fit has seen \(a, b, c\); got d"):
        fitted.transform(X[:1], site=["d"])


def test_unknown_reference_site(data):
    X, site, _ = data
    with pytest.raises(ValueError, match=r"reference_site must be one of the sites.*got 'z'"):
        ComBat(reference_site="z").fit(X, site=site)


def test_single_feature_needs_no_empirical_bayes(data):
    X, site, _ = data
    with pytest.raises(ValueError, match="empirical_bayes must be False for a single"):
        ComBat().fit(X[:, :1], site=site)
    assert np.isfinite(ComBat(empirical_bayes=False).fit_transform(X[:, :1], site=site)).all()


def test_copies_of_a_feature_have_no_prior(data):
    X, site, _ = data
    with pytest.raises(ValueError, match="copies of one feature"):
        ComBat().fit(X[:, [0, 0, 0, 0]], site=site)


def test_missing_values_are_located(data):
    X, site, frame = data
    table = pd.DataFrame(X, columns=[f"roi{i}" for i in range(X.shape[1])])
    table.iloc[4, 3] = np.nan
    with pytest.raises(TableInputError, match=r"X must be finite; got 1 .* row 4, column 'roi3'"):
        ComBat().fit(table, site=site)
    frame.loc[7, "age"] = np.nan
    with pytest.raises(TableInputError, match=r"'age' must be complete; got 1 .* row 7"):
        ComBat().fit(X, site=site, covariates=frame)


def test_columns_in_another_order_are_refused(data):
    X, site, _ = data
    table = pd.DataFrame(X, columns=list("uvwxyzq"))
    fitted = ComBat().fit(table, site=site)
    with pytest.raises(ValueError, match=r"got 'v' in place of 'u'"):
        fitted.transform(table[list("vuwxyzq")], site=site)
    np.testing.assert_array_equal(fitted.transform(table, site=site), fitted.transform(X, site=site))


def test_new_level_of_a_covariate(data):
    X, site, frame = data
    fitted = ComBat().fit(X, site=site, covariates=frame)
    with pytest.raises(TableInputError, match=r"'sex' must hold the levels seen in fit \(f, m\); got x"):
        fitted.transform(X[:1], site=site[:1], covariates=pd.DataFrame({"age": [30.0], "sex": ["x"]}))


def test_failed_fit_leaves_no_state(data):
    X, site, _ = data
    harmonizer = ComBat().fit(X, site=site)
    with pytest.raises(ValueError, match="at least 2 samples"):
        harmonizer.fit(X, site=["lonely", *site[1:]])
    assert not harmonizer.is_fitted()


def test_site_zscore_gives_equal_moments(data):
    X, site, _ = data
    Y = FeatureZScore().fit_transform(X, site=site)
    groups = [Y[np.array(site) == s] for s in "abc"]
    for group in groups[1:]:
        np.testing.assert_allclose(group.mean(axis=0), groups[0].mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(group.std(axis=0), groups[0].std(axis=0), rtol=1e-12)


def test_m_combat_takes_the_largest_site():
    data = cohort(np.random.default_rng(1), n=(40, 30, 20))
    Y = apply(fit(MComBat(), data), data)
    np.testing.assert_array_equal(Y, apply(fit(ComBat(reference_site="a"), data), data))
    np.testing.assert_array_equal(Y[data.site == "a"], data.X[data.site == "a"])


@pytest.mark.parametrize(
    "kind", [ComBat, CovBat, ComBatLS, MComBat, DistributedComBat], ids=lambda k: k.__name__
)
def test_float32_is_widened_and_nothing_else(kind):
    """A table in float32 gives what the same numbers give in float64."""
    data = cohort(np.random.default_rng(7), n=(30, 12, 21))
    X = data.X.astype(np.float32)
    site, columns = data.site.tolist(), data.covariates
    single = kind().fit_transform(X, site=site, covariates=columns)
    assert single.dtype == np.float64
    np.testing.assert_array_equal(
        single, kind().fit_transform(X.astype(np.float64), site=site, covariates=columns)
    )

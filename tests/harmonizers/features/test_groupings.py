"""Batches that are found, clustered or nested: GMM-, Auto- and Nested ComBat."""

import numpy as np
import pandas as pd
import pytest

from mrsim.harmonizers import AutoComBat, ComBat, GMMComBat, NestedComBat, UnseenSiteError
from mrsim.harmonizers.features.mixture import fit_mixture
from mrsim.harmonizers.features.nested_combat import affected

from ..planted import apply, cohort, fit


@pytest.fixture(scope="module")
def data():
    return cohort(np.random.default_rng(1), n=(40, 30, 20))


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


def test_mixture_is_that_of_scikit_learn():
    """Another expectation maximisation from the same start ends at the same likelihood and parameters."""
    from sklearn.mixture import GaussianMixture

    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(-1, 0.7, 90), rng.normal(2, 1.2, 60)])
    found = fit_mixture(x[:, None])
    halves = [x[x <= np.median(x)], x[x > np.median(x)]]
    other = GaussianMixture(
        2,
        tol=1e-13,
        max_iter=20_000,
        reg_covar=0.0,
        weights_init=[0.5, 0.5],
        means_init=[[half.mean()] for half in halves],
        precisions_init=[[[1 / half.var()]] for half in halves],
    ).fit(x[:, None])
    # Ours stops at a relative change of the likelihood of 1e-10.
    assert found.log_likelihood[0] == pytest.approx(other.score(x[:, None]) * x.size, rel=1e-8)
    np.testing.assert_allclose(found.mean[:, 0], other.means_[:, 0], atol=1e-3)
    np.testing.assert_allclose(found.sd[:, 0], np.sqrt(other.covariances_[:, 0, 0]), atol=1e-3)


@pytest.mark.parametrize("order", ["given", "greedy", "optimal"])
def test_nested_combat_without_further_batches_is_combat(order):
    data = cohort(np.random.default_rng(3), n=(20, 30, 25))
    nested = fit(NestedComBat(order=order), data)
    np.testing.assert_array_equal(apply(nested, data), apply(fit(ComBat(), data), data))


def test_one_cluster_of_settings_changes_nothing():
    """All scans acquired alike: AutoComBat finds one batch, so there is nothing to remove."""
    data = cohort(np.random.default_rng(4), n=(20, 30, 25))
    method = fit(AutoComBat("echo_time"), data, echo_time=np.full(75, 3.0))
    np.testing.assert_array_equal(apply(method, data, echo_time=np.full(75, 3.0)), data.X)


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

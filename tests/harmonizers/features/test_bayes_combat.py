"""Fully Bayesian ComBat on few and on many samples."""

import numpy as np
import pytest

from mrsim.harmonizers import BayesComBat, ComBat

from ..planted import apply, cohort, fit, rmse


@pytest.fixture(scope="module")
def data():
    return cohort(np.random.default_rng(1), n=(40, 30, 20))


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

"""ComBatLS against a general optimiser, and on spreads that depend on age."""

import numpy as np
import pytest
from scipy.optimize import minimize

from mrsim.harmonizers import ComBat, ComBatLS

from ..planted import cohort, fit


@pytest.fixture(scope="module")
def data():
    return cohort(np.random.default_rng(1), n=(40, 30, 20))


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

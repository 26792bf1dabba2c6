"""CovBat on sites that differ in covariance."""

import numpy as np
import pytest

from mrsim.harmonizers import ComBat, CovBat

from ..planted import apply, cohort, fit


@pytest.fixture(scope="module")
def data():
    return cohort(np.random.default_rng(1), n=(40, 30, 20))


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

"""ComBat against the outputs of neuroCombat 0.2.12 (= sva 3.46) and neuroHarmonize 2.5.2."""

import numpy as np
import pytest

from mrsim.harmonizers import ComBat, FeatureResidual

from ..references import needs_harmref, table, values

pytestmark = needs_harmref

CASES = {
    "param": {},
    "nonparam": {"parametric": False},
    "meanonly": {"mean_only": True},
    "noeb": {"empirical_bayes": False},
    "refB": {"reference_site": "B"},
    "nocov": {},
}
# The packages agree with each other to 2e-14 on values of order 1; one more iteration of the empirical Bayes
# loop, or its fully converged limit, would differ by 1e-7.
TOLERANCE = 1e-10


@pytest.fixture(scope="module")
def train():
    rows = table("train_covars.csv")
    return values("train_features.csv"), rows["SITE"].tolist(), rows[["age", "sex"]]


# sva has no switch for empirical Bayes.
OUTPUTS = [("py/neurocombat", name) for name in CASES] + [("r/sva", name) for name in CASES if name != "noeb"]


@pytest.mark.parametrize(("package", "name"), OUTPUTS)
def test_equals_reference(train, package, name):
    X, site, covariates = train
    ours = ComBat(**CASES[name]).fit_transform(
        X, site=site, covariates=None if name == "nocov" else covariates
    )
    largest = np.abs(ours - values(f"{package}_{name}.csv")).max()
    print(f"\nComBat {name:9s} against {package:15s}: max|d| = {largest:.1e}")
    assert largest < TOLERANCE


@pytest.mark.parametrize("name", CASES)
def test_estimates_equal_reference(train, name):
    from ..references import HARMREF

    X, site, covariates = train
    fitted = ComBat(**CASES[name]).fit(X, site=site, covariates=None if name == "nocov" else covariates)
    with np.load(HARMREF / "py" / "neurocombat_estimates.npz") as estimates:
        gamma, delta = estimates[f"{name}/gamma.star"], estimates[f"{name}/delta.star"]
        variance = estimates[f"{name}/var.pooled"][:, 0]
    np.testing.assert_allclose(fitted.gamma_star_, gamma, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(fitted.delta_star_, delta, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(fitted.pooled_sd_**2, variance, rtol=TOLERANCE)


def test_held_out_samples_of_known_sites(train):
    X, site, covariates = train
    rows = table("holdout_covars.csv")
    known = (rows["SITE"] != "D").to_numpy()
    fitted = ComBat().fit(X, site=site, covariates=covariates)
    ours = fitted.transform(
        values("holdout_features.csv")[known],
        site=rows["SITE"][known].tolist(),
        covariates=rows[["age", "sex"]][known],
    )
    largest = np.abs(ours - values("py/neuroharmonize_linear_apply_holdout_ABC.csv")).max()
    print(f"\nComBat held-out   against neuroHarmonize : max|d| = {largest:.1e}")
    assert largest < TOLERANCE


def test_error_to_truth(train):
    """RMSE to the same subjects without site effects, as tabulated with the references (three digits)."""
    X, site, covariates = train
    truth = values("train_truth.csv")

    def rmse(Y):
        return float(np.sqrt(np.mean((Y - truth) ** 2)))

    harmonized = ComBat().fit_transform(X, site=site, covariates=covariates)
    assert rmse(X) == pytest.approx(0.194, abs=5e-4)
    assert rmse(harmonized) == pytest.approx(0.119, abs=5e-4)


def test_site_regression_equals_combat_without_scale(train):
    """Without shrinkage and without scale, ComBat is linear site regression: two implementations, one "
    "result."""
    X, site, covariates = train
    combat = ComBat(mean_only=True, empirical_bayes=False).fit_transform(X, site=site, covariates=covariates)
    residual = FeatureResidual().fit_transform(X, site=site, covariates=covariates)
    np.testing.assert_allclose(combat, residual, rtol=0, atol=1e-13)

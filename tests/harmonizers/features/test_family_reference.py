"""The ComBat family, RELIEF and the mixed model against the outputs of their reference implementations.

Every test prints the largest difference. Tolerances: rounding for closed forms, the references' own
optimisers (lme4's bobyqa, mgcv's Newton steps) elsewhere.
"""

import json

import numpy as np
import pytest

from mrsim.harmonizers import (
    ComBat,
    ComBatGAM,
    CovBat,
    DistributedComBat,
    LongitudinalComBat,
    MComBat,
    Relief,
    TravelingSubjectGLM,
)

from ..references import HARMREF, needs_harmref, table, values

pytestmark = needs_harmref


@pytest.fixture(scope="module")
def train():
    rows = table("train_covars.csv")
    return values("train_features.csv"), rows["SITE"].tolist(), rows[["age", "sex"]]


def largest(name, ours, reference):
    difference = float(np.abs(ours - reference).max())
    print(f"\n{name:44s}: max|d| = {difference:.1e}")
    return difference


# (file, method, tolerance). statsmodels' alpha counts twice: the normal equations hold 2 alpha S.
CASES = [
    ("r/dcombatR_param.csv", DistributedComBat(), 1e-10),
    ("py/neurocombat_refB.csv", MComBat(reference_site="B"), 1e-10),
    ("py/neurocombat_refB.csv", DistributedComBat(reference_site="B"), 1e-10),
    ("py/neurocombat_meanonly.csv", DistributedComBat(mean_only=True), 1e-10),
    ("r/covbatR_p90.csv", CovBat(n_components=12), 1e-8),
    ("r/covbatR_p90.csv", CovBat(explained=0.9), 1e-8),
    ("r/covbatR_p95.csv", CovBat(n_components=15), 1e-8),
    ("r/covfam_lm_p90.csv", CovBat(n_components=12), 1e-8),
    ("py/neuroharmonize_gam_age_alpha1.csv", ComBatGAM("age", penalty=2.0), 1e-6),
    # mgcv stops its search for the penalty at a relative change near 1e-7.
    ("r/comfam_gam_default.csv", ComBatGAM("age", basis="thin_plate"), 1e-5),
    ("r/comfam_gam_reml.csv", ComBatGAM("age", basis="thin_plate", penalty="reml"), 1e-5),
    ("r/covfam_gam_p95.csv", CovBat(n_components=16, smooth="age", basis="thin_plate"), 1e-5),
    ("r/relief_cov.csv", Relief(), 1e-6),
]


@pytest.mark.parametrize(("name", "method", "tolerance"), CASES, ids=lambda x: str(x)[:40])
def test_equals_reference(train, name, method, tolerance):
    X, site, covariates = train
    ours = method.fit_transform(X, site=site, covariates=covariates)
    assert largest(f"{type(method).__name__} against {name}", ours, values(name)) < tolerance


def test_gam_with_the_penalties_of_neuroharmonize(train):
    X, site, covariates = train
    outcomes = json.loads((HARMREF / "py" / "outcomes.json").read_text(encoding="utf-8"))
    penalty = [2.0 * alpha for alpha in outcomes["GAM alphas seed0"]]
    ours = ComBatGAM("age", penalty=penalty).fit_transform(X, site=site, covariates=covariates)
    reference = values("py/neuroharmonize_gam_age_seed0.csv")
    assert largest("ComBatGAM against neuroHarmonize seed 0", ours, reference) < 1e-6


def test_gam_on_held_out_samples(train):
    X, site, covariates = train
    rows = table("holdout_covars.csv")
    known = (rows["SITE"] != "D").to_numpy()
    outcomes = json.loads((HARMREF / "py" / "outcomes.json").read_text(encoding="utf-8"))
    penalty = [2.0 * alpha for alpha in outcomes["GAM alphas seed0"]]
    fitted = ComBatGAM("age", penalty=penalty).fit(X, site=site, covariates=covariates)
    ours = fitted.transform(
        values("holdout_features.csv")[known],
        site=rows["SITE"][known].tolist(),
        covariates=rows[["age", "sex"]][known],
    )
    reference = values("py/neuroharmonize_gam_apply_holdout_ABC.csv")
    assert largest("ComBatGAM held out against neuroHarmonize", ours, reference) < 1e-6


def test_longitudinal_combat():
    rows = table("long_covars.csv")
    ours = LongitudinalComBat().fit_transform(
        values("long_features.csv"),
        site=rows["SITE"].tolist(),
        covariates=rows[["subject", "time", "age0", "sex"]],
    )
    reference = table("r/longCombat_REML.csv").to_numpy()[:, -20:].astype(np.float64)
    assert largest("LongitudinalComBat against longCombat", ours, reference) < 1e-6


def test_random_participants_equal_lme4():
    """TS-GLM with random participants and no cohort is ``y ~ SITE + (1|subject)``."""
    rows = table("ts_covars.csv")
    fitted = TravelingSubjectGLM(participants="random").fit(
        values("ts_features.csv"), site=rows["SITE"].tolist(), covariates=rows[["subject"]]
    )
    reference = table("r/_ts_lme_reml.csv")
    against_a = fitted.measurement_bias_[1:] - fitted.measurement_bias_[0]
    # Balanced travels: the estimates are differences of means, whatever the variances.
    assert largest("TS-GLM against lme4", against_a, reference[["SITEB", "SITEC"]].to_numpy().T) < 1e-12


def test_distributed_equals_pooled(train):
    X, site, covariates = train
    pooled = ComBat().fit(X, site=site, covariates=covariates)
    apart = DistributedComBat().fit(X, site=site, covariates=covariates)
    for name in ("grand_mean_", "coefficients_", "pooled_sd_", "gamma_star_", "delta_star_"):
        np.testing.assert_allclose(getattr(apart, name), getattr(pooled, name), rtol=0, atol=1e-10)


def rmse(Y, truth):
    return float(np.sqrt(np.mean((Y - truth) ** 2)))


@pytest.mark.parametrize(
    ("method", "protect", "expected"),
    [
        (ComBat(), True, 0.119),
        (ComBat(empirical_bayes=False), True, 0.122),
        (CovBat(n_components=15), True, 0.122),
        (ComBatGAM("age"), True, 0.118),
        (Relief(), True, 0.116),
        (ComBat(), False, 0.142),
        (ComBat(mean_only=True), True, 0.144),
        (ComBat(reference_site="B"), True, 0.192),
    ],
    ids=str,
)
def test_error_to_truth_as_tabulated(train, method, protect, expected):
    """RMSE to the same subjects without site effects, three digits as measured with the references.

    The GAM's value there is for penalties by random folds; ours are chosen by generalised cross-validation.
    """
    X, site, covariates = train
    Y = method.fit_transform(X, site=site, covariates=covariates if protect else None)
    tolerance = 3e-3 if isinstance(method, ComBatGAM) else 6e-4
    assert rmse(Y, values("train_truth.csv")) == pytest.approx(expected, abs=tolerance)


def test_unseen_site_as_in_combatfamily(train):
    """Eight subjects of site D, absent in fit: RMSE 0.288 before, 0.130 after."""
    X, site, covariates = train
    rows = table("holdout_covars.csv")
    new = (rows["SITE"] == "D").to_numpy()
    Z, truth = values("holdout_features.csv"), values("holdout_truth.csv")
    fitted = ComBat().fit(X, site=site, covariates=covariates)
    whole = fitted.transform(Z, site=rows["SITE"].tolist(), covariates=rows[["age", "sex"]])
    alone = fitted.transform(Z[new], site=["D"] * int(new.sum()), covariates=rows[["age", "sex"]][new])
    assert rmse(Z[new], truth[new]) == pytest.approx(0.288, abs=5e-4)
    assert rmse(whole[new], truth[new]) == pytest.approx(0.130, abs=5e-4)
    np.testing.assert_array_equal(alone, whole[new])

"""The effect of a diagnosis, recovered: against least squares by other hands, and against planted ratios."""

import numpy as np
import pytest
from scipy import stats

from mrsim import evaluation as ev

NAMES = ("hippocampus", "ventricles")
RATIO = {"control": (1.0, 1.0), "mci": (0.88, 1.2), "ad": (0.77, 1.45)}


def cohort(rng, n=240):
    """True volumes by the law of each diagnosis, with effects of age and sex, and their covariates."""
    diagnosis = np.array(list(RATIO))[rng.integers(0, 3, n)]
    age, sex = rng.uniform(55, 85, n), np.where(rng.random(n) < 0.5, "F", "M")
    log = np.log([8.0, 25.0]) + np.outer(age - 70, (-0.004, 0.02)) + np.outer(sex == "M", (0.05, 0.1))
    log += np.log([RATIO[d] for d in diagnosis]) + rng.normal(0, (0.07, 0.3), (n, 2))
    return np.exp(log), diagnosis, {"age": age, "sex": sex}


def recovery(measured, truth, diagnosis, covariates, rng, n_boot=50):
    table = ev.diagnosis_recovery(
        measured, truth, diagnosis, names=NAMES, rng=rng, covariates=covariates, n_boot=n_boot
    )
    return table.set_index(["diagnosis", "feature"])


def residual(values, known):
    """Part of `values` that age and sex do not explain."""
    design = np.column_stack([np.ones(values.size), known["age"], known["sex"] == "M"]).astype(float)
    return values - design @ np.linalg.lstsq(design, values, rcond=None)[0]


def test_log_ratio_is_the_slope_of_residuals(rng):
    """Frisch and Waugh: the slope of what age and sex leave, by scipy."""
    truth, diagnosis, known = cohort(rng)
    found = recovery(truth, truth, diagnosis, known, rng)
    for name in ("mci", "ad"):
        use = np.isin(diagnosis, ("control", name))
        part = {k: v[use] for k, v in known.items()}
        patient = residual((diagnosis[use] == name).astype(float), part)
        for j, feature in enumerate(NAMES):
            fit = stats.linregress(patient, residual(np.log(truth[use, j]), part))
            row = found.loc[name, feature]
            assert row["true"] == pytest.approx(fit.slope, rel=1e-9)
            # Two more regressors than scipy knows of: the same residual over fewer degrees of freedom.
            se = fit.stderr * np.sqrt((use.sum() - 2) / (use.sum() - 4))
            assert row["p_value"] == pytest.approx(
                2 * stats.t.sf(abs(fit.slope / se), use.sum() - 4), rel=1e-6, abs=1e-300
            )
            # The planted ratio, within four standard errors.
            assert row["true"] == pytest.approx(np.log(RATIO[name][j]), abs=4 * se)


def test_what_is_measured_rightly_keeps_its_effect(rng):
    """Scale per feature is no error of a ratio; powers are: log volumes halved lose half."""
    truth, diagnosis, known = cohort(rng)
    right = recovery(truth * (1.3, 0.8), truth, diagnosis, known, rng)
    assert right["ratio"].to_numpy() == pytest.approx(1.0)
    assert right["error"].to_numpy() == pytest.approx(0.0, abs=1e-12)
    half = recovery(np.sqrt(truth), truth, diagnosis, known, rng)
    assert half["ratio"].to_numpy() == pytest.approx(0.5)
    assert half["ci_low"].to_numpy() == pytest.approx(0.5)
    assert half["error"].to_numpy() == pytest.approx(-0.5 * half["true"].to_numpy())


def test_a_scanner_that_sees_the_patients_invents_an_effect(rng):
    """Patients' volumes are measured 10 % too large: the error says so, with an interval around it."""
    truth, diagnosis, known = cohort(rng)
    noisy = truth * np.exp(rng.normal(0, 0.02, truth.shape))
    biased = noisy * np.where(diagnosis == "control", 1.0, 1.1)[:, None]
    found = recovery(biased, truth, diagnosis, known, rng)
    assert found["error"].to_numpy() == pytest.approx(np.log(1.1), abs=0.02)
    assert (found["error_low"] > 0).all()
    assert (found["error_low"] < found["error"]).all()
    assert (found["error"] < found["error_high"]).all()


def test_covariates_that_do_not_vary_drop_out(rng):
    truth, diagnosis, known = cohort(rng, n=60)
    one_sex = known | {"sex": np.full(60, "F")}
    assert len(recovery(truth, truth, diagnosis, one_sex, rng)) == 4


def test_refusals(rng):
    truth, diagnosis, known = cohort(rng, n=30)
    with pytest.raises(ev.MetricInputError, match="positive"):
        recovery(truth - 100.0, truth, diagnosis, known, rng)
    with pytest.raises(ev.MetricInputError, match="at least two controls"):
        recovery(truth, truth, np.full(30, "control"), known, rng)
    with pytest.raises(ev.MetricInputError, match="at least two controls"):
        recovery(truth, truth, np.where(np.arange(30) == 3, "ad", "control"), known, rng)
    with pytest.raises(ev.MetricInputError, match="separable"):
        recovery(truth, truth, diagnosis, {"site": (diagnosis == "control").astype(float)}, rng)

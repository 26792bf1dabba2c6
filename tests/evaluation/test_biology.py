import numpy as np
import pytest
from scipy import stats

from mrsim import evaluation as ev

NAMES = ("hippocampus", "ventricles")


def cohort(rng, n=60, noise=0.1):
    age = rng.uniform(20, 80, n)
    truth = np.column_stack([4.0 - 0.02 * age, 10.0 + 0.4 * age]) + rng.normal(0, (0.2, 3.0), (n, 2))
    return age, truth, truth + rng.normal(0, noise, (n, 2))


def test_slopes_equal_scipy(rng):
    age, _, measured = cohort(rng)
    ours = ev.age_slopes(measured, age)
    for k in range(2):
        theirs = stats.linregress(age, measured[:, k])
        assert ours.slope[k] == pytest.approx(theirs.slope, rel=1e-9)
        assert ours.se[k] == pytest.approx(theirs.stderr, rel=1e-9)
        assert ours.p_value[k] == pytest.approx(theirs.pvalue, rel=1e-6, abs=1e-300)


def test_covariates_are_adjusted_for(rng):
    age, _, _ = cohort(rng, n=300)
    sex = np.where(rng.random(300) < 0.2 + 0.6 * (age > 50), "m", "f")
    icv = rng.normal(1500, 100, 300) + 5 * (age - 50)
    y = 0.3 * age + 20.0 * (sex == "m") + 0.05 * icv + rng.normal(0, 1.0, 300)
    adjusted = ev.age_slopes(y, age, covariates={"sex": sex, "icv": icv})
    assert float(adjusted.slope) == pytest.approx(0.3, abs=4 * float(adjusted.se))
    assert float(ev.age_slopes(y, age).slope) > 0.5
    assert adjusted.freedom == 300 - 4


def test_inseparable_designs_are_refused(rng):
    age = np.arange(10.0)
    with pytest.raises(ev.MetricInputError, match="separable"):
        ev.age_slopes(age, age, covariates={"again": 2 * age})
    with pytest.raises(ev.MetricInputError, match="separable"):
        ev.age_slopes(np.ones(2), np.array([1.0, 2.0]))


def test_planted_slope_is_recovered_and_shrinkage_found(rng):
    age, truth, measured = cohort(rng)
    good = ev.age_recovery(measured, truth, age, names=NAMES, rng=rng, n_boot=400)
    # Standard error of the ratio: noise 0.1 over slope 0.02 (0.4) times age sd 17 times sqrt(60): 0.04
    # (0.002); four.
    assert abs(good["ratio"][0] - 1.0) < 0.16
    assert abs(good["ratio"][1] - 1.0) < 0.008
    half = truth.mean(axis=0) + 0.5 * (truth - truth.mean(axis=0))
    lost = ev.age_recovery(half, truth, age, names=NAMES, rng=rng, n_boot=400)
    # Half of every difference is exactly half of the slope, in every replicate.
    assert lost["ratio"].to_numpy() == pytest.approx(0.5)
    assert lost["ci_high"].to_numpy() == pytest.approx(0.5)
    assert lost["planted"].to_numpy() == pytest.approx(ev.age_slopes(truth, age).slope)


def test_recovery_interval_covers(rng):
    hits = 0
    for _ in range(150):
        age, truth, measured = cohort(rng, n=25)
        result = ev.age_recovery(measured, truth, age, names=NAMES, rng=rng, n_boot=150)
        hits += int(((result["ci_low"] < 1.0) & (result["ci_high"] > 1.0)).sum())
    # 300 intervals: binomial sd 0.013 around a coverage that 25 subjects bring to about 0.94.
    assert hits / 300 == pytest.approx(0.95, abs=0.045)


def test_recovery_adjusts_both_sides(rng):
    age, truth, _ = cohort(rng)
    sex = np.where(np.arange(age.size) % 2, "m", "f")
    result = ev.age_recovery(
        3.0 * truth, truth, age, names=NAMES, rng=rng, covariates={"sex": sex}, n_boot=50
    )
    assert result["ratio"].to_numpy() == pytest.approx(3.0)


def test_six_subjects_are_enough_to_run(rng):
    age, truth, measured = cohort(rng, n=6)
    result = ev.age_recovery(measured, truth, age, names=NAMES, rng=rng, n_boot=300)
    assert np.isfinite(result[["ratio", "ci_low", "ci_high"]].to_numpy()).all()


def test_false_positive_rate_is_alpha_when_nothing_is_planted(rng):
    p = [ev.age_slopes(rng.normal(size=(20, 30)), rng.uniform(20, 80, 20)).p_value for _ in range(100)]
    rate = ev.false_positive_rate(np.stack(p))
    # 3000 independent tests: binomial sd 0.004.
    assert rate.rate == pytest.approx(0.05, abs=0.012)
    assert rate.low < 0.05 < rate.high


def test_wilson_interval_of_a_textbook_case():
    # 10 of 100 (Newcombe 1998): 0.0552 to 0.1744.
    rate = ev.false_positive_rate(np.r_[np.zeros(10), np.ones(90)])
    assert (rate.low, rate.high) == (pytest.approx(0.0552, abs=5e-5), pytest.approx(0.1744, abs=5e-5))


def draw_age(rng, site):
    return rng.uniform(20, 80, site.size)


def test_honest_harmonizer_invents_nothing(rng):
    values, site = rng.normal(size=(60, 10)), np.repeat(["a", "b", "c"], 20)
    rate = ev.invented_effect_rate(lambda x, s, a: x, values, site, draw_covariate=draw_age, rng=rng)
    # 100 draws, 10 features that share each draw's age: sd below 0.01.
    assert rate.rate == pytest.approx(0.05, abs=0.03)


def test_harmonizer_that_writes_the_covariate_in_is_caught(rng):
    values, site = rng.normal(size=(60, 10)), np.repeat(["a", "b", "c"], 20)

    def liar(x, s, age):
        return x + 0.6 * ((age - age.mean()) / age.std())[:, None]

    rate = ev.invented_effect_rate(liar, values, site, draw_covariate=draw_age, rng=rng, n_draws=30)
    assert rate.rate > 0.9


def test_traveling_scans_must_be_averaged_first(rng):
    # Same people on four scanners: rows are not people. Averaged, the rate is right; per row it is not.
    naive, honest = [], []
    for _ in range(200):
        person = rng.normal(size=8)
        age = rng.uniform(20, 80, 8)
        subject = np.repeat(np.arange(8), 4)
        scans = person[subject] + 0.1 * rng.normal(size=32)
        naive.append(float(ev.age_slopes(scans, age[subject]).p_value))
        means, labels = ev.subject_means(scans, subject)
        honest.append(float(ev.age_slopes(means, age[labels]).p_value))
    # Binomial sd 0.015.
    assert ev.false_positive_rate(naive).rate > 0.2
    assert ev.false_positive_rate(honest).rate == pytest.approx(0.05, abs=0.05)


def test_volume_errors_by_hand():
    truth = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]])
    measured = np.array([[2.5, 5.0], [3.0, 6.0], [6.5, 4.0]])
    table = ev.volume_errors(measured, truth, names=NAMES)
    first = table.iloc[0]
    assert first["bias"] == pytest.approx(2.0)
    assert first["bias_percent"] == pytest.approx(100.0)
    assert first["slope"] == pytest.approx(2.0)
    assert first["correlation"] == pytest.approx(np.corrcoef(measured[:, 0], truth[:, 0])[0, 1])
    assert first["rank"] == pytest.approx(1.0)
    assert table.iloc[1]["mae"] == pytest.approx(2 / 3)
    assert np.isnan(table.iloc[1]["rank"])


def test_rank_correlation_equals_scipy(rng):
    a, b = rng.integers(0, 6, 30).astype(float), rng.normal(size=30)
    assert ev.rank_correlation(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)


def test_identification_rate(rng):
    people, sites = np.repeat(np.arange(10), 3), np.tile(np.arange(3), 10)
    anatomy = rng.normal(size=(10, 20))
    scans = anatomy[people] + 0.1 * rng.normal(size=(30, 20))
    assert ev.identification_rate(scans, people, sites) == 1.0
    # Pure noise: one of ten people on each of two other sites; sd about 0.055.
    assert ev.identification_rate(rng.normal(size=(30, 20)), people, sites) < 0.35
    with pytest.raises(ev.MetricInputError, match="two sites"):
        ev.identification_rate(scans, people, np.zeros(30))

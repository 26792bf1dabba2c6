import math

import numpy as np
import pytest

from phantoms import CohortError, CohortSpec, Design, planted_effects, sample_cohort
from phantoms.cohorts.laws import DIAGNOSES, LAWS, lesion_volume

MIXED = {"control": 0.5, "mci": 0.25, "ad": 0.25}


def regress(people, region):
    """Least squares of log volume on age, sex, log ICV and diagnoses; coefficients and standard errors."""
    y = np.log([p.volumes[region] for p in people])
    X = np.array([[1, p.age - 50, p.sex == "M", math.log(p.icv), p.diagnosis == "mci", p.diagnosis == "ad"]
                  for p in people], float)  # fmt: skip
    beta, rest, *_ = np.linalg.lstsq(X, y, rcond=None)
    sigma = math.sqrt(rest[0] / (len(y) - X.shape[1]))
    return beta, sigma * np.sqrt(np.diag(np.linalg.inv(X.T @ X))), sigma


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0])
def test_effects_of_400_people_are_those_planted(factor):
    spec = CohortSpec(n_subjects=400, seed=21, age_range=(55, 90), diagnoses=MIXED, age_effect=factor,
                      sex_effect=factor, diagnosis_effect=factor)  # fmt: skip
    planted = planted_effects(spec)["regions"]
    people = sample_cohort(spec)
    ages = np.linspace(55, 90, 351)
    for region, law in LAWS.items():
        beta, error, sigma = regress(people, region)
        slope = factor * np.polyfit(ages, [law.age_term(a) for a in ages], 1)[0]
        wanted = [slope, planted[region]["sex_log"], law.gamma, *(planted[region]["diagnosis_log"][d] for d in
                                                                  ("mci", "ad"))]  # fmt: skip
        # 55 comparisons per factor: a correct generator fails 4.5 standard errors once in 2600 runs.
        assert (np.abs(beta[1:] - wanted) < 4.5 * error[1:]).all(), region
        if factor == 0:
            # Without severity the residual is the law's; Cohen's d of zero is exactly zero in the truth.
            assert sigma == pytest.approx(planted[region]["residual_log_sd"], rel=0.15)
            assert set(planted[region]["diagnosis_d"].values()) == {0.0}
            assert planted[region]["age_log_per_year"] == [0.0]


def test_planted_d_is_the_ratio_in_residual_units():
    spec = CohortSpec(n_subjects=1, age_range=(55, 90), diagnoses=MIXED)
    planted = planted_effects(spec)["regions"]["hippocampus"]
    assert planted["diagnosis_log"]["ad"] == pytest.approx(math.log(0.77))
    assert planted["diagnosis_d"]["ad"] == pytest.approx(math.log(0.77) / (0.07 * 0.8796), rel=1e-3)


def law_of(person, region):
    """The planted median, written out from the numbers of the law."""
    law, years = LAWS[region], person.age - 30.0
    sex = 0.5 * law.sex * (1 if person.sex == "M" else -1)
    age = law.slope * years + law.curve * years**2
    return math.log(law.v30) + law.gamma * math.log(person.icv / 1525e-6) + sex + age


@pytest.mark.parametrize(
    ("people", "spread"),
    [
        (4200, 0.25),
        pytest.param(42_000, 1.0, marks=pytest.mark.slow),
    ],
)
def test_population_curves_follow_the_law_within_two_percent(people, spread):
    """Every region, every decade.

    The residual SD of ventricles is 31 %: 6000 people of a decade have a standard error of 0.4 %, 600 with a
    quarter of the spread the same. Two percent are five standard errors, in other regions more than twenty.
    """
    drawn = sample_cohort(CohortSpec(n_subjects=people, seed=2, age_range=(20, 90), volume_spread=spread))
    decade = np.array([min(int(p.age) // 10, 8) for p in drawn])
    worst = {}
    for region in LAWS:
        ratio = np.array([math.log(p.volumes[region]) - law_of(p, region) for p in drawn])
        means = [math.exp(ratio[decade == d].mean()) - 1.0 for d in range(2, 9)]
        worst[region] = max(means, key=abs)
        assert np.abs(means).max() < 0.02, (region, means)
    print("largest deviation of a decade [%]:", {r: round(100 * w, 2) for r, w in worst.items()})


def test_visits_keep_the_person_and_move_by_law_and_disease():
    spec = CohortSpec(
        n_subjects=60, seed=4, age_range=(60, 80), diagnoses=MIXED, visits=(0, 1.5, 4), lesions=1
    )
    people = sample_cohort(spec)
    assert len(people) == 180
    for first, second, third in zip(people[::3], people[1::3], people[2::3], strict=True):
        assert len({p.id for p in (first, second, third)}) == 1
        assert (first.sex, first.icv, first.severity) == (third.sex, third.icv, third.severity)
        assert third.age == pytest.approx(first.age + 4)
        assert np.array_equal(first.rng(1).random(3), third.rng(1).random(3))
        law = LAWS["hippocampus"]
        want = law.age_term(third.age) - law.age_term(first.age)
        want += first.severity * 4 * DIAGNOSES[first.diagnosis].rates.get("hippocampus", 0.0)
        assert math.log(third.volumes["hippocampus"] / first.volumes["hippocampus"]) == pytest.approx(want)
        # The residual of the tissues is the person's: only the law moves them.
        assert third.scale["gm"]["t1"] / first.scale["gm"]["t1"] == pytest.approx(
            (1 - 4e-4 * (third.age - 40)) / (1 - 4e-4 * (first.age - 40))
        )
        assert third.lesion_volume > second.lesion_volume > first.lesion_volume


def test_adding_visits_or_diagnoses_changes_no_first_description():
    plain = sample_cohort(CohortSpec(n_subjects=20, seed=9, age_range=(55, 90)))
    more = sample_cohort(
        CohortSpec(n_subjects=20, seed=9, age_range=(55, 90), visits=(0, 2), diagnoses=MIXED)
    )
    assert [p.volumes["thalamus"] for p in plain] == [p.volumes["thalamus"] for p in more[::2]]
    assert [p.scale for p in plain] == [p.scale for p in more[::2]]


def test_lesion_load_grows_from_43_years_on():
    assert lesion_volume(30, "M") == lesion_volume(43, "M")
    assert lesion_volume(50, "F") * lesion_volume(50, "M") == pytest.approx((0.7e-6) ** 2)
    assert lesion_volume(80, "F") / lesion_volume(70, "F") == pytest.approx(math.exp(0.58))
    assert lesion_volume(60, "F") / lesion_volume(60, "M") == pytest.approx(1.1)
    people = sample_cohort(CohortSpec(n_subjects=500, seed=3, age_range=(70, 70), lesions=1,
                                      diagnoses={"control": 0.5, "wml": 0.5}))  # fmt: skip
    loads = {d: [math.log(p.lesion_volume) for p in people if p.diagnosis == d] for d in ("control", "wml")}
    # Severity is a log multiplier with mean 1; standard error 0.9 sqrt(4/500) = 0.09.
    assert np.mean(loads["wml"]) - np.mean(loads["control"]) == pytest.approx(math.log(4), abs=4 * 0.09)


def test_patients_are_not_young():
    with pytest.raises(CohortError, match="age_range must start at 50"):
        CohortSpec(n_subjects=2, diagnoses={"control": 0.5, "ad": 0.5})


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"diagnoses": {"control": 0.5}}, "add up to 1"),
        ({"diagnoses": {"cold": 1.0}}, "diagnoses must be of"),
        ({"visits": (1.0,)}, "visits must be increasing years from 0"),
        ({"visits": (0.0, 40.0)}, "up to an age of 110"),
        ({"lesions": -1.0}, "lesions must be 0..10"),
        ({"texture": 0.5}, "texture must be 0..0.1"),
        ({"prefix": "../x"}, "prefix must be"),
        ({"diagnosis_effect": {"toe": 0}}, "diagnosis_effect must name regions"),
    ],
)
def test_bad_descriptions_are_refused(changes, text):
    with pytest.raises(CohortError, match=text):
        CohortSpec(n_subjects=2, age_range=(55, 80), **changes)


def test_truth_of_a_confounded_design_is_stored():
    design = Design(kind="confounded", sites=("a", "b"), age=0.6, sex=0.4)
    truth = planted_effects(CohortSpec(n_subjects=2, design=design))
    assert truth["design"]["age"] == 0.6
    assert truth["male_share"] == pytest.approx([0.3, 0.7])
    low, high = truth["age_windows"]
    assert low[0] == pytest.approx(20)
    assert high[1] == pytest.approx(80)
    assert low[1] - low[0] == pytest.approx(high[1] - high[0])

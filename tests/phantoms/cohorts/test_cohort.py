import math

import numpy as np
import pytest

from phantoms import CohortError, CohortSpec, default_tissue_table, sample_cohort
from phantoms.cohorts.laws import LAWS, TRUNCATED_SD


def table(spec):
    return sample_cohort(spec)


def age_slope(subjects, region):
    """Least-squares log change per year, adjusted for sex and log ICV, with its standard error."""
    y = np.log([s.volumes[region] for s in subjects])
    X = np.array([[1.0, s.age - 50, s.sex == "M", math.log(s.icv)] for s in subjects], float)
    beta, rest, *_ = np.linalg.lstsq(X, y, rcond=None)
    cov = np.linalg.inv(X.T @ X) * rest[0] / (len(y) - 4)
    return beta[1], math.sqrt(cov[1, 1])


def test_adding_subjects_never_changes_earlier_ones():
    assert sample_cohort(CohortSpec(n_subjects=12, seed=7))[:5] == sample_cohort(
        CohortSpec(n_subjects=5, seed=7)
    )


def test_seeds_differ_and_repeat():
    a, b = (sample_cohort(CohortSpec(n_subjects=3, seed=s)) for s in (1, 2))
    assert a != b
    assert a == sample_cohort(CohortSpec(n_subjects=3, seed=1))
    assert a[0].rng(1).random() != a[1].rng(1).random()
    assert a[0].rng(0).random() != a[0].rng(1).random()


@pytest.mark.parametrize("first", [0, 1, 2])
def test_planted_age_effects_are_recovered(first):
    """Each region has an effect of its own, turned through 0, 1 and 2: none leaks into another."""
    regions = ("hippocampus", "cortical_gm", "ventricles", "thalamus")
    effects = {region: float((first + k) % 3) for k, region in enumerate(regions)}
    people = table(CohortSpec(n_subjects=1500, seed=11, age_effect=effects))
    ages = np.linspace(20, 80, 601)
    for region, effect in effects.items():
        slope, error = age_slope(people, region)
        planted = np.polyfit(ages, [LAWS[region].age_term(a) for a in ages], 1)[0]
        # A correct generator fails four standard errors once in 16,000; the seed is fixed.
        assert abs(slope - effect * planted) < 4 * error, region
        assert error < 0.2 * abs(planted), region  # the test can tell 0 from 1


def test_zero_effect_is_exactly_zero_in_the_law():
    spec = CohortSpec(n_subjects=1, age_effect=0.0, sex_effect=0.0)
    assert spec.expected(25, "F", 1.5e-3) == spec.expected(75, "M", 1.5e-3)


def test_one_region_can_be_planted_alone():
    null = CohortSpec(n_subjects=1, age_effect={**dict.fromkeys(LAWS, 0.0), "hippocampus": 1.0})
    young, old = null.expected(30, "F", 1.5e-3), null.expected(70, "F", 1.5e-3)
    assert [r for r in LAWS if young[r] != old[r]] == ["hippocampus"]
    assert old["hippocampus"] / young["hippocampus"] == pytest.approx(math.exp(-0.004 * 40))


def test_laws_have_the_published_size():
    spec = CohortSpec(n_subjects=1)
    f = {a: spec.expected(a, "F", 1.45e-3) for a in (20, 35, 60, 70)}
    # Hedman 2012 (56 longitudinal studies): brain 0 at 18-35 y, -0.5 %/y from 60 y. Ours loses grey matter
    # from 20 y on, so it is held to 0.3 %/y there and to 0.2-0.6 %/y later.
    brain = {a: v["cortical_gm"] + v["cerebral_wm"] for a, v in f.items()}
    assert abs(math.log(brain[35] / brain[20]) / 15) < 0.003
    assert -0.006 < math.log(brain[70] / brain[60]) / 10 < -0.002
    # Cortical GM -0.7 mL/y and ventricles +0.3 mL/y in adults of 21-70 y, within a factor of three.
    assert -2.1 < (f[70]["cortical_gm"] - f[20]["cortical_gm"]) * 1e6 / 50 < -0.23
    assert 0.1 < (f[70]["ventricles"] - f[20]["ventricles"]) * 1e6 / 50 < 0.9


def test_spread_sex_and_icv():
    people = table(CohortSpec(n_subjects=2000, seed=3, male_fraction=0.25, age_range=(30, 60)))
    assert abs(np.mean([s.sex == "M" for s in people]) - 0.25) < 4 * math.sqrt(0.25 * 0.75 / 2000)
    assert all(30 <= s.age <= 60 for s in people)
    icv = {x: np.mean([s.icv for s in people if s.sex == x]) for x in "FM"}
    assert icv["M"] / icv["F"] == pytest.approx(1.60 / 1.45, rel=0.02)  # standard error 0.4 %
    rest = np.log([s.volumes["hippocampus"] / s.expected["hippocampus"] for s in people])
    # 2000 draws leave 2 %.
    assert rest.std() == pytest.approx(0.07 * TRUNCATED_SD, rel=0.07)


def test_targets_leave_room_for_fluid():
    for s in table(CohortSpec(n_subjects=3000, seed=5, age_range=(20, 90))):
        assert sum(s.volumes.values()) + 30e-6 < 0.95 * s.icv, s.id


def test_tissue_parameters_follow_age():
    old = CohortSpec(n_subjects=400, seed=1, age_range=(75, 75), tissue_spread=0.0)
    (s, *_) = table(old)
    assert s.scale["wm"]["t1"] == pytest.approx(1 + 1.2e-5 * 35**2)
    assert s.scale["gm"]["t1"] == pytest.approx(1 - 4e-4 * 35)
    assert s.scale["putamen"]["chi"] > 1.05
    assert s.scale["putamen"]["t2_prime"] < 0.95
    (flat, *_) = table(CohortSpec(n_subjects=1, age_range=(75, 75), tissue_spread=0, tissue_age_effect=0))
    assert all(v == pytest.approx(1.0) for f in flat.scale.values() for v in f.values())


def test_scaled_tissues_stay_physical():
    reference = default_tissue_table()
    for s in table(CohortSpec(n_subjects=25, seed=9, tissue_spread=2.0, age_range=(20, 90))):
        for name, factors in s.scale.items():
            for b0 in (0.55, 1.5, 7.0):
                reference.at(name, b0).scaled(factors)  # raises if T2 > T1


def test_rows_are_tables():
    (s,) = table(CohortSpec(n_subjects=1, seed=4, prefix="sub-x"))
    row = s.row()
    assert row["participant_id"] == "sub-x0001"
    assert row["hippocampus_ml"] == pytest.approx(s.volumes["hippocampus"] * 1e6)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"n_subjects": 0}, "n_subjects must be"),
        ({"seed": -1}, "seed must be"),
        ({"age_range": (10, 50)}, "age_range must lie"),
        ({"age_range": (50, 40)}, "age_range must lie"),
        ({"male_fraction": 1.2}, "male_fraction must be"),
        ({"age_effect": {"nose": 1.0}}, "must name regions"),
        ({"age_effect": math.nan}, "age_effect must be -3..3"),
        ({"tissue_age_effect": math.inf}, "tissue_age_effect must be -3..3"),
        ({"volume_spread": -1.0}, "volume_spread must be 0..2"),
    ],
)
def test_bad_specs_are_refused(changes, text):
    with pytest.raises(CohortError, match=text):
        CohortSpec(**{"n_subjects": 2, **changes})

"""Scores of biology where every person was seen by one scanner, on tables with known answers."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from mrsim.studies.biology_scores import biology_scores
from mrsim.studies.cohort import planted
from mrsim.studies.scorecard import Card
from mrsim.studies.scored import MEASURED_VOLUMES, Judged
from mrsim.studies.site_scores import site_scores
from mrsim.studies.stage_evaluate import evaluate_contrast
from mrsim.studies.study import Study
from phantoms import sample_cohort

from .fakes import good

SETTINGS = {"bootstrap": 50, "confidence": 0.95, "permutations": 20, "probes": [], "false_positive": True}
AD = {"control": 0.5, "ad": 0.5}


def judged(design, bias=1.0, *, subjects=40, method="raw", **cohort):
    """A feature table without images: true volumes, on scanner b times `bias`."""
    data = good()
    data["cohort"] = {"subjects": subjects, "age_range": [55.0, 85.0], **cohort, "design": design}
    study = Study.model_validate(data)
    people, rows, truth = {}, {}, {}
    for label, person in zip(study.subjects, sample_cohort(study.cohort.spec(study.labels, 3)), strict=True):
        volumes = {region: 1e6 * v for region, v in person.volumes.items()}
        volumes["brainstem"] = 0.016 * 1e6 * person.icv
        people[label] = {
            "age": person.age, "sex": person.sex, "diagnosis": person.diagnosis, "volumes_ml": volumes,
            "icv_ml": 1e6 * person.icv,
        }  # fmt: skip
        right = {name: sum(volumes[r] for r in parts) for name, parts in MEASURED_VOLUMES.items()}
        truth[label, "T1w"] = right
        for site in person.sites:
            scale = bias if site == "b" else 1.0
            rows[label, site, 1, "T1w"] = {name: scale * value for name, value in right.items()}
    return Judged(
        method=method, kind="feature", images={}, raw=dict.fromkeys(rows, Path()), truth={}, features=rows,
        raw_features=rows, truth_features=truth, descriptors={}, raw_descriptors={}, map_folders={},
        people=people, design=study.cohort.design.model_dump(),
        planted=planted(study.cohort, study.labels)["regions"],
    )  # fmt: skip


def card_of(table):
    return Card(table, SETTINGS, np.random.default_rng(5))


def values(card):
    return {score.metric: score.value for score in card.scores}


def test_true_volumes_keep_every_effect():
    card = card_of(judged({"kind": "confounded", "diagnosis": 0.6}, diagnoses=AD))
    biology_scores(card, "T1w")
    found = values(card)
    ratios = [v for name, v in found.items() if "effect_ratio" in name or "slope_ratio" in name]
    # Ratios of regressions of the same numbers, the seven regions' slopes and what the diagnosis changes:
    # hippocampus, cortex, ventricles.
    assert ratios == pytest.approx([1.0] * (7 + 3))
    errors = [v for name, v in found.items() if "effect_error" in name]
    assert errors == pytest.approx([0.0] * 7, abs=1e-9)
    assert card.details["left_out"] == []


def test_a_biased_scanner_with_the_patients_moves_the_effect():
    """8 % more volume on b, where 80 % of the patients are, looks like 8 % x 0.6 more volume of patients."""
    card = card_of(judged({"kind": "confounded", "diagnosis": 0.6}, 1.08, subjects=400, diagnoses=AD))
    biology_scores(card, "T1w")
    found = values(card)
    # The share on b is a sample's: SD 0.4 / sqrt(200) x sqrt(2) = 0.04 of 8 %, four of them.
    assert found["diagnosis_effect_error:hippocampus_ad"] == pytest.approx(100 * 0.6 * 0.08, abs=1.4)
    assert found["diagnosis_effect_ratio:hippocampus_ad"] < 0.9
    # What no diagnosis changes has an error and no ratio.
    assert "diagnosis_effect_error:brainstem_ad" in found
    assert "diagnosis_effect_ratio:brainstem_ad" not in found
    (row,) = [r for r in card.details["diagnosis"] if r["feature"] == "volume:hippocampus"]
    assert row["planted"] == pytest.approx(np.log(0.77))
    # In units of 0.07, the spread of people, cut at two standard deviations.
    assert row["planted_d"] == pytest.approx(np.log(0.77) / (0.07 * 0.8796), rel=1e-3)
    balanced = card_of(judged({"kind": "balanced"}, 1.08, subjects=400, diagnoses=AD))
    biology_scores(balanced, "T1w")
    assert values(balanced)["diagnosis_effect_error:hippocampus_ad"] == pytest.approx(0.0, abs=1.4)


def test_effects_of_exactly_zero_have_no_ratio():
    zero = {"hippocampus": 0.0, "ventricles": 0.0}
    table = judged({"kind": "balanced"}, diagnoses=AD, age_effect=zero, diagnosis_effect=zero)
    card = card_of(table)
    biology_scores(card, "T1w")
    for region in ("hippocampus", "ventricles"):
        assert f"age_slope_ratio:{region}" not in values(card)
        assert f"diagnosis_effect_ratio:{region}_ad" not in values(card)
    assert "age_slope_ratio:cortex" in values(card)
    (line,) = card.details["left_out"]
    assert line["why"] == "the cohort plants no effect of age there: ventricles, hippocampus"


def test_a_null_cohort_counts_what_is_found_all_the_same():
    """Confounded scanners of different bias: age 'explains' volumes although nothing was planted."""
    design = {"kind": "null", "age": 0.9}
    quiet, loud = (card_of(judged(design, bias, subjects=200)) for bias in (1.0, 1.5))
    for card in (quiet, loud):
        biology_scores(card, "T1w")
        assert not [name for name in values(card) if "ratio" in name]
        assert "plants no effect of age" in card.details["left_out"][0]["why"]
    # 7 regions x age and sex: of 14 tests the biased scanner makes all 7 of age significant.
    assert values(loud)["false_positive_rate"] >= 0.5
    assert values(quiet)["false_positive_rate"] <= 3 / 14


def test_too_few_patients_are_told():
    card = card_of(judged({"kind": "balanced"}, subjects=6, diagnoses={"control": 0.99, "ad": 0.01}))
    biology_scores(card, "T1w")
    assert [r["what"] for r in card.details["left_out"]] == ["effect of the diagnosis"]
    assert "at least two controls" in card.details["left_out"][0]["why"]


def test_pairs_that_nobody_has_are_left_out_with_a_reason():
    card = card_of(judged({"kind": "balanced"}, 1.1, method="combat"))
    evaluate_contrast(card, "T1w")
    found = values(card)
    assert not {"icc_2_1", "within_subject_cov", "scanner_share"} & set(found)
    assert all(np.isfinite(value) for value in found.values())
    told = {row["what"]: row["why"] for row in card.details["left_out"]}
    assert "one scanner only" in told["agreement between scanners"]
    traveling = card_of(judged({}, 1.1, subjects=6))
    evaluate_contrast(traveling, "T1w")
    assert values(traveling)["within_subject_cov"] > 0
    assert traveling.details["left_out"] == []


def test_a_scanner_without_results_is_told():
    table = judged({"kind": "unseen", "held_out": "b"}, subjects=8)
    seen = {key: row for key, row in table.features.items() if key[1] != "b"}
    card = card_of(dataclasses.replace(table, features=seen))
    evaluate_contrast(card, "T1w")
    assert any("not fitted on (b)" in row["why"] for row in card.details["left_out"])


def test_a_scanner_that_is_held_out_is_also_told_by_itself():
    """Raw scans on b are 10 % off, and nothing was done about it: all of that error is left, there."""
    card = card_of(judged({"kind": "unseen", "held_out": "b"}, 1.1))
    evaluate_contrast(card, "T1w")
    found = values(card)
    assert found["fixed:b"] == pytest.approx(0.0, abs=1e-9)
    # The true volume on the other scanner; a shift of 10 % on this one, and biology stretched by as much.
    assert found["left:b"] > 0.8
    assert "fixed:a" not in found


def test_a_probe_needs_people_on_each_scanner():
    card = card_of(judged({"kind": "balanced"}, subjects=3))
    site_scores(card, "T1w")
    assert card.scores == []
    assert "two people each" in card.details["left_out"][0]["why"]

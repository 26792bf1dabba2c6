"""What a study's cohort may hold, and which scanner sees whom."""

import typing

import numpy as np
import pytest

from mrsim.studies.cohort import described
from mrsim.studies.study_input import check_study
from phantoms import CohortSpec, Design, planted_effects, sample_cohort
from phantoms.cohorts.cohort_file import load_cohort_spec
from phantoms.cohorts.design import Kind

from .fakes import FakeLibraries, good
from .test_plan import cells_of, make
from .test_study_input import only, problems

PATIENTS = {"subjects": 6, "age_range": [55.0, 85.0], "diagnoses": {"control": 0.5, "ad": 0.5}}


def study_of(design=None, **cohort):
    data = good()
    data["cohort"] = {**data["cohort"], **cohort}
    if design is not None:
        data["cohort"]["design"] = design
    return data


def checked(data):
    return check_study(data, file="s.toml", libraries=FakeLibraries())


def sessions(plan, stage="scan"):
    """Sessions of every subject, the counterfactual left out."""
    found = {}
    for cell in plan:
        if cell.stage == stage and cell.key["session"] != "truth":
            found.setdefault(cell.key["subject"], set()).add(cell.key["session"])
    return found


def test_kinds_are_those_of_the_cohorts():
    from mrsim.studies.cohort import DesignSection

    assert set(typing.get_args(DesignSection.model_fields["kind"].annotation)) == set(typing.get_args(Kind))


def test_a_study_and_a_cohort_file_describe_the_same_people(tmp_path):
    """Every key that both have means the same, with the sites named by the scanners."""
    (tmp_path / "cohort.toml").write_text("""
[cohort]
n_subjects = 6
seed = 3
male_fraction = 0.5
age_range = [55, 85]
diagnoses = { control = 0.4, mci = 0.2, ad = 0.4 }
diagnosis_effect = { hippocampus = 0.5, lesions = 2.0 }
age_effect = { ventricles = 0.0 }
sex_effect = -1.0
lesions = 1.5
lesion_contrast = 0.5
texture = 0.02
[design]
kind = "confounded"
sites = ["a", "b"]
age = 0.4
diagnosis = 0.6
""")
    data = study_of(
        {"kind": "confounded", "age": 0.4, "diagnosis": 0.6},
        subjects=6,
        age_range=[55.0, 85.0],
        diagnoses={"control": 0.4, "mci": 0.2, "ad": 0.4},
        diagnosis_effect={"hippocampus": 0.5, "lesions": 2},
        age_effect={"ventricles": 0.0},
        sex_effect=-1,
        lesions=1.5,
        lesion_contrast=0.5,
        texture=0.02,
    )
    study = checked(data)
    spec = load_cohort_spec(tmp_path / "cohort.toml")
    assert study.cohort.spec(study.labels, 3) == spec
    people = sample_cohort(spec)
    for number, cell in enumerate([c for c in make(data) if c.stage == "phantom"], 1):
        assert sample_cohort(described(cell.params, number, 3))[number - 1] == people[number - 1]
        own = study.scanners_of(number)
        assert tuple(scanner.label for scanner in own) == people[number - 1].sites


def test_studies_without_the_new_keys_keep_their_subjects():
    """The parameters that name a subject, and the streams, are those from before there were designs."""
    cell = next(c for c in make(good()) if c.stage == "phantom")
    assert set(cell.params) == {
        "anatomy", "subject_number", "voxel_size", "age_range", "female_fraction", "age_effect", "sex_effect",
        "tissue_age_effect", "volume_spread", "tissue_spread", "icv_spread", "shape_spread",
    }  # fmt: skip
    assert described(cell.params, 2, 3) == CohortSpec(n_subjects=2, seed=3, male_fraction=0.5)


@pytest.mark.parametrize(
    ("cohort", "design", "line"),
    [
        ({"age_effect": {"hippocampi": 0.0}}, None, "cohort.age_effect: must name regions of"),
        ({"sex_effect": {"hippocampus": "x"}}, None, "cohort.sex_effect: 'hippocampus' must be a number"),
        ({"sex_effect": True}, None, "cohort.sex_effect: must be a number, or a table {region = number}"),
        ({"diagnosis_effect": 9.0}, None, "cohort.diagnosis_effect: must be -3..3; got 9.0"),
        ({"diagnosis_effect": float("inf")}, None, "cohort.diagnosis_effect: must be a finite number"),
        ({"diagnoses": {"control": 0.5, "adhd": 0.5}}, None, "cohort.diagnoses: must be of ['ad', 'control'"),
        ({"diagnoses": {"control": 0.5}}, None, "cohort.diagnoses: must have shares 0..1 that add up to 1"),
        ({"diagnoses": {"ad": 1.0}}, None, "cohort.age_range: must start at 50 years or later"),
        ({"lesions": -1.0}, None, "cohort.lesions: must be 0..10; got -1.0"),
        ({"texture": 0.5}, None, "cohort.texture: must be 0..0.1; got 0.5"),
        ({"shape_spread": 3.0}, None, "cohort.shape_spread: must be 0..2; got 3.0"),
        ({}, {"kind": "confused"}, "cohort.design.kind: must be"),
        ({}, {"kind": "confounded", "age": 0.95}, "cohort.design.age: must be a correlation from 0 to 0.9"),
        ({}, {"age": 0.5}, "cohort.design.age: must be 0 with kind 'traveling'"),
        ({}, {"kind": "interaction"}, "cohort.design.interaction: must differ from 0"),
        ({}, {"kind": "unseen", "held_out": "c"}, "cohort.design.held_out: must name one of ('a', 'b')"),
        ({}, {"kind": "balanced", "sights": 2}, "cohort.design.sights: unknown key"),
        ({"female_fraction": 0.02}, {"kind": "confounded", "sex": 0.9}, "cohort.design.sex: 0.9 is out of"),
    ],
)
def test_what_the_cohort_refuses_is_told_by_key(cohort, design, line):
    assert line in only(study_of(design, **cohort))


def test_all_problems_of_a_cohort_at_once():
    found = problems(study_of({"kind": "balanced", "sex": 0.5}, lesions=-1.0, age_effect=4.0, texture=1.0))
    places = [line.split(": ")[1] for line in found]
    assert set(places[:3]) == {"cohort.lesions", "cohort.age_effect", "cohort.texture"}


def test_one_scanner_cannot_be_confounded():
    data = study_of({"kind": "confounded", "age": 0.5})
    data["scanners"], data["protocols"][1]["cards"] = data["scanners"][:1], {}
    assert "scanners: must be two or more with kind 'confounded'" in only(data)


def test_each_subject_is_scanned_on_its_own_scanner():
    data = study_of({"kind": "balanced"}, subjects=5)
    plan = make(data)
    assert sessions(plan) == {"01": {"a"}, "02": {"b"}, "03": {"a"}, "04": {"b"}, "05": {"a"}}
    assert sessions(plan, "harmonize") == sessions(plan)
    # 3 subjects once on a, 2 subjects twice on b, two contrasts.
    assert checked(data).images() == 14
    truth = {c.key["subject"] for c in plan if c.stage == "scan" and c.key["session"] == "truth"}
    assert truth == {"01", "02", "03", "04", "05"}


def test_more_subjects_move_nobody():
    few, more = (make(study_of({"kind": "confounded", "age": 0.5}, subjects=n)) for n in (3, 5))
    for stage in ("phantom", "maps", "scan", "recon", "align"):
        assert cells_of(few, stage) < cells_of(more, stage)


def test_a_design_changes_what_depends_on_it():
    traveling = make(study_of(**PATIENTS))
    confounded, stronger = (
        make(study_of({"kind": "confounded", "diagnosis": r}, **PATIENTS)) for r in (0.3, 0.6)
    )
    unseen, other = (make(study_of({"kind": "unseen", "held_out": s}, **PATIENTS)) for s in "ab")
    plain = make(study_of({"kind": "confounded"}, **PATIENTS))
    for plan in (confounded, stronger, unseen):
        assert cells_of(plan, "sequence") == cells_of(traveling, "sequence")
    assert not cells_of(confounded, "phantom") & cells_of(stronger, "phantom")
    # Which scanner is held out concerns the fits and what follows, not a single scan.
    for stage in ("phantom", "maps", "scan", "recon", "align"):
        assert cells_of(unseen, stage) == cells_of(other, stage) == cells_of(plain, stage)
    for stage in ("harmonize_fit", "feature_harmonize", "evaluate", "report"):
        assert not cells_of(unseen, stage) & cells_of(other, stage)


def test_a_scanner_that_is_held_out_is_in_no_fit(monkeypatch):
    data = study_of({"kind": "unseen", "held_out": "b"}, subjects=4)
    plan = make(data)
    fits = [cell for cell in plan if cell.stage == "harmonize_fit"]
    assert {plan[i].key["session"] for cell in fits for i in cell.inputs["images"]} == {"a"}
    assert sessions(plan, "harmonize")["02"] == {"b"}
    assert all(cell.params["held_out"] == "b" for cell in plan if cell.stage == "feature_harmonize")
    able = FakeLibraries().capabilities("combat", {})
    monkeypatch.setattr(FakeLibraries, "capabilities", lambda *_: able)
    assert sessions(make(data), "harmonize") == {"01": {"a"}, "03": {"a"}}


def test_methods_that_learn_from_travelers_need_some():
    from mrsim.studies.installed import InstalledLibraries
    from mrsim.studies.libraries import library_check

    data = study_of({"kind": "confounded", "age": 0.5})
    data["harmonizers"] = [{"name": "combat"}, {"name": "ts-correction"}]
    study = check_study(data, file="s.toml")
    sections = {"cohort": study.cohort, "harmonizers": study.harmonizers}
    ((place, cause, _),) = library_check(sections, InstalledLibraries())
    assert place == "harmonizers.1.name"
    assert "with design 'confounded' there are none" in cause
    traveling = check_study(good(), file="s.toml").cohort
    assert not list(library_check(sections | {"cohort": traveling}, InstalledLibraries()))


def test_planted_effects_are_stored_with_the_truth():
    data = study_of({"kind": "confounded", "diagnosis": 0.6}, **PATIENTS, diagnosis_effect={"amygdala": 0.0})
    plan = make(data)
    (dataset,) = [cell for cell in plan if cell.stage == "dataset"]
    spec = CohortSpec(
        n_subjects=6, age_range=(55, 85), diagnoses=PATIENTS["diagnoses"], diagnosis_effect={"amygdala": 0.0},
        design=Design(kind="confounded", sites=("a", "b"), diagnosis=0.6),
    )  # fmt: skip
    assert dataset.params["planted"]["regions"] == planted_effects(spec)["regions"]
    assert dataset.params["planted"]["regions"]["amygdala"]["diagnosis_log"]["ad"] == 0.0
    assert np.allclose(dataset.params["planted"]["patient_share"], [0.2, 0.8])
    assert dataset.params["known"] == ["diagnosis", "site"]
    assert dataset.params["sites"] == {f"0{k}": "ab"[(k - 1) % 2] for k in range(1, 7)}


def test_lesions_belong_to_the_white_matter_of_the_analysis():
    """Else every lesion would be a hole in the brain mask that segmentation is given."""
    from mrsim.studies.stage_scan import TISSUES
    from phantoms.cohorts.lesions import HOST, TISSUE

    assert {HOST, TISSUE} <= set(TISSUES["wm"])

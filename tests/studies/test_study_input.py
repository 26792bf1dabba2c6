"""A study is refused with all its problems at once, each with its key path and a remedy."""

import json

import pytest

from mrsim.studies.problems import InputError
from mrsim.studies.study import Study
from mrsim.studies.study_input import check_study, load_study

from .fakes import FakeLibraries, good, write_study


def problems(data, libraries=None):
    with pytest.raises(InputError) as caught:
        check_study(data, file="s.toml", libraries=libraries)
    return [str(problem) for problem in caught.value.problems]


def only(data, libraries=None):
    found = problems(data, libraries)
    assert len(found) == 1, found
    return found[0]


def changed(section, **values):
    data = good()
    target = data[section][0] if isinstance(data.get(section), list) else data.setdefault(section, {})
    target.update(values)
    return data


def test_good_study_gets_defaults_and_survives_json():
    study = check_study(good(), file="s.toml", libraries=FakeLibraries())
    assert study.subjects == ("01", "02")
    assert study.images() == 12
    again = Study.model_validate_json(json.dumps(study.record()))
    assert again == study


def test_file_and_tables_agree(tmp_path):
    assert load_study(write_study(tmp_path), FakeLibraries()) == check_study(good(), file="s")


def test_all_errors_at_once():
    data = good()
    data["study"]["seed"] = True
    data["cohort"]["subjects"] = 0
    data["scanners"][1]["label"] = "A"
    data["protocols"][0]["contrast"] = "t1w"
    found = problems(data)
    assert [line.split(": ")[1] for line in found] == [
        "study.seed",
        "cohort.subjects",
        "protocols.0.contrast",
        "scanners.1.label",
    ]
    assert "Did you mean 'T1w'?" in found[2]


def test_unknown_key_names_the_nearest():
    assert "unknown key 'lable'. Did you mean 'label'" in only(changed("scanners", lable="x"))


def test_misspelt_required_key_is_one_line():
    data = good()
    data["study"]["reference_Scaner"] = data["study"].pop("reference_scanner")
    line = only(data)
    assert "unknown key 'reference_Scaner'" in line
    assert "Did you mean 'reference_scanner', which is required and missing?" in line


def test_missing_section_says_how():
    data = good()
    del data["cohort"]
    assert only(data) == (
        "s.toml: cohort: is required and missing. "
        "Add a [cohort] table; `mrsim init` writes a study to start from."
    )


@pytest.mark.parametrize(
    ("section", "values", "words"),
    [
        ("cohort", {"female_fraction": float("nan")}, "finite number"),
        ("cohort", {"voxel_size_mm": float("inf")}, "finite number"),
        ("cohort", {"subjects": True}, "whole number; got true"),
        ("cohort", {"subjects": 2.0}, "whole number"),
        ("cohort", {"subjects": "3"}, "whole number; got '3'"),
        ("cohort", {"subjects": 0}, "at least 1"),
        ("cohort", {"subjects": 10**9}, "at most 10000"),
        (
            "cohort",
            {"age_range": [60.0, 20.0]},
            "cohort.age_range: must lie within 18..95 years, youngest first",
        ),
        ("cohort", {"age_range": [20.0, float("nan")]}, "finite number"),
        ("cohort", {"age_effect": -4.0}, "cohort.age_effect: must be -3..3; got -4.0"),
        ("study", {"seed": -1}, "at least 0"),
        ("study", {"name": "../x"}, "letters, digits"),
        ("scanners", {"label": "../../x"}, "letters or digits"),
        ("scanners", {"label": "ab\n"}, "letters or digits"),
        ("scanners", {"label": "٣٤"}, "letters or digits"),
        ("scanners", {"label": "a" * 300}, "letters or digits"),
        ("scanners", {"repeats": 0}, "at least 1"),
        ("scanners", {"name": 3}, "text in quotes"),
        ("protocols", {"voxel_size_mm": "2"}, "must be a number"),
        ("protocols", {"cards": "nativ"}, '"native" or a table'),
        ("protocols", {"coils": 0}, "at least 1"),
        ("simulation", {"noise": 1}, "true or false"),
        ("simulation", {"svd": 1}, "unknown key"),
        ("evaluation", {"confidence": 1.0}, "less than 1"),
        ("harmonizers", {"params": {"x": [float("inf")]}}, "finite"),
        ("harmonizers", {"params": {"x": {"y": 1}}}, "number, text or a truth value"),
        ("harmonizers", {"label": "raw"}, "kept for the images before"),
        ("harmonizers", {"contrasts": ["T2w"]}, "not acquired"),
        ("report", {"example_subject": 3}, "must not exceed cohort.subjects"),
        ("recon", {"scanners": {"x": {"combine": "rss"}}}, "label of one of the scanners"),
        ("recon", {"combine": "rs"}, "Did you mean 'rss'"),
    ],
)
def test_bad_values(section, values, words):
    found = problems(changed(section, **values))
    assert any(words in line for line in found), found
    assert all("\n" not in line for line in found)


def test_label_demands_quoted_text():
    assert any("text in quotes; got 10" in line for line in problems(changed("scanners", label=10)))


def test_labels_are_unique_without_case():
    data = good()
    data["scanners"][1]["label"] = "A"
    data["protocols"][1]["cards"] = {}
    assert "must be unique" in only(data)


def test_reference_scanner_must_exist():
    assert "Did you mean 'a'?" in only(changed("study", reference_scanner="aa"))


def test_studies_too_large_to_plan_are_refused():
    data = changed("scanners", repeats=100)
    data["cohort"]["subjects"] = 10_000
    assert "at most 200000" in only(data)


def test_names_are_checked_against_the_libraries():
    data = good()
    data["scanners"][0]["name"] = "sA1"
    data["scanners"][1]["overrides"] = {"wrong": 1}
    data["protocols"][1]["cards"]["b"] = "othr"
    data["harmonizers"][0]["name"] = "blurr"
    data["harmonizers"][1]["params"] = {"fwmh": 2.0}
    found = problems(data, FakeLibraries())
    assert "unknown scanner 'sA1'. Did you mean 'sa'?" in found[0]
    assert "has no 'wrong'" in found[1]
    assert "unknown protocol 'othr'. Did you mean 'other'?" in found[2]
    assert "unknown harmonizer 'blurr'" in found[3]
    assert "no parameter 'fwmh'" in found[4]


def test_contrast_without_a_native_card_is_told():
    data = good()
    data["protocols"][1]["cards"] = {}
    assert "no FLAIR card of its own" in only(data, FakeLibraries())


def test_the_template_and_the_installed_libraries_agree(tmp_path):
    from mrsim.studies.installed import InstalledLibraries
    from mrsim.studies.template import template_text

    study = load_study(write_study(tmp_path, template_text()), InstalledLibraries())
    assert len(study.scanners) == 4


def test_overrides_change_the_scanner_record():
    from mrsim.studies.installed import InstalledLibraries

    libraries = InstalledLibraries()
    changed_record = libraries.scanner("siemens-prisma-3t", {"noise": {"relative_figure": 3.0}})
    assert changed_record["noise"]["relative_figure"] == 3.0
    with pytest.raises(ValueError, match=r"has no 'relative_figur'. Did you mean 'relative_figure'"):
        libraries.scanner("siemens-prisma-3t", {"noise": {"relative_figur": 3.0}})
    with pytest.raises(ValueError, match="must be a number"):
        libraries.scanner("siemens-prisma-3t", {"noise": {"relative_figure": "3"}})


def test_causes_to_switch_off_must_exist():
    study = check_study(changed("simulation", off=["concomitant"]), file="s.toml", libraries=FakeLibraries())
    assert study.simulation.off == ("concomitant",)
    assert "unknown cause 'concomitent'" in only(changed("simulation", off=["concomitent"]), FakeLibraries())

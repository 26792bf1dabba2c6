"""The official validator accepts the output, without a warning that could be filled."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mrsim.studies import bids
from mrsim.studies.installed import InstalledLibraries
from mrsim.studies.project import prepare, run_study
from mrsim.studies.sidecar import field_strength, sidecar

from . import fake_study
from .fakes import write_study

STUDY = """
[study]
name = "valid"
seed = 1
reference_scanner = "prisma"
description = "Two people, three scanners"
[cohort]
subjects = 2
[[scanners]]
name = "siemens-prisma-3t"
label = "prisma"
repeats = 2
[[scanners]]
name = "ge-premier-3t"
label = "premier"
[[scanners]]
name = "siemens-avanto-1p5t"
label = "avanto"
[[protocols]]
contrast = "T1w"
voxel_size_mm = 2.0
[[protocols]]
contrast = "FLAIR"
[[harmonizers]]
name = "zscore"
[[harmonizers]]
name = "combat"
"""


def validate(folder, *flags):
    script = Path(sys.executable).with_name("bids-validator-deno")
    if not script.exists():
        pytest.skip("bids-validator-deno is not installed beside this interpreter (dev extra)")
    done = subprocess.run([script, folder, "--format", "json", *flags], capture_output=True, text=True)
    summary = json.loads(done.stdout)
    issues = list(summary["issues"]["issues"])
    for derivative in (summary.get("derivativesSummary") or {}).values():
        issues += derivative["issues"]["issues"]
    return done.returncode, {(issue["code"], issue.get("subCode")) for issue in issues}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bids")
    prepared = prepare(write_study(folder, STUDY), InstalledLibraries(), fake_study.STAGES)
    assert run_study(prepared, folder / "out", fake_study.STAGES).exit_code == 0
    return folder / "out"


def test_validator_finds_nothing(dataset):
    assert validate(dataset) == (0, set())


def test_derivatives_are_valid_too(dataset):
    code, issues = validate(dataset, "-r")
    assert code == 0
    # The truth is no imaging dataset: it has no folders of subjects.
    assert issues <= {("SUBJECT_FOLDERS", None)}


def test_validator_would_complain(dataset, tmp_path):
    """The check above can fail: a sidecar key less, a name out of order."""
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(dataset, broken)
    path = broken / "sub-01/ses-prisma/anat/sub-01_ses-prisma_run-1_T1w.json"
    record = json.loads(path.read_text())
    del record["DwellTime"]
    path.write_text(json.dumps(record))
    (broken / "sub-01/ses-prisma/anat/T1w_sub-01.nii.gz").write_bytes(b"x")
    code, issues = validate(broken)
    assert code != 0
    assert ("SIDECAR_KEY_RECOMMENDED", "DwellTime") in issues


def test_tables(dataset):
    rows = [line.split("\t") for line in (dataset / "participants.tsv").read_text().splitlines()]
    assert rows[0] == ["participant_id", "age", "sex", "icv"]
    assert [row[0] for row in rows[1:]] == ["sub-01", "sub-02"]
    sessions = (dataset / "sub-01" / "sub-01_sessions.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in sessions] == [
        "session_id",
        "ses-prisma",
        "ses-premier",
        "ses-avanto",
    ]
    assert len(list((dataset / "sub-01" / "ses-prisma" / "anat").glob("*_run-2_*"))) == 4
    assert len(list((dataset / "derivatives" / "zscore").rglob("*.nii.gz"))) == 16
    assert not (dataset / "derivatives" / "combat").exists()


NESTED = """
diagnoses = { control = 0.4, ad = 0.6 }
age_range = [55.0, 85.0]
lesions = 1.0
[cohort.design]
kind = "confounded"
diagnosis = 0.3
[[scanners]]"""


@pytest.fixture(scope="module")
def nested(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nested")
    study = STUDY.replace("subjects = 2", "subjects = 4").replace("[[scanners]]", NESTED.lstrip(), 1)
    prepared = prepare(write_study(folder, study), InstalledLibraries(), fake_study.STAGES)
    assert run_study(prepared, folder / "out", fake_study.STAGES).exit_code == 0
    return folder / "out"


def test_a_dataset_of_one_scanner_each_is_valid(nested):
    assert validate(nested) == (0, set())
    code, issues = validate(nested, "-r")
    assert code == 0
    assert issues <= {("SUBJECT_FOLDERS", None)}


def test_tables_of_one_scanner_each(nested):
    rows = [line.split("\t") for line in (nested / "participants.tsv").read_text().splitlines()]
    assert rows[0] == ["participant_id", "age", "sex", "icv", "diagnosis", "site", "lesions"]
    assert [row[4] for row in rows[1:]] == ["ad"] * 4
    assert [row[6] for row in rows[1:]] == ["1.250"] * 4
    assert set(json.loads((nested / "participants.json").read_text())) == set(rows[0][1:])
    labels = ("prisma", "premier", "avanto", "prisma")
    for number, label in enumerate(labels, 1):
        subject = nested / f"sub-0{number}"
        sessions = (subject / f"sub-0{number}_sessions.tsv").read_text().splitlines()
        assert [line.split("\t")[0] for line in sessions] == ["session_id", f"ses-{label}"]
        assert [path.name for path in subject.iterdir() if path.is_dir()] == [f"ses-{label}"]
    assert "on one scanner of several" in (nested / "README").read_text()
    planted = json.loads((nested / "derivatives/truth/sourcedata/planted_effects.json").read_text())
    assert planted["design"]["sites"] == ["prisma", "premier", "avanto"]
    # ln 0.77, the published effect on the hippocampus.
    assert planted["regions"]["hippocampus"]["diagnosis_log"]["ad"] == pytest.approx(-0.2614, abs=1e-4)


def test_a_subject_without_truth_is_listed(tmp_path):
    bids.write_dataset(
        tmp_path, name="n", title="t", description="d", authors=[], participants=[], sessions={"a": {}},
        methods=[], subjects=["01"], contrasts=["T1w"],
    )  # fmt: skip
    assert (tmp_path / "participants.tsv").read_text().splitlines()[1] == "sub-01\tn/a\tn/a\tn/a"


def test_sidecar_values():
    libraries = InstalledLibraries()
    scanner = libraries.scanner("siemens-prisma-3t", {})
    card = libraries.card("onharmony-prisma-t1w-mprage", 2e-3)
    record = sidecar(scanner, card, measured={"EchoTime": 0.00204, "Manufacturer": ""}, combine="espirit")
    assert record["EchoTime"] == 0.00204  # the header wins,
    assert record["Manufacturer"] == scanner["manufacturer"]  # an empty one does not
    assert record["CoilCombinationMethod"] == "ESPIRiT"
    assert record["RepetitionTime"] == 2.0
    assert record["InversionTime"] == 0.88
    # 123.23 MHz over 42.577478518 MHz/T.
    assert field_strength(scanner) == record["MagneticFieldStrength"] == pytest.approx(2.894, abs=1e-3)
    samples = card["geometry"]["matrix"][0] * card["readout"]["oversampling"]
    assert record["DwellTime"] * samples * card["readout"]["bandwidth"] == pytest.approx(1.0, abs=1e-8)
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    spoiled = sidecar(scanner, card, spoiler=(2e-5, 1e-3))
    assert spoiled["SpoilingType"] == "COMBINED"
    assert spoiled["SpoilingGradientMoment"] == 20.0  # 2e-5 s T/m = 20 mT ms/m


@pytest.mark.parametrize("label", ["", "a b", "../x", "ab\n", "ä", "a" * 33])
def test_names_refuse_what_is_no_label(label):
    with pytest.raises(ValueError, match="letters or digits"):
        bids.ImageName(subject="01", session=label, run=1, suffix="T1w")
    with pytest.raises(ValueError, match="letters or digits"):
        bids.truth_path(label)


def test_names():
    name = bids.ImageName(subject="01", session="a", run=2, suffix="T1w", description="zscore")
    assert name.derivative_path("zscore", ".nii.gz") == (
        "derivatives/zscore/sub-01/ses-a/anat/sub-01_ses-a_run-2_desc-zscore_T1w.nii.gz"
    )
    with pytest.raises(ValueError, match="at least 1"):
        bids.ImageName(subject="01", session="a", run=0, suffix="T1w")

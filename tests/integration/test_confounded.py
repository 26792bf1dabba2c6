"""The example whose patients are on one scanner and whose controls are on the other, end to end."""

import json
import math
import re
from pathlib import Path

import pytest

from mrsim.studies.installed import InstalledLibraries
from mrsim.studies.study_input import load_study

from ..studies.test_bids import validate
from .study import Run, mrsim

EXAMPLES = Path(__file__).parents[2] / "examples"
METHODS = ("raw", "blur", "nyul", "featurezscore", "combat")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_study_files_among_the_examples_are_valid(path):
    study = load_study(path, InstalledLibraries())
    assert study.study.description
    assert f"examples/{path.name}" in path.read_text()


@pytest.fixture(scope="module")
def confounded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("confounded")
    study = EXAMPLES / "confounded.toml"
    done = mrsim("run", study, "--out", folder / "out", "--jobs", 2, timeout=3000)
    assert done.returncode == 0, done.stdout
    return Run(folder / "out", study, done.returncode, done.stdout)


@pytest.mark.slow
def test_confounded_example(confounded):
    """One run, looked at from all sides: it takes minutes."""
    root = confounded.root
    rows = [line.split("\t") for line in (root / "participants.tsv").read_text().splitlines()]
    people = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    assert {person["diagnosis"] for person in people} == {"control", "ad"}
    for person in people:
        sessions = [path.name for path in (root / person["participant_id"]).iterdir() if path.is_dir()]
        assert sessions == [f"ses-{person['site']}"]
        path = root / f"derivatives/truth/sourcedata/{person['participant_id']}_truth.json"
        truth = json.loads(path.read_text())
        assert (truth["diagnosis"], truth["sites"]) == (person["diagnosis"], [person["site"]])
        assert float(person["lesions"]) == pytest.approx(truth["lesions"]["volume_ml"], abs=1e-3)
    assert validate(root) == (0, set())
    for method in METHODS:
        scores = confounded.scores(method)
        folder = confounded.folder("evaluate", method=method)
        details = json.loads((folder / "details.json").read_text())
        assert all(math.isfinite(value) for value, _, _ in scores.values()), method
        assert {row["what"] for row in details["left_out"]} >= {"agreement between scanners"}
        assert ("T1w features", "icc_2_1") not in scores
        planted = {row["feature"]: row["planted"] for row in details["diagnosis"]}
        assert planted["volume:hippocampus"] == pytest.approx(math.log(0.77))
        assert ("T1w features", "diagnosis_effect_ratio:hippocampus_ad") in scores
        assert ("T1w features", "diagnosis_effect_error:cerebellum_ad") in scores
        assert ("T1w features", "diagnosis_effect_ratio:cerebellum_ad") not in scores
    # Nothing was done to the raw images, and nothing is said to have been.
    raw = confounded.scores("raw")
    for place in ("T1w", "T1w features"):
        for metric in ("fixed", "destroyed", "invented"):
            assert abs(raw[place, metric][0]) < 1e-9
    page = (root / "report.html").read_text()
    assert "Patients and controls, recovered" in page
    assert re.search(r"patients truly differ from controls", page)

"""The feature table that a harmonizer is fitted on: who is in it, and what it is told."""

import json

import numpy as np
import pytest

from mrsim.studies.stage import StageContext
from mrsim.studies.stage_harmonize import feature_harmonize

SITES = ("a", "b", "c")


@pytest.fixture
def table(tmp_path):
    """Twelve people on three scanners in turn; scanner b measures 10 % more, c 20 %."""
    rng = np.random.default_rng(0)
    features, phantoms = [], []
    for number in range(24):
        subject, site = f"{number + 1:02d}", SITES[number % 3]
        sick = number % 4 == 0
        volumes = rng.normal((9.0, 30.0, 500.0), (0.5, 6.0, 25.0)) * ((0.8, 1.4, 1.0) if sick else 1.0)
        volumes = volumes * (1.0, 1.1, 1.2)[number % 3]
        row = dict(zip(("volume:hippocampus", "volume:ventricles", "volume:cortex"), volumes, strict=True))
        truth = {"age": 60.0 + number, "sex": "FM"[number % 2], "diagnosis": "ad" if sick else "control"}
        for folder, name, content, found in (
            (tmp_path / f"f{subject}", "features.json", row, features),
            (tmp_path / f"p{subject}", "truth.json", truth, phantoms),
        ):
            folder.mkdir()
            (folder / name).write_text(json.dumps(content))
            found.append(({"subject": subject, "session": site, "run": 1, "contrast": "T1w"}, folder))
    return features, phantoms


def run(table, folder, name, **params):
    features, phantoms = table
    folder.mkdir()
    pairs = {"features": features, "phantoms": phantoms}
    feature_harmonize(
        StageContext(
            params={"name": name, "params": {}, **params},
            key={"method": name, "contrast": "T1w"},
            inputs={role: tuple(path for _, path in found) for role, found in pairs.items()},
            input_keys={role: tuple(key for key, _ in found) for role, found in pairs.items()},
            out_dir=folder,
            rng=np.random.default_rng(0),
        )
    )
    return json.loads((folder / "table.json").read_text())


def values(rows, session):
    return [[*row["features"].values()] for row in rows if row["session"] == session]


def test_a_held_out_scanner_changes_no_fit(table, tmp_path):
    """Whatever is measured there, the others come out the same; and its own scans are harmonized too."""
    features, phantoms = table
    first = run(table, tmp_path / "one", "combat", held_out="c")
    for key, folder in features:
        if key["session"] == "c":
            row = json.loads((folder / "features.json").read_text())
            (folder / "features.json").write_text(json.dumps({k: 3.0 * v for k, v in row.items()}))
    again = run((features, phantoms), tmp_path / "two", "combat", held_out="c")
    for session in "ab":
        assert values(first, session) == values(again, session)
    assert len(first) == 24
    everywhere = run(table, tmp_path / "three", "combat")
    assert values(everywhere, "a") != values(again, "a")


def test_a_method_that_cannot_extrapolate_leaves_the_scanner_out(table, tmp_path):
    rows = run(table, tmp_path / "out", "feature-zscore", held_out="c")
    assert {row["session"] for row in rows} == {"a", "b"}
    assert len(rows) == 16


def test_harmonizers_are_told_the_diagnosis(table, tmp_path, monkeypatch):
    from mrsim.harmonizers import ComBat

    told = []
    fit = ComBat.fit

    def spy(self, X, y=None, *, site, covariates=None):
        told.append(covariates)
        return fit(self, X, y, site=site, covariates=covariates)

    monkeypatch.setattr(ComBat, "fit", spy)
    run(table, tmp_path / "out", "combat")
    assert list(told[0].columns) == ["age", "sex", "diagnosis"]
    assert set(told[0]["diagnosis"]) == {"control", "ad"}

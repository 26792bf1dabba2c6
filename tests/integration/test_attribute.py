"""`mrsim attribute` on the small study: files, sums, resuming, and the images of the study itself."""

import json

import numpy as np
import pytest

from mrsim.studies.attribute import prepare_attribution, read_attribution
from mrsim.studies.installed import InstalledLibraries
from mrsim.studies.ledger import Ledger
from mrsim.studies.plan import Plan
from mrsim.studies.runner import run_plan
from mrsim.studies.stages import ATTRIBUTION_STAGES
from mrsim.studies.volumes import load_volume

from .study import mrsim, write_study

pytestmark = pytest.mark.slow
CAUSES = ("receive_profile", "gain", "protocol", "reconstruction")
"""Cheap to simulate, and of different kinds: exchanged, imperfect, sequence, reconstruction."""


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attribution")
    study = write_study(folder, subjects=1, harmonizers="")
    arguments = ("attribute", study, "--out", folder / "out", "--causes", ",".join(CAUSES), "--jobs", 2)
    result = mrsim(*arguments)
    assert result.returncode == 0, result.stdout
    return folder / "out", arguments, result.stdout


def test_the_answer_is_printed_and_written(done):
    root, _, told = done
    assert "avanto against prisma, T1w: nmse:wm" in told
    for cause in CAUSES:
        assert cause in told
    names = {path.name for path in root.iterdir() if not path.name.startswith(".")}
    assert names >= {"attribution.tsv", "attribution.json", "report.html", "code"}
    page = (root / "report.html").read_text()
    assert "why avanto differs from prisma" in page


def test_parts_sum_to_the_whole_and_nothing_to_nothing(done):
    rows, record = read_attribution(done[0])
    assert record["Estimator"]["Exact"]
    assert record["Estimator"]["EfficiencyGap"] < 1e-9  # rounding of sums of 16 terms
    measures = {row["measure"] for row in rows}
    assert {"nmse:wm", "nrmse:raw", "signed:wm", "volume:gm", "ratio:gm/wm", "boundary_width"} <= measures
    for measure in measures:
        own = {row["cause"]: row for row in rows if row["measure"] == measure}
        total = own.pop("(all causes)")["shapley"]
        rest = own.pop("(interaction)")["single"]
        parts = [row["shapley"] for row in own.values()]
        size = max(abs(total), *map(abs, parts))
        # The table has nine digits.
        assert sum(parts) == pytest.approx(total, abs=1e-7 * size)
        assert sum(row["single"] for row in own.values()) + rest == pytest.approx(total, abs=1e-7 * size)
    values = {frozenset(c["Causes"]): c["Values"] for c in record["Coalitions"]}
    names = [m["Name"] for m in record["Measures"]]
    none = dict(zip(names, values[frozenset()], strict=True))
    assert set(none.values()) == {0.0}
    assert len(values) == 2 ** len(CAUSES)


def test_causes_do_what_they_must(done):
    rows, _ = read_attribution(done[0])
    found = {(row["cause"], row["measure"]): row for row in rows}
    # A receiver gain scales the whole image: seen in raw units, gone after matching to white matter.
    assert found["gain", "nmse:raw"]["single"] > 1e-4
    assert found["gain", "nmse:wm"]["single"] < 1e-9  # single precision of the images, squared
    assert found["(all causes)", "signed:wm"]["shapley"] == pytest.approx(1.0)
    assert found["protocol", "nmse:wm"]["single"] > 1e-3


def test_done_work_is_not_done_again(done):
    root, arguments, _ = done
    before = (root / "attribution.tsv").read_bytes()
    again = mrsim(*arguments)
    assert again.returncode == 0
    assert again.stdout.splitlines()[-1].startswith("report:")
    assert "0 cells computed" in again.stdout
    (root / "report.html").unlink()
    for record in (root / ".mrsim" / "cells" / "align").glob("*.json"):
        record.unlink()
        break
    repaired = mrsim(*arguments)
    assert repaired.returncode == 0
    assert "0 cells computed" not in repaired.stdout
    assert (root / "attribution.tsv").read_bytes() == before
    assert (root / "report.html").is_file()


def test_a_study_and_its_attribution_do_not_share_a_folder(done):
    root, arguments, _ = done
    refused = mrsim("run", arguments[1], "--out", root)
    assert refused.returncode == 2
    assert "attribution" in refused.stdout


def test_with_all_causes_the_images_are_those_of_the_study(small, tmp_path):
    """The same bytes as `mrsim run` made: same visit, same noise, same sequence."""
    prepared = prepare_attribution(small.study, InstalledLibraries(), ATTRIBUTION_STAGES)
    everything = max(
        (cell for cell in prepared.plan if cell.stage == "attribution"), key=lambda c: len(c.params["pairs"])
    )
    pair = next(p for p in everything.params["pairs"] if len(p["causes"]) == len(prepared.causes))
    wanted = {
        cell.id for cell in prepared.plan if cell.stage == "align" and cell.key["state"] in pair["images"]
    }
    plan = closure(prepared.plan, wanted)
    result = run_plan(plan, ATTRIBUTION_STAGES, tmp_path)
    assert not result.failed
    for state, session in zip(pair["images"], ("prisma", "avanto"), strict=True):
        cell = next(c for c in plan if c.stage == "align" and c.key["state"] == state)
        image, affine = load_volume(Ledger(tmp_path).folder(cell) / "image.nii.gz")
        assert np.isfinite(affine).all()
        np.testing.assert_array_equal(image, small.aligned("01", session))


def closure(plan, wanted):
    """The part of a plan that some cells need."""
    needed = set(wanted)
    for cell in reversed(plan.cells):
        if cell.id in needed:
            needed |= set(cell.input_ids)
    return Plan([cell for cell in plan if cell.id in needed])


def test_the_record_says_how_it_was_made(done):
    record = json.loads((done[0] / "attribution.json").read_text())
    assert record["GeneratedBy"][0]["Name"] == "mrsim attribute"
    assert record["Seed"] == 11
    assert set(record["Draws"]) == {"prisma", "avanto"}
    assert set(record["Causes"]) == set(CAUSES)
    assert "noise" in record["CausesLeftOff"]

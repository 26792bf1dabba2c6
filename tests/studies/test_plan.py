"""Cells are named by what they depend on, and by nothing else."""

import json
import subprocess
import sys

import pytest

from mrsim.studies.build_plan import plan_study
from mrsim.studies.plan import Cell, Plan, PlanError
from mrsim.studies.seeds import stream, stream_words
from mrsim.studies.stage import Cost, Stage
from mrsim.studies.study_input import check_study

from .fake_stages import draw, read_plan, small_plan, stages
from .fakes import FakeLibraries, good

STUDY_STAGES = (
    "phantom", "maps", "sequence", "scan", "recon", "align", "features", "harmonize_fit", "harmonize",
    "feature_harmonize", "evaluate", "dataset", "report",
)  # fmt: skip


def study_stages(**versions):
    return {
        name: Stage(name=name, version=versions.get(name, "1"), run=draw, cost=lambda params: Cost(size=10))
        for name in STUDY_STAGES
    }


def make(data, **versions):
    return plan_study(check_study(data, file="s"), FakeLibraries(), study_stages(**versions))


def cells_of(plan, stage):
    return {cell.id for cell in plan if cell.stage == stage}


def test_ids_do_not_depend_on_order_of_keys():
    first = Cell(stage="s", version="1", key={"a": 1, "b": 2}, params={"x": 1, "y": [1, 2]})
    second = Cell(stage="s", version="1", key={"b": 2, "a": 1}, params={"y": [1, 2], "x": 1})
    assert first.id == second.id
    assert first.id != Cell(stage="s", version="1", key={"a": 1, "b": 2}, params={"x": 1, "y": [2, 1]}).id


@pytest.mark.parametrize(
    "change",
    [
        {"version": "2"},
        {"seed": 1},
        {"package": "9"},
        {"params": {"x": 2}},
        {"inputs": {"i": "0" * 64}},
        {"key": {"a": 2}},
    ],
)
def test_ids_depend_on_everything_that_changes_the_output(change):
    base = {"stage": "s", "version": "1", "key": {"a": 1}, "params": {"x": 1}}
    assert Cell(**base).id != Cell(**(base | change)).id


def test_ids_do_not_depend_on_where_results_go():
    base = {"stage": "s", "version": "1", "key": {"a": 1}}
    assert Cell(**base).id == Cell(**base, publish={"x": "y"}, transient=True, allow_failed_inputs=True).id


def test_ids_are_the_same_in_another_process():
    code = "from tests.studies.fake_stages import small_plan; print(small_plan().digest)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == small_plan().digest


def test_plan_survives_its_file(tmp_path):
    plan = small_plan(transient=True)
    path = tmp_path / "plan.jsonl"
    path.write_bytes(plan.to_jsonl())
    again = read_plan(path)
    assert again.cells == plan.cells
    assert again.digest == plan.digest
    lines = path.read_text().splitlines()
    first = json.loads(lines[0])
    first["params"]["sleep"] = 5
    path.write_text("\n".join([json.dumps(first), *lines[1:]]))
    with pytest.raises(PlanError, match="the id of cell"):
        read_plan(path)


def test_plan_refuses_missing_inputs_twins_and_shared_places():
    cell = Cell(stage="s", version="1", key={"a": 1})
    with pytest.raises(PlanError, match="must stand earlier"):
        Plan([Cell(stage="s", version="1", key={}, inputs={"i": cell.id}), cell])
    with pytest.raises(PlanError, match="twice"):
        Plan([cell, cell])
    twins = [
        Cell(stage="s", version="1", key={"a": number}, publish={"f": path})
        for number, path in ((1, "X"), (2, "x"))
    ]
    with pytest.raises(PlanError, match="must come from one cell"):
        Plan(twins)


def test_study_plan_counts():
    plan = make(good())
    counts = {stage: len(cells_of(plan, stage)) for stage in STUDY_STAGES}
    # 2 subjects x (1 + 2 runs) x 2 contrasts = 12 images, and a counterfactual per subject and contrast;
    # sequences per scanner and contrast.
    assert counts == {
        "phantom": 2, "maps": 2, "sequence": 4, "scan": 16, "recon": 16, "align": 16, "features": 28,
        "harmonize_fit": 2, "harmonize": 12, "feature_harmonize": 2, "evaluate": 3, "dataset": 1, "report": 1,
    }  # fmt: skip


def test_extending_a_study_keeps_all_earlier_images():
    plan = make(good())
    larger = good()
    larger["cohort"]["subjects"] = 4
    larger["scanners"].append({"name": "sa", "label": "c"})
    larger["harmonizers"].insert(0, {"name": "blur", "label": "blur2", "params": {"fwhm": 2.0}})
    extended = make(larger)
    for stage in ("phantom", "maps", "sequence", "scan", "recon", "align"):
        assert cells_of(plan, stage) < cells_of(extended, stage) or stage == "sequence"
        assert cells_of(plan, stage) <= cells_of(extended, stage)


def test_reordering_a_study_changes_no_image():
    other = good()
    other["scanners"].reverse()
    other["protocols"].reverse()
    for stage in ("phantom", "maps", "sequence", "scan", "recon", "align"):
        assert cells_of(make(good()), stage) == cells_of(make(other), stage)


def test_a_new_stage_version_touches_only_what_follows():
    old, new = make(good()), make(good(), recon="2")
    assert cells_of(old, "scan") == cells_of(new, "scan")
    assert not cells_of(old, "recon") & cells_of(new, "recon")
    assert not cells_of(old, "align") & cells_of(new, "align")


def test_changing_one_scanner_leaves_the_others_alone():
    other = good()
    other["scanners"][1]["overrides"] = {"noise": {"relative_figure": 2.0}}
    old, new = make(good()), make(other)
    # The images of scanner a, and the counterfactuals on it.
    assert len(cells_of(old, "scan") & cells_of(new, "scan")) == 8
    assert cells_of(old, "phantom") == cells_of(new, "phantom")


def test_estimate_sums_and_takes_the_largest_memory():
    estimate = small_plan(transient=True).estimate(stages())["draw"]
    assert estimate.cells == 6
    assert estimate.core_seconds == 3.0
    assert (estimate.size, estimate.transient_size, estimate.memory) == (0, 48000, 100 << 20)


def test_streams_depend_on_identity_only():
    key = {"subject": "01", "session": "a"}
    first = stream(5, "scan", key).standard_normal(4)
    assert (first == stream(5, "scan", {"session": "a", "subject": "01"}).standard_normal(4)).all()
    for other in (
        stream(6, "scan", key),
        stream(5, "recon", key),
        stream(5, "scan", key | {"subject": "02"}),
    ):
        assert (first != other.standard_normal(4)).all()
    # The words are pinned: if they change, every image of every study changes.
    assert stream_words("scan", key) == (3031500778, 655066271, 741455510, 3150541956)
    with pytest.raises(ValueError, match="must not be negative"):
        stream(-1, "scan", key)

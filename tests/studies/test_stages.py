"""The stages that a plan may name."""

import pickle
import re

import pytest

from mrsim.studies.installed import InstalledLibraries
from mrsim.studies.plan import cell_cost
from mrsim.studies.project import prepare
from mrsim.studies.stage import Cost
from mrsim.studies.stages import STAGES
from mrsim.studies.template import study_path


@pytest.fixture(scope="module")
def demo():
    return prepare(study_path("demo"), InstalledLibraries(), STAGES)


@pytest.mark.parametrize("name", STAGES)
def test_stages_travel_to_workers(name):
    stage = STAGES[name]
    assert stage.name == name
    back = pickle.loads(pickle.dumps(stage))
    assert back.run is stage.run  # found by its name
    assert (back.name, back.version) == (stage.name, stage.version)
    assert stage.run.__doc__


def test_every_stage_is_used_and_every_cell_has_one(demo):
    assert {cell.stage for cell in demo.plan} == set(STAGES)
    for cell in demo.plan:
        assert cell.version == STAGES[cell.stage].version


def test_costs_are_positive_and_travel(demo):
    for cell in demo.plan:
        cost = cell_cost(cell, STAGES)
        assert isinstance(cost, Cost)
        assert cost.core_seconds > 0
        assert cost.memory > 0
        assert cost.size >= 0
        again = pickle.loads(pickle.dumps(STAGES[cell.stage].cost))
        assert again(cell.params) == STAGES[cell.stage].cost(cell.params)


def variant(folder, text, number):
    path = folder / f"{number}.toml"
    path.write_text(text)
    return prepare(path, InstalledLibraries(), STAGES).plan


def totals(plan, stage):
    cells = [cell_cost(cell, STAGES) for cell in plan if cell.stage == stage]
    return {name: max(getattr(cost, name) for cost in cells) for name in ("core_seconds", "memory", "size")}


@pytest.mark.parametrize(
    ("old", "new", "stage"),
    [
        (r"voxel_size_mm = 1\.\d+", "voxel_size_mm = 1.0", "phantom"),
        (r"voxel_size_mm = 2\.0", "voxel_size_mm = 1.2", "scan"),
        (r"voxel_size_mm = 2\.0", "voxel_size_mm = 1.2", "recon"),
        (r"coils = \d+", "coils = 12", "scan"),
    ],
)
def test_costs_grow_with_size(demo, tmp_path, old, new, stage):
    text = study_path("demo").read_text()
    changed, count = re.subn(old, new, text)
    assert count
    small, large = totals(demo.plan, stage), totals(variant(tmp_path, changed, 1), stage)
    for name in ("core_seconds", "memory", "size"):
        assert large[name] > small[name], name


def test_a_larger_cohort_costs_in_proportion(demo, tmp_path):
    text = study_path("demo").read_text()
    double = variant(tmp_path, text.replace("subjects = 6", "subjects = 12"), 2)
    own, other = demo.plan.estimate(STAGES), double.estimate(STAGES)
    for stage in ("phantom", "scan", "recon", "align", "features", "harmonize"):
        assert other[stage].cells == 2 * own[stage].cells
        assert other[stage].core_seconds == pytest.approx(2 * own[stage].core_seconds)
    assert other["sequence"].cells == own["sequence"].cells

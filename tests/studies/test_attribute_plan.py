"""From a study file to the scans of its attribution, without computing any."""

import pytest
from typer.testing import CliRunner

from mrsim.cli.app import app
from mrsim.studies.attribute import Choices, prepare_attribution
from mrsim.studies.installed import InstalledLibraries
from mrsim.studies.output import create_output
from mrsim.studies.problems import InputError
from mrsim.studies.project import PLAN_FILE
from mrsim.studies.stages import ATTRIBUTION_STAGES

STUDY = """
[study]
name = "two"
seed = 3
reference_scanner = "premier"
[cohort]
subjects = 2
voxel_size_mm = 3.0
[[scanners]]
name = "siemens-prisma-3t"
label = "prisma"
[[scanners]]
name = "ge-premier-3t"
label = "premier"
[[protocols]]
contrast = "T1w"
voxel_size_mm = 5.0
[simulation]
coils = 3
"""
THIRD = """
[[scanners]]
name = "philips-ingenia-3t"
label = "ingenia"
"""
FEW = ("protocol", "reconstruction", "gain")


@pytest.fixture
def prepare(tmp_path):
    def do(more="", **choices):
        path = tmp_path / "study.toml"
        path.write_text(STUDY + more)
        return prepare_attribution(path, InstalledLibraries(), ATTRIBUTION_STAGES, Choices(**choices))

    return do


def count(prepared, stage):
    return sum(cell.stage == stage for cell in prepared.plan)


def test_an_existing_study_of_two_scanners_is_taken(prepare):
    found = prepare(permutations=4)
    assert found.labels == ("premier", "prisma")  # the reference first
    assert {"protocol", "reconstruction", "noise", "field"} <= set(found.causes)
    assert not found.off
    assert not set(found.idle) & set(found.causes)
    assert len(found.game.orders) == 4


def test_few_causes_are_exact_and_share_scans(prepare):
    found = prepare(causes=FEW)
    assert found.game.exact
    assert found.causes == ("gain", "protocol", "reconstruction")
    assert "noise" in found.off
    # Reference: gain off or on. Other: gain x protocol, of which the one without protocol and gain is the
    # reference's own; reconstruction costs no scan.
    assert count(found, "attribute_scan") == found.scans == 2 + 3
    assert count(found, "sequence") == 2
    assert count(found, "recon") == found.images == 2 + (2 * 2 * 2 - 1)
    assert count(found, "phantom") == count(found, "maps") == 1
    assert count(found, "attribution") == 1


def test_more_orders_reuse_earlier_scans(prepare):
    few, more = (prepare(permutations=n) for n in (4, 6))
    earlier = {cell.id for cell in few.plan if cell.stage != "attribution"}
    assert earlier <= set(more.plan.index)


def test_scanners_are_chosen_from_more(prepare):
    with pytest.raises(InputError, match=r"attribution\.scanners: two scanners .* holds 3 .*--scanners A,B"):
        prepare(THIRD)
    assert prepare(THIRD, scanners=("ingenia", "prisma"), causes=FEW).labels == ("ingenia", "prisma")


def test_the_file_has_a_section_of_its_own(prepare):
    section = '[attribution]\ncauses = ["gain", "noise"]\nsubject = 2\nmeasures = ["image"]\n'
    found = prepare(section)
    assert found.causes == ("noise", "gain")
    assert count(found, "features") == 0
    assert {cell.key["subject"] for cell in found.plan if cell.stage == "phantom"} == {"02"}
    # The command line has the last word.
    assert prepare(section, causes=("protocol",)).causes == ("protocol",)
    assert prepare(section, voxel_size_mm=8.0).plan.digest != found.plan.digest


def test_own_tissue_is_a_cause_where_the_subject_has_some(prepare):
    found = prepare(causes=("tissue", "protocol"))
    assert found.causes == ("tissue", "protocol")
    assert count(found, "phantom") == 2
    assert count(found, "maps") == 1
    plain = STUDY.replace("subjects = 2", "subjects = 2\ntissue_spread = 0.0\ntissue_age_effect = 0.0")
    path = prepare(causes=("protocol",)).path
    path.write_text(plain)
    alike = prepare_attribution(
        path, InstalledLibraries(), ATTRIBUTION_STAGES, Choices(causes=("tissue", "protocol"))
    )
    assert alike.idle == ("tissue",)


@pytest.mark.parametrize(
    ("section", "choices", "words"),
    [
        ("", {"causes": ("protcol",)}, r"attribution\.causes\.0: unknown cause 'protcol'.*'protocol'"),
        ("", {"causes": ("gain", "gain")}, r"attribution\.causes.*unique"),
        ("", {"scanners": ("prisma", "premeer")}, r"attribution\.scanners\.1.*'premier'"),
        ("", {"scanners": ("prisma", "prisma")}, r"two different scanners"),
        ("", {"contrast": "FLAIR"}, r"attribution\.contrast.*not acquired.*T1w"),
        ("", {"subject": 3}, r"attribution\.subject: must not exceed"),
        ("[attribution]\npermutation = 8\n", {}, r"attribution\.permutation: unknown key.*'permutations'"),
        ("[attribution]\nmeasures = []\n", {}, r"attribution\.measures.*at least 1"),
        ("[attribution]\npermutations = 2\n", {}, r"attribution\.permutations: must be at least 4"),
        ("", {"causes": ("tissue",), "subject": 1, "voxel_size_mm": 99.0}, r"voxel_size_mm.*at most 10"),
    ],
)
def test_wrong_wishes_are_told_with_their_place(prepare, section, choices, words):
    with pytest.raises(InputError, match=words):
        prepare(section, **choices)


def test_all_problems_come_at_once(prepare):
    with pytest.raises(InputError) as caught:
        prepare("[attribution]\ncauses = ['gane']\nsubject = 9\n", contrast="T2w")
    assert len(caught.value.problems) == 3


def test_nothing_to_attribute_is_said(prepare):
    twin = STUDY.replace("ge-premier-3t", "siemens-prisma-3t")
    path = prepare(causes=FEW).path
    path.write_text(twin)
    with pytest.raises(InputError, match="no cause acts"):
        prepare_attribution(
            path, InstalledLibraries(), ATTRIBUTION_STAGES, Choices(causes=("protocol", "field"))
        )


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_says_what_it_would_do(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(STUDY)
    told = call("attribute", path, "--dry-run", "--causes", "protocol,reconstruction,gain", "--jobs", 2)
    assert told.exit_code == 0, told.output
    assert "prisma against premier: 3 causes act" in told.output
    assert "8 coalitions (all sets, exact): 5 scans, 9 images; about" in told.output
    assert list(tmp_path.iterdir()) == [path]
    assert call("attribute", path).exit_code == 2  # --out is missing
    assert call("attribute", path, "--out", tmp_path / "o", "--causes", "x").exit_code == 2
    assert not (tmp_path / "o").exists()


def test_the_report_of_an_attribution_is_asked_of_attribute(prepare, tmp_path):
    found = prepare(causes=FEW)
    root = tmp_path / "o"
    create_output(root, "two (attribution)")
    (root / "code").mkdir()
    (root / PLAN_FILE).write_bytes(found.plan.to_jsonl())
    told = call("report", root)
    assert told.exit_code == 2
    assert "holds an attribution" in told.output
    assert "mrsim attribute STUDY.toml --out" in told.output

"""What a person sees who looks before and after a run: plan, validate, status, list, show, doctor."""

import re

import pytest
from typer.testing import CliRunner

from mrsim.cli.app import app
from mrsim.harmonizers import list_harmonizers
from protocols import list_protocols, list_scanners

from .study import CELLS


def look(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_demo_is_planned():
    told = look("plan", "demo")
    rows = {name: int(cells) for name, cells in re.findall(r"^\s+(\w+)\s+(\d+)\s+\d", told, re.MULTILINE)}
    # 6 subjects x 2 contrasts x (4 scanners and the counterfactual).
    assert rows["scan"] == rows["recon"] == rows["align"] == 60
    assert rows["phantom"] == rows["maps"] == 6
    assert rows["sequence"] == 8
    assert rows["evaluate"] == 6  # raw and five harmonizers
    assert f"{sum(rows.values())} cells" in told
    assert re.search(r"about \d+ min \d\d s\s+with \d+ at a time", look("plan", "demo", "--jobs", 2))


def test_demo_is_valid():
    told = look("validate", "demo")
    assert "6 subjects, 4 scanners, 2 contrasts, 48 images, 5 harmonizers" in told


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("scanners", list_scanners()),
        ("protocols", list_protocols()),
        ("harmonizers", [info.name for info in list_harmonizers()]),
        ("studies", ["demo", "tiny"]),
    ],
)
def test_lists_are_whole_and_everything_in_them_can_be_shown(kind, names):
    told = look("list", kind)
    for name in names:
        assert re.search(rf"^\s*{re.escape(name)}\s", told, re.MULTILINE), name
        shown = look("show", name)
        assert shown.startswith(name)
        shown = shown.partition("\n\n")[0]  # the record; a method's documentation follows
        assert not re.search(r"\{'|\bNone\b|\bnan\b|\bTrue\b|<class", shown), (
            name
        )  # nothing of Python's own spelling


def test_a_study_is_shown_by_key_paths():
    """The paths are those of error messages, so that a person finds the place."""
    told = look("show", "tiny")
    assert re.search(r"^scanners\.1\.label\s+premier", told, re.MULTILINE)
    assert re.search(r"^harmonizers\.2\.params\.reference_site\s+prisma", told, re.MULTILINE)


def test_a_harmonizer_is_shown_with_all_parameters():
    told = look("show", "combat")
    assert re.search(r"^parameters\.reference_site\s+none", told, re.MULTILINE)
    assert "Johnson WE" in told


def test_status_of_a_finished_run(small):
    told = look("status", small.root).splitlines()
    assert told[0] == str(small.root)  # in one piece, whatever its length
    assert told[-1] == f"report: {small.root / 'report.html'}"
    assert any(line.startswith("complete; ") for line in told)
    rows = [re.fullmatch(r"\s+(\w+)\s+(\d+)\s+(\d+)\s*", line) for line in told]
    counts = [(int(row[2]), int(row[3])) for row in rows if row]
    assert all(done == of for done, of in counts)
    assert sum(of for _, of in counts) == CELLS


def test_doctor_knows_what_the_figures_rest_on():
    told = look("doctor")
    for word in ("cores", "free memory", "HDF5", "finufft", "pypulseq", "numba", "scikit-learn"):
        assert word in told


def test_harmonized_table_keeps_other_columns_as_written(tmp_path):
    notes = ["a", "", "n/a", "1e3", "0x1", "b", "c"]
    rows = [
        f"{number:03d}\t{site}\t{number + 2}\t{note}\t{10 + number % 5 + 3 * (site == '02')}.5"
        for site in ("01", "02")
        for number, note in enumerate(notes)
    ]
    source, out = tmp_path / "in.tsv", tmp_path / "out.tsv"
    source.write_text("\n".join(["id\tsite\tage\tnote\tvolume", *rows]) + "\n")
    look("harmonize", "feature-residual", "--in", source, "--out", out, "--keep", "id,age")
    before, after = ([line.split("\t") for line in path.read_text().splitlines()] for path in (source, out))
    assert [row[:4] for row in after] == [row[:4] for row in before]
    assert [row[4] for row in after] != [row[4] for row in before]

"""`mrsim phantom`: what a person gets on the screen, in files, and when something is wrong."""

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from mrsim.cli.app import app
from phantoms import Phantom, load_phantom, save_phantom


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    return tmp_path


def call(*arguments):
    return CliRunner().invoke(app, ["phantom", *map(str, arguments)])


def brainlet():
    fractions = np.zeros((3, 6, 7, 5), np.float32)
    fractions[0, 1:3, 2:5, 1:4], fractions[1, 3:5, 2:5, 1:4], fractions[2, 1:5, 2:5, 4] = 0.8, 1.0, 0.5
    return Phantom(
        name="brainlet", tissues=("gm", "wm", "fat"), fractions=fractions,
        affine=np.diag([2e-3, 2e-3, 3e-3, 1]),
        truth={"age": 61.5, "volumes_ml": {"hippocampus": 7.25}},
        provenance={"source": "a test", "licence": "CC0"},
    )  # fmt: skip


@pytest.fixture
def file(place):
    save_phantom(place / "b.h5", brainlet())
    return place / "b.h5"


def test_a_library_phantom_is_made_with_its_licence(place):
    result = call(
        "make", "sphere", "--voxel-size-mm", 10, "--set", "radius=0.03", "--set", "t2=0.2", "-o", "s.h5"
    )
    assert result.exit_code == 0, result.output
    assert "wrote s.h5 (native, phantom)" in result.output
    p = load_phantom(place / "s.h5")
    assert p.voxel_size == pytest.approx((0.01,) * 3)
    assert p.properties(3.0)[0].t2 == 0.2
    assert p.provenance["licence"] == "none needed"
    assert [f.name for f in place.iterdir()] == ["s.h5"]


def test_info_tells_grid_values_truth_and_licence(file):
    result = call("info", file, "--b0", 1.5)
    assert result.exit_code == 0, result.output
    gm = brainlet().properties(1.5)[0]
    for text in (
        "6 x 7 x 5 voxels of 2 x 2 x 3 mm", "RAS", "Tissues at 1.5 T", f"{1e3 * gm.t1:.4g}",
        "volumes_ml.hippocampus", "7.25", "61.5", "licence", "CC0", "sha256", "as written",
    ):  # fmt: skip
        assert text in result.output
    # 18 voxels of 12 mm3, 0.8 of each
    assert "0.1728 mL" in result.output


def test_show_draws_a_picture(file, place):
    result = call("show", file, "--out", "b.png", "--at-mm", "4,6,6")
    assert result.exit_code == 0, result.output
    assert (place / "b.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in place.iterdir()) == ["b.h5", "b.png"]


def test_convert_tells_what_is_lost_and_simulates_on(file, place):
    result = call("convert", file, "b.json", "--b0", 7)
    assert result.exit_code == 0, result.output
    assert "lost: the truth block" in result.output
    assert "lost: provenance and licence" in result.output
    assert json.loads((place / "b.json").read_text())["system"]["B0"] == 7
    result = call("convert", "b.json", "again.h5")
    assert result.exit_code == 0, result.output
    assert load_phantom(place / "again.h5").tissues == ("gm", "wm", "fat")
    result = call("convert", "b.json", "b.dat", "--format", "koma-0.9.0")
    assert result.exit_code == 0, result.output
    result = call("info", "b.dat")
    assert "0.9.0-DEV" in result.output
    assert "points" in result.output


def test_a_subject_of_a_cohort(place, monkeypatch):
    made = []
    monkeypatch.setattr(
        "phantoms.cohorts.subject.make_subject", lambda s, **kw: made.append((s, kw)) or brainlet()
    )
    (place / "c.toml").write_text("[cohort]\nn_subjects = 3\nseed = 5\nvisits = [0.0, 2.0]\n")
    result = call(
        "make", "--cohort", "c.toml", "--subject", 2, "--visit", 1, "--voxel-size-mm", 2, "-o", "s.h5"
    )
    assert result.exit_code == 0, result.output
    ((subject, arguments),) = made
    assert (subject.index, subject.visit) == (2, 1)
    assert arguments == {"voxel_size": 0.002, "keep_transform": True}
    result = call("make", "--cohort", "c.toml", "--subject", 3, "-o", "s.h5")
    assert result.exit_code == 2
    assert "c.toml: has the subjects 0..2" in result.output


def test_a_whole_cohort_goes_into_a_folder(place, monkeypatch):
    asked = {}

    def generate(spec, folder, **options):
        asked.update(options, subjects=spec.n_subjects)
        for name in ("sub-0002", "sub-0003"):  # the first one is there already
            options["progress"](name)
        return [folder / f"sub-000{k}.h5" for k in (1, 2, 3)]

    monkeypatch.setattr("phantoms.cohorts.generate.generate_cohort", generate)
    (place / "c.toml").write_text("[cohort]\nn_subjects = 3\n")
    result = call("make", "--cohort", "c.toml", "-o", "people", "-j", 2)
    assert result.exit_code == 0, result.output
    assert (asked["subjects"], asked["workers"], asked["voxel_size"]) == (3, 2, None)
    assert "made sub-0003 (2 in this run, 3 in all)" in result.output
    assert "people: 2 phantoms made, 1 was there already" in result.output
    assert "mrsim phantom info people/sub-0001.h5" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["make", "-o", "x.h5"], "give exactly one of the two"),
        (["make", "sphere", "--cohort", "c.toml", "-o", "x.h5"], "give exactly one of the two"),
        (["make", "spere", "-o", "x.h5"], "did you mean|Known|sphere"),
        (["make", "sphere", "-o", "no/x.h5"], "no/x.h5: its folder does not exist"),
        (["make", "sphere", "-o", "x.mat"], r"x\.mat: the suffix must be one of"),
        (["make", "sphere", "-o", "x.h5", "--format", "dicom"], "format must be one of native"),
        (["make", "sphere", "--set", "radiu=1", "-o", "x.h5"], "options of 'sphere' must be among"),
        (["make", "sphere", "--set", "radius", "-o", "x.h5"], "--set must be KEY=VALUE"),
        (
            ["make", "sphere", "--voxel-size-mm", "2", "--set", "voxel_size=1", "-o", "x.h5"],
            "give one of them",
        ),
        (["make", "sphere", "--set", "radius=abc", "-o", "x.h5"], "must be like its default 0.08; got 'abc'"),
        (["make", "sphere", "-o", "folder.h5"], r"folder\.h5: is a folder"),
        (["make", "sphere", "--subject", "1", "-o", "x.h5"], "name one person of a cohort"),
        (["make", "--cohort", "none.toml", "--visit", "1", "-o", "x"], "name one person of a cohort"),
        (["make", "--cohort", "none.toml", "-o", "x"], "none.toml"),
        (["make", "--cohort", "none.toml", "-o", "x.h5"], "into a folder"),
        (["info", "nothing.h5"], "nothing.h5 must exist"),
        (["info", "damaged.h5"], r"damaged\.h5: must be a complete HDF5 file"),
        (["info", "text.json"], r"text\.json: content must be"),
        (["convert", "text.json", "x.h5"], r"text\.json: content must be"),
        (["convert", "sphere", "x.png"], "the suffix must be one of"),
        (["show", "sphere", "-o", "x.jpg"], r"must end in \.png"),
        (["show", "sphere", "-o", "x.png", "--at-mm", "1,2"], "--at-mm must be three numbers"),
        (["show", "sphere", "-o", "x.png", "--at-mm", "1,2,9000"], "at must lie inside the object"),
        (["show", "sphere", "-o", "x.png", "--at-mm", "nan,0,0"], "at must lie inside the object"),
    ],
)
def test_bad_input_is_one_line_exit_2_and_nothing_written(place, arguments, message):
    save_phantom(place / "damaged.h5", brainlet())
    (place / "damaged.h5").write_bytes((place / "damaged.h5").read_bytes()[:2000])
    (place / "text.json").write_text("{}")
    (place / "folder.h5").mkdir()
    before = {p.name for p in place.iterdir()}
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert re.search(message, result.output.replace("\n", " ")), result.output
    assert "Traceback" not in result.output
    assert {p.name for p in place.iterdir()} == before


def test_a_read_only_folder_is_told_before_anything_is_computed(place, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)  # permissions do not bind root
    monkeypatch.setattr("phantoms.registry.make_phantom", lambda *_, **__: pytest.fail("computed"))
    for arguments in (["make", "icbm152", "-o", "x.h5"], ["convert", "icbm152", "x.json"],
                      ["show", "icbm152", "-o", "x.png"]):  # fmt: skip
        result = call(*arguments)
        assert result.exit_code == 2, result.output
        assert "its folder is read-only" in result.output


def test_info_of_a_library_phantom_lists_its_options(place):
    result = call("info", "sphere", "--voxel-size-mm", 20)
    assert result.exit_code == 0, result.output
    assert re.search(r"radius\s+0.08", result.output)
    assert "voxel_size" in result.output.split("Options")[1]


def test_info_cuts_notices_and_lays_volumes_side_by_side(place):
    truth = {"volumes_ml": {"hippocampus": 7.25}, "target_ml": {"hippocampus": 7.5}, "notice": "line\n" * 9}
    save_phantom(place / "s.h5", brainlet().replace({"truth": truth}))
    short, full = call("info", "s.h5").output, call("info", "s.h5", "--full").output
    assert re.search(r"hippocampus\s+7\.25\s+7\.5", short)
    assert "(9 lines, --full shows them)" in short
    assert full.count("line") >= 9
    assert "target_ml.hippocampus" in full
    # White matter: chi+ and chi- of Ridani 2026, bound pool of 13.9 %.
    assert re.search(r"wm\s+0\.0059\s+-0\.0359\s+0\.139\s+23\s", full)
    assert "0.0359" not in short

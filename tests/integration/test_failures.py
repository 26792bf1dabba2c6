"""A scanner that cannot play its card: the rest is done, and the report says what is missing."""

import re

from .study import CELLS, SUBJECTS, mrsim, published, write_study

WEAK = """
[[scanners]]
name = "ge-premier-3t"
label = "weak"
overrides = { gradients = { design_slew = 3.0 } }
"""


def test_failed_cells_are_named_and_can_be_mended(copied):
    before = published(copied.root)
    study = write_study(copied.study.parent, more=WEAK)
    done = mrsim("run", study, "--out", copied.root, "--jobs", 2)
    assert done.returncode == 1, done.stdout
    assert "failed: sequence weak T1w: BuildError: timing.te must be at least" in done.stdout
    # What hangs on the sequence is skipped: scan, recon, align, features; twice harmonize and features.
    skipped = len(SUBJECTS) * (4 + 2 * 2)
    assert f"1 failed, {skipped} skipped" in done.stdout
    assert "Traceback" not in done.stdout

    page = (copied.root / "report.html").read_text()
    assert re.search(r"BuildError: timing\.te must be at least", page)
    assert "weak" in page
    after = published(copied.root)
    images = {path for path in before if path.endswith(".nii.gz") and "/nyul/" not in path}
    # Nyul's scale is learned from all scans that there are; all others are what they were.
    assert {path: after.get(path) for path in images} == {path: before[path] for path in images}
    assert not [path for path in after if "ses-weak" in path]

    told = mrsim("status", copied.root)
    assert told.returncode == 0
    assert re.search(r"failed sequence .*: BuildError: timing\.te must be", told.stdout)
    assert "not complete" in told.stdout

    again = mrsim("run", write_study(copied.study.parent), "--out", copied.root, "--jobs", 2, "--quiet")
    assert again.returncode == 0, again.stdout
    assert published(copied.root) == before


def test_finished_study_is_left_alone(copied):
    before = {p: p.stat().st_mtime_ns for p in copied.root.rglob("*") if p.is_file()}
    again = mrsim("run", copied.study, "--out", copied.root, "--quiet", "--verify")
    assert again.returncode == 0
    assert f"0 cells computed, {CELLS} already done" in again.stdout
    after = {p: p.stat().st_mtime_ns for p in copied.root.rglob("*") if p.is_file()}
    changed = {p.name for p in before if after.get(p) != before[p]}
    assert changed <= {"output.json", "published.json", "lock.guard"}  # the run's own notes


def test_bad_card_is_refused_before_anything_is_written(tmp_path):
    text = write_study(tmp_path).read_text()
    card = tmp_path / "card.toml"
    card.write_text("name = 'x'\nnot a card")
    text = text.replace("voxel_size_mm = 5.0", f'voxel_size_mm = 5.0\ncards = {{ avanto = "{card}" }}')
    (tmp_path / "study.toml").write_text(text)
    done = mrsim("run", tmp_path / "study.toml", "--out", tmp_path / "out")
    assert done.returncode == 2, done.stdout
    assert "card.toml" in done.stdout
    assert "Traceback" not in done.stdout
    assert not (tmp_path / "out").exists()

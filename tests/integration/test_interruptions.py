"""The same bytes after kills, for any number of workers, and in a larger study."""

import os
import random
import signal
import subprocess
import time

import pytest

from .study import CELLS, SESSIONS, SUBJECTS, command, environment, mrsim, published, write_study

pytestmark = pytest.mark.slow


def records(root):
    return len(list((root / ".mrsim" / "cells").glob("*/*.json")))


def run_and_kill(study, root, *, after, delay, limit=300):
    """Start a run and kill its whole process group when ``after`` cells and ``delay`` seconds have passed."""
    process = subprocess.Popen(
        command("run", study, "--out", root, "--jobs", 2, "--quiet"), env=environment(),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    end = time.monotonic() + limit
    try:
        while records(root) < after and process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        time.sleep(delay)
        assert process.poll() is None, "the run ended before it could be killed"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL


def test_killed_runs_give_the_bytes_of_an_undisturbed_one(small, tmp_path):
    """SIGKILL of driver and workers at three moments: early, in the middle, towards the end."""
    root, draw = tmp_path / "out", random.Random(5)
    study = write_study(tmp_path)
    third = (CELLS - 10) // 3
    done = [0]
    for part in range(3):
        after = draw.randrange(part * third + 1, (part + 1) * third)
        run_and_kill(study, root, after=max(after, done[-1] + 1), delay=draw.uniform(0.0, 0.3))
        done.append(records(root))
        assert done[-1] < CELLS
    last = mrsim("run", study, "--out", root, "--jobs", 2)
    assert last.returncode == 0, last.stdout
    assert f"{CELLS} cells, {done[-1]} already done" in last.stdout
    assert published(root) == published(small.root)
    assert not list((root / ".mrsim" / "tmp").iterdir())


def test_one_worker_gives_the_bytes_of_two(small, tmp_path):
    done = mrsim("run", write_study(tmp_path), "--out", tmp_path / "out", "--jobs", 1, "--quiet")
    assert done.returncode == 0, done.stdout
    assert published(tmp_path / "out") == published(small.root)


LARGER = """
[[scanners]]
name = "ge-premier-3t"
label = "premier"
"""


def own_images(root):
    """What belongs to the subjects and scanners of the small study, harmonized images left aside."""
    files = published(root)
    scans = {
        f"sub-{s}/ses-{v}/anat/sub-{s}_ses-{v}_run-1_T1w{end}"
        for s in SUBJECTS
        for v in SESSIONS
        for end in (".nii.gz", ".json")
    }
    truth = {
        f"derivatives/truth/sourcedata/sub-{s}_{name}"
        for s in SUBJECTS
        for name in ("truth.json", "reference_T1w.nii.gz")
    }
    return {path: files[path] for path in sorted(scans | truth)}


def test_a_larger_study_has_the_same_images(small, tmp_path):
    """From nothing, with a subject and a scanner more (in another order): nobody else's bytes change."""
    study = write_study(tmp_path, subjects=4, more=LARGER, harmonizers="")
    blocks = study.read_text().split("[[scanners]]")
    study.write_text("[[scanners]]".join([blocks[0], blocks[3] + "\n", *blocks[1:3]]))
    done = mrsim("run", study, "--out", tmp_path / "out", "--jobs", 2, "--quiet")
    assert done.returncode == 0, done.stdout
    assert own_images(tmp_path / "out") == own_images(small.root)


def test_a_subject_added_later_costs_only_itself(copied):
    before = own_images(copied.root)
    study = write_study(copied.study.parent, subjects=4)
    done = mrsim("run", study, "--out", copied.root, "--jobs", 2, "--quiet")
    assert done.returncode == 0, done.stdout
    assert own_images(copied.root) == before
    # Two sequences, and of each of three subjects: phantom, maps, three chains of scan, recon, align and
    # features. Harmonizers are fitted anew, since each sees one subject more.
    kept = 2 + len(SUBJECTS) * (2 + 3 * 4)
    assert f", {kept} already done" in done.stdout

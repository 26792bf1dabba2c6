"""Programs as harmonizers: what they are told, what they may do wrong, and that no shell takes part."""

import sys
import time

import nibabel as nib
import numpy as np
import pytest

from mrsim.harmonizers import ProgramError, run_program

COPY = "import shutil, sys; shutil.copytree(sys.argv[1], sys.argv[2], dirs_exist_ok=True)"


@pytest.fixture
def dataset(tmp_path):
    root = tmp_path / "a folder; $(touch hacked) {out}"
    for subject in ("01", "02"):
        folder = root / f"sub-{subject}" / "ses-x" / "anat"
        folder.mkdir(parents=True)
        nib.save(
            nib.Nifti1Image(np.full((3, 4, 5), 7.0, np.float32), np.eye(4)),
            folder / f"sub-{subject}_ses-x_T1w.nii.gz",
        )
    return root


def python(code, *arguments):
    return [sys.executable, "-c", code, *arguments]


def test_images_come_back_under_their_names(dataset, tmp_path, monkeypatch):
    """Paths with a blank, a semicolon, a command and a placeholder arrive as they are."""
    monkeypatch.chdir(tmp_path)
    made = run_program(python(COPY, "{in}", "{out}"), dataset, tmp_path / "out")
    assert [p.relative_to(tmp_path / "out").as_posix() for p in made] == [
        f"sub-{s}/ses-x/anat/sub-{s}_ses-x_T1w.nii.gz" for s in ("01", "02")
    ]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([dataset.name, "out"])


def test_arguments_are_texts_and_the_column_is_told(dataset, tmp_path):
    code = COPY + "; assert sys.argv[3:] == ['scanner; rm -rf x', 'x=$HOME'], sys.argv"
    command = python(code, "{in}", "{out}", "{site_column}", "x=$HOME")
    assert run_program(command, dataset, tmp_path / "out", site_column="scanner; rm -rf x")


def test_failures_say_what_happened_and_leave_nothing(dataset, tmp_path):
    flat = COPY + (
        "; import nibabel, numpy, pathlib; p = sorted(pathlib.Path(sys.argv[2]).rglob('*.nii.gz'))[0]"
        "; nibabel.save(nibabel.Nifti1Image(numpy.ones((2, 2, 2)), numpy.eye(4)), p)"
    )
    broken = COPY + (
        "; import pathlib; sorted(pathlib.Path(sys.argv[2]).rglob('*.nii.gz'))[0].write_bytes(b'no image')"
    )
    folders = ("{in}", "{out}")
    cases = {
        r"must end with status 0; got 3\. .*\nno licence": python(
            "import sys; print('no licence'); sys.exit(3)", *folders
        ),
        r"must write one 'sub-01.*got 0": python("pass", *folders),
        r"must be a readable NIfTI image": python(broken, *folders),
        "must keep the grid": python(flat, *folders),
        "can be started; got '/no/such'": ["/no/such", *folders],
        r"must contain \{in\} and \{out\}": python(COPY, "{in}", "{output}"),
        "must be a list of texts": "program {in} {out}",
    }
    for message, command in cases.items():
        with pytest.raises(ProgramError, match=message):
            run_program(command, dataset, tmp_path / "out")
        assert [p.name for p in tmp_path.iterdir()] == [dataset.name], message


def test_time_limit_ends_the_program_and_its_children(dataset, tmp_path):
    """The child would write a file after 2 s, were it alive."""
    child = f"import time, pathlib; time.sleep(2); pathlib.Path({str(tmp_path / 'late')!r}).touch()"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    start = time.monotonic()
    with pytest.raises(ProgramError, match=r"within timeout=0\.5 s"):
        run_program(python(code, "{in}", "{out}"), dataset, tmp_path / "out", timeout=0.5)
    assert time.monotonic() - start < 2.0  # half a second and the start of a process
    time.sleep(2.2)
    assert [p.name for p in tmp_path.iterdir()] == [dataset.name]


def test_refuses_what_it_would_overwrite(dataset, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "kept").touch()
    with pytest.raises(ProgramError, match="out must be a new or empty folder"):
        run_program(python(COPY, "{in}", "{out}"), dataset, tmp_path / "out")
    with pytest.raises(ProgramError, match=r"source must hold sub-\*/\*\*/\*_FLAIR"):
        run_program(python(COPY, "{in}", "{out}"), dataset, tmp_path / "new", contrast="FLAIR")
    with pytest.raises(ProgramError, match="timeout must be seconds"):
        run_program(python(COPY, "{in}", "{out}"), dataset, tmp_path / "new", timeout=0.0)

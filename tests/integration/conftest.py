"""One small study, run once for all tests that look at its output."""

import fcntl
import json
import shutil

import pytest

from .study import Run, mrsim, write_study


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """The small study after `mrsim run --jobs 2`; several test processes share one run."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if own.name.startswith("popen-") else own
    folder = shared / "small-study"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        note = folder / "done.json"
        if not note.exists():
            study = write_study(folder)
            done = mrsim("run", study, "--out", folder / "out", "--jobs", 2)
            note.write_text(json.dumps({"code": done.returncode, "output": done.stdout}))
        told = json.loads(note.read_text())
    assert told["code"] == 0, told["output"]
    return Run(folder / "out", folder / "study.toml", told["code"], told["output"])


@pytest.fixture
def copied(small, tmp_path):
    """A copy of the small study, to change."""
    shutil.copytree(small.root, tmp_path / "out")
    return Run(tmp_path / "out", write_study(tmp_path), small.code, small.output)

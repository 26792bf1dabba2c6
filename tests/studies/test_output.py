"""An output folder is refused unless it is new, or ours."""

import json
import os
import subprocess
import sys

import pytest

from mrsim.studies.output import check_output, create_output, locked
from mrsim.studies.problems import InputError


def test_new_empty_and_own_folders_are_accepted(tmp_path):
    assert check_output(tmp_path / "new") is False
    assert not (tmp_path / "new").exists()
    assert check_output(tmp_path) is False
    create_output(tmp_path, "s")
    assert check_output(tmp_path, "s") is True
    with pytest.raises(InputError, match="holds the study 's', not 't'"):
        check_output(tmp_path, "t")


def test_foreign_folders_links_and_files_are_refused(tmp_path):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.doc").write_text("x")
    with pytest.raises(InputError, match="not made by mrsim"):
        check_output(foreign)
    assert [entry.name for entry in foreign.iterdir()] == ["thesis.doc"]
    (tmp_path / "link").symlink_to(foreign)
    with pytest.raises(InputError, match="symbolic link"):
        check_output(tmp_path / "link")
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is a file"):
        check_output(tmp_path / "file")
    with pytest.raises(InputError, match="not a writable folder"):
        check_output(tmp_path / "file" / "below")


def test_links_that_lead_out_are_refused_but_not_those_that_stay(tmp_path):
    out = tmp_path / "o"
    out.mkdir()
    create_output(out, "s")
    (out / "inside").symlink_to(out / ".mrsim" / "output.json")
    assert check_output(out)
    (out / "code").symlink_to(tmp_path)
    with pytest.raises(InputError, match="leads out of the output folder"):
        check_output(out)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder_is_refused(tmp_path):
    out = tmp_path / "o"
    out.mkdir(mode=0o500)
    with pytest.raises(InputError, match="not writable"):
        check_output(out)


def test_second_run_is_refused_naming_the_first(tmp_path):
    create_output(tmp_path, "s")
    with (
        locked(tmp_path),
        pytest.raises(InputError, match=f"another run is at work here: host .*, process {os.getpid()}"),
        locked(tmp_path),
    ):
        pass
    with locked(tmp_path, "lock-1-of-2"):
        with locked(tmp_path, "lock-2-of-2"):
            pass
        for rival in ("lock", "lock-1-of-2"):
            with pytest.raises(InputError, match="another run"), locked(tmp_path, rival):
                pass
    assert not list((tmp_path / ".mrsim").glob("lock")), "locks are released"


def test_lock_of_a_dead_process_is_taken_over(tmp_path):
    create_output(tmp_path, "s")
    code = (
        "import sys, os; from pathlib import Path; from mrsim.studies.output import locked\n"
        "with locked(Path(sys.argv[1])): os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert (tmp_path / ".mrsim" / "lock").exists()
    with locked(tmp_path):
        assert json.loads((tmp_path / ".mrsim" / "lock").read_text())["pid"] == os.getpid()


def test_recycled_pid_and_other_hosts(tmp_path):
    create_output(tmp_path, "s")
    lock = tmp_path / ".mrsim" / "lock"
    with locked(tmp_path):
        mine = json.loads(lock.read_text())
    lock.write_text(json.dumps(mine | {"born": "1"}))  # same pid, another process
    with locked(tmp_path):
        pass
    lock.write_text(json.dumps(mine | {"host": "elsewhere", "pid": 1}))
    with pytest.raises(InputError, match="host elsewhere, process 1"), locked(tmp_path):
        pass

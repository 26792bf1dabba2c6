"""Whatever happens on the way, the same bytes come out."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mrsim.studies.ledger import Ledger
from mrsim.studies.output import create_output, locked
from mrsim.studies.progress import PlainLines
from mrsim.studies.runner import RunOptions, run_plan
from mrsim.studies.schedule import Schedule, shard_of
from mrsim.studies.stage import Cost, Stage

from .fake_stages import draw, small_plan, stages


def results(root: Path) -> dict[str, str]:
    """Return the checksum of every result: data of cells and what was published; records hold timings."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix in {".bin", ".txt"}
    }


def run(root, plan=None, **options):
    root.mkdir(exist_ok=True)
    create_output(root, "tiny")
    with locked(root):
        return run_plan(plan or small_plan(), stages(), root, RunOptions(**options))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    root = tmp_path_factory.mktemp("undisturbed")
    assert run(root).exit_code == 0
    return results(root)


def test_serial_run_then_nothing_to_do(tmp_path, undisturbed):
    first = run(tmp_path / "o")
    assert (first.exit_code, len(first.computed), len(first.cached)) == (0, 13, 0)
    assert results(tmp_path / "o") == undisturbed
    second = run(tmp_path / "o")
    assert (second.exit_code, len(second.computed), len(second.cached)) == (0, 0, 13)
    assert not list((tmp_path / "o" / ".mrsim" / "tmp").iterdir())


def test_two_workers_give_the_same_bytes(tmp_path, undisturbed):
    assert run(tmp_path / "o", jobs=2).exit_code == 0
    assert results(tmp_path / "o") == undisturbed


def test_extending_computes_only_what_is_new(tmp_path, undisturbed):
    run(tmp_path / "o")
    result = run(tmp_path / "o", small_plan(subjects=4))
    assert len(result.computed) == 5  # two images of two cells, and the report
    earlier = {
        name: value for name, value in undisturbed.items() if "gather" not in name and name != "report.txt"
    }
    assert earlier.items() <= results(tmp_path / "o").items()


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "record", "extra"])
@pytest.mark.parametrize("stage", ["draw", "mean", "gather"])
def test_damage_is_found_and_repaired(tmp_path, undisturbed, stage, damage):
    root = tmp_path / "o"
    run(root)
    cell = next(cell for cell in small_plan() if cell.stage == stage)
    folder, record = Ledger(root).folder(cell), Ledger(root).record_path(cell)
    victim = next(path for path in folder.rglob("*") if path.is_file())
    content = victim.read_bytes()
    if damage == "flip":
        victim.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    elif damage == "cut":
        victim.write_bytes(content[:-1])
    elif damage == "remove":
        victim.unlink()
    elif damage == "record":
        record.write_text(record.read_text()[:50])
    else:
        (folder / "extra.tmp").write_text("x")
    result = run(root)
    assert result.exit_code == 0
    # Rebuilt to the same bytes, so nothing that follows is done again.
    assert result.computed == (cell.id,)
    assert results(root) == undisturbed


def test_full_verification_sees_what_quick_trusts(tmp_path, undisturbed):
    root = tmp_path / "o"
    run(root)
    cell = next(iter(small_plan()))
    victim = next(path for path in Ledger(root).folder(cell).rglob("*") if path.is_file())
    status = victim.stat()
    content = victim.read_bytes()
    victim.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    os.utime(victim, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert run(root).computed == ()
    assert run(root, verify="full").computed == (cell.id,)
    assert results(root) == undisturbed


def test_failed_cell_is_named_and_the_rest_goes_on(tmp_path, undisturbed):
    flag = tmp_path / "flag"
    flag.touch()
    plan = small_plan(special={("draw", "02", "a"): {"do": "raise", "flag": str(flag)}})
    root = tmp_path / "o"
    result = run(root, plan)
    assert result.exit_code == 1
    assert list(result.failed.values()) == ["ValueError: planted error"]
    assert list(result.skipped.values()) == ["needs draw 02 a, which failed"]
    report = (root / "report.txt").read_text()
    assert "FAILED draw 02-a: ValueError: planted error" in report
    assert "02-b" in report
    assert not (root / "sub-02" / "ses-a_mean.txt").exists()
    failure = Ledger(root).failure(plan[next(iter(result.failed))])
    assert "Traceback" in failure["traceback"]
    # The same failure again leaves the report alone; once the cause is gone, all is made good.
    again = run(root, plan)
    assert (again.exit_code, again.computed) == (1, ())
    flag.unlink()
    repaired = run(root, plan)
    assert (repaired.exit_code, len(repaired.computed)) == (0, 3)
    assert results(root)["report.txt"] == undisturbed["report.txt"]
    assert Ledger(root).failure(plan[next(iter(result.failed))]) is None


def test_full_disk_fails_the_cell_and_leaves_nothing(tmp_path):
    plan = small_plan(special={("draw", "01", "a"): {"do": "enospc"}})
    root = tmp_path / "o"
    result = run(root, plan)
    assert result.exit_code == 1
    assert next(iter(result.failed.values())).startswith("OSError: [Errno 28]")
    assert not Ledger(root).folder(plan[next(iter(result.failed))]).exists()
    assert not list((root / ".mrsim" / "tmp").iterdir())


def test_full_disk_while_committing_leaves_nothing(tmp_path, monkeypatch):
    def full(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    root = tmp_path / "o"
    with monkeypatch.context() as patch:
        patch.setattr("mrsim.studies.ledger.fsync_file", full)
        assert run(root).exit_code == 1
    assert not results(root)
    assert run(root).exit_code == 0


def test_a_killed_worker_costs_one_retry(tmp_path, undisturbed):
    flag = tmp_path / "flag"
    flag.touch()
    special = {("draw", "02", "a"): {"do": "kill", "flag": str(flag), "once": True}}
    root = tmp_path / "o"
    result = run(root, small_plan(special=special), jobs=2)
    assert (result.exit_code, len(result.computed)) == (0, 13)
    assert not flag.exists()
    assert results(root)["report.txt"] == undisturbed["report.txt"]


def test_a_cell_that_always_kills_fails_alone(tmp_path):
    result = run(tmp_path / "o", small_plan(special={("draw", "02", "a"): {"do": "kill"}}), jobs=2)
    assert result.exit_code == 1
    assert len(result.failed) == 1
    assert "SIGKILL, 3 times" in next(iter(result.failed.values()))
    assert len(result.computed) == 11


def drive(root, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.studies.drive", str(root), *arguments],
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def wait_for_records(root, count, process):
    deadline = time.monotonic() + 60
    while len(list(root.glob(".mrsim/cells/*/*.json"))) < count:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(root):
    """Return the worker processes whose working files are under root (their environment is inherited)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"MRSIM_TEST={root}".encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("transient", ["keep", "transient"])
def test_killed_driver_resumes_to_the_same_bytes(tmp_path, undisturbed, monkeypatch, jobs, transient):
    root = tmp_path / "o"
    root.mkdir()
    monkeypatch.setenv("MRSIM_TEST", str(root))
    reference = tmp_path / "reference"
    assert run(reference, small_plan(sleep=0.1)).exit_code == 0
    process = drive(root, jobs, "0.1", transient)
    wait_for_records(root, 5, process)
    process.kill()
    process.communicate()
    # Orphaned workers end by themselves.
    deadline = time.monotonic() + 20
    while Path("/proc").is_dir() and alive(root) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(root)
    resumed = drive(root, jobs, "0.1", transient)
    _, errors = resumed.communicate(timeout=60)
    assert resumed.returncode == 0, errors
    found = results(root)
    wanted = results(reference)
    if transient == "transient":
        wanted = {name: value for name, value in wanted.items() if "/draw/" not in name}
    assert found == wanted
    assert found["report.txt"] == undisturbed["report.txt"]
    assert not list((root / ".mrsim" / "tmp").iterdir())


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_finish_the_running_cells_and_exit_3(tmp_path, jobs, number):
    root = tmp_path / "o"
    root.mkdir()
    process = drive(root, jobs, "0.2")
    wait_for_records(root, 2, process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 3, errors
    assert "Run again to resume" in errors
    assert not list((root / ".mrsim" / "tmp").iterdir())
    assert not (root / ".mrsim" / "lock").exists()
    plan = small_plan(sleep=0.2)
    finished = len(list(root.glob(".mrsim/cells/*/*.json")))
    assert 2 <= finished < 13
    result = run(root, plan)
    assert len(result.cached) == finished
    assert result.exit_code == 0


def test_transient_data_are_deleted_and_rebuilt_on_demand(tmp_path, undisturbed):
    root = tmp_path / "o"
    plan = small_plan(transient=True)
    run(root, plan)
    assert not list(root.glob(".mrsim/cells/draw/*/deep"))
    assert run(root, plan).computed == ()
    # A new version of what follows needs the deleted data again.
    result = run(root, small_plan(transient=True, version="2"))
    assert {
        plan_cell.stage
        for plan_cell in small_plan(transient=True, version="2")
        if plan_cell.id in result.computed
    } == {
        "draw",
        "mean",
        "gather",
    }
    assert not list(root.glob(".mrsim/cells/draw/*/deep"))
    assert results(root)["report.txt"] == undisturbed["report.txt"]


def test_transient_data_of_a_lost_result_are_rebuilt(tmp_path, undisturbed):
    root = tmp_path / "o"
    plan = small_plan(transient=True)
    run(root, plan)
    mean = next(cell for cell in plan if cell.stage == "mean")
    (Ledger(root).folder(mean) / "mean.txt").unlink()
    result = run(root, plan)
    assert [plan[cell_id].stage for cell_id in result.computed] == ["draw", "mean"]
    assert results(root)["report.txt"] == undisturbed["report.txt"]


def test_memory_cap_limits_what_runs_together(tmp_path):
    class Watch(PlainLines):
        running = 0
        most = 0

        def started(self, cell):
            self.running += 1
            Watch.most = max(Watch.most, self.running)

        def settled(self, cell, status, core_seconds, wall_seconds, error=""):
            self.running -= status in {"done", "failed"}

    def wide(root, memory):
        Watch.most = 0
        root.mkdir()
        with Path(os.devnull).open("w") as sink:
            options = RunOptions(jobs=3, memory=memory)
            result = run_plan(small_plan(sleep=0.05), stages(), root, options, Watch(sink))
        assert result.exit_code == 0
        return Watch.most

    # A draw is estimated at 100 MiB, a mean at 256 MiB.
    assert wide(tmp_path / "a", 2 << 30) == 3
    assert wide(tmp_path / "b", 150 << 20) == 1


def test_shards_share_the_work_and_a_last_run_gathers(tmp_path, undisturbed):
    root = tmp_path / "o"
    plan = small_plan()
    shards = [shard_of(plan, number, 2) for number in (1, 2)]
    assert not shards[0] & shards[1]
    assert len(shards[0] | shards[1]) == 12
    for number in (1, 2):
        result = run(root, plan, shard=(number, 2))
        assert (result.exit_code, set(result.computed)) == (0, shards[number - 1])
    assert len(run(root, plan).computed) == 1
    assert results(root) == undisturbed
    with pytest.raises(ValueError, match="I/N"):
        shard_of(plan, 3, 2)


def test_report_of_an_unfinished_run_names_what_is_missing(tmp_path):
    root = tmp_path / "o"
    plan = small_plan()
    run(root, plan, shard=(1, 2))
    result = run(root, plan, only=frozenset({"gather"}))
    assert result.exit_code == 0
    assert "not computed yet" in (root / "report.txt").read_text()


def test_withdrawn_and_renamed_results_leave_the_dataset(tmp_path):
    root = tmp_path / "o"
    run(root, small_plan(subjects=3))
    run(root, small_plan(subjects=2))
    assert not (root / "sub-03").exists()
    assert (root / "sub-02").exists()
    (root / "sub-02" / "mine.txt").write_text("x")  # not ours: stays
    (root / "sub-01" / "ses-a_mean.txt").unlink()
    assert run(root, small_plan(subjects=1)).computed  # the report
    assert (root / "sub-02" / "mine.txt").exists()
    assert (root / "sub-01" / "ses-a_mean.txt").exists()


def test_a_stage_must_leave_what_is_published_and_only_plain_files(tmp_path):
    def link(context):
        (context.out_dir / "x").symlink_to("/etc/hostname")

    def nothing(context):
        pass

    plan = small_plan(subjects=1, sessions=("a",))
    for function, words in ((link, "plain files"), (nothing, "must leave 'mean.txt'")):
        broken = stages() | {"mean": Stage(name="mean", version="1", run=function)}
        if function is link:
            broken = stages() | {"draw": Stage(name="draw", version="1", run=function)}
        result = run_plan(plan, broken, tmp_path, RunOptions())
        assert words in next(iter(result.failed.values()))


def test_schedule_is_ready_in_plan_order(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.create()
    schedule = Schedule(plan=small_plan(), ledger=ledger)
    first = schedule.next_ready()
    assert first.stage == "draw"
    assert first.key == {"subject": "01", "session": "a"}


def test_costs_and_options_are_checked():
    with pytest.raises(ValueError, match="must not be negative"):
        Cost(core_seconds=-1)
    with pytest.raises(ValueError, match="at least 1"):
        RunOptions(jobs=0)
    assert Stage(name="x", version="1", run=draw).cost({}).core_seconds == 1.0

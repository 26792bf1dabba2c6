"""What happens to one cell, in this process or in another."""

import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .ledger import Ledger, Record
from .plan import Cell
from .seeds import stream
from .stage import Failure, Stage, StageContext

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


@dataclass(frozen=True, kw_only=True)
class Task:
    """One cell with all that is needed to compute it anywhere."""

    cell: Cell
    stage: Stage
    root: str
    inputs: Mapping[str, str | tuple[str, ...]]
    input_keys: Mapping[str, Mapping[str, str | int] | tuple[Mapping[str, str | int], ...]]
    input_digests: Mapping[str, str]
    failures: tuple[Failure, ...] = ()
    threads: int = 1
    device: str = "cpu"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How it went: a record, or an error with its traceback."""

    cell_id: str
    record: Record | None = None
    error: str = ""
    traceback: str = ""
    wall_seconds: float = 0.0


def set_thread_variables(threads: int) -> None:
    """Limit the thread pools of libraries that are not yet loaded; worker processes inherit this."""
    for name in THREAD_VARIABLES:
        os.environ[name] = str(threads)


def start_worker(threads: int) -> None:
    """Prepare a worker process: thread limits, no reaction to Ctrl-C, and an end when the driver ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    set_thread_variables(threads)
    _return_large_blocks()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _return_large_blocks() -> None:
    """Let glibc map blocks above 4 MiB one by one, so that a freed volume goes back to the system.

    Its default threshold grows with use up to 32 MiB; a worker's heap then fragments to several times what
    any of its cells needs.
    """
    import ctypes

    mmap_threshold = -3
    try:
        ctypes.CDLL(None).mallopt(mmap_threshold, 1 << 22)
    except (OSError, AttributeError):
        return  # another C library: nothing to do


def _end_with_parent() -> None:
    from multiprocessing import parent_process
    from multiprocessing.connection import wait

    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def execute(task: Task) -> Outcome:
    """Compute a cell and commit it to the ledger; errors of the stage come back as an outcome.

    Parameters
    ----------
    task : Task
        The cell.

    Returns
    -------
    Outcome
        Never raises for what the stage does; KeyboardInterrupt and SystemExit pass.
    """
    from threadpoolctl import threadpool_limits

    ledger = Ledger(Path(task.root))
    start_wall, start_cpu = time.perf_counter(), time.process_time()
    temporary: Path | None = None
    try:
        temporary = ledger.temporary(task.cell)
        with threadpool_limits(limits=task.threads):
            task.stage.run(_context(task, temporary))
        _check_published(task.cell, temporary)
        usage = {
            "wall_seconds": round(time.perf_counter() - start_wall, 3),
            "cpu_seconds": round(time.process_time() - start_cpu, 3),
            "peak_memory": _peak_memory(),
        }
        record = ledger.commit(task.cell, temporary, task.input_digests, usage)
    except Exception as error:
        if temporary is not None:
            _remove(temporary)
        return Outcome(
            cell_id=task.cell.id,
            error=describe(error),
            traceback=traceback.format_exc(),
            wall_seconds=time.perf_counter() - start_wall,
        )
    return Outcome(cell_id=task.cell.id, record=record, wall_seconds=time.perf_counter() - start_wall)


def describe(error: BaseException) -> str:
    """Return an error on one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _context(task: Task, temporary: Path) -> StageContext:
    cell = task.cell
    inputs: dict[str, Path | tuple[Path, ...]] = {
        role: Path(value) if isinstance(value, str) else tuple(Path(path) for path in value)
        for role, value in task.inputs.items()
    }
    return StageContext(
        params=cell.params,
        key=cell.key,
        inputs=inputs,
        input_keys=task.input_keys,
        out_dir=temporary,
        rng=stream(cell.seed, cell.stage, cell.key),
        seed=cell.seed,
        threads=task.threads,
        device=task.device,
        failures=task.failures,
    )


def _check_published(cell: Cell, folder: Path) -> None:
    for name in cell.publish:
        if not (folder / name).is_file():
            raise FileNotFoundError(f"stage {cell.stage!r} must leave {name!r}, which is published")


def _peak_memory() -> int:
    """Largest resident memory of this process so far [bytes]."""
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)

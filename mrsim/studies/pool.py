"""Where cells are computed: in this process, or in worker processes that may be killed without harm.

Each worker process has its own pipe, so when one dies it is known which cell it was working on; that cell
alone is tried again, up to `ATTEMPTS` times, and the others never notice.
"""

import multiprocessing
import signal
from collections import Counter, deque
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Protocol

from .worker import Outcome, Task, execute, set_thread_variables, start_worker

ATTEMPTS = 3


class Pool(Protocol):
    """Takes tasks and returns outcomes in the order in which they end."""

    def submit(self, task: Task) -> None:
        """Start a task; at most as many at a time as there are workers."""

    def collect(self, timeout: float) -> list[Outcome]:
        """Return what ended; wait at most `timeout` seconds for it."""

    def close(self, *, kill: bool = False) -> None:
        """End the workers; with `kill`, in the middle of their work."""


class SerialPool:
    """Computes in this process, one cell at a time."""

    def __init__(self) -> None:
        self._tasks: deque[Task] = deque()

    def submit(self, task: Task) -> None:
        """Keep the task until results are collected."""
        self._tasks.append(task)

    def collect(self, timeout: float) -> list[Outcome]:
        """Compute the oldest task."""
        return [execute(self._tasks.popleft())] if self._tasks else []

    def close(self, *, kill: bool = False) -> None:
        """Forget tasks that were not begun."""
        self._tasks.clear()


class _Worker:
    """One process and the driver's end of its pipe."""

    def __init__(self, context: BaseContext, threads: int) -> None:
        self.pipe, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(  # type: ignore[attr-defined]
            target=_serve, args=(theirs, threads), daemon=True, name="mrsim-worker"
        )
        self.process.start()
        theirs.close()
        self.task: Task | None = None

    def stop(self, *, kill: bool) -> None:
        self.pipe.close()
        if kill:
            self.process.kill()
        self.process.join(timeout=10)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


class ProcessPool:
    """Computes in `jobs` worker processes.

    Parameters
    ----------
    jobs : int
        Number of processes.
    threads : int
        Threads per process.
    """

    def __init__(self, jobs: int, threads: int) -> None:
        methods = multiprocessing.get_all_start_methods()
        self._context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
        if "forkserver" in methods:
            multiprocessing.set_forkserver_preload(["mrsim.studies.worker"])
        set_thread_variables(threads)
        self._jobs = jobs
        self._threads = threads
        self._workers: list[_Worker] = []
        self._kills: Counter[str] = Counter()

    def submit(self, task: Task) -> None:
        """Hand the task to an idle worker, or start one."""
        worker = next((worker for worker in self._workers if worker.task is None), None)
        if worker is None:
            if len(self._workers) >= self._jobs:
                raise RuntimeError(f"at most {self._jobs} tasks run at a time")
            worker = _Worker(self._context, self._threads)
            self._workers.append(worker)
        worker.task = task
        # A worker that died while idle is found by collect(), which starts another.
        with suppress(BrokenPipeError, ConnectionResetError):
            worker.pipe.send(task)

    def collect(self, timeout: float) -> list[Outcome]:
        """Return outcomes; replace workers that died."""
        busy = [worker for worker in self._workers if worker.task is not None]
        handles: list[Connection | int] = []
        for worker in busy:
            handles += [worker.pipe, worker.process.sentinel]
        ready = set(map(id, wait(handles, timeout)))
        outcomes: list[Outcome] = []
        for worker in busy:
            if id(worker.pipe) in ready or not worker.process.is_alive():
                outcomes += self._receive(worker)
        return outcomes

    def _receive(self, worker: _Worker) -> list[Outcome]:
        task = worker.task
        assert task is not None
        try:
            if worker.pipe.poll():
                outcome: Outcome = worker.pipe.recv()
                worker.task = None
                return [outcome]
        except (EOFError, ConnectionResetError):
            pass
        worker.process.join(timeout=10)
        return self._replace(worker, task)

    def _replace(self, worker: _Worker, task: Task) -> list[Outcome]:
        """Try the cell of a dead worker again, or give it up."""
        how = _cause_of_death(worker.process.exitcode)
        worker.stop(kill=True)
        self._workers.remove(worker)
        self._kills[task.cell.id] += 1
        if self._kills[task.cell.id] < ATTEMPTS:
            self.submit(task)
            return []
        error = (
            f"the worker process {how}, {ATTEMPTS} times; "
            "often this is a lack of memory: lower --jobs or set --mem"
        )
        return [Outcome(cell_id=task.cell.id, error=error, traceback=error)]

    def close(self, *, kill: bool = False) -> None:
        """End all workers."""
        for worker in self._workers:
            worker.stop(kill=kill)
        self._workers.clear()


def _cause_of_death(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        try:
            return f"was ended by {signal.Signals(-exitcode).name}"
        except ValueError:
            return f"was ended by signal {-exitcode}"
    return f"ended with code {exitcode}"


def _serve(pipe: Connection, threads: int) -> None:
    """Life of a worker process."""
    start_worker(threads)
    while True:
        try:
            task: Task = pipe.recv()
        except EOFError:
            return
        pipe.send(execute(task))


def make_pool(jobs: int, threads: int) -> Pool:
    """Return a pool for so many jobs: this process for one, worker processes for more."""
    return SerialPool() if jobs == 1 else ProcessPool(jobs, threads)

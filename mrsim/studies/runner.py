"""Running a plan: what is ready and fits into memory is computed, until all is settled or told to stop."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from .ledger import Ledger, Verify
from .output import Dataset
from .plan import Cell, Plan, cell_cost
from .pool import Pool, make_pool
from .progress import Reporter, Reporting, Silent
from .schedule import NOT_CHOSEN, Schedule, shard_of
from .stage import Cost, Stage
from .worker import Outcome, Task, describe

_POLL = 0.2


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How to run; none of this changes a result.

    Parameters
    ----------
    jobs : int
        Cells at a time; 1 computes in this process.
    threads : int
        Threads per cell.
    memory : int, optional
        Bytes that the estimates of all running cells together may reach; a larger cell runs alone.
    device : str
        ``cpu`` or ``cuda:N``.
    verify : {"quick", "full"}
        How earlier data are checked.
    shard : tuple of int, optional
        ``(i, n)``: work on the i-th of n parts.
    only : frozenset of str, optional
        Names of the stages to work on; cells of others are used where finished.
    """

    jobs: int = 1
    threads: int = 1
    memory: int | None = None
    device: str = "cpu"
    verify: Verify = "quick"
    shard: tuple[int, int] | None = None
    only: frozenset[str] | None = None

    def __post_init__(self) -> None:
        if self.jobs < 1 or self.threads < 1:
            raise ValueError(f"jobs and threads must be at least 1; got {self.jobs} and {self.threads}")


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What came of a run; ids of cells with the error or the reason."""

    computed: tuple[str, ...]
    cached: tuple[str, ...]
    failed: Mapping[str, str]
    skipped: Mapping[str, str]
    interrupted: bool
    wall_seconds: float

    @property
    def exit_code(self) -> int:
        """0 all done, 1 some cells failed, 3 interrupted."""
        if self.interrupted:
            return 3
        return 1 if self.failed else 0


@dataclass
class _Run:
    """A run under way."""

    plan: Plan
    stages: Mapping[str, Stage]
    ledger: Ledger
    options: RunOptions
    reporter: Reporter
    schedule: Schedule
    dataset: Dataset
    pool: Pool
    running: dict[str, Cost] = field(default_factory=dict)
    computed: list[str] = field(default_factory=list)

    def loop(self, stopping: Callable[[], bool]) -> bool:
        """Work until nothing is left, or told to stop; return whether work is left undone."""
        while True:
            if not stopping():
                self._launch()
            if not self.running:
                return stopping() and bool(self.schedule.pending)
            for outcome in self.pool.collect(_POLL):
                self._settle(outcome)

    def _launch(self) -> None:
        while len(self.running) < self.options.jobs:
            before = self._settled_count()
            cell = self.schedule.next_ready(self._fits)
            self._report_settled(before)
            if cell is None:
                return
            absent = self.schedule.absent_inputs(cell)
            if absent:
                self._fail(
                    cell, f"input {absent[0].name!r} was deleted after use; run again to rebuild it", ""
                )
                continue
            self.running[cell.id] = self._cost(cell)
            self.reporter.started(cell)
            self.pool.submit(self._task(cell))

    def _fits(self, cell: Cell) -> bool:
        if self.options.memory is None or not self.running:
            return True
        used = sum(cost.memory for cost in self.running.values())
        return used + self._cost(cell).memory <= self.options.memory

    def _cost(self, cell: Cell) -> Cost:
        return cell_cost(cell, self.stages)

    def _settled_count(self) -> tuple[set[str], set[str]]:
        return set(self.schedule.cached), set(self.schedule.skipped)

    def _report_settled(self, before: tuple[set[str], set[str]]) -> None:
        for cell_id in self.schedule.cached - before[0]:
            self._publish(self.plan[cell_id])
            self.reporter.settled(
                self.plan[cell_id], "cached", self._cost(self.plan[cell_id]).core_seconds, 0.0
            )
        for cell_id in set(self.schedule.skipped) - before[1]:
            cell = self.plan[cell_id]
            self.dataset.withdraw(cell)
            self.reporter.settled(cell, "skipped", self._cost(cell).core_seconds, 0.0)

    def _task(self, cell: Cell) -> Task:
        folders = {
            input_id: str(self.ledger.folder(self.plan[input_id]))
            for input_id in cell.input_ids
            if input_id in self.schedule.done
        }
        inputs: dict[str, str | tuple[str, ...]] = {role: file.path for role, file in cell.files.items()}
        keys: dict[str, Mapping[str, str | int] | tuple[Mapping[str, str | int], ...]] = {
            role: {} for role in cell.files
        }
        for role, ids in cell.inputs.items():
            if isinstance(ids, tuple):
                present = [input_id for input_id in ids if input_id in folders]
                inputs[role] = tuple(folders[input_id] for input_id in present)
                keys[role] = tuple(self.plan[input_id].key for input_id in present)
            elif ids in folders:
                inputs[role] = folders[ids]
                keys[role] = self.plan[ids].key
        return Task(
            cell=cell,
            stage=self.stages[cell.stage],
            root=str(self.ledger.root),
            inputs=inputs,
            input_keys=keys,
            input_digests=self.schedule.input_digests(cell),
            failures=self.schedule.failures(cell),
            threads=self.options.threads,
            device=self.options.device,
        )

    def _settle(self, outcome: Outcome) -> None:
        cell = self.plan[outcome.cell_id]
        cost = self.running.pop(cell.id)
        if outcome.record is None:
            self._fail(cell, outcome.error, outcome.traceback, cost)
            return
        self.schedule.finish(cell, outcome.record)
        if not self._publish(cell):
            return
        self.computed.append(cell.id)
        for spent in self.schedule.prunable(cell):
            self.ledger.prune(spent, self.schedule.records[spent.id])
        self.reporter.settled(cell, "done", cost.core_seconds, outcome.wall_seconds)

    def _publish(self, cell: Cell) -> bool:
        """Publish a done cell; if the dataset cannot be written, the cell counts as failed."""
        try:
            self.dataset.publish(cell, self.schedule.records[cell.id])
        except OSError as error:
            self.schedule.failed[cell.id] = describe(error)
            self.reporter.note(f"FAILED {cell.name}: not published: {describe(error)}")
            return False
        return True

    def _fail(self, cell: Cell, error: str, traceback: str, cost: Cost | None = None) -> None:
        self.ledger.fail(cell, error, traceback)
        self.schedule.fail(cell, error)
        self.dataset.withdraw(cell)
        self.reporter.settled(cell, "failed", (cost or self._cost(cell)).core_seconds, 0.0, error)

    def publish_cached(self) -> None:
        """Repair the dataset for cells that were done before, and delete what nobody needs any more."""
        for cell in self.plan:
            if cell.id in self.schedule.cached and cell.publish:
                self._publish(cell)
        for cell in self.plan:
            for spent in self.schedule.prunable(cell) if cell.id in self.schedule.cached else ():
                record = self.schedule.records.get(spent.id)
                if record is not None and not record.pruned:
                    self.ledger.prune(spent, record)


def run_plan(
    plan: Plan,
    stages: Mapping[str, Stage],
    root: Path,
    options: RunOptions | None = None,
    reporter: Reporter | None = None,
) -> RunResult:
    """Run a plan in an output folder that was checked, made and locked (see `output`).

    Parameters
    ----------
    plan : Plan
        The cells.
    stages : mapping
        Name -> stage.
    root : Path
        The output folder.
    options : RunOptions, optional
        Jobs, threads, memory, device.
    reporter : Reporter, optional
        Shows progress.

    Returns
    -------
    RunResult
        A stage's error does not raise; it is in `failed`, and its dependants are in `skipped`.
    """
    options = options or RunOptions()
    reporter = reporter or Silent()
    start = time.monotonic()
    ledger = Ledger(root.resolve())
    ledger.create()
    if options.shard is None:
        ledger.sweep()
    chosen = _chosen(plan, options)
    schedule = Schedule(plan=plan, ledger=ledger, verify=options.verify, chosen=chosen)
    dataset = Dataset(root.resolve(), ledger)
    dataset.prepare(plan)
    _choose_numba_cache(root)
    run = _Run(
        plan=plan,
        stages=stages,
        ledger=ledger,
        options=options,
        reporter=reporter,
        schedule=schedule,
        dataset=dataset,
        pool=make_pool(options.jobs, options.threads),
    )
    with Reporting(reporter):
        interrupted = _run(run)
    return RunResult(
        computed=tuple(run.computed),
        cached=tuple(sorted(schedule.cached, key=plan.index.__getitem__)),
        failed=dict(schedule.failed),
        skipped={key: reason for key, reason in schedule.skipped.items() if reason != NOT_CHOSEN},
        interrupted=interrupted,
        wall_seconds=time.monotonic() - start,
    )


def _chosen(plan: Plan, options: RunOptions) -> set[str] | None:
    if options.shard is not None:
        return shard_of(plan, *options.shard)
    if options.only is not None:
        return {cell.id for cell in plan if cell.stage in options.only}
    return None


def _run(run: _Run) -> bool:
    expected = sum(run._cost(run.plan[cell_id]).core_seconds for cell_id in run.schedule.pending)
    pending = len(run.schedule.pending)
    run.reporter.begin(
        total=len(run.plan), cached=len(run.plan) - pending, core_seconds=expected, jobs=run.options.jobs
    )
    try:
        run.publish_cached()
        with _stop_signals(run.reporter) as stopping:
            interrupted = run.loop(stopping)
    except KeyboardInterrupt:
        run.pool.close(kill=True)
        return True
    except BaseException:
        run.pool.close(kill=True)
        raise
    run.pool.close()
    return interrupted


@contextmanager
def _stop_signals(reporter: Reporter) -> Iterator[Callable[[], bool]]:
    """First SIGINT or SIGTERM: finish the running cells; second: stop at once (KeyboardInterrupt)."""
    asked = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        reporter.note("stopping after the running cells; once more to stop at once. Run again to resume.")

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _choose_numba_cache(root: Path) -> None:
    """Compiled code is cached beside the package, or in the output folder where that cannot be written."""
    package = Path(__file__).resolve().parents[1]
    if "NUMBA_CACHE_DIR" not in os.environ and not os.access(package, os.W_OK):
        os.environ["NUMBA_CACHE_DIR"] = str(root.resolve() / ".mrsim" / "numba")

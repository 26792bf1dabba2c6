"""Showing how far a run is: a live bar on a terminal, plain lines elsewhere, nothing when asked."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TextIO

from .plan import Cell

if TYPE_CHECKING:
    from rich.progress import TaskID


class Reporter(Protocol):
    """Is told what happens; shows it, or not."""

    def begin(self, *, total: int, cached: int, core_seconds: float, jobs: int) -> None:
        """Cells to settle, how many stand already, and the expected work [core-s] of the rest."""

    def started(self, cell: Cell) -> None:
        """Tell that a cell is being computed."""

    def settled(
        self, cell: Cell, status: str, core_seconds: float, wall_seconds: float, error: str = ""
    ) -> None:
        """Tell that a cell is done, cached, failed or skipped; `core_seconds` had been expected."""

    def note(self, text: str) -> None:
        """Say one line."""

    def end(self) -> None:
        """Nothing more will come."""


class Silent:
    """Shows nothing."""

    def begin(self, *, total: int, cached: int, core_seconds: float, jobs: int) -> None:
        """Ignore."""

    def started(self, cell: Cell) -> None:
        """Ignore."""

    def settled(
        self, cell: Cell, status: str, core_seconds: float, wall_seconds: float, error: str = ""
    ) -> None:
        """Ignore."""

    def note(self, text: str) -> None:
        """Ignore."""

    def end(self) -> None:
        """Ignore."""


class Eta:
    """Remaining time from expected costs, corrected by how long finished cells really took."""

    def __init__(self, core_seconds: float, jobs: int) -> None:
        self._left = core_seconds
        self._jobs = max(jobs, 1)
        self._expected = 0.0
        self._taken = 0.0

    def settle(self, expected: float, taken: float) -> None:
        """Count a settled cell; `taken` is 0 for one that was not computed."""
        self._left = max(self._left - expected, 0.0)
        if taken > 0:
            self._expected += expected
            self._taken += taken

    def seconds(self) -> float | None:
        """Return the remaining wall time [s]; None before the first cell is computed."""
        if self._taken == 0 or self._expected == 0:
            return None
        return self._left * self._taken / self._expected / self._jobs


def spelled(seconds: float | None) -> str:
    """Return a duration for people: ``42 s``, ``3 min 05 s``, ``2 h 10 min``."""
    if seconds is None:
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class PlainLines:
    """One line when a cell fails, and a summary at most every few seconds.

    Parameters
    ----------
    stream : TextIO, optional
        Where to; standard error by default.
    interval : float
        Least time [s] between summaries.
    """

    def __init__(self, stream: TextIO | None = None, interval: float = 5.0) -> None:
        self._stream = stream or sys.stderr
        self._interval = interval
        self._last = 0.0
        self._settled = 0
        self._total = 0
        self._failed = 0
        self._eta = Eta(0.0, 1)

    def begin(self, *, total: int, cached: int, core_seconds: float, jobs: int) -> None:
        """Say how much there is to do."""
        self._total, self._settled = total, cached
        self._eta = Eta(core_seconds, jobs)
        self._last = time.monotonic()
        self.note(f"{total} cells, {cached} already done, {jobs} at a time")

    def started(self, cell: Cell) -> None:
        """Say nothing."""

    def settled(
        self, cell: Cell, status: str, core_seconds: float, wall_seconds: float, error: str = ""
    ) -> None:
        """Count; say failures at once."""
        self._settled += 1
        self._eta.settle(core_seconds, wall_seconds if status == "done" else 0.0)
        if status == "failed":
            self._failed += 1
            self.note(f"FAILED {cell.name}: {error}")
        if time.monotonic() - self._last >= self._interval or self._settled == self._total:
            self._last = time.monotonic()
            failed = f", {self._failed} failed" if self._failed else ""
            self.note(f"{self._settled}/{self._total} cells{failed}, {spelled(self._eta.seconds())} left")

    def note(self, text: str) -> None:
        """Say one line."""
        print(text, file=self._stream, flush=True)

    def end(self) -> None:
        """Say nothing."""


class LiveBar:
    """A bar with the cells at work, counts and remaining time, on a terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

        self._console = Console(stderr=True)
        self._progress: Progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.fields[now]}", style="bold"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[eta]}", style="cyan"),
            console=self._console,
            expand=True,
        )
        self._task: TaskID | None = None
        self._eta = Eta(0.0, 1)
        self._active: dict[str, str] = {}

    def begin(self, *, total: int, cached: int, core_seconds: float, jobs: int) -> None:
        """Draw the bar."""
        self._eta = Eta(core_seconds, jobs)
        self._task = self._progress.add_task("", total=total, completed=cached, now="starting", eta="")
        self._progress.start()

    def started(self, cell: Cell) -> None:
        """Show the cell as being at work."""
        self._active[cell.id] = cell.name
        self._refresh(0)

    def settled(
        self, cell: Cell, status: str, core_seconds: float, wall_seconds: float, error: str = ""
    ) -> None:
        """Move the bar."""
        self._active.pop(cell.id, None)
        self._eta.settle(core_seconds, wall_seconds if status == "done" else 0.0)
        if status == "failed":
            self._console.print(f"[bold red]failed[/] {cell.name}: ", end="")
            self._console.print(error, markup=False, highlight=False)
        self._refresh(1)

    def note(self, text: str) -> None:
        """Say one line above the bar."""
        self._console.print(text, markup=False, highlight=False)

    def end(self) -> None:
        """Leave the bar as it stands."""
        if self._task is not None:
            self._progress.stop()

    def _refresh(self, advance: int) -> None:
        if self._task is None:
            return
        now = ", ".join(list(self._active.values())[:2])
        left = self._eta.seconds()
        self._progress.update(
            self._task,
            advance=advance,
            now=now[:48] or "waiting",
            eta="" if left is None else f"{spelled(left)} left",
        )


class Reporting:
    """Ends a reporter whatever happens."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reporter.end()


def choose_reporter(*, quiet: bool) -> Reporter:
    """Return what suits standard error: a bar on a terminal, lines elsewhere."""
    if quiet:
        return Silent()
    return LiveBar() if sys.stderr.isatty() else PlainLines()

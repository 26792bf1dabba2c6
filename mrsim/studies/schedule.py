"""Which cell comes next: pure bookkeeping over a plan and a ledger, without processes or clocks."""

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from .canonical import sha256_json
from .ledger import Ledger, Record, Verify
from .plan import Cell, Plan
from .stage import Failure

NOT_CHOSEN = "not computed yet"


@dataclass
class Schedule:
    """State of a run.

    A cell is *settled* when it is done (computed now or before), failed, or skipped. Cells become ready when
    all their inputs are settled. Whether an earlier result still stands is decided then, by comparing the
    digests of the inputs with those it was computed from: if a lost input is rebuilt to the same bytes,
    nothing else is redone.

    Parameters
    ----------
    plan : Plan
        The cells.
    ledger : Ledger
        What is finished.
    verify : {"quick", "full"}
        How data are compared with records.
    chosen : iterable of str, optional
        Ids to work on (a shard); others are used where finished and left alone where not.
    """

    plan: Plan
    ledger: Ledger
    verify: Verify = "quick"
    chosen: Iterable[str] | None = None
    records: dict[str, Record] = field(default_factory=dict)
    done: dict[str, str] = field(default_factory=dict)
    cached: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    pending: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        chosen = set(self.plan.index) if self.chosen is None else set(self.chosen)
        self._sound: set[str] = set()
        self._stale: set[str] = set()
        self._wanted: set[str] = set()
        for cell in self.plan:
            record = self.ledger.check(cell, self.verify)
            if record is not None:
                self.records[cell.id] = record
                standing = self._standing(cell, record)
                if standing == "sound":
                    self._sound.add(cell.id)
                elif standing == "stale":
                    self._stale.add(cell.id)
        self._demand(chosen)
        self._waiting = {
            cell_id: sum(1 for input_id in self.plan[cell_id].input_ids if input_id in self.pending)
            for cell_id in self.pending
        }
        self._ready = [self.plan.index[cell_id] for cell_id, count in self._waiting.items() if count == 0]
        heapq.heapify(self._ready)

    def _standing(self, cell: Cell, record: Record) -> Literal["sound", "stale", "open"]:
        """Compare a record with what the inputs are now; open where an input must be rebuilt first."""
        standing: Literal["sound", "open"] = "sound"
        for input_id in cell.input_ids:
            known = record.inputs.get(input_id)
            if input_id in self._sound:
                if self.records[input_id].digest != known:
                    return "stale"
            elif not (self.plan[input_id].transient and input_id not in self.records and known is not None):
                standing = "open"
        return standing

    def _demand(self, chosen: set[str]) -> None:
        """Go backwards: what is missing, what may still stand, and which deleted inputs are wanted again."""
        computing: set[str] = set()
        for cell in reversed(self.plan.cells):
            record = self.records.get(cell.id)
            if any(dependant in computing for dependant in self.plan.dependants[cell.id]):
                self._wanted.add(cell.id)
            lost = record is None or (record.pruned and cell.id in self._wanted)
            if record is not None and not lost and (cell.id in self._sound or cell.id not in chosen):
                self.done[cell.id] = record.digest
                self.cached.add(cell.id)
            elif cell.id not in chosen:
                self.skipped[cell.id] = NOT_CHOSEN
            elif record is not None or cell.id in self._wanted or not self._dispensable(cell):
                self.pending.add(cell.id)
                if lost or cell.id in self._stale:
                    computing.add(cell.id)

    def _dispensable(self, cell: Cell) -> bool:
        """Whether all dependants of a transient cell are done, so that it need not exist."""
        dependants = self.plan.dependants[cell.id]
        return cell.transient and bool(dependants) and all(dependant in self.done for dependant in dependants)

    def next_ready(self, fits: Callable[[Cell], bool] = lambda cell: True) -> Cell | None:
        """Take the first ready cell that fits, settling those that need no work (see `cached`, `skipped`)."""
        postponed: list[int] = []
        found: Cell | None = None
        while self._ready and found is None:
            position = heapq.heappop(self._ready)
            cell = self.plan.cells[position]
            if self._settle_without_work(cell):
                continue
            if fits(cell):
                found = cell
            else:
                postponed.append(position)
        for position in postponed:
            heapq.heappush(self._ready, position)
        return found

    def _settle_without_work(self, cell: Cell) -> bool:
        broken = [input_id for input_id in cell.input_ids if input_id not in self.done]
        if broken and not cell.allow_failed_inputs:
            first = self.plan[broken[0]]
            reason = self.skipped.get(first.id) or f"needs {first.name}, which failed"
            self.skipped[cell.id] = reason
            self._settle(cell)
            return True
        record = self.records.get(cell.id)
        needless = record is not None and (not record.pruned or cell.id not in self._wanted)
        if record is not None and needless and dict(record.inputs) == self.input_digests(cell):
            self.done[cell.id] = record.digest
            self.cached.add(cell.id)
            self._settle(cell)
            return True
        return False

    def absent_inputs(self, cell: Cell) -> list[Cell]:
        """Return inputs whose data were deleted although this cell turns out to need them."""
        return [
            self.plan[input_id]
            for input_id in cell.input_ids
            if input_id in self.done and (input_id not in self.records or self.records[input_id].pruned)
        ]

    def input_digests(self, cell: Cell) -> dict[str, str]:
        """Return what a cell's result depends on: digests of inputs, marks for those that failed."""
        digests: dict[str, str] = {}
        for input_id in cell.input_ids:
            if input_id in self.done:
                digests[input_id] = self.done[input_id]
            else:
                digests[input_id] = "failed:" + sha256_json(
                    [failure.error for failure in self.causes(input_id)]
                )
        return digests

    def failures(self, cell: Cell) -> tuple[Failure, ...]:
        """Return every failed or skipped cell among the ancestors of a cell, in the order of the plan."""
        found = {
            ancestor
            for input_id in cell.input_ids
            if input_id not in self.done
            for ancestor in self._broken_ancestors(input_id)
        }
        return tuple(self._failure(cell_id) for cell_id in sorted(found, key=self.plan.index.__getitem__))

    def causes(self, cell_id: str) -> tuple[Failure, ...]:
        """Return the failed cells because of which a cell could not be computed."""
        broken = self._broken_ancestors(cell_id)
        return tuple(
            self._failure(ancestor)
            for ancestor in sorted(broken, key=self.plan.index.__getitem__)
            if ancestor in self.failed
        )

    def _broken_ancestors(self, cell_id: str) -> set[str]:
        broken: set[str] = set()
        stack = [cell_id]
        while stack:
            current = stack.pop()
            if current in self.done or current in broken:
                continue
            broken.add(current)
            stack.extend(self.plan[current].input_ids)
        return broken

    def _failure(self, cell_id: str) -> Failure:
        cell = self.plan[cell_id]
        error = self.failed.get(cell_id) or self.skipped.get(cell_id) or "not computed"
        return Failure(stage=cell.stage, key=cell.key, error=error)

    def finish(self, cell: Cell, record: Record) -> None:
        """Note that a cell was computed."""
        self.records[cell.id] = record
        self.done[cell.id] = record.digest
        self._settle(cell)

    def fail(self, cell: Cell, error: str) -> None:
        """Note that a cell failed."""
        self.failed[cell.id] = error
        self._settle(cell)

    def _settle(self, cell: Cell) -> None:
        self.pending.discard(cell.id)
        for dependant in self.plan.dependants[cell.id]:
            if dependant in self.pending:
                self._waiting[dependant] -= 1
                if self._waiting[dependant] == 0:
                    heapq.heappush(self._ready, self.plan.index[dependant])

    def prunable(self, cell: Cell) -> list[Cell]:
        """Return transient inputs of a just settled cell that nobody needs any more."""
        return [
            candidate
            for candidate in map(self.plan.__getitem__, cell.input_ids)
            if candidate.transient
            and candidate.id in self.done
            and all(dependant in self.done for dependant in self.plan.dependants[candidate.id])
        ]


def shard_of(plan: Plan, number: int, count: int) -> set[str]:
    """Return the ids that shard `number` of `count` (from 1) works on.

    Cells of one subject belong together, so a shard never waits for another. Cells that need no subject are
    done by whoever comes first; cells that gather subjects of several shards are left to a final run without
    ``--shard``.
    """
    if not 1 <= number <= count:
        raise ValueError(f"shard must be I/N with 1 <= I <= N; got {number}/{count}")
    shards: dict[str, frozenset[int]] = {}
    for cell in plan:
        own = frozenset[int]()
        if "subject" in cell.key:
            own = frozenset({int(sha256_json(str(cell.key["subject"]))[:8], 16) % count + 1})
        shards[cell.id] = own.union(*(shards[input_id] for input_id in cell.input_ids))
    return {cell_id for cell_id, owners in shards.items() if owners <= {number}}

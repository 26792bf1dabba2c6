"""The plan is data: cells named by the hash of everything their output depends on."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from .. import __version__
from .canonical import canonical_json, sha256_json
from .stage import Cost, Stage

SCHEMA = 1
Key = Mapping[str, str | int]


class PlanError(ValueError):
    """A plan that cannot be: unknown stage, missing input, cycle, or two cells for one place."""


@dataclass(frozen=True, kw_only=True)
class InputFile:
    """A file from outside the study; its content counts, not its place."""

    path: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One piece of work.

    The id covers stage, version, seed, key, params, inputs and the checksums of files. What only says where
    results go or how long they stay (`publish`, `transient`, `allow_failed_inputs`) is not part of it.

    Parameters
    ----------
    stage, version : str
        Stage and the version of its code.
    key : mapping
        Identity within the stage; also keys the random stream.
    params : mapping
        Resolved parameters (JSON data).
    inputs : mapping
        Role -> id of a cell, or tuple of ids.
    files : mapping
        Role -> file from outside.
    seed : int
        Seed of the study; 0 for stages that draw nothing.
    publish : mapping
        File in the output -> path in the dataset, relative to the output folder.
    transient : bool
        Whether the data may be deleted once every dependant is done.
    allow_failed_inputs : bool
        Whether the cell runs when inputs failed, and names them.
    """

    stage: str
    version: str
    key: Key
    params: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    files: Mapping[str, InputFile] = field(default_factory=dict)
    seed: int = 0
    package: str = __version__
    publish: Mapping[str, str] = field(default_factory=dict)
    transient: bool = False
    allow_failed_inputs: bool = False

    @cached_property
    def id(self) -> str:
        """Sha256 of the canonical JSON of what the output depends on."""
        return sha256_json(
            {
                "schema": SCHEMA,
                "package": self.package,
                "stage": self.stage,
                "version": self.version,
                "seed": self.seed,
                "key": dict(self.key),
                "params": dict(self.params),
                "inputs": {role: _listed(ids) for role, ids in self.inputs.items()},
                "files": {role: file.sha256 for role, file in self.files.items()},
            }
        )

    @property
    def input_ids(self) -> tuple[str, ...]:
        """Ids of all input cells, each once, in the order of the roles."""
        ids: dict[str, None] = {}
        for value in self.inputs.values():
            ids.update(dict.fromkeys((value,) if isinstance(value, str) else value))
        return tuple(ids)

    @property
    def name(self) -> str:
        """A short name for people: stage and key."""
        return " ".join([self.stage, *(str(value) for value in self.key.values())])

    def record(self) -> dict[str, Any]:
        """Return the cell as JSON data."""
        return {
            "id": self.id,
            "stage": self.stage,
            "version": self.version,
            "package": self.package,
            "seed": self.seed,
            "key": dict(self.key),
            "params": dict(self.params),
            "inputs": {role: _listed(ids) for role, ids in self.inputs.items()},
            "files": {role: {"path": file.path, "sha256": file.sha256} for role, file in self.files.items()},
            "publish": dict(self.publish),
            "transient": self.transient,
            "allow_failed_inputs": self.allow_failed_inputs,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Cell":
        """Make a cell from its record; the id must agree."""
        cell = cls(
            stage=record["stage"],
            version=record["version"],
            package=record["package"],
            seed=record["seed"],
            key=record["key"],
            params=record["params"],
            inputs={
                role: ids if isinstance(ids, str) else tuple(ids) for role, ids in record["inputs"].items()
            },
            files={role: InputFile(**file) for role, file in record["files"].items()},
            publish=record["publish"],
            transient=record["transient"],
            allow_failed_inputs=record["allow_failed_inputs"],
        )
        if cell.id != record["id"]:
            raise PlanError(
                f"the id of cell {cell.name!r} must be {cell.id[:16]}; got {str(record['id'])[:16]}"
            )
        return cell


def _listed(ids: str | tuple[str, ...]) -> str | list[str]:
    return ids if isinstance(ids, str) else list(ids)


class Plan:
    """Cells in an order in which each comes after its inputs.

    Parameters
    ----------
    cells : sequence of Cell
        Every input must stand earlier in the sequence. The order is the order of work, not part of any
        identity.

    Raises
    ------
    PlanError
        When an input is missing or later, an id comes twice, or two cells publish one path.
    """

    def __init__(self, cells: Sequence[Cell]) -> None:
        self.cells: tuple[Cell, ...] = tuple(cells)
        self.index: dict[str, int] = {}
        self.dependants: dict[str, list[str]] = {}
        paths: dict[str, str] = {}
        for position, cell in enumerate(self.cells):
            self._add(position, cell)
            for path in cell.publish.values():
                other = paths.setdefault(path.casefold(), cell.name)
                if other != cell.name:
                    raise PlanError(f"{path!r} must come from one cell; got {other!r} and {cell.name!r}")

    def _add(self, position: int, cell: Cell) -> None:
        if cell.id in self.index:
            raise PlanError(f"cell {cell.name!r} stands twice in the plan")
        for input_id in cell.input_ids:
            if input_id not in self.index:
                raise PlanError(f"input {input_id[:16]} of cell {cell.name!r} must stand earlier in the plan")
            self.dependants[input_id].append(cell.id)
        self.index[cell.id] = position
        self.dependants[cell.id] = []

    def __len__(self) -> int:
        return len(self.cells)

    def __iter__(self) -> Iterator[Cell]:
        return iter(self.cells)

    def __getitem__(self, cell_id: str) -> Cell:
        return self.cells[self.index[cell_id]]

    @cached_property
    def digest(self) -> str:
        """Sha256 over the sorted ids: equal for equal plans in any order."""
        return sha256_json(sorted(self.index))

    def to_jsonl(self) -> bytes:
        """Return one line of JSON per cell."""
        return b"".join(canonical_json(cell.record()) + b"\n" for cell in self.cells)

    @classmethod
    def read_jsonl(cls, path: Path) -> "Plan":
        """Read a plan that `to_jsonl` wrote."""
        with path.open("rb") as handle:
            return cls([Cell.from_record(json.loads(line)) for line in handle if line.strip()])

    def estimate(self, stages: Mapping[str, Stage]) -> dict[str, "StageEstimate"]:
        """Return the expected cost per stage, in order of first appearance."""
        totals: dict[str, StageEstimate] = {}
        for cell in self.cells:
            cost = cell_cost(cell, stages)
            totals[cell.stage] = totals.get(cell.stage, StageEstimate()).plus(cost, transient=cell.transient)
        return totals


@dataclass(frozen=True, kw_only=True)
class StageEstimate:
    """Sum of the expected costs of a stage; `memory` is the largest single cell."""

    cells: int = 0
    core_seconds: float = 0.0
    size: int = 0
    transient_size: int = 0
    memory: int = 0

    def plus(self, cost: Cost, *, transient: bool) -> "StageEstimate":
        """Return the estimate with one more cell."""
        return StageEstimate(
            cells=self.cells + 1,
            core_seconds=self.core_seconds + cost.core_seconds,
            size=self.size + (0 if transient else cost.size),
            transient_size=self.transient_size + (cost.size if transient else 0),
            memory=max(self.memory, cost.memory),
        )


def cell_cost(cell: Cell, stages: Mapping[str, Stage]) -> Cost:
    """Return the expected cost of a cell."""
    if cell.stage not in stages:
        raise PlanError(f"stage {cell.stage!r} must be one of {sorted(stages)}")
    return stages[cell.stage].cost(cell.params)


class PlanBuilder:
    """Collects cells; the same cell asked for twice is one cell.

    Parameters
    ----------
    stages : mapping
        Name -> stage; gives each cell the version of its code.
    seed : int
        Seed of the study.
    """

    def __init__(self, stages: Mapping[str, Stage], seed: int) -> None:
        self._stages = stages
        self._seed = seed
        self._cells: dict[str, Cell] = {}

    def add(
        self,
        stage: str,
        key: Key,
        params: Mapping[str, Any] | None = None,
        inputs: Mapping[str, Cell | Sequence[Cell]] | None = None,
        *,
        draws: bool = True,
        **options: Any,
    ) -> Cell:
        """Add a cell and return it.

        Parameters
        ----------
        stage, key, params
            See `Cell`.
        inputs : mapping
            Role -> cell, or sequence of cells in the order in which the stage shall see them.
        draws : bool
            Whether the stage uses random numbers; if not, the seed is no part of the identity.
        **options
            ``files``, ``publish``, ``transient``, ``allow_failed_inputs``.
        """
        if stage not in self._stages:
            raise PlanError(f"stage {stage!r} must be one of {sorted(self._stages)}")
        cell = Cell(
            stage=stage,
            version=self._stages[stage].version,
            key=key,
            params=params or {},
            inputs={
                role: value.id if isinstance(value, Cell) else tuple(cell.id for cell in value)
                for role, value in (inputs or {}).items()
            },
            seed=self._seed if draws else 0,
            **options,
        )
        return self._cells.setdefault(cell.id, cell)

    def plan(self) -> Plan:
        """Return the plan; cells stand in the order in which they were added."""
        return Plan(tuple(self._cells.values()))

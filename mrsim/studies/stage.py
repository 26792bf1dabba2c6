"""What a stage is: a named, versioned function from a context to files in a folder."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a cell is expected to take.

    Parameters
    ----------
    core_seconds : float
        Processor time [s] on one core.
    memory : int
        Peak resident memory [bytes] of the worker.
    size : int
        Bytes left on disk.
    """

    core_seconds: float = 1.0
    memory: int = 256 * MIB
    size: int = 0

    def __post_init__(self) -> None:
        if min(self.core_seconds, self.memory, self.size) < 0:
            raise ValueError(f"a cost must not be negative; got {self}")


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A cell that failed or was skipped, as told to cells that may run without it."""

    stage: str
    key: Mapping[str, str | int]
    error: str


@dataclass(frozen=True, kw_only=True)
class StageContext:
    """Everything that a stage function may use.

    Parameters
    ----------
    params : mapping
        Resolved parameters of the cell (JSON data).
    key : mapping
        Identity of the cell within its stage (subject, session, run, contrast, method, ...).
    inputs : mapping
        Role -> folder (or file, for inputs from outside) or tuple of folders in the order of the plan.
    input_keys : mapping
        Role -> key of the input cell, or tuple of keys parallel to `inputs`; files have an empty key.
    out_dir : Path
        Empty folder; what the stage leaves there becomes the cell's output, all or nothing.
    rng : numpy.random.Generator
        The cell's own random stream: same seed and identity, same draws.
    seed : int
        Seed of the study, for a stream that several cells share (`seeds.stream`): the pose of a visit, say.
    threads : int
        Threads the stage may use.
    device : str
        ``cpu`` or ``cuda:N``.
    failures : tuple of Failure
        What is absent from `inputs`, for cells that run all the same.
    """

    params: Mapping[str, Any]
    key: Mapping[str, str | int]
    inputs: Mapping[str, Path | tuple[Path, ...]]
    input_keys: Mapping[str, Mapping[str, str | int] | tuple[Mapping[str, str | int], ...]]
    out_dir: Path
    rng: "np.random.Generator"
    seed: int = 0
    threads: int = 1
    device: str = "cpu"
    failures: tuple[Failure, ...] = ()

    def one(self, role: str) -> Path:
        """Return the single input of a role."""
        value = self.inputs[role]
        if isinstance(value, tuple):
            raise ValueError(f"input {role!r} must be a single cell; got {len(value)}")
        return value

    def many(self, role: str) -> tuple[Path, ...]:
        """Return the inputs of a role that takes several."""
        value = self.inputs[role]
        return value if isinstance(value, tuple) else (value,)

    def keyed(self, role: str) -> tuple[tuple[Mapping[str, str | int], Path], ...]:
        """Return pairs of key and folder of a role that takes several."""
        keys = self.input_keys[role]
        parallel = keys if isinstance(keys, tuple) else (keys,)
        return tuple(zip(parallel, self.many(role), strict=True))


def _unit_cost(params: Mapping[str, Any]) -> Cost:
    return Cost()


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage of a study.

    Parameters
    ----------
    name : str
        Name in the plan.
    version : str
        Changes whenever the code would give other bytes for the same inputs; part of each cell's identity.
    run : callable
        Does the work; a module-level function, since worker processes find it by its name.
    cost : callable
        Parameters -> `Cost`, for planning and for the memory cap.
    """

    name: str
    version: str
    run: Callable[[StageContext], None]
    cost: Callable[[Mapping[str, Any]], Cost] = field(default=_unit_cost)

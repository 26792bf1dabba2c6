"""A study in its output folder: prepare, run, look, and report."""

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from .build_plan import plan_study
from .canonical import pretty_json, write_durably
from .ledger import Ledger
from .libraries import Libraries
from .output import check_output, create_output, lock_holder, locked
from .plan import Cell, Plan
from .problems import InputError
from .progress import Reporter
from .runner import RunOptions, RunResult, run_plan
from .stage import Stage
from .study import Study
from .study_input import load_study

PLAN_FILE = Path("code") / "plan.jsonl"
RESOLVED_FILE = Path("code") / "study.resolved.json"
STUDY_FILE = Path("code") / "study.toml"
REPORT_FILE = Path("report.html")
_REPORT_STAGES = frozenset({"evaluate", "dataset", "report"})


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A checked study with its plan; nothing was written yet."""

    path: Path
    study: Study
    plan: Plan


def prepare(path: Path, libraries: Libraries, stages: Mapping[str, Stage]) -> Prepared:
    """Read a study file, check it against the libraries, and plan it.

    Raises
    ------
    InputError
        With all problems of the file.
    """
    study = load_study(path, libraries)
    try:
        plan = plan_study(study, libraries, stages)
    except ValueError as error:
        raise InputError.single(file=str(path), cause=str(error)) from error
    return Prepared(path=path, study=study, plan=plan)


def run_study(
    prepared: Prepared,
    root: Path,
    stages: Mapping[str, Stage],
    options: RunOptions | None = None,
    reporter: Reporter | None = None,
) -> RunResult:
    """Run a prepared study in an output folder, taking up what is already there.

    Raises
    ------
    InputError
        When the folder cannot be used, or another run is at work in it; nothing is written then.
    """
    options = options or RunOptions()
    name = prepared.study.study.name
    check_output(root, name)
    lock = "lock" if options.shard is None else f"lock-{options.shard[0]}-of-{options.shard[1]}"
    create_output(root, name)
    with locked(root, lock):
        try:
            _write_recipe(prepared, root)
        except OSError as error:
            raise InputError.single(file=str(root), cause=f"cannot be written: {error.strerror}") from None
        return run_plan(prepared.plan, stages, root, options, reporter)


def rebuild_report(
    root: Path,
    stages: Mapping[str, Stage],
    options: RunOptions | None = None,
    reporter: Reporter | None = None,
) -> RunResult:
    """Score and report what is finished in an output folder; the rest is named as missing.

    Raises
    ------
    InputError
        When the folder holds no study, or another run is at work in it.
    """
    plan = read_plan(root)
    _check_versions(root, plan, stages)
    options = RunOptions(**{**vars(options or RunOptions()), "only": _REPORT_STAGES})
    with ExitStack() as stack:
        stack.enter_context(locked(root))
        return run_plan(plan, stages, root, options, reporter)


def _check_versions(root: Path, plan: Plan, stages: Mapping[str, Stage]) -> None:
    stale = sorted(
        {
            cell.stage
            for cell in plan
            if cell.stage not in stages or stages[cell.stage].version != cell.version
        }
    )
    if any(cell.stage == "attribution" for cell in plan):
        raise InputError.single(
            file=str(root),
            cause="holds an attribution",
            remedy="Continue or rebuild it with: mrsim attribute STUDY.toml --out " + str(root),
        )
    if stale:
        raise InputError.single(
            file=str(root),
            cause=f"was made by another version of {', '.join(stale)}",
            remedy="Run the study again: mrsim run STUDY.toml --out DIR",
        )


def _write_recipe(prepared: Prepared, root: Path) -> None:
    (root / "code").mkdir(exist_ok=True)
    files = {
        STUDY_FILE: prepared.path.read_bytes(),
        RESOLVED_FILE: pretty_json(prepared.study.record()),
        PLAN_FILE: prepared.plan.to_jsonl(),
    }
    for path, content in files.items():
        target = root / path
        if not target.is_file() or target.read_bytes() != content:
            write_durably(target, content)


def read_plan(root: Path) -> Plan:
    """Return the plan of an output folder.

    Raises
    ------
    InputError
        When the folder holds none.
    """
    if not root.is_dir():
        raise InputError.single(file=str(root), cause="no such folder", remedy="Give the --out of a run.")
    if not check_output(root):
        raise InputError.single(file=str(root), cause="is empty", remedy="Give the --out of a run.")
    try:
        return Plan.read_jsonl(root / PLAN_FILE)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError.single(
            file=str(root / PLAN_FILE),
            cause=f"is missing or damaged ({error})",
            remedy="Run the study again.",
        ) from None


@dataclass(frozen=True, kw_only=True)
class Status:
    """What is done in an output folder.

    Parameters
    ----------
    stages : mapping
        Stage -> counts of ``done``, ``failed`` and ``open`` cells, in the order of the plan.
    failures : tuple
        Failed cells with their last error.
    size : int
        Bytes in the ledger.
    holder : str
        Host and process of a run at work; empty for none.
    report : Path or None
        The report, where there is one.
    """

    stages: Mapping[str, Mapping[str, int]]
    failures: tuple[tuple[Cell, str], ...]
    size: int
    holder: str
    report: Path | None

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do."""
        return all(counts["done"] == sum(counts.values()) for counts in self.stages.values())


def read_status(root: Path) -> Status:
    """Look into an output folder without changing it."""
    plan = read_plan(root)
    ledger = Ledger(root.resolve())
    stages: dict[str, Counter[str]] = {}
    failures: list[tuple[Cell, str]] = []
    size = 0
    for cell in plan:
        counts = stages.setdefault(cell.stage, Counter(done=0, failed=0, open=0))
        record = ledger.check(cell)
        if record is not None:
            counts["done"] += 1
            size += 0 if record.pruned else sum(int(file["size"]) for file in record.files.values())
            continue
        failure = ledger.failure(cell)
        counts["open" if failure is None else "failed"] += 1
        if failure is not None:
            failures.append((cell, str(failure.get("error", ""))))
    report = root / REPORT_FILE
    return Status(
        stages=stages,
        failures=tuple(failures),
        size=size,
        holder=_holder(root),
        report=report if report.is_file() else None,
    )


def _holder(root: Path) -> str:
    for path in sorted((root / ".mrsim").glob("lock*")):
        holder = lock_holder(path)
        if holder is not None:
            return f"host {holder['host']}, process {holder['pid']}"
    return ""

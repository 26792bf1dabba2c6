"""run, status, report: a study in its output folder."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .guard import say
from .options import (
    Debug,
    Device,
    FolderArgument,
    Jobs,
    Memory,
    Quiet,
    StudyArgument,
    Threads,
    cores,
    memory_cap,
    resolve_device,
)
from .study_commands import load_prepared

if TYPE_CHECKING:
    from mrsim.studies.plan import Plan
    from mrsim.studies.runner import RunResult


def run(
    study: StudyArgument,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Output folder.", show_default=False)
    ],
    jobs: Jobs = None,
    threads: Threads = 1,
    device: Device = "auto",
    mem: Memory = None,
    shard: Annotated[
        str | None,
        typer.Option("--shard", metavar="I/N", help="Only the subjects of part I of N.", show_default=False),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compute every checksum of earlier results.")
    ] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Run a study, or take it up where it stopped.

    Finished cells are skipped. The same bytes come out for any number of jobs, and after any interruption.
    """
    from mrsim.studies.progress import choose_reporter
    from mrsim.studies.project import run_study
    from mrsim.studies.runner import RunOptions
    from mrsim.studies.stages import STAGES

    options = RunOptions(
        jobs=jobs or max(1, cores() // threads),
        threads=threads,
        memory=memory_cap(mem),
        device=resolve_device(device),
        verify="full" if verify else "quick",
        shard=_parse_shard(shard),
    )
    prepared = load_prepared(study)
    result = run_study(prepared, out, STAGES, options, choose_reporter(quiet=quiet))
    finish(prepared.plan, out, result, sharded=shard is not None)


def _parse_shard(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise ValueError(f"--shard must be I/N with 1 <= I <= N, as 2/8; got {text!r}")
    return int(match[1]), int(match[2])


def finish(plan: "Plan", out: Path, result: "RunResult", *, sharded: bool = False) -> None:
    """Print what came of a run and leave with its exit code."""
    from mrsim.studies.progress import spelled
    from mrsim.studies.project import REPORT_FILE

    for cell_id, error in result.failed.items():
        say(f"failed: {plan[cell_id].name}: {error}")
    failed = f", {len(result.failed)} failed, {len(result.skipped)} skipped" if result.failed else ""
    print(
        f"{len(result.computed)} cells computed, {len(result.cached)} already done{failed}, "
        f"in {spelled(result.wall_seconds)}"
    )
    if result.interrupted:
        say("interrupted; the same command takes it up again")
    elif sharded:
        print("this shard is done; when all are, run once without --shard for harmonizing and the report")
    elif (out / REPORT_FILE).is_file():
        print(f"report: {out / REPORT_FILE}")
    raise typer.Exit(result.exit_code)


def status(folder: FolderArgument, debug: Debug = False) -> None:
    """Show what is done, failed and open in an output folder."""
    from rich.markup import escape

    from mrsim.studies.project import read_status

    from .tables import console, spelled_bytes, table

    seen = read_status(folder)
    shown = table("", ("stage", "done", "of", "failed"), right=("done", "of", "failed"))
    for name, counts in seen.stages.items():
        failed = f"[red]{counts['failed']}[/]" if counts["failed"] else ""
        shown.add_row(name, str(counts["done"]), str(sum(counts.values())), failed)
    out = console()
    # Not as the table's title: a long path would be folded to the table's width.
    out.print(f"[bold]{escape(str(folder))}[/]", soft_wrap=True)
    out.print(shown)
    for cell, error in seen.failures:
        out.print(f"[red]failed[/] {escape(cell.name)}: {escape(error)}", soft_wrap=True)
    state = "complete" if seen.complete else "not complete: mrsim run takes it up"
    if seen.holder:
        state = f"a run is at work ({seen.holder})"
    out.print(f"{state}; {spelled_bytes(seen.size)} in the ledger")
    if seen.report is not None:
        out.print(f"report: {seen.report}", soft_wrap=True)


def report(
    folder: FolderArgument,
    jobs: Jobs = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Score and report what is finished so far; the rest is named as missing."""
    from mrsim.studies.progress import choose_reporter
    from mrsim.studies.project import read_plan, rebuild_report
    from mrsim.studies.runner import RunOptions
    from mrsim.studies.stages import STAGES

    options: RunOptions = RunOptions(jobs=jobs or cores(), memory=memory_cap(None))
    result = rebuild_report(folder, STAGES, options, choose_reporter(quiet=quiet))
    finish(read_plan(folder), folder, result)

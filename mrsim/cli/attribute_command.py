"""attribute: which cause explains how much of the difference between two scanners."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .guard import say
from .options import (
    Debug,
    Jobs,
    Memory,
    Quiet,
    StudyArgument,
    Threads,
    cores,
    memory_cap,
)

if TYPE_CHECKING:
    from mrsim.studies.attribute import PreparedAttribution
    from mrsim.studies.runner import RunResult

_HEADLINES = ("nmse:wm", "nmse:raw")
_FEATURES = ("volume:gm", "volume:wm", "ratio:gm/wm")
_OVER = "Instead of what the study says"


def attribute(
    study: StudyArgument,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Output folder.", show_default=False)
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say how many scans it takes, and how long.")
    ] = False,
    scanners: Annotated[
        str | None,
        typer.Option(
            "--scanners",
            metavar="A,B",
            help="Two labels, the reference first.",
            show_default=False,
            rich_help_panel=_OVER,
        ),
    ] = None,
    causes: Annotated[
        str | None,
        typer.Option(
            "--causes",
            metavar="A,B,...",
            help="Causes to tell apart; the others stay off.",
            show_default=False,
            rich_help_panel=_OVER,
        ),
    ] = None,
    permutations: Annotated[
        int | None,
        typer.Option(
            "--permutations",
            min=4,
            max=100_000,
            help="Orders sampled for Shapley values.",
            show_default=False,
            rich_help_panel=_OVER,
        ),
    ] = None,
    contrast: Annotated[
        str | None,
        typer.Option(
            "--contrast",
            metavar="T1w|T2w|FLAIR",
            help="Which images.",
            show_default=False,
            rich_help_panel=_OVER,
        ),
    ] = None,
    subject: Annotated[
        int | None,
        typer.Option(
            "--subject", min=1, help="Whose head, by number.", show_default=False, rich_help_panel=_OVER
        ),
    ] = None,
    voxel_size_mm: Annotated[
        float | None,
        typer.Option(
            "--voxel-size-mm",
            min=0.3,
            max=10,
            help="Of the images.",
            show_default=False,
            rich_help_panel=_OVER,
        ),
    ] = None,
    jobs: Jobs = None,
    threads: Threads = 1,
    mem: Memory = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Split the difference between two scanners into its causes.

    Every cause is switched on and off while all draws are held fixed: alone, left out, and in many orders
    (Shapley values with their sampling error). Finished scans are kept; the same command takes it up again.
    """
    from mrsim.studies.attribute import Choices, prepare_attribution, run_attribution
    from mrsim.studies.installed import InstalledLibraries
    from mrsim.studies.problems import InputError
    from mrsim.studies.progress import choose_reporter
    from mrsim.studies.runner import RunOptions
    from mrsim.studies.stages import ATTRIBUTION_STAGES
    from mrsim.studies.template import study_path

    choices = Choices(
        scanners=_listed(scanners), contrast=contrast, subject=subject, causes=_listed(causes),
        permutations=permutations, voxel_size_mm=voxel_size_mm,
    )  # fmt: skip
    if out is None and not dry_run:
        raise InputError.single(file="--out", cause="is required", remedy="Or give --dry-run.")
    prepared = prepare_attribution(study_path(study), InstalledLibraries(), ATTRIBUTION_STAGES, choices)
    workers = jobs or max(1, cores() // threads)
    if out is None or dry_run:
        _tell_plan(prepared, workers)
        return
    options = RunOptions(jobs=workers, threads=threads, memory=memory_cap(mem))
    result = run_attribution(prepared, out, ATTRIBUTION_STAGES, options, choose_reporter(quiet=quiet))
    _finish(prepared, out, result)


def _listed(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _tell_plan(prepared: "PreparedAttribution", jobs: int) -> None:
    """Say what a run would do."""
    from mrsim.studies.progress import spelled
    from mrsim.studies.stages import ATTRIBUTION_STAGES

    estimates = prepared.plan.estimate(ATTRIBUTION_STAGES).values()
    seconds = sum(estimate.core_seconds for estimate in estimates)
    game = prepared.game
    how = "all sets, exact" if game.exact else f"{len(game.orders)} orders in antithetic pairs"
    print(f"{prepared.labels[1]} against {prepared.labels[0]}: {len(prepared.causes)} causes act:")
    print(f"  {', '.join(prepared.causes)}")
    if prepared.idle:
        print(f"  without effect here: {', '.join(prepared.idle)}")
    print(
        f"{len(game.coalitions)} coalitions ({how}): {prepared.scans} scans, {prepared.images} images; "
        f"about {spelled(seconds / jobs)} with {jobs} at a time"
    )


def _finish(prepared: "PreparedAttribution", out: Path, result: "RunResult") -> None:
    """Print the answer, or what went wrong, and leave with the exit code of the run."""
    from mrsim.studies.attribute import read_attribution
    from mrsim.studies.progress import spelled

    for cell_id, error in result.failed.items():
        say(f"failed: {prepared.plan[cell_id].name}: {error}")
    print(
        f"{len(result.computed)} cells computed, {len(result.cached)} already done"
        f"{f', {len(result.failed)} failed' if result.failed else ''}, in {spelled(result.wall_seconds)}"
    )
    if result.interrupted:
        say("interrupted; the same command takes it up again")
    elif not result.failed:
        rows, record = read_attribution(out)
        _print_answer(rows, record)
        print(f"report: {out / 'report.html'}")
    raise typer.Exit(result.exit_code)


def _print_answer(rows: list[dict[str, Any]], record: dict[str, Any]) -> None:
    """Print the split of the image difference, and of some features beside it."""
    from .tables import console, table

    measures = [m["Name"] for m in record["Measures"]]
    main = next((m for m in _HEADLINES if m in measures), measures[0])
    beside = [m for m in (*_HEADLINES, *_FEATURES) if m in measures and m != main]
    found = {(row["cause"], row["measure"]): row for row in rows}
    causes = sorted(record["Causes"], key=lambda c: -abs(found[c, main]["shapley"]))
    whole = found["(all causes)", main]["shapley"]
    title = f"{record['Other']} against {record['Reference']}, {record['Contrast']}: {main} = {whole:.4g}"
    interval = () if record["Estimator"]["Exact"] else ("interval",)
    columns = ("cause", "share", *interval, "alone", "leave-one-out")
    shown = table(title, (*columns, *beside), right=(*columns[1:], *beside))
    for cause in causes:
        row = found[cause, main]
        cells = [cause, _percent(row["shapley"], whole)]
        if interval:
            cells.append(f"{_percent(row['low'], whole)} to {_percent(row['high'], whole)}")
        cells += [_percent(row["single"], whole), _percent(row["leave_one_out"], whole)]
        cells += [_beside(found[cause, m], found["(all causes)", m]) for m in beside]
        shown.add_row(*cells)
    totals = [_whole(found["(all causes)", m]) for m in beside]
    single, left = (sum(found[c, main][k] for c in causes) for k in ("single", "leave_one_out"))
    blank = [""] if interval else []
    shown.add_section()
    shown.add_row("sum", "100 %", *blank, _percent(single, whole), _percent(left, whole), *totals)
    console().print(shown)
    if not record["Estimator"]["Exact"]:
        worst = max(found[c, main]["se"] for c in causes)
        pairs = record["Estimator"]["AntitheticPairs"]
        print(f"{pairs} antithetic pairs of orders; largest standard error {_percent(worst, whole)}")


def _percent(value: float, whole: float) -> str:
    if not whole or not math.isfinite(value):
        return "-"
    percent = 100.0 * value / whole
    return f"{percent:.1f} %" if abs(percent) >= 0.05 else "0"


def _beside(row: dict[str, Any], total: dict[str, Any]) -> str:
    """Return an image measure in % of its whole, a feature in its own %."""
    if row["unit"] == "%":
        return f"{row['shapley']:+.2f}"
    return _percent(row["shapley"], total["shapley"])


def _whole(total: dict[str, Any]) -> str:
    return f"{total['shapley']:+.2f} %" if total["unit"] == "%" else f"{total['shapley']:.4g}"

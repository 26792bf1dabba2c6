"""init, validate, plan: everything before a run. Nothing here computes an image."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Debug, Jobs, StudyArgument, cores

if TYPE_CHECKING:
    from mrsim.studies.plan import StageEstimate
    from mrsim.studies.project import Prepared


def init(
    path: Annotated[
        Path, typer.Argument(metavar="[STUDY.toml]", help="File to write.", show_default=True)
    ] = Path("study.toml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    debug: Debug = False,
) -> None:
    """Write a commented study file to start from."""
    from mrsim.studies.problems import InputError
    from mrsim.studies.template import template_text

    if path.suffix != ".toml":
        raise InputError.single(file=str(path), cause="study files end in .toml")
    if path.exists() and not force:
        raise InputError.single(
            file=str(path), cause="exists already", remedy="Give another name, or --force."
        )
    if not path.absolute().parent.is_dir():
        raise InputError.single(file=str(path), cause="its folder does not exist", remedy="Make it first.")
    path.write_text(template_text(), encoding="utf-8")
    print(f"wrote {path}; next: mrsim validate {path}, mrsim plan {path}, mrsim run {path} --out DIR")


def load_prepared(study: str) -> "Prepared":
    """Read, check and plan a study given by file or by library name."""
    from mrsim.studies.installed import InstalledLibraries
    from mrsim.studies.project import prepare
    from mrsim.studies.stages import STAGES
    from mrsim.studies.template import study_path

    return prepare(study_path(study), InstalledLibraries(), STAGES)


def validate(study: StudyArgument, debug: Debug = False) -> None:
    """Check a study file; tell all problems at once."""
    from mrsim.studies.installed import InstalledLibraries
    from mrsim.studies.study_input import load_study
    from mrsim.studies.template import study_path

    path = study_path(study)
    checked = load_study(path, InstalledLibraries())
    print(
        f"{path}: ok: {checked.cohort.subjects} subjects, {len(checked.scanners)} scanners, "
        f"{len(checked.protocols)} contrasts, {checked.images()} images, "
        f"{len(checked.harmonizers)} harmonizers"
    )


def plan(
    study: StudyArgument,
    jobs: Jobs = None,
    jsonl: Annotated[
        Path | None,
        typer.Option("--jsonl", help="Also write the cells, one JSON line each.", show_default=False),
    ] = None,
    debug: Debug = False,
) -> None:
    """Show what a run would do: cells, time, disk, memory."""
    from mrsim.studies.canonical import write_durably
    from mrsim.studies.stages import STAGES

    prepared = load_prepared(study)
    _print_estimate(prepared, prepared.plan.estimate(STAGES), jobs or cores())
    if jsonl is not None:
        write_durably(jsonl, prepared.plan.to_jsonl())


def _print_estimate(prepared: "Prepared", estimates: "Mapping[str, StageEstimate]", jobs: int) -> None:
    from mrsim.studies.progress import spelled

    from .tables import console, spelled_bytes, table

    columns = ("stage", "cells", "core time", "per cell", "disk", "passing", "memory")
    shown = table(f"Plan of {prepared.study.study.name!r}", columns, right=columns[1:])
    for name, estimate in estimates.items():
        shown.add_row(
            name,
            str(estimate.cells),
            spelled(estimate.core_seconds),
            f"{estimate.core_seconds / estimate.cells:.3g} s",
            spelled_bytes(estimate.size),
            spelled_bytes(estimate.transient_size) if estimate.transient_size else "",
            spelled_bytes(estimate.memory),
        )
    total = sum(estimate.core_seconds for estimate in estimates.values())
    size = sum(estimate.size for estimate in estimates.values())
    passing = max((estimate.transient_size // estimate.cells for estimate in estimates.values()), default=0)
    largest = max((estimate.memory for estimate in estimates.values()), default=0)
    out = console()
    out.print(shown)
    out.print(
        f"{len(prepared.plan)} cells, {total / 3600:.2g} core-hours: about [bold]{spelled(total / jobs)}[/] "
        f"with {jobs} at a time;\n{spelled_bytes(size)} on disk (raw data pass through, about "
        f"{spelled_bytes(passing * jobs)} at a time); up to {spelled_bytes(largest)} of memory per cell.\n"
        f"Plan {prepared.plan.digest[:16]}"
    )

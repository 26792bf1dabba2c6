"""phantom make, info, show and convert: digital objects as files and pictures."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .guard import guarded
from .options import Debug, cores
from .phantom_sources import is_native, library_phantom, load_source, one_subject, own_field, read_options

if TYPE_CHECKING:
    from phantoms import Phantom, PointCloud

phantom_app = typer.Typer(
    name="phantom",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Make, inspect, draw and convert digital phantoms.",
)

Source = Annotated[
    str,
    typer.Argument(
        metavar="NAME|FILE", help="One of 'mrsim list phantoms', or a file of any format.", show_default=False
    ),
]
Field = Annotated[
    float | None,
    typer.Option("--b0", min=0.001, max=30, help="Field strength [T] (default 3).", show_default=False),
]
VoxelSize = Annotated[
    float | None,
    typer.Option(
        "--voxel-size-mm",
        min=0.2,
        max=20,
        help="Voxel edge of a library phantom or a subject (default: its own).",
        show_default=False,
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="native|bifti|koma|koma-0.9.0",
        help="By the suffix otherwise: .h5, .json, .phantom.",
        show_default=False,
    ),
]


def make(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE|DIR", help="What to write.", show_default=False)
    ],
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="One of 'mrsim list phantoms'.", show_default=False),
    ] = None,
    cohort: Annotated[
        Path | None,
        typer.Option("--cohort", metavar="SPEC.toml", help="Make subjects of a cohort.", show_default=False),
    ] = None,
    subject: Annotated[
        int | None,
        typer.Option(
            "--subject", min=0, help="Only this one, counted from 0 (with --cohort).", show_default=False
        ),
    ] = None,
    visit: Annotated[int, typer.Option("--visit", min=0, help="Which visit of that subject.")] = 0,
    voxel_size_mm: VoxelSize = None,
    options: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Option of the phantom, SI units; 'mrsim phantom info NAME' lists them; repeatable.",
            show_default=False,
        ),
    ] = None,
    file_format: Format = None,
    b0: Field = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", "-j", min=1, help="Subjects at a time (default: all cores).", show_default=False
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Make a phantom of the library, or the subjects of a cohort."""
    from mrsim.studies.problems import InputError

    if (name is None) == (cohort is None):
        raise InputError.single(
            file="NAME, --cohort", cause="give exactly one of the two",
            remedy="'mrsim list phantoms' shows the names.",
        )  # fmt: skip
    if (subject is None and visit) or (name is not None and subject is not None):
        raise InputError.single(
            file="--subject, --visit", cause="name one person of a cohort",
            remedy="Give --cohort SPEC.toml --subject N, and --visit N for a later visit.",
        )  # fmt: skip
    if cohort is None or subject is not None:
        _check_target(out, file_format)
    if name is not None:
        _write(out, library_phantom(name, voxel_size_mm, read_options(options or [])), file_format, b0)
        return
    assert cohort is not None
    if options:
        raise InputError.single(file="--set", cause="is for phantoms of the library", remedy="Edit the TOML.")
    voxel_size = None if voxel_size_mm is None else voxel_size_mm * 1e-3
    if subject is None:
        _whole_cohort(cohort, out, voxel_size, jobs or cores(), file_format)
    else:
        _write(out, one_subject(cohort, subject, visit, voxel_size), file_format, b0)


def info(
    source: Source,
    full: Annotated[bool, typer.Option("--full", help="All of the truth, and notices in full.")] = False,
    voxel_size_mm: VoxelSize = None,
    b0: Field = None,
    debug: Debug = False,
) -> None:
    """Tell what a phantom holds: grid, tissues, volumes, truth, provenance, licence."""
    from phantoms import Phantom, check_content, oddities, phantom_names

    from .phantom_tables import print_cloud, print_lines, print_options, print_phantom

    found = load_source(source, voxel_size_mm, b0)
    if isinstance(found, Phantom):
        print_phantom(found, b0 or own_field(found), full=full)
    else:
        print_cloud(found)
        print_lines("note", oddities(found))
    if not Path(source).exists() and source in phantom_names():
        print_options(source)
    if Path(source).is_file() and is_native(Path(source)):
        stated = check_content(source)
        print("content: " + ("no hash in the file" if stated is None else f"sha256 {stated}, as written"))


def show(
    source: Source,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="PNG", help="Picture to write.", show_default=False)
    ],
    at_mm: Annotated[
        str | None,
        typer.Option(
            "--at-mm", metavar="X,Y,Z", help="Point that the planes cross (default: the middle).",
            show_default=False,
        ),
    ] = None,
    voxel_size_mm: VoxelSize = None,
    b0: Field = None,
    debug: Debug = False,
) -> None:  # fmt: skip
    """Draw three planes of a phantom: tissues, T1, T2, proton density."""
    from phantoms import Phantom, phantom_picture

    _need_folder(out)
    if out.suffix.lower() != ".png":
        raise ValueError(f"{out}: a picture must end in .png; got {out.suffix!r}")
    at = _triple(at_mm)
    found = load_source(source, voxel_size_mm, b0)
    field = b0 or (own_field(found) if isinstance(found, Phantom) else 3.0)
    phantom_picture(out, found, b0=field, at=at)
    print(f"wrote {out}")


def convert(
    source: Source,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="File to write.", show_default=False)],
    file_format: Format = None,
    voxel_size_mm: VoxelSize = None,
    b0: Field = None,
    debug: Debug = False,
) -> None:
    """Write a phantom in another format, and tell what is lost."""
    _check_target(out, file_format)
    _write(out, load_source(source, voxel_size_mm, b0), file_format, b0)


for _verb in (make, info, show, convert):
    phantom_app.command(_verb.__name__)(guarded(_verb))


def _triple(text: str | None) -> tuple[float, float, float] | None:
    if text is None:
        return None
    try:
        x, y, z = (1e-3 * float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"--at-mm must be three numbers such as 0,-17,3; got {text!r}") from None
    return x, y, z


def _check_target(out: Path, file_format: str | None) -> None:
    """Refuse a target that cannot be written before anything is computed."""
    from mrsim.studies.problems import InputError
    from phantoms import format_of

    format_of(out, file_format)
    _need_folder(out)
    if out.is_dir():
        raise InputError.single(file=str(out), cause="is a folder", remedy="Name a file.")


def _need_folder(out: Path) -> None:
    import os

    from mrsim.studies.problems import InputError

    folder = out.absolute().parent
    if not folder.is_dir():
        raise InputError.single(file=str(out), cause="its folder does not exist", remedy="Make it first.")
    if not os.access(folder, os.W_OK):
        raise InputError.single(file=str(out), cause="its folder is read-only", remedy="Name another one.")


def _write(out: Path, made: "Phantom | PointCloud", file_format: str | None, b0: float | None) -> None:
    """Write a phantom and tell its format, what is lost and what to know."""
    from phantoms import write_phantom_file

    from .phantom_tables import print_lines

    written = write_phantom_file(out, made, format=file_format, b0=b0)
    print_lines("lost", written.lost)
    print_lines("note", written.notes)
    print(f"wrote {out} ({written.format}, {written.kind}); next: mrsim phantom info {out}")


def _whole_cohort(
    path: Path, out: Path, voxel_size: float | None, jobs: int, file_format: str | None
) -> None:
    """Write all subjects of a cohort into a folder, in parallel; what is there already stays."""
    import sys

    from mrsim.studies.problems import InputError
    from phantoms import generate_cohort, load_cohort_spec

    if file_format not in (None, "native"):
        raise InputError.single(
            file="--format", cause="a cohort is written in the native format",
            remedy="Then 'mrsim phantom convert' its files.",
        )  # fmt: skip
    if out.suffix:
        raise InputError.single(
            file=str(out), cause="a cohort is written into a folder", remedy="Give one, or --subject."
        )
    spec = load_cohort_spec(path)
    _need_folder(out)
    total, made = spec.n_subjects * len(spec.visits), 0

    def told(name: str) -> None:
        nonlocal made
        made += 1
        print(f"made {name} ({made} in this run, {total} in all)", file=sys.stderr)

    files = generate_cohort(spec, out, voxel_size=voxel_size, workers=jobs, progress=told)
    there = len(files) - made
    already = f"{there} {'was' if there == 1 else 'were'} there already"
    files_made = f"{made} phantom{'s' * (made != 1)} made"
    print(f"{out}: {files_made}, {already}; tables participants.tsv and truth.tsv")
    print(f"next: mrsim phantom info {files[0]}")

"""simulate: one scan by the k-space engine or the exact Bloch engine."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from .options import Debug, Device, resolve_device

_SCAN = "What is scanned"
_EXACT = "Exact engine (--engine bloch)"


def _parse_delays(pairs: list[str]) -> dict[str, float]:
    """Read ``HINT=SECONDS``."""
    delays: dict[str, float] = {}
    for pair in pairs:
        hint, equals, text = pair.partition("=")
        try:
            delays[hint] = float(text)
        except ValueError:
            equals = ""
        if not equals or not hint:
            raise ValueError(f"--soft-delay must be HINT=SECONDS; got {pair!r}")
    return delays


def _announce(spins: int, seconds: float) -> None:
    """Say how long it will take where that is more than a minute; on standard error, as progress is."""
    import sys

    if seconds > 60.0:
        unit, size = ("min", 60.0) if seconds < 7200.0 else ("h", 3600.0)
        print(
            f"{spins} spins: about {seconds / size:.2g} {unit}. "
            "A coarser phantom or fewer --spins-per-voxel is faster.",
            file=sys.stderr,
        )


@contextmanager
def _bar(shown: bool) -> Iterator[Callable[[float], None] | None]:
    """Progress of the exact engine on a terminal; nothing elsewhere."""
    import sys

    if not shown or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("simulating", total=1.0)
        yield lambda share: progress.update(task, completed=share)


def simulate(
    phantom: Annotated[
        str,
        typer.Option(
            "--phantom",
            metavar="NAME|FILE",
            help="One of 'mrsim list phantoms', or a file of any format.",
            rich_help_panel=_SCAN,
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="RAW.h5", help="ISMRMRD file.", show_default=False)
    ],
    scanner: Annotated[
        str | None,
        typer.Option(
            "--scanner",
            metavar="NAME|FILE",
            help="Scanner; none: a perfect one (bloch).",
            show_default=False,
            rich_help_panel=_SCAN,
        ),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            "--protocol",
            metavar="NAME|FILE",
            help="Protocol card.",
            show_default=False,
            rich_help_panel=_SCAN,
        ),
    ] = None,
    sequence: Annotated[
        Path | None,
        typer.Option(
            "--sequence",
            metavar="FILE.seq",
            help="Pulseq file instead.",
            show_default=False,
            rich_help_panel=_SCAN,
        ),
    ] = None,
    engine: Annotated[
        str, typer.Option("--engine", metavar="kspace|bloch", help="Fast k-space engine, or exact spins.")
    ] = "kspace",
    voxel_size_mm: Annotated[
        float | None,
        typer.Option(
            "--voxel-size-mm",
            min=0.3,
            max=10,
            help="Coarser than the card.",
            show_default=False,
            rich_help_panel=_SCAN,
        ),
    ] = None,
    phantom_voxel_size_mm: Annotated[
        float,
        typer.Option(
            "--phantom-voxel-size-mm",
            min=0.5,
            max=10,
            help="Grid of a library phantom.",
            rich_help_panel=_SCAN,
        ),
    ] = 1.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of all that is random.")] = 0,
    coils: Annotated[
        int | None, typer.Option("--coils", min=1, max=128, help="Loops of the array.", show_default=False)
    ] = None,
    noise: Annotated[bool, typer.Option(help="Receiver noise.")] = True,
    soft_delay: Annotated[
        list[str] | None,
        typer.Option(
            "--soft-delay",
            metavar="HINT=SECONDS",
            help="Of the Pulseq file; repeatable.",
            show_default=False,
            rich_help_panel=_SCAN,
        ),
    ] = None,
    allow_unsigned: Annotated[
        bool,
        typer.Option(
            "--allow-unsigned", help="Play a Pulseq file without a valid signature.", rich_help_panel=_SCAN
        ),
    ] = False,
    spins_per_voxel: Annotated[
        int | None,
        typer.Option(
            "--spins-per-voxel",
            min=1,
            max=4096,
            show_default=False,
            rich_help_panel=_EXACT,
            help="Default: by the sequence for voxels, 1 for spins.",
        ),
    ] = None,
    precision: Annotated[
        str, typer.Option("--precision", metavar="single|double", rich_help_panel=_EXACT, help="Of spins.")
    ] = "single",
    diffusion: Annotated[
        str,
        typer.Option(
            "--diffusion",
            metavar="none|random_walk|attenuation",
            rich_help_panel=_EXACT,
            help="How spins diffuse.",
        ),
    ] = "none",
    phases: Annotated[
        str | None,
        typer.Option(
            "--phases",
            metavar="pulseq|jemris",
            show_default=False,
            rich_help_panel=_EXACT,
            help="Sense of RF phases; default: by the files.",
        ),
    ] = None,
    device: Device = "auto",
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads", min=1, help="Default: all cores.", show_default=False, rich_help_panel=_EXACT
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Simulate one scan: phantom, sequence and scanner to ISMRMRD raw data."""
    from mrsim.studies.single_simulate import ExactChoices, ScanFiles, simulate_file

    files = ScanFiles(
        protocol=protocol,
        sequence=sequence,
        scanner=scanner,
        phantom=phantom,
        voxel_size=None if voxel_size_mm is None else voxel_size_mm * 1e-3,
        phantom_voxel_size=phantom_voxel_size_mm * 1e-3,
        soft_delays=_parse_delays(soft_delay or []),
        allow_unsigned=allow_unsigned,
    )
    exact = ExactChoices(
        spins_per_voxel=spins_per_voxel,
        phase_convention=phases,
        precision=precision,
        diffusion=diffusion,
        device=resolve_device(device) if engine == "bloch" else "cpu",
        threads=threads,
    )
    with _bar(engine == "bloch") as progress:
        told = simulate_file(
            out, files, engine=engine, seed=seed, coils=coils, noise=noise, exact=exact, progress=progress,
            expect=_announce,
        )  # fmt: skip
    if engine == "bloch":
        report = told["report"]
        print(
            f"{report['spins']} spins ({report['spins_per_voxel']} per point), {report['precision']} "
            f"precision on {report['device']}, phases as of {report['phase_convention']}"
        )
    for note in told["notes"]:
        print(f"note: {note}")
    print(f"wrote {out}; next: mrsim recon {out} --out IMAGE.nii.gz")

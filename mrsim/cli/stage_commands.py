"""recon, harmonize, evaluate: one stage on files that other programs read and write too."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from .options import Debug

_SHOWN_FEATURES = 8


def _parse_params(pairs: list[str]) -> dict[str, Any]:
    """Read ``key=value``; values are JSON where they are, else text."""
    params: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise ValueError(f"--param must be KEY=VALUE; got {pair!r}")
        try:
            params[key] = json.loads(text)
        except ValueError:
            params[key] = text
    return params


Param = Annotated[
    list[str] | None,
    typer.Option(
        "--param", "-p", metavar="KEY=VALUE", help="Parameter of the method; repeatable.", show_default=False
    ),
]


def recon(
    raw: Annotated[
        Path, typer.Argument(metavar="RAW.h5", help="ISMRMRD file of any origin.", show_default=False)
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="IMAGE.nii.gz", help="Image.", show_default=False)
    ],
    combine: Annotated[str | None, typer.Option(help="adaptive, espirit or rss.", show_default=False)] = None,
    acceleration: Annotated[
        str | None, typer.Option(help="auto, grappa, sense, cg_sense or none.", show_default=False)
    ] = None,
    partial_fourier: Annotated[
        str | None, typer.Option(help="homodyne, pocs or zero.", show_default=False)
    ] = None,
    sensitivities: Annotated[
        str | None, typer.Option(help="Maps of SENSE: walsh or espirit.", show_default=False)
    ] = None,
    shared_maps: Annotated[
        bool | None, typer.Option(help="One set of maps for all volumes.", show_default=False)
    ] = None,
    ghost_correction: Annotated[
        str | None,
        typer.Option(help="Of echo trains: auto, navigator, entropy or none.", show_default=False),
    ] = None,
    distortion_correction: Annotated[
        str | None, typer.Option(help="Of nonlinear gradients: none, 2d or 3d.", show_default=False)
    ] = None,
    intensity_correction: Annotated[
        str | None, typer.Option(help="none or prescan_normalize.", show_default=False)
    ] = None,
    bits: Annotated[
        int | None, typer.Option(help="Round to integers of so many bits.", show_default=False)
    ] = None,
    scaling: Annotated[
        str | None, typer.Option(help="Of rounded values: max or philips.", show_default=False)
    ] = None,
    rescale_slope: Annotated[
        float | None, typer.Option(help="Slope of --scaling philips.", show_default=False)
    ] = None,
    prewhiten: Annotated[bool | None, typer.Option(help="Use the noise scan.", show_default=False)] = None,
    debug: Debug = False,
) -> None:
    """Reconstruct ISMRMRD raw data to NIfTI with a BIDS sidecar."""
    from mrsim.studies.single import recon_file

    made = recon_file(
        raw,
        out,
        {
            "combine": combine,
            "acceleration": acceleration,
            "partial_fourier": partial_fourier,
            "sensitivities": sensitivities,
            "shared_maps": shared_maps,
            "ghost_correction": ghost_correction,
            "distortion_correction": distortion_correction,
            "intensity_correction": intensity_correction,
            "bits": bits,
            "scaling": scaling,
            "rescale_slope": rescale_slope,
            "prewhiten": prewhiten,
        },
    )
    size = " x ".join(f"{edge:g}" for edge in made["voxel_size_mm"])
    print(f"wrote {out}: {' x '.join(map(str, made['shape']))}, {size} mm")


def harmonize(
    method: Annotated[
        str,
        typer.Argument(metavar="METHOD", help="See mrsim list harmonizers; or external.", show_default=False),
    ],
    source: Annotated[
        Path,
        typer.Option(
            "--in", metavar="BIDS|TABLE", help="BIDS folder, or .csv/.tsv table.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="New folder, or table.", show_default=False)],
    site_column: Annotated[
        str | None,
        typer.Option(
            "--site-column", help="Column with the site (default: session; site).", show_default=False
        ),
    ] = None,
    covariates: Annotated[
        str,
        typer.Option("--covariates", metavar="A,B", help="Columns whose effect is kept.", show_default=False),
    ] = "",
    keep: Annotated[
        str,
        typer.Option(
            "--keep", metavar="A,B", help="Numeric columns that are no features.", show_default=False
        ),
    ] = "",
    contrast: Annotated[str, typer.Option("--contrast", help="Suffix of the images.")] = "T1w",
    masks: Annotated[
        Path | None,
        typer.Option("--masks", metavar="BIDS", help="Folder with a mask per image.", show_default=False),
    ] = None,
    command: Annotated[
        str | None,
        typer.Option(
            "--command",
            help="Program of METHOD external: reads {in}, writes {out}; {site_column} too.",
            show_default=False,
        ),
    ] = None,
    timeout: Annotated[float, typer.Option("--timeout", help="Longest time of the program, in s.")] = 86400.0,
    param: Param = None,
    debug: Debug = False,
) -> None:
    """Harmonize a table of features, or the images or diffusion scans of a BIDS dataset."""
    from mrsim.studies.problems import InputError
    from mrsim.studies.single_harmonize import harmonize_table

    params = _parse_params(param or [])
    if source.is_dir():
        made = _harmonize_folder(
            method,
            source,
            out,
            {"site_column": site_column or "session", "contrast": contrast},
            {"params": params, "masks": masks},
            {"command": command, "timeout": timeout},
            covariates,
        )
    elif source.is_file():
        if command is not None or masks is not None:
            raise ValueError("--command and --masks must be left out for tables; got one of them. Drop it.")
        made = harmonize_table(
            method,
            source,
            out,
            site_column=site_column or "site",
            covariates=[name for name in covariates.split(",") if name],
            keep=[name for name in keep.split(",") if name],
            params=params,
        )
    else:
        raise InputError.single(file=str(source), cause="no such file or folder", remedy="Give --in.")
    names = made.get("features", [])
    counts = {name: len(count) if isinstance(count, list) else count for name, count in made.items()}
    print(f"wrote {out}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
    if names:
        # A subject's number or an age that was not named as a covariate would be among them.
        more = f" and {len(names) - _SHOWN_FEATURES} more" if len(names) > _SHOWN_FEATURES else ""
        print(f"harmonized: {', '.join(names[:_SHOWN_FEATURES])}{more}")


def _harmonize_folder(
    method: str,
    source: Path,
    out: Path,
    dataset: dict[str, Any],
    choices: dict[str, Any],
    program: dict[str, Any],
    covariates: str,
) -> dict[str, Any]:
    """Send a folder to a registered method or to a program; refuse options that would do nothing."""
    from mrsim.studies.harmonize_folder import harmonize_by_program, harmonize_images

    if covariates:
        raise ValueError(
            f"--covariates must be left out for folders, since no method of images keeps any; "
            f"got {covariates!r}. Harmonize a table of features instead."
        )
    if (method == "external") != (program["command"] is not None):
        raise ValueError(
            f"--command must be given with METHOD external, and only then; got METHOD {method!r}. "
            "Example: mrsim harmonize external --command 'program {in} {out}' --in BIDS --out NEW"
        )
    if method == "external":
        return harmonize_by_program(source=source, out=out, **dataset, **program)
    return harmonize_images(method, source, out, **dataset, **choices)


def evaluate(
    images: Annotated[
        Path, typer.Option("--in", metavar="FILE|DIR", help="Image, or folder of images.", show_default=False)
    ],
    reference: Annotated[
        Path, typer.Option("--reference", metavar="FILE|DIR", help="What they should be.", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="TABLE", help="Table to write (.csv, .tsv).", show_default=False),
    ] = None,
    mask: Annotated[Path | None, typer.Option("--mask", help="Where to compare.", show_default=False)] = None,
    debug: Debug = False,
) -> None:
    """Compare images with references: error, SSIM, correlation."""
    from mrsim.studies.single_harmonize import evaluate_images

    from .tables import console, table

    scores = evaluate_images(images, reference, out, mask)
    columns = [
        name
        for name in ("nrmse", "ssim", "psnr", "correlation", "nrmse_matched", "ssim_matched")
        if name in scores
    ]
    shown = table("", ("image", *columns), right=columns)
    for row in scores.to_dict("records"):
        shown.add_row(str(row["image"]), *(f"{row[name]:.4g}" for name in columns))
    console().print(shown)

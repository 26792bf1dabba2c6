"""Harmonizing BIDS folders: images of one contrast, diffusion scans, and by programs of others."""

import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .problems import InputError, did_you_mean
from .single import finished_whole
from .single_harmonize import read_table

_SUFFIXES = (".nii.gz", ".nii")


def harmonize_images(
    method: str,
    source: Path,
    out: Path,
    *,
    contrast: str = "T1w",
    site_column: str = "session",
    masks: Path | None = None,
    params: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Harmonize the images of one contrast, or the diffusion scans, of a BIDS dataset.

    Images are read one at a time, twice; only what the method learns stays in memory. A method that knows
    contrasts is told this one. Diffusion scans need ``.bval`` and ``.bvec`` files, beside them or inherited.

    Parameters
    ----------
    method : str
        Name of a harmonizer of images or of diffusion scans.
    source : Path
        Root of the dataset.
    out : Path
        New folder of derivatives.
    contrast : str
        Suffix of the images; diffusion scans have ``dwi``.
    site_column : str
        ``session`` (each session label is a site), or a column of participants.tsv.
    masks : Path, optional
        Dataset with one ``*_mask.nii[.gz]`` per image under the image's name and folder.
    params : mapping, optional
        Parameters of the method.
    """
    import nibabel as nib

    from mrsim.harmonizers import DiffusionHarmonizer, ImageHarmonizer, harmonizer, read_gradients

    estimator: Any = harmonizer(method)
    if not isinstance(estimator, (ImageHarmonizer, DiffusionHarmonizer)):
        raise InputError.single(
            file=method,
            cause="is for tables; this is a folder",
            remedy="`mrsim list harmonizers` tells the kinds.",
        )
    diffusion = isinstance(estimator, DiffusionHarmonizer)
    suffix = "dwi" if diffusion else contrast
    known = {"contrast": contrast} if "contrast" in estimator.get_params() else {}
    estimator.set_params(**{**known, **(params or {})})
    paths = _images(source, suffix)
    sites = site_labels(source, paths, site_column)
    inside = [None if masks is None else _mask_of(path, source, masks, suffix) for path in paths]
    weighted = [_gradient_files(path, source) for path in paths] if diffusion else []
    more: dict[str, Any] = {"gradients": (read_gradients(*files) for files in weighted)} if diffusion else {}
    estimator.fit(
        (nib.load(path) for path in paths),
        site=sites,
        masks=None if masks is None else (nib.load(path) for path in inside if path is not None),
        covariates={"subject": [entities(path)["sub"] for path in paths]},
        **more,
    )
    label = "".join(character for character in method if character.isalnum())
    with finished_whole(out) as temporary:
        for number, path in enumerate(paths):
            name = f"{_stem(path, suffix)}_desc-{label}_{suffix}"
            folder = temporary / path.parent.relative_to(source)
            folder.mkdir(parents=True, exist_ok=True)
            mask = inside[number]
            beside = {"gradients": read_gradients(*weighted[number])} if diffusion else {}
            made = estimator.transform(
                nib.load(path), site=sites[number], mask=None if mask is None else nib.load(mask), **beside
            )
            nib.save(made, folder / f"{name}.nii.gz")
            for file in weighted[number] if diffusion else ():
                shutil.copyfile(file, folder / f"{name}{file.suffix}")
    return {"images": len(paths), "sites": len(set(sites))}


def harmonize_by_program(
    command: str,
    source: Path,
    out: Path,
    *,
    contrast: str = "T1w",
    site_column: str = "session",
    timeout: float = 86400.0,
) -> dict[str, Any]:
    """Harmonize a BIDS dataset by a program (see `mrsim.harmonizers.run_program`).

    Parameters
    ----------
    command : str
        Program and arguments with ``{in}``, ``{out}`` and, if it likes, ``{site_column}``; split as a shell
        would, but no shell runs it.
    source, out : Path
        Root of the dataset, and new folder.
    contrast : str
        Suffix of the images that must come back.
    site_column : str
        ``session``, or a column of participants.tsv.
    timeout : float
        Longest time [s].
    """
    from mrsim.harmonizers import run_program

    try:
        arguments = shlex.split(command)
    except ValueError as error:
        raise InputError.single(
            file="--command", cause=f"cannot be split into arguments: {error}", remedy="Close the quotes."
        ) from None
    paths = _images(source, contrast)
    sites = site_labels(source, paths, site_column)
    made = run_program(arguments, source, out, site_column=site_column, contrast=contrast, timeout=timeout)
    return {"images": len(made), "sites": len(set(sites))}


def entities(path: Path) -> dict[str, str]:
    """Return the BIDS entities of a file name."""
    return dict(part.split("-", 1) for part in path.name.partition(".")[0].split("_") if "-" in part)


def site_labels(source: Path, paths: Sequence[Path], column: str) -> list[str]:
    """Return the site of each image: its session, or what participants.tsv says of its subject."""
    named = [entities(path) for path in paths]
    if column == "session":
        missing = [path.name for path, entity in zip(paths, named, strict=True) if "ses" not in entity]
        if missing:
            raise InputError.single(
                file=missing[0], cause="has no ses- entity to tell its site", remedy="Give --site-column."
            )
        return [entity["ses"] for entity in named]
    table = read_table(source / "participants.tsv", text=True)
    if column not in table.columns:
        raise InputError.single(
            file=str(source / "participants.tsv"),
            place=column,
            cause="no such column",
            remedy=did_you_mean(column, list(table.columns)),
        )
    known = {str(row["participant_id"]): str(row[column]) for row in table.to_dict("records")}
    unknown = sorted({f"sub-{entity['sub']}" for entity in named} - set(known))
    if unknown:
        raise InputError.single(file=str(source / "participants.tsv"), cause=f"has no row for {unknown[0]}")
    return [known[f"sub-{entity['sub']}"] for entity in named]


def _images(source: Path, suffix: str) -> list[Path]:
    paths = sorted(path for ending in _SUFFIXES for path in source.glob(f"sub-*/**/*_{suffix}{ending}"))
    if not paths:
        raise InputError.single(file=str(source), cause=f"holds no sub-*/**/*_{suffix}.nii[.gz]")
    return paths


def _stem(path: Path, suffix: str) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii").removesuffix(f"_{suffix}")


def _mask_of(path: Path, source: Path, masks: Path, suffix: str) -> Path:
    folder = masks / path.parent.relative_to(source)
    stem = _stem(path, suffix)
    found = [mask for ending in _SUFFIXES for mask in folder.glob(f"{stem}_*mask{ending}")] + [
        mask for ending in _SUFFIXES if (mask := folder / f"{stem}_mask{ending}").is_file()
    ]
    if len(set(found)) != 1:
        raise InputError.single(
            file=str(folder),
            cause=f"must hold one {stem}_*mask.nii[.gz]; found {len(set(found))}",
            remedy="Give the folder of masks with --masks.",
        )
    return found[0]


def _gradient_files(path: Path, source: Path) -> tuple[Path, Path]:
    """Return the .bval and .bvec that apply to a scan."""
    return _inherited(path, source, ".bval"), _inherited(path, source, ".bvec")


def _inherited(path: Path, source: Path, ending: str) -> Path:
    """Return the file with this ending that BIDS' inheritance principle gives a scan.

    From the scan's folder up to the root of the dataset, the first folder with files of the same suffix whose
    entities are all among the scan's decides, and must hold only one, or one with the most entities.
    """
    own, suffix = entities(path), path.name.partition(".")[0].rpartition("_")[2]
    folders = [path.parent, *path.parent.parents]
    for folder in folders[: folders.index(source) + 1]:
        found = [
            file
            for file in sorted(folder.glob(f"*{suffix}{ending}"))
            if file.stem.rpartition("_")[2] == suffix and entities(file).items() <= own.items()
        ]
        most = max((len(entities(file)) for file in found), default=0)
        closest = [file for file in found if len(entities(file)) == most]
        if len(closest) > 1:
            raise InputError.single(
                file=str(closest[1]),
                cause=f"applies to {path.name} as much as {closest[0].name} does",
                remedy="BIDS allows one per folder: remove one, or add an entity to its name.",
            )
        if closest:
            return closest[0]
    raise InputError.single(
        file=str(path.with_name(path.name.partition(".")[0] + ending)),
        cause="no such file, nor one above it that applies",
        remedy=f"Diffusion scans need a {ending} beside them or, inherited, higher up in the dataset.",
    )

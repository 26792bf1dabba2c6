"""Harmonizing tables and evaluating images, in standard files."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .problems import InputError, Problem, did_you_mean
from .single import finished_whole, need_file

if TYPE_CHECKING:
    import pandas as pd

_TABLES = {".csv": ",", ".tsv": "\t"}
# Problems of a table that are told at once.
_MOST_PROBLEMS = 8


def read_table(path: Path, *, text: bool = False) -> "pd.DataFrame":
    """Read a CSV or TSV table; with `text`, every cell as it is written ("01" stays "01")."""
    import pandas as pd

    _need_table_name(path)
    need_file(path, "a table (.csv, .tsv)")
    try:
        if text:
            return pd.read_csv(path, sep=_TABLES[path.suffix], dtype=str, keep_default_na=False)
        return pd.read_csv(path, sep=_TABLES[path.suffix])
    except (ValueError, OSError) as error:
        raise InputError.single(file=str(path), cause=f"cannot be read as a table: {error}") from None


def harmonize_table(
    method: str,
    source: Path,
    out: Path,
    *,
    site_column: str,
    covariates: Sequence[str] = (),
    keep: Sequence[str] = (),
    params: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Harmonize a table of features: every numeric column but site, covariates and those to keep.

    Cells without a value, and words in a column of numbers, are refused with their lines.

    Parameters
    ----------
    method : str
        Name of a feature harmonizer.
    source, out : Path
        Tables; `out` has the same columns and rows.
    site_column : str
        Column with the site of each row.
    covariates : sequence of str
        Columns with the biology to keep.
    keep : sequence of str
        Numeric columns that are no features.
    params : mapping, optional
        Parameters of the method.
    """
    from mrsim.harmonizers import FeatureHarmonizer, harmonizer

    estimator = harmonizer(method, **(params or {}))
    if not isinstance(estimator, FeatureHarmonizer):
        raise InputError.single(
            file=method,
            cause="is for images; this is a table",
            remedy="`mrsim list harmonizers` tells the kinds.",
        )
    _need_table_name(out)
    if out.exists() and source.exists() and out.samefile(source):
        raise InputError.single(file=str(out), cause="is the table itself", remedy="Give another --out.")
    table = read_table(source)
    for column in (site_column, *covariates, *keep):
        if column not in table.columns:
            raise InputError.single(
                file=str(source),
                place=column,
                cause="no such column",
                remedy=did_you_mean(column, list(table.columns)),
            )
    # All but the features goes from file to file as it is written.
    made = read_table(source, text=True)
    _need_pure(source, table, covariates, "Correct it: a covariate is numbers, or groups by name.")
    features = _features(source, table, {site_column, *covariates, *keep})
    _need_values(source, table, [site_column, *covariates, *features])
    sites = made[site_column].tolist()
    if estimator.declared().needs_site_labels and len(set(sites)) == 1:
        raise InputError.single(
            file=str(source),
            place=site_column,
            cause=f"every row is of site {sites[0]!r}, so there is nothing to harmonize",
            remedy="Check --site-column.",
        )
    biology = table[list(covariates)] if covariates else None
    try:
        made[features] = estimator.fit_transform(table[features], site=sites, covariates=biology)
    except ValueError as error:
        raise InputError.single(file=str(source), cause=str(error)) from error
    with finished_whole(out) as temporary:
        made.to_csv(temporary, sep=_TABLES[out.suffix], index=False)
    return {"features": features, "rows": len(made), "sites": len(set(sites))}


def _need_table_name(path: Path) -> None:
    if path.suffix not in _TABLES:
        raise InputError.single(file=str(path), cause="tables are .csv or .tsv files")


def _features(source: Path, table: "pd.DataFrame", others: set[str]) -> list[str]:
    """Return the numeric columns besides `others`; a column of numbers with words in it is refused."""
    candidates = table.columns.difference(list(others), sort=False)
    _need_pure(source, table, candidates, "Correct it, or name the column in --keep.")
    features = [name for name in table.select_dtypes("number").columns if name not in others]
    if not features:
        raise InputError.single(file=str(source), cause="has no numeric columns besides site and covariates")
    return features


def _need_pure(source: Path, table: "pd.DataFrame", columns: Iterable[str], remedy: str) -> None:
    """Refuse columns most of whose values are numbers and some are words: they are neither."""
    import pandas as pd

    problems = []
    for name in columns:
        if pd.api.types.is_numeric_dtype(table[name]):
            continue
        words = pd.to_numeric(table[name], errors="coerce").isna() & table[name].notna()
        if words.sum() < len(table) / 2:
            row = int(words.to_numpy().argmax())
            problems.append(
                Problem(
                    file=str(source),
                    place=f"line {row + 2}, column {name!r}",
                    cause=f"holds {table[name].iloc[row]!r} among numbers",
                    remedy=remedy,
                )
            )
    if problems:
        raise InputError(problems[:_MOST_PROBLEMS])


def _need_values(source: Path, table: "pd.DataFrame", columns: Sequence[str]) -> None:
    empty = [
        Problem(
            file=str(source),
            place=f"line {row + 2}, column {name!r}",
            cause="holds no value",
            remedy="Fill it in, or leave the row or the column out.",
        )
        for name in columns
        for row in table[name].isna().to_numpy().nonzero()[0]
    ]
    if empty:
        raise InputError(empty[:_MOST_PROBLEMS])


def evaluate_images(
    images: Path, reference: Path, out: Path | None, mask: Path | None = None
) -> "pd.DataFrame":
    """Compare images with references voxel by voxel.

    Parameters
    ----------
    images, reference : Path
        Two files, or two folders whose files are paired by relative path (``desc-`` entities do not count).
    out : Path, optional
        Table to write.
    mask : Path, optional
        Where to compare; voxels of the reference above 5 % of its maximum when absent.

    Returns
    -------
    DataFrame
        One row per pair (see `mrsim.evaluation.image_errors`).
    """
    import pandas as pd

    pairs = _pairs(images, reference)
    rows = [{"image": str(name)} | _errors(first, second, mask) for name, first, second in pairs]
    table = pd.DataFrame(rows)
    if out is not None:
        with finished_whole(out) as temporary:
            table.to_csv(temporary, sep=_TABLES.get(out.suffix, ","), index=False)
    return table


def _pairs(images: Path, reference: Path) -> list[tuple[str, Path, Path]]:
    if images.is_file() and reference.is_file():
        return [(images.name, images, reference)]
    for path in (images, reference):
        if not path.is_dir():
            raise InputError.single(
                file=str(path),
                cause="no such file or folder",
                remedy="Give two images, or two folders of images.",
            )
    wanted = {_plain_name(path, reference): path for path in reference.rglob("*.nii*")}
    found = [
        (name, path, wanted[name])
        for path in sorted(images.rglob("*.nii*"))
        if (name := _plain_name(path, images)) in wanted
    ]
    if not found:
        raise InputError.single(file=str(images), cause=f"holds no image that has a partner in {reference}")
    return found


def _plain_name(path: Path, root: Path) -> str:
    parts = [part for part in path.name.split("_") if not part.startswith("desc-")]
    return (path.relative_to(root).parent / "_".join(parts)).as_posix()


def _errors(image: Path, reference: Path, mask: Path | None) -> dict[str, float]:
    import nibabel as nib
    import numpy as np

    from mrsim.evaluation import image_errors

    first, second = (np.asarray(nib.load(path).dataobj, dtype=np.float64) for path in (image, reference))
    if first.shape != second.shape:
        raise InputError.single(
            file=str(image),
            cause=f"must have the shape of {reference.name} {second.shape}; got {first.shape}",
            remedy="Resample one of them.",
        )
    inside = second > 0.05 * second.max() if mask is None else np.asarray(nib.load(mask).dataobj) > 0
    return dict(image_errors(first, second, inside))

"""Stages between aligned images and scores: features, and the harmonizers of images and of features."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .canonical import pretty_json
from .stage import StageContext

if TYPE_CHECKING:
    import numpy as np

    from mrsim.harmonizers import FeatureHarmonizer, ImageHarmonizer


def features(ctx: StageContext) -> None:
    """Measure one image: ``features.json`` (volumes, intensities, edges) and ``descriptors.json``.

    Segmentation sees the image, a brain mask and template priors; nothing of the truth but the mask.
    """
    import numpy as np

    from mrsim.evaluation import SegmentationOptions, image_descriptors, scan_features, segment

    from .stage_scan import REGION_CLASSES, load_maps
    from .volumes import load_volume

    image, affine = load_volume(ctx.one("image") / "image.nii.gz")
    maps = load_maps(ctx.one("maps"))
    mask = maps["mask"]
    voxel = tuple(float(v) for v in np.linalg.norm(affine[:3, :3], axis=0))
    regions = dict(zip(maps["region_names"].tolist(), maps["regions"], strict=True))
    options = SegmentationOptions(contrast=str(ctx.key["contrast"]))
    found = segment(image, mask, maps["priors"], options=options)
    row = scan_features(image, found, mask, voxel, regions=regions, tissues_of=REGION_CLASSES)
    described = image_descriptors(image, mask, voxel)
    (ctx.out_dir / "features.json").write_bytes(pretty_json(_finite(row)))
    (ctx.out_dir / "descriptors.json").write_bytes(pretty_json(_finite(described)))


def _finite(row: Mapping[str, float]) -> dict[str, float | None]:
    import math

    return {name: (float(value) if math.isfinite(value) else None) for name, value in row.items()}


def read_row(path: Path) -> dict[str, float]:
    """Numbers of a row file; missing ones become nan."""
    values = json.loads(path.read_text())
    return {name: float("nan") if value is None else float(value) for name, value in values.items()}


class _Lazy(Sequence[Any]):
    """Images of a contrast, loaded one at a time."""

    def __init__(self, folders: Sequence[Path], name: str) -> None:
        self._paths = [folder / name for folder in folders]

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: Any) -> Any:
        from .volumes import load_image

        return load_image(self._paths[index])

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))


def _image_method(ctx: StageContext) -> "ImageHarmonizer":
    """Harmonizer of a cell; a method that knows contrasts is told its own."""
    from mrsim.harmonizers import ImageHarmonizer, harmonizer

    params = dict(ctx.params["params"])
    if "contrast" in params:
        params["contrast"] = str(ctx.key["contrast"])
    method = harmonizer(str(ctx.params["name"]), **params)
    if not isinstance(method, ImageHarmonizer):
        raise TypeError(f"{ctx.params['name']} must be a harmonizer of images; it is one of features.")
    return method


def harmonize_fit(ctx: StageContext) -> None:
    """Fit an image harmonizer on all scans of one contrast: ``model.json`` with its arrays."""
    from mrsim.harmonizers import save_harmonizer

    pairs = ctx.keyed("images")
    sites = [str(key["session"]) for key, _ in pairs]
    folders = [folder for _, folder in pairs]
    method = _image_method(ctx)
    method.fit(
        _Lazy(folders, "image.nii.gz"),
        site=sites,
        masks=_Lazy(folders, "mask.nii.gz"),
        covariates={"subject": [str(key["subject"]) for key, _ in pairs]},
    )
    save_harmonizer(ctx.out_dir / "model.json", method)


def harmonize(ctx: StageContext) -> None:
    """Harmonize one image: ``image.nii.gz``."""
    import numpy as np

    from mrsim.harmonizers import ImageHarmonizer, load_harmonizer

    from .volumes import load_image, save_volume

    method = load_harmonizer(ctx.one("model") / "model.json")
    if not isinstance(method, ImageHarmonizer):
        raise TypeError("the saved model must be a harmonizer of images.")
    folder = ctx.one("image")
    image, mask = load_image(folder / "image.nii.gz"), load_image(folder / "mask.nii.gz")
    done = method.transform(image, site=str(ctx.key["session"]), mask=mask)
    affine = np.array(done.affine, dtype=np.float64)
    affine[:3] *= 1e-3
    save_volume(ctx.out_dir / "image.nii.gz", np.asarray(done.dataobj, dtype=np.float32), affine)


def feature_rows(
    pairs: Sequence[tuple[Mapping[str, str | int], Path]],
) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows (key and features) of feature cells, and the features that all of them have."""
    import math

    rows: list[dict[str, Any]] = [{**key, **read_row(folder / "features.json")} for key, folder in pairs]
    keys = {"method", "subject", "session", "run", "contrast"}
    names = [n for n in rows[0] if n not in keys and all(math.isfinite(r.get(n, math.nan)) for r in rows)]
    return rows, names


def people(pairs: Sequence[tuple[Mapping[str, str | int], Path]]) -> dict[str, dict[str, Any]]:
    """Truth block per subject label."""
    return {str(key["subject"]): json.loads((folder / "truth.json").read_text()) for key, folder in pairs}


def covariates(rows: Sequence[Mapping[str, Any]], truth: Mapping[str, Mapping[str, Any]]) -> Any:
    """Age, sex and diagnosis of every row: what a real study would give a harmonizer to keep."""
    import pandas as pd

    return pd.DataFrame(
        {
            "age": [float(truth[str(row["subject"])]["age"]) for row in rows],
            "sex": [str(truth[str(row["subject"])]["sex"]) for row in rows],
            "diagnosis": [str(truth[str(row["subject"])].get("diagnosis", "control")) for row in rows],
        }
    )


def _fitted_table(
    method: "FeatureHarmonizer",
    table: "np.ndarray[Any, Any]",
    sites: "np.ndarray[Any, Any]",
    known: Any,
    seen: "np.ndarray[Any, Any]",
) -> "np.ndarray[Any, Any]":
    """Fit on the rows that may be seen and transform all; covariates that do not vary among them stay out."""
    import numpy as np

    varying = [c for c in known.columns if known[c][seen].nunique() > 1]
    given = known[varying] if varying else None
    if seen.all():
        return np.asarray(method.fit_transform(table, site=sites.tolist(), covariates=given))
    fitted = None if given is None else given[seen].reset_index(drop=True)
    method.fit(table[seen], site=sites[seen].tolist(), covariates=fitted)
    return np.asarray(method.transform(table, site=sites.tolist(), covariates=given))


def feature_harmonize(ctx: StageContext) -> None:
    """Harmonize the feature table of one contrast: ``table.json`` with one row per scan.

    Scans of a scanner that is held out are in no fit; a method that cannot extrapolate leaves them out.
    """
    import numpy as np

    from mrsim.harmonizers import FeatureHarmonizer, harmonizer

    rows, names = feature_rows(ctx.keyed("features"))
    method = harmonizer(str(ctx.params["name"]), **ctx.params["params"])
    if not isinstance(method, FeatureHarmonizer):
        raise TypeError(f"{ctx.params['name']} must be a harmonizer of features; it is one of images.")
    held_out = str(ctx.params.get("held_out", ""))
    if held_out and not method.declared().handles_unseen_site:
        rows = [row for row in rows if row["session"] != held_out]
    sites = np.array([str(row["session"]) for row in rows])
    table = np.array([[row[name] for name in names] for row in rows])
    known = covariates(rows, people(ctx.keyed("phantoms")))
    done = _fitted_table(method, table, sites, known, sites != held_out)
    keys = ("subject", "session", "run", "contrast")
    out = [
        {**{key: row[key] for key in keys}, "features": dict(zip(names, map(float, values), strict=True))}
        for row, values in zip(rows, done, strict=True)
    ]
    (ctx.out_dir / "table.json").write_bytes(pretty_json(out))

"""The last stages: tables of the dataset, and the report that a person opens."""

import json
from collections.abc import Mapping
from typing import Any

from .stage import StageContext
from .stage_harmonize import people
from .stage_scan import TRUTH_SESSION, load_maps
from .volumes import load_volume


def dataset(ctx: StageContext) -> None:
    """Write descriptions and tables of the BIDS dataset."""
    from . import bids

    bids.write_dataset(ctx.out_dir, participants=_participants(ctx), **ctx.params)


def _participants(ctx: StageContext) -> list[dict[str, Any]]:
    return [
        {
            "subject": s,
            "age": float(t["age"]),
            "sex": str(t["sex"]),
            "icv": float(t["icv_ml"]),
            "diagnosis": str(t["diagnosis"]),
            "site": ", ".join(t["sites"]),
            "lesions": float(t.get("lesions", {}).get("volume_ml", 0.0)),
        }
        for s, t in sorted(people(ctx.keyed("phantoms")).items())
    ]


def report(ctx: StageContext) -> None:
    """Write ``report.html`` and all scores as ``scores.tsv`` from whatever succeeded."""
    import pandas as pd

    from mrsim.evaluation.report import ReportData, ReportImage, write_report

    p = ctx.params
    scores, details = [], {}
    for key, folder in ctx.keyed("evaluations"):
        table = pd.read_csv(folder / "scores.tsv", sep="\t", na_values=["n/a"], keep_default_na=False)
        scores.append(table)
        details[str(key["method"])] = json.loads((folder / "details.json").read_text())
    images = []
    for key, folder in ctx.keyed("images"):
        data, affine = load_volume(folder / "image.nii.gz")
        voxel = tuple(float(v) for v in (affine[:3, :3] ** 2).sum(axis=0) ** 0.5)
        method = TRUTH_SESSION if key["session"] == TRUTH_SESSION else str(key.get("method", "raw"))
        images.append(
            ReportImage(
                method=method, session=str(key["session"]), run=int(key["run"]),
                contrast=str(key["contrast"]), data=data, voxel_size=(voxel[0], voxel[1], voxel[2]),
            )
        )  # fmt: skip
    maps = ctx.many("maps")
    content = ReportData(
        title=str(p["title"]),
        study=dict(p["study"]),
        scanners=_as_simulated(p),
        cards=dict(p["cards"]),
        reference=str(p["study"]["study"]["reference_scanner"]),
        participants=_participants(ctx),
        scores=pd.concat(scores, ignore_index=True) if scores else None,
        details=details,
        images=images,
        mask=load_maps(maps[0])["mask"] if maps else None,
        example_subject=str(p["example_subject"]),
        recipe={**p["recipe"], "versions": versions()},
        failures=[{"stage": f.stage, "key": dict(f.key), "error": f.error} for f in ctx.failures],
    )
    write_report(ctx.out_dir / "report.html", content)
    table = content.scores if content.scores is not None else pd.DataFrame(columns=["method"])
    table.to_csv(ctx.out_dir / "scores.tsv", sep="\t", index=False, na_rep="n/a", lineterminator="\n")


def _as_simulated(params: Mapping[str, Any]) -> dict[str, Any]:
    """Scanner records with the number of loops that the study asked for."""
    coils = params["study"]["simulation"]["coils"]
    found = {label: dict(record) for label, record in params["scanners"].items()}
    if coils is not None:
        for record in found.values():
            record["receive"] = {**record["receive"], "simulated_channels": coils}
    return found


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for name in ("mrsim", "numpy", "scipy", "numba", "finufft", "pypulseq", "ismrmrd", "scikit-learn"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found

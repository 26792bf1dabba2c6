"""Stages that leave the files of a whole study without computing anything: tiny images, real sidecars."""

import gzip
import json
import os

import numpy as np

from mrsim.studies import bids
from mrsim.studies.sidecar import sidecar
from mrsim.studies.stage import Cost, Stage, StageContext


def phantom(context: StageContext) -> None:
    if os.environ.get("MRSIM_TEST_FAIL") == context.key["subject"]:
        raise ValueError("planted error")
    low, high = context.params["age_range"]
    truth = {
        "subject": context.key["subject"],
        "age": round(float(context.rng.uniform(low, high)), 1),
        "sex": "F",
        "icv_ml": 1500.0,
        "diagnosis": "ad",
        "lesions": 1.25,
        "site": context.params.get("design", {"sites": [""]})["sites"][0],
    }
    (context.out_dir / "truth.json").write_text(json.dumps(truth))


def recon(context: StageContext) -> None:
    _image(context)
    record = sidecar(context.params["scanner"], context.params["card"])
    (context.out_dir / "image.json").write_text(json.dumps(record))


def _image(context: StageContext) -> None:
    import nibabel as nib

    image = nib.Nifti1Image(context.rng.integers(0, 99, (4, 5, 6)).astype(np.int16), np.eye(4))
    image.header.set_xyzt_units("mm", "sec")
    (context.out_dir / "image.nii.gz").write_bytes(gzip.compress(image.to_bytes(), mtime=0))


def nothing(context: StageContext) -> None:
    (context.out_dir / "done.txt").write_text(context.key.get("method", ""))


def dataset(context: StageContext) -> None:
    truths = [json.loads((path / "truth.json").read_text()) for path in context.many("phantoms")]
    people = [{**truth, "icv": truth["icv_ml"]} for truth in truths]
    bids.write_dataset(context.out_dir, participants=people, **context.params)


def report(context: StageContext) -> None:
    failures = [f"{failure.stage}: {failure.error}" for failure in context.failures]
    (context.out_dir / "report.html").write_text("\n".join(["report", *failures]))
    (context.out_dir / "scores.tsv").write_text("method\n")


def _cost(params):
    return Cost(core_seconds=0.01, memory=1 << 20, size=1000)


_IDLE = ("maps", "sequence", "scan", "features", "harmonize_fit", "feature_harmonize", "evaluate")
RUNS = dict.fromkeys(_IDLE, nothing) | {
    "phantom": phantom,
    "recon": recon,
    "align": _image,
    "harmonize": _image,
    "dataset": dataset,
    "report": report,
}

STAGES = {name: Stage(name=name, version="1", run=function, cost=_cost) for name, function in RUNS.items()}

"""A traveling subject is one and the same on every scanner, and equal scanners make equal images of it."""

import hashlib

import numpy as np
import pytest

from mrsim.studies.ledger import Ledger
from mrsim.studies.volumes import load_volume

from .study import SESSIONS, SUBJECTS, Run, mrsim

# What is drawn anew for every visit.
DRAWN = (
    "shim", "frequency", "transmit_calibration", "gradient_scale", "frequency_drift", "gain", "spikes",
    "motion", "repositioning", "noise",
)  # fmt: skip
TWINS = f"""
[study]
name = "twins"
seed = 4
reference_scanner = "left"

[cohort]
subjects = 1
voxel_size_mm = 3.5
age_range = [60.0, 80.0]
diagnoses = {{ ad = 1.0 }}
lesions = 1.0
texture = 0.02

[simulation]
coils = 2
tolerance = 0.03
noise = false
off = {list(DRAWN)}

[[protocols]]
contrast = "T1w"
voxel_size_mm = 6.0

[[scanners]]
name = "siemens-avanto-1p5t"
label = "left"

[[scanners]]
name = "siemens-avanto-1p5t"
label = "right"
repeats = 2
"""


def phantoms_of(run: Run, subject: str):
    """Files that the scans of a subject were made of: checksum of each, by session and run."""
    ledger = Ledger(run.root)
    scans = [c for c in run.plan if c.stage == "scan" and c.key["subject"] == subject]
    return {
        (cell.key["session"], cell.key["run"]): hashlib.sha256(
            (ledger.folder(run.plan[cell.inputs["phantom"]]) / "phantom.h5").read_bytes()
        ).hexdigest()
        for cell in scans
    }


def test_every_scanner_sees_the_same_file(small):
    found = {subject: phantoms_of(small, subject) for subject in SUBJECTS}
    for files in found.values():
        assert {session for session, _ in files} == {*SESSIONS, "truth"}
        assert len(set(files.values())) == 1
    assert len({next(iter(files.values())) for files in found.values()}) == len(SUBJECTS)


@pytest.mark.slow
def test_equal_scanners_without_noise_make_equal_images(tmp_path):
    """Two scanners of one record, everything that visits draw switched off: not a bit differs."""
    (tmp_path / "twins.toml").write_text(TWINS)
    done = mrsim("run", tmp_path / "twins.toml", "--out", tmp_path / "out", "--jobs", 1)
    assert done.returncode == 0, done.stdout
    run = Run(tmp_path / "out", tmp_path / "twins.toml", done.returncode, done.stdout)
    assert len(set(phantoms_of(run, "01").values())) == 1
    first = run.aligned("01", "left")
    assert first.std() > 0
    for key in ({"run": 1}, {"run": 2}):
        folder = run.folder("recon", subject="01", session="right", **key)
        other = run.folder("recon", subject="01", session="left")
        assert (folder / "image.nii.gz").read_bytes() == (other / "image.nii.gz").read_bytes()
    (cell,) = [c for c in run.plan if c.stage == "align" and c.key["session"] == "truth"]
    target = load_volume(Ledger(run.root).folder(cell) / "image.nii.gz")[0]
    # The counterfactual is the same scan: with nothing drawn, it is the image itself.
    assert np.array_equal(first, target)

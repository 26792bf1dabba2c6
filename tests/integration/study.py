"""A study small enough to run in a test, and a view of its output."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from mrsim.studies.ledger import Ledger
from mrsim.studies.project import read_plan
from mrsim.studies.volumes import load_volume, resample
from phantoms import load_phantom

SUBJECTS = ("01", "02", "03")
SESSIONS = ("prisma", "avanto")
METHODS = ("blur", "nyul", "combat")
CELLS = 77
"""3 phantoms, maps; 2 sequences; 9 scans, recons, aligned images (6 and 3 counterfactuals); 21 features;
2 fits, 12 harmonized images, 1 table; 4 evaluations, dataset, report."""

HEAD = """
[study]
name = "small"
seed = 11
reference_scanner = "prisma"
description = "Traveling subjects at two fields, coarse."

[cohort]
subjects = {subjects}
voxel_size_mm = 3.0

[[protocols]]
contrast = "T1w"
voxel_size_mm = 5.0

[simulation]
coils = 4
tolerance = 0.02

[evaluation]
bootstrap = 100
permutations = 50

[[scanners]]
name = "siemens-prisma-3t"
label = "prisma"

[[scanners]]
name = "siemens-avanto-1p5t"
label = "avanto"
"""
HARMONIZERS = """
[[harmonizers]]
name = "blur"

[[harmonizers]]
name = "nyul"

[[harmonizers]]
name = "combat"
params = { reference_site = "prisma" }
"""
BRAIN = {
    "csf": ("csf", "ventricular_csf", "arterial_blood", "venous_blood"),
    "gm": (
        "gm", "cerebellar_gm", "thalamus", "caudate", "putamen", "pallidum", "hippocampus", "amygdala",
        "accumbens", "dentate",
    ),
    "wm": ("wm", "cerebellar_wm", "brainstem", "red_nucleus", "substantia_nigra"),
}  # fmt: skip


def write_study(folder: Path, *, subjects: int = 3, more: str = "", harmonizers: str = HARMONIZERS) -> Path:
    path = folder / "study.toml"
    path.write_text(HEAD.format(subjects=subjects) + more + harmonizers)
    return path


def command(*arguments):
    code = "from mrsim.cli import main; main()"
    return [sys.executable, "-c", code, *map(str, arguments)]


def environment():
    """One thread for each library, as a cluster's job script would say, and no colours."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    return os.environ | dict.fromkeys(names, "1") | {"NO_COLOR": "1"}


def mrsim(*arguments, timeout=600):
    """Run the command line in a process of its own; the output has both streams."""
    return subprocess.run(
        command(*arguments), env=environment(), timeout=timeout, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def published(root: Path) -> dict[str, str]:
    """Checksums of all that a person gets: every file outside the ledger."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and ".mrsim" not in path.relative_to(root).parts
    }


@dataclass(frozen=True, repr=False, eq=False)
class Scan:
    """One image where the scanner put it, and the truth of its subject on the same grid."""

    image: np.ndarray
    affine: np.ndarray
    pose: np.ndarray
    phantom: object

    def on_grid(self, values, *, pose=None, shift=(0.0, 0.0, 0.0), smooth=0.8):
        """A map of the phantom on the image's grid.

        ``smooth`` is the standard deviation [phantom voxels] of a Gaussian, here half an image voxel.
        """
        from scipy.ndimage import gaussian_filter

        moved = np.eye(4)
        moved[:3, 3] = shift
        pose = self.pose if pose is None else pose
        index = np.linalg.inv(self.phantom.affine) @ np.linalg.inv(pose) @ moved @ self.affine
        return resample(gaussian_filter(values, smooth), index, self.image.shape, order=1)

    @cached_property
    def tissues(self):
        return {name: self.on_grid(self.phantom.fraction(*parts)) for name, parts in BRAIN.items()}

    @cached_property
    def t1w(self):
        return t1w_map(self.phantom)


def t1w_map(phantom, tr=2.0, ti=0.88):
    """Inversion recovery of every tissue, echoes ignored: PD |1 - 2 exp(-TI/T1) + exp(-TR/T1)|."""
    return sum(
        fraction * tissue.pd * abs(1 - 2 * np.exp(-ti / tissue.t1) + np.exp(-tr / tissue.t1))
        for fraction, tissue in zip(phantom.fractions, phantom.properties(3.0), strict=True)
    )


@dataclass(frozen=True, repr=False, eq=False)
class Run:
    """A finished run."""

    root: Path
    study: Path
    code: int
    output: str

    @cached_property
    def plan(self):
        return read_plan(self.root)

    def folder(self, stage, **key) -> Path:
        """Where the one cell with this key left its files."""
        found = [c for c in self.plan if c.stage == stage and all(c.key.get(k) == v for k, v in key.items())]
        assert len(found) == 1, f"{stage} {key}: {len(found)} cells"
        return Ledger(self.root).folder(found[0])

    def phantom(self, subject):
        return load_phantom(self.folder("phantom", subject=subject) / "phantom.h5")

    def scan(self, subject, session) -> Scan:
        folder = self.folder("recon", subject=subject, session=session)
        image, affine = load_volume(folder / "image.nii.gz")
        session = json.loads((folder / "session.json").read_text())["session"]
        return Scan(image, affine, np.array(session["head_to_world"]), self.phantom(subject))

    def aligned(self, subject, session, method="raw"):
        stage, key = ("align", {}) if method == "raw" else ("harmonize", {"method": method})
        folder = self.folder(stage, subject=subject, session=session, **key)
        return load_volume(folder / "image.nii.gz")[0]

    def brain(self, subject):
        return load_volume(self.folder("maps", subject=subject) / "mask.nii.gz")[0] > 0

    def scores(self, method):
        """Rows of a method's table: (contrast or place, metric) -> (value, low, high)."""
        import pandas as pd

        path = self.folder("evaluate", method=method) / "scores.tsv"
        table = pd.read_csv(path, sep="\t", na_values=["n/a"], keep_default_na=False)
        assert set(table["method"]) == {method}
        return {
            (row.contrast, row.metric): (float(row.value), float(row.ci_low), float(row.ci_high))
            for row in table.itertuples()
        }

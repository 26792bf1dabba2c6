"""What a person gets from a run: a report, and a dataset that others can read."""

import json
import re

import numpy as np
import pytest

from ..studies.test_bids import validate
from .study import CELLS, SESSIONS, SUBJECTS, published

# Warnings of the validator that we could not avoid: none in the dataset; in its derivatives, the truth has no
# folders of subjects, since it holds no images of scanners.
TOLERATED = {("SUBJECT_FOLDERS", None)}

# BIDS 1.10, appendix of MRI metadata: recommended for every anatomical image.
RECOMMENDED = {
    "Manufacturer", "ManufacturersModelName", "SoftwareVersions", "MagneticFieldStrength", "InstitutionName",
    "InstitutionAddress", "InstitutionalDepartmentName", "DeviceSerialNumber", "StationName",
    "ReceiveCoilName",
    "ReceiveCoilActiveElements", "NumberReceiveCoilActiveElements", "CoilCombinationMethod", "MatrixCoilMode",
    "PulseSequenceType", "PulseSequenceDetails", "ScanningSequence", "SequenceVariant", "SequenceName",
    "MRAcquisitionType", "NonlinearGradientCorrection", "EchoTime", "InversionTime", "RepetitionTime",
    "FlipAngle", "DwellTime", "PixelBandwidth", "ParallelReductionFactorInPlane",
    "ParallelAcquisitionTechnique", "SpoilingState", "SpoilingType", "SpoilingRFPhaseIncrement",
}  # fmt: skip


def test_run_says_where_the_report_is(small):
    assert f"{CELLS} cells computed, 0 already done" in small.output
    assert small.output.rstrip().endswith(f"report: {small.root / 'report.html'}")
    assert "Warning" not in small.output
    assert not list((small.root / ".mrsim" / "tmp").iterdir())


def test_report_is_one_file(small):
    """No address, no file beside it: pictures and styles are inside."""
    page = (small.root / "report.html").read_text()
    sources = re.findall(r"""(?:src|href|srcset|poster|data)\s*=\s*["']([^"']*)""", page)
    assert len(sources) > 20
    assert [s for s in sources if not s.startswith(("data:", "#"))] == []
    outside = r"url\(\s*[\"']?(?!data:|#)|@import|<link[^>]+stylesheet|fetch\(|XMLHttpRequest"
    assert not re.search(outside, page)
    for word in ("blur", "nyul", "combat", "prisma", "avanto"):
        assert word in page


def test_validator_accepts_the_dataset(small):
    assert validate(small.root) == (0, set())
    code, issues = validate(small.root, "-r")
    assert code == 0
    assert issues <= TOLERATED


@pytest.mark.parametrize("session", SESSIONS)
@pytest.mark.parametrize("subject", SUBJECTS)
def test_sidecars_are_complete(small, subject, session):
    anat = small.root / f"sub-{subject}/ses-{session}/anat"
    record = json.loads((anat / f"sub-{subject}_ses-{session}_run-1_T1w.json").read_text())
    assert set(record) >= RECOMMENDED
    assert {key for key in RECOMMENDED if record[key] in (None, [])} == set()
    # The cards: UK Biobank's MPRAGE on the Prisma, MS-SMART's on the Avanto.
    tr, ti, te, field = {"prisma": (2.0, 0.88, 0.00203, 2.894), "avanto": (2.4, 1.0, 0.00345, 1.494)}[session]
    # Events lie on the gradient raster (10 us), the field is told to four digits.
    assert record["RepetitionTime"] == pytest.approx(tr, abs=1e-5)
    assert record["InversionTime"] == pytest.approx(ti, abs=1e-5)
    assert record["EchoTime"] == pytest.approx(te, abs=1e-5)
    assert record["MagneticFieldStrength"] == pytest.approx(field, abs=1e-3)
    assert record["FlipAngle"] == 8


def test_participants_are_the_truth(small):
    header, *lines = (small.root / "participants.tsv").read_text().splitlines()
    rows = [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines]
    assert [row["participant_id"] for row in rows] == [f"sub-{s}" for s in SUBJECTS]
    for subject, row in zip(SUBJECTS, rows, strict=True):
        path = small.root / f"derivatives/truth/sourcedata/sub-{subject}_truth.json"
        truth = json.loads(path.read_text())
        assert row["sex"] == truth["sex"]
        assert float(row["age"]) == pytest.approx(truth["age"], abs=0.05)  # written with one decimal
        assert float(row["icv"]) == pytest.approx(truth["icv_ml"], abs=0.05)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_true_volumes_are_those_of_the_phantom(small, subject):
    """Each region's volume is the sum of its tissue's fractions times the volume of a voxel."""
    path = small.root / f"derivatives/truth/sourcedata/sub-{subject}_truth.json"
    told = json.loads(path.read_text())["volumes_ml"]
    phantom = small.phantom(subject)
    millilitres = 1e6 * abs(np.linalg.det(phantom.affine[:3, :3]))
    tissue_of = {
        "ventricles": "ventricular_csf", "sulcal_csf": "csf", "cortical_gm": "gm", "cerebral_wm": "wm",
        "cerebellum_gm": "cerebellar_gm", "cerebellum_wm": "cerebellar_wm", "brainstem": "brainstem",
        "thalamus": "thalamus", "caudate": "caudate", "putamen": "putamen", "pallidum": "pallidum",
        "hippocampus": "hippocampus", "amygdala": "amygdala",
    }  # fmt: skip
    for region, tissue in tissue_of.items():
        own = phantom.fractions[phantom.tissues.index(tissue)].sum(dtype=np.float64) * millilitres
        # Sums of the same numbers: only the order of summation differs.
        assert told[region] == pytest.approx(own, rel=1e-5), region
    for name in ("thalamus", "caudate", "putamen", "pallidum", "hippocampus", "amygdala"):
        assert told[f"{name}_left"] + told[f"{name}_right"] == pytest.approx(told[name], rel=1e-5)


def test_every_file_is_known(small):
    """Nothing lies about that the plan does not publish, but the recipe."""
    planned = {path for cell in small.plan for path in cell.publish.values()}
    recipe = {"code/plan.jsonl", "code/study.toml", "code/study.resolved.json"}
    assert set(published(small.root)) == planned | recipe
    assert (small.root / "code/study.toml").read_bytes() == small.study.read_bytes()

"""`mrsim harmonize` on folders: images with masks and travelers, diffusion scans, programs, refusals."""

import sys

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from mrsim.cli.app import app

SHAPE = (14, 16, 12)


def call(*arguments):
    return CliRunner().invoke(app, ["harmonize", *(str(argument) for argument in arguments)])


def save(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data.astype(np.float32), np.diag([10.0, 9.0, 11.0, 1.0])), path)


@pytest.fixture
def dataset(tmp_path):
    """Two travelers at two scanners, with brain masks in a folder of derivatives."""
    root, masks = tmp_path / "bids", tmp_path / "masks"
    grid = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    radius = np.sqrt(sum(axis**2 for axis in grid))
    for number, subject in enumerate(("01", "02")):
        rng = np.random.default_rng(number)
        data = np.select([radius < 0.6, radius < 0.8, radius < 0.95], [800.0, 550.0, 250.0], 0.0)
        data = np.where(data > 0, data + 20.0 * rng.standard_normal(SHAPE), 0.0) * (1.0 + 0.2 * number)
        for session, gain in (("a", 1.0), ("b", 1.5)):
            name = f"sub-{subject}/ses-{session}/anat/sub-{subject}_ses-{session}"
            save(root / f"{name}_T1w.nii.gz", gain * data)
            save(masks / f"{name}_desc-brain_mask.nii.gz", data > 0)
    (root / "participants.tsv").write_text("participant_id\tscanner\nsub-01\tx\nsub-02\ty\n")
    return root, masks


def harmonized(out):
    return {p.name: np.asanyarray(nib.load(p).dataobj) for p in sorted(out.rglob("*.nii.gz"))}


def test_travelers_align_two_scanners(dataset, tmp_path):
    """Subjects are read from the file names; both scans of a person agree afterwards."""
    root, masks = dataset
    out = tmp_path / "out"
    told = call("mica", "--in", root, "--out", out, "--masks", masks, "--param", "reference_site=a")
    assert told.exit_code == 0, told.output
    assert "4 images, 2 sites" in told.output
    made = harmonized(out)
    assert len(made) == 4
    for subject in ("01", "02"):
        first, second = (made[f"sub-{subject}_ses-{s}_desc-mica_T1w.nii.gz"] for s in "ab")
        inside = first > 0
        assert np.abs(first - second)[inside].max() < 1e-3 * first.max()


def test_contrast_is_told_and_sites_come_from_the_table(dataset, tmp_path):
    root, masks = dataset
    out = tmp_path / "out"
    told = call("fcm", "--in", root, "--out", out, "--masks", masks, "--site-column", "scanner")
    assert told.exit_code == 0, told.output
    assert all(
        np.median(data[data > 0.85]) == pytest.approx(1.0, abs=0.02) for data in harmonized(out).values()
    )
    for path in root.rglob("*_T1w.nii.gz"):
        path.rename(path.with_name(path.name.replace("T1w", "T2w")))
    told = call("fcm", "--in", root, "--out", tmp_path / "t2", "--masks", masks, "--contrast", "T2w")
    assert told.exit_code == 0, told.output
    # On T2w the darkest class is white matter: here the rim.
    assert max(data.max() for data in harmonized(tmp_path / "t2").values()) > 2.5


def test_diffusion_scans(tmp_path):
    """Weightings travel with the scans; the means of the two scanners meet."""
    root, rng = tmp_path / "bids", np.random.default_rng(4)
    vectors = rng.standard_normal((3, 30))
    vectors /= np.linalg.norm(vectors, axis=0)
    for session, damping in (("a", 1.0), ("b", 0.8)):
        for subject in ("01", "02"):
            stem = root / f"sub-{subject}/ses-{session}/dwi/sub-{subject}_ses-{session}_dwi"
            signal = damping * np.exp(-0.4 - vectors[0] ** 2) * np.ones((5, 4, 3, 1))
            save(stem.with_suffix(".nii.gz"), 900.0 * np.concatenate([np.ones((5, 4, 3, 1)), signal], axis=3))
            np.savetxt(stem.with_suffix(".bval"), np.array([[0.0, *[1000.0] * 30]]), fmt="%.0f")
            np.savetxt(stem.with_suffix(".bvec"), np.column_stack([np.zeros(3), vectors]))
            mask = f"sub-{subject}/ses-{session}/dwi/sub-{subject}_ses-{session}_desc-brain_mask.nii.gz"
            save(tmp_path / "masks" / mask, np.ones((5, 4, 3)))
    out = tmp_path / "out"
    told = call(
        "linear-rish", "--in", root, "--out", out, "--masks", tmp_path / "masks", "--param", "sh_order=4"
    )
    assert told.exit_code == 0, told.output
    made = harmonized(out)
    first, second = (made[f"sub-01_ses-{s}_desc-linearrish_dwi.nii.gz"] for s in "ab")
    # The fit leaves a residual of 1e-3 that is scaled with the scanner, not harmonized.
    assert np.abs(first - second).max() < 1e-2 * first.max()
    assert (second[..., 1:] > 900.0 * 0.8 * np.exp(-1.4)).all()
    written = out / "sub-01/ses-b/dwi/sub-01_ses-b_desc-linearrish_dwi.bval"
    assert written.read_bytes() == (root / "sub-01/ses-b/dwi/sub-01_ses-b_dwi.bval").read_bytes()
    (root / "sub-01/ses-a/dwi/sub-01_ses-a_dwi.bvec").unlink()
    told = call("rish", "--in", root, "--out", tmp_path / "x")
    assert told.exit_code == 2
    assert "need a .bvec beside them or, inherited," in told.output
    assert not (tmp_path / "x").exists()


def test_gradients_are_inherited(tmp_path):
    """The closest file whose entities the scan has: in its folder, its session's, the subject's, the root."""
    from mrsim.studies.harmonize_folder import _gradient_files

    folder = tmp_path / "sub-01" / "ses-a" / "dwi"
    folder.mkdir(parents=True)
    scan = folder / "sub-01_ses-a_run-2_dwi.nii.gz"
    for name in ("dwi.bval", "dwi.bvec", "sub-02_dwi.bval", "T1w.bval", "sub-01/sub-01_dwi.bvec"):
        (tmp_path / name).touch()
    assert _gradient_files(scan, tmp_path) == (
        tmp_path / "dwi.bval",
        tmp_path / "sub-01" / "sub-01_dwi.bvec",
    )
    for name in ("sub-01_ses-a_dwi.bval", "sub-01_ses-a_run-1_dwi.bval", "sub-01_ses-a_run-2_dwi.bval"):
        (folder / name).touch()
    assert _gradient_files(scan, tmp_path)[0].name == "sub-01_ses-a_run-2_dwi.bval"
    (folder / "run-2_ses-a_sub-01_dwi.bval").touch()
    with pytest.raises(ValueError, match=r"applies to sub-01_ses-a_run-2_dwi.nii.gz as much as"):
        _gradient_files(scan, tmp_path)


def test_program_of_others(dataset, tmp_path):
    root, _ = dataset
    code = "import shutil, sys; shutil.copytree(sys.argv[1], sys.argv[2], dirs_exist_ok=True)"
    command = f"{sys.executable} -c '{code}' {{in}} {{out}}"
    told = call("external", "--in", root, "--out", tmp_path / "out", "--command", command)
    assert told.exit_code == 0, told.output
    assert "4 images, 2 sites" in told.output
    assert len(harmonized(tmp_path / "out")) == 4


def test_refusals(dataset, tmp_path):
    root, _ = dataset
    out = ("--in", root, "--out", tmp_path / "out")
    cases = {
        "--covariates must be left out": ("zscore", *out, "--covariates", "age"),
        "--command must be given": ("external", *out),
        "is for tables": ("combat", *out),
        "must hold one sub-01_ses-a_*mask": ("zscore", *out, "--masks", root),
        "cannot be split": ("external", *out, "--command", "'open"),
        "no such column": ("zscore", *out, "--site-column", "scaner"),
        "must end with status 0": ("external", *out, "--command", f"{sys.executable} -c 1/0 {{in}} {{out}}"),
        "holds no sub-": ("zscore", *out, "--contrast", "FLAIR"),
    }
    for message, arguments in cases.items():
        told = call(*arguments)
        assert (told.exit_code, message in told.output) == (2, True), told.output
        assert not (tmp_path / "out").exists()

"""Single stages on files: simulate, recon, harmonize and evaluate as a person would chain them."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import binary_erosion

from phantoms import icbm152_head

from .study import SESSIONS, SUBJECTS, Scan, mrsim, published
from .test_images import deep_inside, likeness

KOMA = Path(__file__).parents[2].parent / "shared" / "refdata" / "koma" / "Koma_signal.mrd"


def done(*arguments):
    result = mrsim(*arguments)
    assert result.returncode == 0, result.stdout
    assert "Traceback" not in result.stdout
    return result.stdout


def head_scan(path):
    image = nib.load(path)
    affine = np.array(image.affine)
    affine[:3] *= 1e-3
    data = np.asarray(image.dataobj, dtype=np.float32)
    return Scan(data, affine, np.eye(4), icbm152_head(4e-3))


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """A coarse MPRAGE of the template head, as ISMRMRD."""
    folder = tmp_path_factory.mktemp("single")
    done(
        "simulate", "--protocol", "onharmony-prisma-t1w-mprage", "--scanner", "siemens-prisma-3t",
        "--phantom", "icbm152", "--voxel-size-mm", 6, "--phantom-voxel-size-mm", 4, "--coils", 4, "--seed", 3,
        "--out", folder / "raw.h5",
    )  # fmt: skip
    return folder / "raw.h5"


@pytest.mark.parametrize("combine", ["adaptive", "rss"])
def test_simulated_scan_becomes_a_head(simulated, tmp_path, combine):
    out = tmp_path / "head.nii.gz"
    told = done("recon", simulated, "--out", out, "--combine", combine)
    assert "36 x 44 x 44, 6 x 6 x 6 mm" in told
    scan = head_scan(out)
    inside = deep_inside(scan)
    assert inside.sum() > 1000
    # The map knows no receive fields, no noise and no blur along the echo train.
    assert likeness(scan, inside) > 0.7
    for axis in range(3):
        assert likeness(scan, inside, shift=6e-3 * np.eye(3)[axis]) < likeness(scan, inside) - 0.05
    air = scan.on_grid(1.0 - scan.phantom.fractions.sum(axis=0)) > 0.999
    brain = sum(scan.tissues.values()) > 0.9
    assert scan.image[brain].mean() > 5 * np.median(scan.image[binary_erosion(air)])
    sidecar = json.loads((tmp_path / "head.json").read_text())
    assert (
        sidecar["CoilCombinationMethod"] == {"adaptive": "Adaptive Combine", "rss": "Sum of Squares"}[combine]
    )
    assert sidecar["MagneticFieldStrength"] == pytest.approx(2.894, abs=1e-3)


@pytest.mark.slow
def test_our_pulseq_file_gives_the_same_data_as_its_card(simulated, tmp_path):
    """Played from a .seq file of ours, a protocol is placed and sampled as from its card."""
    from protocols import load_protocol, load_scanner, write_seq
    from recon import read_raw, reconstruct

    card = load_protocol("onharmony-prisma-t1w-mprage").at_resolution(6e-3)
    write_seq(tmp_path / "card.seq", card, load_scanner("siemens-prisma-3t"))
    done(
        "simulate", "--sequence", tmp_path / "card.seq", "--scanner", "siemens-prisma-3t",
        "--phantom", "icbm152", "--phantom-voxel-size-mm", 4, "--coils", 4, "--seed", 3,
        "--out", tmp_path / "raw.h5",
    )  # fmt: skip
    own, other = (reconstruct(read_raw(path)) for path in (simulated, tmp_path / "raw.h5"))
    np.testing.assert_array_equal(own.affine, other.affine)
    np.testing.assert_array_equal(own.data, other.data)


def test_another_simulators_raw_data(tmp_path):
    """KomaMRI's published EPI of a brain phantom."""
    if not KOMA.is_file():
        pytest.skip("KomaMRI's test data (../shared/refdata/koma) are not here")
    told = done("recon", KOMA, "--out", tmp_path / "koma.nii.gz")
    assert "101 x 101 x 1" in told
    image = np.asarray(nib.load(tmp_path / "koma.nii.gz").dataobj)[:, :, 0]
    assert np.isfinite(image).all()
    # A head fills the middle of the field of view and its corners are empty.
    assert image[30:70, 30:70].mean() > 10 * image[:10, :10].mean()
    assert json.loads((tmp_path / "koma.json").read_text())["Manufacturer"] == "KomaMRI.jl"


def test_dataset_is_harmonized_and_evaluated(copied, tmp_path):
    """The raw images of two scanners, each on its own grid, then scores against what they were."""
    before = published(copied.root)
    out = tmp_path / "zscored"
    assert "6 images, 2 sites" in done("harmonize", "zscore", "--in", copied.root, "--out", out)
    made = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.nii.gz"))
    assert made == sorted(
        f"sub-{s}/ses-{v}/anat/sub-{s}_ses-{v}_run-1_desc-zscore_T1w.nii.gz"
        for s in SUBJECTS
        for v in SESSIONS
    )
    for path in made:
        image, raw = nib.load(out / path), nib.load(copied.root / path.replace("_desc-zscore", ""))
        np.testing.assert_array_equal(image.affine, raw.affine)
        # z-scores are an affine map of the intensities.
        assert np.corrcoef(image.get_fdata().ravel(), raw.get_fdata().ravel())[0, 1] > 0.9999
    assert published(copied.root) == before

    table = tmp_path / "scores.tsv"
    done("evaluate", "--in", out, "--reference", copied.root, "--out", table)
    scores = pd.read_csv(table, sep="\t")
    assert len(scores) == len(made)
    assert (scores["correlation"] > 0.9999).all()
    assert (scores["nrmse"] > 0.5).all()  # other units, and nothing matches them
    assert (scores["nrmse_matched"] < 1e-3).all()


def test_published_files_are_enough_to_repeat_a_score(small, tmp_path):
    """Harmonized image, counterfactual and mask as files give the errors that the study averages."""
    from mrsim.evaluation import image_errors

    correlations = []
    for subject in SUBJECTS:
        truth = small.root / f"derivatives/truth/sourcedata/sub-{subject}_reference_T1w.nii.gz"
        for session in SESSIONS:
            stem = f"sub-{subject}/ses-{session}/anat/sub-{subject}_ses-{session}_run-1_desc-nyul_T1w"
            own = small.root / f"derivatives/nyul/{stem}.nii.gz"
            images = [nib.load(path).get_fdata() for path in (own, truth)]
            correlations.append(image_errors(*images, small.brain(subject))["correlation"])
    # float32 images, sums in another order.
    assert small.scores("nyul")["T1w", "correlation"][0] == pytest.approx(np.mean(correlations), rel=1e-6)
    mask = small.folder("maps", subject=SUBJECTS[-1]) / "mask.nii.gz"
    done("evaluate", "--in", own, "--reference", truth, "--mask", mask, "--out", tmp_path / "s.csv")
    row = pd.read_csv(tmp_path / "s.csv").iloc[0]
    assert row["correlation"] == pytest.approx(correlations[-1], rel=1e-6)


def test_table_of_the_study_is_harmonized(small, tmp_path):
    """Features of all scans as a table: ComBat on it gives the study's own result."""
    rows = []
    for subject in SUBJECTS:
        truth = json.loads((small.folder("phantom", subject=subject) / "truth.json").read_text())
        for session in SESSIONS:
            folder = small.folder("features", method="raw", subject=subject, session=session)
            features = json.loads((folder / "features.json").read_text())
            rows.append(
                {"subject": subject, "site": session, "age": truth["age"], "sex": truth["sex"], **features}
            )
    table = pd.DataFrame(rows).dropna(axis="columns")
    source, out = tmp_path / "features.tsv", tmp_path / "harmonized.tsv"
    table.to_csv(source, sep="\t", index=False)
    told = done(
        "harmonize", "combat", "--in", source, "--out", out, "--covariates", "age,sex", "--keep", "subject",
        "--param", "reference_site=prisma",
    )  # fmt: skip
    assert "6 rows, 2 sites" in told
    made = pd.read_csv(out, sep="\t", dtype={"subject": str})
    known = json.loads((small.folder("feature_harmonize", method="combat") / "table.json").read_text())
    study = {(row["subject"], row["session"]): row["features"] for row in known}
    for row in made.to_dict("records"):
        for name, value in study[row["subject"], row["site"]].items():
            # Text keeps 17 digits; the rest is rounding of other sums.
            assert row[name] == pytest.approx(value, rel=1e-9), name


def test_refusals_leave_nothing(small, tmp_path):
    shutil.copy(small.root / "report.html", tmp_path / "raw.h5")
    cases = {
        "ISMRMRD": ("recon", tmp_path / "raw.h5", "--out", tmp_path / "x.nii.gz"),
        "no such": ("recon", tmp_path / "absent.h5", "--out", tmp_path / "x.nii.gz"),
        "FLAIR": ("harmonize", "zscore", "--in", small.root, "--out", tmp_path / "x", "--contrast", "FLAIR"),
        "tables": ("harmonize", "nyul", "--in", small.root / "participants.tsv", "--out", tmp_path / "x.tsv"),
        "shape": (
            "evaluate", "--in", small.root / "sub-01/ses-prisma/anat", "--reference",
            small.root / "sub-01/ses-avanto/anat",
        ),
    }  # fmt: skip
    for word, arguments in cases.items():
        result = mrsim(*arguments)
        assert result.returncode == 2, (word, result.stdout)
        assert len(result.stdout.splitlines()) == 1, result.stdout
        assert "Traceback" not in result.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["raw.h5"]

"""b-values and b-vectors of a series: from the header's patient axes to image axes."""

import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from recon import RawDataError, ReconOptions, read_raw, reconstruct, reconstruct_volumes, write_nifti
from recon.diffusion import bvectors

from . import synthetic
from .synthetic import Setup

SETUP = Setup(matrix=(10, 8, 1), fov=(0.2, 0.16, 0.004), coils=1)
B = (0.0, 1000.0, 1000.0, 2500.0)
LPS = np.array([[0, 0, 0], [1, 0, 0], [0, 1.0, 0], [0.48, -0.6, 0.64]])


def sequence(b=B, directions=LPS, dimension="repetition"):
    entries = "".join(
        f"<diffusion><gradientDirection><rl>{v[0]}</rl><ap>{v[1]}</ap><fh>{v[2]}</fh></gradientDirection>"
        f"<bvalue>{value}</bvalue></diffusion>"
        for value, v in zip(b, directions, strict=True)
    )
    return (
        f"<sequenceParameters><TR>4000</TR><TE>80</TE><diffusionDimension>{dimension}</diffusionDimension>"
        f"{entries}</sequenceParameters>"
    )


def series(tmp_path, setup=SETUP, volumes=4, **changes):
    acqs = []
    for repetition in range(volumes):
        for a in synthetic.acquisitions(setup):
            a.idx.repetition = repetition
            acqs.append(a)
    xml = synthetic.header_xml(setup, sequence=sequence(**changes))
    return read_raw(synthetic.write(tmp_path / "a.h5", setup, acqs, xml=xml))


@pytest.mark.parametrize("canonical", [True, False])
def test_known_rotation(tmp_path, canonical):
    """A direction keeps its place in the world: image axes times FSL's vector, x unflipped, gives it back."""
    turn = Rotation.from_euler("zyx", [25, -18, 33], degrees=True).as_matrix()
    raw = series(tmp_path, replace(SETUP, directions=turn))
    image = reconstruct(raw, ReconOptions(canonical=canonical))
    assert image.data.shape[3] == 4
    assert image.meta["diffusion"]["bval"] == list(B)
    vectors = np.array(image.meta["diffusion"]["bvec"]).T
    assert vectors[0].tolist() == [0, 0, 0]
    np.testing.assert_allclose(np.linalg.norm(vectors[1:], axis=1), 1, atol=1e-6)
    axes = image.affine[:3, :3] / np.linalg.norm(image.affine[:3, :3], axis=0)
    if np.linalg.det(axes) > 0:
        vectors = vectors * [-1, 1, 1]
    # Directions in the file are single precision.
    np.testing.assert_allclose(vectors @ axes.T, LPS * [-1, -1, 1], atol=2e-6)


def test_by_hand():
    """Radiological storage keeps x; neurological storage flips it; oblique axes by explicit products."""
    direction = np.array([[1.0, 0, 0], [0, 0.6, 0.8]])
    neurological, radiological = np.eye(4), np.diag([-1.0, 1, 1, 1])
    np.testing.assert_allclose(bvectors(direction, neurological).T, [[-1, 0, 0], [0, 0.6, 0.8]], atol=1e-7)
    np.testing.assert_allclose(bvectors(direction, radiological).T, [[-1, 0, 0], [0, 0.6, 0.8]], atol=1e-7)
    # First image axis along superior, second along right, third along anterior: a cyclic turn, det +1.
    cyclic = np.zeros((4, 4))
    cyclic[2, 0], cyclic[0, 1], cyclic[1, 2], cyclic[3, 3] = 2.0, 1.0, 3.0, 1.0
    np.testing.assert_allclose(bvectors(direction, cyclic).T, [[0, 1, 0], [-0.8, 0, 0.6]], atol=1e-7)


def test_files(tmp_path):
    image = reconstruct(series(tmp_path))
    write_nifti(tmp_path / "dwi.nii.gz", image)
    b = np.loadtxt(tmp_path / "dwi.bval")
    v = np.loadtxt(tmp_path / "dwi.bvec")
    assert b.tolist() == list(B)
    assert v.shape == (3, 4)
    assert np.linalg.det(image.affine[:3, :3]) > 0
    # Patient left is -x of the canonical image, which FSL flips again; posterior is -y.
    np.testing.assert_allclose(v[:, 1], [1, 0, 0])
    np.testing.assert_allclose(v[:, 2], [0, -1, 0])
    assert nib.load(tmp_path / "dwi.nii.gz").shape[3] == 4
    assert "\r" not in (tmp_path / "dwi.bvec").read_text()
    json.loads((tmp_path / "dwi.json").read_text())


def test_single_volumes_carry_their_own(tmp_path):
    volumes = reconstruct_volumes(series(tmp_path))
    assert [v.meta["diffusion"]["bval"] for v in volumes] == [[b] for b in B]
    assert volumes[1].meta["diffusion"]["bvec"] == [[1.0], [0.0], [0.0]]
    assert [v.meta["counters"]["repetition"] for v in volumes] == [0, 1, 2, 3]


def test_too_few_entries(tmp_path):
    with pytest.raises(RawDataError, match="has 4 diffusion entries, but repetition reaches 4"):
        reconstruct(series(tmp_path, volumes=5))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dimension": "time"}, "diffusionDimension must be one of"),
        ({"b": (0, "inf", 1, 2)}, "diffusion/bvalue"),
        ({"b": (0, -5, 1, 2)}, "diffusion/bvalue"),
        ({"directions": [[0, 0, 0], ["nan", 0, 0], [0, 1, 0], [0, 0, 1]]}, "gradientDirection/rl"),
    ],
)
def test_bad_entries(tmp_path, changes, words):
    with pytest.raises(RawDataError, match=words):
        series(tmp_path, **changes)

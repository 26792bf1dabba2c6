"""Where things land: point objects, affines, axis order, files."""

import gzip
import json

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import center_of_mass
from scipy.spatial.transform import Rotation

from recon import Image, RawDataError, ReconOptions, read_raw, reconstruct, reconstruct_file, write_nifti

from . import synthetic
from .synthetic import Setup

SETUP = {"matrix": (24, 20, 14), "fov": (0.192, 0.200, 0.168), "oversampling": 2, "coils": 1}


def point_kspace(setup, index):
    """k-space of a point at fractional voxel `index` (read, phase, partition) relative to the centre."""
    n = (setup.matrix[0] * setup.oversampling, *setup.matrix[1:])
    axes = [np.exp(-2j * np.pi * (np.arange(m) - m // 2) * i / m) for m, i in zip(n, index, strict=True)]
    return np.einsum("i,j,k->ijk", *axes)[None]


def world(image, at):
    return (image.affine @ [*at, 1])[:3]


def directions(kind):
    """Read, phase and slice directions (columns, LPS) of a sagittal, coronal or oblique prescription."""
    return {
        "axial": np.eye(3),
        "sagittal": np.array([[0, 0, 1.0], [0, 1, 0], [-1, 0, 0]]),
        "coronal": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
        "oblique": Rotation.from_euler("zyx", [25, -18, 33], degrees=True).as_matrix(),
    }[kind]


@pytest.mark.parametrize("canonical", [True, False])
@pytest.mark.parametrize("kind", ["axial", "sagittal", "coronal", "oblique"])
def test_point_lands_at_its_world_coordinate(tmp_path, kind, canonical):
    d = directions(kind)
    setup = Setup(directions=d, position_mm=(12.0, -7.5, 31.0), **SETUP)
    index = np.array([5, -6, 3])
    path = synthetic.write(
        tmp_path / "a.h5", setup, synthetic.acquisitions(setup, point_kspace(setup, index))
    )
    image = reconstruct(read_raw(path), ReconOptions(canonical=canonical))
    peak = np.unravel_index(np.argmax(image.data), image.data.shape)
    # By hand: the file's position is the centre of voxel N // 2; whole voxels from there; LPS to RAS.
    pixel = np.array(setup.fov) / setup.matrix
    lps = 1e-3 * np.array(setup.position_mm) + d @ (pixel * index)
    assert world(image, peak) == pytest.approx(lps * [-1, -1, 1], abs=1e-7)  # float32 directions
    assert image.data[peak] == pytest.approx(np.sqrt(np.prod(setup.matrix) * 2), rel=1e-4)
    if canonical:
        assert (np.diag(image.affine[:3, :3]) > 0).all()


@pytest.mark.parametrize("fraction", [(0.5, 0.25, -0.3)])
def test_fraction_of_a_voxel(tmp_path, fraction):
    # A band-limited point off the grid: its interpolated peak, by zero filling 4 times.
    setup = Setup(**SETUP)
    index = np.array([2, -3, 1]) + fraction
    path = synthetic.write(
        tmp_path / "a.h5", setup, synthetic.acquisitions(setup, point_kspace(setup, index))
    )
    image = reconstruct(read_raw(path), ReconOptions(zero_fill=(96, 80, 56)))
    peak = np.unravel_index(np.argmax(image.data), image.data.shape)
    pixel = np.array(setup.fov) / setup.matrix
    # The finer grid has an eighth of a voxel on either side of each of its points.
    assert np.abs(world(image, peak) - pixel * index * [-1, -1, 1]).max() <= pixel.max() / 8 + 1e-9


def test_ellipsoid_centre(measure):
    image = reconstruct(measure())
    weight = image.data > 0.5 * image.data.max()
    centre = world(image, center_of_mass(weight))
    # The object's main ellipsoid is at the origin; brighter and darker parts move the mask's centre a little.
    assert np.abs(centre).max() < 0.03


def test_slices_out_of_order(tmp_path):
    """A stack of interleaved slices is put in order and placed by the slices' own positions."""
    setup = Setup(matrix=(16, 12, 1), fov=(0.16, 0.12, 0.004), coils=1)
    acqs = []
    for number, z_mm in enumerate([-9.0, 3.0, -3.0, 9.0]):
        index = (2, -1, 0) if z_mm == 3.0 else (-4, 3, 0)
        k = point_kspace(setup, index)
        part = synthetic.acquisitions(setup, k)
        for a in part:
            a.idx.slice = number
            a.position[:] = [5.0, 0.0, z_mm]
        acqs += part
    image = reconstruct(read_raw(synthetic.write(tmp_path / "a.h5", setup, acqs)))
    assert image.data.shape == (16, 12, 4)
    assert image.affine[2, 2] == pytest.approx(0.006)
    peaks = [np.unravel_index(np.argmax(image.data[..., z]), (16, 12)) for z in range(4)]
    assert world(image, (*peaks[2], 2)) == pytest.approx([-0.025, 0.01, 0.003])
    assert world(image, (*peaks[0], 0)) == pytest.approx([0.035, -0.03, -0.009])


def test_uneven_slices(tmp_path):
    setup = Setup(matrix=(8, 6, 1), coils=1)
    acqs = []
    for number, z_mm in enumerate([0.0, 6.0, 13.0]):
        for a in synthetic.acquisitions(setup, point_kspace(setup, (0, 0, 0))):
            a.idx.slice = number
            a.position[:] = [0.0, 0.0, z_mm]
            acqs.append(a)
    raw = read_raw(synthetic.write(tmp_path / "a.h5", setup, acqs))
    with pytest.raises(RawDataError, match="equally spaced"):
        reconstruct(raw)


def test_skew_directions(tmp_path):
    skew = np.eye(3)
    skew[0, 1] = 0.2
    setup = Setup(directions=skew, **SETUP)
    raw = read_raw(
        synthetic.write(
            tmp_path / "a.h5", setup, synthetic.acquisitions(setup, point_kspace(setup, (0, 0, 0)))
        )
    )
    with pytest.raises(RawDataError, match="orthonormal"):
        reconstruct(raw)


def test_missing_directions_are_noted(tmp_path):
    setup = Setup(directions=np.zeros((3, 3)), **SETUP)
    raw = read_raw(
        synthetic.write(
            tmp_path / "a.h5", setup, synthetic.acquisitions(setup, point_kspace(setup, (0, 0, 0)))
        )
    )
    assert any("directions missing" in note for note in reconstruct(raw).meta["notes"])


class TestFiles:
    def image(self):
        rng = np.random.default_rng(0)
        affine = np.diag([0.002, 0.003, 0.004, 1.0])
        affine[:3, 3] = [-0.01, 0.02, 0.03]
        data = rng.random((5, 4, 3)).astype(np.float32)
        return Image(data=data, affine=affine, meta={"sidecar": {"EchoTime": 0.003, "Manufacturer": "Test"}})

    def test_round_trip(self, tmp_path):
        image = self.image()
        write_nifti(tmp_path / "sub_T1w.nii.gz", image, {"Manufacturer": "Other", "Extra": [1, 2]})
        back = nib.load(tmp_path / "sub_T1w.nii.gz")
        assert np.array_equal(np.asarray(back.dataobj), image.data)
        expected = image.affine.copy()
        expected[:3] *= 1000
        assert back.affine == pytest.approx(expected, rel=1e-6)
        assert back.header.get_xyzt_units() == ("mm", "sec")
        assert (int(back.header["qform_code"]), int(back.header["sform_code"])) == (1, 1)
        assert back.header.get_qform() == pytest.approx(expected, abs=1e-4)
        sidecar = json.loads((tmp_path / "sub_T1w.json").read_text())
        assert sidecar == {"EchoTime": 0.003, "Manufacturer": "Other", "Extra": [1, 2]}
        assert sorted(p.name for p in tmp_path.iterdir()) == ["sub_T1w.json", "sub_T1w.nii.gz"]

    def test_equal_images_equal_bytes(self, tmp_path):
        for name in ("a.nii.gz", "b.nii.gz"):
            write_nifti(tmp_path / name, self.image())
        content = (tmp_path / "a.nii.gz").read_bytes()
        assert content == (tmp_path / "b.nii.gz").read_bytes()
        assert content[4:8] == b"\0\0\0\0"  # no time in the gzip header
        write_nifti(tmp_path / "c.nii", self.image())
        assert gzip.decompress(content) == (tmp_path / "c.nii").read_bytes()

    def test_failures_leave_nothing(self, tmp_path):
        with pytest.raises(ValueError, match=r"\.nii"):
            write_nifti(tmp_path / "a.img", self.image())
        bad = self.image()
        bad.data[0, 0, 0] = np.nan
        with pytest.raises(ValueError, match="finite"):
            write_nifti(tmp_path / "a.nii", bad)
        with pytest.raises(ValueError, match="JSON"):
            write_nifti(tmp_path / "a.nii", self.image(), {"x": float("nan")})
        assert list(tmp_path.iterdir()) == []

    def test_sidecar_of_a_measurement(self, tmp_path, kspace):
        setup = Setup(acceleration=2, acs=12, first_line=8, noise_covariance=np.eye(6) * 1e-6, noise_scan=20)
        path = synthetic.write(tmp_path / "a.h5", setup, synthetic.acquisitions(setup, kspace))
        image = reconstruct_file(path, tmp_path / "a.nii.gz")
        sidecar = json.loads((tmp_path / "a.json").read_text())
        assert sidecar == image.meta["sidecar"]
        json.dumps(image.meta, allow_nan=False)
        expected = {
            "Manufacturer": "Test",
            "ManufacturersModelName": "Model",
            "MagneticFieldStrength": 2.8949,
            "ImagingFrequency": 123.255,
            "EchoTime": 0.00298,
            "RepetitionTime": 2.3,
            "InversionTime": 0.9,
            "FlipAngle": 9.0,
            "ParallelReductionFactorInPlane": 2,
            "ParallelAcquisitionTechnique": "GRAPPA",
            "PartialFourierDirection": "PHASE",
            "DwellTime": 5e-6,
            "PixelBandwidth": 2500.0,
            "ReceiveCoilName": "Head_32",
            "CoilCombinationMethod": "Adaptive Combine",
            "MRAcquisitionType": "3D",
            "PatientPosition": "HFS",
            "ProtocolName": "T1w",
        }
        assert {k: sidecar[k] for k in expected} == expected
        assert sidecar["PartialFourier"] == pytest.approx(28 / 36, abs=1e-4)
        assert nib.load(tmp_path / "a.nii.gz").shape == (40, 36, 20)

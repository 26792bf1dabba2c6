"""Volumes on disk and on other grids."""

import gzip

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrsim.studies.volumes import load_image, load_volume, resample, save_volume

SHAPE = (11, 14, 9)


def rotation(x, y, z):
    out = np.eye(3)
    for angle, (i, j) in ((x, (1, 2)), (y, (2, 0)), (z, (0, 1))):
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        out = turn @ out
    return out


def ramp(points, slope):
    return np.tensordot(slope, points, axes=1) + 20.0


def voxels(shape):
    return np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij")).astype(float)


angles = st.floats(-0.6, 0.6)
shifts = st.floats(-2.0, 2.0)


@settings(max_examples=25, deadline=None)
@given(turn=st.tuples(angles, angles, angles), shift=st.tuples(shifts, shifts, shifts))
@pytest.mark.parametrize("order", [1, 3])
def test_a_linear_ramp_is_sampled_exactly(order, turn, shift):
    """Splines reproduce linear functions; cubic ones do so away from the edge (prefilter's mirror)."""
    slope = np.array([0.7, -0.4, 0.9])
    data = ramp(voxels(SHAPE), slope)
    index = np.eye(4)
    index[:3, :3] = rotation(*turn) @ np.diag([0.9, 1.1, 0.7])
    index[:3, 3] = np.array(SHAPE) / 4 + shift
    shape = (7, 6, 10)
    made = resample(data, index, shape, order=order)
    assert made.shape == shape
    assert made.dtype == np.float32
    points = np.tensordot(index[:3, :3], voxels(shape), axes=1) + index[:3, 3][:, None, None, None]
    last = np.array(SHAPE).reshape(3, 1, 1, 1) - 1
    # The influence of the mirror at an edge falls by 0.27 per voxel: 0.27^4 = 0.5 % of a slope of about one.
    margin, tolerance = {1: (0, 1e-4), 3: (4, 2e-2)}[order]
    inside = ((points >= margin) & (points <= last - margin)).all(axis=0)
    np.testing.assert_allclose(made[inside], ramp(points, slope)[inside], atol=tolerance)
    outside = ((points < -1) | (points > last + 1)).any(axis=0)
    assert (made[outside] == 0).all()


@pytest.mark.parametrize("order", [1, 3])
def test_whole_voxel_shift_copies_voxels(order):
    data = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    index = np.eye(4)
    index[:3, 3] = (2, -1, 3)
    made = resample(data, index, SHAPE, order=order)
    # Interpolation at the knots gives the samples, to the rounding of float32.
    np.testing.assert_allclose(made[:-2, 1:, :-3], data[2:, :-1, 3:], atol=1e-5)
    assert (made[-1] == 0).all()
    assert (made[:, 0] == 0).all()


def test_files_keep_samples_place_and_bytes(tmp_path):
    affine = np.eye(4)
    affine[:3, :3] = rotation(0.1, -0.2, 0.3) @ np.diag([1e-3, 1.5e-3, 2e-3])
    affine[:3, 3] = (-0.08, 0.11, 0.02)
    data = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
    save_volume(tmp_path / "a.nii.gz", data, affine)
    save_volume(tmp_path / "b.nii.gz", data, affine)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    samples, place = load_volume(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(samples, data)
    np.testing.assert_allclose(place, affine, atol=1e-7)  # the header has single precision
    other = nib.load(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(other.header.get_zooms(), (1.0, 1.5, 2.0), rtol=1e-6)
    assert other.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(other.get_qform(), other.get_sform(), atol=1e-4)


def test_masks_stay_integers(tmp_path):
    mask = np.random.default_rng(2).random(SHAPE) > 0.5
    save_volume(tmp_path / "m.nii.gz", mask.astype(np.uint8), np.diag([1e-3, 1e-3, 1e-3, 1]))
    assert np.asarray(load_image(tmp_path / "m.nii.gz").dataobj).dtype == np.uint8
    np.testing.assert_array_equal(load_volume(tmp_path / "m.nii.gz")[0] > 0, mask)


def test_cut_files_are_refused(tmp_path):
    save_volume(tmp_path / "a.nii.gz", np.ones(SHAPE, np.float32), np.diag([1e-3, 1e-3, 1e-3, 1]))
    content = (tmp_path / "a.nii.gz").read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises((EOFError, gzip.BadGzipFile)):
        load_volume(tmp_path / "a.nii.gz")

"""Images of the small study beside the truth of their subjects."""

import numpy as np
import pytest
from scipy.ndimage import binary_erosion, gaussian_filter

from mrsim.studies.volumes import load_volume

from .study import SESSIONS, SUBJECTS

EVERY = [(subject, session) for subject in SUBJECTS for session in (*SESSIONS, "truth")]


def detail(image, inside):
    """Logarithm of an image without its smooth part: coil shading, which would pull edges, is gone."""
    log = np.log(np.maximum(image, 0) + 0.02 * image[inside].mean())
    weight = np.maximum(gaussian_filter(inside.astype(float), 3), 1e-3)
    return (log - gaussian_filter(log * inside, 3) / weight)[inside]


def likeness(scan, inside, **placed):
    """Correlation of an image with a map of its subject."""
    return float(
        np.corrcoef(detail(scan.image, inside), detail(scan.on_grid(scan.t1w, **placed), inside))[0, 1]
    )


@pytest.fixture(scope="module")
def scans(small):
    return {key: small.scan(*key) for key in EVERY}


def deep_inside(scan):
    """Two voxels inside the brain: fat, shifted by up to two voxels, does not reach there."""
    return binary_erosion(sum(scan.tissues.values()) > 0.9, iterations=2)


@pytest.mark.parametrize("key", EVERY, ids="-".join)
def test_image_lies_where_its_affine_says(scans, key):
    """The shift along each axis that makes image and truth most alike is none."""
    scan = scans[key]
    inside = deep_inside(scan)
    steps = np.array([-2.5e-3, 0.0, 2.5e-3])
    for axis in range(3):
        found = [likeness(scan, inside, shift=step * np.eye(3)[axis]) for step in steps]
        curve = np.polyfit(steps, found, 2)
        place = -curve[1] / (2 * curve[0])
        assert curve[0] < 0
        # A tenth of a voxel (5 mm) is what parabola, off-resonance and noise leave.
        assert abs(place) < 0.5e-3, f"axis {axis}: {1e3 * place:.2f} mm"


@pytest.mark.parametrize("key", EVERY, ids="-".join)
def test_image_is_not_mirrored(scans, key):
    """The template is symmetric, the subjects' deformations are not; up and front are told with ease."""
    scan = scans[key]
    inside = deep_inside(scan)
    own = likeness(scan, inside)
    assert own > 0.7
    for axis in range(3):
        mirror = np.eye(4)
        mirror[axis, axis] = -1
        # Left and right differ least: by what each subject's random deformation does to them.
        margin = 0.02 if axis == 0 else 0.2
        assert likeness(scan, inside, pose=scan.pose @ mirror) < own - margin


def test_repositioning_is_in_the_image(scans):
    """Without its recorded pose an image fits its subject worse."""
    for (subject, session), scan in scans.items():
        inside = deep_inside(scan)
        moved = np.abs(scan.pose[:3, 3]).max()
        if session == "truth":
            assert np.array_equal(scan.pose, np.eye(4))
        elif moved > 2e-3:
            assert likeness(scan, inside, pose=np.eye(4)) < likeness(scan, inside) - 0.02, subject
    assert sum(np.abs(scan.pose[:3, 3]).max() > 2e-3 for scan in scans.values()) >= 3


@pytest.mark.parametrize("key", EVERY, ids="-".join)
def test_t1w_order_of_tissues(scans, key):
    """MPRAGE with TI near 0.9 s: CSF darkest, white matter brightest."""
    scan = scans[key]
    csf, gm, wm = (float(scan.image[part > 0.75].mean()) for part in scan.tissues.values())
    assert csf < 0.7 * gm
    assert gm < 0.85 * wm


@pytest.mark.parametrize("subject", SUBJECTS)
def test_counterfactual_is_the_reference_session_without_chance(small, subject):
    """Same scanner and card: noise (smoothed away) and interpolation after repositioning are what differs."""
    inside = binary_erosion(small.brain(subject))
    own, truth, other = (
        gaussian_filter(small.aligned(subject, session), 1.0)[inside]
        for session in ("prisma", "truth", "avanto")
    )
    alike = np.corrcoef(own, truth)[0, 1]
    assert alike > 0.98
    assert np.corrcoef(other, truth)[0, 1] < alike - 0.01
    # Receiver gain and transmit calibration vary by a few percent from visit to visit.
    assert own.mean() / truth.mean() == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_counterfactual_is_published(small, subject):
    path = small.root / f"derivatives/truth/sourcedata/sub-{subject}_reference_T1w.nii.gz"
    np.testing.assert_array_equal(load_volume(path)[0], small.aligned(subject, "truth"))

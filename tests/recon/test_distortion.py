"""Gradient distortion: harmonics against closed forms, images against known warps."""

import json

import numpy as np
import pytest
from scipy.ndimage import center_of_mass, gaussian_filter
from scipy.special import lpmv

from recon import GradientCoils, RawDataError, ReconOptions, read_raw, reconstruct, unwarp
from recon.distortion import PARAMETER

from . import synthetic
from .synthetic import Setup

# Of the kind of a body coil's table, some times as strong: millimetres at 0.08 m.
TABLE = {
    "version": 1, "correction": "3d", "coil": "made up", "frame": "RAS", "radius": 0.25,
    "valid_radius": 0.25,
    "cosine": [[[3, 1, -0.12], [5, 3, 1e-3]], [[3, 3, 1e-2]], [[3, 0, -0.35], [5, 0, -0.3]]],
    "sine": [[[3, 2, 5e-3]], [[3, 1, -0.13]], []],
}  # fmt: skip


@pytest.fixture
def coils():
    return GradientCoils.from_json(TABLE, "a.h5")


def test_against_legendre_functions(coils):
    """scipy's associated Legendre functions, freed of their Condon-Shortley phase."""
    p = np.random.default_rng(3).uniform(-0.15, 0.15, (40, 3))
    r = np.linalg.norm(p, axis=1)
    cosine, phi = p[:, 2] / r, np.arctan2(p[:, 1], p[:, 0])
    expected = np.zeros_like(p)
    for kind, turn in (("cosine", np.cos), ("sine", np.sin)):
        for axis, terms in enumerate(TABLE[kind]):
            for n, m, c in terms:
                legendre = (-1) ** m * lpmv(m, n, cosine)
                expected[:, axis] += 0.25 * c * (r / 0.25) ** n * legendre * turn(m * phi)
    np.testing.assert_allclose(coils.displacement(p), expected, atol=1e-14)


def test_published_displacements_on_the_axis():
    """The odd ninth-degree table of a Philips body coil (azlau/philips-gradunwarp-matlab), 0.225 m."""
    terms = [[3, 0, -0.0972], [5, 0, -0.0625], [7, 0, 0.0291], [9, 0, -0.0057]]
    table = TABLE | {"radius": 0.225, "cosine": [[], [], terms], "sine": [[], [], []]}
    z = np.array([0.05, 0.08, 0.1, 0.125, 0.15])
    found = GradientCoils.from_json(table, "").displacement(np.stack([0 * z, 0 * z, z], axis=1))
    # Given to 0.01 mm; coefficients to four places.
    np.testing.assert_allclose(1e3 * found[:, 2], [-0.25, -1.06, -2.14, -4.39, -7.98], atol=0.02)
    np.testing.assert_array_equal(found[:, :2], 0)


def warped(shape, affine, displacement, centres, width):
    """Gaussian blobs as the coils show them: at x + d(x), brighter by the inverse Jacobian.

    The image at place y is the object at the x with x + d(x) = y, found by fixed-point iteration.
    """
    index = np.stack(np.indices(shape), axis=-1).reshape(-1, 3)
    y = index @ affine[:3, :3].T + affine[:3, 3]
    x = y.copy()
    for _ in range(25):
        x = y - displacement(x)
    step, jacobian = 1e-5, np.zeros((len(x), 3, 3))
    for axis in range(3):
        e = np.eye(3)[axis] * step
        jacobian[:, :, axis] = (displacement(x + e) - displacement(x - e)) / (2 * step)
    scale = 1 / np.linalg.det(np.eye(3) + jacobian)
    value = sum(np.exp(-((x - c) ** 2).sum(axis=1) / (2 * width**2)) for c in centres)
    return (value * scale).reshape(shape)


AFFINE = np.array([[5e-3, 0, 0, -0.11], [0, 0, 6e-3, -0.11], [0, 5.5e-3, 0, -0.11], [0, 0, 0, 1]])
SHAPE = (44, 40, 38)
CENTRES = np.array([[0.06, 0.02, 0.05], [-0.05, 0.06, -0.06], [0.0, -0.07, 0.075], [-0.07, -0.05, 0.02]])


def test_blobs_return_to_their_places(coils):
    """Within 0.1 voxel, with the object's brightness and its sum."""
    shown = warped(SHAPE, AFFINE, coils.displacement, CENTRES, 1e-2)
    flat = warped(SHAPE, AFFINE, lambda p: 0 * p, CENTRES, 1e-2)
    fixed = unwarp(shown, AFFINE, coils.displacement)
    inverse = np.linalg.inv(AFFINE)
    for c in CENTRES:
        at = inverse[:3, :3] @ c + inverse[:3, 3]
        box = tuple(slice(round(a) - 7, round(a) + 8) for a in at)
        start = np.array([s.start for s in box])
        before = np.abs(np.array(center_of_mass(shown[box])) + start - at).max()
        after = np.abs(np.array(center_of_mass(fixed[box])) + start - at).max()
        assert before > 0.15
        assert after < 0.02
        assert fixed[box].max() == pytest.approx(flat[box].max(), rel=0.01)
        # The Jacobian conserves the signal: central differences and splines leave 1e-3 of it.
        assert fixed[box].sum() == pytest.approx(shown[box].sum(), rel=3e-3)
    assert np.linalg.norm(fixed - flat) < 0.01 * np.linalg.norm(flat)


def test_within_slices_only(coils):
    """The 2D mode moves along the first two axes and leaves the third."""

    def in_plane(p):
        d = coils.displacement(p)
        d[:, 1] = 0  # the third image axis runs along world y
        return d

    shown = warped(SHAPE, AFFINE, in_plane, CENTRES, 1e-2)
    flat = warped(SHAPE, AFFINE, lambda p: 0 * p, CENTRES, 1e-2)
    fixed = unwarp(shown, AFFINE, coils.displacement, through_plane=False)
    assert np.linalg.norm(fixed - flat) < 0.01 * np.linalg.norm(flat)
    assert np.linalg.norm(shown - flat) > 0.1 * np.linalg.norm(flat)


def test_no_displacement_changes_nothing():
    rng = np.random.default_rng(1)
    image = gaussian_filter(rng.random((9, 8, 7)), 1) * np.exp(1j)
    np.testing.assert_allclose(unwarp(image, AFFINE, lambda p: 0 * p), image, atol=1e-12)
    single = image[:, :, :1]
    np.testing.assert_allclose(unwarp(single, AFFINE, lambda p: 0 * p), single, atol=1e-12)


def file(tmp_path, content, coils_=2):
    setup = Setup(matrix=(24, 22, 18), fov=(0.24, 0.22, 0.22), coils=coils_, oversampling=1)
    text = synthetic.header_xml(setup)
    value = content if isinstance(content, str) else json.dumps(content)
    entry = (
        f"<userParameterString><name>{PARAMETER}</name><value>{value}</value></userParameterString>"
        "</userParameters>"
    )
    text = text.replace("</userParameters>", entry)
    return read_raw(synthetic.write(tmp_path / "a.h5", setup, xml=text))


@pytest.mark.parametrize(("mode", "kind"), [("2d", "DIS2D"), ("3d", "DIS3D"), ("none", "ND")])
def test_in_the_pipeline(tmp_path, mode, kind, coils):
    raw = file(tmp_path, TABLE)
    plain = reconstruct(raw)
    image = reconstruct(raw, ReconOptions(distortion_correction=mode))
    keys = image.meta["sidecar"]
    assert keys["ImageType"] == ["ORIGINAL", "PRIMARY", "M", kind]
    assert keys["NonlinearGradientCorrection"] == (mode != "none")
    np.testing.assert_array_equal(image.affine, plain.affine)
    if mode == "3d":
        expected = unwarp(plain.data, plain.affine, coils.displacement)
        np.testing.assert_allclose(image.data, expected, atol=1e-5 * plain.data.max())
    assert (np.abs(image.data - plain.data).max() > 0.05 * plain.data.max()) == (mode != "none")


def test_header_without_table(tmp_path):
    setup = Setup(matrix=(12, 10, 8), coils=1)
    raw = read_raw(synthetic.write(tmp_path / "a.h5", setup))
    image = reconstruct(raw, ReconOptions(distortion_correction="3d"))
    assert any("no gradient harmonics" in note for note in image.meta["notes"])
    assert image.meta["sidecar"]["NonlinearGradientCorrection"] is False


@pytest.mark.parametrize(
    "bad",
    [
        TABLE | {"version": 2},
        TABLE | {"radius": 0},
        TABLE | {"radius": "NaN"},
        TABLE | {"cosine": [[], []]},
        TABLE | {"cosine": [[[99, 1, 0.1]], [], []]},
        TABLE | {"cosine": [[[3, 5, 0.1]], [], []]},
        TABLE | {"sine": [[[3, 1, 1e9]], [], []]},
        TABLE | {"sine": [[[3, 1]], [], []]},
        TABLE | {"sine": 7},
        [1, 2],
    ],
)
def test_bad_tables(tmp_path, bad):
    with pytest.raises(RawDataError, match=PARAMETER):
        reconstruct(file(tmp_path, bad), ReconOptions(distortion_correction="3d"))


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "nonsense"])
def test_what_is_not_json(tmp_path, text):
    image = reconstruct(file(tmp_path, text), ReconOptions(distortion_correction="2d"))
    assert image.meta["sidecar"]["NonlinearGradientCorrection"] is False

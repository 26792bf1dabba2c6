"""Non-Cartesian data: density compensation and a radial measurement of a known object."""

import ismrmrd
import numpy as np
import pytest

from recon import RawDataError, read_raw, reconstruct
from recon.gridding import density_compensation

from . import synthetic
from .synthetic import Setup


def spokes(n, count):
    radius = (np.arange(n) - n / 2 + 0.5) / n
    angle = np.pi * np.arange(count) / count
    return np.stack([np.outer(np.cos(angle), radius), np.outer(np.sin(angle), radius)], axis=-1)


def test_cartesian_grid_gets_equal_weights():
    shape = (24, 17)
    axes = [2 * np.pi * (np.arange(n) - n // 2) / n for n in shape]
    points = [np.ascontiguousarray(g.ravel()) for g in np.meshgrid(*axes, indexing="ij")]
    weights = density_compensation(points, shape) * len(points[0])
    assert np.abs(weights - 1).max() < 1e-3  # the accuracy asked of the transforms


def test_radial_weights_follow_the_ramp():
    k = spokes(64, 101)
    points = [np.ascontiguousarray(2 * np.pi * k[..., d].ravel()) for d in (0, 1)]
    weights = density_compensation(points, (64, 64)).reshape(101, 64)
    radius = np.abs(k[0, :, 0] * np.hypot(1, np.tan(0)))
    middle = (radius > 0.1) & (radius < 0.4)
    ratio = weights[:, middle] / radius[middle]
    # 2 pi r dr dphi away from the centre (where spokes overlap) and the rim.
    assert ratio.std() / ratio.mean() < 0.1


@pytest.mark.parametrize("scale", [1.0, 48.0])
def test_radial_measurement(tmp_path, scale):
    """Two discs on 151 spokes; the trajectory in cycles per pixel, or per field of view."""
    setup = Setup(matrix=(48, 48, 1), oversampling=1, fov=(0.192, 0.192, 0.005), coils=1)
    k = spokes(96, 151)
    physical = np.concatenate([k / 0.004, np.zeros((*k.shape[:2], 1))], axis=-1)
    objects = (((0.0, 0.0, 0.0), (0.3, 0.35, 1e3), 1e-3), ((0.1, -0.15, 0.0), (0.08, 0.1, 1e3), 1e-3))
    data = synthetic.ellipsoids(physical, objects, np.array(setup.fov))
    acqs = []
    for values, where in zip(data, k, strict=True):
        a = ismrmrd.Acquisition.from_array(
            values[None].astype(np.complex64), (where * scale).astype(np.float32)
        )
        a.read_dir[:], a.phase_dir[:], a.slice_dir[:] = [1, 0, 0], [0, 1, 0], [0, 0, 1]
        a.sample_time_us = 4.0
        acqs.append(a)
    xml = synthetic.header_xml(setup).replace("<trajectory>cartesian", "<trajectory>radial")
    image = reconstruct(read_raw(synthetic.write(tmp_path / "a.h5", setup, acqs, xml=xml)))
    data = image.data[::-1, ::-1, 0]
    # The band-limited object by quadrature on a four times finer Cartesian grid inside the sampled disc.
    axis = (np.arange(192) - 96) / 192 / 0.004
    fine = np.stack(np.meshgrid(axis, axis, [0.0], indexing="ij"), -1)[:, :, 0]
    spectrum = synthetic.ellipsoids(fine, objects, np.array(setup.fov))
    spectrum = spectrum * ((fine**2).sum(-1) <= axis[0] ** 2)
    r = (np.arange(48) - 24) * 0.004
    wave = np.exp(2j * np.pi * np.outer(r, axis))
    expected = np.abs(wave @ spectrum @ wave.T)
    scale = np.vdot(expected, data) / np.vdot(expected, expected)
    # The corners of k-space are outside the spokes, and what the solution puts there is the difference.
    assert np.linalg.norm(data - scale * expected) < 0.04 * np.linalg.norm(scale * expected)


def test_trajectory_missing(tmp_path):
    setup = Setup(matrix=(8, 6, 1), coils=1)
    xml = synthetic.header_xml(setup).replace("<trajectory>cartesian", "<trajectory>spiral")
    raw = read_raw(synthetic.write(tmp_path / "a.h5", setup, xml=xml))
    with pytest.raises(RawDataError, match=r"spiral.*stored k-space positions"):
        reconstruct(raw)

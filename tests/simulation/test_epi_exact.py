"""An echo-planar pair from spins to images: off-resonance and a gradient delay through the exact engine."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mrsim.simulation import write_ismrmrd
from mrsim.simulation.bloch.scan import simulate_bloch
from mrsim.simulation.gradients import GradientSystem
from phantoms import PointCloud
from protocols import Prescription, load_protocol, load_scanner, read_seq, write_seq
from recon import ReconOptions, read_raw, reconstruct

DELAY, OFF_RESONANCE = 2e-6, 40.0


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Blips up and down; an ellipse of spins 40 Hz off, the readout gradient 2 us late."""
    folder = tmp_path_factory.mktemp("epi")
    card = load_protocol("small-premier-epi")
    machine = load_scanner(card.scanner)
    write_seq(folder / "a.seq", card, machine, noise_samples=256)
    sequence = read_seq(folder / "a.seq")
    x, y = np.meshgrid(np.arange(-0.045, 0.06, 1.5e-3), np.arange(-0.03, 0.048, 1.5e-3), indexing="ij")
    inside = ((x - 0.008) / 0.04) ** 2 + ((y - 0.01) / 0.03) ** 2 < 1
    slices = np.atleast_1d(sequence.definitions["SlicePositions"])[:2, None] + [-5e-4, 5e-4]
    points = [np.stack([x[inside], y[inside], np.full(inside.sum(), z)], axis=1) for z in slices.ravel()]
    position = np.concatenate(points)
    ones = np.ones(len(position))
    cloud = PointCloud(
        name="ellipse", position=position, m0=ones, t1=0.3 * ones, t2=0.2 * ones, df=OFF_RESONANCE * ones
    )
    data = simulate_bloch(
        cloud, sequence, machine, card.prescription(), rng=np.random.default_rng(0),
        gradients=GradientSystem(delay=(DELAY, 0.0, 0.0)),
    )  # fmt: skip
    write_ismrmrd(folder / "raw.h5", data)
    return read_raw(folder / "raw.h5")


def centre(image, volume):
    """Centre of mass [m] of the bright part of the first slice."""
    data = image.data[:, :, 0, volume].astype(float)
    data = np.where(data > 0.3 * data.max(), data, 0)
    index = np.stack(np.indices(data.shape), axis=-1)
    world = index @ image.affine[:2, :2].T + image.affine[:2, 3]
    return (world * data[..., None]).sum(axis=(0, 1)) / data.sum()


def test_off_resonance_moves_the_image_along_its_direction(raw):
    """By df times the effective echo spacing times the lines, up one way and down the other."""
    image = reconstruct(raw, ReconOptions(prewhiten=False))
    keys = image.meta["sidecar"]
    assert keys["PhaseEncodingDirection"] == ["j", "j-"]
    voxels = OFF_RESONANCE * keys["EffectiveEchoSpacing"] * image.data.shape[1]
    up, down = centre(image, 0), centre(image, 1)
    # Centres of mass of a body of 800 points on 3 mm voxels.
    assert 0.5 * (up[1] - down[1]) == pytest.approx(voxels * image.affine[1, 1], rel=0.02)
    assert 0.5 * (up + down) == pytest.approx([0.008, 0.010], abs=3e-4)


def test_navigators_measure_the_delay(raw):
    """Twice the delay in samples of the encoded matrix, and no phase; the ghost is gone with it."""
    image = reconstruct(raw, ReconOptions(prewhiten=False))
    plain = reconstruct(raw, ReconOptions(prewhiten=False, ghost_correction="none"))
    group = next(g for g in raw.groups if g.trajectory is not None)
    speed = np.abs(np.diff(group.trajectory[0, :, 0])).max() / raw.header.encodings[0].epi.dwell
    found = image.meta["recipe"]["ghost_correction"][0]
    assert abs(found["shift_samples"]) == pytest.approx(2 * DELAY * speed, rel=0.01)
    assert found["offset_rad"] == pytest.approx(0, abs=0.01)

    def ghost(data):
        body = data > 0.3 * data.max()
        outside = np.roll(body, data.shape[1] // 2, axis=1) & ~body
        return data[outside].mean() / data[body].mean()

    assert ghost(plain.data[:, :, 0, 0]) > 0.15
    assert ghost(image.data[:, :, 0, 0]) < 0.01


@pytest.mark.slow
def test_simultaneous_slices_come_back_to_their_places(tmp_path):
    """Multiband pulses, CAIPI blips and single-band references, oblique and off the isocentre.

    An ellipse of its own in each of eight slices, seen by six loops; a wrong sign of the blips or a wrong
    origin of their phase would move slices by up to half the field of view along the phase axis.
    """
    card = load_protocol("small-prisma-bold")
    machine = load_scanner(card.scanner)
    write_seq(tmp_path / "a.seq", card, machine, noise_samples=256)
    sequence = read_seq(tmp_path / "a.seq")
    slices = np.atleast_1d(sequence.definitions["SlicePositions"])
    turn = Rotation.from_euler("zyx", [10, -8, 12], degrees=True).as_matrix()
    centre_ = np.array([0.004, -0.006, 0.009])
    x, y = np.meshgrid(np.arange(-0.08, 0.08, 3e-3), np.arange(-0.07, 0.07, 3e-3), indexing="ij")
    points, bodies = [], []
    for i, z in enumerate(slices):
        body = (0.02 - 0.005 * i, -0.01 + 0.002 * i, 0.05 - 0.003 * i, 0.045)
        inside = ((x - body[0]) / body[2]) ** 2 + ((y - body[1]) / body[3]) ** 2 < 1
        points += [
            np.stack([x[inside], y[inside], np.full(inside.sum(), z + d)], axis=1) for d in (-4e-4, 4e-4)
        ]
        bodies.append(body)
    p, angles = np.concatenate(points), 2 * np.pi * np.arange(6) / 6
    sensitivity = np.array(
        [
            np.exp(1j * a) * (1.2 + (np.exp(1j * a).real * p[:, 0] + np.sin(a) * p[:, 1]) / 0.08)
            + 0.6j * np.sin(2 * a) * p[:, 0] / 0.08
            for a in angles
        ]
    )
    ones = np.ones(len(p))
    cloud = PointCloud(
        name="ellipses", position=p @ turn.T + centre_, m0=ones, t1=0.5 * ones, t2=0.1 * ones,
        sensitivity=sensitivity,
    )  # fmt: skip
    place = Prescription(read_dir=turn[:, 0], phase_dir=turn[:, 1], slice_dir=turn[:, 2], center=centre_)
    data = simulate_bloch(
        cloud, sequence, machine, place, rng=np.random.default_rng(0), gradients=GradientSystem()
    )
    write_ismrmrd(tmp_path / "raw.h5", data)
    image = reconstruct(read_raw(tmp_path / "raw.h5"), ReconOptions(combine="rss", prewhiten=False))
    assert image.data.shape == (72, 64, 8, 2)
    assert np.max(image.meta["recipe"]["multiband_leakage"]) < 0.02
    index = np.stack(np.indices(image.data.shape[:3]), axis=-1)
    logical = (index @ image.affine[:3, :3].T + image.affine[:3, 3] - centre_) @ turn
    for i, (cx, cy, a, b) in enumerate(bodies):
        for volume in range(2):
            slab = image.data[:, :, i, volume]
            bright = slab > 0.3 * slab.max()
            found = logical[:, :, i][bright].mean(axis=0)
            # The outline of points on a 3 mm grid, on 3 mm voxels.
            np.testing.assert_allclose(found, [cx, cy, slices[i]], atol=1.5e-3)
            assert bright.sum() * 9e-6 == pytest.approx(np.pi * a * b, rel=0.05)

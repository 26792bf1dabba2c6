"""Receive arrays: Biot-Savart and reciprocity, layouts, coupling, and the correlation of their noise."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mrsim.simulation import coils, noise
from mrsim.simulation.constants import MU_0
from mrsim.simulation.maps import Head, receiver
from mrsim.simulation.placement import Pose, place
from mrsim.simulation.receivers import _flattened
from phantoms import icbm152_head
from protocols import load_protocol, load_scanner


def test_loop_field_on_axis():
    """mu0 a^2 / (2 (a^2 + z^2)^1.5); a polygon of 64 sides with the circle's area has 0.12 % more wire."""
    a = 0.05
    loop = coils.LoopArray(center=np.zeros((1, 3)), normal=np.array([[0, 0, 1.0]]), radius=np.array([a]))
    z = np.array([0.0, 0.02, 0.05, 0.1])
    b, _ = coils.loop_fields(loop, np.stack([0 * z, 0 * z, z], axis=1))
    np.testing.assert_allclose(np.abs(b[0, :, 2]), MU_0 * a**2 / (2 * (a**2 + z**2) ** 1.5), rtol=1.5e-3)
    assert np.abs(b[0, :, :2]).max() < 1e-12


def test_vector_potential_curls_to_the_field():
    """B = curl A by central differences of 0.2 mm: error O(h^2) below 1e-4."""
    loop = coils.LoopArray(
        center=np.array([[0.0, 0, 0.1]]), normal=np.array([[0, 0.6, 0.8]]), radius=np.array([0.04])
    )
    p, h = np.array([0.02, -0.01, 0.03]), 2e-4
    steps = np.concatenate([p + h * np.eye(3), p - h * np.eye(3), p[None]])
    b, a = coils.loop_fields(loop, steps)
    d = (a[0, :3] - a[0, 3:6]) / (2 * h)  # d[i] = dA/dx_i
    curl = np.array([d[1, 2] - d[2, 1], d[2, 0] - d[0, 2], d[0, 1] - d[1, 0]])
    np.testing.assert_allclose(curl, b[0, 6], atol=1e-4 * np.abs(b[0, 6]).max())


def test_helmet_leaves_the_neck_open_and_spreads_loops():
    array = coils.helmet(16, semi_axes=(0.11, 0.13, 0.12), center=np.array([0, 0, 0.01]))
    assert array.center[:, 2].min() > 0.01 - 0.6 * 0.12
    gaps = np.linalg.norm(array.center[:, None] - array.center[None], axis=-1)[~np.eye(16, dtype=bool)]
    assert gaps.min() > 0.03
    np.testing.assert_allclose(np.linalg.norm(array.normal, axis=1), 1.0, atol=1e-12)


def head_points(step=0.012):
    axes = [np.arange(-0.12, 0.1201, step)] * 3
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    return points[np.linalg.norm(points / np.array([0.075, 0.095, 0.085]), axis=1) < 1], step**3


def array_noise(array, coupling=0.0):
    """Covariance of the noise of an array around an ellipsoidal head at 3 T."""
    points, cell = head_points()
    _, a = coils.loop_fields(array, points)
    resistance = coils.sample_resistance(a, np.full(len(points), cell * noise.BRAIN_CONDUCTIVITY))
    mixing = coils.coupling_matrix(array, coupling)
    return mixing @ noise.noise_covariance(resistance, f0=127.7e6, noise_factor=2.0) @ mixing.T


@pytest.mark.parametrize("layout", ["even", "rings"])
@pytest.mark.parametrize("channels", [8, 12, 20, 32, 48, 64])
def test_noise_of_product_arrays_is_correlated_as_measured(channels, layout):
    """Off-diagonals of about 0.1 to 0.4, larger between neighbours; positive definite."""
    array = coils.helmet(channels, semi_axes=(0.125, 0.145, 0.13), center=np.zeros(3), layout=layout)
    covariance = array_noise(array, coupling=0.1)
    d = np.sqrt(np.diag(covariance))
    # The chain's own noise, half of all, is uncorrelated: no eigenvalue below 1/2 before the coils couple.
    assert np.linalg.eigvalsh(covariance / np.outer(d, d)).min() > 0.4
    correlation = np.abs(covariance / np.outer(d, d))
    off = correlation[~np.eye(channels, dtype=bool)]
    assert 0.1 < np.median(off) < 0.3
    assert 0.2 < off.max() < 0.5
    gaps = np.linalg.norm(array.center[:, None] - array.center[None], axis=-1) + np.diag(
        np.full(channels, 9.0)
    )
    assert correlation[np.arange(channels), gaps.argmin(axis=1)].mean() > np.median(off)


@pytest.mark.parametrize("channels", [1, 2, 8, 12, 20, 32, 48, 64])
def test_rings_hold_all_loops_without_crowding(channels):
    counts = coils.ring_counts(channels)
    assert sum(counts) == channels
    array = coils.helmet(channels, semi_axes=(0.12, 0.12, 0.12), center=np.zeros(3), layout="rings")
    assert len(np.unique(np.round(array.center[:, 2], 9))) == len(counts)
    if channels >= 8:
        gaps = np.linalg.norm(array.center[:, None] - array.center[None], axis=-1)
        nearest = (gaps + np.diag(np.full(channels, 9.0))).min(axis=1)
        # Loops whose discs tile the surface touch at 1.9 radii / sqrt(1.2).
        assert nearest.min() > 0.9 * array.radius[0]
        assert nearest.max() < 2.6 * array.radius[0]


def test_mutual_inductance_of_two_coaxial_loops():
    """Far apart: mu0 pi a^2 b^2 / (2 d^3), dipole; the next term is 2 % at 12 radii."""
    a, d = 0.03, 0.4
    array = coils.LoopArray(
        center=np.array([[0.0, 0, 0], [0, 0, d]]), normal=np.array([[0.0, 0, 1], [0, 0, 1]]),
        radius=np.array([a, a]),
    )  # fmt: skip
    matrix = coils.mutual_inductance(array)
    assert matrix[0, 1] == pytest.approx(MU_0 * np.pi * a**4 / (2 * d**3), rel=0.03)
    assert matrix[0, 0] == pytest.approx(MU_0 * a * (np.log(8 * a / 2e-3) - 2))
    np.testing.assert_allclose(matrix, matrix.T, rtol=1e-12)


def test_overlap_decouples_neighbours():
    """Two equal coplanar loops: the mutual inductance changes sign near 1.5 radii (Roemer et al.: 0.75 D)."""
    a = 0.05

    def mutual(distance):
        array = coils.LoopArray(
            center=np.array([[0.0, 0, 0], [distance * a, 0, 0]]), normal=np.array([[0.0, 0, 1], [0, 0, 1]]),
            radius=np.array([a, a]),
        )  # fmt: skip
        return coils.mutual_inductance(array)[0, 1]

    assert mutual(1.3) > 0 > mutual(1.7)
    assert abs(mutual(1.5)) < 0.1 * mutual(1.0)


def test_coupling_mixes_signals_but_no_information():
    """An invertible mixing of signals and noise leaves the best combination's SNR as it was."""
    array = coils.helmet(12, semi_axes=(0.12, 0.14, 0.13), center=np.zeros(3), layout="rings")
    points, _ = head_points(0.03)
    s = coils.sensitivity(coils.loop_fields(array, points)[0])
    snr = []
    for residual in (0.0, 0.3):
        mixed = coils.coupling_matrix(array, residual) @ s
        covariance = array_noise(array, residual)
        snr.append(np.einsum("cp,cp->p", mixed.conj(), np.linalg.solve(covariance, mixed)).real)
    np.testing.assert_allclose(snr[0], snr[1], rtol=1e-9)
    assert np.abs(coils.coupling_matrix(array, 0.3) - np.eye(12)).max() > 0.01


def test_reciprocity_of_a_loop():
    """The flux of a dipole through a loop per moment is the loop's field per current (A of the dipole)."""
    array = coils.LoopArray(
        center=np.array([[0.02, -0.01, 0.1]]), normal=np.array([[0, 0.6, 0.8]]), radius=np.array([0.04])
    )
    place_, moment = np.array([0.01, 0.03, -0.02]), np.array([0.3, -0.5, 0.8])
    mid, vec = array.segments()
    away = mid[0] - place_
    potential = MU_0 / (4 * np.pi) * np.cross(moment, away) / np.linalg.norm(away, axis=1, keepdims=True) ** 3
    flux = np.sum(potential * vec[0])
    b, _ = coils.loop_fields(array, place_[None])
    # The polygon is the same on both sides; the midpoint rule of 64 pieces differs at the second order.
    assert flux == pytest.approx(float(b[0, 0] @ moment), rel=2e-3)


def test_flat_profiles_keep_encoding_and_mean():
    array = coils.helmet(8, semi_axes=(0.12, 0.14, 0.13), center=np.zeros(3))
    points, _ = head_points(0.02)
    s = coils.sensitivity(coils.loop_fields(array, points)[0])
    weight = np.linspace(0.0, 1.0, len(points))
    flat = _flattened(s, weight)
    total = np.sqrt(np.sum(np.abs(s) ** 2, axis=0))
    after = np.sqrt(np.sum(np.abs(flat) ** 2, axis=0))
    np.testing.assert_allclose(after, np.sum(total * weight) / weight.sum(), rtol=1e-12)
    np.testing.assert_allclose(flat * total, s * after, rtol=1e-12)


def test_receiver_follows_the_record():
    head = icbm152_head(8e-3)
    card = load_protocol("onharmony-prisma-t1w-mprage")
    placed = place(head, card.prescription(), Pose.identity(), brain=head.brain_mask())
    machine = load_scanner("ge-premier-3t")
    found = {}
    for name, changes in {"own": {}, "even": {"layout": "even"}, "flat": {"flat": True}}.items():
        changed = machine.replace(receive=dataclasses.replace(machine.receive, **changes))
        found[name] = receiver(placed, Head.of(placed), changed, 12)
    assert found["own"].channels == 12
    assert not np.allclose(found["own"].sensitivity, found["even"].sensitivity)
    np.testing.assert_array_equal(found["own"].covariance, found["flat"].covariance)
    shading = np.sqrt(sum(np.abs(m) ** 2 for m in found["flat"].maps()))[placed.brain > 0.5]
    assert np.ptp(shading) < 0.02 * shading.mean()

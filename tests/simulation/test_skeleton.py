"""Few nodes of a table against all of them."""

from __future__ import annotations

import numpy as np
import pytest

from mrsim.simulation.kspace.skeleton import interpolative, skeleton_of

SIZES = (9, 4, 31, 47)
AXES = [np.linspace(0.1, 1.0, n) for n in SIZES]


def signal(at):
    """A saturation band times a slice profile times a decay, two orders: no product of the four axes."""
    t, b, d, z = (axis[i] for axis, i in zip(AXES, at, strict=True))
    kept = 1 - 0.9 * np.exp(-(((d - 0.6) / 0.1) ** 2)) * b
    profile = np.sin(1.5 * b) / (1 + ((z - 0.5) / 0.07) ** 8)
    wave = np.exp(-2j * np.pi * 3 * z)
    return np.stack([[kept * profile * np.exp(-t)], [0.1 * profile * wave * (1 - kept * t)]])


def full():
    at = np.stack([m.reshape(-1) for m in np.meshgrid(*map(np.arange, SIZES), indexing="ij")])
    return signal(at).reshape(2, 1, *SIZES)


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4])
def test_all_entries_follow_from_few(tolerance):
    played = []

    def play(at):
        played.append(at.shape[1])
        return signal(at)

    found = skeleton_of(play, SIZES, (), tolerance)
    whole = np.einsum("optbdz,Tt,Bb,Dd,Zz->opTBDZ", found.core, *found.matrices, optimize=True)
    truth = full()
    error = np.linalg.norm(whole - truth) / np.linalg.norm(truth)
    assert found.error <= tolerance
    # The error is that of 256 entries; few entries carry most of the signal.
    assert error < 3 * tolerance
    assert sum(played) < 0.25 * np.prod(SIZES)
    assert len(found.nodes[3]) < 10


def test_an_axis_that_must_stay_whole_stays():
    found = skeleton_of(signal, SIZES, (2,), 1e-2)
    assert found.matrices[2].shape == (31, 31)


def test_without_structure_all_nodes_are_played():
    noise = np.random.default_rng(3).normal(size=SIZES)
    found = skeleton_of(lambda at: noise[tuple(at)][None, None].astype(complex), SIZES, (), 1e-3)
    assert found.core.shape[2:] == SIZES
    assert found.error < 1e-12


def test_the_error_is_that_of_entries_which_did_not_choose():
    def spiky(at):
        # One entry in eight is off: no fibre tells which.
        odd = (at[0] * 7 + at[1] * 11 + at[2] * 13 + at[3] * 17) % 8 == 0
        return signal(at) * (1 + 1e-3 * odd)

    found = skeleton_of(spiky, SIZES, (), 5e-3)
    assert 1e-5 < found.error < 5e-3


def test_interpolation_between_rows_is_exact_at_its_nodes():
    rng = np.random.default_rng(4)
    rows = rng.normal(size=(20, 3)) @ rng.normal(size=(3, 50))
    nodes, matrix = interpolative(rows, 1e-10)
    assert nodes.size == 3
    np.testing.assert_allclose(matrix @ rows[nodes], rows, atol=1e-10)
    np.testing.assert_allclose(matrix[nodes], np.eye(3), atol=1e-10)

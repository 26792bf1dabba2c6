"""Texture of proton density reaches the signal, and nothing else."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mrsim.simulation import Pose, Session, SimulationOptions, simulate
from mrsim.simulation.bloch.scan import scanned_cloud
from mrsim.simulation.gradients import GradientSystem
from mrsim.simulation.scanned import scan_object
from phantoms import cloud_from_phantom

from .conftest import body
from .tiny import spoiled_gre

IDEAL = SimulationOptions(b0=False, b1=False, coils=False, noise=False, tolerance=1e-6)
TURNED = Session(
    pose=Pose(rotation=np.eye(3)[[1, 0, 2]] * [[-1], [1], [1]], translation=np.zeros(3), pivot=np.zeros(3))
)


@pytest.fixture(scope="module")
def pair():
    """A body with texture, and one whose fractions hold the product."""
    rng = np.random.default_rng(3)
    fraction = np.zeros((9, 11, 8), np.float32)
    fraction[2:7, 2:9, 2:6] = 0.5
    texture = rng.uniform(0.8, 1.2, fraction.shape).astype(np.float32)
    plain = body(fraction, 0.012, (-0.05, -0.06, -0.04), t1=0.8, t2=0.08, chi=1.0)
    return plain.replace({"texture": texture}), plain.replace({"fractions": (fraction * texture)[None]})


def data(phantom, machine, prescription, session):
    raw = simulate(
        phantom, spoiled_gre((10, 6, 4), (0.2, 0.19, 0.18), dummies=3), machine, prescription,
        rng=np.random.default_rng(0), options=IDEAL, gradients=GradientSystem(), session=session,
    )  # fmt: skip
    return np.stack([d[0] for d in raw.data])


@pytest.mark.parametrize("session", [Session(), TURNED], ids=["upright", "turned"])
def test_signal_is_that_of_the_product(pair, machine, upright, session):
    textured, product = (data(p, machine, upright, session) for p in pair)
    assert np.abs(textured - product).max() < 1e-5 * np.abs(product).max()
    smooth = data(pair[0].replace({"texture": None}), machine, upright, session)
    assert np.abs(textured - smooth).max() > 1e-2 * np.abs(product).max()


def test_uniform_texture_scales_a_head_on_a_slant(pair, machine, upright):
    tilt = np.array([[0.96, -0.28, 0], [0.28, 0.96, 0], [0, 0, 1.0]])
    session = Session(pose=Pose(rotation=tilt, translation=np.array([2e-3, 0, 0]), pivot=np.zeros(3)))
    half = pair[0].replace({"texture": np.full(pair[0].shape, 0.5, np.float32)})
    whole = data(pair[0].replace({"texture": None}), machine, upright, session)
    miss = data(half, machine, upright, session) - 0.5 * whole
    assert np.abs(miss).max() < 1e-5 * np.abs(whole).max()


def test_fields_do_not_feel_it(pair, machine, upright):
    options = dataclasses.replace(IDEAL, b0=True)
    plain = pair[0].replace({"texture": None})
    a, b = (scan_object(p, upright, machine, Session(), options) for p in (pair[0], plain))
    assert np.ptp(a.df) > 1
    assert np.array_equal(a.df, b.df)


def test_points_carry_it(pair, machine, upright):
    clouds = [scanned_cloud(p, upright, machine, Session(), IDEAL)[0] for p in pair]
    assert clouds[0].m0 == pytest.approx(clouds[1].m0, rel=1e-6)
    assert cloud_from_phantom(pair[0], 3.0).m0 == pytest.approx(cloud_from_phantom(pair[1], 3.0).m0, rel=1e-6)

"""Designed refocusing trains: the prescribed signal, by isochromats instead of the phase graph."""

import math

import numpy as np
import pytest

from protocols import RecordError
from protocols.cards.contrasts import RefocusingDesign
from protocols.families.refocusing import (
    REFERENCE_T1,
    REFERENCE_T2,
    designed_angles,
    effective_te,
    prescribed_signal,
    pseudo_steady_state,
    te_for_effective,
    train_signal,
)

DESIGN = RefocusingDesign(scheme="prescribed", minimum_deg=25.0, center_deg=60.0, maximum_deg=120.0)


def isochromats(angles, spacing, t1=math.inf, t2=math.inf):
    """CPMG echoes of spins that precess by equally spread angles per half spacing."""
    count = 8 * len(angles) + 8  # more than twice the states: the discrete mean is exact
    turn = np.exp(2j * np.pi * np.arange(count) / count)
    e1, e2 = math.exp(-0.5 * spacing / t1), math.exp(-0.5 * spacing / t2)
    m, z, echoes = np.ones(count, complex), np.zeros(count), []
    for angle in angles:
        m, z = m * turn * e2, z * e1
        y = m.imag * math.cos(angle) - z * math.sin(angle)
        z = m.imag * math.sin(angle) + z * math.cos(angle)
        m = (m.real + 1j * y) * turn * e2
        z = z * e1
        echoes.append(m.mean())
    return np.array(echoes)


@pytest.mark.parametrize(("echoes", "center"), [(64, 24), (40, 39), (30, 2), (1, 0), (8, 7)])
def test_designed_trains_give_the_prescribed_signal(echoes, center):
    angles = designed_angles(DESIGN, echoes, center)
    played = isochromats(angles, 0.004)
    assert np.abs(played.imag).max() < 1e-12
    wanted = prescribed_signal(DESIGN, echoes, center)
    reachable = train_signal(angles, 0.004)
    np.testing.assert_allclose(played.real, reachable, atol=1e-12)
    # A rise that is too fast for the stored magnetization ends at 180 degrees; then nothing is hidden.
    free = np.cumsum(np.isclose(angles, math.pi)) == 0
    np.testing.assert_allclose(played.real[free], wanted[free], atol=1e-9)
    if center >= 12:
        assert free.all()
        assert played.real[center] == pytest.approx(pseudo_steady_state(math.radians(60.0)), abs=1e-9)
        low = math.degrees(min(angles))
        assert low == pytest.approx(25.0, abs=1.5)  # the pseudo-steady state is reached within the approach


def test_relaxation_follows_the_isochromats():
    angles = designed_angles(DESIGN, 50, 20)
    np.testing.assert_allclose(
        train_signal(angles, 0.005, 0.9, 0.08), isochromats(angles, 0.005, 0.9, 0.08).real, atol=1e-12
    )


@pytest.mark.parametrize("degrees", [30.0, 60.0, 90.0, 150.0, 180.0])
def test_pseudo_steady_state_is_the_mean_of_the_locked_spins(degrees):
    """Riemann sum of the transverse part of the axis of one refocusing period."""
    half = math.radians(degrees) / 2
    phi = (np.arange(20000) + 0.5) / 20000 * math.pi / 2
    part = math.sin(half) / np.sqrt(math.sin(half) ** 2 + (math.cos(half) * np.sin(phi)) ** 2)
    assert pseudo_steady_state(2 * half) == pytest.approx(part.mean(), rel=1e-6)


def test_effective_te_of_a_180_train_is_its_te_and_shorter_for_low_angles():
    assert effective_te([math.pi] * 10, 0.01, 7) == pytest.approx(0.08, rel=1e-12)
    angles = designed_angles(DESIGN, 258, 109)
    equivalent = effective_te(angles, 0.0036, 109)
    assert 0.3 < equivalent / (110 * 0.0036) < 0.6
    relaxed = isochromats(angles[:110], 0.0036, REFERENCE_T1, REFERENCE_T2).real[-1]
    free = isochromats(angles[:110], 0.0036).real[-1]
    assert relaxed / free == pytest.approx(math.exp(-equivalent / REFERENCE_T2), rel=1e-9)


def test_te_for_effective_places_the_centre():
    te = te_for_effective(DESIGN, 100, 0.0044, 0.08)
    center = round(te / 0.0044) - 1
    found = effective_te(designed_angles(DESIGN, 100, center), 0.0044, center)
    assert found == pytest.approx(0.08, abs=0.0022)  # half an echo spacing


def test_angles_must_not_fall():
    with pytest.raises(RecordError, match="not fall"):
        RefocusingDesign(minimum_deg=60.0, center_deg=30.0)

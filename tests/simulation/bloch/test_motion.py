"""Moving bodies against the phase integral of every spin, by brute force."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad

from mrsim.simulation.bloch import GradientSystem, Machine, PolynomialField
from phantoms import PathMotion, RigidMotion

from .sequences import INSTANT, Score, final, hard, heard, knots, sample, shaped, spins, trapezoid
from .test_ode import bloch

LINEAR = PolynomialField(
    terms=(((1.0, (1, 0, 0)),), ((1.0, (0, 1, 0)),), ((1.0, (0, 0, 1)),))
)  # fmt: skip


def test_constant_velocity_gives_the_bipolar_phase():
    """2 pi gamma-bar G v delta Delta for lobes +G, -G of length delta whose starts are Delta apart."""
    g, delta, apart, v = 4e5, 2e-3, 9e-3, 0.3
    lobe, back = trapezoid(g, delta), trapezoid(-g, delta)
    score = Score().add(1e-6, rf=hard(90, 90)).add(delta, gx=lobe).add(apart - delta)
    sequence = score.add(delta, gx=back).add(1e-3, adc=sample()).sequence()
    motion = RigidMotion(
        times=np.array([0.0, 1.0]), translation=np.array([[0.0, 0, 0], [v, 0, 0]]), angles=np.zeros((2, 3))
    )
    s = heard(spins(position=np.array([[0.013, 0.0, 0.0]]), motion=motion), sequence)[0]
    # M+ turns by exp(-2 pi i phase) and the second lobe, further out, is the negative one.
    still = heard(spins(position=np.array([[0.013, 0.0, 0.0]])), sequence)[0]
    expected = np.exp(2j * np.pi * g * v * delta * apart)
    assert s / still == pytest.approx(expected, abs=1e-9)


def gradients():
    return {
        "gx": knots([0.0, 1e-3, 2.5e-3, 4e-3], [0.0, 8e4, -3e4, 0.0]),
        "gy": trapezoid(5e4, 2e-3, 3e-4),
        "gz": knots([0.0, 2e-3, 4e-3], [2e4, -6e4, 1e4]),
    }


def moving(times):
    rng = np.random.default_rng(3)
    return RigidMotion(
        times=times, translation=rng.normal(0, 2e-4, (times.size, 3)),
        angles=rng.normal(0, 2e-3, (times.size, 3)), center=np.array([0.01, -0.02, 0.005]),
    )  # fmt: skip


def brute_force(position, motion, play, at, machine_center, field=None):
    """Phase [cycles] of one spin: the integral of G(t) . (r(t) - center)."""

    def rate(t):
        r = motion.positions(position[None], [t])[0]
        r = (r if field is None else field.field(r))[0] - machine_center
        return sum(
            np.interp(t, g.times, g.values, left=0, right=0) * x
            for g, x in zip(play.values(), r, strict=True)
        )

    cuts = sorted({0.0, at, *(float(t) for g in play.values() for t in g.times if t < at),
                   *(float(t) for t in motion.times if 0 < t < at)})  # fmt: skip
    return sum(quad(rate, a, b, epsabs=1e-10, epsrel=1e-12)[0] for a, b in pairwise(cuts))


CENTER = np.array([0.003, 0.004, -0.002])


@pytest.mark.parametrize("deforming", [False, True])
def test_a_rigid_body_equals_the_integral_over_its_path(deforming):
    """Products of pose and gradient are linear over 20 us: 1e-6 cycles of the phase's 100 cycles.

    With a field given as a polynomial the body is followed on 50 us of straight path instead.
    """
    play, motion, at = gradients(), moving(np.array([0.0, 1.7e-3, 3.1e-3, 6e-3])), 3.6e-3
    position = np.array([[0.07, -0.04, 0.02], [-0.05, 0.06, 0.09], [0.01, 0.03, -0.08]])
    lead = 2e-6
    sequence = Score().add(lead, rf=hard(90, 90)).add(5e-3, adc=sample(at), **play).sequence()
    system = GradientSystem(field=LINEAR) if deforming else GradientSystem()
    machine = Machine(center=CENTER, gradients=system)
    shifted = RigidMotion(
        times=motion.times + lead, translation=motion.translation, angles=motion.angles, center=motion.center
    )
    for r in position:
        wanted = brute_force(r, motion, play, at, CENTER)
        got = heard(
            spins(position=r[None], motion=shifted), sequence, machine=machine, motion_step=5e-5
        )[0]  # fmt: skip
        assert got == pytest.approx(np.exp(-2j * np.pi * wanted), abs=2e-4)


def after_excitation(play, at):
    """Instant excitation that leaves M+ = 1, then the gradients; both start at time zero but for 10 ns."""
    return Score().add(INSTANT, rf=hard(90, 90)).add(5e-3, adc=sample(at), **play).sequence()


def test_a_path_of_all_points_alike_is_a_rigid_translation():
    """The path is exact. Rigid products are linear over 20 us: at 1.5 m/s in slopes of 1e8 Hz/m/s 1e-4."""
    play, times, at = gradients(), np.array([0.0, 2e-3, 5e-3]), 3.6e-3
    shift = np.array([[0.0, 0, 0], [3e-3, -1e-3, 2e-3], [1e-3, 4e-3, -2e-3]])
    position = np.array([[0.07, -0.04, 0.02], [-0.05, 0.06, 0.09]])
    rigid = RigidMotion(times=times, translation=shift, angles=np.zeros((3, 3)))
    path = PathMotion(times=times, displacement=np.repeat(shift[:, None], 2, axis=1))
    early = RigidMotion(times=times - INSTANT, translation=shift, angles=np.zeros((3, 3)))
    phase = np.array([brute_force(r, early, play, at, CENTER) for r in position])
    wanted, machine = np.exp(-2j * np.pi * phase).mean(), Machine(center=CENTER)
    for motion, tolerance in ((path, 1e-9), (rigid, 1e-4)):
        got = heard(spins(2, position=position, motion=motion), after_excitation(play, at), machine=machine)
        assert got[0] == pytest.approx(wanted, abs=tolerance)


def stretching(position, times):
    """Every point moves by its own share: stretched along x, sheared in y, breathing in z."""
    share = np.array([0.0, 1.0, 0.4, -0.3])[: times.size, None, None]
    x, y, z = position.T
    return PathMotion(times=times, displacement=share * np.stack([0.05 * x, 0.02 * x - 0.01 * y, z**2], 1))


def test_a_stretching_body_equals_the_integral_over_every_path():
    """Paths are straight between their knots, and phases on them are exact: round-off of 10 cycles."""
    play, times, at = gradients(), np.array([0.0, 1.3e-3, 2.9e-3, 6e-3]), 3.7e-3
    position = np.random.default_rng(5).normal(0, 0.06, (7, 3))
    motion, early = stretching(position, times), stretching(position, times - INSTANT)
    phase = [
        brute_force(r, early.select(np.array([i])), play, at, CENTER) for i, r in enumerate(position)
    ]  # fmt: skip
    cloud = spins(7, position=position, motion=motion, m0=np.ones(7) * np.arange(1, 8))
    got = heard(cloud, after_excitation(play, at), machine=Machine(center=CENTER))[0]
    assert got == pytest.approx(np.arange(1, 8) @ np.exp(-2j * np.pi * np.array(phase)), abs=1e-8)


def test_points_that_are_not_named_stay_where_they_are():
    play, at = gradients(), 3.7e-3
    position = np.random.default_rng(6).normal(0, 0.06, (5, 3))
    everyone = stretching(position, np.array([0.0, 1e-3, 4e-3]))
    some = everyone.displacement.copy()
    some[:, [0, 2, 3]] = 0.0
    few = PathMotion(times=everyone.times, displacement=some[:, [4, 1]], spins=np.array([4, 1]))
    one, two = (
        heard(spins(5, position=position, motion=m), after_excitation(play, at))[0]
        for m in (PathMotion(times=everyone.times, displacement=some), few)
    )
    assert one == pytest.approx(two, abs=1e-12)


CUBIC = PolynomialField(
    terms=(
        ((1.0, (1, 0, 0)), (15.0, (3, 0, 0))), ((1.0, (0, 1, 0)), (-9.0, (1, 2, 0))),
        ((1.0, (0, 0, 1)), (4.0, (1, 1, 1))),
    )
)  # fmt: skip


def test_a_rigid_body_in_a_nonlinear_coil_converges_with_second_order():
    """Between knots the coil's field at a point is taken as linear in time: error ~ step^2."""
    play, at, errors = gradients(), 3.6e-3, []
    times = np.array([0.0, 1.7e-3, 3.1e-3, 6e-3])
    motion = RigidMotion(
        times=times, translation=np.array([[0, 0, 0], [4e-3, 1e-3, 0], [-2e-3, 3e-3, 1e-3], [0, 0, 5e-3]]),
        angles=np.array([[0, 0, 0], [0.1, 0, -0.2], [0.2, 0.1, 0.0], [0.1, -0.1, 0.3]]),
    )  # fmt: skip
    early = RigidMotion(times=times - INSTANT, translation=motion.translation, angles=motion.angles)
    r = np.array([0.07, -0.04, 0.02])
    wanted = np.exp(-2j * np.pi * brute_force(r, early, play, at, CENTER, CUBIC))
    machine = Machine(center=CENTER, gradients=GradientSystem(field=CUBIC))
    linear = np.exp(-2j * np.pi * brute_force(r, early, play, at, CENTER))
    assert abs(linear - wanted) > 0.1
    for step in (1e-3, 5e-4, 2.5e-4, 1.25e-4):
        cloud = spins(position=r[None], motion=motion)
        got = heard(cloud, after_excitation(play, at), machine=machine, motion_step=step)[0]
        errors.append(abs(got - wanted))
    print("error by motion step", np.array(errors))
    assert np.log2(errors[0] / errors[-1]) / 3 == pytest.approx(2.0, abs=0.25)


@pytest.mark.parametrize("kind", ["rigid", "path", "coil"])
def test_bodies_move_during_pulses_too(kind):
    """Soft pulse under a gradient on a spin that runs through the slice, against DOP853.

    1e-5 of the rigid body's linear products over 20 us, of paths the pulse's own tolerance.
    """
    times = np.array([0.0, 1.2e-3, 3.5e-3, 9e-3])
    shift = np.array([[0.0, 0, 0], [4e-4, -2e-4, 1e-4], [-3e-4, 2e-4, 2e-4], [0, 0, 1e-4]])
    angles = 100.0 * shift[:, ::-1] * (kind != "path")
    rigid = RigidMotion(times=times, translation=shift, angles=angles)
    motion = PathMotion(times=times, displacement=shift[:, None]) if kind == "path" else rigid
    system = GradientSystem(field=CUBIC) if kind == "coil" else GradientSystem()
    cloud = spins(
        position=np.array([[0.02, 0.01, -0.03]]), t1=np.array([0.9]), t2=np.array([0.05]), motion=motion
    )
    rf = shaped(250 * np.hanning(64), 5e-5, phase_deg=30, freq=900.0, delay=1e-4)
    score = Score(5e-5).add(
        4e-3, rf=rf, gx=trapezoid(6e4, 3e-3, 2e-4, delay=1e-4), gz=trapezoid(2e4, 2e-3, 3e-4)
    )
    sequence = score.add(1e-3, gy=trapezoid(5e4, 5e-4, 1e-4)).sequence()

    def path(t):
        r = motion.positions(cloud.position, [t])[0]
        return (r if kind != "coil" else CUBIC.field(r))[0] - CENTER

    wanted = bloch(cloud, sequence, path=path)
    machine = Machine(center=CENTER, gradients=system)
    error = np.abs(final(cloud, sequence, machine=machine, motion_step=1e-4)[:, 0] - wanted).max()
    print(kind, error)
    assert error < 1e-5


def test_a_pulse_may_sit_in_a_long_block():
    """100 ms are followed at 1 ms: the same as the pulse and the rest in two blocks."""
    motion = stretching(np.array([[0.02, 0.01, -0.03]]), np.array([0.0, 0.03, 0.1]))
    cloud = spins(position=np.array([[0.02, 0.01, -0.03]]), motion=motion)
    lobe = trapezoid(2e4, 3e-3, 1e-4)
    two = Score().add(1e-3, rf=hard(70, length=1e-3)).add(0.099, gx=lobe).sequence()
    delayed = trapezoid(2e4, 3e-3, 1e-4, delay=1e-3)
    one = Score().add(0.1, rf=hard(70, length=1e-3), gx=delayed).sequence()
    np.testing.assert_allclose(final(cloud, one), final(cloud, two), atol=1e-9)

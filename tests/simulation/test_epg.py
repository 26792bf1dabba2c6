"""Phase graphs and pulse maps against the golden numbers of closed forms and textbook recursions.

Golden values: docs of the physics checks (Hennig 1988, Weigel 2015, Deichmann 2000, Freeman-Hill), each
obtained there from a closed form and from brute force. Tolerance 1e-5 = the digits they are given to.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from mrsim.simulation.kspace.epg import histories
from mrsim.simulation.kspace.pulse_train import PulseTrain
from mrsim.simulation.kspace.pulses import Bins, pulse_maps


def one_bin(t1, t2, *, b1=1.0, adc=0.0, shift=0.0) -> Bins:
    return Bins(
        **{k: np.array([float(v)]) for k, v in dict(t1=t1, t2=t2, adc=adc, b1=b1, shift=shift).items()}
    )


def instant(flip_deg, bins, duration=1e-9):
    return pulse_maps(np.array([np.deg2rad(flip_deg) / (2 * np.pi * duration)]), np.array([duration]), bins)


def play(maps, *, shape, phase, interval, order, dwell, shifts, bins, unit=1000.0, **kw):
    train = PulseTrain(
        shape=np.asarray(shape), phase=np.asarray(phase, float), interval=np.asarray(interval),
        order=np.asarray(order), tau=np.zeros(len(shape)), dwell=np.asarray(dwell, float),
        precession=np.asarray(dwell, float), shifts=np.asarray(shifts), unit=unit,
    )  # fmt: skip
    return histories(train, np.stack([m for m, _ in maps]), np.stack([c for _, c in maps]), bins, **kw)[0]


CPMG = {
    180: [0.90484, 0.81873, 0.74082],
    150: [0.84422, 0.82469, 0.69785],
    120: [0.67863, 0.79647, 0.63691, 0.60688, 0.56365, 0.50861],
    90: [0.45242, 0.65260, 0.59050],
    60: [0.22621, 0.38711, 0.43403],
}


@pytest.mark.parametrize("flip", CPMG)
def test_cpmg_with_stimulated_echoes(flip):
    bins = one_bin(1.0, 0.1)
    n = len(CPMG[flip])
    after = play(
        [instant(90, bins), instant(flip, bins)], shape=[0] + [1] * n, phase=[np.pi / 2] + [0] * n,
        interval=[0] + [1] * n, order=[0] + [-1] * n, dwell=[5e-3, 10e-3], shifts=[1, 2], bins=bins,
    )  # fmt: skip
    echoes = np.abs(after[1:]) * math.exp(-5e-3 / 0.1)
    np.testing.assert_allclose(echoes, CPMG[flip], atol=1e-5)


@pytest.mark.parametrize(
    ("flip", "expected"),
    [
        (20, {50: -3.6, 84: -3.3, 117: -2.2, 150: -0.4, 169: -3.6}),
        (30, {50: -8.7, 84: -9.4, 117: 2.1, 150: -3.6}),
    ],
)
def test_rf_spoiling_depends_on_the_increment_as_published(flip, expected):
    """Deviation from the ideal formula in percent, given to 0.1."""
    bins = one_bin(1.0, 0.1)
    k = np.arange(1200)
    e1 = math.exp(-0.015)
    a = math.radians(flip)
    ideal = math.sin(a) * (1 - e1) / (1 - e1 * math.cos(a))
    for increment, deviation in expected.items():
        phase = math.radians(increment) * k * (k + 1) / 2
        after = play(
            [instant(flip, bins)], shape=0 * k, phase=phase, interval=0 * k, order=0 * k, dwell=[15e-3],
            shifts=[1], bins=bins,
        )  # fmt: skip
        assert 100 * (abs(after[-1]) / ideal - 1) == pytest.approx(deviation, abs=0.06)


@pytest.mark.parametrize(
    ("t1", "flip", "signal"),
    [(0.832, 8, 0.064676), (0.832, 15, 0.051425), (1.331, 8, 0.048908), (1.331, 15, 0.034685)],
)
def test_ideally_spoiled_gradient_echo(t1, flip, signal):
    """Transverse magnetization that dies within TR leaves the Ernst-type formula exactly."""
    bins = one_bin(t1, 2e-4)
    k = np.arange(2500)
    after = play(
        [instant(flip, bins)], shape=0 * k, phase=0.0 * k, interval=0 * k, order=0 * k, dwell=[7e-3],
        shifts=[1], bins=bins,
    )  # fmt: skip
    assert abs(after[-1]) == pytest.approx(signal, rel=2e-5)


@pytest.mark.parametrize(
    ("t1", "signal"), [(0.838, 0.047086), (1.607, 0.021693), (4.163, 0.005813)], ids=["wm", "gm", "csf"]
)
def test_mprage_follows_the_recursion_of_deichmann(t1, signal):
    """TR 2300 TI 900 ES 7.1 ms, N 176, k-centre pulse 88, 9 degrees, perfect inversion; golden to 1e-6."""
    bins = one_bin(t1, 2e-4)
    n, es, ti, tr, centre = 176, 7.1e-3, 0.9, 2.3, 88
    before = ti - centre * es
    after_train = tr - before - n * es
    shots = 60
    shape = np.tile([0] + [1] * n, shots)
    interval = np.tile([0] + [1] * (n - 1) + [2], shots)
    history = play(
        [instant(180, bins), instant(9, bins)], shape=shape, phase=0.0 * shape, interval=interval,
        order=0 * shape, dwell=[before, es, es + after_train], shifts=[1, 1, 1], bins=bins,
    )  # fmt: skip
    assert abs(history[-(n + 1) :][1 + centre]) == pytest.approx(signal, abs=1.5e-6)


def test_spin_echo_with_finite_repetition_time():
    """[1 - 2 exp(-(TR - TE/2)/T1) + exp(-TR/T1)] exp(-TE/T2): T1 832 T2 80 TR 600 TE 14 ms."""
    bins = one_bin(0.832, 0.08)
    shots = 12
    after = play(
        [instant(90, bins), instant(180, bins)], shape=[0, 1] * shots, phase=[np.pi / 2, 0] * shots,
        interval=[0, 1] * shots, order=[0, -1] * shots, dwell=[7e-3, 0.593], shifts=[1, 5], bins=bins,
    )  # fmt: skip
    # Residual transverse states of the spoiled remainder are below 1e-3 of the signal (T2 80 ms, TR 600 ms).
    assert abs(after[-1]) * math.exp(-7e-3 / 0.08) == pytest.approx(0.424424, rel=1e-3)


def test_diffusion_attenuates_a_spin_echo_as_stejskal_and_tanner_say():
    """Constant gradient: exp(-2/3 (2 pi k)^2 D tau) with k the moment of one half."""
    unit, tau, adc = 4.0e4, 10e-3, 1e-9
    bins = one_bin(1e6, 1e5, adc=adc)
    after = play(
        [instant(90, bins), instant(180, bins)], shape=[0, 1, 1], phase=[np.pi / 2, 0, 0], interval=[0, 1, 1],
        order=[0, -1, 0], dwell=[tau, tau], shifts=[1, 1], bins=bins, unit=unit,
    )  # fmt: skip
    # F(-1) after the refocusing pulse has felt the first half only: exp(-(2 pi k)^2 D tau / 3).
    assert abs(after[1]) == pytest.approx(math.exp(-((2 * np.pi * unit) ** 2) * adc * tau / 3), rel=1e-6)


def bloch_ode(b1, duration, t1, t2, scale, shift, m0):
    """scipy's integrator on the Bloch equation, waveform constant per step."""
    n = b1.size

    def rhs(t, m):
        b = b1[min(int(t / duration * n), n - 1)] * scale
        w = 2 * np.pi * np.array([b.real, b.imag, shift])
        return np.cross(w, m) - np.array([m[0] / t2, m[1] / t2, (m[2] - 1) / t1])

    m = np.asarray(m0, float)
    for s in range(n):
        m = solve_ivp(
            rhs, ((s + 1e-9) * duration / n, (s + 1 - 1e-9) * duration / n), m, rtol=1e-10, atol=1e-12
        ).y[:, -1]
    return m


@pytest.mark.parametrize("shift", [0.0, -430.0])
@pytest.mark.parametrize("start", [(0, 0, 1), (0.3, -0.2, 0.5)])
def test_pulse_map_equals_an_ode_solver(shift, start):
    """A shaped pulse with relaxation, off resonance: splitting error O(dt^2) is below 1e-5 at 25 us steps."""
    rng = np.random.default_rng(5)
    b1 = 300 * np.hanning(40) * np.exp(1j * rng.normal(0, 0.7, 40).cumsum() * 0.3)
    bins = one_bin(0.05, 0.02, b1=0.83, shift=shift)
    matrix, offset = pulse_maps(b1, np.full(40, 25e-6), bins)
    mx, my, mz = bloch_ode(b1, 1e-3, 0.05, 0.02, 0.83, shift, start)
    m = matrix[0] @ np.array([start[0] + 1j * start[1], start[0] - 1j * start[1], start[2]]) + offset[0]
    np.testing.assert_allclose([m[0], m[1], m[2]], [mx + 1j * my, mx - 1j * my, mz], atol=1e-5)


def test_pulse_map_converges_with_second_order():
    """Halving the step divides the splitting error by four (slope -2 +- 0.1)."""
    bins = one_bin(0.005, 0.002, b1=1.1, shift=200.0)
    errors = []
    reference = None
    for n in (1024, 16, 32, 64):
        matrix, _ = pulse_maps(np.full(n, 250.0), np.full(n, 2e-3 / n), bins)
        if reference is None:
            reference = matrix
            continue
        errors.append(np.abs(matrix - reference).max())
    slopes = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(slopes, 2.0, atol=0.1)


def test_offset_frequency_selects_the_shifted_species():
    """A long weak pulse at the fat frequency saturates fat and spares water (sign convention)."""
    steps = np.full(400, 25e-6)
    shape = np.hanning(400)
    b1 = 0.25 / (shape.sum() * 25e-6) * shape
    mz = {}
    for shift in (0.0, -434.0):
        matrix, _ = pulse_maps(b1, steps, one_bin(1.0, 0.5, shift=shift), freq_offset=-434.0)
        mz[shift] = matrix[0, 2, 2].real
    assert abs(mz[-434.0]) < 0.02
    assert mz[0.0] > 0.97


def test_states_beyond_the_cap_do_not_matter_for_tissue():
    bins = one_bin(0.83, 0.07)
    k = np.arange(600)
    phase = np.deg2rad(50) * k * (k + 1) / 2
    common = dict(shape=0 * k, phase=phase, interval=0 * k, order=0 * k, dwell=[7e-3], shifts=[1], bins=bins)
    maps = [instant(12, bins)]
    few, many = play(maps, **common, max_states=128), play(maps, **common, max_states=600)
    np.testing.assert_allclose(few, many, atol=1e-6)


def test_t2_above_t1_is_refused():
    with pytest.raises(ValueError, match=r"t2 must not exceed t1; got t2=0.2 s, t1=0.1 s in bin 0"):
        one_bin(0.1, 0.2)

"""Fits against closed forms, golden numbers and the Cramer-Rao bound."""

import numpy as np
import pytest

from mrsim.evaluation.echo_trains import echo_train, fit_t2_echo_train
from mrsim.evaluation.flip_maps import actual_flip_b1, double_angle_b1
from mrsim.evaluation.inputs import MetricInputError
from mrsim.evaluation.relaxometry import (
    fit_exponential,
    fit_inversion_recovery,
    fit_vfa,
    fit_vfa_linear,
    inversion_signal,
    spoiled_signal,
    vfa_precision,
)

T1 = np.array([[0.0217, 0.089, 0.3515], [0.706, 1.454, 3.9]])  # the phantom's range and beyond, asymmetric
FLIPS = np.deg2rad([2.0, 5.0, 10.0, 20.0, 25.0, 30.0])
TR = 6.6e-3
TI = np.array([0.05, 0.4, 1.1, 2.5])
EXACT = 1e-6
"""Relative tolerance of fits without noise: the search ends where the cost's own rounding begins."""


def test_spoiled_signal_golden_numbers():
    """TR 7 ms, T1 832 and 1331 ms, 8 and 15 degrees."""
    got = spoiled_signal([[0.832], [1.331]], np.deg2rad([8.0, 15.0]), 7e-3)
    assert got == pytest.approx(np.array([[0.064676, 0.051425], [0.048908, 0.034685]]), abs=5e-7)


@pytest.mark.parametrize("b1", [None, 0.83])
def test_vfa_is_exact_without_noise(b1):
    angles = FLIPS * (b1 or 1.0)
    data = 37.0 * spoiled_signal(T1[..., None], angles, TR)
    for fit in (fit_vfa(data, FLIPS, TR, b1=b1), fit_vfa_linear(data, FLIPS, TR, b1=b1),
                fit_vfa_linear(data, FLIPS, TR, b1=b1, weighted=False)):  # fmt: skip
        assert fit.time == pytest.approx(T1, rel=EXACT)
        assert fit.amplitude == pytest.approx(np.full(T1.shape, 37.0), rel=EXACT)
        assert fit.residual.max() < 1e-6


def test_vfa_with_a_map_of_b1_and_two_repetition_times():
    """Two angles at two TR, as in MTsat protocols, phase of the data left in."""
    b1 = np.linspace(0.7, 1.25, T1.size).reshape(T1.shape)
    flips, trs = np.deg2rad([6.0, 20.0]), np.array([32e-3, 18e-3])
    data = np.exp(0.4j) * spoiled_signal(T1[..., None], b1[..., None] * flips, trs)
    fit = fit_vfa(data, flips, trs, b1=b1)
    assert fit.time == pytest.approx(T1, rel=EXACT)
    assert np.angle(fit.amplitude) == pytest.approx(np.full(T1.shape, 0.4))


def test_ignored_b1_biases_t1_by_its_square():
    """For TR << T1 and small angles the signal depends on a^2 T1: T1 found is T1 (b1)^2."""
    data = spoiled_signal(1.2, 0.9 * np.deg2rad([2.0, 5.0, 8.0]), 3e-3)
    found = fit_vfa(data, np.deg2rad([2.0, 5.0, 8.0]), 3e-3).time
    assert found == pytest.approx(1.2 * 0.81, rel=3e-3)  # angles are not that small


@pytest.mark.parametrize("linear", [False, True])
def test_vfa_noise_reaches_the_bound(linear):
    t1, sigma = 0.984, 2e-4
    rng = np.random.default_rng(7)
    data = spoiled_signal(t1, FLIPS, TR) + rng.normal(0.0, sigma, (4000, FLIPS.size))
    data = np.abs(data)
    fit = (fit_vfa_linear if linear else fit_vfa)(data, FLIPS, TR)
    bound = float(vfa_precision(t1, FLIPS, TR, sigma))
    print(f"SD {fit.time.std():.5f} s, bound {bound:.5f} s, bias {fit.time.mean() - t1:.5f} s")
    # SD of 4000 draws is known to 1.1 %; three of those, and the second order of the noise.
    assert fit.time.std() == pytest.approx(bound, rel=0.05)
    assert abs(fit.time.mean() - t1) < 0.1 * bound


def test_unweighted_line_is_noisier():
    rng = np.random.default_rng(3)
    data = np.abs(spoiled_signal(0.984, FLIPS, TR) + rng.normal(0.0, 2e-4, (2000, FLIPS.size)))
    weighted, plain = (fit_vfa_linear(data, FLIPS, TR, weighted=w).time for w in (True, False))
    assert plain.std() > 1.05 * weighted.std()


def test_precision_follows_noise_and_numerical_derivative():
    step = 1e-5
    f = spoiled_signal(0.7, FLIPS, TR)
    slope = (spoiled_signal(0.7 + step, FLIPS, TR) - spoiled_signal(0.7 - step, FLIPS, TR)) / (2 * step)
    jacobian = np.stack([f, slope], axis=1)
    expected = 3e-3 * np.sqrt(np.linalg.inv(jacobian.T @ jacobian)[1, 1])
    assert vfa_precision(0.7, FLIPS, TR, 3e-3) == pytest.approx(expected, rel=1e-6)


def spin_echo_inversion(t1, ti, tr, te, efficiency=1.0, flip=np.pi / 2, refocus=-1.0):
    """Steady state by repeating inversion, recovery, excitation, refocusing and recovery."""
    mz = np.ones_like(t1)
    for _ in range(200):
        mz = 1.0 + ((1.0 - 2.0 * efficiency) * mz - 1.0) * np.exp(-ti / t1)
        signal = mz * np.sin(flip)
        mz = 1.0 + (mz * np.cos(flip) - 1.0) * np.exp(-0.5 * te / t1)
        mz = 1.0 + (refocus * mz - 1.0) * np.exp(-(tr - ti - 0.5 * te) / t1)
    return signal


@pytest.mark.parametrize("te", [0.0, 0.014])
def test_inversion_signal_is_the_steady_state(te):
    got = inversion_signal(T1[..., None], TI, 2.55, te)
    expected = spin_echo_inversion(T1[..., None], TI, 2.55, te, refocus=-1.0 if te else 1.0)
    assert got == pytest.approx(expected, abs=1e-12)
    null = 1.0 * np.log(2.0 / (1.0 + np.exp(-5.0)))
    assert null == pytest.approx(0.686432, abs=1e-6)
    assert inversion_signal(1.0, null, 5.0) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("magnitude", [True, False])
@pytest.mark.parametrize("model", ["general", "perfect"])
def test_inversion_recovery_is_exact_without_noise(model, magnitude):
    ti = np.geomspace(0.012, 2.4, 9)[::-1]
    data = 5.0 * inversion_signal(T1[..., None], ti, 2.55, 0.014)
    data = np.abs(data) if magnitude else data * np.exp(0.8j)
    fit = fit_inversion_recovery(data, ti, model=model, magnitude=magnitude, tr=2.55, te=0.014)
    assert fit.time == pytest.approx(T1, rel=EXACT)


def test_three_parameters_forgive_what_two_do_not():
    """Inversion to 90 %, excitation of 70 degrees and short TR: still a + b exp(-TI/T1)."""
    data = np.abs(spin_echo_inversion(T1[..., None], TI, 2.55, 0.014, efficiency=0.9, flip=np.deg2rad(70.0)))
    slow = np.array([[False, False, True], [True, True, True]])  # T1 that four TI from 50 ms can see
    general = fit_inversion_recovery(data, TI).time
    assert general[slow] == pytest.approx(T1[slow], rel=EXACT)
    perfect = fit_inversion_recovery(data, TI, model="perfect", tr=2.55, te=0.014).time
    assert (np.abs(perfect / T1 - 1.0)[slow] > 0.02).all()


def test_inversion_recovery_noise_reaches_the_bound():
    t1, sigma, step = 0.706, 0.01, 1e-5
    rng = np.random.default_rng(11)
    data = inversion_signal(t1, TI, 2.55) + rng.normal(0.0, sigma, (3000, TI.size))
    fit = fit_inversion_recovery(data, TI, magnitude=False)
    slope = (inversion_signal(t1 + step, TI) - inversion_signal(t1 - step, TI)) / (2 * step)
    jacobian = np.stack([np.ones_like(TI), np.exp(-TI / t1), slope], axis=1)
    bound = sigma * np.sqrt(np.linalg.inv(jacobian.T @ jacobian)[2, 2])
    # As above; the model is more curved in T1.
    assert fit.time.std() == pytest.approx(bound, rel=0.06)


CPMG = {  # T1 1000, T2 100, spacing 10 ms
    180: (0.90484, 0.81873, 0.74082),
    150: (0.84422, 0.82469, 0.69785),
    120: (0.67863, 0.79647, 0.63691, 0.60688, 0.56365, 0.50861),
    90: (0.45242, 0.65260, 0.59050),
    60: (0.22621, 0.38711, 0.43403),
}


@pytest.mark.parametrize(("angle", "golden"), CPMG.items())
def test_echo_train_golden_numbers(angle, golden):
    got = echo_train(0.1, 0.01, len(golden), t1=1.0, refocusing=np.deg2rad(angle))
    assert got == pytest.approx(np.array(golden), abs=6e-6)


def test_echo_train_pseudo_steady_state():
    """Without relaxation the train tends to sin(a/2)."""
    got = echo_train(np.inf, 0.01, 400, refocusing=np.deg2rad([120.0, 60.0]))
    assert got[:, -1] == pytest.approx(np.sin(np.deg2rad([60.0, 30.0])), abs=2e-3)


def test_t2_of_imperfect_trains():
    t2 = np.array([[0.0158, 0.0454, 0.0969], [0.1333, 0.278, 0.58]])
    b1 = np.linspace(0.75, 1.15, t2.size).reshape(t2.shape)
    data = 3.0 * echo_train(t2, 0.01, 32, t1=5 * t2, refocusing=b1 * np.pi)
    fit = fit_t2_echo_train(data, 0.01, t1=5 * t2, b1=b1)
    assert fit.time == pytest.approx(t2, rel=EXACT)
    assert fit.amplitude == pytest.approx(np.full(t2.shape, 3.0), rel=EXACT)
    naive = fit_exponential(data, 0.01 * np.arange(1, 33)).time
    low = b1 < 0.9
    assert (naive[low] > 1.02 * t2[low]).all(), "stimulated echoes lengthen a mono-exponential T2"
    # T1 only enters through stored magnetization: an error of two thirds changes little.
    rough = fit_t2_echo_train(data, 0.01, t1=15 * t2, b1=b1).time
    assert rough == pytest.approx(t2, rel=0.08)


def test_exponential_is_exact():
    t2s = np.array([0.012, 0.053, 0.3])
    times = np.array([2.0, 5.0, 9.0, 14.0, 20.0]) * 1e-3
    fit = fit_exponential(9.0 * np.exp(-times / t2s[:, None]), times)
    assert fit.time == pytest.approx(t2s, rel=EXACT)


@pytest.mark.parametrize("tr", [np.inf, 5.0, 0.9])
def test_double_angle_inverts_exactly(tr):
    b1 = np.array([0.6, 0.85, 1.0, 1.2])
    t1 = np.array([0.1, 0.7, 2.0, 1.2])
    flip = np.deg2rad(60.0)
    angle = b1 * flip
    e1 = np.exp(-tr / t1)
    first = np.sin(angle) * (1 - e1) / (1 - e1 * np.cos(angle))
    second = np.sin(2 * angle) * (1 - e1) / (1 - e1 * np.cos(2 * angle))
    assert double_angle_b1(first, second, flip, tr=tr, t1=t1) == pytest.approx(b1, rel=1e-9)


def test_actual_flip_angle_in_its_limit():
    """Steady state of two intervals much shorter than T1."""
    flip, n, t1, short = np.deg2rad(60.0), 5.0, 1.0, 1e-5
    b1 = np.array([0.7, 1.0, 1.2])
    c = np.cos(b1 * flip)
    e, f = np.exp(-short / t1), np.exp(-n * short / t1)
    first = (1 - f + (1 - e) * f * c) / (1 - e * f * c**2)
    second = (1 - e + (1 - f) * e * c) / (1 - e * f * c**2)
    assert actual_flip_b1(first, second, flip, n) == pytest.approx(b1, rel=1e-4)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: fit_vfa(np.ones(3), FLIPS, TR), "one value per setting"),
        (lambda: fit_vfa(np.full(6, np.nan), FLIPS, TR), "finite"),
        (lambda: fit_vfa(np.ones((2, 6)), FLIPS, TR, b1=[1.0, 0.0]), "b1"),
        (lambda: fit_vfa(np.ones((2, 6)), FLIPS, TR, b1=np.ones(5)), "b1"),
        (lambda: fit_vfa_linear(np.ones(2), FLIPS[:2], [0.03, 0.02]), "fit_vfa"),
        (lambda: fit_vfa_linear(-np.ones(6), FLIPS, TR), "modulus"),
        (lambda: fit_inversion_recovery(np.ones(2), TI[:2]), "ti must be 3"),
        (lambda: fit_inversion_recovery(np.ones(4), TI, model="best"), "model"),
        (lambda: fit_exponential(np.ones(2), [0.01, -0.02]), "positive"),
        (lambda: fit_t2_echo_train(np.ones((3, 1)), 0.01), "at least 2 echoes"),
        (lambda: double_angle_b1(1.0, 0.5, 60.0), "radians"),
        (lambda: actual_flip_b1(1.0, 0.5, 1.0, 0.2), "tr_ratio"),
    ],
)
def test_wrong_input_is_explained(call, word):
    with pytest.raises(MetricInputError, match=word):
        call()

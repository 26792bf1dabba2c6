"""The polynomials of the kernels against extended precision, to the errors that their docstrings state."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from mrsim.simulation.bloch.arithmetic import OPTIONS, decay, loss, rotation_series, turn

PI = np.longdouble("3.14159265358979323846264338327950288")
EPS = {np.float32: 2.0**-24, np.float64: 2.0**-53}
pytestmark = pytest.mark.skipif(
    np.finfo(np.longdouble).eps > 1e-18, reason="numpy has no extended precision on this machine"
)


@njit(**OPTIONS)
def turns(u, a, b):
    for i in range(u.size):
        a[i], b[i] = turn(u[i])


@njit(**OPTIONS)
def decays(u, a, b):
    for i in range(u.size):
        a[i], b[i] = decay(u[i]), loss(u[i])


@njit(**OPTIONS)
def series(u, a, b):
    for i in range(u.size):
        a[i], b[i] = rotation_series(u[i])


def both(function, u):
    a, b = np.empty_like(u), np.empty_like(u)
    function(u, a, b)
    return a.astype(np.longdouble), b.astype(np.longdouble), u.astype(np.longdouble)


def uniform(low, high, kind, *more):
    values = np.random.default_rng(0).uniform(low, high, 200_000)
    return np.concatenate([values, more]).astype(kind)


@pytest.mark.parametrize(("kind", "limit"), [(np.float32, 3e-7), (np.float64, 1e-15)])
def test_turn(kind, limit):
    cosine, sine, u = both(turns, uniform(-0.5, 0.5, kind, -0.5, 0.5, 0.0, 0.25, -0.25, 0.125))
    errors = [float(np.abs(v).max()) for v in (cosine - np.cos(2 * PI * u), sine - np.sin(2 * PI * u))]
    print(kind.__name__, errors)
    assert max(errors) < limit
    assert both(turns, np.zeros(1, kind))[:2] == (1, 0)


@pytest.mark.parametrize(("kind", "high", "limit"), [
    # Beyond 87 and 693 the result is below 1e-38 and 1e-301 and may stop there.
    (np.float32, 1.0, 2.5e-7), (np.float32, 20.0, 2e-6), (np.float64, 1.0, 1e-15), (np.float64, 690.0, 1e-13),
])  # fmt: skip
def test_decay(kind, high, limit):
    """Relative error; a large argument itself is known to half a unit only, which times it is the limit."""
    got, _, u = both(decays, uniform(0.0, high, kind, 0.0, high))
    error = float(np.abs(got / np.exp(-u) - 1).max())
    print(kind.__name__, high, error)
    assert error < limit
    assert both(decays, np.array([1e4, np.inf], kind))[0].max() < 1e-37


@pytest.mark.parametrize(("kind", "limit"), [(np.float32, 6e-7), (np.float64, 1e-15)])
def test_loss(kind, limit):
    """Full relative precision from 1e-30 on: eight units of the last place."""
    small = 10.0 ** np.random.default_rng(1).uniform(-30, 1, 100_000)
    _, got, u = both(decays, small.astype(kind))
    error = float(np.abs(got / -np.expm1(-u) - 1).max())
    print(kind.__name__, error)
    assert error < limit


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_rotation_series(kind):
    """sin(w)/w and (1 - cos w)/w^2 of w^2 up to 1, to three units of the last place."""
    s, c, u = both(series, uniform(1e-6, 1.0, kind, 1.0))
    w = np.sqrt(u)
    errors = [float(np.abs(s - np.sin(w) / w).max()), float(np.abs(c - 2 * (np.sin(w / 2) / w) ** 2).max())]
    print(kind.__name__, errors)
    assert max(errors) < 3 * EPS[kind]
    assert both(series, np.zeros(1, kind))[:2] == (1, 0.5)

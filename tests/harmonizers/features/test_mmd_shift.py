"""MMD shift where the answer is known."""

import numpy as np
import pytest

from mrsim.harmonizers import FeatureZScore, MMDShift

from ..planted import cohort


@pytest.fixture(scope="module")
def data():
    return cohort(np.random.default_rng(1), n=(40, 30, 20))


def test_mmd_shift_finds_an_affine_difference():
    """Target and site are the same samples on two scales: the map back is exact."""
    rng = np.random.default_rng(0)
    shape = np.concatenate([rng.normal(-2, 0.5, 60), rng.exponential(1.0, 60)])
    X = np.concatenate([shape, 3.0 + 1.7 * shape])[:, None]
    site = ["a"] * 120 + ["b"] * 120
    Y = MMDShift(reference_site="a").fit_transform(X, site=site)
    # The optimiser stops at a gradient of 1e-10 of a kernel mean.
    np.testing.assert_allclose(Y[120:, 0], shape, atol=1e-5)
    shifted = MMDShift(reference_site="a", scale=False).fit(X, site=site)
    np.testing.assert_array_equal(shifted.factor_, 1.0)


def test_mmd_shift_is_not_pulled_by_outliers():
    rng = np.random.default_rng(1)
    clean = rng.normal(size=400)
    X = clean[:, None].copy()
    X[200:] += 1.0
    X[200:206] += 60.0
    site = ["a"] * 200 + ["b"] * 200
    rest = np.r_[0:200, 206:400]
    by_kernel = MMDShift(reference_site="a").fit_transform(X, site=site)[rest, 0]
    by_moments = FeatureZScore().fit_transform(X, site=site)[rest, 0]
    # Three outliers in a hundred make the second site's standard deviation ten times what its bulk has.
    spread = [Y[200:].std() / Y[:200].std() for Y in (by_kernel, by_moments)]
    assert spread[0] == pytest.approx(1.0, abs=0.1)
    assert spread[1] < 0.3


def test_a_pure_translation_is_found():
    """The target is the site moved by a number per feature: shifts come back, factors are one."""
    rng = np.random.default_rng(6)
    base, moved = rng.gamma(2.0, 1.0, (80, 4)), np.array([-3.0, 0.0, 0.4, 25.0])
    X = np.concatenate([base, base + moved])
    for scale in (True, False):
        fitted = MMDShift(reference_site="a", scale=scale).fit(X, site=["a"] * 80 + ["b"] * 80)
        # The optimiser stops at a gradient of 1e-10 of a kernel mean.
        np.testing.assert_allclose(fitted.shift_[1], -moved, atol=1e-4)
        np.testing.assert_allclose(fitted.factor_[1], 1.0, atol=1e-4)

"""ComBat-GAM on planted curves, and its criteria written out another way."""

import numpy as np
import pytest
from scipy.optimize import minimize

from mrsim.harmonizers import ComBat, ComBatGAM
from mrsim.harmonizers.features.splines import BSplineBasis, ThinPlateBasis

from ..planted import cohort, fit


@pytest.fixture(scope="module")
def data():
    return cohort(np.random.default_rng(1), n=(40, 30, 20))


@pytest.mark.parametrize("basis", [BSplineBasis, ThinPlateBasis])
def test_penalty_is_the_integral_of_the_squared_second_derivative(basis):
    x = np.random.default_rng(0).uniform(20, 80, 50)
    spline = basis.of(x, 8)
    rng = np.random.default_rng(1)
    b = rng.normal(size=7)
    grid = np.linspace(x.min(), x.max(), 20_001)
    curve = spline.design(grid) @ b
    h = grid[1] - grid[0]
    second = (curve[2:] - 2 * curve[1:-1] + curve[:-2]) / h**2
    # Finite differences of a piecewise cubic on 20,000 steps: 1e-4 relative.
    assert b @ spline.penalty() @ b == pytest.approx((second**2).sum() * h, rel=2e-3)


@pytest.mark.parametrize("basis", [BSplineBasis, ThinPlateBasis])
def test_curves_continue_as_straight_lines(basis):
    x = np.random.default_rng(0).uniform(20, 80, 50)
    far = basis.of(x, 8).design(np.array([90.0, 100.0, 110.0]))
    np.testing.assert_allclose(far[2] - far[1], far[1] - far[0], atol=1e-8 * np.abs(far).max())


def test_gam_with_a_large_penalty_is_combat(data):
    site = data.site.tolist()
    smooth = ComBatGAM("age", penalty=1e9).fit_transform(data.X, site=site, covariates=data.covariates)
    line = ComBat().fit_transform(data.X, site=site, covariates=data.covariates)
    # What curvature is left goes down with the penalty.
    np.testing.assert_allclose(smooth, line, atol=1e-5)


@pytest.mark.parametrize("penalty", ["gcv", "reml"])
def test_chosen_penalty_is_the_best_of_a_fine_scan(data, penalty):
    """Criteria written out from hat matrix and likelihood for one feature."""
    from mrsim.harmonizers.features.penalised import PenalisedRegression
    from mrsim.harmonizers.regression import SiteRegression

    y = np.sin(data.age / 8.0)[:, None] + 0.5 * np.random.default_rng(2).normal(size=(len(data.X), 1))
    index = np.unique(data.site, return_inverse=True)[1]
    basis = BSplineBasis.of(data.age, 9)
    design, S = basis.design(data.age), basis.penalty()
    regression = SiteRegression.prepare(index, design, [str(i) for i in range(8)], 3)
    model = PenalisedRegression.prepare(regression, [S], penalty)
    inside = y - (regression.indicator.T @ y / regression.indicator.sum(axis=0)[:, None])[index]
    chosen = model._choose((model.regression.within.T @ inside).T, inside, slice(None))[0, 0]

    D = np.hstack([regression.indicator, design])
    P = np.zeros((11, 11))
    P[3:, 3:] = S

    def criterion(lam):
        A = D.T @ D + lam * P
        b = np.linalg.solve(A, D.T @ y)
        rss = float(((y - D @ b) ** 2).sum())
        if penalty == "gcv":
            edf = np.trace(np.linalg.solve(A, D.T @ D))
            return len(y) * rss / (len(y) - edf) ** 2
        # 7 curved directions; 3 sites and the straight line are free.
        deviance = rss + lam * float((b.T @ P @ b)[0, 0])
        return (len(y) - 4) * np.log(deviance) + np.linalg.slogdet(A)[1] - 7 * np.log(lam)

    scan = chosen * 10 ** np.linspace(-3, 3, 241)
    values = [criterion(lam) for lam in scan]
    assert criterion(chosen) <= min(values) + 1e-12 * abs(min(values))
    assert abs(int(np.argmin(values)) - 120) <= 1


def test_two_penalties_are_the_joint_minimum(data):
    """Cross-validation written out from the hat matrix, by a general optimiser from many starts."""
    from mrsim.harmonizers.features.penalised import PenalisedRegression
    from mrsim.harmonizers.regression import SiteRegression

    rng = np.random.default_rng(11)
    dose = rng.uniform(0, 1, len(data.age))
    curves = np.outer(np.sin(data.age / 8.0), [1.0, 0.2, 0.0]) + np.outer((dose - 0.5) ** 2, [4.0, 0.0, 2.0])
    Y = curves + 0.5 * rng.normal(size=curves.shape)
    bases = [BSplineBasis.of(x, 7) for x in (data.age, dose)]
    design = np.hstack([basis.design(x) for basis, x in zip(bases, (data.age, dose), strict=True)])
    S = [np.zeros((12, 12)), np.zeros((12, 12))]
    S[0][:6, :6], S[1][6:, 6:] = bases[0].penalty(), bases[1].penalty()
    index = np.unique(data.site, return_inverse=True)[1]
    regression = SiteRegression.prepare(index, design, [str(i) for i in range(12)], 3)
    model = PenalisedRegression.prepare(regression, S, "gcv")
    inside = Y - (regression.indicator.T @ Y / regression.indicator.sum(axis=0)[:, None])[index]
    chosen = model._choose((model.regression.within.T @ inside).T, inside, slice(None))
    D = np.hstack([regression.indicator, design])

    def criterion(power, y):
        power = np.clip(power, -8, 8)
        P = np.zeros((15, 15))
        P[3:, 3:] = 10 ** power[0] * S[0] + 10 ** power[1] * S[1]
        hat = D @ np.linalg.solve(D.T @ D + P, D.T)
        return np.log(((y - hat @ y) ** 2).sum()) - 2 * np.log(len(y) - np.trace(hat))

    for y, lambdas in zip(Y.T, chosen, strict=True):
        start = np.log10(lambdas)
        ours = criterion(start, y)
        moves = [(a, b) for a in (-4, 0, 4) for b in (-4, 0, 4)]
        found = [minimize(criterion, start + move, args=(y,), method="Nelder-Mead").fun for move in moves]
        # Straight curves stop at a bounded penalty: 1e-6 of the criterion.
        assert ours <= min(found) + 1e-6


def test_two_smooth_terms(data):
    """Both curves are found: better than one of them straight."""
    rng = np.random.default_rng(4)
    dose = rng.uniform(0, 1, len(data.age))
    curve = np.sin(data.age / 8.0) + 3 * (dose - 0.5) ** 2
    X = curve[:, None] + 0.2 * rng.normal(size=(len(dose), 6))
    columns = {"age": data.age, "dose": dose}
    both = ComBatGAM(["age", "dose"]).fit(X, site=data.site.tolist(), covariates=columns)
    one = ComBatGAM("age").fit(X, site=data.site.tolist(), covariates=columns)
    assert both.pooled_sd_.mean() == pytest.approx(0.19, abs=0.015)
    assert one.pooled_sd_.mean() > 1.2 * both.pooled_sd_.mean()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"smooth": "weight"}, r"smooth must name numeric covariates \(age, group\); got 'weight'"),
        ({"smooth": "group"}, r"distinct values of the covariates column 'group' \(2\)"),
        ({"smooth": "age", "basis": "fourier"}, "basis must be one of bspline, thin_plate"),
        ({"smooth": "age", "penalty": "loocv"}, "penalty must be 'gcv', 'reml'"),
        ({"smooth": "age", "penalty": -1.0}, "at least 0"),
    ],
)
def test_gam_refusals(data, params, message):
    with pytest.raises(ValueError, match=message):
        fit(ComBatGAM(**params), data)

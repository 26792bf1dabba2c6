r"""Empirical Bayes estimates of a site's location and scale effects, pooled over features.

Johnson WE, Li C, Rabinovic A. Adjusting batch effects in microarray expression data using empirical Bayes
methods. Biostatistics 8(1) (2007) 118-127, doi 10.1093/biostatistics/kxj037.

All functions treat one site: `gamma_hat` and `delta_hat` are the mean and variance of its standardised data
per feature, `sum_squares` the sum of squares around that mean, `n` its number of samples.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

# sva's stopping rule. Its relative change divides by the signed old value, so features with a negative gamma
# never hold the iteration back; kept on purpose, because a fully converged estimate differs by 1e-7.
_CONVERGENCE = 1e-4
# Of a fully converged estimate: gamma in units of the residual spread, delta relative.
_FIXED_POINT = 1e-12
_MAX_ITERATIONS = 10_000
_BLOCK_BYTES = 2**26


def site_effects(
    gamma_hat: Vector,
    sum_squares: Vector,
    n: int,
    *,
    pooled: bool,
    parametric_prior: bool,
    mean_only: bool,
    converged: bool = False,
) -> tuple[Vector, Vector]:
    """Return one site's (gamma*, delta*): shrunk if `pooled`, delta* = 1 if `mean_only`.

    `converged` iterates the parametric estimate to its fixed point instead of stopping where sva does.

    Raises
    ------
    ValueError
        If there is a single feature to pool over, or no prior can be estimated.
    """
    delta_hat = np.ones(gamma_hat.size) if mean_only else sum_squares / (n - 1)
    if not pooled:
        return gamma_hat, delta_hat
    if gamma_hat.size < 2:
        raise ValueError(
            "empirical_bayes must be False for a single (varying) feature, since it pools over features; "
            f"got {gamma_hat.size}. Set empirical_bayes=False or pass more features."
        )
    if not parametric_prior:
        return nonparametric(gamma_hat, delta_hat, sum_squares, n)
    if mean_only:
        return parametric_mean(gamma_hat), delta_hat
    return parametric(gamma_hat, delta_hat, sum_squares, n, converged=converged)


def parametric(
    gamma_hat: Vector, delta_hat: Vector, sum_squares: Vector, n: int, *, converged: bool = False
) -> tuple[Vector, Vector]:
    r"""Return (gamma*, delta*) under normal and inverse-gamma priors, by fixed-point iteration.

    .. math::

        \gamma^* = \frac{n \tau^2 \hat\gamma + \delta^* \bar\gamma}{n \tau^2 + \delta^*}, \qquad
        \delta^* = \frac{\theta + \frac12 \sum_j (z_j - \gamma^*)^2}{\frac n2 + \lambda - 1}

    with the prior's parameters from moments over features:
    :math:`\lambda = (2 s^2 + m^2)/s^2`, :math:`\theta = (m s^2 + m^3)/s^2` for mean m and variance s^2 of
    `delta_hat`.

    Raises
    ------
    ValueError
        If the features carry no spread to estimate a prior from, or the iteration does not settle.
    """
    prior_mean, prior_variance = float(gamma_hat.mean()), float(gamma_hat.var(ddof=1))
    m, s2 = float(delta_hat.mean()), float(delta_hat.var(ddof=1))
    if not s2 > 0.0 or not prior_variance > 0.0:
        raise ValueError(
            "empirical_bayes must be False where features do not differ (copies of one feature); "
            "got features with equal site effects, so no prior can be estimated. Set empirical_bayes=False."
        )
    shape, scale = (2.0 * s2 + m**2) / s2, (m * s2 + m**3) / s2
    gamma, delta = gamma_hat, delta_hat
    for _ in range(_MAX_ITERATIONS):
        gamma_new = (prior_variance * n * gamma_hat + delta * prior_mean) / (prior_variance * n + delta)
        spread = sum_squares + n * (gamma_hat - gamma_new) ** 2
        delta_new = (0.5 * spread + scale) / (n / 2.0 + shape - 1.0)
        by = (np.ones(1), delta) if converged else (gamma, delta)
        change = max(_relative_change(gamma_new, gamma, by[0]), _relative_change(delta_new, delta, by[1]))
        gamma, delta = gamma_new, delta_new
        if change <= (_FIXED_POINT if converged else _CONVERGENCE):
            return gamma, delta
    raise ValueError(
        f"empirical_bayes did not settle in {_MAX_ITERATIONS} iterations; the last change was {change:g}. "
        "Check the features for outliers, or set empirical_bayes=False."
    )


def parametric_mean(gamma_hat: Vector) -> Vector:
    """Return gamma* where only locations are adjusted: sva's form, which takes n = 1 and unit variance."""
    prior_mean, prior_variance = gamma_hat.mean(), gamma_hat.var(ddof=1)
    shrunk: Vector = (prior_variance * gamma_hat + prior_mean) / (prior_variance + 1.0)
    return shrunk


def nonparametric(gamma_hat: Vector, delta_hat: Vector, sum_squares: Vector, n: int) -> tuple[Vector, Vector]:
    r"""Return (gamma*, delta*) with the other features as an empirical prior.

    .. math::

        \gamma^*_v = \frac{\sum_{u \ne v} w_{uv} \hat\gamma_u}{\sum_{u \ne v} w_{uv}}, \qquad
        w_{uv} = \prod_j \mathcal{N}(z_{jv}; \hat\gamma_u, \hat\delta_u)

    and likewise delta*. Weights are formed from log-likelihoods, so they do not underflow for many samples.
    The cost grows with the square of the number of features; memory is bounded by blocks.
    """
    p = gamma_hat.size
    gamma, delta = np.empty(p), np.empty(p)
    constant = -0.5 * n * np.log(2.0 * np.pi * delta_hat)
    rows = max(1, _BLOCK_BYTES // (8 * p))
    for a in range(0, p, rows):
        block = np.arange(a, min(a + rows, p))
        spread = sum_squares[block, None] + n * (gamma_hat[block, None] - gamma_hat[None, :]) ** 2
        log_weight = constant - spread / (2.0 * delta_hat)
        log_weight[np.arange(block.size), block] = -np.inf
        weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
        total = weight.sum(axis=1)
        gamma[block] = weight @ gamma_hat / total
        delta[block] = weight @ delta_hat / total
    return gamma, delta


def _relative_change(new: Vector, old: Vector, by: Vector) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        change = np.abs(new - old) / by
    return float(np.max(np.where(new == old, 0.0, change)))

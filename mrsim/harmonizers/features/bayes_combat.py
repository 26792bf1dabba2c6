"""Fully Bayesian ComBat: site effects averaged over their posterior instead of plugged in."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..base import Capabilities
from ..site_groups import SiteGroups
from .combat import ComBat
from .feature_harmonizer import FeatureHarmonizer

Table = NDArray[np.float64]

# Shapes of the inverse gamma prior on a site's variances that the sampler weighs.
_SHAPES = np.geomspace(2.05, 500.0, 80)
# Weakly informative hyperpriors in units of a feature's residual SD: means within +-10, variances near 0.1.
_MEAN_VARIANCE = 100.0
_SPREAD_SHAPE, _SPREAD_SCALE = 1.0, 0.05
_SCALE_SHAPE, _SCALE_RATE = 1.0, 1e-3


class BayesComBat(FeatureHarmonizer):
    r"""ComBat's hierarchy with every unknown sampled: coefficients, site effects and their priors.

    In units of ComBat's standardised data, for site i, sample j and feature v:

    .. math::
        z_{ijv} \sim N(c_{ij} b_v + \gamma_{iv}, \delta_{iv}), \quad
        \gamma_{iv} \sim N(\mu_i, \tau_i^2), \quad \delta_{iv} \sim \mathrm{IG}(\lambda_i, \theta_i),

    with flat b, normal mu, inverse gamma tau^2, gamma theta, and lambda uniform in its logarithm between
    2 and 500. Gibbs sampling; the harmonized value is the posterior mean of
    :math:`(z - c b - \gamma)/\sqrt{\delta} + c b`, which is linear in z, so its coefficients are all that is
    kept and held-out samples need no sampling. Only the units (alpha, sigma) are plugged in.

    Parameters
    ----------
    draws, warmup
        Kept and dropped sweeps.
    seed
        Of the numpy Generator; equal seeds give equal results.

    References
    ----------
    Reynolds M et al. ComBat harmonization: empirical Bayes versus fully Bayes approaches. NeuroImage:
    Clinical 39 (2023) 103472, PMC10412957. The hierarchy is theirs, the sampler (they use Hamiltonian Monte
    Carlo) and
    the hyperpriors are ours.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        needs_site_labels=True, keeps_covariates=True, one_site_identity=True
    )

    gain_: Table
    offset_: Table
    slope_: Table
    coefficients_: Table

    def __init__(self, draws: int = 500, warmup: int = 200, seed: int = 0) -> None:
        self.draws = draws
        self.warmup = warmup
        self.seed = seed

    def _learn(self, X: Table, sites: NDArray[np.str_], covariates: Table, columns: list[str]) -> None:
        if not (self.draws >= 1 and self.warmup >= 0):
            raise ValueError(
                f"draws must be at least 1 and warmup at least 0; got {self.draws} and {self.warmup}. "
                "Some hundreds of each settle the posterior means."
            )
        if X.shape[1] < 2:
            raise ValueError(
                f"X must have at least 2 features to learn the sites' priors from; got {X.shape[1]} feature. "
                "Use ComBat(empirical_bayes=False) for one."
            )
        plain = ComBat(empirical_bayes=False).fit(
            X, site=sites.tolist(), covariates=self._named(covariates, columns)
        )
        self.grand_mean_, self.pooled_sd_ = plain.grand_mean_, plain.pooled_sd_
        self.covariate_mean_ = covariates.mean(axis=0)
        centred = covariates - self.covariate_mean_
        # The intercept at the covariates' means, so that the flat prior on b does not act on it.
        self.grand_mean_ = self.grand_mean_ + self.covariate_mean_ @ plain.coefficients_
        groups = SiteGroups.of(sites)
        chain = _Chain.start(
            (X - self.grand_mean_) / self.pooled_sd_, centred, groups, plain.coefficients_ / self.pooled_sd_
        )
        rng = np.random.default_rng(self.seed)
        names = ("gain", "offset", "slope", "coefficients", "gamma", "delta")
        totals: list[Table] = []
        for sweep in range(self.warmup + self.draws):
            state = chain.sweep(rng)
            if sweep >= self.warmup:
                now = _quantities(state)
                totals = [a + b for a, b in zip(totals, now, strict=True)] if totals else list(now)
        for name, total in zip(names, totals, strict=True):
            setattr(self, f"{name}_", total / self.draws)

    def _apply(self, X: Table, sites: NDArray[np.str_], covariates: Table) -> Table:
        if self.sites_.size == 1:
            return X.copy()
        index = np.searchsorted(self.sites_, sites)
        centred = covariates - self.covariate_mean_
        z = (X - self.grand_mean_) / self.pooled_sd_
        kept = np.einsum("nk,nkp->np", centred, self.coefficients_ - self.slope_[index])
        adjusted: Table = z * self.gain_[index] - self.offset_[index] + kept
        return adjusted * self.pooled_sd_ + self.grand_mean_


class _State(NamedTuple):
    b: Table
    gamma: Table
    delta: Table


def _quantities(state: _State) -> tuple[Table, ...]:
    """Return what the posterior mean of the harmonized value is made of."""
    gain = 1.0 / np.sqrt(state.delta)
    return (gain, gain * state.gamma, gain[:, None] * state.b, state.b, state.gamma, state.delta)


class _Chain:
    """Gibbs sweeps from per-site sums, so that their cost does not grow with the number of samples."""

    def __init__(self, counts: Table, gram: Table, cross: Table, sums: tuple[Table, ...], b: Table) -> None:
        self.counts, self.gram, self.cross = counts, gram, cross
        self.z_sum, self.c_sum, self.z_squares = sums
        self.b = b
        self.gamma = self.z_sum / counts[:, None]
        self.delta = np.ones_like(self.gamma)
        self.mu = self.gamma.mean(axis=1)
        self.tau2 = np.maximum(self.gamma.var(axis=1), 0.01)

    @classmethod
    def start(cls, z: Table, c: Table, groups: SiteGroups, b: Table) -> _Chain:
        rows = [groups.index == i for i in range(groups.labels.size)]
        gram = np.array([c[r].T @ c[r] for r in rows])
        cross = np.array([c[r].T @ z[r] for r in rows])
        return cls(
            groups.counts.astype(np.float64),
            gram,
            cross,
            (groups.sums(z), groups.sums(c), groups.sums(z**2)),
            b.copy(),
        )

    def sweep(self, rng: np.random.Generator) -> _State:
        self._draw_coefficients(rng)
        self._draw_locations(rng)
        self._draw_scales(rng)
        return _State(self.b, self.gamma, self.delta)

    def _draw_coefficients(self, rng: np.random.Generator) -> None:
        k, p = self.b.shape
        if k == 0:
            return
        weight = 1.0 / self.delta
        normal = np.einsum("sv,sab->vab", weight, self.gram)
        score = np.einsum("sv,sav->va", weight, self.cross)
        score -= np.einsum("sv,sv,sa->va", weight, self.gamma, self.c_sum)
        lower = np.linalg.cholesky(normal)
        mean = np.linalg.solve(normal, score[:, :, None])
        noise = np.linalg.solve(np.swapaxes(lower, 1, 2), rng.standard_normal((p, k, 1)))
        self.b = (mean + noise)[:, :, 0].T

    def _draw_locations(self, rng: np.random.Generator) -> None:
        n, p = self.counts[:, None], self.b.shape[1]
        precision = n / self.delta + 1.0 / self.tau2[:, None]
        mean = (self.z_sum - self.c_sum @ self.b) / self.delta + (self.mu / self.tau2)[:, None]
        self.gamma = mean / precision + rng.standard_normal(self.gamma.shape) / np.sqrt(precision)
        hyper = p / self.tau2 + 1.0 / _MEAN_VARIANCE
        centre = self.gamma.sum(axis=1) / self.tau2 / hyper
        self.mu = centre + rng.standard_normal(self.mu.size) / np.sqrt(hyper)
        squares = ((self.gamma - self.mu[:, None]) ** 2).sum(axis=1)
        shape = _SPREAD_SHAPE + p / 2.0
        self.tau2 = (_SPREAD_SCALE + squares / 2.0) / rng.standard_gamma(shape, self.mu.size)

    def _draw_scales(self, rng: np.random.Generator) -> None:
        from scipy.special import gammaln

        n, b, gamma = self.counts[:, None], self.b, self.gamma
        p = b.shape[1]
        residual = self.z_squares - 2.0 * gamma * self.z_sum + n * gamma**2
        residual -= 2.0 * (b * self.cross).sum(axis=1) - 2.0 * gamma * (self.c_sum @ b)
        residual += np.einsum("av,sab,bv->sv", b, self.gram, b)
        for i in range(self.counts.size):
            inverse = 1.0 / self.delta[i]
            # theta is integrated out of the weight of each lambda.
            weight = gammaln(_SCALE_SHAPE + p * _SHAPES) - p * gammaln(_SHAPES)
            weight -= (_SCALE_SHAPE + p * _SHAPES) * np.log(_SCALE_RATE + inverse.sum())
            weight += (_SHAPES + 1.0) * np.log(inverse).sum()
            cumulative = np.cumsum(np.exp(weight - weight.max()))
            # Between grid points by interpolation, so that the draw changes continuously with the data.
            shape = np.interp(rng.random(), cumulative / cumulative[-1], _SHAPES)
            scale = rng.standard_gamma(_SCALE_SHAPE + p * shape) / (_SCALE_RATE + inverse.sum())
            draws = rng.standard_gamma(shape + self.counts[i] / 2.0, p)
            self.delta[i] = (scale + residual[i] / 2.0) / draws

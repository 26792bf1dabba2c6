"""ComBatLS: ComBat that keeps what covariates do to the spread, not only to the mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..base import Capabilities
from ..regression import MeanFit, SiteRegression
from ..site_groups import SiteGroups, varies_inside_sites
from .location_scale import LocationScaleHarmonizer, MeanModel

Table = NDArray[np.float64]

# Relative change of the log spread at which alternation stops: far below the estimates' own error.
_SETTLED = 1e-10
_MAX_ROUNDS = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class LocationScaleRegression:
    r"""Normal regression of mean and log standard deviation on site and covariates, by maximum likelihood.

    .. math:: y \sim N(a_i + c b, \; \exp(2 (t_i + c d)))

    Weighted least squares for the mean alternates with a Fisher scoring step for the log spread, whose
    information matrix is the same for every feature. Features without spread inside some site, whose
    likelihood has no bound, keep the least squares estimates.
    """

    regression: SiteRegression
    groups: SiteGroups
    weights: Table

    @classmethod
    def prepare(
        cls, groups: SiteGroups, covariates: Table, columns: Sequence[str], reference: int | None
    ) -> LocationScaleRegression:
        """Check the design; `reference` is the site whose spread all get, None for the weighted mean."""
        single = groups.labels[groups.counts < 2]
        if single.size:
            raise ValueError(
                "site must have at least 2 samples each to estimate a spread; got 1 for "
                f"{', '.join(single)}. Leave those samples out, or use ComBat(mean_only=True)."
            )
        regression = SiteRegression.prepare(groups.index, covariates, columns, groups.labels.size)
        weights = groups.counts / groups.counts.sum()
        if reference is not None:
            weights = np.eye(weights.size)[reference]
        return cls(regression=regression, groups=groups, weights=weights)

    def fit(self, Y: Table, features: slice = slice(None)) -> MeanFit:
        """Fit features, shape (n, p)."""
        start = self.regression.fit(Y)
        level = np.sqrt((start.residual**2).mean(axis=0))
        active = varies_inside_sites(Y, self.groups) & (level > 1e-12 * np.abs(Y).max(axis=0))
        log_spread = np.zeros_like(start.coefficients)
        if self.regression.covariates.shape[1] == 0:
            return start._replace(log_spread=log_spread)
        k = self.groups.labels.size
        mean, log_sd = self._maximise(Y[:, active] / level[active])
        mean *= level[active]
        start.intercepts[:, active], start.coefficients[:, active] = mean[:k], mean[k:]
        start.residual[:, active] = Y[:, active] - self._design() @ mean
        log_spread[:, active] = log_sd[k:]
        scale = level.copy()
        scale[active] *= np.exp(self.weights @ log_sd[:k])
        return start._replace(scale=scale, log_spread=log_spread)

    def _design(self) -> Table:
        return np.hstack([self.regression.indicator, self.regression.covariates])

    def _maximise(self, Y: Table) -> tuple[Table, Table]:
        """Return coefficients of mean and log spread, (n_sites + k, p), of features of about unit spread."""
        D = self._design()
        q, pairs = D.shape[1], _products(D)
        step = np.linalg.solve(D.T @ D, D.T) / 2.0
        log_sd = np.zeros((q, Y.shape[1]))
        for _ in range(_MAX_ROUNDS):
            weight = np.exp(-2.0 * (D @ log_sd))
            normal = (pairs.T @ weight).T.reshape(-1, q, q)
            score = (D.T @ (weight * Y)).T[:, :, None]
            fixed = np.asarray(np.linalg.solve(normal, score)[:, :, 0].T, dtype=np.float64)
            change = step @ ((Y - D @ fixed) ** 2 * weight - 1.0)
            # A long step would leave the range in which the quadratic model holds.
            size = np.abs(D @ change).max(axis=0, initial=0.0)
            log_sd += change / np.maximum(size, 1.0)
            if size.max(initial=0.0) < _SETTLED:
                return fixed, log_sd
        raise ValueError(
            f"covariates must let the spread be estimated; got no maximum of the likelihood in "
            f"{_MAX_ROUNDS} rounds. Drop covariates, add samples, or use ComBat."
        )


def _products(D: Table) -> Table:
    """Return all products of two columns, shape (n, q * q)."""
    return (D[:, :, None] * D[:, None, :]).reshape(len(D), -1)


class ComBatLS(LocationScaleHarmonizer):
    r"""ComBat whose residual spread may depend on covariates, so that harmonization does not flatten it.

    .. math:: \sigma_v(c) = \exp(\tau_v + c\,\xi_v)

    Mean and log spread are estimated together by maximum likelihood, with site and all covariates in both
    (ComBatFamily leaves site out of the spread unless told otherwise, which books differences between the
    sites' spreads to covariates that differ between sites). Where a sex or an age varies more, it still does
    afterwards.

    Parameters
    ----------
    parametric, mean_only, empirical_bayes, reference_site, constant_features, unseen_site
        See :class:`ComBat`.

    References
    ----------
    Gardner M et al. ComBatLS: a location- and scale-preserving method for multi-site image harmonization. Hum
    Brain Mapp 46(8) (2025) e70197, doi 10.1002/hbm.70197.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        needs_site_labels=True, handles_unseen_site=True, keeps_covariates=True, one_site_identity=True
    )

    def _mean_model(self, groups: SiteGroups, covariates: Table, columns: list[str]) -> MeanModel:
        self.covariate_mean_ = covariates.mean(axis=0)
        return LocationScaleRegression.prepare(
            groups, self._design(covariates), columns, self._reference(groups)
        )

    def _design(self, covariates: Table) -> Table:
        centred: Table = covariates - self.covariate_mean_
        return centred

    def _learn_spread(self, fit: MeanFit, block: slice, design: Table, scale: Table) -> Table:
        if block.start == 0:
            self.log_spread_ = np.zeros_like(self.coefficients_)
        self.log_spread_[:, block] = fit.log_spread
        return self._spread(design, block)

    def _spread(self, design: Table, block: slice) -> Table:
        spread: Table = self.pooled_sd_[block] * np.exp(design @ self.log_spread_[:, block])
        return spread

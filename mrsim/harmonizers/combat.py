"""ComBat: location and scale adjustment of features with empirical Bayes."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from . import empirical_bayes as eb
from .base import Capabilities, FeatureHarmonizer
from .regression import SiteRegression, feature_blocks, name_features

# A residual spread below this fraction of the largest value is rounding, not data.
_NO_SPREAD = 1e-12

Table = NDArray[np.float64]


class ComBat(FeatureHarmonizer):
    r"""Remove each site's shift and spread per feature, shrunk towards what the site does to all features.

    Model and adjustment, for sample j at site i and feature v:

    .. math::

        y_{ijv} = \alpha_v + c_{ij} \beta_v + \sigma_v (\gamma_{iv} + \sqrt{\delta_{iv}}\, \varepsilon_{ijv}),
        \qquad
        y^*_{ijv} = \frac{y_{ijv} - \alpha_v - c_{ij}\beta_v - \sigma_v \gamma^*_{iv}}{\sqrt{\delta^*_{iv}}}
        + \alpha_v + c_{ij}\beta_v .

    alpha is the sample-weighted mean of the site intercepts, sigma^2 the mean squared residual. The estimates
    equal sva::ComBat (3.46), including its stopping rule. Held-out samples of known sites are adjusted with
    the stored estimates; nothing is learned from them. Fitted on one site, it is the identity.

    Parameters
    ----------
    parametric
        Normal and inverse-gamma priors; otherwise the other features serve as the prior (cost grows with the
        square of the number of features).
    mean_only
        Adjust shifts only; the one form that admits a site with a single sample.
    empirical_bayes
        Shrink; otherwise use the per-feature estimates as they are.
    reference_site
        Site that stays unchanged and to which the others are moved; None: the pooled mean.
    constant_features
        What to do with a feature that does not vary inside some site (mean_only: nowhere): "raise", or "keep"
        to hand it through unchanged and leave it out of the priors.

    References
    ----------
    Johnson WE, Li C, Rabinovic A. Biostatistics 8 (2007) 118-127, doi 10.1093/biostatistics/kxj037.
    Fortin JP et al. Harmonization of multi-site diffusion tensor imaging data. NeuroImage 161 (2017) 149-170,
    doi 10.1016/j.neuroimage.2017.08.047. Fortin JP et al. NeuroImage 167 (2018) 104-120,
    doi 10.1016/j.neuroimage.2017.11.024.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        needs_site_labels=True, keeps_covariates=True, one_site_identity=True
    )

    def __init__(
        self,
        parametric: bool = True,
        mean_only: bool = False,
        empirical_bayes: bool = True,
        reference_site: str | None = None,
        constant_features: str = "raise",
    ) -> None:
        self.parametric = parametric
        self.mean_only = mean_only
        self.empirical_bayes = empirical_bayes
        self.reference_site = reference_site
        self.constant_features = constant_features

    def _learn(self, X: Table, sites: NDArray[np.str_], covariates: Table, columns: list[str]) -> None:
        labels, index, counts = np.unique(sites, return_inverse=True, return_counts=True)
        reference = self._reference(labels)
        p = X.shape[1]
        self.gamma_star_, self.delta_star_ = np.zeros((labels.size, p)), np.ones((labels.size, p))
        self.grand_mean_, self.pooled_sd_ = np.zeros(p), np.ones(p)
        self.coefficients_ = np.zeros((covariates.shape[1], p))
        if labels.size == 1:
            return
        self._require_replicates(labels, counts)
        model = SiteRegression.prepare(index, covariates, columns, labels.size)
        scale, gamma_hat, sum_squares = self._standardise(X, model, reference)
        varying = self._varying(X, index, labels.size, scale)
        self.pooled_sd_ = np.where(varying, scale, 1.0)
        # The reference site keeps gamma 0 and delta 1: it defines both.
        moved = [i for i in range(labels.size) if i != reference] if varying.any() else []
        for i in moved:
            gamma, squares = gamma_hat[i, varying], sum_squares[i, varying]
            estimate = self._estimate(gamma, squares, int(counts[i]))
            self.gamma_star_[i, varying], self.delta_star_[i, varying] = estimate

    def _standardise(
        self, X: Table, model: SiteRegression, reference: int | None
    ) -> tuple[NDArray[np.float64], Table, Table]:
        """Regress block by block; return (sigma, gamma_hat, sums of squares inside sites / sigma^2)."""
        counts = model.indicator.sum(axis=0)
        rows = slice(None) if reference is None else model.index == reference
        weights = counts / counts.sum() if reference is None else np.eye(counts.size)[reference]
        gamma_hat, sum_squares = np.empty_like(self.gamma_star_), np.empty_like(self.gamma_star_)
        scale = np.empty(X.shape[1])
        for block in feature_blocks(*X.shape):
            intercepts, coefficients, residual = model.fit(X[:, block])
            squares = residual**2
            mean = weights @ intercepts
            sd = np.sqrt(squares[rows].mean(axis=0))
            safe = np.where(sd > 0.0, sd, 1.0)
            self.grand_mean_[block], self.coefficients_[:, block], scale[block] = mean, coefficients, sd
            gamma_hat[:, block] = (intercepts - mean) / safe
            sum_squares[:, block] = model.indicator.T @ squares / safe**2
        return scale, gamma_hat, sum_squares

    def _estimate(
        self, gamma: NDArray[np.float64], squares: NDArray[np.float64], n: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return one site's (gamma*, delta*)."""
        delta = np.ones(gamma.size) if self.mean_only else squares / (n - 1)
        if not self.empirical_bayes:
            return gamma, delta
        if gamma.size < 2:
            raise ValueError(
                "empirical_bayes must be False for a single (varying) feature, since it pools over features; "
                f"got {gamma.size}. Set empirical_bayes=False or pass more features."
            )
        if not self.parametric:
            return eb.nonparametric(gamma, delta, squares, n)
        if self.mean_only:
            return eb.parametric_mean(gamma), delta
        return eb.parametric(gamma, delta, squares, n)

    def _apply(self, X: Table, sites: NDArray[np.str_], covariates: Table) -> Table:
        index = np.searchsorted(self.sites_, sites)
        # Unchanged by definition, so copied and not recomputed: the reference site, or the only site.
        kept = np.zeros(len(X), dtype=bool)
        if self.sites_.size == 1:
            kept[:] = True
        elif self.reference_site is not None:
            kept = sites == str(self.reference_site)
        untouched = (self.gamma_star_ == 0.0).all(axis=0) & (self.delta_star_ == 1.0).all(axis=0)
        harmonized = X.copy()
        moved = np.flatnonzero(~kept)
        for block in feature_blocks(*X.shape):
            mean = self.grand_mean_[block] + covariates[moved] @ self.coefficients_[:, block]
            shift = mean + (self.gamma_star_[:, block] * self.pooled_sd_[block])[index[moved]]
            adjusted = (X[moved, block] - shift) / np.sqrt(self.delta_star_[:, block])[index[moved]] + mean
            harmonized[moved, block] = np.where(untouched[block], X[moved, block], adjusted)
        return harmonized

    def _reference(self, labels: NDArray[np.str_]) -> int | None:
        if self.constant_features not in ("raise", "keep"):
            raise ValueError(
                f"constant_features must be 'raise' or 'keep'; got '{self.constant_features}'. "
                "'keep' hands features without variance through unchanged."
            )
        if self.reference_site is None:
            return None
        if str(self.reference_site) not in labels:
            raise ValueError(
                f"reference_site must be one of the sites ({', '.join(labels)}); got "
                f"'{self.reference_site}'. "
                "Correct the name, or set reference_site=None for the pooled mean."
            )
        return int(np.searchsorted(labels, str(self.reference_site)))

    def _require_replicates(self, labels: NDArray[np.str_], counts: NDArray[np.intp]) -> None:
        single = labels[counts < 2]
        if single.size and not self.mean_only:
            raise ValueError(
                "site must have at least 2 samples each to estimate a variance; got 1 for "
                f"{', '.join(single)}. "
                "Set mean_only=True, or leave those samples out."
            )

    def _varying(
        self, X: Table, index: NDArray[np.intp], n_sites: int, scale: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        varying: NDArray[np.bool_] = scale > _NO_SPREAD * np.maximum(
            np.abs(X.max(axis=0)), np.abs(X.min(axis=0))
        )
        if not self.mean_only:
            for i in range(n_sites):
                rows = X[index == i]
                varying &= rows.max(axis=0) > rows.min(axis=0)
        if not varying.all() and self.constant_features == "raise":
            where = "after site and covariates" if self.mean_only else "inside every site"
            raise ValueError(
                f"X must hold features that vary {where}; got no variance in column "
                f"{name_features(~varying)}. "
                "Drop those columns, or set constant_features='keep' to hand them through unchanged."
            )
        return varying

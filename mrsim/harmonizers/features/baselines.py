"""Plain feature corrections without shrinkage: what ComBat has to beat."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..base import Capabilities
from ..regression import SiteRegression, feature_blocks, name_features
from .feature_harmonizer import FeatureHarmonizer

Table = NDArray[np.float64]


class FeatureZScore(FeatureHarmonizer):
    r"""Give every site the pooled mean and standard deviation, feature by feature, blind to covariates.

    .. math:: y^* = \bar\mu_v + \bar\sigma_v \, (y - \mu_{iv}) / \sigma_{iv}

    mu and sigma are the mean and standard deviation (divisor n) at site i, the bars their sample-weighted
    pool (of the variances for sigma). Differences between the sites' populations are removed with the
    scanner's: a control that buys low site accuracy with biology.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(needs_site_labels=True, one_site_identity=True)

    def _learn(self, X: Table, sites: NDArray[np.str_], covariates: Table, columns: list[str]) -> None:
        labels, index, counts = np.unique(sites, return_inverse=True, return_counts=True)
        groups = [X[index == i] for i in range(labels.size)]
        varying = np.array([group.max(axis=0) > group.min(axis=0) for group in groups])
        if not varying.all():
            site = int(np.flatnonzero(~varying.all(axis=1))[0])
            raise ValueError(
                f"X must vary inside every site; got no variance at site '{labels[site]}' "
                f"({counts[site]} samples) in column {name_features(~varying[site])}. "
                "Drop those columns, or leave that site out."
            )
        self.site_mean_ = np.array([group.mean(axis=0) for group in groups])
        self.site_sd_ = np.array([group.std(axis=0) for group in groups])
        weights = counts / counts.sum()
        self.pooled_mean_ = weights @ self.site_mean_
        self.pooled_sd_ = np.sqrt(weights @ self.site_sd_**2)

    def _apply(self, X: Table, sites: NDArray[np.str_], covariates: Table) -> Table:
        index = np.searchsorted(self.sites_, sites)
        standard = (X - self.site_mean_[index]) / self.site_sd_[index]
        adjusted: Table = standard * self.pooled_sd_ + self.pooled_mean_
        return adjusted


class FeatureResidual(FeatureHarmonizer):
    r"""Subtract each site's intercept from a linear model with covariates: site regression.

    .. math::
        y_{ijv} = a_{iv} + c_{ij} b_v + \varepsilon_{ijv}, \qquad
        y^* = y - a_{iv} + \sum_k \tfrac{n_k}{n} a_{kv}
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        needs_site_labels=True, keeps_covariates=True, one_site_identity=True
    )

    def _learn(self, X: Table, sites: NDArray[np.str_], covariates: Table, columns: list[str]) -> None:
        labels, index, counts = np.unique(sites, return_inverse=True, return_counts=True)
        self.shift_ = np.zeros((labels.size, X.shape[1]))
        if labels.size == 1:
            return
        model = SiteRegression.prepare(index, covariates, columns, labels.size)
        for block in feature_blocks(*X.shape):
            intercepts = model.fit(X[:, block]).intercepts
            self.shift_[:, block] = intercepts - counts / counts.sum() @ intercepts

    def _apply(self, X: Table, sites: NDArray[np.str_], covariates: Table) -> Table:
        adjusted: Table = X - self.shift_[np.searchsorted(self.sites_, sites)]
        return adjusted

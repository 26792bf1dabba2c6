r"""Distributed ComBat: sites send summaries, never samples, and every estimate equals the pooled one.

Round one, every site sends its count, means, and cross products around its means (:func:`summarise`); the
coordinator returns coefficients, intercepts and the grand mean (:func:`pool`). Round two, every site sends
the residual sum of squares per feature (:func:`residual_squares`); the coordinator returns the pooled
standard deviation (:func:`pooled_spread`). Shrinkage uses a site's own features only, so each site finishes
by itself (:func:`site_adjustment`).

Chen AA et al. Privacy-preserving harmonization via distributed ComBat. NeuroImage 248 (2022) 118822,
doi 10.1016/j.neuroimage.2021.118822.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..base import Capabilities
from ..regression import DesignError, SiteRegression
from ..site_groups import SiteGroups
from . import empirical_bayes as eb
from .location_scale import LocationScaleHarmonizer, MeanModel

Table = NDArray[np.float64]

# Cross products square the condition number: below this a covariate is taken as determined by the others.
_SINGULAR = 1e-12


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteSummary:
    """What a site sends in round one; for p features and k covariate columns no number is one sample's.

    Attributes
    ----------
    count
        Number of samples.
    covariate_mean, feature_mean
        Shapes (k,) and (p,).
    gram, cross
        Cross products around the means: covariates with covariates (k, k), with features (k, p).
    """

    count: int
    covariate_mean: Table
    feature_mean: Table
    gram: Table
    cross: Table


@dataclass(frozen=True, kw_only=True, slots=True)
class PooledMean:
    """What the coordinator returns: intercepts (n_sites, p), coefficients (k, p), grand mean (p,)."""

    intercepts: Table
    coefficients: Table
    grand_mean: Table


def summarise(X: Table, covariates: Table) -> SiteSummary:
    """Summarise one site's samples: X (n, p), covariates (n, k)."""
    covariate_mean, feature_mean = covariates.mean(axis=0), X.mean(axis=0)
    inside = covariates - covariate_mean
    return SiteSummary(
        count=len(X),
        covariate_mean=covariate_mean,
        feature_mean=feature_mean,
        gram=inside.T @ inside,
        cross=inside.T @ (X - feature_mean),
    )


def pool(summaries: Sequence[SiteSummary], reference: int | None = None) -> PooledMean:
    """Fit the common regression from all sites' summaries.

    Raises
    ------
    DesignError
        If the covariates are constant inside every site or determine each other.
    """
    gram, cross = sum(s.gram for s in summaries), sum(s.cross for s in summaries)
    size = np.sqrt(np.diag(np.asarray(gram)))
    if (size == 0.0).any() or (np.linalg.eigvalsh(gram / np.outer(size, size)) < _SINGULAR).any():
        raise DesignError(
            "covariates must vary inside sites and not determine each other; got cross products without full "
            "rank. Drop a covariate that is collinear with site or with the others."
        )
    coefficients = np.linalg.solve(np.asarray(gram), np.asarray(cross))
    intercepts = np.array([s.feature_mean - s.covariate_mean @ coefficients for s in summaries])
    counts = np.array([s.count for s in summaries])
    weights = counts / counts.sum() if reference is None else np.eye(counts.size)[reference]
    return PooledMean(intercepts=intercepts, coefficients=coefficients, grand_mean=weights @ intercepts)


def residual_squares(X: Table, covariates: Table, pooled: PooledMean, site: int) -> Table:
    """Return what a site sends in round two: its residual sum of squares per feature, shape (p,)."""
    residual = X - pooled.intercepts[site] - covariates @ pooled.coefficients
    squares: Table = (residual**2).sum(axis=0)
    return squares


def pooled_spread(squares: Sequence[Table], counts: Sequence[int], reference: int | None = None) -> Table:
    """Return the pooled residual standard deviation per feature, or the reference site's."""
    if reference is not None:
        return np.sqrt(squares[reference] / counts[reference])
    spread: Table = np.sqrt(np.sum(squares, axis=0) / sum(counts))
    return spread


def site_adjustment(
    pooled: PooledMean,
    spread: Table,
    squares: Table,
    *,
    site: int,
    count: int,
    parametric: bool = True,
    mean_only: bool = False,
    empirical_bayes: bool = True,
) -> tuple[Table, Table]:
    """Return (gamma*, delta*) of one site, from its own residual squares and what came back."""
    gamma_hat = (pooled.intercepts[site] - pooled.grand_mean) / spread
    return eb.site_effects(
        gamma_hat,
        squares / spread**2,
        count,
        pooled=empirical_bayes,
        parametric_prior=parametric,
        mean_only=mean_only,
    )


class DistributedComBat(LocationScaleHarmonizer):
    """ComBat from summaries that sites exchange; here the sites of one table play the parts.

    The fitted state equals :class:`ComBat`'s to rounding. In a real federation every site calls the
    functions of this module on its own samples and only their results travel.

    Parameters
    ----------
    parametric, mean_only, empirical_bayes, reference_site, unseen_site
        See :class:`ComBat`.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        needs_site_labels=True, handles_unseen_site=True, keeps_covariates=True, one_site_identity=True
    )
    reads_blocks: ClassVar[bool] = False

    def __init__(
        self,
        parametric: bool = True,
        mean_only: bool = False,
        empirical_bayes: bool = True,
        reference_site: str | None = None,
        unseen_site: str = "estimate",
    ) -> None:
        super().__init__(
            parametric=parametric,
            mean_only=mean_only,
            empirical_bayes=empirical_bayes,
            reference_site=reference_site,
            unseen_site=unseen_site,
        )

    def _mean_model(self, groups: SiteGroups, covariates: Table, columns: list[str]) -> MeanModel:
        return SiteRegression.prepare(groups.index, covariates, columns, groups.labels.size)

    def _learn(self, X: Table, sites: NDArray[np.str_], covariates: Table, columns: list[str]) -> None:
        groups = SiteGroups.of(sites)
        reference = self._reference(groups)
        self._require_replicates(groups)
        if len(X) <= groups.labels.size + covariates.shape[1]:
            raise DesignError(
                "X must have more samples than sites and covariate columns together "
                f"({groups.labels.size} + {covariates.shape[1]}); got {len(X)}. "
                "Add samples or drop covariates."
            )
        held = [(X[groups.index == i], covariates[groups.index == i]) for i in range(groups.labels.size)]
        pooled = pool([summarise(*own) for own in held], reference)
        squares = [residual_squares(*own, pooled, i) for i, own in enumerate(held)]
        counts = groups.counts.tolist()
        spread = pooled_spread(squares, counts, reference)
        self._require_variation([own[0] for own in held], spread)
        self.grand_mean_, self.coefficients_ = pooled.grand_mean, pooled.coefficients
        self.pooled_sd_, self.varying_ = spread, np.ones(X.shape[1], dtype=bool)
        shape = (groups.labels.size, X.shape[1])
        self.gamma_star_, self.delta_star_ = np.zeros(shape), np.ones(shape)
        for i, count in enumerate(counts):
            if i != reference:
                self.gamma_star_[i], self.delta_star_[i] = site_adjustment(
                    pooled,
                    spread,
                    squares[i],
                    site=i,
                    count=count,
                    parametric=self.parametric,
                    mean_only=self.mean_only,
                    empirical_bayes=self.empirical_bayes,
                )

    def _require_variation(self, held: Sequence[Table], spread: Table) -> None:
        """Each site reports which features it finds constant."""
        constant = np.any([own.max(axis=0) == own.min(axis=0) for own in held], axis=0)
        if self.mean_only:
            constant = spread <= 1e-12 * np.max([np.abs(own).max(axis=0) for own in held], axis=0)
        if constant.any():
            raise ValueError(
                f"X must hold features that vary inside every site; got {int(constant.sum())} that do not, "
                f"the first is column {int(constant.argmax())}. Drop those columns."
            )

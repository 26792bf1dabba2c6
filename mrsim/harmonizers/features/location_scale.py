"""What the ComBat family shares: a mean model, site effects around it, and their removal."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from ..base import Capabilities
from ..regression import MeanFit, feature_blocks, name_features
from ..site_groups import SiteGroups, adjust, site_moments, varies_inside_sites
from ..tables import read_block
from ..threads import one_blas_thread
from . import empirical_bayes as eb
from .feature_harmonizer import FeatureHarmonizer

# A residual spread below this fraction of the root mean square is rounding, not data.
_NO_SPREAD = 1e-12

Table = NDArray[np.float64]


class MeanModel(Protocol):
    """A regression on site and design, prepared once and fitted to blocks of features."""

    def fit(self, Y: Table, features: slice) -> MeanFit:
        """Fit features, shape (n_samples, p), which are these ones of the table."""


class LocationScaleHarmonizer(FeatureHarmonizer):
    r"""Remove each site's shift and scale around a mean model; subclasses supply that model.

    .. math::
        y^* = \frac{y - m - s\,\gamma^*_i}{\sqrt{\delta^*_i}} + m

    m is the mean model with the intercept that all sites get, s the residual spread. Subclasses write
    ``_mean_model`` (for fit) and, where the design is not the covariates themselves, ``_design``.
    """

    reads_blocks: ClassVar[bool] = True
    _converged: ClassVar[bool] = False
    """Whether shrinkage is iterated to its fixed point instead of stopping where sva does."""
    grand_mean_: Table
    pooled_sd_: Table
    coefficients_: Table
    gamma_star_: Table
    delta_star_: Table
    varying_: NDArray[np.bool_]

    def __init__(
        self,
        *,
        parametric: bool = True,
        mean_only: bool = False,
        empirical_bayes: bool = True,
        reference_site: str | None = None,
        constant_features: str = "raise",
        unseen_site: str = "estimate",
    ) -> None:
        self.parametric = parametric
        self.mean_only = mean_only
        self.empirical_bayes = empirical_bayes
        self.reference_site = reference_site
        self.constant_features = constant_features
        self.unseen_site = unseen_site

    def declared(self) -> Capabilities:
        """Return the capabilities: `unseen_site` decides about new sites."""
        return replace(self.capabilities, handles_unseen_site=self.unseen_site == "estimate")

    def transform_blocks(
        self, X: Any, *, site: Sequence[str], covariates: Any = None
    ) -> Iterator[tuple[slice, Table]]:
        """Yield (columns, harmonized columns): for tables larger than memory.

        `X` may be an ``h5py.Dataset`` or another table that reads what is sliced, in fit too; memory then
        holds one block of columns and the estimates, which are (n_sites, n_features).
        """
        table, sites, encoded = self._checked(X, site, covariates)
        yield from self._adjusted(table, sites, encoded)

    def predicted(self, covariates: Table) -> Table:
        """Return the mean model for encoded covariates, shape (n_samples, n_features)."""
        mean: Table = self.grand_mean_ + self._design(covariates) @ self.coefficients_
        return mean

    @abstractmethod
    def _mean_model(self, groups: SiteGroups, covariates: Table, columns: list[str]) -> MeanModel:
        """Prepare the mean model; may learn what ``_design`` needs."""

    def _design(self, covariates: Table) -> Table:
        """Return the columns that ``coefficients_`` belong to."""
        return covariates

    def _learn(self, X: Table, sites: NDArray[np.str_], covariates: Table, columns: list[str]) -> None:
        groups = SiteGroups.of(sites)
        reference = self._reference(groups)
        self._require_replicates(groups)
        model = self._mean_model(groups, covariates, columns)
        gamma_hat, squares = self._standardise(X, model, groups, self._design(covariates), reference)
        if not self.varying_.all() and self.constant_features == "raise":
            where = "after site and covariates" if self.mean_only else "inside every site"
            raise ValueError(
                f"X must hold features that vary {where}; got no variance in column "
                f"{name_features(~self.varying_, names=getattr(self, 'feature_names_in_', None))}. "
                "Drop those columns, or set constant_features='keep' to hand them through unchanged."
            )
        self.gamma_star_, self.delta_star_ = np.zeros(gamma_hat.shape), np.ones(gamma_hat.shape)
        self._shrink(gamma_hat, squares, groups, reference)

    def _standardise(
        self, X: Table, model: MeanModel, groups: SiteGroups, design: Table, reference: int | None
    ) -> tuple[Table, Table]:
        """Set the mean model's estimates; return gamma hat and sums of squares, (n_sites, n_features)."""
        p = X.shape[1]
        chosen = slice(None) if reference is None else slice(reference, reference + 1)
        weights = np.zeros(groups.counts.size)
        weights[chosen] = groups.counts[chosen] / groups.counts[chosen].sum()
        gamma_hat, squares = np.empty((groups.labels.size, p)), np.empty((groups.labels.size, p))
        self.grand_mean_, self.pooled_sd_, self.varying_ = np.empty(p), np.empty(p), np.empty(p, dtype=bool)
        self.coefficients_ = np.empty((design.shape[1], p))
        for block in feature_blocks(*X.shape):
            Y = read_block(X, block)
            with one_blas_thread():
                fit = model.fit(Y, block)
                by_site = groups.sums(fit.residual**2)
            mean = weights @ fit.intercepts
            pooled = np.sqrt(by_site[chosen].sum(axis=0) / groups.counts[chosen].sum())
            scale = pooled if fit.scale is None else fit.scale
            varying = scale > _NO_SPREAD * np.sqrt(np.einsum("ij,ij->j", Y, Y) / len(Y))
            if not self.mean_only:
                varying &= varies_inside_sites(Y, groups)
            scale, self.varying_[block] = np.where(varying, scale, 1.0), varying
            self.grand_mean_[block], self.coefficients_[:, block] = mean, fit.coefficients
            self.pooled_sd_[block] = scale
            spread = self._learn_spread(fit, block, design, scale)
            gamma_hat[:, block], squares[:, block] = site_moments(fit, by_site, mean, spread, groups)
        return gamma_hat, squares

    def _learn_spread(self, fit: MeanFit, block: slice, design: Table, scale: Table) -> Table:
        """Return the standard deviation that all sites get, (p,) or (n_samples, p)."""
        return scale

    def _spread(self, design: Table, block: slice) -> Table:
        """Return the standard deviation that all sites get, for samples with this design."""
        return self.pooled_sd_[block]

    def _shrink(self, gamma_hat: Table, squares: Table, groups: SiteGroups, reference: int | None) -> None:
        """Set gamma* and delta* of every site but the reference."""
        varying = self.varying_
        for i, n in enumerate(groups.counts):
            if i != reference:
                estimate = self._estimate(gamma_hat[i, varying], squares[i, varying], int(n))
                self.gamma_star_[i, varying], self.delta_star_[i, varying] = estimate

    def _estimate(self, gamma: Table, squares: Table, n: int) -> tuple[Table, Table]:
        return eb.site_effects(
            gamma,
            squares,
            n,
            pooled=self.empirical_bayes,
            parametric_prior=self.parametric,
            mean_only=self.mean_only,
            converged=self._converged,
        )

    def _apply(self, X: Table, sites: NDArray[np.str_], covariates: Table) -> Table:
        harmonized = np.empty(X.shape)
        for block, adjusted in self._adjusted(X, sites, covariates):
            harmonized[:, block] = adjusted
        return harmonized

    def _adjusted(
        self, X: Table, sites: NDArray[np.str_], covariates: Table
    ) -> Iterator[tuple[slice, Table]]:
        labels, gamma, delta = self._with_unseen(X, sites, covariates)
        index = np.searchsorted(labels, sites)
        # Copied and not recomputed, so that it is unchanged to the last bit.
        unchanged = self._unchanged_site()
        kept = None if unchanged is None else sites == unchanged
        design = self._design(covariates)
        untouched = ~self.varying_
        for block in feature_blocks(*X.shape):
            Y = read_block(X, block)
            with one_blas_thread():
                mean = design @ self.coefficients_[:, block]
            mean += self.grand_mean_[block]
            spread, effect = self._spread(design, block), gamma[:, block]
            shift = (spread * effect)[index] if spread.ndim == 1 else spread * effect[index]
            adjusted = adjust(Y, mean, shift, np.sqrt(delta[:, block])[index])
            if kept is not None:
                adjusted[kept] = Y[kept]
            if untouched[block].any():
                adjusted[:, untouched[block]] = Y[:, untouched[block]]
            yield block, adjusted

    def _with_unseen(
        self, X: Table, sites: NDArray[np.str_], covariates: Table
    ) -> tuple[NDArray[np.str_], Table, Table]:
        """Return sites, gamma* and delta*, with estimates for new sites from the samples at hand."""
        unseen = ~np.isin(sites, self.sites_)
        if not unseen.any():
            return self.sites_, self.gamma_star_, self.delta_star_
        rows = np.flatnonzero(unseen)
        groups = SiteGroups.of(sites[rows])
        self._require_replicates(groups)
        gamma_hat, squares, varying = self._unseen_moments(X, rows, groups, self._design(covariates)[rows])
        shape = gamma_hat.shape
        gamma, delta = np.zeros(shape), np.ones(shape)
        for i, n in enumerate(groups.counts):
            gamma[i, varying], delta[i, varying] = self._estimate(
                gamma_hat[i, varying], squares[i, varying], int(n)
            )
        labels = np.concatenate([self.sites_, groups.labels])
        order = np.argsort(labels)
        return (
            labels[order],
            np.vstack([self.gamma_star_, gamma])[order],
            np.vstack([self.delta_star_, delta])[order],
        )

    def _unseen_moments(
        self, X: Table, rows: NDArray[np.intp], groups: SiteGroups, design: Table
    ) -> tuple[Table, Table, NDArray[np.bool_]]:
        p = X.shape[1]
        gamma_hat, squares = np.empty((groups.labels.size, p)), np.empty((groups.labels.size, p))
        varying = np.empty(p, dtype=bool)
        for block in feature_blocks(*X.shape):
            Y = read_block(X, block)[rows]
            mean = self.grand_mean_[block] + design @ self.coefficients_[:, block]
            standard = (Y - mean) / self._spread(design, block)
            gamma = groups.sums(standard) / groups.counts[:, None]
            gamma_hat[:, block] = gamma
            squares[:, block] = groups.sums((standard - gamma[groups.index]) ** 2)
            varying[block] = self.varying_[block]
            if not self.mean_only:
                varying[block] &= varies_inside_sites(Y, groups)
        return gamma_hat, squares, varying

    def _unchanged_site(self) -> str | None:
        """Return the site that stays as it is by definition: the reference, or the only one."""
        if self.sites_.size == 1:
            return str(self.sites_[0])
        return None if self.reference_site is None else str(self.reference_site)

    def _reference(self, groups: SiteGroups) -> int | None:
        if self.constant_features not in ("raise", "keep"):
            raise ValueError(
                f"constant_features must be 'raise' or 'keep'; got '{self.constant_features}'. "
                "'keep' hands features without variance through unchanged."
            )
        if self.unseen_site not in ("estimate", "raise"):
            raise ValueError(
                f"unseen_site must be 'estimate' or 'raise'; got '{self.unseen_site}'. "
                "'estimate' learns a new site's shift and scale from the samples that are transformed."
            )
        if self.reference_site is None:
            return 0 if groups.labels.size == 1 else None
        if str(self.reference_site) not in groups.labels:
            raise ValueError(
                f"reference_site must be one of the sites ({', '.join(groups.labels)}); got "
                f"'{self.reference_site}'. "
                "Correct the name, or set reference_site=None for the pooled mean."
            )
        return int(np.searchsorted(groups.labels, str(self.reference_site)))

    def _require_replicates(self, groups: SiteGroups) -> None:
        single = groups.labels[groups.counts < 2]
        if single.size and not self.mean_only:
            raise ValueError(
                "site must have at least 2 samples each to estimate a variance; got 1 for "
                f"{', '.join(single)}. "
                "Set mean_only=True, or leave those samples out."
            )

"""CovBat: ComBat, then the same for the principal components of the residuals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..base import Capabilities
from .combat import ComBat
from .combat_gam import ComBatGAM
from .feature_harmonizer import FeatureHarmonizer

Table = NDArray[np.float64]


class CovBat(FeatureHarmonizer):
    r"""Remove each site's shift and scale, then its part in the covariance between features.

    ComBat's residuals, scaled to unit variance, are decomposed into principal components; site means and
    variances of the leading scores are made equal (no shrinkage, no covariates) and the scores go back.

    .. math:: y^{**} = y^* + \sum_{k \le K} (s^*_k - s_k)\, \varphi_k

    Parameters
    ----------
    explained
        Smallest share of the residuals' variance that the adjusted components carry; it picks K.
    n_components
        K itself; takes the place of `explained`.
    smooth, basis
        Covariates with a smooth effect and its basis, as in :class:`ComBatGAM`; None: all linear.
    parametric, mean_only, empirical_bayes, reference_site, unseen_site
        See :class:`ComBat`; for the first step.

    References
    ----------
    Chen AA et al. Mitigating site effects in covariance for machine learning in neuroimaging data. Hum Brain
    Mapp 43 (2022) 1179-1195, doi 10.1002/hbm.25688.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        needs_site_labels=True, handles_unseen_site=True, keeps_covariates=True, one_site_identity=True
    )

    def __init__(
        self,
        explained: float = 0.95,
        n_components: int | None = None,
        smooth: str | Sequence[str] | None = None,
        basis: str = "bspline",
        parametric: bool = True,
        mean_only: bool = False,
        empirical_bayes: bool = True,
        reference_site: str | None = None,
        unseen_site: str = "estimate",
    ) -> None:
        self.explained = explained
        self.n_components = n_components
        self.smooth = smooth
        self.basis = basis
        self.parametric = parametric
        self.mean_only = mean_only
        self.empirical_bayes = empirical_bayes
        self.reference_site = reference_site
        self.unseen_site = unseen_site

    def _learn(self, X: Table, sites: NDArray[np.str_], covariates: Table, columns: list[str]) -> None:
        options = {"reference_site": self.reference_site, "unseen_site": self.unseen_site}
        first = ComBat() if self.smooth is None else ComBatGAM(smooth=self.smooth, basis=self.basis)
        first.set_params(
            parametric=self.parametric,
            mean_only=self.mean_only,
            empirical_bayes=self.empirical_bayes,
            **options,
        )
        self.combat_ = first.fit(X, site=sites.tolist(), covariates=self._named(covariates, columns))
        residual = self._residual(X, sites, covariates)[1]
        self.centre_, self.residual_sd_ = residual.mean(axis=0), residual.std(axis=0, ddof=1)
        U, singular, V = np.linalg.svd((residual - self.centre_) / self.residual_sd_, full_matrices=False)
        k = self._number(singular**2)
        self.components_ = V[:k]
        # Scores without spread inside a site have no variance to adjust: "keep" hands them through.
        scores = ComBat(mean_only=self.mean_only, empirical_bayes=False, constant_features="keep").set_params(
            **options
        )
        self.scores_ = scores.fit(U[:, :k] * singular[:k], site=sites.tolist())

    def _apply(self, X: Table, sites: NDArray[np.str_], covariates: Table) -> Table:
        harmonized, residual = self._residual(X, sites, covariates)
        scores = (residual - self.centre_) / self.residual_sd_ @ self.components_.T
        moved = self.scores_.transform(scores, site=sites.tolist()) - scores
        adjusted: Table = harmonized + moved @ self.components_ * self.residual_sd_
        return adjusted

    def _residual(self, X: Table, sites: NDArray[np.str_], covariates: Table) -> tuple[Table, Table]:
        """Return the data after the first step, and what the mean model leaves of them."""
        columns = list(self.combat_.covariate_levels_)
        named = self._named(covariates, columns)
        harmonized = self.combat_.transform(X, site=sites.tolist(), covariates=named)
        return harmonized, harmonized - self.combat_.predicted(covariates)

    def _number(self, variances: Table) -> int:
        if self.n_components is not None:
            if not 1 <= self.n_components <= variances.size:
                raise ValueError(
                    f"n_components must be between 1 and {variances.size}, the rank of X; got "
                    f"{self.n_components}. Lower it, or set n_components=None."
                )
            return self.n_components
        if not 0.0 < self.explained < 1.0:
            raise ValueError(
                f"explained must be between 0 and 1, e.g. 0.95; got {self.explained}. "
                "Set n_components for a fixed number."
            )
        return int(np.argmax(np.cumsum(variances) / variances.sum() > self.explained)) + 1

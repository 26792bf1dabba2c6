"""GMM-ComBat: a hidden grouping of samples, found in a bimodal feature, is removed or protected."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..base import Capabilities
from .combat import ComBat
from .feature_harmonizer import FeatureHarmonizer
from .mixture import fit_mixture, information_gain, upper_component

Table = NDArray[np.float64]


class GMMComBat(FeatureHarmonizer):
    r"""ComBat for features with two modes, whose cause is not recorded.

    A mixture of two normal distributions is fitted to every feature; of those whose smaller group holds at
    least `smallest` of the samples, the one that Akaike's criterion prefers most over a single normal gives
    the grouping. The original compares the criterion itself between features, which depends on their units;
    the preference does not. Without such a feature the method is ComBat by site.

    Parameters
    ----------
    grouping
        "remove": the grouping is a batch effect, ComBat runs by group, then by site (GMM as a batch effect);
        "protect": it is biology, ComBat runs by site with the grouping as a covariate.
    smallest
        Least share of the samples in the smaller group.
    parametric, mean_only, empirical_bayes
        See :class:`ComBat`.

    References
    ----------
    Horng H et al. Generalized ComBat harmonization methods for radiomic features with multi-modal
    distributions and multiple batch effects. Sci Rep 12 (2022) 4493, doi 10.1038/s41598-022-08412-9.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(needs_site_labels=True, keeps_covariates=True)

    def __init__(
        self,
        grouping: str = "remove",
        smallest: float = 0.25,
        parametric: bool = True,
        mean_only: bool = False,
        empirical_bayes: bool = True,
    ) -> None:
        self.grouping = grouping
        self.smallest = smallest
        self.parametric = parametric
        self.mean_only = mean_only
        self.empirical_bayes = empirical_bayes

    def _learn(self, X: Table, sites: NDArray[np.str_], covariates: Table, columns: list[str]) -> None:
        if self.grouping not in ("remove", "protect"):
            raise ValueError(f"grouping must be 'remove' or 'protect'; got '{self.grouping}'. Choose one.")
        if not 0.0 < self.smallest <= 0.5:
            raise ValueError(
                f"smallest must be above 0 and at most 0.5; got {self.smallest}. 0.25 asks for a quarter."
            )
        if X.shape[1] < 2 and self.empirical_bayes:
            raise ValueError(
                "empirical_bayes must be False for a single feature, since it pools over features. "
                "Set empirical_bayes=False or pass more features."
            )
        self._find(X)
        named = self._named(covariates, columns)
        group = self._groups(X)
        self.by_group_: ComBat | None = None
        if self.grouping == "remove" and group is not None:
            self.by_group_ = self._combat().fit(X, site=group.astype(int).tolist(), covariates=named)
            X = self.by_group_.transform(X, site=group.astype(int).tolist(), covariates=named)
        self.by_site_ = self._combat().fit(X, site=sites.tolist(), covariates=self._protected(named, group))

    def _apply(self, X: Table, sites: NDArray[np.str_], covariates: Table) -> Table:
        named = self._named(covariates, self._columns())
        group = self._groups(X)
        if self.by_group_ is not None and group is not None:
            X = self.by_group_.transform(X, site=group.astype(int).tolist(), covariates=named)
        return self.by_site_.transform(X, site=sites.tolist(), covariates=self._protected(named, group))

    def _find(self, X: Table) -> None:
        """Learn the feature and the mixture that group the samples; feature -1: none does."""
        self.group_feature_ = -1
        varying = np.flatnonzero(X.std(axis=0) > 1e-12 * np.abs(X).max(axis=0))
        if not varying.size:
            return
        mixture = fit_mixture(X[:, varying])
        gain = information_gain(X[:, varying], mixture)
        upper = [
            upper_component(X[:, v], mixture.weight[:, i], mixture.mean[:, i], mixture.sd[:, i]).mean()
            for i, v in enumerate(varying)
        ]
        balanced = np.minimum(upper, 1.0 - np.array(upper)) >= self.smallest
        gain = np.where(balanced, gain, -np.inf)
        best = int(gain.argmax())
        if gain[best] > 0.0:
            self.group_feature_ = int(varying[best])
            self.group_mixture_ = np.array(
                [mixture.weight[:, best], mixture.mean[:, best], mixture.sd[:, best]]
            )

    def _groups(self, X: Table) -> NDArray[np.bool_] | None:
        if self.group_feature_ < 0:
            return None
        return upper_component(X[:, self.group_feature_], *self.group_mixture_)

    def _protected(
        self, named: dict[str, Table] | None, group: NDArray[np.bool_] | None
    ) -> dict[str, Table] | None:
        if self.grouping == "protect" and group is not None:
            return {**(named or {}), "hidden group": group.astype(np.float64)}
        return named

    def _combat(self) -> ComBat:
        return ComBat(
            parametric=self.parametric,
            mean_only=self.mean_only,
            empirical_bayes=self.empirical_bayes,
            unseen_site="raise",
        )

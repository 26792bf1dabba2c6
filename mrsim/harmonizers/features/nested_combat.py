"""Nested ComBat: several batch effects (site, vendor, kernel) removed one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from types import MappingProxyType
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..base import Capabilities, UnseenSiteError
from .combat import ComBat
from .feature_harmonizer import FeatureHarmonizer, split_columns

Table = NDArray[np.float64]

_ORDERS = ("given", "greedy", "optimal")
# 5 batch effects have 120 orders of 5 steps each.
_MOST_TO_PERMUTE = 5


class NestedComBat(FeatureHarmonizer):
    r"""ComBat by one batch effect after the other, in an order that leaves the fewest affected features.

    A feature is affected by a batch effect if a Kolmogorov-Smirnov test of its groups gives p < 0.05 (as in
    Nested ComBat; OPNested ComBat uses the Anderson-Darling test).

    Parameters
    ----------
    batches
        Name of the column, or columns, of `covariates` with further batch labels; site is always one.
    order
        "given": site, then `batches` as listed; "greedy": at each step the effect whose removal leaves the
        fewest features affected by it (Nested ComBat); "optimal": the sequence, of all, after which the
        fewest features are affected by any (OPNested ComBat).
    parametric, mean_only, empirical_bayes
        See :class:`ComBat`.

    References
    ----------
    Horng H et al. Sci Rep 12 (2022) 4493, doi 10.1038/s41598-022-08412-9. Horng H et al. Improved generalized
    ComBat methods for harmonization of radiomic features. Sci Rep 12 (2022) 19009,
    doi 10.1038/s41598-022-23328-0.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(needs_site_labels=True, keeps_covariates=True)
    column_roles: ClassVar[Mapping[str, str]] = MappingProxyType({"batches": "batch"})

    def __init__(
        self,
        batches: str | Sequence[str] | None = None,
        order: str = "greedy",
        parametric: bool = True,
        mean_only: bool = False,
        empirical_bayes: bool = True,
    ) -> None:
        self.batches = batches
        self.order = order
        self.parametric = parametric
        self.mean_only = mean_only
        self.empirical_bayes = empirical_bayes

    def _learn(self, X: Table, sites: NDArray[np.str_], covariates: Table, columns: list[str]) -> None:
        effects, named = self._effects(sites, covariates, columns)
        if self.order not in _ORDERS:
            raise ValueError(f"order must be one of {', '.join(_ORDERS)}; got '{self.order}'. Choose one.")
        if self.order == "optimal" and len(effects) > _MOST_TO_PERMUTE:
            raise ValueError(
                f"order must not be 'optimal' for more than {_MOST_TO_PERMUTE} batch effects; got "
                f"{len(effects)}. Use 'greedy'."
            )
        if self.order == "greedy":
            sequence = self._greedy(X, effects, named)
        elif self.order == "optimal":
            tried = [tuple(order) for order in permutations(effects)]
            left = [self._left(X, order, effects, named) for order in tried]
            sequence = tried[int(np.argmin(left))]
        else:
            sequence = tuple(effects)
        self.sequence_ = list(sequence)
        self.steps_ = self._run(X, sequence, effects, named)[0]

    def _apply(self, X: Table, sites: NDArray[np.str_], covariates: Table) -> Table:
        effects, named = self._effects(sites, covariates, self._columns())
        for name, step in zip(self.sequence_, self.steps_, strict=True):
            if (effects[name] == "-1").any():
                raise UnseenSiteError(
                    f"covariates column '{name}' must hold batch labels that fit has seen "
                    f"({', '.join(self.covariate_levels_[name] or [])}); got another. "
                    "Fit again with samples of it."
                )
            X = step.transform(X, site=effects[name].tolist(), covariates=named)
        return X.copy()

    def _effects(
        self, sites: NDArray[np.str_], covariates: Table, columns: Sequence[str]
    ) -> tuple[dict[str, NDArray[np.str_]], dict[str, Table] | None]:
        """Return batch labels by effect, and the covariates to protect."""
        names = self._labels()
        if "site" in names:
            raise ValueError(
                "batches must not contain a column called 'site', the name of the site labels' own step. "
                "Rename the column."
            )
        labels, rest, others = split_columns(covariates, columns, names)
        effects = {"site": sites}
        for name, numbers in zip(names, labels.T, strict=True):
            effects[name] = numbers.astype(int).astype(str)
        return effects, self._named(rest, others)

    def _run(
        self,
        X: Table,
        sequence: Sequence[str],
        effects: Mapping[str, NDArray[np.str_]],
        named: dict[str, Table] | None,
    ) -> tuple[list[ComBat], Table]:
        steps = []
        for name in sequence:
            step = ComBat(
                parametric=self.parametric,
                mean_only=self.mean_only,
                empirical_bayes=self.empirical_bayes,
                unseen_site="raise",
            ).fit(X, site=effects[name].tolist(), covariates=named)
            X = step.transform(X, site=effects[name].tolist(), covariates=named)
            steps.append(step)
        return steps, X

    def _greedy(
        self, X: Table, effects: Mapping[str, NDArray[np.str_]], named: dict[str, Table] | None
    ) -> tuple[str, ...]:
        left, sequence = list(effects), []
        while len(left) > 1:
            after = {name: self._run(X, [name], effects, named)[1] for name in left}
            best = min(left, key=lambda name: affected(after[name], effects[name]))
            X = after[best]
            left.remove(best)
            sequence.append(best)
        return (*sequence, *left)

    def _left(
        self,
        X: Table,
        order: Sequence[str],
        effects: Mapping[str, NDArray[np.str_]],
        named: dict[str, Table] | None,
    ) -> int:
        after = self._run(X, order, effects, named)[1]
        return sum(affected(after, labels) for labels in effects.values())


def affected(X: Table, labels: NDArray[np.str_], level: float = 0.05) -> int:
    """Return how many features are distributed differently in some group than in the others.

    Kolmogorov-Smirnov test of each group against the rest (asymptotic), Bonferroni over more than two groups.
    """
    from scipy.special import kolmogorov

    names = np.unique(labels)
    if names.size < 2:
        return 0
    order = np.argsort(X, axis=0, kind="stable")
    least = np.ones(X.shape[1])
    for name in names:
        inside = (labels == name)[order]
        n, rest = int((labels == name).sum()), int((labels != name).sum())
        gap = np.abs(np.cumsum(inside, axis=0) / n - np.cumsum(~inside, axis=0) / rest).max(axis=0)
        least = np.minimum(least, kolmogorov(gap * np.sqrt(n * rest / (n + rest))))
    tests = 1 if names.size == 2 else names.size
    return int((least * tests < level).sum())

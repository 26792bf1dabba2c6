r"""Linear mixed model with one random intercept per subject, by restricted maximum likelihood, many features.

.. math:: y = a_{site} + C b + u_{subject} + e, \qquad u \sim N(0, \theta \sigma^2), \; e \sim N(0, \sigma^2)

With sigma profiled out, the criterion has one variable per feature, theta, and is evaluated from sums over
subjects of equal numbers of samples. Equals lme4 (Bates D et al. J Stat Softw 67(1) (2015),
doi 10.18637/jss.v067.i01) without its optimiser's tolerance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..regression import DesignError, MeanFit, SiteRegression
from ..site_groups import SiteGroups
from .line_search import minimise_each

Table = NDArray[np.float64]

# Decimal exponents of theta; below the first one the intercept is taken as absent.
_GRID = np.linspace(-6.0, 6.0, 37)


@dataclass(frozen=True, kw_only=True, slots=True)
class RandomIntercept:
    """A mixed model prepared once for many features.

    Attributes
    ----------
    design
        Fixed effects: site indicators, then covariates; shape (n, n_sites + k).
    n_sites
        Number of site columns.
    subjects
        Samples grouped by subject.
    """

    design: Table
    n_sites: int
    subjects: SiteGroups

    @classmethod
    def prepare(
        cls,
        groups: SiteGroups,
        covariates: Table,
        columns: Sequence[str],
        subjects: NDArray[np.intp],
    ) -> RandomIntercept:
        """Check the design.

        Raises
        ------
        DesignError
            If site and covariates cannot be told apart, or no subject has two samples.
        """
        regression = SiteRegression.prepare(groups.index, covariates, columns, groups.labels.size)
        _, index, counts = np.unique(subjects, return_inverse=True, return_counts=True)
        if counts.max() < 2 or counts.size < 2:
            raise DesignError(
                "covariates must give subjects with several samples to tell subject from noise; got "
                f"{counts.size} subjects with at most {counts.max()} samples each. "
                "Name the column with the subject, or use a method without subjects."
            )
        labels = np.array([str(i) for i in range(counts.size)])
        by_subject = SiteGroups(labels=labels, index=index, counts=counts)
        design = np.hstack([regression.indicator, covariates])
        return cls(design=design, n_sites=groups.labels.size, subjects=by_subject)

    def fit(self, Y: Table, features: slice = slice(None)) -> MeanFit:
        """Fit features, shape (n, p); coefficients are those of the covariates, then of every subject."""
        theta = self.ratio(Y)
        fixed, deviance, _, _ = self._solve(theta, *self._sums(Y))
        sigma = np.sqrt(deviance / (len(Y) - self.design.shape[1]))
        m = self.subjects.counts[:, None]
        left = Y - self.design @ fixed.T
        effects = theta * self.subjects.sums(left) / (1.0 + theta * m)
        left -= effects[self.subjects.index]
        site, covariates = fixed.T[: self.n_sites], fixed.T[self.n_sites :]
        return MeanFit(site, np.vstack([covariates, effects]), left, scale=sigma)

    def variances(self, Y: Table) -> tuple[Table, Table]:
        """Return the subjects' and the residual variance per feature, both (p,)."""
        theta = self.ratio(Y)
        deviance = self._solve(theta, *self._sums(Y))[1]
        residual = deviance / (len(Y) - self.design.shape[1])
        return theta * residual, residual

    def ratio(self, Y: Table) -> Table:
        """Return theta, the subject variance over the residual variance, per feature."""
        sums = self._sums(Y)
        free = len(Y) - self.design.shape[1]
        sizes, number = np.unique(self.subjects.counts, return_counts=True)

        def criterion(theta: Table) -> tuple[Table, Table]:
            fixed, deviance, log_determinant, inverse = self._solve(theta, *sums)
            value = (number * np.log1p(theta[:, None] * sizes)).sum(axis=1)
            value += log_determinant + free * np.log(deviance)
            weight = sizes / (1.0 + theta[:, None] * sizes)
            # Derivatives of the weighted cross products, and of the residual sum of squares at its minimum.
            change = -np.einsum("vm,vmab->vab", weight**2, sums[1])
            combination = np.concatenate([-fixed, np.ones((len(fixed), 1))], axis=1)
            slope = (number * weight).sum(axis=1)
            slope += np.einsum("vab,vba->v", inverse, change[:, :-1, :-1])
            slope += free * np.einsum("va,vab,vb->v", combination, change, combination) / deviance
            return value, slope

        def of_exponent(exponent: Table) -> tuple[Table, Table]:
            theta = 10.0**exponent
            value, slope = criterion(theta)
            return value, slope * theta * np.log(10.0)

        theta = 10.0 ** minimise_each(of_exponent, _GRID, Y.shape[1])
        none = np.zeros(Y.shape[1])
        return np.where(criterion(none)[0] <= criterion(theta)[0], none, theta)

    def _sums(self, Y: Table) -> tuple[Table, Table]:
        """Return cross products of [design, y] per feature: within subjects, and between by group size.

        Shapes (p, 1, q + 1, q + 1) and (p, n_sizes, q + 1, q + 1).
        """
        sizes = np.unique(self.subjects.counts)
        q, p = self.design.shape[1], Y.shape[1]
        means = self.subjects.sums(self.design) / self.subjects.counts[:, None]
        y_means = self.subjects.sums(Y) / self.subjects.counts[:, None]
        inside, y_inside = self.design - means[self.subjects.index], Y - y_means[self.subjects.index]
        parts = [(inside, y_inside)]
        parts += [(means[self.subjects.counts == m], y_means[self.subjects.counts == m]) for m in sizes]
        stacked = np.empty((p, len(parts), q + 1, q + 1))
        for i, (x, y) in enumerate(parts):
            stacked[:, i, :q, :q] = x.T @ x
            stacked[:, i, :q, q] = stacked[:, i, q, :q] = (x.T @ y).T
            stacked[:, i, q, q] = (y**2).sum(axis=0)
        return stacked[:, :1], stacked[:, 1:]

    def _solve(self, theta: Table, within: Table, between: Table) -> tuple[Table, Table, Table, Table]:
        """Return fixed effects (p, q), residual squares, log determinants and inverses of X'V^-1 X."""
        sizes = np.unique(self.subjects.counts)
        weight = sizes / (1.0 + theta[:, None] * sizes)
        cross = within[:, 0] + np.einsum("vm,vmab->vab", weight, between)
        normal, score = cross[:, :-1, :-1], cross[:, :-1, -1]
        inverse = np.linalg.inv(normal)
        fixed = np.linalg.solve(normal, score[:, :, None])[:, :, 0]
        deviance = np.maximum(cross[:, -1, -1] - (fixed * score).sum(axis=1), np.finfo(float).tiny)
        return fixed, deviance, np.linalg.slogdet(normal)[1], inverse

r"""Penalised regression of many features on one design, with the penalty chosen per feature.

.. math:: \min_{a, b} \lVert y - a_{site} - D b \rVert^2 + \sum_j \lambda_j b' S_j b

The penalty minimises generalised cross-validation, n RSS / (n - edf)^2, or the restricted likelihood. Both
are evaluated from k x k matrices, so a feature costs the same for any number of samples. Wood SN. Fast stable
restricted maximum likelihood. J R Stat Soc B 73 (2011) 3-36, doi 10.1111/j.1467-9868.2010.00749.x.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..regression import MeanFit, SiteRegression
from .line_search import minimise_each

Table = NDArray[np.float64]

# Decimal exponents of lambda times the largest penalised eigenvalue: from no penalty to a straight line.
# Terms share coordinates, so with several a larger lambda would let one's rounding shrink the others.
_GRID = np.linspace(-8.0, 10.0, 37)
_SHORT_GRID = np.linspace(-8.0, 7.0, 31)
# Eigenvalues below this fraction of the largest are rounding.
_NO_PENALTY = 1e-12
# Several smooth terms are optimised in turn, until no lambda moves by more than this power of ten.
_ROUNDS = 60
_SETTLED = 1e-7
# Turns may end in a valley of their own, so they start from wiggly, moderate and nearly straight curves.
_STARTS = (-4.0, 0.0, 4.0)
# Keeps the logarithm finite for a feature without variance, which is refused later.
_TINY = 1e-300
_LN10 = float(np.log(10.0))


@dataclass(frozen=True, kw_only=True, slots=True)
class PenalisedRegression:
    """Site intercepts and a penalised design, prepared once for many features.

    Attributes
    ----------
    regression
        The unpenalised problem on the same design.
    penalties
        S_j in the coordinates of the orthonormal within-site design, each (k, k).
    free
        Number of directions that no penalty acts on, site intercepts left out.
    penalty
        "gcv", "reml", or fixed lambda: one row for all features or one per feature, one column per term.
    """

    regression: SiteRegression
    penalties: tuple[Table, ...]
    free: int
    penalty: str | Table

    @classmethod
    def prepare(
        cls, regression: SiteRegression, penalties: Sequence[Table], penalty: str | Table
    ) -> PenalisedRegression:
        """Express the penalties in orthonormal coordinates, in which the normal matrix is the identity.

        The directions that no penalty acts on come first and are cut off exactly: a large lambda would
        otherwise turn their rounding into shrinkage.
        """
        inverse = np.linalg.inv(regression.upper)
        plain = [inverse.T @ S @ inverse for S in penalties]
        values, vectors = np.linalg.eigh(sum(S / np.linalg.eigvalsh(S)[-1] for S in plain))
        free = int((values <= _NO_PENALTY).sum())
        rotated = np.array([vectors.T @ S @ vectors for S in plain])
        rotated[:, :free, :] = rotated[:, :, :free] = 0.0
        turned = replace(regression, within=regression.within @ vectors, upper=vectors.T @ regression.upper)
        return cls(regression=turned, penalties=tuple(rotated), free=free, penalty=penalty)

    def fit(self, Y: Table, features: slice = slice(None)) -> MeanFit:
        """Fit features, shape (n, p), which are these ones of the table."""
        model = self.regression
        counts = model.indicator.sum(axis=0)[:, None]
        site_means = model.indicator.T @ Y / counts
        residual = Y - site_means[model.index]
        score = (model.within.T @ residual).T
        normal = np.eye(score.shape[1]) + self._total(self._choose(score, residual, features))
        shrunk = np.asarray(np.linalg.solve(normal, score[:, :, None])[:, :, 0].T, dtype=np.float64)
        residual -= model.within @ shrunk
        coefficients = np.asarray(np.linalg.solve(model.upper, shrunk), dtype=np.float64)
        intercepts = site_means - (model.indicator.T @ model.covariates / counts) @ coefficients
        return MeanFit(intercepts, coefficients, residual)

    def _choose(self, score: Table, inside: Table, features: slice) -> Table:
        """Return lambda per feature and term, shape (p, terms)."""
        p, terms = len(score), len(self.penalties)
        if not isinstance(self.penalty, str):
            one_for_all = len(self.penalty) == 1
            return np.broadcast_to(self.penalty if one_for_all else self.penalty[features], (p, terms))
        total = (inside**2).sum(axis=0)
        scales = np.array([np.linalg.eigvalsh(S)[-1] for S in self.penalties])
        if terms == 1:
            return np.asarray(10.0 ** self._best(0, np.ones((p, 1)), score, total)[:, None] / scales)
        chosen, least = np.ones((p, terms)), np.full(p, np.inf)
        for start in _STARTS:
            lambdas = self._in_turn(10.0**start / scales, scales, score, total)
            reached = self._criterion(lambdas, score, total)
            lower = reached < least
            chosen[lower], least[lower] = lambdas[lower], reached[lower]
        return chosen

    def _in_turn(self, start: Table, scales: Table, score: Table, total: Table) -> Table:
        """Return lambda per feature and term, after minimising over one term at a time until none moves."""
        lambdas, moving = np.tile(start, (len(score), 1)), np.arange(len(score))
        for _ in range(_ROUNDS):
            before = np.log10(lambdas[moving])
            for j, scale in enumerate(scales):
                best = self._best(j, lambdas[moving], score[moving], total[moving])
                lambdas[moving, j] = 10.0**best / scale
            moved = np.abs(np.log10(lambdas[moving]) - before).max(axis=1)
            moving = moving[moved > _SETTLED]
            if not moving.size:
                break
        return lambdas

    def _criterion(self, lambdas: Table, score: Table, total: Table) -> Table:
        """Return the logarithm of the criterion per feature, up to a constant."""
        normal = np.eye(score.shape[1]) + self._total(lambdas)
        shrunk = np.linalg.solve(normal, score[:, :, None])[:, :, 0]
        fitted = (shrunk * score).sum(axis=1)
        n = self.regression.index.size - self.regression.indicator.shape[1]
        if self.penalty == "gcv":
            rss = np.maximum(total - 2.0 * fitted + (shrunk**2).sum(axis=1), _TINY)
            edf = np.trace(np.linalg.inv(normal), axis1=1, axis2=2)
            return np.asarray(np.log(rss) - 2.0 * np.log(n - edf))
        ranks = [int((np.linalg.eigvalsh(S) > _NO_PENALTY * np.abs(S).max()).sum()) for S in self.penalties]
        deviance = np.log(np.maximum(total - fitted, _TINY))
        value: Table = (n - self.free) * deviance + np.linalg.slogdet(normal)[1] - np.log(lambdas) @ ranks
        return value

    def _best(self, j: int, lambdas: Table, score: Table, total: Table) -> Table:
        """Return the best power of ten for lambda_j times the largest eigenvalue of S_j, the others held."""
        S = self.penalties[j] / np.linalg.eigvalsh(self.penalties[j])[-1]
        if len(self.penalties) == 1:
            base = np.eye(len(S))[None]
        else:
            others = lambdas.copy()
            others[:, j] = 0.0
            base = np.eye(len(S)) + self._total(others)
        lower = np.linalg.inv(np.linalg.cholesky(base))
        values, vectors = np.linalg.eigh(lower @ S @ np.swapaxes(lower, 1, 2))
        values = np.where(values > _NO_PENALTY, values, 0.0)
        # Coordinates in which the rest of the problem is the identity and S_j is diagonal.
        change = np.swapaxes(vectors, 1, 2) @ lower
        f = np.einsum("vij,vj->vi", np.broadcast_to(change, (len(score), *change.shape[1:])), score)
        gram = None if len(self.penalties) == 1 else change @ np.swapaxes(change, 1, 2)
        n = self.regression.index.size - self.regression.indicator.shape[1]
        rank = int((np.linalg.eigvalsh(S) > _NO_PENALTY).sum())
        free = n - self.free

        def gcv(exponent: Table) -> tuple[Table, Table]:
            w = 1.0 / (1.0 + 10.0 ** exponent[:, None] * values)
            change = -w * (1.0 - w) * _LN10
            if gram is None:
                edf, edf_slope = w.sum(axis=1), change.sum(axis=1)
                rss = total - ((2.0 * w - w**2) * f**2).sum(axis=1)
                rss_slope = -(2.0 * (1.0 - w) * change * f**2).sum(axis=1)
            else:
                own = np.einsum("vii->vi", gram)
                edf, edf_slope = (w * own).sum(axis=1), (change * own).sum(axis=1)
                back = np.einsum("vij,vj->vi", gram, w * f)
                rss = total - 2.0 * (w * f**2).sum(axis=1) + (w * f * back).sum(axis=1)
                rss_slope = -2.0 * (change * f**2).sum(axis=1) + 2.0 * (change * f * back).sum(axis=1)
            rss = np.maximum(rss, _TINY)
            value = np.log(rss) - 2.0 * np.log(n - edf)
            return value, rss_slope / rss + 2.0 * edf_slope / (n - edf)

        def reml(exponent: Table) -> tuple[Table, Table]:
            w = 1.0 / (1.0 + 10.0 ** exponent[:, None] * values)
            deviance = np.maximum(total - (w * f**2).sum(axis=1), _TINY)
            value = free * np.log(deviance) - np.log(w).sum(axis=1) - rank * exponent * _LN10
            slope = free * (w * (1.0 - w) * f**2).sum(axis=1) / deviance + (1.0 - w).sum(axis=1) - rank
            return value, slope * _LN10

        grid = _GRID if gram is None else _SHORT_GRID
        return minimise_each(gcv if self.penalty == "gcv" else reml, grid, len(score))

    def _total(self, lambdas: Table) -> Table:
        total: Table = np.einsum("vj,jab->vab", lambdas, np.array(self.penalties))
        return total

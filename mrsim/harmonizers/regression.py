"""Regression of every feature on site and covariates at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Covariates whose part not explained by the site is below this fraction of their spread are taken as
# determined by it: float64 rounding is 1e-16, real confounding leaves percents.
_COLLINEAR = 1e-10


class DesignError(ValueError):
    """Site and covariates cannot be told apart, or there are too few samples to fit them."""


class MeanFit(NamedTuple):
    """The model y = a_site + d b + residual, fitted to some features.

    Attributes
    ----------
    intercepts
        a, shape (n_sites, p).
    coefficients
        b, shape (k, p).
    residual
        Shape (n, p); its mean is 0 inside every site.
    scale
        Residual standard deviation, shape (p,), of models that estimate one; None: root mean square.
    log_spread
        Coefficients of the design d on the logarithm of the residual spread, shape (k, p); None: constant.
    """

    intercepts: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    residual: NDArray[np.float64]
    scale: NDArray[np.float64] | None = None
    log_spread: NDArray[np.float64] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteRegression:
    """The model y = a_site + c b + residual, prepared once for many features.

    Attributes
    ----------
    index
        Site number of each sample, shape (n,).
    indicator
        Sample membership, shape (n, n_sites), 0 or 1.
    covariates
        Columns c, shape (n, k).
    within
        Orthonormal basis of the covariates' part inside sites, shape (n, k).
    upper
        Maps coefficients on `covariates` to coefficients on `within`: upper triangular, shape (k, k).
    """

    index: NDArray[np.intp]
    indicator: NDArray[np.float64]
    covariates: NDArray[np.float64]
    within: NDArray[np.float64]
    upper: NDArray[np.float64]

    @classmethod
    def prepare(
        cls, index: NDArray[np.intp], covariates: NDArray[np.float64], columns: Sequence[str], n_sites: int
    ) -> SiteRegression:
        """Centre the covariates inside sites and check that every coefficient is determined.

        Raises
        ------
        DesignError
            If a covariate is constant inside every site, covariates depend on each other, or there are no
            more samples than coefficients.
        """
        n, k = covariates.shape
        if n <= n_sites + k:
            raise DesignError(
                f"X must have more samples than sites and covariate columns together ({n_sites} + {k}); "
                f"got {n}. "
                "Add samples or drop covariates."
            )
        indicator = np.zeros((n, n_sites))
        indicator[np.arange(n), index] = 1.0
        means = indicator.T @ covariates / indicator.sum(axis=0)[:, None]
        inside = covariates - means[index]
        spread = np.linalg.norm(covariates - covariates.mean(axis=0), axis=0)
        norms = np.linalg.norm(inside, axis=0)
        level = np.abs(covariates).max(axis=0, initial=0.0)
        lost = (norms <= _COLLINEAR * spread) | (norms <= _COLLINEAR * level)
        if lost.any():
            names = ", ".join(repr(name) for name, gone in zip(columns, lost, strict=True) if gone)
            raise DesignError(
                f"covariates must vary inside at least one site; got {names}, constant inside every site "
                "and so "
                "collinear with site. Drop that covariate, or add samples that break the tie."
            )
        _require_independent(inside / norms, columns)
        within, upper = np.linalg.qr(inside)
        return cls(index=index, indicator=indicator, covariates=covariates, within=within, upper=upper)

    def fit(self, Y: NDArray[np.float64], features: slice = slice(None)) -> MeanFit:
        """Fit features, shape (n, p), by least squares; which ones they are does not matter here."""
        counts = self.indicator.sum(axis=0)[:, None]
        site_means = self.indicator.T @ Y / counts
        residual = Y - site_means[self.index]
        if self.covariates.shape[1] == 0:
            return MeanFit(site_means, np.empty((0, Y.shape[1])), residual)
        projected = self.within.T @ residual
        coefficients = np.linalg.solve(self.upper, projected)
        residual -= self.within @ projected
        intercepts = site_means - (self.indicator.T @ self.covariates / counts) @ coefficients
        return MeanFit(intercepts, coefficients, residual)


def _require_independent(unit: NDArray[np.float64], columns: Sequence[str]) -> None:
    k = unit.shape[1]
    if k < 2:
        return
    if np.linalg.svd(unit, compute_uv=False)[-1] > _COLLINEAR:
        return
    rank = np.linalg.matrix_rank(unit, tol=_COLLINEAR)
    left = [np.linalg.matrix_rank(np.delete(unit, i, axis=1), tol=_COLLINEAR) for i in range(k)]
    spare = [name for name, other in zip(columns, left, strict=True) if other == rank]
    raise DesignError(
        f"covariates must be linearly independent given site; got {', '.join(repr(c) for c in spare)}, "
        "which determine each other. Drop one of them."
    )


def feature_blocks(n_samples: int, n_features: int) -> list[slice]:
    """Cut the features so that one (n_samples, block) float64 temporary stays near 2 MiB, a core's cache."""
    size = max(1, 2**18 // max(n_samples, 1))
    return [slice(a, min(a + size, n_features)) for a in range(0, n_features, size)]


def name_features(selected: NDArray[np.bool_], limit: int = 8, names: NDArray[np.str_] | None = None) -> str:
    """Return selected features for a message, by column number or by name, at most `limit` of them."""
    numbers = np.flatnonzero(selected)
    more = f" and {numbers.size - limit} more" if numbers.size > limit else ""
    return ", ".join(str(i) if names is None else f"'{names[i]}'" for i in numbers[:limit]) + more

"""Samples grouped by site, and what is computed per site: moments, adjustment, a check for variation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from .regression import MeanFit

Table = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteGroups:
    """Samples by site: sorted `labels`, the site number `index` of each sample, samples per site `counts`."""

    labels: NDArray[np.str_]
    index: NDArray[np.intp]
    counts: NDArray[np.intp]

    @classmethod
    def of(cls, sites: NDArray[np.str_]) -> Self:
        """Group samples by their labels."""
        labels, index, counts = np.unique(sites, return_inverse=True, return_counts=True)
        return cls(labels=labels, index=index, counts=counts)

    @property
    def indicator(self) -> Table:
        """Membership, shape (n_samples, n_sites), 0 or 1."""
        return np.asarray(self.index[:, None] == np.arange(self.labels.size), dtype=np.float64)

    def sums(self, Y: Table) -> Table:
        """Return the sum of the rows of each site, shape (n_sites, p)."""
        summed: Table = self.indicator.T @ Y
        return summed


def site_moments(
    fit: MeanFit, squares: Table, mean: Table, spread: Table, groups: SiteGroups
) -> tuple[Table, Table]:
    """Return each site's mean of the standardised data, and its sum of squares around that mean.

    Parameters
    ----------
    fit
        The fitted mean model.
    squares
        Sum of squares of its residuals at each site, shape (n_sites, p).
    mean
        Intercept that all sites get, shape (p,).
    spread
        Standard deviation that all sites get, shape (p,), or (n_samples, p) where covariates change it.
    """
    offset = fit.intercepts - mean
    if spread.ndim == 1:
        return offset / spread, squares / spread**2
    standard = (offset[groups.index] + fit.residual) / spread
    gamma = groups.sums(standard) / groups.counts[:, None]
    return gamma, groups.sums((standard - gamma[groups.index]) ** 2)


def adjust(X: Table, mean: Table, shift: Table, ratio: Table) -> Table:
    """Return (X - mean - shift) / ratio + mean: location and scale brought to those of all sites."""
    adjusted = X - mean
    adjusted -= shift
    adjusted /= ratio
    adjusted += mean
    return adjusted


def varies_inside_sites(Y: Table, groups: SiteGroups) -> NDArray[np.bool_]:
    """Return which features take at least two values inside every site that has two samples."""
    order = np.argsort(groups.index, kind="stable")
    first = np.cumsum(groups.counts) - groups.counts
    several = groups.counts > 1
    pairs = Y[order[first[several]]] != Y[order[first[several] + 1]]
    varying: NDArray[np.bool_] = pairs.all(axis=0)
    for v in np.flatnonzero(~varying):
        low = np.minimum.reduceat(Y[order, v], first)
        high = np.maximum.reduceat(Y[order, v], first)
        varying[v] = bool((low < high)[several].all())
    return varying

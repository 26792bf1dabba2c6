"""MMD shift: move each site's distribution onto a target's by the smallest kernel distance."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..base import Capabilities
from ..regression import SiteRegression, feature_blocks, name_features
from ..site_groups import SiteGroups
from .feature_harmonizer import FeatureHarmonizer

Table = NDArray[np.float64]

# More samples than this are thinned to equally spaced quantiles, which keeps the kernel matrix small.
_MOST = 400


class MMDShift(FeatureHarmonizer):
    r"""Shift and stretch each site's residuals so that their distribution comes closest to the target's.

    .. math::
        (a, b) = \arg\min \; \mathrm{MMD}_k^2(a + b\,r_{site}, \; r_{target}), \qquad
        k(x, y) = \exp(-(x - y)^2 / 2 h^2)

    r are residuals of the covariates' regression inside sites, with the site's intercept left in, so a
    difference in age or sex between sites is not removed. h is the median distance between target samples.
    Unlike moments, the distance is bounded, so single outliers do not pull the map.

    Parameters
    ----------
    reference_site
        Target, returned unchanged; None: all sites together.
    scale
        Also stretch; otherwise only shift.

    References
    ----------
    Gretton A et al. A kernel two-sample test. J Mach Learn Res 13 (2012) 723-773. Maximum mean discrepancy
    for pooling sites: Zhou HH et al. Statistical tests and identifiability conditions for pooling and
    analyzing multisite datasets. PNAS 115 (2018) 1481-1486, doi 10.1073/pnas.1719747115. That method matches
    covariates by subsampling; here they are regressed out.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        needs_site_labels=True, keeps_covariates=True, one_site_identity=True
    )

    def __init__(self, reference_site: str | None = None, scale: bool = True) -> None:
        self.reference_site = reference_site
        self.scale = scale

    def _learn(self, X: Table, sites: NDArray[np.str_], covariates: Table, columns: list[str]) -> None:
        groups = SiteGroups.of(sites)
        n_sites, p = groups.labels.size, X.shape[1]
        self.shift_, self.factor_ = np.zeros((n_sites, p)), np.ones((n_sites, p))
        self.coefficients_ = np.zeros((covariates.shape[1], p))
        if self.reference_site is not None and str(self.reference_site) not in groups.labels:
            raise ValueError(
                f"reference_site must be one of the sites ({', '.join(groups.labels)}); got "
                f"'{self.reference_site}'. Correct the name, or set reference_site=None."
            )
        if n_sites == 1:
            return
        few = groups.labels[groups.counts < 3]
        if few.size:
            raise ValueError(
                f"site must have at least 3 samples each to have a distribution; got fewer for "
                f"{', '.join(few)}. Leave those samples out."
            )
        model = SiteRegression.prepare(groups.index, covariates, columns, n_sites)
        for block in feature_blocks(*X.shape):
            fit = model.fit(X[:, block])
            self.coefficients_[:, block] = fit.coefficients
            residual = fit.residual + fit.intercepts[groups.index]
            for v in range(residual.shape[1]):
                self._match(residual[:, v], block.start + v, groups)

    def _match(self, residual: Table, feature: int, groups: SiteGroups) -> None:
        for i, label in enumerate(groups.labels):
            if label == str(self.reference_site):
                continue
            target = residual
            if self.reference_site is not None:
                target = residual[groups.labels[groups.index] == str(self.reference_site)]
            own = residual[groups.index == i]
            if not min(np.ptp(own), np.ptp(target)) > 1e-12 * np.abs(residual).max():
                raise ValueError(
                    f"X must vary inside every site; got no variance at site '{label}' in column "
                    f"{name_features(np.arange(feature + 1) == feature)}. Drop that column."
                )
            shift, factor = _closest(own, target, self.scale)
            self.shift_[i, feature], self.factor_[i, feature] = shift, factor

    def _apply(self, X: Table, sites: NDArray[np.str_], covariates: Table) -> Table:
        index = np.searchsorted(self.sites_, sites)
        mean = covariates @ self.coefficients_
        adjusted: Table = (X - mean) * self.factor_[index] + self.shift_[index] + mean
        kept = sites == str(self.reference_site) if self.reference_site is not None else None
        if self.sites_.size == 1:
            return X.copy()
        if kept is not None:
            adjusted[kept] = X[kept]
        return adjusted


def _closest(own: Table, target: Table, stretch: bool) -> tuple[float, float]:
    """Return (shift, factor) with the least squared MMD, started from equal means and deviations."""
    from scipy.optimize import minimize

    x, y = _thinned(own), _thinned(target)
    centre, width = x.mean(), x.std()
    unit = np.median(np.abs(y[:, None] - y)[np.triu_indices(y.size, 1)]) or y.std()
    standard, goal = (x - centre) / width, (y - y.mean()) / unit
    within = standard[:, None] - standard

    def distance(parameters: Table) -> tuple[float, Table]:
        a, b = parameters[0], np.exp(parameters[1])
        own_kernel = np.exp(-((b * within) ** 2) / 2.0)
        cross = a + b * standard[:, None] - goal
        cross_kernel = np.exp(-(cross**2) / 2.0)
        value = own_kernel.mean() - 2.0 * cross_kernel.mean()
        slope_a = 2.0 * (cross_kernel * cross).mean()
        slope_b = (
            -(own_kernel * within**2).mean() * b + 2.0 * (cross_kernel * cross * standard[:, None]).mean()
        )
        return float(value), np.array([slope_a, b * slope_b])

    start = np.array([0.0, np.log(y.std() / unit)])
    bounds = [(None, None), (None, None) if stretch else (np.log(width / unit),) * 2]
    if not stretch:
        start[1] = np.log(width / unit)
    found = minimize(
        distance, start, jac=True, bounds=bounds, method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-10}
    )
    a, b = found.x[0] * unit, np.exp(found.x[1]) * unit / width
    return float(y.mean() + a - b * centre), float(b)


def _thinned(x: Table) -> Table:
    """Return the sorted samples, or quantiles of them where there are many."""
    if x.size <= _MOST:
        return np.sort(x)
    quantiles: Table = np.quantile(x, (np.arange(_MOST) + 0.5) / _MOST)
    return quantiles

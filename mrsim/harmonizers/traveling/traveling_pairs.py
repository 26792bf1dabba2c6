"""Corrections from the same subject at two sites: additive factors, and a regression line per feature."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..base import Capabilities
from ..features.feature_harmonizer import FeatureHarmonizer, split_columns
from ..site_groups import SiteGroups
from .travelers import TravelerError, Travels

Table = NDArray[np.float64]

_NEEDS_TRAVELERS = Capabilities(needs_site_labels=True, needs_traveling_subjects=True, one_site_identity=True)
_SUBJECT: Mapping[str, str] = MappingProxyType({"subject": "subject"})


class TravelingCorrection(FeatureHarmonizer):
    r"""Add each site's mean paired difference of traveling subjects: additive correction factors.

    .. math:: y^* = y + \frac{1}{|T_i|} \sum_{t \in T_i} (\bar y_{t,target} - \bar y_{t,i})

    T_i are the travelers scanned at site i and at the reference site. Without a reference the target is a
    subject's mean over all sites, and only subjects who visited all of them count.

    Parameters
    ----------
    subject
        Column of `covariates` with the subject's label.
    reference_site
        Site that stays unchanged; None: the mean of all.

    References
    ----------
    Treit S et al. Front Neurol 13 (2022) 826564, doi 10.3389/fneur.2022.826564.
    """

    capabilities: ClassVar[Capabilities] = _NEEDS_TRAVELERS
    column_roles: ClassVar[Mapping[str, str]] = _SUBJECT

    def __init__(self, subject: str = "subject", reference_site: str | None = None) -> None:
        self.subject = subject
        self.reference_site = reference_site

    def _learn(self, X: Table, sites: NDArray[np.str_], covariates: Table, columns: list[str]) -> None:
        groups = SiteGroups.of(sites)
        self.correction_ = np.zeros((groups.labels.size, X.shape[1]))
        if groups.labels.size == 1:
            return
        subject = split_columns(covariates, columns, [self.subject])[0]
        travels = Travels.of(groups, subject[:, 0].astype(np.intp))
        reference = travels.reference(self.reference_site)
        for i in range(groups.labels.size):
            if i != reference:
                own, target = travels.pairs(X, i, reference)
                self.correction_[i] = (target - own).mean(axis=0)

    def _apply(self, X: Table, sites: NDArray[np.str_], covariates: Table) -> Table:
        adjusted: Table = X + self.correction_[np.searchsorted(self.sites_, sites)]
        return adjusted


class TravelingRegression(FeatureHarmonizer):
    r"""Map each site to the target by a line through the travelers' scans, feature by feature (or voxel).

    .. math:: y^* = a_{iv} + b_{iv}\, y

    The slope is that of least squares, which noise in the site's own scans flattens, or that of the
    orthogonal line (equal noise at site and target), which it does not.

    Parameters
    ----------
    subject
        Column of `covariates` with the subject's label.
    reference_site
        Site that stays unchanged; None: a subject's mean over all sites.
    slope
        "least_squares" or "orthogonal".
    """

    capabilities: ClassVar[Capabilities] = _NEEDS_TRAVELERS
    column_roles: ClassVar[Mapping[str, str]] = _SUBJECT

    def __init__(
        self,
        subject: str = "subject",
        reference_site: str | None = None,
        slope: str = "least_squares",
    ) -> None:
        self.subject = subject
        self.reference_site = reference_site
        self.slope = slope

    def _learn(self, X: Table, sites: NDArray[np.str_], covariates: Table, columns: list[str]) -> None:
        if self.slope not in ("least_squares", "orthogonal"):
            raise ValueError(
                f"slope must be 'least_squares' or 'orthogonal'; got '{self.slope}'. Choose one."
            )
        groups = SiteGroups.of(sites)
        shape = (groups.labels.size, X.shape[1])
        self.intercept_, self.slope_ = np.zeros(shape), np.ones(shape)
        if groups.labels.size == 1:
            return
        subject = split_columns(covariates, columns, [self.subject])[0]
        travels = Travels.of(groups, subject[:, 0].astype(np.intp))
        reference = travels.reference(self.reference_site)
        for i, label in enumerate(groups.labels):
            if i != reference:
                self._line(*travels.pairs(X, i, reference), i, str(label))

    def _line(self, own: Table, target: Table, site: int, label: str) -> None:
        if len(own) < 3:
            raise TravelerError(
                f"site '{label}' must have at least 3 travelers to fit a line; got {len(own)}. "
                "Add travelers, or use additive correction factors."
            )
        x, y = own - own.mean(axis=0), target - target.mean(axis=0)
        xx, yy, xy = (x**2).sum(axis=0), (y**2).sum(axis=0), (x * y).sum(axis=0)
        flat = (xx <= 1e-24 * len(own) * np.abs(own).max(axis=0) ** 2) | (xy == 0.0)
        if flat.any():
            raise ValueError(
                f"X must vary between the travelers at site '{label}'; got no variance in column "
                f"{int(flat.argmax())}. Drop that column."
            )
        if self.slope == "least_squares":
            self.slope_[site] = xy / xx
        else:
            self.slope_[site] = (yy - xx + np.sqrt((yy - xx) ** 2 + 4.0 * xy**2)) / (2.0 * xy)
        self.intercept_[site] = target.mean(axis=0) - self.slope_[site] * own.mean(axis=0)

    def _apply(self, X: Table, sites: NDArray[np.str_], covariates: Table) -> Table:
        index = np.searchsorted(self.sites_, sites)
        adjusted: Table = self.intercept_[index] + self.slope_[index] * X
        return adjusted

"""Longitudinal ComBat: repeated scans of a subject share an intercept that is not the scanner's."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..base import Capabilities
from ..site_groups import SiteGroups
from .feature_harmonizer import split_columns
from .location_scale import LocationScaleHarmonizer, MeanModel
from .mixed_model import RandomIntercept

Table = NDArray[np.float64]


class LongitudinalComBat(LocationScaleHarmonizer):
    r"""ComBat with a random intercept per subject, for repeated scans across scanners.

    .. math::
        y_{ijv} = \alpha_v + c_{ij} \beta_v + \eta_{jv}
        + \sigma_v (\gamma_{iv} + \sqrt{\delta_{iv}}\,\varepsilon_{ijv}),
        \qquad \eta_{jv} \sim N(0, \rho_v^2)

    The mixed model is fitted by restricted maximum likelihood, sigma is its residual standard deviation, and
    alpha is such that the sample-weighted site effects sum to 0. A subject that fit has not seen has eta = 0.
    Shrinkage is iterated to its fixed point, as in the reference, where ComBat stops with sva.

    Parameters
    ----------
    subject
        Column of `covariates` with the subject's label.
    parametric, mean_only, empirical_bayes, constant_features, unseen_site
        See :class:`ComBat`.

    References
    ----------
    Beer JC et al. Longitudinal ComBat: a method for harmonizing longitudinal multi-scanner imaging data.
    NeuroImage 220 (2020) 117129, doi 10.1016/j.neuroimage.2020.117129.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        needs_site_labels=True, handles_unseen_site=True, keeps_covariates=True, one_site_identity=True
    )
    column_roles: ClassVar[Mapping[str, str]] = MappingProxyType({"subject": "subject"})
    _converged: ClassVar[bool] = True

    def __init__(
        self,
        subject: str = "subject",
        parametric: bool = True,
        mean_only: bool = False,
        empirical_bayes: bool = True,
        constant_features: str = "raise",
        unseen_site: str = "estimate",
    ) -> None:
        super().__init__(
            parametric=parametric,
            mean_only=mean_only,
            empirical_bayes=empirical_bayes,
            constant_features=constant_features,
            unseen_site=unseen_site,
        )
        self.subject = subject

    def _mean_model(self, groups: SiteGroups, covariates: Table, columns: list[str]) -> MeanModel:
        subject, rest, names = split_columns(covariates, columns, [self.subject])
        self.n_subjects_ = int(subject.max()) + 1
        self.subject_column_ = columns.index(self.subject)
        return RandomIntercept.prepare(groups, rest, names, subject[:, 0].astype(np.intp))

    def _design(self, covariates: Table) -> Table:
        subject = covariates[:, self.subject_column_]
        known = np.asarray(subject[:, None] == np.arange(self.n_subjects_), dtype=np.float64)
        return np.hstack([np.delete(covariates, self.subject_column_, axis=1), known])

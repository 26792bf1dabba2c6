"""TS-ComBat: ComBat whose site effects come from traveling subjects only."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..base import Capabilities
from ..features.location_scale import LocationScaleHarmonizer, MeanModel
from ..regression import SiteRegression
from ..site_groups import SiteGroups
from .travelers import Travels

Table = NDArray[np.float64]


class TravelingComBat(LocationScaleHarmonizer):
    r"""ComBat with the traveling subjects as covariates; the cohort is adjusted but teaches nothing.

    .. math:: y_{ijv} = \alpha_v + p_{jv} + \sigma_v(\gamma_{iv} + \sqrt{\delta_{iv}}\,\varepsilon_{ijv})

    Site effects are those within subjects, so differences between the sites' populations stay. Everybody who
    is not a traveler of fit is adjusted around the average traveler alpha.

    Parameters
    ----------
    subject
        Column of `covariates` with the subject's label.
    parametric, mean_only, empirical_bayes, reference_site
        See :class:`ComBat`.

    References
    ----------
    Maikusa N et al. Comparison of traveling-subject and ComBat harmonization methods for assessing structural
    brain characteristics. Hum Brain Mapp 42 (2021) 5278-5287, doi 10.1002/hbm.25615
    (unverified).
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        needs_site_labels=True, needs_traveling_subjects=True, one_site_identity=True
    )
    column_roles: ClassVar[Mapping[str, str]] = MappingProxyType({"subject": "subject"})
    reads_blocks: ClassVar[bool] = False

    def __init__(
        self,
        subject: str = "subject",
        parametric: bool = True,
        mean_only: bool = False,
        empirical_bayes: bool = True,
        reference_site: str | None = None,
    ) -> None:
        super().__init__(
            parametric=parametric,
            mean_only=mean_only,
            empirical_bayes=empirical_bayes,
            reference_site=reference_site,
            unseen_site="raise",
        )
        self.subject = subject

    def _learn(self, X: Table, sites: NDArray[np.str_], covariates: Table, columns: list[str]) -> None:
        self.subject_column_ = columns.index(self.subject)
        groups, subject = SiteGroups.of(sites), covariates[:, self.subject_column_].astype(np.intp)
        alone = groups.labels.size == 1
        rows = np.full(len(X), alone) if alone else Travels.of(groups, subject).traveling
        # With one site there is nothing to travel to: no subject effects.
        self.travelers_, counts = np.unique(subject[rows & (not alone)], return_counts=True)
        self.shares_ = counts / max(counts.sum(), 1)
        super()._learn(X[rows], sites[rows], covariates[rows], columns)

    def _mean_model(self, groups: SiteGroups, covariates: Table, columns: list[str]) -> MeanModel:
        names = [f"subject {number}" for number in self.travelers_[1:]]
        return SiteRegression.prepare(groups.index, self._design(covariates), names, groups.labels.size)

    def _design(self, covariates: Table) -> Table:
        """Return subject indicators, centred so that a row of zeros is the average traveler."""
        member = covariates[:, self.subject_column_, None] == self.travelers_
        centred = np.where(member.any(axis=1)[:, None], member - self.shares_, 0.0)
        return centred[:, 1:]

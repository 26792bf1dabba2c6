"""M-ComBat: ComBat towards the mean and spread of one site."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..base import Capabilities
from ..regression import SiteRegression
from ..site_groups import SiteGroups
from .location_scale import LocationScaleHarmonizer, MeanModel

Table = NDArray[np.float64]


class MComBat(LocationScaleHarmonizer):
    r"""ComBat towards a reference site, always: alpha and sigma are that site's, and it stays unchanged.

    .. math:: y^* = \sigma_{rv} \frac{z - \gamma^*_{iv}}{\sqrt{\delta^*_{iv}}} + \alpha_{rv} + c_{ij}\beta_v

    The same estimates as ``ComBat(reference_site=r)``. Without a name the site with the most samples is
    taken (of equals the first in the alphabet), so that the method is defined without one.

    Parameters
    ----------
    reference_site
        The site that the others are moved to; None: the largest.
    parametric, mean_only, empirical_bayes, constant_features, unseen_site
        See :class:`ComBat`.

    References
    ----------
    Stein CK et al. Removing batch effects from purified plasma cell gene expression microarrays with modified
    ComBat. BMC Bioinformatics 16 (2015) 63, doi 10.1186/s12859-015-0478-3.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        needs_site_labels=True, handles_unseen_site=True, keeps_covariates=True, one_site_identity=True
    )

    def _mean_model(self, groups: SiteGroups, covariates: Table, columns: list[str]) -> MeanModel:
        return SiteRegression.prepare(groups.index, covariates, columns, groups.labels.size)

    def _reference(self, groups: SiteGroups) -> int | None:
        named = super()._reference(groups)
        chosen = int(groups.counts.argmax()) if named is None else named
        self.chosen_site_ = str(groups.labels[chosen])
        return chosen

    def _unchanged_site(self) -> str | None:
        return self.chosen_site_

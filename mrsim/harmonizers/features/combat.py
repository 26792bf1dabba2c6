"""ComBat: location and scale adjustment of features with empirical Bayes."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..base import Capabilities
from ..regression import SiteRegression
from ..site_groups import SiteGroups
from .location_scale import LocationScaleHarmonizer, MeanModel

Table = NDArray[np.float64]


class ComBat(LocationScaleHarmonizer):
    r"""Remove each site's shift and spread per feature, shrunk towards what the site does to all features.

    Model and adjustment, for sample j at site i and feature v:

    .. math::

        y_{ijv} = \alpha_v + c_{ij} \beta_v + \sigma_v (\gamma_{iv} + \sqrt{\delta_{iv}}\, \varepsilon_{ijv}),
        \qquad
        y^*_{ijv} = \frac{y_{ijv} - \alpha_v - c_{ij}\beta_v - \sigma_v \gamma^*_{iv}}{\sqrt{\delta^*_{iv}}}
        + \alpha_v + c_{ij}\beta_v .

    alpha is the sample-weighted mean of the site intercepts, sigma^2 the mean squared residual. The estimates
    equal sva::ComBat (3.46), including its stopping rule. Held-out samples of known sites are adjusted with
    the stored estimates; nothing is learned from them. A new site is standardised with the stored mean model
    and gets shift and scale from its own samples in the table that is transformed, as in ComBatFamily's
    ``predict``; the fitted state does not change. Fitted on one site, it is the identity for that site.

    Parameters
    ----------
    parametric
        Normal and inverse-gamma priors; otherwise the other features serve as the prior (cost grows with the
        square of the number of features).
    mean_only
        Adjust shifts only; the one form that admits a site with a single sample.
    empirical_bayes
        Shrink; otherwise use the per-feature estimates as they are.
    reference_site
        Site that stays unchanged and to which the others are moved; None: the pooled mean.
    constant_features
        What to do with a feature that does not vary inside some site (mean_only: nowhere): "raise", or "keep"
        to hand it through unchanged and leave it out of the priors.
    unseen_site
        What transform does with a site that fit has not seen: "estimate" as above (samples of one such site
        then depend on each other), or "raise".

    References
    ----------
    Johnson WE, Li C, Rabinovic A. Biostatistics 8 (2007) 118-127, doi 10.1093/biostatistics/kxj037.
    Fortin JP et al. Harmonization of multi-site diffusion tensor imaging data. NeuroImage 161 (2017) 149-170,
    doi 10.1016/j.neuroimage.2017.08.047. Fortin JP et al. NeuroImage 167 (2018) 104-120,
    doi 10.1016/j.neuroimage.2017.11.024. Unseen sites: github.com/andy1764/ComBatFamily.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        needs_site_labels=True, handles_unseen_site=True, keeps_covariates=True, one_site_identity=True
    )

    def _mean_model(self, groups: SiteGroups, covariates: Table, columns: list[str]) -> MeanModel:
        return SiteRegression.prepare(groups.index, covariates, columns, groups.labels.size)

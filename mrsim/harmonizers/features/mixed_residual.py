"""Site regression with a random intercept per subject."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..base import Capabilities
from ..regression import feature_blocks
from ..site_groups import SiteGroups
from .feature_harmonizer import FeatureHarmonizer, split_columns
from .mixed_model import RandomIntercept

Table = NDArray[np.float64]


class MixedResidual(FeatureHarmonizer):
    r"""Subtract the site's fixed effect of a linear mixed model with one random intercept per subject.

    .. math::
        y = a_i + c b + u_{subject} + \varepsilon, \qquad y^* = y - a_i + \sum_k \tfrac{n_k}{n} a_k

    By restricted maximum likelihood (lme4's ``y ~ site + c + (1|subject)``): repeated scans of a subject are
    not taken for independent, and the subjects of an unbalanced design are not taken for site effects.

    Parameters
    ----------
    subject
        Column of `covariates` with the subject's label.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        needs_site_labels=True, keeps_covariates=True, one_site_identity=True
    )
    column_roles: ClassVar[Mapping[str, str]] = MappingProxyType({"subject": "subject"})

    def __init__(self, subject: str = "subject") -> None:
        self.subject = subject

    def _learn(self, X: Table, sites: NDArray[np.str_], covariates: Table, columns: list[str]) -> None:
        groups = SiteGroups.of(sites)
        self.shift_ = np.zeros((groups.labels.size, X.shape[1]))
        if groups.labels.size == 1:
            return
        subject, rest, names = split_columns(covariates, columns, [self.subject])
        model = RandomIntercept.prepare(groups, rest, names, subject[:, 0].astype(np.intp))
        for block in feature_blocks(*X.shape):
            intercepts = model.fit(X[:, block]).intercepts
            self.shift_[:, block] = intercepts - groups.counts / len(X) @ intercepts

    def _apply(self, X: Table, sites: NDArray[np.str_], covariates: Table) -> Table:
        adjusted: Table = X - self.shift_[np.searchsorted(self.sites_, sites)]
        return adjusted

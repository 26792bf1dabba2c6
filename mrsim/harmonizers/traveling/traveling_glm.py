"""TS-GLM: measurement bias of the scanners apart from sampling bias of the sites."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..base import Capabilities
from ..features.feature_harmonizer import FeatureHarmonizer, split_columns
from ..features.mixed_model import RandomIntercept
from ..regression import DesignError, SiteRegression, feature_blocks
from ..site_groups import SiteGroups
from .travelers import Travels

Table = NDArray[np.float64]


class TravelingSubjectGLM(FeatureHarmonizer):
    r"""Subtract measurement bias, estimated from traveling subjects; keep the sampling bias of the sites.

    .. math::
        y = \mu + c\,b + m_{site} + \begin{cases} p_{subject} & \text{traveling subject} \\
        d + s_{site} & \text{cohort} \end{cases} + \varepsilon, \qquad
        \sum m = \sum s = \sum p = 0, \qquad y^* = y - m_{site}

    m is the measurement bias, s the sampling bias. Subjects scanned at two sites or more travel, all others
    are the cohort. Travelers need not visit all sites, only connect them (hub and spoke). d, the difference
    between cohort and travelers, is our addition: without it such a difference leaks into m.

    Parameters
    ----------
    subject
        Column of `covariates` with the subject's label.
    participants
        "fixed": p as above; "random": p and every cohort subject normal (TS-GLMM), by restricted maximum
        likelihood, which uses incomplete travels more efficiently and learns ``subject_variance_`` and
        ``residual_variance_``.
    ridge
        Penalty on the sums of m^2, s^2 and p^2, in units of one sample; 0: least squares. For "fixed".

    References
    ----------
    Yamashita A et al. Harmonization of resting-state functional MRI data across multiple imaging sites via
    the separation of site differences into sampling bias and measurement bias. PLoS Biol 17 (2019)
    e3000042, doi 10.1371/journal.pbio.3000042.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        needs_site_labels=True, needs_traveling_subjects=True, keeps_covariates=True, one_site_identity=True
    )
    column_roles: ClassVar[Mapping[str, str]] = MappingProxyType({"subject": "subject"})

    def __init__(self, subject: str = "subject", participants: str = "fixed", ridge: float = 0.0) -> None:
        self.subject = subject
        self.participants = participants
        self.ridge = ridge

    def _learn(self, X: Table, sites: NDArray[np.str_], covariates: Table, columns: list[str]) -> None:
        if self.participants not in ("fixed", "random"):
            raise ValueError(
                f"participants must be 'fixed' or 'random'; got '{self.participants}'. Choose one."
            )
        if not (np.isfinite(self.ridge) and self.ridge >= 0.0):
            raise ValueError(f"ridge must be finite and at least 0; got {self.ridge}. 0 is least squares.")
        groups = SiteGroups.of(sites)
        shape = (groups.labels.size, X.shape[1])
        self.measurement_bias_, self.sampling_bias_ = np.zeros(shape), np.full(shape, np.nan)
        if groups.labels.size == 1:
            return
        subject, rest, names = split_columns(covariates, columns, [self.subject])
        # A penalty on site effects must not hand those of a collinear covariate to it.
        SiteRegression.prepare(groups.index, rest, names, groups.labels.size)
        travels = Travels.of(groups, subject[:, 0].astype(np.intp))
        if self.participants == "fixed":
            self._fixed(X, travels, rest)
        else:
            self._random(X, travels, rest, names)

    def _fixed(self, X: Table, travels: Travels, covariates: Table) -> None:
        groups, cohort = travels.groups, ~travels.traveling
        at_site = groups.indicator
        sampled = np.flatnonzero(at_site[cohort].any(axis=0))
        traveler = np.asarray(travels.subject[:, None] == travels.travelers, dtype=np.float64)
        free = [np.ones((len(X), 1)), covariates - covariates.mean(axis=0)]
        free += [cohort[:, None].astype(np.float64)] if cohort.any() else []
        bases = [_sum_to_zero(k) for k in (groups.labels.size, sampled.size, travels.travelers.size)]
        biases = [at_site, at_site[:, sampled] * cohort[:, None], traveler]
        coded = [Z @ K for Z, K in zip(biases, bases, strict=True)]
        fixed = np.hstack(free)
        design = np.hstack([fixed, *coded])
        penalty = np.sqrt(self.ridge) * np.eye(design.shape[1])[fixed.shape[1] :]
        self._require_rank(np.vstack([design, penalty]))
        inverse = np.linalg.pinv(np.vstack([design, penalty]))[:, : len(X)]
        ends = fixed.shape[1] + np.cumsum([Z.shape[1] for Z in coded])
        self.measurement_bias_ = bases[0] @ (inverse[fixed.shape[1] : ends[0]] @ X)
        self.sampling_bias_[sampled] = bases[1] @ (inverse[ends[0] : ends[1]] @ X)

    def _random(self, X: Table, travels: Travels, covariates: Table, names: list[str]) -> None:
        groups, cohort = travels.groups, ~travels.traveling
        sampled = np.flatnonzero(groups.indicator[cohort].any(axis=0))
        own = groups.indicator[:, sampled] * cohort[:, None]
        labels = [f"cohort of {groups.labels[i]}" for i in sampled]
        model = RandomIntercept.prepare(groups, np.hstack([covariates, own]), names + labels, travels.subject)
        k = covariates.shape[1]
        self.subject_variance_, self.residual_variance_ = np.empty(X.shape[1]), np.empty(X.shape[1])
        for block in feature_blocks(*X.shape):
            fit = model.fit(X[:, block])
            self.subject_variance_[block], self.residual_variance_[block] = model.variances(X[:, block])
            self.measurement_bias_[:, block] = fit.intercepts - fit.intercepts.mean(axis=0)
            sampling = fit.coefficients[k : k + sampled.size]
            if sampled.size:
                self.sampling_bias_[sampled, block] = sampling - sampling.mean(axis=0)

    def _require_rank(self, design: Table) -> None:
        rank = int(np.linalg.matrix_rank(design / np.linalg.norm(design, axis=0), tol=1e-10))
        if len(design) < design.shape[1] or rank < design.shape[1]:
            raise DesignError(
                f"covariates, sites and subjects must be told apart by the samples; got {design.shape[1]} "
                f"unknowns and a design of rank {rank}. Drop a covariate that is collinear with site or "
                "subject, or add scans."
            )

    def _apply(self, X: Table, sites: NDArray[np.str_], covariates: Table) -> Table:
        adjusted: Table = X - self.measurement_bias_[np.searchsorted(self.sites_, sites)]
        return adjusted


def _sum_to_zero(k: int) -> Table:
    """Return an orthonormal basis of the vectors of length k that sum to 0, shape (k, k - 1)."""
    if k < 2:
        return np.zeros((k, 0))
    full = np.linalg.qr(np.column_stack([np.ones(k), np.eye(k)[:, : k - 1]]))[0]
    return full[:, 1:]

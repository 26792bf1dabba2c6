"""RELIEF: removing latent factors that belong to single sites."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..base import Capabilities
from ..regression import SiteRegression, name_features
from ..site_groups import SiteGroups
from .feature_harmonizer import FeatureHarmonizer

Table = NDArray[np.float64]

# A spread below this fraction of the largest value is rounding, not data.
_NO_SPREAD = 1e-12


class Relief(FeatureHarmonizer):
    r"""Remove site means, site variances and the low-rank structure that only one site shows.

    The residuals E of covariates and site are split by penalised low-rank approximation into structure that
    all sites share, structure of one site each, and noise,

    .. math:: \min \tfrac12 \lVert E - R - \sum_i I_i \rVert_F^2 + (\sqrt p + \sqrt n) \lVert R \rVert_*
        + \sum_i (\sqrt p + \sqrt{n_i}) \lVert I_i \rVert_*,

    in units of each site's noise level, which is the median singular value over that of the
    Marchenko-Pastur law. I_i is left out and the noise gets the level of all sites together.

    The original works on one table and has no out-of-sample form. Every step of its alternating solution is a
    linear map of each sample, though, given the singular vectors of that step: fit composes these maps, and
    transform applies the composition. In-sample rows come out as in the original, held-out ones get the same
    map.

    Parameters
    ----------
    tolerance
        The alternation stops when the objective changes by less.
    max_iterations
        Bound on its rounds; reached without settling: an error.

    References
    ----------
    Zhang R, Oliver LD, Voineskos AN, Park JY. RELIEF: a structured multivariate approach for removal of
    latent inter-scanner effects. Imaging Neuroscience 1 (2023) 1-16, doi 10.1162/imag_a_00011. Noise level:
    Gavish M, Donoho DL. IEEE Trans Inf Theory 60 (2014) 5040-5053, doi 10.1109/TIT.2014.2323359.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        needs_site_labels=True, keeps_covariates=True, one_site_identity=True
    )

    def __init__(self, tolerance: float = 1e-3, max_iterations: int = 1000) -> None:
        self.tolerance = tolerance
        self.max_iterations = max_iterations

    def _learn(self, X: Table, sites: NDArray[np.str_], covariates: Table, columns: list[str]) -> None:
        groups = SiteGroups.of(sites)
        if groups.labels.size == 1:
            return
        _require_pairs(groups)
        SiteRegression.prepare(groups.index, covariates, columns, groups.labels.size)
        mod = _with_intercept(covariates)
        self.coefficients_ = np.linalg.lstsq(mod, X, rcond=None)[0]
        residual = X - mod @ self.coefficients_
        self.site_mean_ = groups.sums(residual) / groups.counts[:, None]
        residual -= self.site_mean_[groups.index]
        self.scale_ = np.sqrt((residual**2).sum(axis=0) / (len(X) - groups.labels.size))
        flat = self.scale_ <= _NO_SPREAD * np.abs(X).max(axis=0)
        if flat.any():
            raise ValueError(
                f"X must hold features that vary after site and covariates; got no variance in column "
                f"{name_features(flat)}. Drop those columns."
            )
        residual /= self.scale_
        self.noise_ = np.array([_noise_level(residual[groups.index == i]) for i in range(groups.labels.size)])
        if not (self.noise_ > 0.0).all():
            raise ValueError(
                "X must have several features and noise at every site to estimate its level; got none at "
                f"site '{groups.labels[int(self.noise_.argmin())]}'. Pass more features or samples."
            )
        self.common_noise_ = float(np.sqrt((self.noise_**2 * groups.counts).sum() / groups.counts.sum()))
        self._split(residual / self.noise_[groups.index, None], groups)

    def _split(self, E: Table, groups: SiteGroups) -> None:
        """Alternate the shared and the site parts, and compose their maps."""
        n, p = E.shape
        rows = [groups.index == i for i in range(groups.labels.size)]
        thresholds = np.sqrt(p) + np.sqrt(groups.counts)
        site_part, before = np.zeros_like(E), 0.0
        # Site part of a sample e: e - (e - site maps); a map is a pair (L, V), e -> (e L) V'.
        site_maps = [(np.zeros((p, 0)), np.zeros((p, 0)))] * len(rows)
        for _ in range(self.max_iterations):
            shared, V, weight, norm = _soft(E - site_part, np.sqrt(p) + np.sqrt(n))
            # R = (e - I(e)) V w V', with I of the round before.
            shared_maps = [((V - L @ (W.T @ V)) * weight, V) for L, W in site_maps]
            objective = (np.sqrt(p) + np.sqrt(n)) * norm
            site_maps = []
            for i, (L, W) in enumerate(shared_maps):
                part, U, u_weight, norm = _soft((E - shared)[rows[i]], thresholds[i])
                site_part[rows[i]] = part
                objective += thresholds[i] * norm
                site_maps.append(((U - L @ (W.T @ U)) * u_weight, U))
            objective += 0.5 * float(((E - shared - site_part) ** 2).sum())
            if abs(objective - before) < self.tolerance:
                self._keep(shared_maps, site_maps)
                return
            before = objective
        raise ValueError(
            f"max_iterations must be enough to settle; got {self.max_iterations} and a change of "
            f"{abs(objective - before):.3g}. Raise it, or raise tolerance."
        )

    def _keep(self, shared: list[tuple[Table, Table]], own: list[tuple[Table, Table]]) -> None:
        self.shared_loadings_ = np.array([L for L, _ in shared])
        self.shared_factors_ = shared[0][1]
        ranks = [L.shape[1] for L, _ in own]
        self.site_ranks_ = np.array(ranks, dtype=np.intp)
        self.site_loadings_ = np.hstack([L for L, _ in own])
        self.site_factors_ = np.hstack([V for _, V in own])

    def _apply(self, X: Table, sites: NDArray[np.str_], covariates: Table) -> Table:
        harmonized = X.copy()
        if self.sites_.size == 1:
            return harmonized
        ends = np.cumsum(self.site_ranks_)
        mean = _with_intercept(covariates) @ self.coefficients_
        for i, site in enumerate(self.sites_):
            rows = sites == site
            E = (X[rows] - mean[rows] - self.site_mean_[i]) / (self.scale_ * self.noise_[i])
            own = slice(ends[i] - self.site_ranks_[i], ends[i])
            shared = E @ self.shared_loadings_[i] @ self.shared_factors_.T
            noise = E - shared - E @ self.site_loadings_[:, own] @ self.site_factors_[:, own].T
            back = self.noise_[i] * shared + self.common_noise_ * noise
            harmonized[rows] = mean[rows] + self.scale_ * back
        return harmonized


def _with_intercept(covariates: Table) -> Table:
    return np.column_stack([np.ones(len(covariates)), covariates])


def _require_pairs(groups: SiteGroups) -> None:
    single = groups.labels[groups.counts < 2]
    if single.size:
        raise ValueError(
            f"site must have at least 2 samples each; got 1 for {', '.join(single)}. Leave those samples out."
        )


def _soft(E: Table, threshold: float) -> tuple[Table, Table, Table, float]:
    """Return E with singular values lowered, its feature vectors, their weights, and the nuclear norm."""
    U, d, Vt = np.linalg.svd(E, full_matrices=False)
    kept = d > threshold
    lowered = d[kept] - threshold
    return (U[:, kept] * lowered) @ Vt[kept], Vt[kept].T, lowered / d[kept], float(lowered.sum())


def _noise_level(E: Table) -> float:
    """Return the noise SD of one site's residuals, (n, p), centred over the features of each sample."""
    singular = np.linalg.svd(E - E.mean(axis=1, keepdims=True), compute_uv=False)
    beta, longer = min(E.shape) / max(E.shape), max(E.shape)
    # Optimal hard threshold for known noise over that for unknown noise: Gavish and Donoho, eqs. 11 and 5.
    threshold = np.sqrt(2.0 * (beta + 1.0) + 8.0 * beta / (beta + 1.0 + np.sqrt(beta**2 + 14.0 * beta + 1.0)))
    omega = 0.56 * beta**3 - 0.95 * beta**2 + 1.82 * beta + 1.43
    return float(np.median(singular) / np.sqrt(longer) * omega / threshold)

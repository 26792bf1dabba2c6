"""AutoComBat: groups of scans found from how they were acquired, instead of site labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..base import Capabilities
from .combat import ComBat
from .feature_harmonizer import FeatureHarmonizer

Table = NDArray[np.float64]

# Mean silhouettes above this speak for real clusters (Kaufman and Rousseeuw, Finding groups in data, 1990).
_CLEAR = 0.5


class AutoComBat(FeatureHarmonizer):
    r"""ComBat by clusters of acquisition parameters or image quality measures.

    The distinct settings, standardised per column, are clustered by Ward's criterion. The number of clusters
    is where the merging distance jumps most, among those with a mean silhouette above 0.5 and enough samples
    in every cluster; none: one cluster. A new scan joins the nearest cluster centre, so a site that fit has
    not seen needs no samples of its own. Site labels are recorded but not used.

    Parameters
    ----------
    acquisition
        Name of the column, or columns, of `covariates` to cluster: numeric (echo time, field strength) or
        text (vendor). They are not protected.
    n_clusters
        Number of clusters; None: chosen.
    most_clusters
        Largest number that is tried.
    smallest
        Least number of samples in a cluster.
    parametric, mean_only, empirical_bayes
        See :class:`ComBat`.

    References
    ----------
    Carre A et al. AutoComBat: a generic method for harmonizing MRI-based radiomic features. Sci Rep 12 (2022)
    12762, doi 10.1038/s41598-022-16609-1. That method clusters with a choice of other algorithms.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        needs_site_labels=False, handles_unseen_site=True, keeps_covariates=True
    )
    column_roles: ClassVar[Mapping[str, str]] = MappingProxyType({"acquisition": "setting"})

    def __init__(
        self,
        acquisition: str | Sequence[str] = "acquisition",
        n_clusters: int | None = None,
        most_clusters: int = 10,
        smallest: int = 3,
        parametric: bool = True,
        mean_only: bool = False,
        empirical_bayes: bool = True,
    ) -> None:
        self.acquisition = acquisition
        self.n_clusters = n_clusters
        self.most_clusters = most_clusters
        self.smallest = smallest
        self.parametric = parametric
        self.mean_only = mean_only
        self.empirical_bayes = empirical_bayes

    def _learn(self, X: Table, sites: NDArray[np.str_], covariates: Table, columns: list[str]) -> None:
        settings, rest, names = self._settings(covariates, columns)
        self.setting_mean_ = settings.mean(axis=0)
        spread = settings.std(axis=0)
        # A parameter that never changes says nothing: weight 0, for a new value too.
        varying = spread > 1e-9 * np.abs(settings).max(axis=0)
        self.setting_weight_ = np.where(varying, 1.0 / np.where(varying, spread, 1.0), 0.0)
        points, counts = np.unique(self._standard(settings).round(9), axis=0, return_counts=True)
        labels = self._cluster(points, counts)
        number = int(labels.max()) + 1
        self.centres_ = np.array([points[labels == i].mean(axis=0) for i in range(number)])
        cluster = self._nearest(settings)
        self.combat_ = ComBat(
            parametric=self.parametric,
            mean_only=self.mean_only,
            empirical_bayes=self.empirical_bayes,
            unseen_site="raise",
        ).fit(X, site=cluster.tolist(), covariates=self._named(rest, names))

    def _apply(self, X: Table, sites: NDArray[np.str_], covariates: Table) -> Table:
        settings, rest, names = self._settings(covariates, self._columns())
        cluster = self._nearest(settings).tolist()
        return self.combat_.transform(X, site=cluster, covariates=self._named(rest, names))

    def clusters(self, covariates: Table, columns: Sequence[str]) -> NDArray[np.intp]:
        """Return the cluster of each row of encoded covariates."""
        return self._nearest(self._settings(covariates, columns)[0])

    def _settings(self, covariates: Table, columns: Sequence[str]) -> tuple[Table, Table, list[str]]:
        wanted = [self.acquisition] if isinstance(self.acquisition, str) else list(self.acquisition)
        chosen = [i for i, name in enumerate(columns) if name.split("=")[0] in wanted]
        found = {columns[i].split("=")[0] for i in chosen}
        missing = [name for name in wanted if name not in found]
        if missing or not wanted:
            raise ValueError(
                f"acquisition must name columns of covariates that vary ({', '.join(columns) or 'none'}); "
                f"got {missing[0] if missing else 'none'!r}. "
                "Add that column to covariates, or correct the name."
            )
        rest = [i for i in range(len(columns)) if i not in chosen]
        return covariates[:, chosen], covariates[:, rest], [columns[i] for i in rest]

    def _standard(self, settings: Table) -> Table:
        standard: Table = (settings - self.setting_mean_) * self.setting_weight_
        return standard

    def _nearest(self, settings: Table) -> NDArray[np.intp]:
        distance = ((self._standard(settings)[:, None] - self.centres_) ** 2).sum(axis=2)
        nearest: NDArray[np.intp] = distance.argmin(axis=1)
        return nearest

    def _cluster(self, points: Table, counts: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the cluster of each distinct setting."""
        from scipy.cluster.hierarchy import fcluster, linkage

        one = np.zeros(len(points), dtype=np.intp)
        if len(points) == 1 or self.n_clusters == 1:
            return one
        tree = linkage(points, method="ward")
        tried = [self.n_clusters] if self.n_clusters else range(2, min(self.most_clusters, len(points)) + 1)
        # Distance at which `number` clusters would become one less, minus that at which they arose.
        heights = np.concatenate([[0.0], tree[:, 2]])
        best, score = one, 0.0
        for number in tried:
            labels = fcluster(tree, number, criterion="maxclust") - 1
            sizes = np.bincount(labels, weights=counts)
            if self.n_clusters is not None:
                return np.asarray(labels, dtype=np.intp)
            jump = heights[-(number - 1)] - heights[-number]
            clear = sizes.min() >= self.smallest and _silhouette(points, labels, counts) > _CLEAR
            if clear and jump > score:
                best, score = np.asarray(labels, dtype=np.intp), jump
        return best


def _silhouette(points: Table, labels: NDArray[np.intp], counts: NDArray[np.intp]) -> float:
    """Return the mean silhouette of the samples, of which `counts` share each point."""
    from scipy.spatial.distance import cdist

    member = labels[:, None] == np.arange(labels.max() + 1)
    weight = member * counts[:, None]
    total = cdist(points, points) @ weight
    size = weight.sum(axis=0)
    own = np.arange(len(points)), labels
    inside = total[own] / np.maximum(size[labels] - 1, 1)
    outside = total / size
    outside[own] = np.inf
    nearest = outside.min(axis=1)
    value = (nearest - inside) / np.maximum(np.maximum(nearest, inside), np.finfo(float).tiny)
    return float(np.average(np.where(size[labels] > 1, value, 0.0), weights=counts))

"""The base of harmonizers of feature tables: checks, encoding and metadata, around two methods to write."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ..base import Harmonizer, refuse_unseen
from ..tables import CovariateEncoder, feature_names, feature_table, is_lazy, site_labels


class FeatureHarmonizer(Harmonizer):
    """Harmonizer of feature tables; subclasses write ``_learn`` and ``_apply``.

    Tables are ``(n_samples, n_features)``. Input of any real dtype is used as float64 (float64 itself without
    a copy, integers and float32 widened exactly) and the output is float64. Covariates are a DataFrame or an
    array with one row per sample: numeric columns are used as they are, text, categorical and boolean columns
    become indicator columns (levels sorted, first one dropped). Missing or non-finite values are refused.

    In scikit-learn pipelines the site and the covariates travel as metadata: with
    ``sklearn.set_config(enable_metadata_routing=True)``, ``pipeline.fit(X, y, site=..., covariates=...)``.

    Class attributes
    ----------------
    column_roles
        Constructor parameter that names columns of `covariates` -> what they hold: "subject" or "batch"
        labels, or "setting" for acquisition parameters. ``_learn`` and ``_apply`` see labels as level
        numbers, -1 for a level that fit has not seen, and settings like any covariate.
    reads_blocks
        ``_learn`` and ``_apply`` read `X` by blocks of columns only, so it may be a table on disk.
    """

    column_roles: ClassVar[Mapping[str, str]] = MappingProxyType({})
    reads_blocks: ClassVar[bool] = False
    n_features_in_: int
    feature_names_in_: NDArray[np.str_]
    covariate_levels_: dict[str, list[str] | None]

    def fit(self, X: Any, y: object = None, *, site: Sequence[str], covariates: Any = None) -> Self:
        """Learn site effects from a table.

        Parameters
        ----------
        X
            Features, shape (n_samples, n_features); array or DataFrame.
        y
            Ignored: there for scikit-learn's pipelines. No harmonizer sees the label.
        site
            One site label per sample.
        covariates
            None, or DataFrame / dict of columns / array of shape (n_samples, n_covariates) with the biology
            to keep, and the columns that the constructor names.

        Raises
        ------
        ValueError
            If shapes or values do not fit; the message names the argument and the way out.
        """
        table, sites = self._table(X), site_labels(site)
        _same_rows(table, sites)
        encoder = CovariateEncoder.learn(covariates, n_samples=len(table), labels=self._labels())
        self._forget()
        if (names := feature_names(X)) is not None:
            self.feature_names_in_ = names
        self._learn(table, sites, encoder.encode(covariates, n_samples=len(table)), encoder.columns)
        self.n_features_in_ = table.shape[1]
        self.covariate_levels_ = dict(encoder.levels)
        self.sites_ = np.unique(sites)
        return self

    def transform(self, X: Any, *, site: Sequence[str], covariates: Any = None) -> NDArray[np.float64]:
        """Return harmonized features of the same shape, float64; `X` is left untouched.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        UnseenSiteError
            For a new site, where the method cannot handle one.
        """
        return self._apply(*self._checked(X, site, covariates))

    def fit_transform(
        self, X: Any, y: object = None, *, site: Sequence[str], covariates: Any = None
    ) -> NDArray[np.float64]:
        """Fit on a table and return it harmonized; `y` is ignored."""
        return self.fit(X, site=site, covariates=covariates).transform(X, site=site, covariates=covariates)

    def get_metadata_routing(self) -> Any:
        """Return what scikit-learn's pipelines and cross-validation shall pass on: site and covariates."""
        from sklearn.utils.metadata_routing import MetadataRequest

        request = MetadataRequest(owner=self)
        for method in (request.fit, request.transform):
            for name in ("site", "covariates"):
                method.add_request(param=name, alias=True)
        return request

    def _checked(
        self, X: Any, site: Sequence[str], covariates: Any
    ) -> tuple[NDArray[np.float64], NDArray[np.str_], NDArray[np.float64]]:
        """Return table, sites and encoded covariates for transform."""
        self.require_fitted()
        table, sites = self._table(X), site_labels(site)
        _same_rows(table, sites)
        self._same_features(X, table)
        refuse_unseen(self, sites)
        encoder = CovariateEncoder(levels=self.covariate_levels_, labels=self._labels())
        return table, sites, encoder.encode(covariates, n_samples=len(table))

    def _table(self, X: Any) -> NDArray[np.float64]:
        lazy: NDArray[np.float64] = X
        return lazy if self.reads_blocks and not hasattr(X, "columns") and is_lazy(X) else feature_table(X)

    def _labels(self) -> tuple[str, ...]:
        """Return the columns of the covariates that the constructor's label parameters name."""
        roles = self.column_roles.items()
        named = [getattr(self, parameter) for parameter, role in roles if role != "setting"]
        lists = [[value] if isinstance(value, str) else list(value or ()) for value in named]
        return tuple(dict.fromkeys(name for names in lists for name in names))

    def _named(self, covariates: NDArray[np.float64], columns: Sequence[str]) -> dict[str, Any] | None:
        """Return encoded covariates by name, for a harmonizer that another one uses."""
        return {name: covariates[:, i] for i, name in enumerate(columns)} or None

    def _columns(self) -> list[str]:
        """Return the names of the encoded covariates that ``_apply`` gets."""
        return CovariateEncoder(levels=self.covariate_levels_, labels=self._labels()).columns

    def _same_features(self, X: Any, table: NDArray[np.float64]) -> None:
        if table.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X must have the {self.n_features_in_} features seen in fit; got {table.shape[1]}. "
                "Pass the same columns in the same order."
            )
        names, fitted = feature_names(X), getattr(self, "feature_names_in_", None)
        if names is not None and fitted is not None and not np.array_equal(names, fitted):
            first = int(np.flatnonzero(names != fitted)[0])
            raise ValueError(
                f"X must have the columns seen in fit, in that order; got '{names[first]}' "
                f"in place of '{fitted[first]}'. Reorder with X[list(harmonizer.feature_names_in_)]."
            )

    @abstractmethod
    def _learn(
        self,
        X: NDArray[np.float64],
        sites: NDArray[np.str_],
        covariates: NDArray[np.float64],
        columns: list[str],
    ) -> None:
        """Set learned attributes; `covariates` is (n_samples, k), k may be 0, named by `columns`."""

    @abstractmethod
    def _apply(
        self, X: NDArray[np.float64], sites: NDArray[np.str_], covariates: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return a new harmonized table; must not change `X`."""


def split_columns(
    covariates: NDArray[np.float64], columns: Sequence[str], names: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
    """Return the columns called `names`, the other columns, and the others' names."""
    rest = [i for i, name in enumerate(columns) if name not in names]
    chosen = [list(columns).index(name) for name in names]
    return covariates[:, chosen], covariates[:, rest], [columns[i] for i in rest]


def _same_rows(table: NDArray[np.float64], sites: NDArray[np.str_]) -> None:
    if len(table) != len(sites):
        raise ValueError(
            f"site must have one label per row of X ({len(table)}); got {len(sites)}. "
            "Take both from the same table."
        )

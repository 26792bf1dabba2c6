"""Reading feature tables, site labels and covariates strictly, without importing pandas."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


class TableInputError(ValueError):
    """A feature table, a site column or a covariate is not what a harmonizer can work on."""


def feature_table(X: Any) -> NDArray[np.float64]:
    """Return `X` as float64 (n_samples, n_features); float64 arrays are passed through without a copy.

    Raises
    ------
    TableInputError
        If `X` is not a finite, real, non-empty 2D table, or has a type that float64 cannot hold exactly.
    """
    raw = np.asarray(X)
    if raw.ndim != 2 or 0 in raw.shape:
        raise TableInputError(
            f"X must have shape (n_samples, n_features) with both at least 1; got shape {raw.shape}. "
            "Reshape a single feature with X[:, None]."
        )
    if raw.dtype.kind not in "iuf" or raw.dtype.itemsize > 8:
        raise TableInputError(
            f"X must hold real numbers that float64 can represent; got dtype {raw.dtype}. "
            "Select the numeric columns and convert them, e.g. with X.astype('float64')."
        )
    table = raw.astype(np.float64, copy=False)
    # A sum is finite if all terms are (or overflows, which the slow path clears): no (n, p) temporary.
    with np.errstate(invalid="ignore", over="ignore"):
        total = np.sum(table)
    if not np.isfinite(total) and not np.isfinite(table).all():
        rows, columns = np.nonzero(~np.isfinite(table))
        raise TableInputError(
            f"X must be finite; got {rows.size} missing or non-finite values, the first at row {rows[0]}, "
            f"column {_column(X, int(columns[0]))}. Impute them or drop the rows or columns; "
            "no harmonizer does so silently."
        )
    return table


def is_lazy(X: Any) -> bool:
    """Return whether `X` is a table on disk that reads what is sliced (h5py, zarr, numpy.memmap)."""
    array_like = getattr(X, "ndim", None) == 2 and hasattr(X, "dtype") and hasattr(X, "__getitem__")
    return array_like and (isinstance(X, np.memmap) or not isinstance(X, np.ndarray))


def read_block(X: Any, block: slice) -> NDArray[np.float64]:
    """Return some columns of a table; those of a lazy one are read and checked now."""
    return feature_table(X[:, block]) if is_lazy(X) else X[:, block]


def feature_names(X: Any) -> NDArray[np.str_] | None:
    """Return the column names of a DataFrame, None for anything else."""
    columns = getattr(X, "columns", None)
    return None if columns is None else np.array([str(name) for name in columns], dtype=np.str_)


def site_labels(site: Any) -> NDArray[np.str_]:
    """Return site labels as text; integers become their decimal text.

    Raises
    ------
    TableInputError
        If there is none, one is missing or empty, or they are neither text nor integers.
    """
    if isinstance(site, str):
        raise TableInputError(
            f"site must be a sequence with one label per sample; got the text '{site}'. Wrap it in a list."
        )
    values = np.asarray(site, dtype=object)
    if values.ndim != 1 or values.size == 0:
        raise TableInputError(
            f"site must be a non-empty 1D sequence; got shape {values.shape}. Pass one label per sample."
        )
    for value in values:
        if isinstance(value, bool) or not isinstance(value, str | int | np.integer) or value == "":
            raise TableInputError(
                f"site must hold text or integer labels; got {value!r}. "
                "Fill in missing sites or drop those samples."
            )
    return np.array([str(value) for value in values], dtype=np.str_)


@dataclass(frozen=True, kw_only=True, slots=True)
class CovariateEncoder:
    """Turns covariates into numeric columns in the way that ``fit`` saw them.

    Attributes
    ----------
    levels
        Covariate name -> None (continuous: used as it is) or its sorted levels as text (categorical: one
        indicator column per level but the first). Empty: fitted without covariates.
    labels
        Covariates that name groups (subjects, vendors), whatever their type: one column with the number of
        the level, -1 for a level that fit has not seen.
    """

    levels: Mapping[str, list[str] | None]
    labels: Collection[str] = ()

    @classmethod
    def learn(cls, covariates: Any, *, n_samples: int, labels: Collection[str] = ()) -> CovariateEncoder:
        """Find the kind of each column, and the levels of the categorical ones.

        Raises
        ------
        TableInputError
            If a column of `labels` is absent, or a value is missing.
        """
        given = _columns(covariates, n_samples)
        for name in labels:
            if name not in given:
                raise TableInputError(
                    f"covariates must hold the column '{name}'; got {list(given) or 'none'}. "
                    "Add it, or name another column in the constructor."
                )
        levels: dict[str, list[str] | None] = {}
        for name, values in given.items():
            continuous = name not in labels and _is_continuous(values)
            levels[name] = None if continuous else sorted({_level(v) for v in values})
        return cls(levels=levels, labels=labels)

    @property
    def columns(self) -> list[str]:
        """Names of the encoded columns."""
        names: list[str] = []
        for name, levels in self.levels.items():
            single = levels is None or name in self.labels
            names += [name] if single else [f"{name}={level}" for level in (levels or [])[1:]]
        return names

    def encode(self, covariates: Any, *, n_samples: int) -> NDArray[np.float64]:
        """Return the (n_samples, k) columns.

        Raises
        ------
        TableInputError
            If names, kinds or levels differ from those seen in fit, or a value is missing.
        """
        given = _columns(covariates, n_samples)
        if list(given) != list(self.levels):
            raise TableInputError(
                f"covariates must be those of fit, {list(self.levels) or 'none'}, in that order; "
                f"got {list(given) or 'none'}. Pass the same columns to fit and transform."
            )
        encoded = [self._encode(name, values) for name, values in given.items()]
        return np.hstack([np.empty((n_samples, 0)), *encoded])

    def _encode(self, name: str, values: NDArray[Any]) -> NDArray[np.float64]:
        levels = self.levels[name]
        if levels is None:
            if not _is_continuous(values):
                raise TableInputError(
                    f"covariates column '{name}' must be numeric as in fit; got text. Convert it."
                )
            return values.astype(np.float64)[:, None]
        text = np.array([_level(v) for v in values])
        if name in self.labels:
            number = {level: i for i, level in enumerate(levels)}
            return np.array([[number.get(str(v), -1)] for v in text], dtype=np.float64)
        unseen = sorted(set(text.tolist()) - set(levels))
        if unseen:
            raise TableInputError(
                f"covariates column '{name}' must hold the levels seen in fit ({', '.join(levels)}); "
                f"got {', '.join(unseen)}. Fit with samples of that level, or merge levels."
            )
        indicator = text[:, None] == np.array(levels[1:], dtype=np.str_)
        return np.asarray(indicator, dtype=np.float64)


def _level(value: Any) -> str:
    """Return a level as text; a whole number reads the same as int and as float."""
    whole = isinstance(value, float | np.floating) and float(value).is_integer()
    return str(int(value)) if whole else str(value)


def _is_continuous(values: NDArray[Any]) -> bool:
    return values.dtype.kind in "iuf"


def _columns(covariates: Any, n_samples: int) -> dict[str, NDArray[Any]]:
    if covariates is None:
        return {}
    if hasattr(covariates, "columns") or isinstance(covariates, Mapping):
        found = {
            str(name): np.asarray(covariates[name]) for name in getattr(covariates, "columns", covariates)
        }
    else:
        values = np.asarray(covariates)
        values = values[:, None] if values.ndim == 1 else values
        if values.ndim != 2:
            raise TableInputError(
                f"covariates must have shape (n_samples, n_covariates); got {values.shape}. "
                "Pass a DataFrame or a 2D array."
            )
        found = {f"covariate{i}": values[:, i] for i in range(values.shape[1])}
    return {name: _clean(name, values, n_samples) for name, values in found.items()}


def _clean(name: str, values: NDArray[Any], n_samples: int) -> NDArray[Any]:
    if len(values) != n_samples:
        raise TableInputError(
            f"covariates must have one row per sample ({n_samples}); got {len(values)}. "
            "Take features, site and covariates from the same table."
        )
    if values.dtype.kind == "O" and all(
        isinstance(v, int | float | np.number) and not isinstance(v, bool) for v in values
    ):
        values = values.astype(np.float64)
    if values.dtype.kind in "iuf":
        missing = ~np.isfinite(values.astype(np.float64))
    else:
        # None, float NaN and pandas' NA are the values that do not equal themselves or are not text-like.
        missing = np.array([not isinstance(v, str | bool | np.bool_ | int | np.integer) for v in values])
    if missing.any():
        raise TableInputError(
            f"covariates column '{name}' must be complete; got {int(missing.sum())} missing or unusable "
            "values, "
            f"the first at row {int(np.flatnonzero(missing)[0])}. Impute them or drop the samples."
        )
    return values


def _column(X: Any, index: int) -> str:
    names = feature_names(X)
    return str(index) if names is None else f"'{names[index]}'"

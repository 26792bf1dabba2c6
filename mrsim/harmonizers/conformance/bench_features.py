"""A small synthetic table for the conformance checks of feature harmonizers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base import Harmonizer
from .bench import Array, Bench, Case

_N_FIT, _N_ALL = 24, 30
_NUMBER = np.arange(_N_ALL)
# Four travelers who visit all three sites, then a cohort; settings that agree with the first site.
_ROLES: dict[str, NDArray[Any]] = {
    "subject": np.array([f"s{i:02d}" for i in np.where(_NUMBER < 12, _NUMBER // 3, _NUMBER)]),
    "batch": np.where(_NUMBER // 3 % 2 == 0, "sharp", "smooth"),
    "setting": np.where(_NUMBER % 3 == 0, 1.5, 3.0),
}


class FeatureBench(Bench):
    """Twenty-four training rows at three sites and six held out, with effects of age, sex and site."""

    tolerance = 1e-9
    argument = "X"

    def __init__(self, prototype: Harmonizer) -> None:
        super().__init__(prototype)
        rng = np.random.default_rng(20070101)
        self.n_fit, n, p = _N_FIT, _N_ALL, 6
        names = np.array(("north", "south", "west"))
        index = np.arange(n) % 3
        age, sex = rng.uniform(20.0, 80.0, n), rng.integers(0, 2, n)
        # Every site holds both sexes, so that no covariate is tied to a site by chance.
        sex[:6] = [0, 0, 0, 1, 1, 1]
        shift, spread = rng.normal(0.0, 1.0, (3, p)), rng.uniform(0.5, 2.0, (3, p))
        noise = rng.normal(0.0, 1.0, (n, p)) * spread[index]
        self.X = (
            10.0
            + np.outer(age - 50.0, rng.normal(0.0, 0.03, p))
            + np.outer(sex, np.ones(p))
            + shift[index]
            + noise
        )
        self.site = names[index].tolist()
        self.covariates: dict[str, NDArray[Any]] = {
            "age": age,
            "sex": np.where(sex == 1, "male", "female"),
            **_role_columns(prototype),
        }
        self.other_order = rng.permutation(self.n_fit)
        reference = prototype.get_params().get("reference_site")
        if reference is not None:
            self.site = [str(reference) if label == "north" else label for label in self.site]

    def fit(
        self,
        harmonizer: Any,
        *,
        order: NDArray[np.intp] | None = None,
        gain: float = 1.0,
        one_site: bool = False,
    ) -> Any:
        """Fit on the training rows."""
        rows = np.arange(self.n_fit) if order is None else order
        X = self.X[: self.n_fit] if order is None and gain == 1.0 else self.X[rows] * gain
        return harmonizer.fit(
            X, site=self._sites(rows, one_site), covariates=self._rows(self.covariates, rows)
        )

    def outputs(
        self,
        harmonizer: Any,
        *,
        gain: float = 1.0,
        one_by_one: bool = False,
        one_site: bool = False,
        site: str | None = None,
    ) -> list[Array]:
        """Transform all rows in one call, or each in its own."""
        X = self.X if gain == 1.0 else self.X * gain
        rows = np.arange(len(X))
        sites = self._sites(rows, one_site) if site is None else [site] * len(X)
        if not one_by_one:
            return list(harmonizer.transform(X, site=sites, covariates=self.covariates))
        single = [
            harmonizer.transform(X[i : i + 1], site=[sites[i]], covariates=self._rows(self.covariates, [i]))[
                0
            ]
            for i in rows[::-1]
        ]
        return single[::-1]

    def inputs(self, *, one_site: bool = False) -> list[Array]:
        """Return all rows."""
        return list(self.X)

    def fingerprint(self) -> bytes:
        """Return features, sites and covariates."""
        return (
            self.X.tobytes()
            + repr(self.site).encode()
            + repr([v.tolist() for v in self.covariates.values()]).encode()
        )

    def geometry_problem(self, fitted: Any) -> str | None:
        """Check shape and type for float64 and float32 input."""
        for X in (self.X, self.X.astype(np.float32)):
            out = fitted.transform(X, site=self.site, covariates=self.covariates)
            if out.dtype != np.float64 or out.shape != X.shape:
                return f"the output must be float64 of shape {X.shape}; got {out.dtype} of shape {out.shape}"
        return None

    def transform_nan(self, fitted: Any) -> tuple[Array, Array]:
        """Put one NaN into a held-out row."""
        X = self.X.copy()
        X[-1, 2] = np.nan
        return X, fitted.transform(X, site=self.site, covariates=self.covariates)

    def mistakes(self) -> list[Case]:
        """Offer wrong lengths, other columns, missing values and, where covariates count, collinear ones."""
        fitted, X, C = self.fit(self.fresh()), self.X, self.covariates
        holes = {**C, "age": C["age"].copy()}
        holes["age"][3] = float("nan")
        cases: list[Case] = [
            ("too few site labels", "site", lambda: self.fresh().fit(X, site=self.site[:-1], covariates=C)),
            (
                "a missing site",
                "site",
                lambda: self.fresh().fit(X, site=[None, *self.site[1:]], covariates=C),
            ),
            ("a 1D table", "X", lambda: self.fresh().fit(X[:, 0], site=self.site, covariates=C)),
            ("text features", "X", lambda: self.fresh().fit(X.astype(str), site=self.site, covariates=C)),
            ("fewer columns", "X", lambda: fitted.transform(X[:, :-1], site=self.site, covariates=C)),
        ]
        if self.prototype.declared().keeps_covariates:
            # Methods that find the groups in settings are confounded with those, not with site.
            settings = "setting" in getattr(self.prototype, "column_roles", {}).values()
            group = _ROLES["setting"] == 1.5 if settings else np.array(self.site) == "south"
            tied = {**C, "age": group.astype(np.float64)}
            cases += [
                ("covariates left out", "covariates", lambda: fitted.transform(X, site=self.site)),
                (
                    "a missing age",
                    "covariates",
                    lambda: self.fresh().fit(X, site=self.site, covariates=holes),
                ),
                (
                    "a collinear covariate",
                    "covariates",
                    lambda: self.fresh().fit(X, site=self.site, covariates=tied),
                ),
            ]
        return cases

    def hard_cases(self) -> list[Case]:
        """Offer a site with one sample, a feature without variance, a single feature."""
        flat = self.X.copy()
        flat[:, 1] = 3.0

        def run(X: Array, site: Sequence[str]) -> list[Array]:
            return list(self.fresh().fit_transform(X, site=site, covariates=self.covariates))

        return [
            ("a site with one sample", "site", lambda: run(self.X, [*self.site[:-1], "lonely"])),
            ("a feature without variance", "X", lambda: run(flat, self.site)),
            ("a single feature", "feature", lambda: run(self.X[:, :1], self.site)),
        ]

    def _rows(self, columns: dict[str, NDArray[Any]], rows: Any) -> dict[str, NDArray[Any]]:
        return {name: values[rows] for name, values in columns.items()}

    def _sites(self, rows: NDArray[np.intp], one_site: bool) -> list[str]:
        return [self.site[0] if one_site else self.site[i] for i in rows]


def _role_columns(prototype: Harmonizer) -> dict[str, NDArray[Any]]:
    """Return a column for every covariate that the constructor names."""
    found = {}
    for parameter, role in getattr(prototype, "column_roles", {}).items():
        names = getattr(prototype, parameter)
        for name in [names] if isinstance(names, str) else names or ():
            found[name] = _ROLES[role]
    return found

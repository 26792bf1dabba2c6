"""Feature tables with known truth, as described in section 6 of the harmonizer reference page."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SLOPE = -0.02
"""Per year, on features 0-19; none on 20-29."""
EFFECT = 0.5
"""Of the group, on features 0-9."""


@dataclass(frozen=True, kw_only=True)
class Cohort:
    X: np.ndarray
    truth: np.ndarray
    site: np.ndarray
    age: np.ndarray
    group: np.ndarray
    gamma: np.ndarray
    delta: np.ndarray

    @property
    def covariates(self) -> dict:
        return {"age": self.age, "group": self.group}


def cohort(
    rng,
    *,
    n=(50, 50, 50),
    age_mean=(50, 50, 50),
    age_sd=12.0,
    cases=None,
    curve=0.0,
    covariance=False,
    p=30,
) -> Cohort:
    """Residuals with shared factors; site shifts, scales and, if asked, a covariance direction per site.

    `cases` is the share of the group per site, `curve` the quadratic effect of age on every second feature.
    """
    site = np.repeat(np.arange(3), n)
    age = np.clip(rng.normal(np.array(age_mean)[site], age_sd), 18, 88)
    drawn = rng.integers(0, 2, site.size) if cases is None else rng.random(site.size) < np.array(cases)[site]
    group = drawn.astype(float)
    number = np.arange(p)
    mean = np.outer(age - 50, np.where(number < 20, SLOPE, 0.0)) + np.outer(
        group, np.where(number < 10, EFFECT, 0.0)
    )
    mean += np.outer((age - 50) ** 2, np.where(number % 2 == 0, curve, 0.0))
    shared = rng.normal(size=(site.size, 3)) @ (0.5 * rng.normal(size=(3, p)))
    residual = (shared + rng.normal(size=(site.size, p))) / np.sqrt(1.75)
    gamma = 0.5 * rng.normal(size=(3, 1)) + 0.5 * rng.normal(size=(3, p))
    delta = np.exp(0.3 * rng.normal(size=(3, 1)) + 0.2 * rng.normal(size=(3, p)))
    extra = np.zeros((site.size, p))
    if covariance:
        extra = rng.normal(size=(site.size, 1)) * (0.8 * rng.normal(size=(3, p)))[site]
    return Cohort(
        X=mean + gamma[site] + np.sqrt(delta)[site] * (residual + extra),
        truth=mean + residual,
        site=np.array(list("abc"))[site],
        age=age,
        group=group,
        gamma=gamma,
        delta=delta,
    )


def travelers(rng, data: Cohort, subjects=5) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Return scans of further subjects at every site of a cohort, their sites, and their subjects."""
    person = rng.normal(size=(subjects, data.X.shape[1]))
    noise = 0.3 * np.sqrt(data.delta)[None] * rng.normal(size=(subjects, *data.delta.shape))
    scans = person[:, None] + data.gamma + noise
    sites = np.tile(list("abc"), subjects).tolist()
    return scans.reshape(len(sites), -1), sites, np.repeat(np.arange(subjects), 3)


def fit(method, data: Cohort, **other):
    """Fit with the cohort's covariates, and others by name."""
    return method.fit(data.X, site=data.site.tolist(), covariates={**data.covariates, **other})


def apply(method, data: Cohort, **other) -> np.ndarray:
    return method.transform(data.X, site=data.site.tolist(), covariates={**data.covariates, **other})


def rmse(a, b) -> float:
    return float(np.sqrt(np.mean((a - b) ** 2)))


def scores(Y, data: Cohort, *, quadratic=False) -> dict[str, float]:
    """Error to the truth (features centred), age slope ratio, power, false positives of group and of age."""
    from scipy.stats import t as student

    error = (Y - Y.mean(axis=0)) - (data.truth - data.truth.mean(axis=0))
    columns = [np.ones(len(Y)), data.age - 50, data.group]
    design = np.column_stack(columns + [(data.age - 50) ** 2] * quadratic)
    beta, squares, _, _ = np.linalg.lstsq(design, Y, rcond=None)
    free = len(Y) - design.shape[1]
    sd = np.sqrt(np.outer(np.diag(np.linalg.inv(design.T @ design)), squares / free))
    p = 2 * student.sf(np.abs(beta / sd), free)
    return {
        "rmse": np.sqrt((error**2).mean()),
        "slope": beta[1, :20].mean() / SLOPE,
        "power": (p[2, :10] < 0.05).mean(),
        "false group": (p[2, 10:] < 0.05).mean(),
        "false age": (p[1, 20:] < 0.05).mean(),
    }


def site_accuracy(Y, data: Cohort) -> float:
    """Balanced accuracy of shrinkage discriminant analysis for the site, five folds; chance is 1/3."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    guess = cross_val_predict(model, Y, data.site, cv=folds)
    return float(np.mean([(guess[data.site == s] == s).mean() for s in np.unique(data.site)]))

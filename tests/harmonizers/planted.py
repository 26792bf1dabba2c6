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

    @property
    def covariates(self) -> dict:
        return {"age": self.age, "group": self.group}


def cohort(rng, *, n=(50, 50, 50), age_mean=(50, 50, 50), age_sd=12.0, covariance=False, p=30) -> Cohort:
    """Residuals with shared factors; site shifts, scales and, if asked, a covariance direction per site."""
    site = np.repeat(np.arange(3), n)
    age = np.clip(rng.normal(np.array(age_mean)[site], age_sd), 18, 88)
    group = rng.integers(0, 2, site.size).astype(float)
    number = np.arange(p)
    mean = np.outer(age - 50, np.where(number < 20, SLOPE, 0.0)) + np.outer(
        group, np.where(number < 10, EFFECT, 0.0)
    )
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
    )


def scores(Y, data: Cohort) -> np.ndarray:
    """RMSE to the truth after centring features, age slope ratio, and false positives of group and of age."""
    from scipy.stats import t as student

    error = (Y - Y.mean(axis=0)) - (data.truth - data.truth.mean(axis=0))
    design = np.column_stack([np.ones(len(Y)), data.age, data.group])
    beta, squares, _, _ = np.linalg.lstsq(design, Y, rcond=None)
    free = len(Y) - 3
    sd = np.sqrt(np.outer(np.diag(np.linalg.inv(design.T @ design)), squares / free))
    p = 2 * student.sf(np.abs(beta / sd), free)
    return np.array(
        [
            np.sqrt((error**2).mean()),
            beta[1, :20].mean() / SLOPE,
            (p[2, 10:] < 0.05).mean(),
            (p[1, 20:] < 0.05).mean(),
        ]
    )

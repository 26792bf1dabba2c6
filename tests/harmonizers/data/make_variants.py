"""Made-up tables that differ from harmref's in what variants of the methods stumble on; writes CSV files.

87 samples of three sites of 12, 25 and 50, two numeric covariates of different units, a group of three
levels, repeated scans of 29 subjects; 14 features on different scales. ``python make_variants.py FOLDER``.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

COUNTS, FEATURES = (12, 25, 50), 14


def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return covariates and features."""
    rng = np.random.default_rng(20261123)
    n = sum(COUNTS)
    site = np.repeat(np.arange(3), COUNTS)[rng.permutation(n)]
    subject = np.repeat(np.arange(n // 3), 3)
    # Ages are sampled per subject, visits a year or so apart; quarter years keep float32 casts exact.
    age = np.round(4 * (rng.uniform(20, 80, n // 3)[subject] + np.tile([0, 1, 2.5], n // 3))) / 4
    dose = np.round(64 * rng.gamma(2, 0.2, n)) / 64
    group = rng.integers(0, 3, n)
    person = rng.normal(0, 0.8, (n // 3, FEATURES))[subject]
    mean = np.sin(age / 9)[:, None] * rng.normal(0, 1, FEATURES) + dose[:, None] ** 2 * rng.normal(
        0, 0.7, FEATURES
    )
    mean += np.array([0.0, 0.4, -0.3])[group][:, None] * rng.normal(1, 0.3, FEATURES)
    spread = np.exp(0.008 * (age - 50) + 0.3 * (group == 2))[:, None]
    noise = spread * (
        rng.normal(size=(n, FEATURES)) + rng.normal(size=(n, 2)) @ rng.normal(0, 0.6, (2, FEATURES))
    )
    shift = rng.normal(0, 0.6, (3, 1)) + rng.normal(0, 0.4, (3, FEATURES))
    scale = np.exp(rng.normal(0, 0.25, (3, 1)) + rng.normal(0, 0.15, (3, FEATURES)))
    values = 5 + mean + person + shift[site] + scale[site] * noise
    values *= np.geomspace(1e-3, 1e4, FEATURES)
    people = pd.DataFrame(
        {
            "SITE": np.array(["north", "east", "west"])[site],
            "age": age,
            "dose": dose,
            "group": np.array(["control", "mild", "severe"])[group],
            "subject": [f"s{i:02d}" for i in subject],
        }
    )
    return people, pd.DataFrame(values, columns=[f"f{i:02d}" for i in range(FEATURES)])


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for name, table in zip(("covariates", "features"), tables(), strict=True):
        table.to_csv(folder / f"{name}.csv", index=False, float_format="%.17g")

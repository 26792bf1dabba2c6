"""ComBat on 1000 samples of five sites beside neuroCombat (``pip install neuroCombat``), same table."""

import contextlib
import io
import warnings
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd

from mrsim.harmonizers import ComBat

from .measure import Row, cpu_seconds

SAMPLES, SITES = 1000, 5


def _table(features: int) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    rng = np.random.default_rng(0)
    site = np.repeat([f"site{i}" for i in range(SITES)], SAMPLES // SITES)
    covariates = pd.DataFrame(
        {"age": rng.uniform(20, 80, SAMPLES), "sex": rng.integers(0, 2, SAMPLES).astype(float)}
    )
    shift, scale = rng.normal(0, 0.5, (SITES, features)), rng.gamma(20, 0.05, (SITES, features))
    where = np.repeat(np.arange(SITES), SAMPLES // SITES)
    noise = rng.normal(size=(SAMPLES, features)) * scale[where]
    values = 3 + 0.01 * covariates["age"].to_numpy()[:, None] + shift[where] + noise
    return values, site, covariates


def _peer(values: np.ndarray, site: np.ndarray, covariates: pd.DataFrame) -> Any:
    from neuroCombat import neuroCombat  # type: ignore[import-not-found]

    frame = covariates.assign(site=site)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        return neuroCombat(
            dat=values.T, covars=frame, batch_col="site", categorical_cols=["sex"], continuous_cols=["age"]
        )["data"].T


def run() -> list[Row]:
    rows = []
    for features in (1_000, 10_000):
        values, site, covariates = _table(features)

        def ours(values: np.ndarray = values, site: np.ndarray = site, x: pd.DataFrame = covariates) -> Any:
            return ComBat().fit_transform(values, site=site, covariates=x)

        seconds = cpu_seconds(ours)
        rows.append(Row(job=f"ComBat fit and transform, {features} features", value=seconds, unit="CPU-s"))
        if find_spec("neuroCombat") is None:
            continue
        theirs = cpu_seconds(lambda v=values, s=site, x=covariates: _peer(v, s, x))
        difference = float(np.abs(_peer(values, site, covariates) - ours()).max())
        rows += [
            Row(job=f"neuroCombat, {features} features", value=theirs, unit="CPU-s", ratio=theirs / seconds,
                against="ComBat"),
            Row(job="largest difference of the results", value=difference, unit="of SD about 1"),
        ]  # fmt: skip
    return rows

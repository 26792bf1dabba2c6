"""What is left of the difference that a diagnosis makes.

The effect of a diagnosis on a volume is told as a log ratio: the mean difference of log volumes between
patients and controls at equal age, sex, ... (least squares). Measured and true volumes of the same people go
through the same regression, so that what differs is measurement, scanner and harmonizer, not who was drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .biology import age_recovery, age_slopes
from .inputs import MetricInputError, check_finite

if TYPE_CHECKING:
    import pandas as pd

CONTROL = "control"


def diagnosis_recovery(
    measured: npt.ArrayLike,
    truth: npt.ArrayLike,
    diagnosis: npt.ArrayLike,
    *,
    names: Sequence[str],
    rng: np.random.Generator,
    covariates: Mapping[str, npt.ArrayLike] | None = None,
    n_boot: int = 1000,
) -> pd.DataFrame:
    """Return recovered and true log ratios of every diagnosis to controls, per feature.

    Parameters
    ----------
    measured, truth
        Arrays (subject, feature) of positive values (volumes): measured ones (averaged over a subject's
        scans) and the true ones.
    diagnosis
        Label per subject; `CONTROL` is compared with each other one.
    names
        Feature names.
    rng, n_boot
        For the 95 % expanded percentile interval of the ratio over subjects.
    covariates
        Age, sex, ...: used for both ratios; those that do not vary among the people compared drop out.

    Returns
    -------
    DataFrame
        Columns `diagnosis`, `feature`, `true` and `recovered` (log ratio), `ratio` (recovered over true; 1 is
        right) with `ci_low`, `ci_high`, `error` (recovered - true, log) with its 95 % t interval `error_low`,
        `error_high`, `p_value` (of the recovered log ratio) and `n`. Ratios mean little where the true effect
        is about zero; the error is meaningful everywhere.

    Raises
    ------
    MetricInputError
        If values are not positive, there are no two patients and two controls, or the diagnosis cannot be
        told apart from the covariates.
    """
    import pandas as pd

    labels = np.asarray(diagnosis)
    m, t = (check_finite(name, np.asarray(v)) for name, v in (("measured", measured), ("truth", truth)))
    if m.min(initial=1.0) <= 0.0 or t.min(initial=1.0) <= 0.0:
        raise MetricInputError("measured and truth must be positive to have a log ratio; got values <= 0.")
    sick = [d for d in np.unique(labels) if d != CONTROL]
    counts = {str(d): int(np.count_nonzero(labels == d)) for d in (CONTROL, *sick)}
    if not sick or min(counts.values()) < 2:
        raise MetricInputError(
            f"diagnosis must have at least two controls and two of each other label; got {counts}."
        )
    tables = []
    for name in sick:
        use = (labels == name) | (labels == CONTROL)
        patient = (labels[use] == name).astype(np.float64)
        known = {k: np.asarray(v)[use] for k, v in (covariates or {}).items()}
        known = {k: v for k, v in known.items() if np.unique(v).size > 1}
        logs = np.log(m[use]), np.log(t[use])
        found = age_recovery(*logs, patient, names=names, rng=rng, covariates=known, n_boot=n_boot)
        missed = age_slopes(logs[0] - logs[1], patient, covariates=known)
        half = _t_half(missed.freedom) * missed.se
        found = found.rename(columns={"planted": "true"})
        found.insert(0, "diagnosis", str(name))
        found["error"] = missed.slope
        found["error_low"], found["error_high"] = missed.slope - half, missed.slope + half
        tables.append(found)
    return pd.concat(tables, ignore_index=True)


def _t_half(freedom: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.975))

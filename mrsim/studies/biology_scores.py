"""Is the biology still there? Measured against true volumes, and the planted age effect."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .scorecard import Card, table_rows
from .scored import MEASURED_VOLUMES

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, kw_only=True)
class _Volumes:
    """Measured (mean of a person's scans) and true volumes [mL], (subjects, names), and ages [years]."""

    contrast: str
    subjects: Sequence[str]
    names: Sequence[str]
    measured: "np.ndarray[Any, Any]"
    truth: "np.ndarray[Any, Any]"
    age: "np.ndarray[Any, Any]"

    @property
    def place(self) -> str:
        """Name of the feature table in the scores."""
        return f"{self.contrast} features"


def biology_scores(card: Card, contrast: str) -> None:
    """Score measured against true volumes: bias, ranks, and what is left of the planted age effect."""
    import numpy as np

    volumes = _volumes(card, contrast)
    if volumes is None:
        return
    _errors(card, volumes)
    _age_points(card, volumes)
    if len(volumes.subjects) < 4 or np.ptp(volumes.age) <= 0:
        return
    _age_slopes(card, volumes)
    if card.settings["false_positive"]:
        _false_positives(card, volumes)


def _volumes(card: Card, contrast: str) -> _Volumes | None:
    """Collect the volumes of a contrast; None where there is nothing to compare."""
    import numpy as np

    judged = card.judged
    scans = judged.scans(contrast)
    subjects = sorted({k[0] for k in scans if k[0] in judged.people})
    names = [
        n for n in MEASURED_VOLUMES if all(math.isfinite(judged.features[k].get(n, math.nan)) for k in scans)
    ]
    if len(subjects) < 2 or not names:
        return None
    measured = [
        [np.mean([judged.features[k][n] for k in scans if k[0] == s]) for n in names] for s in subjects
    ]
    return _Volumes(
        contrast=contrast,
        subjects=subjects,
        names=names,
        measured=np.array(measured),
        truth=np.array([[judged.true_volume(s, n) for n in names] for s in subjects]),
        age=np.array([float(judged.people[s]["age"]) for s in subjects]),
    )


def _errors(card: Card, volumes: _Volumes) -> None:
    from mrsim.evaluation import volume_errors

    n = len(volumes.subjects)
    for row in table_rows(volume_errors(volumes.measured, volumes.truth, names=volumes.names)):
        short = str(row["feature"]).removeprefix("volume:")
        card.add(f"volume_bias:{short}", float(row["bias_percent"]), volumes.place, n)
        card.add(f"volume_rank:{short}", float(row["rank"]), volumes.place, n)


def _age_points(card: Card, volumes: _Volumes) -> None:
    for i, subject in enumerate(volumes.subjects):
        for j, name in enumerate(volumes.names):
            card.details["age"].append(
                {
                    "feature": name,
                    "contrast": volumes.contrast,
                    "subject": subject,
                    "age": float(volumes.age[i]),
                    "measured": float(volumes.measured[i, j]),
                    "truth": float(volumes.truth[i, j]),
                }
            )


def _age_slopes(card: Card, volumes: _Volumes) -> None:
    from mrsim.evaluation import age_recovery

    found = age_recovery(
        volumes.measured, volumes.truth, volumes.age, names=volumes.names, rng=card.rng, n_boot=card.draws
    )
    for row in table_rows(found):
        short = str(row["feature"]).removeprefix("volume:")
        ratio, low, high = float(row["ratio"]), float(row["ci_low"]), float(row["ci_high"])
        card.add(f"age_slope_ratio:{short}", ratio, volumes.place, len(volumes.subjects), low, high)
        card.details["age_slopes"].append(
            {
                "feature": row["feature"],
                "contrast": volumes.contrast,
                "slope": float(row["recovered"]),
                "truth": float(row["planted"]),
                "ratio": ratio,
                "low": low,
                "high": high,
            }
        )


def _false_positives(card: Card, volumes: _Volumes) -> None:
    """Add the share of shuffled ages with a 'significant' slope: what chance finds in nothing."""
    import numpy as np

    from mrsim.evaluation import age_slopes, false_positive_rate

    measured = volumes.measured
    values = [
        age_slopes(measured, card.rng.permutation(len(measured)).astype(float)).p_value for _ in range(200)
    ]
    rate = false_positive_rate(np.stack(values))
    card.add("false_positive_rate", rate.rate, volumes.place, len(measured), rate.low, rate.high)

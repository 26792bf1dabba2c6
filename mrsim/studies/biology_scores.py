"""Is the biology still there? Measured against true volumes, and planted effects of age and diagnosis."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .scorecard import Card, table_rows
from .scored import MEASURED_VOLUMES

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, kw_only=True)
class _Volumes:
    """Measured (mean of a person's scans) and true volumes [mL], (subjects, names), and whose they are.

    Age in years, head as the logarithm of the intracranial volume.
    """

    contrast: str
    subjects: Sequence[str]
    names: Sequence[str]
    measured: "np.ndarray[Any, Any]"
    truth: "np.ndarray[Any, Any]"
    age: "np.ndarray[Any, Any]"
    sex: "np.ndarray[Any, Any]"
    head: "np.ndarray[Any, Any]"
    diagnosis: "np.ndarray[Any, Any]"

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
        card.leave_out(
            "effects of age and diagnosis", volumes.place, "four people of different ages are the least"
        )
        return
    _age_slopes(card, volumes)
    if card.settings["false_positive"]:
        _false_positives(card, volumes)
    if any(row["diagnosis_log"].keys() - {"control"} for row in card.judged.planted.values()):
        _diagnoses(card, volumes)


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
        head=np.log([float(judged.people[s]["icv_ml"]) for s in subjects]),
        sex=np.array([str(judged.people[s]["sex"]) for s in subjects]),
        diagnosis=np.array([str(judged.people[s].get("diagnosis", "control")) for s in subjects]),
    )


def _errors(card: Card, volumes: _Volumes) -> None:
    from mrsim.evaluation import volume_errors

    n = len(volumes.subjects)
    for row in table_rows(volume_errors(volumes.measured, volumes.truth, names=volumes.names)):
        short = _short(row["feature"])
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
    from mrsim.evaluation import MetricInputError, age_recovery

    planted = [i for i, name in enumerate(volumes.names) if card.judged.plants_age(name)]
    absent = [_short(name) for i, name in enumerate(volumes.names) if i not in planted]
    if absent:
        why = f"the cohort plants no effect of age there: {', '.join(absent)}"
        card.leave_out("recovered over planted age effect", volumes.place, why)
    if not planted:
        return
    names = [volumes.names[i] for i in planted]
    measured, truth = volumes.measured[:, planted], volumes.truth[:, planted]
    known = {"diagnosis": volumes.diagnosis} if len(set(volumes.diagnosis)) > 1 else None
    try:
        found = age_recovery(
            measured, truth, volumes.age, names=names, rng=card.rng, covariates=known, n_boot=card.draws
        )
    except MetricInputError as error:
        card.leave_out("recovered over planted age effect", volumes.place, str(error))
        return
    for row in table_rows(found):
        ratio, low, high = float(row["ratio"]), float(row["ci_low"]), float(row["ci_high"])
        metric = f"age_slope_ratio:{_short(row['feature'])}"
        card.add(metric, ratio, volumes.place, len(volumes.subjects), low, high)
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
    """Add the share of 'significant' effects in nothing: of shuffled ages, or in a cohort without any."""
    import numpy as np

    from mrsim.evaluation import age_slopes, false_positive_rate

    measured = volumes.measured
    if card.judged.design["kind"] == "null":
        values = [age_slopes(measured, x).p_value for x in _regressors(volumes)]
    else:
        values = [
            age_slopes(measured, card.rng.permutation(len(measured)).astype(float)).p_value
            for _ in range(200)
        ]
    rate = false_positive_rate(np.stack(values))
    card.add("false_positive_rate", rate.rate, volumes.place, len(measured), rate.low, rate.high)


def _regressors(volumes: _Volumes) -> "list[np.ndarray[Any, Any]]":
    """Age, sex and being a patient as numbers; those that at least two people share on either side."""
    marks = [volumes.sex == "M", volumes.diagnosis != "control"]
    shared = [m.astype(float) for m in marks if 2 <= m.sum() <= len(m) - 2]
    return [volumes.age, *shared]


def _diagnoses(card: Card, volumes: _Volumes) -> None:
    """Add what is left of the difference between patients and controls at equal age, sex and head size."""
    from mrsim.evaluation import MetricInputError, diagnosis_recovery

    try:
        found = diagnosis_recovery(
            volumes.measured,
            volumes.truth,
            volumes.diagnosis,
            names=volumes.names,
            rng=card.rng,
            covariates={"age": volumes.age, "sex": volumes.sex, "head": volumes.head},
            n_boot=card.draws,
        )
    except MetricInputError as error:
        card.leave_out("effect of the diagnosis", volumes.place, str(error))
        return
    for row in table_rows(found):
        _diagnosis(card, volumes, row)


def _diagnosis(card: Card, volumes: _Volumes, row: Mapping[str, Any]) -> None:
    """Add one region's effect: its error everywhere, its ratio to the true one where one is planted."""
    name, diagnosis, people = str(row["feature"]), str(row["diagnosis"]), int(row["n"])
    planted, planted_d = card.judged.planted_effect(name, diagnosis)
    place = f"{_short(name)}_{diagnosis}"
    error, *limits = (100.0 * math.expm1(float(row[k])) for k in ("error", "error_low", "error_high"))
    card.add(f"diagnosis_effect_error:{place}", error, volumes.place, people, *limits)
    ratio: tuple[float | None, ...] = (None, None, None)
    if planted:
        told = [float(row[k]) for k in ("ratio", "ci_low", "ci_high")]
        card.add(f"diagnosis_effect_ratio:{place}", told[0], volumes.place, people, *told[1:])
        ratio = tuple(told)
    card.details["diagnosis"].append(
        {
            "feature": name,
            "diagnosis": diagnosis,
            "contrast": volumes.contrast,
            "planted": planted,
            "planted_d": planted_d,
            "truth": float(row["true"]),
            "recovered": float(row["recovered"]),
            "recovered_low": float(row["true"]) + float(row["error_low"]),
            "recovered_high": float(row["true"]) + float(row["error_high"]),
            **dict(zip(("ratio", "low", "high"), ratio, strict=True)),
            "p_value": float(row["p_value"]),
        }
    )


def _short(name: object) -> str:
    return str(name).removeprefix("volume:")

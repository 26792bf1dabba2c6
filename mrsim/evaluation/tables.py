"""The tidy scores table that a study hands on: its columns, its vocabulary, its files."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    import pandas as pd

Direction = Literal["lower", "higher", "target"]
DIRECTIONS: tuple[str, ...] = get_args(Direction)


class ScoreError(ValueError):
    """A score that does not fit the scores table."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What a metric's name means: which way is better (`target`: the nearer the better), unit, words."""

    direction: Direction
    unit: str
    meaning: str
    target: float | None = None

    def __post_init__(self) -> None:
        if (self.direction == "target") != (self.target is not None):
            raise ScoreError("target must be given exactly for metrics of direction 'target'.")


def _error(unit: str, meaning: str) -> Metric:
    return Metric(direction="lower", unit=unit, meaning=meaning)


def _gain(unit: str, meaning: str) -> Metric:
    return Metric(direction="higher", unit=unit, meaning=meaning)


def _aim(target: float, unit: str, meaning: str) -> Metric:
    return Metric(direction="target", unit=unit, meaning=meaning, target=target)


METRICS: Mapping[str, Metric] = {
    "mae": _error("image units", "mean absolute error to the same subject under the reference scanner"),
    "nrmse": _error("1", "root mean squared error to the reference over the reference's rms"),
    "psnr": _gain("dB", "peak signal-to-noise ratio against the reference"),
    "ssim": _gain("1", "structural similarity to the reference, window inside the mask"),
    "mae_matched": _error("image units", "mae after one linear map of the image onto the reference"),
    "nrmse_matched": _error("1", "nrmse after one linear map of the image onto the reference"),
    "psnr_matched": _gain("dB", "psnr after one linear map of the image onto the reference"),
    "ssim_matched": _gain("1", "ssim after one linear map of the image onto the reference"),
    "correlation": _gain("1", "voxel-wise correlation with the reference"),
    "wm_gm_ratio_error": _aim(0.0, "%", "error of the white/grey ratio against the reference"),
    "gm_csf_ratio_error": _aim(0.0, "%", "error of the grey/CSF ratio against the reference"),
    "wm_gm_cnr_error": _aim(0.0, "%", "error of the white-grey contrast-to-noise ratio"),
    "gm_csf_cnr_error": _aim(0.0, "%", "error of the grey-CSF contrast-to-noise ratio"),
    "gm_position_error": _aim(0.0, "points", "error of grey matter's place between CSF and white matter"),
    "edge_energy_ratio": _aim(1.0, "1", "edge energy over the reference's: below 1 is blur, above is noise"),
    "edge_correlation": _gain("1", "correlation of gradient magnitudes with the reference"),
    "high_frequency_ratio": _aim(1.0, "1", "power above half Nyquist over the reference's"),
    "within_subject_cov": _error("%", "within-subject between-scanner coefficient of variation"),
    "scan_rescan_cov": _error("%", "coefficient of variation of repeats on one scanner"),
    "scanner_share": _error("1", "share of a feature's variance that is between scanners"),
    "icc_2_1": _gain("1", "absolute agreement between scanners"),
    "icc_3_1": _gain("1", "consistency between scanners (blind to additive shifts)"),
    "age_slope_ratio": _aim(1.0, "1", "recovered over planted age effect"),
    "diagnosis_effect_ratio": _aim(1.0, "1", "recovered over true log ratio of patients to controls"),
    "diagnosis_effect_error": _aim(
        0.0, "%", "recovered over true ratio of patients to controls, minus 1: what was invented or lost"
    ),
    "false_positive_rate": _aim(0.05, "1", "share of effects found at p < 0.05 where none was planted"),
    "volume_bias": _aim(0.0, "%", "measured minus true volume over the mean true volume"),
    "volume_rank": _gain("1", "rank correlation of measured and true volumes"),
    "site_balanced_accuracy": _error("1", "site classifier trained on these images; its null stands beside"),
    "site_excess": _aim(0.0, "1", "balanced accuracy of the retrained site classifier minus its null"),
    "site_frozen_accuracy": _aim(
        0.0, "1", "classifier trained on raw images, minus its null: exposed, not a score"
    ),
    "fixed": _gain("share of raw error", "site error removed"),
    "left": _error("share of raw error", "site error remaining"),
    "destroyed": _error("share of raw error", "true differences between people lost"),
    "invented": _error("share of raw error", "structure that neither truth, site nor raw scan contained"),
    "residue_removed": _gain("share of raw error", "noise and subject-specific distortion removed"),
    "confounded": _aim(0.0, "share of raw error", "change that site and biology share out to nobody"),
    "gap_closed": _gain("share of raw error", "part of the raw error that is gone"),
    "biology_lost_share": _error("1", "energy of true differences between people that is lost"),
}
"""Metrics that this package makes. A score may add a feature after a colon: `volume_bias:hippocampus`."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """One row of the scores table; `value` and interval may be nan (not measurable), written as null."""

    method: str
    contrast: str
    metric: str
    value: float
    ci_low: float
    ci_high: float
    n: int
    direction: Direction
    unit: str

    def __post_init__(self) -> None:
        if not self.method or not self.metric:
            raise ScoreError("method and metric must be named; got an empty name.")
        if self.direction not in DIRECTIONS:
            raise ScoreError(f"direction must be one of {DIRECTIONS}; got {self.direction!r}.")
        if self.n < 0:
            raise ScoreError(f"n must not be negative; got {self.n} for {self.metric!r}.")
        if self.ci_low > self.ci_high:
            raise ScoreError(
                f"ci_low must not exceed ci_high; got {self.ci_low} > {self.ci_high} for {self.metric!r}."
            )


COLUMNS: tuple[str, ...] = tuple(f.name for f in fields(Score))


def make_score(
    metric: str,
    value: float,
    *,
    method: str,
    contrast: str,
    n: int,
    interval: tuple[float, float] = (math.nan, math.nan),
) -> Score:
    """Return a score whose direction and unit come from `METRICS`.

    Raises
    ------
    ScoreError
        If the part of `metric` before a colon is not in `METRICS`.
    """
    name = metric.split(":", 1)[0]
    if name not in METRICS:
        raise ScoreError(f"metric must be one of {sorted(METRICS)}; got {name!r}. Build a Score for others.")
    return Score(
        method=method,
        contrast=contrast,
        metric=metric,
        value=float(value),
        ci_low=float(interval[0]),
        ci_high=float(interval[1]),
        n=n,
        direction=METRICS[name].direction,
        unit=METRICS[name].unit,
    )


def scores_table(scores: Sequence[Score]) -> pd.DataFrame:
    """Return the scores as a table with the columns of `Score`, in the order given.

    Raises
    ------
    ScoreError
        If a (method, contrast, metric) comes twice.
    """
    import pandas as pd

    seen: set[tuple[str, str, str]] = set()
    for score in scores:
        key = (score.method, score.contrast, score.metric)
        if key in seen:
            raise ScoreError(f"a score must come once; got {key} twice.")
        seen.add(key)
    return pd.DataFrame([asdict(s) for s in scores], columns=list(COLUMNS))


def write_table(
    table: pd.DataFrame, stem: Path | str, *, meta: Mapping[str, Any] | None = None
) -> tuple[Path, Path]:
    """Write a table to `<stem>.tsv` (missing: `n/a`) and `<stem>.json` (missing and infinite: null).

    Both are written under a temporary name in the target folder and then renamed. The JSON holds `meta`,
    `columns` and `rows` (one object per row). Numbers keep their shortest exact decimal form, so equal tables
    give equal bytes.
    """
    base = Path(stem)
    records = [
        {str(k): _plain(v) for k, v in zip(table.columns, row, strict=True)}
        for row in table.itertuples(index=False, name=None)
    ]
    columns = [str(c) for c in table.columns]
    lines = ["\t".join(columns)]
    lines += ["\t".join(_cell(record[c]) for c in columns) for record in records]
    body = {"meta": _plain(dict(meta or {})), "columns": columns, "rows": records}
    tsv, js = base.with_name(base.name + ".tsv"), base.with_name(base.name + ".json")
    _write(tsv, "\n".join(lines) + "\n")
    _write(js, json.dumps(body, indent=1, allow_nan=False) + "\n")
    return tsv, js


def _plain(value: Any) -> Any:
    """Return JSON's own types; numbers that JSON cannot hold become None."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    # pandas' own missing value is not a float.
    return None if type(value).__name__ in ("NAType", "NaTType") else str(value)


def _cell(value: Any) -> str:
    if value is None:
        return "n/a"
    text = json.dumps(value) if isinstance(value, (list, dict)) else str(value)
    return " ".join(text.split())


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise

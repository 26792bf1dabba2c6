"""Where the scores of one method are collected, with the details that the report draws from."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .scored import Judged

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from mrsim.evaluation import Score

_SHARES = ("fixed", "left", "destroyed", "invented", "residue_removed", "gap_closed", "biology_lost_share")


class Card:
    """Collects the scores of one method.

    Parameters
    ----------
    judged : Judged
        The method's images and features beside the raw ones and the truth.
    settings : mapping
        What the study asks of an evaluation: ``bootstrap``, ``confidence``, ``permutations``, ``probes``, ...
    rng : numpy.random.Generator
        Draws of all intervals and probes, in the order of the calls.
    """

    def __init__(self, judged: Judged, settings: dict[str, Any], rng: "np.random.Generator") -> None:
        self.judged = judged
        self.settings = settings
        self.rng = rng
        self.scores: list[Score] = []
        self.details: dict[str, Any] = {
            "method": judged.method,
            "kind": judged.kind,
            "contrasts": list(judged.contrasts),
            "embedding": [],
            "probe": {},
            "age": [],
            "age_slopes": [],
            "diagnosis": [],
            "dissection": {},
            "left_out": [],
        }

    @property
    def draws(self) -> int:
        """Bootstrap draws where an interval cannot do without, at least 10."""
        return max(10, int(self.settings["bootstrap"]))

    def add(
        self, metric: str, value: float, contrast: str, n: int, low: float = math.nan, high: float = math.nan
    ) -> None:
        """Add one score of the study's table; one that is no number is told among those left out too."""
        from mrsim.evaluation import make_score

        if not math.isfinite(value):
            self.leave_out(metric, contrast, "nothing varies, or too little is left, to compute it from")
        self.scores.append(
            make_score(metric, value, method=self.judged.method, contrast=contrast, n=n, interval=(low, high))
        )

    def leave_out(self, what: str, place: str, why: str) -> None:
        """Say which scores this study cannot have, and why."""
        self.details["left_out"].append({"what": what, "contrast": place, "why": why})

    def mean(
        self, metric: str, values: "np.ndarray[Any, Any]", subject: Sequence[str], contrast: str
    ) -> None:
        """Add the mean of a per-scan value with an interval over subjects."""
        import numpy as np

        from mrsim.evaluation import bootstrap_ci

        n = len(set(subject))
        if n < 2 or not self.settings["bootstrap"] or not np.isfinite(values).all():
            self.add(metric, float(np.nanmean(values)), contrast, n)
            return
        interval = bootstrap_ci(
            lambda v: np.mean(v, axis=-1),
            values,
            rng=self.rng,
            clusters=np.asarray(subject),
            n_boot=int(self.settings["bootstrap"]),
            level=float(self.settings["confidence"]),
            method="expanded",
        )
        value, low, high = interval.scalars()
        self.add(metric, value, contrast, n, low, high)

    def dissection(self, place: str, arguments: dict[str, Any], weights: Any = None) -> None:
        """Add the shares of a dissection (`mrsim.evaluation.dissect`) with their intervals.

        A scanner that is held out is also told by itself, as ``fixed:LABEL`` and so on.
        """
        import numpy as np

        shares = self._shares(place, arguments, weights)
        shown = ("fixed", "left", "destroyed", "invented")
        if shares:
            self.details["dissection"][place] = {
                name: dict(zip(("value", "low", "high"), shares[name], strict=True)) for name in shown
            }
        label = self.judged.design["held_out"]
        there = np.asarray(arguments["site"]) == label
        if there.any():
            own = {k: v if k == "groups" else np.asarray(v)[there] for k, v in arguments.items()}
            self._shares(place, own, weights, f":{label}")

    def _shares(
        self, place: str, arguments: dict[str, Any], weights: Any, suffix: str = ""
    ) -> dict[str, tuple[float, float, float]]:
        """Add the shares under names with a suffix; none where the scans cannot be dissected."""
        from mrsim.evaluation import MetricInputError, dissection_intervals

        level = float(self.settings["confidence"])
        try:
            shares = dissection_intervals(**arguments, weights=weights, level=level)
        except MetricInputError as error:
            self.leave_out(f"dissection{suffix}", place, str(error))
            return {}
        for name in _SHARES:
            self.add(
                f"{name}{suffix}", shares[name][0], place, len(set(arguments["subject"])), *shares[name][1:]
            )
        return shares


def complete(rows: Sequence[dict[str, float]], *others: Sequence[dict[str, float]]) -> list[str]:
    """Names that all rows of all tables have as finite numbers, in the order of the first row."""
    tables = [*rows, *(row for table in others for row in table)]
    return [n for n in rows[0] if all(math.isfinite(row.get(n, math.nan)) for row in tables)]


def table_rows(table: "pd.DataFrame") -> list[dict[str, Any]]:
    """Rows of a table as plain values by column name."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]

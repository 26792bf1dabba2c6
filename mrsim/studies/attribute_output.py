"""What an attribution leaves: a table, a record of how it was made, and a page for people."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from .attribute_causes import CAUSES
from .attribute_measures import Measure
from .canonical import pretty_json

if TYPE_CHECKING:
    from mrsim.evaluation import Attribution, Coalition, Game

COLUMNS = (
    "cause", "measure", "unit", "single", "leave_one_out", "shapley", "se", "low", "high", "share",
)  # fmt: skip
TOTAL, INTERACTION = "(all causes)", "(interaction)"


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """A difference split into causes.

    params : of the cell;  game : what was evaluated;  measures : in the order of the values;
    lost : measures that some coalition lacks;  found : the result;  values : coalition -> measures.
    """

    params: Mapping[str, Any]
    game: Game
    measures: tuple[Measure, ...]
    lost: tuple[str, ...]
    found: Attribution
    values: Mapping[Coalition, list[float]]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of the table: per measure the causes in their order, the sum, the interaction."""
        found = self.found
        for m, measure in enumerate(self.measures):
            head = {"measure": measure.name, "unit": measure.unit}
            for i, cause in enumerate(found.players):
                yield {
                    "cause": cause, **head,
                    "single": found.single[i, m], "leave_one_out": found.leave_one_out[i, m],
                    "shapley": found.shapley[i, m], "se": found.standard_error[i, m],
                    "low": found.low[i, m], "high": found.high[i, m], "share": found.share[i, m],
                }  # fmt: skip
            for cause in self.params["idle"]:
                yield {"cause": cause, **head, **dict.fromkeys(COLUMNS[3:], 0.0)}
            total = found.total[m]
            yield {
                "cause": TOTAL, **head, "single": total, "leave_one_out": total, "shapley": total,
                "se": 0.0, "low": total, "high": total, "share": 1.0 if total else math.nan,
            }  # fmt: skip
            yield {
                "cause": INTERACTION, **head, "single": found.interaction[m],
                "leave_one_out": total - found.leave_one_out[:, m].sum(), "shapley": 0.0, "se": 0.0,
                "low": 0.0, "high": 0.0, "share": 0.0,
            }  # fmt: skip


def write_results(folder: Path, split: Split, pictures: Mapping[str, Any]) -> None:
    """Write ``attribution.tsv``, ``attribution.json`` and ``report.html``."""
    from mrsim.evaluation.report import AttributionPage, write_attribution_page

    lines = ["\t".join(COLUMNS), *("\t".join(_shown(row[c]) for c in COLUMNS) for row in split.rows())]
    (folder / "attribution.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "attribution.json").write_bytes(pretty_json(_record(split)))
    p = split.params
    page = AttributionPage(
        title=str(p["title"]),
        reference=p["labels"][0],
        other=p["labels"][1],
        contrast=str(p["contrast"]),
        subject=str(p["subject"]),
        voxel_size=float(p["voxel_size"]),
        scanners=p["scanners"],
        cards=p["cards"],
        words={**CAUSES},
        idle=tuple(p["idle"]),
        off=tuple(p["off"]),
        measures=tuple((m.name, m.unit, m.kind, m.meaning) for m in split.measures),
        found=split.found,
        coalitions=len(split.game.coalitions),
        scans=len({name for pair in p["pairs"] for name in pair["images"]}),
        seed=int(p["seed"]),
        **pictures,
    )
    write_attribution_page(folder / "report.html", page)


def _shown(value: object) -> str:
    """Spell a cell of the table; missing numbers as BIDS does."""
    if isinstance(value, str):
        return value
    number = float(value)  # type: ignore[arg-type]
    return f"{number:.9g}" if math.isfinite(number) else "n/a"


def _titled(pair: Mapping[str, Any]) -> dict[str, Any]:
    return {"Causes": pair["causes"], "Images": pair["images"]}


def _record(split: Split) -> dict[str, Any]:
    """Return how the split was made, with all that is needed to make it again or to split anew."""
    p, found = split.params, split.found
    return {
        "Name": p["title"],
        "GeneratedBy": [{"Name": "mrsim attribute", "Version": __version__}],
        "Reference": p["labels"][0],
        "Other": p["labels"][1],
        "Subject": p["subject"],
        "Contrast": p["contrast"],
        "Seed": p["seed"],
        "Draws": p["draws"],
        "Causes": {name: CAUSES[name] for name in p["players"]},
        "CausesThatDoNotAct": list(p["idle"]),
        "CausesLeftOff": list(p["off"]),
        "Estimator": {
            "Exact": found.exact,
            "Permutations": len(p["orders"]),
            "AntitheticPairs": found.pairs,
            "Confidence": found.confidence,
            "Orders": [[p["players"][i] for i in order] for order in p["orders"]],
            "EfficiencyGap": found.efficiency_gap,
        },
        "Measures": [
            {"Name": m.name, "Unit": m.unit, "Meaning": m.meaning, "Total": total, "Interaction": rest}
            for m, total, rest in zip(
                split.measures, found.total.tolist(), found.interaction.tolist(), strict=True
            )
        ],
        "MeasuresLeftOut": list(split.lost),
        "Coalitions": [
            {**_titled(pair), "Values": split.values[frozenset(pair["causes"])]} for pair in p["pairs"]
        ],
        "Scanners": p["scanners"],
        "Cards": p["cards"],
    }  # fmt: skip

"""What a report is made of, and the order and the names in which it is told."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["raw", "control", "image", "feature"]
RAW = "raw"
TRUTH = "truth"
"""Method of images that show the truth: the same subject under the reference scanner, without noise."""
TRAVELING = "traveling"
"""Design in which everybody is seen by every scanner."""
CONTROLS = frozenset({"identity", "blur", "feature-identity", "random-style", "oracle"})
"""Harmonizers that are judged only to show what a score is worth."""
_GAMMA_BAR = 42.577478518e6
_CONTRASTS = ("T1w", "T2w", "FLAIR")


class ReportError(ValueError):
    """Report data that do not fit together."""


@dataclass(frozen=True, kw_only=True)
class ReportImage:
    """One image of the example subject: float32 (x, y, z) in RAS order; `voxel_size` in metres."""

    method: str
    session: str
    run: int
    contrast: str
    data: npt.NDArray[np.float32]
    voxel_size: tuple[float, float, float]

    def __post_init__(self) -> None:
        if self.data.ndim != 3 or self.data.size == 0:
            raise ReportError(f"data must be a volume (x, y, z); got shape {self.data.shape}.")
        if len(self.voxel_size) != 3 or not all(0.0 < v < 0.1 for v in self.voxel_size):
            raise ReportError(f"voxel_size must be three lengths in metres; got {self.voxel_size}.")


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """Everything that the page shows; any key of `details` may be missing.

    Attributes
    ----------
    title
        Heading of the page.
    study
        The resolved study record.
    scanners, cards
        Records by scanner label, and by "label/contrast".
    reference
        Label of the scanner whose images are the target.
    participants
        One mapping per subject: `subject`, `age` [years], `sex`, `icv` [mL]; optionally `diagnosis`, `site`
        (the one scanner of a subject) and `lesions` [mL].
    scores
        Columns of `mrsim.evaluation.Score`, all methods.
    details
        Per method: `kind`, `contrasts`, `embedding`, `probe`, `age`, `age_slopes`, `diagnosis`, `dissection`,
        `ladder`, and `left_out` (scores that the study cannot have: `what`, `contrast`, `why`).
    images, mask
        The example subject on one grid, and its brain.
    ladder
        Rungs of the site-effect ladder; where empty, the one in `details["raw"]`.
    recipe
        Versions, seed, hashes.
    failures
        Cells that failed: `stage`, `key`, `error`.
    """

    title: str
    study: Mapping[str, Any]
    scanners: Mapping[str, Mapping[str, Any]]
    cards: Mapping[str, Mapping[str, Any]]
    reference: str
    participants: Sequence[Mapping[str, Any]] = ()
    scores: pd.DataFrame | None = None
    details: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    images: Sequence[ReportImage] = ()
    mask: npt.NDArray[np.bool_] | None = None
    example_subject: str = ""
    ladder: Sequence[Mapping[str, Any]] = ()
    recipe: Mapping[str, Any] = field(default_factory=dict)
    failures: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        shapes = {image.data.shape for image in self.images}
        if self.mask is not None:
            shapes.add(self.mask.shape)
        if len(shapes) > 1:
            raise ReportError(
                f"images and mask must share one grid; got shapes {sorted(shapes)}. Align first."
            )
        if self.scanners and self.reference not in self.scanners:
            raise ReportError(f"reference must be one of {sorted(self.scanners)}; got {self.reference!r}.")

    @property
    def sessions(self) -> tuple[str, ...]:
        """Scanner labels, the reference first, the others as in the study."""
        rest = [label for label in self.scanners if label != self.reference]
        return (self.reference, *rest) if self.scanners else ()

    @property
    def methods(self) -> tuple[str, ...]:
        """Method labels: raw, then controls, image harmonizers and feature harmonizers."""
        named = {RAW, *self.details, *(image.method for image in self.images)}
        if self.scores is not None and len(self.scores):
            named |= {str(m) for m in self.scores["method"]}
        named -= {TRUTH}
        return tuple(sorted(named, key=lambda m: (KIND_ORDER.index(self.kind(m)), self._listed(m), m)))

    @property
    def contrasts(self) -> tuple[str, ...]:
        """Contrasts of the study, T1w first."""
        named = {str(p.get("contrast")) for p in self.study.get("protocols", ()) if p.get("contrast")}
        named |= {image.contrast for image in self.images}
        for detail in self.details.values():
            named |= {str(c) for c in detail.get("contrasts", ())}
        return tuple(sorted(named, key=contrast_order))

    @property
    def places(self) -> tuple[str, ...]:
        """Where methods were dissected: contrasts for images, and such as `T1w features`."""
        named = {str(place) for detail in self.details.values() for place in detail.get("dissection", {})}
        return tuple(sorted(named, key=contrast_order))

    @property
    def scans(self) -> list[ReportImage]:
        """Images of methods."""
        return [image for image in self.images if image.method != TRUTH]

    @property
    def truths(self) -> dict[str, ReportImage]:
        """Images of the truth, by contrast."""
        return {image.contrast: image for image in self.images if image.method == TRUTH}

    @property
    def design(self) -> str:
        """Which scanner sees whom: the kind of the cohort's design."""
        return str(((self.study.get("cohort") or {}).get("design") or {}).get("kind", TRAVELING))

    @property
    def nested(self) -> bool:
        """Whether every subject was seen by one scanner only."""
        return self.design != TRAVELING

    @property
    def level(self) -> str:
        """Confidence level of the intervals, as text."""
        given = number((self.study.get("evaluation") or {}).get("confidence"))
        return f"{100.0 * given:g} %" if 0.0 < given < 1.0 else "95 %"

    @property
    def people(self) -> int:
        """Number of subjects; 0 where unknown."""
        planned = number((self.study.get("cohort") or {}).get("subjects"))
        return len(self.participants) or (int(planned) if math.isfinite(planned) else 0)

    def shown(self, methods: Sequence[str], limit: int) -> list[str]:
        """Return at most `limit` methods, leaving out first the controls that repeat the raw images."""
        kept = list(methods)
        for method in methods:
            if len(kept) > limit and self.control(method) and "identity" in self.harmonizer(method):
                kept.remove(method)
        return kept[:limit]

    def harmonizer(self, method: str) -> str:
        """Return the library name behind a method's label (the label itself where the study is silent)."""
        return self._names().get(method, method)

    def control(self, method: str) -> bool:
        """Return whether a method is a control, which must never win."""
        given = self.details.get(method, {}).get("control")
        return bool(given) if given is not None else self.harmonizer(method) in CONTROLS

    def kind(self, method: str) -> Kind:
        """Return the class of a method, which gives its hue."""
        if method == RAW:
            return "raw"
        if self.control(method):
            return "control"
        return "feature" if self.on_features(method) else "image"

    def on_features(self, method: str) -> bool:
        """Return whether a method works on regional features, not on images."""
        return self.details.get(method, {}).get("kind") == "feature"

    def dissection(self, method: str, place: str) -> dict[str, Answer]:
        """Return the answers of a method that are there, by name."""
        given = self.details.get(method, {}).get("dissection", {}).get(place) or {}
        found = {name: Answer.of(value) for name, value in given.items()}
        return {name: answer for name, answer in found.items() if answer is not None}

    def _listed(self, method: str) -> int:
        names = list(self._names())
        return names.index(method) if method in names else len(names)

    def _names(self) -> dict[str, str]:
        pairs = {}
        for entry in self.study.get("harmonizers", ()):
            name = str(entry.get("name", ""))
            label = entry.get("label") or re.sub(r"[^0-9A-Za-z]", "", name)[:32]
            pairs[str(label)] = name
        return pairs


KIND_ORDER: tuple[Kind, ...] = ("raw", "control", "image", "feature")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An estimate with its interval; limits may be nan."""

    value: float
    low: float = math.nan
    high: float = math.nan

    @staticmethod
    def of(given: Any) -> Answer | None:
        """Read `{"value", "low", "high"}`, a triple or a number; None where there is no finite value."""
        if isinstance(given, Mapping):
            triple = [number(given.get(k)) for k in ("value", "low", "high")]
        elif isinstance(given, (list, tuple)):
            triple = [*map(number, given), math.nan, math.nan][:3]
        else:
            triple = [number(given), math.nan, math.nan]
        if not math.isfinite(triple[0]):
            return None
        return Answer(value=triple[0], low=triple[1], high=triple[2])

    @property
    def bounded(self) -> bool:
        """Whether both limits are known."""
        return math.isfinite(self.low) and math.isfinite(self.high)


def number(value: Any) -> float:
    """Return a float; nan for what is not a number."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        return math.nan
    return float(value)


def contrast_order(contrast: str) -> tuple[int, str]:
    """Sort key of contrasts, and of places such as `T1w features`."""
    first = contrast.split(" ", 1)[0]
    return (_CONTRASTS.index(first) if first in _CONTRASTS else len(_CONTRASTS), contrast)


def field_strength(scanner: Mapping[str, Any]) -> float:
    """Return a scanner record's field [T], from its proton frequency; nan where unknown."""
    given = number(scanner.get("field_strength"))
    if math.isfinite(given):
        return given
    group = scanner.get("field")
    return number(group.get("f0")) / _GAMMA_BAR if isinstance(group, Mapping) else number(group)

"""The answer in words: what the best and the worst method fixed, left, destroyed and invented, and caveats."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from .data import Answer, ReportData, number
from .dissection_figures import dissected
from .style import PARTS
from .words import counted, listed, share, share_interval

SMALL_STUDY = 20
"""Subjects below which the page warns that differences between methods may be chance."""
_IDENTITY_SLACK = 0.02


@dataclass(frozen=True, kw_only=True)
class Row:
    """One method's answers in one contrast, as text; `rank` orders methods by their net gain."""

    method: str
    parts: tuple[str, ...]
    net: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Sentences of the header."""

    sentences: tuple[str, ...]
    caveats: tuple[str, ...]


def net(parts: Mapping[str, Answer]) -> float:
    """Return fixed - destroyed - invented: what the raw error lost, less what was newly broken."""
    if "fixed" not in parts:
        return math.nan
    harm = sum(parts[name].value for name in ("destroyed", "invented") if name in parts)
    return parts["fixed"].value - harm


def verdict(data: ReportData) -> Verdict:
    """Return the answer of the study, and what must be known to read it."""
    sentences = [text for contrast in data.contrasts for text in _sentences(data, contrast)]
    if not sentences:
        sentences = [
            "No harmonizer could be dissected against the truth in this run; see the failed cells and the "
            "score table for what was measured."
        ]
    return Verdict(sentences=tuple(sentences), caveats=tuple(_caveats(data)))


def rows(data: ReportData, contrast: str) -> list[Row]:
    """Return all dissected methods of a contrast, in the page's order."""
    found = dissected(data, contrast)
    table = []
    for method, parts in found.items():
        texts = tuple(share_interval(parts[p]) if p in parts else "–" for p in PARTS)
        value = net(parts)
        table.append(Row(method=method, parts=texts, net=share(value) if math.isfinite(value) else "–"))
    return table


def _sentences(data: ReportData, contrast: str) -> list[str]:
    """Return one sentence per kind of harmonizer: images and features are different errors."""
    found = dissected(data, contrast)
    texts = []
    for space, subject in (("image", "images"), ("feature", "regional features")):
        ranked = sorted(
            (m for m in found if data.space(m) == space and not data.control(m) and math.isfinite(net(found[m]))),
            key=lambda m: (-net(found[m]), m),
        )
        if ranked:
            texts.append(_sentence(contrast, subject, ranked, found))
    return texts


def _sentence(contrast: str, subject: str, ranked: list[str], found: Mapping[str, Mapping[str, Answer]]) -> str:
    best, worst = ranked[0], ranked[-1]
    lead = "did best" if len(ranked) > 1 else "was the only harmonizer"
    if net(found[best]) <= 0.0:
        lead = "did the least harm, but no net good" if len(ranked) > 1 else "did no net good"
    text = (
        f"{contrast}, {subject}: {best} {lead}; of the raw error against the reference scanner it "
        f"{_told(found[best])}"
    )
    if len(ranked) == 1:
        return text + "."
    unsure = _overlap(found[best], found[worst])
    tail = ", but their intervals overlap: this study does not rank them" if unsure else ""
    return f"{text}. {worst} came last: it {_told(found[worst])}{tail}."


def _told(parts: Mapping[str, Answer]) -> str:
    return listed([_part(name, parts[name]) for name in PARTS if name in parts])


def _part(name: str, answer: Answer) -> str:
    """Say a negative share for what it is: error added, or biology and noise restored."""
    if answer.value < -0.005 and name == "fixed":
        return f"added {share(-answer.value)} of site error"
    if answer.value < -0.005 and name in ("destroyed", "invented"):
        undone = "restored" if name == "destroyed" else "took back"
        return f"{undone} {share(-answer.value)} ({'biology' if name == 'destroyed' else 'inflation'})"
    return f"{name} {share_interval(answer)}"


def _overlap(one: Mapping[str, Answer], other: Mapping[str, Answer]) -> bool:
    """Return whether no part separates two methods."""
    pairs = [(one[n], other[n]) for n in ("fixed", "destroyed", "invented") if n in one and n in other]
    bounded = [(a, b) for a, b in pairs if a.bounded and b.bounded]
    return bool(bounded) and all(a.low <= b.high and b.low <= a.high for a, b in bounded)


def _caveats(data: ReportData) -> list[str]:
    said = []
    people = len(data.participants) or int(number(data.study.get("cohort", {}).get("subjects", 0)) or 0)
    if 0 < people < SMALL_STUDY:
        said.append(
            f"{counted(people, 'subject')}: intervals are wide, and the order of close methods is not settled "
            "by a study of this size."
        )
    said += _control_caveats(data) + _probe_caveats(data)
    spaces = {data.space(m) for c in data.contrasts for m in dissected(data, c) if not data.control(m)}
    if len(spaces) > 1:
        said.append(
            "Image and feature harmonizers are dissected against different errors (voxels, regional values): "
            "compare methods within a kind, not across."
        )
    doubtful = unverified_count(data)
    if doubtful:
        said.append(
            f"{counted(doubtful, 'group')} of scanner and protocol values rest on assumptions or on sources that "
            "were not opened; section 8 names each."
        )
    return said


def _control_caveats(data: ReportData) -> list[str]:
    said = []
    controls = [m for m in data.methods if data.control(m)]
    if not any(data.harmonizer(m) == "blur" for m in controls):
        said.append("No blur control ran: a low site probe cannot be told here from lost detail.")
    for contrast in data.contrasts:
        found = dissected(data, contrast)
        for method in controls:
            if method in found and math.isfinite(net(found[method])):
                said += _control_caveat(data, contrast, method, found)
    return said


def _control_caveat(
    data: ReportData, contrast: str, method: str, found: Mapping[str, Mapping[str, Answer]]
) -> list[str]:
    own, name = found[method], data.harmonizer(method)
    if "identity" in name:
        moved = abs(own["fixed"].value) > _IDENTITY_SLACK
        return [f"{contrast}: the control {method} changed the error; it must not."] if moved else []
    rivals = {
        m: net(p) for m, p in found.items() if not data.control(m) and data.space(m) == data.space(method)
    }
    beaten = sorted(m for m, value in rivals.items() if math.isfinite(value) and value <= net(own))
    said = [f"{contrast}: the control {method} {_told(own)}."]
    if beaten:
        said.append(f"{contrast}: the control {method} nets more than {listed(beaten)}: do not use these.")
    return said


def _probe_caveats(data: ReportData) -> list[str]:
    said = []
    for contrast in data.contrasts:
        probes = {
            m: p
            for m in data.methods
            if not data.control(m) and m != "raw" and (p := data.details.get(m, {}).get("probe", {}).get(contrast))
        }
        known = {
            m: p
            for m, p in probes.items()
            if math.isfinite(number(p.get("balanced_accuracy"))) and math.isfinite(number(p.get("null_high")))
        }
        still = [m for m, p in known.items() if number(p["balanced_accuracy"]) > number(p["null_high"])]
        if still:
            said.append(
                f"{contrast}: a probe retrained on the outputs still tells the scanners apart after "
                f"{len(still)} of {len(known)} harmonizers ({listed(still)})."
            )
    return said


def unverified_count(data: ReportData) -> int:
    """Return how many groups of values in scanner and card records are not verified."""
    records = [*data.scanners.values(), *data.cards.values()]
    return sum(
        1
        for record in records
        for source in (record.get("provenance") or {}).values()
        if isinstance(source, Mapping) and not source.get("verified", False)
    )

"""The answer in words: what the best and the last method fixed, left, destroyed, invented; and caveats."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .biology_figures import contrasts
from .data import RAW, Answer, ReportData, number
from .diagnosis import diagnosis_sentences
from .style import PARTS
from .words import counted, listed, share, share_interval

if TYPE_CHECKING:
    from markupsafe import Markup

Parts = Mapping[str, Answer]
SMALL_STUDY = 20
"""Subjects below which the page warns that differences between methods may be chance."""
_IDENTITY_SLACK = 0.02
_BLIND_NULL = 0.9
"""A null that reaches this accuracy leaves a site probe nothing to decide."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One method's answers in one place, as text."""

    method: str
    parts: tuple[str, ...]
    net: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Sentences of the header."""

    sentences: tuple[Markup, ...]
    caveats: tuple[str, ...]


def net(parts: Parts) -> float:
    """Return fixed - destroyed - invented: what the raw error lost, less what was newly broken."""
    if "fixed" not in parts:
        return math.nan
    harm = sum(parts[name].value for name in ("destroyed", "invented") if name in parts)
    return parts["fixed"].value - harm


def dissected(data: ReportData, place: str) -> dict[str, Parts]:
    """Return the dissections of all methods in one place, raw (which did nothing) among them."""
    found = {m: data.dissection(m, place) for m in data.methods}
    return {m: parts for m, parts in found.items() if parts}


def rows(data: ReportData, place: str) -> list[Row]:
    """Return all dissected methods of a place, in the page's order."""
    table = []
    for method, parts in dissected(data, place).items():
        texts = tuple(share_interval(parts[p]) if p in parts else "–" for p in PARTS)
        value = net(parts)
        table.append(Row(method=method, parts=texts, net=share(value) if math.isfinite(value) else "–"))
    return table


def verdict(data: ReportData) -> Verdict:
    """Return the answer of the study, and what must be known to read it."""
    from markupsafe import Markup

    sentences = []
    for features in (False, True):
        places = [p for p in data.places if (" " in p) == features and ranking(data, p)]
        if places:
            sentences.append(_sentence(data, places))
    if not sentences:
        sentences = [
            Markup(
                "No harmonizer could be dissected against the truth in this run; the score table shows what "
                "was measured."
            )
        ]
    sentences += diagnosis_sentences(data, contrasts(data, "diagnosis"))
    return Verdict(sentences=tuple(sentences), caveats=tuple(_caveats(data)))


def ranking(data: ReportData, place: str) -> list[str]:
    """Return the harmonizers of a place, controls left out, best net first."""
    found = dissected(data, place)
    rivals = [m for m in found if m != RAW and not data.control(m) and math.isfinite(net(found[m]))]
    return sorted(rivals, key=lambda m: (-net(found[m]), m))


def _sentence(data: ReportData, places: list[str]) -> Markup:
    """Tell the first place in full, and of the others who was best and last."""
    from markupsafe import Markup

    place, *others = places
    found, ranked = dissected(data, place), ranking(data, place)
    best, worst = ranked[0], ranked[-1]
    several = len(ranked) > 1
    if net(found[best]) <= 0.0:
        lead = "did the least harm but no net good" if several else "did no net good"
    else:
        lead = "did best" if several else "is the only harmonizer"
    where = "Images" if " " not in place else "Regional volumes and shapes"
    text = Markup(
        "<strong>{}, {}:</strong> <strong>{}</strong> {}: of the raw error against the truth it {}."
    ).format(where, place.split(" ", 1)[0], best, lead, _told(found[best]))
    if several:
        text += Markup(" <strong>{}</strong> came last: it {}.").format(worst, _told(found[worst]))
        if _overlap(found[best], found[worst]):
            text += Markup(" Their intervals overlap: this study does not rank them.")
    for other in others:
        text += Markup(" {}").format(_other(other, ranking(data, other), (best, worst)))
    return text


def _other(place: str, ranked: list[str], first: tuple[str, str]) -> str:
    name = place.split(" ", 1)[0]
    if (ranked[0], ranked[-1]) == first:
        return f"{name}: the same." if len(ranked) == 1 else f"{name}: the same first and last."
    if len(ranked) == 1:
        return f"{name}: only {ranked[0]}."
    return f"{name}: {ranked[0]} first, {ranked[-1]} last."


def _told(parts: Parts) -> str:
    return listed([_part(name, parts[name].value) for name in PARTS if name in parts])


def _part(name: str, value: float) -> str:
    """Say a negative share for what it is: error added, or damage of the raw scan undone."""
    if value < -0.005 and name == "fixed":
        return f"added {share(-value)} of site error"
    if value < -0.005 and name == "destroyed":
        return f"restored {share(-value)} of lost biology"
    if value < -0.005 and name == "invented":
        return f"took back {share(-value)} of inflation"
    return f"{name} {share(max(value, 0.0))}"


def _overlap(one: Parts, other: Parts) -> bool:
    """Return whether no part separates two methods."""
    pairs = [(one[n], other[n]) for n in ("fixed", "destroyed", "invented") if n in one and n in other]
    bounded = [(a, b) for a, b in pairs if a.bounded and b.bounded]
    return bool(bounded) and all(a.low <= b.high and b.low <= a.high for a, b in bounded)


def _caveats(data: ReportData) -> list[str]:
    said = []
    if 0 < data.people < SMALL_STUDY:
        said.append(
            f"{counted(data.people, 'subject')}: intervals are wide, and a study of this size does not "
            "settle the order of close methods."
        )
    if data.nested:
        said.append(
            f"Every person was seen by one scanner (design: {data.design}): scores that need two scans of "
            "one person are left out, and section 6 names them."
        )
    said += _control_caveats(data) + _probe_caveats(data)
    doubtful = unverified_count(data)
    if doubtful:
        said.append(
            f"{counted(doubtful, 'group')} of scanner and protocol values rest on assumptions or on sources "
            "that were not opened; section 8 names each."
        )
    return said


def _control_caveats(data: ReportData) -> list[str]:
    said = []
    controls = [m for m in data.methods if data.control(m)]
    blurs = [m for m in controls if data.harmonizer(m) == "blur"]
    if not blurs:
        said.append("No blur control ran: a low site probe cannot be told here from lost detail.")
    for method in controls:
        places = [p for p in data.places if method in dissected(data, p)]
        if method in blurs and places:
            told = _told(dissected(data, places[0])[method])
            said.append(f"The control {method}, which nobody should use, {told} ({places[0]}).")
        for place in places:
            said += _control_caveat(data, place, method)
    return said


def _control_caveat(data: ReportData, place: str, method: str) -> list[str]:
    found = dissected(data, place)
    own = net(found[method])
    if "identity" in data.harmonizer(method):
        moved = abs(found[method]["fixed"].value) > _IDENTITY_SLACK if "fixed" in found[method] else False
        return [f"{place}: the control {method} changed the error; it must not."] if moved else []
    beaten = [m for m in ranking(data, place) if net(found[m]) <= own]
    if not beaten:
        return []
    return [
        f"{place}: the control {method} nets more than {listed(beaten)}, so these do not earn their place."
    ]


def _probe_caveats(data: ReportData) -> list[str]:
    """Say where a retrained probe still tells the scanners apart; contrasts with one result share a line."""
    results: dict[tuple[tuple[str, ...], int], list[str]] = {}
    blind = []
    for contrast in data.contrasts:
        known = _probes(data, contrast)
        if known and all(number(p["null_high"]) >= _BLIND_NULL for p in known.values()):
            blind.append(contrast)
            continue
        still = tuple(m for m, p in known.items() if number(p["balanced_accuracy"]) > number(p["null_high"]))
        if still:
            results.setdefault((still, len(known)), []).append(contrast)
    said = [
        f"{listed(contrasts)}: a probe retrained on the outputs still tells the scanners apart after "
        f"{len(still)} of {count} harmonizers ({listed(still)})."
        for (still, count), contrasts in results.items()
    ]
    if blind:
        said.append(
            f"{listed(blind)}: with so few subjects even shuffled labels are told apart; the site probe "
            "decides nothing here."
        )
    return said


def _probes(data: ReportData, contrast: str) -> dict[str, Mapping[str, Any]]:
    probes = {
        m: data.details.get(m, {}).get("probe", {}).get(contrast) or {}
        for m in data.methods
        if m != RAW and not data.control(m)
    }
    keys = ("balanced_accuracy", "null_high")
    return {m: p for m, p in probes.items() if all(math.isfinite(number(p.get(k))) for k in keys)}


def unverified_count(data: ReportData) -> int:
    """Return how many groups of values in scanner and card records are not verified."""
    records = [*data.scanners.values(), *data.cards.values()]
    return sum(
        1
        for record in records
        for source in (record.get("provenance") or {}).values()
        if isinstance(source, Mapping) and not source.get("verified", False)
    )

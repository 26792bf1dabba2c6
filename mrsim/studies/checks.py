"""Checks that join several sections of a study, or a study and the libraries.

Each check states which sections it needs and returns problems as ``(key path, cause, remedy)``; a check runs
as soon as its sections are valid by themselves, so that a user sees as many problems at once as possible.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .attribute_causes import CAUSES
from .cohort import CohortSection, cohort_findings
from .problems import did_you_mean
from .study import (
    AttributionSection,
    HarmonizerSection,
    ProtocolSection,
    ReconSection,
    ReportSection,
    ScannerSection,
)
from .study import StudySection as _StudySection

MAX_IMAGES = 200_000

Finding = tuple[str, str, str]
Sections = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Check:
    """A check and the sections it reads."""

    needs: tuple[str, ...]
    find: Callable[[Sections], Iterator[Finding]]


def cross_check(sections: Sections) -> list[Finding]:
    """Run every check whose sections are there, and return what they found."""
    return [
        finding
        for check in CHECKS
        if all(name in sections for name in check.needs)
        for finding in check.find(sections)
    ]


def _unique_scanner_labels(sections: Sections) -> Iterator[Finding]:
    scanners: Sequence[ScannerSection] = sections["scanners"]
    yield from _unique("scanners", "label", [scanner.label for scanner in scanners])


def _unique_harmonizer_labels(sections: Sections) -> Iterator[Finding]:
    harmonizers: Sequence[HarmonizerSection] = sections["harmonizers"]
    yield from _unique("harmonizers", "label", [harmonizer.key for harmonizer in harmonizers])
    for index, harmonizer in enumerate(harmonizers):
        if harmonizer.key.casefold() in {"raw", "truth"}:
            yield (
                f"harmonizers.{index}.label",
                f"{harmonizer.key!r} is kept for the images before harmonization and for the truth",
                "Choose another label.",
            )


def _unique_contrasts(sections: Sections) -> Iterator[Finding]:
    protocols: Sequence[ProtocolSection] = sections["protocols"]
    yield from _unique("protocols", "contrast", [protocol.contrast for protocol in protocols])


def _unique(section: str, key: str, values: Sequence[str]) -> Iterator[Finding]:
    first: dict[str, int] = {}
    for index, value in enumerate(values):
        earlier = first.setdefault(value.casefold(), index)
        if earlier != index:
            yield (
                f"{section}.{index}.{key}",
                f"must be unique (upper and lower case count as equal); got {value!r}, "
                f"and {values[earlier]!r} at {section}.{earlier}.{key}",
                "Give each its own.",
            )


def _reference_scanner(sections: Sections) -> Iterator[Finding]:
    study: _StudySection = sections["study"]
    labels = [scanner.label for scanner in sections["scanners"]]
    if study.reference_scanner not in labels:
        yield (
            "study.reference_scanner",
            f"must be the label of one of the scanners; got {study.reference_scanner!r}",
            did_you_mean(study.reference_scanner, labels),
        )


def _card_labels(sections: Sections) -> Iterator[Finding]:
    labels = [scanner.label for scanner in sections["scanners"]]
    protocols: Sequence[ProtocolSection] = sections["protocols"]
    for index, protocol in enumerate(protocols):
        for label in protocol.cards:
            if label not in labels:
                yield (
                    f"protocols.{index}.cards.{label}",
                    "must be the label of one of the scanners",
                    did_you_mean(label, labels),
                )


def _recon_labels(sections: Sections) -> Iterator[Finding]:
    labels = [scanner.label for scanner in sections["scanners"]]
    recon: ReconSection = sections["recon"]
    for label in recon.scanners:
        if label not in labels:
            yield (
                f"recon.scanners.{label}",
                "must be the label of one of the scanners",
                did_you_mean(label, labels),
            )


def _harmonizer_contrasts(sections: Sections) -> Iterator[Finding]:
    known = [protocol.contrast for protocol in sections["protocols"]]
    harmonizers: Sequence[HarmonizerSection] = sections["harmonizers"]
    for index, harmonizer in enumerate(harmonizers):
        for contrast in harmonizer.contrasts or ():
            if contrast not in known:
                yield (
                    f"harmonizers.{index}.contrasts",
                    f"{contrast!r} is not acquired in this study",
                    f"Acquired: {', '.join(known)}",
                )


def _cohort(sections: Sections) -> Iterator[Finding]:
    yield from cohort_findings(sections["cohort"], [scanner.label for scanner in sections["scanners"]])


def _example_subject(sections: Sections) -> Iterator[Finding]:
    cohort: CohortSection = sections["cohort"]
    report: ReportSection = sections["report"]
    if report.example_subject > cohort.subjects:
        yield (
            "report.example_subject",
            f"must not exceed cohort.subjects = {cohort.subjects}; got {report.example_subject}",
            "",
        )


def _attribution_scanners(sections: Sections) -> Iterator[Finding]:
    wanted: AttributionSection = sections["attribution"]
    labels = [scanner.label for scanner in sections["scanners"]]
    for index, label in enumerate(wanted.scanners or ()):
        if label not in labels:
            yield (
                f"attribution.scanners.{index}",
                f"must be the label of one of the scanners; got {label!r}",
                did_you_mean(label, labels),
            )
    if wanted.scanners is not None and len(set(wanted.scanners)) < 2:
        yield "attribution.scanners", "must be two different scanners", "Name the reference first."


def _attribution_contrast(sections: Sections) -> Iterator[Finding]:
    wanted: AttributionSection = sections["attribution"]
    known = [protocol.contrast for protocol in sections["protocols"]]
    if wanted.contrast is not None and wanted.contrast not in known:
        yield (
            "attribution.contrast",
            f"{wanted.contrast!r} is not acquired in this study",
            f"Acquired: {', '.join(known)}",
        )


def _attribution_subject(sections: Sections) -> Iterator[Finding]:
    wanted: AttributionSection = sections["attribution"]
    cohort: CohortSection = sections["cohort"]
    if wanted.subject > cohort.subjects:
        yield (
            "attribution.subject",
            f"must not exceed cohort.subjects = {cohort.subjects}; got {wanted.subject}",
            "",
        )


def _attribution_causes(sections: Sections) -> Iterator[Finding]:
    wanted: AttributionSection = sections["attribution"]
    for index, name in enumerate(wanted.causes):
        if name not in CAUSES:
            yield f"attribution.causes.{index}", f"unknown cause {name!r}", did_you_mean(name, list(CAUSES))
        elif name in wanted.causes[:index]:
            yield f"attribution.causes.{index}", f"must be unique; got {name!r} twice", "Name it once."


def _size(sections: Sections) -> Iterator[Finding]:
    cohort: CohortSection = sections["cohort"]
    repeats = [scanner.repeats for scanner in sections["scanners"]]
    scans = sum(repeats) if cohort.travels else max(repeats)
    images = cohort.subjects * scans * len(sections["protocols"])
    if images > MAX_IMAGES:
        yield (
            "cohort.subjects",
            f"subjects x repeats x contrasts make {images} images; at most {MAX_IMAGES} are planned",
            "Split it into several studies.",
        )


CHECKS = (
    Check(needs=("scanners",), find=_unique_scanner_labels),
    Check(needs=("harmonizers",), find=_unique_harmonizer_labels),
    Check(needs=("protocols",), find=_unique_contrasts),
    Check(needs=("study", "scanners"), find=_reference_scanner),
    Check(needs=("protocols", "scanners"), find=_card_labels),
    Check(needs=("recon", "scanners"), find=_recon_labels),
    Check(needs=("harmonizers", "protocols"), find=_harmonizer_contrasts),
    Check(needs=("cohort", "scanners"), find=_cohort),
    Check(needs=("cohort", "report"), find=_example_subject),
    Check(needs=("cohort", "scanners", "protocols"), find=_size),
    Check(needs=("attribution", "scanners"), find=_attribution_scanners),
    Check(needs=("attribution", "protocols"), find=_attribution_contrast),
    Check(needs=("attribution", "cohort"), find=_attribution_subject),
    Check(needs=("attribution",), find=_attribution_causes),
)

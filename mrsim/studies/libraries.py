"""What is installed: the libraries a study draws on, as one small interface.

`Libraries` is what planning needs; `InstalledLibraries` answers from the packages, importing each only when
asked. Tests and other front ends may pass any object of the same shape.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from .checks import Finding, Sections
from .problems import did_you_mean

HarmonizerKind = Literal["image", "feature"]


class Libraries(Protocol):
    """Names and records of scanners, protocol cards, harmonizers and phantoms."""

    def names(self, kind: str) -> Sequence[str]:
        """Return the names of one kind: scanners, protocols, harmonizers, phantoms or studies."""

    def scanner(self, name: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """Return the resolved record of a scanner (JSON data); ValueError when a value cannot be."""

    def card(self, name: str, voxel_size: float | None) -> dict[str, Any]:
        """Return the resolved record of a protocol card, at a coarser voxel size [m] when given."""

    def native_cards(self, scanner: str, contrast: str) -> Sequence[str]:
        """Return the names of the cards by which a scanner acquires a contrast."""

    def harmonizer_kind(self, name: str) -> HarmonizerKind:
        """Return whether a harmonizer takes images or features."""

    def harmonizer(self, name: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return all parameters of a harmonizer, defaults included; ValueError for a wrong one."""

    def capabilities(self, name: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what a harmonizer declares that it needs and can do (`mrsim.harmonizers.Capabilities`)."""


def is_path(name: str) -> bool:
    """Whether a name in a study means a file rather than a library entry."""
    return name.endswith(".toml") or "/" in name or "\\" in name


def library_check(sections: Sections, libraries: Libraries) -> Iterator[Finding]:
    """Check every name in a study against the libraries."""
    yield from _check_anatomy(sections, libraries)
    yield from _check_scanners(sections, libraries)
    yield from _check_cards(sections, libraries)
    yield from _check_harmonizers(sections, libraries)
    yield from _check_travelers(sections, libraries)


def _check_anatomy(sections: Sections, libraries: Libraries) -> Iterator[Finding]:
    if "cohort" in sections:
        yield from _check_name("cohort.anatomy", sections["cohort"].anatomy, "phantoms", libraries)


def _check_scanners(sections: Sections, libraries: Libraries) -> Iterator[Finding]:
    for index, scanner in enumerate(sections.get("scanners", ())):
        place = f"scanners.{index}"
        found = list(_check_name(f"{place}.name", scanner.name, "scanners", libraries))
        yield from found
        if not found:
            try:
                libraries.scanner(scanner.name, scanner.overrides)
            except ValueError as error:
                yield (f"{place}.overrides" if scanner.overrides else place), str(error), ""


def _check_cards(sections: Sections, libraries: Libraries) -> Iterator[Finding]:
    known_scanners = set(libraries.names("scanners"))
    for index, protocol in enumerate(sections.get("protocols", ())):
        for label, name in protocol.cards.items():
            yield from _check_name(f"protocols.{index}.cards.{label}", name, "protocols", libraries)
        for scanner in sections.get("scanners", ()):
            usable = scanner.name in known_scanners or (
                is_path(scanner.name) and Path(scanner.name).is_file()
            )
            if scanner.label in protocol.cards or not usable:
                continue
            cards = libraries.native_cards(scanner.name, protocol.contrast)
            if len(cards) != 1:
                found = f"several {protocol.contrast} cards" if cards else f"no {protocol.contrast} card"
                yield (
                    f"protocols.{index}.cards",
                    f"scanner {scanner.label!r} ({scanner.name}) has {found} of its own",
                    f'Name one: cards = {{{scanner.label} = "{cards[0] if cards else "..."}"}}; '
                    "`mrsim list protocols` shows them.",
                )


def _check_harmonizers(sections: Sections, libraries: Libraries) -> Iterator[Finding]:
    for index, harmonizer in enumerate(sections.get("harmonizers", ())):
        found = list(_check_name(f"harmonizers.{index}.name", harmonizer.name, "harmonizers", libraries))
        yield from found
        if not found:
            try:
                libraries.harmonizer(harmonizer.name, harmonizer.params)
            except (ValueError, TypeError) as error:
                yield f"harmonizers.{index}.params", str(error), ""


def _check_travelers(sections: Sections, libraries: Libraries) -> Iterator[Finding]:
    """Refuse methods that learn from people who travel where nobody does."""
    if "cohort" not in sections or sections["cohort"].travels:
        return
    for index, harmonizer in enumerate(sections.get("harmonizers", ())):
        if harmonizer.name not in libraries.names("harmonizers"):
            continue
        try:
            able = libraries.capabilities(harmonizer.name, harmonizer.params)
        except (ValueError, TypeError):  # told with its parameters
            continue
        if able["needs_traveling_subjects"] or able["needs_pairs"]:
            yield (
                f"harmonizers.{index}.name",
                f"{harmonizer.name!r} learns from people who were scanned on several scanners; with design "
                f"{sections['cohort'].design.kind!r} there are none",
                "Take another method, or let everybody travel.",
            )


def _check_name(place: str, name: str, kind: str, libraries: Libraries) -> Iterator[Finding]:
    known = libraries.names(kind)
    if name in known:
        return
    if is_path(name):
        if not Path(name).is_file():
            yield place, f"no such file: {name!r}", ""
        return
    singular = kind.removesuffix("s")
    yield place, f"unknown {singular} {name!r}", did_you_mean(name, list(known))

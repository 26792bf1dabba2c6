"""The libraries that come with the package; each is imported when it is first asked for."""

import dataclasses
import importlib.resources
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from .libraries import HarmonizerKind
from .problems import did_you_mean

if TYPE_CHECKING:
    from protocols import Protocol, Scanner

PHANTOMS = ("icbm152",)
"""Anatomies of a cohort."""


class InstalledLibraries:
    """Answers from `protocols`, `phantoms` and `mrsim.harmonizers` (see `libraries.Libraries`)."""

    def names(self, kind: str) -> Sequence[str]:
        """Return the names of one kind; ValueError for an unknown kind."""
        if kind not in _LISTS:
            raise ValueError(f"kind must be one of {sorted(_LISTS)}; got {kind!r}")
        return tuple(_LISTS[kind]())

    def scanner(self, name: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """Return the record of a scanner with some values changed."""
        return _plain(scanner_with(_scanner(name), overrides))

    def card(self, name: str, voxel_size: float | None) -> dict[str, Any]:
        """Return the record of a protocol card, at a coarser voxel size [m] when given."""
        card = _card(name)
        return _plain(card if voxel_size is None else card.at_resolution(voxel_size))

    def native_cards(self, scanner: str, contrast: str) -> Sequence[str]:
        """Return the cards written for a scanner and a contrast, or else for others of the same model."""
        own = _scanner(scanner)
        cards = [card for card in map(_card, self.names("protocols")) if card.suffix == contrast]
        fitting = [card for card in cards if card.scanner in {scanner, own.name}]
        fitting = fitting or [card for card in cards if self._same_model(own, card.scanner)]
        # A scanner may own a steady-state mapping card of the same weighting too; the other is meant.
        prepared = [card for card in fitting if card.sequence != "gre"]
        return tuple(card.name for card in prepared or fitting)

    def _same_model(self, own: "Scanner", other: str) -> bool:
        if other not in self.names("scanners"):
            return False
        record = _scanner(other)
        return (record.vendor, record.model) == (own.vendor, own.model)

    def harmonizer_kind(self, name: str) -> HarmonizerKind:
        """Return whether a harmonizer takes images or features; ValueError for one of diffusion scans."""
        from mrsim.harmonizers import DiffusionHarmonizer, ImageHarmonizer, harmonizer_class

        found = harmonizer_class(name)
        if issubclass(found, DiffusionHarmonizer):
            raise ValueError(
                f"harmonizers of a study must take images or features; got '{name}', which takes diffusion "
                f"scans. Use mrsim harmonize {name} --in BIDS on the study's output."
            )
        return "image" if issubclass(found, ImageHarmonizer) else "feature"

    def harmonizer(self, name: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return all parameters of a harmonizer, defaults included."""
        from mrsim.harmonizers import harmonizer

        values: dict[str, Any] = _jsonable(harmonizer(name, **params).get_params())
        return values

    def capabilities(self, name: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what a harmonizer declares that it needs and can do."""
        from mrsim.harmonizers import harmonizer

        return dataclasses.asdict(harmonizer(name, **params).declared())


def scanner_with(scanner: "Scanner", overrides: Mapping[str, Any]) -> "Scanner":
    """Return a scanner with changed values.

    Parameters
    ----------
    scanner : Scanner
        The record.
    overrides : mapping
        ``{"noise": {"relative_figure": 1.2}}`` or ``{"software": "..."}``.

    Raises
    ------
    ValueError
        For a name the record does not have, or a value it refuses.
    """
    changes: dict[str, Any] = {}
    for name, value in overrides.items():
        if not hasattr(scanner, name) or name in {"name", "provenance"}:
            known = [field.name for field in dataclasses.fields(scanner)]
            raise ValueError(f"a scanner has no {name!r}. {did_you_mean(name, known)}")
        group = getattr(scanner, name)
        changes[name] = _replaced(group, name, value) if dataclasses.is_dataclass(group) else value
    return scanner.replace(**changes) if changes else scanner


def _replaced(group: Any, name: str, values: object) -> object:
    known = [field.name for field in dataclasses.fields(group)]
    if not isinstance(values, Mapping):
        raise ValueError(f"{name!r} is a group of values; write {name}.{known[0]} = ...")
    for key, value in values.items():
        if key not in known:
            raise ValueError(f"scanner group {name!r} has no {key!r}. {did_you_mean(key, known)}")
        old = getattr(group, key)
        number = isinstance(old, int | float) and not isinstance(old, bool)
        if number != (isinstance(value, int | float) and not isinstance(value, bool)):
            raise ValueError(
                f"{name}.{key} must be {'a number' if number else type(old).__name__}; got {value!r}"
            )
    return dataclasses.replace(group, **values)


@cache
def _scanner(name: str) -> "Scanner":
    from protocols import load_scanner

    return load_scanner(name)


@cache
def _card(name: str) -> "Protocol":
    from protocols import load_protocol

    return load_protocol(name)


def _scanner_names() -> Sequence[str]:
    from protocols import list_scanners

    return list_scanners()


def _protocol_names() -> Sequence[str]:
    from protocols import list_protocols

    return list_protocols()


def _harmonizer_names() -> Sequence[str]:
    from mrsim.harmonizers import list_harmonizers

    return tuple(info.name for info in list_harmonizers())


def _study_names() -> Sequence[str]:
    folder = importlib.resources.files("mrsim.studies") / "library"
    if not folder.is_dir():
        return ()
    return tuple(
        sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))
    )


_LISTS = {
    "scanners": _scanner_names,
    "protocols": _protocol_names,
    "harmonizers": _harmonizer_names,
    "phantoms": lambda: PHANTOMS,
    "studies": _study_names,
}


def _plain(record: Any) -> dict[str, Any]:
    values: dict[str, Any] = _jsonable(dataclasses.asdict(record))
    return values


def _jsonable(value: Any) -> Any:
    """Return tuples as lists and mappings as dicts, so that records are equal to what JSON gives back."""
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"a parameter must be plain data; got {type(value).__name__}")

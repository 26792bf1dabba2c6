"""The scanner record: what one installed MR system is, as far as it changes images."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..records import Provenance, find_record, list_records, load_record, read_toml, require
from ..sequence import GAMMA_BAR
from .scanner_habits import ReconChain, SessionSpread, Stability
from .scanner_magnet import EddyTerm, Field, GradientResponse, Gradients
from .scanner_radio import Noise, ReceiveArray, Transmit

__all__ = [
    "EddyTerm",
    "Field",
    "GradientResponse",
    "Gradients",
    "Noise",
    "ReceiveArray",
    "ReconChain",
    "Scanner",
    "SessionSpread",
    "Stability",
    "Transmit",
    "list_scanners",
    "load_scanner",
]

Vendor = Literal["Siemens", "GE", "Philips", "Generic"]


@dataclass(frozen=True, kw_only=True)
class Scanner:
    """One installed scanner.

    Attributes
    ----------
    name : str
        Library name.
    vendor, manufacturer, model, software : str
        As DICOM and BIDS give them (`vendor` short, `manufacturer` as in the header).
    station, institution : str
        BIDS StationName and InstitutionName; two records that differ here are two machines.
    field, gradients, receive, noise, transmit, session, recon
        Value groups, each with its `provenance` entry.
    response, stability
        Optional groups: how gradients respond in time, and what changes within a scan; ideal by default.
    provenance : dict
        Source and verified flag per group.
    """

    name: str
    vendor: Vendor
    manufacturer: str
    model: str
    software: str
    station: str
    institution: str
    field: Field
    gradients: Gradients
    receive: ReceiveArray
    noise: Noise
    transmit: Transmit
    session: SessionSpread
    recon: ReconChain
    response: GradientResponse = dataclasses.field(default_factory=GradientResponse)
    stability: Stability = dataclasses.field(default_factory=Stability)
    notes: str = ""
    provenance: dict[str, Provenance] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        groups = ["field", "gradients", "receive", "noise", "transmit", "session", "recon"]
        # An ideal response needs no source.
        if self.response != GradientResponse():
            groups.append("response")
        if self.stability != Stability():
            groups.append("stability")
        require(
            "scanner",
            [
                (bool(self.name), "name must not be empty"),
                *(
                    (g in self.provenance, f"{g}.source: missing; say where the values come from")
                    for g in groups
                ),
            ],
        )

    @property
    def b0(self) -> float:
        """Field strength [T] from the centre frequency."""
        return self.field.f0 / GAMMA_BAR

    @property
    def f0(self) -> float:
        """Centre frequency [Hz]."""
        return self.field.f0

    def replace(self, **changes: object) -> Scanner:
        """Copy with changed fields, checked again."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]


def load_scanner(name_or_path: str | Path) -> Scanner:
    """Load a scanner record from the library (by name) or from a TOML file (by path).

    Raises
    ------
    RecordError
        With all errors of the record at once.
    """
    path = find_record("scanners", name_or_path)
    return load_record(Scanner, read_toml(path), path.name)


def list_scanners() -> tuple[str, ...]:
    """Names of the scanners in the library."""
    return list_records("scanners")

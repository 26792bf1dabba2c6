"""Pulseq extensions: labels are evaluated, harmless ones are read, the rest is refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .seqfile import Column, Section, SeqFileError, parse_id, parse_number, parse_table, table_tokens
from .sequence import COUNTER_LABELS, FLAG_LABELS, IntArray

KNOWN = ("LABELSET", "LABELINC", "TRIGGERS", "DELAYS", "ROTATIONS", "RF_SHIMS")
_LABEL_VALUE = Column("label value", low=-(2**31), high=2**31 - 1, integer=True)
_LIST = tuple(Column(name, low=0, high=2**31 - 1, integer=True) for name in ("type", "ref", "next"))


@dataclass
class Extensions:
    """Tables of all extension sections of a file."""

    lists: dict[int, dict[str, float]] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    labels: dict[str, dict[int, tuple[str, int]]] = field(default_factory=dict)
    identity_rotations: set[int] = field(default_factory=set)
    ids: dict[str, set[int]] = field(default_factory=dict)

    def read(self, section: Section) -> None:
        """Read one [EXTENSIONS] or 'extension NAME N' section."""
        if section.name == "EXTENSIONS":
            self.lists = parse_table(section, _LIST)
            return
        words = section.name.split()
        if len(words) != 3 or words[1] not in KNOWN:
            raise SeqFileError(
                f"extension must be one of {', '.join(KNOWN)}; got {' '.join(words[1:2])!r}", section.line
            )
        name, number = words[1], parse_id(words[2], section.line)
        if number in self.names:
            raise SeqFileError(f"extension number {number} must be used once", section.line)
        self.names[number] = name
        if name in ("LABELSET", "LABELINC"):
            self.labels[name] = _labels(section)
            self.ids[name] = set(self.labels[name])
        elif name == "ROTATIONS":
            self._rotations(section)
        else:
            self.ids[name] = _other_ids(section, name)

    def _rotations(self, section: Section) -> None:
        columns = [Column(f"quaternion {axis}", low=-1.0001, high=1.0001) for axis in "0xyz"]
        table = parse_table(section, columns)
        self.ids["ROTATIONS"] = set(table)
        unit = {i for i, row in table.items() if abs(abs(row["quaternion 0"]) - 1.0) < 1e-9}
        self.identity_rotations = unit

    def chain(self, start: int, line: int) -> list[tuple[str, int]]:
        """Extensions (name, ref) of the list that starts at `start`."""
        found: list[tuple[str, int]] = []
        number, seen = start, set[int]()
        while number:
            if number in seen or number not in self.lists:
                reason = "runs in a circle" if number in seen else "does not exist"
                raise SeqFileError(f"extension list {number} {reason}", line)
            seen.add(number)
            entry = self.lists[number]
            name = self.names.get(int(entry["type"]))
            ref = int(entry["ref"])
            if name is None or ref not in self.ids[name]:
                raise SeqFileError(f"extension list {number} refers to a missing extension entry", line)
            self._refuse(name, ref, line)
            found.append((name, ref))
            number = int(entry["next"])
        return found

    def _refuse(self, name: str, ref: int, line: int) -> None:
        if name == "RF_SHIMS":
            raise SeqFileError("RF_SHIMS (parallel transmission) is not supported", line)
        if name == "ROTATIONS" and ref not in self.identity_rotations:
            raise SeqFileError("ROTATIONS other than the identity are not supported", line)


def _labels(section: Section) -> dict[int, tuple[str, int]]:
    table: dict[int, tuple[str, int]] = {}
    for number, (identity, value, label) in table_tokens(section, 3):
        if label not in COUNTER_LABELS + FLAG_LABELS:
            raise SeqFileError(f"label must be one of the specification's; got {label[:40]!r}", number)
        table[parse_id(identity, number)] = (label, int(parse_number(value, _LABEL_VALUE, number)))
    return table


def _other_ids(section: Section, name: str) -> set[int]:
    """Ids of extensions whose content changes no signal (triggers, soft delays) or is refused in use."""
    ids = set()
    for number, line in section.rows:
        tokens = line.split()
        if name in ("TRIGGERS", "DELAYS") and len(tokens) != 5:
            raise SeqFileError(f"extension {name} rows must have 5 columns; got {len(tokens)}", number)
        ids.add(parse_id(tokens[0], number))
    return ids


def evaluate_labels(
    extensions: Extensions, ext: NDArray[np.int64], adc: NDArray[np.int64], lines: Sequence[int]
) -> dict[str, IntArray]:
    """Value of every label at each block with an ADC.

    Parameters
    ----------
    extensions : Extensions
        Tables of the file.
    ext, adc : ndarray of int, shape (n_blocks,)
        Extension list and ADC event of each block.
    lines : sequence of int
        File line of each block.

    Notes
    -----
    The labels of a block are applied before its ADC; in one block, LABELSET before LABELINC.
    """
    state: dict[str, int] = {}
    chains: dict[int, list[tuple[str, int]]] = {}
    history: dict[str, list[int]] = {}
    n_adc = 0
    for block in np.flatnonzero(ext | adc).tolist():
        number = int(ext[block])
        if number:
            if number not in chains:
                chain = extensions.chain(number, lines[block])
                chains[number] = sorted(
                    ((n, r) for n, r in chain if n.startswith("LABEL")),
                    key=lambda item: item[0],
                    reverse=True,
                )
            _apply(extensions, chains[number], state)
        if adc[block]:
            for label, value in state.items():
                history.setdefault(label, [0] * n_adc).append(value)
            n_adc += 1
    return {label: np.array(values, dtype=np.int32) for label, values in history.items()}


def _apply(extensions: Extensions, chain: list[tuple[str, int]], state: dict[str, int]) -> None:
    for name, ref in chain:
        label, value = extensions.labels[name][ref]
        state[label] = value + (state.get(label, 0) if name == "LABELINC" else 0)
        if abs(state[label]) >= 2**31:
            raise SeqFileError(f"label {label} must stay within 32 bits")

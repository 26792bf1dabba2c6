"""Pulseq extensions: labels, rotations, soft delays and RF shims are read, triggers are checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..sequence import COUNTER_LABELS, FLAG_LABELS, FloatArray, IntArray
from .rotations import rotation_matrix
from .seqfile import Column, Section, SeqFileError, parse_id, parse_number, parse_table, table_tokens

T = TypeVar("T")
KNOWN = ("LABELSET", "LABELINC", "TRIGGERS", "DELAYS", "ROTATIONS", "RF_SHIMS")
_ONCE_PER_BLOCK = ("DELAYS", "ROTATIONS", "RF_SHIMS")
_MAX_CHANNELS = 1024
_MAX_CHAIN = 256  # extensions of one block; the specification has 22 labels to set and to count
_NORM_TOLERANCE = 1e-3  # of a unit quaternion; files hold six digits
_LABEL_VALUE = Column("label value", low=-(2**31), high=2**31 - 1, integer=True)
_LIST = tuple(Column(name, low=0, high=2**31 - 1, integer=True) for name in ("type", "ref", "next"))
_QUATERNION = tuple(Column(f"quaternion {axis}", low=-1.01, high=1.01) for axis in "0xyz")
_DELAY_NUMBER = Column("soft delay number", low=0, high=2**31 - 1, integer=True)
_DELAY_OFFSET = Column("soft delay offset", 1e-6, low=-1e9, high=1e9)
_DELAY_FACTOR = Column("soft delay factor", low=-1e9, high=1e9)
_CHANNELS = Column("number of RF shim channels", low=1, high=_MAX_CHANNELS, integer=True)
_SHIM_MAGNITUDE = Column("RF shim magnitude", low=0.0, high=1e6)
_SHIM_PHASE = Column("RF shim phase", low=-1e6, high=1e6)


@dataclass(frozen=True, kw_only=True)
class SoftDelay:
    """One soft delay: block duration = value / factor + offset.

    Attributes
    ----------
    number : int
        Numeric id; it goes with the hint.
    offset : float
        Constant part of the duration [s].
    factor : float
        Divisor of the value, not 0.
    hint : str
        Name under which a user sets the value.
    """

    number: int
    offset: float
    factor: float
    hint: str

    def duration(self, value: float) -> float:
        """Block duration [s] for a value [s]."""
        return value / self.factor + self.offset

    def value(self, duration: float) -> float:
        """Return the value [s] that gives a block duration [s]."""
        return (duration - self.offset) * self.factor


@dataclass
class Extensions:
    """Tables of all extension sections of a file."""

    lists: dict[int, dict[str, float]] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    labels: dict[str, dict[int, tuple[str, int]]] = field(default_factory=dict)
    rotations: dict[int, FloatArray] = field(default_factory=dict)
    shims: dict[int, NDArray[np.complex128]] = field(default_factory=dict)
    soft_delays: dict[int, SoftDelay] = field(default_factory=dict)
    ids: dict[str, set[int]] = field(default_factory=dict)

    def read(self, section: Section) -> None:
        """Read one [EXTENSIONS] or 'extension NAME N' section."""
        if section.name == "EXTENSIONS":
            self.lists = parse_table(section, _LIST)
            return
        words = section.name.split()
        if len(words) != 3 or words[1] not in KNOWN:
            raise SeqFileError(
                f"extension must be one of {', '.join(KNOWN)}; got {' '.join(words[1:2])[:40]!r}",
                section.line,
            )
        name, number = words[1], parse_id(words[2], section.line)
        if number in self.names or name in self.ids:
            raise SeqFileError(f"extension {name} and its number {number} must be used once", section.line)
        self.names[number] = name
        self.ids[name] = self._rows(name, section)

    def _rows(self, name: str, section: Section) -> set[int]:
        """Read the rows of one extension and return their ids."""
        if name == "ROTATIONS":
            self.rotations = _rotations(section)
            return set(self.rotations)
        if name == "RF_SHIMS":
            self.shims = _unique(section, _shim)
            return set(self.shims)
        if name == "DELAYS":
            self.soft_delays = _soft_delays(section)
            return set(self.soft_delays)
        if name == "TRIGGERS":
            return {parse_id(tokens[0], number) for number, tokens in table_tokens(section, 5)}
        self.labels[name] = _unique(section, _label)
        return set(self.labels[name])

    def chain(self, start: int, line: int) -> list[tuple[str, int]]:
        """Extensions (name, ref) of the list that starts at `start`."""
        found: list[tuple[str, int]] = []
        number, seen = start, set[int]()
        while number:
            if number in seen or number not in self.lists:
                reason = "runs in a circle" if number in seen else "does not exist"
                raise SeqFileError(f"extension list {number} {reason}", line)
            seen.add(number)
            if len(seen) > _MAX_CHAIN:
                raise SeqFileError(f"extension list {start} must hold <= {_MAX_CHAIN} entries", line)
            entry = self.lists[number]
            name = self.names.get(int(entry["type"]))
            ref = int(entry["ref"])
            if name is None or ref not in self.ids[name]:
                raise SeqFileError(f"extension list {number} refers to a missing extension entry", line)
            found.append((name, ref))
            number = int(entry["next"])
        names = [name for name, _ in found]
        for name in _ONCE_PER_BLOCK:
            if names.count(name) > 1:
                raise SeqFileError(f"extension {name} must come once per block; list {start}", line)
        return found

    def of_blocks(self, ext: NDArray[np.int64], lines: Sequence[int]) -> dict[str, IntArray]:
        """Find the rotation, soft delay and RF shim of every block.

        Parameters
        ----------
        ext : ndarray of int, shape (n_blocks,)
            Extension list of each block, 0 = none.
        lines : sequence of int
            File line of each block.

        Returns
        -------
        dict of str to ndarray of int32, shape (n_blocks,)
            Ids of 'DELAYS', 'ROTATIONS' and 'RF_SHIMS', 0 = none.
        """
        unique, first, inverse = np.unique(ext, return_index=True, return_inverse=True)
        table = np.zeros((len(_ONCE_PER_BLOCK), unique.size), dtype=np.int32)
        for column, (number, block) in enumerate(zip(unique.tolist(), first.tolist(), strict=True)):
            for name, ref in self.chain(number, lines[block]):
                if name in _ONCE_PER_BLOCK:
                    table[_ONCE_PER_BLOCK.index(name), column] = ref
        return dict(zip(_ONCE_PER_BLOCK, table[:, inverse.reshape(-1)], strict=True))


def _unique(section: Section, parse: Callable[[list[str], int], T]) -> dict[int, T]:
    """Rows of any number of columns by id."""
    table: dict[int, T] = {}
    for number, line in section.rows:
        tokens = line.split()
        identity = parse_id(tokens[0], number)
        if identity in table:
            raise SeqFileError(f"[{section.name}] id {identity} must be unique", number)
        table[identity] = parse(tokens, number)
    return table


def _columns(tokens: list[str], count: int, name: str, line: int) -> None:
    if len(tokens) != count:
        raise SeqFileError(f"extension {name} rows must have {count} columns; got {len(tokens)}", line)


def _label(tokens: list[str], line: int) -> tuple[str, int]:
    _columns(tokens, 3, "label", line)
    if tokens[2] not in COUNTER_LABELS + FLAG_LABELS:
        raise SeqFileError(f"label must be one of the specification's; got {tokens[2][:40]!r}", line)
    return tokens[2], int(parse_number(tokens[1], _LABEL_VALUE, line))


def _shim(tokens: list[str], line: int) -> NDArray[np.complex128]:
    """Weights of the transmit channels: pairs of magnitude and phase [rad]."""
    channels = int(parse_number(tokens[1], _CHANNELS, line)) if len(tokens) > 1 else 1
    _columns(tokens, 2 + 2 * channels, "RF_SHIMS", line)
    magnitude = np.array([parse_number(token, _SHIM_MAGNITUDE, line) for token in tokens[2::2]])
    phase = np.array([parse_number(token, _SHIM_PHASE, line) for token in tokens[3::2]])
    return np.asarray(magnitude * np.exp(1j * phase))


def _soft_delay(tokens: list[str], line: int) -> SoftDelay:
    _columns(tokens, 5, "DELAYS", line)
    factor = parse_number(tokens[3], _DELAY_FACTOR, line)
    if factor == 0.0:
        raise SeqFileError("soft delay factor must not be 0", line)
    return SoftDelay(
        number=int(parse_number(tokens[1], _DELAY_NUMBER, line)),
        offset=parse_number(tokens[2], _DELAY_OFFSET, line),
        factor=factor,
        hint=tokens[4],
    )


def _soft_delays(section: Section) -> dict[int, SoftDelay]:
    table = _unique(section, _soft_delay)
    hints: dict[int, str] = {}
    numbers: dict[str, int] = {}
    for (number, _), delay in zip(section.rows, table.values(), strict=True):
        hint = hints.setdefault(delay.number, delay.hint)
        if hint != delay.hint or numbers.setdefault(delay.hint, delay.number) != delay.number:
            raise SeqFileError(
                f"soft delay number and hint must go together; got {delay.number} with {delay.hint[:40]!r}",
                number,
            )
    return table


def _rotations(section: Section) -> dict[int, FloatArray]:
    """Rotation matrices of unit quaternions."""
    matrices = {}
    for identity, row in parse_table(section, _QUATERNION).items():
        quaternion = [row[column.name] for column in _QUATERNION]
        norm = float(np.linalg.norm(quaternion))
        if abs(norm - 1.0) > _NORM_TOLERANCE:
            raise SeqFileError(f"quaternion must have norm 1; got {norm:g}", int(row["line"]))
        matrices[identity] = rotation_matrix(quaternion)
    return matrices

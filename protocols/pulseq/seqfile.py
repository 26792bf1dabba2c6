"""The text layer of a Pulseq file: sections, bounded tables, shapes, signature."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..sequence import Signature

MAX_SHAPE_SAMPLES = 4_000_000
MAX_TOTAL_SAMPLES = 32_000_000
MAX_ID = 2**31 - 1


class SeqFileError(ValueError):
    """A Pulseq file that must not be played; the message names file line, rule and value."""

    def __init__(self, message: str, line: int | None = None) -> None:
        self.line = line
        super().__init__(message if line is None else f"line {line}: {message}")


@dataclass(frozen=True)
class Section:
    """One section: header name, line number of the header, numbered content lines."""

    name: str
    line: int
    rows: list[tuple[int, str]]


class Column(NamedTuple):
    """One column of an event table: name, scale to SI, allowed range, integer or not."""

    name: str
    scale: float = 1.0
    low: float = -1e12
    high: float = 1e12
    integer: bool = False


Row = dict[str, float]


def split_sections(text: str) -> list[Section]:
    """Cut a file into sections; comments and blank lines are dropped."""
    sections: list[Section] = []
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip()
        if not line or line[0] == "#":
            continue
        if line[0] == "[":
            if line[-1] != "]":
                raise SeqFileError(f"section header must end with ']'; got {line[:40]!r}", number)
            sections.append(Section(line[1:-1], number, []))
        elif line.startswith("extension "):
            sections.append(Section(line, number, []))
        elif sections:
            sections[-1].rows.append((number, line))
        else:
            raise SeqFileError(f"content before the first section; got {line[:40]!r}", number)
    return sections


def check_signature(data: bytes, sections: Sequence[Section], *, enforce: bool = True) -> Signature:
    """Verify the md5 at the end of a file: it covers every byte before the section.

    Raises
    ------
    SeqFileError
        If the section is incomplete or not the last one, or (with `enforce`) the digest differs.
    """
    found = [section for section in sections if section.name == "SIGNATURE"]
    if not found:
        return Signature()
    section = found[0]
    if section is not sections[-1]:
        raise SeqFileError("[SIGNATURE] must be the last section; unsigned content follows it", section.line)
    entries = dict(_key_value(row) for row in section.rows)
    kind, value = entries.get("Type", ""), entries.get("Hash", "").lower()
    if set(entries) != {"Type", "Hash"} or kind != "md5" or not re.fullmatch("[0-9a-f]{32}", value):
        raise SeqFileError("signature must hold Type md5 and a Hash of 32 hexadecimal digits", section.line)
    start = _signature_start(data)
    digests = {hashlib.md5(data[:end], usedforsecurity=False).hexdigest() for end in start}
    if value not in digests and enforce:
        raise SeqFileError(
            f"signature does not match the content; file says {value}, content has {sorted(digests)[0]}. "
            "The file was changed or cut after it was written; pass allow_unsigned=True if you trust it",
            section.line,
        )
    return Signature(kind="md5", value=value, verified=value in digests)


def _signature_start(data: bytes) -> list[int]:
    """Possible ends of the signed part: the line break before [SIGNATURE] belongs to the signature.

    JEMRIS counts it to the content.
    """
    header = re.search(rb"(?m)^[ \t]*\[SIGNATURE\]", data)
    position = header.start() if header else 0
    ends = [position - 1, position]
    if data[position - 2 : position] == b"\r\n":
        ends.append(position - 2)
    return ends


def _key_value(row: tuple[int, str]) -> tuple[str, str]:
    key, _, value = row[1].partition(" ")
    return key, value.strip()


def parse_version(section: Section) -> tuple[int, int, int]:
    """Version triple; 1.2.x to 1.5.x pass."""
    entries = dict(_key_value(row) for row in section.rows)
    try:
        major, minor = int(entries["major"]), int(entries["minor"])
        revision = int(re.match(r"\d+", entries["revision"])[0])  # type: ignore[index]
    except (KeyError, ValueError, TypeError) as error:
        raise SeqFileError("[VERSION] must hold integers major, minor and revision", section.line) from error
    if major != 1 or not 2 <= minor <= 5:
        raise SeqFileError(f"version must be 1.2 to 1.5; got {major}.{minor}.{revision}", section.line)
    return major, minor, revision


def parse_definitions(section: Section) -> dict[str, float | tuple[float, ...] | str]:
    """[DEFINITIONS] as numbers where every token is one, else as text."""
    definitions: dict[str, float | tuple[float, ...] | str] = {}
    for number, line in section.rows:
        key, _, rest = line.partition(" ")
        if key in definitions:
            raise SeqFileError(f"definition {key} must be given once", number)
        definitions[key] = _definition_value(rest.strip())
    return definitions


def _definition_value(text: str) -> float | tuple[float, ...] | str:
    try:
        values = tuple(float(token) for token in text.split())
    except ValueError:
        return text
    if not values or not all(math.isfinite(value) for value in values):
        return text
    return values[0] if len(values) == 1 else values


def parse_table(section: Section, columns: Sequence[Column], *, trailing: int = 0) -> dict[int, Row]:
    """Event table: first column is the id, then `columns` (and `trailing` text columns, dropped).

    Raises
    ------
    SeqFileError
        On a wrong number of columns, a repeated id, or a value outside its range.
    """
    table: dict[int, Row] = {}
    for number, tokens in table_tokens(section, 1 + len(columns) + trailing):
        identity = parse_id(tokens[0], number)
        if identity in table:
            raise SeqFileError(f"[{section.name}] id {identity} must be unique", number)
        row = {c.name: parse_number(t, c, number) for c, t in zip(columns, tokens[1:], strict=False)}
        row["line"] = number
        table[identity] = row
    return table


def table_tokens(section: Section, count: int) -> Iterator[tuple[int, list[str]]]:
    """Rows split into exactly `count` tokens."""
    for number, line in section.rows:
        tokens = line.split()
        if len(tokens) != count:
            raise SeqFileError(f"[{section.name}] rows must have {count} columns; got {len(tokens)}", number)
        yield number, tokens


def parse_id(token: str, line: int) -> int:
    """Positive event number."""
    if not token.isascii() or not token.isdigit() or not 0 < int(token[:12]) <= MAX_ID:
        raise SeqFileError(f"id must be a positive integer; got {token[:40]!r}", line)
    return int(token)


def parse_number(token: str, column: Column, line: int) -> float:
    """Finite number inside the column's range, scaled to SI."""
    try:
        value = float(token) if "_" not in token else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or (column.integer and value != int(value)):
        kind = "an integer" if column.integer else "a finite number"
        raise SeqFileError(f"{column.name} must be {kind}; got {token[:40]!r}", line)
    if not column.low <= value <= column.high:
        raise SeqFileError(f"{column.name} must be {column.low:g}..{column.high:g}; got {value:g}", line)
    return value * column.scale


def parse_blocks(section: Section, width: int) -> NDArray[np.int64]:
    """[BLOCKS] as an array (n, 8): id, duration or delay id, rf, gx, gy, gz, adc, extension."""
    if not section.rows:
        raise SeqFileError("[BLOCKS] must not be empty", section.line)
    for _ in table_tokens(section, width):
        pass  # counts the columns of every row
    text = "\n".join(line for _, line in section.rows)
    if not re.fullmatch(r"[0-9\s]*", text, re.ASCII):
        _name_bad_block(section)
    blocks = np.fromstring(text, dtype=np.int64, sep=" ").reshape(-1, width)  # huge numbers saturate
    if blocks.max() > MAX_ID:
        line = section.rows[int(np.argmax(blocks.max(axis=1)))][0]
        raise SeqFileError(f"[BLOCKS] entries must be 0..{MAX_ID}", line)
    if np.unique(blocks[:, 0]).size != len(section.rows):
        raise SeqFileError("[BLOCKS] ids must be unique", section.line)
    if width == 7:
        blocks = np.column_stack([blocks, np.zeros(len(section.rows), dtype=np.int64)])
    return blocks


def _name_bad_block(section: Section) -> NoReturn:
    for number, line in section.rows:
        for token in line.split():
            if not re.fullmatch("[0-9]+", token):
                raise SeqFileError(f"[BLOCKS] entries must be integers; got {token[:40]!r}", number)
    raise SeqFileError("[BLOCKS] entries must be integers between ASCII blanks", section.line)


def parse_shapes(section: Section, *, always_compressed: bool) -> dict[int, NDArray[np.float64]]:
    """[SHAPES], decompressed.

    Parameters
    ----------
    section : Section
        Content of the section.
    always_compressed : bool
        True for versions before 1.4, which had no mark for stored, uncompressed shapes.
    """
    shapes: dict[int, NDArray[np.float64]] = {}
    total, rows, index = 0, section.rows, 0
    while index < len(rows):
        identity, count, line = _shape_header(rows, index)
        index += 2
        start = index
        while index < len(rows) and not rows[index][1].lower().startswith("shape_id"):
            index += 1
        total += count
        if identity in shapes or total > MAX_TOTAL_SAMPLES:
            raise SeqFileError(f"shape {identity} must be unique, all <= {MAX_TOTAL_SAMPLES} samples", line)
        packed = _shape_values(rows[start:index], line)
        shapes[identity] = decompress(packed, count, line=line, always_compressed=always_compressed)
    return shapes


def _shape_header(rows: list[tuple[int, str]], index: int) -> tuple[int, int, int]:
    line, first = rows[index]
    head = re.fullmatch(r"shape_id\s+(\d{1,9})", first, re.IGNORECASE)
    second = rows[index + 1][1] if index + 1 < len(rows) else ""
    count = re.fullmatch(r"num_(?:samples|uncompressed)\s+(\d{1,30})", second, re.IGNORECASE)
    if not head or not count:
        raise SeqFileError("shape must start with 'shape_id N' and 'num_samples M'", line)
    samples = int(count[1])
    if not 1 <= samples <= MAX_SHAPE_SAMPLES:
        raise SeqFileError(f"num_samples must be 1..{MAX_SHAPE_SAMPLES}; got {samples}", line + 1)
    return int(head[1]), samples, line


def _shape_values(rows: list[tuple[int, str]], line: int) -> NDArray[np.float64]:
    try:
        values = np.array([text for _, text in rows], dtype=np.float64)
    except ValueError:
        values = np.array([math.nan])
    if values.size == 0 or not np.isfinite(values).all():
        raise SeqFileError("shape samples must be finite numbers, one per line, at least one", line)
    return values


def decompress(
    packed: NDArray[np.float64], count: int, *, line: int | None = None, always_compressed: bool = False
) -> NDArray[np.float64]:
    """Undo Pulseq's run-length code of the derivative.

    Two equal numbers are followed by how many more of them come. A shape stored with exactly
    `count` numbers is uncompressed (since version 1.4).

    Raises
    ------
    SeqFileError
        If the code does not give exactly `count` samples.
    """
    if packed.size == count and not always_compressed:
        return packed
    bad = SeqFileError(f"shape must decompress to {count} samples; the code gives a different number", line)
    values: list[float] = []
    repeats: list[int] = []
    numbers, i, total = packed.tolist(), 0, 0
    while i < len(numbers):
        run = 1
        if i + 1 < len(numbers) and numbers[i] == numbers[i + 1]:
            if i + 2 >= len(numbers) or not 0 <= numbers[i + 2] <= count or numbers[i + 2] % 1:
                raise bad
            run = int(numbers[i + 2]) + 2
        values.append(numbers[i])
        repeats.append(run)
        total += run
        i += 1 if run == 1 else 3
        if total > count:
            raise bad
    if total != count:
        raise bad
    return np.asarray(np.cumsum(np.repeat(values, repeats)))

"""Strict reader of Pulseq files 1.2 to 1.5: bounded, signature-checked, one clear error per fault.

Format: Pulseq specification, https://pulseq.github.io/specification.pdf. Edge values of arbitrary
gradients, which versions before 1.5 do not store, are restored as the reference toolbox does.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..sequence import Sequence
from .assembly import assemble
from .seqfile import (
    Column,
    Section,
    SeqFileError,
    check_signature,
    parse_blocks,
    parse_definitions,
    parse_shapes,
    parse_table,
    parse_version,
    split_sections,
    table_tokens,
)
from .tables import SeqTables

MAX_BYTES = 256 * 2**20
_US = 1e-6
_MAX_US = 1e9


def _id_column(name: str) -> Column:
    return Column(name, low=0, high=2**31 - 1, integer=True)


_AMPLITUDE = Column("amplitude", low=-1e9, high=1e9)
_DELAY = Column("delay", _US, 0, _MAX_US)
_OFFSETS = (Column("freq", low=-1e9, high=1e9), Column("phase", low=-1e6, high=1e6))
_PPM = (Column("freq_ppm", low=-1e6, high=1e6), Column("phase_ppm", low=-1e6, high=1e6))
_TIME_ID = Column("time_id", low=-1, high=2**31 - 1, integer=True)

_RF = {
    3: (_AMPLITUDE, _id_column("mag_id"), _id_column("phase_id"), _DELAY, *_OFFSETS),
    4: (_AMPLITUDE, _id_column("mag_id"), _id_column("phase_id"), _TIME_ID, _DELAY, *_OFFSETS),
    5: (
        _AMPLITUDE,
        _id_column("mag_id"),
        _id_column("phase_id"),
        _TIME_ID,
        Column("center", _US, 0, _MAX_US),
        _DELAY,
        *_PPM,
        *_OFFSETS,
    ),
}
_GRADIENTS = {
    3: (_AMPLITUDE, _id_column("shape_id"), _DELAY),
    4: (_AMPLITUDE, _id_column("shape_id"), _TIME_ID, _DELAY),
    5: (
        _AMPLITUDE,
        Column("first", low=-1e9, high=1e9),
        Column("last", low=-1e9, high=1e9),
        _id_column("shape_id"),
        _TIME_ID,
        _DELAY,
    ),
}
_TRAP = (_AMPLITUDE, *(Column(name, _US, 0, _MAX_US) for name in ("rise", "flat", "fall")), _DELAY)
_ADC_HEAD = (Column("num", low=1, high=2**20, integer=True), Column("dwell", 1e-9, 1, 1e9), _DELAY)
_ADC = {4: (*_ADC_HEAD, *_OFFSETS), 5: (*_ADC_HEAD, *_PPM, *_OFFSETS, _id_column("phase_id"))}
_USES = {
    use[0]: use
    for use in ("excitation", "refocusing", "inversion", "saturation", "preparation", "other", "undefined")
}
_DEFAULT_RASTERS = {
    "gradient": ("GradientRasterTime", 1e-5),
    "rf": ("RadiofrequencyRasterTime", 1e-6),
    "adc": ("AdcRasterTime", 1e-7),
    "block": ("BlockDurationRaster", 1e-5),
}


def read_seq(
    path: str | Path, *, allow_unsigned: bool = False, soft_delays: Mapping[str, float] | None = None
) -> Sequence:
    """Read a Pulseq file.

    Parameters
    ----------
    path : path-like
        A text .seq file, version 1.2 to 1.5.
    allow_unsigned : bool
        Accept a file of version 1.4 or newer whose [SIGNATURE] is missing or does not match;
        `Sequence.signature.verified` is then False. Older versions need no signature.
    soft_delays : mapping of str to float, optional
        Value [s] per hint: the blocks with a soft delay of this hint last ``value / factor + offset``.
        Hints that are not named keep their stored durations; `Sequence.soft_delays` lists them all.

    Returns
    -------
    Sequence
        Blocks, events, labels and definitions. Gradients of blocks with a rotation are rotated.

    Raises
    ------
    SeqFileError
        On any fault, with its line number; also on an unknown hint, and on a soft delay that is
        shorter than the events of its block or off the block raster.
    """
    path = Path(path)
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise SeqFileError(f"file must not exceed {MAX_BYTES} bytes; got {size}")
    return parse_seq(path.read_bytes(), allow_unsigned=allow_unsigned, soft_delays=soft_delays)


def parse_seq(
    data: bytes, *, allow_unsigned: bool = False, soft_delays: Mapping[str, float] | None = None
) -> Sequence:
    """Parse the content of a Pulseq file; see `read_seq`."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SeqFileError("file must be UTF-8 text (binary Pulseq is not supported)") from error
    sections = split_sections(text)
    signature = check_signature(data, sections, enforce=not allow_unsigned)
    file = _tables(sections)
    if not signature.verified:
        _check_unsigned(file.version, data, allow_unsigned)
    return assemble(file, signature, soft_delays)


def _check_unsigned(version: tuple[int, int, int], data: bytes, allow_unsigned: bool) -> None:
    if version >= (1, 4, 0) and not allow_unsigned:
        raise SeqFileError(
            "file has no [SIGNATURE]: it may be cut or changed. Pass allow_unsigned=True if you trust it"
        )
    if not data.endswith(b"\n"):
        raise SeqFileError("an unsigned file must end with a line break; the last line may be cut")


def _tables(sections: list[Section]) -> SeqTables:
    by_name: dict[str, Section] = {}
    for section in sections:
        if section.name in by_name:
            raise SeqFileError(f"section [{section.name}] must come once", section.line)
        by_name[section.name] = section
    for name in ("VERSION", "BLOCKS"):
        if name not in by_name:
            raise SeqFileError(f"section [{name}] is missing")
    version = parse_version(by_name["VERSION"])
    blocks_section = by_name["BLOCKS"]
    blocks = parse_blocks(blocks_section, 7 if version[1] < 3 else 8)
    file = SeqTables(version, blocks, [number for number, _ in blocks_section.rows])
    if "DEFINITIONS" in by_name:
        file.definitions = parse_definitions(by_name["DEFINITIONS"])
    file.rasters = _rasters(file, by_name)
    for section in sections:
        if section.name not in ("VERSION", "BLOCKS", "DEFINITIONS", "SIGNATURE"):
            _read_section(file, section)
    return file


def _rasters(file: SeqTables, by_name: dict[str, Section]) -> dict[str, float]:
    rasters = {}
    for key, (name, default) in _DEFAULT_RASTERS.items():
        if name not in file.definitions:
            if file.version >= (1, 4, 0):
                raise SeqFileError(f"definition {name} is required since version 1.4.0")
            rasters[key] = default
            continue
        value = file.definitions[name]
        if not isinstance(value, float) or not 1e-9 <= value <= 1e-2:
            line = by_name["DEFINITIONS"].line
            raise SeqFileError(f"{name} must be one number, 1e-9..1e-2 s; got {value!r}", line)
        rasters[key] = value
    return rasters


def _read_section(file: SeqTables, section: Section) -> None:
    minor, name = file.version[1], section.name
    if name == "RF":
        file.rf = parse_table(section, _RF[max(3, minor)], trailing=int(minor >= 5))
        file.rf_use = _rf_uses(section) if minor >= 5 else {}
    elif name == "GRADIENTS":
        file.gradients = parse_table(section, _GRADIENTS[max(3, minor)])
    elif name == "TRAP":
        file.traps = parse_table(section, _TRAP)
    elif name == "ADC":
        file.adc = parse_table(section, _ADC[max(4, minor)])
    elif name == "DELAYS" and minor < 4:
        file.delays = parse_table(section, (_DELAY,))
    elif name == "SHAPES":
        file.shapes = parse_shapes(section, always_compressed=minor < 4)
    elif name == "EXTENSIONS" or name.startswith("extension "):
        file.extensions.read(section)
    else:
        raise SeqFileError(f"section [{name[:40]}] is unknown in version 1.{minor}", section.line)


def _rf_uses(section: Section) -> dict[int, str]:
    uses = {}
    for number, tokens in table_tokens(section, 12):
        if tokens[-1] not in _USES:
            raise SeqFileError(f"RF use must be one of e r i s p o u; got {tokens[-1][:40]!r}", number)
        uses[int(tokens[0])] = _USES[tokens[-1]]
    return uses

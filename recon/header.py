"""The XML header of an ISMRMRD file, parsed strictly into plain frozen records.

The header is read with our own small walker instead of the schema classes of the ``ismrmrd`` package: those
turn a non-numeric frequency into a string with a warning, let a negative one pass, and stop at files whose
writers put a known element at an unexpected depth.  Here numbers are range checked, and unknown elements
are ignored.  Lengths become metres and times seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .descriptions import Diffusion, EpiReadout, Multiband, parse_diffusion, parse_epi, parse_multiband
from .errors import RawDataError

__all__ = ["Encoding", "Header", "Limit", "Space", "parse_header"]

MAX_XML_BYTES = 16 * 2**20
MAX_MATRIX = 65_535
MAX_FOV_MM = 10_000.0

_LIMITS = (
    "kspace_encoding_step_0",
    "kspace_encoding_step_1",
    "kspace_encoding_step_2",
    "average",
    "slice",
    "contrast",
    "phase",
    "repetition",
    "set",
    "segment",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """Range of one encoding counter and the value at the centre of k-space."""

    minimum: int
    maximum: int
    center: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Space:
    """Matrix (read, phase, partition) and field of view [m] of an encoded or reconstructed space."""

    matrix: tuple[int, int, int]
    fov: tuple[float, float, float]

    @property
    def pixel(self) -> tuple[float, float, float]:
        """Pixel size along (read, phase, partition) [m]."""
        (a, b, c), (fa, fb, fc) = self.matrix, self.fov
        return (fa / a, fb / b, fc / c)


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoding:
    """One encoding of the measurement."""

    encoded: Space
    recon: Space
    limits: Mapping[str, Limit]
    trajectory: str = "cartesian"
    acceleration: tuple[int, int] = (1, 1)
    calibration_mode: str = ""
    epi: EpiReadout | None = None
    multiband: Multiband | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """What an ISMRMRD header says, in SI units (times [s], lengths [m], frequency [Hz], flip angles [deg]).

    `parameters` holds the user parameters by name.  The subject's name and birth date are left in the file.
    """

    frequency: float
    encodings: tuple[Encoding, ...]
    field_strength: float | None = None
    vendor: str = ""
    model: str = ""
    institution: str = ""
    station: str = ""
    receiver_channels: int | None = None
    noise_bandwidth: float = 1.0
    coil_names: tuple[str, ...] = ()
    protocol_name: str = ""
    series_description: str = ""
    patient_position: str = ""
    tr: tuple[float, ...] = ()
    te: tuple[float, ...] = ()
    ti: tuple[float, ...] = ()
    flip_deg: tuple[float, ...] = ()
    echo_spacing: tuple[float, ...] = ()
    sequence_type: str = ""
    diffusion: Diffusion | None = None
    parameters: Mapping[str, float | int | str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class _Reader:
    """Typed look-ups in the element tree with errors that name the file and the element."""

    def __init__(self, root: Any, source: str) -> None:
        self.root = root
        self.source = source

    def fail(self, what: str) -> RawDataError:
        return RawDataError(f"{self.source}: {what}")

    def find(self, path: str, parent: Any = None) -> Any:
        node = self.root if parent is None else parent
        for name in path.split("/"):
            node = next((child for child in node if child.tag == name), None)
            if node is None:
                return None
        return node

    def text(self, path: str, parent: Any = None) -> str:
        node = self.find(path, parent)
        return "" if node is None or node.text is None else node.text.strip()

    def number(self, path: str, low: float, high: float, parent: Any = None) -> float | None:
        """Value of an element in (low, high], or None where the element is absent."""
        if self.find(path, parent) is None:
            return None
        return self.convert(self.text(path, parent), path, low, high)

    def convert(self, text: str, path: str, low: float, high: float) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low < value <= high:
            raise self.fail(
                f"header field {path} must be a number in ({low:g}, {high:g}]; got {text[:40]!r}. "
                "Correct the XML header."
            )
        return value

    def integer(self, path: str, low: int, high: int, parent: Any) -> int:
        value = self.number(path, low - 1, high, parent)
        if value is None or value != int(value):
            got = "nothing" if value is None else f"{value:g}"
            raise self.fail(
                f"header field {path} must be a whole number from {low} to {high}; got {got}. "
                "Correct the XML header."
            )
        return int(value)

    def numbers(self, path: str, divisor: float) -> tuple[float, ...]:
        parent, _, name = path.rpartition("/")
        node = self.find(parent)
        if node is None:
            return ()
        found = [c for c in node if c.tag == name]
        return tuple(self.convert((c.text or "").strip(), path, -1e9, 1e9) / divisor for c in found)


def parse_header(xml: bytes, source: str) -> Header:
    """Parse an ISMRMRD XML header.

    Parameters
    ----------
    xml
        The header's bytes.
    source
        File name for error messages.

    Raises
    ------
    RawDataError
        The XML is not well formed or declares a document type, the proton frequency is missing or not
        positive, there is no encoding, or a number is outside its range.
    """
    read = _Reader(_parse_xml(xml, source), source)
    frequency = read.number("experimentalConditions/H1resonanceFrequency_Hz", 0, 1e11)
    if frequency is None:
        raise read.fail(
            "header field experimentalConditions/H1resonanceFrequency_Hz is missing. Add the frequency [Hz]."
        )
    system = "acquisitionSystemInformation/"
    vendor = read.text(system + "systemVendor")
    notes: list[str] = []
    nodes = [child for child in read.root if child.tag == "encoding"]
    if not nodes:
        raise read.fail("header has no encoding. Add at least one <encoding> to the XML header.")
    encodings = tuple(_encoding(read, node, vendor, notes) for node in nodes)
    channels = read.number(system + "receiverChannels", 0, 60_000)
    return Header(
        frequency=frequency,
        encodings=encodings,
        field_strength=read.number(system + "systemFieldStrength_T", 0, 30),
        vendor=vendor,
        model=read.text(system + "systemModel"),
        institution=read.text(system + "institutionName"),
        station=read.text(system + "stationName"),
        receiver_channels=None if channels is None else int(channels),
        noise_bandwidth=read.number(system + "relativeReceiverNoiseBandwidth", 0, 100) or 1.0,
        coil_names=_coil_names(read),
        protocol_name=read.text("measurementInformation/protocolName"),
        series_description=read.text("measurementInformation/seriesDescription"),
        patient_position=read.text("measurementInformation/patientPosition"),
        tr=read.numbers("sequenceParameters/TR", 1e3),
        te=read.numbers("sequenceParameters/TE", 1e3),
        ti=read.numbers("sequenceParameters/TI", 1e3),
        flip_deg=read.numbers("sequenceParameters/flipAngle_deg", 1.0),
        echo_spacing=read.numbers("sequenceParameters/echo_spacing", 1e3),
        sequence_type=read.text("sequenceParameters/sequence_type"),
        diffusion=parse_diffusion(read),
        parameters=_user_parameters(read),
        notes=tuple(notes),
    )


def _parse_xml(xml: bytes, source: str) -> Any:
    from xml.etree.ElementTree import ParseError

    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    if len(xml) > MAX_XML_BYTES:
        raise RawDataError(f"{source}: XML header of {len(xml)} bytes exceeds {MAX_XML_BYTES}. Not a header.")
    try:
        root = fromstring(xml, forbid_dtd=True, forbid_entities=True, forbid_external=True)
    except DefusedXmlException:
        raise RawDataError(
            f"{source}: XML header must not declare a DOCTYPE or entities. Remove the declaration."
        ) from None
    except (ParseError, UnicodeDecodeError, ValueError, LookupError) as error:
        raise RawDataError(
            f"{source}: XML header is not well formed ({error}). Write the file again."
        ) from None
    for element in root.iter():
        if isinstance(element.tag, str):
            element.tag = element.tag.rpartition("}")[2]
    return root


def _encoding(read: _Reader, node: Any, vendor: str, notes: list[str]) -> Encoding:
    encoded = _space(read, node, "encodedSpace")
    recon = _space(read, node, "reconSpace")
    if vendor == "KomaMRI.jl" and encoded.fov[0] < 1.5e-3:
        # KomaMRI 0.6 writes the in-plane field of view in metres into the field that is in millimetres.
        encoded, recon = (
            Space(matrix=s.matrix, fov=(1e3 * s.fov[0], 1e3 * s.fov[1], s.fov[2])) for s in (encoded, recon)
        )
        notes.append("in-plane field of view taken as metres (KomaMRI.jl header)")
    limits = {}
    for name in _LIMITS:
        limit = read.find(f"encodingLimits/{name}", node)
        if limit is not None:
            values = {k: read.integer(k, 0, MAX_MATRIX, limit) for k in ("minimum", "maximum", "center")}
            limits[name] = Limit(**values)
    factor = "parallelImaging/accelerationFactor/kspace_encoding_step_"
    acceleration = [read.number(factor + axis, 0, 64, node) for axis in "12"]
    if any(a is not None and (a != int(a) or a < 1) for a in acceleration):
        raise read.fail(f"acceleration factors must be whole numbers from 1 on; got {acceleration}.")
    return Encoding(
        encoded=encoded,
        recon=recon,
        limits=limits,
        trajectory=read.text("trajectory", node).lower() or "cartesian",
        acceleration=(int(acceleration[0] or 1), int(acceleration[1] or 1)),
        calibration_mode=read.text("parallelImaging/calibrationMode", node).lower(),
        epi=parse_epi(read, node),
        multiband=parse_multiband(read, node),
    )


def _space(read: _Reader, node: Any, name: str) -> Space:
    matrix = tuple(read.integer(f"{name}/matrixSize/{a}", 1, MAX_MATRIX, node) for a in "xyz")
    fov = tuple(read.number(f"{name}/fieldOfView_mm/{a}", 0, MAX_FOV_MM, node) for a in "xyz")
    if None in fov:
        raise read.fail(f"header field {name}/fieldOfView_mm is incomplete; got {fov}. Give x, y and z [mm].")
    metres = tuple(float(v or 0) / 1e3 for v in fov)
    return Space(matrix=(matrix[0], matrix[1], matrix[2]), fov=(metres[0], metres[1], metres[2]))


def _coil_names(read: _Reader) -> tuple[str, ...]:
    system = read.find("acquisitionSystemInformation")
    labels = [] if system is None else [c for c in system if c.tag == "coilLabel"]
    return tuple(name for name in (read.text("coilName", label) for label in labels) if name)


def _user_parameters(read: _Reader) -> dict[str, float | int | str]:
    # Some writers nest <userParameters> twice, so the parameters are looked for at any depth.
    values: dict[str, float | int | str] = {}
    kinds = {"userParameterLong": int, "userParameterDouble": float, "userParameterString": str}
    for element in read.root.iter():
        kind = kinds.get(element.tag)
        if kind is None:
            continue
        name, text = read.text("name", element), read.text("value", element)
        try:
            value = kind(text)
        except ValueError:
            value = text
        values[name] = value if not isinstance(value, float) or math.isfinite(value) else text
    return values

"""From a card and a scanner to a Pulseq sequence and its file."""

from __future__ import annotations

import copy
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

from ..cards.protocol import Protocol
from ..scanners.scanner import Scanner
from .bssfp import compose_bssfp
from .composer import BuildError, Composer
from .epi import compose_epi
from .gre import compose_gre
from .mprage import compose_mprage
from .radial import compose_radial
from .readout import NOISE_SAMPLES
from .report import BuildReport
from .selection import slice_definitions
from .spiral import compose_spiral
from .tse import compose_tse

_COMPOSERS = {
    "gre": compose_gre,
    "bssfp": compose_bssfp,
    "mprage": compose_mprage,
    "mp2rage": compose_mprage,
    "tse": compose_tse,
    "se": compose_tse,
    "epi": compose_epi,
    "radial": compose_radial,
    "spiral": compose_spiral,
}


def build(protocol: Protocol, scanner: Scanner, *, noise_samples: int = NOISE_SAMPLES) -> Any:
    """Build the pypulseq sequence of a protocol on a scanner.

    Parameters
    ----------
    protocol : Protocol
        Card.
    scanner : Scanner
        Limits, rasters, field and RF-spoiling habit.
    noise_samples : int
        Length of the noise measurement at the start; 0 plays none.

    Returns
    -------
    pypulseq.Sequence
        With the definitions that a raw-data writer needs (see `definitions`).

    Raises
    ------
    BuildError
        If the scanner cannot play the card; names the value that it can.
    """
    return build_with_report(protocol, scanner, noise_samples=noise_samples)[0]


def build_with_report(
    protocol: Protocol, scanner: Scanner, *, noise_samples: int = NOISE_SAMPLES
) -> tuple[Any, BuildReport]:
    """Build the sequence and say what was realised; see `build`."""
    composer = Composer(scanner)
    report = _COMPOSERS[protocol.sequence](composer, protocol, noise_samples)
    for key, value in definitions(protocol, scanner, report).items():
        composer.seq.set_definition(key, value)
    return composer.seq, report


def definitions(protocol: Protocol, scanner: Scanner, report: BuildReport) -> dict[str, Any]:
    """Entries of [DEFINITIONS]: SI units, angles in radians, directions in world RAS."""
    geometry, speed = protocol.geometry, protocol.acceleration
    nx, ny, nz = geometry.matrix
    oversampling = protocol.readout.oversampling
    place = protocol.prescription()
    entries: dict[str, Any] = {
        "Name": protocol.name,
        "Scanner": scanner.name,
        "SequenceKind": protocol.sequence,
        "FOV": list(geometry.fov),
        "MatrixEncoded": [nx * oversampling, ny, nz],
        "MatrixRecon": [nx, ny, nz],
        "ReadoutOversampling": oversampling,
        "KSpaceCenterSample": report.center_sample,
        "KSpaceCenterLine": ny // 2,
        "KSpaceCenterPartition": nz // 2,
        "AccelerationFactorPE": speed.phase,
        "ReferenceLines": speed.reference_lines if speed.phase > 1 else 0,
        "PartialFourier": [speed.partial_fourier_phase, speed.partial_fourier_partition],
        "TE": report.te,
        "TR": report.tr,
        "FlipAngle": protocol.flip_angle,
        "EchoSpacing": report.echo_spacing or report.te,
        "TurboFactor": protocol.timing.turbo_factor,
        "EchoTrainCenter": report.center_echo,
        "Bandwidth": report.bandwidth,
        "SpoilerMoment": report.spoiler_moment,
        "RfSpoilIncrement": report.rf_spoil_increment,
        "ReadDirection": place.read_dir.tolist(),
        "PhaseDirection": place.phase_dir.tolist(),
        "SliceDirection": place.slice_dir.tolist(),
        "Center": list(geometry.center),
    }
    if report.ti is not None:
        entries["TI"] = report.ti
    return {**entries, **slice_definitions(protocol), **report.extra}


def timing_errors(sequence: Any) -> list[Any]:
    """Run pypulseq's timing check on every distinct block of a sequence.

    The check looks at one block at a time, so blocks made of the same events and length need it once.
    """
    distinct: dict[tuple[Any, ...], int] = {}
    for number, row in sequence.block_events.items():
        distinct.setdefault((*row[1:6].tolist(), sequence.block_durations[number]), number)
    reduced = copy.copy(sequence)
    reduced.block_events = {number: sequence.block_events[number] for number in distinct.values()}
    reduced.block_durations = {number: sequence.block_durations[number] for number in distinct.values()}
    reduced.block_cache = {}
    return list(reduced.check_timing()[1])


def write_seq(
    path: str | Path, protocol: Protocol, scanner: Scanner, *, noise_samples: int = NOISE_SAMPLES
) -> BuildReport:
    """Build a sequence, check its timing and write it as a signed .seq file.

    The file appears under its name only when complete.

    Raises
    ------
    BuildError
        If the scanner cannot play the card or pypulseq finds a timing error.
    """
    sequence, report = build_with_report(protocol, scanner, noise_samples=noise_samples)
    errors = timing_errors(sequence)
    if errors:
        first = errors[0]
        raise BuildError(f"timing check found {len(errors)} errors; first: block {first.block}, {first}")
    path = Path(path)
    handle, name = tempfile.mkstemp(suffix=".seq", prefix=".", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            sequence.write(str(temporary), check_timing=False, remove_duplicates=False)
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return report

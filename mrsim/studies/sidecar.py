"""The JSON sidecar of a simulated image: every key BIDS recommends, from scanner and card records."""

import math
from collections.abc import Mapping
from typing import Any

from .. import __version__

GAMMA_BAR = 42.577478518e6
"""Proton gyromagnetic ratio over 2 pi [Hz/T], CODATA 2018."""

# DICOM's defined terms: (0018,0020) scanning sequence, (0018,0021) variant.
_SEQUENCES: dict[str, tuple[str, list[str], list[str]]] = {
    "gre": ("Spoiled gradient echo", ["GR"], ["SP"]),
    "mprage": ("MPRAGE", ["GR", "IR"], ["SP", "MP"]),
    "tse": ("Turbo spin echo", ["SE"], ["SK"]),
}
_COMBINATIONS = {"adaptive": "Adaptive Combine", "rss": "Sum of Squares", "espirit": "ESPIRiT"}


def field_strength(scanner: Mapping[str, Any]) -> float:
    """Return the main field [T] of a scanner record, to four digits."""
    return round(float(scanner["field"]["f0"]) / GAMMA_BAR, 4)


def sidecar(
    scanner: Mapping[str, Any],
    card: Mapping[str, Any],
    *,
    measured: Mapping[str, Any] | None = None,
    combine: str | None = None,
    spoiler: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """Return the sidecar of an image.

    Parameters
    ----------
    scanner : mapping
        Scanner record (`libraries.Libraries.scanner`).
    card : mapping
        Protocol card (`libraries.Libraries.card`).
    measured : mapping, optional
        Keys that the reconstruction knows from the raw data's header; they win over the records.
    combine : str, optional
        Coil combination used; the scanner's habit when absent.
    spoiler : tuple of float, optional
        Moment [s T/m] and duration [s] of the gradient spoiler, where the sequence has one.

    Returns
    -------
    dict
        BIDS keys in BIDS units (seconds, degrees, tesla), sorted.
    """
    keys = _scanner_keys(scanner, combine or str(scanner["recon"]["combine"])) | _sequence_keys(card)
    if keys["SpoilingState"]:
        keys |= _spoiling(scanner, card, spoiler)
    known = {key: value for key, value in (measured or {}).items() if value not in (None, "", [])}
    return dict(sorted((keys | known).items()))


def _scanner_keys(scanner: Mapping[str, Any], combine: str) -> dict[str, Any]:
    receive = scanner["receive"]
    channels = int(receive["simulated_channels"])
    return {
        "Modality": "MR",
        "Manufacturer": scanner["manufacturer"],
        "ManufacturersModelName": scanner["model"],
        "MagneticFieldStrength": field_strength(scanner),
        "ImagingFrequency": round(float(scanner["field"]["f0"]) * 1e-6, 6),
        "DeviceSerialNumber": f"simulated-{scanner['name']}",
        "StationName": scanner["station"],
        "SoftwareVersions": scanner["software"],
        "InstitutionName": scanner["institution"],
        "InstitutionAddress": "n/a (simulated)",
        "InstitutionalDepartmentName": "n/a (simulated)",
        "ReceiveCoilName": receive["coil"],
        "ReceiveCoilActiveElements": f"1-{channels}",
        "NumberReceiveCoilActiveElements": channels,
        "CoilCombinationMethod": _COMBINATIONS.get(combine, combine),
        "MatrixCoilMode": "none",
        "NonlinearGradientCorrection": False,
        "ConversionSoftware": "mrsim",
        "ConversionSoftwareVersion": __version__,
    }


def _sequence_keys(card: Mapping[str, Any]) -> dict[str, Any]:
    timing, readout, geometry = card["timing"], card["readout"], card["geometry"]
    kind, scanning, variant = _SEQUENCES.get(str(card["sequence"]), (str(card["sequence"]), ["RM"], ["NONE"]))
    inverted = timing.get("ti") is not None
    if inverted and "IR" not in scanning:
        scanning, variant = [*scanning, "IR"], [*variant, "MP"]
    samples = int(geometry["matrix"][0]) * int(readout["oversampling"])
    keys: dict[str, Any] = {
        "MRAcquisitionType": "3D",
        "PulseSequenceType": f"Inversion-prepared {kind.lower()}" if inverted and kind != "MPRAGE" else kind,
        "PulseSequenceDetails": f"Pulseq sequence of mrsim {__version__} for the card {card['title']!r}",
        "SequenceName": f"{card['sequence']}_{card['name']}",
        "ScanningSequence": scanning,
        "SequenceVariant": variant,
        "ProtocolName": card["name"],
        "EchoTime": _seconds(timing["te"]),
        "RepetitionTime": _seconds(timing["tr"]),
        "FlipAngle": round(float(card["rf"]["flip_deg"]), 6),
        "PixelBandwidth": readout["bandwidth"],
        # Real dwell time, with oversampling: one over (bandwidth per pixel x samples per readout).
        "DwellTime": _significant(1.0 / (float(readout["bandwidth"]) * samples)),
        "SpoilingState": str(card["sequence"]) != "tse",
    }
    return keys | _optional_keys(card, inverted=inverted)


def _spoiling(
    scanner: Mapping[str, Any], card: Mapping[str, Any], spoiler: tuple[float, float] | None
) -> dict[str, Any]:
    increment = card["rf"].get("spoil_increment_deg")
    keys: dict[str, Any] = {
        "SpoilingType": "RF" if spoiler is None else "COMBINED",
        "SpoilingRFPhaseIncrement": scanner["transmit"]["rf_spoil_increment_deg"]
        if increment is None
        else increment,
    }
    if spoiler is not None:
        moment, duration = spoiler
        keys["SpoilingGradientMoment"] = _significant(moment * 1e6)  # BIDS: mT ms / m
        keys["SpoilingGradientDuration"] = _seconds(duration)
    return keys


def _optional_keys(card: Mapping[str, Any], *, inverted: bool) -> dict[str, Any]:
    timing, rf, acceleration = card["timing"], card["rf"], card["acceleration"]
    keys: dict[str, Any] = {}
    if inverted:
        keys["InversionTime"] = _seconds(timing["ti"])
    if int(timing["turbo_factor"]) > 1:
        keys["EchoTrainLength"] = int(timing["turbo_factor"])
    if card["sequence"] == "tse":
        angles = [float(angle) for angle in rf["refocusing_deg"]]
        if len(set(angles)) == 1:
            keys["RefocusingFlipAngle"] = angles[0]
    fraction = float(acceleration["partial_fourier_phase"])
    if int(acceleration["phase"]) > 1:
        keys["ParallelReductionFactorInPlane"] = int(acceleration["phase"])
        keys["ParallelReductionFactorOutOfPlane"] = 1
        keys["ParallelAcquisitionTechnique"] = "GRAPPA"
    if fraction < 1:
        keys["PartialFourier"] = fraction
        keys["PartialFourierDirection"] = "PHASE"
    return keys


def _seconds(value: float) -> float:
    return round(float(value), 9)


def _significant(value: float, digits: int = 9) -> float:
    return 0.0 if value == 0 else round(value, digits - 1 - math.floor(math.log10(abs(value))))

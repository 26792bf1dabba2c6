"""BIDS sidecar of a reconstruction: everything the header knows, under the keys of the standard."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cartesian import CartesianGrid
from .options import ReconOptions
from .raw import RawData

__all__ = ["bids_sidecar"]


def bids_sidecar(
    raw: RawData, rows: NDArray[np.intp], grid: CartesianGrid, options: ReconOptions, recipe: dict[str, Any]
) -> dict[str, Any]:
    """Sidecar values; times [s], ImagingFrequency [MHz], lengths [mm] where the standard says so."""
    header, heads = raw.header, raw.heads[rows]
    dwell = round(float(np.median(heads["sample_time_us"])), 4) / 1e6
    encoding = grid.encoding
    coils = int(heads["active_channels"][0])
    values: dict[str, Any] = {
        "Modality": "MR",
        "Manufacturer": header.vendor,
        "ManufacturersModelName": header.model,
        "InstitutionName": header.institution,
        "StationName": header.station,
        "MagneticFieldStrength": header.field_strength,
        "ImagingFrequency": header.frequency / 1e6,
        "PatientPosition": header.patient_position,
        "ProtocolName": header.protocol_name,
        "SeriesDescription": header.series_description,
        "PulseSequenceType": header.sequence_type,
        "MRAcquisitionType": "3D" if grid.encoded[2] > 1 else "2D",
        "EchoTime": _first(header.te),
        "RepetitionTime": _first(header.tr),
        "InversionTime": _first([t for t in header.ti if t > 0]),
        "FlipAngle": _first(header.flip_deg),
        "ImageType": ["ORIGINAL", "PRIMARY", "M" if options.magnitude else "COMPLEX", "ND"],
        "NonlinearGradientCorrection": False,
        "EchoSpacing": _first([t for t in header.echo_spacing if t > 0]),
        "DwellTime": dwell or None,
        "PixelBandwidth": 1 / (dwell * grid.encoded[0]) if dwell else None,
        "SliceThickness": 1e3 * encoding.recon.pixel[2],
        "AcquisitionMatrixPE": grid.kept[1],
        "ReconMatrixPE": grid.out[1],
        "ReceiveCoilActiveElements": ";".join(header.coil_names),
        "ReceiveCoilName": _coil_name(header.coil_names, coils),
        "NumberReceiveCoilActiveElements": coils,
        "CoilCombinationMethod": _COMBINE[options.combine],
        "ConversionSoftware": "mrsim recon",
        "ConversionSoftwareVersion": _version(),
    }
    values |= _acceleration(encoding.acceleration, recipe)
    if encoding.multiband is not None and encoding.multiband.factor > 1:
        values["MultibandAccelerationFactor"] = encoding.multiband.factor
    return {k: v for k, v in values.items() if v is not None and v != ""}


_COMBINE = {"adaptive": "Adaptive Combine", "espirit": "ESPIRiT", "rss": "Sum of Squares"}


def _first(values: Any) -> float | None:
    return float(values[0]) if len(values) else None


def _coil_name(names: tuple[str, ...], coils: int) -> str:
    """Return the common beginning of the elements' names, or the number of channels."""
    same = [len(set(letters)) == 1 for letters in zip(*names, strict=False)]
    length = same.index(False) if False in same else len(same)
    prefix = names[0][:length] if names else ""
    if ":" in prefix:  # "Head_32:H1", "Head_32:H2": the array's name stands before the colon
        prefix = prefix.partition(":")[0]
    return prefix.rstrip("_- ") or f"{coils}-channel array"


def _version() -> str:
    try:
        return version("mrsim")
    except PackageNotFoundError:
        return "unknown"


def _acceleration(factors: tuple[int, int], recipe: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if factors[0] > 1:
        values["ParallelReductionFactorInPlane"] = factors[0]
    if factors[1] > 1:
        values["ParallelReductionFactorOutOfPlane"] = factors[1]
    method = recipe.get("acceleration_method", "none")
    if max(factors) > 1 and method != "none":
        values["ParallelAcquisitionTechnique"] = {"grappa": "GRAPPA"}.get(method, "SENSE")
    parts = {
        axis: recipe[f"partial_fourier_{axis}"]
        for axis in ("phase", "partition")
        if f"partial_fourier_{axis}" in recipe
    }
    if parts:
        axis = min(parts, key=lambda a: parts[a])
        values["PartialFourier"] = parts[axis]
        values["PartialFourierDirection"] = {"phase": "PHASE", "partition": "SLICE_SELECT"}[axis]
    return values

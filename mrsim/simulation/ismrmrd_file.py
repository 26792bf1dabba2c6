"""Raw data to an ISMRMRD HDF5 file, labelled as a scanner's converter would label it.

Written in bulk as one compound dataset (appending readouts one by one is two orders of magnitude slower).
World RAS [m] becomes the format's patient LPS [mm] here and nowhere else.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from .constants import GAMMA_BAR
from .encoding_space import Encoding, numbers
from .rawdata import RawData

_RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])
# Bits as of the ISMRMRD constants, flag n is bit n - 1.
_FLAGS = {
    "NOISE": 18,
    "REF_ONLY": 19,
    "REF_AND_IMAGE": 20,
    "LAST_IN_MEASUREMENT": 24,
    "REVERSE": 21,
    "NAV": 22,
}


def _flags(raw: RawData) -> np.ndarray:
    sequence = raw.sequence
    flags = np.zeros(sequence.adc_blocks.size, np.uint64)
    reference = sequence.label("REF") > 0
    imaging = sequence.label("IMA") > 0
    noise = sequence.label("NOISE") > 0
    flags |= np.where(noise, np.uint64(1 << _FLAGS["NOISE"]), np.uint64(0))
    flags |= np.where(reference & ~imaging & ~noise, np.uint64(1 << _FLAGS["REF_ONLY"]), np.uint64(0))
    flags |= np.where(reference & imaging & ~noise, np.uint64(1 << _FLAGS["REF_AND_IMAGE"]), np.uint64(0))
    flags |= np.where(sequence.label("NAV") > 0, np.uint64(1 << _FLAGS["NAV"]), np.uint64(0))
    # Label REV asks the reconstruction to flip; an EPI line runs backwards in k when its samples fall.
    flags |= np.where(sequence.label("REV") > 0, np.uint64(1 << _FLAGS["REVERSE"]), np.uint64(0))
    flags[-1] |= np.uint64(1 << _FLAGS["LAST_IN_MEASUREMENT"])
    return flags


def _heads(raw: RawData, encoding: Encoding, dtype: np.dtype[Any]) -> np.ndarray:
    sequence = raw.sequence
    count = sequence.adc_blocks.size
    heads = np.zeros(count, dtype)
    events = [sequence.adc_events[int(i) - 1] for i in sequence.adc[sequence.adc_blocks]]
    heads["version"] = 1
    heads["flags"] = _flags(raw)
    heads["scan_counter"] = np.arange(count)
    start = sequence.start[sequence.adc_blocks] + np.array([e.delay for e in events])
    heads["acquisition_time_stamp"] = np.rint(start * 1e3)
    heads["number_of_samples"] = [e.num for e in events]
    heads["available_channels"] = heads["active_channels"] = raw.channels
    heads["sample_time_us"] = [e.dwell * 1e6 for e in events]
    for c in range(raw.channels):
        heads["channel_mask"][:, c // 64] |= np.uint64(1 << (c % 64))
    heads["center_sample"][raw.readouts.adc] = _center_samples(raw)
    p = raw.prescription
    axes = np.stack([p.read_dir, p.phase_dir, p.slice_dir])
    heads["position"] = (np.asarray(p.center) + encoding.slice_shift @ axes) * _RAS_TO_LPS * 1e3
    for name in ("read_dir", "phase_dir", "slice_dir"):
        heads[name] = np.asarray(getattr(p, name)) * _RAS_TO_LPS
    idx = heads["idx"]
    idx["kspace_encode_step_1"], idx["kspace_encode_step_2"] = encoding.lines, encoding.partitions
    idx["slice"], idx["repetition"] = encoding.slices, encoding.repetitions
    names = {"average": "AVG", "contrast": "ECO", "phase": "PHS", "set": "SET", "segment": "SEG"}
    for field, label in names.items():
        idx[field] = sequence.label(label)
    return heads


def _center_samples(raw: RawData) -> np.ndarray:
    """Sample of each readout nearest the centre of k-space along it; of two equally near ones the later."""
    r = raw.readouts
    # Few readouts differ in where they lie along the readout axis.
    kinds, which = np.unique(
        np.stack([r.pattern, np.round(r.base[:, 0], 6)], axis=1), axis=0, return_inverse=True
    )
    found = np.zeros(len(kinds), np.int64)
    for n, (pattern, base) in enumerate(kinds):
        k = np.abs(base + r.offsets[int(pattern)][:, 0])
        found[n] = np.flatnonzero(k <= k.min() + 1e-3 * max(float(k.max()), 1e-9) / k.size)[-1]
    return np.asarray(found[which.reshape(-1)])


def _limit(x: Any, values: np.ndarray, center: int) -> Any:
    return x.limitType(minimum=int(values.min()), maximum=int(values.max()), center=center)


def _parallel(x: Any, raw: RawData, encoding: Encoding) -> Any:
    reference = (raw.sequence.label("REF") > 0).any()
    mode = x.calibrationModeType.EMBEDDED if reference else x.calibrationModeType.OTHER
    first, second = encoding.acceleration
    return x.parallelImagingType(
        accelerationFactor=x.accelerationFactorType(
            kspace_encoding_step_1=first, kspace_encoding_step_2=second
        ),
        calibrationMode=mode,
    )


def _sequence_parameters(x: Any, definitions: dict[str, Any]) -> Any:
    def milliseconds(name: str) -> list[float]:
        return [round(v * 1e3, 6) for v in numbers(definitions[name])] if name in definitions else []

    return x.sequenceParametersType(
        TR=milliseconds("TR"),
        TE=milliseconds("TE"),
        TI=milliseconds("TI"),
        flipAngle_deg=[round(math.degrees(v), 6) for v in numbers(definitions.get("FlipAngle", ()))],
        sequence_type=str(definitions.get("SequenceKind", definitions.get("Name", "unknown"))),
        echo_spacing=milliseconds("EchoSpacing"),
    )


def _space(x: Any, matrix: tuple[int, ...], fov: tuple[float, ...]) -> Any:
    names = ("x", "y", "z")
    return x.encodingSpaceType(
        matrixSize=x.matrixSizeType(**{n: int(m) for n, m in zip(names, matrix, strict=True)}),
        fieldOfView_mm=x.fieldOfViewMm(**{n: float(f) * 1e3 for n, f in zip(names, fov, strict=True)}),
    )


def _user_parameters(x: Any, raw: RawData) -> Any:
    definitions = raw.sequence.definitions
    doubles = {"gamma_bar_hz_per_t": GAMMA_BAR}
    if "PartialFourier" in definitions:
        doubles["partial_fourier"] = min(numbers(definitions["PartialFourier"]))
    text = json.dumps(raw.recipe, sort_keys=True, allow_nan=False)
    return x.userParametersType(
        userParameterDouble=[x.userParameterDoubleType(name=k, value=v) for k, v in doubles.items()],
        userParameterString=[x.userParameterStringType(name="mrsim_recipe", value=text)],
    )


def _encoding_limits(x: Any, raw: RawData, encoding: Encoding) -> Any:
    wide = encoding.encoded_x
    labels = {"average": "AVG", "contrast": "ECO", "set": "SET"}
    return x.encodingLimitsType(
        kspace_encoding_step_0=x.limitType(minimum=0, maximum=wide - 1, center=wide // 2),
        kspace_encoding_step_1=_limit(x, encoding.lines, encoding.center[0]),
        kspace_encoding_step_2=_limit(x, encoding.partitions, encoding.center[1]),
        slice=_limit(x, encoding.slices, 0),
        repetition=_limit(x, encoding.repetitions, 0),
        **{name: _limit(x, raw.sequence.label(label), 0) for name, label in labels.items()},
    )


def _system(x: Any, raw: RawData) -> Any:
    scanner = raw.scanner
    return x.acquisitionSystemInformationType(
        systemVendor=scanner.manufacturer,
        systemModel=scanner.model,
        systemFieldStrength_T=scanner.b0,
        relativeReceiverNoiseBandwidth=1.0,
        receiverChannels=raw.channels,
        coilLabel=[
            x.coilLabelType(coilNumber=i, coilName=f"{scanner.receive.coil}:{i + 1}")
            for i in range(raw.channels)
        ],
        institutionName=scanner.institution,
        stationName=scanner.station,
    )


def header(raw: RawData) -> str:
    """ISMRMRD XML header of the raw data."""
    import ismrmrd.xsd as x

    encoding = Encoding(raw)
    definitions = raw.sequence.definitions
    wide = (encoding.fov[0] * encoding.oversampling, *encoding.fov[1:])
    document = x.ismrmrdHeader(
        version=1,
        measurementInformation=x.measurementInformationType(
            patientPosition=x.patientPositionType.HFS, protocolName=str(definitions.get("Name", "unknown"))
        ),
        acquisitionSystemInformation=_system(x, raw),
        experimentalConditions=x.experimentalConditionsType(H1resonanceFrequency_Hz=round(raw.scanner.f0)),
        encoding=[
            x.encodingType(
                encodedSpace=_space(x, (encoding.encoded_x, *encoding.matrix[1:]), wide),
                reconSpace=_space(x, encoding.recon, encoding.fov),
                encodingLimits=_encoding_limits(x, raw, encoding),
                trajectory=x.trajectoryType.CARTESIAN if encoding.cartesian else x.trajectoryType.OTHER,
                parallelImaging=_parallel(x, raw, encoding),
                echoTrainLength=round(numbers(definitions.get("TurboFactor", 1))[0]),
            )
        ],
        sequenceParameters=_sequence_parameters(x, definitions),
        userParameters=_user_parameters(x, raw),
    )
    return str(document.toXML())


def write_ismrmrd(path: str | Path, raw: RawData) -> None:
    """Write raw data to ``path`` (group ``dataset``), under a temporary name that is renamed at the end.

    Parameters
    ----------
    path : path
        HDF5 file to create or replace.
    raw : RawData

    Raises
    ------
    OSError
        If the folder cannot be written; nothing is left behind.
    """
    import h5py
    from ismrmrd.hdf5 import acquisition_dtype, acquisition_header_dtype

    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    encoding = Encoding(raw)
    heads = _heads(raw, encoding, acquisition_header_dtype)
    trajectories = encoding.trajectories(raw)
    heads["trajectory_dimensions"][list(trajectories)] = 3
    try:
        with h5py.File(temporary, "w", libver="latest") as file:
            group = file.create_group("dataset")
            xml = group.create_dataset("xml", shape=(1,), dtype=h5py.string_dtype())
            xml[0] = header(raw)
            table = group.create_dataset(
                "data", shape=(len(heads),), dtype=acquisition_dtype, maxshape=(None,),
                chunks=(max(1, min(len(heads), 256)),),
            )  # fmt: skip
            empty = np.empty(0, np.float32)
            for first in range(0, len(heads), 2048):
                stop = min(first + 2048, len(heads))
                block = np.empty(stop - first, acquisition_dtype)
                for i in range(first, stop):
                    block["traj"][i - first] = trajectories.get(i, empty)
                    block["data"][i - first] = np.ascontiguousarray(raw.data[i]).view(np.float32).reshape(-1)
                block["head"] = heads[first:stop]
                table[first:stop] = block
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)

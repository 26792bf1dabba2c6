"""XML header of an ISMRMRD file: what was measured, and all that a reconstruction needs to know of it."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import Any

import numpy as np

from .constants import GAMMA_BAR
from .encoding_space import Encoding, numbers
from .rawdata import RawData
from .scanner_gradients import DISTORTION_PARAMETER, distortion_description

RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])


def header(raw: RawData) -> str:
    """ISMRMRD XML header of the raw data."""
    import ismrmrd.xsd as x

    encoding = Encoding(raw)
    definitions = raw.sequence.definitions
    document = x.ismrmrdHeader(
        version=1,
        measurementInformation=x.measurementInformationType(
            patientPosition=x.patientPositionType.HFS, protocolName=str(definitions.get("Name", "unknown"))
        ),
        acquisitionSystemInformation=_system(x, raw),
        experimentalConditions=x.experimentalConditionsType(H1resonanceFrequency_Hz=round(raw.scanner.f0)),
        encoding=[
            x.encodingType(
                encodedSpace=_space(x, (encoding.encoded_x, *encoding.matrix[1:]), encoding.encoded_fov),
                reconSpace=_space(x, encoding.recon, encoding.fov),
                encodingLimits=_encoding_limits(x, raw, encoding),
                trajectory=x.trajectoryType(encoding.kind),
                trajectoryDescription=_echo_train(x, raw),
                parallelImaging=_parallel(x, raw, encoding),
                echoTrainLength=round(numbers(definitions.get("TurboFactor", 1))[0]),
            )
        ],
        sequenceParameters=_sequence_parameters(x, raw),
        userParameters=_user_parameters(x, raw),
    )
    return str(document.toXML())


def _space(x: Any, matrix: tuple[int, ...], fov: tuple[float, ...]) -> Any:
    names = ("x", "y", "z")
    return x.encodingSpaceType(
        matrixSize=x.matrixSizeType(**{n: int(m) for n, m in zip(names, matrix, strict=True)}),
        fieldOfView_mm=x.fieldOfViewMm(**{n: float(f) * 1e3 for n, f in zip(names, fov, strict=True)}),
    )


def _limit(x: Any, values: np.ndarray, center: int) -> Any:
    return x.limitType(minimum=int(values.min()), maximum=int(values.max()), center=center)


def _encoding_limits(x: Any, raw: RawData, encoding: Encoding) -> Any:
    wide = encoding.encoded_x
    labels = {"average": "AVG", "contrast": "ECO", "phase": "PHS", "set": "SET", "segment": "SEG"}
    return x.encodingLimitsType(
        kspace_encoding_step_0=x.limitType(minimum=0, maximum=wide - 1, center=wide // 2),
        kspace_encoding_step_1=_limit(x, encoding.lines, encoding.center[0]),
        kspace_encoding_step_2=_limit(x, encoding.partitions, encoding.center[1]),
        slice=_limit(x, encoding.slices, 0),
        repetition=_limit(x, encoding.repetitions, 0),
        **{name: _limit(x, raw.sequence.label(label), 0) for name, label in labels.items()},
    )


def _parallel(x: Any, raw: RawData, encoding: Encoding) -> Any:
    reference, imaging = raw.sequence.label("REF") > 0, raw.sequence.label("IMA") > 0
    modes = x.calibrationModeType
    mode = modes.OTHER
    if reference.any():
        mode = modes.EMBEDDED if (reference & imaging).any() else modes.SEPARATE
    first, second = encoding.acceleration
    return x.parallelImagingType(
        accelerationFactor=x.accelerationFactorType(
            kspace_encoding_step_1=first, kspace_encoding_step_2=second
        ),
        calibrationMode=mode,
        multiband=_multiband(x, raw),
    )


def _multiband(x: Any, raw: RawData) -> Any:
    """Distances of neighbouring slices of a group [mm], and the step of their extra encoding [1/mm]."""
    definitions = raw.sequence.definitions
    factor = round(numbers(definitions.get("MultibandFactor", 1))[0])
    positions = numbers(definitions.get("SlicePositions", ()))
    if factor < 2 or len(positions) < factor:
        return None
    group = positions[:: len(positions) // factor]
    gaps = [round((b - a) * 1e3, 6) for a, b in pairwise(group)]
    return x.multibandType(
        spacing=[x.multibandSpacingType(dZ=gaps)],
        deltaKz=1e-3 * numbers(definitions.get("MultibandBlip", 0.0))[0],
        multiband_factor=factor,
        calibration=x.multibandCalibrationType.SEPARABLE2_D,
        calibration_encoding=0,
    )


def _echo_train(x: Any, raw: RawData) -> Any:
    """Readout of an echo train as ``ConventionalEPI`` [us], the form of the vendors' converters."""
    definitions, sequence = raw.sequence.definitions, raw.sequence
    ramp = numbers(definitions.get("EpiRamp", ()))
    if len(ramp) < 5:
        return None
    rise, flat, delay, dwell, samples = ramp[:5]
    imaging = (sequence.label("NAV") == 0) & (sequence.label("NOISE") == 0)
    imaging &= (sequence.label("REF") == 0) | (sequence.label("IMA") > 0)
    names = ("SLC", "REP", "SEG", "ECO", "SET")
    trains = np.stack([sequence.label(name) for name in names], axis=1)
    own = (trains == trains[np.argmax(imaging)]).all(axis=1)
    navigators = own & (sequence.label("NAV") > 0) & (sequence.label("REF") == 0)
    longs = {
        "etl": int((own & imaging).sum()),
        "numberOfNavigators": int(navigators.sum()),
        "rampUpTime": round(rise * 1e6),
        "rampDownTime": round(rise * 1e6),
        "flatTopTime": round(flat * 1e6),
        "echoSpacing": round(numbers(definitions.get("EchoSpacing", 0.0))[0] * 1e6),
        "acqDelayTime": round(delay * 1e6),
        "numSamples": round(samples),
    }
    return x.trajectoryDescriptionType(
        identifier="ConventionalEPI",
        userParameterLong=[x.userParameterLongType(name=k, value=v) for k, v in longs.items()],
        userParameterDouble=[x.userParameterDoubleType(name="dwellTime", value=round(dwell * 1e6, 9))],
        comment="times in us; the positions of all samples are stored with them",
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


def _sequence_parameters(x: Any, raw: RawData) -> Any:
    definitions = raw.sequence.definitions

    def first_of(*names: str) -> tuple[float, ...]:
        return next((numbers(definitions[name]) for name in names if name in definitions), ())

    def milliseconds(*names: str) -> list[float]:
        return [round(v * 1e3, 6) for v in first_of(*names)]

    weighting = _diffusion(x, raw)
    return x.sequenceParametersType(
        TR=milliseconds("RepetitionTimes", "TR"),
        TE=milliseconds("EchoTimes", "TE"),
        TI=milliseconds("InversionTimes", "TI"),
        flipAngle_deg=[round(math.degrees(v), 6) for v in first_of("FlipAngles", "FlipAngle")],
        sequence_type=str(definitions.get("SequenceKind", definitions.get("Name", "unknown"))),
        echo_spacing=milliseconds("EchoSpacing"),
        diffusionDimension=x.diffusionDimensionType.REPETITION if weighting else None,
        diffusion=weighting,
    )


def _diffusion(x: Any, raw: RawData) -> list[Any]:
    """One entry for each repetition: b-value [s/mm^2] and direction in patient axes (L, P, H)."""
    definitions = raw.sequence.definitions
    values = numbers(definitions.get("BValues", ()))
    if not values:
        return []
    logical = np.reshape(numbers(definitions["BDirections"]), (len(values), 3))
    p = raw.prescription
    world = logical @ np.stack([p.read_dir, p.phase_dir, p.slice_dir])
    return [
        x.diffusionType(
            gradientDirection=x.gradientDirectionType(rl=float(v[0]), ap=float(v[1]), fh=float(v[2])),
            bvalue=round(b * 1e-6, 6),
        )
        for b, v in zip(values, np.round(world * RAS_TO_LPS, 9) + 0.0, strict=True)
    ]


def _user_parameters(x: Any, raw: RawData) -> Any:
    definitions = raw.sequence.definitions
    doubles = {"gamma_bar_hz_per_t": GAMMA_BAR}
    if "PartialFourier" in definitions:
        doubles["partial_fourier"] = min(numbers(definitions["PartialFourier"]))
    # Gradients encode no phase here: what turns the slices of a group against each other counts from it.
    for axis, value in zip("xyz", np.asarray(raw.prescription.center) * RAS_TO_LPS * 1e3, strict=True):
        doubles[f"k_origin_mm_{axis}"] = round(float(value), 9) + 0.0
    strings: dict[str, Any] = {"mrsim_recipe": raw.recipe}
    if "PhasePolarity" in definitions:
        strings["phase_polarity"] = [round(v) for v in numbers(definitions["PhasePolarity"])]
    description = distortion_description(raw.scanner)
    if any(description["cosine"]) or any(description["sine"]):
        strings[DISTORTION_PARAMETER] = description
    return x.userParametersType(
        userParameterDouble=[x.userParameterDoubleType(name=k, value=v) for k, v in doubles.items()],
        userParameterString=[
            x.userParameterStringType(name=k, value=json.dumps(v, sort_keys=True, allow_nan=False))
            for k, v in strings.items()
        ],
    )

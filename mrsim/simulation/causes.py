"""What makes one scanner differ from another: the causes by name, and how to switch each off.

A counterfactual scan is the same visit with some causes nominal. All draws of the other causes stay
bit-identical: each has its own random stream (`mrsim.simulation.streams`), and what is drawn is scaled, not
skipped.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from protocols import GradientResponse, Scanner

from .options import SimulationOptions
from .placement import Pose
from .session import Session

REFERENCE_SHIM_ORDER = 2
"""Shim order that all scanners have when the cause ``shim`` is off."""
REFERENCE_SPOIL_INCREMENT = 117.0
"""RF-spoiling increment [deg] that all scanners have when ``rf_spoiling`` is off (Zur et al., Magn Reson Med
21:251-263, 1991, from general knowledge): near ideal spoiling for brain tissue."""

Bench = tuple[Scanner, Session, SimulationOptions]


@dataclass(frozen=True, kw_only=True)
class Cause:
    """One reason for a difference between scanners.

    title : in words;  off : what switching it off means;  source : where model and sizes come from;
    layer : 'scan' if `switch_off` does it, 'sequence' if the sequence must be built anew from the changed
    record, 'study' if another layer of a study does it and `switch_off` changes nothing.
    """

    title: str
    off: str
    source: str
    layer: Literal["scan", "sequence", "study"] = "scan"


def _scanner(bench: Bench, **groups: dict[str, object]) -> Bench:
    scanner, session, options = bench
    changes: dict[str, object] = {
        name: dataclasses.replace(getattr(scanner, name), **values) for name, values in groups.items()
    }
    return scanner.replace(**changes), session, options


def _session(bench: Bench, **changes: object) -> Bench:
    scanner, session, options = bench
    return scanner, dataclasses.replace(session, **changes), options  # type: ignore[arg-type]


def _options(bench: Bench, **changes: object) -> Bench:
    scanner, session, options = bench
    return scanner, session, dataclasses.replace(options, **changes)  # type: ignore[arg-type]


def _susceptibility(bench: Bench) -> Bench:
    return _scanner(bench, field={"susceptibility": 0.0})


def _shim(bench: Bench) -> Bench:
    bench = _scanner(bench, field={"shim_order": REFERENCE_SHIM_ORDER, "shim_residual": 0.0})
    return _session(bench, shim_error=(0.0, 0.0, 0.0))


def _frequency(bench: Bench) -> Bench:
    return _session(_scanner(bench, field={"drift_sd": 0.0}), frequency_offset=0.0)


def _transmit_pattern(bench: Bench) -> Bench:
    return _scanner(bench, transmit={"dome": 0.0, "pattern": "dome"})


def _transmit_calibration(bench: Bench) -> Bench:
    bench = _scanner(bench, transmit={"calibration_bias": 0.0, "calibration_sd": 0.0})
    return _session(bench, b1_scale=1.0)


def _receive_profile(bench: Bench) -> Bench:
    return _scanner(bench, receive={"flat": True})


def _noise(bench: Bench) -> Bench:
    return _options(bench, noise=False)


def _gradient_scale(bench: Bench) -> Bench:
    return _scanner(bench, gradients={"scale_error": (0.0, 0.0, 0.0)})


def _gradient_nonlinearity(bench: Bench) -> Bench:
    bench = _scanner(bench, gradients={"coil": "none", "coil_error": 0.0})
    return _scanner(bench, recon={"distortion_correction": "none"})


def _concomitant(bench: Bench) -> Bench:
    return _scanner(bench, gradients={"concomitant": False})


def _gradient_response(bench: Bench) -> Bench:
    scanner, session, options = bench
    return scanner.replace(response=GradientResponse()), session, options


def _frequency_drift(bench: Bench) -> Bench:
    bench = _scanner(bench, stability={"frequency_drift": 0.0, "frequency_drift_sd": 0.0})
    return _session(bench, frequency_drift=0.0)


def _gain(bench: Bench) -> Bench:
    bench = _scanner(bench, session={"gain_sd": 0.0}, stability={"gain_drift_sd": 0.0})
    return _session(bench, gain=1.0, gain_drift=0.0)


def _spikes(bench: Bench) -> Bench:
    return _session(_scanner(bench, stability={"spike_rate": 0.0}), spike_rate=0.0)


def _rf_spoiling(bench: Bench) -> Bench:
    return _scanner(bench, transmit={"rf_spoil_increment_deg": REFERENCE_SPOIL_INCREMENT})


def _slice_profile(bench: Bench) -> Bench:
    return _options(bench, slice_profile=False)


def _chemical_shift(bench: Bench) -> Bench:
    return _options(bench, chemical_shift=False)


def _motion(bench: Bench) -> Bench:
    return _session(_scanner(bench, session={"motion": "none"}), motion="none")


def _repositioning(bench: Bench) -> Bench:
    bench = _scanner(bench, session={"translation_sd": 0.0, "rotation_sd": 0.0})
    session = bench[1]
    # Movements turn about the same point of the head, which now lies where it lies in the phantom.
    pivot = tuple(float(v) for v in session.pose.pivot)
    return _session(bench, pose=Pose.identity(), pivot=pivot)


def _unchanged(bench: Bench) -> Bench:
    return bench


_TABLE: dict[str, tuple[Callable[[Bench], Bench], Cause]] = {
    "field": (_unchanged, Cause(
        title="Field strength", off="all scanners at the centre frequency of the reference scanner",
        source="Centre frequencies of ON-Harmony (OpenNeuro ds004712) sidecars: '3 T' is 2.89 or 3.00 T",
        layer="study")),
    "tissue": (_unchanged, Cause(
        title="Tissue parameters", off="every subject has the tissue table's values",
        source="Between-subject spread of the cohort (phantoms.cohorts.tissue_laws.PARAMETER_SPREAD)",
        layer="study")),
    "susceptibility": (_susceptibility, Cause(
        title="Susceptibility field", off="tissue and air have the same susceptibility",
        source="Dipole convolution: Marques and Bowtell 2005; Salomir et al. 2003")),
    "shim": (_shim, Cause(
        title="Shim", off="second-order shim without calibration error on every scanner",
        source="Whole-brain SD at 7 T by shim order: doi:10.1002/mrm.28438")),
    "frequency": (_frequency, Cause(
        title="Centre-frequency error", off="the scanner finds the frequency of the brain exactly",
        source="Assumed, few hertz")),
    "transmit_pattern": (_transmit_pattern, Cause(
        title="Transmit pattern", off="the same flip angle everywhere",
        source="Hoult 2000; sizes: Boudreau 2017, doi:10.1002/jmri.25692 (not opened); 7 T: "
        "doi:10.1101/2024.01.06.574463")),
    "transmit_calibration": (_transmit_calibration, Cause(
        title="Transmit calibration", off="the mean flip angle is the nominal one",
        source="Transmit reference amplitudes of ON-Harmony: SD 5.5 to 8.3 % with load; 1.5 % assumed")),
    "receive_profile": (_receive_profile, Cause(
        title="Receive profile", off="profiles divided by their root sum of squares: no shading, coils stay",
        source="Biot-Savart and reciprocity: Hoult and Richards 1976; Roemer et al. 1990")),
    "noise": (_noise, Cause(
        title="Thermal noise", off="no receiver noise",
        source="Nyquist; field dependence doi:10.1002/mrm.70202")),
    "gradient_scale": (_gradient_scale, Cause(
        title="Gradient calibration", off="gradients have exactly their nominal strength",
        source="Assumed, N(0, 0.003) per axis")),
    "gradient_nonlinearity": (_gradient_nonlinearity, Cause(
        title="Gradient nonlinearity and its correction", off="linear gradients, nothing to correct",
        source="Spherical harmonics; sizes as github.com/azlau/philips-gradunwarp-matlab; residuals "
        "PMC11447462")),
    "concomitant": (_concomitant, Cause(
        title="Concomitant fields", off="no Maxwell terms",
        source="Bernstein et al., Magn Reson Med 39:300-308, 1998")),
    "gradient_response": (_gradient_response, Cause(
        title="Gradient response", off="gradients are played as demanded: no delay, low-pass, eddy currents",
        source="Vannesjo et al. 2013; PMC7654095; sizes from general knowledge")),
    "frequency_drift": (_frequency_drift, Cause(
        title="Frequency drift", off="the centre frequency stands still within a scan",
        source="Order 0.1 to 1 Hz/min; Hui et al. 2021, doi:10.1016/j.neuroimage.2021.118430 (not read)")),
    "gain": (_gain, Cause(
        title="Receiver gain and its drift", off="nominal gain, constant",
        source="Scale slopes of ON-Harmony sidecars; drift assumed")),
    "spikes": (_spikes, Cause(
        title="Spikes", off="no corrupted samples",
        source="0 to 5 per volume of 5 to 50 local RMS: general knowledge")),
    "rf_spoiling": (_rf_spoiling, Cause(
        title="RF-spoiling increment", off="117 degrees on every scanner; the sequence is built anew",
        source="Preibisch and Deichmann 2009 (not opened)", layer="sequence")),
    "slice_profile": (_slice_profile, Cause(
        title="Slice and slab profile", off="every selective pulse has an ideal box profile",
        source="The pulses of the sequence, by the engine")),
    "chemical_shift": (_chemical_shift, Cause(
        title="Chemical shift", off="fat precesses as water does",
        source="3.4 ppm; displacement follows from bandwidths")),
    "motion": (_motion, Cause(
        title="Movement within a scan", off="the head lies still",
        source="0.1 to 1 mm and degrees: general knowledge; severe presets of mrtwin")),
    "repositioning": (_repositioning, Cause(
        title="Repositioning", off="the head lies as in its own frame",
        source="Assumed, 3 mm and 2 degrees")),
    "protocol": (_unchanged, Cause(
        title="Protocol", off="all scanners play the reference scanner's exam card",
        source="Exam cards of the library", layer="study")),
    "reconstruction": (_unchanged, Cause(
        title="Reconstruction", off="all scanners reconstruct as the reference scanner does",
        source="Reconstruction chain of the scanner records", layer="study")),
}  # fmt: skip

CAUSES: dict[str, Cause] = {name: cause for name, (_, cause) in _TABLE.items()}
"""Every cause by name. Those of layer 'study' are switched by the study: it exchanges field, card,
reconstruction chain or subject; `switch_off` accepts their names and changes nothing."""


def switch_off(
    names: Iterable[str], *, scanner: Scanner, session: Session, options: SimulationOptions
) -> Bench:
    """Return scanner, session and options with some causes nominal.

    Parameters
    ----------
    names : iterable of str
        Keys of `CAUSES`; their order does not matter.
    scanner : Scanner
        From whose record the session was drawn.
    session : Session
    options : SimulationOptions

    Returns
    -------
    scanner, session, options : copies; what does not belong to a named cause is unchanged.

    Raises
    ------
    ValueError
        For an unknown name, with the nearest known one.
    """
    bench: Bench = (scanner, session, options)
    for name in names:
        if name not in _TABLE:
            close = difflib.get_close_matches(name, CAUSES, n=1, cutoff=0.4)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"cause must be one of {', '.join(CAUSES)}; got {name!r}.{hint}")
        bench = _TABLE[name][0](bench)
    return bench

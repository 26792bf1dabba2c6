"""The k-space engine: raw data of a scan as a short sum of Fourier transforms.

Every distinct magnetization (tissue, B1+, off-resonance, place in the slice) is simulated once by phase
graphs over all pulses. Sample j of readout r is the Fourier transform, at the k that the gradients really
reach, of the object times a modulation M(r, j; x); all modulations of a group of readouts are linear
combinations of those at a few instants, whose images are formed voxel by voxel (`kspace.modulation`). Cost:
one transform per coil and image.
"""

from __future__ import annotations

import numpy as np

from phantoms import Phantom
from protocols import Prescription, Scanner, Sequence

from . import artifacts, maps
from .gradients import GradientSystem
from .kspace.diffusing import Weighting
from .kspace.displacement import as_encoded, linear_part, with_maxwell, with_reached
from .kspace.path import Readouts
from .kspace.scan import Movement
from .kspace.signal import noiseless_signal, played_readouts
from .kspace.train import Timeline, timeline
from .motion import HeadMotion
from .noise import draw_noise, equilibrium_magnetization
from .options import SimulationOptions
from .rawdata import RawData
from .scan_events import ScanEvents, draw_events
from .scanned import scan_object
from .scanner_gradients import scanner_gradients
from .session import Session

_SETTLED = 3.0
"""Mean T1 after which a balanced sequence has settled."""
MICROVOLT = 1e6


def simulate(
    phantom: Phantom,
    sequence: Sequence,
    scanner: Scanner,
    prescription: Prescription,
    *,
    rng: np.random.Generator,
    session: Session | None = None,
    options: SimulationOptions | None = None,
    gradients: GradientSystem | None = None,
    motion: HeadMotion | None = None,
) -> RawData:
    """Raw data of one scan: every ADC sample of every coil.

    Parameters
    ----------
    phantom : Phantom
        The head, in its own frame.
    sequence : Sequence
        What is played (`protocols.read_seq`), gradients on logical axes.
    scanner : Scanner
        On which machine.
    prescription : Prescription
        Where the logical axes lie.
    rng : numpy.random.Generator
        Receiver noise; the same state gives the same bytes on one machine.
    session : Session, optional
        Repositioning and calibration of this visit; nominal by default.
    options : SimulationOptions, optional
    gradients : GradientSystem, optional
        Instead of the scanner's own (`scanner_gradients`).
    motion : HeadMotion, optional
        Instead of what is drawn from the session.

    Returns
    -------
    RawData in microvolts; one array (coils, samples) per ADC event, in play order.

    Raises
    ------
    UnsupportedSequenceError
        If the sequence breaks an assumption of this engine.
    """
    session = session or Session()
    options = options or SimulationOptions()
    line = timeline(sequence, f0=scanner.f0)
    system = scanner_gradients(scanner) if gradients is None else gradients
    obj = scan_object(phantom, prescription, scanner, session, options)
    scale, offset, linear = linear_part(system.field, obj, prescription)
    if system.field is not None and not linear:
        if options.exact_distortion:
            obj = with_reached(obj, system.field, prescription)
        else:
            obj = as_encoded(obj, phantom, system.field, prescription, scanner, session)
    if system.concomitant:
        obj = with_maxwell(obj, scanner.f0)
    head = maps.Head.of(obj.placed)
    if options.coils:
        receiver = maps.receiver(obj.placed, head, scanner, options.channels)
    else:
        receiver = maps.uniform_receiver(obj.placed)
    line, played = played_readouts(sequence, line, system, prescription, scanner.f0)
    events = _events(sequence, session, motion)
    signal, report = noiseless_signal(
        line, obj, receiver, scanner, options, readouts=played, scale=scale, offset=offset,
        movement=_movement(events.motion, sequence, played, prescription),
        weighting=None if obj.diffusion is None else Weighting.along(sequence, line, obj.diffusion),
    )  # fmt: skip
    # Reciprocity: omega M0 B1- integrated over the object [V], as microvolts at the nominal gain.
    volts = 2 * np.pi * scanner.f0 * equilibrium_magnetization(scanner.b0) if options.coils else 1.0
    unit = np.float32(volts * session.gain * (MICROVOLT if options.coils else 1.0))
    notes = _notes(
        report, events, resampled=not linear and obj.reached is None, tolerance=options.tolerance
    )  # fmt: skip
    recipe = {
        "session": session.record(), "events": events.record(),
        "engine": report | {"notes": notes},
    }  # fmt: skip
    data = _with_silence(sequence, line, signal, unit, receiver.channels)
    data = _disturbed(data, sequence, line, session, events, receiver, rng, options)
    return RawData(
        data=tuple(data), sequence=sequence, scanner=scanner, prescription=prescription,
        readouts=line.readouts, recipe=recipe,
    )  # fmt: skip


def _events(sequence: Sequence, session: Session, motion: HeadMotion | None) -> ScanEvents:
    """Draw what happens during the scan from the session; ``motion`` replaces the drawn one."""
    counts = [sequence.adc_events[int(sequence.adc[b]) - 1].num for b in sequence.adc_blocks]
    volumes = int(sequence.label("REP").max(initial=0)) + 1
    drawn = draw_events(
        session, key=str(sequence.definitions.get("Name", "")), duration=sequence.total_duration,
        samples=counts, volumes=volumes,
    )  # fmt: skip
    return drawn if motion is None else ScanEvents(motion=motion, spikes=drawn.spikes)


def _movement(
    motion: HeadMotion | None, sequence: Sequence, readouts: Readouts, prescription: Prescription
) -> Movement | None:
    """Movement at the middle of every readout on logical axes."""
    if motion is None:
        return None
    blocks = sequence.adc_blocks[readouts.adc]
    events = [sequence.adc_events[int(sequence.adc[b]) - 1] for b in blocks]
    at = sequence.start[blocks] + np.array([e.delay + 0.5 * e.num * e.dwell for e in events])
    matrix = motion.matrices(at)
    axes, center = prescription.rotation, np.asarray(prescription.center, float)
    moved = matrix[:, :3, :3] @ center + matrix[:, :3, 3] - center
    return Movement(rotation=axes.T @ matrix[:, :3, :3] @ axes, shift=moved @ axes)


def _notes(report: dict[str, float], events: ScanEvents, *, resampled: bool, tolerance: float) -> list[str]:
    """Tell a reader of the raw data what the engine approximated."""
    notes = []
    if report["error"] > tolerance:
        notes.append(
            f"the signal's compression leaves {100 * report['error']:.2g} %, more than the tolerance of "
            f"{100 * tolerance:.2g} % that was asked"
        )
    left = report["spoiling_error"]
    if left > 5e-3:
        notes.append(
            "excitations are taken to find no transverse magnetization; up to "
            f"{100 * left:.1f} % of the signal is left there, dephased by the spoilers"
        )
    if 0.0 < report["unsettled"] < _SETTLED:
        notes.append(
            f"a balanced sequence is read {report['unsettled']:.1f} T1 after its first pulse: what T2' does "
            "to the transient is off by about 2 % until 3 T1; more dummies avoid it"
        )
    if events.motion is not None:
        notes.append(
            "coil, B0 and transmit fields, gradient distortion and slices travel with the moving head"
        )
    if resampled:
        notes.append(
            "the object was resampled trilinearly to where nonlinear gradients encode it (about 0.5 % for "
            "voxels an eighth of the image's, 5 % for a third); exact_distortion avoids it"
        )
    return notes


def _with_silence(
    sequence: Sequence, line: Timeline, signal: list[np.ndarray], unit: np.float32, channels: int
) -> list[np.ndarray]:
    """Scaled signal of every ADC event; a readout before the first pulse hears nothing."""
    for samples in signal:
        samples *= unit  # in place: raw data may be most of the memory
    heard = dict(zip(line.readouts.adc.tolist(), signal, strict=True))
    events = [sequence.adc_events[int(sequence.adc[b]) - 1] for b in sequence.adc_blocks]
    return [
        heard[i] if i in heard else np.zeros((channels, event.num), np.complex64)
        for i, event in enumerate(events)
    ]


def _disturbed(
    data: list[np.ndarray], sequence: Sequence, line: Timeline, session: Session, events: ScanEvents,
    receiver: maps.Receiver, rng: np.random.Generator, options: SimulationOptions,
) -> list[np.ndarray]:  # fmt: skip
    """Drifts, noise and spikes, in the order in which the chain meets them."""
    blocks = sequence.adc_blocks
    adc = [sequence.adc_events[int(sequence.adc[b]) - 1] for b in blocks]
    times = [sequence.start[b] + e.sample_times for b, e in zip(blocks, adc, strict=True)]
    if session.frequency_drift:
        start = dict(zip(line.readouts.adc.tolist(), line.readouts.tau.tolist(), strict=True))
        tau = [start.get(i, 0.0) + e.dwell * np.arange(e.num) for i, e in enumerate(adc)]
        data = artifacts.with_frequency_drift(data, times, tau, session.frequency_drift)
    if options.noise:
        gain = session.gain * (MICROVOLT if options.coils else 1.0)
        add_noise(data, [e.dwell for e in adc], receiver.covariance * gain**2, rng)
    data = artifacts.with_gain_drift(data, times, session.gain_drift)
    return artifacts.with_spikes(data, events.spikes)


def add_noise(
    data: list[np.ndarray], dwell: list[float], covariance: np.ndarray, rng: np.random.Generator
) -> None:
    """Add noise to all readouts (coils, samples) in place, in play order.

    dwell : of each readout [s];  covariance : (coils, coils) per hertz of bandwidth.
    """
    start = 0
    while start < len(data):
        stop = start
        same = (data[start].shape, dwell[start])
        while stop < len(data) and (data[stop].shape, dwell[stop]) == same and stop - start < 512:
            stop += 1
        samples = data[start].shape[1]
        noise = draw_noise(rng, covariance, stop - start, samples, 1.0 / dwell[start])
        for i in range(start, stop):
            data[i] += noise[i - start]
        start = stop

"""The k-space engine: raw data of a 3-D protocol as a short sum of Fourier transforms.

Every distinct magnetization (tissue x B1+) is simulated once by phase graphs over all pulses. Its
histories are compressed to a few curves u_k(readout); decay and off-resonance along the readout to a few
curves b_l(sample). The signal of coil c is then

    s_c(r, j) = sum_kl u_k(r) b_l(j) FT[ C_c sum_t f_t PD_t v_k(t, B1) a_l(t, df) ](k_rj),

with exact Fourier transforms of the fine phantom grid at the acquired k. Cost: one transform per coil and
kept pair (k, l).
"""

from __future__ import annotations

import numpy as np

from phantoms import Phantom
from protocols import Prescription, Scanner, Sequence

from . import maps
from .noise import draw_noise, equilibrium_magnetization
from .options import SimulationOptions
from .rawdata import RawData
from .scanned import scan_object
from .session import Session
from .signal import noiseless_signal
from .timeline import Timeline, timeline, with_scale_error

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
    obj = scan_object(phantom, prescription, scanner, session, options)
    head = maps.Head.of(obj.placed)
    if options.coils:
        receiver = maps.receiver(obj.placed, head, scanner, options.channels)
    else:
        receiver = maps.uniform_receiver(obj.placed)
    played = with_scale_error(line, scanner, prescription)
    signal, report = noiseless_signal(played, obj, receiver, scanner, options)
    # Reciprocity: omega M0 B1- integrated over the object [V], as microvolts at the nominal gain.
    volts = 2 * np.pi * scanner.f0 * equilibrium_magnetization(scanner.b0) if options.coils else 1.0
    scale = np.float32(volts * session.gain * (MICROVOLT if options.coils else 1.0))
    return _with_noise(
        sequence, line, signal, scale, receiver, session, scanner, prescription, rng, options, report
    )


def _with_noise(
    sequence: Sequence, line: Timeline, signal: list[np.ndarray], scale: np.float32, receiver: maps.Receiver,
    session: Session, scanner: Scanner, prescription: Prescription, rng: np.random.Generator,
    options: SimulationOptions, report: dict[str, float],
) -> RawData:  # fmt: skip
    """Scale the signal, add noise in play order, and wrap everything up."""
    blocks = sequence.adc_blocks
    events = [sequence.adc_events[int(sequence.adc[b]) - 1] for b in blocks]
    heard = dict(zip(line.readouts.adc.tolist(), signal, strict=True))
    covariance = receiver.covariance * (session.gain * (MICROVOLT if options.coils else 1.0)) ** 2
    # A readout before the first pulse hears nothing.
    data: list[np.ndarray] = [
        heard[i] * scale if i in heard else np.zeros((receiver.channels, event.num), np.complex64)
        for i, event in enumerate(events)
    ]
    if options.noise:
        add_noise(data, [e.dwell for e in events], covariance, rng)
    return RawData(
        data=tuple(data), sequence=sequence, scanner=scanner, prescription=prescription,
        readouts=line.readouts, recipe={"session": session.record(), "engine": report},
    )  # fmt: skip


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
            data[i] = data[i] + noise[i - start]
        start = stop

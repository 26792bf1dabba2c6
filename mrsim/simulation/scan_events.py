"""What happens during one scan of a visit: movement and spikes, drawn from the visit's own streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from protocols import Sequence as PulseSequence

from .artifacts import Spike, draw_spikes, spike_record
from .motion import HeadMotion, draw_motion
from .session import Session
from .streams import cause_stream


@dataclass(frozen=True, kw_only=True)
class ScanEvents:
    """Movement and spikes of one scan;  motion : None = the head lies still;  spikes : in drawing order."""

    motion: HeadMotion | None = None
    spikes: tuple[Spike, ...] = ()

    def record(self) -> dict[str, Any]:
        """Return all draws as JSON-able numbers (SI)."""
        return {
            "motion": None if self.motion is None else self.motion.record(),
            "spikes": spike_record(self.spikes),
        }


def draw_events(
    session: Session, *, key: str, duration: float, samples: Sequence[int], volumes: int = 1
) -> ScanEvents:
    """Draw what happens during one scan.

    Parameters
    ----------
    session : Session
        The visit: kind of movement, rate of spikes, entropy.
    key : str
        What tells the scans of the visit apart, such as the sequence's name.
    duration : float
        Of the scan [s].
    samples : sequence of int
        Samples of each readout.
    volumes : int
        Image volumes of the scan.
    """
    motion = None
    if session.motion != "none":
        motion = draw_motion(
            session.motion, session.entropy, duration, center=np.asarray(session.pivot), key=key
        )
    spikes = draw_spikes(
        cause_stream(session.entropy, "spikes", key),
        samples,
        rate=session.spike_rate,
        amplitude=session.spike_amplitude,
        volumes=volumes,
    )
    return ScanEvents(motion=motion, spikes=spikes)


def events_of(sequence: PulseSequence, session: Session) -> ScanEvents:
    """Draw what happens while a sequence is played: keyed by its name, one volume per repetition label."""
    counts = [sequence.adc_events[int(sequence.adc[b]) - 1].num for b in sequence.adc_blocks]
    return draw_events(
        session,
        key=str(sequence.definitions.get("Name", "")),
        duration=sequence.total_duration,
        samples=counts,
        volumes=int(sequence.label("REP").max(initial=0)) + 1,
    )

"""Raw data in memory: what the receivers digitised, with everything needed to label it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from protocols import Prescription, Scanner, Sequence

if TYPE_CHECKING:
    from .kspace.path import Readouts


@dataclass(frozen=True, kw_only=True, eq=False)
class RawData:
    """Samples of every ADC event with the acquisition's description.

    data : one complex64 array (coils, samples) per ADC event, in play order [microvolt];
    sequence, scanner, prescription : what was played, where, on which axes;
    readouts : k-space positions of the events with signal;
    recipe : draws of the session, error figures of the engine, versions; JSON-able.
    """

    data: tuple[np.ndarray, ...]
    sequence: Sequence
    scanner: Scanner
    prescription: Prescription
    readouts: Readouts
    recipe: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        events = self.sequence.adc_blocks.size
        if len(self.data) != events:
            raise ValueError(f"data must hold one array per ADC event ({events}); got {len(self.data)}.")

    @property
    def channels(self) -> int:
        """Number of receive channels."""
        return int(self.data[0].shape[0])

"""How long an exact simulation will take, roughly: so that nobody waits for days unwarned."""

from __future__ import annotations

import numpy as np

from protocols import Sequence

_SAMPLE = 0.15e-9
"""Seconds of one core per spin, sample and coil (docs/benchmarks.md), rounded up."""
_EVENT = 8e-9
"""Seconds of one core per spin and event: free precession, start of a readout, a pulse by its map."""
_STEP = 1e-9
"""Seconds of one core per spin and time step of a pulse that is played step by step or made into a map."""
_DOUBLE = 2.5
"""How much slower double precision is."""


def estimated_seconds(
    sequence: Sequence, spins: int, *, coils: int = 1, workers: int = 1, double: bool = False
) -> float:
    """Return the time [s] that ``workers`` cores of about 3 GHz need, to a factor of about three.

    Parameters
    ----------
    sequence : Sequence
    spins : int
        Spins in all, sub-voxel ones included.
    coils, workers : int
    double : bool
        Double precision.
    """
    used = sequence.adc[sequence.adc_blocks] - 1
    samples = float(np.array([e.num for e in sequence.adc_events], float)[used].sum()) if used.size else 0.0
    events = sequence.rf_blocks.size + sequence.adc_blocks.size
    shapes = {(e.b1.size, e.b1.tobytes()) for e in sequence.rf_events}
    steps = 4.0 * sum(size for size, _ in shapes)
    each = samples * max(coils, 1) * _SAMPLE + events * _EVENT + steps * _STEP
    return spins * each * (_DOUBLE if double else 1.0) / max(workers, 1)

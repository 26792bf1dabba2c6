"""Continuity of the gradients of a sequence across block borders."""

from __future__ import annotations

import numpy as np

from ..sequence import FloatArray, Sequence
from .tables import EDGE


def gradient_jumps(sequence: Sequence) -> FloatArray:
    """Find the steps of the gradients at block borders and at their ends inside blocks.

    Pulseq demands that a gradient which does not start or end at zero connects to its neighbour
    within slew rate times raster. A file does not hold the slew rate, so that `read_seq` plays what
    it says; compare these steps with the slew rate of a scanner times ``sequence.rasters["gradient"]``.

    Parameters
    ----------
    sequence : Sequence
        The sequence.

    Returns
    -------
    ndarray of float, shape (n_blocks + 1, 3)
        Row n: largest step [Hz/m] on each axis at the start of block n and where its gradient starts
        or ends inside it. The last row is the end of the sequence.
    """
    first = np.array([0.0, *(event.values[0] for event in sequence.grad_events)])
    last = np.array([0.0, *(event.values[-1] for event in sequence.grad_events)])
    begin = np.array([0.0, *(event.times[0] for event in sequence.grad_events)])
    end = np.array([0.0, *(event.times[-1] for event in sequence.grad_events)])
    raster = sequence.rasters.get("gradient", 0.0)
    jumps = np.zeros((sequence.n_blocks + 1, 3))
    for axis, numbers in enumerate((sequence.gx, sequence.gy, sequence.gz)):
        at_start = begin[numbers] < EDGE
        at_end = end[numbers] > sequence.duration - raster - EDGE
        entering = np.append(np.where(at_start, first[numbers], 0.0), 0.0)
        leaving = np.concatenate(([0.0], np.where(at_end, last[numbers], 0.0)))
        inside = np.maximum(
            np.where(at_start, 0.0, np.abs(first[numbers])), np.where(at_end, 0.0, np.abs(last[numbers]))
        )
        jumps[:, axis] = np.maximum(np.abs(entering - leaving), np.append(inside, 0.0))
    return jumps

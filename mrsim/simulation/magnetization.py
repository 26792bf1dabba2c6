"""Magnetization histories: every distinct tissue and transmit field, simulated exactly once."""

from __future__ import annotations

import numpy as np

from . import maps
from .epg import histories
from .rf import Bins, pulse_maps
from .scanned import ScannedObject
from .timeline import Timeline


def b1_nodes(obj: ScannedObject, count: int) -> np.ndarray:
    """Chebyshev nodes over the range of B1+ inside the object."""
    inside = obj.b1[obj.occupied]
    low, high = float(inside.min()), float(inside.max())
    if high - low < 1e-6 or count == 1:
        return np.array([0.5 * (low + high)])
    angle = np.pi * np.arange(count) / (count - 1)
    return 0.5 * (low + high) - 0.5 * (high - low) * np.cos(angle)


def polynomial_table(nodes: np.ndarray, values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Values (..., nodes) interpolated by the polynomial through the nodes, shape (..., at)."""
    if nodes.size == 1:
        return np.repeat(values, at.size, axis=-1)
    from scipy.interpolate import BarycentricInterpolator

    # Explicit generator: scipy permutes the nodes for stability, the result does not depend on it.
    rng = np.random.default_rng(0)
    table = BarycentricInterpolator(nodes, np.moveaxis(values, -1, 0), rng=rng)(at)
    return np.asarray(np.moveaxis(table, 0, -1))


def object_bins(obj: ScannedObject, nodes: np.ndarray, f0: float) -> Bins:
    """One bin per tissue and B1 node, B1 fastest."""
    repeat = nodes.size

    def column(values: list[float]) -> np.ndarray:
        return np.repeat(np.asarray(values, float), repeat)

    return Bins(
        t1=column([t.t1 for t in obj.tissues]),
        t2=column([t.t2 for t in obj.tissues]),
        adc=column([t.adc for t in obj.tissues]),
        shift=column([maps.tissue_shift(t, f0) for t in obj.tissues]),
        b1=np.tile(nodes, len(obj.tissues)),
    )


def magnetization_histories(line: Timeline, bins: Bins, *, max_states: int = 256) -> np.ndarray:
    """Signal amplitude of every readout for every bin, complex (readouts, bins), M0 = 1.

    The amplitude is that right after the pulse before the readout, on the echo path, demodulated with the
    ADC's phase, in the sign convention of the raw data.
    """
    pairs = [pulse_maps(s.b1, s.steps, bins, freq_offset=s.freq_offset, center=s.center) for s in line.shapes]
    matrices = np.stack([m for m, _ in pairs])
    offsets = np.stack([c for _, c in pairs])
    after_pulse = histories(line.train, matrices, offsets, bins, max_states=max_states)
    demodulation = np.exp(-1j * line.readouts.phase)
    return np.asarray((after_pulse[:, line.readouts.pulse] * demodulation[None, :]).conj().T)

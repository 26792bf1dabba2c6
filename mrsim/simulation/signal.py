"""The signal as a short sum of Fourier transforms of coefficient maps."""

from __future__ import annotations

import numpy as np
from numba import njit

from protocols import Scanner

from . import maps
from .bases import BlochHistories, Histories, JointBasis, expected_energy, history_basis, joint_basis
from .groups import Group, GroupEncoder, readout_groups
from .magnetization import b1_nodes, magnetization_histories, object_bins
from .options import SimulationOptions
from .scanned import ScannedObject
from .tables import coefficient_maps
from .timeline import Timeline

_SAFETY = 0.4
"""Share of the tolerance that the bases aim at: their weights are estimates of the true spectrum."""


@njit(cache=True)  # type: ignore[untyped-decorator]
def _accumulate(
    out: np.ndarray, coil: int, samples: np.ndarray, row: np.ndarray, column: np.ndarray, curve: np.ndarray
) -> None:
    """Add ``curve[r, :] * samples[row[r], column[r], :]`` to ``out[r, coil, :]`` for all readouts r."""
    for r in range(row.size):
        line = samples[row[r], column[r]]
        for j in range(curve.shape[1]):
            out[r, coil, j] += curve[r, j] * line[j]


def _curve(weights: np.ndarray, along: np.ndarray, variant: np.ndarray) -> np.ndarray:
    """Return weights (readouts, L) times the curves (samples, L) of each readout's timing, complex64."""
    out = np.empty((weights.shape[0], along.shape[1]), np.complex64)
    for v, curves in enumerate(along):
        use = variant == v
        out[use] = weights[use] @ curves.T
    return out


def _encode_group(
    obj: ScannedObject, history: Histories, joint: JointBasis, group: Group, encoder: GroupEncoder,
    receiver: maps.Receiver,
) -> np.ndarray:  # fmt: skip
    """Encode one group for all coils: complex64 samples (readouts, coils, samples)."""
    terms = joint.table.shape[3]
    coded = np.empty((terms, obj.b1.size), np.complex64)
    coefficient_maps(
        obj.placed.fractions.reshape(len(obj.tissues), -1), obj.b1.reshape(-1), history.b1.low,
        history.b1.step, obj.df.reshape(-1), joint.df.low, joint.df.step, joint.table, coded,
    )  # fmt: skip
    u = history.basis.curves
    samples_each = group.tau.shape[1]
    along = joint.along.curves.reshape(len(group.tau), samples_each, -1)
    out = np.zeros((u.shape[0], receiver.channels, samples_each), np.complex64)
    curves = [_curve(u @ joint.mixing[:, :, q], along, group.variant) for q in range(terms)]
    weighted = np.empty(obj.placed.grid.array_shape, np.complex64)
    for c, coil in enumerate(receiver.maps()):
        for image, curve in zip(coded, curves, strict=True):
            np.multiply(coil, image.reshape(coil.shape), out=weighted)
            samples = encoder(weighted)
            _accumulate(out, c, samples, encoder.row, encoder.column, curve)
    return out


def noiseless_signal(
    line: Timeline, obj: ScannedObject, receiver: maps.Receiver, scanner: Scanner, options: SimulationOptions
) -> tuple[list[np.ndarray], dict[str, float]]:
    """Compute the noise-free samples of every readout and the engine's own error figures.

    Returns
    -------
    list of complex64 arrays (coils, samples), one per readout, for M0 = 1 A/m;
    dict with ranks and relative errors of the compressions.
    """
    readouts = line.readouts
    nodes = b1_nodes(obj, options.b1_nodes)
    bins = object_bins(obj, nodes, scanner.f0)
    amplitude = magnetization_histories(line, bins, max_states=options.max_states)
    bloch = BlochHistories(amplitude=amplitude, nodes=nodes)
    energy = bloch.energy(obj.share)
    data: list[np.ndarray] = [np.empty(0)] * readouts.adc.size
    report = {"history_rank": 0.0, "transforms_per_coil": 0.0, "error": 0.0}
    for group in readout_groups(readouts):
        members, first = group.members, int(group.members[0])
        encoder = GroupEncoder(obj.placed.grid, readouts, members)
        across, along = expected_energy(obj, energy, encoder)
        aim = _SAFETY * options.tolerance
        history = history_basis(bloch, obj, members, across, 0.3 * aim)
        joint = joint_basis(obj, energy, history, group, along, aim, scanner.f0)
        samples = _encode_group(obj, history, joint, group, encoder, receiver)
        if readouts.freq[first]:
            turns = readouts.freq[first] * readouts.dwell[first] * np.arange(samples.shape[2])
            samples *= np.exp(2j * np.pi * turns).astype(np.complex64)
        for i, r in enumerate(members):
            data[r] = samples[i]
        error = float(np.linalg.norm([history.basis.error, joint.along.error, joint.error]))
        report["error"] = max(report["error"], error)
        report["history_rank"] = max(report["history_rank"], float(history.basis.rank))
        report["transforms_per_coil"] += joint.table.shape[3]
    return data, report

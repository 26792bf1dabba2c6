"""The few curves that one group of readouts needs: over the readouts, along a readout, and both together.

Each basis is the shortest that keeps its share of the tolerance, with k-space weighted by the signal energy
that the object puts there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import maps
from .compress import Basis, compress
from .groups import Group, GroupEncoder
from .magnetization import polynomial_table
from .scanned import ScannedObject
from .tables import Axis, coefficient_maps

_FREQUENCIES = 64
"""Off-resonance values that stand for the object's range when the readout curves are chosen."""
_TRANSMIT = 33
"""Entries of the tables over B1+; linear interpolation between them is right to 1e-4."""
_SPECTRUM_FLOOR = 1e-2
"""Share of the mean spectral energy that every k-space position counts for at least."""
_SAMPLE = 60_000
"""Voxels from which the joint basis is chosen, about; large objects are thinned evenly along each axis."""


@dataclass(frozen=True, kw_only=True)
class BlochHistories:
    """All histories before compression.

    amplitude : (readouts, tissues * nodes), B1 fastest, M0 = 1;  nodes : (nodes,) relative transmit field.
    """

    amplitude: np.ndarray
    nodes: np.ndarray

    def energy(self, share: np.ndarray) -> np.ndarray:
        """Return the signal energy of each tissue, (tissues,), from the share of each in the object."""
        power = np.mean(np.abs(self.amplitude) ** 2, axis=0).reshape(share.size, -1)
        return np.asarray(share * power.mean(axis=1))


@dataclass(frozen=True, kw_only=True)
class Histories:
    """Curves over the readouts with the table of their coefficients (tissue, K, B1), PD included."""

    basis: Basis
    table: np.ndarray
    b1: Axis


def history_basis(
    bloch: BlochHistories, obj: ScannedObject, members: np.ndarray, rows: np.ndarray, tolerance: float
) -> Histories:
    """Compress the histories of some readouts and tabulate the coefficients over B1+.

    Parameters
    ----------
    bloch : BlochHistories
    obj : ScannedObject
    members : int array (members,)
        The readouts.
    rows : array (members,)
        Signal energy expected in each.
    tolerance : float
        Relative error that may be left.
    """
    nodes = bloch.nodes
    weights = np.repeat(obj.share / obj.share.sum() / nodes.size, nodes.size)
    basis = compress(bloch.amplitude[members], weights, rows, tolerance)
    pd = np.array([t.pd for t in obj.tissues])[None, :, None]
    coefficients = basis.coefficients.reshape(basis.rank, len(obj.tissues), nodes.size) * pd
    if nodes.size > 1:
        axis = Axis.over(float(nodes[0]), float(nodes[-1]), _TRANSMIT)
    else:
        axis = Axis(low=float(nodes[0]), step=1.0, size=2)
    table = polynomial_table(nodes, coefficients, axis.values)
    return Histories(basis=basis, table=table.transpose(1, 0, 2), b1=axis)


def expected_energy(
    obj: ScannedObject, energy: np.ndarray, encoder: GroupEncoder
) -> tuple[np.ndarray, np.ndarray]:
    """Return the signal energy expected in each readout of a group and in each sample along it, mean about 1.

    The spectrum of the object at the tissues' mean signal (``energy``, one value each) tells where in k-space
    accuracy matters; a floor keeps the edge of k-space, where noise rules, from being ignored.
    """
    gain = np.sqrt(energy / obj.placed.fractions.reshape(energy.size, -1).sum(axis=1).clip(min=1e-9))
    body = np.tensordot(gain.astype(np.float32), obj.placed.fractions, axes=1).astype(np.complex64)
    readouts, samples = encoder.energy(body)
    return readouts / readouts.mean() + _SPECTRUM_FLOOR, samples / samples.mean() + _SPECTRUM_FLOOR


def _decay(
    obj: ScannedObject, df: np.ndarray, since_rf: np.ndarray, tau: np.ndarray, f0: float
) -> np.ndarray:
    """Return exp(-t/T2 - |tau|/T2' - 2 pi i (df + shift) tau), shape (samples, tissues, frequencies)."""
    columns = []
    for t in obj.tissues:
        real = -since_rf / t.t2 - np.abs(tau) / t.t2_prime
        turns = tau[:, None] * (df[None, :] + maps.tissue_shift(t, f0))
        columns.append(np.exp(real[:, None] - 2j * np.pi * turns))
    return np.stack(columns, axis=1)


@dataclass(frozen=True, kw_only=True)
class JointBasis:
    """The signal's best few functions of readout and sample together.

    mixing : (K, L, Q) weights of u_k(r) b_l(j);  table : (tissue, B1, df, Q) coefficients;
    along : readout curves (samples, L);  df : axis of the table [Hz];  error : relative error left.
    """

    mixing: np.ndarray
    table: np.ndarray
    along: Basis
    df: Axis
    error: float


def joint_basis(
    obj: ScannedObject, energy: np.ndarray, history: Histories, group: Group, rows: np.ndarray,
    tolerance: float, f0: float,
) -> JointBasis:  # fmt: skip
    """Choose the curves along the readouts of a group, then the joint basis on a thinned copy of the object.

    Parameters
    ----------
    obj : ScannedObject
    energy : array (tissues,)
        Signal energy of each tissue.
    history : Histories
        Curves over the readouts.
    group : Group
    rows : array (samples,)
        Signal energy expected in each sample along a readout.
    tolerance : float
        Relative error that each of the two steps may leave (the first 0.3 of it).
    f0 : float
        Centre frequency [Hz].
    """
    since_rf, tau = group.since_rf.reshape(-1), group.tau.reshape(-1)
    # Each timing counts by its number of readouts.
    share = np.bincount(group.variant, minlength=len(group.tau)) / group.members.size
    rows = np.outer(share, rows).reshape(-1)
    inside = obj.df[obj.occupied]
    low, high = float(inside.min()), float(inside.max())
    if high - low < 1e-3:
        low, high = low - 0.5, high + 0.5
    counts, edges = np.histogram(inside, bins=_FREQUENCIES, range=(low, high))
    centers = 0.5 * (edges[1:] + edges[:-1])
    # One count more everywhere: rare frequencies must stay describable.
    weights = np.outer(energy / energy.sum(), (counts + 1) / (counts + 1).sum())
    decay = _decay(obj, centers, since_rf, tau, f0)
    along = compress(decay.reshape(tau.size, -1), weights.reshape(-1), rows, 0.3 * tolerance)
    # 0.1 rad per table step: bilinear interpolation is then right to 1e-3 at the last sample.
    points = int(np.ceil((high - low) * np.abs(tau).max() * 2 * np.pi / 0.1)) + 2
    df = Axis.over(low, high, min(max(points, 8), 4000))
    # Curves are orthonormal under the row weights: project with them.
    weighted = along.curves.conj() * rows[:, None]
    fine = _decay(obj, df.values, since_rf, tau, f0)
    a = np.tensordot(weighted, fine, axes=(0, 0)).transpose(1, 0, 2)
    return _mix(obj, history, along, a, df, tolerance)


def _mix(
    obj: ScannedObject, history: Histories, along: Basis, a: np.ndarray, df: Axis, tolerance: float
) -> JointBasis:
    """Find the best few combinations of history and readout curves for the voxels of a thinned object.

    ``a`` (tissue, L, df) holds the coefficients of the readout curves on the axis ``df``.
    """
    step = max(1, round((np.count_nonzero(obj.occupied) / _SAMPLE) ** (1 / 3)))
    thin = (slice(None), *(slice(step // 2, None, step) for _ in range(3)))
    fractions = np.ascontiguousarray(obj.placed.fractions[thin]).reshape(len(obj.tissues), -1)
    b1, freq = obj.b1[thin[1:]].reshape(-1), obj.df[thin[1:]].reshape(-1)
    over_b1, rank = history.b1, history.basis.rank * along.rank
    pairs = np.einsum("tkb,tld->tbdkl", history.table, a).reshape(len(a), over_b1.size, df.size, rank)
    pairs = np.ascontiguousarray(pairs, dtype=np.complex64)
    coefficients = np.empty((rank, b1.size), np.complex64)
    coefficient_maps(fractions, b1, over_b1.low, over_b1.step, freq, df.low, df.step, pairs, coefficients)
    energy, vectors = np.linalg.eigh((coefficients @ coefficients.conj().T).astype(np.complex128))
    energy, vectors = energy[::-1].clip(min=0.0), vectors[:, ::-1]
    left = np.sqrt(np.append(energy.sum() - np.cumsum(energy), 0.0).clip(min=0.0) / energy.sum())
    keep = int(np.argmax(left <= tolerance)) + 1
    chosen = np.ascontiguousarray(vectors[:, :keep], dtype=np.complex64)
    return JointBasis(
        mixing=chosen.reshape(history.basis.rank, along.rank, keep),
        table=np.ascontiguousarray(pairs @ chosen.conj()),
        along=along, df=df, error=float(left[keep - 1]),
    )  # fmt: skip

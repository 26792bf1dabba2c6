"""The signal as a short sum of Fourier transforms of coefficient maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from protocols import Scanner

from . import maps
from .compress import Basis, compress
from .encode import Grid, TensorEncoder, nufft
from .magnetization import b1_nodes, magnetization_histories, object_bins, polynomial_table
from .options import SimulationOptions
from .scanned import ScannedObject
from .timeline import Readouts, Timeline


_FREQUENCIES = 64
"""Off-resonance values that stand for the object's range when the readout curves are chosen."""
_TRANSMIT = 33
"""Entries of the tables over B1+; linear interpolation between them is right to 1e-4."""
_SPECTRUM_FLOOR = 1e-2
"""Share of the mean spectral energy that every k-space position counts for at least."""
_SAFETY = 0.4
"""Share of the tolerance that the bases aim at: their weights are estimates of the true spectrum."""
_SAMPLE = 60_000
"""Voxels from which the joint basis is chosen, about; large objects are thinned evenly along each axis."""


@njit(cache=True)
def _coefficients(
    fractions: np.ndarray, b1: np.ndarray, b1_low: float, b1_step: float, df: np.ndarray, df_low: float,
    df_step: float, table: np.ndarray, out: np.ndarray,
) -> None:  # fmt: skip
    """out[q, x] = sum_t f_t(x) table[t, B1(x), df(x), q], the table interpolated bilinearly."""
    n_tissue, n_b, n_d, n_q = table.shape
    total = np.empty(n_q, np.complex64)
    for x in range(b1.size):
        u = min(max((b1[x] - b1_low) / b1_step, 0.0), n_b - 1.001)
        w = min(max((df[x] - df_low) / df_step, 0.0), n_d - 1.001)
        i, j = int(u), int(w)
        fu, fw = np.float32(u - i), np.float32(w - j)
        one = np.float32(1.0)
        total[:] = 0.0
        for t in range(n_tissue):
            f = fractions[t, x]
            if f > 0.0:
                c00, c01 = f * (one - fu) * (one - fw), f * (one - fu) * fw
                c10, c11 = f * fu * (one - fw), f * fu * fw
                r00, r01 = table[t, i, j], table[t, i, j + 1]
                r10, r11 = table[t, i + 1, j], table[t, i + 1, j + 1]
                for q in range(n_q):
                    total[q] += c00 * r00[q] + c01 * r01[q] + c10 * r10[q] + c11 * r11[q]
        for q in range(n_q):
            out[q, x] = total[q]


@dataclass(frozen=True, kw_only=True)
class _Group:
    """Readouts that share one trajectory along the readout, and so one Fourier transform.

    members : indices of the readouts;  variant : (members,) which timing each has;
    since_rf, tau : (variants, samples) time since the pulse's end and tau of each sample [s].
    """

    members: np.ndarray
    variant: np.ndarray
    since_rf: np.ndarray
    tau: np.ndarray


def _cluster(values: np.ndarray, tolerance: float) -> np.ndarray:
    """Cluster index of each value: sorted neighbours closer than ``tolerance`` belong together."""
    order = np.argsort(values, kind="stable")
    index = np.empty(values.size, np.int64)
    index[order] = np.concatenate([[0], np.cumsum(np.diff(values[order]) > tolerance)])
    return index


def _groups(readouts: Readouts) -> list[_Group]:
    """Groups of readouts with equal k along the readout (0.01 1/m), dwell and demodulation frequency."""
    key = np.stack(
        [
            readouts.pattern, _cluster(readouts.base[:, 0], 1e-2), _cluster(readouts.dwell, 1e-10),
            _cluster(readouts.freq, 1e-3),
        ],
        axis=1,
    )  # fmt: skip
    _, group = np.unique(key, axis=0, return_inverse=True)
    found = []
    for g in range(int(group.max()) + 1):
        members = np.flatnonzero(group.reshape(-1) == g)
        first = members[0]
        time = readouts.dwell[first] * np.arange(readouts.offsets[readouts.pattern[first]].shape[0])
        timing = np.stack([readouts.since_rf[members], readouts.tau[members]], axis=1)
        kinds, variant = np.unique(np.round(timing, 8), axis=0, return_inverse=True)
        found.append(
            _Group(
                members=members, variant=variant.reshape(-1), since_rf=kinds[:, :1] + time,
                tau=kinds[:, 1:] + time,
            )
        )  # fmt: skip
    return found


def _decay(
    obj: ScannedObject, df: np.ndarray, since_rf: np.ndarray, tau: np.ndarray, f0: float
) -> np.ndarray:
    """exp(-t/T2 - |tau|/T2' - 2 pi i (df + shift) tau), shape (samples, tissues, frequencies)."""
    columns = []
    for t in obj.tissues:
        real = -since_rf / t.t2 - np.abs(tau) / t.t2_prime
        turns = tau[:, None] * (df[None, :] + maps.tissue_shift(t, f0))
        columns.append(np.exp(real[:, None] - 2j * np.pi * turns))
    return np.stack(columns, axis=1)


@dataclass(frozen=True, kw_only=True)
class _Axis:
    """Even table axis: first value and step."""

    low: float
    step: float
    size: int

    @classmethod
    def over(cls, low: float, high: float, size: int) -> _Axis:
        return cls(low=low, step=(high - low) / (size - 1), size=size)

    @property
    def values(self) -> np.ndarray:
        return self.low + self.step * np.arange(self.size)


@dataclass(frozen=True, kw_only=True)
class _Histories:
    """Curves over the readouts with the table of their coefficients (tissue, K, B1), PD included."""

    basis: Basis
    table: np.ndarray
    b1: _Axis


@dataclass(frozen=True, kw_only=True)
class _Bloch:
    """All histories before compression: (readouts, tissues * nodes), B1 fastest, and the B1 nodes."""

    amplitude: np.ndarray
    nodes: np.ndarray

    def energy(self, share: np.ndarray) -> np.ndarray:
        """Signal energy of each tissue at unit gain, (tissues,)."""
        power = np.mean(np.abs(self.amplitude) ** 2, axis=0).reshape(share.size, -1)
        return np.asarray(share * power.mean(axis=1))


def _history_basis(
    bloch: _Bloch, obj: ScannedObject, members: np.ndarray, rows: np.ndarray, tolerance: float
) -> _Histories:
    nodes = bloch.nodes
    weights = np.repeat(obj.share / obj.share.sum() / nodes.size, nodes.size)
    basis = compress(bloch.amplitude[members], weights, rows, tolerance)
    pd = np.array([t.pd for t in obj.tissues])[None, :, None]
    coefficients = basis.coefficients.reshape(basis.rank, len(obj.tissues), nodes.size) * pd
    if nodes.size > 1:
        axis = _Axis.over(float(nodes[0]), float(nodes[-1]), _TRANSMIT)
    else:
        axis = _Axis(low=float(nodes[0]), step=1.0, size=2)
    table = polynomial_table(nodes, coefficients, axis.values)
    return _Histories(basis=basis, table=table.transpose(1, 0, 2), b1=axis)


def _spectrum(obj: ScannedObject, energy: np.ndarray, encoder: _Encoder) -> tuple[np.ndarray, np.ndarray]:
    """Expected signal energy of each readout of the group and of each sample along it.

    The spectrum of a thinned object decides where in k-space accuracy matters; a floor keeps the edge of
    k-space, where noise rules, from being ignored.
    """
    gain = np.sqrt(energy / obj.placed.fractions.reshape(energy.size, -1).sum(axis=1).clip(min=1e-9))
    body = np.tensordot(gain.astype(np.float32), obj.placed.fractions, axes=1).astype(np.complex64)
    readouts, samples = encoder.energy(body)
    return tuple(w / w.mean() + _SPECTRUM_FLOOR for w in (readouts, samples))  # type: ignore[return-value]


@dataclass(frozen=True, kw_only=True)
class _Joint:
    """The signal's best few functions of readout and sample together.

    mixing : (K, L, Q) weights of u_k(r) b_l(j);  table : (tissue, B1, df, Q) coefficients;
    along : readout curves (samples, L);  error : relative error left.
    """

    mixing: np.ndarray
    table: np.ndarray
    along: Basis
    df: _Axis
    error: float


def _joint_basis(
    obj: ScannedObject, energy: np.ndarray, history: _Histories, group: _Group, rows: np.ndarray,
    tolerance: float, f0: float,
) -> _Joint:  # fmt: skip
    """Readout curves of one group, then the joint basis chosen on a thinned copy of the object itself."""
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
    df = _Axis.over(low, high, min(max(points, 8), 4000))
    # Curves are orthonormal under the row weights: project with them.
    weighted = along.curves.conj() * rows[:, None]
    fine = _decay(obj, df.values, since_rf, tau, f0)
    a = np.tensordot(weighted, fine, axes=(0, 0)).transpose(1, 0, 2)
    return _mix(obj, history, along, a, df, tolerance)


def _mix(
    obj: ScannedObject, history: _Histories, along: Basis, a: np.ndarray, df: _Axis, tolerance: float
) -> _Joint:
    step = max(1, round((np.count_nonzero(obj.occupied) / _SAMPLE) ** (1 / 3)))
    thin = (slice(None), *(slice(step // 2, None, step) for _ in range(3)))
    fractions = np.ascontiguousarray(obj.placed.fractions[thin]).reshape(len(obj.tissues), -1)
    b1, freq = obj.b1[thin[1:]].reshape(-1), obj.df[thin[1:]].reshape(-1)
    rank = history.basis.rank * along.rank
    pairs = np.einsum("tkb,tld->tbdkl", history.table, a).reshape(len(a), history.b1.size, df.size, rank)
    pairs = np.ascontiguousarray(pairs, dtype=np.complex64)
    coefficients = np.empty((rank, b1.size), np.complex64)
    _coefficients(
        fractions, b1, history.b1.low, history.b1.step, freq, df.low, df.step, pairs, coefficients
    )
    energy, vectors = np.linalg.eigh((coefficients @ coefficients.conj().T).astype(np.complex128))
    energy, vectors = energy[::-1].clip(min=0.0), vectors[:, ::-1]
    left = np.sqrt(np.append(energy.sum() - np.cumsum(energy), 0.0).clip(min=0.0) / energy.sum())
    keep = int(np.argmax(left <= tolerance)) + 1
    chosen = np.ascontiguousarray(vectors[:, :keep], dtype=np.complex64)
    return _Joint(
        mixing=chosen.reshape(history.basis.rank, along.rank, keep),
        table=np.ascontiguousarray(pairs @ chosen.conj()),
        along=along, df=df, error=float(left[keep - 1]),
    )  # fmt: skip


def _unique(values: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Distinct values within ``tolerance`` and the index of each value among them."""
    _, first, index = np.unique(np.rint(values / tolerance), return_index=True, return_inverse=True)
    return values[first], index.reshape(-1)


class _Encoder:
    """Fourier transform of a map at the samples of one group of readouts.

    Called with an image it returns samples (a, b, samples); readout i of the group is item
    (``row[i]``, ``column[i]``).
    """

    def __init__(self, grid: Grid, readouts: Readouts, members: np.ndarray) -> None:
        self._grid = grid
        offsets = readouts.offsets[readouts.pattern[members[0]]]
        base = readouts.base[members]
        tolerance = 1e-3 / max(s * n for s, n in zip(grid.spacing, grid.shape, strict=True))
        self._tensor: TensorEncoder | None = None
        if np.ptp(offsets[:, 1:], axis=0).max() < tolerance:
            across = base + offsets[0] * np.array([0.0, 1.0, 1.0])
            k_phase, self.row = _unique(across[:, 1], tolerance)
            k_slice, self.column = _unique(across[:, 2], tolerance)
            self._tensor = TensorEncoder.build(grid, base[0, 0] + offsets[:, 0], k_phase, k_slice)
        else:
            self._k = (base[:, None, :] + offsets[None, :, :]).reshape(-1, 3)
            self.row, self.column = np.arange(members.size), np.zeros(members.size, np.int64)

    def energy(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Spectral energy of an image at each readout of the group, and at each sample of a readout."""
        if self._tensor is None:
            power = np.abs(self(image)[:, 0]) ** 2
            return power.sum(axis=1), power.sum(axis=0)
        power = np.abs(self._tensor.forward(image)) ** 2
        return power.sum(axis=2)[self.row, self.column], power.sum(axis=(0, 1))

    def __call__(self, image: np.ndarray) -> np.ndarray:
        if self._tensor is not None:
            return self._tensor.forward(image)
        return nufft(image, self._grid, self._k).reshape(self.row.size, 1, -1)


@njit(cache=True)
def _accumulate(
    out: np.ndarray, coil: int, samples: np.ndarray, row: np.ndarray, column: np.ndarray, curve: np.ndarray
) -> None:
    """out[r, coil, :] += curve[r, :] * samples[row[r], column[r], :]."""
    for r in range(row.size):
        line = samples[row[r], column[r]]
        for j in range(curve.shape[1]):
            out[r, coil, j] += curve[r, j] * line[j]


def _curve(weights: np.ndarray, along: np.ndarray, variant: np.ndarray) -> np.ndarray:
    """Function of readout and sample, complex64: weights (readouts, L) times the curves of each timing."""
    out = np.empty((weights.shape[0], along.shape[1]), np.complex64)
    for v, curves in enumerate(along):
        use = variant == v
        out[use] = weights[use] @ curves.T
    return out


def _encode_group(
    obj: ScannedObject, history: _Histories, joint: _Joint, group: _Group, encoder: _Encoder,
    receiver: maps.Receiver,
) -> np.ndarray:  # fmt: skip
    """Samples (readouts, coils, samples) of one group, complex64."""
    terms = joint.table.shape[3]
    coded = np.empty((terms, obj.b1.size), np.complex64)
    _coefficients(
        obj.placed.fractions.reshape(len(obj.tissues), -1), obj.b1.reshape(-1), history.b1.low,
        history.b1.step, obj.df.reshape(-1), joint.df.low, joint.df.step, joint.table, coded,
    )  # fmt: skip
    u = history.basis.curves
    samples_each = group.tau.shape[1]
    along = joint.along.curves.reshape(len(group.tau), samples_each, -1)
    out = np.zeros((u.shape[0], receiver.channels, samples_each), np.complex64)
    curves = [_curve(u @ joint.mixing[:, :, q], along, group.variant) for q in range(terms)]
    for c, coil in enumerate(receiver.maps()):
        for image, curve in zip(coded, curves, strict=True):
            samples = encoder(coil * image.reshape(coil.shape))
            _accumulate(out, c, samples, encoder.row, encoder.column, curve)
    return out


def noiseless_signal(
    line: Timeline, obj: ScannedObject, receiver: maps.Receiver, scanner: Scanner, options: SimulationOptions
) -> tuple[list[np.ndarray], dict[str, float]]:
    """Noise-free samples of every readout and the engine's own error figures.

    Returns
    -------
    list of complex64 arrays (coils, samples), one per readout, for M0 = 1 A/m;
    dict with ranks and relative errors of the compressions.
    """
    readouts = line.readouts
    nodes = b1_nodes(obj, options.b1_nodes)
    bins = object_bins(obj, nodes, scanner.f0)
    amplitude = magnetization_histories(line, bins, max_states=options.max_states)
    bloch = _Bloch(amplitude=amplitude, nodes=nodes)
    energy = bloch.energy(obj.share)
    data: list[np.ndarray] = [np.empty(0)] * readouts.adc.size
    report = {"history_rank": 0.0, "transforms_per_coil": 0.0, "error": 0.0}
    for group in _groups(readouts):
        members, first = group.members, int(group.members[0])
        encoder = _Encoder(obj.placed.grid, readouts, members)
        across, along = _spectrum(obj, energy, encoder)
        aim = _SAFETY * options.tolerance
        history = _history_basis(bloch, obj, members, across, 0.3 * aim)
        joint = _joint_basis(obj, energy, history, group, along, aim, scanner.f0)
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

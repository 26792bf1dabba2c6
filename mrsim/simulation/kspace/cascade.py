"""Weighted sums of Fourier transforms, one axis at a time: a tensor train of weights between three products.

A group's samples are sum_q t_q(k) F[g_q](k) with the same transform F for all terms. On a tensor grid F is a
product of three, one per axis, and the weights of real sequences are short sums of products too: histories
depend on the position in the shot, decay on the position along the readout. With a tensor train

    t_q(a, b, c) = sum_rs A_qr(a) B_rs(b) C_s(c)

the sum over terms is done as soon as the first axis is transformed, so that the second is transformed once
for each r and the last once for each s, instead of once for each term (Oseledets 2011,
doi:10.1137/090752286). What the truncation of the train leaves is measured, not assumed.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numba import njit

from .compress import compress
from .encode import TensorEncoder

_ELEMENTWISE = 4.0
"""Time of one complex multiply-add outside of matrix products, in units of one inside."""
_BLOCK = 6e6
"""Bytes of the images' transforms that are formed at a time: what stays in a core's cache."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Terms:
    """Weights t_q(r, j) = sum_kl u_k(r) b_l(variant(r), j) X_klq of the transforms of a group.

    curves : (R, K) u;  along : (variants, J, L) b;  mixing : (K, L, Q) X;  variant : (R,);
    size : (Q,) norm of each term's image;  rows, samples : (R,), (J,) spectral energy expected there.
    """

    curves: np.ndarray
    along: np.ndarray
    mixing: np.ndarray
    variant: np.ndarray
    size: np.ndarray
    rows: np.ndarray
    samples: np.ndarray

    def curve(self, q: int) -> np.ndarray:
        """Weight t_q(r, j) of term q, complex64 (R, J)."""
        weights = self.curves @ self.mixing[:, :, q]
        out = np.empty((weights.shape[0], self.along.shape[1]), np.complex64)
        order = np.argsort(self.variant, kind="stable")
        edges = np.flatnonzero(np.diff(self.variant[order], prepend=-1))
        if edges.size == self.variant.size:
            np.einsum("rl,rjl->rj", weights, self.along[self.variant], out=out, casting="same_kind")
            return out
        for rows in np.split(order, edges[1:]):
            out[rows] = weights[rows] @ self.along[self.variant[rows[0]]].T
        return out


@dataclass(frozen=True, kw_only=True, eq=False)
class Lattice:
    """Weights on a tensor grid: tensor (Q, phase, slice, M), with ``along`` (J, M) on its last axis.

    energy : (phase, slice) expected at each line, 0 where no readout is;  error : relative, of the curves.
    """

    tensor: np.ndarray
    along: np.ndarray
    energy: np.ndarray
    error: float


def lattice_of(
    terms: Terms, member: np.ndarray, row: np.ndarray, column: np.ndarray, shape: tuple[int, int],
    tolerance: float,
) -> Lattice:  # fmt: skip
    """Weights of the readouts ``member`` at lines (row, column) of a tensor grid, each line at most once."""
    variants, local = np.unique(terms.variant[member], return_inverse=True)
    used = terms.along[variants]
    v, j, n = used.shape
    mixed = np.sqrt(np.sum(np.abs(terms.mixing * terms.size) ** 2, axis=(0, 2)))
    tall = np.ascontiguousarray(used.transpose(1, 0, 2)).reshape(j, v * n)
    basis = compress(tall, np.tile(mixed**2, v), terms.samples, tolerance)
    own = basis.coefficients.reshape(basis.rank, v, n).transpose(1, 2, 0)[local.reshape(-1)]
    k, _, q = terms.mixing.shape
    weights = (terms.curves[member] @ terms.mixing.reshape(k, n * q)).reshape(-1, n, q)
    values = np.matmul(weights.transpose(0, 2, 1), own)
    tensor = np.zeros((q, *shape, basis.rank), complex)
    tensor[:, row, column] = values.transpose(1, 0, 2)
    energy = np.zeros(shape)
    energy[row, column] = terms.rows[member]
    return Lattice(tensor=tensor, along=basis.curves, energy=energy, error=basis.error)


def _filled(tensor: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Give lines without a readout the nearest one's weights along the phase axis: they may be anything."""
    if known.all():
        return tensor
    source = np.empty(known.shape, np.int64)
    lines = np.arange(known.shape[0])
    for c in range(known.shape[1]):
        own = np.flatnonzero(known[:, c])
        after = np.searchsorted(own, lines).clip(max=own.size - 1)
        before = (after - 1).clip(min=0)
        near = np.abs(own[before] - lines) <= np.abs(own[after] - lines)
        source[:, c] = np.where(near, own[before], own[after])
    return np.asarray(tensor[:, source, np.arange(known.shape[1])[None, :]])


def _left(matrix: np.ndarray, allowed: float) -> np.ndarray:
    """Orthonormal columns that span a matrix up to the Frobenius norm ``allowed``."""
    rows, columns = matrix.shape
    if rows <= columns:
        energy, vectors = np.linalg.eigh(matrix @ matrix.conj().T)
        energy, vectors = energy[::-1], vectors[:, ::-1]
    else:
        energy, right = np.linalg.eigh(matrix.conj().T @ matrix)
        energy, vectors = energy[::-1], matrix @ right[:, ::-1]
    energy = energy.clip(min=0.0)
    left = np.sqrt(np.append(np.cumsum(energy[::-1])[::-1], 0.0))
    rank = max(1, int(np.argmax(left <= allowed)))
    return np.asarray(vectors[:, :rank] if rows <= columns else np.linalg.qr(vectors[:, :rank])[0])


@dataclass(frozen=True, kw_only=True, eq=False)
class Cascade:
    """Three matrix products with contractions between them.

    order : array axes (0 phase, 1 slice, 2 read) transformed first, second, last;
    first : (A, R1, Q);  second : (R1, R2, B);  matrices : F_first (A, a), F_second^T (b, B);
    last : (C, R2 c), the weights of the last axis times its transform;  error : relative, of the weights.
    """

    order: tuple[int, int, int]
    first: np.ndarray
    second: np.ndarray
    matrices: tuple[np.ndarray, np.ndarray]
    last: np.ndarray
    error: float

    def samples(self, images: np.ndarray, coil: np.ndarray) -> np.ndarray:
        """Sum over terms on the tensor grid (phase, slice, J); images (Q, phase, slice, read)."""
        a, b, c = self.order
        seen = images.transpose(0, 1 + c, 1 + a, 1 + b)
        coil = coil.transpose(c, a, b)
        f_a, f_b = self.matrices
        terms, n_c, _, n_b = seen.shape
        size_a, size_b = f_a.shape[0], f_b.shape[1]
        mixed = np.empty((self.second.shape[1], n_c, size_a, size_b), np.complex64)
        step = max(1, int(_BLOCK / (8 * terms * size_a * n_b)))
        for at in range(0, n_c, step):
            block = slice(at, min(at + step, n_c))
            one = np.matmul(f_a, seen[:, block] * coil[block])
            two = np.matmul(self.first, one.transpose(1, 2, 0, 3))
            three = (two.reshape(-1, n_b) @ f_b).reshape(*two.shape[:3], size_b)
            _contract(three, self.second, mixed[:, block])
        found = (self.last @ mixed.reshape(-1, size_a * size_b)).reshape(-1, size_a, size_b)
        return np.moveaxis(found, (0, 1, 2), (c, a, b))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _contract(values: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
    """``out[s, c, a, b] = sum_r weights[r, s, b] values[c, a, r, b]``."""
    for c in range(values.shape[0]):
        for a in range(values.shape[1]):
            for s in range(out.shape[0]):
                line = out[s, c, a]
                line[:] = 0.0
                for r in range(values.shape[2]):
                    own, weight = values[c, a, r], weights[r, s]
                    for b in range(line.size):
                        line[b] += weight[b] * own[b]


def build_cascade(
    lattice: Lattice, size: np.ndarray, encoder: TensorEncoder, tolerance: float
) -> Cascade | None:
    """Cheapest cascade of the weights, None where a transform for each term costs less.

    Parameters
    ----------
    lattice : Lattice
    size : array (Q,)
        Norm of each term's image: errors of large images count more.
    encoder : TensorEncoder
        The transform along each axis.
    tolerance : float
        Relative error that the train may leave, weighted with the energy expected at each line.
    """
    known = lattice.energy > 0.0
    tensor = _filled(lattice.tensor, known) * size[:, None, None, None]
    # A product of two weights stands for the energy of a line, so that the train can be scaled by it.
    root = [_root_mean(lattice.energy, axis) for axis in (1, 0)]
    scaled = tensor * (root[0][:, None] * root[1])[None, :, :, None]
    size_of_all = float(np.linalg.norm(scaled))
    if size_of_all == 0.0:
        return None
    matrices = (encoder.phase, encoder.partition, encoder.read)
    # The scaling is not the energy itself: where more is left than allowed, less is cut off.
    for share in (1.0, 0.3, 0.1):
        # Three truncations of axes, two of the train.
        allowed = share * tolerance * size_of_all / np.sqrt(5.0)
        order, cost, train = _planned(scaled, matrices, root, allowed)
        if cost > _direct_work([m.shape for m in matrices], len(size)):
            return None
        error = _weight_error(train, order, tensor, lattice.energy)
        if error <= tolerance:
            return _assembled(train, order, lattice, size, matrices, float(np.hypot(error, lattice.error)))
    return None


def _planned(
    scaled: np.ndarray, matrices: tuple[np.ndarray, ...], root: list[np.ndarray], allowed: float
) -> tuple[tuple[int, int, int], float, list[np.ndarray]]:
    """Cheapest order of the axes, its work, and the train of the weights themselves in that order."""
    factors = [_left(np.moveaxis(scaled, i, 0).reshape(scaled.shape[i], -1), allowed) for i in (1, 2, 3)]
    core = np.einsum("qabc,ai,bj,ck->qijk", scaled, *(f.conj() for f in factors), optimize=True)
    order, cost = _cheapest(core, matrices, allowed)
    wide = [factors[0] / root[0][:, None], factors[1] / root[1][:, None], factors[2]]
    return order, cost, _expanded(_train(core, order, allowed), [wide[i] for i in order])


def _assembled(
    train: list[np.ndarray], order: tuple[int, int, int], lattice: Lattice, size: np.ndarray,
    matrices: tuple[np.ndarray, ...], error: float,
) -> Cascade:  # fmt: skip
    """Put weights and transforms together; weights of the read axis become those of its samples."""
    read = order.index(2)
    train[read] = _expanded([train[read]], [lattice.along])[0]
    first, second, last = train
    first = first / np.where(size > 0.0, size, 1.0)[:, None, None]
    a, b, c = order
    final = last.T[:, :, None] * matrices[c][:, None, :]
    return Cascade(
        order=order, first=np.ascontiguousarray(first.transpose(1, 2, 0), np.complex64),
        second=np.ascontiguousarray(second.transpose(0, 2, 1), np.complex64),
        matrices=(matrices[a], np.ascontiguousarray(matrices[b].T)),
        last=np.ascontiguousarray(final.reshape(len(final), -1), np.complex64), error=error,
    )  # fmt: skip


def _root_mean(energy: np.ndarray, axis: int) -> np.ndarray:
    """Root mean energy of the lines with a readout along an axis; that of all lines where there is none."""
    count = np.count_nonzero(energy, axis=axis)
    mean = energy.sum(axis=axis) / np.maximum(count, 1)
    return np.asarray(np.sqrt(np.where(count > 0, mean, mean[count > 0].mean())))


def _cheapest(
    core: np.ndarray, matrices: tuple[np.ndarray, ...], allowed: float
) -> tuple[tuple[int, int, int], float]:
    """Order of the axes with the least work, and that work."""
    shapes = [m.shape for m in matrices]
    heads = [_left(np.moveaxis(core, 1 + i, 1).reshape(len(core) * core.shape[1 + i], -1), allowed).shape[1]
             for i in range(3)]  # fmt: skip
    costs = {}
    for a, b, c in permutations(range(3)):
        ranks = (heads[a], core.shape[1 + c])
        costs[a, b, c] = _work(shapes[a], shapes[b], shapes[c], ranks, len(core))
    order = min(costs, key=lambda o: costs[o])
    return order, costs[order]


def _work(
    first: tuple[int, ...], second: tuple[int, ...], last: tuple[int, ...], ranks: tuple[int, int], terms: int
) -> float:
    """Complex multiply-adds of a cascade of matrices (k, points); outside of products they count more."""
    (a, n_a), (b, n_b), (c, n_c) = first, second, last
    r1, r2 = ranks
    products = terms * n_c * a * n_a * n_b + terms * r1 * n_c * a * n_b
    products += r1 * n_c * a * n_b * b + r2 * c * n_c * a * b
    return products + _ELEMENTWISE * (terms * n_c * n_a * n_b + r1 * r2 * n_c * a * b)


def _direct_work(shapes: list[tuple[int, ...]], terms: int) -> float:
    """Complex multiply-adds of a transform for each term."""
    (p, n_p), (s, n_s), (j, n_j) = shapes
    products = p * n_p * n_s * n_j + p * s * n_s * n_j + p * s * j * n_j
    return terms * (products + _ELEMENTWISE * (n_p * n_s * n_j + 2 * p * s * j))


def _train(tensor: np.ndarray, order: tuple[int, int, int], allowed: float) -> list[np.ndarray]:
    """Cores (Q, A, R1), (R1, B, R2), (R2, C) of a tensor (Q, ...): two truncated decompositions in turn."""
    ordered = tensor.transpose(0, *(1 + i for i in order))
    q, a, b, c = ordered.shape
    matrix = ordered.reshape(q * a, b * c)
    left = _left(matrix, allowed)
    rest = (left.conj().T @ matrix).reshape(-1, c)
    middle = _left(rest, allowed)
    return [left.reshape(q, a, -1), middle.reshape(-1, b, middle.shape[1]), middle.conj().T @ rest]


def _expanded(cores: list[np.ndarray], factors: list[np.ndarray]) -> list[np.ndarray]:
    """Cores whose second axes are multiplied by factors (n, rank)."""
    return [np.moveaxis(np.tensordot(f, c, (1, 1)), 0, 1) for c, f in zip(cores, factors, strict=True)]


def _weight_error(
    train: list[np.ndarray], order: tuple[int, int, int], tensor: np.ndarray, energy: np.ndarray
) -> float:
    """Relative error of the train's weights, with the energy expected at each line."""
    whole = np.einsum("qar,rbs,sc->qabc", *train, optimize=True)
    weight = energy[None, :, :, None]
    wrong = whole.transpose(0, *(1 + np.argsort(order))) - tensor
    return float(np.sqrt(np.sum(weight * np.abs(wrong) ** 2) / np.sum(weight * np.abs(tensor) ** 2)))

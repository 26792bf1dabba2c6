"""The signal law of Gaussian compartments for many voxels and b-tensors: tables and compiled kernel."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from phantoms import Compartment, DiffusionModel, TensorCompartment

_NOTHING = 1e-6
"""Weights in single precision sum to 1 +- 1e-7: a smaller rest without direction is rounding."""


class Tables(NamedTuple):
    """One tissue's compartments in K cells; K = 1 where a quantity is the same in all.

    directions : (p, K, 3) of the fibre populations, weights : (p, K);
    fraction, along, across : (c, K) of the axially symmetric compartments, diffusivities [m^2/s];
    share : (t, K) and tensors : (t, K, 3, 3) of plain tensors.
    """

    directions: np.ndarray
    weights: np.ndarray
    fraction: np.ndarray
    along: np.ndarray
    across: np.ndarray
    share: np.ndarray
    tensors: np.ndarray

    @property
    def varies(self) -> bool:
        """Whether anything differs from cell to cell."""
        return any(a.shape[1] > 1 for a in self)


def isotropic_tables(adc: float) -> Tables:
    """Tables of a tissue with one apparent diffusion coefficient [m^2/s]."""
    d = np.full((1, 1), adc)
    return Tables(
        directions=np.zeros((0, 1, 3)), weights=np.zeros((0, 1)), fraction=np.ones((1, 1)), along=d, across=d,
        share=np.zeros((0, 1)), tensors=np.zeros((0, 1, 3, 3)),
    )  # fmt: skip


def model_tables(model: DiffusionModel, tissue: str) -> Tables:
    """Tables of a tissue of a model; one that is not oriented does not ask for directions."""
    every = model.tissues[tissue]
    axial = [c for c in every if isinstance(c, Compartment)]
    plain = [c for c in every if isinstance(c, TensorCompartment)]
    directions, weights = np.zeros((0, 1, 3)), np.zeros((0, 1))
    if model.oriented(tissue):
        assert model.directions is not None
        assert model.weights is not None
        directions = model.directions.reshape(len(model.directions), -1, 3).astype(np.float64)
        weights = model.weights.reshape(len(directions), -1).astype(np.float64)
    return Tables(
        directions=directions, weights=weights, fraction=_rows([c.fraction for c in axial]),
        along=_rows([c.d_parallel for c in axial]), across=_rows([c.d_perpendicular for c in axial]),
        share=_rows([c.fraction for c in plain]), tensors=_rows([c.tensor for c in plain], (3, 3)),
    )  # fmt: skip


def _rows(values: list[Any], shape: tuple[int, ...] = ()) -> np.ndarray:
    """Stack constants and maps to (rows, K, *shape), K = 1 where all are constant."""
    flat = [np.asarray(v, np.float64).reshape(-1, *shape) for v in values]
    if not flat:
        return np.zeros((0, 1, *shape))
    size = max(len(v) for v in flat)
    return np.stack([np.broadcast_to(v, (size, *shape)) for v in flat])


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _congruent(a: np.ndarray, b: np.ndarray, half: np.ndarray, out: np.ndarray) -> None:
    """Write a b a^T into ``out``."""
    for i in range(3):
        for j in range(3):
            half[i, j] = a[i, 0] * b[0, j] + a[i, 1] * b[1, j] + a[i, 2] * b[2, j]
    for i in range(3):
        for j in range(3):
            out[i, j] = half[i, 0] * a[j, 0] + half[i, 1] * a[j, 1] + half[i, 2] * a[j, 2]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _quadratic(b: np.ndarray, n: np.ndarray) -> float:
    """Return n^T b n of a symmetric b."""
    diagonal = b[0, 0] * n[0] * n[0] + b[1, 1] * n[1] * n[1] + b[2, 2] * n[2] * n[2]
    mixed = b[0, 1] * n[0] * n[1] + b[0, 2] * n[0] * n[2] + b[1, 2] * n[1] * n[2]
    return float(diagonal + 2.0 * mixed)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _axial(trace: float, q: np.ndarray, weights: np.ndarray, par: float, perp: float) -> float:
    """Signal of one compartment along all populations, whose n^T b n is ``q``."""
    rest, total = 1.0, 0.0
    for p in range(q.size):
        rest -= weights[p]
        if weights[p] > 0.0:
            total += weights[p] * np.exp(-(trace * perp + q[p] * (par - perp)))
    if abs(rest) > _NOTHING:
        total += rest * np.exp(-trace * (par + 2.0 * perp) / 3.0)
    return total


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _of(array: np.ndarray, cell: int) -> np.ndarray:
    """Return the entries of a cell, all rows."""
    return array[:, cell if array.shape[1] > 1 else 0]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def attenuate(
    b: np.ndarray, matrices: np.ndarray, cells: np.ndarray, tables: Tables, out: np.ndarray
) -> None:
    """Write S/S0 of cells (m,) into ``out`` (m, n), for b-tensors (n, 3, 3) taken to the head by A b A^T.

    matrices : (m, 3, 3), or (1, 3, 3) for all.
    """
    head, half, q = np.empty((3, 3)), np.empty((3, 3)), np.empty(tables.weights.shape[0])
    for v in range(cells.size):
        a = matrices[v if matrices.shape[0] > 1 else 0]
        cell = cells[v]
        directions, weights = _of(tables.directions, cell), _of(tables.weights, cell)
        fraction, along, across = (
            _of(tables.fraction, cell),
            _of(tables.along, cell),
            _of(tables.across, cell),
        )
        share, tensors = _of(tables.share, cell), _of(tables.tensors, cell)
        for n in range(b.shape[0]):
            _congruent(a, b[n], half, head)
            trace, total = head[0, 0] + head[1, 1] + head[2, 2], 0.0
            for p in range(q.size):
                q[p] = _quadratic(head, directions[p])
            for k in range(fraction.size):
                total += fraction[k] * _axial(trace, q, weights, along[k], across[k])
            for k in range(share.size):
                total += share[k] * np.exp(-(head * tensors[k]).sum())
            out[v, n] = total

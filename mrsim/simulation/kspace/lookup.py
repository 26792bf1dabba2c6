"""Reading of the spins' table between its entries."""

from __future__ import annotations

import numpy as np
from numba import njit

from .drawing import Spins
from .spins import Species, Window
from .table import Table


def placed_along(window: Window, species: Species, slope: float, spins: Spins) -> np.ndarray:
    """Place of spins in the profile (V,) [m]: off-resonance moves them along the selecting gradient."""
    place = window.place[spins.voxel].astype(float)
    if slope:
        place = place + (window.df[spins.voxel] + species.shift[spins.species]) / slope
    return np.asarray(place)


def read_table(table: Table, window: Window, species: Species, slope: float, spins: Spins) -> np.ndarray:
    """Signal after the table's pulses for some spins, (pulses, V)."""
    out = np.zeros((spins.voxel.size, table.values.shape[-1]), np.complex64)
    where = [window.b1[spins.voxel], window.df[spins.voxel], placed_along(window, species, slope, spins)]
    _lookup(
        table.values, table.order, *table.rows, table.grids, spins.species,
        *(np.ascontiguousarray(w, dtype=np.float32) for w in where), out,
    )  # fmt: skip
    for order, wave in window.waves.items():
        own = species.order[spins.species] == order
        out[own] *= wave[spins.voxel[own], None]
    return out.T


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def weigh(
    value: float, grid: np.ndarray, rows: np.ndarray, order: int, weights: np.ndarray
) -> tuple[int, int]:
    """First entry and number of entries that make up a value on an axis; their weights are written.

    grid : low end, step, size of the fine grid, which values beyond are clamped to;  rows : (orders or 1,
    fine, n) of a compact axis, (0, 0, 0) of a spread one.
    """
    size = int(grid[2])
    u = min(max((value - grid[0]) / grid[1], np.float32(0.0)), np.float32(size - 1))
    i = max(min(int(u), size - 2), 0)
    f = np.float32(u - i)
    if rows.shape[0] == 0:
        weights[0], weights[1] = np.float32(1.0) - f, f
        return i, 1 if f == 0.0 else 2
    own = rows[min(order, rows.shape[0] - 1)]
    for n in range(own.shape[1]):
        weights[n] = own[i, n]
        if f > 0.0:
            weights[n] += f * (own[i + 1, n] - own[i, n])
    return 0, own.shape[1]


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def add_entry(
    values: np.ndarray, i: int, n_i: int, w_i: np.ndarray, j: int, n_j: int, w_j: np.ndarray, k: int,
    n_k: int, w_k: np.ndarray, factor: float, total: np.ndarray,
) -> None:  # fmt: skip
    """Add ``factor`` times the weighted entries of values (B1, df, place, m) to ``total`` (m,)."""
    for a in range(n_i):
        for b in range(n_j):
            ab = w_i[a] * w_j[b] * np.float32(factor)
            for c in range(n_k):
                w = ab * w_k[c]
                row = values[i + a, j + b, k + c]
                for m in range(total.size):
                    total[m] += w * row[m]


@njit(cache=True)  # type: ignore[untyped-decorator]
def _lookup(
    values: np.ndarray, order: np.ndarray, rows_b1: np.ndarray, rows_df: np.ndarray, rows_place: np.ndarray,
    grids: np.ndarray, species: np.ndarray, b1: np.ndarray, df: np.ndarray, place: np.ndarray,
    out: np.ndarray,
) -> None:  # fmt: skip
    w_b1, w_df, w_place = weights_of(values)
    for v in range(species.size):
        s = species[v]
        if outside(place[v], grids[2]):
            continue
        i, n_i = weigh(b1[v], grids[0], rows_b1, order[s], w_b1)
        j, n_j = weigh(df[v], grids[1], rows_df, order[s], w_df)
        k, n_k = weigh(place[v], grids[2], rows_place, order[s], w_place)
        add_entry(values[s], i, n_i, w_b1, j, n_j, w_df, k, n_k, w_place, np.float32(1.0), out[v])


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def weights_of(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Room for the weights along each axis of a table's values."""
    return (
        np.empty(values.shape[1] + 2, np.complex64), np.empty(values.shape[2] + 2, np.complex64),
        np.empty(values.shape[3] + 2, np.complex64),
    )  # fmt: skip


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def outside(place: float, grid: np.ndarray) -> bool:
    """Whether a place lies beyond the profile."""
    beyond: bool = place < grid[0] or place > grid[0] + grid[1] * (grid[2] - 1)
    return beyond and grid[2] > 1

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
    a = table.axes
    where = [window.b1[spins.voxel], window.df[spins.voxel], placed_along(window, species, slope, spins)]
    _lookup(
        table.values, spins.species, *(np.ascontiguousarray(w, dtype=np.float32) for w in where),
        np.array([[x.low, x.step] for x in (a.b1, a.df, a.place)], np.float32), out,
    )  # fmt: skip
    for order, wave in window.waves.items():
        own = species.order[spins.species] == order
        out[own] *= wave[spins.voxel[own], None]
    return out.T


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def locate(value: np.float32, low: np.float32, step: np.float32, size: int) -> tuple[int, np.float32]:
    """Index and fraction on an even axis, clamped to it."""
    if size == 1:
        return 0, np.float32(0.0)
    u = min(max((value - low) / step, np.float32(0.0)), np.float32(size - 1))
    i = min(int(u), size - 2)
    return i, np.float32(u - i)


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def add_entry(
    values: np.ndarray, i: int, fi: np.float32, j: int, fj: np.float32, k: int, fk: np.float32,
    factor: float, total: np.ndarray,
) -> None:  # fmt: skip
    """Add ``factor`` times the trilinear entry of values (B1, df, place, m) to ``total`` (m,)."""
    one = np.float32(1.0)
    for a in range(2):
        wa = factor * (fi if a else one - fi)
        if wa == 0.0:
            continue
        for b in range(2):
            wb = wa * (fj if b else one - fj)
            if wb == 0.0:
                continue
            for c in range(2):
                w = wb * (fk if c else one - fk)
                if w == 0.0:
                    continue
                row = values[i + a, j + b, k + c]
                for m in range(total.size):
                    total[m] += w * row[m]


@njit(cache=True)  # type: ignore[untyped-decorator]
def _lookup(
    values: np.ndarray, species: np.ndarray, b1: np.ndarray, df: np.ndarray, place: np.ndarray,
    axes: np.ndarray, out: np.ndarray,
) -> None:  # fmt: skip
    for v in range(species.size):
        if outside(place[v], axes[2, 0], axes[2, 1], values.shape[3]):
            continue
        i, fi = locate(b1[v], axes[0, 0], axes[0, 1], values.shape[1])
        j, fj = locate(df[v], axes[1, 0], axes[1, 1], values.shape[2])
        k, fk = locate(place[v], axes[2, 0], axes[2, 1], values.shape[3])
        add_entry(values[species[v]], i, fi, j, fj, k, fk, np.float32(1.0), out[v])


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def outside(place: float, low: float, step: float, size: int) -> bool:
    """Whether a place lies beyond the profile."""
    return size > 1 and (place < low or place > low + step * (size - 1))

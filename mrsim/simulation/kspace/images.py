"""The images of a group of readouts, formed voxel by voxel."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import njit

from .groups import Group
from .lookup import add_entry, outside, weigh, weights_of
from .modulation import Course, HistoryBasis, Modulation
from .spins import Species, Window
from .table import Table


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def _reached(at: float, grid: np.ndarray, box: np.ndarray) -> float:
    """Share of a voxel that pulses reach: 0 beyond their profile; of an ideal one what lies inside."""
    if outside(at, grid):
        return 0.0
    if box[2] <= 0.0:
        return 1.0
    overlap = min(at + 0.5 * box[2], box[1]) - max(at - 0.5 * box[2], box[0])
    share: float = min(max(overlap, 0.0) / box[2], 1.0)
    return share


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def _turn(
    total: np.ndarray, df: float, tau: np.ndarray, maps: np.ndarray, maps_at: np.ndarray, x: int
) -> None:
    """Turn the instants of voxel x by its off-resonance and deviations."""
    for n in range(tau.size):
        turns = np.float32(df * tau[n])
        for c in range(maps.shape[0]):
            turns += np.float32(maps[c, x] * maps_at[n, c])
        angle = np.float32(-2.0 * np.pi) * (turns - np.rint(turns))
        total[n] *= complex(np.cos(angle), np.sin(angle))


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def _mix(total: np.ndarray, mixing: np.ndarray, out: np.ndarray, x: int) -> None:
    """Write the images' values of voxel x."""
    for q in range(out.shape[0]):
        value = np.complex64(0.0)
        for n in range(total.size):
            value += mixing[q, n] * total[n]
        out[q, x] = value


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _images(
    fractions: np.ndarray, tissue: np.ndarray, b1: np.ndarray, df: np.ndarray, place: np.ndarray,
    maps: np.ndarray, moved: np.ndarray, box: np.ndarray, attenuation: np.ndarray, which: np.ndarray,
    waves: np.ndarray, wave_of: np.ndarray, values: np.ndarray, order: np.ndarray, rows_b1: np.ndarray,
    rows_df: np.ndarray, rows_place: np.ndarray, grids: np.ndarray, readout: np.ndarray, decay: np.ndarray,
    tau: np.ndarray, maps_at: np.ndarray, mixing: np.ndarray, out: np.ndarray, start: int, stop: int,
) -> None:  # fmt: skip
    """Write ``out[q, x] = sum_s mixing[q, s] M(s; x)``, the object at the skeleton's instants mixed.

    tissue : (S,) fraction map of each species;  maps : (7, N) of the deviations, or none;  moved : (S, 2)
    slope's inverse and shift of the place;  box : (3,) low, high, width of an ideal profile, or width 0;
    attenuation : (A, N), row ``which[S]`` of a species or -1;  waves : (W, N), row ``wave_of[S]`` or -1;
    values, order, rows, grids : as of `Table`;  readout : (m,) entry of each instant;
    decay : (S, m) with PD;  tau : (m,) [s];  maps_at : (m, 7);  start, stop : range of voxels x.
    """
    total = np.empty(tau.size, np.complex64)
    entry = np.empty(values.shape[4], np.complex64)
    w_b1, w_df, w_place = weights_of(values)
    for x in range(start, stop):
        total[:] = 0.0
        heard = False
        i, n_i = weigh(b1[x], grids[0], rows_b1, 0, w_b1)
        j, n_j = weigh(df[x], grids[1], rows_df, 0, w_df)
        for s in range(tissue.size):
            if fractions[tissue[s], x] <= 0.0:
                continue
            at = place[x] + df[x] * moved[s, 0] + moved[s, 1]
            f = fractions[tissue[s], x] * _reached(at, grids[2], box)
            if f <= 0.0:
                continue
            if which[s] >= 0:
                f *= attenuation[which[s], x]
            k, n_k = weigh(at, grids[2], rows_place, order[s], w_place)
            entry[:] = 0.0
            add_entry(values[s], i, n_i, w_b1, j, n_j, w_df, k, n_k, w_place, f, entry)
            wave = waves[wave_of[s], x] if wave_of[s] >= 0 else np.complex64(1.0)
            for n in range(tau.size):
                total[n] += wave * decay[s, n] * entry[readout[n]]
            heard = True
        if not heard:
            out[:, x] = 0.0
            continue
        _turn(total, df[x], tau, maps, maps_at, x)
        _mix(total, mixing, out, x)


def form_images(
    found: Modulation, history: HistoryBasis, group: Group, course: Course, window: Window, species: Species,
    slope: float, table: Table, *, box: tuple[float, float] | None = None,
    attenuation: np.ndarray | None = None, which: np.ndarray | None = None, scalar: np.ndarray | None = None,
    threads: int = 1,
) -> np.ndarray:  # fmt: skip
    """Form the images of a group, complex64 (Q, N).

    Parameters
    ----------
    found, history, group, course, window, species, slope, table
        As of `build_modulation`.
    box : (low, high), optional
        Ideal profile [m] instead of the table's.
    attenuation, which : arrays (A, N), (S,), optional
        Diffusion attenuation maps and the row of each species, -1 for none.
    scalar : array (S,), optional
        Attenuation of whole species.
    threads : int
        Parts of the object are formed side by side.
    """
    at = (found.variant, found.sample)
    decay = species.decay(group.since_rf[at], group.tau[at]).T * species.pd[:, None]
    if scalar is not None:
        decay = decay * scalar[:, None]
    instant_deviations = course.base[history.chosen[found.readout]] + course.along[at]
    # The carriers of single precision: phases are formed per voxel from few turns.
    moved = np.zeros((species.size, 2), np.float32)
    if slope:
        moved[:, 0], moved[:, 1] = 1.0 / slope, species.shift / slope
    orders = list(window.waves)
    waves = np.stack([window.waves[o] for o in orders]) if orders else np.zeros((0, 0), np.complex64)
    wave_of = np.array([orders.index(int(o)) if o in window.waves else -1 for o in species.order])
    out = np.empty((found.terms, window.b1.size), np.complex64)
    arguments = (
        window.fractions, species.tissue, window.b1, window.df, window.place, window.deviations, moved,
        np.array([*box, window.width] if box else [0.0, 0.0, 0.0], np.float32),
        np.zeros((0, 0), np.float32) if attenuation is None else attenuation,
        np.full(species.size, -1) if which is None else which, waves, wave_of,
        table.values, table.order, *table.rows, table.grids, found.readout,
        decay.astype(np.complex64), group.tau[at], instant_deviations, found.solve.astype(np.complex64), out,
    )  # fmt: skip
    if threads == 1:
        _images(*arguments, 0, window.b1.size)
        return out
    # More parts than threads: the head fills some of them more than others.
    edges = np.linspace(0, window.b1.size, 8 * threads + 1).astype(int).tolist()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda i: _images(*arguments, edges[i], edges[i + 1]), range(8 * threads)))
    return out

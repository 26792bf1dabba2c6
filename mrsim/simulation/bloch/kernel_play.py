"""The loop over operations for one block of spins after the other."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from .arithmetic import OPTIONS
from .kernel_free import add_phases, diffuse, exchange, losses, precess, wrap
from .kernel_pulse import apply_map, make_map, play_pulse
from .kernel_read import anchor, factor, sum_curved, sum_linear, tile_curved, tile_linear, weigh
from .tables import FREE, PULSE, Maps, Ops, Pulses, Spins, State, Steps, Work


@njit(nogil=True, **OPTIONS)  # type: ignore[untyped-decorator]
def _free(
    op: int, serial: int, x: np.ndarray, y: np.ndarray, z: np.ndarray, zb: np.ndarray, lo: int, ops: Ops,
    spins: Spins, shift: np.ndarray, work: Work,
) -> None:  # fmt: skip
    n = x.size
    r1, r2, m0 = spins.r1[lo : lo + n], spins.r2[lo : lo + n], spins.m0[lo : lo + n]
    u, k1, k2 = work.row[0, :n], work.row[1, :n], work.row[2, :n]
    phase = work.phase[:n]
    add_phases(work.psi, ops.dphi[op], phase)
    if shift.shape[1]:
        before = shift.copy()
        diffuse(ops.walk[op], serial, spins.key[lo : lo + n], spins.adc[lo : lo + n], shift, phase)
        for d in range(3):
            for i in range(n):
                work.psi[d, i] += shift[d, i] - before[d, i]
    wrap(phase, u)
    losses(ops.time[op], r1, r2, k1, k2)
    if zb.size:
        for i in range(n):
            k1[i] = 0
        exchange(ops.time[op], r1, m0, spins.bound, lo, z, zb)
    precess(x, y, z, u, k1, k2, m0)


@njit(nogil=True, **OPTIONS)  # type: ignore[untyped-decorator]
def _samples(
    op: int, n: int, ops: Ops, steps: Steps, known: int, r2: np.ndarray, adc: np.ndarray, work: Work
) -> int:
    """Prepare the step factor of a readout; return the number of the step that the buffers now hold."""
    link = ops.link[op]
    if link != known:
        factor(steps, link, work.psi, r2, adc, work.phase[:n], work.row[0, :n], work.row)
    return -1 if steps.curved[link] else link


@njit(nogil=True, **OPTIONS)  # type: ignore[untyped-decorator]
def _sum(curved: bool, a: np.ndarray, b: np.ndarray, row: np.ndarray, samples: int, out: np.ndarray) -> None:
    if curved:
        sum_curved(a, b, row, samples, out)
    else:
        sum_linear(a, b, row, samples, out)


@njit(nogil=True, **OPTIONS)  # type: ignore[untyped-decorator]
def _weigh(
    curved: bool, a: np.ndarray, b: np.ndarray, lo: int, first: int, samples: int, coil: np.ndarray,
    work: Work, out: np.ndarray,
) -> None:  # fmt: skip
    """Signal of one readout in every coil, four samples at a time."""
    for j in range(0, samples, 4):
        if curved:
            tile_curved(a, b, work.row, work.tile)
        else:
            tile_linear(a, b, work.row, work.tile)
        weigh(work.tile, a.size, coil, lo, first + j, min(4, samples - j), out)


@njit(nogil=True, **OPTIONS)  # type: ignore[untyped-decorator]
def play_block(
    lo: int, hi: int, base: int, ops: Ops, steps: Steps, pulses: Pulses, spins: Spins, state: State,
    maps: Maps, work: Work, out: np.ndarray,
) -> None:  # fmt: skip
    """Play all operations on the spins lo..hi; add their signal to ``out`` (coils, 2, samples) float64."""
    n = hi - lo
    x, y, z = state.m[0, lo:hi], state.m[1, lo:hi], state.m[2, lo:hi]
    zb = state.bound[lo:hi]
    shift = state.walk[:, lo:hi] if state.walk.shape[1] else state.walk
    r2, adc = spins.r2[lo:hi], spins.adc[lo:hi]
    work.psi[:, :n] = spins.psi[:, lo:hi]
    if shift.shape[1]:
        work.psi[:3, :n] += shift
    for k in range(maps.make.shape[0]):
        make_map(maps.table[maps.make[k, 0]], lo, n, spins, pulses, maps.make[k, 1], maps.make[k, 2], work)
    known = -1
    a, b, u = work.row[6, :n], work.row[7, :n], work.row[0, :n]
    for op in range(ops.kind.size):
        kind = ops.kind[op]
        if kind == FREE:
            _free(op, base + op, x, y, z, zb, lo, ops, spins, shift, work)
            if shift.shape[1]:
                known = -1
        elif kind == PULSE:
            at = maps.use[op]
            if at >= 0:
                apply_map(x, y, z, maps.table[at], lo, ops.turn[op])
            else:
                m0 = spins.m0[lo:hi]
                pulse, shim = ops.link[op], ops.shim[op]
                play_pulse(x, y, z, zb, m0, lo, spins, pulses, pulse, ops.turn[op], shim, work)
        else:
            known = _samples(op, n, ops, steps, known, r2, adc, work)
            add_phases(work.psi, ops.dphi[op], work.phase[:n])
            wrap(work.phase[:n], u)
            anchor(x, y, u, ops.time[op], ops.path[op], r2, adc, a, b)
            curved = steps.curved[ops.link[op]]
            first, samples = ops.first[op], ops.samples[op]
            if spins.coil.shape[0]:
                _weigh(curved, a, b, lo, first, samples, spins.coil, work, out)
            else:
                _sum(curved, a, b, work.row, samples, out[0, :, first : first + samples])


def _sources() -> int:
    """Return a number that changes with any file the compiled code is made from."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for name in ("arithmetic", "tables", "kernel_free", "kernel_pulse", "kernel_read", "kernel_play"):
        digest.update((here / f"{name}.py").read_bytes())
    return int.from_bytes(digest.digest()[:6], "big")


def _entry(sources: int) -> Any:
    """Compile the one function that Python calls.

    Numba keeps compiled code by the date of the file of a function, not of those it calls. Only this one is
    kept, and ``sources`` is part of its key: kernels changed elsewhere are compiled anew.
    """

    @njit(cache=True, nogil=True, **OPTIONS)  # type: ignore[untyped-decorator]
    def play_lane(
        lane: int, lanes: int, block: int, base: int, ops: Ops, steps: Steps, pulses: Pulses, spins: Spins,
        state: State, maps: Maps, work: Work, out: np.ndarray,
    ) -> int:  # fmt: skip
        """Play every ``lanes``-th block of ``block`` spins, starting with number ``lane``."""
        total = spins.r1.size
        for lo in range(lane * block, total, lanes * block):
            play_block(lo, min(lo + block, total), base, ops, steps, pulses, spins, state, maps, work, out)
        return sources

    return play_lane


play_lane = _entry(_sources())

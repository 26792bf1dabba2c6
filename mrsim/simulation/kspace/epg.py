"""Extended phase graphs: the magnetization history of every bin, all pulses, all coherence orders.

One isochromat per voxel cannot spoil; the configuration states of a regular gradient dephasing can
(Weigel, J Magn Reson Imaging 41:266-295, 2015). States are F+(n), F-(n) = conj F(-n) and Z(n), n >= 0,
in units of one common gradient moment. Diffusion attenuates them analytically (Weigel et al., J Magn
Reson 205:276-285, 2010, constant gradient over each interval).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .pulse_train import SPOILED, PulseTrain
from .pulses import Bins
from .shots import Shots, shots_of

_SETTLED = 5.0
"""Distance from the periodic state, in units of what is dropped, at which a train is taken for periodic."""


def _decay_tables(train: PulseTrain, bins: Bins, n_states: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per bin, interval kind and order: decay of F+(n), F-(n), and Z(n) (relaxation and diffusion)."""
    dt = train.dwell[None, :, None]
    n = np.arange(n_states, dtype=float)[None, None, :]
    s = np.where(train.shifts == SPOILED, 0, train.shifts)[None, :, None].astype(float)
    damp = (2 * np.pi * train.unit) ** 2 * dt * bins.adc[:, None, None]
    e2 = np.exp(-dt / bins.t2[:, None, None])
    # b-value of order n -> n + s: integral of k^2 over the interval.
    plus = e2 * np.exp(-damp * (n**2 + n * s + s**2 / 3))
    minus = e2 * np.exp(-damp * (n**2 - n * s + s**2 / 3))
    z = np.exp(-dt / bins.t1[:, None, None]) * np.exp(-damp * n**2)
    return plus, minus, z


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _shift(fp: np.ndarray, fm: np.ndarray, s: int, top: int, buffer: np.ndarray) -> None:
    """Move all F states by s orders in place; ``top`` is the highest order that may be occupied after it."""
    if s > 0:
        for n in range(top + 1):
            buffer[n] = fp[n - s] if n >= s else np.conj(fm[s - n])
        for n in range(top + 1):
            fm[n] = fm[n + s] if n + s <= top else 0.0
        fp[: top + 1] = buffer[: top + 1]
    elif s < 0:
        r = -s
        for n in range(top + 1):
            buffer[n] = fm[n - r] if n >= r else np.conj(fp[r - n])
        for n in range(top + 1):
            fp[n] = fp[n + r] if n + r <= top else 0.0
        fm[: top + 1] = buffer[: top + 1]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _rotate(
    fp: np.ndarray, fm: np.ndarray, z: np.ndarray, r: np.ndarray, c: np.ndarray, phase: float, top: int
) -> None:
    """Apply one pulse's affine map, turned by the RF phase, to all states up to ``top``."""
    e = complex(np.cos(phase), np.sin(phase))
    ec = np.conj(e)
    r00, r01, r02 = r[0, 0], r[0, 1] * e * e, r[0, 2] * e
    r10, r11, r12 = r[1, 0] * ec * ec, r[1, 1], r[1, 2] * ec
    r20, r21, r22 = r[2, 0] * ec, r[2, 1] * e, r[2, 2]
    for n in range(top + 1):
        a, b, d = fp[n], fm[n], z[n]
        fp[n] = r00 * a + r01 * b + r02 * d
        fm[n] = r10 * a + r11 * b + r12 * d
        z[n] = r20 * a + r21 * b + r22 * d
    fp[0] += c[0] * e
    fm[0] += c[1] * ec
    z[0] += c[2]


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def _signal_of(fp: np.ndarray, fm: np.ndarray, n: int, top: int) -> complex:
    """Transverse state of order n, 0 beyond ``top``."""
    signal = 0j
    if 0 <= n <= top:
        signal = fp[n]
    elif 0 < -n <= top:
        signal = np.conj(fm[-n])
    return signal


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _turn(fp: np.ndarray, fm: np.ndarray, z: np.ndarray, alpha: float, beta: float, top: int) -> None:
    """Turn the states at the start of a shot by what its phases differ from another's (see `shots`)."""
    for n in range(top + 1):
        fp[n] *= complex(np.cos(alpha - beta * n), np.sin(alpha - beta * n))
        fm[n] *= complex(np.cos(alpha + beta * n), -np.sin(alpha + beta * n))
        z[n] *= complex(np.cos(beta * n), -np.sin(beta * n))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _apart(now: np.ndarray, then: np.ndarray, top: int) -> float:
    """Norm of the difference of two sets of states (3, n): that of the isochromats' at least."""
    total = 0.0
    for i in range(3):
        for n in range(top + 1):
            difference = now[i, n] - then[i, n]
            # Z(-n) = conj Z(n) is not among them.
            weight = 2.0 if i == 2 and n > 0 else 1.0
            total += weight * (difference.real**2 + difference.imag**2)
    return float(np.sqrt(total))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _repeat(
    i: int, until: int, edges: np.ndarray, alpha: np.ndarray, beta: np.ndarray, moment: np.ndarray,
    order: np.ndarray, slot: np.ndarray, beside: np.ndarray, recent: np.ndarray, out: np.ndarray,
) -> tuple[float, float]:  # fmt: skip
    """Write the signals of shots i to until - 1 from those of shot i - 1; phases of shot until against i."""
    a, b = 0.0, 0.0
    for shot in range(i, until):
        a, b = a + alpha[shot], b + beta[shot]
        for p in range(edges[shot], edges[shot + 1]):
            if slot[p] >= 0:
                for o in range(beside.size):
                    angle = a + b * (moment[p] - order[p] - beside[o])
                    out[slot[p], o] = recent[p - edges[shot], o] * complex(np.cos(angle), np.sin(angle))
    return a + alpha[until] - alpha[i], b + beta[until] - beta[i]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _evolve(
    fp: np.ndarray, fm: np.ndarray, z: np.ndarray, s: int, turn: complex, recovery: float, dec_p: np.ndarray,
    dec_m: np.ndarray, dec_z: np.ndarray, top: int, drop: float, buffer: np.ndarray,
) -> int:  # fmt: skip
    """Play one interval: relaxation, precession, gradient moment; the highest order then occupied."""
    if s == SPOILED:
        fp[: top + 1] = 0.0
        fm[: top + 1] = 0.0
        z[1 : top + 1] = 0.0
        z[0] = z[0] * dec_z[0] + recovery
        return 0
    back = np.conj(turn)
    for n in range(top + 1):
        fp[n] *= dec_p[n] * turn
        fm[n] *= dec_m[n] * back
        z[n] *= dec_z[n]
    z[0] += recovery
    top = min(top + abs(s), fp.size - 1)
    _shift(fp, fm, s, top, buffer)
    while top > 0 and abs(fp[top]) < drop and abs(fm[top]) < drop and abs(z[top]) < drop:
        fp[top], fm[top], z[top] = 0.0, 0.0, 0.0
        top -= 1
    return top


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _graph(
    shape: np.ndarray, phase: np.ndarray, interval: np.ndarray, order: np.ndarray, shifts: np.ndarray,
    slot: np.ndarray, beside: np.ndarray, matrices: np.ndarray, offsets: np.ndarray, dec_p: np.ndarray,
    dec_m: np.ndarray, dec_z: np.ndarray, recovery: np.ndarray, turn: np.ndarray, echo: np.ndarray,
    drop: float, edges: np.ndarray, until: np.ndarray, alpha: np.ndarray, beta: np.ndarray,
    moment: np.ndarray, allowed: np.ndarray, out: np.ndarray,
) -> None:  # fmt: skip
    """Play the train on every bin (see `PulseTrain` and `histories`).

    slot : (P,) column of the signal after each pulse, -1 for none;  beside : (orders,) orders next to that of
    the echo path;  matrices, offsets : (shapes, bins, ...) pulse maps;  recovery : (bins, intervals) of Z(0);
    turn : (bins, intervals) precession of F+;  echo : (bins, P) or (bins, 1) factor of the signal;
    dec_p, dec_m, dec_z : (bins, intervals, states) decay of F+, F- and Z;  drop : top states below go;
    edges, until, alpha, beta, moment : as of `Shots`;  allowed : (bins, shots) change of the states from one
    shot to the next below which the next repeat it;  out : (bins, slots, orders) gets the signal.
    """
    n_states = dec_p.shape[2]
    state = np.zeros((3, n_states), np.complex128)
    last = np.zeros((3, n_states), np.complex128)
    fp, fm, z = state
    buffer = np.zeros(n_states, np.complex128)
    longest = np.max(edges[1:] - edges[:-1])
    recent = np.zeros((longest, beside.size), np.complex128)
    for i in range(dec_p.shape[0]):
        state[:] = 0.0
        last[:] = 0.0
        z[0] = 1.0
        top, last_top, shot = 0, 0, 0
        while shot < edges.size - 1:
            if until[shot] > shot:
                high = max(top, last_top)
                _turn(last[0], last[1], last[2], alpha[shot], beta[shot], last_top)
                if _apart(state, last, high) < allowed[i, shot]:
                    end = until[shot]
                    a, b = _repeat(
                        shot, end, edges, alpha, beta, moment, order, slot, beside, recent, out[i]
                    )  # fmt: skip
                    _turn(fp, fm, z, a, b, top)
                    shot = end
            if shot + 1 < until.size and until[shot + 1] > shot + 1:
                last[:] = state
                last_top = top
            for p in range(edges[shot], edges[shot + 1]):
                _rotate(fp, fm, z, matrices[shape[p], i], offsets[shape[p], i], phase[p], top)
                factor = echo[i, p if echo.shape[1] > 1 else 0]
                for o in range(beside.size):
                    signal = _signal_of(fp, fm, order[p] + beside[o], top) * factor
                    recent[p - edges[shot], o] = signal
                    if slot[p] >= 0:
                        out[i, slot[p], o] = signal
                u = interval[p]
                top = _evolve(
                    fp, fm, z, shifts[u], turn[i, u], recovery[i, u], dec_p[i, u], dec_m[i, u], dec_z[i, u],
                    top, drop, buffer,
                )  # fmt: skip
            shot += 1


def histories(
    train: PulseTrain, matrices: np.ndarray, offsets: np.ndarray, bins: Bins, *, max_states: int = 256,
    after: np.ndarray | None = None, beside: tuple[int, ...] = (0,), drop: float = 1e-7,
    shots: Shots | None = None,
) -> np.ndarray:  # fmt: skip
    """Transverse signal state right after pulses, for every bin.

    Off-resonance turns all states from the centre of a pulse to the centre of the next; the turn that the
    echo path itself has gathered is taken out again.

    Parameters
    ----------
    train : PulseTrain
        The pulses and intervals.
    matrices, offsets : complex arrays (shapes, bins, 3, 3) and (shapes, bins, 3)
        Pulse maps from `mrsim.simulation.kspace.pulses.pulse_maps`.
    bins : Bins
        Relaxation, diffusion, B1+ and shift of each bin.
    max_states : int
        Highest coherence order kept. Orders above it are lost; with T2 and spoiling of tissue the
        populated orders stay far below the default.
    after : int array (m,), optional
        Pulses after which the state is wanted; all by default.
    beside : tuple of int
        Orders wanted, relative to that of the echo path.
    drop : float
        States below this share of M0 at the top of the graph are dropped; a train whose states are nearer
        than five times that to periodic ones is not played further.
    shots : Shots, optional
        As of `shots_of(train)`, where it is at hand.

    Returns
    -------
    complex array (bins, m, orders), or (bins, m) for one order: F after each pulse in units of M0, in the
    conjugate system.
    """
    pulses = train.shape.size
    wanted = np.arange(pulses) if after is None else np.asarray(after, np.int64)
    slot = np.full(pulses, -1, np.int64)
    slot[wanted] = np.arange(wanted.size)
    walked = np.where(train.shifts == SPOILED, 0, train.shifts)[train.interval.astype(np.int64)]
    reach = int(np.abs(walked).sum()) + 1
    n_states = max(2, min(max_states, reach))
    dec_p, dec_m, dec_z = _decay_tables(train, bins, n_states)
    recovery = 1.0 - np.exp(-train.dwell[None, :] / bins.t1[:, None])
    turn = np.exp(2j * np.pi * bins.shift[:, None] * train.precession[None, :])
    if np.any(bins.shift) and np.any(train.tau):
        echo = np.exp(-2j * np.pi * bins.shift[:, None] * train.tau[None, :])
    else:
        echo = np.ones((bins.size, 1), np.complex128)
    shots = shots or shots_of(train)
    # Relaxation contracts by exp(-T / T1) at least: what is left to the periodic state is a geometric series.
    allowed = _SETTLED * drop * (1.0 - np.exp(-shots.length[None, :] / bins.t1[:, None]))
    out = np.zeros((bins.size, wanted.size, len(beside)), np.complex128)
    _graph(
        train.shape.astype(np.int64), train.phase.astype(float), train.interval.astype(np.int64),
        train.order.astype(np.int64), train.shifts.astype(np.int64), slot, np.asarray(beside, np.int64),
        matrices, offsets, dec_p, dec_m, dec_z, recovery, turn, echo, drop, shots.edges, shots.until,
        shots.alpha, shots.beta, shots.moment, allowed, out,
    )  # fmt: skip
    return out[..., 0] if len(beside) == 1 else out

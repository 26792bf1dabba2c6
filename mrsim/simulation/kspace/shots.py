"""Shots that play alike, so that what has become periodic need not be played again.

Two shots play alike when their pulses, intervals and echo paths are the same and their phases differ by

    phi_m -> phi_m + alpha + beta K_m,    K_m the moment gathered in the shot before pulse m,

because such a phase is a shift of the isochromats that a whole cycle of is averaged over (RF spoiling):

    F_k -> F_k exp(i (alpha + beta (K_m - k))),    Z_k -> Z_k exp(-i beta k).

The states before a shot and before the one that it repeats then tell how far the train is from its periodic
state: relaxation is a contraction by exp(-T / T1) at least.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .pulse_train import SPOILED, PulseTrain

_CANDIDATES = 3
"""Kinds of pulses, the rarest, that are tried as the first ones of shots."""
_MOST = 0.8
"""Share of repeated pulses with which the search for better shots ends."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Shots:
    """Shots of a train and which of them repeat the one before.

    edges : (n + 1,) first pulse of each shot, and the end;  until : (n,) last of the shots that repeat each
    other from the one before this on, 0 where that is this one or none;  alpha, beta : (n,) phases against
    the shot before [rad];  moment : (P,) moment gathered in the shot before each pulse, in units;
    length : (n,) [s].
    """

    edges: np.ndarray
    until: np.ndarray
    alpha: np.ndarray
    beta: np.ndarray
    moment: np.ndarray
    length: np.ndarray

    @property
    def repeated(self) -> int:
        """Pulses of shots that repeat the one before."""
        return int(np.diff(self.edges)[self.until > 0].sum())


def shots_of(train: PulseTrain) -> Shots:
    """Cut a train into shots so that most pulses are repetitions."""
    rows = np.stack([train.shape, train.interval, train.order, np.rint(1e9 * train.tau)], axis=1)
    _, kind = np.unique(rows.astype(np.int64), axis=0, return_inverse=True)
    kind = kind.reshape(-1)
    count = np.bincount(kind)
    often = np.flatnonzero(count >= 3)
    best = _cut(train, kind, np.array([0]))
    for label in often[np.argsort(count[often], kind="stable")][:_CANDIDATES]:
        found = _cut(train, kind, np.flatnonzero(kind == label))
        if found.repeated > best.repeated:
            best = found
        if best.repeated > _MOST * kind.size:
            break
    return best


def _cut(train: PulseTrain, kind: np.ndarray, first: np.ndarray) -> Shots:
    """Shots that begin with the pulses ``first``."""
    edges = np.unique(np.concatenate([[0], first, [kind.size]]))
    size = np.diff(edges)
    spoils = train.shifts[train.interval] == SPOILED
    shift = np.where(spoils, 0, train.shifts[train.interval])
    gathered = np.concatenate([[0], np.cumsum(shift)])
    shot = np.repeat(np.arange(size.size), size)
    moment = gathered[:-1] - gathered[edges[shot]]
    total = gathered[edges[1:]] - gathered[edges[:-1]]
    alike = np.zeros(size.size, bool)
    alpha, beta = np.zeros(size.size), np.zeros(size.size)
    for i in range(1, size.size):
        here, before = slice(*edges[i : i + 2]), slice(*edges[i - 1 : i + 1])
        if size[i] != size[i - 1] or not np.array_equal(kind[here], kind[before]):
            continue
        # The pulse after the shot belongs to its phases: it ends the last interval.
        to = min(edges[i + 1] + 1, kind.size)
        change = train.phase[edges[i] : to] - train.phase[edges[i - 1] : edges[i - 1] + to - edges[i]]
        k = np.append(moment[here], total[i])[: change.size]
        alpha[i], beta[i], alike[i] = _fitted(change, k)
    return Shots(
        edges=edges, until=_runs(alike, alpha, beta, total), alpha=alpha, beta=beta, moment=moment,
        length=np.add.reduceat(train.dwell[train.interval], edges[:-1]),
    )  # fmt: skip


def _wrapped(angle: np.ndarray) -> np.ndarray:
    return np.asarray(angle - 2 * np.pi * np.rint(angle / (2 * np.pi)))


def _fitted(change: np.ndarray, moment: np.ndarray) -> tuple[float, float, bool]:
    """Phase, phase per unit moment, and whether they are all there is of a change of phases [rad]."""
    alpha = float(_wrapped(change[0]))
    later = np.flatnonzero(moment)
    beta = 0.0
    if later.size:
        beta = float(_wrapped(change[later[0]] - change[0])) / float(moment[later[0]])
    return alpha, beta, bool(np.all(np.abs(_wrapped(change - alpha - beta * moment)) < 1e-5))


def _runs(alike: np.ndarray, alpha: np.ndarray, beta: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Last shot of the run that each belongs to: the same change of phases from shot to shot to shot."""
    goes_on = np.zeros(alike.size, bool)
    same = np.abs(_wrapped(np.diff(beta))) < 1e-5
    same &= np.abs(_wrapped(np.diff(alpha) - beta[:-1] * total[:-1])) < 1e-5
    goes_on[:-1] = alike[:-1] & alike[1:] & same
    until = np.zeros(alike.size, np.int64)
    for i in range(alike.size - 2, 0, -1):
        if goes_on[i]:
            until[i] = max(until[i + 1], i + 1)
    return until

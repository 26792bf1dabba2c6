"""Few nodes of each axis of a table that tell all others: interpolative decompositions of sampled fibres.

A profile, a saturation band or a set of tissues needs many nodes, but signals along one axis are combinations
of few of them whatever the others' values are. Fibres along an axis at random places of the others show
which nodes tell the rest (pivoted QR) and how; only the product of the chosen nodes is then played. Entries
that took no part in the choice tell the error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import qr

_FIBRES = 24
"""Places of the other axes at which fibres along one are played."""
_CHECKS = 256
_SMALL = 6
"""Nodes of an axis that are all kept."""

Play = Callable[[np.ndarray], np.ndarray]
"""Signals (..., n) of the entries with indices (axes, n)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Skeleton:
    """Chosen nodes of each axis, matrices (nodes, chosen) from them to all, the core, and the error left.

    core : signals (..., chosen of each axis).
    """

    nodes: tuple[np.ndarray, ...]
    matrices: tuple[np.ndarray, ...]
    core: np.ndarray
    error: float


def skeleton_of(play: Play, sizes: tuple[int, ...], whole: tuple[int, ...], tolerance: float) -> Skeleton:
    """Choose nodes of a table of which only few entries are played.

    Parameters
    ----------
    play : callable
    sizes : tuple of int
        Nodes of each axis.
    whole : tuple of int
        Axes of which all nodes are kept.
    tolerance : float
        Relative error aimed at; `Skeleton.error` is what entries at random places show.
    """
    rng = np.random.default_rng(0)  # which fibres stand for all; the error is measured on other entries
    checks = np.stack([rng.integers(0, n, _CHECKS) for n in sizes])
    truth = play(checks)
    aim, fibres, best = 0.1 * tolerance, _FIBRES, None
    for _ in range(3):
        found = _attempt(play, sizes, whole, aim, fibres, rng)
        error = _error(found, checks, truth)
        if best is None or error < best.error:
            best = Skeleton(nodes=found.nodes, matrices=found.matrices, core=found.core, error=error)
        if error <= tolerance:
            break
        aim, fibres = 0.1 * aim, 2 * fibres
    assert best is not None  # the loop runs
    return best


def _attempt(
    play: Play, sizes: tuple[int, ...], whole: tuple[int, ...], aim: float, fibres: int,
    rng: np.random.Generator,
) -> Skeleton:  # fmt: skip
    chosen = [np.arange(n) for n in sizes]
    matrices = [np.eye(n) for n in sizes]
    # The longest axis first: fibres along the others then pass through nodes that matter, not through the
    # many that hear nothing.
    for axis in sorted(range(len(sizes)), key=lambda a: -sizes[a]):
        n = sizes[axis]
        if axis in whole or n <= _SMALL:
            continue
        places = np.stack([rng.choice(own, fibres) for own in chosen])
        at = np.repeat(places[:, None, :], n, axis=1)
        at[axis] = np.arange(n)[:, None]
        signals = play(at.reshape(len(sizes), -1))
        along = np.moveaxis(signals.reshape(-1, n, fibres), 1, 0).reshape(n, -1)
        chosen[axis], matrices[axis] = interpolative(along, aim)
    mesh = np.meshgrid(*chosen, indexing="ij")
    core = play(np.stack([m.reshape(-1) for m in mesh]))
    core = core.reshape(*core.shape[:-1], *(len(c) for c in chosen))
    return Skeleton(nodes=tuple(chosen), matrices=tuple(matrices), core=core, error=0.0)


def interpolative(rows: np.ndarray, aim: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows (n, m) as combinations of few of them: which (increasing), and the matrix (n, chosen).

    ``aim`` is the relative error (Frobenius norm) that may be left.
    """
    # The rows' coordinates in their own principal axes: as many columns as there are rows at most.
    u, s, _ = np.linalg.svd(rows, full_matrices=False)
    keep = max(1, int(np.sum(s > 1e-12 * s[0]))) if s[0] > 0.0 else 1
    short = u[:, :keep] * s[:keep]
    r, pivots = qr(short.conj().T, mode="r", pivoting=True)
    # What is left of the rows after the first k pivots.
    left = np.array([np.linalg.norm(r[k:, k:]) for k in range(min(r.shape))] + [0.0])
    count = max(1, int(np.argmax(left <= aim * left[0])))
    nodes = np.sort(pivots[:count])
    matrix = np.linalg.lstsq(short[nodes].T, short.T, rcond=None)[0].T
    return nodes, np.asarray(matrix)


def _error(found: Skeleton, checks: np.ndarray, truth: np.ndarray) -> float:
    """Relative error of entries (axes, n)."""
    guess = np.empty_like(truth)
    for i in range(checks.shape[1]):
        entry = found.core
        for axis in range(len(found.matrices) - 1, -1, -1):
            entry = entry @ found.matrices[axis][checks[axis, i]]
        guess[..., i] = entry
    scale = float(np.linalg.norm(truth))
    return float(np.linalg.norm(guess - truth)) / scale if scale else 0.0

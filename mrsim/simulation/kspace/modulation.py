"""The few images whose Fourier transforms make up a group of readouts.

Sample j of readout r is the Fourier transform of the object times a modulation M(r, j; x): history of the
pulses, decay, off-resonance, Maxwell terms. Its rows are linear combinations of few: with curves u over
readouts, b along them, and the skeleton S of instants (r, j) that tell them all,

    M(r, j; x) = sum_q t_q(r, j) g_q(x),    t_q = sum_kl u_k(r) b_l(j) X_klq,    g = pinv(t(S)) M(S; x).

Only the images M(S; x), the object at the instants of the skeleton, are formed voxel by voxel (`images`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numba import njit
from scipy.linalg import qr

from .compress import Basis, compress
from .drawing import Spins, draw_spins
from .groups import Group
from .lookup import read_table
from .spins import Species, Window
from .table import Table

_VARIANTS, _ROWS = 24, 384
"""Timings, and samples of all of them together, from which the curves along readouts are found, at most."""
_CANDIDATES = 48
_MOST_TERMS = 400
"""Fourier transforms per coil and group beyond which no more are added."""
_SPINS, _CHECKS = 2048, 384
"""Spins of the object on which the joint basis is chosen, and on which it is checked."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Course:
    """What happens along the readouts of a group, apart from the pulses.

    base : (R, 7) deviations at the start of each readout;  along : (variants, J, 7) since then.
    """

    base: np.ndarray
    along: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class HistoryBasis:
    """Curves over the readouts of a group and the few readouts that tell them all.

    curves : (R, K);  chosen : (n,) readouts of the group;  solve : (K, n) from their values to coefficients.
    """

    curves: np.ndarray
    chosen: np.ndarray
    solve: np.ndarray
    error: float


def choose_rows(rows: np.ndarray, count: int) -> np.ndarray:
    """Rows (n, K) that span all best: pivoted QR."""
    count = min(count, rows.shape[0])
    first = qr(rows.conj().T, pivoting=True, mode="r")[1][: min(count, rows.shape[1])]
    if count > first.size:
        # More equations than unknowns steady the solution; spread evenly over the rest.
        rest = np.setdiff1d(np.arange(rows.shape[0]), first)
        first = np.append(first, rest[np.linspace(0, rest.size - 1, count - first.size).astype(int)])
    return np.sort(first)


def history_basis(
    amplitude: np.ndarray, weights: np.ndarray, rows: np.ndarray, tolerance: float
) -> HistoryBasis:
    """Compress histories (R, bins) and choose the readouts that determine them."""
    basis = compress(amplitude, weights, rows, tolerance)
    curves = basis.curves
    scaled = curves * np.sqrt(rows)[:, None]
    chosen = choose_rows(scaled, 2 * basis.rank + 2)
    root = np.sqrt(rows[chosen])
    solve = np.linalg.pinv(curves[chosen] * root[:, None], rcond=1e-7) * root[None, :]
    return HistoryBasis(curves=curves, chosen=chosen, solve=solve, error=basis.error)


@dataclass(frozen=True, kw_only=True, eq=False)
class Modulation:
    """Skeleton of a group: which images to form and how all samples follow from them.

    readout, variant, sample : (m,) instants of the skeleton (readout as a position in ``history.chosen``);
    solve : (Q, m);  mixing : (K, L, Q);  along : (variants, J, L);  curves : (R, K);
    error : relative error on spins that were not used to choose.
    """

    readout: np.ndarray
    variant: np.ndarray
    sample: np.ndarray
    solve: np.ndarray
    mixing: np.ndarray
    along: np.ndarray
    curves: np.ndarray
    error: float

    @property
    def terms(self) -> int:
        """Fourier transforms per coil."""
        return int(self.mixing.shape[2])


def _decays(
    group: Group, course: Course, window: Window, species: Species, spins: Spins, variants: np.ndarray,
    samples: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Decay, off-resonance and deviations along readouts for spins, complex64 (variants, samples, V)."""
    at = np.ix_(variants, samples)
    kind = spins.species
    out = np.empty((variants.size, samples.size, kind.size), np.complex64)
    _decay_kernel(
        group.since_rf[at], group.tau[at], np.ascontiguousarray(course.along[at]),
        window.df[spins.voxel].astype(float),
        np.ascontiguousarray(window.deviations[:, spins.voxel], dtype=float),
        1.0 / species.t2[kind], species.rate[kind], species.side[kind], species.shift[kind],
        species.late[kind].astype(float), out,
    )  # fmt: skip
    return out


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _decay_kernel(
    since: np.ndarray, tau: np.ndarray, along: np.ndarray, df: np.ndarray, maps: np.ndarray, r2: np.ndarray,
    rate: np.ndarray, side: np.ndarray, shift: np.ndarray, late: np.ndarray, out: np.ndarray,
) -> None:  # fmt: skip
    """Write what happens since the pulse to each spin at each sample; see `Species.decay`."""
    for i in range(tau.shape[0]):
        for j in range(tau.shape[1]):
            t = tau[i, j]
            for v in range(df.size):
                time = abs(t) if side[v] == 0 else side[v] * t
                turns = df[v] * t + shift[v] * (t + late[v])
                for c in range(maps.shape[0]):
                    turns += along[i, j, c] * maps[c, v]
                size = np.float32(math.exp(-since[i, j] * r2[v] - rate[v] * time))
                angle = np.float32(-2.0 * math.pi * (turns - np.rint(turns)))
                out[i, j, v] = complex(size * np.cos(angle), size * np.sin(angle))


def _even(count: int, most: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def _along_basis(
    group: Group, course: Course, window: Window, species: Species, spins: Spins, rows: np.ndarray,
    tolerance: float,
) -> tuple[np.ndarray, np.ndarray, float]:  # fmt: skip
    """Curves along readouts (variants, J, L), coefficients of the spins (L, V), error left."""
    variants, samples = np.arange(len(group.tau)), np.arange(group.tau.shape[1])
    some_v = _even(variants.size, _VARIANTS)
    some_j = _even(samples.size, max(16, _ROWS // some_v.size))
    part = _decays(group, course, window, species, spins, some_v, some_j)
    weight = np.tile(rows[some_j], some_v.size)
    basis: Basis = compress(part.reshape(-1, spins.voxel.size), spins.weight, weight, tolerance)
    beta = basis.coefficients
    # Curves everywhere from the few spins that tell them: least squares with the spins' weights.
    weighted = (beta.conj() * spins.weight).T
    inverse = np.linalg.pinv(beta @ weighted, rcond=1e-12)
    chosen = choose_rows(beta.T * np.sqrt(spins.weight)[:, None], 4 * basis.rank + 8)
    few = Spins(species=spins.species[chosen], voxel=spins.voxel[chosen], weight=spins.weight[chosen])
    if variants.size * samples.size * spins.voxel.size < 4e6:
        whole, solve = _decays(group, course, window, species, spins, variants, samples), weighted @ inverse
    else:
        root = np.sqrt(few.weight)
        solve = np.linalg.pinv(beta[:, chosen] * root, rcond=1e-9) * root[:, None]
        whole = _decays(group, course, window, species, few, variants, samples)
    return np.asarray(whole @ solve.astype(np.complex64)), beta, basis.error


def build_modulation(
    group: Group, course: Course, window: Window, species: Species, slope: float, table: Table,
    history: HistoryBasis, share: np.ndarray, rows: np.ndarray, samples: np.ndarray, tolerance: float,
    limit: float,
) -> Modulation:  # fmt: skip
    """Choose the joint basis of a group and its skeleton.

    Parameters
    ----------
    group, course, window, species, slope
        The readouts and the spins they hear.
    table : Table
        Signal after the pulses of the history's chosen readouts, in their order.
    history : HistoryBasis
    share : array (tissues,)
        Energy of each tissue.
    rows, samples : arrays (R,), (J,)
        Signal energy expected in each readout, and along it.
    tolerance : float
        Relative error that may be left on the spins that choose the basis.
    limit : float
        Relative error that may be left on others.
    """
    count = int(np.clip(np.count_nonzero(window.occupied) // 4, 256, _SPINS))
    spins = draw_spins(window, species, share, count, 1)
    along, beta, along_error = _along_basis(group, course, window, species, spins, samples, 0.3 * tolerance)
    alpha = history.solve @ _histories(table, course, window, species, slope, spins, history)
    pairs = (alpha[:, None, :] * beta[None, :, :]).reshape(-1, spins.voxel.size)
    scaled = pairs * np.sqrt(spins.weight)[None, :]
    energy, vectors = np.linalg.eigh(scaled @ scaled.conj().T)
    energy, vectors = energy[::-1].clip(min=0.0), vectors[:, ::-1]
    left = np.sqrt(np.append(energy.sum() - np.cumsum(energy), 0.0).clip(min=0.0) / max(energy.sum(), 1e-300))
    keep = int(np.argmax(left <= tolerance)) + 1
    check = draw_spins(window, species, share, _CHECKS, 2, extremes=False)
    while True:
        mixing = vectors[:, :keep].reshape(history.curves.shape[1], along.shape[2], keep)
        readout, variant, sample, solve = _skeleton(group, history, along, mixing, samples)
        found = Modulation(
            readout=readout, variant=variant, sample=sample, solve=solve, mixing=mixing, along=along,
            curves=history.curves, error=0.0,
        )  # fmt: skip
        error = _checked(found, group, course, window, species, slope, table, history, check, rows, samples)
        error = float(np.linalg.norm([error, history.error, along_error]))
        if error <= limit or keep >= min(vectors.shape[1], _MOST_TERMS):
            return replace(found, error=error)
        # Spins that did not choose the basis are described less well than those that did.
        keep = min(keep + 1 + keep // 6, vectors.shape[1])


def _histories(
    table: Table, course: Course, window: Window, species: Species, slope: float, spins: Spins,
    history: HistoryBasis,
) -> np.ndarray:  # fmt: skip
    """Signal at the start of the chosen readouts for spins, (chosen, V)."""
    found = read_table(table, window, species, slope, spins)
    if window.deviations.size:
        turns = course.base[history.chosen] @ window.deviations[:, spins.voxel]
        found = found * np.exp(-2j * np.pi * turns)
    return np.asarray(found)


def _skeleton(
    group: Group, history: HistoryBasis, along: np.ndarray, mixing: np.ndarray, samples: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Choose the instants: readout (position in chosen), variant, sample (m,), and their solution (Q, m)."""
    j = _even(along.shape[1], _CANDIDATES)
    if j.size < along.shape[1]:
        flat = along.transpose(1, 0, 2).reshape(along.shape[1], -1)[:, : 4 * along.shape[2]]
        j = np.unique(np.append(j, choose_rows(flat * np.sqrt(samples)[:, None], along.shape[2])))
    u = history.curves[history.chosen]
    variant = group.variant[history.chosen]
    t = np.einsum("nk,njl,klq->njq", u, along[variant][:, j], mixing, optimize=True).reshape(
        -1, mixing.shape[2]
    )
    root = np.tile(np.sqrt(samples[j]), u.shape[0])
    chosen = choose_rows(t * root[:, None], 2 * mixing.shape[2] + 4)
    n, at = chosen // j.size, j[chosen % j.size]
    solve = np.linalg.pinv(t[chosen] * root[chosen, None], rcond=1e-7) * root[None, chosen]
    return n, variant[n], at, solve


def _checked(
    found: Modulation, group: Group, course: Course, window: Window, species: Species, slope: float,
    table: Table, history: HistoryBasis, spins: Spins, rows: np.ndarray, samples: np.ndarray,
) -> float:  # fmt: skip
    """Relative error of the modulation of spins that did not choose it, at evenly taken samples."""
    start = _histories(table, course, window, species, slope, spins, history)
    v = np.arange(len(group.tau))[_even(len(group.tau), 8)]
    j = _even(group.tau.shape[1], 24)
    instants = np.empty((found.readout.size, spins.voxel.size), complex)
    for i, (n, variant, sample) in enumerate(zip(found.readout, found.variant, found.sample, strict=True)):
        one = _decays(group, course, window, species, spins, np.array([variant]), np.array([sample]))[0, 0]
        instants[i] = start[n] * one
    g = found.solve @ instants
    wrong, total = 0.0, 0.0
    for variant in v:
        members = np.flatnonzero(group.variant[history.chosen] == variant)
        if not members.size:
            continue
        decay = _decays(group, course, window, species, spins, np.array([variant]), j)[0]
        for n in members:
            t = np.einsum(
                "k,jl,klq->jq", found.curves[history.chosen[n]], found.along[variant][j], found.mixing
            )
            true = start[n] * decay
            weight = spins.weight[None, :] * samples[j, None] * rows[history.chosen[n]]
            wrong += float(np.sum(weight * np.abs(t @ g - true) ** 2))
            total += float(np.sum(weight * np.abs(true) ** 2))
    return float(np.sqrt(wrong / total)) if total > 0 else 0.0

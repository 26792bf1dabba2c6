"""How many spins a voxel needs: dephasing that the sequence leaves, and what one isochromat makes of it.

A point stands for a voxel only if the magnetization inside is uniform. A sequence that leaves a net gradient
moment between pulses winds it up; a lattice of n spins per voxel keeps n coherence orders of one cycle apart,
a single isochromat keeps none: spoiled gradient echoes come out wrong by tens of percent.
"""

from __future__ import annotations

import numpy as np

from phantoms import PointCloud
from protocols import Sequence

from ..kspace.path import kspace_readouts
from .encoding import Machine
from .options import BlochOptions

FEW, MANY, MOST = 16, 61, 509
"""Spins per voxel by default: without winding-up (dephasing in the readout, T2'), and the range with it.
Trains in which no more orders are alive than a voxel has spins agree with phase graphs to 1e-6 (tests)."""
_MEMORY = 2.5
"""Transverse times after which a coherence is forgotten: exp(-2.5) = 8 %, RF spoiling left aside."""
_NOTICEABLE = 0.1
"""Dephasing between pulses [cycles per voxel] above which an isochromat is not a voxel."""
_FINE = 1e-3
"""Distance of points [m] below which a cloud without voxels is taken to be dense."""


def net_moments(sequence: Sequence) -> np.ndarray:
    """Largest net moment between consecutive pulses along each logical axis [1/m], (3,)."""
    blocks = sequence.rf_blocks
    if blocks.size < 2:
        return np.zeros(3)
    total = np.concatenate([np.zeros((1, 3)), np.cumsum(sequence.block_moments(), axis=0)])
    # Halves of blocks with pulses cancel to first order: whole blocks tell whether a moment is left.
    return np.asarray(np.abs(np.diff(total[blocks], axis=0)).max(axis=0))


def winding(voxel: np.ndarray, sequence: Sequence, rotation: np.ndarray) -> float:
    """Largest dephasing that the sequence leaves between pulses, over a voxel's edges [cycles].

    Sequences of one or two pulses leave none that a later pulse could bring back.

    Parameters
    ----------
    voxel : array (3, 3)
        Edge vectors [m], one per column.
    sequence : Sequence
    rotation : array (3, 3)
        Logical to world axes.
    """
    if sequence.rf_blocks.size <= 2:
        return 0.0
    return float((np.abs(voxel.T @ rotation) @ net_moments(sequence)).max())


def recommended_spins(
    voxel: np.ndarray, t2: np.ndarray, weight: np.ndarray, sequence: Sequence, rotation: np.ndarray
) -> int:
    """Spins per voxel for an object with voxels.

    One for every coherence order alive at a time, a prime number so that no whole number of cycles per order
    makes them coincide, and in proportion more where a voxel holds several periods of the highest k.

    Parameters
    ----------
    voxel, sequence, rotation
        As of `winding`.
    t2, weight : arrays (n,)
        Transverse relaxation times [s] and how much of the object has them.
    """
    if winding(voxel, sequence, rotation) <= _NOTICEABLE:
        return FEW
    order = np.argsort(t2)
    share = np.cumsum(weight[order]) / np.sum(weight)
    at = min(int(np.searchsorted(share, 0.9)), t2.size - 1)
    typical = float(np.asarray(t2)[order[at]])
    repetition = float(np.median(np.diff(sequence.rf_center_times())))
    orders = _MEMORY * min(typical, 10.0) / max(repetition, 1e-4)
    periods = 2.0 * np.abs(voxel.T @ rotation) @ _largest_k(sequence)
    wanted = max(min(orders, sequence.rf_blocks.size), MANY) * float(np.prod(np.maximum(periods, 1.0)))
    return _prime_from(int(min(max(wanted, MANY), MOST)))


def _largest_k(sequence: Sequence) -> np.ndarray:
    """Largest |k| of any sample along the logical axes [1/m]."""
    r = kspace_readouts(sequence, f0=1e8)
    positions = [np.abs(r.base[i] + r.offsets[r.pattern[i]]).max(axis=0) for i in range(r.adc.size)]
    return np.asarray(np.max(positions, axis=0))


def _prime_from(n: int) -> int:
    """Smallest prime number from n on."""
    while any(n % d == 0 for d in range(2, int(n**0.5) + 1)):
        n += 1
    return n


def dephasing_notes(
    cloud: PointCloud, sequence: Sequence, machine: Machine, options: BlochOptions
) -> list[str]:
    """Return what a reader of the result should know about dephasing inside points."""
    notes: list[str] = []
    if options.spins_per_voxel > 1:
        return notes
    if cloud.voxel is None:
        moment = float(net_moments(sequence).max()) if sequence.rf_blocks.size > 2 else 0.0
        if moment > _NOTICEABLE / _FINE:
            notes.append(
                f"the phantom's points have no extent, but the sequence leaves a moment of {moment:.3g} 1/m "
                f"between pulses: spoiling is right only where points lie closer than {0.1 / moment:.2g} m"
            )
    else:
        cycles = winding(cloud.voxel, sequence, machine.rotation)
        if cycles > _NOTICEABLE:
            notes.append(
                f"each point is one isochromat, but there are {cycles:.2g} cycles of dephasing in a voxel: "
                f"as an object made of voxels the signal is wrong; use {MANY} spins per voxel"
            )
    if np.isfinite(cloud.t2_prime).any():
        notes.append(
            "T2' is not played with one spin per point; more spins per voxel sample its distribution"
        )
    return notes

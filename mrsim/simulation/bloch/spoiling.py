"""How many spins a voxel needs: dephasing that the sequence leaves, and what one isochromat makes of it.

A point stands for a voxel only if the magnetization inside is uniform. A sequence that leaves a net gradient
moment between pulses winds it up; a lattice of n spins per voxel keeps n coherence orders of one cycle apart,
a single isochromat keeps none: spoiled gradient echoes come out wrong by tens of percent.
"""

from __future__ import annotations

import numpy as np

from phantoms import PointCloud
from protocols import Sequence

from .engine import Machine
from .options import BlochOptions

FEW, MANY = 16, 64
"""Spins per voxel by default: without winding-up (dephasing along the readout, T2'), and with it."""
_NOTICEABLE = 0.1
"""Net moment between pulses [cycles per voxel] above which an isochromat is not a voxel."""


def net_moments(sequence: Sequence) -> np.ndarray:
    """Largest net moment between consecutive pulses along each logical axis [1/m], (3,)."""
    blocks = sequence.rf_blocks
    if blocks.size < 2:
        return np.zeros(3)
    total = np.concatenate([np.zeros((1, 3)), np.cumsum(sequence.block_moments(), axis=0)])
    # Halves of blocks with pulses cancel to first order: whole blocks tell whether a moment is left.
    return np.asarray(np.abs(np.diff(total[blocks], axis=0)).max(axis=0))


def recommended_spins(sequence: Sequence) -> int:
    """Spins per voxel for an object with voxels."""
    return MANY if sequence.rf_blocks.size > 2 and net_moments(sequence).max() > 1.0 else FEW


def dephasing_notes(
    cloud: PointCloud, sequence: Sequence, machine: Machine, options: BlochOptions
) -> list[str]:
    """Return what a reader of the result should know about dephasing inside points."""
    notes: list[str] = []
    if options.spins_per_voxel > 1:
        return notes
    if cloud.voxel is not None:
        cycles = float(np.abs(cloud.voxel.T @ (machine.rotation @ net_moments(sequence))).max())
        if cycles > _NOTICEABLE and sequence.rf_blocks.size > 2:
            notes.append(
                f"each point is one isochromat, but there are {cycles:.2g} cycles of dephasing in a "
                f"voxel: as an object made of voxels the signal is wrong; use {MANY} spins per voxel"
            )
    if np.isfinite(cloud.t2_prime).any():
        notes.append(
            "T2' is not played with one spin per point; more spins per voxel sample its distribution"
        )
    return notes

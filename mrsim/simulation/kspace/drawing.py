"""Spins drawn from the object to stand for all of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .spins import Species, Window

_RARE = 0.05
"""Weight of an extreme spin over that of one drawn at random."""
_CELLS = 24
"""Stretches of off-resonance that are drawn alike."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Spins:
    """Some spins of a window: species, voxel and energy share of each (V,)."""

    species: np.ndarray
    voxel: np.ndarray
    weight: np.ndarray


def draw_spins(
    window: Window, species: Species, share: np.ndarray, count: int, seed: int, *, extremes: bool = True
) -> Spins:
    """Draw spins that stand for a window; ``share`` (tissues,) is the energy of each tissue.

    With ``extremes`` those of the fields and places are among them, with little weight: they must stay
    describable, though they are few.
    """
    rng = np.random.default_rng(seed)  # which spins stand for all; the result stays within the tolerance
    kinds, voxels, weights = [], [], []
    present = [t for t in range(share.size) if share[t] > 0 and window.fractions[t].max() > 0.02]
    for t in present:
        candidates = np.flatnonzero(window.fractions[t] > 0.02)
        energy = window.fractions[t][candidates].astype(float) ** 2
        energy /= energy.sum()
        part = share[t] / share[present].sum()
        n = max(8, int(count * (0.5 * part + 0.5 / len(present))))
        chance = 0.5 * energy + 0.5 * _even_in(window.df[candidates], energy)
        drawn = rng.choice(candidates.size, n, p=chance)
        chosen, weight = candidates[drawn], max(part, 1e-4) / n * energy[drawn] / chance[drawn]
        if extremes:
            for values in (window.df, window.b1, window.place):
                far = candidates[[values[candidates].argmin(), values[candidates].argmax()]]
                chosen, weight = np.append(chosen, far), np.append(weight, np.full(2, _RARE * part / n))
        for s in np.flatnonzero(species.tissue == t):
            kinds.append(np.full(chosen.size, s))
            voxels.append(chosen)
            weights.append(weight)
    return Spins(species=np.concatenate(kinds), voxel=np.concatenate(voxels), weight=np.concatenate(weights))


def _even_in(values: np.ndarray, energy: np.ndarray) -> np.ndarray:
    """Chances that draw all stretches of the values alike, however few voxels have them."""
    low, high = float(values.min()), float(values.max())
    if high - low < 1e-6:
        return energy
    cell = np.minimum(((values - low) / (high - low) * _CELLS).astype(int), _CELLS - 1)
    inside = np.bincount(cell, energy, minlength=_CELLS)
    return np.asarray(energy / inside[cell] / np.count_nonzero(inside))

"""The object as one scan sees it: placed, with its field maps and its distinct tissues."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from phantoms import Phantom, TissueProperties
from protocols import Prescription, Scanner

from . import maps
from .diffusion import PlacedDiffusion
from .options import SimulationOptions
from .placement import PlacedPhantom, place
from .session import Session


@dataclass(frozen=True, kw_only=True)
class ScannedObject:
    """The placed object with its fields: what the encoding sums over.

    placed : tissue fractions on the scan's grid, alike tissues merged;  tissues : their properties;
    b1 : relative transmit field;  df : off-resonance [Hz];  occupied : where there is tissue (all on the
    grid, (phase, slice, read));  share : (tissues,) energy that each tissue can contribute;
    diffusion : of the tissues, as placed;
    reached : (3, phase, slice, read) where the gradient coils put each voxel along (read, phase, slice) [m],
    None = where it is;  maxwell : (4, phase, slice, read) Maxwell maps [m^2/Hz] or None.
    """

    placed: PlacedPhantom
    tissues: tuple[TissueProperties, ...]
    b1: np.ndarray
    df: np.ndarray
    occupied: np.ndarray
    share: np.ndarray
    diffusion: PlacedDiffusion | None = None
    reached: np.ndarray | None = None
    maxwell: np.ndarray | None = None

    def coordinate_along(self, direction: np.ndarray) -> np.ndarray:
        """Position that gradients along a logical direction give each voxel [m], (phase, slice, read)."""
        if self.reached is not None:
            return np.asarray(np.tensordot(direction, self.reached, axes=1), dtype=np.float32)
        grid = self.placed.grid
        x, y, z = (direction[i] * grid.axis(i) for i in range(3))
        return np.asarray(y[:, None, None] + z[None, :, None] + x[None, None, :], dtype=np.float32)

    def deviation_maps(self, part: tuple[slice, slice, slice], terms: int) -> np.ndarray:
        """Make the maps of the deviations on a part of the grid, (7, voxels), or (0, voxels) for no terms.

        Four Maxwell maps [m^2/Hz] and the coordinates along (read, phase, slice) [m].
        """
        shape = tuple(s.stop - s.start for s in part)
        out = np.zeros((terms, *shape), np.float32)
        if terms:
            if self.maxwell is not None:
                out[:4] = self.maxwell[(slice(None), *part)]
            grid = self.placed.grid
            out[4] = grid.axis(0)[part[2]]
            out[5] = grid.axis(1)[part[0], None, None]
            out[6] = grid.axis(2)[None, part[1], None]
        return out.reshape(terms, int(np.prod(shape)))

    def largest_deviation_maps(self) -> np.ndarray:
        """Largest absolute value of each of the seven maps, (7,)."""
        grid = self.placed.grid
        largest = np.zeros(7)
        if self.maxwell is not None:
            largest[:4] = np.abs(self.maxwell).reshape(4, -1).max(axis=1)
        largest[4:] = [np.abs(grid.axis(i)).max() for i in range(3)]
        return largest


def merge_alike(phantom: Phantom, b0: float) -> tuple[Phantom, tuple[TissueProperties, ...], np.ndarray]:
    """Phantom with the tissues that cannot be told apart merged, their properties, and chi per tissue."""
    properties = phantom.properties(b0)
    groups: dict[tuple[float | str, ...], list[int]] = {}
    modelled = set() if phantom.diffusion is None else set(phantom.diffusion.tissues)
    for i, p in enumerate(properties):
        # A tissue with diffusion compartments of its own stays by itself.
        name = phantom.tissues[i] if phantom.tissues[i] in modelled else ""
        key = (p.t1, p.t2, p.t2_prime, p.pd, p.adc, p.shift_ppm, p.chi, name)
        groups.setdefault(key, []).append(i)
    first = [members[0] for members in groups.values()]
    chi = np.array([properties[i].chi for i in first])
    kept = tuple(properties[i] for i in first)
    if len(first) == len(properties):
        return phantom, kept, chi
    fractions = np.stack([phantom.fractions[members].sum(axis=0) for members in groups.values()])
    merged = phantom.replace(
        {
            "tissues": tuple(phantom.tissues[i] for i in first),
            "fractions": np.minimum(fractions, 1.0),
            "scale": {},
        }
    )
    return merged, kept, chi


def scan_object(
    phantom: Phantom,
    prescription: Prescription,
    scanner: Scanner,
    session: Session,
    options: SimulationOptions,
) -> ScannedObject:
    """Place a phantom in a scan and compute the fields it meets there."""
    brain_source = phantom.brain_mask()
    merged, tissues, chi = merge_alike(phantom, scanner.b0)
    placed = place(merged, prescription, session.pose, brain=brain_source)
    shape = placed.grid.array_shape
    df = np.zeros(shape, np.float32)
    if options.b0:
        df = maps.b0_map(placed, chi, scanner, session, chi_outside=phantom.chi_outside)
    b1 = np.ones(shape, np.float32)
    if options.b1:
        b1 = maps.b1_map(placed, maps.Head.of(placed), scanner, session)
    volume = placed.fractions.reshape(len(tissues), -1).sum(axis=1, dtype=float)
    share = volume * np.array([t.pd for t in tissues]) ** 2
    occupied = np.asarray(placed.fractions.any(axis=0))
    return ScannedObject(
        placed=placed, tissues=tissues, b1=b1, df=df, occupied=occupied, share=share,
        diffusion=PlacedDiffusion.of(merged, tissues, placed, session.pose),
    )  # fmt: skip

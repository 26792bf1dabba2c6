"""Water, oil and emulsions of known fat fraction, with the spectrum of fat."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..phantom import Phantom, PhantomError
from ..tissues import TissueTable
from .bodies import Body, Cylinder, Vector
from .body_phantom import BodyPhantom, liquid

FAT_PEAKS = (
    (0.90, 0.087), (1.30, 0.568), (1.59, 0.058), (2.00, 0.092), (2.25, 0.058), (2.77, 0.027), (4.20, 0.038),
    (5.31, 0.073),
)  # fmt: skip
"""Position [ppm, water at 4.9] and share of the peaks of fat (Karampinos 2014)."""
WATER_PPM = 4.9
FRACTIONS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
_TIMES = "water 3000/2000 ms, oil 370/100 ms at 3 T (290 ms at 1.5 T); choices within public tables"


def water_fat_bodies(fractions: Sequence[float] = FRACTIONS, *, peaks: bool = True) -> BodyPhantom:
    """Return a cylinder of water with a ring of vials, closed-form k-space included.

    Parameters
    ----------
    fractions : sequence of float
        Fat fraction of the vials, 1 to 12 of them, 0 to 1.
    peaks : bool
        Eight tissues for the eight peaks of fat; otherwise one at the main peak, -3.6 ppm from water.
    """
    if not 1 <= len(fractions) <= 12 or not all(0.0 <= f <= 1.0 for f in fractions):
        raise PhantomError(f"fractions must be 1 to 12 numbers from 0 to 1; got {tuple(fractions)}.")
    total = sum(a for _, a in FAT_PEAKS)
    spectrum = [(p - WATER_PPM, a / total) for p, a in FAT_PEAKS] if peaks else [(1.30 - WATER_PPM, 1.0)]
    note = {"t1": _TIMES, "t2": _TIMES, "shift": "Karampinos 2014: eight peaks"}
    curves = {
        "water": liquid("water", [3.0], [3.0], [2.0], sources={"t1": _TIMES, "t2": _TIMES}, verified=False)
    }
    oil = {}
    for n, (shift, share) in enumerate(spectrum):
        name = f"fat-{n + 1}"
        oil[name] = share
        curves[name] = liquid(
            name, [1.5, 3.0], [0.29, 0.37], [0.1, 0.1], sources=note, verified=False, pd=0.9, adc=5e-11,
            chi=0.6, shift_ppm=shift,
        )  # fmt: skip
    bodies: list[Body] = [
        Cylinder(tissue="water", center=(0.0, 0.0, 0.0), radius=0.08, length=0.12, name="bath")
    ]
    mixtures: dict[str, dict[str, float]] = {}
    vials = []
    for n, f in enumerate(fractions):
        angle = 2.0 * math.pi * n / len(fractions)
        name = f"vial-{n + 1:02d}"
        mixtures[name] = {"water": 1.0 - f, **{k: f * a for k, a in oil.items()}}
        center = (0.055 * math.sin(angle), 0.055 * math.cos(angle), 0.0)
        vials.append({"name": name, "fat_fraction": float(f), "center": list(center)})
        bodies.append(Cylinder(tissue=name, center=center, radius=0.011, length=0.09, host="bath", name=name))
    return BodyPhantom(
        name="water-fat",
        bodies=tuple(bodies),
        table=TissueTable(curves=curves),
        mixtures=mixtures,
        truth={"phantom": "water and fat", "vials": vials},
    )


def water_fat_phantom(
    voxel_size: float | Vector = 2e-3, fractions: Sequence[float] = FRACTIONS, peaks: bool = True
) -> Phantom:
    """Return a bath of water with vials of known fat fraction, the axis along z.

    Parameters
    ----------
    voxel_size : float or tuple of float
        Voxel size [m].
    fractions : sequence of float
        Fat fraction of the vials by volume.
    peaks : bool
        The eight peaks of fat, or its main one.

    Returns
    -------
    Phantom
        Tissues ``water`` and ``fat-1`` ...; `truth` lists the vials. Proton densities: water 1, fat 0.9.
    """
    return water_fat_bodies(fractions, peaks=peaks).phantom(voxel_size)

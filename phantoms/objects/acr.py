"""A phantom like the large one of the ACR: geometry, resolution, slice and low-contrast inserts.

Sizes follow public descriptions of that phantom (hole sizes, grid, ramps 1:10, 45-degree pairs, spokes);
places inside the slices are choices: tests made for the real one run, but its drawings are not claimed.
"""

from __future__ import annotations

import math

from ..phantom import Phantom
from ..tissues import TissueTable
from .bodies import Body, Box, Cylinder, Vector
from .body_phantom import BodyPhantom, liquid

LENGTH, DIAMETER, PITCH = 0.148, 0.190, 0.010
"""Inner length and diameter, and distance of the eleven slices [m]."""
HOLES = (1.1e-3, 1.0e-3, 0.9e-3)
CONTRASTS = {8: 0.014, 9: 0.025, 10: 0.036, 11: 0.051}
SPOKES = 10
DISKS = tuple(7.0e-3 + (1.5e-3 - 7.0e-3) * k / (SPOKES - 1) for k in range(SPOKES))
_SOURCE = "10 mM NiCl2 with NaCl: T1 about 150 ms, T2 about 130 ms at 1.5 to 3 T; quoted, source not opened"


def slice_height(number: int) -> float:
    """Return the z of a slice [m], 1 (inferior) to 11."""
    return PITCH * (number - 6)


def acr_bodies() -> BodyPhantom:
    """Return the inserts with their closed-form k-space."""
    bodies: list[Body] = [
        Cylinder(tissue="solution", center=(0.0, 0.0, 0.0), radius=0.5 * DIAMETER, length=LENGTH, name="body")
    ]
    bodies += _resolution(slice_height(1))
    bodies += _ramps(slice_height(1))
    for number in (1, 11):
        bodies += _crossed_bars(slice_height(number), number)
    bodies += _grid(slice_height(5))
    for number, contrast in CONTRASTS.items():
        bodies += _spokes(slice_height(number), number, contrast)
    note = {"t1": _SOURCE, "t2": _SOURCE, "pd": "by definition of the scale"}
    curves = {"solution": liquid("solution", [3.0], [0.150], [0.130], sources=note, verified=False)}
    plastic = {"all": "no signal; choice"}
    curves["plastic"] = liquid(
        "plastic", [3.0], [0.1], [1e-4], sources=plastic, verified=False, pd=0.0, adc=0.0
    )
    truth = {
        "phantom": "like the large ACR phantom",
        "length": LENGTH,
        "diameter": DIAMETER,
        "slices_z": [slice_height(k) for k in range(1, 12)],
        "holes": list(HOLES),
        "contrasts": {str(k): c for k, c in CONTRASTS.items()},
        "disk_diameters": list(DISKS),
    }
    mixtures = {f"sheet-{k}": {"solution": 1.0 - c, "plastic": c} for k, c in CONTRASTS.items()}
    return BodyPhantom(
        name="acr", bodies=tuple(bodies), table=TissueTable(curves=curves), mixtures=mixtures, truth=truth
    )


def acr_phantom(voxel_size: float | Vector = 1e-3) -> Phantom:
    """Return a phantom like the large one of the ACR, its axis along z.

    Parameters
    ----------
    voxel_size : float or tuple of float
        Voxel size [m]; the hole arrays need 0.5 mm or less in plane.

    Returns
    -------
    Phantom
        Tissues ``solution`` and ``plastic``; `truth` has the slices' heights, hole and disk sizes.
    """
    return acr_bodies().phantom(voxel_size)


def _resolution(z: float) -> list[Body]:
    """Plate with three pairs of 4 x 4 hole arrays: one upright, one slanted."""
    plate = Box(
        tissue="plastic",
        center=(0.0, -0.045, z),
        lengths=(0.110, 0.030, 0.010),
        host="body",
        name="resolution",
    )
    out: list[Body] = [plate]
    for n, size in enumerate(HOLES):
        for half, side in enumerate((-1.0, 1.0)):
            corner = (-0.036 + 0.036 * n + side * 0.007, -0.045 + side * 0.004)
            for i in range(4):
                for j in range(4):
                    # Holes are one diameter apart; in the second array every row steps by half a hole.
                    shift = 0.5 * size * half * j
                    x = corner[0] + 2.0 * size * (i - 1.5) + shift
                    y = corner[1] + 2.0 * size * (j - 1.5)
                    out.append(
                        Cylinder(
                            tissue="solution",
                            center=(x, y, z),
                            radius=0.5 * size,
                            length=0.010,
                            host="resolution",
                        )
                    )
    return out


def _ramps(z: float) -> list[Body]:
    """Two thin slabs of solution that cross a slice at 1:10, in opposite directions."""
    out: list[Body] = [
        Box(tissue="plastic", center=(0.0, 0.0, z), lengths=(0.120, 0.014, 0.014), host="body", name="ramps")
    ]
    for side in (-1.0, 1.0):
        tilt = side * math.atan(0.1)
        out.append(
            Box(
                tissue="solution",
                center=(0.0, side * 0.0035, z),
                turns=(0.0, tilt, 0.0),
                lengths=(0.110, 0.005, 0.001),
                host="ramps",
                name=f"ramp-{'up' if side > 0 else 'down'}",
            )
        )
    return out


def _crossed_bars(z: float, number: int) -> list[Body]:
    """Two plastic bars at +-45 degrees: a slice off its place makes one longer than the other."""
    return [
        Box(
            tissue="plastic",
            center=(side * 0.004, 0.075, z),
            turns=(side * 0.25 * math.pi, 0.0, 0.0),
            lengths=(0.006, 0.028, 0.004),
            host="body",
            name=f"bar-{number}-{'left' if side < 0 else 'right'}",
        )
        for side in (-1.0, 1.0)
    ]


def _grid(z: float) -> list[Body]:
    """Plate with square cells of 14.4 mm pitch, all that fit."""
    radius, pitch, cell = 0.093, 0.0144, 0.0130
    out: list[Body] = [
        Cylinder(
            tissue="plastic", center=(0.0, 0.0, z), radius=radius, length=0.010, host="body", name="grid"
        )
    ]
    places = [pitch * (k - 4.5) for k in range(10)]
    for x in places:
        for y in places:
            if math.hypot(abs(x) + 0.5 * cell, abs(y) + 0.5 * cell) < radius:
                out.append(Box(tissue="solution", center=(x, y, z), lengths=(cell, cell, 0.010), host="grid"))
    return out


def _spokes(z: float, number: int, contrast: float) -> list[Body]:
    """Sheet with ten spokes of three holes: 7.0 to 1.5 mm, at 13, 25 and 38 mm from the centre."""
    name = f"sheet-{number}"
    out: list[Body] = [
        Cylinder(tissue=name, center=(0.0, 0.0, z), radius=0.045, length=0.005, host="body", name=name)
    ]
    for k, diameter in enumerate(DISKS):
        angle = 2.0 * math.pi * k / SPOKES
        for n, r in enumerate((0.0128, 0.0253, 0.0378)):
            out.append(
                Cylinder(
                    tissue="solution",
                    center=(r * math.sin(angle), r * math.cos(angle), z),
                    radius=0.5 * diameter,
                    length=0.005,
                    host=name,
                    name=f"disk-{number}-{k + 1}-{n + 1}",
                )
            )
    return out

"""The ISMRM/NIST system phantom drawn on a grid, with the volume fractions of the true spheres."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..phantom import Phantom, PhantomError
from ..tissues import TissueTable
from .covering import covering_lines, voxel_edges
from .nist import Array, Lot, Vial, nist_fiducial_liquid, nist_fiducials, nist_tables, nist_vials, nist_water
from .spheres import sphere_fractions

Fill = Literal["water", "silent", "none"]
_AIR_CHI = 9.4
"""Air relative to water [ppm]: 0.36 minus -9.05 (Schenck 1996, doi:10.1118/1.597854, not opened)."""


@dataclass(frozen=True, kw_only=True)
class _Ball:
    """One sphere to draw: tissue index, label, centre and radius [m]."""

    tissue: int
    label: int
    center: tuple[float, float, float]
    radius: float


def nist_system_phantom(
    voxel_size: float | tuple[float, float, float] = 2e-3,
    *,
    lot: Lot = "first",
    arrays: Sequence[Array] = ("t1", "t2", "pd"),
    fill: Fill = "water",
    fiducials: bool = True,
) -> Phantom:
    """Return the ISMRM/NIST system phantom (CaliberMRI model 130) at 20 degrees.

    Parameters
    ----------
    voxel_size : float or tuple of float
        Voxel size along x, y, z [m].
    lot : {'first', 'second', 'lending'}
        Which table of relaxation times; see `nist_vials`.
    arrays : sequence of {'t1', 't2', 'pd'}
        Arrays to draw.
    fill : {'water', 'silent', 'none'}
        What fills the sphere of 0.1 m radius: water; a liquid of proton density 0, as heavy water nearly is,
        which keeps the body that the fields see but lets a scan cover one array only; or nothing, with a
        grid around the spheres and no susceptibility contrast.
    fiducials : bool
        Draw the 56 fiducial spheres.

    Returns
    -------
    Phantom
        One tissue per vial (``nicl2-01`` ...), ``fiducial`` and ``water``; labels number the vials 1 to 14
        (T1), 15 to 28 (T2), 29 to 42 (PD) and the fiducials from 43; `truth` lists the vials. The complete
        phantom has 44 tissues and takes 190 MB at 2 mm.
    """
    if not arrays and not fiducials:
        raise PhantomError("arrays must name at least one array where fiducials are off; got none.")
    if len(set(arrays)) != len(arrays) or fill not in get_args(Fill):
        raise PhantomError(f"arrays must differ and fill be one of {get_args(Fill)}; got {arrays}, {fill!r}.")
    data = nist_tables()
    vials = [vial for array in arrays for vial in nist_vials(array, lot=lot)]
    tissues = [vial.tissue for vial in vials]
    balls = [
        _Ball(tissue=n, label=_label(vial), center=vial.center, radius=vial.radius)
        for n, vial in enumerate(vials)
    ]
    if fiducials:
        radius = 0.5e-3 * data["geometry"]["fiducial_diameter"]
        balls += [
            _Ball(tissue=len(tissues), label=43 + n, center=center, radius=radius)
            for n, center in enumerate(nist_fiducials())
        ]
        tissues.append(nist_fiducial_liquid())
    outer = 1e-3 * data["geometry"]["radius"]
    body = fill != "none"
    spheres = [(b.center, b.radius) for b in balls]
    if body:
        tissues.append(nist_water(1.0 if fill == "water" else 0.0))
        spheres.append(((0.0, 0.0, 0.0), outer))
    low = np.min([np.subtract(c, r) for c, r in spheres], axis=0)
    high = np.max([np.add(c, r) for c, r in spheres], axis=0)
    lines = covering_lines(voxel_size, low, high, bytes_per_voxel=4 * len(tissues) + 16)
    fractions, labels = _draw(lines, balls, len(tissues), outer if body else None)
    affine = np.diag([*voxel_edges(voxel_size).tolist(), 1.0])
    affine[:3, 3] = [line[0] for line in lines]
    regions = {_label(vial): vial.name for vial in vials}
    regions |= {b.label: f"fiducial-{b.label - 42:02d}" for b in balls if b.label > 42}
    return Phantom(
        name=f"nist-system-{lot}",
        tissues=tuple(t.name for t in tissues),
        fractions=fractions,
        affine=affine,
        table=TissueTable(curves={t.name: t for t in tissues}),
        labels=labels,
        regions=regions,
        truth=_truth(data, lot, vials),
        chi_outside=_AIR_CHI if body else 0.0,
    )


def _label(vial: Vial) -> int:
    return 14 * get_args(Array).index(vial.array) + vial.number


def _draw(
    lines: Sequence[NDArray[np.float64]], balls: Sequence[_Ball], tissues: int, outer: float | None
) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
    """Fractions (tissue, x, y, z), water last where there is any, and labels of the spheres."""
    shape = tuple(line.size for line in lines)
    fractions = np.zeros((tissues, *shape), np.float32)
    labels = np.zeros(shape, np.int16)
    for ball in balls:
        where, part = sphere_fractions(lines, ball.center, ball.radius)
        fractions[ball.tissue][where] += part
        labels[where][part > 0.5] = ball.label
    if outer is not None:
        where, part = sphere_fractions(lines, (0.0, 0.0, 0.0), outer)
        taken = fractions.sum(axis=0)
        fractions[-1][where] = part
        fractions[-1] = np.maximum(fractions[-1] - taken, 0.0)
    return fractions, labels


def _truth(data: Mapping[str, Any], lot: Lot, vials: Sequence[Vial]) -> dict[str, Any]:
    return {
        "phantom": "ISMRM/NIST system phantom",
        "serials": data["lot"][lot]["serials"],
        "temperature_c": 20.0,
        "vials": [
            {
                "name": vial.name,
                "array": vial.array,
                "number": vial.number,
                "center": list(vial.center),
                "radius": vial.radius,
                "b0": list(vial.tissue.b0),
                "t1": list(vial.tissue.t1),
                "t2": list(vial.tissue.t2),
                "pd": vial.tissue.pd,
            }
            for vial in vials
        ],
    }

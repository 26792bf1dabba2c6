"""The ISMRM/NIST system phantom: three arrays of 14 spheres and fiducials in a sphere of water.

Geometry and relaxation times with their sources are in ``data/nist_system_phantom.toml``; the phantom is
drawn at any resolution with the volume fractions of the true spheres. Left out: vial walls, plates, wedges,
the resolution inset, the susceptibility of the salts, and temperatures other than the tables' 20 degrees.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from .phantom import Phantom, PhantomError
from .spheres import sphere_fractions
from .tissues import TissueCurve, TissueTable

NIST_FILE = Path(__file__).parent / "data" / "nist_system_phantom.toml"
Lot = Literal["first", "second", "lending"]
Array = Literal["t1", "t2", "pd"]
Fill = Literal["water", "silent", "none"]

_SALTS = {"t1": "nicl2", "t2": "mncl2", "pd": "pd"}
_AIR_CHI = 9.4
"""Air relative to water [ppm]: 0.36 minus -9.05 (Schenck 1996, doi:10.1118/1.597854, not opened)."""


@dataclass(frozen=True, kw_only=True)
class Vial:
    """One sphere of the phantom.

    Attributes
    ----------
    name : str
        Tissue name, e.g. ``nicl2-03``.
    array : {'t1', 't2', 'pd'}
        Its array.
    number : int
        1 to 14, as printed on the phantom.
    center : tuple of float
        World RAS+ [m], origin at the phantom's centre.
    radius : float
        Radius [m].
    tissue : TissueCurve
        Relaxation times by field strength.
    """

    name: str
    array: Array
    number: int
    center: tuple[float, float, float]
    radius: float
    tissue: TissueCurve


@cache
def _tables() -> dict[str, Any]:
    return tomllib.loads(NIST_FILE.read_text(encoding="utf-8"))


def _ras(x: float, y: float, z: float) -> tuple[float, float, float]:
    """Millimetres left, posterior, superior of the source to RAS+ metres."""
    return -1e-3 * x, -1e-3 * y, 1e-3 * z


def nist_vials(array: Array, *, lot: Lot = "first") -> tuple[Vial, ...]:
    """Return the 14 spheres of one array.

    Parameters
    ----------
    array : {'t1', 't2', 'pd'}
        NiCl2, MnCl2 or proton-density array.
    lot : {'first', 'second', 'lending'}
        Serial numbers 130-0001 to 0041, from 130-0042 (table not opened at its source), or the lending
        library's units 130-0133 and 0134, tabulated at 3 T only: they keep those values at any field.

    Returns
    -------
    tuple of Vial
        In the phantom's numbering: 1 to 10 on the ring, starting at the top, 11 to 14 inside.
    """
    if array not in get_args(Array) or lot not in get_args(Lot):
        raise PhantomError(
            f"array must be one of {get_args(Array)} and lot one of {get_args(Lot)}; got {array!r}, {lot!r}."
        )
    data = _tables()
    shape = data["geometry"]
    ring, square, y = shape["ring_radius"], shape["inner_square"], shape["plane_y"][array]
    turns = [2.0 * math.pi * k / 10.0 for k in range(10)]
    places = [(ring * math.sin(t), y, ring * math.cos(t)) for t in turns]
    places += [(i * square, y, k * square) for i, k in ((-1, 1), (1, 1), (1, -1), (-1, -1))]
    return tuple(
        Vial(
            name=f"{_SALTS[array]}-{n + 1:02d}",
            array=array,
            number=n + 1,
            center=_ras(*places[n]),
            radius=0.5e-3 * shape["vial_diameter"],
            tissue=_vial_tissue(data, array, lot, n),
        )
        for n in range(14)
    )


def _vial_tissue(data: Mapping[str, Any], array: Array, lot: Lot, n: int) -> TissueCurve:
    name = f"{_SALTS[array]}-{n + 1:02d}"
    if array == "pd":
        water, pd = data["water"], data["pd"]
        note = {"pd": pd["source"], "t1": pd["relaxation_source"], "t2": pd["relaxation_source"]}
        density = 0.01 * pd["percent"][n]
        return _liquid(
            name, ([3.0], [1.0 / water["r1"]], [1.0 / water["r2"]]), note, verified=False, pd=density
        )
    table = data["lot"][lot][array]
    columns = [[1e-3 * row[n] for row in table[key]] for key in ("t1_ms", "t2_ms")]
    source = f"{data['lot'][lot]['serials']}, 20 degrees: {data['lot'][lot]['source']}"
    note = {"t1": source, "t2": source}
    return _liquid(name, (table["b0"], *columns), note, verified=data["lot"][lot]["verified"])


def _liquid(
    name: str,
    table: tuple[Sequence[float], Sequence[float], Sequence[float]],
    sources: dict[str, str],
    *,
    verified: bool,
    pd: float = 1.0,
) -> TissueCurve:
    """Aqueous solution from its fields [T], T1 and T2 [s]: no T2', no shift, diffusion of water."""
    b0, t1, t2 = (tuple(float(v) for v in row) for row in table)
    diffusion = _tables()["diffusion"]
    return TissueCurve(
        name=name,
        b0=b0,
        t1=t1,
        t2=t2,
        t2_prime=(math.inf,) * len(b0),
        pd=pd,
        adc=1e-9 * diffusion["adc_um2_ms"],
        sources={**sources, "adc": diffusion["source"]},
        verified=(verified,) * len(b0),
    )


def nist_fiducials() -> tuple[tuple[float, float, float], ...]:
    """Return the centres of the 56 fiducial spheres of a commercial unit, world RAS+ [m].

    The grid has 57 places; number 55 in the source's order, beside the fill port, is left out.
    """
    shape = _tables()["geometry"]
    spacing, reach = shape["fiducial_spacing"], shape["fiducial_reach"]
    steps = range(-2, 3)
    grid = [
        _ras(i * spacing, -j * spacing, k * spacing)
        for j in steps
        for k in steps
        for i in steps
        if spacing * math.sqrt(i * i + j * j + k * k) < reach
    ]
    del grid[shape["fiducial_missing"] - 1]
    return tuple(grid)


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
    size = np.broadcast_to(np.asarray(voxel_size, float), 3)
    if not (np.isfinite(size).all() and (size > 0).all() and size.max() <= 0.02):
        raise PhantomError(f"voxel_size must be positive and at most 0.02 m; got {voxel_size}. Give metres.")
    data = _tables()
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
        tissues.append(_fiducial(data["fiducial"]))
    outer = 1e-3 * data["geometry"]["radius"]
    body = fill != "none"
    spheres = [(b.center, b.radius) for b in balls]
    if body:
        tissues.append(_water(data["water"], 1.0 if fill == "water" else 0.0))
        spheres.append(((0.0, 0.0, 0.0), outer))
    lines = _lines(size, spheres)
    fractions, labels = _draw(lines, balls, len(tissues), outer if body else None)
    affine = np.diag([*size.tolist(), 1.0])
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


def _water(entry: Mapping[str, Any], density: float) -> TissueCurve:
    source = {"t1": entry["source"], "t2": entry["source"]}
    table = ([3.0], [1.0 / entry["r1"]], [1.0 / entry["r2"]])
    return _liquid("water", table, source, verified=bool(entry["verified"]), pd=density)


def _fiducial(entry: Mapping[str, Any]) -> TissueCurve:
    source = {"t1": entry["source"], "t2": entry["source"]}
    table = ([3.0], [1e-3 * entry["t1_ms"]], [1e-3 * entry["t2_ms"]])
    return _liquid("fiducial", table, source, verified=bool(entry["verified"]))


def _lines(
    size: NDArray[np.float64], spheres: Sequence[tuple[tuple[float, float, float], float]]
) -> list[NDArray[np.float64]]:
    """Voxel centres per axis that cover all spheres with a voxel to spare."""
    low = np.min([np.subtract(c, r) for c, r in spheres], axis=0)
    high = np.max([np.add(c, r) for c, r in spheres], axis=0)
    count = np.ceil((high - low) / size - 1e-9).astype(int) + 2
    middle = 0.5 * (low + high)
    return [
        m + s * (np.arange(n) - 0.5 * (n - 1)) for m, s, n in zip(middle, size, count.tolist(), strict=True)
    ]


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

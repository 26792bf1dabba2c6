"""What the ISMRM/NIST system phantom holds: three arrays of 14 vials, and fiducials.

Geometry and relaxation times with their sources are in ``data/nist_system_phantom.toml``. Left out: vial
walls, plates, wedges, the resolution inset, the susceptibility of the salts, and temperatures other than the
tables' 20 degrees.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from ..phantom import PhantomError
from ..tissues import TissueCurve
from .body_phantom import liquid

NIST_FILE = Path(__file__).parents[1] / "data" / "nist_system_phantom.toml"
Lot = Literal["first", "second", "lending"]
Array = Literal["t1", "t2", "pd"]

_SALTS = {"t1": "nicl2", "t2": "mncl2", "pd": "pd"}


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
def nist_tables() -> dict[str, Any]:
    """Return geometry, relaxation times and their sources as the packaged file has them."""
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
    data = nist_tables()
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
    diffusion = nist_tables()["diffusion"]
    adc, sources = 1e-9 * diffusion["adc_um2_ms"], {**sources, "adc": diffusion["source"]}
    return liquid(name, *table, sources=sources, verified=verified, pd=pd, adc=adc)


def nist_fiducials() -> tuple[tuple[float, float, float], ...]:
    """Return the centres of the 56 fiducial spheres of a commercial unit, world RAS+ [m].

    The grid has 57 places; number 55 in the source's order, beside the fill port, is left out.
    """
    shape = nist_tables()["geometry"]
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


def nist_water(density: float = 1.0) -> TissueCurve:
    """Return the water that fills the phantom, of a given proton density."""
    entry = nist_tables()["water"]
    source = {"t1": entry["source"], "t2": entry["source"]}
    table = ([3.0], [1.0 / entry["r1"]], [1.0 / entry["r2"]])
    return _liquid("water", table, source, verified=bool(entry["verified"]), pd=density)


def nist_fiducial_liquid() -> TissueCurve:
    """Return what fills the fiducial spheres."""
    entry = nist_tables()["fiducial"]
    source = {"t1": entry["source"], "t2": entry["source"]}
    table = ([3.0], [1e-3 * entry["t1_ms"]], [1e-3 * entry["t2_ms"]])
    return _liquid("fiducial", table, source, verified=bool(entry["verified"]))

"""The Shepp-Logan head with MR values of Gach 2008: tissues whose T1 follows the field."""

from __future__ import annotations

import math

from ..phantom import Phantom, PhantomError
from ..tissues import TissueCurve, TissueTable
from .bodies import Body, EllipsoidBody, Vector
from .body_phantom import BodyPhantom

_SOURCE = "Gach, Tanase & Boada 2008 (ICSENG), as in phantominator"
# tissue, host, centre x y z, half axes a b c, angle about z [degrees], unit cube -1..1
_ELLIPSOIDS = (
    ("scalp", "", (0, 0, 0), (0.72, 0.95, 0.93), 0),
    ("marrow", "1", (0, 0, 0), (0.69, 0.92, 0.9), 0),
    ("csf", "2", (0, -0.0184, 0), (0.6624, 0.874, 0.88), 0),
    ("gm", "3", (0, -0.0184, 0), (0.6524, 0.864, 0.87), 0),
    ("csf", "4", (-0.22, 0, -0.25), (0.41, 0.16, 0.21), -72),
    ("csf", "4", (0.22, 0, -0.25), (0.31, 0.11, 0.22), 72),
    ("wm", "4", (0, 0.35, -0.25), (0.21, 0.25, 0.35), 0),
    ("clot", "4", (0, 0.1, -0.25), (0.046, 0.046, 0.046), 0),
    ("clot", "4", (-0.08, -0.605, -0.25), (0.046, 0.023, 0.02), 0),
    ("clot", "4", (0.06, -0.605, -0.25), (0.046, 0.023, 0.02), -90),
    ("clot", "4", (0, -0.1, -0.25), (0.046, 0.046, 0.046), 0),
    ("clot", "4", (0, -0.605, -0.25), (0.023, 0.023, 0.023), 0),
    ("tumour", "4", (0.06, -0.105, 0.0625), (0.056, 0.04, 0.1), -90),
    ("csf", "4", (0, 0.1, 0.625), (0.056, 0.056, 0.1), 0),
)
# tissue: T1 = a B0^c [s], T2 [s], proton density, susceptibility [ppm]
_TISSUES = {
    "scalp": (0.324, 0.137, 0.07, 0.8, -7.5),
    "marrow": (0.533, 0.088, 0.05, 0.12, -8.85),
    "csf": (4.2, 0.0, 1.99, 0.98, -9.0),
    "gm": (0.857, 0.376, 0.1, 0.745, -9.0),
    "wm": (0.583, 0.382, 0.08, 0.617, -9.0),
    "clot": (1.35, 0.34, 0.2, 0.95, -9.0),
    "tumour": (0.926, 0.217, 0.1, 0.93, -9.0),
}
_WATER_CHI = -9.05
_FIELDS = (0.055, 0.55, 1.5, 3.0, 7.0)
_CITED = (1.5, 3.0, 7.0)
"""Fields for which the laws were made; below, they are an extrapolation."""


def _curve(name: str) -> TissueCurve:
    factor, power, t2, pd, chi = _TISSUES[name]
    t1 = tuple(factor * b**power for b in _FIELDS)
    note = f"{_SOURCE}: T1 = {factor} B0^{power} s"
    return TissueCurve(
        name=name,
        b0=_FIELDS,
        t1=t1,
        # The source gives one T2 for all fields; at low field T1 bounds it.
        t2=tuple(min(t2, v) for v in t1),
        t2_prime=(math.inf,) * len(_FIELDS),
        pd=pd,
        chi=round(chi - _WATER_CHI, 6),
        sources={"t1": note, "t2": _SOURCE, "pd": _SOURCE, "chi": f"{_SOURCE}, relative to water"},
        verified=tuple(b in _CITED for b in _FIELDS),
    )


def gach_bodies(fov: float = 0.2) -> BodyPhantom:
    """Return the fourteen ellipsoids with closed-form k-space; the unit cube -1..1 spans `fov` [m].

    Each ellipsoid replaces the grey matter (or shell) that holds it. In the source a few of them overlap, by
    0.74 mL in all at 0.2 m; there the closed form adds both and takes the grey matter twice, while voxels are
    shared.
    """
    if not (math.isfinite(fov) and fov > 0):
        raise PhantomError(f"fov must be a positive length in metres; got {fov}.")
    h = 0.5 * fov
    bodies: list[Body] = []
    for n, (tissue, host, center, axes, angle) in enumerate(_ELLIPSOIDS):
        x, y, z = (h * v for v in center)
        a, b, c = (h * v for v in axes)
        bodies.append(
            EllipsoidBody(
                tissue=tissue,
                center=(x, y, z),
                axes=(a, b, c),
                turns=(0.0, 0.0, math.radians(angle)),
                host=host,
                name=str(n + 1),
            )
        )
    table = TissueTable(curves={name: _curve(name) for name in _TISSUES})
    return BodyPhantom(name="gach", bodies=tuple(bodies), table=table, truth={"phantom": _SOURCE})


def gach_phantom(voxel_size: float | Vector = 2e-3, fov: float = 0.2) -> Phantom:
    """Return the Shepp-Logan head with MR values.

    Parameters
    ----------
    voxel_size : float or tuple of float
        Voxel size [m].
    fov : float
        Length of the unit cube's side [m].

    Returns
    -------
    Phantom
        Seven tissues; labels number the ellipsoids 1 to 14.
    """
    return gach_bodies(fov).phantom(voxel_size, overlaps=True)

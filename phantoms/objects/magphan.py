"""The ADNI phantom (Magphan EMR051): 165 spheres in a sphere of water, a phantom of geometry and contrast."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from ..phantom import Phantom
from ..tissues import TissueTable
from .bodies import Body, Vector, ball
from .body_phantom import BodyPhantom, liquid

MAGPHAN_FILE = Path(__file__).parents[1] / "data" / "magphan_emr051.toml"


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(MAGPHAN_FILE.read_text(encoding="utf-8"))


def magphan_bodies() -> BodyPhantom:
    """Return the spheres with their closed-form k-space; names are those of the table.

    Tissues are ``water`` and one solution per T1 (``copper-282`` ...); T1 and T2 hold at any field, because
    the table names none. Walls and posts are left out.
    """
    data = _table()
    water, copper = data["water"], data["copper"]
    fill = liquid(
        "water", [3.0], [1e-3 * water["t1_ms"]], [1e-3 * water["t2_ms"]],
        sources={"t1": water["source"], "t2": water["source"]}, verified=False,
    )  # fmt: skip
    curves = {"water": fill}
    bodies: list[Body] = [ball("water", (0.0, 0.0, 0.0), 1e-3 * water["radius"], name="body")]
    for name, diameter, x, y, z, _, t1 in data["spheres"]:
        tissue = f"copper-{t1:.0f}"
        if tissue not in curves:
            note = {"t1": data["source"], "t2": copper["source"]}
            t2 = 1e-3 * t1 * copper["t2_over_t1"]
            curves[tissue] = liquid(tissue, [3.0], [1e-3 * t1], [t2], sources=note, verified=False)
        bodies.append(ball(tissue, (1e-3 * x, 1e-3 * y, 1e-3 * z), 0.5e-3 * diameter, host="body", name=name))
    spheres = [
        {
            "name": n,
            "diameter": 1e-3 * d,
            "center": [1e-3 * x, 1e-3 * y, 1e-3 * z],
            "cuso4_g_l": c,
            "t1": 1e-3 * t,
        }
        for n, d, x, y, z, c, t in data["spheres"]
    ]
    return BodyPhantom(
        name="magphan",
        bodies=tuple(bodies),
        table=TissueTable(curves=curves),
        truth={"phantom": "Magphan EMR051 (ADNI)", "spheres": spheres},
    )


def magphan_phantom(voxel_size: float | Vector = 2e-3) -> Phantom:
    """Return the ADNI phantom with 165 spheres of diameters 10, 15, 30 and 60 mm.

    Parameters
    ----------
    voxel_size : float or tuple of float
        Voxel size [m].

    Returns
    -------
    Phantom
        Labels number the body 1 and the spheres from 2; `truth` lists the spheres.
    """
    return magphan_bodies().phantom(voxel_size)

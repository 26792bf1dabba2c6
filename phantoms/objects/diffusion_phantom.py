"""The NIST/RSNA diffusion phantom: 13 vials of PVP solutions with known diffusion coefficients."""

from __future__ import annotations

import math
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from ..phantom import Phantom, PhantomError
from ..tissues import TissueCurve, TissueTable
from .bodies import Body, Cylinder, Vector, ball
from .body_phantom import BodyPhantom, liquid

DIFFUSION_FILE = Path(__file__).parents[1] / "data" / "nist_diffusion_phantom.toml"
_ZERO_CELSIUS = 273.15


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads(DIFFUSION_FILE.read_text(encoding="utf-8"))


def water_diffusion(temperature_c: float) -> float:
    """Return the self-diffusion coefficient of water [m^2/s] at a temperature [degrees Celsius].

    D = 1.635e-8 (T/215.05 K - 1)^2.063 m^2/s (Holz 2000), for 0 to 100 degrees.
    """
    if not 0.0 <= temperature_c <= 100.0:
        raise PhantomError(f"temperature_c must be 0 to 100 degrees, liquid water; got {temperature_c}.")
    law = _data()["water"]
    ratio = (temperature_c + _ZERO_CELSIUS) / law["t0"] - 1.0
    return float(law["d0"] * ratio ** law["exponent"])


def _solution(percent: int, adc: float, temperature_c: float) -> TissueCurve:
    data = _data()
    table, pvp = data["relaxation"], data["pvp"]
    k = table["percent"].index(percent)
    factor = water_diffusion(temperature_c) / water_diffusion(pvp["temperature_c"])
    sources = {
        "t1": table["source"],
        "t2": table["source"],
        "adc": f"{pvp['source']}; {data['water']['source']}",
    }
    times = ([1e-3 * table["t1_ms"][k]], [1e-3 * table["t2_ms"][k]])
    # The polymer takes the place of water.
    density = 1.0 - 0.01 * percent
    return liquid(
        f"pvp-{percent:02d}",
        [3.0],
        *times,
        sources=sources,
        verified=False,
        adc=1e-9 * adc * factor,
        pd=density,
    )


def nist_diffusion_bodies(temperature_c: float = 0.0) -> BodyPhantom:
    """Return the vials in their bath, with closed-form k-space.

    Parameters
    ----------
    temperature_c : float
        Temperature [degrees Celsius]. The table holds at 0; other temperatures scale with water, which leaves
        up to 0.035e-9 m^2/s (Amouzandeh 2022). Relaxation times are choices and keep their values.
    """
    data = _data()
    shape, pvp = data["geometry"], data["pvp"]
    curves: dict[str, TissueCurve] = {}
    bodies: list[Body] = [ball("pvp-00", (0.0, 0.0, 0.0), 1e-3 * shape["radius"], name="bath")]
    vials = []
    for n, ((x, z), percent, adc) in enumerate(
        zip(shape["centers"], pvp["percent"], pvp["adc_um2_ms"], strict=True)
    ):
        tissue = _solution(percent, adc, temperature_c)
        curves[tissue.name] = tissue
        center = (-1e-3 * x, 0.0, 1e-3 * z)
        name = f"vial-{n + 1:02d}"
        vials.append({"name": name, "pvp_percent": percent, "center": list(center), "adc": tissue.adc})
        bodies.append(
            Cylinder(
                tissue=tissue.name,
                center=center,
                turns=(0.5 * math.pi, 0.0, 0.0),
                radius=0.5e-3 * shape["vial_diameter"],
                length=1e-3 * shape["vial_length"],
                host="bath",
                name=name,
            )
        )
    return BodyPhantom(
        name="nist-diffusion",
        bodies=tuple(bodies),
        table=TissueTable(curves=curves),
        truth={"phantom": "NIST/RSNA diffusion phantom", "temperature_c": temperature_c, "vials": vials},
    )


def nist_diffusion_phantom(voxel_size: float | Vector = 2e-3, temperature_c: float = 0.0) -> Phantom:
    """Return the NIST/RSNA diffusion phantom.

    Parameters
    ----------
    voxel_size : float or tuple of float
        Voxel size [m].
    temperature_c : float
        Temperature [degrees Celsius]; see `nist_diffusion_bodies`.

    Returns
    -------
    Phantom
        Tissues ``pvp-00`` (also the bath) to ``pvp-50``; labels number the bath 1 and the vials 2 to 14;
        `truth` lists the vials with their diffusion coefficients.
    """
    return nist_diffusion_bodies(temperature_c).phantom(voxel_size)

"""Deep nuclei of the head builds.

Shapes and centres are modelling choices (no permissive atlas exists); the edges follow the template's maps
and the volumes are those asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ._build_brain import T1_CSF, Template, at_volume
from ._shapes import Array, ellipsoid, tube

NUCLEI = ("caudate", "putamen", "pallidum", "thalamus", "accumbens", "amygdala", "hippocampus")
"""Forebrain nuclei in the order in which they take their room."""
SMALL = ("red_nucleus", "substantia_nigra", "dentate")
"""Nuclei inside brainstem and cerebellum."""
_CAUDATE = [
    (10, 16, -4, 6.5), (13, 15, 6, 6.5), (14, 8, 13, 5), (16, -4, 19, 3.5), (18, -16, 21, 2.6),
    (22, -28, 19, 2.0), (26, -35, 12, 1.6),
]  # fmt: skip
_HIPPOCAMPUS = [
    (24, -11, -22, 5.5),
    (27, -16, -20, 5.5),
    (30, -24, -15, 5),
    (29, -31, -9, 4.5),
    (25, -37, -3, 3.5),
]


def _points(rows: Sequence[tuple[float, float, float, float]]) -> NDArray[np.float64]:
    return np.array(rows, float)


def nuclei(t: Template, blocked: Array, targets: Mapping[str, float]) -> dict[str, Array]:
    """Paint the forebrain nuclei (both sides).

    Parameters
    ----------
    t : Template
        Maps.
    blocked : ndarray
        Fraction that is taken already.
    targets : dict
        Volume per nucleus [mm^3], both sides together.
    """
    allowed = np.asarray((1.0 - blocked) * t.mask, np.float32)
    allowed *= 1.0 - np.clip((120.0 - t.t1) / (120.0 - T1_CSF), 0.0, 1.0)
    out: dict[str, Array] = {}
    scores = _scores(t)
    for name in NUCLEI:
        score = np.asarray(ndimage.gaussian_filter(scores[name], 0.7), np.float32)
        out[name] = at_volume(score, allowed, targets[name])
        allowed = np.maximum(allowed - out[name], 0.0)
    return out


def _scores(t: Template) -> dict[str, Array]:
    """Distances [mm] to the nuclei's guiding shapes, larger where the maps speak against the nucleus."""
    t1, ax = t.t1, np.abs(t.x)
    not_gm = np.asarray(1.0 - t.gm, np.float32)
    bright = np.clip((t1 - 192.0) / 12.0, 0.0, 1.5)
    dark = np.clip((165.0 - t1) / 20.0, 0.0, 2.0)
    tilt = 0.22 * (t.y - 2.0)  # the putamen's plane opens backwards
    putamen = np.sqrt(((ax - 26.0 + tilt) / 6.0) ** 2 + ((t.y - 2.0) / 17.0) ** 2 + ((t.z - 1.0) / 12.5) ** 2)
    pallidum = np.sqrt(
        ((ax - 19.5 + 0.35 * (t.y + 4)) / 4.2) ** 2 + ((t.y + 4.0) / 10.0) ** 2 + ((t.z + 0.5) / 7.0) ** 2
    )
    return {
        "caudate": tube(t, _points(_CAUDATE)) + 6.0 * not_gm + 4.0 * dark,
        "thalamus": ellipsoid(t, (11, -19, 7), (11.5, 16, 10.5)) + 3.0 * bright + 6.0 * dark,
        "putamen": np.asarray((putamen - 1.0) * 6.0 + 5.0 * np.clip((t1 - 194.0) / 10.0, 0, 1.2), np.float32),
        "pallidum": np.asarray((pallidum - 1.0) * 4.2, np.float32),
        "accumbens": ellipsoid(t, (10, 11, -7), (4.5, 5.5, 4.0)) + 3.0 * not_gm + 3.0 * dark,
        "hippocampus": tube(t, _points(_HIPPOCAMPUS))
        + 4.0 * not_gm
        + 4.0 * np.clip((120.0 - t1) / 20.0, 0, 2),
        "amygdala": ellipsoid(t, (23, -4, -19), (8, 8, 8)) + 4.0 * not_gm,
    }


def small_nuclei(t: Template, hosts: Mapping[str, Array], targets: Mapping[str, float]) -> dict[str, Array]:
    """Paint red nucleus, substantia nigra (inside the brainstem) and dentate (inside the cerebellum).

    Parameters
    ----------
    t : Template
        Maps.
    hosts : dict
        Fraction of "brainstem" and "cerebellum" that each nucleus may take.
    targets : dict
        Volume per nucleus [mm^3], both sides together.
    """
    ax = np.abs(t.x)
    # The nigra is an oblique plate between the peduncle and the red nucleus: along u, thin along v.
    u = 0.78 * (ax - 9.0) - 0.62 * (t.y + 17.0)
    v = 0.62 * (ax - 9.0) + 0.78 * (t.y + 17.0)
    nigra = np.sqrt((u / 7.0) ** 2 + (v / 2.2) ** 2 + ((t.z + 12.0 - 0.25 * v) / 4.5) ** 2)
    # The dentate is a crumpled sheet that opens towards the fourth ventricle.
    bag = ellipsoid(t, (15, -57, -34), (6.5, 9.5, 6.0))
    sheet = np.abs(bag + 0.8 * np.sin(1.1 * (t.y + 57.0)) * np.sin(1.0 * (t.z + 34.0))) - 1.0
    scores = {
        "red_nucleus": ellipsoid(t, (5, -20, -9), (3.4, 3.6, 4.4)),
        "substantia_nigra": np.asarray((nigra - 1.0) * 2.2, np.float32),
        "dentate": np.maximum(np.asarray(sheet, np.float32), 10.0 - ax),
    }
    host = {"red_nucleus": "brainstem", "substantia_nigra": "brainstem", "dentate": "cerebellum"}
    room = {k: np.asarray(f, np.float32).copy() for k, f in hosts.items()}
    out: dict[str, Array] = {}
    for name in SMALL:
        out[name] = at_volume(scores[name], room[host[name]], targets[name])
        room[host[name]] -= out[name]
    return out

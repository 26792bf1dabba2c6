"""Large intracranial vessels of the head builds.

Sinuses run along the inner table and the tentorium; arteries follow the cheapest way through the fluid
between way points. Way points, calibres and courses are modelling choices after the usual anatomy.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from ._shapes import Array, Grid, soft

Point = tuple[float, float, float]
_ARTERIES: tuple[tuple[float, tuple[Point, ...]], ...] = (
    (2.1, ((13, 4, -32), (13, 6, -24), (12, 4, -17))),  # internal carotid
    (1.4, ((12, 4, -17), (22, 4, -17), (33, 6, -12))),  # middle cerebral, first part
    (1.1, ((33, 6, -12), (40, 2, 0), (40, -12, 8), (44, -26, 14))),  # over the insula
    (1.0, ((33, 6, -12), (38, 14, -2), (40, 18, 10))),
    (1.1, ((12, 4, -17), (4, 10, -15), (2, 20, -12), (2, 34, 0), (2, 32, 16))),  # anterior cerebral
    (0.9, ((2, 32, 16), (2, 14, 28), (2, -8, 33), (2, -26, 28))),  # over the corpus callosum
    (1.1, ((2, -16, -17), (12, -18, -17), (20, -26, -11), (20, -40, -4), (16, -56, 2))),  # posterior cerebral
    (1.4, ((3, -30, -46), (8, -36, -58), (12, -40, -66))),  # vertebral
)
"""Radius [mm] and way points of the paired arteries, right side."""
_BASILAR = (1.6, ((0.0, -16.0, -18.0), (0.0, -18.0, -28.0), (0.0, -24.0, -40.0), (0.0, -30.0, -47.0)))
_TRANSVERSE = ((4, -96, -12), (34, -88, -17), (54, -66, -22), (56, -48, -32), (46, -42, -48), (32, -38, -58))


def vessels(t: Grid, icv: Array, fluid: Array | None) -> dict[str, Array]:
    """Return the fractions of arterial and venous blood inside the skull.

    Parameters
    ----------
    t : Grid
        Grid.
    icv : ndarray
        Signed distance [mm] to the inner table.
    fluid : ndarray or None
        Fraction of subarachnoid fluid on a 1 mm grid, which arteries seek; None: straight between way points.
    """
    inside = soft(icv, t.width)
    arteries = np.full(t.x.shape, np.inf, np.float32)
    _add_tube(t, arteries, _course(t, fluid, _BASILAR[1]), _BASILAR[0])
    for radius, points in _ARTERIES:
        right = _course(t, fluid, points)
        left = _course(t, fluid, [(-x, y, z) for x, y, z in points])
        for course in (right, left):
            _add_tube(t, arteries, course, radius)
    veins = _sinuses(t, icv)
    blood = soft(arteries, t.width) * inside
    return {"arterial_blood": blood, "venous_blood": np.minimum(soft(veins, t.width) * inside, 1.0 - blood)}


def _sinuses(t: Grid, icv: Array) -> Array:
    """Signed distance [mm] to the dural sinuses and the great vein."""
    ax, depth = np.abs(t.x), -icv
    # Superior sagittal: a wedge under the inner table, wider towards the back.
    half = np.interp(t.y, [-95, -40, 65], [4.0, 3.2, 1.2]).astype(np.float32)
    wedge = np.maximum(ax - half * (1.0 - depth / (2.2 * half)), 0.4 - depth)
    top = np.maximum(
        wedge, -(t.z - np.interp(t.y, [-110, -70, 40, 80], [-14, -14, 10, 25]).astype(np.float32))
    )
    out = np.maximum(top, t.y - 62.0)
    # Transverse and sigmoid: a ribbon that hugs the inner table.
    guide = np.full(t.x.shape, np.inf, np.float32)
    for side in (1.0, -1.0):
        _add_tube(t, guide, np.array([(side * x, y, z) for x, y, z in _TRANSVERSE], float), 0.0, reach=16.0)
    band = np.abs(depth - 2.6) - 2.2
    out = np.minimum(out, np.maximum(band, guide - 4.5 - 6.0 * np.clip(band, 0, 0)))
    straight = np.full(t.x.shape, np.inf, np.float32)
    _add_tube(t, straight, np.array([(0, -44, 6), (0, -66, 0), (0, -94, -10)], float), 1.8)
    _add_tube(t, straight, np.array([(0, -44, 6), (0, -38, 10), (1, -24, 13)], float), 1.0)
    return np.asarray(np.minimum(out, straight), np.float32)


def _add_tube(t: Grid, best: Array, points: NDArray[np.float64], radius: float, reach: float = 4.0) -> None:
    """Lower `best` [mm] to the distance from a tube along points (n, 3), near the tube only."""
    origin, step = t.origin, np.asarray(t.step)
    for p, q in pairwise(points):
        low = np.floor((np.minimum(p, q) - origin - radius - reach) / step).astype(int).clip(0)
        high = np.ceil((np.maximum(p, q) - origin + radius + reach) / step).astype(int) + 1
        box = tuple(slice(a, b) for a, b in zip(low.tolist(), high.clip(0).tolist(), strict=True))
        d = q - p
        offset = (t.x[box] - p[0], t.y[box] - p[1], t.z[box] - p[2])
        u = sum(o * c for o, c in zip(offset, d, strict=True)) / max(float(d @ d), 1e-9)
        u = np.clip(u, 0.0, 1.0)
        r = np.sqrt(sum((o - u * c) ** 2 for o, c in zip(offset, d, strict=True)))
        best[box] = np.minimum(best[box], r - radius)


def _course(t: Grid, fluid: Array | None, points: Sequence[Point]) -> NDArray[np.float64]:
    """Cheapest way through the fluid past way points, smoothed, as (n, 3) [mm]."""
    if fluid is None:
        return np.array(points, float)
    parts = [_leg(t, fluid, np.array(a, float), np.array(b, float)) for a, b in pairwise(points)]
    way = np.concatenate(parts)
    ends = way[[0, -1]].copy()
    way = ndimage.gaussian_filter1d(way, 2.0, axis=0, mode="nearest")
    way[[0, -1]] = ends
    return np.asarray(way[:: max(1, len(way) // 40)] if len(way) > 80 else way, float)


def _leg(t: Grid, fluid: Array, start: NDArray[np.float64], stop: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shortest path on the voxel grid, with a step's price falling with the fluid it passes."""
    origin = t.origin
    low = np.floor(np.minimum(start, stop) - origin - 7).astype(int).clip(0)
    high = np.minimum(np.ceil(np.maximum(start, stop) - origin + 8).astype(int), t.x.shape)
    part = fluid[tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))]
    price = 1.0 / (0.04 + ndimage.gaussian_filter(part, 0.7))
    index = np.arange(part.size).reshape(part.shape)
    rows, columns, costs = [], [], []
    steps = [
        (1, 0, 0),
        (0, 1, 0),
        (0, 0, 1),
        (1, 1, 0),
        (1, -1, 0),
        (1, 0, 1),
        (1, 0, -1),
        (0, 1, 1),
        (0, 1, -1),
    ]
    for step in steps:
        a = tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(step, part.shape, strict=True))
        b = tuple(slice(max(0, s), n - max(0, -s)) for s, n in zip(step, part.shape, strict=True))
        rows.append(index[a].ravel())
        columns.append(index[b].ravel())
        costs.append((0.5 * np.linalg.norm(step) * (price[a] + price[b])).ravel())
    graph = sparse.csr_array(
        (np.concatenate(costs), (np.concatenate(rows), np.concatenate(columns))), (part.size, part.size)
    )
    at = [index[tuple(np.rint(p - origin).astype(int) - low)] for p in (start, stop)]
    _, back = sparse.csgraph.dijkstra(graph, directed=False, indices=at[0], return_predecessors=True)
    chain = [at[1]]
    while chain[-1] != at[0]:
        chain.append(back[chain[-1]])
    way = np.stack(np.unravel_index(chain[::-1], part.shape), axis=1)
    return np.asarray(way + low + origin, float)

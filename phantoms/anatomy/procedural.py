"""A head made of formulas only: no data, no licence, seconds; for tests and for teaching.

The cerebral cortex is a ribbon of known thickness folded around sulci, sheets that meander where a random
field on the hull crosses zero. Everything else are the shapes that the packaged heads use, too.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..phantom import Phantom, PhantomError
from ._build_head import with_shells
from ._shapes import Array, Filling, Grid, ellipsoid, smooth_union, soft, tube
from ._shells import shells, smooth_field
from ._vessels import vessels
from .head import REGIONS, intracranial_volume, left_of, region_labels, region_volumes

SCALE = 0.95
"""Head millimetres per millimetre of the stereotactic space in which the shapes are given."""
THICKNESS = 2.6
"""Thickness of the cortex [mm]."""
FOLIUM = 1.5
"""Thickness of the cerebellar cortex [mm]."""
SULCUS_DEPTH, SULCUS_GAP, SULCUS_SPACING = 15.0, 0.7, 14.0
"""Depth and half width of sulci and the distance between them [mm]."""
LOWER, UPPER = (-92.0, -128.0, -112.0), (92.0, 118.0, 100.0)
"""Extent of the head [mm of stereotactic space]."""
_WAVES = 48
_DRAWN = 0.6
"""How far sulci stand along the radius: 1 straight, 0 anyhow."""
_LATERAL = (
    (6, 30, 0, 4.5), (8, 20, 10, 5), (10, 5, 18, 4.5), (12, -12, 22, 4.5), (18, -30, 19, 6), (24, -42, 8, 6),
    (26, -56, 7, 3.5), (26, -68, 7, 2),
)  # fmt: skip
_TEMPORAL_HORN = ((25, -42, 4, 5), (33, -30, -9, 2.5), (33, -16, -18, 2))
_CAUDATE = (
    (12, 17, -4, 6.3), (14, 15, 6, 6.3), (15, 8, 13, 5.2), (18, -6, 19, 3.7), (21, -18, 20, 2.8),
    (26, -32, 14, 2.0),
)  # fmt: skip
_HIPPOCAMPUS = ((24, -11, -21, 7), (28, -18, -18, 7), (31, -27, -12, 6), (28, -35, -5, 5))
_CALLOSUM = ((0, 28, -3, 4), (0, 34, 5, 4), (0, 24, 20, 4), (0, 0, 27, 4), (0, -24, 25, 4), (0, -38, 14, 5))


def procedural_head(
    voxel_size: float | tuple[float, float, float] = 2e-3, *, seed: int = 0, folding: float = 1.0
) -> Phantom:
    """Return a head with all tissues of the packaged ones, made of formulas.

    Parameters
    ----------
    voxel_size : float or tuple of float
        Voxel edge lengths [m], 0.5 to 20 mm.
    seed : int
        Seed of the folds and of the thickness of skull and scalp.
    folding : float
        Depth of the sulci relative to an adult's, 0 (smooth) to 1.5.

    Returns
    -------
    Phantom
        26 tissues with region labels, the origin near the anterior commissure; `truth` has the volumes [mL],
        the cortical thickness [mm] and the seed.
    """
    size = np.broadcast_to(np.asarray(voxel_size, float), 3)
    if not (np.isfinite(size).all() and (size >= 5e-4).all() and (size <= 2e-2).all()):
        raise PhantomError(f"voxel_size must be in metres, 0.5 mm to 20 mm; got {voxel_size}. 1 mm is 1e-3.")
    if seed < 0:
        raise PhantomError(f"seed must be 0 or more; got {seed}.")
    if not 0.0 <= folding <= 1.5:
        raise PhantomError(f"folding must be 0 to 1.5 times an adult's; got {folding}.")
    grid, affine = _grid(size)
    fold_rng, shell_rng = (np.random.default_rng([seed, k]) for k in (1, 2))
    parts = _paint(grid, fold_rng, shell_rng, folding)
    tissues = tuple(parts)
    fractions = np.stack(list(parts.values()))
    side = left_of(affine, fractions.shape[1:])
    volumes = region_volumes(fractions, tissues, side, affine)
    truth: dict[str, Any] = {"volumes_ml": volumes, "icv_ml": intracranial_volume(volumes)}
    truth |= {"thickness_mm": THICKNESS, "seed": seed, "folding": folding}
    return Phantom(
        name="procedural",
        tissues=tissues,
        fractions=fractions,
        affine=affine,
        labels=region_labels(fractions, tissues, side),
        regions=dict(REGIONS),
        truth=truth,
        provenance={"source": "formulas of this project", "licence": "none needed"},
    )


def _grid(size: NDArray[np.float64]) -> tuple[Grid, NDArray[np.float64]]:
    """Return stereotactic coordinates of a grid that covers the head, and its affine [m]."""
    low, high = np.asarray(LOWER) * SCALE * 1e-3, np.asarray(UPPER) * SCALE * 1e-3
    count = np.ceil((high - low) / size - 1e-9).astype(int)
    start = 0.5 * (low + high) - 0.5 * (count - 1) * size
    affine = np.diag([*size.tolist(), 1.0])
    affine[:3, 3] = start
    to_space = 1e3 / SCALE
    lines = [
        (to_space * (o + s * np.arange(n))).astype(np.float32)
        for o, s, n in zip(start, size, count, strict=True)
    ]
    x, y, z = np.meshgrid(*lines, indexing="ij")
    sx, sy, sz = (to_space * size).tolist()
    return Grid(x=x, y=y, z=z, step=(sx, sy, sz)), affine


def _paint(
    t: Grid, fold_rng: np.random.Generator, shell_rng: np.random.Generator, folding: float
) -> dict[str, Array]:
    """Fill the head from the deepest structures to the skin; each takes what room is left."""
    cerebellum = smooth_union(
        _round(t, (24, -62, -36), (28, 27, 21)), _round(t, (0, -62, -30), (11, 22, 22)), 8.0
    )
    stem = _brainstem(t)
    whole = _hull(t)
    hull = _divided(t, whole)
    cerebrum = _fold(t, hull, fold_rng, folding)
    icv = smooth_union(smooth_union(whole, cerebellum, 18.0), stem, 12.0) - 2.2
    icv = np.asarray(icv, np.float32)

    brain = Filling(soft(icv, t.width))
    thickness = THICKNESS / SCALE
    folia = _folia(t, cerebellum)
    distances = {
        **_nuclei(t, stem),
        "ventricular_csf": _ventricles(t),
        "brainstem": stem,
        "cerebellar_wm": np.asarray(FOLIUM / SCALE - folia, np.float32),
        "cerebellar_gm": -folia,
        "wm": np.asarray(thickness - cerebrum, np.float32),
        "gm": -cerebrum,
    }
    for name, distance in distances.items():
        brain.take(name, soft(distance, t.width))
    for name, blood in vessels(t, icv, None).items():
        brain.take(name, blood)
    brain.take("csf", brain.room.copy())
    parts = with_shells(brain.parts, shells(t, icv, shell_rng))
    return {k: np.clip(v, 0.0, 1.0) for k, v in parts.items()}


def _round(t: Grid, centre: tuple[float, float, float], axes: tuple[float, float, float]) -> Array:
    """Distance to an ellipsoid mirrored at x = 0, exact to first order near its surface."""
    p = [np.abs(t.x) - centre[0], t.y - centre[1], t.z - centre[2]]
    near = np.sqrt(sum((c / a) ** 2 for c, a in zip(p, axes, strict=True)))
    slope = np.sqrt(sum((c / a**2) ** 2 for c, a in zip(p, axes, strict=True)))
    return np.asarray(near * (near - 1.0) / np.maximum(slope, 1e-6), np.float32)


def _hull(t: Grid) -> Array:
    """Signed distance to the hull of the cerebrum, hemispheres joined."""
    dome = np.maximum(_round(t, (0, -17, 12), (67, 86, 62)), -16.0 - t.z - 0.10 * (t.y + 20.0))
    lobe = _round(t, (40, -10, -18), (25, 44, 24))
    both = smooth_union(np.asarray(dome, np.float32), lobe, 6.0)
    return np.asarray(both, np.float32)


def _divided(t: Grid, hull: Array) -> Array:
    """Cut the fissure between the hemispheres, down to the callosum, and the Sylvian fissures."""
    fissure = np.minimum(1.4 - np.abs(t.x), _callosum(t))
    sylvian = ellipsoid(t, (62, 10, -8), (12, 30, 2.6))
    return np.asarray(np.maximum(np.maximum(hull, fissure), -sylvian), np.float32)


def _callosum(t: Grid) -> Array:
    """Signed distance to the corpus callosum, an arch 15 mm wide on either side."""
    beside = np.maximum(np.abs(t.x) - 15.0, 0.0)
    flat = Grid(x=np.zeros_like(t.x), y=t.y, z=t.z, step=t.step)
    return np.asarray(np.maximum(tube(flat, np.array(_CALLOSUM, float)), beside), np.float32)


def _fold(t: Grid, hull: Array, rng: np.random.Generator, folding: float) -> Array:
    """Return the depth below the cortex's surface, walls of sulci included [mm].

    Sulci are sheets that end at a depth; the white matter around nuclei and callosum is kept free of them.
    """
    deepest = SULCUS_DEPTH / SCALE * folding * smooth_field(rng, t.x.shape, 18.0 / t.width)
    depth = -hull
    if folding > 0:
        near = (hull < 4.0) & (hull > -35.0)
        gap = np.hypot(_sheet_distance(t, near, rng), np.maximum(-hull[near] - deepest[near], 0.0))
        depth[near] = np.minimum(depth[near], gap - SULCUS_GAP / SCALE)
    core = smooth_union(_round(t, (20, -6, 6), (19, 36, 22)), _round(t, (0, -8, 12), (20, 44, 18)), 10.0)
    core = np.minimum(core, _callosum(t))
    # Inside the core all is deeper than the cortex is thick; 4 mm outside it sulci are free.
    return np.asarray(np.maximum(depth, THICKNESS / SCALE + 1.0 - core), np.float32)


def _sheet_distance(t: Grid, where: NDArray[np.bool_], rng: np.random.Generator) -> Array:
    """Distance [mm] to the zero level of a random field that varies little along the radius, at some voxels.

    The field is a sum of plane waves of one wavelength, twice the spacing of sulci, taken at the point drawn
    towards a rounded hull; its distance to zero is |f| / |grad f|. Each hemisphere has a field of its own.
    """
    x, y, z = t.x[where], t.y[where], t.z[where]
    side = np.where(x >= 0, 1.0, -1.0).astype(np.float32)
    p = np.stack([x - 22.0 * side, y + 17.0, z - 4.0])
    radius = np.sqrt((p[0] / 46.0) ** 2 + (p[1] / 86.0) ** 2 + (p[2] / 60.0) ** 2) + 1e-3
    outward = p / np.maximum(np.sqrt((p**2).sum(axis=0)), 1e-3)
    p /= radius**_DRAWN
    field, slope = np.zeros_like(x), np.zeros_like(p)
    wave = math.pi / (SULCUS_SPACING / SCALE)
    for half in (x >= 0, x < 0):
        at = p[:, half]
        total, rise = np.zeros_like(at[0]), np.zeros_like(at)
        for _ in range(_WAVES):
            direction = rng.standard_normal(3)
            k = (wave * direction / np.linalg.norm(direction)).astype(np.float32)
            angle = k @ at + np.float32(rng.uniform(0.0, 2.0 * math.pi))
            total += np.cos(angle)
            rise -= k[:, None] * np.sin(angle)
        field[half], slope[:, half] = total, rise
    # Drawing out stretches a step across the radius by radius^-d, along it by (1 - d) times as much.
    along = (slope * outward).sum(axis=0)
    square = (slope**2).sum(axis=0) - (1.0 - (1.0 - _DRAWN) ** 2) * along**2
    steep = np.sqrt(np.maximum(square, 0.0)) / np.minimum(radius, 1.0) ** _DRAWN + 1e-6
    return np.asarray(np.minimum(np.abs(field) / steep, 8.0), np.float32)


def _folia(t: Grid, cerebellum: Array) -> Array:
    """Depth below the surface of the cerebellar cortex: leaves that fan out from the fastigium."""
    radius = np.hypot(t.y + 46.0, t.z + 32.0) + 1e-3
    angle = np.arctan2(t.z + 32.0, t.y + 46.0) + 0.012 * np.abs(t.x)
    pitch = 2.0 * math.pi / 34.0
    sheet = radius * np.abs(np.mod(angle, pitch) - 0.5 * pitch)
    gap = np.hypot(sheet, np.maximum(-cerebellum - 13.0, 0.0)) - 0.25
    return np.asarray(np.minimum(-cerebellum, gap), np.float32)


def _brainstem(t: Grid) -> Array:
    """Signed distance to the brainstem: elliptic sections."""
    z = [-75.0, -62, -54, -46, -38, -28, -18, -10, -4]
    cy = np.interp(t.z, z, [-49, -46, -42, -37, -30, -27, -27, -26, -24])
    rx = np.interp(t.z, z, [7, 7.5, 10, 13, 17, 18, 17, 15, 13])
    ry = np.interp(t.z, z, [6.5, 7, 8, 10, 13, 14, 12, 10, 8])
    d = np.sqrt((t.x / rx) ** 2 + ((t.y - cy) / ry) ** 2)
    return np.asarray(
        np.maximum(np.maximum((d - 1.0) * np.minimum(rx, ry), t.z + 5.0), -72.0 - t.z), np.float32
    )


def _ventricles(t: Grid) -> Array:
    """Signed distance to lateral, third and fourth ventricle and the aqueduct."""
    lateral = tube(t, np.array(_LATERAL, float))
    lateral = np.maximum(np.minimum(lateral, tube(t, np.array(_TEMPORAL_HORN, float))), 0.8 - np.abs(t.x))
    third = ellipsoid(t, (0, -10, 2), (2.6, 14, 10))
    fourth = ellipsoid(t, (0, -44, -32), (7, 6, 10))
    aqueduct = tube(t, np.array([(0, -24, -2, 1.2), (0, -33, -12, 1.2), (0, -40, -24, 1.5)]))
    return np.asarray(np.minimum.reduce([lateral, third, fourth, aqueduct]), np.float32)


def _nuclei(t: Grid, stem: Array) -> dict[str, Array]:
    """Signed distances to the deep nuclei, in the order in which they take their room."""
    ax = np.abs(t.x)
    u, v = 0.78 * (ax - 9.0) - 0.62 * (t.y + 17.0), 0.62 * (ax - 9.0) + 0.78 * (t.y + 17.0)
    nigra = np.sqrt((u / 8.0) ** 2 + (v / 2.6) ** 2 + ((t.z + 12.0) / 5.5) ** 2)
    tilt = 0.22 * (t.y - 2.0)
    putamen = np.sqrt(((ax - 27.0 + tilt) / 6.0) ** 2 + ((t.y - 2.0) / 18.0) ** 2 + ((t.z - 1.0) / 13.0) ** 2)
    pallidum = np.sqrt(
        ((ax - 19.0 + 0.35 * (t.y + 4)) / 4.6) ** 2 + ((t.y + 4) / 12.0) ** 2 + ((t.z + 0.5) / 8.4) ** 2
    )
    bag = np.abs(ellipsoid(t, (15, -57, -34), (6.5, 9.5, 6.0))) - 1.0
    out = {
        "thalamus": ellipsoid(t, (12.5, -18, 7), (10.8, 17.5, 11.5)),
        "pallidum": (pallidum - 1.0) * 4.6,
        "putamen": (putamen - 1.0) * 6.0,
        "caudate": tube(t, np.array(_CAUDATE, float)),
        "accumbens": ellipsoid(t, (10, 11, -9), (5.0, 6.5, 4.4)),
        "hippocampus": tube(t, np.array(_HIPPOCAMPUS, float)),
        "amygdala": ellipsoid(t, (23, -3, -19), (8.4, 8.4, 8.4)),
        "red_nucleus": np.maximum(ellipsoid(t, (5, -20, -9), (3.8, 4.0, 4.8)), stem),
        "substantia_nigra": np.maximum((nigra - 1.0) * 2.6, stem),
        "dentate": np.maximum(bag, 11.0 - ax),
    }
    return {k: np.asarray(d, np.float32) for k, d in out.items()}

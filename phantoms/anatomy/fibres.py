"""A plausible, smooth and exactly known field of white-matter fibres, built from the geometry of a head.

It is no atlas: three analytic families of curves cross in every brain as their namesakes do, so that a
tractography or tensor fit meets single fibres, fans and two- and three-way crossings of known angles.

0  commissural: arcs through the midline above the ventricles that rise to the side and spread into forceps;
1  projection: a column through the brainstem that fans out above it and turns towards the cortex (along the
   gradient of the smoothed white matter); in the cerebellum a fan from the brainstem;
2  association: arcs around the left-right axis through the thalami, beside the midline and far from it.

Lengths scale with landmarks of the head itself (thalami, brainstem, ventricles, width of the white matter),
so the field of a deformed subject follows its anatomy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..compartments import Compartment, ball, stick, zeppelin
from ..diffusion import DiffusionModel
from ..phantom import Phantom, PhantomError

Array = NDArray[np.float64]

D_PARALLEL = 1.7e-9
"""Diffusivity along axons [m^2/s] that NODDI assumes; appropriate for adult white matter by Guerrero et al.,
PLoS ONE 14:e0217118, 2019."""
AXONS = 0.6
"""Share of water inside axons: a modelling choice. It gives a single population FA 0.82 and MD 0.75e-9."""
D_FREE = 3.0e-9
"""Diffusivity of free water at body temperature [m^2/s] as in NODDI; a modelling choice."""
FREE = {"wm": 0.0, "cerebellar_wm": 0.05, "brainstem": 0.15}
"""Isotropic share of the oriented tissues, in place of dispersion: a modelling choice."""
NEEDED = ("wm", "cerebellar_wm", "brainstem", "thalamus", "ventricular_csf")
SMOOTH = 4e-3
"""Width (SD) of the smoothed maps whose gradients and levels the field follows [m]."""
_LEAST = 0.1
"""Weights below this fade to zero, which keeps most places at one or two fibres."""


def white_matter(free: float = 0.0, axons: float = AXONS) -> tuple[Compartment, ...]:
    """Return sticks, zeppelins of the tortuosity model d_perpendicular = (1 - f) d_parallel, and free water.

    Zhang et al., NeuroImage 61:1000-1016, 2012 (NODDI).

    Parameters
    ----------
    free : float
        Share of a ball of `D_FREE`, 0..1.
    axons : float
        Share of the rest that is inside axons, 0..1.
    """
    across = (1.0 - axons) * D_PARALLEL
    oriented = (
        stick(fraction=axons * (1.0 - free), diffusivity=D_PARALLEL),
        zeppelin(fraction=(1.0 - axons) * (1.0 - free), d_parallel=D_PARALLEL, d_perpendicular=across),
    )
    return (*oriented, ball(fraction=free, diffusivity=D_FREE)) if free > 0 else oriented


def head_diffusion(phantom: Phantom, spacing: float = 2e-3) -> DiffusionModel:
    """Return fibres and compartments for the white matter and brainstem of a head.

    Parameters
    ----------
    phantom : Phantom
        A head with the tissues of `icbm152_head`, also a deformed one, on any grid.
    spacing : float
        Cell size of the direction maps [m].

    Returns
    -------
    DiffusionModel
        Attach it with ``phantom.replace({"diffusion": model})``.

    Raises
    ------
    PhantomError
        If tissues are missing or the spacing is not between 0.2 mm and 2 cm.
    """
    if missing := [t for t in NEEDED if t not in phantom.tissues or not phantom.fraction(t).any()]:
        raise PhantomError(f"phantom must have the tissues of the packaged head; missing {missing}.")
    shape, affine, points = cells_over(phantom, tuple(FREE), spacing)
    directions, weights = _field(points, phantom)
    return DiffusionModel(
        tissues={name: white_matter(free) for name, free in FREE.items()},
        directions=directions.reshape(3, *shape, 3).astype(np.float32),
        weights=weights.reshape(3, *shape).astype(np.float32),
        affine=affine,
    )


def cells_over(
    phantom: Phantom, tissues: tuple[str, ...], spacing: float
) -> tuple[tuple[int, ...], Array, Array]:
    """Return shape, affine and centres (m, 3) [m] of cubic cells that cover some tissues.

    Raises
    ------
    PhantomError
        If the spacing [m] is not between 0.2 mm and 2 cm.
    """
    if not 2e-4 <= spacing <= 2e-2:
        raise PhantomError(f"spacing must be in metres, 0.2 mm to 20 mm; got {spacing}. 2 mm is 2e-3.")
    occupied = _points(phantom, phantom.fraction(*tissues) > 0)
    low, high = occupied.min(axis=0), occupied.max(axis=0)
    shape = tuple(int(n) for n in np.ceil((high - low) / spacing) + 1)
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = 0.5 * (low + high) - 0.5 * spacing * (np.asarray(shape) - 1)
    points = np.indices(shape).reshape(3, -1).T * spacing + affine[:3, 3]
    return shape, affine, np.asarray(points, np.float64)


@dataclass(frozen=True, kw_only=True)
class _Landmarks:
    """Places in the phantom's frame [m].

    hub : middle between the thalami;  stem : centre of the brainstem, axis : its unit vector upwards;
    roof : height of the top of the ventricles;  width : of the lateral white matter from the midline.
    """

    hub: Array
    stem: Array
    axis: Array
    roof: float
    width: float


def _points(phantom: Phantom, where: NDArray[np.bool_]) -> Array:
    return np.asarray(np.argwhere(where) @ phantom.affine[:3, :3].T + phantom.affine[:3, 3])


def _landmarks(phantom: Phantom) -> _Landmarks:
    def cloud(name: str) -> Array:
        f = phantom.fraction(name)
        return _points(phantom, f > 0.5 * f.max())

    stem = cloud("brainstem")
    axis = np.linalg.svd(stem - stem.mean(axis=0), full_matrices=False)[2][0]
    hub = cloud("thalamus").mean(axis=0)
    sideways = np.abs(cloud("wm")[:, 0] - hub[0])
    return _Landmarks(
        hub=hub,
        stem=stem.mean(axis=0),
        axis=axis if axis[2] > 0 else -axis,
        roof=float(np.percentile(cloud("ventricular_csf")[:, 2], 98)),
        width=float(np.percentile(sideways, 95)),
    )


class _Smooth:
    """A tissue map blurred to `SMOOTH`, with its gradient along world axes."""

    def __init__(self, phantom: Phantom, *names: str) -> None:
        sigma = SMOOTH / np.asarray(phantom.voxel_size)
        self._map = ndimage.gaussian_filter(phantom.fraction(*names), sigma, mode="nearest")
        self._inverse = np.linalg.inv(phantom.affine)

    def at(self, points: Array) -> Array:
        """Trilinear values (m,)."""
        index = points @ self._inverse[:3, :3].T + self._inverse[:3, 3]
        return np.asarray(ndimage.map_coordinates(self._map, index.T, order=1, mode="nearest"), np.float64)

    def gradient(self, points: Array) -> Array:
        """Central differences (m, 3) [1/m] over the width of the blur."""
        step = 0.5 * SMOOTH * np.eye(3)
        return np.stack([self.at(points + s) - self.at(points - s) for s in step], axis=1) / SMOOTH


def _field(points: Array, phantom: Phantom) -> tuple[Array, Array]:
    """Directions (3, m, 3) and weights (3, m) at points of the phantom's frame."""
    marks = _landmarks(phantom)
    cerebellum = np.clip(1.5 * _Smooth(phantom, "cerebellar_wm", "cerebellar_gm").at(points), 0.0, 1.0)
    stem = np.clip(3.0 * _Smooth(phantom, "brainstem").at(points), 0.0, 1.0) * (1.0 - cerebellum)
    cerebrum = 1.0 - np.maximum(cerebellum, stem)
    inside = _Smooth(phantom, "wm", "thalamus", "caudate", "putamen", "pallidum")
    to_cortex = np.clip(2.0 * _Smooth(phantom, "gm").at(points), 0.0, 1.0) * cerebrum
    offset = points - marks.hub
    fan = _projection(points, marks)
    outward = -inside.gradient(points) * SMOOTH
    # Fades where the gradient does, on the ridges of the gyri; its sign never opposes the fan. Both smoothly.
    outward /= np.sqrt((outward**2).sum(axis=1, keepdims=True) + 0.25**2)
    outward *= np.tanh(np.einsum("mi,mi->m", outward, fan) / 0.3)[:, None]
    folded = _unit(points - marks.stem, fan)
    projection = fan + 1.5 * to_cortex[:, None] * outward
    projection = (1.0 - cerebellum)[:, None] * projection + cerebellum[:, None] * folded
    directions = np.stack([_commissural(offset, marks), _unit(projection, fan), _association(offset)])
    raw = _weights(offset, marks, to_cortex)
    raw[0] *= cerebrum
    raw[2] *= cerebrum
    raw[1] = np.where(cerebrum < 1.0, raw[1] + (1.0 - cerebrum), raw[1])
    share = raw / raw.sum(axis=0)
    share = np.clip(share - _LEAST, 0.0, None)
    return directions, share / share.sum(axis=0)


def _unit(vectors: Array, otherwise: Array) -> Array:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    good = length > 1e-6 * max(float(length.max()), 1e-300)
    return np.where(good, vectors / np.where(good, length, 1.0), otherwise)


def _commissural(offset: Array, marks: _Landmarks) -> Array:
    """Tangents of arcs that start along x at the midline: slope 1 at 0.6 of the width."""
    x, y, z = offset.T
    bend = x / (0.6 * marks.width)
    up = np.tanh((z - (marks.roof - marks.hub[2]) + 0.15 * marks.width) / (0.4 * marks.width))
    return _unit(
        np.stack([np.ones_like(x), bend * np.tanh(y / (0.8 * marks.width)), bend * up], axis=1), offset
    )


def _projection(points: Array, marks: _Landmarks) -> Array:
    """Along the brainstem below its top, from a focus there to all sides above it."""
    focus = marks.stem + 0.5 * (marks.hub - marks.stem)
    offset = points - focus
    rise = offset @ marks.axis / (0.3 * marks.width)
    # Softplus: the fan opens gradually with height.
    opening = np.logaddexp(0.0, rise)
    across = offset - (offset @ marks.axis)[:, None] * marks.axis
    column = (1.0 + opening)[:, None] * marks.axis
    return _unit(column + (opening / (1.0 + opening))[:, None] * across / (0.3 * marks.width), offset)


def _association(offset: Array) -> Array:
    """Circles around the left-right axis through the hub, running forwards above it."""
    forwards = np.broadcast_to(np.array([0.0, 1.0, 0.0]), offset.shape)
    return _unit(np.stack([np.zeros(len(offset)), offset[:, 2], -offset[:, 1]], axis=1), forwards)


def _weights(offset: Array, marks: _Landmarks, to_cortex: Array) -> Array:
    """Unnormalized weights (3, m), positive everywhere in sum."""
    a = marks.width
    side = np.abs(offset[:, 0]) / a
    height = (offset[:, 2] - (marks.roof - marks.hub[2])) / a - 0.4 * side**2
    commissural = 1.2 * np.exp(-((side / 0.6) ** 2)) / (1.0 + ((height - 0.08) / 0.2) ** 2)
    projection = 0.15 + 0.9 * np.exp(-(((side - 0.45) / 0.25) ** 2)) + 1.5 * to_cortex
    # The callosum holds nothing else, though cortex lies close above it; the midline is commissural.
    projection *= 1.0 - np.exp(-((side / 0.25) ** 2)) / (1.0 + ((height - 0.08) / 0.25) ** 4)
    midline = np.exp(-((side / 0.1) ** 2))
    commissural, projection = commissural + midline, projection * (1.0 - midline)
    cingulum = np.exp(-(((side - 0.15) / 0.1) ** 2)) / (1.0 + np.exp(-(height - 0.3) / 0.05))
    lateral = 1.2 / (1.0 + np.exp(-(side - 0.6) / 0.08))
    # The circles shrink to a point on their axis.
    radius = (offset[:, 1] ** 2 + offset[:, 2] ** 2) / (0.3 * a) ** 2
    return np.stack([commissural, projection, (cingulum + lateral) * radius / (1.0 + radius)])

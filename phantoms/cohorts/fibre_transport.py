"""Fibres of a template carried into a subject by the subject's deformation.

A direction n at the template's x becomes F n / |F n| at y, F the Jacobian of the map x -> y: fibres are
embedded in the tissue, so curves of the template map to curves of the subject. (For a whole tensor with one
fibre this is the preservation of principal direction of Alexander et al., IEEE TMI 20:1131-1139, 2001.)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..anatomy.fibres import FREE, cells_over, head_diffusion, white_matter
from ..diffusion import DiffusionModel
from ..phantom import Phantom, PhantomError
from .deformation import Field, Grid
from .template import Template

Array = NDArray[np.float64]

CELLS = 2e-3
"""Cell size of the subject's direction maps [m]."""
FREE_PER_YEAR = 1e-3
"""Free water that white matter gains per year after 50 y: diffusivity rises and anisotropy falls with age;
the size is a modelling choice."""
LESION_AXONS, LESION_FREE = 0.36, 0.01
"""Water inside axons and free water of a lesion: MD x1.4, FA x0.6 (modelling choices)."""

FINE = 1.25e-3
"""Voxels up to this size are joined in twos before the field is computed [m]."""
SURROUNDINGS = (
    "wm", "cerebellar_wm", "brainstem", "thalamus", "ventricular_csf", "gm", "cerebellar_gm", "caudate",
    "putamen", "pallidum",
)  # fmt: skip
"""Tissues that the field of `head_diffusion` depends on."""
_MODELS: list[tuple[Template, DiffusionModel]] = []


def template_fibres(template: Template) -> DiffusionModel:
    """Return the fibres of a template; the last ones are kept."""
    for known, model in _MODELS:
        if known is template:
            return model
    head = template.head
    if head is None or max(head.voxel_size) <= FINE:
        head = _halved(template)
    model = head_diffusion(head, CELLS)
    _MODELS[:] = [(template, model)]
    return model


def _halved(template: Template) -> Phantom:
    """Return white matter and its surroundings in blocks of two: the field follows maps of 4 mm."""
    names = tuple(t for t in SURROUNDINGS if t in template.tissues)
    fractions = np.zeros((len(names), *(n // 2 for n in template.shape)), np.float32)
    for name, out in zip(names, fractions, strict=True):
        box, part = template.part(name)
        # Whole blocks: one more voxel where the box begins or ends inside one.
        grown = [(s.start % 2, s.stop % 2) for s in box]
        part = np.pad(part, grown)
        for axis in range(3):
            pairs = np.moveaxis(part, axis, 0)
            part = np.moveaxis(0.5 * (pairs[0::2] + pairs[1::2]), 0, axis)
        blocks = tuple(slice(s.start // 2, s.start // 2 + n) for s, n in zip(box, part.shape, strict=True))
        room = out[blocks]
        room[...] = part[tuple(slice(0, n) for n in room.shape)]
    affine = template.affine
    affine[:3, 3] += 0.5 * affine[:3, :3].sum(axis=1)
    affine[:3, :3] *= 2.0
    return Phantom(
        name="blocks", tissues=names, fractions=fractions, affine=affine, table=template.kept["table"]
    )


def carried(
    model: DiffusionModel, grid: Grid, u: Field, scale: float, points: Array
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return directions (fibres, m, 3) and weights (fibres, m) of a template's model in a subject.

    Parameters
    ----------
    model : DiffusionModel
        The template's.
    grid : Grid
        Of the displacement.
    u : ndarray (3, a, b, c)
        Displacement [m] of the subject -> template map, before the linear scale.
    scale : float
        Linear size of the subject relative to the template.
    points : ndarray (m, 3)
        Places in the subject [m].
    """
    own = points / scale
    index = ((own - grid.origin) / grid.spacing).T

    def at(f: NDArray[np.float32]) -> Array:
        return np.asarray(ndimage.map_coordinates(f, index, order=1, mode="nearest"), np.float64)

    source = own + np.stack([at(c) for c in u], axis=1)
    back = np.stack(
        [
            np.stack([at(np.gradient(u[m], grid.spacing, axis=a)) for a in range(3)], axis=-1)
            for m in range(3)
        ],
        axis=-2,
    )
    forth = np.linalg.inv(np.eye(3) + back)
    directions, weights = model.fibres(model.cells(source))
    turned = np.einsum("mij,pmj->pmi", forth, directions)
    turned /= np.maximum(np.linalg.norm(turned, axis=-1, keepdims=True), 1e-12)
    return turned.astype(np.float32), weights.astype(np.float32)


def subject_diffusion(
    subject: Phantom, template: Template, u: Field, scale: float, *, late_years: float = 0.0, lesion: str = ""
) -> DiffusionModel:
    """Return fibres and compartments of a subject.

    Parameters
    ----------
    subject : Phantom
        The deformed head.
    template, u, scale
        As in `carried`.
    late_years : float
        Years beyond 50 y, for the free water of white matter.
    lesion : str
        Name of the lesions' tissue, if there is one.

    Returns
    -------
    DiffusionModel
        On cells of 2 mm.
    """
    if not 0 <= late_years <= 100:
        raise PhantomError(f"late_years must be 0..100; got {late_years}.")
    more = FREE_PER_YEAR * late_years
    tissues = {name: white_matter(free + more) for name, free in FREE.items()}
    if lesion:
        tissues[lesion] = white_matter(LESION_FREE + more, LESION_AXONS)
    shape, affine, points = cells_over(subject, tuple(tissues), CELLS)
    directions, weights = carried(template_fibres(template), template.grid, u, scale, points)
    return DiffusionModel(
        tissues=tissues,
        directions=directions.reshape(len(directions), *shape, 3),
        weights=weights.reshape(len(weights), *shape),
        affine=affine,
    )

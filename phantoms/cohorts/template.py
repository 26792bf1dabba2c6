"""A head made ready for deformation: packed for the warp, and averaged onto the velocity's grid."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from ..anatomy.head import REGION_TISSUES, bounding_box
from ..phantom import Phantom, PhantomError
from .deformation import Field, Grid
from .warping import occupied_cells, warp_packed

SPACING = 3e-3
"""Node distance of velocity fields [m]."""
MAX_TISSUES = 32
"""Bits of the sets in which the warp notes the tissues of a cell."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Template:
    """A prepared head.

    head : the head itself;  packed : fractions (x, y, z, tissue) in 1/255 or 1/65535;  cells : tissues per
    cell, in bits;  frame : first voxel centre, voxel size [m] and its inverse;  grid : the velocity's;
    regions : fractions of the regions on it;  inside : their sum;  body : where any tissue is;  volumes : of
    the regions [m^3].
    """

    head: Phantom
    packed: NDArray[np.uint8 | np.uint16]
    cells: NDArray[np.uint32]
    frame: NDArray[np.float64]
    grid: Grid
    regions: dict[str, NDArray[np.float32]]
    inside: NDArray[np.float32]
    body: NDArray[np.bool_]
    volumes: dict[str, float]

    @property
    def total(self) -> float:
        """Volume of all regions, the intracranial volume [m^3]."""
        return sum(self.volumes.values())

    def coarse(self, f: NDArray[np.float32]) -> NDArray[np.float32]:
        """Average a map of the head's grid onto the velocity's."""
        return _to_coarse(f, self.head.affine, self.grid)


_PREPARED: list[Template] = []


def prepared(head: Phantom, needed: tuple[str, ...]) -> Template:
    """Return the prepared head; the last one is kept, because a cohort uses one head many times.

    Parameters
    ----------
    head : Phantom
        On an axis-aligned RAS grid, without a diffusion model.
    needed : tuple of str
        Regions whose tissues it must have.

    Raises
    ------
    PhantomError
        If the head is not of this kind.
    """
    for template in _PREPARED:
        if template.head is head:
            return template
    _check(head, needed)
    packed, present = _packed(head)
    grid = _grid(head)
    regions = {
        region: _to_coarse(head.fraction(tissue), head.affine, grid)
        for region, tissue in REGION_TISSUES.items()
        if tissue in head.tissues
    }
    size = np.diag(head.affine)[:3]
    template = Template(
        head=head,
        packed=packed,
        cells=occupied_cells(present),
        frame=np.stack([head.affine[:3, 3], size, 1.0 / size]),
        grid=grid,
        regions=regions,
        inside=np.add.reduce(list(regions.values())),
        body=_to_coarse(head.fraction(*head.tissues), head.affine, grid) > 0,
        volumes={r: float(f.sum(dtype=np.float64)) * SPACING**3 for r, f in regions.items()},
    )
    _PREPARED[:] = [template]
    return template


def _packed(head: Phantom) -> tuple[NDArray[np.uint8 | np.uint16], NDArray[np.uint32]]:
    """Return fractions in whole steps, tissue by tissue in every voxel, and the bit sets of the tissues.

    Packaged heads on their own grid are multiples of 1/255 and stay exact; others are rounded to 1/65535.
    """
    boxes = [bounding_box(f) for f in head.fractions]
    parts = [f[box] * np.float32(255.0) for f, box in zip(head.fractions, boxes, strict=True)]
    # Codes divided by 255 in single precision come back within a few last places.
    steps = 255 if all(np.abs(p - np.rint(p)).max(initial=0.0) < 1e-4 for p in parts) else 65535
    packed = np.zeros((*head.shape, len(head.tissues)), np.uint8 if steps == 255 else np.uint16)
    present = np.zeros(head.shape, np.uint32)
    for k, (part, box) in enumerate(zip(parts, boxes, strict=True)):
        packed[(*box, k)] = np.rint(part * np.float32(steps / 255))
        present[box] |= (part > 0).astype(np.uint32) << np.uint32(k)
    return packed, present


def _check(head: Phantom, needed: tuple[str, ...]) -> None:
    missing = [REGION_TISSUES[r] for r in needed if REGION_TISSUES[r] not in head.tissues]
    if missing or len(head.tissues) > MAX_TISSUES:
        raise PhantomError(
            f"head must have the tissues of the packaged head and at most {MAX_TISSUES}; missing {missing}, "
            f"has {len(head.tissues)}."
        )
    if head.diffusion is not None:
        raise PhantomError(
            "head must come without a diffusion model: its directions would not follow the deformation. "
            "Ask for one: make_subject(..., fibres=True)."
        )
    off = head.affine[:3, :3] - np.diag(np.diag(head.affine[:3, :3]))
    if np.abs(off).max() > 0 or (np.diag(head.affine)[:3] <= 0).any():
        raise PhantomError(f"head must be on an axis-aligned RAS grid; got affine {head.affine.tolist()}.")


def _grid(head: Phantom) -> Grid:
    """Return the velocity's grid: the inside of the skull and a margin; face and neck follow its border."""
    box = bounding_box(head.fraction(*REGION_TISSUES.values()))
    affine = head.affine.copy()
    affine[:3, 3] += [affine[a, a] * s.start for a, s in enumerate(box)]
    return Grid.covering(affine, tuple(s.stop - s.start for s in box), SPACING, 12e-3)


def _to_coarse(f: NDArray[np.float32], affine: NDArray[np.float64], grid: Grid) -> NDArray[np.float32]:
    """Distribute fractions onto the coarse nodes with trilinear weights, which keeps their volume.

    Sparse products keep the order of summation, and so the bytes, independent of the number of BLAS threads.
    """
    out = f
    for a in range(3):
        position = (affine[a, 3] + affine[a, a] * np.arange(f.shape[a]) - grid.origin[a]) / grid.spacing
        position = np.clip(position, 0.0, grid.shape[a] - 1.001)
        lower = np.floor(position).astype(int)
        upper = (position - lower) * affine[a, a] / grid.spacing
        weights = np.concatenate([affine[a, a] / grid.spacing - upper, upper]).astype(np.float32)
        column = np.tile(np.arange(f.shape[a]), 2)
        matrix = sparse.csr_array(
            (weights, (np.concatenate([lower, lower + 1]), column)), (grid.shape[a], f.shape[a])
        )
        moved = np.moveaxis(out, a, 0)
        flat = matrix @ np.ascontiguousarray(moved).reshape(f.shape[a], -1)
        out = np.moveaxis(flat.reshape(grid.shape[a], *moved.shape[1:]), 0, a)
    return np.ascontiguousarray(out, np.float32)


def frame_of(grid: Grid) -> NDArray[np.float64]:
    """Return first node, spacing and its inverse (3, 3) of a grid, as the kernels take them."""
    return np.stack([np.asarray(grid.origin), np.full(3, grid.spacing), np.full(3, 1 / grid.spacing)])


@dataclass(frozen=True, kw_only=True, eq=False)
class Warped:
    """A deformed head: fractions (tissue, x, y, z), share of each voxel from the left side, and affine."""

    fractions: NDArray[np.float32]
    left: NDArray[np.float32]
    affine: NDArray[np.float64]


def warp(template: Template, u: Field, scale: float, size: NDArray[np.float64], sub: int) -> Warped:
    """Pull the head through a deformation.

    Parameters
    ----------
    template : Template
        The head.
    u : ndarray (3, a, b, c)
        Displacement [m] of the subject -> template map on the template's grid.
    scale : float
        Linear size of the subject relative to the template, applied after the deformation.
    size : ndarray (3,)
        Voxel edges [m] of the result.
    sub : int
        Samples per axis and voxel.

    Returns
    -------
    Warped
        Fractions in steps of 1/255, on a grid that covers the scaled head.
    """
    head, grid = template.head, template.grid
    low = (template.frame[0] - 0.5 * template.frame[1]) * scale
    high = low + np.asarray(head.shape) * template.frame[1] * scale
    shape = [int(n) for n in np.ceil((high - low) / size - 1e-9)]
    start = 0.5 * (low + high) - 0.5 * np.asarray(shape) * size + 0.5 * size
    start[2] = low[2] + 0.5 * size[2]
    out = np.zeros((len(head.tissues), *shape), np.uint8)
    side = np.zeros(shape, np.uint8)
    reach = np.sqrt((u**2).sum(axis=0)).max() + 0.5 * np.linalg.norm(size) / scale
    near = ndimage.binary_dilation(template.body, iterations=1 + math.ceil(reach / grid.spacing))
    warp_packed(
        template.packed,
        template.cells,
        template.frame,
        np.ascontiguousarray(np.moveaxis(u, 0, -1)),
        frame_of(grid),
        np.stack([start / scale, size / scale, scale / size]),
        near,
        sub,
        float(np.iinfo(template.packed.dtype).max),
        out,
        side,
    )
    affine = np.diag([*size.tolist(), 1.0])
    affine[:3, 3] = start
    levels = np.arange(256, dtype=np.float32) / np.float32(255.0)
    fractions = np.zeros(out.shape, np.float32)
    for codes, f in zip(out, fractions, strict=True):
        box = bounding_box(codes)
        f[box] = levels[codes[box]]
    return Warped(fractions=fractions, left=levels[side], affine=affine)

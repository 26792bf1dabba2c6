"""A head made ready for deformation: packed for the warp, and averaged onto the velocity's grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from ..anatomy.head import HEAD_FILE, REGION_TISSUES, bounding_box, description
from ..anatomy.head_file import Box, read_head_file
from ..phantom import Phantom, PhantomError
from ..tissue_file import default_tissue_table
from .deformation import Field, Grid
from .warping import occupied_cells, warp_packed

SPACING = 3e-3
"""Node distance of velocity fields [m]."""
MAX_TISSUES = 32
"""Bits of the sets in which the warp notes the tissues of a cell."""


Part = tuple[Box, NDArray[np.uint8] | NDArray[np.float32]]
"""Bounding box of a tissue, and its fractions there: in 1/255, or as they are."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Template:
    """A prepared head.

    head : the phantom it was made from, None for the packaged head in its file;  kept : what subjects inherit
    from it, by the names of `Phantom`;  notice : what must travel with them;  parts : of `kept["tissues"]`;
    packed : fractions (x, y, z, tissue) in 1/255 or 1/65535;  cells : tissues per cell, in bits;
    frame : first voxel centre, voxel size [m] and its inverse;  grid : the velocity's;  regions : fractions
    of the regions on it;  inside : their sum;  body : where any tissue is;  volumes : of the regions [m^3].
    """

    head: Phantom | None
    kept: dict[str, Any]
    notice: str | None
    parts: tuple[Part, ...]
    packed: NDArray[np.uint8 | np.uint16]
    cells: NDArray[np.uint32]
    frame: NDArray[np.float64]
    grid: Grid
    regions: dict[str, NDArray[np.float32]]
    inside: NDArray[np.float32]
    body: NDArray[np.bool_]
    volumes: dict[str, float]

    @property
    def tissues(self) -> tuple[str, ...]:
        """Names of the tissues."""
        return tuple(self.kept["tissues"])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels of the head along x, y, z."""
        nx, ny, nz, _ = self.packed.shape
        return nx, ny, nz

    @property
    def affine(self) -> NDArray[np.float64]:
        """Voxel index of the head -> world [m]."""
        return _affine(self.frame[0], self.frame[1])

    @property
    def total(self) -> float:
        """Volume of all regions, the intracranial volume [m^3]."""
        return sum(self.volumes.values())

    def part(self, tissue: str) -> tuple[Box, NDArray[np.float32]]:
        """Return where a tissue is, and its fractions there."""
        return _fractions(self.parts[self.tissues.index(tissue)])


_PREPARED: list[Template] = []


def prepared(head: Phantom | None, needed: tuple[str, ...]) -> Template:
    """Return the prepared head; the last one is kept, because a cohort uses one head many times.

    Parameters
    ----------
    head : Phantom, optional
        On an axis-aligned RAS grid, without a diffusion model and texture; default: `icbm152_head` on its own
        grid, straight from its file.
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
    if head is None:
        file = read_head_file(HEAD_FILE)
        kept = {**description(file), "table": default_tissue_table()}
        notice: str | None = file.notice
        parts: tuple[Part, ...] = file.parts
        affine, shape = file.affine, file.shape
    else:
        _check(head, needed)
        kept = {k: getattr(head, k) for k in ("tissues", "table", "regions", "provenance", "chi_outside")}
        notice = head.truth.get("notice")
        boxes = [bounding_box(f) for f in head.fractions]
        parts = tuple((box, f[box]) for box, f in zip(boxes, head.fractions, strict=True))
        affine, shape = head.affine, head.shape
    return _prepare(head, kept, notice, parts, affine, shape)


def _prepare(
    head: Phantom | None,
    kept: dict[str, Any],
    notice: str | None,
    parts: tuple[Part, ...],
    affine: NDArray[np.float64],
    shape: tuple[int, int, int],
) -> Template:
    part_of = dict(zip(kept["tissues"], parts, strict=True))
    within = {r: part_of[t] for r, t in REGION_TISSUES.items() if t in part_of}
    packed, present = _packed(parts, shape)
    grid = _grid([box for box, _ in within.values()], affine)
    regions = {r: _to_coarse(_fractions(part), affine, grid) for r, part in within.items()}
    everywhere = (slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2]))
    size = np.diag(affine)[:3]
    template = Template(
        head=head,
        kept=kept,
        notice=notice,
        parts=parts,
        packed=packed,
        cells=occupied_cells(present),
        frame=np.stack([affine[:3, 3], size, 1.0 / size]),
        grid=grid,
        regions=regions,
        inside=np.add.reduce(list(regions.values())),
        body=_to_coarse((everywhere, (present > 0).astype(np.float32)), affine, grid) > 0,
        volumes={r: float(f.sum(dtype=np.float64)) * SPACING**3 for r, f in regions.items()},
    )
    _PREPARED[:] = [template]
    return template


def _fractions(part: Part) -> tuple[Box, NDArray[np.float32]]:
    box, data = part
    return box, data * np.float32(1.0 / 255.0) if data.dtype == np.uint8 else np.asarray(data, np.float32)


def _packed(
    parts: tuple[Part, ...], shape: tuple[int, int, int]
) -> tuple[NDArray[np.uint8 | np.uint16], NDArray[np.uint32]]:
    """Return fractions in whole steps, tissue by tissue in every voxel, and the bit sets of the tissues.

    Packaged heads on their own grid are multiples of 1/255 and stay exact; others are rounded to 1/65535.
    """
    coarse = all(data.dtype == np.uint8 or _in_steps(data) for _, data in parts)
    packed = np.zeros((*shape, len(parts)), np.uint8 if coarse else np.uint16)
    present = np.zeros(shape, np.uint32)
    # Plane by plane: the tissues of a voxel lie side by side and would be fetched anew for each of them.
    for i in range(shape[0]):
        for k, (box, data) in enumerate(parts):
            if box[0].start <= i < box[0].stop:
                plane = data[i - box[0].start]
                packed[(i, *box[1:], k)] = _steps(plane, 255 if coarse else 65535)
                present[(i, *box[1:])] |= (plane > 0).astype(np.uint32) << np.uint32(k)
    return packed, present


def _in_steps(fractions: NDArray[Any]) -> bool:
    # Codes divided by 255 in single precision come back within a few last places.
    steps = fractions * np.float32(255.0)
    return bool(np.abs(steps - np.rint(steps)).max(initial=0.0) < 1e-4)


def _steps(fractions: NDArray[Any], levels: int) -> NDArray[Any]:
    if fractions.dtype == np.uint8:
        return fractions
    return np.asarray(np.rint(fractions * np.float32(255.0) * np.float32(levels / 255)))


def _check(head: Phantom, needed: tuple[str, ...]) -> None:
    missing = [REGION_TISSUES[r] for r in needed if REGION_TISSUES[r] not in head.tissues]
    if missing or len(head.tissues) > MAX_TISSUES:
        raise PhantomError(
            f"head must have the tissues of the packaged head and at most {MAX_TISSUES}; missing {missing}, "
            f"has {len(head.tissues)}."
        )
    if head.diffusion is not None or head.texture is not None:
        raise PhantomError(
            "head must come without a diffusion model and a texture: they would not follow the deformation. "
            "Ask for them: make_subject(..., fibres=True), CohortSpec(texture=...)."
        )
    off = head.affine[:3, :3] - np.diag(np.diag(head.affine[:3, :3]))
    if np.abs(off).max() > 0 or (np.diag(head.affine)[:3] <= 0).any():
        raise PhantomError(f"head must be on an axis-aligned RAS grid; got affine {head.affine.tolist()}.")


def _affine(origin: NDArray[np.float64], size: NDArray[np.float64]) -> NDArray[np.float64]:
    affine = np.diag([*size.tolist(), 1.0])
    affine[:3, 3] = origin
    return affine


def _grid(boxes: list[Box], affine: NDArray[np.float64]) -> Grid:
    """Return the velocity's grid: the inside of the skull and a margin; face and neck follow its border."""
    used = [box for box in boxes if box[0].stop > box[0].start]
    low = [min(box[a].start for box in used) for a in range(3)]
    high = [max(box[a].stop for box in used) for a in range(3)]
    origin = affine[:3, 3] + [affine[a, a] * low[a] for a in range(3)]
    shape = tuple(b - a for a, b in zip(low, high, strict=True))
    return Grid.covering(_affine(origin, np.diag(affine)[:3]), shape, SPACING, 12e-3)


def _to_coarse(
    part: tuple[Box, NDArray[np.float32]], affine: NDArray[np.float64], grid: Grid
) -> NDArray[np.float32]:
    """Distribute fractions onto the coarse nodes with trilinear weights, which keeps their volume.

    Sparse products keep the order of summation, and so the bytes, independent of the number of BLAS threads.
    """
    box, out = part
    for a in range(3):
        index = np.arange(box[a].start, box[a].stop)
        position = (affine[a, 3] + affine[a, a] * index - grid.origin[a]) / grid.spacing
        position = np.clip(position, 0.0, grid.shape[a] - 1.001)
        lower = np.floor(position).astype(int)
        upper = (position - lower) * affine[a, a] / grid.spacing
        weights = np.concatenate([affine[a, a] / grid.spacing - upper, upper]).astype(np.float32)
        column = np.tile(np.arange(index.size), 2)
        matrix = sparse.csr_array(
            (weights, (np.concatenate([lower, lower + 1]), column)), (grid.shape[a], index.size)
        )
        moved = np.moveaxis(out, a, 0)
        flat = matrix @ np.ascontiguousarray(moved).reshape(index.size, -1)
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


def warp(
    template: Template,
    u: Field,
    scale: float,
    size: NDArray[np.float64],
    sub: int,
    *,
    wanted: NDArray[np.bool_] | None = None,
) -> Warped:
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
    wanted : ndarray of bool, optional
        Nodes of the template's grid whose surroundings are pulled, default all of the body.

    Returns
    -------
    Warped
        Fractions in steps of 1/255, on a grid that covers the scaled head.
    """
    grid = template.grid
    low = (template.frame[0] - 0.5 * template.frame[1]) * scale
    high = low + np.asarray(template.shape) * template.frame[1] * scale
    shape = [int(n) for n in np.ceil((high - low) / size - 1e-9)]
    start = 0.5 * (low + high) - 0.5 * np.asarray(shape) * size + 0.5 * size
    start[2] = low[2] + 0.5 * size[2]
    out = np.zeros((len(template.tissues), *shape), np.uint8)
    side = np.zeros(shape, np.uint8)
    reach = np.sqrt((u**2).sum(axis=0)).max() + 0.5 * np.linalg.norm(size) / scale
    body = template.body if wanted is None else wanted
    near = ndimage.binary_dilation(body, iterations=1 + math.ceil(reach / grid.spacing))
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
    levels = np.arange(256, dtype=np.float32) / np.float32(255.0)
    fractions = np.zeros(out.shape, np.float32)
    for codes, f in zip(out, fractions, strict=True):
        box = bounding_box(codes)
        f[box] = levels[codes[box]]
    return Warped(fractions=fractions, left=levels[side], affine=_affine(start, size))

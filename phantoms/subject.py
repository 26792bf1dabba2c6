"""From a subject's description to its anatomy: one diffeomorphism that meets the prescribed volumes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from .cohort import Subject
from .deformation import (
    Field,
    Grid,
    exponential,
    jacobian,
    lowest_jacobian,
    occupied_cells,
    potential_velocity,
    pull,
    random_velocity,
    warp_packed,
)
from .head import (
    REGION_TISSUES,
    bounding_box,
    icbm152_head,
    intracranial_volume,
    region_labels,
    region_volumes,
)
from .phantom import Phantom, PhantomError

SPACING = 3e-3
ROUNDS = 3
ITERATIONS = 6
PROBES = (3.2e-3, 3.2e-3, 2.2e-3)
"""Voxel size [m] at which the achieved volumes are measured, for each correction."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Source:
    """A head prepared for warping: packed fractions, and region fractions on the coarse grid."""

    head: Phantom
    packed: NDArray[np.uint16]
    cells: NDArray[np.uint32]
    frame: NDArray[np.float64]
    grid: Grid
    regions: dict[str, NDArray[np.float32]]
    inside: NDArray[np.float32]
    body: NDArray[np.bool_]
    volumes: dict[str, float]


_PREPARED: list[_Source] = []


def _prepare(head: Phantom) -> _Source:
    """Return the prepared head; the last one is kept, because a cohort uses one head many times."""
    for source in _PREPARED:
        if source.head is head:
            return source
    missing = [t for t in REGION_TISSUES.values() if t not in head.tissues]
    if missing or len(head.tissues) > 32:
        raise PhantomError(f"head must have the tissues of the packaged head; missing {missing}.")
    if head.diffusion is not None:
        raise PhantomError(
            "head must come without a diffusion model: its directions would not follow the deformation. "
            'Add one to the subject: subject.replace({"diffusion": head_diffusion(subject)}).'
        )
    off = head.affine[:3, :3] - np.diag(np.diag(head.affine[:3, :3]))
    if np.abs(off).max() > 0 or (np.diag(head.affine)[:3] <= 0).any():
        raise PhantomError(f"head must be on an axis-aligned RAS grid; got affine {head.affine.tolist()}.")
    packed = np.zeros((*head.shape, len(head.tissues)), np.uint16)
    present = np.zeros(head.shape, np.uint32)
    for k, f in enumerate(head.fractions):
        box = bounding_box(f)
        packed[(*box, k)] = np.rint(f[box] * np.float32(65535.0))
        present[box] |= (f[box] > 0).astype(np.uint32) << np.uint32(k)
    grid = _grid(head)
    regions = {r: _to_coarse(head.fraction(t), head.affine, grid) for r, t in REGION_TISSUES.items()}
    inside = np.add.reduce(list(regions.values()))
    source = _Source(
        head=head,
        packed=packed,
        cells=occupied_cells(present),
        frame=np.stack([head.affine[:3, 3], np.diag(head.affine)[:3]]),
        grid=grid,
        regions=regions,
        inside=inside,
        body=_to_coarse(head.fraction(*head.tissues), head.affine, grid) > 0,
        volumes={r: float(f.sum(dtype=np.float64)) * SPACING**3 for r, f in regions.items()},
    )
    _PREPARED[:] = [source]
    return source


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


def make_subject(
    subject: Subject,
    head: Phantom | None = None,
    *,
    voxel_size: float | tuple[float, float, float] | None = None,
) -> Phantom:
    """Return the phantom of a subject.

    One velocity field, the sum of a smooth random field and of an irrotational field whose divergence is
    iterated until the regional volumes are met, is exponentiated (so the deformation cannot fold), combined
    with the linear scale of the intracranial volume, and applied to the head's fractions.

    Parameters
    ----------
    subject : Subject
        From `sample_cohort`.
    head : Phantom, optional
        Head with the tissues of `icbm152_head`; default: that head on its own 0.9 mm grid (sharpest).
    voxel_size : float or tuple of float, optional
        Voxel size of the result [m]; default: the head's.

    Returns
    -------
    Phantom
        Fractions in steps of 1/255, labels, and in `truth`: age, sex, icv_ml, volumes_ml (achieved, as
        counted in the returned fractions), target_ml, expected_ml (the planted law), deformation statistics
        and tissue scales.
    """
    source = _prepare(icbm152_head(None) if head is None else head)
    scale = (subject.icv / intracranial_volume(source.volumes)) ** (1.0 / 3.0)
    grid = source.grid
    rng = subject.rng(1)
    wild = random_velocity(grid, rng, sigma=subject.shape_sigma / scale)
    fit = _Fit(source, wild, {r: v / scale**3 for r, v in subject.volumes.items()})
    size = np.broadcast_to(np.asarray(source.frame[1] if voxel_size is None else voxel_size, float), 3)
    if not (np.isfinite(size).all() and (size >= 2e-4).all() and (size <= 2e-2).all()):
        raise PhantomError(f"voxel_size must be in metres, 0.2 mm to 20 mm; got {voxel_size}. 1 mm is 1e-3.")
    for _ in range(ROUNDS):
        fit.iterate(ITERATIONS)
        fit.follow()
    for probe in PROBES:
        # Measured on the warped head itself, on a grid of coarse voxels with dense samples.
        volumes = region_volumes(*_warp(source, fit.inverse(), scale, np.full(3, probe), 2))
        ratio = {r: subject.volumes[r] * 1e6 / volumes[r] for r in subject.volumes}
        fit.retarget(ratio, subject.icv * 1e6 / intracranial_volume(volumes))
        fit.iterate(4)
    sub = max(1, round(float(size.max() / source.frame[1].min() / scale)))
    fractions, tissues, side, affine = _warp(source, fit.inverse(), scale, size, sub)
    volumes = region_volumes(fractions, tissues, side, affine)
    labels = region_labels(fractions, source.head.tissues, side)
    truth = _truth(subject, fit, volumes, scale)
    if "notice" in source.head.truth:
        truth["notice"] = source.head.truth["notice"]
    return Phantom(
        name=subject.id,
        tissues=source.head.tissues,
        fractions=fractions,
        affine=affine,
        table=source.head.table,
        scale={k: dict(v) for k, v in subject.scale.items() if k in source.head.tissues},
        labels=labels,
        regions=dict(source.head.regions),
        truth=truth,
        chi_outside=source.head.chi_outside,
    )


class _Fit:
    """The iteration for the prescribed volumes, in template units."""

    def __init__(self, source: _Source, wild: Field, targets: dict[str, float]) -> None:
        self.source, self.wild, self.targets = source, wild, dict(targets)
        self.amount = {r: math.log(targets[r] / source.volumes[r]) for r in targets}
        # The prescribed part is confined to the inside of the skull, with a soft edge.
        near = ndimage.gaussian_filter(np.clip(source.inside, 0, 1), 1.0)
        self.window = np.clip(near * 4.0, 0.0, 1.0).astype(np.float32)
        # The total volume inside the skull belongs to the prescription too: it absorbs the random field.
        self.total = intracranial_volume(source.volumes)
        self.rest = 0.0
        self.velocity = wild
        self.moving = source.regions
        self.jacobian = np.ones_like(source.inside)

    def _solve(self) -> None:
        d = np.zeros_like(self.source.inside)
        for region, a in self.amount.items():
            d += np.float32(a) * self.moving[region]
        d += np.float32(self.rest) * self.moving["sulcal_csf"]
        v = potential_velocity(d, SPACING) * self.window
        self.velocity = np.asarray(self.wild + v, np.float32)

    def iterate(self, count: int) -> None:
        """Move the log divergences towards the targets, measured by the Jacobian."""
        csf = self.source.regions["sulcal_csf"]
        for _ in range(count):
            self._solve()
            self.jacobian = jacobian(exponential(self.velocity, SPACING), SPACING)
            for region in self.amount:
                got = self._volume(self.source.regions[region])
                self.amount[region] += math.log(self.targets[region] / got)
            want = self.total - self._volume(self.source.inside) + self._volume(csf)
            self.rest += math.log(max(want, 1e-6) / self._volume(csf))
        self._solve()

    def follow(self) -> None:
        """Let the divergence act where the regions are along the flow, not only where they start.

        A stationary field acts at fixed places, but a growing region moves out of its first place; averaging
        over start, middle and end spreads the growth evenly and keeps the map far from folding.
        """
        names = list(self.source.regions)
        start = np.stack([self.source.regions[r] for r in names])
        middle = pull(start, exponential(-0.5 * self.velocity, SPACING), SPACING)
        end = pull(start, exponential(-self.velocity, SPACING), SPACING)
        mean = 0.25 * start + 0.5 * middle + 0.25 * end
        self.moving = dict(zip(names, mean, strict=True))

    def _volume(self, f: NDArray[np.float32]) -> float:
        return float((f * self.jacobian).sum(dtype=np.float64)) * SPACING**3

    def retarget(self, ratio: dict[str, float], total: float) -> None:
        """Correct the targets by what a measurement on the warped head still misses."""
        self.total *= total
        for region, factor in ratio.items():
            self.targets[region] *= factor
            self.amount[region] += math.log(factor)

    def inverse(self) -> Field:
        """Return the displacement of the subject -> template map."""
        return exponential(-self.velocity, SPACING)


def _warp(
    source: _Source, u: Field, scale: float, size: NDArray[np.float64], sub: int
) -> tuple[NDArray[np.float32], tuple[str, ...], NDArray[np.float32], NDArray[np.float64]]:
    """Pull the head through the deformation; return fractions, tissues, share of the left side and affine."""
    low = (source.frame[0] - 0.5 * source.frame[1]) * scale
    high = low + np.asarray(source.head.shape) * source.frame[1] * scale
    shape = [int(n) for n in np.ceil((high - low) / size - 1e-9)]
    start = 0.5 * (low + high) - 0.5 * np.asarray(shape) * size + 0.5 * size
    start[2] = low[2] + 0.5 * size[2]
    out = np.zeros((len(source.head.tissues), *shape), np.uint8)
    side = np.zeros(shape, np.uint8)
    grid = source.grid
    reach = np.sqrt((u**2).sum(axis=0)).max() + 0.5 * np.linalg.norm(size) / scale
    near = ndimage.binary_dilation(source.body, iterations=1 + math.ceil(reach / grid.spacing))
    warp_packed(
        source.packed,
        source.cells,
        source.frame,
        u,
        np.stack([np.asarray(grid.origin), np.full(3, grid.spacing)]),
        np.stack([start, size]) / scale,
        near,
        sub,
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
    return fractions, source.head.tissues, levels[side], affine


def _truth(subject: Subject, fit: _Fit, volumes: dict[str, float], scale: float) -> dict[str, Any]:
    u = exponential(fit.velocity, SPACING)
    lowest = min(lowest_jacobian(u, SPACING), lowest_jacobian(fit.inverse(), SPACING))
    if not lowest > 0:
        raise PhantomError(
            f"the deformation of {subject.id} must not fold; got a Jacobian of {lowest:.3f}. "
            "Its volumes are too far from the head's: narrow the cohort's spreads or ages."
        )
    j = jacobian(u, SPACING)[fit.window > 0]
    length = np.sqrt((u**2).sum(axis=0))[fit.window > 0] * scale
    return {
        "id": subject.id,
        "index": subject.index,
        "seed": subject.seed,
        "age": subject.age,
        "sex": subject.sex,
        "icv_ml": intracranial_volume(volumes),
        "icv_target_ml": subject.icv * 1e6,
        "volumes_ml": volumes,
        "target_ml": {r: v * 1e6 for r, v in subject.volumes.items()},
        "expected_ml": {r: v * 1e6 for r, v in subject.expected.items()},
        "tissue_scale": subject.scale,
        "deformation": {
            "linear_scale": scale,
            "jacobian_min": lowest,
            "jacobian_max": float(j.max()),
            "jacobian_log_sd": float(np.log(np.maximum(j, 1e-6)).std()),
            "displacement_mean_mm": float(length.mean() * 1e3),
            "displacement_max_mm": float(length.max() * 1e3),
        },
    }

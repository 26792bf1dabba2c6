"""Point clouds on a grid: where the points lie, and tissues of equal values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .cloud import PointCloud
from .phantom import Phantom, PhantomError
from .tissues import TissueProperties, TissueTable
from .voxels import GAMMA_BAR

MAX_VOXELS = 512**3
MAX_TISSUES = 64
OFF_GRID = 1e-3
"""Distance from a voxel centre, in voxels, that a point on a grid may have: files of single precision."""
VALUES = ("t1", "t2", "t2_prime", "df", "adc")

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class PointGrid:
    """Voxels of a cloud: shape, affine (4, 4) [m] and the flat (C order) voxel of each point (n,)."""

    shape: tuple[int, int, int]
    affine: Array
    index: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class PointTissue:
    """Some points of a cloud, no two of them in one voxel: a name and their numbers."""

    name: str
    points: NDArray[np.intp]


def point_grid(cloud: PointCloud) -> PointGrid:
    """Return the grid that the points of a cloud lie on.

    That of the file they came from where the cloud knows it; else the smallest one around the points with
    the cloud's voxels. For points without extent the spacing along x, y and z is the smallest distance of two
    of them; an axis along which they do not differ takes the smallest spacing of the others.

    Raises
    ------
    PhantomError
        If the points lie on no grid, or on one of more than 512^3 voxels.
    """
    voxel = cloud.voxel if cloud.voxel is not None else np.diag(_spacing(cloud.position))
    if abs(np.linalg.det(voxel)) < 1e-30:
        raise PhantomError("the voxels of a cloud on a grid must have a volume; theirs is 0.")
    relative = (cloud.position - cloud.position[0]) @ np.linalg.inv(voxel).T
    places = np.rint(relative)
    if (off := float(np.abs(relative - places).max())) > OFF_GRID:
        raise PhantomError(
            f"the points of {cloud.name!r} must lie on a grid of their voxels; one is {off:.3g} voxels away "
            "from it. Only formats of free spins can hold them."
        )
    steps = places.astype(np.int64)
    shape = cloud.source.get("shape")
    if shape is not None and cloud.index is not None and len(shape) == 3:
        start = np.array(np.unravel_index(cloud.index[0], shape))
        if np.array_equal(np.ravel_multi_index(_clipped(start + steps, shape), shape), cloud.index):
            return _grid(cloud, voxel, start, (int(shape[0]), int(shape[1]), int(shape[2])), cloud.index)
    start = -steps.min(axis=0)
    nx, ny, nz = (int(k) for k in steps.max(axis=0) + start + 1)
    if nx * ny * nz > MAX_VOXELS:
        raise PhantomError(
            f"the points of {cloud.name!r} must span at most {MAX_VOXELS} voxels; they span {(nx, ny, nz)}."
        )
    index = np.ravel_multi_index(tuple((steps + start).T), (nx, ny, nz))
    return _grid(cloud, voxel, start, (nx, ny, nz), index)


def _clipped(places: NDArray[np.int64], shape: list[int]) -> tuple[NDArray[np.int64], ...]:
    return tuple(np.clip(places, 0, np.array(shape) - 1).T)


def _grid(
    cloud: PointCloud,
    voxel: Array,
    start: NDArray[np.int64],
    shape: tuple[int, int, int],
    index: NDArray[np.int64],
) -> PointGrid:
    affine = np.eye(4)
    affine[:3, :3] = voxel
    affine[:3, 3] = cloud.position[0] - voxel @ start
    return PointGrid(shape=shape, affine=affine, index=np.asarray(index, np.int64))


def _spacing(position: Array) -> Array:
    steps = np.zeros(3)
    for axis, column in enumerate(position.T):
        gaps = np.diff(np.unique(column))
        gaps = gaps[gaps > 1e-7]  # a tenth of a micrometre: rounding of files
        steps[axis] = gaps.min() if gaps.size else 0.0
    if not steps.any():
        raise PhantomError("a single point has no spacing: give the cloud a voxel to put it on a grid.")
    return np.where(steps > 0, steps, steps[steps > 0].min())


def point_tissues(
    cloud: PointCloud,
    index: NDArray[np.int64],
    limit: int,
    *,
    uniform: bool = False,
    summed: bool = False,
) -> tuple[PointTissue, ...]:
    """Return the points of a cloud in parts without two points in one voxel.

    The tissues of the file where the cloud still has their order (and, with `uniform`, each has one value
    of everything); else points of equal relaxation, off-resonance and diffusion, if there are at most `limit`
    kinds of them; else the first point of each voxel, the second, and so on. With `summed`, points of equal
    values may share a voxel: whoever asks adds their densities.
    """
    named = cloud.source.get("tissues")
    if isinstance(named, dict) and sum(named.values()) == cloud.size:
        ends = np.cumsum(list(named.values()))
        parts = [
            PointTissue(name=k, points=np.arange(e - n, e))
            for (k, n), e in zip(named.items(), ends.tolist(), strict=True)
            if n
        ]
        fits = not uniform or not any(_mixed(cloud, p) for p in parts)
        if fits and all(_single(index[p.points]) for p in parts):
            return tuple(parts)
    kinds = _kinds(cloud)
    if kinds.max() < limit:
        parts = [
            PointTissue(name=f"tissue-{k + 1}", points=np.flatnonzero(kinds == k))
            for k in range(kinds.max() + 1)
        ]
        if summed or all(_single(index[p.points]) for p in parts):
            return tuple(parts)
    rank = _ranks(index)
    return tuple(
        PointTissue(name=f"layer-{k + 1}", points=np.flatnonzero(rank == k)) for k in range(rank.max() + 1)
    )


def _mixed(cloud: PointCloud, part: PointTissue) -> list[str]:
    """Return the names of the values that vary over the points of a part."""
    columns = {k: getattr(cloud, k)[part.points] for k in VALUES}
    return [k for k, v in columns.items() if (v != v[0]).any()]


def _single(index: NDArray[np.int64]) -> bool:
    return bool(np.unique(index).size == index.size)


def _kinds(cloud: PointCloud) -> NDArray[np.int64]:
    """Return the number of the set of values of each point; sets in order of first appearance."""
    code = np.zeros(cloud.size, np.int64)
    for name in VALUES:
        _, inverse = np.unique(getattr(cloud, name), return_inverse=True)
        _, code = np.unique(code * (int(inverse.max()) + 1) + inverse, return_inverse=True)
    _, first = np.unique(code, return_index=True)
    return np.asarray(np.argsort(np.argsort(first))[code], np.int64)


def _ranks(index: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return which one of the points of its voxel each point is, counted from 0."""
    order = np.argsort(index, kind="stable")
    arranged = index[order]
    starts = np.flatnonzero(np.append(True, arranged[1:] != arranged[:-1]))
    within = np.arange(index.size) - np.repeat(starts, np.diff(np.append(starts, index.size)))
    rank = np.empty(index.size, np.int64)
    rank[order] = within
    return rank


def phantom_from_cloud(cloud: PointCloud) -> Phantom:
    """Return the phantom of tissues that a point cloud on a grid is, for the k-space engine.

    Each tissue keeps its times, chemical shift (from `df` at the field of the cloud) and diffusion; its
    proton density is its largest m0, raised for all tissues alike where fractions would sum to more than 1,
    so that fraction times proton density is m0 to single precision. Susceptibility is 0 inside and outside:
    fields that the file does not hold are not invented.

    Parameters
    ----------
    cloud : PointCloud
        With at most 64 different sets of values.

    Returns
    -------
    Phantom
        On the smallest grid or that of the file; its table holds at the field of the cloud only.

    Raises
    ------
    PhantomError
        If the cloud is none of tissues: free points, maps of values, fields, movement, a bound pool.
    """
    _check_plain(cloud)
    grid = point_grid(cloud)
    parts = point_tissues(cloud, grid.index, MAX_TISSUES, uniform=True, summed=True)
    maps, tissues = [], []
    b0 = cloud.b0
    for part in parts:
        if mixed := _mixed(cloud, part):
            raise PhantomError(
                f"a phantom must have one value per tissue; {mixed} vary over more than "
                f"{MAX_TISSUES} kinds of voxels."
            )
        row = {k: float(getattr(cloud, k)[part.points[0]]) for k in VALUES}
        if row["df"] and b0 is None:
            raise PhantomError(
                "off-resonance needs the field strength of the cloud (b0) to become a shift in ppm."
            )
        held = np.bincount(grid.index[part.points], cloud.m0[part.points], int(np.prod(grid.shape)))
        density = np.asarray(held, np.float64)
        if row["t2"] > row["t1"]:
            raise PhantomError(f"t2 must not exceed t1; tissue {part.name!r} has {row['t2']}, {row['t1']} s.")
        maps.append(density)
        tissues.append((part.name, row))
    return _assembled(cloud, grid, maps, tissues)


def _check_plain(cloud: PointCloud) -> None:
    held = {
        "a movement": cloud.motion is not None,
        "a bound pool": cloud.bound is not None,
        "receive sensitivities": cloud.sensitivity is not None,
        "transmit fields": bool((cloud.b1 != 1).any()),
    }
    if names := [k for k, present in held.items() if present]:
        raise PhantomError(
            f"a phantom of tissues has no place for {', '.join(names)} of {cloud.name!r}. "
            "Use --engine bloch, which takes points as they are."
        )


def _assembled(
    cloud: PointCloud, grid: PointGrid, maps: list[Array], tissues: list[tuple[str, dict[str, float]]]
) -> Phantom:
    top = [float(m.max()) for m in maps]
    fractions = np.stack([m / t if t > 0 else m for m, t in zip(maps, top, strict=True)])
    # Fractions above 1 in sum: all tissues give way alike, and their densities rise by what they gave.
    over = max(1.0, float(fractions.sum(axis=0).max()))
    rows = [
        TissueProperties(
            name=name,
            t1=row["t1"],
            t2=row["t2"],
            t2_prime=row["t2_prime"],
            pd=pd * over,
            adc=row["adc"],
            shift_ppm=row["df"] * 1e6 / (GAMMA_BAR * cloud.b0) if cloud.b0 else 0.0,
            sources={"all": str(cloud.source.get("file", "file"))},
        )
        for (name, row), pd in zip(tissues, top, strict=True)
    ]
    return Phantom(
        name=cloud.name,
        tissues=tuple(t.name for t in rows),
        fractions=(fractions / over).reshape(len(rows), *grid.shape).astype(np.float32),
        affine=grid.affine,
        table=TissueTable.uniform(*rows),
        provenance={
            **{k: v for k, v in cloud.source.items() if k not in ("shape", "tissues", "affine_mm")},
            **({} if cloud.b0 is None else {"values_hold_at_t": cloud.b0}),
        },
        chi_outside=0.0,
    )

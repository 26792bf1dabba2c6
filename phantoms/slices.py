"""Orthogonal planes through a phantom or a cloud: tissues, T1, T2 and proton density, ready to be drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cloud import PointCloud
from .gridding import MAX_TISSUES, PointGrid, point_grid, point_tissues
from .phantom import BRAIN_TISSUES, Phantom, PhantomError

BINS = 96
"""Along the longest axis, for points that lie on no grid."""
Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Plane:
    """One plane, first axis to the right and second axis up.

    `tissues` is (tissue, a, b), the share of each tissue in 0..1; `pd`, `t1`, `t2` [s] are (a, b), the times
    from mean rates weighted by proton density, infinite without relaxation and NaN where there is nothing.
    """

    tissues: Array
    pd: Array
    t1: Array
    t2: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class Volume:
    """Shares (tissue, x, y, z) and the density and rates that they carry, in RAS order.

    `weights` (tissue,) is the proton density, `texture` (x, y, z) a factor of it, `rates` (2, tissue) are
    1/T1 and 1/T2 of the tissues; or `maps` (3, x, y, z) holds density, density / T1 and density / T2 of each
    voxel.
    """

    names: tuple[str, ...]
    shares: Array
    affine: NDArray[np.float64]
    volumes: dict[str, float]
    weights: NDArray[np.float64] | None = None
    rates: NDArray[np.float64] | None = None
    maps: Array | None = None
    texture: Array | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along x, y, z."""
        return tuple(self.shares.shape[1:])

    def plane(self, axis: int, place: int) -> Plane:
        """Return the plane at a voxel number along an axis."""
        cut = (slice(None),) * axis + (place,)
        shares = np.asarray(self.shares[(slice(None), *cut)], np.float64)
        if self.maps is not None:
            pd, r1, r2 = (np.asarray(m[cut], np.float64) for m in self.maps)
        else:
            assert self.weights is not None
            assert self.rates is not None
            dense = shares * self.weights[:, None, None]
            if self.texture is not None:
                dense *= self.texture[cut]
            pd = dense.sum(axis=0)
            r1, r2 = (np.einsum("tab,t->ab", dense, r) for r in self.rates)
        with np.errstate(divide="ignore", invalid="ignore"):
            t1, t2 = (np.where(pd > 0, pd / r, np.nan) for r in (r1, r2))
        return Plane(tissues=shares, pd=pd, t1=t1, t2=t2)

    def occupied(self) -> tuple[tuple[int, int], ...]:
        """Return first and last voxel with some tissue, per axis."""
        out = []
        for axis in range(3):
            others = tuple(k for k in range(4) if k != axis + 1)
            filled = np.flatnonzero(self.shares.max(axis=others) > 0)
            out.append((int(filled[0]), int(filled[-1])) if filled.size else (0, self.shape[axis] - 1))
        return tuple(out)

    def middle(self) -> tuple[int, ...]:
        """Return the voxel in the middle of the brain; of other objects one whose planes show the inside."""
        brain = [k for k, n in enumerate(self.names) if n in BRAIN_TISSUES]
        inside = self.shares[brain].sum(axis=0)
        total = float(inside.sum(dtype=np.float64))
        if total == 0:
            return tuple(self._telling(axis, a, b) for axis, (a, b) in enumerate(self.occupied()))
        sums = [inside.sum(axis=tuple(a for a in range(3) if a != k), dtype=np.float64) for k in range(3)]
        return tuple(round(float((s * np.arange(s.size)).sum()) / total) for s in sums)

    def _telling(self, axis: int, first: int, last: int) -> int:
        """Return the plane nearest to the middle that shows most of all tissues but the largest one.

        Only the inner half is looked at, as the ends show shells; of a single tissue any plane that holds
        half as much as the fullest one will do, as walls and gaps may lie in the middle.
        """
        others = tuple(k for k in range(3) if k != axis)
        held = np.stack([s.sum(axis=others, dtype=np.float64) for s in self.shares])
        largest = int(held.sum(axis=1).argmax())
        amount = held.sum(axis=0) - (held[largest] if len(held) > 1 else 0.0)
        middle, reach = (first + last) // 2, (last - first) // 4
        planes = np.arange(middle - reach, middle + reach + 1)
        enough = amount[planes] >= (0.9 if len(held) > 1 else 0.5) * amount[planes].max()
        return int(min(planes[enough], key=lambda p: abs(p - middle)))


def volume_of(source: Phantom | PointCloud, b0: float) -> Volume:
    """Return the volume of a phantom at a field strength [T], or of the points of a cloud."""
    return _of_phantom(source, b0) if isinstance(source, Phantom) else _of_cloud(source)


def _of_phantom(phantom: Phantom, b0: float) -> Volume:
    rows = phantom.properties(b0)
    shares, affine = _in_ras(phantom.fractions, phantom.affine)
    return Volume(
        names=phantom.tissues,
        shares=shares,
        affine=affine,
        volumes=phantom.volumes(),
        weights=np.array([p.pd for p in rows]),
        rates=np.array([[1.0 / p.t1 for p in rows], [1.0 / p.t2 for p in rows]]),
        texture=None if phantom.texture is None else _in_ras(phantom.texture[None], phantom.affine)[0][0],
    )


def _of_cloud(cloud: PointCloud) -> Volume:
    try:
        grid = point_grid(cloud)
    except PhantomError:
        grid = _binned(cloud)
    size = int(np.prod(grid.shape))

    def summed(values: Array, which: Array) -> Array:
        return np.bincount(grid.index[which], values[which], size).reshape(grid.shape).astype(np.float32)

    everyone = np.arange(cloud.size)
    parts = point_tissues(cloud, grid.index, MAX_TISSUES, summed=True)
    shares = np.stack([summed(cloud.m0, p.points) for p in parts])
    top = float(shares.sum(axis=0).max())
    maps = np.stack([summed(v, everyone) for v in (cloud.m0, cloud.m0 / cloud.t1, cloud.m0 / cloud.t2)])
    cell = float(abs(np.linalg.det(grid.affine[:3, :3])))
    shares /= np.float32(top or 1.0)
    volumes = {p.name: cell * float(s.sum(dtype=np.float64)) for p, s in zip(parts, shares, strict=True)}
    shares, affine = _in_ras(shares, grid.affine)
    return Volume(
        names=tuple(p.name for p in parts),
        shares=shares,
        affine=affine,
        volumes=volumes,
        maps=_in_ras(maps, grid.affine)[0],
    )


def _binned(cloud: PointCloud) -> PointGrid:
    """Return cubes that the points fall into."""
    low, high = cloud.position.min(axis=0), cloud.position.max(axis=0)
    extent = float((high - low).max())
    edge = extent / BINS if extent > 1e-6 else 1e-3  # a single point is drawn as a millimetre
    places = np.floor((cloud.position - low) / edge).astype(np.int64)
    nx, ny, nz = (int(k) + 1 for k in places.max(axis=0))
    affine = np.diag([edge, edge, edge, 1.0])
    affine[:3, 3] = low + edge / 2
    index = np.ravel_multi_index(tuple(places.T), (nx, ny, nz))
    return PointGrid(shape=(nx, ny, nz), affine=affine, index=np.asarray(index, np.int64))


def _in_ras(maps: Array, affine: NDArray[np.float64]) -> tuple[Array, NDArray[np.float64]]:
    """Return maps (k, x, y, z) with the axes turned so that they run most nearly right, front and up."""
    from nibabel.orientations import inv_ornt_aff, io_orientation

    turn = io_orientation(affine)
    order = np.argsort(turn[:, 0]).astype(int)
    turned = maps.transpose(0, *(order + 1))
    flips = tuple(slice(None, None, int(turn[k, 1])) for k in order)
    return turned[(slice(None), *flips)], np.asarray(affine @ inv_ornt_aff(turn, maps.shape[1:]), np.float64)

"""Virtual objects of the MRiLab simulator (`VObj` in a MATLAB file)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..bound import BoundPool
from ..cloud import PointCloud
from ..file_error import PhantomFileError, blamed_on, present_file
from ..phantom import PhantomError
from .matlab import read_arrays

MAX_VOXELS = 512**3
MAX_POOLS = 16
NEEDED = ("XDim", "YDim", "ZDim", "XDimRes", "YDimRes", "ZDimRes", "Rho", "T1", "T2")
LINESHAPES: tuple[Literal["super_lorentzian", "gaussian"], ...] = ("super_lorentzian", "gaussian")

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Object:
    """Fields of a VObj: maps of shape (pool, x, y, z), exchange (from, to, x, y, z) [1/s] or None."""

    spacing: Array
    rho: Array
    t1: Array
    t2: Array
    t2_star: Array
    shift: Array
    bound: NDArray[np.bool_]
    shapes: NDArray[np.int64]
    exchange: Array | None


def read_mrilab(path: str | Path, *, b0: float = 3.0) -> PointCloud:
    """Read a virtual object of MRiLab.

    Rho, T1, T2, T2Star [s] have the axes of MATLAB's `meshgrid`, (y, x, z, pool): with as many columns as
    XDim, and rows as YDim. Only where the two differ and fit the other way round is the first axis x. The
    middle of the grid is the origin; x, y, z are taken as the world's axes, as MRiLab takes them for its
    gradients. XDimRes, YDimRes, ZDimRes are metres, ChemShift is Hz/T: ``df = ChemShift * b0``. Points with
    Rho > 0 are kept; 1/T2' = 1/T2Star - 1/T2 where that is positive.

    Free pools become points that overlap. A bound pool (TypeFlag 1, or the second of a "Two-pool MT" object)
    becomes the `BoundPool` of the free pool it exchanges with fastest, K[from, to] in 1/s. What a point cloud
    cannot hold is named in ``source["lost"]``: exchange between free pools, further bound pools, and the
    electric properties.

    Parameters
    ----------
    path : str or Path
        MATLAB file of version 5 to 7.3 with the struct ``VObj``.
    b0 : float
        Field strength [T] for the chemical shift; the file has none.

    Returns
    -------
    PointCloud
        `signal_scale` is the voxel volume [m^3].

    Raises
    ------
    PhantomFileError
        With file and field, if the file is not as it must be.
    FileNotFoundError
        If there is no such file.
    """
    path = present_file(path)
    if not 0 < b0 < np.inf:
        raise PhantomError(f"b0 must be positive; got {b0} T.")
    fields = read_arrays(path, "VObj")
    if missing := [k for k in NEEDED if k not in fields]:
        raise PhantomFileError(f"{path}: VObj must have the fields {NEEDED}; missing {missing}.")
    obj = _object(path, fields)
    lost: list[str] = [
        f"{k} (electric properties)" for k in ("ECon", "MassDen") if np.size(fields.get(k, ()))
    ]
    free = np.flatnonzero(~obj.bound)
    where = [np.flatnonzero(obj.rho[p].ravel() > 0) for p in free]
    if not sum(w.size for w in where):
        raise PhantomFileError(f"{path}: 'Rho' of a free pool must be above 0 somewhere; it is 0 everywhere.")
    return _cloud(path, obj, free, where, b0, lost)


def _cloud(
    path: Path,
    obj: _Object,
    free: NDArray[np.intp],
    where: list[NDArray[np.intp]],
    b0: float,
    lost: list[str],
) -> PointCloud:
    def gather(maps: Array) -> Array:
        return np.concatenate([maps[p].ravel()[w] for p, w in zip(free, where, strict=True)])

    t1, t2, t2_star = (gather(m) for m in (obj.t1, obj.t2, obj.t2_star))
    for name, value in (("T1", t1), ("T2", t2), ("T2Star", t2_star)):
        if not (value > 0).all():
            raise PhantomFileError(
                f"{path}: {name!r} must be positive seconds wherever Rho > 0; got {value.min()}. "
                "Set Rho to 0 there or give the time."
            )
    rate = 1.0 / t2_star - 1.0 / t2
    dephases = rate > 1e-12 / t2_star
    index = np.concatenate(where).astype(np.int64)
    shape = obj.rho.shape[1:]
    places = np.stack(np.unravel_index(index, shape), axis=-1)
    sizes = [w.size for w in where]
    names = {f"pool-{p + 1}": n for p, n in zip(free.tolist(), sizes, strict=True)}
    bound = _bound(path, obj, free, where, lost)
    with blamed_on(path, "content must describe spins"):
        return PointCloud(
            name=path.stem,
            position=(places - (np.array(shape) - 1) / 2) * obj.spacing,
            m0=gather(obj.rho),
            t1=t1,
            t2=t2,
            t2_prime=np.divide(1.0, rate, out=np.full(rate.shape, np.inf), where=dephases),
            df=np.repeat(obj.shift[free] * b0, sizes),
            voxel=np.diag(obj.spacing),
            signal_scale=float(np.prod(obj.spacing)),
            bound=bound,
            index=index,
            source={
                "format": "mrilab",
                "file": path.name,
                "shape": list(shape),
                "tissues": names,
                "lost": lost,
            },
            b0=b0,
        )


def _object(path: Path, fields: dict[str, Any]) -> _Object:
    def number(name: str) -> float:
        value = np.asarray(fields[name], np.float64)
        if value.size != 1 or not np.isfinite(value).all() or not value.ravel()[0] > 0:
            raise PhantomFileError(f"{path}: {name!r} must be one positive number; got {value.tolist()}.")
        return float(value.ravel()[0])

    dims = tuple(int(number(k)) for k in ("XDim", "YDim", "ZDim"))
    pools = int(number("TypeNum")) if "TypeNum" in fields else 1
    if not 1 <= pools <= MAX_POOLS or np.prod(dims, dtype=object) > MAX_VOXELS:
        raise PhantomFileError(
            f"{path}: VObj must have 1..{MAX_POOLS} pools and {MAX_VOXELS} voxels; got {pools}, {dims}."
        )
    maps = {k: _map(path, fields, k, dims, pools) for k in ("Rho", "T1", "T2")}
    maps["T2Star"] = _map(path, fields, "T2Star", dims, pools) if "T2Star" in fields else maps["T2"]
    kind = str(fields.get("Type", ""))
    shift = np.asarray(fields.get("ChemShift", ()), np.float64).ravel()
    shift = shift if shift.size else np.zeros(pools)  # MATLAB's [] is no shift
    if shift.size != pools or not np.isfinite(shift).all():
        raise PhantomFileError(f"{path}: 'ChemShift' must hold {pools} finite numbers; got {shift.tolist()}.")
    default = np.arange(pools) == 1 if kind == "Two-pool MT" else np.zeros(pools)
    return _Object(
        spacing=np.array([number(k) for k in ("XDimRes", "YDimRes", "ZDimRes")]),
        rho=maps["Rho"],
        t1=maps["T1"],
        t2=maps["T2"],
        t2_star=maps["T2Star"],
        shift=shift,
        bound=_flags(path, fields, "TypeFlag", default) == 1,
        shapes=_flags(path, fields, "LineShapeFlag", np.zeros(pools)),
        exchange=_exchange(path, fields, dims, pools) if "K" in fields and pools > 1 else None,
    )


def _flags(path: Path, fields: dict[str, Any], name: str, default: NDArray[Any]) -> NDArray[np.int64]:
    value = np.asarray(fields.get(name, default)).ravel().astype(np.int64)
    if value.size != default.size or not np.isin(value, (0, 1)).all():
        raise PhantomFileError(f"{path}: {name!r} must be {default.size} flags 0 or 1; got {value.tolist()}.")
    return value


def _map(path: Path, fields: dict[str, Any], name: str, dims: tuple[int, ...], pools: int) -> Array:
    """Return a map with the axes (pool, x, y, z)."""
    value = np.asarray(fields[name])
    if value.dtype.kind not in "iuf" or value.size != int(np.prod(dims)) * pools:
        raise PhantomFileError(
            f"{path}: {name!r} must hold numbers of shape (YDim, XDim, ZDim, pools) = "
            f"{(dims[1], dims[0], dims[2], pools)}; got {value.dtype} {value.shape}."
        )
    out = np.moveaxis(_rows_to_y(path, name, value, dims, (pools,)), -1, 0)
    # Times are looked at where there is magnetization: elsewhere programs leave what a division gave.
    if name == "Rho" and not (np.isfinite(out).all() and out.min() >= 0):
        raise PhantomFileError(f"{path}: {name!r} must be finite and not negative; got {out.min()}.")
    return out


def _rows_to_y(
    path: Path, name: str, value: NDArray[Any], dims: tuple[int, ...], rest: tuple[int, ...]
) -> Array:
    """Return a map as (x, y, z, ...): MATLAB drops trailing axes of length one, and its rows are y."""
    head = value.shape + (1,) * (3 - value.ndim)
    x, y, z = dims
    if head[:3] == (y, x, z):
        full = value.reshape((y, x, z, *rest), order="F").swapaxes(0, 1)
    elif head[:3] == (x, y, z):
        full = value.reshape((x, y, z, *rest), order="F")
    else:
        raise PhantomFileError(
            f"{path}: {name!r} must have the axes (YDim, XDim, ZDim) = {(y, x, z)}; got {value.shape}."
        )
    return np.asarray(full, np.float64)


def _exchange(path: Path, fields: dict[str, Any], dims: tuple[int, ...], pools: int) -> Array:
    """Return the rates (from, to, x, y, z); a flat pair axis runs over `to` first."""
    value = np.asarray(fields["K"])
    if value.dtype.kind not in "iuf" or value.size != int(np.prod(dims)) * pools**2:
        raise PhantomFileError(
            f"{path}: 'K' must hold {pools} x {pools} rates per voxel; got {value.dtype} {value.shape}."
        )
    if value.ndim == 4:
        k = _rows_to_y(path, "K", value, dims, (pools**2,)).reshape(*dims, pools, pools)
    else:
        k = _rows_to_y(path, "K", value, dims, (pools, pools))
    if not np.isfinite(k).all() or k.min() < 0:
        raise PhantomFileError(f"{path}: 'K' must be finite and not negative; got {k.min()}.")
    return np.moveaxis(k, (-2, -1), (0, 1))


def _bound(
    path: Path, obj: _Object, free: NDArray[np.intp], where: list[NDArray[np.intp]], lost: list[str]
) -> BoundPool | None:
    """Return the bound pool of the points; what does not fit is added to `lost`."""
    if obj.exchange is not None and any(obj.exchange[i, j].any() for i in free for j in free if i != j):
        lost.append("exchange between free pools")
    held = np.flatnonzero(obj.bound)
    if not held.size or obj.exchange is None:
        return None
    p = int(held[0])
    if held.size > 1:
        lost.append(f"{held.size - 1} further bound pools")
    owner = int(free[int(np.argmax([obj.exchange[i, p].max() for i in free]))])

    def spread(value: Array, default: float) -> Array:
        parts = [
            value.ravel()[w] if i == owner else np.full(w.size, default)
            for i, w in zip(free, where, strict=True)
        ]
        return np.concatenate(parts)

    m0 = spread(obj.rho[p], 0.0)
    t1, t2 = spread(obj.t1[p], np.inf), spread(obj.t2[p], np.inf)
    empty = m0 <= 0
    with blamed_on(path, "the bound pool must be physical"):
        return BoundPool(
            m0=m0,
            k_f=np.where(empty, 0.0, spread(obj.exchange[owner, p], 0.0)),
            t1=np.where(empty, np.inf, t1),
            t2=np.where(empty, np.inf, t2),
            lineshape=LINESHAPES[int(obj.shapes[p])],
        )

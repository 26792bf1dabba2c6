"""Objects of the JEMRIS simulator: sample files and flat spin lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cloud import PointCloud
from ..file_error import PhantomFileError, blamed_on
from .hdf5 import group, has, open_hdf5, values

MAX_POINTS = 64 * 1024**2
SAMPLE_COLUMNS = 5
LIST_COLUMNS = ("x", "y", "z", "ρ", "T1", "T2", "T2s", "Δw")


def read_jemris(path: str | Path) -> PointCloud:
    """Read a JEMRIS sample file, or the same object as a flat list of spins.

    A sample file holds `/sample/data` with the axes (z, y, x, 5), squeezed for one slice or line, of M0, R1,
    R2, R2* [1/ms] and off-resonance [rad/s], with `/sample/resolution` and `/sample/offset` [mm]. A spin list
    holds x, y, z [m], ρ, T1, T2, T2s [s] and Δw [rad/s], each of shape (n,). The pools of a sample of five
    axes (z, y, x, pool, 5) become points that overlap; their exchange (`/sample/helper`) is named in
    ``source["lost"]``.

    Points without magnetization (M0 <= 0) are dropped, as JEMRIS does; a rate of 0 is an infinite time;
    1/T2' = max(R2* - R2, 0). `signal_scale` is 1/n: JEMRIS divides the signal by the number of its spins.

    Parameters
    ----------
    path : str or Path
        HDF5 file.

    Returns
    -------
    PointCloud
        With the voxel of the grid for a sample file and without extent for a spin list.

    Raises
    ------
    PhantomFileError
        With file and field, if the file is not as it must be.
    FileNotFoundError
        If there is no such file.
    """
    path = Path(path)
    with open_hdf5(path) as f:
        fields = _sample(f, path) if has(f, "sample") else _spin_list(f, path)
    keep = fields["m0"] > 0
    # Pools of one voxel are one spin to JEMRIS.
    n = np.unique(fields["index"][keep]).size if "index" in fields else int(np.count_nonzero(keep))
    if n == 0:
        raise PhantomFileError(f"{path}: at least one spin must have M0 > 0; none of {keep.size} has.")
    rows = {k: v[keep] if k not in ("voxel", "source") else v for k, v in fields.items()}
    with blamed_on(path, "content must describe spins"):
        return PointCloud(name=path.stem, signal_scale=1.0 / n, **rows)


def _sample(f: Any, path: Path) -> dict[str, Any]:
    data = values(f, path, "sample/data", (1, 2, 3, 4, 5), MAX_POINTS * SAMPLE_COLUMNS)
    if data.shape[-1] != SAMPLE_COLUMNS:
        raise PhantomFileError(
            f"{path}: the last axis of 'sample/data' must be M0, R1, R2, R2*, dw; got shape {data.shape}."
        )
    # One pool has no axis of its own.
    data = data if data.ndim == 5 else data[..., None, :]
    data = data.reshape((1,) * (5 - data.ndim) + data.shape)
    pools = data.shape[3]
    resolution = _three(f, path, "sample/resolution") * 1e-3
    # JEMRIS takes no offset where the file states none.
    offset = _three(f, path, "sample/offset") * 1e-3 if has(f["sample"], "offset") else np.zeros(3)
    if not (resolution > 0).all():
        raise PhantomFileError(f"{path}: 'sample/resolution' must be positive; got {resolution * 1e3} mm.")
    shape = data.shape[2], data.shape[1], data.shape[0]
    axes = [(np.arange(k) - (k - 1) / 2) * d + o for k, d, o in zip(shape, resolution, offset, strict=True)]
    z, y, x = np.meshgrid(*axes[::-1], indexing="ij")
    # Pool by pool, the voxels in the order of the file.
    m0, r1, r2, r2_star, dw = np.moveaxis(data, 3, 0).reshape(-1, SAMPLE_COLUMNS).T
    if min(r1.min(), r2.min(), r2_star.min()) < 0:
        raise PhantomFileError(f"{path}: the rates of 'sample/data' must not be negative; some are.")
    # x varies fastest in the file; places on a grid are numbered in the order (x, y, z) everywhere here.
    index = np.arange(x.size).reshape(shape).transpose(2, 1, 0).ravel()
    lost = [f"exchange between {pools} pools (sample/helper)"] if has(f["sample"], "helper") else []
    return {
        "position": np.tile(np.stack([x.ravel(), y.ravel(), z.ravel()], axis=-1), (pools, 1)),
        "m0": m0,
        "t1": _time(r1 * 1e3),
        "t2": _time(r2 * 1e3),
        "t2_prime": _time(np.maximum(r2_star - r2, 0.0) * 1e3),
        "df": dw / (2 * np.pi),
        "index": np.tile(index, pools),
        "voxel": np.diag(resolution),
        "source": {"format": "jemris-sample", "file": path.name, "shape": list(shape), "lost": lost},
    }


def _three(f: Any, path: Path, name: str) -> NDArray[np.float64]:
    value = values(f, path, name, (1, 2), 3).ravel()
    if value.size != 3:
        raise PhantomFileError(f"{path}: {name!r} must hold 3 numbers [mm]; got {value.size}.")
    return value


def _time(rate: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1/rate [s], infinite for a rate of 0."""
    return np.asarray(np.divide(1.0, rate, out=np.full(rate.shape, np.inf), where=rate > 0))


def _spin_list(f: Any, path: Path) -> dict[str, Any]:
    if missing := [k for k in LIST_COLUMNS if not has(f, k)]:
        raise PhantomFileError(
            f"{path}: a JEMRIS object must hold 'sample' or the spin list {LIST_COLUMNS}; missing {missing}, "
            f"the file has {sorted(f)}."
        )
    times = ("T1", "T2", "T2s")
    column = {k: values(f, path, k, 1, MAX_POINTS, infinite=k in times) for k in LIST_COLUMNS}
    if len({v.size for v in column.values()}) != 1:
        raise PhantomFileError(
            f"{path}: all columns must be equally long; got { ({k: v.size for k, v in column.items()}) }."
        )
    if bad := [k for k in times if not (column[k] > 0).all()]:
        raise PhantomFileError(f"{path}: the times {bad} must be positive seconds; some are not.")
    return {
        "position": np.stack([column["x"], column["y"], column["z"]], axis=-1),
        "m0": column["ρ"],
        "t1": column["T1"],
        "t2": column["T2"],
        "t2_prime": _time(np.maximum(1.0 / column["T2s"] - 1.0 / column["T2"], 0.0)),
        "df": column["Δw"] / (2 * np.pi),
        "source": {"format": "spin-list", "file": path.name},
    }


def is_jemris(f: Any, path: Path) -> bool:
    """Return whether an open HDF5 file looks like a JEMRIS sample or a spin list."""
    if has(f, "sample"):
        return has(group(f, path, "sample"), "data")
    return all(has(f, k) for k in LIST_COLUMNS)

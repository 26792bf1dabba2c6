"""Reading of KomaMRI phantom files (`.phantom`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cloud import PointCloud
from ..file_error import PhantomFileError, blamed_on
from .hdf5 import attribute_number, attribute_text, group, has, open_hdf5, values
from .koma_motion import read_motion

MAX_POINTS = 64 * 1024**2
ENDLESS = 1e6
"""Seconds that KomaMRI means as no relaxation."""
CONTRASTS = ("ρ", "T1", "T2", "T2s", "Δw", "Dλ1", "Dλ2", "Dθ")


def read_koma(path: str | Path) -> PointCloud:
    """Read a KomaMRI phantom.

    Positions [m], ρ, T1, T2, T2s [s] and Δw [rad/s] of each spin, and its motion, of files written with the
    time types of today (TimeCurve) and of 0.9.0-DEV (TimeRange, Periodic). What is absent has KomaMRI's
    default: ρ = 1, times of 1e6 s, which mean infinity, Δw = 0. 1/T2' = 1/T2s - 1/T2 where that is positive.

    Differences to KomaMRI, whose result depends there on how it cuts the sequence into blocks: a rotation
    about the centre of mass takes the centre at each time, not its mean over a block; the outer radius of a
    heart beat is that at rest. Spins that return fresh (`spin_reset` of a FlowPath) are kept for files
    (`Motion.resets`); engines refuse them.

    Parameters
    ----------
    path : str or Path
        HDF5 file.

    Returns
    -------
    PointCloud
        Without extent (`voxel` is None) and with `signal_scale` 1. Diffusion Dλ1, Dλ2 becomes their mean.

    Raises
    ------
    PhantomFileError
        With file and field, if the file is not as it must be.
    FileNotFoundError
        If there is no such file.
    """
    path = Path(path)
    with open_hdf5(path) as f:
        n = int(attribute_number(f, path, "Ns"))
        if not 0 < n <= MAX_POINTS:
            raise PhantomFileError(f"{path}: attribute 'Ns' must be 1..{MAX_POINTS} spins; got {n}.")
        position = _positions(f, path, n)
        rows = _contrasts(f, path, n)
        motion = read_motion(f, path, position)
        name = attribute_text(f, path, "Name", path.stem)
        version = attribute_text(f, path, "Version", "unknown")
    source = {"format": "koma", "file": path.name, "version": version}
    with blamed_on(path, "content must describe spins"):
        return PointCloud(name=name, position=position, motion=motion, source=source, **rows)


def _positions(f: Any, path: Path, n: int) -> NDArray[np.float64]:
    where = group(f, path, "position")
    if unknown := set(where) - {"x", "y", "z"}:
        raise PhantomFileError(f"{path}: 'position' must hold x, y, z only; got {sorted(unknown)}.")
    axes = [_column(where, path, k, n) if has(where, k) else np.zeros(n) for k in "xyz"]
    return np.stack(axes, axis=-1)


def _contrasts(f: Any, path: Path, n: int) -> dict[str, Any]:
    where = group(f, path, "contrast") if has(f, "contrast") else {}
    if unknown := set(where) - set(CONTRASTS):
        raise PhantomFileError(f"{path}: 'contrast' must hold {CONTRASTS} only; got {sorted(unknown)}.")

    def get(key: str, default: float) -> NDArray[np.float64]:
        return _column(where, path, key, n, key[:1] == "T") if key in where else np.full(n, default)

    density = get("ρ", 1.0)
    # Spins without magnetization often come without times.
    times = {k: np.where(density == 0, ENDLESS, get(k, ENDLESS)) for k in ("T1", "T2", "T2s")}
    for key, value in times.items():
        if not (value > 0).all():
            raise PhantomFileError(f"{path}: {key!r} must be positive seconds; got {value.min()}.")
    t1, t2, t2s = (np.where(v >= ENDLESS, np.inf, v) for v in times.values())
    rate = 1.0 / t2s - 1.0 / t2
    # Rounding of 1/T2s - 1/T2 must not become a very slow decay.
    dephases = rate > 1e-12 / t2s
    return {
        "m0": density,
        "t1": t1,
        "t2": t2,
        "t2_prime": np.divide(1.0, rate, out=np.full(n, np.inf), where=dephases),
        "df": get("Δw", 0.0) / (2 * np.pi),
        "adc": 0.5 * (get("Dλ1", 0.0) + get("Dλ2", 0.0)),
    }


def _column(f: Any, path: Path, name: str, n: int, infinite: bool = False) -> NDArray[np.float64]:
    value = values(f, path, name, 1, MAX_POINTS, infinite=infinite)
    if value.size != n:
        raise PhantomFileError(f"{path}: {name!r} must have 'Ns' = {n} values; got {value.size}.")
    return value


def is_koma(f: Any) -> bool:
    """Return whether an open HDF5 file looks like a KomaMRI phantom."""
    return "Ns" in f.attrs and has(f, "position")

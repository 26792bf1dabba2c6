"""Writing of KomaMRI phantom files (`.phantom`)."""

from __future__ import annotations

import pathlib
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..actions import Action, HeartBeat, Path, Rotate, TimeCurve, Translate
from ..cloud import PointCloud
from ..composition import Composition
from ..motion import Motion, RigidMotion
from ..path_motion import PathMotion
from ..phantom import PhantomError
from .hdf5 import written_hdf5
from .koma import ENDLESS

Array = NDArray[np.float64]
WRITTEN_VERSION = {"curve": "0.9.1", "range": "0.9.0-DEV"}
"""Version of KomaMRIFiles whose layout is followed: the first series with TimeCurve, and the last before."""
TimeTypes = Literal["curve", "range"]


def write_koma(path: str | pathlib.Path, cloud: PointCloud, *, times: TimeTypes = "curve") -> None:
    """Write a point cloud as a KomaMRI phantom.

    The file appears under its name only when complete. Infinite times are written as 1e6 s, KomaMRI's own
    infinity. What has no place in the format is named by `koma_losses`: the extent of the points,
    `signal_scale` (ρ = m0) and `b0`. T2' is stored with T2 as T2* and the frequency times 2 pi: both come
    back to rounding.

    Parameters
    ----------
    path : str or Path
        Target file; an existing one is replaced.
    cloud : PointCloud
        What to write; its motion is written as actions (a rigid body as up to three rotations and three
        translations).
    times : {'curve', 'range'}
        Time types of today (TimeCurve), or those of files before 0.9.1 (TimeRange and Periodic), which can
        say a single ramp and a periodic triangle only and turn about the centre of mass only.

    Raises
    ------
    PhantomError
        If the movement cannot be said with the time types, or the cloud has transmit or receive maps or a
        bound pool: KomaMRI would silently simulate another object.
    """
    if times not in WRITTEN_VERSION:
        raise PhantomError(f"times must be one of {tuple(WRITTEN_VERSION)}; got {times!r}.")
    _check_writable(cloud)
    path = pathlib.Path(path)
    with np.errstate(divide="ignore"):
        t2s = np.where(np.isinf(cloud.t2_prime), cloud.t2, 1.0 / (1.0 / cloud.t2 + 1.0 / cloud.t2_prime))
    columns = {
        "ρ": cloud.m0,
        "T1": np.minimum(cloud.t1, ENDLESS),
        "T2": np.minimum(cloud.t2, ENDLESS),
        "T2s": np.minimum(t2s, ENDLESS),
        "Δw": 2 * np.pi * cloud.df,
    }
    if cloud.adc.any():
        columns |= {"Dλ1": cloud.adc, "Dλ2": cloud.adc, "Dθ": np.zeros(cloud.size)}
    with written_hdf5(path) as f:
        f.attrs["Version"] = WRITTEN_VERSION[times]
        f.attrs["Name"] = cloud.name
        f.attrs["Ns"] = np.int64(cloud.size)
        f.attrs["Dims"] = np.int64(max(1, int(cloud.position.any(axis=0).sum())))
        for axis, key in enumerate("xyz"):
            f.create_dataset(f"position/{key}", data=cloud.position[:, axis], track_times=False)
        for key, value in columns.items():
            f.create_dataset(f"contrast/{key}", data=value, track_times=False)
        if cloud.motion is not None:
            write_motion(f, cloud.motion, cloud.size, times)


def koma_losses(cloud: PointCloud) -> tuple[str, ...]:
    """Return what of a cloud a KomaMRI file cannot hold, one line each; empty when nothing matters."""
    lost = []
    if cloud.voxel is not None:
        lost.append("the extent of the voxels and the scale of the signal: spins are points")
    if cloud.b0 is not None:
        lost.append(f"the field strength {cloud.b0:g} T that the values hold for")
    if (cloud.b1 != 1).any():
        lost.append("transmit fields (B1+)")
    if cloud.sensitivity is not None:
        lost.append("receive sensitivities (B1-)")
    if cloud.bound is not None:
        lost.append("bound pools and their exchange")
    return tuple(lost)


def _check_writable(cloud: PointCloud) -> None:
    lost = {
        "b1": bool((cloud.b1 != 1).any()),
        "sensitivity": cloud.sensitivity is not None,
        "bound": cloud.bound is not None,
    }
    if names := [k for k, present in lost.items() if present]:
        raise PhantomError(
            f"a cloud for a KomaMRI file must have no {', '.join(names)}: the format has no place for them. "
            "Drop them first with cloud.replace()."
        )


def write_motion(f: Any, motion: Motion, n: int, times: TimeTypes = "curve") -> None:
    """Write a movement of n spins into an open file, as a group of actions in KomaMRI's layout."""
    for number, action in enumerate(_actions(motion, n), 1):
        where = f.create_group(f"motion/motion_{number}")
        for name in ("action", "time", "spins"):
            where.create_group(name)
        _write_action(where["action"], action, times)
        if times == "curve":
            _write_curve(where["time"], action.curve)
        else:
            _write_range(where["time"], action.curve)
        where["spins"].attrs["type"] = "AllSpins" if action.spins is None else "SpinRange"
        if action.spins is not None:
            where["spins"].attrs["range"] = _range(action.spins)


def _write_curve(where: Any, curve: TimeCurve) -> None:
    where.attrs["type"] = "TimeCurve"
    where.attrs["periodic"] = str(curve.periodic).lower()
    where.attrs["periods"] = 1.0
    where["t"] = curve.times
    where["t_unit"] = curve.unit


def _write_range(where: Any, curve: TimeCurve) -> None:
    t, unit = curve.times, curve.unit.tolist()
    if not curve.periodic and unit == [0.0, 1.0]:
        where.attrs["type"], where.attrs["t_start"], where.attrs["t_end"] = "TimeRange", t[0], t[1]
        return
    asymmetry = {(0.0, 1.0): 1.0, (1.0, 0.0): 0.0}.get(tuple(unit))
    if unit == [0.0, 1.0, 0.0]:
        asymmetry = float((t[1] - t[0]) / (t[2] - t[0]))
    if not curve.periodic or t[0] != 0 or asymmetry is None:
        raise PhantomError(
            "times='range' can say one ramp from 0 to 1, or a triangle that repeats from the time 0; got "
            f"{t.size} knots with the values {unit[:5]}. Write times='curve'."
        )
    where.attrs["type"], where.attrs["period"], where.attrs["asymmetry"] = "Periodic", t[-1], asymmetry


def _actions(motion: Motion, n: int) -> tuple[Action, ...]:
    if isinstance(motion, Composition):
        return motion.actions
    if isinstance(motion, RigidMotion):
        return _rigid_actions(motion)
    if isinstance(motion, PathMotion):
        assert motion.spins is not None
        whole = np.zeros((len(motion.times), n, 3))
        whole[:, motion.spins] = motion.displacement[:, motion.rows]
        times, whole = _closed(motion.times, whole, motion.period)
        unit = np.linspace(0.0, 1.0, times.size)
        curve = TimeCurve(times=times, unit=unit, periodic=motion.period is not None)
        return (Path(curve=curve, displacement=whole, rows=np.arange(n)),)
    raise PhantomError(f"motion must be one KomaMRI knows; got {type(motion).__name__}. Drop it first.")


def _closed(times: Array, table: Array, period: float | None) -> tuple[Array, Array]:
    """Return knots that reach from 0 to the period, holding the outer values."""
    if period is None:
        return times, table
    lead, tail = ([0.0] if times[0] > 0 else []), ([period] if times[-1] < period else [])
    index = [0] * len(lead) + list(range(times.size)) + [times.size - 1] * len(tail)
    return np.array([*lead, *times, *tail]), table[index]


def _rigid_actions(motion: RigidMotion) -> tuple[Action, ...]:
    """Turn about x, then y, then z, then shift: one action per parameter, scaled by its largest value."""
    out: list[Action] = []
    for table, turns in ((motion.angles, True), (motion.translation, False)):
        for axis, course in enumerate(table.T):
            top = float(np.abs(course).max())
            if top == 0:
                continue
            curve = TimeCurve(times=motion.times, unit=course / top)
            vector = top * np.eye(3)[axis]
            out.append(
                Rotate(curve=curve, angles=vector, center=motion.center)
                if turns
                else Translate(curve=curve, shift=vector)
            )
    return tuple(out)


def _write_action(where: Any, action: Action, times: TimeTypes) -> None:
    flows = isinstance(action, Path) and action.reset is not None
    where.attrs["type"] = "FlowPath" if flows else type(action).__name__
    if isinstance(action, Translate):
        where.attrs.update(dict(zip(("dx", "dy", "dz"), action.shift.tolist(), strict=True)))
    elif isinstance(action, Rotate):
        _write_rotation(where, action, times)
    elif isinstance(action, HeartBeat):
        for key in ("circumferential", "radial", "longitudinal"):
            where.attrs[f"{key}_strain"] = getattr(action, key)
    elif isinstance(action, Path):
        for axis, key in enumerate(("dx", "dy", "dz")):
            where[key] = action.displacement[:, action.rows, axis]
        if action.reset is not None:
            where["spin_reset"] = action.reset[:, action.rows].astype(np.int64)


def _write_rotation(where: Any, action: Rotate, times: TimeTypes) -> None:
    where.attrs.update(dict(zip(("pitch", "roll", "yaw"), np.rad2deg(action.angles).tolist(), strict=True)))
    if times == "range":
        if not action.follows:
            raise PhantomError(
                "times='range' turns about the centre of mass only; got a rotation with a fixed center. "
                "Write times='curve'."
            )
    elif action.follows:
        where["center"] = "CenterOfMass"
    else:
        where.attrs["center"] = str(tuple(action.center.tolist()))


def _range(spins: NDArray[np.intp]) -> str:
    step = int(spins[1] - spins[0]) if spins.size > 1 else 1
    if step < 1 or np.any(np.diff(spins) != step):
        raise PhantomError(
            "the spins of an action must be evenly spaced in a KomaMRI file; got others. Write the "
            "cloud before points are selected."
        )
    first, last = int(spins[0]) + 1, int(spins[-1]) + 1
    return f"{first}:{last}" if step == 1 else f"{first}:{step}:{last}"

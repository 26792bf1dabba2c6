"""Motion groups of KomaMRI phantom files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import actions
from ..actions import Action, HeartBeat, Rotate, TimeCurve, Translate
from ..composition import Composition
from ..file_error import PhantomFileError, blamed_on
from ..motion import Motion
from .hdf5 import INTEGERS, REALS, attribute_number, attribute_text, group, has, text, values

MAX_KNOTS = 4 * 1024**2
MAX_MOTIONS = 1024
MAX_PATH_VALUES = 512 * 1024**2
CENTER_DRIFT = 1e-3
"""Drift of the centre of mass in a heart beat, relative to its radius, that a later rotation may ignore."""

Array = NDArray[np.float64]


def read_motion(f: Any, path: Path, position: Array) -> Motion | None:
    """Return the movement stored in an open KomaMRI file, None if there is none; position (n, 3) [m]."""
    if not has(f, "motion"):
        return None
    motions = group(f, path, "motion")
    names = sorted(motions, key=lambda k: (int(re.sub(r"\D", "", k)[:9] or 0), k))
    if len(names) > MAX_MOTIONS:
        raise PhantomFileError(f"{path}: 'motion' must hold at most {MAX_MOTIONS} motions; got {len(names)}.")
    if not names:
        return None
    with blamed_on(path, "'motion' must describe a movement"):
        composition = Composition(
            actions=tuple(_action(group(motions, path, k), path, k, position) for k in names)
        )
    _check_centers(composition, path, position)
    return composition


def _kind(holder: Any, path: Path) -> str:
    """Return the bare type name of a group: no module and no type parameters."""
    return attribute_text(holder, path, "type").split("{")[0].rsplit(".", 1)[-1]


def _action(motion: Any, path: Path, name: str, position: Array) -> Action:
    what = group(motion, path, "action")
    curve = _curve(group(motion, path, "time"), path, name)
    spins = _spins(group(motion, path, "spins"), path, name, len(position)) if has(motion, "spins") else None
    moved = position if spins is None else position[spins]
    kind = _kind(what, path)
    if kind == "Translate":
        shift = np.array([attribute_number(what, path, k) for k in ("dx", "dy", "dz")])
        return Translate(curve=curve, spins=spins, shift=shift)
    if kind == "Rotate":
        angles = np.deg2rad([attribute_number(what, path, k) for k in ("pitch", "roll", "yaw")])
        center = _center(what, path, name)
        follows = center is None
        return Rotate(
            curve=curve,
            spins=spins,
            angles=angles,
            center=moved.mean(axis=0) if center is None else center,
            follows=follows,
        )
    if kind == "HeartBeat":
        strains = {
            k: attribute_number(what, path, f"{k}_strain")
            for k in ("circumferential", "radial", "longitudinal")
        }
        radius = float(np.hypot(moved[:, 0], moved[:, 1]).max())
        return HeartBeat(curve=curve, spins=spins, radius=radius, **strains)
    if kind in ("Path", "FlowPath"):
        return _path(what, path, name, curve, spins, len(moved))
    raise PhantomFileError(
        f"{path}: action of {name!r} must be Translate, Rotate, HeartBeat, Path or FlowPath; got {kind!r}."
    )


def _path(
    what: Any, path: Path, name: str, curve: TimeCurve, spins: NDArray[np.intp] | None, n: int
) -> actions.Path:
    reset = None
    if has(what, "spin_reset"):
        found = values(what, path, "spin_reset", 2, MAX_PATH_VALUES, kinds=(*INTEGERS, *REALS, "b1")) != 0
        reset = found if found.any() else None
    axes = [values(what, path, k, 2, MAX_PATH_VALUES) for k in ("dx", "dy", "dz")]
    if len({a.shape for a in axes}) != 1 or axes[0].shape[1] != n:
        raise PhantomFileError(
            f"{path}: dx, dy, dz of {name!r} must have shape (times, {n}); got {[a.shape for a in axes]}."
        )
    if reset is not None and reset.shape != axes[0].shape:
        raise PhantomFileError(
            f"{path}: 'spin_reset' of {name!r} must have shape {axes[0].shape}; got {reset.shape}."
        )
    displacement = np.stack(axes, axis=-1)
    return actions.Path(curve=curve, spins=spins, displacement=displacement, rows=np.arange(n), reset=reset)


def _center(what: Any, path: Path, name: str) -> Array | None:
    """Return the fixed centre [m] of a rotation, or None for the centre of mass (default of old files)."""
    if has(what, "center"):
        if (word := text(what, path, "center")) != "CenterOfMass":
            raise PhantomFileError(f"{path}: center of {name!r} must be CenterOfMass; got {word!r}.")
        return None
    if "center" not in what.attrs:
        return None
    value = what.attrs["center"]
    value = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    try:
        numbers = [float(x) for x in value.strip("() ").split(",")] if isinstance(value, str) else value
        center = np.asarray(numbers, np.float64).ravel()
    except ValueError:
        center = np.zeros(0)
    if isinstance(value, str) and value.strip() in ("CenterOfMass", "CenterOfMass()"):
        return None
    if center.shape != (3,) or not np.isfinite(center).all():
        raise PhantomFileError(f"{path}: center of {name!r} must be three finite metres; got {value!r}.")
    return center


def _curve(time: Any, path: Path, name: str) -> TimeCurve:
    kind = _kind(time, path)
    if kind == "TimeCurve":
        return _time_curve(time, path, name)
    if kind == "TimeRange":
        start, end = (attribute_number(time, path, k) for k in ("t_start", "t_end"))
        # An instant: a step from 0 to 1.
        start = start if start < end else float(np.nextafter(end, -np.inf))
        return TimeCurve(times=np.array([start, end]), unit=np.array([0.0, 1.0]))
    if kind == "Periodic":
        period, asymmetry = (attribute_number(time, path, k) for k in ("period", "asymmetry"))
        if not (period > 0 and 0 <= asymmetry <= 1):
            raise PhantomFileError(
                f"{path}: period of {name!r} must be positive and its asymmetry 0..1; "
                f"got {period}, {asymmetry}."
            )
        knots = [(0.0, 0.0), (period * asymmetry, 1.0), (period, 0.0)]
        knots = knots[1:] if asymmetry == 0 else knots[:2] if asymmetry == 1 else knots
        t, u = np.array(knots).T
        return TimeCurve(times=t, unit=u, periodic=True)
    raise PhantomFileError(
        f"{path}: time of {name!r} must be TimeCurve, TimeRange or Periodic; got {kind!r}."
    )


def _time_curve(time: Any, path: Path, name: str) -> TimeCurve:
    t, unit = (values(time, path, k, 1, MAX_KNOTS) for k in ("t", "t_unit"))
    periods = (
        values(time, path, "periods", (0, 1), MAX_KNOTS).ravel()
        if has(time, "periods")
        else np.array([attribute_number(time, path, "periods", 1.0)])
    )
    if t.shape != unit.shape or np.any(np.diff(t) <= 0) or not (periods > 0).all():
        raise PhantomFileError(
            f"{path}: time of {name!r} must have increasing t, as many t_unit and positive periods; "
            f"got {t.size}, {unit.size} and {periods.size} values."
        )
    if t.size * periods.size > MAX_KNOTS:
        raise PhantomFileError(
            f"{path}: time of {name!r} must have at most {MAX_KNOTS} knots in all periods."
        )
    # Each repeat stretches the curve by its own factor and starts where the one before it ended.
    offsets = np.concatenate([[0.0], np.cumsum(periods[:-1] * (t[-1] - t[0]))])
    times = (t[0] + periods[:, None] * (t - t[0]) + offsets[:, None]).ravel()
    unit = np.tile(unit, periods.size)
    same = np.append(False, np.diff(times) <= 0)
    times, unit, same = _joined(times, unit, same)
    times[same] = np.nextafter(times[same], np.inf)
    flag = attribute_text(time, path, "periodic", "false")
    return TimeCurve(times=times, unit=unit, periodic=flag == "true")


def _joined(times: Array, unit: Array, same: NDArray[np.bool_]) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Drop knots that repeat the one before in time and value; the others of equal time are jumps."""
    keep = ~(same & (unit == np.roll(unit, 1)))
    return times[keep], unit[keep], same[keep]


def _spins(spins: Any, path: Path, name: str, n: int) -> NDArray[np.intp] | None:
    kind = _kind(spins, path)
    if kind == "AllSpins":
        return None
    bounds = attribute_text(spins, path, "range", "") if kind == "SpinRange" else ""
    if not re.fullmatch(r"\d{1,12}:(-?\d{1,12}:)?\d{1,12}", bounds):
        raise PhantomFileError(
            f"{path}: spins of {name!r} must be AllSpins or SpinRange with range 'a:b' or 'a:step:b'; "
            f"got {kind!r} {bounds!r}."
        )
    numbers = [int(x) for x in bounds.split(":")]
    first, last, step = numbers[0], numbers[-1], numbers[1] if len(numbers) == 3 else 1
    if step < 1 or not 1 <= first <= last <= n:
        raise PhantomFileError(f"{path}: range of {name!r} must lie in 1..{n}; got {bounds!r}.")
    chosen = np.arange(first - 1, last, step)
    return None if chosen.size == n else chosen


def _check_centers(composition: Composition, path: Path, position: Array) -> None:
    """Refuse rotations about a centre of mass that an earlier heart beat moves: it would be wrong."""
    beats: list[HeartBeat] = []
    for action in composition.actions:
        if isinstance(action, HeartBeat):
            beats.append(action)
        if not (isinstance(action, Rotate) and action.follows):
            continue
        for beat in beats:
            rest = position if beat.spins is None else position[beat.spins]
            for u in (beat.curve.unit.min(), beat.curve.unit.max()):
                moved = beat.move(rest[None], np.array([u]), np.zeros((1, 3)))[0]
                drift = float(np.linalg.norm((moved - rest).mean(axis=0)))
                if drift > CENTER_DRIFT * beat.radius:
                    raise PhantomFileError(
                        f"{path}: a rotation about CenterOfMass must not follow a HeartBeat that moves "
                        f"it; got a drift of {drift:.3g} m. Give the rotation a fixed center."
                    )

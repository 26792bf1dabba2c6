"""Actions that follow time curves, with the meaning KomaMRI gives them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from .motion import euler_matrices, finite_array, interpolate, knot_times, select_spins
from .phantom import PhantomError

Array = NDArray[np.float64]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class TimeCurve:
    """How far an action has come, u(t): linear between knots, outside them flat or repeated.

    Parameters
    ----------
    times : ndarray, shape (k,)
        Knots [s], strictly increasing.
    unit : ndarray, shape (k,)
        Value of u at the knots.
    periodic : bool
        Whether the span of the knots repeats for ever, before and after.
    """

    times: Array
    unit: Array
    periodic: bool = False

    def __post_init__(self) -> None:
        times = knot_times("times of a time curve", self.times)
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "unit", finite_array("unit of a time curve", self.unit, (times.size,)))
        if self.periodic and times.size < 2:
            raise PhantomError("a periodic time curve must have at least two knots; got one.")

    def at(self, t: Array) -> Array:
        """Return u, shape (k,), at times t [s]."""
        if self.periodic:
            t = self.times[0] + np.mod(t - self.times[0], self.times[-1] - self.times[0])
        return interpolate(t, self.times, self.unit)

    def knots(self, duration: float, levels: Array | None = None) -> Array:
        """Return the kinks [s] in 0..duration, and where u crosses one of some levels."""
        base = self.times if levels is None else np.union1d(self.times, self._crossings(levels))
        if self.periodic:
            span = self.times[-1] - self.times[0]
            first = int(np.floor(-self.times[0] / span))
            starts = span * np.arange(first, int(np.ceil((duration - self.times[0]) / span)) + 1)
            # The end of one repeat is the start of the next: taken once, as their sums may round differently.
            base = np.unique((starts[:, None] + base[None, :-1]).ravel())
            if self.unit[0] != self.unit[-1]:  # a jump: also the last instant before it
                base = np.union1d(base, np.nextafter(starts + self.times[0], -np.inf))
        return base[(base >= 0) & (base <= duration)]

    def _crossings(self, levels: Array) -> Array:
        found = []
        for a, b, u, v in zip(self.times, self.times[1:], self.unit, self.unit[1:], strict=False):
            inside = levels[(levels > min(u, v)) & (levels < max(u, v))]
            found.append(a + (inside - u) / (v - u) * (b - a))
        return np.concatenate(found) if found else np.zeros(0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Action(ABC):
    """One movement of some points along a time curve.

    Parameters
    ----------
    curve : TimeCurve
        When.
    spins : ndarray, shape (q,), optional
        Which points; None: all.
    """

    curve: TimeCurve
    spins: NDArray[np.intp] | None = None
    composable: ClassVar[bool] = False
    """Whether it acts on positions that earlier actions have moved; others add to the result."""
    rigid: ClassVar[bool] = False

    @abstractmethod
    def move(self, r: Array, u: Array, center: Array) -> Array:
        """Return where points r (k, q, 3) [m] get to at u (k,); `center` (k, 3) is the moved centre."""

    def carry(self, r: Array, u: Array, center: Array) -> Array:
        """Return where a centre of mass r (k, 1, 3) [m] of moved points gets to."""
        return self.move(r, u, center)

    def knots(self, duration: float) -> Array:
        """Return the kinks [s] in 0..duration."""
        return self.curve.knots(duration)

    def select(self, index: NDArray[np.intp]) -> Action | None:
        """Return the action on a cloud whose point i is the old point ``index[i]``; None if it moves none."""
        if self.spins is None:
            return self
        spins, _ = select_spins(self.spins, index)
        return replace(self, spins=spins) if spins.size else None


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Translate(Action):
    """Shift by u times `shift` (3,) [m]."""

    shift: Array
    rigid: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "shift", finite_array("shift", self.shift, (3,)))

    def move(self, r: Array, u: Array, center: Array) -> Array:
        """Return the shifted points."""
        return np.asarray(r + u[:, None, None] * self.shift)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Rotate(Action):
    """Turn by u times `angles` (3,) [rad] about x, then y, then z.

    `center` (3,) [m] is a fixed point of space or, with `follows`, a point of the body (its centre of mass)
    that earlier composable actions carry along.
    """

    angles: Array
    center: Array
    follows: bool = False
    composable: ClassVar[bool] = True
    rigid: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "angles", finite_array("angles", self.angles, (3,)))
        object.__setattr__(self, "center", finite_array("center", self.center, (3,)))

    def matrices(self, u: Array) -> Array:
        """Return the rotations (k, 3, 3) at u (k,)."""
        return euler_matrices(u[:, None] * self.angles)

    def move(self, r: Array, u: Array, center: Array) -> Array:
        """Return the turned points."""
        c = center[:, None]
        return np.asarray((r - c) @ self.matrices(u).transpose(0, 2, 1) + c)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class HeartBeat(Action):
    """Beat of a ring about the z axis through the origin.

    The distance r from the axis changes by u (circumferential * radius - radial * (radius - r)), but never
    below zero, and z by u * longitudinal * z.

    Parameters
    ----------
    circumferential, radial, longitudinal : float
        Strains.
    radius : float
        Largest distance of a moved point from the axis at rest [m].
    """

    circumferential: float
    radial: float
    longitudinal: float
    radius: float
    composable: ClassVar[bool] = True

    def move(self, r: Array, u: Array, center: Array) -> Array:
        """Return the moved points."""
        distance = np.hypot(r[..., 0], r[..., 1])
        change = u[:, None] * (self.circumferential * self.radius - self.radial * (self.radius - distance))
        factor = np.ones_like(distance)
        np.divide(np.maximum(distance + change, 0.0), distance, out=factor, where=distance > 0)
        # A point on the axis has no angle; KomaMRI gives it the angle 0, so it moves along x.
        on_axis = np.where(distance > 0, 0.0, np.maximum(change, 0.0))
        along = 1.0 + u[:, None] * self.longitudinal
        return np.stack([r[..., 0] * factor + on_axis, r[..., 1] * factor, r[..., 2] * along], axis=-1)

    def carry(self, r: Array, u: Array, center: Array) -> Array:
        """Return the centre itself: that of a ring about the axis stays (readers check it)."""
        return r


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Path(Action):
    """Displacements (k, m, 3) [m] of m paths at k values of u spread evenly over 0..1.

    `rows` (q,) is the path that each of the `spins` takes. `reset` (k, m) marks where a spin of a path
    returns fresh (KomaMRI's FlowPath); it is kept for files and played by no engine.
    """

    displacement: Array
    rows: NDArray[np.intp]
    reset: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        d = self.displacement
        shape = (d.shape[0], d.shape[1], 3) if np.ndim(d) == 3 else (0, 0, 3)
        object.__setattr__(self, "displacement", finite_array("displacement", d, shape))
        if self.reset is not None and self.reset.shape != shape[:2]:
            raise PhantomError(f"reset must have shape {shape[:2]}; got {self.reset.shape}.")

    @property
    def levels(self) -> Array:
        """Values of u at which the displacements are given."""
        return np.linspace(0.0, 1.0, len(self.displacement))

    def move(self, r: Array, u: Array, center: Array) -> Array:
        """Return the displaced points."""
        return np.asarray(r + interpolate(u, self.levels, self.displacement)[:, self.rows])

    def knots(self, duration: float) -> Array:
        """Return the kinks [s] in 0..duration, those of the path included."""
        return self.curve.knots(duration, self.levels)

    def select(self, index: NDArray[np.intp]) -> Path | None:
        """Return the action on a cloud whose point i is the old point ``index[i]``; None if it moves none."""
        spins, source = (
            (np.arange(len(index)), index) if self.spins is None else select_spins(self.spins, index)
        )
        return replace(self, spins=spins, rows=self.rows[source]) if spins.size else None

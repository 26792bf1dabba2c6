"""Movement of the points of an object: the abstract `Motion`, and rigid bodies."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .file_error import PhantomFileError
from .phantom import PhantomError

Pose = tuple[NDArray[np.float64], NDArray[np.float64]]
MAX_MOTION_FILE = 256 * 1024**2


class Motion(ABC):
    """How the points of a `PointCloud` move: r(t) as a function of the position at rest and of the time."""

    @property
    @abstractmethod
    def is_rigid(self) -> bool:
        """Whether all points move as one rigid body; then `pose` says how."""

    @property
    def resets(self) -> bool:
        """Whether points return fresh at some times, as inflowing blood: no engine of ours plays that."""
        return False

    @abstractmethod
    def positions(self, r0: NDArray[np.float64], times: ArrayLike) -> NDArray[np.float64]:
        """Return where the points are.

        Parameters
        ----------
        r0 : ndarray, shape (n, 3)
            Positions at rest, world RAS [m], of all points of the cloud in its order.
        times : array_like, shape (k,)
            Times [s].

        Returns
        -------
        ndarray, shape (k, n, 3)
            Positions [m].
        """

    @abstractmethod
    def knots(self, duration: float) -> NDArray[np.float64]:
        """Return the times [s] in 0..duration at which the movement has a kink, increasing."""

    @abstractmethod
    def select(self, index: NDArray[np.intp]) -> Motion:
        """Return the movement of a cloud whose point i is the old point ``index[i]`` (repeats allowed)."""

    def pose(self, times: ArrayLike) -> Pose:
        """Return the rigid pose R (k, 3, 3) and T (k, 3) [m] at the times [s]: r(t) = R (r0 - c) + c + T.

        The centre c is `center` where the class has one and the origin elsewhere.

        Raises
        ------
        PhantomError
            If the movement is not rigid.
        """
        raise PhantomError(
            f"pose needs a rigid motion; got {type(self).__name__} that deforms the object. Use positions()."
        )


def euler_matrices(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Rz(c) Ry(b) Rx(a), shape (k, 3, 3), for angles a, b, c [rad] of shape (k, 3)."""
    (ca, cb, cc), (sa, sb, sc) = np.cos(angles).T, np.sin(angles).T
    rows = (
        (cc * cb, cc * sb * sa - sc * ca, cc * sb * ca + sc * sa),
        (sc * cb, sc * sb * sa + cc * ca, sc * sb * ca - cc * sa),
        (-sb, cb * sa, cb * ca),
    )
    return np.stack([np.stack(r, axis=-1) for r in rows], axis=-2)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class RigidMotion(Motion):
    """A rigid body: the parameters are linear in time between knots and constant outside them.

    r(t) = Rz Ry Rx (r0 - center) + center + translation: turned about x, then y, then z, then translated.

    Parameters
    ----------
    times : ndarray, shape (k,)
        Knots [s], strictly increasing.
    translation : ndarray, shape (k, 3)
        Translation [m], world RAS.
    angles : ndarray, shape (k, 3)
        Right-handed angles [rad] about x, y and z.
    center : ndarray, shape (3,)
        Centre of rotation [m].
    """

    times: NDArray[np.float64]
    translation: NDArray[np.float64]
    angles: NDArray[np.float64]
    center: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))

    def __post_init__(self) -> None:
        times = knot_times("times", self.times)
        object.__setattr__(self, "times", times)
        for name, shape in (("translation", (times.size, 3)), ("angles", (times.size, 3)), ("center", (3,))):
            object.__setattr__(self, name, finite_array(name, getattr(self, name), shape))

    @property
    def is_rigid(self) -> bool:
        """Always true."""
        return True

    def pose(self, times: ArrayLike) -> Pose:
        """Return R (k, 3, 3) and T (k, 3) [m] at the times [s]: r(t) = R (r0 - center) + center + T."""
        t = np.atleast_1d(np.asarray(times, np.float64))
        angles, shift = interpolate(t, self.times, self.angles), interpolate(t, self.times, self.translation)
        return euler_matrices(angles), shift

    def positions(self, r0: NDArray[np.float64], times: ArrayLike) -> NDArray[np.float64]:
        """Return where the points are, shape (k, n, 3) [m]."""
        turn, shift = self.pose(times)
        return np.asarray((r0 - self.center) @ turn.transpose(0, 2, 1) + (self.center + shift)[:, None])

    def knots(self, duration: float) -> NDArray[np.float64]:
        """Return the knots [s] in 0..duration."""
        return self.times[(self.times >= 0) & (self.times <= duration)]

    def select(self, index: NDArray[np.intp]) -> RigidMotion:
        """Return itself: all points move alike."""
        return self

    @classmethod
    def from_jemris(cls, path: str | Path) -> RigidMotion:
        """Read a JEMRIS motion table.

        Line 1 is the rotation centre [mm]; every other line is t [ms], translation x y z [mm] and rotation
        x y z [deg]; linear in between; turned about x, then y, then z, then translated.

        Parameters
        ----------
        path : str or Path
            Text file.

        Returns
        -------
        RigidMotion
            The movement in SI units.

        Raises
        ------
        PhantomFileError
            With file and line, if it is no such table.
        """
        rows = _number_lines(Path(path))
        if len(rows) < 2 or len(rows[0]) != 3 or any(len(r) != 7 for r in rows[1:]):
            raise PhantomFileError(
                f"{path}: a JEMRIS motion table must have 3 numbers in its first line and 7 in every "
                f"other (t, tx ty tz, rx ry rz), at least one; got {[len(r) for r in rows[:4]]}... numbers."
            )
        table = np.array(rows[1:])
        try:
            return cls(
                times=table[:, 0] * 1e-3,
                translation=table[:, 1:4] * 1e-3,
                angles=np.deg2rad(table[:, 4:7]),
                center=np.array(rows[0]) * 1e-3,
            )
        except PhantomError as error:
            raise PhantomFileError(f"{path}: {error}") from error


def finite_array(name: str, value: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return a float64 array of a given shape without NaN or infinity, or raise `PhantomError`."""
    array = np.asarray(value, np.float64)
    if array.shape != shape or array.size == 0 or not np.isfinite(array).all():
        raise PhantomError(f"{name} must be finite, not empty and of shape {shape}; got shape {array.shape}.")
    return array


def knot_times(name: str, value: Any) -> NDArray[np.float64]:
    """Return strictly increasing finite times [s], or raise `PhantomError`."""
    array = finite_array(name, value, (np.size(value),))
    if (wrong := np.flatnonzero(np.diff(array) <= 0)).size:
        raise PhantomError(
            f"{name} must increase strictly; entry {wrong[0] + 1} does not exceed the one before it."
        )
    return array


def interpolate(
    t: NDArray[np.float64], times: NDArray[np.float64], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return values (k, ...) given at knots, linear in between and flat outside, at times t."""
    if times.size == 1:
        return np.repeat(values, t.size, axis=0)
    i = np.clip(np.searchsorted(times, t, side="right") - 1, 0, times.size - 2)
    w = np.clip((t - times[i]) / (times[i + 1] - times[i]), 0.0, 1.0)
    w = w.reshape(w.shape + (1,) * (values.ndim - 1))
    return np.asarray((1.0 - w) * values[i] + w * values[i + 1])


def select_spins(
    spins: NDArray[np.intp], index: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return which new points belong to `spins`, and for each its place in `spins`."""
    index = np.asarray(index, np.intp)
    place = np.full(int(max(index.max(initial=-1), spins.max(initial=-1))) + 1, -1, np.intp)
    place[spins] = np.arange(spins.size)
    found = place[index]
    new = np.flatnonzero(found >= 0)
    return new, found[new]


def _number_lines(path: Path) -> list[list[float]]:
    if not path.is_file():
        raise FileNotFoundError(f"motion file {path} must exist; nothing found there.")
    if path.stat().st_size > MAX_MOTION_FILE:
        raise PhantomFileError(f"{path}: a motion table must be smaller than {MAX_MOTION_FILE >> 20} MiB.")
    rows: list[list[float]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        try:
            if line.strip():
                rows.append([float(x) for x in line.split()])
        except ValueError as error:
            raise PhantomFileError(f"{path}: line {number} must hold numbers only; {error}.") from error
    return rows

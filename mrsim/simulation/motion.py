"""Rigid movement of the head during a scan: traces, generators, framewise displacement.

A trace moves what the scanner sees after the head has been placed: r(t) = R(t) (r - center) + center + T(t),
R = Rz Ry Rx as in `phantoms.RigidMotion`, which the exact engine plays (`HeadMotion.as_phantom_motion`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from phantoms import RigidMotion

from .streams import Entropy, cause_stream

MOTION_KINDS = ("none", "still", "subtle", "moderate", "severe")
"""Ways to lie in a scanner: not moving at all; as a cooperative adult does; three degrees of restlessness."""
MARKOV_RANGE = {
    "subtle": (2e-3, np.deg2rad(5.0)),
    "moderate": (8e-3, np.deg2rad(10.0)),
    "severe": (16e-3, np.deg2rad(16.0)),
}
"""Largest translation [m] and rotation [rad] per axis: the presets of mrtwin, large for adults."""
_CHAIN = np.array([[0.9, 0.05, 0.05], [0.4, 0.3, 0.3], [0.4, 0.3, 0.3]])
"""From rest, a step down or a step up (rows) to the same: the rates of mrtwin (INFN-MRI, MIT licence)."""
_STEP_TIME = 1e-6
"""A step between shots is a ramp this long for the exact engine [s]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HeadMotion:
    """Rigid movement during one scan.

    Parameters
    ----------
    times : array (k,)
        Knots [s] since the start of the scan, strictly increasing.
    translation : array (k, 3)
        World RAS [m].
    angles : array (k, 3)
        Right-handed angles [rad] about x, then y, then z.
    center : array (3,)
        World point that rotations turn about [m].
    kind : {'linear', 'step'}
        Between knots linear in time, or each pose kept until the next knot (movement between shots).
    """

    times: np.ndarray
    translation: np.ndarray
    angles: np.ndarray
    center: np.ndarray
    kind: Literal["linear", "step"] = "linear"

    def __post_init__(self) -> None:
        times = np.atleast_1d(np.asarray(self.times, float))
        shapes = {"times": (times.size,), "translation": (times.size, 3), "angles": (times.size, 3)}
        for name, shape in {**shapes, "center": (3,)}.items():
            value = np.asarray(getattr(self, name), float)
            if value.shape != shape or not np.isfinite(value).all():
                raise ValueError(f"{name} must be finite and of shape {shape}; got shape {value.shape}.")
            object.__setattr__(self, name, value)
        if times.size == 0 or np.any(np.diff(times) <= 2 * _STEP_TIME):
            raise ValueError(f"times must increase by more than 2 us; got {times[:4].tolist()}... s.")
        if self.kind not in ("linear", "step"):
            raise ValueError(f"kind must be linear or step; got {self.kind!r}.")

    def parameters(self, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return translation (n, 3) [m] and angles (n, 3) [rad] at times (n,) [s]."""
        at = np.atleast_1d(np.asarray(at, float))
        both = np.hstack([self.translation, self.angles])
        if self.kind == "step":
            index = np.clip(np.searchsorted(self.times, at, side="right") - 1, 0, None)
            found = both[index]
        else:
            found = np.stack([np.interp(at, self.times, column) for column in both.T], axis=1)
        return found[:, :3], found[:, 3:]

    def matrices(self, at: np.ndarray) -> np.ndarray:
        """Homogeneous matrices (n, 4, 4) that move world points [m] at times (n,) [s]."""
        from scipy.spatial.transform import Rotation

        shift, angles = self.parameters(at)
        out = np.tile(np.eye(4), (len(shift), 1, 1))
        # Extrinsic x, y, z: Rz Ry Rx.
        out[:, :3, :3] = Rotation.from_euler("xyz", angles).as_matrix()
        out[:, :3, 3] = self.center + shift - out[:, :3, :3] @ self.center
        return out

    def as_phantom_motion(self) -> RigidMotion:
        """Return the same movement for the exact engine; steps become ramps of a microsecond."""
        times, shift, angles = self.times, self.translation, self.angles
        if self.kind == "step" and times.size > 1:
            times = np.concatenate([times[:1], np.repeat(times[1:], 2)])
            times[1::2] -= _STEP_TIME
            shift = np.concatenate([np.repeat(shift[:-1], 2, axis=0), shift[-1:]])
            angles = np.concatenate([np.repeat(angles[:-1], 2, axis=0), angles[-1:]])
        return RigidMotion(times=times, translation=shift, angles=angles, center=self.center)

    def record(self) -> dict[str, Any]:
        """Return the trace as JSON-able numbers (SI)."""
        return {
            "kind": self.kind,
            "times_s": self.times.tolist(),
            "translation_m": self.translation.tolist(),
            "angles_rad": self.angles.tolist(),
            "center_m": self.center.tolist(),
        }


def framewise_displacement(motion: HeadMotion, times: np.ndarray, *, radius: float = 0.05) -> np.ndarray:
    """Framewise displacement between consecutive volumes (Power et al., NeuroImage 59:2142-2154, 2012).

    FD = sum |change of translation| + radius sum |change of angle|.

    Parameters
    ----------
    motion : HeadMotion
    times : array (v,)
        When the volumes are acquired [s].
    radius : float
        Radius at which angles count [m].

    Returns
    -------
    array (v - 1,) [m]
    """
    shift, angles = motion.parameters(times)
    moved = np.abs(np.diff(shift, axis=0)).sum(axis=1)
    return np.asarray(moved + radius * np.abs(np.diff(angles, axis=0)).sum(axis=1))


def still_adult(
    rng: np.random.Generator, duration: float, *, center: np.ndarray, interval: float = 2.0
) -> HeadMotion:
    """Movement of a cooperative adult: slow relaxation by 0.1 to 1 mm and degrees, with a fine tremor.

    Per parameter a walk with independent increments, pinned to start at 0 and scaled so that its largest
    excursion over the six parameters is log-uniform in 0.1 to 1 mm and degrees; plus independent jitter of
    15 micrometres and 0.017 degrees per knot (breathing, pulse), which makes framewise displacements of
    about 0.1 mm. Ranges: general knowledge (0.1-1 mm, 0.1-1 deg per structural scan; 0.05-0.3 mm per volume).

    Parameters
    ----------
    rng : numpy.random.Generator
    duration : float
        Of the scan [s].
    center : array (3,)
        Centre of rotation [m].
    interval : float
        Between knots [s].
    """
    times = _knots(duration, interval)
    walk = np.cumsum(rng.normal(0.0, 1.0, (times.size, 6)), axis=0)
    walk -= walk[0]
    reach = 10.0 ** rng.uniform(-1.0, 0.0, 2)
    jitter = rng.normal(0.0, 1.0, (times.size, 6))
    jitter[0] = 0.0
    largest = [max(float(np.abs(walk[:, part]).max()), 1e-12) for part in (slice(0, 3), slice(3, 6))]
    shift = walk[:, :3] / largest[0] * reach[0] * 1e-3 + 15e-6 * jitter[:, :3]
    angles = np.deg2rad(walk[:, 3:] / largest[1] * reach[1] + 0.017 * jitter[:, 3:])
    return HeadMotion(times=times, translation=shift, angles=angles, center=center)


def restless(
    rng: np.random.Generator,
    duration: float,
    *,
    center: np.ndarray,
    translation: float,
    angle: float,
    interval: float = 2.0,
) -> HeadMotion:
    """Movement in steps between shots: per parameter a Markov chain of rest, steps up and steps down.

    The walk of each parameter is scaled to its largest excursion, as in mrtwin's ``rigid_motion``.

    Parameters
    ----------
    rng : numpy.random.Generator
    duration : float
        Of the scan [s].
    center : array (3,)
        Centre of rotation [m].
    translation, angle : float
        Largest excursion per axis [m], [rad].
    interval : float
        Between possible steps [s].
    """
    times = _knots(duration, interval)
    chance = rng.uniform(0.0, 1.0, (times.size, 6))
    limits = np.cumsum(_CHAIN, axis=1)
    state = np.zeros(6, int)
    moves = np.zeros((times.size, 6))
    for k in range(1, times.size):
        state = np.minimum((chance[k][:, None] > limits[state]).sum(axis=1), 2)
        moves[k] = np.array([0.0, -1.0, 1.0])[state]
    walk = np.cumsum(moves, axis=0)
    walk /= np.maximum(np.abs(walk).max(axis=0), 1.0)
    return HeadMotion(
        times=times,
        translation=walk[:, :3] * translation,
        angles=walk[:, 3:] * angle,
        center=center,
        kind="step",
    )


def nod(at: float, *, angle: float, length: float, center: np.ndarray) -> HeadMotion:
    """One nod: about x by ``angle`` [rad] and back, a triangle of ``length`` [s] from ``at`` [s]."""
    times = np.array([at, at + length / 2, at + length])
    angles = np.zeros((3, 3))
    angles[1, 0] = angle
    return HeadMotion(times=times, translation=np.zeros((3, 3)), angles=angles, center=center)


def slide(duration: float, *, translation: np.ndarray, angles: np.ndarray, center: np.ndarray) -> HeadMotion:
    """Uniform drift to a translation (3,) [m] and angles (3,) [rad] at the end of the scan."""
    ends = np.array([0.0, duration])
    grow = np.array([[0.0], [1.0]])
    return HeadMotion(
        times=ends,
        translation=grow * np.asarray(translation),
        angles=grow * np.asarray(angles),
        center=center,
    )


def draw_motion(
    kind: str, entropy: Entropy, duration: float, *, center: np.ndarray, key: str = ""
) -> HeadMotion | None:
    """Draw the movement of one scan of a visit.

    Parameters
    ----------
    kind : str
        One of `MOTION_KINDS`.
    entropy : tuple of int
        Of the visit.
    duration : float
        Of the scan [s].
    center : array (3,)
        World point that movements turn about [m].
    key : str
        What tells the scans of a visit apart.

    Returns
    -------
    HeadMotion, None for 'none'. It starts at rest, so that the recorded pose is that of the first moment.
    """
    if kind not in MOTION_KINDS:
        raise ValueError(f"motion must be one of {', '.join(MOTION_KINDS)}; got {kind!r}.")
    if kind == "none":
        return None
    rng = cause_stream(entropy, "motion", key)
    if kind == "still":
        return still_adult(rng, duration, center=center)
    translation, angle = MARKOV_RANGE[kind]
    return restless(rng, duration, center=center, translation=translation, angle=angle)


def _knots(duration: float, interval: float) -> np.ndarray:
    if not 0 < duration < 1e6 or interval < 1e-3:
        raise ValueError(f"duration and interval must be positive; got {duration} s and {interval} s.")
    return np.arange(max(2, int(np.ceil(duration / interval)) + 1)) * interval

"""How one cloud is encoded on one machine: what the compiler must know of the object and its motion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from phantoms import PointCloud
from protocols import Sequence

from ..gradients import GradientSystem
from .compiler import Compiler
from .fields import TIME, FieldLayout, spatial_factors
from .options import BlochOptions
from .program import Encoding
from .pulse_library import Stepping

_SINGLE_TOLERANCE = 1e-6
_OUTPUT = 1 << 21
"""Values of the partial signals of one window, over all lanes and coils."""
_ROOM = 0.05
"""How far a deforming body may leave its place without the bounds on phases being wrong [m]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Machine:
    """The magnet and gradients a sequence is played on.

    f0 : centre frequency [Hz], for offsets in ppm and Maxwell terms;
    gradients : gradient system;  rotation : logical to world axes (3, 3);
    center : world point where the gradients count as zero [m];
    frequency_drift : of the centre frequency from the start of the sequence on [Hz/s].
    """

    f0: float = 127.7e6
    gradients: GradientSystem = field(default_factory=GradientSystem)
    rotation: np.ndarray = field(default_factory=lambda: np.eye(3))
    center: np.ndarray = field(default_factory=lambda: np.zeros(3))
    frequency_drift: float = 0.0

    def __post_init__(self) -> None:
        if not 1e5 <= self.f0 <= 1e9:
            raise ValueError(f"f0 must be 1e5..1e9 Hz; got {self.f0}. Give hertz.")
        r = np.asarray(self.rotation, float)
        if r.shape != (3, 3) or not np.allclose(r @ r.T, np.eye(3), atol=1e-6):
            raise ValueError(f"rotation must be orthonormal (3, 3); got {r.tolist()}.")


def moves_rigidly(cloud: PointCloud, machine: Machine) -> bool:
    """Whether the motion can be put into the gradients: a rigid body in linear fields."""
    linear = machine.gradients.field is None and not machine.gradients.concomitant
    return cloud.motion is not None and cloud.motion.is_rigid and linear


def field_layout(machine: Machine) -> FieldLayout:
    """Return the encoding fields of a body that keeps its shape."""
    return FieldLayout(maxwell=machine.gradients.concomitant)


def compiler_of(cloud: PointCloud, sequence: Sequence, machine: Machine, options: BlochOptions) -> Compiler:
    """Return a compiler whose windows hold for all spins of a cloud, expanded or not."""
    rigid = moves_rigidly(cloud, machine)
    deforms = cloud.motion is not None and not rigid
    single, walk = options.precision == "single", options.diffusion == "random_walk"
    how = Encoding(
        layout=field_layout(machine), rotation=machine.rotation, system=machine.gradients,
        pose=_pose(cloud, machine.center) if rigid else None, f0=machine.f0, sign=options.sign,
        longest=16 if walk else 128 if single else 512,
        tolerance=max(options.phase_tolerance, _SINGLE_TOLERANCE) if single else options.phase_tolerance,
        deforms=deforms, path=options.diffusion == "attenuation", walk=walk,
        stepping=Stepping(
            scale=_scale(cloud, machine, options, deforms=deforms, rigid=rigid),
            b1=_largest_b1(cloud, sequence),
            r2=float(min(np.max(1.0 / cloud.t2), 1e4)), tolerance=options.rf_tolerance,
        ),
        drift=machine.frequency_drift,
    )  # fmt: skip
    coils = 1 if cloud.sensitivity is None else len(cloud.sensitivity)
    return Compiler(
        sequence, how, knots=_knots(cloud, options) if deforms else None,
        samples=max(_OUTPUT // (16 * coils), 1024),
    )  # fmt: skip


def _scale(
    cloud: PointCloud, machine: Machine, options: BlochOptions, *, deforms: bool, rigid: bool
) -> np.ndarray:
    """Bound of |psi| of every encoding field over all spins, sub-voxel ones included."""
    reach = np.zeros(3)
    if cloud.voxel is not None and options.spins_per_voxel > 1:
        reach = 0.5 * np.abs(cloud.voxel).sum(axis=1)
    center = np.zeros(3) if rigid else machine.center
    outer = (
        [cloud.position, cloud.position + reach, cloud.position - reach] if reach.any() else [cloud.position]
    )
    scale = np.max(
        [
            np.abs(
                spatial_factors(
                    field_layout(machine), p[None], cloud.df, center=center,
                    coil_field=machine.gradients.field, f0=machine.f0,
                )
            ).max(axis=1)
            for p in outer
        ],
        axis=0,
    )  # fmt: skip
    if options.spins_per_voxel > 1:
        scale[TIME] += cloud.widest_shift
    if deforms:
        scale[:3] = scale[:3].max() + _ROOM
    return np.asarray(scale)


def _largest_b1(cloud: PointCloud, sequence: Sequence) -> float:
    weights = [np.ones(cloud.b1.shape[0], complex), *sequence.rf_shims]
    return max(float(np.abs(w @ cloud.b1).max()) for w in weights) or 1.0


def _pose(cloud: PointCloud, center: np.ndarray) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    motion = cloud.motion
    assert motion is not None
    pivot = np.asarray(getattr(motion, "center", np.zeros(3)), float)

    def pose(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rotation, shift = motion.pose(times)
        return rotation, pivot + shift - rotation @ pivot - center

    return pose


def _knots(cloud: PointCloud, options: BlochOptions) -> Callable[[float, float], np.ndarray]:
    """Return what gives the times of the coordinates of a deforming body within a window [s]."""
    motion = cloud.motion
    assert motion is not None

    def knots(start: float, end: float) -> np.ndarray:
        kinks = np.asarray(motion.knots(end), float)
        count = max(int(np.ceil((end - start) / options.motion_step)), 1)
        times = np.concatenate([np.linspace(start, end, count + 1), kinks[(kinks > start) & (kinks < end)]])
        times = np.unique(np.round(times, 9))
        return times if times.size > 1 else np.array([start, start + 1e-6])

    return knots

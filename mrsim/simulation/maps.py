"""Field maps of one head in one scanner: B0, B1+, receive sensitivities and noise, on the scan's grid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from phantoms import TissueProperties
from protocols import Scanner

from . import coils, fields
from .noise import BRAIN_CONDUCTIVITY, noise_covariance
from .placement import PlacedPhantom
from .session import Session

COIL_SPACING = 6e-3
"""Spacing of the grid on which coil and transmit fields are computed [m]."""
FIELD_SPACING = 3e-3
"""Spacing of the grid on which the susceptibility field is computed [m]."""
_HEADROOM = 5e-3
"""Gap between the surface of the head and the receive helmet, at least [m]."""


@dataclass(frozen=True, kw_only=True)
class Coarse:
    """A coarse tensor grid over the object with the matrices that interpolate it to the fine grid."""

    axes: tuple[np.ndarray, np.ndarray, np.ndarray]
    matrices: tuple[np.ndarray, np.ndarray, np.ndarray]

    @classmethod
    def over(cls, placed: PlacedPhantom, spacing: float) -> Coarse:
        """Grid of about ``spacing`` [m] spanning the placed object, at least 4 points per axis."""
        axes = []
        for i in range(3):
            fine = placed.grid.axis(i)
            count = max(4, int(np.ceil((fine[-1] - fine[0]) / spacing)) + 1)
            half = 0.5 * placed.grid.spacing[i]
            axes.append(np.linspace(fine[0] - half, fine[-1] + half, count))
        matrices = tuple(fields.spline_matrix(axes[i], placed.grid.axis(i)) for i in (1, 2, 0))
        return cls(axes=(axes[0], axes[1], axes[2]), matrices=matrices)  # type: ignore[arg-type]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Array shape (phase, slice, read)."""
        return (self.axes[1].size, self.axes[2].size, self.axes[0].size)

    def mean_of(self, fine: np.ndarray) -> np.ndarray:
        """Coarse averages of a fine map (phase, slice, read): normalised transpose of the interpolation."""
        down = [np.asarray(np.maximum(m, 0.0).T) for m in self.matrices]
        down = [m / np.maximum(m.sum(axis=1, keepdims=True), 1e-12) for m in down]
        return fields.upsample(fine, (down[0], down[1], down[2]))


@dataclass(frozen=True, kw_only=True)
class Head:
    """Centre and semi-axes of the object in the world frame [m], for fields that follow the head."""

    center: np.ndarray
    semi_axes: np.ndarray

    @classmethod
    def of(cls, placed: PlacedPhantom) -> Head:
        """Bounding ellipsoid of the part of the object around the brain."""
        weight = placed.brain if placed.brain.any() else placed.fractions.sum(axis=0)
        bounds = []
        for axis, i in ((0, 1), (1, 2), (2, 0)):
            hit = np.flatnonzero(weight.sum(axis=tuple(a for a in range(3) if a != axis)) > 0)
            bounds.append((i, placed.grid.axis(i)[[hit[0], hit[-1]]]))
        low_high = np.empty((2, 3))
        for i, (low, high) in bounds:
            low_high[:, i] = low, high
        middle = placed.to_world[:3, :3] @ low_high.mean(axis=0) + placed.to_world[:3, 3]
        extent = np.abs(placed.to_world[:3, :3]) @ (0.5 * (low_high[1] - low_high[0]))
        return cls(center=middle, semi_axes=np.maximum(extent, 1e-3))


def b0_map(
    placed: PlacedPhantom, chi: np.ndarray, scanner: Scanner, session: Session, *, chi_outside: float
) -> np.ndarray:
    """Off-resonance [Hz] on the fine grid: susceptibility, shimmed over the brain, plus session errors.

    Parameters
    ----------
    placed : PlacedPhantom
    chi : array (tissues,)
        Susceptibility of each tissue of ``placed`` [ppm].
    scanner, session : Scanner, Session
    chi_outside : float
        Susceptibility of air [ppm].
    """
    coarse = Coarse.over(placed, FIELD_SPACING)
    contrast = np.asarray(chi - chi_outside, dtype=np.float32)
    fine_chi = np.tensordot(contrast, placed.fractions, axes=1) + np.float32(chi_outside)
    chi_map = coarse.mean_of(fine_chi)
    direction = placed.to_world[2, :3]  # world z in logical axes
    along_array = np.array([direction[1], direction[2], direction[0]])
    spacing = np.array([coarse.axes[i][1] - coarse.axes[i][0] for i in (1, 2, 0)])
    shift = _field_of_continued_body(chi_map, spacing, along_array, chi_outside)
    points = placed.coordinates(coarse.axes).reshape(-1, 3)
    brain = coarse.mean_of(placed.brain).reshape(-1).clip(min=0.0)
    region = np.where(brain > 0.5, brain, 0.0) if (brain > 0.5).any() else brain
    field = fields.shim(shift.reshape(-1), points, region, min(scanner.field.shim_order, 3))
    hertz = field * 1e-6 * scanner.f0 + session.frequency_offset
    hertz += (points / 0.1) @ np.asarray(session.shim_error)
    return fields.upsample(hertz.reshape(coarse.shape), coarse.matrices)


def _field_of_continued_body(
    chi_map: np.ndarray, spacing: np.ndarray, direction: np.ndarray, chi_outside: float
) -> np.ndarray:
    """Dipole field of a head whose lowest slice continues downwards (a cut neck would act as a dipole)."""
    axis = int(np.argmax(np.abs(direction)))
    add = round(0.15 / float(spacing[axis]))
    up = direction[axis] > 0
    width = [(0, 0)] * 3
    width[axis] = (add, 0) if up else (0, add)
    continued = np.pad(chi_map, width, mode="edge")
    shift = fields.dipole_field(continued, spacing, direction, outside=chi_outside)
    keep = [slice(None)] * 3
    keep[axis] = slice(add, None) if up else slice(0, chi_map.shape[axis])
    return shift[tuple(keep)]


def b1_map(placed: PlacedPhantom, head: Head, scanner: Scanner, session: Session) -> np.ndarray:
    """Relative transmit field on the fine grid; its mean over the brain is the session's calibration."""
    coarse = Coarse.over(placed, COIL_SPACING)
    points = placed.coordinates(coarse.axes).reshape(-1, 3)
    dome = fields.b1_dome(
        points - head.center, b0=scanner.b0, curvature_3t=scanner.transmit.dome, semi_axes=head.semi_axes
    )
    fine = fields.upsample(dome.reshape(coarse.shape), coarse.matrices)
    weight = placed.brain if placed.brain.any() else placed.fractions.sum(axis=0)
    mean = float(np.sum(fine * weight) / np.sum(weight))
    return np.asarray(fine * (session.b1_scale / mean), dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class Receiver:
    """Sensitivities on a coarse grid and the noise covariance per hertz [V^2/Hz]."""

    sensitivity: np.ndarray
    coarse: Coarse
    covariance: np.ndarray

    @property
    def channels(self) -> int:
        """Number of coils."""
        return int(self.sensitivity.shape[0])

    def maps(self) -> Iterator[np.ndarray]:
        """Sensitivity of one coil after the other on the fine grid, complex64 [T/A]."""
        for values in self.sensitivity:
            yield fields.upsample(values, self.coarse.matrices)


def receiver(placed: PlacedPhantom, head: Head, scanner: Scanner, channels: int | None = None) -> Receiver:
    """Receive array of a scanner around a head.

    The helmet has the scanner's half axes, enlarged where the head would touch it; its centre follows the
    head in the scanner as a patient is placed in the coil.
    """
    receive = scanner.receive
    axes = np.array([receive.radius_lr, receive.radius_ap, receive.radius_si])
    array = coils.helmet(
        channels or receive.simulated_channels,
        semi_axes=tuple(np.maximum(axes, _head_reach(placed, head) + _HEADROOM).tolist()),
        center=head.center,
    )
    coarse = Coarse.over(placed, COIL_SPACING)
    points = placed.coordinates(coarse.axes).reshape(-1, 3)
    b, a = coils.loop_fields(array, points)
    tissue = coarse.mean_of(placed.fractions.sum(axis=0)).reshape(-1).clip(0.0, 1.0)
    cell = float(np.prod([axis[1] - axis[0] for axis in coarse.axes]))
    resistance = coils.sample_resistance(a, tissue * cell * BRAIN_CONDUCTIVITY)
    covariance = noise_covariance(
        resistance,
        f0=scanner.f0,
        noise_factor=max(1.0, REFERENCE_NOISE_FACTOR * scanner.noise.relative_figure**2),
    )
    sensitivity = coils.sensitivity(b).reshape(array.size, *coarse.shape)
    return Receiver(sensitivity=sensitivity, coarse=coarse, covariance=covariance)


REFERENCE_NOISE_FACTOR = 2.0
"""Noise power of a well-run receive chain over that of sample and coil (preamplifier, cables, ADC, filter
losses). A choice, fixed by the white-matter SNR of a 1 mm, R = 2, 32-channel MPRAGE at 3 T being 20 to 40."""


def _head_reach(placed: PlacedPhantom, head: Head) -> np.ndarray:
    """Half extent of all tissue above the centre of the brain, from the head's centre, world axes [m]."""
    tissue = placed.fractions.sum(axis=0) > 0.5
    step = 4
    grid = placed.grid
    axes = (grid.axis(0)[::step], grid.axis(1)[::step], grid.axis(2)[::step])
    points = placed.coordinates(axes)[tissue[::step, ::step, ::step]] - head.center
    upper = points[points[:, 2] > 0.0]
    if upper.size == 0:
        return np.asarray(head.semi_axes)
    return np.asarray(np.abs(upper).max(axis=0))


def uniform_receiver(placed: PlacedPhantom) -> Receiver:
    """One coil of sensitivity 1 T/A everywhere and 1 V^2/Hz of noise: for comparison with closed forms."""
    coarse = Coarse.over(placed, 0.05)
    return Receiver(
        sensitivity=np.ones((1, *coarse.shape), np.complex64), coarse=coarse, covariance=np.ones((1, 1))
    )


def tissue_shift(properties: TissueProperties, f0: float) -> float:
    """Chemical shift of a tissue [Hz] at centre frequency f0 [Hz]."""
    return float(properties.shift_ppm * 1e-6 * f0)

"""Receive array of a scanner around a placed head: sensitivities and noise covariance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from protocols import Scanner

from . import coils, fields
from .coarse import COIL_SPACING, Coarse, Head
from .noise import BRAIN_CONDUCTIVITY, noise_covariance
from .placement import PlacedPhantom

_HEADROOM = 5e-3
"""Gap between the surface of the head and the receive helmet, at least [m]."""


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

    def maps(self, part: tuple[slice, slice, slice] | None = None) -> Iterator[np.ndarray]:
        """Sensitivity of one coil after the other on the fine grid or a part of it, complex64 [T/A]."""
        a, b, c = self.coarse.matrices
        if part is not None:
            a, b, c = a[part[0]], b[part[1]], c[part[2]]
        for values in self.sensitivity:
            yield fields.upsample(values, (a, b, c))


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
        layout=receive.layout,
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
    heard = coils.sensitivity(b)
    if receive.coupling:
        mixing = coils.coupling_matrix(array, receive.coupling)
        heard, covariance = mixing @ heard, mixing @ covariance @ mixing.T
    if receive.flat:
        heard = _flattened(heard, coarse.mean_of(placed.brain).reshape(-1).clip(min=0.0))
    return Receiver(
        sensitivity=heard.reshape(array.size, *coarse.shape), coarse=coarse, covariance=covariance
    )


def _flattened(sensitivity: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """Return profiles (coils, p) over their root sum of squares, times its mean over the brain."""
    total = np.sqrt(np.sum(np.abs(sensitivity) ** 2, axis=0))
    weight = brain if brain.any() else np.ones_like(brain)
    return np.asarray(sensitivity * (np.sum(total * weight) / np.sum(weight) / total))


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

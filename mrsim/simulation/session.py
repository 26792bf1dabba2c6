"""What changes from visit to visit on one scanner: drawn once, recorded, applied deterministically."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from protocols import Scanner

from .placement import Pose


@dataclass(frozen=True, kw_only=True)
class Session:
    """One visit of one head to one scanner.

    pose : head -> world;  b1_scale : transmit calibration, 1 = exact;  gain : receiver gain, 1 = nominal;
    frequency_offset : error of the centre frequency [Hz];
    shim_error : error of the linear shims along world x, y, z, at 0.1 m from the isocentre [Hz].
    """

    pose: Pose = field(default_factory=Pose.identity)
    b1_scale: float = 1.0
    gain: float = 1.0
    frequency_offset: float = 0.0
    shim_error: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        for name in ("b1_scale", "gain"):
            value = getattr(self, name)
            if not 0.0 < value < 10.0:
                raise ValueError(f"{name} must be positive and below 10; got {value}. 1 means nominal.")

    def record(self) -> dict[str, Any]:
        """All draws as JSON-able numbers (SI)."""
        return {
            "head_to_world": self.pose.matrix.tolist(),
            "b1_scale": self.b1_scale,
            "gain": self.gain,
            "frequency_offset_hz": self.frequency_offset,
            "shim_error_hz_at_100mm": list(self.shim_error),
        }


def draw_session(scanner: Scanner, rng: np.random.Generator, *, pivot: np.ndarray) -> Session:
    """Draw one visit from the spreads that the scanner record declares.

    Parameters
    ----------
    scanner : Scanner
    rng : numpy.random.Generator
        The draw order is fixed (pose, B1, gain, frequency, shims), so a stream gives one visit.
    pivot : array (3,)
        Point of the head that repositioning turns about [m].
    """
    spread = scanner.session
    pose = Pose.draw(rng, rotation_sd=spread.rotation_sd, translation_sd=spread.translation_sd, pivot=pivot)
    b1, gain, frequency = rng.normal(0.0, 1.0, 3)
    shims = rng.normal(0.0, 1.0, 3) * scanner.field.shim_residual
    return Session(
        pose=pose,
        b1_scale=float(
            np.exp(np.log1p(scanner.transmit.calibration_bias) + scanner.transmit.calibration_sd * b1)
        ),
        gain=float(np.exp(spread.gain_sd * gain)),
        frequency_offset=float(scanner.field.drift_sd * frequency),
        shim_error=(float(shims[0]), float(shims[1]), float(shims[2])),
    )

"""What changes from visit to visit on one scanner: drawn once, recorded, applied deterministically."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from protocols import Scanner

from .motion import MOTION_KINDS
from .placement import Pose
from .streams import Entropy, cause_stream, draw_entropy


@dataclass(frozen=True, kw_only=True)
class Session:
    """One visit of one head to one scanner; the default is a nominal one.

    Parameters
    ----------
    pose : Pose
        Head to world.
    b1_scale : float
        Transmit calibration, 1 = exact.
    gain : float
        Receiver gain, 1 = nominal.
    frequency_offset : float
        Error of the centre frequency [Hz].
    shim_error : tuple of float
        Error of the linear shims along world x, y, z, at 0.1 m from the isocentre [Hz].
    frequency_drift : float
        Drift of the centre frequency during a scan [Hz/s].
    gain_drift : float
        Relative drift of the receiver during a scan [1/s].
    spike_rate : float
        Mean number of corrupted samples per volume.
    spike_amplitude : tuple of float
        Their range over the local RMS.
    motion : str
        How the head lies (`mrsim.simulation.motion.MOTION_KINDS`).
    pivot : tuple of float
        World point that movements turn about [m].
    entropy : tuple of int
        Entropy of what is drawn per scan (spikes, motion).
    """

    pose: Pose = field(default_factory=Pose.identity)
    b1_scale: float = 1.0
    gain: float = 1.0
    frequency_offset: float = 0.0
    shim_error: tuple[float, float, float] = (0.0, 0.0, 0.0)
    frequency_drift: float = 0.0
    gain_drift: float = 0.0
    spike_rate: float = 0.0
    spike_amplitude: tuple[float, float] = (5.0, 50.0)
    motion: str = "none"
    pivot: tuple[float, float, float] = (0.0, 0.0, 0.0)
    entropy: Entropy = (0, 0)

    def __post_init__(self) -> None:
        for name in ("b1_scale", "gain"):
            value = getattr(self, name)
            if not 0.0 < value < 10.0:
                raise ValueError(f"{name} must be positive and below 10; got {value}. 1 means nominal.")
        if self.motion not in MOTION_KINDS:
            raise ValueError(f"motion must be one of {', '.join(MOTION_KINDS)}; got {self.motion!r}.")
        if not 0.0 <= self.spike_rate <= 1000.0:
            raise ValueError(f"spike_rate must be 0..1000 per volume; got {self.spike_rate}.")

    def record(self) -> dict[str, Any]:
        """All draws as JSON-able numbers (SI)."""
        return {
            "head_to_world": self.pose.matrix.tolist(),
            "b1_scale": self.b1_scale,
            "gain": self.gain,
            "frequency_offset_hz": self.frequency_offset,
            "shim_error_hz_at_100mm": list(self.shim_error),
            "frequency_drift_hz_per_s": self.frequency_drift,
            "gain_drift_per_s": self.gain_drift,
            "spike_rate_per_volume": self.spike_rate,
            "spike_amplitude": list(self.spike_amplitude),
            "motion": self.motion,
            "pivot_m": list(self.pivot),
            # As text: JSON's numbers hold 53 bits.
            "entropy": [str(word) for word in self.entropy],
        }


def draw_session(scanner: Scanner, rng: np.random.Generator, *, pivot: np.ndarray) -> Session:
    """Draw one visit from the spreads that the scanner record declares.

    Every cause has a stream of its own, keyed by its name, and draws standard deviates that are scaled by
    the record: changing a spread, or a cause's model, changes nothing else.

    Parameters
    ----------
    scanner : Scanner
    rng : numpy.random.Generator
        Two words are drawn from it, always.
    pivot : array (3,)
        Point of the head that repositioning turns about [m].
    """
    entropy = draw_entropy(rng)

    def deviates(cause: str, count: int = 1) -> np.ndarray:
        return cause_stream(entropy, cause).normal(0.0, 1.0, count)

    spread, stability = scanner.session, scanner.stability
    pose = Pose.draw(
        cause_stream(entropy, "repositioning"),
        rotation_sd=spread.rotation_sd,
        translation_sd=spread.translation_sd,
        pivot=pivot,
    )
    shims = deviates("shim", 3) * scanner.field.shim_residual
    # Errors of flip angle and gain are factors: equally likely twice too large and twice too small.
    calibration = np.log1p(scanner.transmit.calibration_bias) + scanner.transmit.calibration_sd * deviates(
        "transmit_calibration"
    )
    drift = stability.frequency_drift + stability.frequency_drift_sd * deviates("frequency_drift")
    gain, gain_drift = deviates("gain", 2)
    moved = pose.matrix[:3, :3] @ np.asarray(pivot, float) + pose.matrix[:3, 3]
    return Session(
        pose=pose,
        b1_scale=float(np.exp(calibration[0])),
        gain=float(np.exp(spread.gain_sd * gain)),
        frequency_offset=float(scanner.field.drift_sd * deviates("frequency")[0]),
        shim_error=(float(shims[0]), float(shims[1]), float(shims[2])),
        frequency_drift=float(drift[0]),
        gain_drift=float(stability.gain_drift_sd * gain_drift),
        spike_rate=stability.spike_rate,
        spike_amplitude=stability.spike_amplitude,
        motion=spread.motion,
        pivot=(float(moved[0]), float(moved[1]), float(moved[2])),
        entropy=entropy,
    )

"""Value groups of a scanner record: what changes in time, and the vendor's reconstruction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args, get_type_hints

from ..records import require


@dataclass(frozen=True, kw_only=True)
class SessionSpread:
    """Standard deviations of what changes from visit to visit.

    Attributes
    ----------
    translation_sd, rotation_sd : float
        Repositioning of the head per axis [m], [rad].
    gain_sd : float
        Relative SD of the receiver gain (image scale).
    motion : {'none', 'still', 'subtle', 'moderate', 'severe'}
        How people lie in this scanner: not moving at all, as a cooperative adult does, or as one of three
        degrees of restlessness (`mrsim.simulation.motion`).
    """

    translation_sd: float
    rotation_sd: float
    gain_sd: float
    motion: Literal["none", "still", "subtle", "moderate", "severe"] = "none"

    def __post_init__(self) -> None:
        require(
            "session",
            [
                (
                    0 <= self.translation_sd <= 0.1,
                    f"translation_sd must be 0..0.1 m; got {self.translation_sd}",
                ),
                (0 <= self.rotation_sd <= 1, f"rotation_sd must be 0..1 rad; got {self.rotation_sd}"),
                (0 <= self.gain_sd <= 1, f"gain_sd must be 0..1; got {self.gain_sd}"),
                (
                    self.motion in get_args(get_type_hints(type(self))["motion"]),
                    f"motion must be none, still, subtle, moderate or severe; got {self.motion!r}",
                ),
            ],
        )


@dataclass(frozen=True, kw_only=True)
class Stability:
    """What changes or goes wrong within a scan; the default is a machine that is perfectly stable.

    Attributes
    ----------
    frequency_drift, frequency_drift_sd : float
        Mean and SD between sessions of the drift of the centre frequency [Hz/s].
    gain_drift_sd : float
        SD between sessions of the relative drift of the receiver gain [1/s].
    spike_rate : float
        Mean number of corrupted k-space samples per image volume (Poisson).
    spike_amplitude : tuple of float
        Smallest and largest size of a spike over the local RMS of the signal, log-uniform in between.
    """

    frequency_drift: float = 0.0
    frequency_drift_sd: float = 0.0
    gain_drift_sd: float = 0.0
    spike_rate: float = 0.0
    spike_amplitude: tuple[float, float] = (5.0, 50.0)

    def __post_init__(self) -> None:
        low, high = self.spike_amplitude
        require(
            "stability",
            [
                (
                    abs(self.frequency_drift) <= 1,
                    f"frequency_drift must be -1..1 Hz/s; got {self.frequency_drift}. Divide Hz/min by 60.",
                ),
                (
                    0 <= self.frequency_drift_sd <= 1,
                    f"frequency_drift_sd must be 0..1 Hz/s; got {self.frequency_drift_sd}",
                ),
                (0 <= self.gain_drift_sd <= 0.01, f"gain_drift_sd must be 0..0.01; got {self.gain_drift_sd}"),
                (0 <= self.spike_rate <= 1000, f"spike_rate must be 0..1000; got {self.spike_rate}"),
                (
                    0 < low <= high <= 1e4,
                    f"spike_amplitude must be two increasing positive numbers; got {self.spike_amplitude}",
                ),
            ],
        )


@dataclass(frozen=True, kw_only=True)
class ReconChain:
    """The vendor's reconstruction habits.

    Attributes
    ----------
    combine : {'rss', 'adaptive'}
        Coil combination.
    window : {'none', 'fermi', 'tukey', 'hamming'}
        k-space window.
    window_radius, window_width : float
        Fermi: radius and width as fractions of k max. Tukey: `window_width` is the tapered fraction.
    zero_fill : int
        In-plane image matrix after zero filling; 0 = none.
    intensity_correction : {'none', 'prescan_normalize'}
        Division by the receive profile relative to the body coil.
    partial_fourier : {'zero_fill', 'homodyne', 'pocs'}
        Method used where a protocol has partial Fourier.
    scaling : {'per_series', 'fixed', 'philips'}
        How the images become integers: by each series' maximum, by one factor, or with a slope.
    bits : int
        Integer depth of the stored image.
    distortion_correction : {'none', '2d', '3d'}
        Whether the known nonlinearity of the gradient coil is taken out of the images: not, in the plane
        of each slice, or in all directions.
    """

    combine: Literal["rss", "adaptive"]
    window: Literal["none", "fermi", "tukey", "hamming"]
    intensity_correction: Literal["none", "prescan_normalize"]
    partial_fourier: Literal["zero_fill", "homodyne", "pocs"]
    scaling: Literal["per_series", "fixed", "philips"]
    bits: int
    distortion_correction: Literal["none", "2d", "3d"] = "none"
    window_radius: float = 1.0
    window_width: float = 0.0
    zero_fill: int = 0

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        words = (
            "combine",
            "window",
            "intensity_correction",
            "partial_fourier",
            "scaling",
            "distortion_correction",
        )
        require(
            "recon",
            [
                *(
                    (
                        getattr(self, n) in get_args(hints[n]),
                        f"{n} must be one of {', '.join(get_args(hints[n]))}; got {getattr(self, n)!r}",
                    )
                    for n in words
                ),
                (
                    self.window not in ("tukey", "fermi") or self.window_width > 0,
                    f"window_width must be positive for a {self.window} window; got {self.window_width}",
                ),
                (8 <= self.bits <= 32, f"bits must be 8..32; got {self.bits}"),
                (0 < self.window_radius <= 2, f"window_radius must be 0..2; got {self.window_radius}"),
                (0 <= self.window_width <= 1, f"window_width must be 0..1; got {self.window_width}"),
                (0 <= self.zero_fill <= 4096, f"zero_fill must be 0..4096; got {self.zero_fill}"),
            ],
        )

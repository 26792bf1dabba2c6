"""Value groups of a scanner record: receive array, receiver noise, transmit field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..records import require


@dataclass(frozen=True, kw_only=True)
class ReceiveArray:
    """Head coil: loops spread evenly on an elliptic dome around the head.

    Attributes
    ----------
    coil : str
        Product name.
    n_channels : int
        Channels of the product.
    simulated_channels : int
        Loops that a simulation places: fewer than `n_channels`, to keep runs short; the noise
        figure is set for this number.
    radius_lr, radius_ap, radius_si : float
        Half axes of the dome: left-right, anterior-posterior, superior-inferior [m].
    layout : {'even', 'rings'}
        Where the loops lie: evenly, as the panels of a soccer ball, or on rings around the axis.
    coupling : float
        Share of a neighbour's current that low-impedance preamplifiers leave flowing: signals and noise
        of coil i reach coil j times this and the mutual over the self inductance.
    flat : bool
        Counterfactual: profiles divided by their root sum of squares, so that shading is gone and
        parallel imaging still works.
    """

    coil: str
    n_channels: int
    simulated_channels: int
    radius_lr: float
    radius_ap: float
    radius_si: float
    layout: Literal["even", "rings"] = "even"
    coupling: float = 0.0
    flat: bool = False

    def __post_init__(self) -> None:
        lengths = ("radius_lr", "radius_ap", "radius_si")
        require(
            "receive",
            [
                (1 <= self.n_channels <= 256, f"n_channels must be 1..256; got {self.n_channels}"),
                (
                    1 <= self.simulated_channels <= self.n_channels,
                    f"simulated_channels must be 1..n_channels; got {self.simulated_channels}",
                ),
                (self.layout in ("even", "rings"), f"layout must be even or rings; got {self.layout!r}"),
                (0 <= self.coupling <= 1, f"coupling must be 0..1; got {self.coupling}"),
                *(
                    (0.005 <= getattr(self, n) <= 1, f"{n} must be 0.005..1 m; got {getattr(self, n)}")
                    for n in lengths
                ),
            ],
        )


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Receiver noise.

    Attributes
    ----------
    relative_figure : float
        Noise standard deviation relative to a well-run system of the same field and coil (1.0). How
        noise and signal grow with the field is the simulator's physics, not the record's.
    """

    relative_figure: float

    def __post_init__(self) -> None:
        require(
            "noise",
            [
                (
                    0 < self.relative_figure <= 100,
                    f"relative_figure must be 0..100; got {self.relative_figure}",
                ),
            ],
        )


@dataclass(frozen=True, kw_only=True)
class Transmit:
    """Transmit field B1+ relative to nominal.

    Attributes
    ----------
    dome : float
        Centre-to-edge excess of the central dome at 3 T (0.3: centre 1.15, edge 0.85); it scales
        with field squared, as the wavelength effect does.
    calibration_bias, calibration_sd : float
        Mean error and SD between visits of the global transmit reference (1 + bias).
    rf_spoil_increment_deg : float
        The vendor's quadratic RF-spoiling increment [deg].
    pattern : {'dome', 'standing_wave'}
        Shape of the field: the central dome of 1.5 and 3 T, or the standing wave with its dark ring of
        ultra-high field; both start as 1 - d rho^2 with the same d.
    loss_tangent : float
        Conduction over displacement current in the head at this field, which fills the dark ring of the
        standing wave.
    """

    dome: float
    calibration_bias: float
    calibration_sd: float
    rf_spoil_increment_deg: float
    pattern: Literal["dome", "standing_wave"] = "dome"
    loss_tangent: float = 0.7

    def __post_init__(self) -> None:
        require(
            "transmit",
            [
                (0 <= self.dome <= 2, f"dome must be 0..2; got {self.dome}"),
                (
                    abs(self.calibration_bias) < 0.5,
                    f"calibration_bias must be -0.5..0.5; got {self.calibration_bias}",
                ),
                (0 <= self.calibration_sd < 0.5, f"calibration_sd must be 0..0.5; got {self.calibration_sd}"),
                (
                    0 <= self.rf_spoil_increment_deg < 360,
                    f"rf_spoil_increment_deg must be 0..360; got {self.rf_spoil_increment_deg}",
                ),
                (
                    self.pattern in ("dome", "standing_wave"),
                    f"pattern must be dome or standing_wave; got {self.pattern!r}",
                ),
                (0 <= self.loss_tangent <= 5, f"loss_tangent must be 0..5; got {self.loss_tangent}"),
            ],
        )

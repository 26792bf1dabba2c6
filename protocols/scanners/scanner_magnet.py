"""Value groups of a scanner record: magnet, gradients, and how gradients respond."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..records import require


@dataclass(frozen=True, kw_only=True)
class Field:
    """Main field and its residual error after shimming.

    Attributes
    ----------
    f0 : float
        Centre frequency [Hz]; the field strength follows from it ("3 T" is two fields).
    shim_order : int
        Highest spherical-harmonic order the shim removes (0 = none).
    shim_residual : float
        SD of the calibration error of each linear shim term, at the surface of a 0.1 m sphere [Hz].
    drift_sd : float
        SD of the centre-frequency error per session [Hz].
    susceptibility : float
        Share of the object's susceptibility field that the magnet sees: 1 in every machine, 0 in the
        counterfactual without it.
    """

    f0: float
    shim_order: int
    shim_residual: float
    drift_sd: float
    susceptibility: float = 1.0

    def __post_init__(self) -> None:
        require(
            "field",
            [
                (1e6 <= self.f0 <= 1e9, f"f0 must be 1e6..1e9 Hz; got {self.f0}. Give hertz, not MHz."),
                (0 <= self.shim_order <= 6, f"shim_order must be 0..6; got {self.shim_order}"),
                (self.shim_residual >= 0, f"shim_residual must not be negative; got {self.shim_residual}"),
                (self.drift_sd >= 0, f"drift_sd must not be negative; got {self.drift_sd}"),
                (0 <= self.susceptibility <= 1, f"susceptibility must be 0..1; got {self.susceptibility}"),
            ],
        )


@dataclass(frozen=True, kw_only=True)
class Gradients:
    """Gradient system, rasters and dead times.

    Attributes
    ----------
    max_amplitude, max_slew : float
        Hardware limits per axis [T/m], [T/m/s].
    design_amplitude, design_slew : float
        Limits that the sequence builders use: below the hardware's, as product sequences are for
        nerve stimulation and duty cycle [T/m], [T/m/s].
    raster, rf_raster, adc_raster, block_raster : float
        Time grids [s].
    rf_dead_time, rf_ringdown, adc_dead_time : float
        Pauses before and after RF, around ADC [s].
    scale_error : tuple of float
        Relative error of the gradient amplitude along world x, y, z that service calibration leaves:
        the reconstruction does not know it, so objects appear larger by it.
    coil : str
        Gradient coil whose spatial harmonics act: a name of the library (`protocols.load_coil`), a TOML
        file, or 'none' for linear fields.
    coil_error : float
        Relative excess of this coil's harmonics over those of its table: what the vendor's distortion
        correction leaves behind.
    concomitant : bool
        Whether the Maxwell terms of the main field act.
    """

    max_amplitude: float
    max_slew: float
    design_amplitude: float
    design_slew: float
    raster: float
    rf_raster: float
    adc_raster: float
    block_raster: float
    rf_dead_time: float
    rf_ringdown: float
    adc_dead_time: float
    scale_error: tuple[float, float, float] = (0.0, 0.0, 0.0)
    coil: str = "none"
    coil_error: float = 0.0
    concomitant: bool = False

    def __post_init__(self) -> None:
        rasters = ("raster", "rf_raster", "adc_raster", "block_raster")
        dead = ("rf_dead_time", "rf_ringdown", "adc_dead_time")
        require(
            "gradients",
            [
                (
                    all(abs(e) <= 0.05 for e in self.scale_error),
                    f"scale_error must be -0.05..0.05 each; got {self.scale_error}",
                ),
                (bool(self.coil), "coil must not be empty; write 'none' for linear gradients"),
                (abs(self.coil_error) <= 0.5, f"coil_error must be -0.5..0.5; got {self.coil_error}"),
                (0 < self.max_amplitude <= 1, f"max_amplitude must be 0..1 T/m; got {self.max_amplitude}"),
                (0 < self.max_slew <= 2000, f"max_slew must be 0..2000 T/m/s; got {self.max_slew}"),
                (
                    0 < self.design_amplitude <= self.max_amplitude,
                    f"design_amplitude must be positive and <= max_amplitude; got {self.design_amplitude}",
                ),
                (
                    0 < self.design_slew <= self.max_slew,
                    f"design_slew must be positive and <= max_slew; got {self.design_slew}",
                ),
                *(
                    (1e-8 <= getattr(self, n) <= 1e-3, f"{n} must be 1e-8..1e-3 s; got {getattr(self, n)}")
                    for n in rasters
                ),
                *(
                    (0 <= getattr(self, n) <= 1e-2, f"{n} must be 0..0.01 s; got {getattr(self, n)}")
                    for n in dead
                ),
            ],
        )


@dataclass(frozen=True, kw_only=True)
class EddyTerm:
    """One exponential eddy-current term that pre-emphasis leaves.

    Attributes
    ----------
    source : {'x', 'y', 'z'}
        World axis of the gradient that changes.
    target : {'x', 'y', 'z', 'b0'}
        World axis of the induced gradient, or the homogeneous field.
    amplitude : float
        Share of a gradient step that the opposing field starts with [1]; for 'b0' [m], the field per
        gradient (1e-4 m at 10 mT/m is 1 microtesla).
    time_constant : float
        Decay [s].
    """

    source: Literal["x", "y", "z"]
    target: Literal["x", "y", "z", "b0"]
    amplitude: float
    time_constant: float

    def __post_init__(self) -> None:
        require(
            "eddy",
            [
                (self.source in ("x", "y", "z"), f"source must be x, y or z; got {self.source!r}"),
                (
                    self.target in ("x", "y", "z", "b0"),
                    f"target must be x, y, z or b0; got {self.target!r}",
                ),
                (abs(self.amplitude) <= 0.1, f"amplitude must be -0.1..0.1; got {self.amplitude}"),
                (
                    1e-5 <= self.time_constant <= 5,
                    f"time_constant must be 1e-5..5 s; got {self.time_constant}. Give seconds.",
                ),
            ],
        )


@dataclass(frozen=True, kw_only=True)
class GradientResponse:
    """How the played gradients differ in time from the demanded ones, after the vendor's calibration.

    Attributes
    ----------
    delay : tuple of float
        Delay of the world axes x, y, z against RF and receiver [s].
    low_pass : float
        Frequency at which the Gaussian low-pass exp(-(f/fc)^2) falls to 1/e [Hz]; 0 = none.
    eddy : tuple of EddyTerm
        What pre-emphasis leaves.
    """

    delay: tuple[float, float, float] = (0.0, 0.0, 0.0)
    low_pass: float = 0.0
    eddy: tuple[EddyTerm, ...] = ()

    def __post_init__(self) -> None:
        require(
            "response",
            [
                (
                    all(abs(d) <= 1e-4 for d in self.delay),
                    f"delay must be -1e-4..1e-4 s each; got {self.delay}. Give seconds, not microseconds.",
                ),
                (
                    self.low_pass == 0 or 500 <= self.low_pass <= 1e6,
                    f"low_pass must be 0 (none) or 500..1e6 Hz; got {self.low_pass}",
                ),
            ],
        )

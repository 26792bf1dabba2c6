"""The scanner record: what one installed MR system is, as far as it changes images."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args, get_type_hints

from .records import Provenance, find_record, list_records, load_record, read_toml, require
from .sequence import GAMMA_BAR

Vendor = Literal["Siemens", "GE", "Philips", "Generic"]


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
    """

    f0: float
    shim_order: int
    shim_residual: float
    drift_sd: float

    def __post_init__(self) -> None:
        require(
            "field",
            [
                (1e6 <= self.f0 <= 1e9, f"f0 must be 1e6..1e9 Hz; got {self.f0}. Give hertz, not MHz."),
                (0 <= self.shim_order <= 6, f"shim_order must be 0..6; got {self.shim_order}"),
                (self.shim_residual >= 0, f"shim_residual must not be negative; got {self.shim_residual}"),
                (self.drift_sd >= 0, f"drift_sd must not be negative; got {self.drift_sd}"),
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
    """

    coil: str
    n_channels: int
    simulated_channels: int
    radius_lr: float
    radius_ap: float
    radius_si: float

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
    """

    dome: float
    calibration_bias: float
    calibration_sd: float
    rf_spoil_increment_deg: float

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
            ],
        )


@dataclass(frozen=True, kw_only=True)
class SessionSpread:
    """Standard deviations of what changes from visit to visit.

    Attributes
    ----------
    translation_sd, rotation_sd : float
        Repositioning of the head per axis [m], [rad].
    gain_sd : float
        Relative SD of the receiver gain (image scale).
    """

    translation_sd: float
    rotation_sd: float
    gain_sd: float

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
    """

    combine: Literal["rss", "adaptive"]
    window: Literal["none", "fermi", "tukey", "hamming"]
    intensity_correction: Literal["none", "prescan_normalize"]
    partial_fourier: Literal["zero_fill", "homodyne", "pocs"]
    scaling: Literal["per_series", "fixed", "philips"]
    bits: int
    window_radius: float = 1.0
    window_width: float = 0.0
    zero_fill: int = 0

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        words = ("combine", "window", "intensity_correction", "partial_fourier", "scaling")
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


@dataclass(frozen=True, kw_only=True)
class Scanner:
    """One installed scanner.

    Attributes
    ----------
    name : str
        Library name.
    vendor, manufacturer, model, software : str
        As DICOM and BIDS give them (`vendor` short, `manufacturer` as in the header).
    station, institution : str
        BIDS StationName and InstitutionName; two records that differ here are two machines.
    field, gradients, receive, noise, transmit, session, recon
        Value groups, each with its `provenance` entry.
    provenance : dict
        Source and verified flag per group.
    """

    name: str
    vendor: Vendor
    manufacturer: str
    model: str
    software: str
    station: str
    institution: str
    field: Field
    gradients: Gradients
    receive: ReceiveArray
    noise: Noise
    transmit: Transmit
    session: SessionSpread
    recon: ReconChain
    notes: str = ""
    provenance: dict[str, Provenance] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        groups = ("field", "gradients", "receive", "noise", "transmit", "session", "recon")
        require(
            "scanner",
            [
                (bool(self.name), "name must not be empty"),
                *(
                    (g in self.provenance, f"{g}.source: missing; say where the values come from")
                    for g in groups
                ),
            ],
        )

    @property
    def b0(self) -> float:
        """Field strength [T] from the centre frequency."""
        return self.field.f0 / GAMMA_BAR

    @property
    def f0(self) -> float:
        """Centre frequency [Hz]."""
        return self.field.f0

    def replace(self, **changes: object) -> Scanner:
        """Copy with changed fields, checked again."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]


def load_scanner(name_or_path: str | Path) -> Scanner:
    """Load a scanner record from the library (by name) or from a TOML file (by path).

    Raises
    ------
    RecordError
        With all errors of the record at once.
    """
    path = find_record("scanners", name_or_path)
    return load_record(Scanner, read_toml(path), path.name)


def list_scanners() -> tuple[str, ...]:
    """Names of the scanners in the library."""
    return list_records("scanners")

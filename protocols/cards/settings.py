"""Value groups of a protocol card: geometry, selection, timing, RF, readout, acceleration; SI, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..records import require

Orientation = Literal["sagittal", "axial", "coronal"]


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Field of view and matrix along (read, phase, partition).

    Attributes
    ----------
    orientation : {'sagittal', 'axial', 'coronal'}
        Readout is superior-inferior for sagittal and coronal, right-left for axial.
    fov : tuple of float
        Field of view [m] without readout oversampling.
    matrix : tuple of int
        Encoded points (readout without oversampling); one partition for 2D slices, whose thickness is
        then the third field of view.
    center : tuple of float
        Field-of-view centre in world RAS [m].
    """

    orientation: Orientation
    fov: tuple[float, float, float]
    matrix: tuple[int, int, int]
    center: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        single = self.matrix[2] == 1
        encoded, thinnest = (self.matrix[:2], 1e-4) if single else (self.matrix, 0.01)
        require(
            "geometry",
            [
                (
                    all(least <= f <= 1 for f, least in zip(self.fov, (0.01, 0.01, thinnest), strict=True)),
                    f"fov must be 0.01..1 m each; got {self.fov}. Give metres.",
                ),
                (
                    all(4 <= n <= 2048 and n % 2 == 0 for n in encoded),
                    f"matrix must be even, 4..2048 each (or one partition for slices); got {self.matrix}",
                ),
                (all(abs(c) <= 0.5 for c in self.center), f"center must be within 0.5 m; got {self.center}"),
            ],
        )

    @property
    def voxel_size(self) -> tuple[float, float, float]:
        """Voxel size [m] along (read, phase, partition)."""
        x, y, z = (f / n for f, n in zip(self.fov, self.matrix, strict=True))
        return (x, y, z)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What the pulses select along the slice axis.

    Attributes
    ----------
    mode : {'none', 'slab', 'slices'}
        Hard pulses on everything; one slab that partitions encode; or 2D slices.
    pulse : {'sinc', 'slr'}
        Hamming-windowed sinc, or a linear-phase Shinnar-Le Roux design.
    duration, refocusing_duration : float
        Length of the selective excitation and refocusing pulses [s].
    time_bandwidth, refocusing_time_bandwidth : float
        Their time-bandwidth products.
    thickness : float
        Slab or slice thickness [m] (full width at half maximum of the excitation).
    gap : float
        Space between neighbouring slices [m].
    n_slices : int
        Slices; 1 for a slab.
    order : {'interleaved', 'ascending', 'descending'}
        Order of excitation; interleaved: slices 0, 2, 4, ..., then 1, 3, 5, ...
    concatenations : int
        Groups of slices that are acquired one group after the other.
    refocusing_factor, inversion_factor : float
        Thickness of refocusing and inversion relative to `thickness`.
    """

    mode: Literal["none", "slab", "slices"] = "none"
    pulse: Literal["sinc", "slr"] = "sinc"
    duration: float = 2.56e-3
    time_bandwidth: float = 4.0
    refocusing_duration: float = 2.56e-3
    refocusing_time_bandwidth: float = 4.0
    thickness: float = 0.0
    gap: float = 0.0
    n_slices: int = 1
    order: Literal["interleaved", "ascending", "descending"] = "interleaved"
    concatenations: int = 1
    refocusing_factor: float = 1.0
    inversion_factor: float = 1.3

    def __post_init__(self) -> None:
        lengths = ("duration", "refocusing_duration")
        products = ("time_bandwidth", "refocusing_time_bandwidth")
        factors = ("refocusing_factor", "inversion_factor")
        require(
            "selection",
            [
                *(
                    (1e-4 <= getattr(self, n) <= 0.05, f"{n} must be 1e-4..0.05 s; got {getattr(self, n)}")
                    for n in lengths
                ),
                *(
                    (2 <= getattr(self, n) <= 64, f"{n} must be 2..64; got {getattr(self, n)}")
                    for n in products
                ),
                *(
                    (0.8 <= getattr(self, n) <= 3, f"{n} must be 0.8..3; got {getattr(self, n)}")
                    for n in factors
                ),
                (
                    self.mode == "none" or 1e-4 <= self.thickness <= 1,
                    f"thickness must be 1e-4..1 m for {self.mode!r}; got {self.thickness}. Give metres.",
                ),
                (0 <= self.gap <= 0.5, f"gap must be 0..0.5 m; got {self.gap}"),
                (1 <= self.n_slices <= 1024, f"n_slices must be 1..1024; got {self.n_slices}"),
                (
                    self.mode == "slices" or self.n_slices == 1,
                    f"n_slices must be 1 unless mode is 'slices'; got {self.n_slices} for {self.mode!r}",
                ),
                (
                    1 <= self.concatenations <= self.n_slices,
                    f"concatenations must be 1..n_slices; got {self.concatenations}",
                ),
            ],
        )


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Times of the sequence, all [s].

    Attributes
    ----------
    tr : float
        Shot to shot (for 'gre': excitation to excitation).
    te : float
        Excitation centre to the k-space centre (of the echo that carries it).
    ti : float or None
        Inversion centre to the excitation that carries the k-space centre.
    ti2 : float or None
        'mp2rage': the inversion time of the second train. 'tse': the second inversion of a double
        inversion recovery to the excitation (then shorter than `ti`).
    echo_spacing : float or None
        Excitation to excitation inside a gradient-echo train; refocusing to refocusing in a TSE.
    turbo_factor : int
        Readouts per shot (1 for 'gre').
    view_order : {'linear', 'centric', 'reverse_centric'}
        Order along the train: ascending, from the centre outwards, from outside to the centre. A TSE knows
        the first two; its train is spread over ky.
    inner_loop : {'partition', 'phase'}
        What a gradient-echo train encodes.
    dummy_shots : int
        Shots (excitations for 'gre') played without ADC before the first readout.
    """

    tr: float
    te: float
    ti: float | None = None
    ti2: float | None = None
    echo_spacing: float | None = None
    turbo_factor: int = 1
    view_order: Literal["linear", "centric", "reverse_centric"] = "linear"
    inner_loop: Literal["partition", "phase"] = "partition"
    dummy_shots: int = 1

    def __post_init__(self) -> None:
        require(
            "timing",
            [
                (1e-4 <= self.tr <= 60, f"tr must be 1e-4..60 s; got {self.tr}. Give seconds."),
                (0 < self.te < self.tr, f"te must be positive and below tr; got te={self.te}, tr={self.tr}"),
                (
                    self.ti is None or 0 < self.ti < self.tr,
                    f"ti must be positive and below tr; got ti={self.ti}, tr={self.tr}",
                ),
                (
                    self.ti2 is None or (self.ti is not None and 0 < self.ti2 < self.tr),
                    f"ti2 must be positive, below tr and go with ti; got ti2={self.ti2}, ti={self.ti}",
                ),
                (
                    self.echo_spacing is None or 0 < self.echo_spacing <= self.tr,
                    f"echo_spacing must be positive and not exceed tr; got {self.echo_spacing}",
                ),
                (1 <= self.turbo_factor <= 4096, f"turbo_factor must be 1..4096; got {self.turbo_factor}"),
                (
                    self.turbo_factor == 1 or self.echo_spacing is not None,
                    "echo_spacing must be given where turbo_factor > 1",
                ),
                (0 <= self.dummy_shots <= 10000, f"dummy_shots must be 0..10000; got {self.dummy_shots}"),
            ],
        )


@dataclass(frozen=True, kw_only=True)
class Rf:
    """RF pulses.

    Attributes
    ----------
    flip_deg : float
        Excitation flip angle [deg].
    flip2_deg : float or None
        Excitation flip angle of the second train of an MP2RAGE [deg].
    excitation_duration : float
        Length of the non-selective hard excitation [s].
    inversion : {'none', 'ideal', 'hypsec'}
        Hard pi pulse of 0.1 ms, or an adiabatic hyperbolic secant.
    inversion_duration : float
        Length of the hyperbolic secant [s].
    refocusing_deg : tuple of float
        Control points of the refocusing flip angles [deg], evenly spread over the train and
        joined linearly; one value = constant.
    refocusing_duration : float
        Length of each non-selective hard refocusing pulse [s].
    spoil_increment_deg : float or None
        Quadratic RF-spoiling increment [deg]; None takes the scanner's habit.
    spoiler_cycles : float
        Dephasing that one repetition of a spoiled gradient echo leaves across a voxel along the readout
        [cycles]. Large values let diffusion spoil: T1 mapping asks for them (Yarnykh 2010,
        doi:10.1002/mrm.22394).
    """

    flip_deg: float
    excitation_duration: float = 1e-4
    inversion: Literal["none", "ideal", "hypsec"] = "none"
    inversion_duration: float = 1.024e-2
    refocusing_deg: tuple[float, ...] = (180.0,)
    refocusing_duration: float = 6e-4
    spoil_increment_deg: float | None = None
    spoiler_cycles: float = 1.0
    flip2_deg: float | None = None

    def __post_init__(self) -> None:
        increment = self.spoil_increment_deg
        durations = ("excitation_duration", "inversion_duration", "refocusing_duration")
        require(
            "rf",
            [
                *(
                    (flip is None or 0 < flip <= 180, f"{name} must be 0..180 deg; got {flip}")
                    for name, flip in (("flip_deg", self.flip_deg), ("flip2_deg", self.flip2_deg))
                ),
                *(
                    (1e-5 <= getattr(self, n) <= 0.1, f"{n} must be 1e-5..0.1 s; got {getattr(self, n)}")
                    for n in durations
                ),
                (
                    len(self.refocusing_deg) > 0 and all(0 < a <= 180 for a in self.refocusing_deg),
                    f"refocusing_deg must be 0..180 deg each; got {self.refocusing_deg}",
                ),
                (
                    increment is None or 0 <= increment < 360,
                    f"spoil_increment_deg must be 0..360; got {increment}",
                ),
                (
                    0.5 <= self.spoiler_cycles <= 1000,
                    f"spoiler_cycles must be 0.5..1000; got {self.spoiler_cycles}. 1 is the usual value.",
                ),
            ],
        )


@dataclass(frozen=True, kw_only=True)
class Readout:
    """Readout.

    Attributes
    ----------
    bandwidth : float
        Receiver bandwidth [Hz/px], without oversampling.
    echo_position : float
        Fraction of the full readout in front of the k-space centre: 0.5 symmetric, less for an
        asymmetric echo (the missing samples are not acquired).
    oversampling : int
        Readout oversampling by the ADC.
    """

    bandwidth: float
    echo_position: float = 0.5
    oversampling: int = 2

    def __post_init__(self) -> None:
        require(
            "readout",
            [
                (1 <= self.bandwidth <= 1e5, f"bandwidth must be 1..1e5 Hz/px; got {self.bandwidth}"),
                (
                    0.1 <= self.echo_position <= 0.5,
                    f"echo_position must be 0.1..0.5; got {self.echo_position}",
                ),
                (1 <= self.oversampling <= 8, f"oversampling must be 1..8; got {self.oversampling}"),
            ],
        )


@dataclass(frozen=True, kw_only=True)
class Acceleration:
    """Which lines are left out.

    Attributes
    ----------
    phase : int
        Undersampling factor R along phase.
    reference_lines : int
        Fully sampled central phase lines, embedded in the scan.
    partial_fourier_phase, partial_fourier_partition : float
        Sampled fraction of k-space (1 = all); the leading lines are left out.
    elliptical : bool
        Leave out the corners: only lines inside the ellipse that the matrix spans in (phase, partition).
    """

    phase: int = 1
    reference_lines: int = 0
    partial_fourier_phase: float = 1.0
    partial_fourier_partition: float = 1.0
    elliptical: bool = False

    def __post_init__(self) -> None:
        fractions = ("partial_fourier_phase", "partial_fourier_partition")
        require(
            "acceleration",
            [
                (1 <= self.phase <= 8, f"phase must be 1..8; got {self.phase}"),
                (
                    0 <= self.reference_lines <= 256,
                    f"reference_lines must be 0..256; got {self.reference_lines}",
                ),
                (
                    self.phase == 1 or self.reference_lines >= 8,
                    f"reference_lines must be >= 8 where phase > 1; got {self.reference_lines}",
                ),
                *(
                    (0.55 <= getattr(self, n) <= 1, f"{n} must be 0.55..1; got {getattr(self, n)}")
                    for n in fractions
                ),
            ],
        )

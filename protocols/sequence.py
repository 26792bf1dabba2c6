"""The sequence data type: blocks as arrays, events as small libraries.

A `Sequence` is what a scanner plays: a list of blocks, each with at most one RF pulse, one gradient
per logical axis and one ADC. It holds numbers only, so that a simulator can work on whole arrays.
The meaning of every field follows the Pulseq specification 1.5 (https://pulseq.github.io/specification.pdf).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

GAMMA_BAR = 42.577478518e6
"""Proton gyromagnetic ratio over 2 pi [Hz/T] (CODATA 2018)."""

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int32]
RfUse = Literal["excitation", "refocusing", "inversion", "saturation", "preparation", "other", "undefined"]
RF_USES: tuple[str, ...] = get_args(RfUse)

COUNTER_LABELS = ("SLC", "SEG", "REP", "AVG", "SET", "ECO", "PHS", "LIN", "PAR", "ACQ")
FLAG_LABELS = ("NAV", "REV", "SMS", "REF", "IMA", "NOISE", "PMC", "NOROT", "NOPOS", "NOSCL", "ONCE", "TRID")
"""Label names of the Pulseq specification (counters, then flags and control values)."""


class SequenceError(ValueError):
    """A sequence description contradicts itself."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RfEvent:
    """One RF pulse, times counted from the start of its block.

    Attributes
    ----------
    times : ndarray of float, shape (n,)
        Sample times [s] from block start, the event's delay included. Samples of a uniformly
        rastered pulse sit at raster centres.
    b1 : ndarray of complex, shape (n,)
        Amplitude [Hz] (gamma-bar B1) with the shape's own phase; `phase_offset` is not included.
    delay : float
        Start of the pulse in its block [s].
    shape_duration : float
        Length of the pulse [s]; it ends at ``delay + shape_duration``.
    center : float
        Effective centre (for an excitation: where the phase history starts) [s] from block start.
    freq_offset, phase_offset : float
        Carrier offset [Hz] and phase [rad] without the field-dependent parts below.
    freq_ppm, phase_ppm : float
        Field-dependent parts: offset [ppm of f0] and phase [rad/MHz of f0] (Pulseq 1.5).
    use : str
        What the pulse is for; 'undefined' where the file does not say (see `infer_use`).
    """

    times: FloatArray
    b1: NDArray[np.complex128]
    delay: float
    shape_duration: float
    center: float
    freq_offset: float = 0.0
    phase_offset: float = 0.0
    freq_ppm: float = 0.0
    phase_ppm: float = 0.0
    use: str = "undefined"

    def __post_init__(self) -> None:
        if self.times.shape != self.b1.shape or self.times.ndim != 1 or self.times.size == 0:
            raise SequenceError(
                f"times and b1 must be equally long, non-empty vectors; got {self.times.shape} and "
                f"{self.b1.shape}. Give one time per sample."
            )
        if self.use not in RF_USES:
            raise SequenceError(f"use must be one of {', '.join(RF_USES)}; got {self.use!r}.")

    @property
    def end(self) -> float:
        """End of the pulse [s] from block start, ring-down not included."""
        return self.delay + self.shape_duration

    @property
    def flip_angle(self) -> float:
        """On-resonance small-tip flip angle ``2 pi |integral b1 dt|`` [rad]."""
        return float(2.0 * np.pi * abs(np.sum(self.b1 * self.sample_widths)))

    @property
    def sample_widths(self) -> FloatArray:
        """Quadrature weights [s] of the samples: each holds from midpoint to midpoint."""
        edges = np.empty(self.times.size + 1)
        edges[0], edges[-1] = self.delay, self.end
        edges[1:-1] = 0.5 * (self.times[1:] + self.times[:-1])
        return np.asarray(np.diff(edges))

    def total_freq_offset(self, f0: float) -> float:
        """Carrier offset [Hz] at the centre frequency `f0` [Hz]."""
        return self.freq_offset + self.freq_ppm * 1e-6 * f0

    def total_phase_offset(self, f0: float) -> float:
        """Phase offset [rad] at the centre frequency `f0` [Hz]."""
        return self.phase_offset + self.phase_ppm * 1e-6 * f0


@dataclass(frozen=True, kw_only=True, eq=False)
class GradEvent:
    """One gradient on one logical axis as piecewise-linear knots.

    Attributes
    ----------
    times : ndarray of float, shape (n,)
        Knot times [s] from block start (non-decreasing, the delay included). The gradient is zero
        before the first and after the last knot.
    values : ndarray of float, shape (n,)
        gamma-bar G at the knots [Hz/m].
    """

    times: FloatArray
    values: FloatArray

    def __post_init__(self) -> None:
        if self.times.shape != self.values.shape or self.times.ndim != 1 or self.times.size < 2:
            raise SequenceError(
                f"times and values must be equally long vectors of >= 2 knots; got {self.times.shape} "
                f"and {self.values.shape}."
            )

    @property
    def duration(self) -> float:
        """Time of the last knot [s] from block start."""
        return float(self.times[-1])

    @property
    def area(self) -> float:
        """Integral over the event [1/m]."""
        return gradient_area(self)

    def integral(self, at: ArrayLike) -> FloatArray:
        """Integral from block start to the times `at` [1/m]; see `gradient_integral`."""
        return gradient_integral(self, at)


@dataclass(frozen=True, kw_only=True, eq=False)
class AdcEvent:
    """One readout window; sample n is taken at ``delay + (n + 0.5) * dwell`` from block start.

    Attributes
    ----------
    num : int
        Number of samples.
    dwell, delay : float
        Sample spacing and start of the window [s].
    freq_offset, phase_offset, freq_ppm, phase_ppm : float
        Demodulation [Hz], [rad], [ppm of f0], [rad/MHz].
    phase_modulation : ndarray of float or None
        Extra phase per sample [rad] (Pulseq 1.5), shape (num,).
    """

    num: int
    dwell: float
    delay: float
    freq_offset: float = 0.0
    phase_offset: float = 0.0
    freq_ppm: float = 0.0
    phase_ppm: float = 0.0
    phase_modulation: FloatArray | None = None

    @property
    def sample_times(self) -> FloatArray:
        """Sample times [s] from block start, shape (num,)."""
        return np.asarray(self.delay + (np.arange(self.num) + 0.5) * self.dwell)

    @property
    def end(self) -> float:
        """End of the window [s] from block start."""
        return self.delay + self.num * self.dwell


@dataclass(frozen=True, kw_only=True)
class Signature:
    """Checksum found in a sequence file.

    Attributes
    ----------
    kind : str
        Hash name, 'md5'.
    value : str
        Hexadecimal digest in the file, '' where the file is unsigned.
    verified : bool
        True where the digest of the file's content equals `value`.
    """

    kind: str = "md5"
    value: str = ""
    verified: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Sequence:
    """A whole pulse sequence: per-block arrays of length `n_blocks` plus event libraries.

    Attributes
    ----------
    start, duration : ndarray of float, shape (n_blocks,)
        Block start and length [s].
    rf, gx, gy, gz, adc : ndarray of int32, shape (n_blocks,)
        Event numbers, 0 = none. Event ``i`` is item ``i - 1`` of its library.
    rf_events, grad_events, adc_events : tuple
        The libraries; the three gradient axes share one.
    labels : dict of str to ndarray of int32, shape (n_adc,)
        Value of each label at each block with an ADC, in play order. Only labels that the sequence
        sets are present; absent means 0 (see `label`).
    definitions : dict of str to (float, tuple of float, or str)
        The file's [DEFINITIONS], numbers parsed.
    version : tuple of int
        Pulseq version the sequence was written in.
    rasters : dict of str to float
        'gradient', 'rf', 'adc', 'block' raster times [s].
    signature : Signature
        Checksum of the file.
    rf_shims : tuple of ndarray of complex, shape (n_channels,)
        Weights of the transmit channels (Pulseq 1.5.1).
    shim : ndarray of int32, shape (n_blocks,)
        RF shim of each block, 0 = none (all channels play the pulse as it is). Item ``i`` is entry
        ``i - 1`` of `rf_shims`. Left empty, it becomes zeros.
    soft_delays : dict of str to float
        Value [s] per hint that `duration` corresponds to (Pulseq 1.5); see `read_seq`.
    """

    start: FloatArray
    duration: FloatArray
    rf: IntArray
    gx: IntArray
    gy: IntArray
    gz: IntArray
    adc: IntArray
    rf_events: tuple[RfEvent, ...]
    grad_events: tuple[GradEvent, ...]
    adc_events: tuple[AdcEvent, ...]
    labels: dict[str, IntArray]
    definitions: dict[str, float | tuple[float, ...] | str]
    version: tuple[int, int, int] = (1, 5, 0)
    rasters: dict[str, float] = field(default_factory=dict)
    signature: Signature = field(default_factory=Signature)
    rf_shims: tuple[NDArray[np.complex128], ...] = ()
    shim: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int32))
    soft_delays: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = self.start.size
        if self.shim.size == 0:
            object.__setattr__(self, "shim", np.zeros(n, dtype=np.int32))
        libraries: dict[str, tuple[object, ...]]
        libraries = {"rf": self.rf_events, "adc": self.adc_events, "shim": self.rf_shims}
        for name in ("duration", "rf", "gx", "gy", "gz", "adc", "shim"):
            array = getattr(self, name)
            if array.shape != (n,):
                raise SequenceError(f"{name} must have one entry per block ({n}); got shape {array.shape}.")
            if name == "duration" or n == 0:
                continue
            size = len(libraries.get(name, self.grad_events))
            if array.min() < 0 or array.max() > size:
                raise SequenceError(
                    f"{name} must refer to events 0..{size}; got {array.min()}..{array.max()}."
                )
        for label, values in self.labels.items():
            if values.shape != self.adc_blocks.shape:
                raise SequenceError(f"label {label} must have one value per ADC block; got {values.shape}.")

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return int(self.start.size)

    @property
    def adc_blocks(self) -> NDArray[np.intp]:
        """Indices of the blocks that have an ADC, shape (n_adc,)."""
        return np.flatnonzero(self.adc)

    @property
    def rf_blocks(self) -> NDArray[np.intp]:
        """Indices of the blocks that have an RF pulse, shape (n_rf,)."""
        return np.flatnonzero(self.rf)

    @property
    def total_duration(self) -> float:
        """Length of the sequence [s]."""
        return float(self.duration.sum())

    def label(self, name: str) -> IntArray:
        """Value of label `name` at each ADC block, zeros where the sequence never sets it."""
        values = self.labels.get(name)
        return np.zeros(self.adc_blocks.size, dtype=np.int32) if values is None else values

    def rf_event(self, block: int) -> RfEvent | None:
        """RF pulse of a block, None without one."""
        number = int(self.rf[block])
        return self.rf_events[number - 1] if number else None

    def adc_event(self, block: int) -> AdcEvent | None:
        """Readout of a block, None without one."""
        number = int(self.adc[block])
        return self.adc_events[number - 1] if number else None

    def gradients(self, block: int) -> tuple[GradEvent | None, GradEvent | None, GradEvent | None]:
        """Gradients of a block on the axes (x, y, z), None where an axis is idle."""
        gx, gy, gz = (int(ids[block]) for ids in (self.gx, self.gy, self.gz))
        events = self.grad_events
        return (
            events[gx - 1] if gx else None,
            events[gy - 1] if gy else None,
            events[gz - 1] if gz else None,
        )

    def block_moments(self) -> FloatArray:
        """Gradient area of every block and axis [1/m], shape (n_blocks, 3)."""
        areas = np.array([0.0, *(gradient_area(event) for event in self.grad_events)])
        return np.stack([areas[self.gx], areas[self.gy], areas[self.gz]], axis=1)

    def rf_center_times(self) -> FloatArray:
        """Centres of all RF pulses [s] from the start of the sequence, shape (n_rf,)."""
        blocks = self.rf_blocks
        centers = np.array([0.0, *(event.center for event in self.rf_events)])
        return np.asarray(self.start[blocks] + centers[self.rf[blocks]])


def gradient_area(event: GradEvent) -> float:
    """Integral of a gradient event over its whole length [1/m]."""
    return float(np.sum(0.5 * (event.values[1:] + event.values[:-1]) * np.diff(event.times)))


def gradient_integral(event: GradEvent, at: ArrayLike) -> FloatArray:
    """Integral of a gradient event from block start to given times.

    Parameters
    ----------
    event : GradEvent
        Piecewise-linear gradient.
    at : array_like
        Times [s] from block start, any shape.

    Returns
    -------
    ndarray
        Integral [1/m] at each time; exact (quadratic inside each segment).
    """
    times, values = event.times, event.values
    at = np.clip(np.asarray(at, dtype=np.float64), times[0], times[-1])
    steps = np.diff(times)
    areas = np.concatenate(([0.0], np.cumsum(0.5 * (values[1:] + values[:-1]) * steps)))
    index = np.clip(np.searchsorted(times, at, side="right") - 1, 0, times.size - 2)
    offset = at - times[index]
    width = np.where(steps[index] > 0.0, steps[index], 1.0)
    slope = (values[index + 1] - values[index]) / width
    return np.asarray(areas[index] + offset * (values[index] + 0.5 * slope * offset))


def infer_use(event: RfEvent) -> str:
    """Guess what a pulse of an old file is for, as pypulseq does: by its flip angle alone.

    Parameters
    ----------
    event : RfEvent
        Pulse, possibly with a declared use.

    Returns
    -------
    str
        The declared use, or 'excitation' below 90.01 degrees and 'refocusing' above.

    Notes
    -----
    pypulseq 1.5 detects by ``abs(flip) < 90.01 deg -> excitation``, else refocusing (a long pulse
    with a large offset and no gradient would be a saturation; not guessed here).
    """
    if event.use != "undefined":
        return event.use
    return "excitation" if event.flip_angle < np.deg2rad(90.01) else "refocusing"

"""What a build realised: the card's values after rounding to the scanner's rasters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class BuildReport:
    """Realised values of one built sequence.

    Attributes
    ----------
    scan_time, tr, te : float
        [s]; `tr` shot to shot.
    ti, echo_spacing : float or None
        [s].
    bandwidth : float
        [Hz/px] after the ADC raster.
    center_echo : int
        Position in the train (0-based) of the excitation or echo that carries the k-space centre.
    center_sample, samples : int
        Sample at k = 0 and samples per readout, with oversampling.
    dwell : float
        Sample spacing [s].
    readouts, shots : int
        Imaging readouts (noise not counted); shots, dummies included.
    spoiler_moment : float
        The common moment [1/m] on the readout axis: all net moments between RF pulses are integer
        multiples of it.
    rf_spoil_increment : float
        Quadratic phase increment [rad]; 0 for spin echoes.
    ti_first, recovery : float or None
        Inversion to the first excitation of the train (TI as GE counts it for an IR-FSPGR), and the time
        from the end of the last train to the next shot [s].
    effective_te : float or None
        Contrast-equivalent TE of a spin-echo train [s], as GE and Philips report it (see
        `refocusing.effective_te`).
    extra : dict
        Further entries of [DEFINITIONS] that only some families have, under their file names, in SI
        units: EchoTimes, InversionTimes, FlipAngles, SlicePositions, EffectiveTE, ...
    """

    scan_time: float
    tr: float
    te: float
    ti: float | None
    echo_spacing: float | None
    bandwidth: float
    center_echo: int
    center_sample: int
    samples: int
    dwell: float
    readouts: int
    shots: int
    spoiler_moment: float
    rf_spoil_increment: float
    ti_first: float | None = None
    recovery: float | None = None
    effective_te: float | None = None
    extra: dict[str, Any] = field(default_factory=dict)

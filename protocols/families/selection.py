"""Selective pulses: RF waveform, slice-select gradient, carrier of each slice.

A carrier offset +f excites where the gradient adds +f, so the slice at x plays ``f = G x``. The carrier
runs from the start of the pulse; its phase at the RF centre is taken out, so that every slice has the phase
that was asked for: ``phase_offset = phase - 2 pi f t_center``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..cards.protocol import Protocol
from ..cards.settings import Selection
from .composer import BuildError, Composer, Trapezoid, up

Use = Literal["excitation", "refocusing", "inversion"]

_HAMMING = 0.46  # share of the cosine in a Hamming window
_SLR_POINTS = 256  # design points; the waveform is interpolated to the RF raster
_SLR_RIPPLE = 0.01
_SMALL_TIP = math.radians(60.0)  # below, the Fourier design of an SLR pulse holds


@dataclass(frozen=True, kw_only=True, eq=False)
class Pulse:
    """An RF pulse with its gradient, in one block.

    Attributes
    ----------
    event : SimpleNamespace
        pypulseq's RF event, on resonance.
    center : float
        RF centre [s] from block start.
    end : float
        Earliest end of the block, or start of another gradient [s], on the gradient raster.
    amplitude : float
        Slice-select gradient during the pulse [Hz/m]; 0 for a hard pulse.
    gradient : int
        Event number of the slice-select trapezoid; 0 without one.
    before, after : float
        Its area before and after the RF centre [1/m].
    """

    composer: Composer
    event: Any
    center: float
    end: float
    amplitude: float = 0.0
    gradient: int = 0
    before: float = 0.0
    after: float = 0.0

    @property
    def selective(self) -> bool:
        """Whether a gradient is played with the pulse."""
        return self.gradient != 0

    def rf(self, phase: float = 0.0, position: float = 0.0) -> int:
        """Event number for a phase at the RF centre [rad] and a slice position along the slice axis [m]."""
        frequency = self.amplitude * position
        turn = 2.0 * math.pi * frequency * float(self.event.center)
        return self.composer.rf(self.event, phase - turn, frequency)


def hard_pulse(composer: Composer, flip: float, duration: float, use: Use) -> Pulse:
    """Non-selective rectangular pulse of flip angle `flip` [rad] and length `duration` [s]."""
    event = composer.hard_pulse(flip, duration, use)
    center = float(event.delay + 0.5 * event.shape_dur)
    return Pulse(composer=composer, event=event, center=center, end=composer.rf_end(event))


def selective_pulse(
    composer: Composer, selection: Selection, flip: float, use: Use, thickness: float | None = None
) -> Pulse:
    """Make a selective pulse with its trapezoid.

    Parameters
    ----------
    composer : Composer
        Sequence under construction: limits, rasters, dead times.
    selection : Selection
        Pulse shape, length, time-bandwidth product, thickness.
    flip : float
        Flip angle [rad].
    use : {'excitation', 'refocusing', 'inversion'}
        An inversion is a refocusing pulse by shape; adiabatic ones are made by `with_selection`.
    thickness : float, optional
        Selected thickness [m]; by default the card's, times the factor for this use.

    Raises
    ------
    BuildError
        If the gradient would exceed the scanner's limit; names the shortest pulse.
    """
    excites = use == "excitation"
    duration = selection.duration if excites else selection.refocusing_duration
    product = selection.time_bandwidth if excites else selection.refocusing_time_bandwidth
    duration = up(duration, max(composer.raster, composer.scanner.gradients.rf_raster))
    waveform = pulse_waveform(selection.pulse, product, duration, _dwell(composer), flip, use)
    event = _rf_event(composer, waveform, flip, duration, use)
    return with_selection(
        composer, event, product / duration, thickness if thickness else _thickness(selection, use)
    )


def with_selection(composer: Composer, event: Any, bandwidth: float, thickness: float) -> Pulse:
    """Add a slice-select trapezoid to a pulse.

    Parameters
    ----------
    composer : Composer
        Sequence under construction.
    event : SimpleNamespace
        pypulseq RF event whose length is a multiple of the gradient raster; its delay is set here.
    bandwidth : float
        Bandwidth of the pulse [Hz].
    thickness : float
        Selected thickness [m].

    Raises
    ------
    BuildError
        If the gradient would exceed the scanner's limit.
    """
    amplitude = bandwidth / thickness
    if amplitude > composer.max_amplitude:
        raise BuildError(
            f"selection.thickness must be at least {bandwidth / composer.max_amplitude:.6f} m for a pulse of "
            f"{bandwidth:.0f} Hz bandwidth; got {thickness} m. Take a longer pulse."
        )
    limits = composer.scanner.gradients
    rise = max(up(amplitude / composer.max_slew, composer.raster), composer.raster)
    start = up(max(rise, limits.rf_dead_time), composer.raster)
    event.delay = start
    length = float(event.shape_dur)
    shape = Trapezoid(rise=rise, flat=up(length, composer.raster))
    after_rf = start + length + event.ringdown_time
    end = up(max(start + shape.flat + rise, after_rf), composer.raster)
    center = float(event.center)
    return Pulse(
        composer=composer,
        event=event,
        center=start + center,
        end=end,
        amplitude=amplitude,
        gradient=composer.gradient_amplitude(amplitude, shape, round(start - rise, 12)),
        before=amplitude * (0.5 * rise + center),
        after=amplitude * (shape.flat - center + 0.5 * rise),
    )


def excitation_pulse(composer: Composer, protocol: Protocol, flip: float | None = None) -> Pulse:
    """Excitation of a card: hard, or selective as its selection says; `flip` [rad] replaces the card's."""
    flip = protocol.flip_angle if flip is None else flip
    if protocol.selection.mode == "none":
        return hard_pulse(composer, flip, protocol.rf.excitation_duration, "excitation")
    return selective_pulse(composer, protocol.selection, flip, "excitation")


def refocusing_pulse(composer: Composer, protocol: Protocol, flip: float = math.pi) -> Pulse:
    """Refocusing pulse of a card: selective for slices, hard for a slab or the whole body."""
    if protocol.selection.mode != "slices":
        return hard_pulse(composer, flip, protocol.rf.refocusing_duration, "refocusing")
    return selective_pulse(composer, protocol.selection, flip, "refocusing")


def pulse_waveform(
    shape: str, product: float, duration: float, dwell: float, flip: float, use: Use
) -> NDArray[np.float64]:
    """Waveform at the centres of the RF raster, of any scale.

    Parameters
    ----------
    shape : {'sinc', 'slr'}
        Hamming-windowed sinc, or Shinnar-Le Roux (Pauly et al., IEEE TMI 10:53-65, 1991) by sigpy: least
        squares, linear phase.
    product : float
        Time-bandwidth product.
    duration, dwell : float
        Length and raster [s].
    flip : float
        Flip angle [rad]: below 60 degrees an SLR excitation is designed for small tips.
    use : {'excitation', 'refocusing', 'inversion'}
        What the pulse is designed for.

    Returns
    -------
    ndarray of float, shape (round(duration / dwell),)
    """
    count = round(duration / dwell)
    time = (np.arange(count) + 0.5) / count - 0.5  # of the duration
    if shape == "sinc":
        window = 1.0 - _HAMMING + _HAMMING * np.cos(2.0 * np.pi * time)
        return np.asarray(window * np.sinc(product * time))
    from sigpy.mri.rf.slr import dzrf

    kinds = {"excitation": "st" if flip <= _SMALL_TIP else "ex", "refocusing": "se", "inversion": "inv"}
    design = np.real(dzrf(_SLR_POINTS, product, kinds[use], "ls", _SLR_RIPPLE, _SLR_RIPPLE))
    at = (np.arange(_SLR_POINTS) + 0.5) / _SLR_POINTS - 0.5
    wave = np.interp(time, at, design)
    return np.asarray(0.5 * (wave + wave[::-1]))  # linear phase: symmetric to rounding


def slice_positions(selection: Selection) -> NDArray[np.float64]:
    """Slice centres along the slice axis [m], relative to the field-of-view centre, ascending."""
    middle = 0.5 * (selection.n_slices - 1)
    return np.asarray((np.arange(selection.n_slices) - middle) * (selection.thickness + selection.gap))


def slice_order(selection: Selection) -> list[int]:
    """Slice numbers in the order of excitation."""
    order = list(range(selection.n_slices))
    if selection.order == "interleaved":
        return order[::2] + order[1::2]
    return order[::-1] if selection.order == "descending" else order


def slice_groups(selection: Selection) -> list[list[int]]:
    """Slice numbers of each concatenation, in the order of excitation; neighbours go to different groups."""
    order = slice_order(selection)
    if selection.concatenations == 1:
        return [order]
    groups = range(selection.concatenations)
    return [[n for n in order if n % selection.concatenations == group] for group in groups]


def slice_definitions(protocol: Protocol) -> dict[str, Any]:
    """Entries of [DEFINITIONS] about the selection [m]; none for hard pulses."""
    selection = protocol.selection
    if selection.mode == "none":
        return {}
    if selection.mode == "slab":
        return {"SlabThickness": selection.thickness}
    return {
        "SliceThickness": selection.thickness,
        "SliceGap": selection.gap,
        "SlicePositions": [round(float(p), 9) for p in slice_positions(selection)],
        "SliceOrder": slice_order(selection),
    }


def _thickness(selection: Selection, use: Use) -> float:
    factors = {"refocusing": selection.refocusing_factor, "inversion": selection.inversion_factor}
    return selection.thickness * factors.get(use, 1.0)


def _dwell(composer: Composer) -> float:
    return float(composer.scanner.gradients.rf_raster)


def _rf_event(composer: Composer, waveform: Any, flip: float, duration: float, use: Use) -> Any:
    import pypulseq as pp

    return pp.make_arbitrary_rf(
        signal=waveform,
        flip_angle=flip,
        dwell=_dwell(composer),
        center=0.5 * duration,
        delay=composer.scanner.gradients.rf_dead_time,
        system=composer.system,
        use=use,
    )

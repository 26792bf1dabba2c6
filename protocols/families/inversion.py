"""Inversion blocks: pulse, spoiler, waiting time; non-selective, or per slice."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..cards.protocol import Protocol
from .composer import Block, BuildError, Composer, down, up
from .selection import Pulse, selective_pulse, with_selection

INVERSION_SPOILER = 8
"""Multiples of the spoiler moment after the inversion."""
_IDEAL_DURATION = 1e-4
_HYPSEC_BETA_T = 8.2  # beta x duration: the pulse is cut at 1.7 % of its peak, as usual
_HYPSEC_MU = 4.9


def inversion_event(composer: Composer, protocol: Protocol) -> Any:
    """Adiabatic hyperbolic secant, or a hard pi pulse ('ideal')."""
    import pypulseq as pp

    limits = composer.scanner.gradients
    if protocol.rf.inversion == "ideal":
        return composer.hard_pulse(np.pi, _IDEAL_DURATION, "inversion")
    duration = up(protocol.rf.inversion_duration, 4 * limits.rf_raster)
    return pp.make_adiabatic_pulse(
        "hypsec",
        duration=duration,
        beta=_HYPSEC_BETA_T / duration,
        mu=_HYPSEC_MU,
        delay=up(limits.rf_dead_time, limits.rf_raster),
        dwell=4 * limits.rf_raster,
        system=composer.system,
        use="inversion",
    )


def inversion_pulse(composer: Composer, protocol: Protocol) -> Pulse:
    """Inversion of a card: selective for 2D slices, on everything otherwise.

    A hyperbolic secant inverts the band ``mu beta / pi`` (Silver, Joseph and Hoult, J Magn Reson 59:347-351,
    1984); 'ideal' becomes the card's selective pulse shape where slices are inverted.
    """
    selection = protocol.selection
    if selection.mode == "slices" and protocol.rf.inversion == "ideal":
        return selective_pulse(composer, selection, np.pi, "inversion")
    event = inversion_event(composer, protocol)
    if selection.mode == "slices":
        bandwidth = _HYPSEC_MU * _HYPSEC_BETA_T / (np.pi * event.shape_dur)
        thickness = selection.thickness * selection.inversion_factor
        return with_selection(composer, event, bandwidth, thickness)
    center = float(event.delay + event.center)
    return Pulse(composer=composer, event=event, center=center, end=composer.rf_end(event))


class Inversion:
    """Inversion block: pulse, spoiler, waiting time.

    Parameters
    ----------
    composer : Composer
        Sequence under construction.
    protocol : Protocol
        Card with `timing.ti`.
    moment : float
        Common spoiler moment on the readout axis [1/m].
    lead : float
        Time from the end of the block to the event that TI counts to [s].
    ti : float, optional
        Inversion time [s]; by default `timing.ti`.
    name : str
        Card field of this time, for messages.
    ahead : float
        Slice-select area that the next pulse plays before its centre [1/m]; it is prepared here.
    spoiler : int
        Multiples of the spoiler moment after the pulse.

    Attributes
    ----------
    duration : float
        Length of the block [s].
    ti : float
        Realised inversion time [s].
    lead : float
        Time from the start of the block to the event that TI counts to [s].

    Raises
    ------
    BuildError
        If TI is too short; names the minimum.
    """

    def __init__(
        self,
        composer: Composer,
        protocol: Protocol,
        moment: float,
        lead: float,
        *,
        ti: float | None = None,
        name: str = "timing.ti",
        ahead: float = 0.0,
        spoiler: int = INVERSION_SPOILER,
    ) -> None:
        ti = protocol.timing.ti if ti is None else ti
        if ti is None:
            raise BuildError("timing.ti must be given for an inversion")
        event = inversion_event(composer, protocol)
        center = float(event.delay + event.center)
        start = composer.rf_end(event)
        area = spoiler * moment
        shape, lobe = composer.trapezoid(area), composer.trapezoid(ahead)
        shortest = up(start + max(shape.duration, lobe.duration if ahead else 0.0), composer.block_raster)
        duration = down(ti - lead + center + 0.5 * composer.block_raster, composer.block_raster)
        if duration < shortest - 1e-9:
            raise BuildError(f"{name} must be at least {shortest - center + lead:.6f} s; got {ti} s")
        self.duration = duration
        self.lead = duration + lead
        self.ti = float(duration - center + lead)
        self._row = {
            "rf": composer.rf(event),
            "gx": composer.gradient(area, shape, start),
            "gz": composer.gradient(-ahead, lobe, start),
        }
        self._composer = composer

    def play(self, ext: int = 0) -> None:
        """Append the block."""
        self._composer.add(Block(duration=self.duration, ext=ext, **self._row))

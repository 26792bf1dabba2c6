"""Readout line of an echo-planar train.

Every line is a symmetric trapezoid of the length of the echo spacing; its ADC window is centred on it.
k = 0 lies half a sample before the middle of the window on forward lines and half a sample after it
on backward lines: prephasing by half a sample makes both coincide once backward lines are flipped, and puts
k = 0 on sample ``num / 2`` of the flipped line.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from ..cards.protocol import Protocol
from .composer import BuildError, Composer, Trapezoid, down, up

_RAMP_SLACK = 0.03  # relative change of the ADC window that may fit the rasters, with ramp sampling
_FLAT_SLACK = 0.1  # ... and without, where the number of samples is fixed
_SEARCH = 500  # block rasters tried for the shortest echo spacing


@dataclass(frozen=True, kw_only=True)
class EpiLine:
    """One line of a train.

    Attributes
    ----------
    shape : Trapezoid
        Readout gradient.
    amplitude : float
        Its flat top on forward lines [Hz/m].
    dwell, adc_delay : float
        ADC sample spacing and start [s] from block start.
    num : int
        Samples.
    blip : float
        Half the length of the blips [s].
    """

    shape: Trapezoid
    amplitude: float
    dwell: float
    adc_delay: float
    num: int
    blip: float

    @property
    def spacing(self) -> float:
        """Length of the line [s]."""
        return round(self.shape.duration, 9)

    @property
    def area(self) -> float:
        """Readout area [1/m]."""
        return self.amplitude * (self.shape.rise + self.shape.flat)

    @property
    def prephase(self) -> float:
        """Give k at the start of a forward line [1/m]: minus half the area, and half a sample."""
        return -0.5 * self.area - 0.5 * self.amplitude * self.dwell

    def center_time(self, forward: bool) -> float:
        """Time of the sample at k = 0 [s] from block start."""
        return 0.5 * self.spacing + (0.5 if forward else -0.5) * self.dwell

    def ramp(self) -> list[float]:
        """Values of the definition EpiRamp: rise, flat, ADC delay, dwell, samples."""
        return [self.shape.rise, self.shape.flat, self.adc_delay, self.dwell, float(self.num)]


def plan_line(composer: Composer, protocol: Protocol, steepest_blip: float) -> EpiLine:
    """Readout line of a card.

    Parameters
    ----------
    composer : Composer
        Limits and rasters.
    protocol : Protocol
        Card; `timing.echo_spacing` None takes the shortest.
    steepest_blip : float
        Largest blip area [1/m].

    Raises
    ------
    BuildError
        If bandwidth or echo spacing cannot be met; names what can.
    """
    half = max(
        composer.raster,
        up(math.sqrt(steepest_blip / composer.max_slew), composer.raster),
        up(steepest_blip / composer.max_amplitude, composer.raster),
    )
    idle = max(composer.scanner.gradients.adc_dead_time, half)
    wanted, raster = protocol.timing.echo_spacing, composer.block_raster
    windows = _windows(composer, protocol)
    if wanted is None:
        least = up(min(windows) + 2.0 * idle, raster)
        for steps in range(_SEARCH):
            found = _best(composer, protocol, round(least + steps * raster, 9), windows, idle)
            if found is not None:
                return dataclasses.replace(found, blip=_blip_half(composer, found, half))
        raise BuildError(
            f"readout.bandwidth must not need more than {composer.max_amplitude:.4g} Hz/m; "
            f"got {protocol.readout.bandwidth} Hz/px. Lower it."
        )
    found = _best(composer, protocol, down(wanted + 0.5 * raster, raster), windows, idle)
    if found is None:
        timing = dataclasses.replace(protocol.timing, echo_spacing=None)
        shortest = plan_line(composer, protocol.replace(timing=timing), steepest_blip).spacing
        raise BuildError(
            f"timing.echo_spacing must be at least {shortest:.6f} s at this bandwidth; got {wanted} s"
        )
    return dataclasses.replace(found, blip=_blip_half(composer, found, half))


def _blip_half(composer: Composer, line: EpiLine, least: float) -> float:
    """Half length of the blips [s]: as gentle as the pause allows, up to 4 times the shortest."""
    pause = 0.5 * (line.spacing - line.num * line.dwell)
    return max(least, min(down(pause, composer.raster), 4.0 * least))


def _best(
    composer: Composer, protocol: Protocol, spacing: float, windows: list[float], idle: float
) -> EpiLine | None:
    """Line of one spacing with the coarsest sampling that still meets the field of view; None if too fast."""
    ramp = protocol.epi is not None and protocol.epi.ramp_sampling
    points = protocol.geometry.matrix[0] * protocol.readout.oversampling
    best: EpiLine | None = None
    for window in windows:
        found = None
        if window + 2.0 * idle <= spacing + 1e-9:
            found = _trapezoid(composer, protocol, spacing, window, ramp)
        if found is None:
            continue
        rise, amplitude = found
        limit = 1.0 / (amplitude * protocol.readout.oversampling * protocol.geometry.fov[0])
        dwell = _dwell(composer, window, limit) if ramp else window / points
        if best is None or dwell > best.dwell:
            best = EpiLine(
                shape=Trapezoid(rise=rise, flat=round(spacing - 2.0 * rise, 9)),
                amplitude=amplitude,
                dwell=dwell,
                adc_delay=round(0.5 * (spacing - window), 9),
                num=round(window / dwell),
                blip=idle,
            )
    return best


def _windows(composer: Composer, protocol: Protocol) -> list[float]:
    """Lengths of the ADC window [s] near 1 / bandwidth whose halves (and samples) fit the rasters."""
    limits, wanted = composer.scanner.gradients, 1.0 / protocol.readout.bandwidth
    points = protocol.geometry.matrix[0] * protocol.readout.oversampling
    if protocol.epi is not None and protocol.epi.ramp_sampling:
        step = 2.0 * limits.rf_raster
        near, slack = round(wanted / step), max(1, math.floor(_RAMP_SLACK * wanted / step))
        return [round(n * step, 9) for n in range(near - slack, near + slack + 1)]
    # points * dwell has to be a multiple of two RF rasters: the dwell is one of every `stride` ADC rasters.
    unit = round(2 * limits.rf_raster / limits.adc_raster)
    step = points * (unit // math.gcd(unit, points)) * limits.adc_raster
    window = max(1, round(wanted / step)) * step
    if abs(window / wanted - 1.0) > _FLAT_SLACK:
        raise BuildError(
            f"readout.bandwidth must be one that the rasters allow, such as {1.0 / window:.1f} Hz/px; "
            f"got {protocol.readout.bandwidth} Hz/px. Ramp sampling leaves more freedom."
        )
    return [round(window, 9)]


def _dwell(composer: Composer, window: float, longest: float) -> float:
    """Longest dwell [s] on the ADC raster that divides the window into an even number of samples."""
    step = composer.scanner.gradients.adc_raster
    total = round(window / step)
    for count in range(math.floor(longest / step + 1e-6), 0, -1):
        if total % (2 * count) == 0:
            return round(count * step, 12)
    raise BuildError(
        f"readout.bandwidth must allow a dwell time of at least {step} s; needs {longest:.3g} s. Lower it."
    )


def _trapezoid(
    composer: Composer, protocol: Protocol, spacing: float, window: float, ramp: bool
) -> tuple[float, float] | None:
    """Shortest ramp [s] and its amplitude [Hz/m] that cover k-space in the window; None if too fast.

    The window misses ``w = (spacing - window) / 2`` at each end; inside it lies the area
    ``A (spacing - rise - w^2 / rise)`` for w < rise, else ``A window``.
    """
    extent, missed = protocol.geometry.matrix[0] / protocol.geometry.fov[0], 0.5 * (spacing - window)
    for step in range(1, round(0.5 * spacing / composer.raster)):
        rise = round(step * composer.raster, 9)
        if missed < rise and not ramp:
            return None
        length = window if missed >= rise else spacing - rise - missed**2 / rise
        amplitude = extent / length
        if amplitude > composer.max_amplitude:
            return None  # longer ramps need more
        if amplitude <= composer.max_slew * rise:
            return rise, amplitude
    return None

"""Readout gradient with its ADC: k-space centre exactly on one sample."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ..cards.protocol import Protocol
from .composer import BuildError, Composer, Trapezoid, up

NOISE_SAMPLES = 4096


@dataclass(frozen=True, kw_only=True)
class ReadoutPlan:
    """Timing of one readout block.

    Attributes
    ----------
    shape : Trapezoid
        Ramps and flat top.
    amplitude : float
        Flat-top amplitude [Hz/m].
    dwell, adc_delay : float
        ADC sample spacing and start [s] from block start.
    num, center : int
        Number of samples and index of the sample at k = 0.
    duration : float
        Block length [s].
    """

    shape: Trapezoid
    amplitude: float
    dwell: float
    adc_delay: float
    num: int
    center: int
    duration: float

    @property
    def center_time(self) -> float:
        """Time of the k = 0 sample [s] from block start."""
        return self.adc_delay + (self.center + 0.5) * self.dwell

    @property
    def area_to_center(self) -> float:
        """Gradient area from block start to the k = 0 sample [1/m]."""
        return self.amplitude * (self.center_time - 0.5 * self.shape.rise)

    @property
    def area(self) -> float:
        """Whole gradient area [1/m]."""
        return self.amplitude * (self.shape.rise + self.shape.flat)

    def later(self, shift: float, raster: float) -> ReadoutPlan:
        """Start the ADC later by up to one block raster (the flat top has room for it)."""
        return replace(self, adc_delay=round(self.adc_delay + round(shift / raster) * raster, 12))


def plan_readout(composer: Composer, protocol: Protocol) -> ReadoutPlan:
    """Readout of a protocol: dwell on the ADC raster nearest to the wanted bandwidth.

    Raises
    ------
    BuildError
        If the bandwidth cannot be met within 5 % or needs too strong a gradient.
    """
    settings, limits = protocol.readout, composer.scanner.gradients
    points = protocol.geometry.matrix[0] * settings.oversampling
    before = 2 * round(settings.echo_position * points / 2)
    num = (before + points // 2) // 4 * 4
    wanted = 1.0 / (settings.bandwidth * points)
    step = limits.adc_raster
    if protocol.echoes.polarity == "bipolar":  # the mirrored window must start on the RF raster, too
        ratio = round(limits.rf_raster / limits.adc_raster)
        step *= ratio // math.gcd(ratio, num)
    dwell = max(1, round(wanted / step)) * step
    if abs(dwell / wanted - 1.0) > 0.05:
        raise BuildError(
            f"readout.bandwidth must be within 5 % of what the ADC raster of {limits.adc_raster} s allows; "
            f"got {settings.bandwidth} Hz/px, possible is {1.0 / (dwell * points):.1f} Hz/px"
        )
    amplitude = 1.0 / (settings.oversampling * protocol.geometry.fov[0] * dwell)
    if amplitude > composer.max_amplitude:
        most = settings.bandwidth * composer.max_amplitude / amplitude
        raise BuildError(f"readout.bandwidth must not exceed {most:.0f} Hz/px here; got {settings.bandwidth}")
    rise = max(up(amplitude / composer.max_slew, composer.raster), up(limits.adc_dead_time, composer.raster))
    delay = up(rise, limits.rf_raster)
    end = delay + num * dwell + composer.block_raster
    shape = Trapezoid(rise=rise, flat=up(end - rise, composer.raster))
    duration = up(max(shape.duration, end + limits.adc_dead_time), composer.block_raster)
    return ReadoutPlan(
        shape=shape,
        amplitude=amplitude,
        dwell=dwell,
        adc_delay=delay,
        num=num,
        center=before,
        duration=duration,
    )

"""Spectrally selective fat saturation with its spoiler."""

from __future__ import annotations

import math

from .composer import Block, Composer, up

FAT_SHIFT_PPM = -3.45
"""Carrier relative to water [ppm]; that of the Pulseq demos (writeEpiDiffusionRS, pulseq/pulseq)."""
_FLIP = math.radians(110.0)  # as there
_DURATION = 8e-3  # s; as there


class FatSaturation:
    """Gaussian saturation pulse as wide as the shift of fat, then a spoiler on all axes.

    Parameters
    ----------
    composer : Composer
        Sequence under construction.
    spoiler : tuple of float
        Spoiler moment per axis [1/m].
    """

    def __init__(self, composer: Composer, spoiler: tuple[float, float, float]) -> None:
        import pypulseq as pp

        limits = composer.scanner.gradients
        pulse = pp.make_gauss_pulse(
            flip_angle=_FLIP,
            duration=up(_DURATION, composer.raster),
            bandwidth=abs(FAT_SHIFT_PPM) * 1e-6 * composer.scanner.field.f0,
            delay=up(limits.rf_dead_time, composer.raster),
            dwell=10 * limits.rf_raster if limits.rf_raster < 2e-6 else 5 * limits.rf_raster,
            freq_ppm=FAT_SHIFT_PPM,
            use="saturation",
            system=composer.system,
        )
        shape = composer.trapezoid(max(spoiler))
        start = composer.rf_end(pulse)
        x, y, z = (composer.gradient(area, shape, start) for area in spoiler)
        length = up(start + shape.duration, composer.block_raster)
        self.block = Block(duration=length, rf=composer.rf(pulse), gx=x, gy=y, gz=z)

    @property
    def duration(self) -> float:
        """Length [s]."""
        return self.block.duration

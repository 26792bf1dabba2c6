"""Balanced SSFP: all net moments vanish, alternating phase, half a flip angle half a TR ahead."""

from __future__ import annotations

import math

from ..cards.protocol import Protocol
from .composer import Block, BuildError, Composer, down, up
from .encoding import inside_shutter, partition_lines, phase_lines
from .gre import add_noise_scan, report
from .kernel import GradientEchoKernel
from .report import BuildReport
from .selection import excitation_pulse, slice_order


class HalfPulse:
    """Preparation: alpha/2 of opposite phase, TR/2 before the first excitation.

    It takes the magnetization to the middle of the cone of the steady state, so that the transient decays
    smoothly (Deimling and Heid, Proc. SMR 1994, p. 495).

    Raises
    ------
    BuildError
        If half a TR is too short for it; names the minimum.
    """

    def __init__(self, composer: Composer, protocol: Protocol, kernel: GradientEchoKernel) -> None:
        self.composer, self.kernel = composer, kernel
        self.pulse = excitation_pulse(composer, protocol, 0.5 * protocol.flip_angle)
        raster = composer.block_raster
        # Both pulses have the same length, so block lengths measure centre to centre.
        self.duration = down(0.5 * kernel.spacing + 0.5 * raster, raster)
        self.alone = up(self.pulse.end, raster)
        area = -self.pulse.after - kernel.pulse.before
        shape = composer.trapezoid(area)
        self.rewind = composer.gradient(area, shape)
        least = self.alone + (up(shape.duration, raster) if self.rewind else 0.0)
        if self.duration < least - 1e-9:
            raise BuildError(f"timing.tr must be at least {2.0 * least:.6f} s; got {kernel.spacing:.6f} s")

    def play(self, place: int, ext: int) -> None:
        """Append the pulse in a slice, and its rewinder."""
        position = self.kernel.positions[place]
        rf, add = self.pulse.rf(math.pi, position), self.composer.add
        if not self.rewind:
            add(Block(duration=self.duration, rf=rf, gz=self.pulse.gradient, ext=ext))
            return
        add(Block(duration=self.alone, rf=rf, gz=self.pulse.gradient, ext=ext))
        add(Block(duration=self.duration - self.alone, gz=self.rewind))


def compose_bssfp(composer: Composer, protocol: Protocol, noise_samples: int) -> BuildReport:
    """Balanced SSFP of a volume, or of 2D slices one after the other.

    Raises
    ------
    BuildError
        If TE or TR cannot be met; names the minimum.
    """
    raster = composer.block_raster
    spacing = 2.0 * down(0.5 * protocol.timing.tr + 0.5 * raster, raster)  # TR/2 lies on the raster, too
    kernel = GradientEchoKernel(composer, protocol, spacing, balanced=True)
    half = HalfPulse(composer, protocol, kernel)
    sliced = protocol.selection.mode == "slices"
    places = slice_order(protocol.selection) if sliced else [0]
    lines, partitions = phase_lines(protocol), [0] if sliced else partition_lines(protocol).tolist()
    add_noise_scan(composer, kernel.plan, noise_samples)
    shots = readouts = 0
    for place in places:
        extra = {"SLC": place} if sliced else {}
        half.play(place, composer.labels(NOISE=0, **extra))
        for count in range(protocol.timing.dummy_shots):
            kernel.play(count, None, None, place=place)
        count = protocol.timing.dummy_shots
        for position, line in enumerate(lines.index.tolist()):
            first = composer.labels(NOISE=0, LIN=line, **extra, **lines.flags(position))
            for partition in partitions:
                if sliced or inside_shutter(protocol, line, partition):
                    kernel.play(count, line, partition, place=place, first=first, marks={"PAR": partition})
                    first, count, readouts = 0, count + 1, readouts + 1
        shots += count
    return report(composer, kernel, readouts, shots, 0, {"PhaseCycling": math.pi})

"""Spoiled gradient echoes in the steady state: 3D, slab-selective 3D, 2D multi-slice; one or more echoes."""

from __future__ import annotations

import math
from typing import Any

from ..cards.protocol import Protocol
from .composer import Block, Composer, down, up
from .encoding import inside_shutter, partition_lines, phase_lines
from .kernel import GradientEchoKernel
from .readout import ReadoutPlan
from .report import BuildReport
from .selection import slice_groups


def add_noise_scan(composer: Composer, plan: ReadoutPlan, samples: int) -> None:
    """Noise measurement: an ADC block without RF and gradients, labelled NOISE; nothing for no samples."""
    if samples == 0:
        return
    limits = composer.scanner.gradients
    delay = up(max(limits.adc_dead_time, limits.rf_raster), limits.rf_raster)
    adc = composer.adc(num=samples, dwell=plan.dwell, delay=delay)
    length = up(delay + samples * plan.dwell + limits.adc_dead_time, composer.block_raster)
    composer.add(Block(duration=length, adc=adc, ext=composer.labels(NOISE=1, LIN=0, PAR=0)))


def compose_gre(composer: Composer, protocol: Protocol, noise_samples: int) -> BuildReport:
    """Spoiled gradient echo with RF spoiling throughout.

    3D: partitions inside, phase lines outside. 2D: all slices of a concatenation inside each TR.

    Raises
    ------
    BuildError
        If TE, the echo spacing or TR cannot be met; names the minimum.
    """
    if protocol.selection.mode == "slices":
        return _compose_slices(composer, protocol, noise_samples)
    kernel = GradientEchoKernel(composer, protocol, protocol.timing.tr)
    lines, partitions = phase_lines(protocol), partition_lines(protocol)
    add_noise_scan(composer, kernel.plan, noise_samples)
    count = readouts = 0
    first = composer.labels(NOISE=0)
    for _ in range(protocol.timing.dummy_shots):
        kernel.play(count, None, None, first=first)
        first, count = 0, count + 1
    for position, line in enumerate(lines.index.tolist()):
        first = composer.labels(NOISE=0, LIN=line, **lines.flags(position))
        for partition in partitions.tolist():
            if inside_shutter(protocol, line, partition):
                kernel.play(count, line, partition, first=first, marks={"PAR": partition})
                first, count, readouts = 0, count + 1, readouts + 1
    return report(composer, kernel, readouts, shots=count, center=0)


def _compose_slices(composer: Composer, protocol: Protocol, noise_samples: int) -> BuildReport:
    """2D slices: each TR excites every slice of a concatenation once."""
    groups = slice_groups(protocol.selection)
    most = max(len(group) for group in groups)
    raster, timing = composer.block_raster, protocol.timing
    repetition = down(timing.tr + 0.5 * raster, raster)
    kernel = GradientEchoKernel(composer, protocol, down(repetition / most, raster))
    lines = phase_lines(protocol)
    add_noise_scan(composer, kernel.plan, noise_samples)
    count = readouts = 0
    for group in groups:
        rest = repetition - len(group) * kernel.spacing
        rounds: list[int | None] = [None] * timing.dummy_shots + list(range(lines.index.size))
        for turn, position in enumerate(rounds):
            for slot, place in enumerate(group):
                pause = rest if slot == len(group) - 1 else 0.0
                count += 1
                if position is None:
                    first = composer.labels(NOISE=0, SLC=place)
                    kernel.play(turn, None, None, place=place, first=first, pause=pause)
                    continue
                line = int(lines.index[position])
                first = composer.labels(NOISE=0, LIN=line, SLC=place, **lines.flags(position))
                kernel.play(turn, line, 0, place=place, first=first, marks={"PAR": 0}, pause=pause)
                readouts += 1
    return report(composer, kernel, readouts, count, 0, tr=repetition, echo_spacing=repetition)


def report(
    composer: Composer,
    kernel: GradientEchoKernel,
    readouts: int,
    shots: int,
    center: int,
    extra: dict[str, Any] | None = None,
    **values: Any,
) -> BuildReport:
    """Realised values of a sequence made of one kernel; `readouts` counts excitations that are read."""
    plan, protocol = kernel.plan, kernel.protocol
    points = protocol.geometry.matrix[0] * protocol.readout.oversampling
    values = {"tr": kernel.spacing, "ti": None, "echo_spacing": kernel.spacing, **values}
    return BuildReport(
        scan_time=float(sum(composer.seq.block_durations.values())),
        te=kernel.te,
        bandwidth=1.0 / (points * plan.dwell),
        center_echo=center,
        center_sample=plan.center,
        samples=plan.num,
        dwell=plan.dwell,
        readouts=readouts * len(kernel.blocks),
        shots=shots,
        spoiler_moment=kernel.moment,
        rf_spoil_increment=math.radians(kernel.increment_deg),
        extra={**_extra(kernel), **(extra or {})},
        **values,
    )


def _extra(kernel: GradientEchoKernel) -> dict[str, Any]:
    """Definitions that only some gradient echoes have."""
    entries: dict[str, Any] = {}
    if len(kernel.blocks) > 1:
        entries["EchoTimes"] = kernel.echo_times
        entries["EchoPolarity"] = kernel.protocol.echoes.polarity
    if kernel.pulse.selective:
        entries["SpoilerVector"] = [kernel.moment, 0.0, kernel.crusher]
    if kernel.protocol.acceleration.elliptical:
        entries["EllipticalShutter"] = 1
    return entries

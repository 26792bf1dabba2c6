"""Spoiled gradient echoes: the 3D kernel, and the plain steady-state sequence made of it.

One repetition is three blocks: [excitation, prephasing and phase encoding], [readout],
[rewinding and spoiling]. Phase and partition encoding are undone in each repetition and the readout
axis keeps one constant spoiler moment, so every repetition dephases by the same vector.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from .composer import Block, BuildError, Composer, Trapezoid, down, up
from .encoding import partition_lines, phase_lines
from .protocol import Protocol
from .readout import ReadoutPlan, plan_readout
from .report import BuildReport


@dataclass(frozen=True, kw_only=True)
class _Timing:
    """Block lengths [s] and gradient shapes of one repetition."""

    excite: float
    read: float
    spoil: float
    grad_start: float
    encode: Trapezoid
    spoiler: Trapezoid


class SpoiledKernel:
    """Repetitions of a spoiled gradient echo with one fixed spacing.

    Parameters
    ----------
    composer : Composer
        Sequence under construction.
    protocol : Protocol
        Card.
    spacing : float
        Excitation to excitation [s].

    Raises
    ------
    BuildError
        If TE or the spacing cannot be met; names the minimum.
    """

    def __init__(self, composer: Composer, protocol: Protocol, spacing: float) -> None:
        self.composer, self.protocol = composer, protocol
        geometry = protocol.geometry
        self.spacing = down(spacing + 0.5 * composer.block_raster, composer.block_raster)
        self.pulse = composer.hard_pulse(protocol.flip_angle, protocol.rf.excitation_duration, "excitation")
        self.rf_center = self.pulse.delay + 0.5 * self.pulse.shape_dur
        self.moment = protocol.rf.spoiler_cycles / geometry.voxel_size[0]
        increment = protocol.rf.spoil_increment_deg
        if increment is None:
            increment = composer.scanner.transmit.rf_spoil_increment_deg
        self.increment_deg = increment
        self.plan, self.timing = self._fit(plan_readout(composer, protocol))
        plan, timing = self.plan, self.timing
        self.gx_pre = composer.gradient(-plan.area_to_center, timing.encode, timing.grad_start)
        self.gx_read = composer.gradient_amplitude(plan.amplitude, plan.shape)
        rest = self.moment - plan.area + plan.area_to_center
        self.gx_spoil = composer.gradient(rest, timing.spoiler)
        self._encodes: dict[tuple[int, int], tuple[int, int]] = {}
        self._rf: dict[int, tuple[int, int]] = {}

    def _fit(self, plan: ReadoutPlan) -> tuple[ReadoutPlan, _Timing]:
        composer, geometry, te = self.composer, self.protocol.geometry, self.protocol.timing.te
        largest = max(
            plan.area_to_center + plan.amplitude * composer.block_raster,
            *(0.5 * n / f for n, f in zip(geometry.matrix[1:], geometry.fov[1:], strict=True)),
        )
        encode = composer.trapezoid(largest)
        slack = plan.amplitude * composer.block_raster  # the ADC may move by one raster below
        spoiler = composer.trapezoid(self.moment - plan.area + plan.area_to_center + slack)
        grad_start = composer.rf_end(self.pulse)
        shortest = up(grad_start + encode.duration, composer.block_raster)
        exact = te + self.rf_center - plan.center_time
        if exact < shortest - 1e-9:
            least = shortest - self.rf_center + plan.center_time
            raise BuildError(f"timing.te must be at least {least:.6f} s for this readout; got {te} s")
        excite = down(exact, composer.block_raster)
        plan = plan.later(exact - excite, composer.scanner.gradients.rf_raster)
        tail = up(max(encode.duration, spoiler.duration), composer.block_raster)
        spoil = self.spacing - excite - plan.duration
        if spoil < tail - 1e-9:
            least = excite + plan.duration + tail
            name = "timing.tr" if self.protocol.sequence == "gre" else "timing.echo_spacing"
            raise BuildError(f"{name} must be at least {least:.6f} s with this TE; got {self.spacing:.6f} s")
        return plan, _Timing(
            excite=excite,
            read=plan.duration,
            spoil=spoil,
            grad_start=grad_start,
            encode=encode,
            spoiler=spoiler,
        )

    @property
    def te(self) -> float:
        """Realised echo time [s]."""
        return float(self.timing.excite - self.rf_center + self.plan.center_time)

    def play(
        self,
        count: int,
        line: int | None,
        partition: int | None,
        *,
        first: int = 0,
        ext: int = 0,
        pause: float = 0.0,
    ) -> None:
        """Append one repetition.

        Parameters
        ----------
        count : int
            Position in the RF-spoiling cycle.
        line, partition : int or None
            Phase-encoding positions; None plays a dummy without encoding and ADC.
        first, ext : int
            Extension numbers for the excitation and the readout block.
        pause : float
            Extra time at the end [s].
        """
        timing = self.timing
        rf, adc = self._pulse(count)
        y, z = self._encoding(1, line), self._encoding(2, partition)
        gx_pre = self.gx_pre
        add = self.composer.add
        add(Block(duration=timing.excite, rf=rf, gx=gx_pre, gy=y[0], gz=z[0], ext=first))
        adc = adc if line is not None else 0
        add(Block(duration=timing.read, gx=self.gx_read, adc=adc, ext=ext))
        add(Block(duration=timing.spoil + pause, gx=self.gx_spoil, gy=y[1], gz=z[1]))

    def _pulse(self, count: int) -> tuple[int, int]:
        """RF and ADC events of one position of the quadratic phase cycle."""
        degrees = round(1e6 * (0.5 * self.increment_deg * count * (count + 1) % 360.0))
        if degrees not in self._rf:
            phase = math.radians(1e-6 * degrees)
            plan = self.plan
            adc = self.composer.adc(num=plan.num, dwell=plan.dwell, delay=plan.adc_delay, phase=phase)
            self._rf[degrees] = (self.composer.rf(self.pulse, phase), adc)
        return self._rf[degrees]

    def _encoding(self, axis: int, index: int | None) -> tuple[int, int]:
        """Return encoding and rewinding events of a line on one axis."""
        if index is None:
            return (0, 0)
        key = (axis, index)
        if key not in self._encodes:
            geometry = self.protocol.geometry
            area = (index - geometry.matrix[axis] // 2) / geometry.fov[axis]
            start, shape = self.timing.grad_start, self.timing.encode
            self._encodes[key] = (
                self.composer.gradient(area, shape, start),
                self.composer.gradient(-area, shape),
            )
        return self._encodes[key]


def add_noise_scan(composer: Composer, plan: ReadoutPlan, samples: int) -> None:
    """Noise measurement: an ADC block without RF and gradients, labelled NOISE."""
    limits = composer.scanner.gradients
    delay = up(max(limits.adc_dead_time, limits.rf_raster), limits.rf_raster)
    adc = composer.adc(num=samples, dwell=plan.dwell, delay=delay)
    length = up(delay + samples * plan.dwell + limits.adc_dead_time, composer.block_raster)
    composer.add(Block(duration=length, adc=adc, ext=composer.labels(NOISE=1, LIN=0, PAR=0)))


def compose_gre(composer: Composer, protocol: Protocol, noise_samples: int) -> BuildReport:
    """3D spoiled gradient echo: partitions inside, phase lines outside, RF spoiling throughout."""
    kernel = SpoiledKernel(composer, protocol, protocol.timing.tr)
    lines, partitions = phase_lines(protocol), partition_lines(protocol)
    add_noise_scan(composer, kernel.plan, noise_samples)
    count = 0
    first = composer.labels(NOISE=0)
    for _ in range(protocol.timing.dummy_shots):
        kernel.play(count, None, None, first=first)
        first, count = 0, count + 1
    for position, line in enumerate(lines.index.tolist()):
        first = composer.labels(NOISE=0, LIN=line, **lines.flags(position))
        for partition in partitions.tolist():
            kernel.play(count, line, partition, first=first, ext=composer.labels(PAR=partition))
            first, count = 0, count + 1
    return report(composer, kernel, lines.index.size * partitions.size, shots=count, center=0)


def report(
    composer: Composer, kernel: SpoiledKernel, readouts: int, shots: int, center: int, **extra: Any
) -> BuildReport:
    """Realised values of a sequence made of one spoiled kernel."""
    plan, geometry = kernel.plan, kernel.protocol.geometry
    points = geometry.matrix[0] * kernel.protocol.readout.oversampling
    values: dict[str, Any] = {
        "tr": kernel.spacing,
        "ti": None,
        "echo_spacing": kernel.spacing,
        **extra,
    }
    return BuildReport(
        scan_time=float(sum(composer.seq.block_durations.values())),
        te=kernel.te,
        bandwidth=1.0 / (points * plan.dwell),
        center_echo=center,
        center_sample=plan.center,
        samples=plan.num,
        dwell=plan.dwell,
        readouts=readouts,
        shots=shots,
        spoiler_moment=kernel.moment,
        rf_spoil_increment=math.radians(kernel.increment_deg),
        **values,
    )

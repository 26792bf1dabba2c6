"""3D spin echo and turbo spin echo with non-selective pulses, optionally inversion-prepared.

CPMG: the excitation is turned by 90 degrees against the refocusing pulses; from the excitation to
the first refocusing pulse the readout axis gains the moment M, between refocusing pulses 2 M, and
M again up to the k-space centre of each echo. Phase and partition encoding are undone inside each
refocusing interval. A shot ends with further integer multiples of M and the recovery time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .composer import Block, BuildError, Composer, Trapezoid, down, up
from .encoding import EchoOrder, PhaseLines, echo_order, partition_lines, phase_lines
from .gre import add_noise_scan
from .inversion import Inversion
from .protocol import Protocol
from .readout import ReadoutPlan, plan_readout
from .report import BuildReport

HALF_MOMENT_CYCLES = 1.0
"""M across one voxel along the readout [cycles]: half the readout plus a crusher of 0.5."""
END_SPOILER = 6
"""Multiples of M after the last echo, so that the rest of a shot's magnetization is dephased."""


def refocusing_angles(points_deg: tuple[float, ...], echoes: int) -> list[float]:
    """Refocusing flip angles [rad]: control points spread evenly over the train, joined linearly."""
    at = np.linspace(0.0, 1.0, len(points_deg)) if len(points_deg) > 1 else np.array([0.0])
    train = np.linspace(0.0, 1.0, echoes) if echoes > 1 else np.array([0.0])
    return [float(angle) for angle in np.deg2rad(np.interp(train, at, points_deg))]


@dataclass(frozen=True, kw_only=True)
class _Timing:
    """Block lengths [s] and gradient shapes of one echo."""

    excite: float
    refocus: float
    read: float
    rest: float
    grad_start: float
    excite_start: float
    encode: Trapezoid
    prephase: Trapezoid


class EchoTrain:
    """Excitation and refocusing train of one card.

    Raises
    ------
    BuildError
        If the echo spacing or TE cannot be met; names the possible value.
    """

    def __init__(self, composer: Composer, protocol: Protocol) -> None:
        self.composer, self.protocol = composer, protocol
        timing, rf = protocol.timing, protocol.rf
        spacing = timing.echo_spacing if timing.echo_spacing is not None else timing.te
        self.spacing = down(spacing + 0.5 * composer.block_raster, composer.block_raster)
        self.echoes = timing.turbo_factor
        center = round(timing.te / self.spacing) - 1
        if not 0 <= center < self.echoes or abs((center + 1) * self.spacing - timing.te) > 0.5 * self.spacing:
            raise BuildError(
                f"timing.te must fall on one of the {self.echoes} echoes, {self.spacing:.6f} to "
                f"{self.echoes * self.spacing:.6f} s; got {timing.te} s"
            )
        self.center = center
        self.moment = HALF_MOMENT_CYCLES / protocol.geometry.voxel_size[0]
        self.excitation = composer.hard_pulse(protocol.flip_angle, rf.excitation_duration, "excitation")
        self.rf_excite = composer.rf(self.excitation, math.pi / 2.0)
        angles = refocusing_angles(rf.refocusing_deg, self.echoes)
        pulses = [composer.hard_pulse(angle, rf.refocusing_duration, "refocusing") for angle in angles]
        self.rf_refocus = [composer.rf(pulse) for pulse in pulses]
        self.plan, self.timing = self._fit(plan_readout(composer, protocol), pulses[0])
        self._encodes: dict[tuple[int, int], tuple[int, int]] = {}
        plan, times = self.plan, self.timing
        self.gx_excite = composer.gradient(self.moment, times.prephase, times.excite_start)
        left = self.moment - plan.area_to_center
        right = 2.0 * self.moment - plan.area - left
        self.gx_left = composer.gradient(left, times.encode, times.grad_start)
        self.gx_right = composer.gradient(right, times.encode)
        self.gx_read = composer.gradient_amplitude(plan.amplitude, plan.shape)
        self.adc = composer.adc(num=plan.num, dwell=plan.dwell, delay=plan.adc_delay, phase=math.pi / 2.0)

    def _fit(self, plan: ReadoutPlan, pulse: Any) -> tuple[ReadoutPlan, _Timing]:
        composer, geometry = self.composer, self.protocol.geometry
        raster, half = composer.block_raster, 0.5 * self.spacing
        crusher = max(self.moment - plan.area_to_center, self.moment + plan.area_to_center - plan.area)
        largest = max(
            abs(crusher) + plan.amplitude * raster,
            *(0.5 * n / f for n, f in zip(geometry.matrix[1:], geometry.fov[1:], strict=True)),
        )
        encode, prephase = composer.trapezoid(largest), composer.trapezoid(self.moment)
        grad_start = composer.rf_end(pulse)
        refocus_center = pulse.delay + 0.5 * pulse.shape_dur
        excite_center = self.excitation.delay + 0.5 * self.excitation.shape_dur
        excite_start = composer.rf_end(self.excitation)
        exact = half + refocus_center - plan.center_time
        refocus = down(exact, raster)
        shift = exact - refocus
        rest = self.spacing - refocus - plan.duration
        short = max(up(grad_start + encode.duration, raster) - refocus, up(encode.duration, raster) - rest)
        excite = down(half + excite_center - refocus_center + 0.5 * raster, raster)
        short_excite = up(excite_start + prephase.duration, raster) - excite
        worst = max(short, short_excite)
        if worst > 1e-9:
            name = "timing.echo_spacing" if self.echoes > 1 else "timing.te"
            raise BuildError(
                f"{name} must be at least {self.spacing + 2.0 * worst:.6f} s for this readout; "
                f"got {self.spacing:.6f} s"
            )
        return plan.later(shift, composer.scanner.gradients.rf_raster), _Timing(
            excite=excite,
            refocus=refocus,
            read=plan.duration,
            rest=rest,
            grad_start=grad_start,
            excite_start=excite_start,
            encode=encode,
            prephase=prephase,
        )

    @property
    def excite_center(self) -> float:
        """Centre of the excitation [s] from the start of its block."""
        return float(self.excitation.delay + 0.5 * self.excitation.shape_dur)

    @property
    def duration(self) -> float:
        """Length of excitation and train [s]."""
        return self.timing.excite + self.echoes * self.spacing

    @property
    def te(self) -> float:
        """Realised time from the excitation to the k-space centre [s]."""
        timing = self.timing
        first = timing.excite - self.excite_center + timing.refocus + self.plan.center_time
        return first + self.center * self.spacing

    def play(self, lines: PhaseLines, line: list[int], partition: list[int], first: int) -> None:
        """Append one train; -1 marks an echo without ADC."""
        timing, add, labels = self.timing, self.composer.add, self.composer.labels
        position = {value: n for n, value in enumerate(lines.index.tolist())}
        add(Block(duration=timing.excite, rf=self.rf_excite, gx=self.gx_excite, ext=first))
        for rf, ky, kz in zip(self.rf_refocus, line, partition, strict=True):
            y, z = self._encoding(1, ky), self._encoding(2, kz)
            add(Block(duration=timing.refocus, rf=rf, gx=self.gx_left, gy=y[0], gz=z[0]))
            adc = ext = 0
            if ky >= 0:
                adc, ext = self.adc, labels(LIN=ky, PAR=kz, **lines.flags(position[ky]))
            add(Block(duration=timing.read, gx=self.gx_read, adc=adc, ext=ext))
            add(Block(duration=timing.rest, gx=self.gx_right, gy=y[1], gz=z[1]))

    def _encoding(self, axis: int, index: int) -> tuple[int, int]:
        """Return encoding and rewinding events of a line on one axis."""
        if index < 0:
            return (0, 0)
        key = (axis, index)
        if key not in self._encodes:
            geometry, timing = self.protocol.geometry, self.timing
            area = (index - geometry.matrix[axis] // 2) / geometry.fov[axis]
            self._encodes[key] = (
                self.composer.gradient(area, timing.encode, timing.grad_start),
                self.composer.gradient(-area, timing.encode),
            )
        return self._encodes[key]


def compose_tse(composer: Composer, protocol: Protocol, noise_samples: int) -> BuildReport:
    """3D (turbo) spin echo; `turbo_factor` 1 is a plain spin echo.

    Raises
    ------
    BuildError
        If TE, echo spacing, TI or TR cannot be met; names the minimum.
    """
    train = EchoTrain(composer, protocol)
    lines, counts = phase_lines(protocol), protocol.geometry.matrix[1:]
    order = echo_order(lines.index, partition_lines(protocol), counts, train.echoes, train.center)
    inversion = None
    if protocol.timing.ti is not None:
        inversion = Inversion(composer, protocol, train.moment, train.excite_center)
    area = END_SPOILER * train.moment
    shape = composer.trapezoid(area)
    busy = train.duration + (inversion.duration if inversion else 0.0)
    end = down(protocol.timing.tr - busy + 0.5 * composer.block_raster, composer.block_raster)
    if end < shape.duration - 1e-9:
        raise BuildError(
            f"timing.tr must be at least {busy + shape.duration:.6f} s; got {protocol.timing.tr} s"
        )
    closing = Block(duration=end, gx=composer.gradient(area, shape))
    add_noise_scan(composer, train.plan, noise_samples)
    silent = [-1] * train.echoes
    shots = [(silent, silent)] * protocol.timing.dummy_shots + _rows(order)
    for line, partition in shots:
        ext = composer.labels(NOISE=0)
        if inversion:
            inversion.play(ext)
            ext = 0
        train.play(lines, line, partition, ext)
        composer.add(closing)
    return _report(composer, train, inversion, busy + end, int((order.line >= 0).sum()), len(shots))


def _rows(order: EchoOrder) -> list[tuple[list[int], list[int]]]:
    return list(zip(order.line.tolist(), order.partition.tolist(), strict=True))


def _report(
    composer: Composer, train: EchoTrain, inversion: Inversion | None, tr: float, readouts: int, shots: int
) -> BuildReport:
    plan, protocol = train.plan, train.protocol
    points = protocol.geometry.matrix[0] * protocol.readout.oversampling
    return BuildReport(
        scan_time=float(sum(composer.seq.block_durations.values())),
        tr=tr,
        te=train.te,
        ti=inversion.ti if inversion else None,
        echo_spacing=train.spacing,
        bandwidth=1.0 / (points * plan.dwell),
        center_echo=train.center,
        center_sample=plan.center,
        samples=plan.num,
        dwell=plan.dwell,
        readouts=readouts,
        shots=shots,
        spoiler_moment=train.moment,
        rf_spoil_increment=0.0,
    )

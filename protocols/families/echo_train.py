"""Excitation and refocusing train of a spin echo: hard, slab-selective or slice-selective.

CPMG: the excitation is turned by 90 degrees against the refocusing pulses; from the excitation to the first
refocusing pulse the moment M is gained, between refocusing pulses 2 M, and M again up to the k-space centre
of each echo. M lies along the readout for hard refocusing pulses and has crushers along the slice axis for
selective ones. Phase and partition encoding are undone inside each refocusing interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..cards.protocol import Protocol
from .composer import Block, BuildError, Composer, Trapezoid, down, up
from .encoding import PhaseLines
from .readout import ReadoutPlan, plan_readout
from .refocusing import designed_angles
from .selection import Pulse, excitation_pulse, refocusing_pulse, slice_positions

HALF_MOMENT_CYCLES = 1.0
"""M across one voxel along the readout [cycles]: half the readout plus a crusher of 0.5."""
CRUSHER_CYCLES = 4.0
"""M across the thickness of a 2D slice [cycles]."""
END_SPOILER = 6
"""Multiples of M after the last echo, so that the rest of a shot's magnetization is dephased."""


def refocusing_angles(points_deg: tuple[float, ...], echoes: int) -> list[float]:
    """Refocusing flip angles [rad]: control points spread evenly over the train, joined linearly."""
    at = np.linspace(0.0, 1.0, len(points_deg)) if len(points_deg) > 1 else np.array([0.0])
    train = np.linspace(0.0, 1.0, echoes) if echoes > 1 else np.array([0.0])
    return [float(angle) for angle in np.deg2rad(np.interp(train, at, points_deg))]


@dataclass(frozen=True, kw_only=True)
class _Timing:
    """Block lengths [s] and gradient shapes of one echo.

    `alone` and `alone_excite` are the lengths of the blocks of selective pulses (0 for hard ones, whose
    gradients follow in the same block from `grad_start` and `excite_start` on); `refocus` and `excite`
    contain them.
    """

    excite: float
    alone_excite: float
    excite_start: float
    refocus: float
    alone: float
    grad_start: float
    read: float
    rest: float
    encode: Trapezoid
    prephase: Trapezoid


class EchoTrain:
    """Excitation and refocusing train of one card.

    Attributes
    ----------
    moment, crusher : float
        M along the readout and along the slice axis [1/m].
    echoes, center : int
        Length of the train; echo that carries the k-space centre (0-based).
    contrasts : int
        Images that one train gives: 1, or one per echo ('se').
    angles : list of float
        Refocusing angles [rad].

    Raises
    ------
    BuildError
        If the echo spacing or TE cannot be met; names the possible value.
    """

    def __init__(self, composer: Composer, protocol: Protocol) -> None:
        self.composer, self.protocol = composer, protocol
        selection = protocol.selection
        self.contrasts = protocol.echoes.count
        self.spacing, self.echoes, self.center = _echoes(composer, protocol)
        self.angles = _angles(protocol, self.echoes, self.center)
        self.excitation = excitation_pulse(composer, protocol)
        self.pulses = self._refocusing()
        sliced = selection.mode == "slices"
        self.crusher = CRUSHER_CYCLES / selection.thickness if sliced else 0.0
        self.positions = slice_positions(selection).tolist() if sliced else [0.0]
        self.plan, self.timing = self._fit(plan_readout(composer, protocol), sliced)
        self.moment = self._moment(self.plan, sliced)
        self._events(self.plan, self.timing)

    def _refocusing(self) -> list[Pulse]:
        """One pulse per echo; equal angles share a pulse."""
        made: dict[float, Pulse] = {}
        for angle in self.angles:
            if angle not in made:
                made[angle] = refocusing_pulse(self.composer, self.protocol, angle)
        return [made[angle] for angle in self.angles]

    def _moment(self, plan: ReadoutPlan, sliced: bool) -> float:
        """M along the readout: with crushers along the slice, the prephasing alone."""
        return plan.area_to_center if sliced else HALF_MOMENT_CYCLES / self.protocol.geometry.voxel_size[0]

    def _events(self, plan: ReadoutPlan, timing: _Timing) -> None:
        composer, pulse = self.composer, self.pulses[0]
        left = self.moment - plan.area_to_center
        self._encodes: dict[tuple[int, int], tuple[int, int]] = {}
        self._rf: dict[tuple[int, int], int] = {}
        for echo in range(-1, self.echoes):
            self._rf_number(echo, 0)
        self.gx_excite = composer.gradient(self.moment, timing.prephase, timing.excite_start)
        between = self.crusher - self.excitation.after - pulse.before
        self.gz_excite = composer.gradient(between, timing.prephase, timing.excite_start)
        self.gx_left = composer.gradient(left, timing.encode, timing.grad_start)
        self.gx_right = composer.gradient(2.0 * self.moment - plan.area - left, timing.encode)
        self.gx_read = composer.gradient_amplitude(plan.amplitude, plan.shape)
        self.adc = composer.adc(num=plan.num, dwell=plan.dwell, delay=plan.adc_delay, phase=math.pi / 2.0)

    def _fit(self, plan: ReadoutPlan, sliced: bool) -> tuple[ReadoutPlan, _Timing]:
        composer, pulse, excitation = self.composer, self.pulses[0], self.excitation
        raster, half = composer.block_raster, 0.5 * self.spacing
        encode, prephase = self._shapes(plan, sliced)
        alone, grad_start = _own_block(pulse, raster)
        alone_excite, excite_start = _own_block(excitation, raster)
        exact = half + pulse.center - plan.center_time
        refocus = down(exact, raster)
        rest = self.spacing - refocus - plan.duration
        left = up(alone + grad_start + encode.duration, raster)
        excite = down(half + excitation.center - pulse.center + 0.5 * raster, raster)
        right = up(encode.duration, raster) if encode.duration else 0.0
        first = up(alone_excite + excite_start + prephase.duration, raster)
        worst = max(left - refocus, right - rest, first - excite)
        if worst > 1e-9:
            name = "timing.echo_spacing" if self.echoes > 1 else "timing.te"
            raise BuildError(
                f"{name} must be at least {self.spacing + 2.0 * worst:.6f} s for this readout; "
                f"got {self.spacing:.6f} s"
            )
        return plan.later(exact - refocus, composer.scanner.gradients.rf_raster), _Timing(
            excite=excite,
            alone_excite=alone_excite,
            excite_start=excite_start,
            refocus=refocus,
            alone=alone,
            grad_start=grad_start,
            read=plan.duration,
            rest=rest,
            encode=encode,
            prephase=prephase,
        )

    def _shapes(self, plan: ReadoutPlan, sliced: bool) -> tuple[Trapezoid, Trapezoid]:
        """Trapezoids around a readout and after the excitation, for the largest area of any axis."""
        composer, geometry, pulse = self.composer, self.protocol.geometry, self.pulses[0]
        slack = plan.amplitude * composer.block_raster  # the ADC may move by one raster below
        moment = self._moment(plan, sliced)
        crusher = max(moment - plan.area_to_center, moment + plan.area_to_center - plan.area)
        sizes = list(zip(geometry.matrix[1:], geometry.fov[1:], strict=True))
        encoded = [0.5 * n / f if n > 1 else 0.0 for n, f in sizes]
        encoded[1] += max(abs(self.crusher - pulse.after), abs(self.crusher - pulse.before))
        encode = composer.trapezoid(max(abs(crusher) + slack, *encoded))
        along = abs(self.crusher - self.excitation.after - pulse.before)
        return encode, composer.trapezoid(max(moment + (slack if sliced else 0.0), along))

    @property
    def excite_center(self) -> float:
        """Centre of the excitation [s] from the start of its block."""
        return self.excitation.center

    @property
    def duration(self) -> float:
        """Length of excitation and train [s]."""
        return self.timing.excite + self.echoes * self.spacing

    @property
    def te(self) -> float:
        """Realised time from the excitation to the k-space centre [s]."""
        return self.echo_times[self.center]

    @property
    def echo_times(self) -> list[float]:
        """Realised time from the excitation to each echo [s]."""
        timing = self.timing
        first = timing.excite - self.excite_center + timing.refocus + self.plan.center_time
        return [first + number * self.spacing for number in range(self.echoes)]

    def play(
        self, lines: PhaseLines, line: list[int], partition: list[int], first: int, place: int = 0
    ) -> None:
        """Append one train in one slice; -1 marks an echo without ADC."""
        timing, add = self.timing, self.composer.add
        position = {value: n for n, value in enumerate(lines.index.tolist())}
        self._pulse(self._rf_number(-1, place), self.excitation, timing.alone_excite, timing.excite, first)
        for echo, (ky, kz) in enumerate(zip(line, partition, strict=True)):
            y, z = self._encoding(1, ky), self._encoding(2, kz)
            left = {"gx": self.gx_left, "gy": y[0], "gz": z[0]}
            rf = self._rf_number(echo, place)
            self._pulse(rf, self.pulses[echo], timing.alone, timing.refocus, 0, left)
            adc = ext = 0
            if ky >= 0:
                adc, ext = self.adc, self._labels(lines, position[ky], kz, echo)
            add(Block(duration=timing.read, gx=self.gx_read, adc=adc, ext=ext))
            add(Block(duration=timing.rest, gx=self.gx_right, gy=y[1], gz=z[1]))

    def _pulse(
        self,
        rf: int,
        pulse: Pulse,
        alone: float,
        total: float,
        ext: int,
        lobes: dict[str, int] | None = None,
    ) -> None:
        """Append a pulse and the lobes after it: one block for a hard pulse, two for a selective one."""
        add = self.composer.add
        lobes = {"gx": self.gx_excite, "gz": self.gz_excite} if lobes is None else lobes
        if alone > 0.0:
            add(Block(duration=alone, rf=rf, gz=pulse.gradient, ext=ext))
            add(Block(duration=total - alone, **lobes))
        else:
            add(Block(duration=total, rf=rf, ext=ext, **lobes))

    def _labels(self, lines: PhaseLines, position: int, partition: int, echo: int) -> int:
        values = {"LIN": int(lines.index[position]), "PAR": partition, **lines.flags(position)}
        if self.contrasts > 1:
            values["ECO"] = echo
        return self.composer.labels(**values)

    def _rf_number(self, echo: int, place: int) -> int:
        """Pulse of one echo (-1: the excitation) in one slice."""
        key = (echo, place)
        if key not in self._rf:
            position = self.positions[place]
            phase, pulse = (math.pi / 2.0, self.excitation) if echo < 0 else (0.0, self.pulses[echo])
            self._rf[key] = pulse.rf(phase, position)
        return self._rf[key]

    def _encoding(self, axis: int, index: int) -> tuple[int, int]:
        """Return encoding and rewinding events of a line on one axis, crushers included."""
        key = (axis, index)
        if key not in self._encodes:
            geometry, timing = self.protocol.geometry, self.timing
            area = 0.0 if index < 0 else (index - geometry.matrix[axis] // 2) / geometry.fov[axis]
            first, second = area, -area
            if axis == 2:
                first += self.crusher - self.pulses[0].after
                second += self.crusher - self.pulses[0].before
            self._encodes[key] = (
                self.composer.gradient(first, timing.encode, timing.grad_start),
                self.composer.gradient(second, timing.encode),
            )
        return self._encodes[key]

    def closing(self, duration: float, ahead: float) -> Block:
        """Block after the last echo: spoiler, and preparation of the next pulse's slice-select area.

        Parameters
        ----------
        duration : float
            Length [s].
        ahead : float
            Slice-select area before the centre of the next pulse [1/m].
        """
        (gx, gz), least = self._closing_lobes(ahead)
        if duration < least - 1e-9:
            raise BuildError(f"a shot needs {least:.6f} s after its train; got {duration:.6f} s")
        return Block(duration=duration, gx=gx, gz=gz)

    def least_closing(self, ahead: float) -> float:
        """Shortest length of `closing` [s]."""
        return up(self._closing_lobes(ahead)[1], self.composer.block_raster)

    def _closing_lobes(self, ahead: float) -> tuple[tuple[int, int], float]:
        composer = self.composer
        areas = (END_SPOILER * self.moment, END_SPOILER * self.crusher + self.pulses[0].before - ahead)
        shapes = [composer.trapezoid(area) for area in areas]
        events = [composer.gradient(area, shape) for area, shape in zip(areas, shapes, strict=True)]
        least = max(shape.duration if event else 0.0 for shape, event in zip(shapes, events, strict=True))
        return (events[0], events[1]), least


def _own_block(pulse: Pulse, raster: float) -> tuple[float, float]:
    """Length of a selective pulse's own block, and the start of gradients in a hard pulse's block [s]."""
    return (up(pulse.end, raster), 0.0) if pulse.selective else (0.0, pulse.end)


def _echoes(composer: Composer, protocol: Protocol) -> tuple[float, int, int]:
    """Echo spacing on the block raster [s], number of echoes, echo of the k-space centre."""
    timing, echoes = protocol.timing, protocol.echoes
    several = protocol.sequence == "se"
    spacing = timing.echo_spacing if timing.echo_spacing is not None and not several else timing.te
    spacing = down(spacing + 0.5 * composer.block_raster, composer.block_raster)
    count = echoes.count if several else timing.turbo_factor
    center = round(timing.te / spacing) - 1
    if not 0 <= center < count or abs((center + 1) * spacing - timing.te) > 0.5 * spacing:
        raise BuildError(
            f"timing.te must fall on one of the {count} echoes, {spacing:.6f} to "
            f"{count * spacing:.6f} s; got {timing.te} s"
        )
    return spacing, count, center


def _angles(protocol: Protocol, echoes: int, center: int) -> list[float]:
    """Refocusing angles of a card [rad]."""
    if protocol.refocusing.scheme == "prescribed":
        return designed_angles(protocol.refocusing, echoes, center)
    return refocusing_angles(protocol.rf.refocusing_deg, echoes)

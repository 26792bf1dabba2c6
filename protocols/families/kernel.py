"""One repetition of a gradient echo: excitation, encoding, readouts, rewinding; spoiled or balanced.

With a hard pulse a repetition is [excitation, prephasing and encoding], [readout], [rewinding and spoiling].
A selective pulse has its slice-select gradient and therefore a block of its own; its second half is rephased
with the encoding, its first half is prepared in the rewinding before it. Phase and partition encoding are
undone in each repetition: all repetitions leave the same moment, or none in the balanced case.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ..cards.protocol import Protocol
from .composer import Block, BuildError, Composer, Trapezoid, down, up
from .echo_readouts import EchoReadouts, echo_readouts
from .readout import ReadoutPlan, plan_readout
from .selection import Pulse, excitation_pulse, slice_positions

SLICE_SPOILER_CYCLES = 4.0
"""Dephasing that each repetition leaves across the thickness of a 2D slice [cycles]."""


@dataclass(frozen=True, kw_only=True)
class _Timing:
    """Block lengths [s] and gradient shapes of one repetition."""

    pulse: float
    excite: float
    spoil: float
    grad_start: float
    encode: Trapezoid
    rewind: Trapezoid
    spoiler: Trapezoid


class GradientEchoKernel:
    """Repetitions of a gradient echo with one fixed spacing.

    Parameters
    ----------
    composer : Composer
        Sequence under construction.
    protocol : Protocol
        Card.
    spacing : float
        Excitation to excitation [s].
    flip : float, optional
        Flip angle [rad]; by default the card's.
    balanced : bool
        All net moments vanish and the phase alternates; otherwise each repetition leaves the spoiler moment
        and the phase grows quadratically.

    Attributes
    ----------
    moment, crusher : float
        Moment that one repetition leaves on the readout and on the slice axis [1/m].

    Raises
    ------
    BuildError
        If TE, the echo spacing or the spacing cannot be met; names the minimum.
    """

    def __init__(
        self,
        composer: Composer,
        protocol: Protocol,
        spacing: float,
        *,
        flip: float | None = None,
        balanced: bool = False,
    ) -> None:
        self.composer, self.protocol, self.balanced = composer, protocol, balanced
        selection = protocol.selection
        self.spacing = down(spacing + 0.5 * composer.block_raster, composer.block_raster)
        self.pulse: Pulse = excitation_pulse(composer, protocol, flip)
        self.rf_center = self.pulse.center
        spoiled = 0.0 if balanced else 1.0
        self.moment = spoiled * protocol.rf.spoiler_cycles / protocol.geometry.voxel_size[0]
        sliced = selection.mode == "slices"
        self.crusher = spoiled * SLICE_SPOILER_CYCLES / selection.thickness if sliced else 0.0
        self.positions = slice_positions(selection).tolist() if sliced else [0.0]
        self.increment_deg = 0.0 if balanced else _increment(composer, protocol)
        self.readouts, self.timing = self._fit(plan_readout(composer, protocol))
        self.plan, timing = self.readouts.plan, self.timing
        self.gx_pre = composer.gradient(-self.plan.area_to_center, timing.encode, timing.grad_start)
        self.blocks = self.readouts.blocks()
        self.gx_spoil = composer.gradient(self._rest(self.readouts), timing.spoiler)
        self._encodes: dict[tuple[int, int | None, bool], tuple[int, int]] = {}
        self._rf: dict[tuple[int, int], tuple[int, dict[float, int]]] = {}

    def _rest(self, readouts: EchoReadouts) -> float:
        """Area on the readout axis after the last echo [1/m]."""
        return self.moment - readouts.area + readouts.plan.area_to_center

    def _fit(self, plan: ReadoutPlan) -> tuple[EchoReadouts, _Timing]:
        composer, geometry, te = self.composer, self.protocol.geometry, self.protocol.timing.te
        raster, pulse = composer.block_raster, self.pulse
        readouts = echo_readouts(composer, plan, self.protocol.echoes)
        slack = plan.amplitude * raster  # the ADC may move by one raster below
        encoded = [0.5 * n / f if n > 1 else 0.0 for n, f in zip(geometry.matrix, geometry.fov, strict=True)]
        encode = composer.trapezoid(
            max(plan.area_to_center + slack, encoded[1], encoded[2] + abs(pulse.after))
        )
        along = encoded[2] + abs(self.crusher - pulse.before)
        rewind = composer.trapezoid(max(encoded[1], along)) if pulse.selective else encode
        spoiler = composer.trapezoid(abs(self._rest(readouts)) + slack)
        alone = up(pulse.end, raster) if pulse.selective else 0.0
        grad_start = 0.0 if pulse.selective else pulse.end
        shortest = up(alone + grad_start + encode.duration, raster)
        exact = te + self.rf_center - plan.center_time
        if exact < shortest - 1e-9:
            least = shortest - self.rf_center + plan.center_time
            raise BuildError(f"timing.te must be at least {least:.6f} s for this readout; got {te} s")
        excite = down(exact, raster)
        tail = up(max(rewind.duration, spoiler.duration), raster)
        spoil = self.spacing - excite - readouts.duration
        if spoil < tail - 1e-9:
            self._too_short(excite + readouts.duration + tail)
        return readouts.later(exact - excite), _Timing(
            pulse=alone,
            excite=excite,
            spoil=spoil,
            grad_start=grad_start,
            encode=encode,
            rewind=rewind,
            spoiler=spoiler,
        )

    def _too_short(self, least: float) -> None:
        named = "timing.tr" if self.protocol.sequence in ("gre", "bssfp") else "timing.echo_spacing"
        what = " per slice" if self.protocol.selection.n_slices > 1 else ""
        raise BuildError(
            f"{named} must be at least {least:.6f} s{what} with this TE; got {self.spacing:.6f} s"
        )

    @property
    def te(self) -> float:
        """Realised (first) echo time [s]."""
        return float(self.timing.excite - self.rf_center + self.plan.center_time)

    @property
    def echo_times(self) -> list[float]:
        """Realised time of each echo [s]."""
        return [float(self.timing.excite - self.rf_center + line.time) for line in self.readouts.lines]

    def play(
        self,
        count: int,
        line: int | None,
        partition: int | None,
        *,
        place: int = 0,
        first: int = 0,
        marks: Mapping[str, int] | None = None,
        pause: float = 0.0,
        last: bool = False,
    ) -> None:
        """Append one repetition.

        Parameters
        ----------
        count : int
            Position in the RF phase cycle.
        line, partition : int or None
            Phase-encoding positions; a line of None plays a dummy without encoding and ADC.
        place : int
            Slice number.
        first : int
            Extension number of the excitation block.
        marks : mapping of str to int, optional
            Labels of the readout; ECO and REV are added where a card has several echoes.
        pause : float
            Extra time at the end [s].
        last : bool
            The next pulse has no slice-select gradient, so nothing is prepared for it.
        """
        timing, add = self.timing, self.composer.add
        rf, adc = self._pulse(count, place)
        y, z = self._encoding(1, line), self._encoding(2, partition, last=last)
        excite = timing.excite
        if timing.pulse > 0.0:
            add(Block(duration=timing.pulse, rf=rf, gz=self.pulse.gradient, ext=first))
            rf, first, excite = 0, 0, excite - timing.pulse
        add(Block(duration=excite, rf=rf, gx=self.gx_pre, gy=y[0], gz=z[0], ext=first))
        for echo, (gap, length, read, at) in enumerate(self.blocks):
            if gap is not None:
                add(gap)
            ext = self._labels(marks, echo, at.reverse)
            event = adc[at.adc_delay] if line is not None else 0
            add(Block(duration=length, gx=read, adc=event, ext=ext))
        add(Block(duration=timing.spoil + pause, gx=self.gx_spoil, gy=y[1], gz=z[1]))

    def _labels(self, marks: Mapping[str, int] | None, echo: int, reverse: bool) -> int:
        several = {"ECO": echo, "REV": int(reverse)} if len(self.blocks) > 1 else {}
        return self.composer.labels(**marks, **several) if marks else 0

    def phase_deg(self, count: int) -> float:
        """RF and receiver phase of a repetition [deg]: quadratic when spoiled, alternating when balanced."""
        if self.balanced:
            return 180.0 * (count % 2)
        return 0.5 * self.increment_deg * count * (count + 1) % 360.0

    def _pulse(self, count: int, place: int) -> tuple[int, dict[float, int]]:
        """RF event and ADC event per ADC delay of one position of the phase cycle."""
        degrees = round(1e6 * self.phase_deg(count))
        key = (degrees, place)
        if key not in self._rf:
            phase = math.radians(1e-6 * degrees)
            plan, composer = self.plan, self.composer
            delays = sorted({line.adc_delay for line in self.readouts.lines})
            adc = {d: composer.adc(num=plan.num, dwell=plan.dwell, delay=d, phase=phase) for d in delays}
            self._rf[key] = (self.pulse.rf(phase, self.positions[place]), adc)
        return self._rf[key]

    def _encoding(self, axis: int, index: int | None, *, last: bool = False) -> tuple[int, int]:
        """Return encoding and rewinding events of a line on one axis, slice-select lobes included."""
        if index is None and (axis == 1 or not self.pulse.selective):
            return (0, 0)
        key = (axis, index, last)
        if key not in self._encodes:
            geometry, timing = self.protocol.geometry, self.timing
            area = 0.0 if index is None else (index - geometry.matrix[axis] // 2) / geometry.fov[axis]
            first, second = area, -area
            if axis == 2:
                first -= self.pulse.after
                second += self.crusher - (0.0 if last else self.pulse.before)
            self._encodes[key] = (
                self.composer.gradient(first, timing.encode, timing.grad_start),
                self.composer.gradient(second, timing.rewind),
            )
        return self._encodes[key]


def _increment(composer: Composer, protocol: Protocol) -> float:
    """Quadratic RF-spoiling increment [deg]: the card's, else the scanner's habit."""
    increment = protocol.rf.spoil_increment_deg
    return composer.scanner.transmit.rf_spoil_increment_deg if increment is None else increment

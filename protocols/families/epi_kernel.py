"""One slice (or slice group) of an echo-planar scan: from the excitation to the end of the spoiler.

Gradient echo: [excitation] [rephasing, waiting] [navigator] [phase prephasing] [train] [spoiler].
Spin echo: [excitation] [rephasing] [navigator, rewound] [wait] [crusher, refocusing, crusher] [wait]
[prephasing] [train] [spoiler]; with two refocusing pulses another [crusher, refocusing, crusher] [wait].
Waits carry the diffusion lobes. The gradient moment from the excitation to the end of the spoiler is the
same in every shot.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..cards.protocol import Protocol
from .composer import Block, BuildError, Composer, Trapezoid, down, up
from .epi_train import NAVIGATOR_LINES, EpiTrain, Segment
from .multiband import band_distance, band_phases, check_peak, group_position, multiband_pulse
from .selection import Pulse, excitation_pulse, refocusing_pulse, slice_positions

SPOILER_CYCLES = 4.0
"""Dephasing after each train across a voxel, per axis [cycles]."""
CRUSHER_CYCLES = 4.0
"""Dephasing across a slice by each crusher [cycles]; twice that at a second refocusing pulse."""


@dataclass(frozen=True, kw_only=True)
class Excited:
    """RF events of one slice or slice group.

    Attributes
    ----------
    slice : int
        Label SLC.
    excite, refocus : int
        Event numbers; refocus 0 for gradient echoes.
    multiband : bool
        Whether several slices are excited.
    """

    slice: int
    excite: int
    refocus: int
    multiband: bool


@dataclass(frozen=True, kw_only=True)
class Lobes:
    """Diffusion lobes of one volume: event numbers (x, y, z) per wait."""

    events: tuple[tuple[int, int, int], ...]


class EpiKernel:
    """Pulses, gradients and timing of one shot.

    Attributes
    ----------
    train : EpiTrain
        Readout.
    refocusings : int
        0 (gradient echo), 1 or 2.
    spoiler_moment : tuple of float
        Net moment from the excitation to the end of a shot, per axis [1/m].
    """

    def __init__(self, composer: Composer, protocol: Protocol) -> None:
        assert protocol.epi is not None
        self.composer, self.protocol, self.epi = composer, protocol, protocol.epi
        selection, epi = protocol.selection, protocol.epi
        double = protocol.diffusion is not None and protocol.diffusion.scheme == "bipolar"
        self.refocusings = 0 if not epi.spin_echo else 2 if double else 1
        self.excite_phase = math.pi / 2.0 if epi.spin_echo else 0.0
        distance = band_distance(selection, epi.multiband)
        step = 1.0 / (epi.caipi_shift * distance) if epi.caipi_shift > 1 else 0.0
        self.train = EpiTrain(composer, protocol, step, self.excite_phase)
        self.excitation = excitation_pulse(composer, protocol)
        self.refocusing = refocusing_pulse(composer, protocol) if epi.spin_echo else None
        self.phases = band_phases(epi)
        offsets = [(band - 0.5 * (epi.multiband - 1)) * distance for band in range(epi.multiband)]
        self.group_excitation = self._bands(self.excitation, offsets, "duration")
        self.group_refocusing = self._bands(self.refocusing, offsets, "refocusing_duration")
        x, y, z = (SPOILER_CYCLES / size for size in protocol.geometry.voxel_size)
        self.spoiler_moment = (x, y, z)
        self._events: dict[tuple[int, ...], Excited] = {}
        self._shapes()

    def _bands(self, pulse: Pulse | None, offsets: list[float], name: str) -> Pulse | None:
        if pulse is None or len(offsets) == 1:
            return pulse
        result = multiband_pulse(pulse, offsets, self.phases)
        check_peak(result, self.epi.peak_b1, name)
        return result

    def _shapes(self) -> None:
        """Trapezoids that serve all lines and shots."""
        composer, geometry, train = self.composer, self.protocol.geometry, self.train
        raster = composer.block_raster
        widest = [0.5 * n / f for n, f in zip(geometry.matrix[:2], geometry.fov[:2], strict=True)]
        reach = abs(train.line.prephase) + train.line.area
        caipi = train.caipi_step * (train.steps - 1)
        self.encode = composer.trapezoid(max(0.5 * reach, widest[1], caipi + self.excitation.after))
        self.crusher = self._crusher(0)
        ends = (0.5 * reach, widest[1], caipi + self.excitation.after)
        self.spoil = composer.trapezoid(max(m + e for m, e in zip(self.spoiler_moment, ends, strict=True)))
        self.t_excite = up(self.excitation.end, raster)
        self.t_encode = up(self.encode.duration, raster)
        self.t_spoil = up(self.spoil.duration, raster)
        self.t_refocus = up(self.refocusing.end, raster) if self.refocusing else 0.0

    def _crusher(self, number: int) -> Trapezoid:
        """Shape of the crushers at refocusing pulse `number`."""
        return self.composer.trapezoid(self._crusher_area(number) + self._asymmetry())

    def _crusher_area(self, number: int) -> float:
        return (number + 1) * CRUSHER_CYCLES / self.protocol.geometry.fov[2]

    def _asymmetry(self) -> float:
        return abs(self.refocusing.before - self.refocusing.after) if self.refocusing else 0.0

    # -- timing ---------------------------------------------------------------------------------------------

    @property
    def navigator_time(self) -> float:
        """Length of the navigator lines [s]."""
        return NAVIGATOR_LINES * self.train.line.spacing if self.epi.navigator else 0.0

    def refocus_time(self, number: int) -> float:
        """Length of refocusing pulse `number` with its crushers [s]."""
        return 2.0 * up(self._crusher(number).duration, self.composer.block_raster) + self.t_refocus

    def fixed_times(self, segment: Segment) -> list[float]:
        """Sum up what lies between RF centres and the echo except the waits [s]: one entry per interval."""
        head = self.t_excite - self.excitation.center + self.t_encode
        to_center = self.train.time_to_center(segment)
        encode = self.t_encode
        if self.refocusing is None:
            return [head + self.navigator_time + (encode if self.epi.navigator else 0.0) + to_center]
        if self.epi.navigator:
            head += self.navigator_time + encode  # rewound
        crush = [up(self._crusher(n).duration, self.composer.block_raster) for n in range(2)]
        before, after = self.refocusing.center, self.t_refocus - self.refocusing.center
        result = [head + crush[0] + before]
        if self.refocusings == 2:
            result.append(after + crush[0] + crush[1] + before)
        last = crush[self.refocusings - 1]
        return [*result, after + last + encode + to_center]

    def waits(self, segment: Segment, te: float) -> list[float]:
        """Give the waiting times [s] for an echo time; negative where it is too short."""
        fixed, raster = self.fixed_times(segment), self.composer.block_raster
        if self.refocusings == 0:
            exact = [te - fixed[0]]
        elif self.refocusings == 1:
            exact = [0.5 * te - fixed[0], 0.5 * te - fixed[1]]
        else:
            outer = 0.5 * (0.5 * te - fixed[0] - fixed[2])
            inner = 0.5 * te - fixed[1]
            half = down(0.5 * inner, raster)
            exact = [outer, half, inner - half, outer]
        return [down(t + 0.5 * raster, raster) for t in exact]

    def check_te(self, segments: list[Segment], te: float) -> None:
        """Raise BuildError with the minimum where an echo time cannot be met."""
        fixed = [self.fixed_times(segment) for segment in segments]
        least = max(
            max(f[0] if self.refocusings == 0 else 2.0 * max(f[0], f[-1]), *self._double(f)) for f in fixed
        )
        if min(min(self.waits(segment, te)) for segment in segments) < 0.0:
            raster = self.composer.block_raster
            raise BuildError(f"timing.te must be at least {up(least, raster) + raster:.6f} s; got {te} s")

    def _double(self, fixed: list[float]) -> list[float]:
        return [2.0 * fixed[1], 2.0 * (fixed[0] + fixed[2])] if self.refocusings == 2 else [0.0]

    def te(self, segment: Segment, te: float) -> float:
        """Realised time from the excitation centre to k = 0 [s]."""
        waits = self.waits(segment, te)
        return float(sum(self.fixed_times(segment)) + sum(waits))

    def duration(self, segment: Segment, te: float) -> float:
        """Length of a shot [s]."""
        train = self.train
        lead = self.te(segment, te) + self.excitation.center - train.time_to_center(segment)
        return round(lead + train.duration(segment) + self.t_spoil, 9)

    # -- blocks ---------------------------------------------------------------------------------------------

    def events(self, slices: list[int]) -> Excited:
        """RF events of a slice or a slice group."""
        key = tuple(slices)
        if key not in self._events:
            selection, several = self.protocol.selection, len(slices) > 1
            position = group_position(selection, slices)
            excitation = self.group_excitation if several else self.excitation
            refocusing = self.group_refocusing if several else self.refocusing
            assert excitation is not None
            phase = 0.0
            if not several and self.epi.multiband > 1:
                # Alone, a slice is excited with the phase that it has in its group.
                phase = self.phases[slices[0] // (selection.n_slices // self.epi.multiband)]
                position = float(slice_positions(selection)[slices[0]])
            self._events[key] = Excited(
                slice=min(slices),
                excite=excitation.rf(self.excite_phase + phase, position),
                refocus=refocusing.rf(phase, position) if refocusing else 0,
                multiband=several,
            )
        return self._events[key]

    def blocks(
        self, segment: Segment, excited: Excited, te: float, *, lobes: Lobes | None = None, read: bool = True
    ) -> list[Block]:
        """All blocks of a shot; the first one is the excitation."""
        first = Block(duration=self.t_excite, rf=excited.excite, gz=self.excitation.gradient)
        body = self._gradient_echo if self.refocusing is None else self._spin_echo
        lead = body(segment, excited, self.waits(segment, te), lobes, read)
        return [first, *lead, *self.train.blocks(segment, read=read), self._spoiler(segment)]

    def _gradient_echo(
        self, segment: Segment, excited: Excited, waits: list[float], lobes: Lobes | None, read: bool
    ) -> list[Block]:
        train, start = self.train, self.train.start(segment)
        rephase, length = -self.excitation.after, round(self.t_encode + waits[0], 9)
        if not self.epi.navigator:
            return [self._encode((start[0], start[1], start[2] + rephase), length)]
        away = start[0] + train.line.area
        navigator = train.navigator(read=read)
        return [
            self._encode((away, 0.0, rephase), length),
            *navigator,
            self._encode((0.0, start[1], start[2])),
        ]

    def _spin_echo(
        self, segment: Segment, excited: Excited, waits: list[float], lobes: Lobes | None, read: bool
    ) -> list[Block]:
        train, start = self.train, self.train.start(segment)
        rephase = -self.excitation.after
        if self.epi.navigator:
            away = train.line.prephase + train.line.area
            result = [self._encode((away, 0.0, rephase)), *train.navigator(read=read)]
            result.append(self._encode((-train.line.prephase, 0.0, 0.0)))
        else:
            result = [self._encode((0.0, 0.0, rephase))]
        result += self._wait(waits, 0, lobes) + self._refocus(excited, 0) + self._wait(waits, 1, lobes)
        if self.refocusings == 2:
            result += self._wait(waits, 2, lobes) + self._refocus(excited, 1) + self._wait(waits, 3, lobes)
        return [*result, self._encode(start)]

    def _wait(self, waits: list[float], number: int, lobes: Lobes | None) -> list[Block]:
        if waits[number] <= 0.0:
            return []
        gx, gy, gz = lobes.events[number] if lobes else (0, 0, 0)
        return [Block(duration=waits[number], gx=gx, gy=gy, gz=gz)]

    def _refocus(self, excited: Excited, number: int) -> list[Block]:
        """Refocusing pulse between crushers; both sides of its centre gain the same moment."""
        pulse, composer = self.refocusing, self.composer
        assert pulse is not None
        shape, area = self._crusher(number), self._crusher_area(number)
        length = up(shape.duration, composer.block_raster)
        sides = [composer.gradient(area + extra, shape) for extra in (0.0, pulse.before - pulse.after)]
        return [
            Block(duration=length, gz=sides[0]),
            Block(duration=self.t_refocus, rf=excited.refocus, gz=pulse.gradient),
            Block(duration=length, gz=sides[1]),
        ]

    def _encode(self, area: tuple[float, float, float], length: float | None = None) -> Block:
        x, y, z = (self.composer.gradient(a, self.encode) for a in area)
        return Block(duration=self.t_encode if length is None else length, gx=x, gy=y, gz=z)

    def _spoiler(self, segment: Segment) -> Block:
        pairs = zip(self.spoiler_moment, self.train.end(segment), strict=True)
        x, y, z = (self.composer.gradient(moment - k, self.spoil) for moment, k in pairs)
        return Block(duration=self.t_spoil, gx=x, gy=y, gz=z)

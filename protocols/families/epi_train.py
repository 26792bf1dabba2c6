"""Echo-planar train: which lines each shot reads, one line per block, blips centred on the block borders."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..cards.protocol import Protocol
from .composer import Block, Composer
from .encoding import Index, skipped
from .epi_line import plan_line
from .waveforms import extended_gradient

NAVIGATOR_LINES = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Segment:
    """Lines of one excitation.

    Attributes
    ----------
    lines : ndarray of int
        Line numbers in play order.
    polarity : int
        +1 where k ascends.
    center : int
        Position in the train that is timed to TE.
    caipi : bool
        Whether slice blips are played.
    """

    lines: Index
    polarity: int
    center: int
    caipi: bool = False


def imaging_lines(protocol: Protocol, polarity: int) -> Index:
    """Lines of a volume in play order: undersampled, leading part left out; mirrored for polarity -1.

    Of the mirrored train the line at +k_max, which the matrix does not hold, is left out.
    """
    count, settings = protocol.geometry.matrix[1], protocol.acceleration
    centred = np.arange(count, dtype=np.int64) - count // 2
    first = skipped(count, settings.partial_fourier_phase) - count // 2
    kept = centred[(centred % settings.phase == 0) & (polarity * centred >= first)]
    return np.asarray((kept if polarity > 0 else kept[::-1]) + count // 2)


def segments(protocol: Protocol, polarity: int, caipi: bool) -> list[Segment]:
    """Trains of a volume, one per shot; the shot that holds the k-space centre defines the echo of TE."""
    assert protocol.epi is not None
    lines = imaging_lines(protocol, polarity)
    return _interleaved(protocol, lines, protocol.epi.shots, polarity, caipi)


def reference_segments(protocol: Protocol) -> list[Segment]:
    """Trains of the calibration: fully sampled lines, as far apart inside a train as those of the series."""
    assert protocol.epi is not None
    count, settings = protocol.geometry.matrix[1], protocol.acceleration
    lines = np.arange(skipped(count, settings.partial_fourier_phase), count, dtype=np.int64)
    if settings.phase > 1:
        half = settings.reference_lines // 2
        centred = lines - count // 2
        lines = lines[(centred >= -half) & (centred < settings.reference_lines - half)]
    return _interleaved(protocol, lines, settings.phase * protocol.epi.shots, 1, caipi=False)


def _interleaved(protocol: Protocol, lines: Index, shots: int, polarity: int, caipi: bool) -> list[Segment]:
    """Deal lines out to shots; all trains start at the same time after the excitation."""
    middle = int(np.flatnonzero(lines == protocol.geometry.matrix[1] // 2)[0])
    center = middle // shots
    return [
        Segment(lines=lines[shot::shots], polarity=polarity, center=center, caipi=caipi)
        for shot in range(shots)
    ]


class EpiTrain:
    """Plays navigator and imaging lines.

    Attributes
    ----------
    line : EpiLine
        The readout line.
    caipi_step : float
        Slice-axis moment between neighbouring CAIPI positions [1/m]; 0 without.
    adc : int
        Readout event of every line.
    gx : tuple of int
        Readout gradient forward and backward.
    """

    def __init__(self, composer: Composer, protocol: Protocol, caipi_step: float, phase: float = 0.0) -> None:
        assert protocol.epi is not None
        self.composer, self.protocol, self.caipi_step = composer, protocol, caipi_step
        self.steps = protocol.epi.caipi_shift
        self.stride = protocol.acceleration.phase * protocol.epi.shots
        steepest = max(self.stride / protocol.geometry.fov[1], caipi_step * max(1, self.steps - 1))
        self.line = plan_line(composer, protocol, steepest)
        line = self.line
        self.adc = composer.adc(num=line.num, dwell=line.dwell, delay=line.adc_delay, phase=phase)
        self.gx = tuple(
            composer.gradient_amplitude(sign * line.amplitude, line.shape) for sign in (1.0, -1.0)
        )
        self._blips: dict[tuple[float, float], int] = {}

    def start(self, segment: Segment) -> tuple[float, float, float]:
        """Give k at the start of the first line [1/m]."""
        first = int(segment.lines[0])
        return self.line.prephase, self._ky(first), self._kz(first, segment)

    def end(self, segment: Segment) -> tuple[float, float, float]:
        """Give k at the end of the last line [1/m]."""
        last = int(segment.lines[-1])
        x = self.line.prephase + (self.line.area if segment.lines.size % 2 else 0.0)
        return x, self._ky(last), self._kz(last, segment)

    def time_to_center(self, segment: Segment) -> float:
        """From the start of the first line to k = 0 of the line timed to TE [s]."""
        return segment.center * self.line.spacing + self.line.center_time(segment.center % 2 == 0)

    def duration(self, segment: Segment) -> float:
        """Length of the imaging lines [s]."""
        return round(segment.lines.size * self.line.spacing, 9)

    def blocks(self, segment: Segment, *, read: bool) -> list[Block]:
        """Imaging lines; without ADC where `read` is False."""
        lines, result = segment.lines.tolist(), []
        k = [(self._ky(n), self._kz(n, segment)) for n in lines]
        steps = [
            (0.0, 0.0),
            *((b[0] - a[0], b[1] - a[1]) for a, b in pairwise(k)),
            (0.0, 0.0),
        ]
        for n, line in enumerate(lines):
            before, after, backward = steps[n], steps[n + 1], n % 2
            ext = self.composer.labels(NAV=0, LIN=line, REV=backward) if read else 0
            result.append(
                Block(
                    duration=self.line.spacing,
                    gx=self.gx[backward],
                    gy=self._blip(before[0], after[0]),
                    gz=self._blip(before[1], after[1]),
                    adc=self.adc if read else 0,
                    ext=ext,
                )
            )
        return result

    def navigator(self, *, read: bool) -> list[Block]:
        """Three lines through the k-space centre, the first one backward, so that imaging starts forward."""
        result = []
        for n in range(NAVIGATOR_LINES):
            backward = 1 - n % 2
            center = self.protocol.geometry.matrix[1] // 2
            ext = self.composer.labels(NAV=1, LIN=center, REV=backward) if read else 0
            result.append(
                Block(duration=self.line.spacing, gx=self.gx[backward], adc=self.adc if read else 0, ext=ext)
            )
        return result

    def _ky(self, line: int) -> float:
        return (line - self.protocol.geometry.matrix[1] // 2) / self.protocol.geometry.fov[1]

    def _kz(self, line: int, segment: Segment) -> float:
        """CAIPI position: cycles with the acquired lines, 0 on the central one."""
        if not segment.caipi:
            return 0.0
        centred = (line - self.protocol.geometry.matrix[1] // 2) // self.protocol.acceleration.phase
        return (centred % self.steps) * self.caipi_step

    def _blip(self, before: float, after: float) -> int:
        """Second half of the blip at the start and first half of that at the end; areas in 1/m."""
        key = (round(before, 9), round(after, 9))
        if key not in self._blips:
            half, end = self.line.blip, self.line.spacing
            first, last = before / half, after / half
            times = [0.0, half, round(end - half, 9), end]
            self._blips[key] = extended_gradient(self.composer, times, [first, 0.0, 0.0, last])
        return self._blips[key]

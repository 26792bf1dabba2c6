"""Diffusion lobes of a spin-echo EPI card: timing from the largest b-value, amplitude from the wanted one.

The lobes are as short as the hardware's amplitude allows. Their amplitude is then solved per volume so
that the trace of the b-tensor, all imaging gradients included, is the b-value of the card:
``tr B(a) = t0 + t1 a + t2 a^2`` is an exact quadratic in the amplitude a.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..btensor import Axes, Stretch, stretch
from ..cards.settings_epi import Diffusion
from ..diffusion_directions import diffusion_table
from ..sequence import GAMMA_BAR, FloatArray, GradEvent
from .composer import Block, BuildError, Composer, Trapezoid, down, up
from .epi_kernel import EpiKernel, Excited, Lobes
from .epi_train import Segment
from .waveforms import played, strong_trapezoid

_RESERVE = 1.06  # of the b-value that the lobes alone must reach, so that cross terms can be made good
_SIGNS = {1: (1.0, 1.0), 2: (1.0, -1.0, 1.0, -1.0)}


def volume_table(diffusion: Diffusion) -> tuple[FloatArray, FloatArray]:
    """b-value [s/m^2] and logical direction of every volume, shapes (n,) and (n, 3)."""
    if diffusion.table_b:
        b = np.array(diffusion.table_b)
        vectors = np.array(diffusion.table_directions, dtype=np.float64)
        norm = np.linalg.norm(vectors, axis=1, keepdims=True)
        return b, np.where((b > 0.0)[:, None], vectors / np.where(norm > 0.0, norm, 1.0), 0.0)
    return diffusion_table(diffusion.b_values, diffusion.directions, diffusion.b0_volumes)


@dataclass(frozen=True, kw_only=True)
class LobeTiming:
    """Shape of the lobes and where they start in each wait [s]."""

    shape: Trapezoid
    delays: tuple[float, ...]
    signs: tuple[float, ...]

    def event(self, number: int, amplitude: float) -> GradEvent:
        """Lobe of wait `number` on one axis, amplitude in Hz/m."""
        shape, delay = self.shape, self.delays[number]
        times = delay + np.array([0.0, shape.rise, shape.rise + shape.flat, shape.duration])
        return GradEvent(times=times, values=self.signs[number] * amplitude * np.array([0.0, 1.0, 1.0, 0.0]))


class DiffusionPlan:
    """Echo time, lobes and amplitudes of a diffusion series.

    Parameters
    ----------
    kernel : EpiKernel
        Kernel with one or two refocusing pulses.
    diffusion : Diffusion
        Card group.
    te : float
        Echo time of the card [s].
    segments : list of Segment
        One train per blip polarity: that which holds the k-space centre.

    Attributes
    ----------
    te : float
        Echo time to be played [s].
    timing : LobeTiming
        Lobes.

    Raises
    ------
    BuildError
        If the largest b-value does not fit into the echo time; names the shortest echo time.
    """

    def __init__(self, kernel: EpiKernel, diffusion: Diffusion, te: float, segments: list[Segment]) -> None:
        self.kernel, self.segments = kernel, segments
        self.b, self.direction = volume_table(diffusion)
        limits = kernel.composer.scanner.gradients
        self.limit = limits.max_amplitude * GAMMA_BAR * (1.0 - 1e-6)
        least = self._shortest_te()
        if diffusion.minimum_te:
            te = least
        elif te < least - 1e-9:
            raise BuildError(
                f"timing.te must be at least {least:.6f} s for b = {1e-6 * self.b.max():.0f} s/mm2; "
                f"got {te} s"
            )
        self.te = te
        timing = self._fit(te)
        assert timing is not None
        self.timing = timing
        self._paths = [_Path(kernel, segment, te) for segment in segments]
        self._lobes: dict[tuple[int, int], Lobes] = {}

    def _shortest_te(self) -> float:
        """Shortest echo time [s] whose waits hold lobes strong enough, on a grid of four block rasters."""
        step = 4.0 * self.kernel.composer.block_raster
        low, high = 0, 1
        while self._fit(high * step) is None:
            low, high = high, 2 * high
            if high * step > 2.0:
                raise BuildError(f"diffusion.b_values must be reachable within 2 s; got {self.b.max()} s/m^2")
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._fit(middle * step) is not None else (middle, high)
        return high * step

    def _fit(self, te: float) -> LobeTiming | None:
        """Shortest lobes for the largest b-value at an echo time; None where they do not fit."""
        waits = [self.kernel.waits(segment, te) for segment in self.segments]
        room = min(min(w) for w in waits)
        raster = self.kernel.composer.raster
        rise = up(self.limit / self.kernel.composer.max_slew, raster)
        most = int(down(room, raster) / raster + 0.5) - 2 * round(rise / raster)
        if most < 1:
            return None
        wanted = _RESERVE * float(self.b.max(initial=0.0))
        if self._lone_b(waits, self._lobe(rise, most * raster, waits)) < wanted:
            return None
        low, high = 0, most
        while high - low > 1:
            middle = (low + high) // 2
            enough = self._lone_b(waits, self._lobe(rise, middle * raster, waits)) >= wanted
            low, high = (low, middle) if enough else (middle, high)
        return self._lobe(rise, high * raster, waits)

    def _lobe(self, rise: float, flat: float, waits: list[list[float]]) -> LobeTiming:
        shape = Trapezoid(rise=rise, flat=round(flat, 9))
        signs = _SIGNS[self.kernel.refocusings]
        delays = [0.0] * len(signs)
        if len(signs) == 4:
            delays[2] = down(min(w[2] for w in waits) - shape.duration, self.kernel.composer.raster)
        return LobeTiming(shape=shape, delays=tuple(delays), signs=signs)

    def _lone_b(self, waits: list[list[float]], timing: LobeTiming) -> float:
        """b-value [s/m^2] of the lobes alone at full amplitude, least of all polarities."""
        return min(
            _lobes_b([self.kernel.refocus_time(n) for n in range(2)], own, timing, self.limit)
            for own in waits
        )

    def amplitude(self, volume: int, polarity: int) -> float:
        """Lobe amplitude [Hz/m] of a volume, with the train of segment number `polarity`."""
        b, direction = float(self.b[volume]), self.direction[volume]
        if b == 0.0:
            return 0.0
        path, top = self._paths[polarity], self.limit
        none, plus, minus = (float(np.trace(path.tensor(self.timing, a * direction))) for a in (0, top, -top))
        linear, square = 0.5 * (plus - minus), 0.5 * (plus + minus) - none
        root = (-linear + np.sqrt(linear**2 + 4.0 * square * (b - none))) / (2.0 * square)
        if not 0.0 < root <= 1.0:
            raise BuildError(
                f"diffusion b-value of volume {volume} must lie between that of the imaging gradients "
                f"({1e-6 * none:.1f} s/mm2) and {1e-6 * plus:.1f} s/mm2; got {1e-6 * b:.1f} s/mm2"
            )
        return float(root * top)

    def lobes(self, volume: int, polarity: int) -> Lobes:
        """Register the lobes of a volume."""
        key = (volume, polarity)
        if key not in self._lobes:
            vector = self.amplitude(volume, polarity) * self.direction[volume]
            shape, composer, timing = self.timing.shape, self.kernel.composer, self.timing
            rows = [
                tuple(strong_trapezoid(composer, sign * a, shape.rise, shape.flat, delay) for a in vector)
                for sign, delay in zip(timing.signs, timing.delays, strict=True)
            ]
            self._lobes[key] = Lobes(events=tuple((x, y, z) for x, y, z in rows))
        return self._lobes[key]


def _lobes_b(between: list[float], waits: list[float], timing: LobeTiming, amplitude: float) -> float:
    """b-value [s/m^2] of lobes on one axis alone; `between` [s] is what each refocusing takes."""
    gaps = [0.0, between[0]] if len(waits) == 2 else [0.0, between[0], 0.0, between[1]]
    turned = (False, True) if len(waits) == 2 else (False, True, False, True)
    k, total = np.zeros(3), np.zeros((3, 3))
    for number, wait in enumerate(waits):
        idle = stretch((None, None, None), 0.0, gaps[number])
        total += idle.added(k)
        if turned[number]:
            k = -k
        piece = stretch((timing.event(number, amplitude), None, None), 0.0, wait)
        total += piece.added(k)
        k = k + piece.moment
    return float(4.0 * np.pi**2 * np.trace(total))


class _Path:
    """Blocks of one shot from the excitation centre to k = 0, for b-tensors with any lobes."""

    def __init__(self, kernel: EpiKernel, segment: Segment, te: float) -> None:
        excited = Excited(slice=0, excite=-1, refocus=-2, multiband=False)
        blocks = kernel.blocks(segment, excited, te, read=False)
        self.waits = _wait_blocks(kernel, blocks)
        assert kernel.refocusing is not None
        self.refocus_center = kernel.refocusing.center
        end, self._pieces = kernel.te(segment, te) + kernel.excitation.center, []
        start = 0.0
        for block in blocks:
            if start >= end:
                break
            begin = kernel.excitation.center if block.rf == -1 else 0.0
            self._pieces.append((block, begin, min(block.duration, end - start)))
            start += block.duration
        self._axes: dict[int, Axes] = {
            n: _axes(kernel.composer, b) for n, (b, _, _) in enumerate(self._pieces)
        }
        self._fixed: dict[tuple[int, float, float], Stretch] = {}

    def tensor(self, timing: LobeTiming, vector: NDArray[np.float64]) -> FloatArray:
        """b-tensor [s/m^2] for lobes of amplitude `vector` [Hz/m] in logical axes."""
        k, total = np.zeros(3), np.zeros((3, 3))
        for number, (block, begin, end) in enumerate(self._pieces):
            cuts = [begin, self.refocus_center, end] if block.rf == -2 else [begin, end]
            for n, (low, high) in enumerate(pairwise(cuts)):
                if n == 1:
                    k = -k
                piece = self._piece(number, low, high, timing, vector)
                total += piece.added(k)
                k = k + piece.moment
        return np.asarray(4.0 * np.pi**2 * total)

    def _piece(
        self, number: int, low: float, high: float, timing: LobeTiming, vector: NDArray[np.float64]
    ) -> Stretch:
        if number in self.waits:
            x, y, z = (timing.event(self.waits[number], float(a)) for a in vector)
            return stretch((x, y, z), low, high)
        key = (number, low, high)
        if key not in self._fixed:
            self._fixed[key] = stretch(self._axes[number], low, high)
        return self._fixed[key]


def _wait_blocks(kernel: EpiKernel, blocks: list[Block]) -> dict[int, int]:
    """Block index of every wait: blocks around the refocusing pulses without any event."""
    refocus = [n for n, block in enumerate(blocks) if block.rf == -2]
    if kernel.refocusings == 1:
        places = [refocus[0] - 2, refocus[0] + 2]
    else:
        places = [refocus[0] - 2, refocus[0] + 2, refocus[1] - 2, refocus[1] + 2]
    return {place: number for number, place in enumerate(places)}


def _axes(composer: Composer, block: Block) -> Axes:
    return played(composer, block.gx), played(composer, block.gy), played(composer, block.gz)

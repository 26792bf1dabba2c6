"""Putting blocks into a pypulseq sequence: events registered once, blocks as rows of numbers."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..scanners.scanner import Scanner
from ..sequence import GAMMA_BAR

_SLEW_MARGIN = 1.0 - 1e-6  # keeps amplitudes that the file rounds to six digits inside the limits


class BuildError(ValueError):
    """A protocol cannot be played on a scanner; the message names the value that can."""


@dataclass(frozen=True, kw_only=True)
class Trapezoid:
    """Timing of a symmetric trapezoid: ramp and flat top [s]."""

    rise: float
    flat: float

    @property
    def duration(self) -> float:
        """Total length [s]."""
        return 2.0 * self.rise + self.flat

    def amplitude(self, area: float) -> float:
        """Amplitude [Hz/m] that gives `area` [1/m]."""
        return area / (self.rise + self.flat)


@dataclass(frozen=True, kw_only=True)
class Block:
    """One block row: length [s] and event numbers (0 = none)."""

    duration: float
    rf: int = 0
    gx: int = 0
    gy: int = 0
    gz: int = 0
    adc: int = 0
    ext: int = 0


def up(value: float, raster: float) -> float:
    """Round a time up to a raster, forgiving a millionth of it."""
    return round(math.ceil(value / raster - 1e-6) * raster, 12)


def down(value: float, raster: float) -> float:
    """Round a time down to a raster, forgiving a millionth of it."""
    return round(math.floor(value / raster + 1e-6) * raster, 12)


class Composer:
    """Collects events and blocks for one scanner.

    pypulseq makes, stores, checks and writes every event; only its per-block bookkeeping, which
    looks at every event of every block again, is replaced by rows of known event numbers.
    """

    def __init__(self, scanner: Scanner) -> None:
        import pypulseq as pp

        limits = scanner.gradients
        self.scanner = scanner
        self.system = pp.Opts(
            max_grad=1e3 * limits.design_amplitude,
            grad_unit="mT/m",
            max_slew=limits.design_slew,
            slew_unit="T/m/s",
            grad_raster_time=limits.raster,
            rf_raster_time=limits.rf_raster,
            adc_raster_time=limits.adc_raster,
            block_duration_raster=limits.block_raster,
            rf_dead_time=limits.rf_dead_time,
            rf_ringdown_time=limits.rf_ringdown,
            adc_dead_time=limits.adc_dead_time,
            gamma=GAMMA_BAR,
            B0=scanner.b0,
        )
        self.seq = pp.Sequence(system=self.system)
        self.max_amplitude = limits.design_amplitude * GAMMA_BAR * _SLEW_MARGIN
        self.max_slew = limits.design_slew * GAMMA_BAR * _SLEW_MARGIN
        self.raster = limits.raster
        self.block_raster = limits.block_raster
        self._traps: dict[tuple[float, float, float, float], int] = {}
        self._uses: dict[tuple[tuple[float, ...], str], int] = {}
        self._labels: dict[tuple[tuple[str, int], ...], int] = {}

    def trapezoid(self, area: float) -> Trapezoid:
        """Shortest trapezoid for an area [1/m] inside the scanner's limits."""
        area = abs(area)
        rise = max(up(math.sqrt(area / self.max_slew), self.raster), self.raster)
        if area / rise <= self.max_amplitude:
            return Trapezoid(rise=rise, flat=0.0)
        rise = up(self.max_amplitude / self.max_slew, self.raster)
        flat = up(max(0.0, area / self.max_amplitude - rise), self.raster)
        return Trapezoid(rise=rise, flat=flat)

    def gradient(self, area: float, shape: Trapezoid, delay: float = 0.0) -> int:
        """Event number of a trapezoid; 0 where the area vanishes."""
        return self.gradient_amplitude(shape.amplitude(area), shape, delay)

    def gradient_amplitude(self, amplitude: float, shape: Trapezoid, delay: float = 0.0) -> int:
        """Event number of a trapezoid with a given flat-top amplitude [Hz/m]."""
        import pypulseq as pp

        if abs(amplitude) < 1e-6:
            return 0
        key = (amplitude, shape.rise, shape.flat, delay)
        if key not in self._traps:
            event = pp.make_trapezoid(
                channel="x",
                amplitude=amplitude,
                rise_time=shape.rise,
                flat_time=shape.flat,
                fall_time=shape.rise,
                delay=delay,
                system=self.system,
            )
            self._traps[key] = int(self.seq.register_grad_event(event))
        return self._traps[key]

    def rf(self, event: Any, phase: float = 0.0, frequency: float = 0.0) -> int:
        """Event number of a pulse with another phase offset [rad] and carrier offset [Hz]."""
        played = copy.copy(event)
        played.phase_offset = phase % (2.0 * math.pi)
        played.freq_offset = frequency
        # The shapes of a pulse are stored once: later copies carry their numbers.
        number, event.shape_IDs = self.seq.register_rf_event(played)
        return self._with_use(int(number), event.use[0])

    def _with_use(self, number: int, use: str) -> int:
        """Event number of the same pulse with a use of its own: pypulseq merges equal pulses of any use."""
        library = self.seq.rf_library
        data = tuple(library.data[number])
        if (data, library.type[number]) not in self._uses:
            self._uses[data, library.type[number]] = number
        if (data, use) not in self._uses:
            self._uses[data, use] = int(library.insert(0, data, use))
        return self._uses[data, use]

    def adc(self, *, num: int, dwell: float, delay: float, phase: float = 0.0) -> int:
        """Event number of a readout."""
        import pypulseq as pp

        event = pp.make_adc(
            num_samples=num,
            dwell=dwell,
            delay=delay,
            phase_offset=phase % (2.0 * math.pi),
            system=self.system,
        )
        number, _ = self.seq.register_adc_event(event)
        return int(number)

    def labels(self, **values: int) -> int:
        """Extension number that sets labels."""
        import pypulseq as pp

        key = tuple(sorted(values.items()))
        if key not in self._labels:
            kind = self.seq.get_extension_type_ID("LABELSET")
            number = 0
            for name, value in key:
                event = pp.make_label(label=name, type="SET", value=int(value))
                ref = self.seq.register_label_event(event)
                number, _ = self.seq.extensions_library.find_or_insert((kind, ref, number))
            self._labels[key] = int(number)
        return self._labels[key]

    def add(self, block: Block) -> None:
        """Append a block; its length must lie on the block raster."""
        steps = block.duration / self.block_raster
        if abs(steps - round(steps)) > 1e-4 or round(steps) < 1:
            raise BuildError(
                f"block duration must be a multiple of {self.block_raster} s; got {block.duration}"
            )
        number = self.seq.next_free_block_ID
        row = (0, block.rf, block.gx, block.gy, block.gz, block.adc, block.ext)
        self.seq.block_events[number] = np.array(row, dtype=np.int32)
        self.seq.block_durations[number] = round(steps) * self.block_raster
        self.seq.next_free_block_ID = number + 1

    def hard_pulse(self, flip: float, duration: float, use: str) -> Any:
        """Return a non-selective rectangular pulse that starts after the dead time."""
        import pypulseq as pp

        limits = self.scanner.gradients
        return pp.make_block_pulse(
            flip_angle=flip,
            duration=up(duration, limits.rf_raster),
            delay=up(limits.rf_dead_time, limits.rf_raster),
            system=self.system,
            use=use,
        )

    def rf_end(self, event: Any) -> float:
        """Earliest gradient start after a pulse in the same block [s], on the gradient raster."""
        return up(event.delay + event.shape_dur + event.ringdown_time, self.raster)

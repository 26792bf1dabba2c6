"""3D MPRAGE: inversion, spoiled gradient-echo train along partitions, recovery."""

from __future__ import annotations

from typing import Any

import numpy as np

from .composer import Block, BuildError, Composer, down, up
from .encoding import Index, partition_lines, phase_lines, train_segments
from .gre import SpoiledKernel, add_noise_scan, report
from .protocol import Protocol
from .report import BuildReport

INVERSION_SPOILER = 8
"""Multiples of the spoiler moment after the inversion."""
_IDEAL_DURATION = 1e-4
_HYPSEC_BETA_T = 8.2  # beta x duration: the pulse is cut at 1.7 % of its peak, as usual
_HYPSEC_MU = 4.9


def inversion_pulse(composer: Composer, protocol: Protocol) -> Any:
    """Adiabatic hyperbolic secant, or a hard pi pulse ('ideal')."""
    import pypulseq as pp

    limits = composer.scanner.gradients
    if protocol.rf.inversion == "ideal":
        return composer.hard_pulse(np.pi, _IDEAL_DURATION, "inversion")
    duration = up(protocol.rf.inversion_duration, 4 * limits.rf_raster)
    return pp.make_adiabatic_pulse(
        "hypsec",
        duration=duration,
        beta=_HYPSEC_BETA_T / duration,
        mu=_HYPSEC_MU,
        delay=up(limits.rf_dead_time, limits.rf_raster),
        dwell=4 * limits.rf_raster,
        system=composer.system,
        use="inversion",
    )


class Inversion:
    """Inversion block: pulse, spoiler, waiting time.

    Parameters
    ----------
    composer : Composer
        Sequence under construction.
    protocol : Protocol
        Card with `timing.ti`.
    moment : float
        Common spoiler moment [1/m].
    lead : float
        Time from the end of the block to the event that TI counts to [s].

    Raises
    ------
    BuildError
        If TI is too short; names the minimum.
    """

    def __init__(self, composer: Composer, protocol: Protocol, moment: float, lead: float) -> None:
        ti = protocol.timing.ti
        if ti is None:
            raise BuildError("timing.ti must be given for an inversion")
        pulse = inversion_pulse(composer, protocol)
        center = float(pulse.delay + pulse.center)
        start = composer.rf_end(pulse)
        area = INVERSION_SPOILER * moment
        shape = composer.trapezoid(area)
        shortest = up(start + shape.duration, composer.block_raster)
        duration = down(ti - lead + center + 0.5 * composer.block_raster, composer.block_raster)
        if duration < shortest - 1e-9:
            raise BuildError(f"timing.ti must be at least {shortest - center + lead:.6f} s; got {ti} s")
        self.duration = duration
        self.ti = float(duration - center + lead)
        self._row = {"rf": composer.rf(pulse), "gx": composer.gradient(area, shape, start)}
        self._composer = composer

    def play(self, ext: int = 0) -> None:
        """Append the block."""
        self._composer.add(Block(duration=self.duration, ext=ext, **self._row))


def compose_mprage(composer: Composer, protocol: Protocol, noise_samples: int) -> BuildReport:
    """MPRAGE with the train along partitions; RF phases start anew in each shot.

    Raises
    ------
    BuildError
        If TE, echo spacing, TI or TR cannot be met; names the minimum.
    """
    timing = protocol.timing
    kernel = SpoiledKernel(composer, protocol, timing.echo_spacing or 0.0)
    lines = phase_lines(protocol)
    count = protocol.geometry.matrix[2]
    trains = train_segments(partition_lines(protocol), count, timing.turbo_factor, timing.view_order)
    length = max(train.size for train in trains)
    center = next(int(np.flatnonzero(t == count // 2)[0]) for t in trains if count // 2 in t)
    lead = center * kernel.spacing + kernel.rf_center
    inversion = Inversion(composer, protocol, kernel.moment, lead)
    busy = inversion.duration + length * kernel.spacing
    pause = down(timing.tr - busy + 0.5 * composer.block_raster, composer.block_raster)
    if pause < -1e-9:
        raise BuildError(f"timing.tr must be at least {busy:.6f} s; got {timing.tr} s")
    shot = _Shot(composer, kernel, inversion, length, max(0.0, pause))
    add_noise_scan(composer, kernel.plan, noise_samples)
    ext = composer.labels(NOISE=0)
    for _ in range(timing.dummy_shots):
        shot.play(None, None, ext)
        ext = 0
    for position, line in enumerate(lines.index.tolist()):
        ext = composer.labels(NOISE=0, LIN=line, **lines.flags(position))
        for train in trains:
            shot.play(line, train, ext)
    shots = timing.dummy_shots + lines.index.size * len(trains)
    readouts = lines.index.size * sum(train.size for train in trains)
    return report(composer, kernel, readouts, shots, center, tr=busy + max(0.0, pause), ti=inversion.ti)


class _Shot:
    """One inversion and its train; short trains are filled up with dummies, so shots repeat."""

    def __init__(
        self, composer: Composer, kernel: SpoiledKernel, inversion: Inversion, length: int, pause: float
    ) -> None:
        self.composer, self.kernel, self.inversion = composer, kernel, inversion
        self.length, self.pause = length, pause

    def play(self, line: int | None, train: Index | None, ext: int) -> None:
        self.inversion.play(ext)
        partitions = [] if train is None else train.tolist()
        for count in range(self.length):
            pause = self.pause if count == self.length - 1 else 0.0
            if count < len(partitions):
                label = self.composer.labels(PAR=partitions[count])
                self.kernel.play(count, line, partitions[count], ext=label, pause=pause)
            else:
                self.kernel.play(count, None, None, pause=pause)

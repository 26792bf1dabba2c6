"""3D MPRAGE and MP2RAGE: inversion, one or two spoiled gradient-echo trains, recovery."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..cards.protocol import Protocol
from .composer import BuildError, Composer, down
from .encoding import Index, PhaseLines, partition_lines, phase_lines, train_segments
from .gre import add_noise_scan, report
from .inversion import Inversion
from .kernel import GradientEchoKernel
from .report import BuildReport


@dataclass(frozen=True, kw_only=True)
class _Views:
    """Outer loop and trains of one card.

    `outer` are positions along the outer axis, `trains` line numbers along the inner one; `center` is the
    place of the k-space centre in its train.
    """

    outer: list[int]
    trains: list[Index]
    center: int
    lines: PhaseLines
    phase_inside: bool

    @property
    def length(self) -> int:
        """Excitations of the longest train."""
        return max(train.size for train in self.trains)

    def flags(self, line: int) -> dict[str, int]:
        """Labels of a phase line."""
        position = int(np.searchsorted(self.lines.index, line))
        return {"LIN": line, **self.lines.flags(position)}


def _views(protocol: Protocol) -> _Views:
    timing, matrix = protocol.timing, protocol.geometry.matrix
    lines, partitions = phase_lines(protocol), partition_lines(protocol)
    phase_inside = timing.inner_loop == "phase"
    inner, outer = (lines.index, partitions) if phase_inside else (partitions, lines.index)
    count = matrix[1] if phase_inside else matrix[2]
    trains = train_segments(inner, count, timing.turbo_factor, timing.view_order)
    center = next(int(np.flatnonzero(t == count // 2)[0]) for t in trains if count // 2 in t)
    return _Views(outer=outer.tolist(), trains=trains, center=center, lines=lines, phase_inside=phase_inside)


def compose_mprage(composer: Composer, protocol: Protocol, noise_samples: int) -> BuildReport:
    """MPRAGE, IR-FSPGR, TFE, or MP2RAGE; RF phases start anew in each shot.

    The train runs along partitions or phase lines. An MP2RAGE plays two trains after one inversion (Marques
    et al. 2010, doi:10.1016/j.neuroimage.2009.10.002), the second with `rf.flip2_deg`; label ECO says which.

    Raises
    ------
    BuildError
        If TE, echo spacing, TI or TR cannot be met; names the minimum.
    """
    timing, raster = protocol.timing, composer.block_raster
    views = _views(protocol)
    kernels = [GradientEchoKernel(composer, protocol, timing.echo_spacing or 0.0)]
    if protocol.sequence == "mp2rage":
        flip = math.radians(protocol.rf.flip2_deg or protocol.rf.flip_deg)
        kernels.append(GradientEchoKernel(composer, protocol, timing.echo_spacing or 0.0, flip=flip))
    kernel = kernels[0]
    train = views.length * kernel.spacing
    lead = views.center * kernel.spacing + kernel.rf_center
    inversion = Inversion(composer, protocol, kernel.moment, lead, ahead=kernel.pulse.before)
    pauses = [_between(composer, protocol, inversion, train)] if len(kernels) == 2 else []
    busy = inversion.duration + len(kernels) * train + sum(pauses)
    pause = down(timing.tr - busy + 0.5 * raster, raster)
    if pause < -1e-9:
        raise BuildError(f"timing.tr must be at least {busy:.6f} s; got {timing.tr} s")
    pauses.append(max(0.0, pause))
    shot = _Shot(composer, kernels, inversion, views, pauses)
    add_noise_scan(composer, kernel.plan, noise_samples)
    ext = composer.labels(NOISE=0)
    for _ in range(timing.dummy_shots):
        shot.play(None, None, ext)
        ext = 0
    for index in views.outer:
        ext = composer.labels(NOISE=0, **({"PAR": index} if views.phase_inside else views.flags(index)))
        for lines in views.trains:
            shot.play(index, lines, ext)
    readouts = len(kernels) * len(views.outer) * sum(t.size for t in views.trains)
    return report(
        composer,
        kernel,
        readouts,
        timing.dummy_shots + len(views.outer) * len(views.trains),
        views.center,
        _extra(protocol, inversion, train, pauses),
        tr=busy + pauses[-1],
        ti=inversion.ti,
        ti_first=inversion.ti - views.center * kernel.spacing,
        recovery=pauses[-1],
    )


def _between(composer: Composer, protocol: Protocol, inversion: Inversion, train: float) -> float:
    """Pause between the trains of an MP2RAGE [s]."""
    timing, raster = protocol.timing, composer.block_raster
    pause = down((timing.ti2 or 0.0) - inversion.ti - train + 0.5 * raster, raster)
    if pause < -1e-9:
        raise BuildError(f"timing.ti2 must be at least {inversion.ti + train:.6f} s; got {timing.ti2} s")
    return max(0.0, pause)


def _extra(protocol: Protocol, inversion: Inversion, train: float, pauses: list[float]) -> dict[str, Any]:
    """Definitions of an MP2RAGE."""
    if len(pauses) == 1:
        return {}
    flips = (protocol.rf.flip_deg, protocol.rf.flip2_deg or protocol.rf.flip_deg)
    return {
        "InversionTimes": [inversion.ti, inversion.ti + train + pauses[0]],
        "FlipAngles": [math.radians(flip) for flip in flips],
        "RecoveryTime": pauses[-1],
    }


class _Shot:
    """One inversion and its trains; short trains are filled up with dummies, so shots repeat."""

    def __init__(
        self,
        composer: Composer,
        kernels: list[GradientEchoKernel],
        inversion: Inversion,
        views: _Views,
        pauses: list[float],
    ) -> None:
        self.composer, self.kernels, self.inversion = composer, kernels, inversion
        self.views, self.pauses = views, pauses

    def play(self, outer: int | None, train: Index | None, ext: int) -> None:
        """Append one shot; an outer index of None plays a dummy shot."""
        self.inversion.play(ext)
        for number in range(len(self.kernels)):
            self._train(number, outer, [] if train is None else train.tolist())

    def _train(self, number: int, outer: int | None, inner: list[int]) -> None:
        kernel, views, length = self.kernels[number], self.views, self.views.length
        final = number == len(self.kernels) - 1
        for count in range(length):
            end = count == length - 1
            pause = self.pauses[number] if end else 0.0
            if count >= len(inner) or outer is None:
                kernel.play(count, None, None, pause=pause, last=end and final)
                continue
            at = inner[count]
            line, partition = (at, outer) if views.phase_inside else (outer, at)
            marks = views.flags(at) if views.phase_inside else {"PAR": at}
            if len(self.kernels) > 1:
                marks["ECO"] = number
            kernel.play(count, line, partition, marks=marks, pause=pause, last=end and final)

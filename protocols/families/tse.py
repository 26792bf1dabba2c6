"""Spin echoes and turbo spin echoes of a volume, optionally after one or two inversions.

`tse` spreads (ky, kz) over the echoes; `se` reads the same line with every echo, each echo its own image
(label ECO): T2 mapping by CPMG. 2D slices are in `tse_slices`.
"""

from __future__ import annotations

from typing import Any

from ..cards.protocol import Protocol
from .composer import BuildError, Composer, down
from .echo_train import EchoTrain
from .encoding import echo_order, inside_shutter, partition_lines, phase_lines
from .gre import add_noise_scan
from .inversion import INVERSION_SPOILER, Inversion
from .refocusing import EFFECTIVE_TE_MEANING, effective_te
from .report import BuildReport
from .tse_slices import compose_slices

_SECOND_SPOILER = INVERSION_SPOILER + 5
"""Multiples of M after the second of two inversions: unequal, or it would refocus what the first excites."""

Rows = list[tuple[list[int], list[int]]]


def compose_tse(composer: Composer, protocol: Protocol, noise_samples: int) -> BuildReport:
    """(Turbo) spin echo; `turbo_factor` 1 is a plain spin echo.

    Raises
    ------
    BuildError
        If TE, echo spacing, TI or TR cannot be met; names the minimum.
    """
    train = EchoTrain(composer, protocol)
    rows = train_rows(protocol, train)
    silent = [-1] * train.echoes
    if protocol.selection.mode == "slices":
        played = compose_slices(composer, protocol, train, rows, silent, noise_samples)
        return _report(train, rows, slices=protocol.selection.n_slices, **played)
    inversions = _inversions(composer, protocol, train)
    ahead = train.excitation.before
    first = 0.0 if inversions else ahead
    least = train.least_closing(first)
    busy = train.duration + sum(inversion.duration for inversion in inversions)
    end = down(protocol.timing.tr - busy + 0.5 * composer.block_raster, composer.block_raster)
    if end < least - 1e-9:
        raise BuildError(f"timing.tr must be at least {busy + least:.6f} s; got {protocol.timing.tr} s")
    closing = train.closing(end, first)
    lines = phase_lines(protocol)
    add_noise_scan(composer, train.plan, noise_samples)
    shots = [(silent, silent)] * protocol.timing.dummy_shots + rows
    for line, partition in shots:
        ext = composer.labels(NOISE=0)
        for inversion in inversions:
            inversion.play(ext)
            ext = 0
        train.play(lines, line, partition, ext)
        composer.add(closing)
    times = [inversion.ti for inversion in inversions]
    return _report(train, rows, tr=busy + end, times=times, shots=len(shots), recovery=end)


def train_rows(protocol: Protocol, train: EchoTrain) -> Rows:
    """Lines and partitions of the echoes of each shot; -1 marks an echo without ADC."""
    lines, partitions = phase_lines(protocol).index, partition_lines(protocol)
    if protocol.sequence == "se":
        pairs = [(y, z) for y in lines.tolist() for z in partitions.tolist()]
        kept = [(y, z) for y, z in pairs if inside_shutter(protocol, y, z)]
        return [([y] * train.echoes, [z] * train.echoes) for y, z in kept]
    counts = protocol.geometry.matrix[1:]
    elliptical = protocol.acceleration.elliptical
    order = echo_order(
        lines,
        partitions,
        counts,
        train.echoes,
        train.center,
        elliptical=elliptical,
        centric=protocol.timing.view_order == "centric",
    )
    return list(zip(order.line.tolist(), order.partition.tolist(), strict=True))


def _inversions(composer: Composer, protocol: Protocol, train: EchoTrain) -> list[Inversion]:
    """No, one, or two inversions (double inversion recovery), in play order."""
    timing = protocol.timing
    if timing.ti is None:
        return []
    ahead, lead = train.excitation.before, train.excite_center
    if timing.ti2 is None:
        return [Inversion(composer, protocol, train.moment, lead, ahead=ahead)]
    second = Inversion(
        composer,
        protocol,
        train.moment,
        lead,
        ti=timing.ti2,
        name="timing.ti2",
        ahead=ahead,
        spoiler=_SECOND_SPOILER,
    )
    return [Inversion(composer, protocol, train.moment, second.lead), second]


def _report(
    train: EchoTrain,
    rows: Rows,
    *,
    tr: float,
    times: list[float],
    shots: int,
    slices: int = 1,
    recovery: float | None = None,
) -> BuildReport:
    plan, protocol, composer = train.plan, train.protocol, train.composer
    points = protocol.geometry.matrix[0] * protocol.readout.oversampling
    equivalent = effective_te(train.angles, train.spacing, train.center)
    return BuildReport(
        scan_time=float(sum(composer.seq.block_durations.values())),
        tr=tr,
        te=train.te,
        ti=times[0] if times else None,
        echo_spacing=train.spacing,
        bandwidth=1.0 / (points * plan.dwell),
        center_echo=train.center,
        center_sample=plan.center,
        samples=plan.num,
        dwell=plan.dwell,
        readouts=slices * sum(ky >= 0 for line, _ in rows for ky in line),
        shots=shots,
        spoiler_moment=train.moment,
        rf_spoil_increment=0.0,
        recovery=recovery,
        effective_te=equivalent,
        extra=_extra(train, equivalent, times),
    )


def _extra(train: EchoTrain, equivalent: float, times: list[float]) -> dict[str, Any]:
    """Definitions that only some spin echoes have."""
    protocol = train.protocol
    entries: dict[str, Any] = {}
    if train.contrasts > 1:
        entries["EchoTimes"] = train.echo_times
    if len(times) > 1:
        entries["InversionTimes"] = times
    if train.excitation.selective:
        entries["SpoilerVector"] = [train.moment, 0.0, train.crusher]
    if protocol.refocusing.scheme == "prescribed":
        entries["EffectiveTE"] = equivalent
        entries["EffectiveTEMeaning"] = EFFECTIVE_TE_MEANING
        entries["RefocusingAngles"] = train.angles
    if protocol.acceleration.elliptical:
        entries["EllipticalShutter"] = 1
    return entries

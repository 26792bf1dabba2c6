"""2D multi-slice spin echoes: slices share each TR in equal slots; inversions run slots ahead of the trains.

A slot is [inversion or nothing][waiting][train and spoiler, or nothing]. With an inversion time longer than
a slot, slice j is inverted m slots before its train is played, so a TR has n + m slots: m that only invert at
its start, m that only acquire at its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..cards.protocol import Protocol
from .composer import Block, BuildError, Composer, down, up
from .echo_train import EchoTrain
from .encoding import phase_lines
from .gre import add_noise_scan
from .inversion import INVERSION_SPOILER, inversion_pulse
from .selection import Pulse, slice_groups

Row = tuple[list[int], list[int]]


class SliceInversion:
    """Inversion of one slice: the pulse, then spoiler and waiting in a second block.

    Attributes
    ----------
    pulse : Pulse
        Slice-selective inversion.
    least : float
        Shortest length [s].
    """

    def __init__(self, composer: Composer, protocol: Protocol, train: EchoTrain) -> None:
        self.composer, self.train = composer, train
        self.pulse: Pulse = inversion_pulse(composer, protocol)
        self.alone = up(self.pulse.end, composer.block_raster)
        nexts = (train.excitation.before, self.pulse.before)
        self.least = self.alone + max(self._lobes(ahead)[1] for ahead in nexts)

    def _lobes(self, ahead: float) -> tuple[tuple[int, int], float]:
        """Spoiler events on x and z, and their length, with the next pulse's area prepared."""
        composer, train = self.composer, self.train
        areas = (
            INVERSION_SPOILER * train.moment,
            INVERSION_SPOILER * train.crusher - self.pulse.after - ahead,
        )
        shapes = [composer.trapezoid(area) for area in areas]
        events = [composer.gradient(area, shape) for area, shape in zip(areas, shapes, strict=True)]
        length = up(max(shape.duration for shape in shapes), composer.block_raster)
        return (events[0], events[1]), length

    def play(self, place: int, duration: float, ahead: float, ext: int) -> None:
        """Invert a slice; `duration` [s] counts from the start of the pulse's block."""
        (gx, gz), _ = self._lobes(ahead)
        rf = self.pulse.rf(0.0, self.train.positions[place])
        self.composer.add(Block(duration=self.alone, rf=rf, gz=self.pulse.gradient, ext=ext))
        self.composer.add(Block(duration=duration - self.alone, gx=gx, gz=gz))


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """Slots of one TR.

    `lead` is the length of the inversion part of a slot [s], `ahead` the slots between the inversion and
    the train of a slice, `ti` the realised inversion time [s].
    """

    slot: float
    lead: float
    ahead: int
    repetition: float
    ti: float | None


def compose_slices(
    composer: Composer,
    protocol: Protocol,
    train: EchoTrain,
    rows: list[Row],
    silent: list[int],
    noise_samples: int,
) -> dict[str, Any]:
    """Append all concatenations; returns what the report needs.

    Raises
    ------
    BuildError
        If the slices of a concatenation do not fit into TR; names the minimum.
    """
    groups = slice_groups(protocol.selection)
    inversion = None
    if protocol.timing.ti is not None:
        if protocol.timing.ti2 is not None:
            raise BuildError("timing.ti2 must be absent for 2D slices; a double inversion is played in 3D")
        inversion = SliceInversion(composer, protocol, train)
    plan = _slots(composer, protocol, train, inversion, max(len(group) for group in groups))
    add_noise_scan(composer, train.plan, noise_samples)
    repetition = _Repetition(composer, protocol, train, inversion, plan)
    shots = 0
    for group in groups:
        for line, partition in [(silent, silent)] * protocol.timing.dummy_shots + rows:
            repetition.play(group, line, partition)
            shots += len(group)
    times = [plan.ti] if plan.ti is not None else []
    return {"tr": plan.repetition, "times": times, "shots": shots}


def _slots(
    composer: Composer, protocol: Protocol, train: EchoTrain, inversion: SliceInversion | None, most: int
) -> _Plan:
    """Choose slot length and lead: as many slots ahead as fit, so that the slices use the waiting time."""
    raster = composer.block_raster
    tr = down(protocol.timing.tr + 0.5 * raster, raster)
    nexts = [train.excitation.before] + ([inversion.pulse.before] if inversion else [])
    body = train.duration + max(train.least_closing(ahead) for ahead in nexts)
    if inversion is None:
        slot = down(tr / most, raster)
        if slot < body - 1e-9:
            raise BuildError(f"timing.tr must be at least {most * body:.6f} s for {most} slices; got {tr} s")
        return _Plan(slot=slot, lead=0.0, ahead=0, repetition=tr, ti=None)
    ti = protocol.timing.ti or 0.0
    offset = train.excite_center - inversion.pulse.center  # of TI, when both parts start a slot
    shortest = inversion.least + offset
    if ti < shortest - 1e-9:
        raise BuildError(f"timing.ti must be at least {shortest:.6f} s; got {ti} s")
    most_ahead = min(most - 1, int((ti - shortest) / (inversion.least + body) + 1e-9))
    plans = [
        _ahead(ti, offset, inversion.least, body, n, tr, most, raster) for n in range(most_ahead, -1, -1)
    ]
    least, plan = min(((max(need, tr), plan) for need, plan in plans), key=lambda entry: entry[0])
    if least > tr + 1e-9:
        raise BuildError(
            f"timing.tr must be at least {least:.6f} s for {most} slices with this inversion time; "
            f"got {tr} s. Take more concatenations."
        )
    return plan


def _ahead(
    ti: float, offset: float, lead: float, body: float, ahead: int, tr: float, most: int, raster: float
) -> tuple[float, _Plan]:
    """Needed TR [s] and plan where `ahead` slots lie between the inversion and the train of a slice."""
    if ahead == 0:
        lead = down(ti - offset + 0.5 * raster, raster)
        slot = max(down(tr / most, raster), up(lead + body, raster))
    else:
        slot = down((ti - offset - lead) / ahead, raster)
        lead = down(ti - ahead * slot - offset + 0.5 * raster, raster)
    plan = _Plan(slot=slot, lead=lead, ahead=ahead, repetition=tr, ti=ahead * slot + lead + offset)
    return (most + ahead) * slot, plan


class _Repetition:
    """One TR of one concatenation."""

    def __init__(
        self,
        composer: Composer,
        protocol: Protocol,
        train: EchoTrain,
        inversion: SliceInversion | None,
        plan: _Plan,
    ) -> None:
        self.composer, self.train, self.inversion, self.plan = composer, train, inversion, plan
        self.lines = phase_lines(protocol)

    def play(self, group: list[int], line: list[int], partition: list[int]) -> None:
        """Append the slots of a group, one shot of each slice, and what is left of TR."""
        plan, count = self.plan, len(group)
        total = count + plan.ahead
        for slot in range(total):
            inverted = group[slot] if self.inversion and slot < count else None
            acquired = group[slot - plan.ahead] if slot >= plan.ahead else None
            spare = plan.repetition - total * plan.slot if slot == total - 1 else 0.0
            following = self._next_area(slot + 1, count)
            self._slot(inverted, acquired, line, partition, spare, following)

    def _next_area(self, slot: int, count: int) -> float:
        """Slice-select area before the centre of the first pulse of a slot [1/m]; slots repeat."""
        inverts = self.inversion is not None and (slot >= count + self.plan.ahead or slot < count)
        return self.inversion.pulse.before if self.inversion and inverts else self.train.excitation.before

    def _slot(
        self,
        inverted: int | None,
        acquired: int | None,
        line: list[int],
        partition: list[int],
        spare: float,
        following: float,
    ) -> None:
        plan, train, add = self.plan, self.train, self.composer.add
        first = self.composer.labels(NOISE=0)
        tail = plan.slot - plan.lead
        if inverted is not None and self.inversion is not None:
            lead = plan.lead + (0.0 if acquired is not None else tail + spare)
            area = train.excitation.before if acquired is not None else following
            self.inversion.play(inverted, lead, area, first)
        elif plan.lead > 0.0:
            wait = 0.0 if acquired is not None else tail  # a slot of a small group may be empty
            add(Block(duration=plan.lead + wait, ext=first))
        if acquired is None:
            return
        first = self.composer.labels(NOISE=0, SLC=acquired)
        train.play(self.lines, line, partition, first, acquired)
        add(train.closing(tail + spare - train.duration, following))

"""Non-Cartesian gradient echoes: one arm of k-space per excitation, rewound and spoiled.

One repetition is [excitation], [rephasing, partition encoding, prephasing], [arm], [rewinding and spoiling].
From one RF centre to the next the moment is zero on the readout plane and one constant on the slice axis.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..cards.protocol import Protocol
from .composer import Block, BuildError, Composer, down, up
from .gre import add_noise_scan
from .readout import ReadoutPlan
from .report import BuildReport
from .selection import excitation_pulse, slice_groups, slice_positions

SPOILER_CYCLES = 4.0
"""Dephasing that each repetition leaves across a slice, or across a voxel in 3D [cycles]."""
GOLDEN = 0.5 * (math.sqrt(5.0) - 1.0)

Vector = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """Gradients of one arm.

    Attributes
    ----------
    read : tuple of int
        Events on x, y, z of the readout block.
    before : tuple of float
        Prephasing moment [1/m].
    end : tuple of float
        k after the readout block [1/m].
    """

    read: tuple[int, int, int]
    before: Vector
    end: Vector


class Arms(ABC):
    """What a family of trajectories provides.

    Attributes
    ----------
    plan : ReadoutPlan
        ADC timing; `center` is the sample nearest to k = 0.
    reach : float
        Largest prephasing or rewinding moment on any axis [1/m].
    """

    plan: ReadoutPlan
    reach: float

    @abstractmethod
    def arm(self, number: int) -> Arm:
        """Return the gradients of an arm."""

    @abstractmethod
    def definitions(self) -> dict[str, Any]:
        """Return further entries of [DEFINITIONS]."""

    @abstractmethod
    def later(self, shift: float) -> None:
        """Move the readout by less than a block raster [s], as far as the family can."""


class ArmKernel:
    """Repetitions with one fixed spacing.

    Raises
    ------
    BuildError
        If TE or TR cannot be met; names the minimum.
    """

    def __init__(self, composer: Composer, protocol: Protocol, arms: Arms, spacing: float) -> None:
        self.composer, self.protocol, self.arms = composer, protocol, arms
        geometry, raster = protocol.geometry, composer.block_raster
        self.spacing = spacing
        self.pulse = excitation_pulse(composer, protocol)
        self.moment = SPOILER_CYCLES / geometry.voxel_size[2]
        partitions = geometry.matrix[2]
        kz = 0.5 * partitions / geometry.fov[2] if partitions > 1 and not self._ball else 0.0
        after, before = abs(self.pulse.after), abs(self.moment - self.pulse.before)
        along = arms.reach if self._ball else 0.0
        self.encode = composer.trapezoid(max(arms.reach, kz + after + along))
        self.rewind = composer.trapezoid(max(arms.reach, kz + before + along))
        self.t_excite = up(self.pulse.end, raster)
        self.t_encode = self._fit(protocol.timing.te)
        used = self.t_excite + self.t_encode + arms.plan.duration
        self.t_rewind = down(spacing - used + 0.5 * raster, raster)
        least = up(self.rewind.duration, raster)
        if self.t_rewind < least - 1e-9:
            count = protocol.selection.n_slices if protocol.selection.mode == "slices" else 1
            raise BuildError(
                f"timing.tr must be at least {(used + least) * count:.6f} s with this TE; "
                f"got {protocol.timing.tr} s"
            )
        increment = protocol.rf.spoil_increment_deg
        if increment is None:
            increment = composer.scanner.transmit.rf_spoil_increment_deg
        self.increment_deg = increment

    @property
    def _ball(self) -> bool:
        trajectory = self.protocol.trajectory
        return trajectory is not None and trajectory.kooshball

    def _fit(self, te: float) -> float:
        """Length of the encoding block [s] for an echo time."""
        raster, shortest = self.composer.block_raster, up(self.encode.duration, self.composer.block_raster)
        fixed = self.t_excite - self.pulse.center + self.arms.plan.center_time
        exact = te - fixed
        if exact < shortest - 0.5 * raster:
            raise BuildError(f"timing.te must be at least {fixed + shortest:.6f} s; got {te} s")
        length = max(shortest, down(exact, raster))
        self.arms.later(max(0.0, exact - length))
        return length

    @property
    def te(self) -> float:
        """Realised time from the excitation centre to k = 0 [s]."""
        return float(self.t_excite - self.pulse.center + self.t_encode + self.arms.plan.center_time)

    def play(
        self,
        count: int,
        arm: Arm | None,
        *,
        position: float = 0.0,
        partition: float = 0.0,
        first: int = 0,
        ext: int = 0,
        pause: float = 0.0,
    ) -> None:
        """Append one repetition.

        Parameters
        ----------
        count : int
            Position in the RF-spoiling cycle.
        arm : Arm or None
            None plays a dummy without readout gradients and ADC.
        position : float
            Slice position [m].
        partition : float
            Partition encoding [1/m].
        first, ext : int
            Extension numbers of the excitation and of the readout block.
        pause : float
            Extra time at the end [s].
        """
        add, composer, plan, pulse = self.composer.add, self.composer, self.arms.plan, self.pulse
        phase = math.radians(0.5 * self.increment_deg * count * (count + 1) % 360.0)
        add(Block(duration=self.t_excite, rf=pulse.rf(phase, position), gz=pulse.gradient, ext=first))
        before, end = (arm.before, arm.end) if arm else ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
        areas = (before[0], before[1], before[2] + partition - pulse.after)
        x, y, z = (composer.gradient(a, self.encode) for a in areas)
        add(Block(duration=self.t_encode, gx=x, gy=y, gz=z))
        adc = 0
        if arm:
            adc = composer.adc(num=plan.num, dwell=plan.dwell, delay=plan.adc_delay, phase=phase)
        read = arm.read if arm else (0, 0, 0)
        add(Block(duration=plan.duration, gx=read[0], gy=read[1], gz=read[2], adc=adc, ext=ext))
        areas = (-end[0], -end[1], self.moment - pulse.before - partition - end[2])
        x, y, z = (composer.gradient(a, self.rewind) for a in areas)
        add(Block(duration=self.t_rewind + pause, gx=x, gy=y, gz=z))


def compose_arms(composer: Composer, protocol: Protocol, arms: Arms, noise_samples: int) -> BuildReport:
    """Play all arms: partitions of a stack or slices inside, arms outside; RF spoiling throughout."""
    assert protocol.trajectory is not None
    raster, tr, selection = composer.block_raster, protocol.timing.tr, protocol.selection
    sliced = selection.mode == "slices"
    groups = slice_groups(selection) if sliced else [[0]]
    spacing = down(tr / max(len(g) for g in groups) + 1e-9, raster)
    kernel = ArmKernel(composer, protocol, arms, spacing)
    positions = slice_positions(selection).tolist() if sliced else [0.0]
    add_noise_scan(composer, arms.plan, noise_samples)
    numbers = [None] * protocol.timing.dummy_shots + list(range(protocol.trajectory.arms))
    readouts = shots = 0
    for group in groups:
        rest = down(tr - len(group) * spacing + 0.5 * raster, raster)
        count = 0
        for number in numbers:
            arm = None if number is None else arms.arm(number)
            for partition, kz in _partitions(protocol) if number is not None else [(0, 0.0)]:
                for place, member in enumerate(group):
                    labels = {"NOISE": 0, "SLC": member, "LIN": number or 0, "PAR": partition}
                    kernel.play(
                        count,
                        arm,
                        position=positions[member],
                        partition=kz,
                        first=composer.labels(**labels),
                        pause=rest if place == len(group) - 1 else 0.0,
                    )
                    shots, readouts = shots + 1, readouts + int(arm is not None)
                count += 1
    return _report(kernel, readouts, shots, tr)


def _partitions(protocol: Protocol) -> list[tuple[int, float]]:
    """Partition numbers and their k [1/m] of a stack; one without encoding for slices and balls."""
    count = protocol.geometry.matrix[2]
    assert protocol.trajectory is not None
    if count == 1 or protocol.trajectory.kooshball:
        return [(0, 0.0)]
    return [(n, (n - count // 2) / protocol.geometry.fov[2]) for n in range(count)]


def _report(kernel: ArmKernel, readouts: int, shots: int, tr: float) -> BuildReport:
    plan, protocol, composer = kernel.arms.plan, kernel.protocol, kernel.composer
    points = protocol.geometry.matrix[0] * protocol.readout.oversampling
    assert protocol.trajectory is not None
    extra = {
        "Trajectory": protocol.sequence,
        "Arms": protocol.trajectory.arms,
        "ArmOrder": protocol.trajectory.order,
        **kernel.arms.definitions(),
    }
    return BuildReport(
        scan_time=float(sum(composer.seq.block_durations.values())),
        tr=down(tr + 0.5 * composer.block_raster, composer.block_raster),
        te=kernel.te,
        ti=None,
        echo_spacing=None,
        bandwidth=1.0 / (points * plan.dwell),
        center_echo=0,
        center_sample=plan.center,
        samples=plan.num,
        dwell=plan.dwell,
        readouts=readouts,
        shots=shots,
        spoiler_moment=kernel.moment,
        rf_spoil_increment=math.radians(kernel.increment_deg),
        extra=extra,
    )


def arm_angles(arms: int, order: str, whole: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Angle of each arm [rad]: golden steps of ``whole * 0.618``, or `whole` divided evenly."""
    number = np.arange(arms)
    return np.asarray(number * whole * GOLDEN if order == "golden" else number * whole / arms)

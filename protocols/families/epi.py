"""Echo-planar series: volumes of slices or slice groups, calibration, dummies, diffusion, blip polarities."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..cards.protocol import Protocol
from .composer import Block, BuildError, Composer, down
from .diffusion import DiffusionPlan
from .epi_kernel import EpiKernel, Lobes
from .epi_line import EpiLine
from .epi_train import Segment, reference_segments, segments
from .fat_saturation import FatSaturation
from .gre import add_noise_scan
from .multiband import band_slices, peak_b1
from .readout import ReadoutPlan
from .report import BuildReport


def compose_epi(composer: Composer, protocol: Protocol, noise_samples: int) -> BuildReport:
    """2D gradient- or spin-echo EPI.

    Order: noise, calibration (where the card asks for it), dummies, volumes. A volume plays its shots one
    after the other, each over all slice groups.

    Raises
    ------
    BuildError
        If TE, echo spacing, b-value or TR cannot be met; names the minimum.
    """
    return EpiSeries(composer, protocol).play(noise_samples)


class EpiSeries:
    """All shots of a card."""

    def __init__(self, composer: Composer, protocol: Protocol) -> None:
        assert protocol.epi is not None
        self.composer, self.protocol, self.epi = composer, protocol, protocol.epi
        self.kernel = EpiKernel(composer, protocol)
        self.fat = FatSaturation(composer, self.kernel.spoiler_moment) if self.epi.fat_saturation else None
        caipi = self.epi.caipi_shift > 1
        self.segments = {p: segments(protocol, p, caipi) for p in sorted(set(self.epi.phase_polarity))}
        self.calibration = reference_segments(protocol) if self.epi.reference_scan else []
        self.plan: DiffusionPlan | None = None
        te = protocol.timing.te
        if protocol.diffusion is not None:
            central = [self._central(p) for p in self.segments]
            self.plan = DiffusionPlan(self.kernel, protocol.diffusion, te, central)
            te = self.plan.te
        self.te = te
        every = [s for group in self.segments.values() for s in group] + self.calibration
        self.kernel.check_te(every, te)
        self.groups = band_slices(protocol.selection, self.epi.multiband)
        self.slot = self._slot(every)

    def _central(self, polarity: int) -> Segment:
        """Train that holds the k-space centre."""
        middle = self.protocol.geometry.matrix[1] // 2
        return next(s for s in self.segments[polarity] if middle in s.lines.tolist())

    def _slot(self, every: list[Segment]) -> float:
        """Time of one slice group [s]: TR divided evenly."""
        tr, raster = self.protocol.timing.tr, self.composer.block_raster
        slot = down(tr / len(self.groups), raster)
        busy = max(self.kernel.duration(s, self.te) for s in every) + (self.fat.duration if self.fat else 0.0)
        if slot < busy - 1e-9:
            raise BuildError(
                f"timing.tr must be at least {busy * len(self.groups):.6f} s for {len(self.groups)} slice "
                f"groups; got {tr} s"
            )
        return slot

    @property
    def volumes(self) -> int:
        """Repetitions."""
        return self.epi.volumes if self.plan is None else int(self.plan.b.size)

    def polarity(self, volume: int) -> int:
        """Blip direction of a volume."""
        return self.epi.phase_polarity[volume % len(self.epi.phase_polarity)]

    def play(self, noise_samples: int) -> BuildReport:
        """Append everything and report it."""
        line = self.kernel.train.line
        add_noise_scan(self.composer, _noise_plan(line), noise_samples)
        for shot, segment in enumerate(self.calibration):
            single = [[number] for group in zip(*self.groups, strict=True) for number in group]
            self._pass(segment, single, {"REP": 0, "SEG": shot, "REF": 1, "IMA": 0, "SMS": 0})
        for _ in range(self.protocol.timing.dummy_shots):
            self._pass(self.segments[self.polarity(0)][0], self.groups, None)
        for volume in range(self.volumes):
            polarity = self.polarity(volume)
            lobes = self._lobes(volume, polarity)
            for shot, segment in enumerate(self.segments[polarity]):
                labels = {"REP": volume, "SEG": shot, "REF": 0, "IMA": 0, "SMS": int(self.epi.multiband > 1)}
                self._pass(segment, self.groups, labels, lobes)
        return self._report()

    def _lobes(self, volume: int, polarity: int) -> Lobes | None:
        if self.plan is None or self.plan.b[volume] == 0.0:
            return None
        return self.plan.lobes(volume, list(self.segments).index(polarity))

    def _pass(
        self,
        segment: Segment,
        groups: list[list[int]],
        labels: dict[str, int] | None,
        lobes: Lobes | None = None,
    ) -> None:
        """One shot of every slice group; without labels a dummy."""
        composer, rest = self.composer, 0.0
        if groups is self.groups:
            rest = self.protocol.timing.tr - len(groups) * self.slot
        for number, slices in enumerate(groups):
            excited = self.kernel.events(slices)
            blocks = self.kernel.blocks(segment, excited, self.te, lobes=lobes, read=labels is not None)
            if self.fat:
                blocks = [self.fat.block, *blocks]
            values = {"NOISE": 0} if labels is None else {"NOISE": 0, "SLC": excited.slice, **labels}
            blocks[0] = dataclasses.replace(blocks[0], ext=composer.labels(**values))
            pause = self.slot - sum(block.duration for block in blocks)
            if number == len(groups) - 1:
                pause += rest
            pause = down(pause + 0.5 * composer.block_raster, composer.block_raster)
            for block in blocks:
                composer.add(block)
            if pause > 0.0:
                composer.add(Block(duration=pause))

    # -- report ---------------------------------------------------------------------------------------------

    def _report(self) -> BuildReport:
        kernel, line, protocol = self.kernel, self.kernel.train.line, self.protocol
        central = self._central(self.polarity(0))
        raster = self.composer.block_raster
        lines = sum(s.lines.size for v in range(self.volumes) for s in self.segments[self.polarity(v)])
        calibration = sum(s.lines.size for s in self.calibration) * protocol.selection.n_slices
        return BuildReport(
            scan_time=float(sum(self.composer.seq.block_durations.values())),
            tr=down(protocol.timing.tr + 0.5 * raster, raster),
            te=kernel.te(central, self.te),
            ti=None,
            echo_spacing=line.spacing,
            bandwidth=1.0 / (line.num * line.dwell),
            center_echo=central.center,
            center_sample=line.num // 2,
            samples=line.num,
            dwell=line.dwell,
            readouts=int(lines) * len(self.groups) + int(calibration),
            shots=(protocol.timing.dummy_shots + self.volumes * self.epi.shots) * len(self.groups)
            + len(self.calibration) * protocol.selection.n_slices,
            spoiler_moment=kernel.spoiler_moment[0],
            rf_spoil_increment=0.0,
            extra=self._definitions(),
        )

    def _definitions(self) -> dict[str, Any]:
        kernel, epi, line = self.kernel, self.epi, self.kernel.train.line
        effective = line.spacing / kernel.train.stride
        pulses = [p for p in (kernel.group_excitation, kernel.group_refocusing) if p is not None]
        entries: dict[str, Any] = {
            "Trajectory": "epi",
            "EffectiveEchoSpacing": effective,
            "TotalReadoutTime": effective * (self.protocol.geometry.matrix[1] - 1),
            "PhasePolarity": [self.polarity(volume) for volume in range(self.volumes)],
            "Shots": epi.shots,
            "Volumes": self.volumes,
            "MultibandFactor": epi.multiband,
            "MultibandCaipiShift": epi.caipi_shift,
            "MultibandBlip": kernel.train.caipi_step,
            "EpiRamp": line.ramp(),
            "PeakB1": max(peak_b1(pulse) for pulse in pulses),
        }
        if self.plan is not None:
            shape = self.plan.timing.shape
            entries["BValues"] = [float(b) for b in self.plan.b]
            entries["BDirections"] = [round(float(v), 9) for v in self.plan.direction.ravel()]
            entries["DiffusionLobe"] = [shape.rise, shape.flat]
        return entries


def _noise_plan(line: EpiLine) -> ReadoutPlan:
    """Readout plan for the noise scan, which needs the dwell time."""
    return ReadoutPlan(
        shape=line.shape,
        amplitude=line.amplitude,
        dwell=line.dwell,
        adc_delay=line.adc_delay,
        num=line.num,
        center=line.num // 2,
        duration=line.spacing,
    )

"""Spiral gradient echoes: 2D slices and stacks of spirals, interleaved, with variable density."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from ..cards.protocol import Protocol
from .arms import Arm, Arms, arm_angles, compose_arms
from .composer import BuildError, Composer, Trapezoid, up
from .readout import ReadoutPlan
from .report import BuildReport
from .spiral_design import design_spiral
from .waveforms import extended_gradient


def compose_spiral(composer: Composer, protocol: Protocol, noise_samples: int) -> BuildReport:
    """Outward spirals; TE counts to their first sample.

    Raises
    ------
    BuildError
        If bandwidth, TE or TR cannot be met; names what can.
    """
    return compose_arms(composer, protocol, Spirals(composer, protocol), noise_samples)


class Spirals(Arms):
    """Rotations of one interleaf.

    The readout bandwidth gives the dwell time and with it the largest gradient: the spiral moves by at most
    one step of the oversampled field of view per sample.
    """

    def __init__(self, composer: Composer, protocol: Protocol) -> None:
        trajectory, geometry, limits = protocol.trajectory, protocol.geometry, composer.scanner.gradients
        assert trajectory is not None
        if geometry.matrix[0] != geometry.matrix[1] or not math.isclose(geometry.fov[0], geometry.fov[1]):
            raise BuildError(
                f"geometry must be square for spirals; got {geometry.fov[:2]} m, {geometry.matrix[:2]}"
            )
        points = geometry.matrix[0] * protocol.readout.oversampling
        wanted = 1.0 / (protocol.readout.bandwidth * points)
        dwell = max(1, round(wanted / limits.adc_raster)) * limits.adc_raster
        if abs(dwell / wanted - 1.0) > 0.1:
            raise BuildError(
                f"readout.bandwidth must be within 10 % of what the ADC raster allows, such as "
                f"{1.0 / (dwell * points):.1f} Hz/px; got {protocol.readout.bandwidth} Hz/px"
            )
        fastest = 1.0 / (protocol.readout.oversampling * geometry.fov[0] * dwell)
        self.composer, self.trajectory = composer, trajectory
        self.design = design_spiral(
            fov=geometry.fov[0],
            radius=0.5 * geometry.matrix[0] / geometry.fov[0],
            arms=trajectory.arms,
            edge_density=trajectory.edge_density,
            amplitude=min(fastest, composer.max_amplitude),
            slew=composer.max_slew,
            raster=composer.raster,
        )
        start = up(limits.adc_dead_time, max(composer.raster, limits.rf_raster))
        num = 2 * math.ceil(0.5 * self.design.readout / dwell - 1e-9)
        end = max(start + float(self.design.times[-1]), start + num * dwell + limits.adc_dead_time)
        self.start = start
        self.plan = ReadoutPlan(
            shape=Trapezoid(rise=0.0, flat=float(self.design.times[-1])),
            amplitude=0.0,
            dwell=dwell,
            adc_delay=start,
            num=num,
            center=0,
            duration=up(end, composer.block_raster),
        )
        self.reach = float(np.hypot(*self.design.end))
        self.angles = arm_angles(trajectory.arms, trajectory.order, 2.0 * math.pi)
        self._known: dict[int, Arm] = {}

    def later(self, shift: float) -> None:
        """Start spiral and ADC later by whole gradient rasters."""
        steps = math.floor(shift / self.composer.raster + 1e-6)
        move = round(steps * self.composer.raster, 12)
        self.start = round(self.start + move, 12)
        self.plan = dataclasses.replace(self.plan, adc_delay=self.start)

    def arm(self, number: int) -> Arm:
        """Return interleaf `number`."""
        if number not in self._known:
            cosine, sine = math.cos(self.angles[number]), math.sin(self.angles[number])
            turn = np.array([[cosine, -sine], [sine, cosine]])
            wave, end = self.design.gradient @ turn.T, turn @ self.design.end
            times = self.start + self.design.times
            x, y = (extended_gradient(self.composer, times, wave[:, axis]) for axis in (0, 1))
            self._known[number] = Arm(
                read=(x, y, 0), before=(0.0, 0.0, 0.0), end=(float(end[0]), float(end[1]), 0.0)
            )
        return self._known[number]

    def definitions(self) -> dict[str, Any]:
        """Spiral readout time [s] and edge density."""
        return {
            "SpiralReadout": self.design.readout,
            "SpiralEdgeDensity": self.trajectory.edge_density,
        }

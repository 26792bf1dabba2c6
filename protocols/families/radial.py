"""Radial gradient echoes: 2D slices, stacks of stars, and spokes over the whole sphere."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..cards.protocol import Protocol
from ..sequence import FloatArray
from .arms import Arm, Arms, Vector, arm_angles, compose_arms
from .composer import BuildError, Composer
from .readout import plan_readout
from .report import BuildReport

_MEANS = (0.4656, 0.6823)
"""Two-dimensional golden means (Chan et al. 2009, doi:10.1002/mrm.21837)."""


def compose_radial(composer: Composer, protocol: Protocol, noise_samples: int) -> BuildReport:
    """Spokes through the k-space centre, each turned against the one before.

    Raises
    ------
    BuildError
        If bandwidth, TE or TR cannot be met; names what can.
    """
    return compose_arms(composer, protocol, Spokes(composer, protocol), noise_samples)


def spoke_directions(arms: int, order: str, *, ball: bool) -> FloatArray:
    """Give unit vectors of the spokes in logical axes, shape (arms, 3).

    In the plane: golden angle of 111.25 degrees (Winkelmann et al. 2007, doi:10.1109/TMI.2006.885337) or even
    division of the half turn. Over the sphere: 2D golden means, or a spiral of the golden angle from
    pole to equator.
    """
    if not ball:
        angle = arm_angles(arms, order, math.pi)
        return np.stack([np.cos(angle), np.sin(angle), np.zeros(arms)], axis=1)
    number = np.arange(arms)
    if order == "golden":
        z, turn = number * _MEANS[0] % 1.0, 2.0 * np.pi * (number * _MEANS[1] % 1.0)
    else:
        z, turn = 1.0 - (number + 0.5) / arms, number * math.pi * (3.0 - math.sqrt(5.0))
    radius = np.sqrt(1.0 - z**2)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn), z], axis=1)


class Spokes(Arms):
    """Trapezoidal readouts along given directions."""

    def __init__(self, composer: Composer, protocol: Protocol) -> None:
        trajectory, geometry = protocol.trajectory, protocol.geometry
        assert trajectory is not None
        axes = 3 if trajectory.kooshball else 2
        if not np.allclose(geometry.voxel_size[:axes], geometry.voxel_size[0]):
            raise BuildError(
                f"geometry must have equal voxels along the {axes} axes of the spokes; "
                f"got {geometry.voxel_size} m"
            )
        if len(set(geometry.matrix[:axes])) > 1:
            raise BuildError(f"geometry.matrix must be equal along {axes} axes; got {geometry.matrix}")
        self.composer = composer
        self.plan = plan_readout(composer, protocol)
        slack = self.plan.amplitude * composer.block_raster
        self.reach = max(self.plan.area_to_center, self.plan.area - self.plan.area_to_center) + slack
        self.directions = spoke_directions(trajectory.arms, trajectory.order, ball=trajectory.kooshball)

    def later(self, shift: float) -> None:
        """Start the ADC later; the flat top has room for it."""
        self.plan = self.plan.later(shift, self.composer.scanner.gradients.rf_raster)

    def arm(self, number: int) -> Arm:
        """Return spoke `number`."""
        plan, direction = self.plan, self.directions[number]
        x, y, z = (self.composer.gradient_amplitude(plan.amplitude * float(d), plan.shape) for d in direction)
        return Arm(
            read=(x, y, z),
            before=_scaled(direction, -plan.area_to_center),
            end=_scaled(direction, plan.area - plan.area_to_center),
        )

    def definitions(self) -> dict[str, Any]:
        """Nothing beyond the common entries."""
        return {}


def _scaled(direction: FloatArray, length: float) -> Vector:
    x, y, z = (length * float(d) for d in direction)
    return x, y, z

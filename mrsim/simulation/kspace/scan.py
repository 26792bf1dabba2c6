"""What all readouts of one scan share."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from ..options import SimulationOptions
from ..scanned import ScannedObject
from .deviations import Deviations
from .diffusing import Weighting
from .encode import Grid
from .encoders import Tracks
from .path import Readouts
from .played import HOMOGENEOUS
from .slices import Selection
from .spins import Window
from .train import Timeline


@dataclass(frozen=True, kw_only=True, eq=False)
class Movement:
    """Rigid motion of the body at every readout, logical axes: x' = rotation @ x + shift.

    rotation : (R, 3, 3);  shift : (R, 3) [m].
    """

    rotation: np.ndarray
    shift: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Scan:
    """All that the parts of one scan share."""

    line: Timeline
    obj: ScannedObject
    readouts: Readouts
    scale: np.ndarray
    offset: np.ndarray
    movement: Movement | None
    weighting: Weighting | None
    options: SimulationOptions
    shift: np.ndarray
    chosen: Selection | None
    deviations: Deviations
    follow_k: bool

    @property
    def threads(self) -> int:
        """Threads that may run side by side."""
        return self.options.threads or len(os.sched_getaffinity(0))

    @property
    def coordinate(self) -> np.ndarray | None:
        """Position along the direction of slice selection as the gradients see it [m]."""
        if self.chosen is None:
            return None
        n = self.chosen.direction
        return self.obj.coordinate_along(n @ self.scale) + np.float32(n @ self.offset)

    def tracks(self, members: np.ndarray) -> Tracks:
        """Where some readouts of equal length lie, in the body's own coordinates."""
        ro = self.line.readouts if self.follow_k else self.readouts
        pattern, of = np.unique(ro.pattern[members], return_inverse=True)
        start = ro.base[members, :3] @ self.scale
        course = np.stack([ro.offsets[p][:, :3] @ self.scale for p in pattern])
        if self.movement is None:
            return Tracks(start=start, course=course, of=of.reshape(-1))
        turn = self.movement.rotation[members]
        turned = np.einsum("rjk,rkl->rjl", course[of.reshape(-1)], turn)
        return Tracks(start=np.einsum("rk,rkl->rl", start, turn), course=turned, of=np.arange(members.size))

    def demanded(self, r: int) -> np.ndarray:
        """Spatial frequencies (J, 3) of a readout that its Fourier transform takes [1/m]."""
        # Small deviations from the demanded k are a modulation.
        ro = self.line.readouts if self.follow_k else self.readouts
        return np.asarray(ro.base[r, :3] + ro.offsets[ro.pattern[r]][:, :3])

    def factor(self, r: int) -> np.ndarray:
        """Factor (J,) of the samples of a readout that is the same for all spins."""
        ro = self.readouts
        pattern = ro.offsets[ro.pattern[r]]
        k = self.demanded(r)
        turns = k @ self.offset
        if ro.base.shape[1] > 3:
            turns = turns + ro.base[r, HOMOGENEOUS] + pattern[:, HOMOGENEOUS]
        if self.movement is not None:
            turns = turns + (k @ self.scale) @ self.movement.shift[r]
        turns = turns - ro.freq[r] * ro.dwell[r] * np.arange(len(pattern))
        return np.asarray(np.exp(-2j * np.pi * turns), dtype=np.complex64)


def window_grid(grid: Grid, window: Window) -> Grid:
    """Grid of a window's voxels."""
    phase, part, read = window.part
    start = (read.start, phase.start, part.start)
    shape = (window.shape[2], window.shape[0], window.shape[1])
    x, y, z = (grid.first[i] + grid.spacing[i] * start[i] for i in range(3))
    return Grid(shape=shape, spacing=grid.spacing, first=(x, y, z))

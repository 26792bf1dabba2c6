"""From a Pulseq sequence to operations that do not know positions: free precession, pulses, readouts.

Convention. Spins turn as M+ = Mx + i My ~ exp(-2 pi i phase) with phase = integral of gamma-bar G.r + df, and
a B1 along x turns +z to +y. Pulseq's RF and receiver phases count in the other sense (a carrier offset +f
excites where the gradient adds +f), so they enter with the sign -1; JEMRIS plays them with +1. The raw data
are then s = sum M+ exp(-i sign phase_adc), with k-space exp(-2 pi i k.r) either way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ..gradients import GradientSystem
from .fields import FieldLayout
from .pulse_library import Stepping
from .tables import Ops, Pulses, Steps


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoding:
    """How positions are encoded, the same for all spins.

    layout : encoding fields;  rotation : logical to world axes (3, 3);  system : the gradient system;
    pose : of a moving rigid body, gives at times (n,) [s] the rotation (n, 3, 3) and origin (n, 3) [m] with
    r(t) = R r0 + origin, else None;  f0 : centre frequency [Hz];  sign : of RF and receiver phases;
    longest : samples of a run at most;  tolerance : phase error of a run [cycles];
    deforms : whether the body changes its shape;  path : whether the b-value of the echo path is followed;
    walk : whether spins diffuse at random;
    stepping : of RF pulses;
    drift : of the centre frequency [Hz/s], nothing at time 0.
    """

    layout: FieldLayout
    rotation: np.ndarray
    system: GradientSystem
    pose: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] | None
    f0: float
    sign: float
    longest: int
    tolerance: float
    deforms: bool
    path: bool
    walk: bool
    stepping: Stepping
    drift: float = 0.0

    @property
    def repeats(self) -> bool:
        """Whether equal blocks are encoded equally, wherever they are played."""
        return not (self.pose or self.deforms or self.system.changes_waveforms or self.drift)


@dataclass(frozen=True, kw_only=True, eq=False)
class Window:
    """A stretch of the sequence, compiled.

    ops, steps : operations and readout steps;  samples : how many ADC samples it has;
    receiver : (samples,) receiver phase to take off [rad];  knots : times of the coordinates [s];
    pulses : all pulses that the operations refer to.
    """

    ops: Ops
    steps: Steps
    samples: int
    receiver: np.ndarray
    knots: np.ndarray
    pulses: Pulses


@dataclass
class Rows:
    """Columns of the operations while they are collected."""

    kind: list[int] = field(default_factory=list)
    time: list[float] = field(default_factory=list)
    dphi: list[np.ndarray] = field(default_factory=list)
    link: list[int] = field(default_factory=list)
    first: list[int] = field(default_factory=list)
    samples: list[int] = field(default_factory=list)
    turn: list[float] = field(default_factory=list)
    shim: list[int] = field(default_factory=list)
    path: list[float] = field(default_factory=list)
    walk: list[np.ndarray] = field(default_factory=list)

    def add(
        self, kind: int, time: float, dphi: np.ndarray, link: int = 0, first: int = 0, samples: int = 0,
        turn: float = 0.0, shim: int = 0, path: float = 0.0, walk: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        """Append one operation."""
        self.kind.append(kind)
        self.time.append(time)
        self.dphi.append(dphi)
        self.link.append(link)
        self.first.append(first)
        self.samples.append(samples)
        self.turn.append(turn)
        self.shim.append(shim)
        self.path.append(path)
        self.walk.append(_NO_WALK if walk is None else walk)

    def table(self, fields: int, walk: bool) -> Ops:
        """Arrays for the kernels."""
        return Ops(
            kind=np.array(self.kind, np.int8), time=np.array(self.time, float),
            dphi=np.array(self.dphi, float).reshape(-1, fields), link=np.array(self.link, np.int64),
            first=np.array(self.first, np.int64), samples=np.array(self.samples, np.int64),
            turn=np.array(self.turn, float), shim=np.array(self.shim, np.int64),
            path=np.array(self.path, float),
            walk=np.array(self.walk, float).reshape(-1, 5) if walk else np.zeros((0, 5)),
        )  # fmt: skip


_NO_WALK = np.zeros(5)

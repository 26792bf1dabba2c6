"""Choices of the exact Bloch engine."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Literal, get_args

Precision = Literal["single", "double"]
PhaseConvention = Literal["pulseq", "jemris"]
Diffusion = Literal["none", "random_walk", "attenuation"]


@dataclass(frozen=True, kw_only=True)
class BlochOptions:
    """How the exact Bloch engine computes.

    Attributes
    ----------
    precision : {'single', 'double'}
        Of the magnetization. Phases are formed and reduced in double either way, signals are summed over
        blocks of spins in double.
    spins_per_voxel : int
        Spins that stand for a point that has a voxel (`PointCloud.expand`); 1 takes points as isochromats.
    phase_convention : {'pulseq', 'jemris'}
        Sense of RF and receiver phases. Pulseq: a carrier offset +f excites where the gradient adds +f.
        JEMRIS (and KomaMRI's phases): the opposite sense against the same precession.
    diffusion : {'none', 'random_walk', 'attenuation'}
        Random walk of every spin, exact in distribution for any waveform (not during RF pulses), or analytic
        attenuation exp(-b D) along the echo path that Pulseq's k-space convention follows.
    rf_tolerance : float
        Error of a pulse [M0] that its time steps may leave by splitting relaxation from rotation, and by
        taking the mean of fields that change during a step; else it is exact for the stored waveform.
    phase_tolerance : float
        Largest phase error [cycles] of a readout sample by the recurrence's quadratic runs, in double
        precision; single precision allows 1e-6.
    motion_step : float
        Longest time over which the path of a deforming body is taken as straight [s].
    threads : int, optional
        Threads; all cores by default. The result does not depend on it.
    device : str
        'cpu', or 'cuda:0' and so on.
    """

    precision: Precision = "single"
    spins_per_voxel: int = 1
    phase_convention: PhaseConvention = "pulseq"
    diffusion: Diffusion = "none"
    rf_tolerance: float = 1e-6
    phase_tolerance: float = 1e-10
    motion_step: float = 1e-3
    threads: int | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name, kind in (
            ("precision", Precision), ("phase_convention", PhaseConvention), ("diffusion", Diffusion)
        ):  # fmt: skip
            if getattr(self, name) not in get_args(kind):
                raise ValueError(
                    f"{name} must be one of {', '.join(get_args(kind))}; got {getattr(self, name)!r}."
                )
        for name, low, high in (
            ("spins_per_voxel", 1, 4096), ("rf_tolerance", 1e-12, 1e-1), ("phase_tolerance", 1e-12, 1e-2),
            ("motion_step", 1e-6, 1.0),
        ):  # fmt: skip
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must be {low:g}..{high:g}; got {getattr(self, name)}.")
        if re.fullmatch(r"cpu|cuda:\d{1,3}", self.device) is None:
            raise ValueError(f"device must be cpu or cuda:N; got {self.device!r}.")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads must be at least 1; got {self.threads}.")

    @property
    def sign(self) -> float:
        """Factor of RF and receiver phases in the engine's frame."""
        return -1.0 if self.phase_convention == "pulseq" else 1.0

    @property
    def workers(self) -> int:
        """Number of threads."""
        if self.threads is not None:
            return self.threads
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

"""Accuracy and switches of the k-space engine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SimulationOptions:
    """Accuracy and switches of the engine.

    Parameters
    ----------
    channels : int, optional
        Loops of the receive array, None = the scanner record's number.
    tolerance : float
        Relative error that the compression of the signal may leave.
    b1_nodes : int
        B1+ values at which the phase graph runs (Chebyshev nodes, polynomial in between).
    max_states : int
        Highest coherence order of the phase graph.
    b0, b1, coils, noise : bool
        Switch off-resonance, transmit field, receive array, receiver noise.
    chemical_shift : bool
        Whether tissues have theirs.
    slice_profile : bool
        Whether selective pulses have their profile, or the box of its half maxima (k-space engine).
    exact_distortion : bool
        Whether voxels are transformed from where nonlinear gradients put them (a NUFFT for every image), or
        the object is resampled to there once (trilinear, as a turned head is).
    threads : int, optional
        Threads of the phase graphs and images, None = all cores; the result does not depend on it.
    """

    channels: int | None = None
    tolerance: float = 1e-3
    b1_nodes: int = 9
    max_states: int = 256
    b0: bool = True
    b1: bool = True
    coils: bool = True
    noise: bool = True
    chemical_shift: bool = True
    slice_profile: bool = True
    exact_distortion: bool = False
    threads: int | None = None

    def __post_init__(self) -> None:
        if not 1e-7 <= self.tolerance < 0.5:
            raise ValueError(f"tolerance must lie in [1e-7, 0.5); got {self.tolerance}. Try 1e-3.")
        for name, least in (("b1_nodes", 1), ("max_states", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}; got {getattr(self, name)}.")
        if self.channels is not None and self.channels < 1:
            raise ValueError(f"channels must be at least 1; got {self.channels}.")

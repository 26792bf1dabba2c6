"""The exact Bloch engine: any Pulseq sequence on any cloud of spins."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from phantoms import PointCloud
from protocols import Sequence

from .encoding import Machine, compiler_of, field_layout, moves_rigidly
from .fields import spatial_factors
from .gpu import GpuProcessor
from .lineshape import lineshape
from .options import BlochOptions
from .processor import Processor
from .program import Window
from .pulse_library import carrier_offsets
from .tables import Spins

BATCH = 1 << 20
"""Spins at a time: what bounds the memory beside the signal."""
_KEPT_BLOCKS = 1_000_000
"""Longest sequence [blocks] whose compiled windows are kept for the next million spins."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Signal:
    """Signal of a whole sequence.

    samples : (coils, samples) complex128 of all ADC events one after the other, receiver phase taken off;
    magnetization : (3, n) at the end of the sequence, of the cloud's points (sum over a point's spins);
    report : what was computed, JSON-able.
    """

    samples: np.ndarray
    magnetization: np.ndarray
    report: dict[str, Any] = field(default_factory=dict)


def simulate_cloud(
    cloud: PointCloud,
    sequence: Sequence,
    *,
    machine: Machine | None = None,
    options: BlochOptions | None = None,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> Signal:
    """Signal of a cloud of spins by exact integration of the Bloch equations.

    Parameters
    ----------
    cloud : PointCloud
        Spins with their relaxation, fields, coils, motion and pools.
    sequence : Sequence
        What is played (`protocols.read_seq`).
    machine : Machine, optional
        Perfect gradients at 3 T, axes as in the cloud's world, by default.
    options : BlochOptions, optional
    seed : int
        Of the placement of sub-voxel spins and of random walks; recorded in the report.
    progress : callable, optional
        Called with the share done, 0 to 1.

    Returns
    -------
    Signal

    Raises
    ------
    ValueError
        If options and cloud contradict each other, for example spins per voxel without voxels.
    """
    machine, options = machine or Machine(), options or BlochOptions()
    _check(cloud, sequence, options)
    per_point = options.spins_per_voxel
    coils = 0 if cloud.sensitivity is None else len(cloud.sensitivity)
    # Sensitivities of many coils outweigh all else that a spin has.
    points = max(BATCH // (per_point * max(coils // 4, 1)), 1)
    total: np.ndarray | None = None
    final = np.empty((3, cloud.size))
    pieces = range(0, cloud.size, points)
    windows = compiled_windows(cloud, sequence, machine, options, keep=len(pieces) > 1)
    for number, first in enumerate(pieces):
        index = np.arange(first, min(first + points, cloud.size))
        part = cloud if len(pieces) == 1 else cloud.select(index)
        if per_point > 1:
            part = part.expand(per_point, seed=_piece_seed(seed, number), common=_piece_seed(seed, 0))
        run = _Run(part, sequence, machine, options, _piece_seed(seed, number))

        def told(share: float, number: int = number) -> None:
            if progress is not None:
                progress((number + share) / len(pieces))

        heard = run.signal(windows(), told)
        total = heard if total is None else total + heard
        final[:, index] = run.magnetization.reshape(3, index.size, per_point).sum(axis=2)
    assert total is not None
    report = {
        "engine": "bloch", "spins": cloud.size * per_point, "spins_per_voxel": per_point, "seed": seed,
        "precision": options.precision, "phase_convention": options.phase_convention,
        "diffusion": options.diffusion, "device": options.device,
    }  # fmt: skip
    return Signal(samples=total * cloud.signal_scale, magnetization=final, report=report)


def compiled_windows(
    cloud: PointCloud, sequence: Sequence, machine: Machine, options: BlochOptions, *, keep: bool
) -> Callable[[], Iterable[Window]]:
    """Return what gives the windows of a sequence as often as asked; with ``keep`` they are compiled once."""
    if keep and sequence.n_blocks < _KEPT_BLOCKS:
        kept = list(compiler_of(cloud, sequence, machine, options).windows())
        return lambda: kept
    return lambda: compiler_of(cloud, sequence, machine, options).windows()


def _piece_seed(seed: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0])


def _check(cloud: PointCloud, sequence: Sequence, options: BlochOptions) -> None:
    if options.spins_per_voxel > 1 and cloud.voxel is None and not np.isfinite(cloud.t2_prime).any():
        raise ValueError(
            f"spins_per_voxel must be 1 for a cloud of isochromats without voxels or T2'; got "
            f"{options.spins_per_voxel}. Give the cloud a voxel, or simulate its points as they are."
        )
    if cloud.motion is not None and cloud.motion.resets:
        raise ValueError(
            f"the movement of {cloud.name!r} must not reset spins: spins that return fresh (spin_reset of a "
            "FlowPath) are not simulated. Give the inflow spins of its own."
        )
    channels = {w.size for w in sequence.rf_shims}
    if channels and channels != {cloud.b1.shape[0]}:
        raise ValueError(
            f"RF shims of the sequence must have one weight per transmit channel of the phantom "
            f"({cloud.b1.shape[0]}); got {sorted(channels)}."
        )
    if sequence.adc_blocks.size == 0 and sequence.rf_blocks.size == 0:
        raise ValueError("the sequence must play pulses or readouts; it has neither. Check the file.")


class _Run:
    """One batch of spins through one sequence."""

    def __init__(
        self, cloud: PointCloud, sequence: Sequence, machine: Machine, options: BlochOptions, seed: int
    ) -> None:
        self._cloud, self._sequence, self._machine, self._options = cloud, sequence, machine, options
        self._rigid = moves_rigidly(cloud, machine)
        self._deforms = cloud.motion is not None and not self._rigid
        self._layout = field_layout(machine)
        self._spins = self._build_spins(seed)
        self.magnetization = np.zeros((3, cloud.size))

    def _build_spins(self, seed: int) -> Spins:
        cloud, options = self._cloud, self._options
        kind = np.float32 if options.precision == "single" else np.float64
        weights = [np.ones(cloud.b1.shape[0], complex), *self._sequence.rf_shims]
        b1 = np.stack([w @ cloud.b1 for w in weights])
        if options.sign < 0:
            b1 = b1.conj()
        if cloud.sensitivity is None:
            coil = np.zeros((0, 2, cloud.size), kind)
        else:
            # Coils are taken in pairs; a silent one makes the number even.
            silent = np.zeros((cloud.sensitivity.shape[0] % 2, cloud.size))
            coil = _split(np.concatenate([cloud.sensitivity, silent]), kind)
        diffusing = options.diffusion != "none"
        rng = np.random.default_rng(seed)
        return Spins(
            psi=self._psi(cloud.position[None]),
            r1=(1.0 / cloud.t1).astype(kind), r2=(1.0 / cloud.t2).astype(kind), m0=cloud.m0.astype(kind),
            adc=(cloud.adc if diffusing else np.zeros(cloud.size)).astype(kind),
            b1=_split(b1, kind), coil=coil, bound=self._bound(kind),
            key=rng.integers(0, 2**64, cloud.size, np.uint64),
        )  # fmt: skip

    def _bound(self, kind: Any) -> np.ndarray:
        pool, cloud = self._cloud.bound, self._cloud
        if pool is None:
            return np.zeros((0, 0), kind)
        # Detailed balance; a point without bound protons exchanges nothing.
        present = pool.m0 > 0.0
        back = np.where(present, pool.k_f * cloud.m0 / np.where(present, pool.m0, 1.0), 0.0)
        rows = [pool.m0, np.where(present, pool.k_f, 0.0), back, 1.0 / pool.t1]
        offsets = carrier_offsets(self._sequence, self._machine.f0)
        rows += [lineshape(pool.lineshape, float(offset), pool.t2) for offset in offsets]
        return np.stack(rows).astype(kind)

    def _psi(self, position: np.ndarray) -> np.ndarray:
        center = np.zeros(3) if self._rigid else self._machine.center
        layout = replace(self._layout, knots=len(position))
        return spatial_factors(
            layout, position, self._cloud.df, center=center, coil_field=self._machine.gradients.field,
            f0=self._machine.f0,
        )  # fmt: skip

    def signal(self, windows: Iterable[Window], told: Callable[[float], None]) -> np.ndarray:
        """Play everything; (coils, samples) complex128."""
        processor = self._processor()
        parts: list[np.ndarray] = []
        whole = max(self._sequence.total_duration, 1e-12)
        for window in windows:
            psi = None
            if self._deforms:
                assert self._cloud.motion is not None
                psi = self._psi(self._cloud.motion.positions(self._cloud.position, window.knots))
            heard = processor.play(window, psi)
            parts.append(heard * np.exp(-1j * window.receiver))
            told(min(float(window.knots[0]) / whole, 1.0))
        told(1.0)
        self.magnetization = np.asarray(processor.state.m, float)
        sensitivity = self._cloud.sensitivity
        return np.concatenate(parts, axis=1)[: 1 if sensitivity is None else len(sensitivity)]

    def _processor(self) -> Processor | GpuProcessor:
        walk = self._options.diffusion == "random_walk"
        if self._options.device != "cpu":
            return GpuProcessor(self._spins, walk=walk, device=self._options.device)
        return Processor(self._spins, walk=walk, threads=self._options.workers)


def _split(values: np.ndarray, kind: Any) -> np.ndarray:
    """Complex maps (k, n) as real and imaginary parts (k, 2, n)."""
    return np.ascontiguousarray(np.stack([values.real, values.imag], axis=1), dtype=kind)

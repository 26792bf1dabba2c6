"""The exact Bloch engine: any Pulseq sequence on any cloud of spins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from phantoms import PointCloud
from protocols import Sequence

from .compiler import Compiler
from .fields import FieldLayout, spatial_factors
from .gpu import GpuProcessor
from .gradients import GradientSystem
from .lineshape import lineshape
from .options import BlochOptions
from .processor import Processor
from .program import Encoding
from .pulse_library import Stepping, carrier_offsets
from .tables import Spins

BATCH = 1 << 20
"""Spins at a time: what bounds the memory beside the signal."""
_SINGLE_TOLERANCE = 1e-6
_OUTPUT = 1 << 21
"""Values of the partial signals of one window, over all lanes and coils."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Signal:
    """Signal of a whole sequence.

    samples : (coils, samples) complex128 of all ADC events one after the other, receiver phase taken off;
    magnetization : (3, n) at the end of the sequence, of the cloud's points (mean over a point's spins);
    report : what was computed, JSON-able.
    """

    samples: np.ndarray
    magnetization: np.ndarray
    report: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class Machine:
    """The magnet and gradients a sequence is played on.

    f0 : centre frequency [Hz], for offsets in ppm and Maxwell terms;
    gradients : gradient system;  rotation : logical to world axes (3, 3);
    center : world point where the gradients count as zero [m].
    """

    f0: float = 127.7e6
    gradients: GradientSystem = field(default_factory=GradientSystem)
    rotation: np.ndarray = field(default_factory=lambda: np.eye(3))
    center: np.ndarray = field(default_factory=lambda: np.zeros(3))

    def __post_init__(self) -> None:
        if not 1e5 <= self.f0 <= 1e9:
            raise ValueError(f"f0 must be 1e5..1e9 Hz; got {self.f0}. Give hertz.")
        r = np.asarray(self.rotation, float)
        if r.shape != (3, 3) or not np.allclose(r @ r.T, np.eye(3), atol=1e-6):
            raise ValueError(f"rotation must be orthonormal (3, 3); got {r.tolist()}.")


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
    points = max(BATCH // per_point, 1)
    total: np.ndarray | None = None
    final = np.empty((3, cloud.size))
    pieces = range(0, cloud.size, points)
    for number, first in enumerate(pieces):
        index = np.arange(first, min(first + points, cloud.size))
        part = cloud if len(pieces) == 1 else cloud.select(index)
        if per_point > 1:
            part = part.expand(per_point, seed=_piece_seed(seed, number))
        run = _Run(part, sequence, machine, options, _piece_seed(seed, number))

        def told(share: float, number: int = number) -> None:
            if progress is not None:
                progress((number + share) / len(pieces))

        heard = run.signal(told)
        total = heard if total is None else total + heard
        final[:, index] = run.magnetization.reshape(3, index.size, per_point).sum(axis=2)
    assert total is not None
    report = {
        "engine": "bloch", "spins": cloud.size * per_point, "spins_per_voxel": per_point, "seed": seed,
        "precision": options.precision, "phase_convention": options.phase_convention,
        "diffusion": options.diffusion, "device": options.device,
    }  # fmt: skip
    return Signal(samples=total * cloud.signal_scale, magnetization=final, report=report)


def _piece_seed(seed: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0])


def _check(cloud: PointCloud, sequence: Sequence, options: BlochOptions) -> None:
    if options.spins_per_voxel > 1 and cloud.voxel is None and not np.isfinite(cloud.t2_prime).any():
        raise ValueError(
            f"spins_per_voxel must be 1 for a cloud of isochromats without voxels or T2'; got "
            f"{options.spins_per_voxel}. Give the cloud a voxel, or simulate its points as they are."
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
        motion = cloud.motion
        gradients = machine.gradients
        linear = gradients.field is None and not gradients.concomitant
        self._rigid = motion is not None and motion.is_rigid and linear
        self._deforms = motion is not None and not self._rigid
        self._layout = FieldLayout(maxwell=gradients.concomitant)
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

    def _encoding(self) -> Encoding:
        options, cloud = self._options, self._cloud
        scale = np.abs(self._spins.psi).max(axis=1)
        if self._deforms:
            scale[:3] = scale[:3].max() + 0.05  # room to move
        single = options.precision == "single"
        return Encoding(
            layout=self._layout, rotation=self._machine.rotation, system=self._machine.gradients,
            pose=self._pose() if self._rigid else None, f0=self._machine.f0, sign=options.sign,
            longest=16 if options.diffusion == "random_walk" else 128 if single else 512,
            tolerance=max(options.phase_tolerance, _SINGLE_TOLERANCE) if single else options.phase_tolerance,
            deforms=self._deforms, path=options.diffusion == "attenuation",
            walk=options.diffusion == "random_walk",
            stepping=Stepping(
                scale=scale, b1=float(np.abs(cloud.b1).sum(axis=0).max()) or 1.0,
                r2=float(min(np.max(1.0 / cloud.t2), 1e4)), tolerance=options.rf_tolerance,
            ),
        )  # fmt: skip

    def _pose(self) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
        motion, center = self._cloud.motion, self._machine.center
        assert motion is not None
        pivot = np.asarray(getattr(motion, "center", np.zeros(3)), float)

        def pose(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            rotation, shift = motion.pose(times)
            return rotation, pivot + shift - rotation @ pivot - center

        return pose

    def _knots(self, start: float, end: float) -> np.ndarray:
        """Return the times of the coordinates of a deforming body within a window [s]."""
        motion = self._cloud.motion
        assert motion is not None
        kinks = np.asarray(motion.knots(end), float)
        count = max(int(np.ceil((end - start) / self._options.motion_step)), 1)
        times = np.concatenate([np.linspace(start, end, count + 1), kinks[(kinks > start) & (kinks < end)]])
        times = np.unique(np.round(times, 9))
        return times if times.size > 1 else np.array([start, start + 1e-6])

    def signal(self, told: Callable[[float], None]) -> np.ndarray:
        """Play everything; (coils, samples) complex128."""
        coils = max(self._spins.coil.shape[0], 1)
        compiler = Compiler(
            self._sequence, self._encoding(), knots=self._knots if self._deforms else None,
            samples=max(_OUTPUT // (16 * coils), 1024),
        )  # fmt: skip
        processor = self._processor()
        parts: list[np.ndarray] = []
        whole = max(self._sequence.total_duration, 1e-12)
        for window in compiler.windows():
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

"""Every sequence family on a body on which the judge converges, and the two engines' difference.

The body is a set of Gaussian clouds of tissues, off the centre of the scan. The exact engine sums spins, so
its voxels must be right for it: thin along the slice, where profiles and crushers are; one spin where
transverse magnetization is gone or balanced at the next pulse; a prime number of them on a lattice where
crushers keep several coherence orders. Spins that fill a voxel carry its sinc in their samples, the k-space
engine takes it out: points in the centres are divided by it once, sub-spins twice.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from mrsim.simulation import Session, SimulationOptions, simulate
from mrsim.simulation.bloch import BlochOptions
from mrsim.simulation.bloch.scan import sample_times, simulate_bloch
from mrsim.simulation.gradients import GradientSystem
from mrsim.simulation.motion import HeadMotion
from mrsim.simulation.scanner_gradients import scanner_gradients
from phantoms import Phantom
from protocols import Prescription, Protocol, Scanner, Sequence, load_scanner, read_seq, write_seq

from . import moving
from .family_cards import CENTER, MACHINE, Family, gradient_echoes, prepared
from .family_echoes import curved, echo_planar, spin_echoes

PLACES = {
    "wm": ((0.002, 0.0, -0.0015), 0.7), "gm": ((-0.004, 0.003, 0.002), 0.2),
    "fat": ((0.0, 0.004, -0.003), 0.1),
}  # fmt: skip
VISIT = Session(b1_scale=0.93, frequency_offset=7.0, shim_error=(20.0, -15.0, 25.0))
"""Transmit calibration 7 % low, 7 Hz off, shims off by 15 to 25 Hz at 10 cm."""
DOME = 0.003
IDEAL = {"b0": False, "b1": False, "coils": False, "noise": False, "tolerance": 1e-4}
REAL = {
    "b0": True, "b1": True, "coils": True, "channels": 3, "noise": False, "tolerance": 1e-4,
    "exact_distortion": True,
}  # fmt: skip


def families() -> dict[str, Family]:
    """All families, by name."""
    return {**gradient_echoes(), **prepared(), **spin_echoes(), **echo_planar(), **curved()}


class Changed:
    """The library's tissues with some properties changed."""

    def __init__(self, table: Any, **changes: float) -> None:
        self.curves, self._table, self._changes = table.curves, table, changes

    def at(self, name, b0):
        return dataclasses.replace(self._table.at(name, b0), **self._changes)


def clouds(spacing, extent, *, tissues=("wm", "gm", "fat"), sigma=0.0055, **changes) -> Phantom:
    """Clouds of tissues around the centre of the scans, voxels along the world's axes.

    T2' and diffusion are off unless ``changes`` say otherwise. All tissues are water to the field, 0.4 ppm
    below the surroundings: the field is smooth on the voxels' scale.
    """
    counts = [int(e / h) for e, h in zip(np.broadcast_to(extent, 3), spacing, strict=True)]
    axes = [(np.arange(n) - (n - 1) / 2) * h for n, h in zip(counts, spacing, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    maps = np.stack(
        [a * np.exp(-((grid - c) ** 2).sum(axis=-1) / 2 / sigma**2) for c, a in map(PLACES.get, tissues)]
    )
    maps[:, maps.sum(axis=0) < 2e-3] = 0.0
    affine = np.diag([*spacing, 1.0])
    shift = np.add(CENTER, (0.0015, -0.001, 0.002))
    affine[:3, 3] = [a[0] + s for a, s in zip(axes, shift, strict=True)]
    body = Phantom(
        name="clouds", tissues=tissues, fractions=maps.astype(np.float32), affine=affine, chi_outside=-8.65
    )
    return body.replace(
        {"table": Changed(body.table, **{"t2_prime": np.inf, "adc": 0.0, "chi": -9.05, **changes})}
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """Of the k-space engine from the exact one: relative RMS of all samples; the best common factor."""

    error: float
    factor: complex
    notes: dict[str, Any]


def played(protocol: Protocol, scanner: Scanner, folder) -> Sequence:
    """Sequence of a card, through its file."""
    write_seq(folder / "family.seq", protocol, scanner)
    return read_seq(folder / "family.seq")


def difference(
    body: Phantom, sequence: Sequence, scanner: Scanner, prescription: Prescription, *, spins: int,
    options: SimulationOptions, gradients: GradientSystem, session: Session, motion: HeadMotion | None = None,
    judge: Phantom | None = None, only: np.ndarray | None = None, **bloch: Any,
) -> Difference:  # fmt: skip
    """Play both engines and compare the samples of all readouts.

    The exact engine draws motion from the session, so that ``motion`` goes into its cloud by hand; it plays
    ``judge`` where its body is another; ``only`` counts a part of the ADC events.
    """
    rng = np.random.default_rng
    shared = {"session": session, "options": options, "gradients": gradients}
    fast = simulate(body, sequence, scanner, prescription, rng=rng(0), motion=motion, **shared)
    with moving.body(motion):
        exact = simulate_bloch(
            judge or body, sequence, scanner, prescription, rng=rng(0), **shared,
            bloch=BlochOptions(spins_per_voxel=spins, **bloch),
        )  # fmt: skip
    axes = np.stack([prescription.read_dir, prescription.phase_dir, prescription.slice_dir])
    h = np.linalg.norm(body.affine[:3, :3], axis=0)
    r, ours, truth = fast.readouts, [], []
    at = sample_times(sequence)
    for n, i in enumerate(r.adc):
        if only is not None and not only[i]:
            continue
        # Voxels lie along the world's axes and move with the body.
        k = (r.base[n] + r.offsets[r.pattern[n]])[:, :3] @ axes
        if motion is not None:
            k = k @ motion.matrices(at[i].mean())[0, :3, :3]
        voxel = np.prod(np.sinc(k * h), axis=1) ** (1 if spins == 1 else 2)
        ours.append(fast.data[i].ravel())
        truth.append((exact.data[i] / voxel).ravel())
    a, b = np.concatenate(ours), np.concatenate(truth)
    return Difference(
        error=float(np.linalg.norm(a - b) / np.linalg.norm(b)), factor=complex(np.vdot(b, a) / np.vdot(b, b)),
        notes=fast.recipe["engine"],
    )  # fmt: skip


def scanner() -> Scanner:
    """The machine, as smooth on the small body as it is on a head.

    Shims fitted within a centimetre would run away outside; the transmit dome is counted in the body's size.
    """
    machine = load_scanner(MACHINE)
    return dataclasses.replace(
        machine, transmit=dataclasses.replace(machine.transmit, dome=DOME),
        field=dataclasses.replace(machine.field, shim_order=0),
    )  # fmt: skip


def judged(family: Family, folder, *, real: bool, spins: int | None = None, **given: Any) -> Difference:
    """Difference on a family, ideal or with every imperfection on."""
    machine = scanner()
    body = clouds(**{**family.body, **(family.real if real else {})})
    settings: dict[str, Any] = {
        "options": SimulationOptions(**(REAL if real else {**IDEAL, "chemical_shift": True})),
        "gradients": scanner_gradients(machine) if real else GradientSystem(),
        "session": VISIT if real else Session(),
    }
    return difference(
        body, played(family.protocol, machine, folder), machine, family.protocol.prescription(),
        spins=family.spins if spins is None else spins, **{**settings, **family.bloch, **given},
    )  # fmt: skip

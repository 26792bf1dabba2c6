"""Every sequence family small: a card, a body on which the judge converges, and the two engines' difference.

The body is a set of Gaussian clouds of tissues, off the centre of the scan. The exact engine sums spins, so its
voxels must be right for it: thin along the slice, where profiles and crushers are; one spin where the transverse
magnetization is gone or balanced at the next pulse; a prime number of them on a lattice where crushers keep
several coherence orders. Spins that fill a voxel carry its sinc in their samples, the k-space engine takes it
out: points in the centres are divided by it once, sub-spins twice.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from mrsim.simulation import Session, SimulationOptions, simulate
from mrsim.simulation.bloch import BlochOptions
from mrsim.simulation.bloch.scan import simulate_bloch
from mrsim.simulation.gradients import GradientSystem
from mrsim.simulation.motion import HeadMotion
from mrsim.simulation.scanner_gradients import scanner_gradients
from phantoms import Phantom
from protocols import (
    Acceleration, Diffusion, Echoes, Epi, Geometry, Prescription, Protocol, Provenance, Readout,
    RefocusingDesign, Rf, Scanner, Sequence, Timing, Trajectory, load_scanner, read_seq, write_seq,
)  # fmt: skip
from protocols.settings import Selection

CENTER = (0.03, 0.05, 0.02)
"""Of every scan [m]: off the isocentre, where coils and Maxwell terms are felt."""
MACHINE = "siemens-prisma-3t"
PLACES = {
    "wm": ((0.002, 0.0, -0.0015), 0.7), "gm": ((-0.004, 0.003, 0.002), 0.2), "fat": ((0.0, 0.004, -0.003), 0.1),
}  # fmt: skip
VISIT = Session(b1_scale=0.93, frequency_offset=7.0, shim_error=(20.0, -15.0, 25.0))
"""Transmit calibration 7 % low, 7 Hz off, shims off by 15 to 25 Hz at 10 cm."""
DOME = 0.003
IDEAL = {"b0": False, "b1": False, "coils": False, "noise": False, "tolerance": 1e-4}
REAL = {
    "b0": True, "b1": True, "coils": True, "channels": 3, "noise": False, "tolerance": 1e-4, "exact_distortion": True
}  # fmt: skip


class Changed:
    """The library's tissues with some properties changed."""

    def __init__(self, table: Any, **changes: float) -> None:
        self.curves, self._table, self._changes = table.curves, table, changes

    def at(self, name, b0):
        return dataclasses.replace(self._table.at(name, b0), **self._changes)


def clouds(spacing, extent, *, tissues=("wm", "gm", "fat"), sigma=0.0055, **changes) -> Phantom:
    """Clouds of tissues around the centre of the scans, voxels along the world's axes.

    T2' and diffusion are off unless ``changes`` say otherwise. All tissues are water to the field, 0.4 ppm below the surroundings, so that
    the field is smooth on the voxels' scale: tens of hertz.
    """
    counts = [int(e / h) for e, h in zip(np.broadcast_to(extent, 3), spacing, strict=True)]
    axes = [(np.arange(n) - (n - 1) / 2) * h for n, h in zip(counts, spacing, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    maps = np.stack(
        [a * np.exp(-((grid - c) ** 2).sum(axis=-1) / 2 / sigma**2) for c, a in map(PLACES.get, tissues)]
    )
    maps[:, maps.sum(axis=0) < 2e-3] = 0.0
    affine = np.diag([*spacing, 1.0])
    shift = np.array(CENTER) + (0.0015, -0.001, 0.002)
    affine[:3, 3] = [a[0] + s for a, s in zip(axes, shift, strict=True)]
    body = Phantom(
        name="clouds", tissues=tissues, fractions=maps.astype(np.float32), affine=affine, chi_outside=-8.65
    )
    return body.replace(
        {"table": Changed(body.table, **{"t2_prime": np.inf, "adc": 0.0, "chi": -9.05, **changes})}
    )


def card(kind: str, **groups: Any) -> Protocol:
    """A card of a family; keyword arguments are its groups."""
    source = Provenance(source="test", verified=False)
    names = ("geometry", "timing", "rf", "readout")
    groups.setdefault("suffix", "T1w")
    return Protocol(
        name="family", title="family", study="test", scanner=MACHINE, sequence=kind,
        provenance=dict.fromkeys(names, source), **groups,
    )  # fmt: skip


def volume(*matrix: int, fov=(0.12, 0.11, 0.1)) -> Geometry:
    return Geometry(orientation="axial", fov=fov, matrix=matrix, center=CENTER)


def sliced(*matrix: int, thickness=5e-3) -> Geometry:
    return Geometry(orientation="axial", fov=(0.12, 0.12, thickness), matrix=(*matrix, 1), center=CENTER)


def slices(count=1, **fields: Any) -> Selection:
    values = {"thickness": 5e-3, "gap": 2.5e-3, "duration": 2e-3, "time_bandwidth": 4.0, **fields}
    return Selection(mode="slices", n_slices=count, **values)


SLAB = Selection(mode="slab", thickness=0.03, duration=2e-3, time_bandwidth=6.0)
FAST = Readout(bandwidth=500.0)
EPI = Readout(bandwidth=2000.0, oversampling=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """One family: what is played, on which body, and how many spins stand for a voxel in the exact engine.

    protocol : the card;  body : arguments of `clouds`;  spins : per voxel;  real : changes of the body where
    imperfections are on (T2', diffusion);  bloch : further options of the exact engine.
    """

    protocol: Protocol
    body: dict[str, Any]
    spins: int = 1
    real: dict[str, Any] = dataclasses.field(default_factory=dict)
    bloch: dict[str, Any] = dataclasses.field(default_factory=dict)


_COARSE = {"spacing": (3e-3, 3.2e-3, 3.4e-3), "extent": 0.04}
_THIN = {"spacing": (4e-3, 4.2e-3, 0.5e-3), "extent": (0.033, 0.034, 0.034)}
_SHORT = {"t2": 2e-3}
_COLUMN = {
    "spacing": (5e-3, 5.2e-3, 0.3e-3), "extent": (0.021, 0.021, 0.02), "tissues": ("wm", "fat"), "t2": 30e-3
}  # fmt: skip


def families() -> dict[str, Family]:
    """All families, by name."""
    return {**gradient_echoes(), **prepared(), **spin_echoes(), **echo_planar(), **curved()}


def gradient_echoes() -> dict[str, Family]:
    spoiled = Timing(tr=0.03, te=0.005, dummy_shots=2)
    rf = Rf(flip_deg=20.0, spoiler_cycles=4.0)
    thrice = Echoes(count=3, spacing=3.5e-3)
    steady = {
        "timing": Timing(tr=0.008, te=0.004, dummy_shots=60),
        "rf": Rf(flip_deg=40.0),
        "suffix": "bSSFP",
    }
    echo = Timing(tr=0.05, te=0.004, dummy_shots=2)
    return {
        "GRE 2D, 3 slices": Family(
            protocol=card("gre", geometry=sliced(16, 8), selection=slices(3), rf=rf, readout=FAST,
                          timing=Timing(tr=0.06, te=0.006, dummy_shots=2)),
            body={**_THIN, **_SHORT},
        ),
        "GRE 3D": Family(
            protocol=card("gre", geometry=volume(16, 12, 10), timing=spoiled, rf=rf, readout=FAST),
            body={**_COARSE, **_SHORT},
        ),
        "GRE 3D, slab": Family(
            protocol=card("gre", geometry=volume(16, 8, 8), selection=SLAB, timing=spoiled, rf=rf, readout=FAST),
            body={**_COARSE, **_SHORT, "spacing": (4e-3, 4.2e-3, 0.8e-3)},
        ),
        "multi-echo GRE, monopolar": Family(
            protocol=card("gre", geometry=volume(16, 10, 8), timing=echo, rf=rf, readout=FAST, echoes=thrice),
            body={**_COARSE, "t2": 4e-3},
        ),
        "multi-echo GRE, bipolar": Family(
            protocol=card("gre", geometry=volume(16, 10, 8), timing=echo, rf=rf, readout=FAST,
                          echoes=dataclasses.replace(thrice, polarity="bipolar")),
            body={**_COARSE, "t2": 4e-3},
        ),
        "bSSFP 3D": Family(
            protocol=card("bssfp", geometry=volume(16, 10, 8), readout=FAST, **steady), body=_COARSE,
        ),
        "bSSFP 2D": Family(
            protocol=card("bssfp", geometry=sliced(16, 8), selection=slices(1, duration=1e-3), readout=Readout(bandwidth=800.0), **steady),
            body=_THIN,
        ),
    }  # fmt: skip


def prepared() -> dict[str, Family]:
    short = {**_COARSE, "t2": 1e-3}
    train = {"echo_spacing": 0.009, "turbo_factor": 8, "dummy_shots": 1}
    rf = Rf(flip_deg=9.0, inversion="hypsec")
    return {
        "MPRAGE": Family(
            protocol=card("mprage", geometry=volume(16, 10, 8), timing=Timing(tr=0.6, te=0.003, ti=0.3, **train), rf=rf, readout=FAST),
            body=short,
        ),
        "MPRAGE, slab": Family(
            protocol=card("mprage", geometry=volume(16, 8, 8), selection=SLAB, timing=Timing(tr=0.6, te=0.004, ti=0.3, **train), rf=rf, readout=FAST),
            body={**short, "spacing": (4e-3, 4.2e-3, 0.8e-3)},
        ),
        "MP2RAGE": Family(
            protocol=card("mp2rage", geometry=volume(16, 8, 8), timing=Timing(tr=1.0, te=0.003, ti=0.25, ti2=0.6, **train),
                          rf=dataclasses.replace(rf, flip_deg=5.0, flip2_deg=7.0), readout=FAST, suffix="MP2RAGE"),
            body=short,
        ),
    }  # fmt: skip


def spin_echoes() -> dict[str, Family]:
    flat = sliced(8, 6)
    train = {"echo_spacing": 0.015, "turbo_factor": 3, "dummy_shots": 1}
    column = {"body": _COLUMN, "spins": 61}
    rf = Rf(flip_deg=90.0, refocusing_deg=(150.0,))
    half = Rf(flip_deg=90.0, refocusing_deg=(180.0,))
    inverted = dataclasses.replace(rf, inversion="hypsec")
    one = {"geometry": flat, "selection": slices(), "readout": FAST, "suffix": "T2w"}
    bar = {
        "spacing": (1e-3, 5.2e-3, 5.4e-3),
        "extent": (0.03, 0.021, 0.022),
        "tissues": ("wm", "fat"),
        "t2": 30e-3,
    }
    space = {
        "timing": Timing(tr=0.4, te=0.012, echo_spacing=0.004, turbo_factor=6, dummy_shots=1),
        "refocusing": RefocusingDesign(
            scheme="prescribed", minimum_deg=40.0, center_deg=70.0, maximum_deg=110.0
        ),
        "geometry": volume(16, 6, 4),
        "readout": Readout(bandwidth=1000.0),
    }
    return {
        "TSE 2D": Family(protocol=card("tse", timing=Timing(tr=0.4, te=0.03, **train), rf=rf, **one), **column),
        "FLAIR": Family(
            protocol=card("tse", timing=Timing(tr=1.0, te=0.03, ti=0.5, **train), rf=inverted, **{**one, "suffix": "FLAIR"}), **column,
        ),
        "TSE 3D, variable angles": Family(
            protocol=card("tse", rf=Rf(flip_deg=90.0, refocusing_duration=5e-4, excitation_duration=2e-4), suffix="T2w", **space), body=bar, spins=61,
        ),
        "DIR 3D": Family(
            protocol=card("tse", suffix="DIR", **{**space, "timing": dataclasses.replace(space["timing"], tr=1.2, ti=0.6, ti2=0.15)},
                          rf=Rf(flip_deg=90.0, refocusing_duration=5e-4, excitation_duration=2e-4, inversion="hypsec")), body=bar, spins=61,
        ),
        "SE": Family(
            protocol=card("se", timing=Timing(tr=0.4, te=0.02, dummy_shots=1), rf=half, **one), **column,
        ),
        "multi-echo SE": Family(
            protocol=card("se", timing=Timing(tr=0.4, te=0.015, dummy_shots=1), rf=half, echoes=Echoes(count=3, spacing=0.015), **{**one, "suffix": "MESE"}), **column,
        ),
        "IR-SE": Family(
            protocol=card("se", timing=Timing(tr=0.8, te=0.02, ti=0.3, dummy_shots=1), rf=dataclasses.replace(half, inversion="hypsec"), **{**one, "suffix": "IRT1"}), **column,
        ),
    }  # fmt: skip


def echo_planar() -> dict[str, Family]:
    flat = {"geometry": sliced(16, 16), "selection": slices(), "readout": EPI}
    half = Rf(flip_deg=90.0)
    long = {**_THIN, "t2": 30e-3, "tissues": ("wm", "gm", "fat")}
    small = {"geometry": sliced(12, 12), "selection": slices(), "readout": EPI, "suffix": "dwi", "rf": half}
    column = {"body": _COLUMN, "spins": 61}
    echo = Epi(spin_echo=True)
    shells = Diffusion(b_values=(1e9,), directions=(3,), b0_volumes=1)
    pair = slices(4, gap=5e-3)
    return {
        "GRE-EPI": Family(
            protocol=card("epi", timing=Timing(tr=0.5, te=0.02, dummy_shots=0), rf=Rf(flip_deg=60.0), suffix="bold", epi=Epi(), **flat),
            body=long,
        ),
        "GRE-EPI, fat saturation, partial Fourier, up and down": Family(
            protocol=card("epi", timing=Timing(tr=0.5, te=0.025, dummy_shots=0), rf=Rf(flip_deg=60.0), suffix="bold",
                          epi=Epi(fat_saturation=True, volumes=2, phase_polarity=(1, -1)),
                          acceleration=Acceleration(partial_fourier_phase=0.75), **flat),
            body=long,
        ),
        "multiband EPI, CAIPI": Family(
            protocol=card("epi", timing=Timing(tr=0.5, te=0.025, dummy_shots=0), rf=Rf(flip_deg=60.0), suffix="bold",
                          epi=Epi(multiband=2, caipi_shift=2), **{**flat, "selection": pair}),
            body=long,
        ),
        "SE-EPI": Family(protocol=card("epi", timing=Timing(tr=0.5, te=0.05, dummy_shots=0), epi=echo, **small), **column),
        "DWI, monopolar": Family(
            protocol=card("epi", timing=Timing(tr=0.5, te=0.07, dummy_shots=0), epi=echo, diffusion=shells, **small),
            **column, bloch={"diffusion": "attenuation"},
        ),
        "DWI, bipolar": Family(
            protocol=card("epi", timing=Timing(tr=0.5, te=0.09, dummy_shots=0), epi=echo,
                          diffusion=dataclasses.replace(shells, scheme="bipolar"), **small),
            **column, bloch={"diffusion": "attenuation"},
        ),
    }  # fmt: skip


def curved() -> dict[str, Family]:
    rf = Rf(flip_deg=20.0)
    stack = volume(16, 16, 8, fov=(0.12, 0.12, 0.1))
    short = {**_COARSE, **_SHORT}
    return {
        "radial, stack": Family(
            protocol=card("radial", geometry=stack, timing=Timing(tr=0.02, te=0.006, dummy_shots=2), rf=rf, readout=FAST, trajectory=Trajectory(arms=8)),
            body=short,
        ),
        "radial, 2D": Family(
            protocol=card("radial", geometry=sliced(16, 16), selection=slices(2), timing=Timing(tr=0.05, te=0.006, dummy_shots=2), rf=rf, readout=FAST, trajectory=Trajectory(arms=8)),
            body={**_THIN, **_SHORT},
        ),
        "spiral, stack": Family(
            protocol=card("spiral", geometry=stack, timing=Timing(tr=0.04, te=0.004, dummy_shots=2), rf=rf, readout=FAST, trajectory=Trajectory(arms=4)),
            body={**_COARSE, "t2": 4e-3},
        ),
    }  # fmt: skip


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
    **bloch: Any,
) -> Difference:  # fmt: skip
    """Play both engines and compare the samples of all readouts.

    The exact engine draws motion from the session, so that ``motion`` goes into its cloud by hand.
    """
    from . import moving

    rng = np.random.default_rng
    shared = {"session": session, "options": options, "gradients": gradients}
    fast = simulate(body, sequence, scanner, prescription, rng=rng(0), motion=motion, **shared)
    with moving.body(motion):
        exact = simulate_bloch(
            body, sequence, scanner, prescription, rng=rng(0), **shared,
            bloch=BlochOptions(spins_per_voxel=spins, **bloch),
        )  # fmt: skip
    axes = np.stack([prescription.read_dir, prescription.phase_dir, prescription.slice_dir])
    h = np.abs(axes) @ np.linalg.norm(body.affine[:3, :3], axis=0)
    r, ours, truth = fast.readouts, [], []
    for n, i in enumerate(r.adc):
        k = r.base[n] + r.offsets[r.pattern[n]]
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

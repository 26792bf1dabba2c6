"""One chain for the closed forms in images: card, builder, k-space engine, ISMRMRD file, reconstruction.

Cards are small, gradients perfect unless a test asks for others, and bodies have textbook values, so that
every effect can be written down.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mrsim.simulation import Session, SimulationOptions, maps, simulate, write_ismrmrd
from mrsim.simulation.engine import MICROVOLT, add_noise
from mrsim.simulation.gradients import GradientSystem
from mrsim.simulation.rawdata import RawData as Simulated
from mrsim.simulation.scanned import scan_object
from phantoms import Phantom, TissueProperties
from protocols import Protocol, Provenance, Scanner, Sequence, load_scanner, read_seq, write_seq
from protocols.cards.settings import Geometry, Readout, Rf, Selection, Timing
from recon import AcquisitionFlag, Image, RawData, ReconOptions, read_raw, reconstruct

GROUPS = ("geometry", "timing", "rf", "readout", "selection", "epi", "acceleration")
SOURCE = {g: Provenance(source="made for a test", verified=False) for g in GROUPS}
PERFECT = SimulationOptions(b0=False, b1=False, coils=False, noise=False, tolerance=1e-4)
WITH_FIELD = SimulationOptions(b0=True, b1=False, coils=False, noise=False, tolerance=1e-4)
PLAIN = ReconOptions(combine="rss", prewhiten=False, ghost_correction="none", partial_fourier="zero")
IDEAL = load_scanner("ideal-3t")


class Substances:
    """Tissue table that answers with given properties at every field: for bodies with textbook values."""

    def __init__(self, **tissues: dict[str, float]) -> None:
        self.curves = dict.fromkeys(tissues)
        self._tissues = tissues

    def at(self, name: str, b0: float) -> TissueProperties:
        values = {"t1": np.inf, "t2": np.inf, **self._tissues[name]}
        return TissueProperties(name=name, verified=True, **values)


def axis(count: int, spacing: float, center: float = 0.0) -> np.ndarray:
    """Voxel centres [m] of an axis."""
    return center + spacing * (np.arange(count) - (count - 1) / 2)


def cloud(x: np.ndarray, place: float, sigma: float) -> np.ndarray:
    """Gaussian of height 1 with standard deviation sigma: band-limited where sigma exceeds two voxels."""
    return np.exp(-0.5 * ((x - place) / sigma) ** 2)


def body(maps: dict[str, np.ndarray], axes: tuple[np.ndarray, ...], **tissues: dict[str, float]) -> Phantom:
    """Phantom of fractions (x, y, z) per substance on world axes [m]; properties by name."""
    spacing = [a[1] - a[0] if a.size > 1 else 1e-3 for a in axes]
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = [a[0] for a in axes]
    fractions = np.stack([np.asarray(m, np.float32) for m in maps.values()])
    fractions[:, fractions.sum(axis=0) < 1e-5] = 0.0
    table = Substances(**{name: tissues.get(name, {}) for name in maps})
    return Phantom(
        name="body", tissues=tuple(maps), fractions=fractions, affine=affine, table=table, chi_outside=0.0
    )


def card(
    kind: str,
    fov: tuple[float, float, float],
    matrix: tuple[int, int, int],
    *,
    timing: Timing,
    rf: Rf,
    readout: Readout,
    suffix: str = "T1w",
    **groups: object,
) -> Protocol:
    """Axial card: readout along world x, phase along y, slices along z."""
    return Protocol(
        name="small", title="small", study="closed forms", scanner="ideal-3t", sequence=kind, suffix=suffix,
        geometry=Geometry(orientation="axial", fov=fov, matrix=matrix), timing=timing, rf=rf,
        readout=readout, provenance=SOURCE, **groups,
    )  # fmt: skip


def slices(thickness: float, **changes: object) -> Selection:
    """One slice through the origin."""
    return Selection(mode="slices", thickness=thickness, duration=2e-3, time_bandwidth=4.0, **changes)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scan:
    """What one run of the chain leaves: the played sequence, the simulator's data, the file as read back."""

    sequence: Sequence
    simulated: Simulated
    raw: RawData

    def image(self, options: ReconOptions = PLAIN) -> Image:
        """Reconstruct."""
        return reconstruct(self.raw, options)


def scan(
    protocol: Protocol,
    phantom: Phantom,
    *,
    scanner: Scanner = IDEAL,
    options: SimulationOptions = PERFECT,
    gradients: GradientSystem | None = None,
    noise_samples: int = 0,
    seed: int = 0,
    **simulation: object,
) -> Scan:
    """Build, play, store and read back."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_seq(folder / "a.seq", protocol, scanner, noise_samples=noise_samples)
        sequence = read_seq(folder / "a.seq")
        simulated = simulate(
            phantom, sequence, scanner, protocol.prescription(), rng=np.random.default_rng(seed),
            options=options, gradients=gradients or GradientSystem(), **simulation,
        )  # fmt: skip
        return Scan(sequence=sequence, simulated=simulated, raw=stored(simulated, folder))


def stored(simulated: Simulated, folder: Path) -> RawData:
    """Write raw data and read the file back."""
    write_ismrmrd(folder / "raw.h5", simulated)
    return read_raw(folder / "raw.h5")


def coordinate(image: Image, along: int) -> np.ndarray:
    """World coordinates [m] of the voxels along one array axis of an image on the world's axes."""
    n = image.data.shape[along]
    return image.affine[along, along] * np.arange(n) + image.affine[along, 3]


def slice_gradient(sequence: Sequence) -> float:
    """Gradient at the centre of the first excitation [Hz/m]."""
    block = int(np.flatnonzero(sequence.rf)[0])
    pulse = sequence.rf_events[int(sequence.rf[block]) - 1]
    shape = sequence.grad_events[int(sequence.gz[block]) - 1]
    return float(np.interp(pulse.delay + pulse.center, shape.times, shape.values))


def centroid(profile: np.ndarray, x: np.ndarray, half_width: float) -> float:
    """Centre of mass within half_width of the largest value, windowed again about itself."""
    middle = float(x[np.argmax(profile)])
    for _ in range(20):
        near = np.abs(x - middle) <= half_width
        middle = float((profile * x)[near].sum() / profile[near].sum())
    return middle


@dataclass(frozen=True, kw_only=True, eq=False)
class Quiet:
    """A noiseless scan to which receiver noise can be added again and again.

    simulated : its raw data;  covariance : of the array's noise per hertz, in the data's units squared;
    receiver : the array.
    """

    simulated: Simulated
    covariance: np.ndarray
    receiver: maps.Receiver

    def with_noise(self, seed: int) -> Simulated:
        """Return raw data with fresh noise, as `simulate` adds it."""
        data = [d.copy() for d in self.simulated.data]
        sequence = self.simulated.sequence
        events = [sequence.adc_events[int(sequence.adc[b]) - 1] for b in sequence.adc_blocks]
        add_noise(data, [e.dwell for e in events], self.covariance, np.random.default_rng(seed))
        return replace(self.simulated, data=tuple(data))

    def noisy(self, seed: int) -> RawData:
        """Return them as read back from a file."""
        with tempfile.TemporaryDirectory() as name:
            return stored(self.with_noise(seed), Path(name))

    def clean(self, noisy: RawData) -> RawData:
        """Return the file of the noiseless scan with the noise scan of a noisy one: for equal whitening."""
        with tempfile.TemporaryDirectory() as name:
            raw = stored(self.simulated, Path(name))
        noise = noisy.flagged(AcquisitionFlag.NOISE)
        groups = []
        for group, other in zip(raw.groups, noisy.groups, strict=True):
            data = np.where(noise[group.index][:, None, None], other.data, group.data)
            groups.append(replace(group, data=data))
        return replace(raw, groups=tuple(groups))


def quiet(
    protocol: Protocol, phantom: Phantom, *, scanner: Scanner, options: SimulationOptions, noise_samples: int
) -> Quiet:
    """Scan without noise, and the covariance that `simulate` would have used."""
    options = replace(options, noise=False)
    done = scan(protocol, phantom, scanner=scanner, options=options, noise_samples=noise_samples)
    obj = scan_object(phantom, protocol.prescription(), scanner, Session(), options)
    unit = 1.0
    receiver = maps.uniform_receiver(obj.placed)
    if options.coils:
        unit = MICROVOLT
        receiver = maps.receiver(obj.placed, maps.Head.of(obj.placed), scanner, options.channels)
    return Quiet(simulated=done.simulated, covariance=receiver.covariance * unit**2, receiver=receiver)

"""One scan by the exact engine: phantom, sequence and scanner to raw data."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from phantoms import Phantom, PointCloud
from protocols import Prescription, Scanner, Sequence

from .. import maps
from ..artifacts import with_gain_drift, with_spikes
from ..engine import MICROVOLT, add_noise
from ..gradients import GradientSystem
from ..kspace.path import kspace_readouts
from ..noise import equilibrium_magnetization
from ..options import SimulationOptions
from ..rawdata import RawData
from ..scan_events import events_of
from ..scanned import ScannedObject, scan_object
from ..scanner_gradients import scanner_gradients
from ..session import Session
from .cost import estimated_seconds
from .encoding import Machine
from .engine import Signal, simulate_cloud
from .options import BlochOptions
from .spoiling import dephasing_notes


def scanned_cloud(
    phantom: Phantom,
    prescription: Prescription,
    scanner: Scanner,
    session: Session,
    options: SimulationOptions,
) -> tuple[PointCloud, np.ndarray]:
    """Phantom in a scanner as a cloud: one point per voxel and tissue, with the fields it meets there.

    Placement, off-resonance, transmit and receive fields are those of the k-space engine, taken at the
    centres of the voxels.

    Returns
    -------
    cloud : PointCloud in world coordinates [m], its signal in volts (or plain units without coils)
    covariance : (coils, coils) of the noise per hertz
    """
    obj = scan_object(phantom, prescription, scanner, session, options)
    head = maps.Head.of(obj.placed)
    receiver = (
        maps.receiver(obj.placed, head, scanner, options.channels)
        if options.coils
        else maps.uniform_receiver(obj.placed)
    )
    where = [np.flatnonzero(f) for f in obj.placed.fractions]
    voxel = np.concatenate(where)
    sensitivity = np.stack([m.reshape(-1)[voxel] for m in receiver.maps()]) if options.coils else None
    volts = 2 * np.pi * scanner.f0 * equilibrium_magnetization(scanner.b0) if options.coils else 1.0
    cloud = _points(obj, where, scanner.f0 if options.chemical_shift else 0.0)
    return (
        cloud.replace(
            {
                "sensitivity": sensitivity,
                "signal_scale": cloud.signal_scale * volts,
                "b0": scanner.b0,
                "name": phantom.name,
            }
        ),
        receiver.covariance,
    )


def _points(obj: ScannedObject, where: list[np.ndarray], f0: float) -> PointCloud:
    """Points of all tissues without coils."""
    placed, grid = obj.placed, obj.placed.grid
    voxel = np.concatenate(where)
    tissue = np.repeat(np.arange(len(where)), [w.size for w in where])
    phase, part, read = np.unravel_index(voxel, grid.array_shape)
    logical = np.stack([grid.axis(0)[read], grid.axis(1)[phase], grid.axis(2)[part]], axis=1)
    rotation = placed.to_world[:3, :3]
    fraction = np.concatenate([f.reshape(-1)[w] for f, w in zip(placed.fractions, where, strict=True)])
    if placed.density is not None:
        fraction = fraction * placed.density.reshape(-1)[voxel]

    def of_tissue(name: str) -> np.ndarray:
        return np.array([getattr(t, name) for t in obj.tissues], float)[tissue]

    shift = np.array([maps.tissue_shift(t, f0) for t in obj.tissues])[tissue]
    return PointCloud(
        name="scanned",
        position=logical @ rotation.T + placed.to_world[:3, 3],
        m0=fraction * of_tissue("pd"),
        t1=of_tissue("t1"),
        t2=of_tissue("t2"),
        t2_prime=of_tissue("t2_prime"),
        adc=of_tissue("adc"),
        df=obj.df.reshape(-1)[voxel].astype(float) + shift,
        b1=obj.b1.reshape(-1)[voxel].astype(complex)[None],
        voxel=rotation * np.asarray(grid.spacing),
        signal_scale=float(np.prod(grid.spacing)),
        index=voxel,
    )


def simulate_bloch(
    phantom: Phantom | PointCloud,
    sequence: Sequence,
    scanner: Scanner,
    prescription: Prescription,
    *,
    rng: np.random.Generator,
    session: Session | None = None,
    options: SimulationOptions | None = None,
    bloch: BlochOptions | None = None,
    gradients: GradientSystem | None = None,
    progress: Callable[[float], None] | None = None,
    expect: Callable[[int, float], None] | None = None,
) -> RawData:
    """Raw data of one scan by exact integration of the Bloch equations.

    Parameters
    ----------
    phantom : Phantom or PointCloud
        A phantom on a grid is placed in the scanner and meets its fields, coils and noise. A cloud is
        simulated with the fields and coils it brings, without noise.
    sequence, scanner, prescription
        As of `mrsim.simulation.simulate`.
    rng : numpy.random.Generator
        Receiver noise, and the seed of sub-voxel placement and random walks.
    session : Session, optional
        This visit: calibration and repositioning, movement of the head (of phantoms on a grid), drifts and
        spikes. The frequency drifts as a homogeneous field that grows in time.
    options : SimulationOptions, optional
        Which fields, coils and noise there are.
    bloch : BlochOptions, optional
        How the equations are integrated.
    gradients : GradientSystem, optional
        Imperfections of the gradients; by default those of the scanner record (`scanner_gradients`).
    progress : callable, optional
        Called with the share done.
    expect : callable, optional
        Called once before the work with the number of spins and the estimated time [s].

    Returns
    -------
    RawData; of a phantom with coils in microvolts, else in the units of the cloud.

    Raises
    ------
    ValueError
        If spins shall diffuse in a phantom with a diffusion model: this engine knows isotropic diffusion.
    """
    session, options = session or Session(), options or SimulationOptions()
    bloch = bloch or BlochOptions()
    if isinstance(phantom, Phantom) and phantom.diffusion is not None and bloch.diffusion != "none":
        raise ValueError(
            f"diffusion must be 'none' for a phantom with fibres; got {bloch.diffusion!r}. Take the k-space "
            "engine, or the isotropic coefficients of the table: phantom.replace({'diffusion': None})."
        )
    readouts = kspace_readouts(sequence, f0=scanner.f0)
    scale, covariance = 1.0, None
    events = events_of(sequence, session)
    if isinstance(phantom, Phantom):
        cloud, covariance = scanned_cloud(phantom, prescription, scanner, session, options)
        if events.motion is not None:
            cloud = cloud.replace({"motion": events.motion.as_phantom_motion()})
        scale = session.gain * (MICROVOLT if options.coils else 1.0)
    else:
        cloud = phantom
    axes = np.stack([prescription.read_dir, prescription.phase_dir, prescription.slice_dir], axis=1)
    machine = Machine(
        f0=scanner.f0,
        gradients=gradients or scanner_gradients(scanner),
        rotation=np.asarray(axes, float),
        center=np.asarray(prescription.center, float),
        frequency_drift=session.frequency_drift,
    )
    if expect is not None:
        spins = cloud.size * bloch.spins_per_voxel
        coils = 1 if cloud.sensitivity is None else len(cloud.sensitivity)
        double = bloch.precision == "double"
        expect(spins, estimated_seconds(sequence, spins, coils=coils, workers=bloch.workers, double=double))
    seed = int(rng.integers(0, 2**63))
    signal = simulate_cloud(cloud, sequence, machine=machine, options=bloch, seed=seed, progress=progress)
    data = _split_readouts(sequence, signal, scale)
    if options.noise and covariance is not None:
        dwell = [sequence.adc_events[int(sequence.adc[b]) - 1].dwell for b in sequence.adc_blocks]
        add_noise(data, dwell, covariance * scale**2, rng)
    data = with_gain_drift(data, sample_times(sequence), session.gain_drift)
    data = with_spikes(data, events.spikes)
    report = signal.report | {"notes": dephasing_notes(cloud, sequence, machine, bloch)}
    return RawData(
        data=tuple(data), sequence=sequence, scanner=scanner, prescription=prescription, readouts=readouts,
        recipe={"session": session.record(), "events": events.record(), "engine": report},
    )  # fmt: skip


def sample_times(sequence: Sequence) -> list[np.ndarray]:
    """Return the times of the samples of every ADC event since the start of the sequence [s]."""
    events = [sequence.adc_events[int(sequence.adc[b]) - 1] for b in sequence.adc_blocks]
    return [sequence.start[b] + e.sample_times for b, e in zip(sequence.adc_blocks, events, strict=True)]


def _split_readouts(sequence: Sequence, signal: Signal, scale: float) -> list[np.ndarray]:
    """One complex64 array (coils, samples) per ADC event."""
    counts = [sequence.adc_events[int(sequence.adc[b]) - 1].num for b in sequence.adc_blocks]
    samples = (signal.samples * scale).astype(np.complex64)
    return [np.ascontiguousarray(part) for part in np.split(samples, np.cumsum(counts)[:-1], axis=1)]

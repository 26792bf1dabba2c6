"""The signal of a scan as a short sum of Fourier transforms of images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from protocols import Prescription, Scanner, Sequence

from .. import maps
from ..gradients import GradientSystem
from ..options import SimulationOptions
from ..scanned import ScannedObject
from .axes import axes_of
from .deviations import Deviations, deviations
from .diffusing import Weighting
from .groups import readout_groups
from .histories import Played
from .part import Part
from .path import Readouts, follow, readouts_of
from .played import HOMOGENEOUS, MAXWELL, PlayedMoments
from .scan import Movement, Scan, window_grid
from .slices import SliceClass, selection_of, slice_classes
from .spins import Species, Window, window_of
from .table import SpinTable
from .train import Timeline, spoiling_error

_CRUSHED = 80.0
"""Cycles of one order across a slice's stretch above which no profile leaves anything of the others."""


def played_readouts(
    sequence: Sequence, line: Timeline, system: GradientSystem, prescription: Prescription, f0: float
) -> tuple[Timeline, Readouts]:
    """Timeline and readouts as a gradient system plays them; the nominal ones where it is perfect.

    Homogeneous fields (eddy currents) go into the phases of pulses and receiver: in the frame that turns with
    them spins see none, whatever paths their coherences take.
    """
    if not system.changes_waveforms and not system.concomitant:
        return line, line.readouts
    moments = PlayedMoments(sequence, system, prescription.rotation)
    path = follow(sequence, moments)
    found = readouts_of(sequence, path, moments, f0)
    found.base[:, HOMOGENEOUS] = moments.at_block_start[sequence.adc_blocks[found.adc], HOMOGENEOUS]
    turned = line.train.phase - 2 * np.pi * path.moment[:, HOMOGENEOUS]
    return replace(line, train=replace(line.train, phase=turned), path=path), found


def _with_mean_maxwell(
    line: Timeline, obj: ScannedObject, readouts: Readouts
) -> tuple[ScannedObject, Readouts]:
    """Maxwell terms of a balanced sequence: their mean is off-resonance, which makes the steady state."""
    if not line.balanced or obj.maxwell is None:
        return obj, readouts
    gained = np.diff(line.path.moment[:, MAXWELL:], axis=0)
    rate = np.median(gained / np.diff(line.path.center)[:, None], axis=0)
    base = readouts.base.copy()
    base[:, MAXWELL:] -= rate * readouts.tau[:, None]
    offsets = []
    for p, course in enumerate(readouts.offsets):
        dwell = readouts.dwell[np.argmax(readouts.pattern == p)]
        own = course.copy()
        own[:, MAXWELL:] -= rate * dwell * np.arange(len(course))[:, None]
        offsets.append(own)
    df = (obj.df + np.tensordot(rate, obj.maxwell, axes=1)).astype(np.float32)
    return replace(obj, df=df), replace(readouts, base=base, offsets=tuple(offsets))


def noiseless_signal(
    line: Timeline, obj: ScannedObject, receiver: maps.Receiver, scanner: Scanner, options: SimulationOptions,
    *, readouts: Readouts | None = None, scale: np.ndarray | None = None, offset: np.ndarray | None = None,
    movement: Movement | None = None, weighting: Weighting | None = None,
) -> tuple[list[np.ndarray], dict[str, float]]:  # fmt: skip
    """Compute the noise-free samples of every readout and the engine's own error figures.

    Parameters
    ----------
    line : Timeline
    obj : ScannedObject
    receiver : Receiver
    scanner, options
    readouts : Readouts, optional
        As played; the nominal ones of ``line`` by default.
    scale, offset : arrays (3, 3), (3,), optional
        Where linear gradient errors put a voxel: scale @ x + offset, logical axes.
    movement : Movement, optional
    weighting : Weighting, optional
        Diffusion weighting along the echo path.

    Returns
    -------
    list of complex64 arrays (coils, J), one per readout, for M0 = 1 A/m;
    dict with ranks and relative errors of the compressions.
    """
    grid = obj.placed.grid
    corners = np.array([[x, y, z] for x in grid.axis(0)[[0, -1]] for y in grid.axis(1)[[0, -1]]
                        for z in grid.axis(2)[[0, -1]]])  # fmt: skip
    shift = np.array([maps.tissue_shift(t, scanner.f0) for t in obj.tissues])
    obj, played = _with_mean_maxwell(line, obj, readouts or line.readouts)
    scale, offset = np.eye(3) if scale is None else scale, np.zeros(3) if offset is None else offset
    follow_k, found = _deviations(line, played, obj, scale, options, movement)
    scan = Scan(
        line=line, obj=obj, readouts=played, deviations=found, follow_k=follow_k, scale=scale, offset=offset,
        movement=movement, weighting=weighting, options=options,
        shift=shift if options.chemical_shift else 0.0 * shift, chosen=selection_of(line.shapes, corners),
    )  # fmt: skip
    channels = receiver.channels
    counts = [scan.readouts.offsets[p].shape[0] for p in scan.readouts.pattern]
    data = [np.zeros((channels, n), np.complex64) for n in counts]
    t2 = np.array([t.t2 for t in obj.tissues])
    report = {"history_rank": 0.0, "transforms_per_coil": 0.0, "error": 0.0, "groups": 0.0,
              "spoiling_error": spoiling_error(line, t2, obj.share),
              "unsettled": _unsettled(line, obj)}  # fmt: skip
    for heard in slice_classes(line, scan.chosen, ideal=not options.slice_profile):
        _play_class(scan, heard, receiver, data, report)
    for r in range(len(data)):
        data[r] *= scan.factor(r)
    return data, report


def _unsettled(line: Timeline, obj: ScannedObject) -> float:
    """Time between a balanced train's start and its first readout over the object's mean T1 where T2' acts.

    From 3 on it has settled; 0 for other sequences.
    """
    if not line.balanced or not any(np.isfinite(t.t2_prime) for t in obj.tissues):
        return 0.0
    t1 = float(np.average([t.t1 for t in obj.tissues], weights=obj.share))
    first = line.path.center[line.readouts.pulse[0]] - line.path.center[0]
    return max(float(first), 1e-9) / t1


def _deviations(
    line: Timeline, played: Readouts, obj: ScannedObject, scale: np.ndarray, options: SimulationOptions,
    movement: Movement | None,
) -> tuple[bool, Deviations]:  # fmt: skip
    """Whether k deviates so little that it is a modulation, and the deviations."""
    largest = obj.largest_deviation_maps()
    arguments = (line.readouts, played, scale, largest, options.tolerance)
    found = None
    if movement is None and obj.reached is None:
        found = deviations(*arguments, follow_k=True)
    if found is not None:
        return True, found
    without = deviations(*arguments, follow_k=False)
    assert without is not None  # only k can deviate too far
    return False, without


def _play_class(
    scan: Scan, heard: SliceClass, receiver: maps.Receiver, data: list[np.ndarray], report: dict[str, float]
) -> None:
    """Simulate the readouts of one class into ``data``."""
    window = window_of(scan.obj, heard, scan.chosen, scan.coordinate, scan.shift, scan.deviations.terms)
    if window is None:
        return
    orders = _heard_orders(scan, heard)
    window = replace(window, waves=_waves(scan, window, orders))
    species = Species.of(
        scan.obj, scan.shift, balanced=scan.line.balanced, orders=orders, unit_time=scan.line.unit_time
    )
    if scan.weighting is not None:
        species = replace(species, adc=np.zeros(species.size))
    table = _spin_table(scan, heard, window, species)
    since = scan.readouts.since_rf[heard.readouts]
    kind = scan.weighting.kind[heard.readouts] if scan.weighting else np.zeros(heard.readouts.size, np.int64)
    groups = readout_groups(scan.readouts, heard.readouts, since, kind, scan.deviations.course)
    position = {int(r): i for i, r in enumerate(heard.readouts)}
    pulses, of_readout = np.unique(heard.last, return_inverse=True)
    sampled = table.sampled(pulses)
    volume = window.fractions.sum(axis=1, dtype=float)
    share = volume * np.array([t.pd for t in scan.obj.tissues]) ** 2
    parts = []
    for group in groups:
        own = np.array([position[int(r)] for r in group.members])
        parts.append(Part(scan, heard, window, species, group, of_readout.reshape(-1)[own], share))
    bases = [part.basis(sampled, table) for part in parts]
    wanted = np.unique(np.concatenate([p.pulse[b.chosen] for p, b in zip(parts, bases, strict=True)]))
    found = table.table(pulses[wanted])
    for part, basis in zip(parts, bases, strict=True):
        part.encode(basis, found, wanted, receiver, data, report)
        report["groups"] += 1.0


def _heard_orders(scan: Scan, heard: SliceClass) -> tuple[int, ...]:
    """Orders that crushers may leave where pulses have a profile: the echo path's and its neighbours."""
    line = scan.line
    if not heard.spacing or line.balanced or scan.chosen is None or not line.unit.any():
        return (0,)
    cycles = abs(float(line.unit @ scan.chosen.direction)) * (heard.high - heard.low)
    return (0, -1, 1, -2, 2) if cycles < _CRUSHED else (0,)


def _waves(scan: Scan, window: Window, orders: tuple[int, ...]) -> dict[int, np.ndarray]:
    """Phase of each order beside the echo path in every voxel, and its mean across the voxel.

    Along the direction of selection the mean is taken with the profile (`SpinTable.table`).
    """
    found = {}
    grid, unit = window_grid(scan.obj.placed.grid, window), scan.line.unit
    # Crushers dephase by where the gradients put a voxel.
    seen = scan.obj.coordinate_along(unit @ scan.scale)[window.part] + unit @ scan.offset
    turns = seen.reshape(-1) + window.df * scan.line.unit_time
    direction = scan.chosen.direction if scan.chosen is not None else np.zeros(3)
    across = unit - (unit @ direction) * direction
    for order in orders:
        if order:
            mean = float(np.prod(np.sinc(order * across * np.asarray(grid.spacing))))
            found[order] = (mean * np.exp(-2j * np.pi * order * turns)).astype(np.complex64)
    return found


def _spin_table(scan: Scan, heard: SliceClass, window: Window, species: Species) -> SpinTable:
    options, line = scan.options, scan.line
    direction = scan.chosen.direction if scan.chosen is not None else np.zeros(3)
    played = Played(
        train=line.train.only(heard.pulses), shapes=line.shapes, direction=direction,
        max_states=options.max_states, threads=scan.threads, unit_time=line.unit_time,
        drop=float(np.clip(2e-3 * options.tolerance, 1e-9, 5e-5)), longitudinal=_longitudinal(line),
    )  # fmt: skip
    period = 1.0 / float(np.median(np.diff(line.path.center))) if line.balanced else 0.0
    axes = axes_of(
        window, heard, played, b1_nodes=options.b1_nodes, period=period, profile=options.slice_profile,
        wave=float(line.unit @ direction), tolerance=min(0.2 * options.tolerance, 5e-3),
    )  # fmt: skip
    return SpinTable(played, species, heard, axes, 0.3 * options.tolerance)


def _longitudinal(line: Timeline) -> frozenset[int]:
    """Shapes that only prepare the longitudinal magnetization: what they leave across is spoiled."""
    prepares = np.isin(line.path.use, ("inversion", "saturation", "preparation"))
    return frozenset(np.unique(line.train.shape[prepares]).tolist()) - frozenset(
        np.unique(line.train.shape[~prepares]).tolist()
    )

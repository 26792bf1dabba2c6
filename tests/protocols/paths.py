"""Cards by hand and k-space paths by integration, for the proofs of the echo-planar and arm builders."""

from __future__ import annotations

import numpy as np

from protocols import (
    Geometry,
    Protocol,
    Provenance,
    Readout,
    Rf,
    Selection,
    Timing,
    load_scanner,
    read_seq,
    write_seq,
)
from protocols.cards.settings_epi import Epi

VENDORS = ("siemens-prisma-3t", "ge-mr750-3t", "philips-ingenia-3t")
GROUPS = ("geometry", "selection", "timing", "rf", "readout")


def card(**changes) -> Protocol:
    """EPI card with an asymmetric grid, 6 slices of 4 mm with gaps."""
    fields = {
        "name": "test", "title": "test", "study": "test", "scanner": VENDORS[0], "sequence": "epi",
        "suffix": "bold",
        "geometry": Geometry(orientation="axial", fov=(0.24, 0.2, 0.004), matrix=(48, 40, 1)),
        "selection": Selection(mode="slices", thickness=0.004, n_slices=6, gap=0.001),
        "timing": Timing(tr=0.6, te=0.03, dummy_shots=1), "rf": Rf(flip_deg=52.0),
        "readout": Readout(bandwidth=2500.0), "epi": Epi(),
        "provenance": {g: Provenance(source="test") for g in GROUPS},
    }  # fmt: skip
    return Protocol(**{**fields, **changes})


def played(folder, protocol, scanner=None):
    """Report and sequence of a card; writing runs pypulseq's timing check."""
    path = folder / "scan.seq"
    report = write_seq(path, protocol, load_scanner(scanner or protocol.scanner))
    return report, read_seq(path)


def walk(sequence):
    """k of every sample and time since the excitation, per readout after the first excitation.

    From the definition: moments add up from the excitation's centre, refocusing turns them round.
    Returns lists of k (num, 3) [1/m] and of times (num,) [s].
    """
    k, excited, points, since = np.zeros(3), None, [], []
    moments = sequence.block_moments()
    for block in range(sequence.n_blocks):
        pulse, axes = sequence.rf_event(block), sequence.gradients(block)
        if pulse is not None and pulse.use in ("excitation", "refocusing"):
            before = np.array([0.0 if g is None else float(g.integral(pulse.center)) for g in axes])
            if pulse.use == "excitation":
                k, excited = -before, sequence.start[block] + pulse.center
            else:
                k = -(k + before) - before
        adc = sequence.adc_event(block)
        if adc is not None and excited is not None:
            at = adc.sample_times
            inside = [np.zeros(at.size) if g is None else g.integral(at) for g in axes]
            points.append(k + np.stack(inside, axis=1))
            since.append(sequence.start[block] + at - excited)
        k = k + moments[block]
    return points, since


def labels(sequence, name):
    """Label of every readout but the noise scan."""
    return sequence.label(name)[sequence.label("NOISE") == 0]


def net_moments(sequence, uses=("excitation",)):
    """Moment between the centres of successive pulses of given uses [1/m], shape (n - 1, 3)."""
    total = np.concatenate([np.zeros((1, 3)), np.cumsum(sequence.block_moments(), axis=0)])
    at = []
    for block in sequence.rf_blocks:
        pulse = sequence.rf_event(block)
        if pulse.use in uses:
            axes = sequence.gradients(block)
            at.append(total[block] + [0.0 if g is None else float(g.integral(pulse.center)) for g in axes])
    return np.diff(np.array(at), axis=0)

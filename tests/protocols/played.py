"""What a built sequence plays, measured from the file: times, moments, k at the echo, labels."""

from __future__ import annotations

import dataclasses

import numpy as np

from protocols import (
    Geometry,
    Protocol,
    Provenance,
    Readout,
    Rf,
    Timing,
    load_scanner,
    read_seq,
    timing_errors,
    write_seq,
)
from protocols.families.builder import build_with_report

MACHINES = ("ge-mr750-3t", "philips-ingenia-3t", "siemens-prisma-3t")


def card(sequence, *, timing, rf=None, suffix="T1w", fov=(0.24, 0.2, 0.12), matrix=(32, 20, 12), **groups):
    """A small card with asymmetric matrix; groups are keyword arguments of `Protocol`."""
    source = {name: Provenance(source="test") for name in ("geometry", "timing", "rf", "readout")}
    return Protocol(
        name="test-card",
        title="test",
        study="test",
        scanner="siemens-prisma-3t",
        sequence=sequence,
        suffix=suffix,
        geometry=Geometry(orientation="axial", fov=fov, matrix=matrix),
        timing=Timing(**timing),
        rf=Rf(**(rf or {"flip_deg": 15.0})),
        readout=groups.pop("readout", Readout(bandwidth=500.0)),
        provenance=source,
        **groups,
    )


@dataclasses.dataclass
class Played:
    """A card on a machine: what was asked, what the builder reports, what the file says."""

    protocol: Protocol
    scanner: object
    report: object
    sequence: object

    @property
    def rf_times(self):
        """Centres of all pulses [s]."""
        return self.sequence.rf_center_times()

    @property
    def uses(self):
        """Use of every pulse."""
        return np.array([self.sequence.rf_event(b).use for b in self.sequence.rf_blocks])

    @property
    def imaging(self):
        """Positions of the imaging readouts among all ADC blocks."""
        return np.flatnonzero(self.sequence.label("NOISE") == 0)

    def label(self, name):
        """A label at the imaging readouts."""
        return self.sequence.label(name)[self.imaging]

    def moments_between_pulses(self):
        """Net moment [1/m] between consecutive RF centres, shape (n_rf - 1, 3)."""
        sequence = self.sequence
        total = np.concatenate([np.zeros((1, 3)), np.cumsum(sequence.block_moments(), axis=0)])
        at = []
        for block in sequence.rf_blocks:
            center = sequence.rf_event(block).center
            part = [0.0 if g is None else float(g.integral(center)) for g in sequence.gradients(block)]
            at.append(total[block] + part)
        return np.diff(np.array(at), axis=0)

    def echoes(self):
        """k [1/m] and time since the last excitation [s] at the k = 0 sample of each imaging readout.

        From the definition: moments add up from the excitation, each refocusing pulse flips them.
        """
        sequence, report = self.sequence, self.report
        moments, noise = sequence.block_moments(), sequence.label("NOISE")
        reverse = sequence.label("REV")
        k, points, since, excited, n_adc = np.zeros(3), [], [], 0.0, -1
        for block in range(sequence.n_blocks):
            pulse, axes = sequence.rf_event(block), sequence.gradients(block)
            if pulse is not None:
                before = np.array([0.0 if g is None else float(g.integral(pulse.center)) for g in axes])
                if pulse.use == "excitation":
                    k, excited = -before, sequence.start[block] + pulse.center
                elif pulse.use == "refocusing":
                    k = -(k + before) - before
            adc = sequence.adc_event(block)
            if adc is not None:
                n_adc += 1
                if not noise[n_adc]:
                    sample = adc.num - 1 - report.center_sample if reverse[n_adc] else report.center_sample
                    at = adc.sample_times[sample]
                    points.append(k + [0.0 if g is None else float(g.integral(at)) for g in axes])
                    since.append(sequence.start[block] + at - excited)
            k = k + moments[block]
        return np.array(points), np.array(since)

    def k_tolerance(self):
        """Files hold amplitudes with six digits: 1e-6 of each lobe; slice-select lobes are the largest."""
        lobes = np.abs(self.sequence.block_moments()).max()
        return 4e-6 * max(lobes, 1.0 / min(self.protocol.geometry.voxel_size))


def play(protocol, machine, tmp_path):
    """Build, check and read back."""
    scanner = load_scanner(machine)
    report = write_seq(tmp_path / f"{protocol.name}.seq", protocol, scanner)  # raises on timing errors
    return Played(protocol, scanner, report, read_seq(tmp_path / f"{protocol.name}.seq"))


def check_encoding(played):
    """Every readout passes k = 0 along the readout at its centre sample, and its labels say ky and kz."""
    points, since = played.echoes()
    (_, ny, nz), fov = played.protocol.geometry.matrix, played.protocol.geometry.fov
    tolerance = played.k_tolerance()
    np.testing.assert_allclose(points[:, 0], 0.0, atol=tolerance)
    np.testing.assert_allclose(points[:, 1], (played.label("LIN") - ny // 2) / fov[1], atol=tolerance)
    wanted = (played.label("PAR") - nz // 2) / fov[2] if nz > 1 else 0.0
    np.testing.assert_allclose(points[:, 2], wanted, atol=tolerance)
    assert played.imaging.size == played.report.readouts
    return since


def check_once(played, *labels):
    """No combination of labels is read twice."""
    rows = np.stack([played.label(name) for name in labels], axis=1)
    assert len(np.unique(rows, axis=0)) == len(rows)


def check_spoiler_rule(played):
    """Net moments between pulses are integer multiples of one vector; returns the multiples."""
    vector = np.array(played.sequence.definitions.get("SpoilerVector", (played.report.spoiler_moment, 0, 0)))
    between = played.moments_between_pulses()
    order = between @ vector / (vector @ vector)
    np.testing.assert_allclose(order, np.round(order), atol=2e-4)  # six digits of several lobes
    np.testing.assert_allclose(between, np.round(order)[:, None] * vector, atol=played.k_tolerance() * 4)
    return np.round(order)


__all__ = [
    "MACHINES",
    "Played",
    "build_with_report",
    "card",
    "check_encoding",
    "check_once",
    "check_spoiler_rule",
    "play",
    "timing_errors",
]

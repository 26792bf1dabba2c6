"""Library cards, built, played on a homogeneous object, against the recursion that their numbers give."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mrsim.simulation import SimulationOptions, simulate
from mrsim.simulation.kspace.pulses import Bins, pulse_maps
from mrsim.simulation.kspace.train import timeline
from phantoms import uniform_sphere
from protocols import load_protocol, load_scanner, read_seq, write_seq

IDEAL = SimulationOptions(b0=False, b1=False, coils=False, noise=False, tolerance=1e-5)
T1, T2 = 0.838, 0.002


def recursion(t1, *, tr, ti, es, n, centre, excitation, inversion, length):
    """Signal at the k-space centre after many shots, perfect spoiling (the recursion that the closed form of
    Deichmann et al., NeuroImage 12:112-127, 2000, sums up); ``inversion`` = (factor, offset) of Mz,
    ``excitation`` = (|M+| from Mz, factor of Mz)."""

    def recover(mz, time):
        return 1 + (mz - 1) * math.exp(-time / t1)

    mz, signal = 1.0, 0.0
    before = ti - centre * es - length / 2
    after = tr - ti + centre * es - n * es - length / 2
    for _ in range(40):
        mz = recover(inversion[0] * mz + inversion[1], before)
        for pulse in range(n):
            if pulse == centre:
                signal = mz * excitation[0]
            mz = recover(mz * excitation[1], es)
        mz = recover(mz, after)
    return signal


@pytest.mark.parametrize(
    ("card", "machine"),
    [
        ("onharmony-prisma-t1w-mprage", "siemens-prisma-3t"),
        ("onharmony-ingenia-t1w-tfe", "philips-ingenia-3t"),
        ("onharmony-mr750-t1w-bravo", "ge-mr750-3t"),
    ],
)
def test_mprage_cards_follow_the_recursion(tmp_path, card, machine):
    """To 0.5 %: T2 is 2 ms, so that spoiling is perfect; the pulses are those played, relaxation included."""
    scanner = load_scanner(machine)
    protocol = load_protocol(card).at_resolution(10e-3)
    write_seq(tmp_path / "a.seq", protocol, scanner)
    sequence = read_seq(tmp_path / "a.seq")
    sphere = uniform_sphere((31, 29, 27), 5e-3, 0.06, t1=T1, t2=T2)
    raw = simulate(
        sphere, sequence, scanner, protocol.prescription(), rng=np.random.default_rng(0), options=IDEAL
    )
    r = raw.readouts
    k = np.stack([r.base[i] + r.offsets[r.pattern[i]] for i in range(r.adc.size)])
    line, sample = np.unravel_index(np.argmin(np.linalg.norm(k, axis=-1)), k.shape[:2])
    assert np.linalg.norm(k[line, sample]) < 0.1
    volume = sphere.fractions.sum() * sphere.voxel_volume
    decay = math.exp(-(r.since_rf[line] + sample * r.dwell[line]) / T2)
    got = abs(raw.data[r.adc[line]][0, sample]) / volume / decay
    d = sequence.definitions
    inversion, excitation = timeline(sequence, f0=scanner.f0).shapes
    tissue = Bins(**{n: np.array([v]) for n, v in dict(t1=T1, t2=T2, adc=0.0, b1=1.0, shift=0.0).items()})
    matrix, offset = pulse_maps(inversion.b1, inversion.steps, tissue)
    tip, _ = pulse_maps(excitation.b1, excitation.steps, tissue)
    assert abs(tip[0, 0, 2]) == pytest.approx(math.sin(d["FlipAngle"]), rel=0.03)
    expected = recursion(
        T1, tr=d["TR"], ti=d["TI"], es=d["EchoSpacing"], n=int(d["TurboFactor"]),
        centre=int(d["EchoTrainCenter"]), excitation=(abs(tip[0, 0, 2]), tip[0, 2, 2].real),
        inversion=(matrix[0, 2, 2].real, offset[0, 2].real), length=inversion.steps.sum(),
    )  # fmt: skip
    print(f"{card}: {got:.6f} against {expected:.6f} ({100 * (got / expected - 1):+.3f} %)")
    assert got == pytest.approx(expected, rel=0.005)

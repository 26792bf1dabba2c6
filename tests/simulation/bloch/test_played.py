"""Built sequences in the exact engine: slices with their phase, designed trains, balanced states."""

from __future__ import annotations

import math

import numpy as np
import pytest

from protocols import Readout
from protocols.cards.contrasts import RefocusingDesign
from protocols.cards.settings import Selection
from protocols.families.refocusing import train_signal
from protocols.families.selection import slice_positions

from ...protocols.played import card, play
from .sequences import heard, line, spins

SLICES = Selection(
    mode="slices",
    pulse="slr",
    thickness=4e-3,
    gap=4e-3,
    n_slices=3,
    time_bandwidth=6.0,
    refocusing_time_bandwidth=6.0,
)
FLAT = {"fov": (0.24, 0.2, 4e-3), "matrix": (8, 4, 1), "readout": Readout(bandwidth=1000.0)}
WEIGHT = np.array([1.0, 2.5, 1.7])


def at_centre(played, samples):
    """Signal at the k = 0 sample of each imaging readout, receiver phase taken off."""
    counts = [played.sequence.adc_event(b).num for b in played.sequence.adc_blocks]
    starts = np.concatenate([[0], np.cumsum(counts)])[:-1]
    return samples[starts[played.imaging] + played.report.center_sample]


def through_slices(count=960, **fields):
    """A column of 24 mm along the slice axis; each slice's stretch has its own weight."""
    column = line(count, length=0.024, axis=2, **fields)
    nearest = np.abs(column.position[:, 2:] - slice_positions(SLICES)).argmin(1)
    return column.replace({"m0": WEIGHT[nearest] / count})


@pytest.mark.parametrize("sequence", ["gre", "tse"])
def test_slices_answer_with_their_weight_and_one_phase(tmp_path, sequence):
    """Neighbours see the stop band of the pulses, 1 % by design, with up to 2.5 times the weight: 2.5 %."""
    timing = {"gre": {"tr": 0.06, "te": 0.005, "dummy_shots": 3}}
    timing["tse"] = {"tr": 0.3, "te": 0.022, "echo_spacing": 0.011, "turbo_factor": 4, "dummy_shots": 1}
    protocol = card(
        sequence,
        timing=timing[sequence],
        rf={"flip_deg": 20.0 if sequence == "gre" else 90.0},
        selection=SLICES,
        **FLAT,
    )
    played = play(protocol, "siemens-prisma-3t", tmp_path)
    fields = {"t1": np.array(0.05), "t2": np.array(0.03)}  # recovers in each TR
    signal = at_centre(played, heard(through_slices(**fields), played.sequence))
    slc, lin = played.label("SLC"), played.label("LIN")
    centre = np.array([signal[(slc == n) & (lin == 2)][0] for n in range(3)])
    per_weight = centre / WEIGHT
    np.testing.assert_allclose(np.abs(per_weight) / np.abs(per_weight).mean(), 1.0, atol=0.025)
    turn = np.angle(per_weight * np.conj(per_weight.mean()))
    assert np.abs(turn).max() < 0.025  # rad
    # Full width at half maximum of 4 mm out of the column: flip angle and decay take the rest.
    bound = 4e-3 / 0.024 * (math.sin(math.radians(protocol.rf.flip_deg)) * math.exp(-played.report.te / 0.03))
    assert 0.75 * bound < np.abs(per_weight).mean() < 1.1 * bound


def test_designed_train_gives_its_echoes(tmp_path):
    """Hard pulses of 0.6 ms against instant ones in the phase graph: 1 % of the first echo."""
    protocol = card(
        "tse",
        timing={"tr": 0.5, "te": 0.065, "echo_spacing": 0.005, "turbo_factor": 24, "dummy_shots": 0},
        rf={"flip_deg": 90.0, "excitation_duration": 2e-4, "refocusing_duration": 5e-4},
        suffix="T2w",
        matrix=(16, 4, 6),
        fov=(0.16, 0.2, 0.12),
        readout=Readout(bandwidth=1000.0),
        refocusing=RefocusingDesign(
            scheme="prescribed", minimum_deg=30.0, center_deg=60.0, maximum_deg=100.0
        ),
    )
    played = play(protocol, "philips-ingenia-3t", tmp_path)
    cloud = line(64, length=0.01, t1=np.array(0.9), t2=np.array(0.09))  # one voxel: M is one cycle
    signal, (_, since) = at_centre(played, heard(cloud, played.sequence)), played.echoes()
    number = np.rint(since / 0.005).astype(int) - 1
    first = slice(0, 1 + int(np.argmax(np.diff(number) < 0)))  # the shot that starts at rest
    echoes = signal[first]
    assert echoes.size >= 12
    angles = list(played.sequence.definitions["RefocusingAngles"])
    wanted = train_signal(angles, 0.005, 0.9, 0.09)[number[first]]
    np.testing.assert_allclose(np.abs(echoes), wanted, atol=0.01)
    assert np.abs(np.angle(echoes * np.conj(echoes[0]))).max() < 0.01


@pytest.mark.parametrize(("t1", "t2"), [(0.83, 0.08), (1.5, 0.3)])
def test_bssfp_reaches_the_steady_state_of_freeman_and_hill(tmp_path, t1, t2):
    """M0 sin a (1 - E1) / (1 - (E1 - E2) cos a - E1 E2) exp(-TE / T2), on resonance, alternating phase.

    T2 acts less during a pulse, of 10 us or 1e-3 of TR here: 1e-3 of the signal. The transient decays by
    E1 cos^2(a/2) + E2 sin^2(a/2) per TR, to 1e-4 of itself in 1000 of them.
    """
    protocol = card(
        "bssfp",
        timing={"tr": 0.008, "te": 0.004, "dummy_shots": 1000},
        rf={"flip_deg": 50.0, "excitation_duration": 1e-5},
        suffix="bSSFP",
        matrix=(16, 4, 4),
        readout=Readout(bandwidth=800.0),
    )
    played = play(protocol, "siemens-prisma-3t", tmp_path)
    signal = at_centre(played, heard(spins(t1=np.array(t1), t2=np.array(t2)), played.sequence))
    e1, e2, a = math.exp(-0.008 / t1), math.exp(-0.008 / t2), math.radians(50.0)
    wanted = math.sin(a) * (1 - e1) / (1 - (e1 - e2) * math.cos(a) - e1 * e2) * math.exp(-0.004 / t2)
    np.testing.assert_allclose(np.abs(signal), wanted, rtol=1.5e-3)
    assert np.abs(np.angle(signal * np.conj(signal[0]))).max() < 1e-3  # the receiver alternates, too

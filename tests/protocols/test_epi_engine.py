"""Echo-planar scans through the exact engine: what is excited, with which phase, and which echo forms."""

import dataclasses

import numpy as np
import pytest

from mrsim.simulation.bloch import BlochOptions, simulate_cloud
from phantoms import PointCloud
from protocols import Selection, Timing
from protocols.cards.settings_epi import Diffusion, Epi
from protocols.families.multiband import band_distance
from protocols.families.selection import slice_positions

from .paths import card, labels, played

SLICES = Selection(
    mode="slices", thickness=0.004, n_slices=6, gap=0.001, duration=0.0032, refocusing_factor=1.2
)


def small(**changes):
    """Card of 16 x 12 points without dummies."""
    base = card(selection=SLICES, timing=Timing(tr=0.6, te=0.03, dummy_shots=0))
    geometry = dataclasses.replace(base.geometry, matrix=(16, 12, 1))
    return base.replace(geometry=geometry, **changes)


def central_samples(report, sequence, **spins):
    """Sample at k = 0 along the readout of every line."""
    cloud = PointCloud(name="spins", **spins)
    options = BlochOptions(precision="double", threads=1)
    samples = simulate_cloud(cloud, sequence, options=options, seed=0).samples[0]
    ends = np.cumsum([sequence.adc_event(b).num for b in sequence.adc_blocks])[:-1]
    return samples[ends + report.center_sample - sequence.label("REV")[1:]]


def test_bands_are_the_group_s_slices_and_caipi_turns_each_by_its_position(tmp_path):
    protocol = small(epi=Epi(multiband=3, caipi_shift=3, reference_scan=True))
    report, sequence = played(tmp_path, protocol)
    lin, slc, sms, nav = (labels(sequence, n) for n in ("LIN", "SLC", "SMS", "NAV"))
    positions = slice_positions(SLICES)
    kz = (lin - 6) % 3 / 3 / band_distance(SLICES, 3)
    for number in (0, 2, 4, 3):
        # Short T1 and T2: every excitation of this one spin starts from equilibrium.
        signal = central_samples(
            report, sequence, position=np.array([[0.0, 0.0, positions[number]]]), m0=np.ones(1),
            t1=np.array(0.015), t2=np.array(0.012),
        )  # fmt: skip
        group = (sms == 1) & (nav == 0) & (slc == number % 2)
        alone = (sms == 0) & (nav == 0) & (slc == number)
        others = (nav == 0) & ~group & ~alone
        # Stop bands of a windowed sinc of time-bandwidth 4.
        assert np.abs(signal[others]).max() < 0.01 * np.abs(signal[alone]).max()
        turned = signal[group] * np.exp(2j * np.pi * kz[group] * positions[number])
        # Together with its neighbours a slice has the signal that it has alone, line by line: their side
        # lobes and the recovery of 6 T1 in the shorter series add some 1e-2.
        np.testing.assert_allclose(turned, signal[alone], atol=2e-2 * np.abs(signal[alone]).max())


@pytest.mark.parametrize("scheme", [None, "monopolar", "bipolar"])
def test_spin_echo_forms_across_the_slice(tmp_path, scheme):
    """Off-resonance leaves no phase at k = 0, and the whole slice contributes with the excitation's phase."""
    diffusion = None
    if scheme:
        diffusion = Diffusion(scheme=scheme, b_values=(0.3e9,), directions=(1,), b0_volumes=1)
    protocol = small(
        epi=Epi(spin_echo=True), diffusion=diffusion,
        selection=dataclasses.replace(
            SLICES, n_slices=1, pulse="slr", refocusing_duration=0.0048, refocusing_time_bandwidth=6.0,
            refocusing_factor=1.4,
        ), timing=Timing(tr=0.4, te=0.06, dummy_shots=0),
    )  # fmt: skip
    report, sequence = played(tmp_path, protocol)
    lin, nav = labels(sequence, "LIN"), labels(sequence, "NAV")
    central = np.flatnonzero((lin == 6) & (nav == 0))[-1]
    n = 1601
    z = (np.arange(n) / (n - 1) - 0.5) * 0.012
    spins = {
        "position": np.stack([np.zeros(n), np.zeros(n), z], axis=1), "m0": np.full(n, 1.0 / n),
        "t1": np.array(0.06), "t2": np.array(0.05),
    }  # fmt: skip
    signals = [
        central_samples(report, sequence, df=np.full(n, df), **spins)[central] for df in (0.0, 30.0, -30.0)
    ]
    # A third of the column is inside the slice; 52 degrees, T2 decay; refocusing loses some percent at edges.
    ideal = 0.004 / 0.012 * np.sin(np.deg2rad(52.0)) * np.exp(-report.te / 0.05)
    assert abs(signals[0]) == pytest.approx(ideal, rel=0.08)
    # Without an echo the phase would be 2 pi 30 Hz TE = 11 rad. Pulse times lie on a 10 us raster: 2e-3 rad.
    # What four cycles across a slice with sharp edges leave of other pathways, 1e-2, is even in the offset.
    assert abs(0.5 * np.angle(signals[1] / signals[2])) < 5e-3
    assert abs(np.angle(signals[0]) - 0.5 * np.pi) < 2e-2
    assert abs(signals[1]) == pytest.approx(abs(signals[0]), rel=2e-2)

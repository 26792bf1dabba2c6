"""Multiband pulses, CAIPI blips and the single-band calibration."""

import dataclasses

import numpy as np
import pytest

from protocols import GAMMA_BAR, Acceleration, BuildError, Selection, Timing, build, load_scanner, rf_steps
from protocols.cards.settings_epi import Epi
from protocols.families.composer import Composer
from protocols.families.epi import EpiSeries
from protocols.families.multiband import band_distance, band_slices
from protocols.families.selection import slice_positions

from .paths import VENDORS, card, labels, played, walk

SLICES = Selection(mode="slices", thickness=0.004, n_slices=12, gap=0.001, duration=0.0048)


def multiband(factor, shift, **epi):
    return card(
        selection=SLICES,
        epi=Epi(multiband=factor, caipi_shift=shift, reference_scan=True, **epi),
        timing=Timing(tr=0.8, te=0.03),
    )


@pytest.mark.parametrize(("factor", "shift"), [(2, 2), (3, 3), (4, 2), (3, 1)])
def test_slice_blips_shift_neighbouring_bands_by_a_fraction_of_the_field_of_view(tmp_path, factor, shift):
    protocol = multiband(factor, shift)
    _, sequence = played(tmp_path, protocol)
    points, _ = walk(sequence)
    keep = (labels(sequence, "NAV") == 0) & (labels(sequence, "SMS") == 1)
    lin = labels(sequence, "LIN")[keep]
    kz = np.array([p[:, 2] for p, k in zip(points, keep, strict=True) if k])
    assert np.ptp(kz, axis=1).max() < 1e-2  # rounded amplitudes; no blip inside a readout
    distance = band_distance(SLICES, factor)
    assert distance == pytest.approx(12 / factor * 0.005)
    turns = kz.mean(axis=1) * distance  # phase between neighbouring bands [cycles]
    np.testing.assert_allclose(turns, (lin - 20) % shift / shift, atol=1e-4)
    # Fourier along the lines: a phase ramp of 1 / shift cycles per line is a shift by FOV / shift.
    one = keep & (labels(sequence, "SLC") == 0)
    ramp = np.exp(-2j * np.pi * turns[: one.sum()])
    assert np.argmax(np.abs(np.fft.fft(ramp))) == (len(ramp) - len(ramp) // shift) % len(ramp)
    alone = (labels(sequence, "NAV") == 0) & (labels(sequence, "REF") == 1)
    assert max(np.abs(p[:, 2]).max() for p, k in zip(points, alone, strict=True) if k) < 1e-2
    assert sequence.definitions["MultibandFactor"] == factor
    assert sequence.definitions["MultibandCaipiShift"] == shift


def test_labels_name_the_lowest_slice_of_a_group_and_every_slice_of_the_calibration(tmp_path):
    protocol = multiband(3, 3)
    _, sequence = played(tmp_path, protocol)
    slc, ref, sms = (labels(sequence, n) for n in ("SLC", "REF", "SMS"))
    assert set(slc[ref == 1].tolist()) == set(range(12))
    assert set(slc[ref == 0].tolist()) == set(range(4))
    np.testing.assert_array_equal(sms, 1 - ref)
    assert band_slices(SLICES, 3) == [[0, 4, 8], [2, 6, 10], [1, 5, 9], [3, 7, 11]]


def test_carriers_lie_at_the_slices(tmp_path):
    """Spectrum of a played pulse: peaks where the gradient puts the group's slices."""
    protocol = multiband(3, 3)
    _, sequence = played(tmp_path, protocol)
    slc, sms = labels(sequence, "SLC"), labels(sequence, "SMS")
    first = int(np.flatnonzero((sms == 1) & (slc == 2))[0])
    adc = sequence.adc_blocks[sequence.label("NOISE") == 0][first]
    block = sequence.rf_blocks[sequence.rf_blocks < adc].max()
    pulse, gradient = sequence.rf_event(block), sequence.gradients(block)[2]
    strength = gradient.values.max()
    position = slice_positions(SLICES)
    x = np.linspace(position[0] - 0.003, position[-1] + 0.003, 2401)
    t = pulse.times - pulse.center
    wave = pulse.b1 * np.exp(1j * (2 * np.pi * pulse.freq_offset * t))
    profile = np.abs(np.exp(-2j * np.pi * strength * np.outer(x, t)) @ wave)
    top = profile.max()
    for number, at in enumerate(position):
        near = profile[np.abs(x - at) < 0.0005].mean() / top
        assert near > 0.85 if number in (2, 6, 10) else near < 0.02
    weight = profile * (profile > 0.3 * top)
    for number in (2, 6, 10):
        mine = np.abs(x - position[number]) < 0.003
        assert np.sum((x * weight)[mine]) / np.sum(weight[mine]) == pytest.approx(position[number], abs=2e-5)


def test_a_slice_alone_has_the_phase_and_flip_angle_that_it_has_in_its_group(tmp_path):
    """Small-tip excitation at the slice's centre, from the files' pulses, at the RF centre."""
    protocol = multiband(3, 3)
    _, sequence = played(tmp_path, protocol)
    slc, sms = labels(sequence, "SLC"), labels(sequence, "SMS")
    readouts = sequence.adc_blocks[sequence.label("NOISE") == 0]
    position = slice_positions(SLICES)

    def tip(block, x):
        pulse, strength = sequence.rf_event(block), sequence.gradients(block)[2].values.max()
        steps = rf_steps(pulse, sequence.rasters["rf"])
        times = pulse.times
        carrier = 2 * np.pi * pulse.freq_offset * (times - pulse.delay) + pulse.phase_offset
        turn = -2 * np.pi * strength * x * (times - pulse.center)
        assert steps[0].size
        return 2 * np.pi * np.sum(pulse.b1 * np.exp(1j * (carrier + turn)) * pulse.sample_widths)

    def block_of(mask):
        adc = readouts[int(np.flatnonzero(mask)[0])]
        return int(sequence.rf_blocks[sequence.rf_blocks < adc].max())

    group = block_of((sms == 1) & (slc == 1))
    for number in (1, 5, 9):
        alone = tip(block_of((sms == 0) & (slc == number)), position[number])
        together = tip(group, position[number])
        # The neighbours' side lobes, some 1e-3, add to the pulse of the group.
        assert together == pytest.approx(alone, abs=5e-3 * abs(alone))
        assert abs(alone) == pytest.approx(np.deg2rad(52.0), rel=1e-3)


def test_schroeder_phases_lower_the_peak_and_the_limit_is_kept():
    scanner = load_scanner(VENDORS[0])
    peaks = {}
    for phases in ("equal", "schroeder"):
        series = EpiSeries(Composer(scanner), multiband(4, 2, band_phases=phases))
        pulse = series.kernel.group_excitation
        single = np.abs(series.kernel.excitation.event.signal).max()
        peaks[phases] = np.abs(pulse.event.signal).max() / single
    assert peaks["equal"] == pytest.approx(4.0, rel=1e-2)
    assert peaks["schroeder"] < 0.75 * peaks["equal"]
    limit = 0.5 * peaks["schroeder"] * single / GAMMA_BAR
    with pytest.raises(BuildError, match=r"selection.duration must be at least 0\.0\d+ s for a peak of"):
        build(multiband(4, 2, peak_b1=limit), scanner)


def test_group_count_and_calibration_with_phase_acceleration(tmp_path):
    protocol = multiband(2, 2)
    protocol = protocol.replace(acceleration=Acceleration(phase=2, reference_lines=24))
    _, sequence = played(tmp_path, protocol)
    ref, nav, slc, lin = (labels(sequence, n) for n in ("REF", "NAV", "SLC", "LIN"))
    mine = (ref == 1) & (nav == 0) & (slc == 7)
    assert sorted(lin[mine].tolist()) == list(range(8, 32))
    assert sorted(set(lin[(ref == 0) & (nav == 0)].tolist())) == list(range(0, 40, 2))
    points, _ = walk(sequence)
    kz = np.array([p[0, 2] for p in points])[(ref == 0) & (nav == 0)] * band_distance(SLICES, 2)
    np.testing.assert_allclose(kz, (lin[(ref == 0) & (nav == 0)] - 20) // 2 % 2 / 2, atol=1e-4)


def test_cards_refuse_slices_that_do_not_divide():
    with pytest.raises(ValueError, match=r"selection.n_slices must be a multiple of epi.multiband"):
        multiband(3, 3).replace(selection=dataclasses.replace(SLICES, n_slices=13))

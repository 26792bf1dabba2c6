"""Spoiled and balanced gradient echoes: slices, slabs, several echoes, on three vendors' rasters."""

import dataclasses
import math

import numpy as np
import pytest

from protocols import BuildError, Readout, build, load_scanner
from protocols.cards.contrasts import Echoes, Series
from protocols.cards.series import series_cards
from protocols.cards.settings import Acceleration, Selection
from protocols.families.selection import slice_positions

from .played import MACHINES, card, check_encoding, check_once, check_spoiler_rule, play

SLICES = Selection(mode="slices", thickness=4e-3, gap=1e-3, n_slices=5, duration=2e-3)
SLAB = Selection(mode="slab", thickness=0.1, time_bandwidth=12.0, duration=1.2e-3)
FLAT = {"fov": (0.24, 0.2, 4e-3), "matrix": (32, 20, 1)}


def slices_2d(**changes):
    values = {
        "timing": {"tr": 0.1, "te": 0.005, "dummy_shots": 2},
        "selection": SLICES,
        **FLAT,
        **changes,
    }
    return card("gre", **values)


@pytest.mark.parametrize("machine", MACHINES)
def test_2d_slices_share_each_tr(tmp_path, machine):
    protocol = slices_2d(acceleration=Acceleration(phase=2, reference_lines=8))
    played = play(protocol, machine, tmp_path)
    since = check_encoding(played)
    np.testing.assert_allclose(since, protocol.timing.te, atol=2.1e-6)  # ADC on the RF raster (<= 2 us)
    assert played.report.te == pytest.approx(since[0], abs=1e-9)
    check_once(played, "LIN", "SLC")
    assert set(played.label("SLC").tolist()) == set(range(5))
    assert (check_spoiler_rule(played) == 1).all()
    # every slice keeps its TR
    frequencies = np.array([played.sequence.rf_event(b).freq_offset for b in played.sequence.rf_blocks])
    for value in np.unique(frequencies):
        times = played.rf_times[frequencies == value]
        np.testing.assert_allclose(np.diff(times), 0.1, atol=1e-9)
    # carriers are proportional to the positions; SLC counts along the slice axis
    names = played.sequence.definitions
    assert names["SlicePositions"] == pytest.approx(slice_positions(SLICES).tolist())
    first = [played.sequence.rf_event(b) for b in played.sequence.rf_blocks[10:15]]
    slc = played.label("SLC")[:5]
    assert slc.tolist() == [0, 2, 4, 1, 3]
    gradient = max(g.values.max() for g in [played.sequence.gradients(played.sequence.rf_blocks[0])[2]])
    np.testing.assert_allclose(
        [e.freq_offset for e in first], gradient * slice_positions(SLICES)[slc], rtol=1e-5
    )
    assert names["FOV"] == pytest.approx((0.24, 0.2, 4e-3))
    assert names["MatrixEncoded"] == (64, 20, 1)


def test_phase_at_the_rf_centre_is_the_spoiling_phase_of_every_slice(tmp_path):
    played = play(slices_2d(rf={"flip_deg": 20.0, "spoil_increment_deg": 117.0}), MACHINES[2], tmp_path)
    events = [played.sequence.rf_event(b) for b in played.sequence.rf_blocks]
    centre = np.array(
        [e.phase_offset + 2 * np.pi * e.freq_offset * (e.center - e.delay) for e in events]
    ).reshape(-1, 5)
    count = np.arange(centre.shape[0])
    wanted = np.deg2rad(58.5 * count * (count + 1))
    error = np.angle(np.exp(1j * (centre - wanted[:, None])))
    assert np.abs(error).max() < 1e-3  # frequency with six digits over a millisecond
    for adc, phase in zip(played.sequence.adc_blocks[1:], np.repeat(wanted[2:], 5), strict=True):
        turn = played.sequence.adc_event(adc).phase_offset - phase
        assert abs(math.remainder(turn, 2 * math.pi)) < 1e-4


def test_concatenations_take_slices_in_turns(tmp_path):
    selection = dataclasses.replace(SLICES, concatenations=2)
    played = play(slices_2d(selection=selection), MACHINES[1], tmp_path)
    slc = played.label("SLC")
    assert set(slc[: 3 * 20].tolist()) == {0, 2, 4}
    assert set(slc[3 * 20 :].tolist()) == {1, 3}
    check_encoding(played)
    times = played.rf_times[played.uses == "excitation"][:9:3]
    np.testing.assert_allclose(np.diff(times), 0.1, atol=1e-9)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("polarity", ["monopolar", "bipolar"])
@pytest.mark.parametrize("mode", ["none", "slab"])
def test_multi_echo(tmp_path, machine, polarity, mode):
    selection = SLAB if mode == "slab" else Selection()
    protocol = card(
        "gre",
        timing={"tr": 0.03, "te": 0.004, "dummy_shots": 1},
        suffix="MEGRE",
        selection=selection,
        echoes=Echoes(count=4, spacing=0.005, polarity=polarity),
        acceleration=Acceleration(elliptical=True),
    )
    played = play(protocol, machine, tmp_path)
    since = check_encoding(played)
    check_once(played, "LIN", "PAR", "ECO")
    echoes = played.sequence.definitions["EchoTimes"]
    np.testing.assert_allclose(since, np.array(echoes)[played.label("ECO")], atol=1e-9)
    # readout blocks lie on the block raster
    np.testing.assert_allclose(echoes, 0.004 + 0.005 * np.arange(4), atol=1.01e-5)
    reverse = played.label("REV")
    np.testing.assert_array_equal(reverse, played.label("ECO") % 2 if polarity == "bipolar" else 0)
    assert (check_spoiler_rule(played) == 1).all()
    lin, par = (played.label("LIN") - 10) / 10, (played.label("PAR") - 6) / 6
    assert np.hypot(lin, par).max() <= 1 + 1e-9
    inside = sum(math.hypot((y - 10) / 10, (z - 6) / 6) <= 1 for y in range(20) for z in range(12))
    assert played.report.readouts == 4 * inside


def test_too_tight_echoes_name_a_playable_spacing():
    protocol = card("gre", timing={"tr": 0.03, "te": 0.004}, echoes=Echoes(count=3, spacing=0.001))
    scanner = load_scanner(MACHINES[0])
    with pytest.raises(BuildError, match=r"echoes.spacing must be at least") as caught:
        build(protocol, scanner)
    least = float(str(caught.value).split("at least ")[1].split(" s")[0])
    build(protocol.replace(echoes=Echoes(count=3, spacing=least)), scanner)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("mode", ["none", "slab", "slices"])
def test_bssfp_is_balanced_with_alternating_phase(tmp_path, machine, mode):
    selection = {"none": Selection(), "slab": SLAB, "slices": dataclasses.replace(SLICES, n_slices=2)}[mode]
    protocol = card(
        "bssfp",
        timing={"tr": 0.008, "te": 0.004, "dummy_shots": 10},
        rf={"flip_deg": 45.0},
        suffix="bSSFP",
        selection=selection,
        readout=Readout(bandwidth=700.0),
        **(FLAT if mode == "slices" else {}),
    )
    played = play(protocol, machine, tmp_path)
    since = check_encoding(played)
    np.testing.assert_allclose(since, 0.004, atol=2.1e-6)
    between = played.moments_between_pulses()
    np.testing.assert_allclose(between, 0.0, atol=8 * played.k_tolerance())
    times = played.rf_times
    per_slice = times.size // (2 if mode == "slices" else 1)
    gaps = np.diff(times[:per_slice])
    assert gaps[0] == pytest.approx(0.004, abs=1e-9)
    np.testing.assert_allclose(gaps[1:], 0.008, atol=1e-9)
    pulses = [played.sequence.rf_event(b) for b in played.sequence.rf_blocks[:per_slice]]
    phase = np.array([p.phase_offset + 2 * np.pi * p.freq_offset * (p.center - p.delay) for p in pulses])
    turns = np.exp(1j * np.diff(phase))
    np.testing.assert_allclose(turns, -1.0, atol=2e-3)
    assert pulses[0].flip_angle == pytest.approx(0.5 * pulses[1].flip_angle, rel=1e-4)
    assert played.report.spoiler_moment == 0.0


def test_series_become_one_card_per_angle_or_time():
    protocol = slices_2d(series=Series(flip_deg=(2.0, 10.0, 30.0)))
    cards = series_cards(protocol)
    assert [c.rf.flip_deg for c in cards] == [2.0, 10.0, 30.0]
    assert [c.name for c in cards] == ["test-card-flip1", "test-card-flip2", "test-card-flip3"]
    assert all(c.derived_from == "test-card" for c in cards)
    assert series_cards(cards[0]) == (cards[0],)

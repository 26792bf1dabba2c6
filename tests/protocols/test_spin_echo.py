"""2D and 3D spin-echo trains: times, moments, carriers, slots of interleaved inversions."""

import dataclasses
import math

import numpy as np
import pytest

from protocols import BuildError, build, load_scanner
from protocols.cards.contrasts import Echoes, RefocusingDesign, Series
from protocols.cards.series import series_cards
from protocols.cards.settings import Acceleration, Selection
from protocols.families.refocusing import EFFECTIVE_TE_MEANING, effective_te

from .played import MACHINES, card, check_encoding, check_once, check_spoiler_rule, play

SLICES = Selection(mode="slices", thickness=4e-3, gap=1e-3, n_slices=5, refocusing_factor=1.2)
SLAB = Selection(mode="slab", thickness=0.1, time_bandwidth=12.0, duration=1.2e-3)
FLAT = {"fov": (0.24, 0.2, 4e-3), "matrix": (32, 20, 1)}
TRAIN = {"tr": 1.0, "te": 0.036, "echo_spacing": 0.012, "turbo_factor": 5}


def slices_2d(**changes):
    timing = {**TRAIN, **changes.pop("timing", {})}
    values = {"rf": {"flip_deg": 90.0}, "suffix": "T2w", "selection": SLICES, **FLAT, **changes}
    return card(values.pop("sequence", "tse"), timing=timing, **values)


def check_cpmg(played):
    """Pulses at half spacings, moments M and 2 M, 90 degrees between the phases at the RF centres."""
    times, uses, spacing = played.rf_times, played.uses, played.report.echo_spacing
    raster = played.scanner.gradients.block_raster
    order = check_spoiler_rule(played)
    for n in range(len(uses) - 1):
        gap = times[n + 1] - times[n]
        if uses[n + 1] == "refocusing":
            half = uses[n] == "excitation"
            assert order[n] == (1 if half else 2)
            # the first block ends on the block raster
            slack = 0.51 * raster if half else 1e-9
            assert gap == pytest.approx(spacing * (0.5 if half else 1.0), abs=slack)
        else:
            assert order[n] >= 4
    events = [played.sequence.rf_event(b) for b in played.sequence.rf_blocks]
    phase = [e.phase_offset + 2 * math.pi * e.freq_offset * (e.center - e.delay) for e in events]
    for use, value in zip(uses, phase, strict=True):
        wanted = math.pi / 2 if use == "excitation" else 0.0
        assert math.remainder(value - wanted, 2 * math.pi) == pytest.approx(0.0, abs=2e-3)


def echo_of_centre(played):
    """Time from the excitation to the readout of the k-space centre [s]."""
    _, since = played.echoes()
    _, ny, nz = played.protocol.geometry.matrix
    return since[(played.label("LIN") == ny // 2) & (played.label("PAR") == nz // 2)]


@pytest.mark.parametrize("machine", MACHINES)
def test_2d_tse(tmp_path, machine):
    played = play(slices_2d(acceleration=Acceleration(phase=2, reference_lines=8)), machine, tmp_path)
    check_encoding(played)
    check_once(played, "LIN", "SLC")
    check_cpmg(played)
    np.testing.assert_allclose(echo_of_centre(played), played.report.te, atol=1e-9)
    assert played.report.te == pytest.approx(0.036, abs=1.5e-5)  # half a block raster and the ADC's raster
    names = played.sequence.definitions
    assert names["SpoilerVector"][2] == pytest.approx(4.0 / 4e-3)
    excitations = np.array(
        [played.sequence.rf_event(b).use == "excitation" for b in played.sequence.rf_blocks]
    )
    carriers = np.array([played.sequence.rf_event(b).freq_offset for b in played.sequence.rf_blocks])
    for value in np.unique(carriers[excitations]):
        times = played.rf_times[excitations & (carriers == value)]
        np.testing.assert_allclose(np.diff(times), 1.0, atol=1e-9)
    # refocusing selects a slice 1.2 times as thick: a weaker gradient, carriers in proportion
    ratio = carriers[~excitations].max() / carriers[excitations].max()
    assert ratio == pytest.approx(1 / 1.2, rel=1e-4)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("ti", [0.12, 0.4, 0.9])
def test_2d_flair_inverts_slots_ahead(tmp_path, machine, ti):
    """Short TI: in the slot of the train; long TI: several slots ahead, slices interleaved."""
    protocol = slices_2d(
        timing={"tr": 2.5, "ti": ti, "dummy_shots": 1},
        rf={"flip_deg": 90.0, "inversion": "hypsec"},
        suffix="FLAIR",
    )
    played = play(protocol, machine, tmp_path)
    check_encoding(played)
    check_once(played, "LIN", "SLC")
    check_cpmg(played)
    events = [played.sequence.rf_event(b) for b in played.sequence.rf_blocks]
    times, uses = played.rf_times, played.uses
    gradient = {
        use: played.sequence.gradients(played.sequence.rf_blocks[list(uses).index(use)])[2].values.max()
        for use in ("excitation", "inversion")
    }
    where = np.array([e.freq_offset / gradient.get(e.use, math.inf) for e in events])
    pairs = 0
    for position in np.unique(np.round(where[uses == "excitation"], 6)):
        here = np.abs(where - position) < 1e-5
        excited, inverted = times[here & (uses == "excitation")], times[here & (uses == "inversion")]
        np.testing.assert_allclose(excited - inverted, played.report.ti, atol=1e-7)
        pairs += excited.size
    assert pairs == 5 * played.report.shots // 5
    assert played.report.ti == pytest.approx(ti, abs=2.1e-5)  # slots and lead lie on the block raster
    first = times[(uses == "excitation")][:10]
    assert np.unique(np.round(times[uses == "inversion"][5] - times[uses == "inversion"][0], 6)) == 2.5
    assert first.size == 10


def test_2d_concatenations_keep_tr_and_groups(tmp_path):
    selection = dataclasses.replace(SLICES, concatenations=2)
    played = play(slices_2d(selection=selection), MACHINES[2], tmp_path)
    check_cpmg(played)
    slc = played.label("SLC")
    assert set(slc[:60].tolist()) == {0, 2, 4}
    assert set(slc[60:].tolist()) == {1, 3}


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("selection", [Selection(), SLAB], ids=["hard", "slab"])
def test_3d_train_with_designed_angles(tmp_path, machine, selection):
    protocol = card(
        "tse",
        timing={"tr": 0.8, "te": 0.06, "echo_spacing": 0.005, "turbo_factor": 24},
        rf={"flip_deg": 90.0},
        suffix="T2w",
        selection=selection,
        refocusing=RefocusingDesign(
            scheme="prescribed", minimum_deg=30.0, center_deg=60.0, maximum_deg=110.0
        ),
        acceleration=Acceleration(elliptical=True),
    )
    played = play(protocol, machine, tmp_path)
    check_encoding(played)
    check_once(played, "LIN", "PAR")
    check_cpmg(played)
    np.testing.assert_allclose(echo_of_centre(played), played.report.te, atol=1e-9)
    names = played.sequence.definitions
    angles = [
        played.sequence.rf_event(b).flip_angle
        for b in played.sequence.rf_blocks
        if played.sequence.rf_event(b).use == "refocusing"
    ][:24]
    np.testing.assert_allclose(angles, names["RefocusingAngles"], rtol=1e-5)
    equivalent = effective_te(list(names["RefocusingAngles"]), played.report.echo_spacing, 11)
    assert names["EffectiveTE"] == pytest.approx(equivalent, rel=1e-6)
    assert names["EffectiveTE"] < names["TE"]
    assert names["EffectiveTEMeaning"] == EFFECTIVE_TE_MEANING
    assert played.report.effective_te == pytest.approx(equivalent, rel=1e-6)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("selection", [Selection(), SLAB], ids=["hard", "slab"])
def test_double_inversion(tmp_path, machine, selection):
    protocol = card(
        "tse",
        timing={"tr": 2.0, "te": 0.04, "ti": 0.9, "ti2": 0.2, "echo_spacing": 0.005, "turbo_factor": 24},
        rf={"flip_deg": 90.0, "inversion": "hypsec", "refocusing_deg": (120.0, 60.0)},
        suffix="DIR",
        selection=selection,
    )
    played = play(protocol, machine, tmp_path)
    check_encoding(played)
    check_cpmg(played)
    times, uses = played.rf_times, played.uses
    excited = times[uses == "excitation"]
    inverted = times[uses == "inversion"].reshape(-1, 2)
    asked = np.array(played.sequence.definitions["InversionTimes"])
    np.testing.assert_allclose(excited[:, None] - inverted, np.tile(asked, (excited.size, 1)), atol=1e-7)
    np.testing.assert_allclose(asked, [0.9, 0.2], atol=1.01e-5)
    # unequal spoilers: the second inversion must not refocus what the first one excites
    order = check_spoiler_rule(played)
    at = np.flatnonzero(uses[:-1] == "inversion")[:2]
    assert order[at[0]] != order[at[1]]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("flat", [True, False], ids=["slices", "volume"])
def test_multi_echo_spin_echo_reads_one_line_per_shot(tmp_path, machine, flat):
    values = {"selection": SLICES, **FLAT} if flat else {"matrix": (32, 12, 4)}
    protocol = card(
        "se",
        timing={"tr": 0.6, "te": 0.011, "dummy_shots": 1},
        rf={"flip_deg": 90.0},
        suffix="MESE",
        echoes=Echoes(count=6, spacing=0.011),
        **values,
    )
    played = play(protocol, machine, tmp_path)
    since = check_encoding(played)
    check_once(played, "LIN", "PAR", "SLC", "ECO")
    check_cpmg(played)
    echoes = np.array(played.sequence.definitions["EchoTimes"])
    np.testing.assert_allclose(since, echoes[played.label("ECO")], atol=1e-8)
    np.testing.assert_allclose(echoes, 0.011 * np.arange(1, 7), atol=1.1e-5)


def test_inversion_recovery_series_of_one_slice(tmp_path):
    protocol = slices_2d(
        sequence="se",
        timing={"tr": 2.0, "te": 0.014, "ti": 0.05, "turbo_factor": 1, "echo_spacing": None},
        rf={"flip_deg": 90.0, "inversion": "ideal"},
        suffix="IRT1",
        selection=dataclasses.replace(SLICES, n_slices=1),
        series=Series(ti=(0.05, 0.4, 1.1, 1.5)),
    )
    for number, member in enumerate(series_cards(protocol)):
        played = play(member, MACHINES[number % 3], tmp_path)
        check_cpmg(played)
        check_encoding(played)
        assert played.report.ti == pytest.approx(protocol.series.ti[number], abs=2.1e-5)
        inversions = played.rf_times[played.uses == "inversion"]
        np.testing.assert_allclose(np.diff(inversions), 2.0, atol=1e-7)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tr": 0.3}, r"timing.tr must be at least 0\.\d+ s for 5 slices"),
        ({"ti": 0.005}, r"timing.ti must be at least 0\.0\d+ s"),
        ({"ti": 0.6, "tr": 0.9}, r"Take more concatenations"),
        ({"echo_spacing": 0.004, "te": 0.012}, r"timing.echo_spacing must be at least 0\.0\d+ s"),
        ({"ti": 0.6, "ti2": 0.1}, r"timing.ti2 must be absent for 2D slices"),
    ],
)
def test_impossible_slots_say_what_is_possible(changes, message):
    protocol = slices_2d(timing=changes, rf={"flip_deg": 90.0, "inversion": "hypsec"})
    with pytest.raises(BuildError, match=message):
        build(protocol, load_scanner(MACHINES[2]))

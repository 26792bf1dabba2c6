"""MPRAGE and MP2RAGE: view orders, inner loops, slab selection, inversion times, dead times."""

import math

import numpy as np
import pytest

from protocols import BuildError, RecordError, build, load_scanner
from protocols.cards.settings import Acceleration, Selection

from .played import MACHINES, card, check_encoding, check_once, check_spoiler_rule, play

SLAB = Selection(mode="slab", thickness=0.1, time_bandwidth=12.0, duration=1.2e-3)
TIMES = {"tr": 0.6, "te": 0.004, "ti": 0.2, "echo_spacing": 0.009, "turbo_factor": 12}
PULSES = {"flip_deg": 9.0, "inversion": "hypsec"}


def centre_times(played):
    """Inversion to the excitation of the k-space centre [s], for each read that carries it."""
    _, ny, nz = played.protocol.geometry.matrix
    here = (played.label("LIN") == ny // 2) & (played.label("PAR") == nz // 2)
    times, uses = played.rf_times, played.uses
    excitations, inversions = times[uses == "excitation"], times[uses == "inversion"]
    result = []
    for at in played.sequence.start[played.sequence.adc_blocks[played.imaging[here]]]:
        excited = excitations[excitations < at].max()
        result.append(excited - inversions[inversions < excited].max())
    return result, played.label("ECO")[here]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("selection", [Selection(), SLAB], ids=["hard", "slab"])
@pytest.mark.parametrize("order", ["linear", "centric", "reverse_centric"])
@pytest.mark.parametrize("inner", ["partition", "phase"])
def test_mprage_orders(tmp_path, machine, selection, order, inner):
    turbo = 12 if inner == "partition" else 15
    ti = {"linear": 0.2, "centric": 0.05, "reverse_centric": 0.25}[order]
    timing = {**TIMES, "view_order": order, "inner_loop": inner, "turbo_factor": turbo, "ti": ti}
    protocol = card(
        "mprage",
        timing=timing,
        rf=PULSES,
        selection=selection,
        acceleration=Acceleration(phase=2, reference_lines=8),
    )
    played = play(protocol, machine, tmp_path)
    since = check_encoding(played)
    np.testing.assert_allclose(since, 0.004, atol=2.1e-6)
    check_once(played, "LIN", "PAR")
    measured, _ = centre_times(played)
    raster = played.scanner.gradients.block_raster
    assert measured[0] == pytest.approx(played.report.ti, abs=1e-9)
    assert measured[0] == pytest.approx(ti, abs=raster)
    assert played.report.ti_first == pytest.approx(
        played.report.ti - played.report.center_echo * played.report.echo_spacing, abs=1e-9
    )
    assert (check_spoiler_rule(played) >= 1).all()
    inversions = played.rf_times[played.uses == "inversion"]
    np.testing.assert_allclose(np.diff(inversions), 0.6, atol=raster)
    along = played.label("PAR" if inner == "partition" else "LIN")
    size = 12 if inner == "partition" else 14  # every second of 20, and 8 reference lines
    centre = 6 if inner == "partition" else 10
    train = np.abs(along[:size] - centre)
    if order == "linear":
        assert (np.diff(along[:size]) > 0).all()
    else:
        steps = np.diff(train) * (1 if order == "centric" else -1)
        assert (steps >= 0).all()
    flags = played.label("REF") == 1
    np.testing.assert_array_equal(flags, np.abs(played.label("LIN") - 9.5) < 4)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("selection", [Selection(), SLAB], ids=["hard", "slab"])
def test_mp2rage_has_two_trains_two_times_two_angles(tmp_path, machine, selection):
    protocol = card(
        "mp2rage",
        timing={**TIMES, "tr": 1.0, "ti2": 0.5},
        rf={**PULSES, "flip_deg": 4.0, "flip2_deg": 5.0},
        suffix="MP2RAGE",
        selection=selection,
    )
    played = play(protocol, machine, tmp_path)
    check_encoding(played)
    check_once(played, "LIN", "PAR", "ECO")
    measured, echo = centre_times(played)
    assert echo.tolist() == [0, 1]
    names = played.sequence.definitions
    np.testing.assert_allclose(measured, names["InversionTimes"], atol=1e-8)
    np.testing.assert_allclose(measured, [0.2, 0.5], atol=1.01e-5)
    np.testing.assert_allclose(names["FlipAngles"], np.deg2rad([4.0, 5.0]))
    assert (check_spoiler_rule(played) >= 1).all()
    excitations = [b for b in played.sequence.rf_blocks if played.sequence.rf_event(b).use == "excitation"]
    flips = [math.degrees(played.sequence.rf_event(b).flip_angle) for b in excitations[:24]]
    np.testing.assert_allclose(flips, [4.0] * 12 + [5.0] * 12, rtol=1e-3)
    assert played.report.recovery == pytest.approx(names["RecoveryTime"])


def test_impossible_second_time_names_the_least():
    protocol = card(
        "mp2rage", timing={**TIMES, "ti2": 0.25}, rf={**PULSES, "flip2_deg": 5.0}, suffix="MP2RAGE"
    )
    with pytest.raises(BuildError, match=r"timing.ti2 must be at least 0\.3\d+ s"):
        build(protocol, load_scanner(MACHINES[2]))
    with pytest.raises(RecordError, match=r"timing.ti2 must be given"):
        card("mp2rage", timing=TIMES, rf=PULSES)
    with pytest.raises(RecordError, match="turbo_factor must not exceed the phase lines"):
        card("mprage", timing={**TIMES, "turbo_factor": 21, "inner_loop": "phase"}, rf=PULSES)

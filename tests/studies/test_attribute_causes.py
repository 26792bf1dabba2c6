"""Two scanners with causes switched off: what is equal, what is exchanged, what stays as drawn."""

import dataclasses
import json
from itertools import permutations

import numpy as np
import pytest

from mrsim.simulation import Session, SimulationOptions, draw_session, simulate
from mrsim.simulation.causes import CAUSES as SIMULATED
from mrsim.simulation.causes import switch_off
from mrsim.studies.attribute_causes import (
    CAUSES,
    EXCHANGED,
    Side,
    acting,
    built_for,
    leftover,
    plain,
    simulated_as,
    states,
)
from mrsim.studies.noise_scan import noise_scan_only
from mrsim.studies.records import from_record
from protocols import Prescription, list_scanners, load_protocol, load_scanner

from ..simulation.conftest import body
from ..simulation.tiny import spoiled_gre

CARDS = {"prisma": "onharmony-prisma-t1w-mprage", "premier": "onharmony-premier-t1w-mprage"}
NAMES = {"prisma": "siemens-prisma-3t", "premier": "ge-premier-3t"}
EVERYTHING = frozenset(CAUSES)


def side(label, scanner=None, card=None, seed=1, **options):
    scanner = load_scanner(NAMES[label]) if scanner is None else scanner
    return Side(
        label=label,
        scanner=scanner,
        card=load_protocol(card or CARDS[label]),
        session=draw_session(scanner, np.random.default_rng(seed), pivot=np.zeros(3)),
        options=SimulationOptions(channels=3, **options),
        recon={"combine": "native"},
    )


@pytest.fixture(scope="module")
def pair():
    return side("prisma", seed=1), side("premier", seed=2)


def test_causes_are_those_of_the_simulation():
    assert list(CAUSES) == list(SIMULATED)
    by_study = {name for name, cause in SIMULATED.items() if cause.layer == "study"}
    assert by_study - {"tissue"} <= EXCHANGED


@pytest.mark.parametrize(("first", "second"), [*permutations(NAMES, 2)])
def test_without_any_cause_nothing_is_left(pair, first, second):
    sides = dict(zip(NAMES, pair, strict=True))
    assert leftover(sides[first], sides[second], switch_off) == []


def test_without_any_cause_all_scanners_of_the_library_are_alike():
    reference = side("prisma")
    for number, name in enumerate(list_scanners()):
        other = side(name, scanner=load_scanner(name), card=CARDS["premier"], seed=number)
        assert leftover(reference, other, switch_off) == [], name
        # Records made of two are checked as all records are: every mixture must be one.
        for cause in EXCHANGED:
            for active in ({cause}, EVERYTHING - {cause}):
                assert states(reference, other, frozenset(active), switch_off)


def test_with_all_causes_each_is_what_it_is(pair):
    for own, state in zip(pair, states(*pair, EVERYTHING, switch_off), strict=True):
        assert state.card == own.card
        assert state.recon == own.recon
        assert state.noise_of == own.label
        assert state.noise
        for group in ("gradients", "receive", "noise", "recon", "response"):
            assert getattr(state.scanner, group) == getattr(own.scanner, group)
        assert state.scanner.field.f0 == own.scanner.field.f0
        drawn, kept = own.session.record(), state.session.record()
        unread = {"pivot_m"} | ({"entropy", "spike_amplitude"} if not own.session.spike_rate else set())
        assert {k: v for k, v in drawn.items() if k not in unread} == {
            k: v for k, v in kept.items() if k not in unread
        }


def test_one_cause_changes_only_its_own(pair):
    """Draws of all others are held: nothing but the cause's values moves."""
    full = states(*pair, EVERYTHING, switch_off)[1].record()
    expected = {
        "gain": {"session.gain", "session.gain_drift"},
        "repositioning": {"session.pose.rotation", "session.pose.translation"},
        "transmit_calibration": {"session.b1_scale"},
        "gradient_scale": {"scanner.gradients.scale_error"},
    }
    for cause, paths in expected.items():
        without = states(*pair, EVERYTHING - {cause}, switch_off)[1].record()
        assert set(different(full, without)) <= paths | {"scanner.provenance"}, cause
        assert set(different(full, without)), cause


def different(a, b, path=""):
    if isinstance(a, dict):
        for key in a:
            yield from different(a[key], b[key], f"{path}.{key}" if path else key)
    elif a != b:
        yield path


@pytest.mark.parametrize("cause", sorted(EXCHANGED))
def test_what_is_exchanged_leaves_the_reference_alone(pair, cause):
    with_, without = (states(*pair, c, switch_off) for c in (EVERYTHING, EVERYTHING - {cause}))
    assert with_[0].record() == without[0].record()
    assert with_[1].record() != without[1].record()


def test_the_protocol_brings_its_gradient_limits(pair):
    prisma, premier = pair
    state = states(prisma, premier, frozenset({"protocol"}), switch_off)[1]
    assert state.card == premier.card
    built = built_for(state, prisma)
    assert built.gradients.design_slew == premier.scanner.gradients.design_slew
    assert built.gradients.raster == premier.scanner.gradients.raster
    assert built.f0 == prisma.scanner.f0
    assert built.transmit.rf_spoil_increment_deg == prisma.scanner.transmit.rf_spoil_increment_deg


def test_reconstructions_share_a_scan(pair):
    prisma, premier = pair
    both = [states(prisma, premier, c, switch_off)[1] for c in (EVERYTHING, EVERYTHING - {"reconstruction"})]
    assert both[0].scanner.recon != both[1].scanner.recon
    assert simulated_as(both[0], prisma) == simulated_as(both[1], prisma)


def test_null_players_are_found():
    scanner = load_scanner(NAMES["prisma"])
    alike = dataclasses.replace(scanner, name="twin")
    first, twin = side("prisma", seed=4), side("prisma", scanner=alike, seed=4)
    found = acting(first, twin, tuple(CAUSES), switch_off, own_tissue=False)
    # The same machine and the same visit: what acts on both alike acts still, exchanges change nothing.
    assert not set(found) & EXCHANGED
    assert "tissue" not in found
    assert {"susceptibility", "noise", "repositioning"} <= set(found)
    quiet = [
        dataclasses.replace(s, options=dataclasses.replace(s.options, noise=False)) for s in (first, twin)
    ]
    assert "noise" not in acting(*quiet, tuple(CAUSES), switch_off)
    assert acting(first, twin, ("protocol", "gain"), switch_off) == ("gain",)


def test_states_survive_json(pair):
    for state in states(*pair, EVERYTHING, switch_off):
        record = json.loads(json.dumps(state.record()))
        session = from_record(Session, record["session"])
        np.testing.assert_array_equal(session.pose.matrix, state.session.pose.matrix)
        assert plain(session) == plain(state.session)
        assert from_record(SimulationOptions, record["options"]) == state.options
        assert from_record(type(state.scanner), record["scanner"]) == state.scanner


def test_plain_data_only():
    with pytest.raises(ValueError, match="plain data"):
        plain({"a": object()})


def small_scan(state, rng):
    """The engine on an asymmetric block with a state's scanner and visit."""
    shape = (9, 8, 7)
    fraction = np.zeros(shape)
    fraction[2:7, 1:6, 2:5] = 1.0
    block = body(fraction, 0.02, (-0.08, -0.07, -0.06), t1=0.8, t2=0.08, chi=-9.05)
    sequence = spoiled_gre((10, 8, 6), (0.22, 0.2, 0.18), dummies=2)
    axes = np.eye(3)
    where = Prescription(read_dir=axes[0], phase_dir=axes[1], slice_dir=axes[2], center=np.zeros(3))
    return simulate(
        block, sequence, state.scanner, where, rng=rng, session=state.session, options=state.options
    ).data


def test_images_are_bit_identical_when_all_causes_are_off(pair):
    off = states(*pair, frozenset(), switch_off)
    assert off[0].noise_of == off[1].noise_of
    first, second = (small_scan(state, np.random.default_rng(5)) for state in off)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    on = states(*pair, frozenset({"transmit_calibration"}), switch_off)
    changed = [small_scan(state, np.random.default_rng(5)) for state in on]
    assert any(np.any(a != b) for a, b in zip(*changed, strict=True))


def test_the_noise_scan_is_heard_when_noise_is_off():
    flags = np.array([True, False, False, True, False])
    source = np.random.default_rng(3)
    every = np.random.default_rng(3).standard_normal((5, 2, 4, 2), dtype=np.float32)
    quiet = noise_scan_only(source, flags)
    drawn = np.concatenate([quiet.standard_normal((n, 2, 4, 2), dtype=np.float32) for n in (2, 3)])
    np.testing.assert_array_equal(drawn[flags], every[flags])
    assert not drawn[~flags].any()
    with pytest.raises(ValueError, match="5 readouts"):
        quiet.standard_normal((1, 2, 4, 2), dtype=np.float32)
    with pytest.raises(TypeError, match="readouts, coils"):
        quiet.standard_normal((2, 4))


def test_the_engine_draws_noise_as_the_silenced_generator_expects(pair):
    """Only the flagged readouts of a real scan are noisy."""
    state = states(*pair, EVERYTHING, switch_off)[0]
    clean = small_scan(
        dataclasses.replace(state, options=dataclasses.replace(state.options, noise=False)),
        np.random.default_rng(0),
    )
    flags = np.zeros(len(clean), bool)
    flags[[0, 5]] = True
    heard = small_scan(state, noise_scan_only(np.random.default_rng(8), flags))
    noisy = small_scan(state, np.random.default_rng(8))
    for flag, a, b, c in zip(flags, heard, noisy, clean, strict=True):
        np.testing.assert_array_equal(a, b if flag else c)
        assert np.any(b != c)

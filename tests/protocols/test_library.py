"""Library cards of the families beyond plain volumes: times, coverage and moments on their own scanners."""

import dataclasses

import numpy as np
import pytest

from protocols import (
    BuildError,
    RecordError,
    build,
    list_protocols,
    list_scanners,
    load_protocol,
    load_scanner,
    timing_errors,
)
from protocols.cards.series import series_cards

from .played import MACHINES, check_encoding, check_once, check_spoiler_rule, play
from .test_builders import plain

KINDS = ("gre", "bssfp", "mprage", "mp2rage", "tse", "se")
CARDS = [n for n in list_protocols() if load_protocol(n).sequence in KINDS and not plain(n)]
COARSE = 0.008  # m


def coarse(name):
    """The card at 8 mm, with few slices and few dummies; a train of at most 24 gradient echoes."""
    card = load_protocol(name).at_resolution(COARSE)
    if card.selection.mode == "slices":
        count = min(card.selection.n_slices, 4)
        selection = dataclasses.replace(
            card.selection, n_slices=count, concatenations=min(card.selection.concatenations, count)
        )
        card = card.replace(selection=selection)
    return card.replace(timing=dataclasses.replace(card.timing, dummy_shots=min(card.timing.dummy_shots, 3)))


@pytest.mark.parametrize("name", CARDS)
def test_card_plays_what_it_says(tmp_path, name):
    card = coarse(name)
    played = play(card, card.scanner, tmp_path)
    since = check_encoding(played)
    check_once(played, "LIN", "PAR", "SLC", "ECO")
    if card.sequence != "bssfp":
        check_spoiler_rule(played)
    _, ny, nz = card.geometry.matrix
    centre = (played.label("LIN") == ny // 2) & (played.label("PAR") == nz // 2) & (played.label("ECO") == 0)
    assert centre.sum() == (card.selection.n_slices if nz == 1 else 1)
    slack = 0.5 * card.timing.echo_spacing if card.sequence == "tse" else 1.6e-5  # an echo; rasters
    np.testing.assert_allclose(since[centre], card.timing.te, atol=slack)
    assert played.report.te == pytest.approx(since[centre][0], abs=1e-8)
    assert played.report.tr == pytest.approx(card.timing.tr, abs=2e-5)
    if card.timing.ti is not None:
        assert played.report.ti == pytest.approx(card.timing.ti, abs=2.1e-5)
    if card.echoes.count > 1:
        assert len(played.sequence.definitions["EchoTimes"]) == card.echoes.count
    lines = np.unique(played.label("LIN"))
    assert lines.size == np.unique(np.round(played.echoes()[0][:, 1] * card.geometry.fov[1])).size


def playable(card, machines):
    """Scanners on which a card can be played; there the timing check must pass."""
    found = []
    for machine in machines:
        try:
            sequence = build(card, load_scanner(machine))
        except BuildError:
            continue
        assert timing_errors(sequence) == []
        found.append(machine)
    return found


@pytest.mark.parametrize("name", CARDS)
def test_card_passes_the_timing_check_on_three_vendors(name):
    assert playable(coarse(name), MACHINES) == list(MACHINES)


@pytest.mark.slow
@pytest.mark.parametrize("name", CARDS)
def test_card_passes_the_timing_check_wherever_it_is_playable(name):
    assert len(playable(coarse(name), list_scanners())) >= 5


@pytest.mark.slow
@pytest.mark.parametrize("name", CARDS)
def test_native_card_has_no_timing_errors(name):
    card = load_protocol(name)
    assert playable(card, [card.scanner]) == [card.scanner]


def test_every_family_and_vendor_has_a_card():
    cards = [load_protocol(name) for name in list_protocols()]
    assert {card.sequence for card in cards} >= set(KINDS)
    vendors = {load_scanner(card.scanner).vendor for card in cards if card.series.flip_deg}
    assert vendors == {"Siemens", "GE", "Philips"}
    assert {card.selection.mode for card in cards} == {"none", "slab", "slices"}


def test_members_of_a_series_load_by_name():
    card = load_protocol("nist-prisma-vfa")
    assert load_protocol("nist-prisma-vfa-flip3") == series_cards(card)[2]
    assert load_protocol("rrsg-prisma-irt1-inv4").timing.ti == 2.5


def test_cube_reports_its_equivalent_te():
    """GE gives the equivalent TE: the card places the centre on the nearest echo, 2.8 ms at most away."""
    from protocols.families.builder import build_with_report

    card = coarse("abcd-mr750-t2w-cube")
    report = build_with_report(card, load_scanner(card.scanner))[1]
    assert report.effective_te == pytest.approx(1e-3 * card.vendor_value["echo_time_ms"], abs=2.8e-3)
    assert report.te > 2 * report.effective_te


@pytest.mark.parametrize(
    ("name", "group", "changes", "message"),
    [
        (
            "small-ingenia-dir",
            "timing",
            {"view_order": "reverse_centric"},
            "timing.view_order and inner_loop must be",
        ),
        ("small-ingenia-dir", "timing", {"ti2": 3.0}, "timing.ti2 must be absent, or shorter"),
        ("mp2rage-prisma-3t", "acceleration", {"elliptical": True}, "acceleration.elliptical must be false"),
        ("small-prisma-mese", "echoes", {"polarity": "bipolar"}, "echoes.polarity must be 'monopolar'"),
        ("mssmart-trio-flair-tse", "acceleration", {"elliptical": True}, "acceleration.elliptical must be"),
        ("nist-prisma-vfa", "rf", {"flip2_deg": 3.0}, "rf.flip2_deg must be absent"),
        ("nist-prisma-vfa", "refocusing", {"scheme": "prescribed"}, "refocusing.scheme must be 'points'"),
        ("adni2-trio-t2star", "selection", {"thickness": 0.005}, "must be selection.thickness"),
        (
            "small-prisma-bssfp",
            "selection",
            {"mode": "slices", "thickness": 0.192},
            "must have one partition",
        ),
    ],
)
def test_groups_that_a_family_does_not_play_are_refused(name, group, changes, message):
    card = load_protocol(name)
    with pytest.raises(RecordError, match=message):
        card.replace(**{group: dataclasses.replace(getattr(card, group), **changes)})

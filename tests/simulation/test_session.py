"""Visits: one stream per cause, recorded, and untouched by what is switched off."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from mrsim.simulation import SimulationOptions, draw_session
from mrsim.simulation.causes import CAUSES, REFERENCE_SPOIL_INCREMENT, switch_off
from mrsim.simulation.scan_events import draw_events
from mrsim.simulation.scanner_gradients import distortion_description, scanner_gradients
from mrsim.simulation.session import Session
from mrsim.simulation.streams import cause_stream
from protocols import Scanner
from protocols import load_scanner as library_scanner

PIVOT = np.array([0.01, -0.02, -0.05])


def load_scanner(name: str) -> Scanner:
    """Scanner of the library whose subjects move as cooperative adults do."""
    scanner = library_scanner(name)
    return scanner.replace(session=dataclasses.replace(scanner.session, motion="still"))


def visit(scanner, seed=3):
    return draw_session(scanner, np.random.default_rng(seed), pivot=PIVOT)


def bench(name="siemens-trio-3t"):
    scanner = load_scanner(name)
    return {"scanner": scanner, "session": visit(scanner), "options": SimulationOptions()}


def test_spreads_are_those_of_the_record():
    """400 visits: the standard error of an SD is 3.5 %, 15 % are four of them."""
    scanner = load_scanner("siemens-trio-3t")
    many = [visit(scanner, seed) for seed in range(400)]

    def spread(values):
        return np.std(np.asarray(values), axis=0)

    field, session, stability = scanner.field, scanner.session, scanner.stability
    np.testing.assert_allclose(spread([s.shim_error for s in many]), field.shim_residual, rtol=0.15)
    assert spread([s.frequency_offset for s in many]) == pytest.approx(field.drift_sd, rel=0.15)
    b1 = np.log([s.b1_scale for s in many])
    assert spread(b1) == pytest.approx(scanner.transmit.calibration_sd, rel=0.15)
    assert b1.mean() == pytest.approx(np.log1p(scanner.transmit.calibration_bias), abs=4e-3)
    assert spread(np.log([s.gain for s in many])) == pytest.approx(session.gain_sd, rel=0.15)
    drift = [s.frequency_drift for s in many]
    assert spread(drift) == pytest.approx(stability.frequency_drift_sd, rel=0.15)
    assert np.mean(drift) == pytest.approx(stability.frequency_drift, rel=0.2)
    assert spread([s.gain_drift for s in many]) == pytest.approx(stability.gain_drift_sd, rel=0.15)
    assert spread([s.pose.translation for s in many]) == pytest.approx(session.translation_sd, rel=0.15)
    # Different causes are independent: correlations below 4 / sqrt(400).
    table = np.array([[s.shim_error[0], s.frequency_offset, np.log(s.gain), s.frequency_drift] for s in many])
    off = np.corrcoef(table.T)[~np.eye(4, dtype=bool)]
    assert np.abs(off).max() < 0.2


def test_a_spread_of_zero_changes_no_other_draw():
    scanner = load_scanner("siemens-trio-3t")
    full = visit(scanner)
    for group, key in (
        ("field", "shim_residual"), ("field", "drift_sd"), ("transmit", "calibration_sd"),
        ("session", "gain_sd"),
        ("session", "translation_sd"), ("stability", "frequency_drift_sd"), ("stability", "gain_drift_sd"),
    ):  # fmt: skip
        part = visit(scanner.replace(**{group: dataclasses.replace(getattr(scanner, group), **{key: 0.0})}))
        changed = {k for k, v in part.record().items() if v != full.record()[k]}
        assert 1 <= len(changed) <= 2, (key, changed)


def test_records_are_json_and_complete():
    session = visit(load_scanner("siemens-trio-3t"))
    record = json.loads(json.dumps(session.record()))
    assert len(record) == len(dataclasses.fields(Session))
    assert [int(word) for word in record["entropy"]] == list(session.entropy)
    moved = np.asarray(record["head_to_world"]) @ [*PIVOT, 1.0]
    np.testing.assert_allclose(record["pivot_m"], moved[:3], atol=1e-12)


def test_streams_differ_by_visit_cause_and_scan():
    first = cause_stream((1, 2), "spikes", "t1w").normal(size=4)
    np.testing.assert_array_equal(first, cause_stream((1, 2), "spikes", "t1w").normal(size=4))
    for other in (((1, 3), "spikes", "t1w"), ((1, 2), "motion", "t1w"), ((1, 2), "spikes", "flair")):
        assert not np.array_equal(first, cause_stream(*other).normal(size=4))


def test_events_of_a_scan():
    session = dataclasses.replace(visit(load_scanner("siemens-trio-3t")), spike_rate=3.0)
    scan = {"duration": 120.0, "samples": [64] * 200}
    a, b = draw_events(session, key="t1w", **scan), draw_events(session, key="t1w", **scan)
    assert a.record() == b.record()
    assert json.loads(json.dumps(a.record()))["motion"]["kind"] == "linear"
    np.testing.assert_array_equal(a.motion.center, session.pivot)
    assert draw_events(session, key="flair", **scan).record() != a.record()
    quiet = draw_events(dataclasses.replace(session, motion="none"), key="t1w", **scan)
    assert quiet.motion is None
    assert quiet.spikes == a.spikes  # the other draw is the same
    assert draw_events(Session(), key="t1w", **scan).record() == {"motion": None, "spikes": []}


def test_bad_sessions():
    with pytest.raises(ValueError, match="motion must be one of none, still"):
        Session(motion="dancing")
    with pytest.raises(ValueError, match=r"spike_rate must be 0\.\.1000"):
        Session(spike_rate=-1.0)


# Causes -------------------------------------------------------------------------------------------------

WATCHED = {
    "susceptibility": lambda s, v, o: s.field.susceptibility == 0,
    "shim": lambda s, v, o: not any(v.shim_error) and s.field.shim_order == 2 and s.field.shim_residual == 0,
    "frequency": lambda s, v, o: v.frequency_offset == 0,
    "transmit_pattern": lambda s, v, o: s.transmit.dome == 0,
    "transmit_calibration": lambda s, v, o: v.b1_scale == 1 and s.transmit.calibration_bias == 0,
    "receive_profile": lambda s, v, o: s.receive.flat,
    "noise": lambda s, v, o: not o.noise,
    "gradient_scale": lambda s, v, o: not any(s.gradients.scale_error),
    "gradient_nonlinearity": lambda s, v, o: distortion_description(s)["correction"] == "none",
    "concomitant": lambda s, v, o: not scanner_gradients(s).concomitant,
    "gradient_response": lambda s, v, o: not scanner_gradients(s).changes_waveforms,
    "frequency_drift": lambda s, v, o: v.frequency_drift == 0,
    "gain": lambda s, v, o: v.gain == 1 and v.gain_drift == 0,
    "spikes": lambda s, v, o: v.spike_rate == 0,
    "rf_spoiling": lambda s, v, o: s.transmit.rf_spoil_increment_deg == REFERENCE_SPOIL_INCREMENT,
    "motion": lambda s, v, o: v.motion == "none",
    "repositioning": lambda s, v, o: np.array_equal(v.pose.matrix, np.eye(4)),
    "chemical_shift": lambda s, v, o: not o.chemical_shift,
    "slice_profile": lambda s, v, o: not o.slice_profile,
}


def test_the_causes_are_those_agreed_and_say_what_off_means():
    study = {name for name, cause in CAUSES.items() if cause.layer == "study"}
    assert study == {"field", "tissue", "protocol", "reconstruction"}
    assert set(CAUSES) == set(WATCHED) | study
    assert all(cause.title and cause.off and cause.source for cause in CAUSES.values())


@pytest.mark.parametrize("name", sorted(WATCHED))
def test_each_cause_is_switched_off_alone(name):
    before = bench()
    after = switch_off([name], **before)
    nominal = {n: check(*after) for n, check in WATCHED.items()}
    assert [n for n, off in nominal.items() if off] == [name]


def test_all_off_leaves_an_ideal_machine_and_order_does_not_matter():
    start = bench()
    names = sorted(CAUSES)
    forward, backward = switch_off(names, **start), switch_off(reversed(names), **start)
    assert forward[0] == backward[0]
    assert forward[1].record() == backward[1].record()
    assert forward[2] == backward[2]
    scanner, session, _ = forward
    system = scanner_gradients(scanner)
    assert system.field is None and not system.changes_waveforms and not system.concomitant  # noqa: PT018
    left = {k for k, v in session.record().items() if v != Session().record()[k]}
    # What is left is never used: no movement, no spikes.
    assert left <= {"entropy", "pivot_m", "spike_amplitude"}
    # A visit that is drawn anew from the switched record is nominal too.
    assert {k for k, v in visit(scanner).record().items() if v != Session().record()[k]} <= left


def test_causes_of_the_study_change_nothing_here():
    start = bench()
    scanner, session, options = switch_off(["field", "tissue", "protocol", "reconstruction"], **start)
    assert (scanner, session, options) == (start["scanner"], start["session"], start["options"])


def test_unknown_causes_are_named():
    with pytest.raises(ValueError, match=r"got 'shimming'\. Did you mean 'shim'"):
        switch_off(["shimming"], **bench())

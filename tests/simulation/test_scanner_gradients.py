"""From scanner records to gradient systems, and what a reconstruction may know."""

import dataclasses
import json

import numpy as np
import pytest

from mrsim.simulation.gradient_fields import SphericalHarmonicField
from mrsim.simulation.gradients import EddyCurrent, GradientSystem
from mrsim.simulation.scanner_gradients import distortion_description, scanner_gradients
from mrsim.simulation.waveform import Integrals, Waveform, reach
from protocols import (
    EddyTerm,
    GradientResponse,
    RecordError,
    list_scanners,
    load_coil,
    load_protocol,
    load_scanner,
    read_seq,
    write_seq,
)

from .conftest import scanner


def test_an_ideal_record_gives_perfect_gradients():
    for machine in (scanner(), load_scanner("ideal-3t")):
        system = scanner_gradients(machine)
        assert system.field is None
        assert not system.changes_waveforms
        assert not system.concomitant
        assert distortion_description(machine)["correction"] == "none"


@pytest.mark.parametrize("name", [n for n in list_scanners() if n != "ideal-3t"])
def test_real_machines_have_every_imperfection(name):
    machine = load_scanner(name)
    system = scanner_gradients(machine)
    assert system.concomitant
    assert system.changes_waveforms
    assert max(abs(d) for d in system.delay) <= 1e-6
    assert all(1e-5 < abs(e.amplitude) < 1e-2 for e in system.eddy)
    assert any(e.target is None for e in system.eddy)
    r = np.array([[0.03, -0.08, 0.05]])
    moved = np.linalg.norm(system.field.field(r) - r)
    assert 1e-4 < moved < 3e-3
    known = distortion_description(machine)
    assert known["correction"] in ("2d", "3d")
    assert json.loads(json.dumps(known)) == known


def test_scale_errors_stretch_the_field_of_the_coil():
    machine = scanner()
    gradients = dataclasses.replace(
        machine.gradients, coil="synthetic-ge-50", coil_error=0.1, scale_error=(0.01, 0.0, -0.02)
    )
    field = scanner_gradients(machine.replace(gradients=gradients)).field
    r = np.array([[0.03, -0.08, 0.05]])
    known = SphericalHarmonicField.of_coil(load_coil("synthetic-ge-50")).field(r) - r
    np.testing.assert_allclose(field.field(r), (r + 1.1 * known) * [1.01, 1.0, 0.98], rtol=1e-12)


def test_the_description_is_the_vendors_table_not_the_machine():
    machine = load_scanner("siemens-prisma-3t")
    known = distortion_description(machine)
    field = SphericalHarmonicField(
        radius=known["radius"],
        cosine=tuple(tuple(tuple(t) for t in axis) for axis in known["cosine"]),
        sine=tuple(tuple(tuple(t) for t in axis) for axis in known["sine"]),
    )
    table = SphericalHarmonicField.of_coil(load_coil("synthetic-siemens-80"))
    r = np.array([[0.03, -0.08, 0.05], [0.1, 0.02, -0.04]])
    np.testing.assert_allclose(field.field(r), table.field(r), rtol=1e-14)
    # What correction leaves: the machine's own 4 % excess.
    true = scanner_gradients(machine).field
    left = true.field(r) - table.field(r)
    np.testing.assert_allclose(left, 0.04 * (table.field(r) - r), atol=1e-15)


def test_records_become_delays_and_eddy_currents():
    response = GradientResponse(
        delay=(1e-6, -2e-6, 0.0), low_pass=8e3,
        eddy=(EddyTerm(source="x", target="b0", amplitude=1e-4, time_constant=5e-3),
              EddyTerm(source="z", target="y", amplitude=-2e-3, time_constant=0.1)),
    )  # fmt: skip
    machine = scanner().replace(
        response=response, provenance={**scanner().provenance, "response": scanner().provenance["field"]}
    )
    system = scanner_gradients(machine)
    assert system.delay == (1e-6, -2e-6, 0.0)
    assert system.low_pass == 8e3
    assert system.eddy == (
        EddyCurrent(source=0, target=None, amplitude=1e-4, time_constant=5e-3),
        EddyCurrent(source=2, target=1, amplitude=-2e-3, time_constant=0.1),
    )


def test_a_response_needs_a_source():
    with pytest.raises(RecordError, match=r"response\.source: missing"):
        scanner().replace(response=GradientResponse(low_pass=5e3))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"source": "b0"}, "source must be x, y or z; got 'b0'"),
        ({"amplitude": 0.5}, "amplitude must be -0.1..0.1"),
        ({"time_constant": 20.0}, "time_constant must be 1e-5..5 s; got 20"),
    ],
)
def test_bad_eddy_terms(values, text):
    good = {"source": "x", "target": "x", "amplitude": 1e-3, "time_constant": 1e-2}
    with pytest.raises(RecordError, match=text):
        EddyTerm(**{**good, **values})


def test_transfer_function_in_closed_form():
    """At f = 1 / (2 pi tau) an eddy current of amplitude a takes a (1 + i) / 2 away."""
    tau, a = 5e-3, 4e-3
    f = np.array([0.0, 1 / (2 * np.pi * tau), 3e3])
    system = GradientSystem(
        delay=(2e-6, 0.0, 0.0), low_pass=6e3,
        eddy=(EddyCurrent(source=1, target=1, amplitude=a, time_constant=tau),
              EddyCurrent(source=0, target=None, amplitude=3e-4, time_constant=tau)),
    )  # fmt: skip
    h = system.transfer(f)
    low = np.exp(-((f / 6e3) ** 2))
    np.testing.assert_allclose(h[0, 0], low * np.exp(-2j * np.pi * f * 2e-6), atol=1e-15)
    assert h[1, 1, 1] == pytest.approx(low[1] - a * (1 + 1j) / 2)
    assert h[3, 0, 1] == pytest.approx(-3e-4 * (1 + 1j) / 2)
    np.testing.assert_allclose(h[2, 2], low)
    np.testing.assert_allclose(h[..., 0], np.vstack([np.eye(3), np.zeros((1, 3))]), atol=1e-15)
    off = h.copy()
    for t, s in ((0, 0), (1, 1), (2, 2), (3, 0)):
        off[t, s] = 0
    assert not off.any()


@pytest.mark.parametrize("name", ["siemens-prisma-3t", "ge-mr750-3t"])
def test_the_scanners_raster_is_fine_enough(tmp_path, name):
    """Moments of 0.2 s of MPRAGE against 2 us steps: 1e-3 cycles per metre, 1e-4 of a turn at 0.1 m."""
    machine = load_scanner(name)
    card = load_protocol("onharmony-prisma-t1w-mprage").at_resolution(24e-3)
    write_seq(tmp_path / "a.seq", card, machine)
    sequence = read_seq(tmp_path / "a.seq")
    begin = float(sequence.start[sequence.adc_blocks[40]])
    first, last = np.searchsorted(sequence.start, [begin, begin + 0.2])
    begin, end = float(sequence.start[first]), float(sequence.start[last])
    moments, sizes = [], []
    system = scanner_gradients(machine)
    for used in (system, dataclasses.replace(system, raster=2e-6, straight=1e-10)):
        before, after = used.memory
        low = np.searchsorted(sequence.start + sequence.duration, begin - before, side="right")
        high = np.searchsorted(sequence.start, end + after)
        wave = reach(Waveform.of_blocks(sequence, np.arange(low, high), begin), -before, end - begin + after)
        played = used.play(wave, 0.0, end - begin)
        moments.append(Integrals(played).moment(np.linspace(0.0, end - begin, 5001)))
        sizes.append(len(played.left))
    difference = np.abs(moments[0] - moments[1])
    assert difference[:, :3].max() < 1e-3
    assert difference[:, 3].max() < 1e-6
    assert np.ptp(moments[1][:, 0]) > 40
    assert sizes[0] < 0.8 * (end - begin) / system.raster

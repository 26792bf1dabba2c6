"""Built sequences, measured from what our reader gets back from the file."""

import dataclasses
import math

import numpy as np
import pytest

from protocols import (
    BuildError,
    build,
    list_protocols,
    load_protocol,
    load_scanner,
    read_seq,
    timing_errors,
    write_seq,
)


def plain(name):
    """Volumes by hard pulses, one contrast; the other cards are tested in `test_library`."""
    card = load_protocol(name)
    simple = card.selection.mode == "none" and card.echoes.count == 1 and card.refocusing.scheme == "points"
    return simple and card.sequence in ("gre", "mprage", "tse") and not card.acceleration.elliptical


CARDS = [n for n in list_protocols() if plain(n)]
QUICK = 0.004  # m


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Every card at 4 mm: protocol, scanner, report and the sequence read back."""
    folder = tmp_path_factory.mktemp("seq")
    result = {}
    for name in CARDS:
        protocol = load_protocol(name).at_resolution(QUICK)
        scanner = load_scanner(protocol.scanner)
        report = write_seq(folder / f"{name}.seq", protocol, scanner)
        result[name] = (protocol, scanner, report, read_seq(folder / f"{name}.seq"))
    return result


def centers(sequence):
    """Block, absolute centre time and event of every RF pulse."""
    blocks = sequence.rf_blocks
    return blocks, sequence.rf_center_times(), [sequence.rf_event(b) for b in blocks]


def trajectory(sequence, report):
    """k at the centre sample of each readout and the time from the last excitation, by integration.

    Written from the definition: moments add up from the excitation, each refocusing pulse flips them.
    """
    moments = sequence.block_moments()
    k, points, since, excited = np.zeros(3), [], [], None
    for block in range(sequence.n_blocks):
        pulse = sequence.rf_event(block)
        axes = sequence.gradients(block)
        if pulse is not None:
            before = np.array([0.0 if g is None else float(g.integral(pulse.center)) for g in axes])
            if pulse.use == "excitation":
                k, excited = -before, sequence.start[block] + pulse.center
            else:
                k = -(k + before) - before
        adc = sequence.adc_event(block)
        if adc is not None and excited is not None:
            at = adc.sample_times[report.center_sample]
            points.append(k + [0.0 if g is None else float(g.integral(at)) for g in axes])
            since.append(sequence.start[block] + at - excited)
        k = k + moments[block]
    return np.array(points), np.array(since)


def tolerance(protocol):
    """Files hold amplitudes with six digits: up to 1e-6 of k max per encoding and readout event."""
    return 4e-6 / min(protocol.geometry.voxel_size)


@pytest.mark.parametrize("name", CARDS)
def test_matrix_is_covered_and_labels_say_where(built, name):
    protocol, _, report, sequence = built[name]
    points, _ = trajectory(sequence, report)
    imaging = sequence.label("NOISE") == 0
    assert imaging.sum() == report.readouts == points.shape[0]
    (nx, ny, nz), fov = protocol.geometry.matrix, protocol.geometry.fov
    lin, par = sequence.label("LIN")[imaging], sequence.label("PAR")[imaging]
    np.testing.assert_allclose(points[:, 1], (lin - ny // 2) / fov[1], atol=tolerance(protocol))
    np.testing.assert_allclose(points[:, 2], (par - nz // 2) / fov[2], atol=tolerance(protocol))
    np.testing.assert_allclose(points[:, 0], 0.0, atol=tolerance(protocol))
    pairs = set(zip(lin.tolist(), par.tolist(), strict=True))
    assert len(pairs) == report.readouts  # nothing twice
    speed = protocol.acceleration
    first = ny - math.ceil(ny * speed.partial_fourier_phase)
    half = speed.reference_lines // 2
    wanted = {
        y
        for y in range(first, ny)
        if (y - ny // 2) % speed.phase == 0 or (speed.phase > 1 and -half <= y - ny // 2 < half)
    }
    assert pairs == {(y, z) for y in wanted for z in range(nz)}
    assert (ny // 2, nz // 2) in pairs
    assert nx * 2 >= report.samples


@pytest.mark.parametrize("name", CARDS)
def test_te_ti_tr_measured_from_the_pulses(built, name):
    protocol, scanner, report, sequence = built[name]
    timing, raster = protocol.timing, scanner.gradients.block_raster
    _, since = trajectory(sequence, report)
    imaging = np.flatnonzero(sequence.label("NOISE") == 0)
    lin, par = sequence.label("LIN")[imaging], sequence.label("PAR")[imaging]
    _, ny, nz = protocol.geometry.matrix
    center = int(np.flatnonzero((lin == ny // 2) & (par == nz // 2))[0])
    # The readout moves in steps of the RF raster (<= 2 us); a TSE's TE is a multiple of the spacing.
    assert since[center] == pytest.approx(report.te, abs=1e-9)
    slack = 2e-6 if protocol.sequence != "tse" else 0.5 * timing.echo_spacing
    assert abs(report.te - timing.te) <= slack
    block = sequence.adc_blocks[imaging[center]]
    _, times, pulses = centers(sequence)
    here = sequence.start[block]
    uses = np.array([p.use for p in pulses])
    excitations, inversions = times[uses == "excitation"], times[uses == "inversion"]
    if timing.ti is not None:
        excited = excitations[excitations < here].max()
        inverted = inversions[inversions < here].max()
        assert excited - inverted == pytest.approx(report.ti, abs=1e-7)
        # inversion pulses may be centred off the raster by half an RF sample
        assert abs(report.ti - timing.ti) <= raster
        assert np.diff(inversions) == pytest.approx(timing.tr, abs=raster)
    if protocol.sequence == "mprage":
        spacings = np.diff(excitations)
        assert np.median(spacings) == pytest.approx(timing.echo_spacing, abs=raster)
        assert (
            report.center_echo
            == int((excitations[excitations > inverted] < here - 1e-4).sum()) % 10**6
            - (int((excitations > here).sum() * 0))
            - int((excitations[excitations > inverted] < excited).sum() * 0)
            - 1
        )
    if protocol.sequence == "gre":
        assert np.diff(excitations) == pytest.approx(timing.tr, abs=raster)


@pytest.mark.parametrize("name", CARDS)
def test_net_moments_are_integer_multiples_of_one_spoiler(built, name):
    protocol, _, report, sequence = built[name]
    moments = np.concatenate([np.zeros((1, 3)), np.cumsum(sequence.block_moments(), axis=0)])
    at_rf = []
    for block in sequence.rf_blocks:
        center = sequence.rf_event(block).center
        part = [0.0 if g is None else float(g.integral(center)) for g in sequence.gradients(block)]
        at_rf.append(moments[block] + part)
    between = np.diff(np.array(at_rf), axis=0)
    order = between[:, 0] / report.spoiler_moment
    # Amplitudes with six digits are off by up to 5e-6 of themselves; an interval has three events.
    np.testing.assert_allclose(order, np.round(order), rtol=1.5e-5)
    assert np.round(order).min() >= 1
    assert np.abs(between[:, 1:]).max() <= tolerance(protocol)
    uses = [sequence.rf_event(b).use for b in sequence.rf_blocks]
    if protocol.sequence == "tse":
        pairs = {
            (a, b): set(np.round(order[[i for i in range(len(order)) if uses[i : i + 2] == [a, b]]]).tolist())
            for a, b in (("excitation", "refocusing"), ("refocusing", "refocusing"))
        }
        assert pairs["excitation", "refocusing"] == {1.0}
        assert pairs["refocusing", "refocusing"] == {2.0}


@pytest.mark.parametrize("name", [n for n in CARDS if load_protocol(n).sequence == "tse"])
def test_cpmg_echo_forms_at_the_centre_sample(built, name):
    protocol, scanner, report, sequence = built[name]
    blocks, times, pulses = centers(sequence)
    uses = [p.use for p in pulses]
    excitation = uses.index("excitation")
    first = times[excitation + 1] - times[excitation]
    assert first == pytest.approx(0.5 * report.echo_spacing, abs=0.5 * scanner.gradients.block_raster + 1e-9)
    phase = pulses[excitation].phase_offset - pulses[excitation + 1].phase_offset
    assert abs(phase) == pytest.approx(math.pi / 2, abs=1e-5)
    adc_block = sequence.adc_blocks[-1]
    at = sequence.start[adc_block] + sequence.adc_event(adc_block).sample_times[report.center_sample]
    last = times[blocks < adc_block].max()
    # ADC starts on the RF raster
    assert at - last == pytest.approx(0.5 * report.echo_spacing, abs=scanner.gradients.rf_raster)
    angles = np.array([p.flip_angle for p, use in zip(pulses, uses, strict=True) if use == "refocusing"])
    train = angles[: protocol.timing.turbo_factor]
    assert np.rad2deg(train[0]) == pytest.approx(protocol.rf.refocusing_deg[0], rel=1e-4)
    assert np.rad2deg(train[-1]) == pytest.approx(protocol.rf.refocusing_deg[-1], rel=1e-4)


@pytest.mark.parametrize("name", CARDS)
def test_hardware_limits_hold(built, name):
    _, scanner, _, sequence = built[name]
    limits = scanner.gradients
    gamma = 42.577478518e6
    for event in sequence.grad_events:
        assert np.abs(event.values).max() <= limits.design_amplitude * gamma * (1 + 1e-6)
        slew = np.abs(np.diff(event.values) / np.diff(event.times)).max()
        assert slew <= limits.design_slew * gamma * (1 + 1e-5)
        steps = event.times / limits.raster
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-6)


@pytest.mark.parametrize("name", CARDS)
def test_noise_scan_dummies_and_flags(built, name):
    protocol, _, report, sequence = built[name]
    noise = sequence.label("NOISE")
    assert noise[0] == 1
    assert noise[1:].sum() == 0
    first = sequence.adc_blocks[0]
    assert sequence.rf[first] == 0
    assert not any(sequence.gradients(first))
    assert sequence.adc_event(first).num >= 2000
    assert sequence.adc_event(first).dwell == pytest.approx(report.dwell)
    lin = sequence.label("LIN")[1:]
    reference, both = sequence.label("REF")[1:].astype(bool), sequence.label("IMA")[1:].astype(bool)
    centred = lin - protocol.geometry.matrix[1] // 2
    speed = protocol.acceleration
    half = speed.reference_lines // 2 if speed.phase > 1 else 0
    np.testing.assert_array_equal(reference, (centred >= -half) & (centred < half))
    np.testing.assert_array_equal(both, reference & (centred % speed.phase == 0))
    excitations = [b for b in sequence.rf_blocks if sequence.rf_event(b).use == "excitation"]
    played = sum(b < sequence.adc_blocks[1] for b in excitations) - 1
    per_shot = protocol.timing.turbo_factor if protocol.sequence == "mprage" else 1
    assert played >= protocol.timing.dummy_shots * per_shot


@pytest.mark.parametrize("name", CARDS)
def test_definitions_serve_a_raw_data_writer(built, name):
    protocol, scanner, report, sequence = built[name]
    definitions = sequence.definitions
    nx, ny, nz = protocol.geometry.matrix
    assert definitions["MatrixEncoded"] == (2 * nx, ny, nz)
    assert definitions["KSpaceCenterLine"] == ny // 2
    assert definitions["TE"] == pytest.approx(report.te, rel=1e-8)
    assert definitions["FlipAngle"] == pytest.approx(math.radians(protocol.rf.flip_deg))
    assert definitions["Name"] == protocol.name
    assert definitions["Scanner"] == scanner.name
    np.testing.assert_allclose(
        np.cross(definitions["ReadDirection"], definitions["PhaseDirection"]), definitions["SliceDirection"]
    )
    assert sequence.signature.verified
    assert sequence.total_duration == pytest.approx(report.scan_time, abs=1e-6)


def test_rf_spoiling_is_quadratic_and_starts_anew_in_each_shot(built):
    protocol, scanner, _, sequence = built["onharmony-ingenia-t1w-tfe"]
    _, _, pulses = centers(sequence)
    phases = np.rad2deg([p.phase_offset for p in pulses if p.use == "excitation"])
    shot = phases[: protocol.timing.turbo_factor]
    increments = np.diff(np.diff(shot))
    assert scanner.transmit.rf_spoil_increment_deg == 150.0
    np.testing.assert_allclose(np.mod(increments + 180, 360) - 180, 150.0, atol=1e-3)
    np.testing.assert_array_equal(phases[protocol.timing.turbo_factor :][: shot.size], shot)
    # the receiver follows the transmitter
    for adc in sequence.adc_blocks[1:200]:
        assert sequence.adc_event(adc).phase_offset == pytest.approx(
            sequence.rf_event(adc - 1).phase_offset, abs=1e-5
        )


def test_adiabatic_inversion_inverts_over_a_wide_range_of_b1(built):
    """Bloch rotation of the written pulse: the closed-form limit of an adiabatic passage is -1."""
    _, _, _, sequence = built["onharmony-prisma-t1w-mprage"]
    pulse = next(p for p in centers(sequence)[2] if p.use == "inversion")
    for scale in (0.8, 1.0, 1.2):
        m = np.array([0.0, 0.0, 1.0])
        for b1, width in zip(pulse.b1 * scale, pulse.sample_widths, strict=True):
            angle, axis = 2 * np.pi * abs(b1) * width, np.angle(b1)
            n = np.array([np.cos(axis), np.sin(axis), 0.0])
            m = m * np.cos(angle) + np.cross(n, m) * np.sin(angle) + n * (n @ m) * (1 - np.cos(angle))
        assert m[2] < -0.95


@pytest.mark.parametrize(
    ("group", "changes", "message"),
    [
        ("timing", {"te": 0.001}, r"timing.te must be at least 0\.00\d+ s"),
        ("timing", {"echo_spacing": 0.003}, r"timing.echo_spacing must be at least 0\.00\d+ s"),
        ("timing", {"ti": 0.05}, r"timing.ti must be at least 0\.\d+ s"),
        ("timing", {"tr": 0.9}, r"timing.tr must be at least 0\.\d+ s"),
        ("readout", {"bandwidth": 90000.0}, r"readout.bandwidth must"),
    ],
)
def test_impossible_times_name_the_possible_one(group, changes, message):
    protocol = load_protocol("onharmony-ingenia-t1w-tfe").at_resolution(0.008)
    part = dataclasses.replace(getattr(protocol, group), **changes)
    with pytest.raises(BuildError, match=message):
        build(protocol.replace(**{group: part}), load_scanner("philips-ingenia-3t"))


def test_the_named_minimum_is_playable():
    protocol = load_protocol("onharmony-ingenia-flair-vista").at_resolution(0.008)
    scanner = load_scanner(protocol.scanner)
    short = dataclasses.replace(protocol.timing, echo_spacing=0.002, te=0.182)
    with pytest.raises(BuildError) as caught:
        build(protocol.replace(timing=short), scanner)
    least = float(str(caught.value).split("at least ")[1].split(" s")[0])
    fits = dataclasses.replace(short, echo_spacing=least, te=91 * least)
    assert timing_errors(build(protocol.replace(timing=fits), scanner)) == []


def test_plain_spin_echo_has_one_echo_at_te(tmp_path):
    protocol = load_protocol("mssmart-avanto-flair-tse").at_resolution(0.012)
    timing = dataclasses.replace(protocol.timing, turbo_factor=1, echo_spacing=None, te=0.03, tr=0.6, ti=None)
    rf = dataclasses.replace(protocol.rf, inversion="none")
    protocol = protocol.replace(timing=timing, rf=rf)
    report = write_seq(tmp_path / "se.seq", protocol, load_scanner(protocol.scanner))
    sequence = read_seq(tmp_path / "se.seq")
    _, since = trajectory(sequence, report)
    np.testing.assert_allclose(since, 0.03, atol=1.1e-5)  # half a block raster before each pulse
    assert report.shots == report.readouts + 1


def test_centric_order_puts_the_centre_first(tmp_path):
    protocol = load_protocol("onharmony-prisma-t1w-mprage").at_resolution(0.008)
    protocol = protocol.replace(timing=dataclasses.replace(protocol.timing, view_order="centric"))
    report = write_seq(tmp_path / "c.seq", protocol, load_scanner(protocol.scanner))
    sequence = read_seq(tmp_path / "c.seq")
    assert report.center_echo == 0
    nz = protocol.geometry.matrix[2]
    train = np.abs(sequence.label("PAR")[1 : nz + 1] - nz // 2)
    assert (np.diff(train) >= 0).all()


def test_full_timing_check_agrees_with_the_distinct_one():
    protocol = load_protocol("onharmony-premier-t1w-mprage").at_resolution(0.012)
    sequence = build(protocol, load_scanner(protocol.scanner))
    ok, errors = sequence.check_timing()
    assert ok
    assert errors == []
    assert timing_errors(sequence) == []
    number = sequence.adc_library.insert(
        0, (*sequence.adc_library.data[2][:2], 0.0, *sequence.adc_library.data[2][3:])
    )
    sequence.block_events[4][5] = number
    sequence.block_cache.clear()
    assert len(timing_errors(sequence)) >= 1


@pytest.mark.slow
@pytest.mark.parametrize("name", CARDS)
def test_native_resolution_has_no_timing_errors(name, tmp_path):
    protocol = load_protocol(name)
    report = write_seq(tmp_path / "native.seq", protocol, load_scanner(protocol.scanner))
    sequence = read_seq(tmp_path / "native.seq")
    assert report.readouts == (sequence.label("NOISE") == 0).sum()

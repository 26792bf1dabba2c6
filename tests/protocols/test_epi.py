"""Echo-planar scans, measured from what our reader gets back from the file."""

import dataclasses

import numpy as np
import pytest

from protocols import (
    GAMMA_BAR,
    Acceleration,
    BuildError,
    Readout,
    Timing,
    build,
    gradient_jumps,
    load_scanner,
)
from protocols.cards.settings_epi import Epi
from protocols.families.epi_train import imaging_lines

from .paths import VENDORS, card, labels, net_moments, played, walk

CASES = {
    "gradient echo": {},
    "flat tops": {
        "readout": Readout(bandwidth=1000.0),
        "epi": Epi(ramp_sampling=False, navigator=False),
    },
    "accelerated spin echo": {
        "epi": Epi(spin_echo=True, shots=2, reference_scan=True, fat_saturation=True, phase_polarity=(1, -1)),
        "acceleration": Acceleration(phase=2, reference_lines=16, partial_fourier_phase=0.75),
        "timing": Timing(tr=0.7, te=0.05, dummy_shots=1),
    },
}


@pytest.fixture(
    scope="module", params=[(v, c) for c in CASES for v in VENDORS], ids=lambda p: f"{p[1]}, {p[0]}"
)
def scan(request, tmp_path_factory):
    """Card, scanner, report and sequence of each case on each vendor (the timing check has passed)."""
    vendor, case = request.param
    protocol = card(scanner=vendor, **CASES[case])
    report, sequence = played(tmp_path_factory.mktemp("epi"), protocol)
    return protocol, load_scanner(vendor), report, sequence


def rounding(protocol):
    """Amplitudes with six digits, some 60 events after an excitation: 1e-5 of k max."""
    return 1e-5 / min(protocol.geometry.voxel_size)


def test_every_line_lies_where_its_label_says(scan):
    protocol, _, report, sequence = scan
    points, _ = walk(sequence)
    _, ny, _ = protocol.geometry.matrix
    lin, nav = labels(sequence, "LIN"), labels(sequence, "NAV")
    assert len(points) == report.readouts + nav.sum()
    wanted = np.where(nav == 1, 0.0, (lin - ny // 2) / protocol.geometry.fov[1])
    middle = np.array([p[report.center_sample] for p in points])
    np.testing.assert_allclose(middle[:, 1], wanted, atol=rounding(protocol))
    np.testing.assert_allclose(middle[:, 2], 0.0, atol=rounding(protocol))
    for p in points:  # no blip falls into a readout
        assert np.ptp(p[:, 1]) < rounding(protocol)


def test_backward_lines_mirror_forward_ones_and_cross_zero_on_a_sample(scan):
    protocol, _, report, sequence = scan
    points, _ = walk(sequence)
    backward = labels(sequence, "REV").astype(bool)
    x = np.array([p[::-1, 0] if b else p[:, 0] for p, b in zip(points, backward, strict=True)])
    assert backward.any()
    np.testing.assert_allclose(x - x[0], 0.0, atol=rounding(protocol))
    np.testing.assert_allclose(x[:, report.center_sample], 0.0, atol=rounding(protocol))
    # The samples' dwells cover the matrix's extent, and are nowhere coarser than the field of view allows.
    nx, fov = protocol.geometry.matrix[0], protocol.geometry.fov[0]
    step = np.diff(x[0])
    covered = np.ptp(x[0]) + 0.5 * (step[0] + step[-1])
    # Half a dwell at each end lies on a ramp: second order in dwell / rise.
    assert covered == pytest.approx(nx / fov, rel=2e-3)
    assert step.max() <= 1.0 / (protocol.readout.oversampling * fov) * (1 + 1e-5)


def test_definition_of_the_ramp_gives_the_positions(scan):
    protocol, _, report, sequence = scan
    rise, flat, delay, dwell, samples = sequence.definitions["EpiRamp"]
    assert samples == report.samples
    t = delay + (np.arange(int(samples)) + 0.5) * dwell
    top = np.clip(t - rise, 0, flat)
    fall = np.clip(t - rise - flat, 0, rise)
    area = 0.5 * np.clip(t, 0, rise) ** 2 / rise + top + fall - 0.5 * fall**2 / rise
    points, _ = walk(sequence)
    forward = np.flatnonzero(labels(sequence, "REV") == 0)[0]
    measured = points[forward][:, 0]
    scale = np.polyfit(area, measured, 1)
    np.testing.assert_allclose(np.polyval(scale, area), measured, atol=rounding(protocol))


def test_echo_time_counts_to_the_central_line(scan):
    protocol, scanner, report, sequence = scan
    points, since = walk(sequence)
    lin, nav, ref = (labels(sequence, n) for n in ("LIN", "NAV", "REF"))
    backward = labels(sequence, "REV")
    ny = protocol.geometry.matrix[1]
    central = np.flatnonzero((lin == ny // 2) & (nav == 0))
    times = np.array(
        [
            since[n][::-1][report.center_sample] if backward[n] else since[n][report.center_sample]
            for n in central
        ]
    )
    assert len(points[0]) == report.samples
    assert times[ref[central] == 0][0] == pytest.approx(report.te, abs=1e-9)
    # Trains start on the block raster, half a sample before or after the middle of a line.
    assert np.abs(times - protocol.timing.te).max() <= 0.5 * scanner.gradients.block_raster + report.dwell


def test_refocusing_at_half_the_echo_time(scan):
    protocol, scanner, _, sequence = scan
    if not protocol.epi.spin_echo:
        assert "refocusing" not in {e.use for e in sequence.rf_events}
        return
    times = sequence.rf_center_times()
    uses = np.array([sequence.rf_event(b).use for b in sequence.rf_blocks])
    half = times[uses == "refocusing"] - times[uses == "excitation"]
    np.testing.assert_allclose(
        half, 0.5 * protocol.timing.te, atol=0.5 * scanner.gradients.block_raster + 1e-9
    )
    phases = {
        u: np.array([sequence.rf_event(b).phase_offset for b in sequence.rf_blocks[uses == u]])
        for u in ("excitation", "refocusing")
    }
    # Every slice is off the centre: compare the phases at the RF centres, after the carriers' own turn.
    shift = {}
    for use, phase in phases.items():
        events = [sequence.rf_event(b) for b in sequence.rf_blocks[uses == use]]
        at = np.array([2 * np.pi * e.freq_offset * (e.center - e.delay) for e in events])
        assert np.abs(at).min() > 0
        shift[use] = np.exp(1j * (phase + at))
    np.testing.assert_allclose(np.angle(shift["excitation"] / shift["refocusing"]), np.pi / 2, atol=1e-4)


def test_slices_lines_and_volumes_are_complete(scan):
    protocol, _, _, sequence = scan
    keep = (labels(sequence, "NAV") == 0) & (labels(sequence, "REF") == 0)
    lin, slc, rep = (labels(sequence, n)[keep] for n in ("LIN", "SLC", "REP"))
    for volume in range(protocol.epi.volumes):
        wanted = set(imaging_lines(protocol, protocol.epi.phase_polarity[volume]).tolist())
        for number in range(protocol.selection.n_slices):
            mine = lin[(slc == number) & (rep == volume)]
            assert len(mine) == len(set(mine.tolist()))
            assert set(mine.tolist()) == wanted
    reference = labels(sequence, "REF") == 1
    if protocol.epi.reference_scan:
        ny = protocol.geometry.matrix[1]
        expected = set(range(ny // 2 - 8, ny // 2 + 8))
        one = reference & (labels(sequence, "NAV") == 0) & (labels(sequence, "SLC") == 2)
        assert set(labels(sequence, "LIN")[one].tolist()) == expected
        assert one.sum() == len(expected)
    else:
        assert not reference.any()


def test_every_shot_leaves_the_same_moment_of_four_cycles(scan):
    protocol, _, _, sequence = scan
    if protocol.epi.fat_saturation:
        return  # its spoiler comes on top, before each excitation
    moments = net_moments(sequence)
    np.testing.assert_allclose(moments - moments[0], 0.0, atol=rounding(protocol))
    assert np.all(np.abs(moments[0]) * np.array(protocol.geometry.voxel_size) >= 4.0 - 1e-3)


def test_gradients_are_continuous_and_inside_the_limits(scan):
    _, scanner, _, sequence = scan
    limits = scanner.gradients
    jump = gradient_jumps(sequence).max()
    assert jump <= 0.01 * limits.design_slew * GAMMA_BAR * limits.raster
    for event in sequence.grad_events:
        assert np.abs(event.values).max() <= limits.design_amplitude * GAMMA_BAR * (1 + 1e-5)
        assert np.abs(np.diff(event.values) / np.diff(event.times)).max() <= (
            limits.design_slew * GAMMA_BAR * (1 + 1e-4)
        )


def test_volumes_repeat_after_tr(scan):
    protocol, _, _, sequence = scan
    times = sequence.rf_center_times()
    uses = np.array([sequence.rf_event(b).use for b in sequence.rf_blocks])
    excitations = times[uses == "excitation"]
    count = protocol.selection.n_slices
    tail = excitations[-2 * count :]  # the dummy or the last shot, and the one after it
    np.testing.assert_allclose(tail[count:] - tail[:count], protocol.timing.tr, atol=1e-5)


def test_mirrored_blips_and_their_definitions(tmp_path):
    protocol = card(
        epi=Epi(volumes=2, phase_polarity=(1, -1)), acceleration=Acceleration(partial_fourier_phase=0.75)
    )
    report, sequence = played(tmp_path, protocol)
    points, since = walk(sequence)
    keep = (labels(sequence, "NAV") == 0) & (labels(sequence, "SLC") == 1)
    rep = labels(sequence, "REP")
    ky = [np.array([points[n][0, 1] for n in np.flatnonzero(keep & (rep == volume))]) for volume in (0, 1)]
    both = min(map(len, ky))
    np.testing.assert_allclose(ky[0][:both], -ky[1][:both], atol=rounding(protocol))
    assert np.all(np.diff(ky[0]) > 0)
    assert np.all(np.diff(ky[1]) < 0)
    start = [since[np.flatnonzero(keep & (rep == v))[0]][0] for v in (0, 1)]
    assert start[0] == pytest.approx(start[1], abs=1e-9)
    assert sequence.definitions["PhasePolarity"] == (1.0, -1.0)
    assert sequence.definitions["Trajectory"] == "epi"
    spacing = sequence.definitions["EffectiveEchoSpacing"]
    assert spacing == pytest.approx(report.echo_spacing)
    assert sequence.definitions["TotalReadoutTime"] == pytest.approx(39 * spacing)


def test_effective_echo_spacing_counts_acceleration_and_shots(tmp_path):
    protocol = card(
        epi=Epi(shots=2), acceleration=Acceleration(phase=2, reference_lines=16),
        timing=Timing(tr=0.6, te=0.03, echo_spacing=0.0006),
    )  # fmt: skip
    report, sequence = played(tmp_path, protocol)
    assert report.echo_spacing == pytest.approx(0.0006)
    assert sequence.definitions["EffectiveEchoSpacing"] == pytest.approx(0.00015)
    # From the k-space itself: time per step of 1 / FOV inside a train.
    points, since = walk(sequence)
    train = np.flatnonzero((labels(sequence, "NAV") == 0) & (labels(sequence, "SEG") == 1))[:2]
    lines = (points[train[1]][0, 1] - points[train[0]][0, 1]) * protocol.geometry.fov[1]
    time = np.mean(since[train[1]]) - np.mean(since[train[0]])
    assert time / lines == pytest.approx(0.00015, rel=1e-4)


def test_navigator_runs_backward_forward_backward(tmp_path):
    _, sequence = played(tmp_path, card())
    nav, rev = labels(sequence, "NAV"), labels(sequence, "REV")
    assert nav[:3].tolist() == [1, 1, 1]
    assert rev[:5].tolist() == [1, 0, 1, 0, 1]
    assert nav[3:43].sum() == 0


def test_fat_saturation_precedes_each_excitation(tmp_path):
    scanner = load_scanner(VENDORS[0])
    _, sequence = played(tmp_path, card(epi=Epi(fat_saturation=True)))
    uses = [sequence.rf_event(b).use for b in sequence.rf_blocks]
    assert uses == ["saturation", "excitation"] * (len(uses) // 2)
    pulse = next(e for e in sequence.rf_events if e.use == "saturation")
    assert pulse.total_freq_offset(scanner.field.f0) == pytest.approx(-3.45e-6 * scanner.field.f0)
    between = net_moments(sequence, ("saturation", "excitation"))[::2]
    assert np.abs(between * np.array([0.24 / 48, 0.2 / 40, 0.004])).min() >= 4.0 - 1e-3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"timing": {"te": 0.005}}, r"timing.te must be at least 0\.0\d+ s"),
        ({"timing": {"tr": 0.2}}, r"timing.tr must be at least 0\.\d+ s"),
        ({"timing": {"echo_spacing": 0.0003}}, r"timing.echo_spacing must be at least 0\.000\d+ s"),
        ({"readout": {"bandwidth": 20000.0}}, r"readout.bandwidth must"),
    ],
)
def test_impossible_values_name_the_possible_one(changes, message):
    protocol = card()
    parts = {g: dataclasses.replace(getattr(protocol, g), **values) for g, values in changes.items()}
    with pytest.raises(BuildError, match=message):
        build(protocol.replace(**parts), load_scanner(VENDORS[0]))


def test_the_named_minimum_is_playable():
    protocol = card(epi=Epi(spin_echo=True))
    scanner = load_scanner(VENDORS[0])
    with pytest.raises(BuildError) as caught:
        build(protocol.replace(timing=Timing(tr=0.6, te=0.01)), scanner)
    least = float(str(caught.value).split("at least ")[1].split(" s")[0])
    build(protocol.replace(timing=Timing(tr=0.6, te=least)), scanner)

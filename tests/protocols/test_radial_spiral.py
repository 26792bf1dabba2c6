"""Radial and spiral scans, measured from what our reader gets back from the file."""

import dataclasses

import numpy as np
import pytest

from protocols import (
    GAMMA_BAR,
    BuildError,
    Geometry,
    Readout,
    Rf,
    Selection,
    Timing,
    build,
    gradient_jumps,
    load_scanner,
)
from protocols.cards.settings_epi import Trajectory
from protocols.families.radial import spoke_directions
from protocols.families.spiral_design import design_spiral, fastest_speed, spiral_curve

from .paths import VENDORS, card, labels, net_moments, played, walk

PLANE = Geometry(orientation="axial", fov=(0.2, 0.2, 0.004), matrix=(40, 40, 1))
STACK = Geometry(orientation="axial", fov=(0.2, 0.2, 0.09), matrix=(40, 40, 6))
CUBE = Geometry(orientation="axial", fov=(0.2, 0.2, 0.2), matrix=(40, 40, 40))
SLICES = Selection(mode="slices", thickness=0.004, n_slices=3, gap=0.002)
SLAB = Selection(mode="slab", thickness=0.07)
CASES = {
    "radial slices": ("radial", PLANE, SLICES, Trajectory(arms=21), Timing(tr=0.06, te=0.0051)),
    "stack of stars": (
        "radial", STACK, SLAB, Trajectory(arms=12, order="uniform"), Timing(tr=0.02, te=0.005)
    ),
    "kooshball": (
        "radial", CUBE, Selection(), Trajectory(arms=34, kooshball=True), Timing(tr=0.02, te=0.005)
    ),
    "spiral slices": (
        "spiral", PLANE, SLICES, Trajectory(arms=8, edge_density=0.6), Timing(tr=0.09, te=0.004)
    ),
    "stack of spirals": (
        "spiral", STACK, SLAB, Trajectory(arms=5, order="uniform"), Timing(tr=0.03, te=0.004)
    ),
}  # fmt: skip


def scan_card(case, vendor=VENDORS[0]):
    kind, geometry, selection, trajectory, timing = CASES[case]
    bandwidth = 600.0 if kind == "radial" else 2000.0
    return card(
        scanner=vendor, sequence=kind, suffix="PDw", epi=None, geometry=geometry, selection=selection,
        trajectory=trajectory, timing=dataclasses.replace(timing, dummy_shots=2), rf=Rf(flip_deg=12.0),
        readout=Readout(bandwidth=bandwidth),
    )  # fmt: skip


PAIRS = [(v, c) for c in CASES for v in VENDORS]


@pytest.fixture(scope="module", params=PAIRS, ids=lambda p: f"{p[1]}, {p[0]}")
def scan(request, tmp_path_factory):
    vendor, case = request.param
    protocol = scan_card(case, vendor)
    report, sequence = played(tmp_path_factory.mktemp("arms"), protocol)
    return protocol, load_scanner(vendor), report, sequence


def rounding(protocol):
    """Amplitudes with six digits and compressed shapes: 1e-5 of k max."""
    return 1e-5 / min(protocol.geometry.voxel_size)


def test_arms_start_at_the_centre_at_te(scan):
    protocol, scanner, report, sequence = scan
    points, since = walk(sequence)
    assert len(points) == report.readouts
    par, nz = labels(sequence, "PAR"), protocol.geometry.matrix[2]
    stacked = nz > 1 and not protocol.trajectory.kooshball
    wanted = (par - nz // 2) / protocol.geometry.fov[2] if stacked else np.zeros(par.size)
    for k, time, z in zip(points, since, wanted, strict=True):
        center = k[report.center_sample] - [0.0, 0.0, z]
        if protocol.sequence == "radial":
            np.testing.assert_allclose(center, 0.0, atol=rounding(protocol))
        else:
            # Half a dwell after the start from rest: k < slew t^2 / 2.
            t = 0.5 * report.dwell
            assert np.linalg.norm(center) <= 0.5 * scanner.gradients.design_slew * GAMMA_BAR * t**2 + 1e-3
        assert time[report.center_sample] == pytest.approx(report.te, abs=1e-9)
    slack = scanner.gradients.rf_raster if protocol.sequence == "radial" else scanner.gradients.block_raster
    assert abs(report.te - protocol.timing.te) <= slack


def test_spokes_are_straight_even_and_in_their_direction(scan):
    protocol, _, report, sequence = scan
    if protocol.sequence != "radial":
        return
    points, _ = walk(sequence)
    trajectory = protocol.trajectory
    directions = spoke_directions(trajectory.arms, trajectory.order, ball=trajectory.kooshball)
    step = 1.0 / (protocol.readout.oversampling * protocol.geometry.fov[0])
    ramp = (np.arange(report.samples) - report.center_sample) * step
    for k, arm in zip(points, labels(sequence, "LIN"), strict=True):
        inside = k - k[report.center_sample]
        np.testing.assert_allclose(inside, np.outer(ramp, directions[arm]), atol=rounding(protocol))


def test_spirals_follow_the_designed_density(scan):
    protocol, _, _, sequence = scan
    if protocol.sequence != "spiral":
        return
    points, _ = walk(sequence)
    trajectory, (fx, _, _) = protocol.trajectory, protocol.geometry.fov
    edge = 0.5 * protocol.geometry.matrix[0] / fx
    arms = labels(sequence, "LIN")
    r, angle = spiral_curve(fx, edge, trajectory.arms, trajectory.edge_density)
    for n in range(0, len(points), 7):
        k = points[n][:, 0] + 1j * points[n][:, 1]
        radius = np.abs(k)
        assert radius.max() >= edge * 0.99
        away = radius > 0.05 * edge
        turned = np.unwrap(np.angle(k[away])) - np.interp(radius[away], r, angle)
        # Radial distance from the curve, in the distance of neighbouring turns of all arms.
        offset = (
            2 * np.pi * arms[n] * (0.618033988749895 if trajectory.order == "golden" else 1 / trajectory.arms)
        )
        error = np.angle(np.exp(1j * (turned - offset))) / (2 * np.pi) * trajectory.arms
        # The gradient is linear between raster edges, the curve is not: below a fifth of that distance.
        assert np.abs(error[radius[away] < edge]).max() < 0.2
        assert np.abs(np.diff(k)).max() <= 1.0 / (protocol.readout.oversampling * fx) * (1 + 1e-3)
    assert sequence.definitions["Trajectory"] == "spiral"


def test_each_repetition_leaves_one_common_moment_along_the_slice(scan):
    protocol, _, report, sequence = scan
    moments = net_moments(sequence)
    assert np.abs(moments[:, :2]).max() <= 3 * rounding(protocol)
    np.testing.assert_allclose(moments[:, 2], report.spoiler_moment, rtol=2e-5)
    assert report.spoiler_moment * protocol.geometry.voxel_size[2] == pytest.approx(4.0)


def test_limits_and_continuity(scan):
    _, scanner, _, sequence = scan
    limits = scanner.gradients
    assert gradient_jumps(sequence).max() <= 0.01 * limits.design_slew * GAMMA_BAR * limits.raster
    numbers = np.stack([sequence.gx, sequence.gy, sequence.gz], axis=1)
    assert numbers.max() == len(sequence.grad_events)
    for event in sequence.grad_events:
        assert np.abs(event.values).max() <= limits.design_amplitude * GAMMA_BAR * (1 + 1e-5)
        assert np.abs(np.diff(event.values) / np.diff(event.times)).max() <= (
            limits.design_slew * GAMMA_BAR * (1 + 1e-4)
        )


def test_labels_order_and_rf_spoiling(scan):
    protocol, scanner, report, sequence = scan
    lin, slc = labels(sequence, "LIN"), labels(sequence, "SLC")
    assert set(lin.tolist()) == set(range(protocol.trajectory.arms))
    assert set(slc.tolist()) == set(range(protocol.selection.n_slices))
    assert np.rad2deg(report.rf_spoil_increment) == pytest.approx(scanner.transmit.rf_spoil_increment_deg)
    readouts = sequence.adc_blocks[sequence.label("NOISE") == 0]
    slices = protocol.selection.n_slices
    phases = np.array([sequence.adc_event(b).phase_offset for b in readouts])[::slices]
    second = np.rad2deg(np.diff(phases, 2))
    np.testing.assert_allclose(
        np.exp(1j * np.deg2rad(second)), np.exp(1j * report.rf_spoil_increment), atol=1e-4
    )
    # Receiver and transmitter agree at the RF centre.
    for block, phase in zip(readouts[::slices][:5], phases[:5], strict=True):
        pulse = sequence.rf_event(sequence.rf_blocks[sequence.rf_blocks < block].max())
        at = pulse.phase_offset + 2 * np.pi * pulse.freq_offset * (pulse.center - pulse.delay)
        assert abs(np.exp(1j * (at - phase)) - 1) < 1e-4
    times = sequence.rf_center_times()
    group = slices if protocol.selection.mode == "slices" else 1
    np.testing.assert_allclose(times[group:] - times[:-group], protocol.timing.tr, atol=1e-9)


def test_golden_angles_and_even_division():
    golden = spoke_directions(200, "golden", ball=False)
    turn = np.degrees(np.arctan2(golden[1, 1], golden[1, 0]))
    assert turn == pytest.approx(111.246, abs=1e-3)
    angles = np.sort(np.mod(np.arctan2(golden[:55, 1], golden[:55, 0]), np.pi))
    gaps = np.diff(np.append(angles, angles[0] + np.pi)) / (np.pi / 55)
    assert gaps.max() < 1.75  # golden ratio: gaps of a Fibonacci number of spokes differ by 1.618 at most
    assert gaps.max() / gaps.min() < 1.63
    even = spoke_directions(8, "uniform", ball=False)
    np.testing.assert_allclose(np.arctan2(even[:, 1], even[:, 0]), np.arange(8) * np.pi / 8, atol=1e-12)


@pytest.mark.parametrize("order", ["golden", "uniform"])
def test_kooshball_covers_the_sphere(order):
    directions = spoke_directions(500, order, ball=True)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1.0, atol=1e-12)
    # The second moment of a uniform distribution over the sphere is 1/3; quasi-random points miss it by 1/n.
    np.testing.assert_allclose(directions.T @ directions / 500, np.eye(3) / 3, atol=0.01)


LIMITS = {"amplitude": 0.04 * GAMMA_BAR, "slew": 150 * GAMMA_BAR}


def test_speed_along_known_curves_is_that_of_the_closed_form():
    """A line from rest: v^2 = 2 S s up to the limit. A circle: no faster than sqrt(S / curvature)."""
    step = np.full(4000, 0.1)
    speed = fastest_speed(np.zeros(4001), step, **LIMITS)
    distance = np.concatenate(([0.0], np.cumsum(step)))
    np.testing.assert_allclose(
        speed, np.minimum(np.sqrt(2 * LIMITS["slew"] * distance), LIMITS["amplitude"]), rtol=1e-9
    )
    radius = 100.0
    speed = fastest_speed(np.full(4001, 1 / radius), step, **LIMITS)
    assert speed.max() <= min(np.sqrt(LIMITS["slew"] * radius), LIMITS["amplitude"]) * (1 + 1e-12)
    assert speed[-1] == pytest.approx(np.sqrt(LIMITS["slew"] * radius), rel=1e-3)


@pytest.mark.parametrize("density", [1.0, 0.4])
def test_spirals_run_at_the_limits(density):
    """One of the two limits is always reached, neither is broken."""
    fov, edge, arms = 0.22, 64 / 0.22, 4
    design = design_spiral(fov=fov, radius=edge, arms=arms, edge_density=density, raster=1e-5, **LIMITS)
    g = design.gradient[:, 0] + 1j * design.gradient[:, 1]
    assert np.abs(g).max() <= LIMITS["amplitude"]
    slew = np.abs(np.diff(g)) / 1e-5
    assert slew.max() <= LIMITS["slew"]
    moving = slice(20, round(design.readout / 1e-5) - 5)
    at_limit = (slew[moving] > 0.97 * LIMITS["slew"]) | (np.abs(g[1:][moving]) > 0.97 * LIMITS["amplitude"])
    assert at_limit.mean() > 0.95
    assert g[0] == 0
    assert abs(g[-1]) < 1e-6
    if density == 1.0:
        # Slew-limited and of many turns: k = c theta exp(i theta) with c theta theta'^2 = S, so that the edge
        # is reached after (2/3) sqrt(c theta^3 / S). The first turns, where this fails, change a few percent.
        slope = arms / (2 * np.pi * fov)
        assert np.sqrt(LIMITS["slew"] * edge) < LIMITS["amplitude"]
        wanted = 2 / 3 * np.sqrt(slope * (edge / slope) ** 3 / LIMITS["slew"])
        assert design.readout == pytest.approx(wanted, rel=0.05)


def test_impossible_values_name_the_possible_one():
    scanner = load_scanner(VENDORS[0])
    for case, te, tr, message in (
        ("radial slices", 0.002, 0.06, r"timing.te must be at least 0\.00\d+ s"),
        ("spiral slices", 0.004, 0.02, r"timing.tr must be at least 0\.0\d+ s"),
    ):
        with pytest.raises(BuildError, match=message):
            build(scan_card(case).replace(timing=Timing(tr=tr, te=te)), scanner)
    wide = Geometry(orientation="axial", fov=(0.24, 0.2, 0.004), matrix=(40, 40, 1))
    flat = scan_card("spiral slices").replace(geometry=wide)
    with pytest.raises(BuildError, match="must be square"):
        build(flat, scanner)
    ball = scan_card("kooshball")
    with pytest.raises(ValueError, match="kooshball needs"):
        ball.replace(sequence="spiral")

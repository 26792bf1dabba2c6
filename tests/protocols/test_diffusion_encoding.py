"""Diffusion series: b-tensors against closed forms and the exact engine, directions, FSL's files."""

import dataclasses

import numpy as np
import pytest

from mrsim.simulation.bloch import BlochOptions, simulate_cloud
from phantoms import PointCloud
from protocols import (
    GAMMA_BAR,
    BuildError,
    GradEvent,
    Timing,
    b_tensors,
    build,
    even_directions,
    fsl_directions,
    load_scanner,
    read_fsl,
    volume_b_tensors,
    write_fsl,
)
from protocols.btensor import stretch
from protocols.cards.settings_epi import Diffusion, Epi
from protocols.diffusion_directions import diffusion_table
from protocols.records import RecordError

from ..simulation.bloch.sequences import Score, hard, knots, sample, trapezoid
from .paths import VENDORS, card, labels, played

G, DELTA, APART = 40e-3 * GAMMA_BAR, 20e-3, 40e-3
# Golden digits: gamma^2 G^2 [d^2 (D - d/3) + e^3/30 - d e^2/6] for ramps e, confirmed by brute force.
GOLDEN = {0.0: 1526.787e6, 0.5e-3: 1526.692e6}
INSTANT = 1e-9


def pair(rise, *, axis="gx", other=None):
    """Two lobes around a refocusing pulse and a sample at the echo."""
    lobe, gap = trapezoid(G, DELTA - rise, rise), APART - DELTA - rise
    extra = {"gy": other} if other is not None else {}
    score = Score().add(INSTANT, rf=hard(90, length=INSTANT, use="excitation"))
    score.add(DELTA + rise, **{axis: lobe}, **extra).add(gap / 2)
    score.add(INSTANT, rf=hard(180, 90, length=INSTANT, use="refocusing")).add(gap / 2 - INSTANT)
    score.add(DELTA + rise, **{axis: lobe}, **extra)
    return score.add(1e-3, adc=sample(1e-4)).sequence()


@pytest.mark.parametrize("rise", GOLDEN)
def test_stejskal_and_tanner(rise):
    tensor = b_tensors(pair(rise))[0]
    assert tensor[0, 0] == pytest.approx(GOLDEN[rise], rel=1e-6)  # the golden values have seven digits
    assert np.abs(tensor - np.diag(np.diag(tensor))).max() == 0.0


def test_cross_terms_of_equal_lobes_on_two_axes():
    """g = (1, a): B = b [[1, a], [a, a^2]]."""
    lobe = trapezoid(-0.3 * G, DELTA)
    tensor = b_tensors(pair(0.0, other=lobe))[0]
    wanted = GOLDEN[0.0] * np.outer([1, -0.3, 0], [1, -0.3, 0])
    np.testing.assert_allclose(tensor, wanted, atol=1e-6 * GOLDEN[0.0])


def test_constant_gradient_and_triangular_wave():
    """Free decay in a constant gradient: B = (2 pi g)^2 t^3 / 3; a triangle by quadrature."""
    g, t = 4e6, 8e-3
    flat = stretch((trapezoid(g, 1e-2), None, None), 0.0, t)
    assert 4 * np.pi**2 * flat.second[0, 0] == pytest.approx((2 * np.pi * g) ** 2 * t**3 / 3, rel=1e-12)
    wave = GradEvent(times=np.array([1e-3, 2.5e-3, 3e-3, 7e-3]), values=g * np.array([0.0, 1.0, -0.4, 0.2]))
    fine = np.linspace(0.0, t, 400_001)
    k = wave.integral(fine)
    piece = stretch((wave, None, None), 0.0, t)
    assert piece.moment[0] == pytest.approx(k[-1], rel=1e-12)
    assert piece.first[0] == pytest.approx(np.trapezoid(k, fine), rel=1e-8)
    assert piece.second[0, 0] == pytest.approx(np.trapezoid(k**2, fine), rel=1e-8)
    halves = stretch((wave, None, None), 0.0, 2e-3), stretch((wave, None, None), 2e-3, t)
    joined = halves[0].second + halves[1].added(halves[0].moment)
    # Gradients are read 1e-12 s beside the knots, 1e-9 of an interval here.
    np.testing.assert_allclose(joined, piece.second, rtol=1e-9)


def test_readouts_before_an_excitation_and_after_the_next():
    score = Score().add(1e-3, adc=sample(1e-4)).add(INSTANT, rf=hard(90, length=INSTANT, use="excitation"))
    score.add(1e-2, gx=trapezoid(G, 1e-2)).add(INSTANT, rf=hard(90, length=INSTANT, use="excitation"))
    tensors = b_tensors(score.add(1e-3, gx=knots([0, 1e-3], [G, G]), adc=sample(5e-4)).sequence())
    assert not tensors[0].any()
    # The second excitation starts afresh: only half a millisecond of the last gradient counts.
    assert tensors[1][0, 0] == pytest.approx((2 * np.pi * G) ** 2 * 5e-4**3 / 3, rel=1e-4)


SERIES = Diffusion(b_values=(0.7e9, 2e9), directions=(3, 4), b0_volumes=2, minimum_te=True)


@pytest.fixture(scope="module", params=[(v, s) for s in ("monopolar", "bipolar") for v in VENDORS], ids=str)
def series(request, tmp_path_factory):
    vendor, scheme = request.param
    protocol = card(
        scanner=vendor, suffix="dwi", epi=Epi(spin_echo=True, phase_polarity=(1, -1)),
        selection=dataclasses.replace(card().selection, n_slices=2, refocusing_factor=1.2),
        diffusion=dataclasses.replace(SERIES, scheme=scheme), timing=Timing(tr=0.3, te=0.06, dummy_shots=0),
    )  # fmt: skip
    report, sequence = played(tmp_path_factory.mktemp("dwi"), protocol)
    return protocol, report, sequence


def test_the_played_b_value_is_the_card_s(series):
    """Imaging gradients and cross terms included; files hold amplitudes with six digits: 4e-6 of b."""
    _, _, sequence = series
    b = np.array(sequence.definitions["BValues"])
    direction = np.array(sequence.definitions["BDirections"]).reshape(-1, 3)
    tensors = volume_b_tensors(sequence)
    trace = np.trace(tensors, axis1=1, axis2=2)
    np.testing.assert_allclose(trace[b > 0], b[b > 0], rtol=1e-5)
    assert sorted(set(b.tolist())) == [0.0, 0.7e9, 2e9]
    # Unweighted volumes keep what the imaging gradients weight: below 1 s/mm^2 here.
    assert trace[b == 0].min() > 0.0
    assert trace[b == 0].max() < 1.5e6
    for tensor, u, value in zip(tensors[b > 0], direction[b > 0], b[b > 0], strict=True):
        values, vectors = np.linalg.eigh(tensor)
        assert abs(vectors[:, 2] @ u) > 0.999  # cross terms turn the axis by less than 2.6 degrees
        assert values[2] == pytest.approx(value, rel=1e-2)


def test_lobes_use_the_hardware_and_stay_inside_it(series):
    protocol, report, sequence = series
    limits = load_scanner(protocol.scanner).gradients
    top = max(np.abs(e.values).max() for e in sequence.grad_events)
    assert top <= limits.max_amplitude * GAMMA_BAR
    for event in sequence.grad_events:
        assert np.abs(np.diff(event.values) / np.diff(event.times)).max() <= (
            limits.design_slew * GAMMA_BAR * (1 + 1e-4)
        )
    pulses = [
        (sequence.rf_event(n).use, t)
        for n, t in zip(sequence.rf_blocks, sequence.rf_center_times(), strict=True)
    ]
    shot = pulses[: 1 + (1 if protocol.diffusion.scheme == "monopolar" else 2)]
    times = [t for _, t in shot]
    assert [u for u, _ in shot][1:] == ["refocusing"] * (len(shot) - 1)
    raster = limits.block_raster
    # A refocusing pulse at t mirrors the time of the echo before it: e -> 2 t - e.
    echo = times[0]
    for t in times[1:]:
        echo = 2 * t - echo
    # Excitation, refocusing and train each start on the block raster.
    assert echo - times[0] == pytest.approx(report.te, abs=3 * raster)


def test_signal_of_the_exact_engine_is_that_of_the_b_tensor(series):
    """exp(-B : D) for an anisotropic D at the central sample, against a shot without diffusion."""
    protocol, report, sequence = series
    if protocol.scanner != VENDORS[0]:
        return  # the physics is that of the waveform; one vendor is enough
    tensors = b_tensors(sequence)[1:]
    volumes, lines = labels(sequence, "REP"), labels(sequence, "LIN")
    central = (lines == protocol.geometry.matrix[1] // 2) & (labels(sequence, "NAV") == 0)
    central &= labels(sequence, "SLC") == 0
    adc = 0.4e-9
    position = np.array([[0.0, 0.0, -0.5 * (protocol.selection.thickness + protocol.selection.gap)]])

    def central_samples(value):
        cloud = PointCloud(
            name="spin", position=position, m0=np.ones(1), t1=np.array(np.inf), t2=np.array(np.inf),
            adc=np.array([value]),
        )  # fmt: skip
        options = BlochOptions(precision="double", threads=1, diffusion="attenuation")
        samples = simulate_cloud(cloud, sequence, options=options, seed=0).samples[0]
        ends = np.cumsum([sequence.adc_event(b).num for b in sequence.adc_blocks])
        backward = sequence.label("REV")[1:]
        picked = []
        for n in np.flatnonzero(central):
            offset = report.center_sample - (1 if backward[n] else 0)
            picked.append(samples[ends[n] + offset])
        return np.array(picked)

    free, decayed = central_samples(0.0), central_samples(adc)
    wanted = np.exp(-np.trace(tensors[central], axis1=1, axis2=2) * adc)
    assert np.unique(volumes[central]).size == 9
    # The engine's attenuation follows the same path by its own integration; both turn it at pulse centres.
    np.testing.assert_allclose(np.abs(decayed / free), wanted, rtol=1e-8)


def test_too_short_an_echo_time_names_the_shortest():
    protocol = card(
        epi=Epi(spin_echo=True), diffusion=Diffusion(b_values=(3e9,), directions=(6,)),
        timing=Timing(tr=0.9, te=0.05),
    )  # fmt: skip
    scanner = load_scanner(VENDORS[0])
    with pytest.raises(BuildError, match=r"timing.te must be at least 0\.\d+ s for b = 3000 s/mm2") as caught:
        build(protocol, scanner)
    least = float(str(caught.value).split("at least ")[1].split(" s")[0])
    build(protocol.replace(timing=Timing(tr=0.9, te=least)), scanner)


# -- directions ----------------------------------------------------------------------------------------------


def test_six_directions_are_the_icosahedron_s():
    (six,) = even_directions([6])
    cosine = np.abs(six @ six.T)[~np.eye(6, dtype=bool)]
    np.testing.assert_allclose(cosine, 1 / np.sqrt(5), atol=1e-5)


def test_directions_are_even_in_each_shell_and_together():
    shells = even_directions([6, 15, 60])
    again = even_directions([6, 15, 60])
    for vectors, same in zip(shells, again, strict=True):
        np.testing.assert_array_equal(vectors, same)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-12)
        assert np.linalg.cond(vectors.T @ vectors) < 1.05
    joined = np.concatenate(shells)
    for vectors, share in ((shells[0], 0.95), (shells[1], 0.85), (shells[2], 0.85), (joined, 0.4)):
        nearest = np.degrees(np.arccos(np.abs(vectors @ vectors.T)[~np.eye(len(vectors), dtype=bool)].max()))
        # Fejes Toth's bound: no arrangement of 2 n caps keeps them further apart. Shells take half of their
        # weight from the joint set, so they stay below it; the joint set yields to the shells.
        omega = np.pi * 2 * len(vectors) / (6 * (2 * len(vectors) - 2))
        assert nearest > share * np.degrees(np.arccos((1 / np.tan(omega)) ** 2 / 2 - 0.5))


def test_order_of_volumes():
    b, direction = diffusion_table([1e9, 2e9], [5, 10], 3)
    assert b.size == 18
    assert b[0] == 0.0
    assert np.flatnonzero(b == 0).tolist() == [0, 6, 12]
    assert not direction[b == 0].any()
    # Shells alternate: every third of the series holds its share of both.
    for part in np.array_split(b[b > 0], 3):
        assert (part == 2e9).sum() in (3, 4)


ROTATION = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def test_fsl_files_come_back_and_follow_the_image_axes(tmp_path):
    b, direction = diffusion_table([1e9], [7], 2)
    affine = np.diag([-2e-3, 2e-3, 2e-3, 1.0])  # radiological: negative determinant, no flip
    bvecs = fsl_directions(direction, ROTATION, affine)
    world = direction @ ROTATION.T
    np.testing.assert_allclose(bvecs, world * [-1, 1, 1], atol=1e-12)
    flipped = fsl_directions(direction, ROTATION, np.diag([2e-3, 2e-3, 2e-3, 1.0]))
    np.testing.assert_allclose(flipped, world * [-1, 1, 1], atol=1e-12)
    paths = write_fsl(tmp_path, "dwi", b, bvecs)
    values, vectors = read_fsl(*paths, ROTATION, affine)
    np.testing.assert_allclose(values, b)
    np.testing.assert_allclose(vectors, direction, atol=1e-7)
    rows = paths[1].read_text().splitlines()
    assert len(rows) == 3
    assert len(rows[0].split()) == b.size
    explicit = Diffusion(table_b=tuple(values), table_directions=tuple(map(tuple, vectors)))
    assert explicit.table_b[0] == 0.0


@pytest.mark.parametrize(
    ("bval", "bvec", "message"),
    [
        ("0 1000", "1 0\n0 1", "3 rows of 2 numbers"),
        ("0 1000", "0 0\n0 0\n0 0", "unit vectors"),
        ("0 x", "0 1\n0 0\n0 0", "rows of equally many numbers"),
        ("0 -5", "0 1\n0 0\n0 0", "not negative"),
    ],
)
def test_bad_fsl_files_are_refused(tmp_path, bval, bvec, message):
    (tmp_path / "a.bval").write_text(bval)
    (tmp_path / "a.bvec").write_text(bvec)
    with pytest.raises(RecordError, match=message):
        read_fsl(tmp_path / "a.bval", tmp_path / "a.bvec", np.eye(3), np.eye(4))

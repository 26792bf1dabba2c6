"""Echo trains: ramps, odd and even lines, direction of the phase encoding, calibration from other shots."""

from dataclasses import replace

import numpy as np
import pytest

from recon import RawDataError, ReconOptions, read_raw, reconstruct
from recon.ghost import navigator_phase
from recon.lines import regrid_matrix

from . import synthetic, trains
from .synthetic import CALIBRATION, Setup, on_image_grid
from .trains import Train

SETUP = Setup(matrix=(48, 36, 1), fov=(0.192, 0.180, 0.004), coils=4)


def relative(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


def image(tmp_path, setup, acqs, xml, **options):
    path = synthetic.write(tmp_path / f"{len(list(tmp_path.iterdir()))}.h5", setup, acqs, xml=xml)
    return reconstruct(read_raw(path), ReconOptions(**options))


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    """The slice from plain Cartesian lines."""
    folder = tmp_path_factory.mktemp("truth")
    return image(folder, SETUP, trains.reference(SETUP), synthetic.header_xml(SETUP)).data


def test_equidistant_samples_are_left_alone():
    n = 24
    np.testing.assert_allclose(regrid_matrix(np.arange(n) - n // 2 + 0.0, n, 0.0), np.eye(n), atol=1e-12)


@pytest.mark.parametrize("store", [True, False])
def test_ramps_and_reversal(tmp_path, truth, store):
    """Samples on the ramps, from stored positions and from the trapezoid of the header.

    The regridding's Tikhonov term is 1e-4; single precision adds less.
    """
    train = Train(store=store)
    acqs = trains.play(SETUP, train, range(36))
    found = image(tmp_path, SETUP, acqs, trains.header(SETUP, train)).data
    assert relative(found, truth) < 1e-3


def test_ghost_is_that_of_the_delay(tmp_path, truth):
    """Uncorrected, the ghost relative to the image is tan(2 pi (x / FOV) (delay / dwell))."""
    train = Train(delay=0.4)
    setup = replace(SETUP, coils=1)
    small = (((-0.25, 0.0, 0.0), (0.03, 0.05, 1e3), 1e-3),)
    acqs = trains.play(setup, train, range(36), objects=small)
    data = on_image_grid(
        image(tmp_path, setup, acqs, trains.header(setup, train), ghost_correction="none").data
    )
    column = 24 - 12  # x = -0.25 FOV: 12 of 48 pixels before the centre
    ghost = np.roll(data, 18, axis=1)
    ratio = ghost[column, 18] / data[column, 18]
    # 0.25 of the image's field of view is an eighth of the encoded one, in which samples are counted.
    assert ratio == pytest.approx(np.tan(2 * np.pi * 0.125 * 0.4), rel=0.01)


@pytest.mark.parametrize("method", ["navigator", "entropy"])
def test_ghost_is_corrected(tmp_path, truth, method):
    train = Train(delay=0.23, offset=0.4, navigators=3 if method == "navigator" else 0)
    acqs = trains.play(SETUP, train, range(36))
    xml = trains.header(SETUP, train)
    plain = image(tmp_path, SETUP, acqs, xml, ghost_correction="none").data
    assert relative(plain, truth) > 0.1
    corrected = image(tmp_path, SETUP, acqs, xml, ghost_correction=method)
    found = corrected.meta["recipe"]["ghost_correction"][0]
    # The entropy has its minimum near, not at, the true phase: the object is not sparse.
    close = {"navigator": 2e-3, "entropy": 0.05}[method]
    assert found["shift_samples"] == pytest.approx(2 * 0.23, abs=close)
    assert found["offset_rad"] == pytest.approx(0.4, abs=close)
    # The delay moves samples beyond the edge of k-space, where the object's signal is 1e-3.
    assert relative(corrected.data, truth) < {"navigator": 3e-3, "entropy": 0.05}[method]


def test_off_resonance_does_not_disturb_the_navigator(tmp_path):
    """The phase that grows from line to line drops out of the mean of a line's neighbours."""
    train = Train(delay=0.1, offset=-0.2, frequency=80.0)
    acqs = trains.play(SETUP, train, range(36))
    found = image(tmp_path, SETUP, acqs, trains.header(SETUP, train)).meta["recipe"]["ghost_correction"][0]
    assert found["shift_samples"] == pytest.approx(0.2, abs=2e-3)
    assert found["offset_rad"] == pytest.approx(-0.2, abs=2e-3)


def test_navigators_that_do_not_alternate():
    lines = np.ones((3, 2, 16), np.complex64)
    assert navigator_phase(lines, np.zeros(3, bool)) is None
    assert navigator_phase(0 * lines, np.array([True, False, True])) is None


def test_segment_counter_may_tell_the_direction(tmp_path, truth):
    """Pulseq's demonstrations count backward lines as segment 1, their navigators too."""
    train = Train(delay=0.2)
    acqs = trains.play(SETUP, train, range(36))
    for a in acqs:
        a.idx.segment = int(a.isFlagSet(synthetic.REVERSE + 1))
    assert relative(image(tmp_path, SETUP, acqs, trains.header(SETUP, train)).data, truth) < 3e-3


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("turned", [False, True])
def test_direction_of_phase_encoding(tmp_path, truth, up, turned):
    """Positive off-resonance moves the image along PhaseEncodingDirection, by df times the readout time."""
    directions = np.diag([1.0, -1.0, -1.0]) if turned else np.eye(3)
    setup = replace(SETUP, directions=directions)
    shift = 3  # pixels: df = 3 / (36 echo spacings)
    train = Train()
    train.frequency = shift / (36 * train.spacing)
    lines = range(36) if up else range(35, -1, -1)
    # Lines of even number are forward in either direction, so that navigators fit.
    acqs = trains.play(setup, train, lines)
    got = image(tmp_path, setup, acqs, trains.header(setup, train))
    still = image(tmp_path, setup, trains.reference(setup), synthetic.header_xml(setup)).data
    sidecar = got.meta["sidecar"]
    # LPS phase axis L..P: j runs to anterior, so rising lines along +P are j-.
    assert sidecar["PhaseEncodingDirection"] == ("j" if up == turned else "j-")
    assert sidecar["EffectiveEchoSpacing"] == pytest.approx(train.spacing)
    assert sidecar["TotalReadoutTime"] == pytest.approx(35 * train.spacing)
    voxels = train.frequency * sidecar["EffectiveEchoSpacing"] * got.data.shape[1]
    sign = -1 if sidecar["PhaseEncodingDirection"].endswith("-") else 1
    moved = np.roll(still, round(sign * voxels), axis=1)
    assert relative(got.data, moved) < 5e-3
    assert relative(got.data, np.roll(still, -round(sign * voxels), axis=1)) > 0.3


def test_two_polarities_in_one_series(tmp_path):
    train = Train()
    acqs = trains.play(SETUP, train, range(36))
    acqs += trains.play(SETUP, train, range(35, -1, -1), repetition=1)
    got = image(tmp_path, SETUP, acqs, trains.header(SETUP, train))
    assert got.data.shape == (48, 36, 1, 2)
    assert got.meta["sidecar"]["PhaseEncodingDirection"] == ["j-", "j"]
    assert relative(got.data[..., 0], got.data[..., 1]) < 1e-3


@pytest.mark.parametrize("repetitions", [1, 2])
def test_acceleration_with_separate_calibration(tmp_path, truth, repetitions):
    """Twofold, calibration lines from two trains acquired once, each corrected by its own navigators."""
    setup = replace(SETUP, acceleration=2, matrix=(48, 36, 1))
    train = Train(delay=0.2, offset=0.3)
    other = replace(train, delay=-0.1, offset=-0.5)
    acqs = []
    for shot in range(2):
        acqs += trains.play(setup, other, range(6 + shot, 30, 2), flags=[CALIBRATION], segment=shot)
    for repetition in range(repetitions):
        acqs += trains.play(setup, train, range(0, 36, 2), repetition=repetition)
    got = image(tmp_path, setup, acqs, trains.header(setup, train), combine="rss")
    assert got.meta["sidecar"]["EffectiveEchoSpacing"] == pytest.approx(0.5 * train.spacing)
    assert got.meta["sidecar"]["ParallelReductionFactorInPlane"] == 2
    full = image(tmp_path, SETUP, trains.reference(SETUP), synthetic.header_xml(SETUP), combine="rss").data
    for volume in range(repetitions):
        data = got.data if repetitions == 1 else got.data[..., volume]
        # GRAPPA of 36 lines from 24 with four coils.
        assert relative(data, full) < 0.04


def test_partial_fourier_train(tmp_path, truth):
    """The first quarter left out; the object is real but for the coils, whose phases are smooth."""
    train = Train(delay=0.15)
    acqs = trains.play(SETUP, train, range(8, 36))
    found = image(tmp_path, SETUP, acqs, trains.header(SETUP, train))
    zero = image(tmp_path, SETUP, acqs, trains.header(SETUP, train), partial_fourier="zero")
    assert relative(found.data, truth) < 0.06
    assert relative(found.data, truth) < relative(zero.data, truth)
    assert found.meta["recipe"]["partial_fourier_phase"] == pytest.approx(28 / 36, abs=1e-3)


def test_lines_that_wander(tmp_path):
    train = Train()
    acqs = trains.play(SETUP, train, range(36))
    acqs[7].traj[:, 1] += np.linspace(0, 1, train.samples)
    with pytest.raises(RawDataError, match="readout 7: an EPI line must stay at one phase encoding"):
        image(tmp_path, SETUP, acqs, trains.header(SETUP, train))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("<name>dwellTime</name>", "<name>other</name>", "lacks"),
        ("<value>2.5</value>", "<value>nan</value>", "trajectoryDescription/dwellTime"),
        ("<value>2.5</value>", "<value>0</value>", "above 0 us"),
        ("<value>40</value>", "<value>4000</value>", "lie at up to"),
    ],
)
def test_bad_descriptions(tmp_path, old, new, words):
    train = Train(store=False)
    acqs = trains.play(SETUP, train, range(36))
    xml = trains.header(SETUP, train)
    assert old in xml
    with pytest.raises(RawDataError, match=words):
        image(tmp_path, SETUP, acqs, xml.replace(old, new))

"""Sequence families across the border: closed-form samples at the demanded k, written and reconstructed.

The body is an ellipse in each slice, off centre, on an oblique prescription away from the isocentre; the
image is compared at the voxels' world positions with the Fourier sum over the closed form, so that
directions, positions, units and counters must all agree.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.special import j1

from mrsim.simulation import write_ismrmrd
from mrsim.simulation.kspace.path import kspace_readouts
from mrsim.simulation.rawdata import RawData
from protocols import Prescription, load_protocol, load_scanner, read_seq, write_seq
from recon import ReconOptions, read_raw, reconstruct, reconstruct_volumes

TURN = Rotation.from_euler("zyx", [15, -10, 20], degrees=True).as_matrix()
CENTER = np.array([0.012, -0.018, 0.025])
COILS = 6


def ellipse(k, number):
    """Transform of slice `number`'s ellipse at in-plane k [1/m], (n, 2), area in m^2."""
    a, b = 0.062 - 0.004 * number, 0.045 + 0.003 * number
    centre = np.array([0.012, -0.015 + 0.003 * number])
    q = 2 * np.pi * np.maximum(np.hypot(k[:, 0] * a, k[:, 1] * b), 1e-9)
    return 2 * np.pi * a * b * j1(q) / q * np.exp(-2j * np.pi * k @ centre)


def coil_kspace(k, number):
    """Each coil a sum of three plane waves: (coil, n)."""
    rows = []
    for c in range(COILS):
        angle = 2 * np.pi * c / COILS
        side = 1.6 * np.array([np.cos(angle), np.sin(angle)])
        total = 0.7 * np.exp(1j * angle) * ellipse(k, number)
        for sign in (1, -1):
            total = total + 0.4 * np.exp(-0.5j * np.pi * sign) * ellipse(k - sign * side, number)
        rows.append(total)
    return np.array(rows)


def excited(sequence):
    """Slices behind each ADC event."""
    single = (sequence.label("REF") > 0) & (sequence.label("IMA") == 0)
    factor = round(float(sequence.definitions.get("MultibandFactor", 1)))
    count = np.size(sequence.definitions["SlicePositions"])
    groups = count // factor
    return [
        [s] if alone else [s + band * groups for band in range(factor)]
        for s, alone in zip(sequence.label("SLC").tolist(), single.tolist(), strict=True)
    ]


def measure(folder, name, echo_delay=0.0, **changes):
    """Raw data of a card from the closed form, as read back; and the played sequence."""
    card = load_protocol(name)
    for group, values in changes.items():
        card = card.replace(**{group: dataclasses.replace(getattr(card, group), **values)})
    machine = load_scanner(card.scanner)
    write_seq(folder / "a.seq", card, machine, noise_samples=512)
    sequence = read_seq(folder / "a.seq")
    place = Prescription(read_dir=TURN[:, 0], phase_dir=TURN[:, 1], slice_dir=TURN[:, 2], center=CENTER)
    readouts = kspace_readouts(sequence, f0=machine.f0)
    positions = np.atleast_1d(sequence.definitions["SlicePositions"])
    slices, rng = excited(sequence), np.random.default_rng(1)
    index = {int(a): r for r, a in enumerate(readouts.adc)}
    data = []
    for adc, block in enumerate(sequence.adc_blocks):
        event = sequence.adc_events[int(sequence.adc[block]) - 1]
        if adc not in index:
            noise = rng.standard_normal((2, COILS, event.num))
            data.append((1e-9 * (noise[0] + 1j * noise[1])).astype(np.complex64))
            continue
        r = index[adc]
        k = (readouts.base[r] + readouts.offsets[readouts.pattern[r]])[:, :3]
        # A delay between gradient and receiver moves samples along the line.
        k = k + echo_delay * np.gradient(k, axis=0) * [1, 0, 0]
        samples = sum(
            coil_kspace(k[:, :2], s) * np.exp(-2j * np.pi * k[:, 2] * positions[s]) for s in slices[adc]
        )
        data.append(samples.astype(np.complex64))
    raw = RawData(data=tuple(data), sequence=sequence, scanner=machine, prescription=place, readouts=readouts)
    write_ismrmrd(folder / "raw.h5", raw)
    return read_raw(folder / "raw.h5"), sequence


def expected(image, sequence, card_matrix, fov, disc):
    """Root sum of squares at each voxel's place: Fourier sum over the encoded matrix, (x, y, z)."""
    nx, ny = card_matrix
    kx, ky = ((np.arange(n) - n // 2) / f for n, f in zip((nx, ny), fov, strict=True))
    k = np.stack(np.meshgrid(kx, ky, indexing="ij"), axis=-1).reshape(-1, 2)
    index = np.stack(np.indices(image.data.shape[:3]), axis=-1)
    world = index @ image.affine[:3, :3].T + image.affine[:3, 3]
    logical = (world - CENTER) @ TURN
    positions = np.atleast_1d(sequence.definitions["SlicePositions"])
    out = np.zeros(image.data.shape[:3])
    number = np.rint(np.interp(logical[..., 2], positions, np.arange(positions.size))).astype(int)
    assert np.abs(logical[..., 2] - positions[number]).max() < 1e-6
    for s in range(positions.size):
        own = number == s
        # Voxels of a slice lie on a rectangular grid along the logical axes.
        r = logical[own][:, :2]
        xs, ix = np.unique(np.round(r[:, 0], 7), return_inverse=True)
        ys, iy = np.unique(np.round(r[:, 1], 7), return_inverse=True)
        spectrum = coil_kspace(k, s).reshape(COILS, nx, ny)
        if disc is not None:
            spectrum = spectrum * (np.hypot(kx[:, None] * fov[0], ky * fov[1]) <= disc)
        images = np.einsum(
            "xa,yb,cab->cxy", np.exp(2j * np.pi * np.outer(xs, kx)), np.exp(2j * np.pi * np.outer(ys, ky)),
            spectrum, optimize=True,
        )  # fmt: skip
        out[own] = np.sqrt((np.abs(images) ** 2).sum(axis=0))[ix, iy]
    return out


def nrmse(image, sequence, data=None, *, disc=None):
    data = image.data if data is None else data
    fov = sequence.definitions["FOV"][:2]
    matrix = [round(v) for v in sequence.definitions["MatrixRecon"][:2]]
    truth = expected(image, sequence, matrix, fov, disc)
    scale = np.vdot(truth, data) / np.vdot(truth, truth)
    return float(np.linalg.norm(data - scale * truth) / np.linalg.norm(scale * truth))


@pytest.fixture(scope="module")
def weighted(tmp_path_factory):
    """Diffusion series: raw data, sequence, folder."""
    folder = tmp_path_factory.mktemp("dwi")
    return *measure(folder, "small-ingenia-dwi"), folder


@pytest.fixture(scope="module")
def simultaneous(tmp_path_factory):
    """Series of two bands: raw data, sequence, folder."""
    folder = tmp_path_factory.mktemp("bold")
    return *measure(folder, "small-prisma-bold"), folder


def test_blips_up_and_down(tmp_path):
    """Two volumes of opposite direction; a delay of 0.2 samples is taken out by the navigators."""
    raw, sequence = measure(tmp_path, "small-premier-epi", echo_delay=0.2)
    up, down = reconstruct_volumes(raw, ReconOptions(combine="rss"))
    # Of 0.4 %, 0.3 % are there without delay: whitened coils are not quite those of the closed form.
    assert nrmse(up, sequence) < 0.006
    assert nrmse(down, sequence) < 0.006
    axes = [v.meta["sidecar"]["PhaseEncodingDirection"] for v in (up, down)]
    assert sorted(axes) == ["j", "j-"]
    told = sequence.definitions
    keys = up.meta["sidecar"]
    assert keys["EffectiveEchoSpacing"] == pytest.approx(float(told["EffectiveEchoSpacing"]))
    assert keys["TotalReadoutTime"] == pytest.approx(float(told["TotalReadoutTime"]))
    assert keys["SpacingBetweenSlices"] == pytest.approx(6.0)
    # Rising lines along +phase, which the image axis follows or not.
    along = TURN[:, 1] @ up.affine[:3, 1] > 0
    assert (axes[0] == "j") == along


def test_diffusion_series(weighted):
    """Twofold accelerated with partial Fourier; b-vectors point where the lobes did."""
    raw, sequence, _ = weighted
    image = reconstruct(raw, ReconOptions(combine="rss"))
    told = sequence.definitions
    directions = np.reshape(told["BDirections"], (-1, 3))
    b = np.asarray(told["BValues"])
    np.testing.assert_allclose(image.meta["diffusion"]["bval"], b * 1e-6)
    vectors = np.array(image.meta["diffusion"]["bvec"]).T * [-1, 1, 1]  # the canonical image has det > 0
    axes = image.affine[:3, :3] / np.linalg.norm(image.affine[:3, :3], axis=0)
    np.testing.assert_allclose(vectors @ axes.T, (b > 0)[:, None] * directions @ TURN.T, atol=1e-5)
    for volume in range(image.data.shape[3]):
        # GRAPPA and homodyne together on 64 lines of a sharp-edged body: 1.7 %.
        assert nrmse(image, sequence, image.data[..., volume]) < 0.03


def test_simultaneous_slices(simultaneous):
    """Two bands with CAIPI, slices where the prescription has them."""
    raw, sequence, _ = simultaneous
    image = reconstruct(raw, ReconOptions(combine="rss"))
    assert image.meta["sidecar"]["MultibandAccelerationFactor"] == 2
    assert image.data.shape[2] == np.size(sequence.definitions["SlicePositions"])
    # 1.4 %, with leaks of 0.6 to 1.5 %.
    assert nrmse(image, sequence, image.data[..., 0]) < 0.025
    assert np.max(image.meta["recipe"]["multiband_leakage"]) < 0.03


@pytest.mark.parametrize(("name", "limit"), [("small-prisma-radial", 0.05), ("small-premier-spiral", 0.07)])
def test_arms(tmp_path, name, limit):
    """Compared with the circle of k-space that the arms reach; what is put beyond it is the difference.

    The spiral's arms are 1.3 / FOV apart at the rim, so that it is undersampled there.
    """
    raw, sequence = measure(tmp_path, name)
    image = reconstruct(raw, ReconOptions(combine="rss"))
    assert raw.header.encodings[0].trajectory == name.rpartition("-")[2]
    k = next(g.trajectory for g in raw.groups if g.trajectory is not None)
    assert nrmse(image, sequence, disc=float(np.hypot(k[..., 0], k[..., 1]).max())) < limit


def blank(folder, card):
    """Header of a card's scan, without samples."""
    machine = load_scanner(card.scanner)
    write_seq(folder / "a.seq", card, machine, noise_samples=512)
    sequence = read_seq(folder / "a.seq")
    counts = [sequence.adc_events[int(sequence.adc[b]) - 1].num for b in sequence.adc_blocks]
    raw = RawData(
        data=tuple(np.zeros((1, n), np.complex64) for n in counts), sequence=sequence, scanner=machine,
        prescription=card.prescription(), readouts=kspace_readouts(sequence, f0=machine.f0),
    )  # fmt: skip
    write_ismrmrd(folder / "raw.h5", raw)
    return read_raw(folder / "raw.h5"), sequence


def test_two_inversion_images(tmp_path):
    """Contrasts with their own times and angles."""
    raw, sequence = blank(tmp_path, load_protocol("mp2rage-prisma-3t").at_resolution(1.6e-2))
    assert raw.header.ti == pytest.approx(tuple(sequence.definitions["InversionTimes"]))
    assert raw.header.flip_deg == pytest.approx(np.degrees(sequence.definitions["FlipAngles"]))
    assert sorted(set(raw.heads["contrast"])) == [0, 1]
    assert raw.header.encodings[0].trajectory == "cartesian"


def test_several_echoes_of_slices(tmp_path):
    card = load_protocol("small-prisma-mese")
    card = card.replace(geometry=dataclasses.replace(card.geometry, matrix=(24, 16, 1)))
    raw, sequence = blank(tmp_path, card)
    assert raw.header.te == pytest.approx(tuple(sequence.definitions["EchoTimes"]), abs=1e-9)
    imaging = raw.heads[~raw.flagged(1 << 18)]
    positions = np.asarray(sequence.definitions["SlicePositions"])
    for number, position in enumerate(positions):
        found = imaging["position"][imaging["slice"] == number]
        place = np.asarray(card.prescription().center) + position * card.prescription().slice_dir
        np.testing.assert_allclose(found, np.broadcast_to(place * [-1e3, -1e3, 1e3], found.shape), atol=1e-4)
    assert set(imaging["contrast"]) == set(range(len(raw.header.te)))


class TestHeader:
    """What other software reads, with the ismrmrd package."""

    def test_echo_train_and_series(self, weighted):
        import ismrmrd

        _, sequence, folder = weighted
        with ismrmrd.File(folder / "raw.h5", "r") as file:
            header, acquisitions = file["dataset"].header, list(file["dataset"].acquisitions)
        encoding = header.encoding[0]
        assert encoding.trajectory.value == "epi"
        assert encoding.parallelImaging.calibrationMode.value == "separate"
        description = encoding.trajectoryDescription
        assert description.identifier == "ConventionalEPI"
        values = {p.name: p.value for p in description.userParameterLong}
        rise, flat, delay, dwell, samples = sequence.definitions["EpiRamp"]
        assert values["rampUpTime"] == values["rampDownTime"] == round(1e6 * rise)
        assert values["flatTopTime"] == round(1e6 * flat)
        assert values["acqDelayTime"] == round(1e6 * delay)
        assert values["numSamples"] == samples
        assert values["numberOfNavigators"] == 3
        assert description.userParameterDouble[0].value == pytest.approx(1e6 * dwell)
        parameters = header.sequenceParameters
        assert parameters.diffusionDimension.value == "repetition"
        directions = np.reshape(sequence.definitions["BDirections"], (-1, 3))
        for entry, b, v in zip(
            parameters.diffusion, sequence.definitions["BValues"], directions, strict=True
        ):
            assert entry.bvalue == pytest.approx(1e-6 * b)
            g = entry.gradientDirection
            np.testing.assert_allclose([-g.rl, -g.ap, g.fh], TURN @ v, atol=1e-8)
        self.flags(acquisitions, values["etl"])

    def flags(self, acquisitions, length):
        """Navigators are phase-correction lines; every second line of a train runs backwards."""
        import ismrmrd

        train = [
            a for a in acquisitions
            if not a.is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
            and not a.is_flag_set(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION)
            and (a.idx.repetition, a.idx.slice) == (1, 2)
        ]  # fmt: skip
        assert len(train) == length + 3
        correction = [a.is_flag_set(ismrmrd.ACQ_IS_PHASECORR_DATA) for a in train]
        assert correction == [True] * 3 + [False] * length
        reverse = [a.is_flag_set(ismrmrd.ACQ_IS_REVERSE) for a in train]
        assert reverse == [(n + 1) % 2 == 1 for n in range(length + 3)]
        for a in train:
            falls = a.traj[-1, 0] < a.traj[0, 0]
            assert falls == a.is_flag_set(ismrmrd.ACQ_IS_REVERSE)
        assert [a.idx.kspace_encode_step_1 for a in train[3:]] == sorted(
            a.idx.kspace_encode_step_1 for a in train[3:]
        )

    def test_simultaneous_slices(self, simultaneous):
        import ismrmrd

        _, sequence, folder = simultaneous
        with ismrmrd.File(folder / "raw.h5", "r") as file:
            header = file["dataset"].header
        band = header.encoding[0].parallelImaging.multiband
        positions = np.asarray(sequence.definitions["SlicePositions"])
        assert band.multiband_factor == 2
        np.testing.assert_allclose(band.spacing[0].dZ, [1e3 * (positions[4] - positions[0])])
        assert band.deltaKz == pytest.approx(1e-3 * float(sequence.definitions["MultibandBlip"]))

    def test_coil_table(self):
        """Recon evaluates the table as the simulation does: two programs, one convention."""
        from mrsim.simulation.scanner_gradients import distortion_description, scanner_field
        from recon import GradientCoils

        machine = load_scanner("siemens-prisma-3t")
        coils = GradientCoils.from_json(distortion_description(machine), "")
        points = np.random.default_rng(8).uniform(-0.11, 0.11, (50, 3))
        known = dataclasses.replace(
            machine, gradients=dataclasses.replace(machine.gradients, coil_error=0.0, scale_error=(0.0,) * 3)
        )
        there = scanner_field(known).field(points)
        assert np.abs(there - points).max() > 1e-4
        np.testing.assert_allclose(points + coils.displacement(points), there, atol=1e-9)


def test_echoes_to_and_fro(tmp_path):
    """Three gradient echoes of two slices, the second one backwards, each an image of its own."""
    raw, sequence = measure(
        tmp_path, "adni2-trio-t2star", geometry={"matrix": (40, 32, 1)}, selection={"n_slices": 2},
        echoes={"count": 3, "spacing": 8e-3, "polarity": "bipolar"}, timing={"te": 8e-3},
    )  # fmt: skip
    imaging = raw.heads[~raw.flagged(1 << 18)]
    backwards = raw.flagged(1 << 21)[~raw.flagged(1 << 18)]
    np.testing.assert_array_equal(backwards, imaging["contrast"] == 1)
    volumes = reconstruct_volumes(raw, ReconOptions(combine="rss"))
    times = [v.meta["sidecar"]["EchoTime"] for v in volumes]
    assert times == pytest.approx(list(sequence.definitions["EchoTimes"]), abs=1e-9)
    for volume in volumes:
        # As for the echo trains, whitened coils are not quite those of the closed form: 0.5 %.
        assert nrmse(volume, sequence) < 0.008

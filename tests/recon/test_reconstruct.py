"""Whole reconstructions: sorting, partial Fourier, interpolation, scaling, other people's files."""

from pathlib import Path

import numpy as np
import pytest

from recon import RawDataError, ReconOptions, Window, read_raw, reconstruct
from recon.intensity import receive_profile

from . import synthetic
from .synthetic import CALIBRATION, PHASE, REVERSE, Setup, on_image_grid

KOMA = Path(__file__).parents[2].parent / "shared" / "refdata" / "koma" / "Koma_signal.mrd"


def relative(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


@pytest.fixture(scope="session")
def one_coil():
    """Closed-form k-space of one coil, and its image by explicit Fourier sums."""
    from .conftest import dft_images

    setup = Setup(coils=1)
    kspace = synthetic.full_kspace(setup)
    return kspace, np.abs(dft_images(kspace, setup)[0])


def build(tmp_path, setup, kspace, change=None, xml=None, lines=None):
    acqs = synthetic.acquisitions(setup, kspace, lines=lines)
    if change:
        acqs = change(acqs)
    return read_raw(synthetic.write(tmp_path / "a.h5", setup, acqs, xml=xml))


class TestSorting:
    def test_against_explicit_sums(self, tmp_path, one_coil):
        kspace, truth = one_coil
        image = reconstruct(build(tmp_path, Setup(coils=1), kspace))
        assert relative(on_image_grid(image.data), truth) < 1e-6  # single precision
        # The main ellipsoid has density 1: the closed form, the scaling and the sums agree on it.
        assert np.median(truth[truth > 0.5]) == pytest.approx(np.sqrt(1.0), rel=0.05)

    def test_order_of_acquisition_does_not_matter(self, tmp_path, one_coil):
        kspace, truth = one_coil
        order = np.random.default_rng(0).permutation(36 * 20)
        raw = build(tmp_path, Setup(coils=1), kspace, lambda acqs: [acqs[i] for i in order])
        assert relative(on_image_grid(reconstruct(raw).data), truth) < 1e-6

    def test_reversed_readouts(self, tmp_path, one_coil):
        kspace, truth = one_coil

        def change(acqs):
            for a in acqs[::2]:
                a.data[:] = a.data[:, ::-1].copy()
                a.center_sample = 80 - 1 - 40
                a.setFlag(REVERSE + 1)
            return acqs

        assert (
            relative(on_image_grid(reconstruct(build(tmp_path, Setup(coils=1), kspace, change)).data), truth)
            < 1e-6
        )

    def test_averages_are_averaged(self, tmp_path, one_coil):
        kspace, truth = one_coil

        def change(acqs):
            more = synthetic.acquisitions(Setup(coils=1), 3 * kspace)
            for a in more:
                a.idx.average = 1
            return acqs + more

        image = reconstruct(build(tmp_path, Setup(coils=1), kspace, change)).data
        assert relative(on_image_grid(image), 2 * truth) < 1e-6

    def test_contrasts_and_repetitions_become_volumes(self, tmp_path, one_coil):
        kspace, truth = one_coil

        def change(acqs):
            more = synthetic.acquisitions(Setup(coils=1), 3 * kspace)
            for a in more:
                a.idx.contrast = 1
            return more + acqs

        image = reconstruct(build(tmp_path, Setup(coils=1), kspace, change))
        assert image.data.shape == (40, 36, 20, 2)
        assert [v["contrast"] for v in image.meta["recipe"]["volumes"]] == [0, 1]
        assert relative(on_image_grid(image.data[..., 0]), truth) < 1e-6
        assert relative(on_image_grid(image.data[..., 1]), 3 * truth) < 1e-6

    def test_discarded_samples_and_partial_echo(self, tmp_path, one_coil):
        kspace, _ = one_coil
        import ismrmrd

        def change(acqs):
            result = []
            for a in acqs:
                junk = np.full((1, 3), 99, np.complex64)
                b = ismrmrd.Acquisition.from_array(
                    np.concatenate([junk, a.data[:, 16:], junk[:, :2]], axis=1)
                )
                b.setHead(a.getHead())
                b.resize(69, 1)
                b.data[:] = np.concatenate([junk, a.data[:, 16:], junk[:, :2]], axis=1)
                b.discard_pre, b.discard_post, b.center_sample = 3, 2, 3 + 40 - 16
                result.append(b)
            return result

        from .conftest import dft_images

        image = reconstruct(build(tmp_path, Setup(coils=1), kspace, change)).data
        cut = kspace.copy()
        cut[:, :16] = 0
        assert relative(on_image_grid(image), np.abs(dft_images(cut, Setup(coils=1))[0])) < 1e-6

    def test_ignored_readouts_are_counted(self, tmp_path, one_coil):
        kspace, truth = one_coil

        def change(acqs):
            extra = synthetic.acquisitions(Setup(coils=1), 50 * kspace)[:7]
            for a in extra:
                a.setFlag(PHASE + 1)
            return extra + acqs

        image = reconstruct(build(tmp_path, Setup(coils=1), kspace, change))
        assert relative(on_image_grid(image.data), truth) < 1e-6
        assert "7 phase-correction readouts ignored" in image.meta["notes"]

    def test_separate_calibration_lines_stay_out_of_the_image(self, tmp_path, kspace, optimum):
        lines = synthetic.sampling(Setup(acceleration=2))
        separate = [(y, z, 1 << CALIBRATION) for z in range(20) for y in range(10, 26)]
        setup = Setup(acceleration=2)
        combined, _ = optimum

        def brighter(acqs):  # a separate scan need not have the image's contrast
            for a in acqs:
                if a.isFlagSet(CALIBRATION + 1):
                    a.data[:] *= 7
            return acqs

        image = reconstruct(build(tmp_path, setup, kspace, brighter, lines=lines + separate)).data
        # The same bound as for embedded lines, without their re-insertion.
        assert relative(on_image_grid(image), combined) < 0.04

    def test_counter_outside_the_matrix(self, tmp_path, one_coil):
        kspace, _ = one_coil

        def change(acqs):
            acqs[9].idx.kspace_encode_step_1 = 36
            return acqs

        with pytest.raises(RawDataError, match="readout 9: kspace_encode_step_1 = 36"):
            reconstruct(build(tmp_path, Setup(coils=1), kspace, change))

    def test_readout_outside_the_matrix(self, tmp_path, one_coil):
        kspace, _ = one_coil

        def change(acqs):
            acqs[4].center_sample = 11
            return acqs

        with pytest.raises(RawDataError, match="readout 4: 80 samples with center_sample 11"):
            reconstruct(build(tmp_path, Setup(coils=1), kspace, change))

    def test_only_noise(self, tmp_path, one_coil):
        kspace, _ = one_coil
        setup = Setup(coils=1, noise_scan=3, noise_covariance=np.eye(1))
        raw = build(tmp_path, setup, kspace, lambda acqs: acqs[:3])
        with pytest.raises(RawDataError, match="no imaging readouts"):
            reconstruct(raw)

    def test_encoding_that_is_not_there(self, tmp_path, one_coil):
        with pytest.raises(RawDataError, match="encoding 3"):
            reconstruct(build(tmp_path, Setup(coils=1), one_coil[0]), ReconOptions(encoding=3))

    def test_oversampling_along_phase_and_partition(self, tmp_path, one_coil, kspace, optimum):
        """The reconstructed field of view is smaller than the encoded one: voxels at the rim are cut off."""
        changes = {"recon_matrix": (40, 30, 16), "recon_fov": (0.20, 0.15, 0.096)}
        image = reconstruct(build(tmp_path, Setup(coils=1, **changes), one_coil[0]))
        inner = np.s_[:, 18 - 15 : 18 + 15, 10 - 8 : 10 + 8]
        assert relative(on_image_grid(image.data), one_coil[1][inner]) < 1e-6
        # The centre voxel is still at the position of the file.
        assert image.affine @ [40 - 1 - 20, 30 - 1 - 15, 8, 1] == pytest.approx([0, 0, 0, 1], abs=1e-9)
        (tmp_path / "a.h5").unlink()
        image = reconstruct(build(tmp_path, Setup(**changes), kspace))
        assert (
            relative(on_image_grid(image.data), optimum[0][inner]) < 0.01
        )  # maps from the centre of k-space

    def test_accelerated_slices(self, tmp_path):
        """Two-dimensional slices, each with its own kernel and maps."""
        setup = Setup(matrix=(48, 44, 1), fov=(0.192, 0.176, 0.005), acceleration=2, acs=18)
        acqs, truth = [], []
        for number, density in enumerate([1.0, 0.6, 1.4]):
            objects = tuple(
                ((x, y, 0), (a, b, 1e2), 1e-2 * density * d) for (x, y, _), (a, b, _), d in synthetic.OBJECT
            )
            k = synthetic.full_kspace(setup, objects)
            part = synthetic.acquisitions(setup, k)
            for a in part:
                a.idx.slice = number
                a.position[:] = [0, 0, 5.0 * number]
            acqs += part
            from .conftest import dft_images

            truth.append(np.sqrt((np.abs(dft_images(k, setup)) ** 2).sum(0)))
        raw = read_raw(synthetic.write(tmp_path / "a.h5", setup, acqs))
        expected = np.concatenate(truth, axis=2)
        for combine in ("rss", "adaptive", "espirit"):
            image = on_image_grid(reconstruct(raw, ReconOptions(combine=combine)).data)
            inside = expected > 0.1 * expected.max()
            assert relative(image[inside], expected[inside]) < 0.03  # GRAPPA on 44 lines

    def test_several_slabs_are_refused(self, tmp_path, one_coil):
        def change(acqs):
            for a in acqs[::2]:
                a.idx.slice = 1
            return acqs

        with pytest.raises(RawDataError, match="multi-slab"):
            reconstruct(build(tmp_path, Setup(coils=1), one_coil[0], change))

    def test_bytes_do_not_depend_on_the_slab(self, measure):
        raw = measure(acceleration=2, acs=14)
        a = reconstruct(raw, ReconOptions(slab=3)).data
        b = reconstruct(raw, ReconOptions(slab=40)).data
        # The library's matrix products may block differently; nothing else differs.
        assert relative(a, b) < 1e-6


def hermitian(one_coil):
    """Drop the unpaired (Nyquist) planes, whose partners lie outside the matrix: the image is real."""
    from .conftest import dft_images

    kspace = one_coil[0].copy()
    kspace[:, 0] = 0
    kspace[:, :, 0] = 0
    kspace[:, :, :, 0] = 0
    return kspace, np.abs(dft_images(kspace, Setup(coils=1))[0])


class TestPartialFourier:
    @pytest.mark.parametrize("first", [5, 9])
    def test_real_object(self, tmp_path, one_coil, first):
        """A real object: half of k-space follows from the other half."""
        kspace, truth = hermitian(one_coil)
        setup = Setup(coils=1, first_line=first)
        raw = build(tmp_path, setup, kspace)
        errors = {
            mode: relative(on_image_grid(reconstruct(raw, ReconOptions(partial_fourier=mode)).data), truth)
            for mode in ("zero", "homodyne", "pocs")
        }
        assert errors["zero"] > 0.01
        # The echo's centroid is found to a few hundredths of a line; the ramp is off by as much.
        assert errors["homodyne"] < 0.01
        assert errors["pocs"] < 0.5 * errors["zero"]  # eight iterations
        assert reconstruct(raw).meta["recipe"]["partial_fourier_phase"] == pytest.approx(
            (36 - first) / 36, abs=1e-4
        )

    def test_smooth_phase_is_kept(self, tmp_path, one_coil):
        kspace, truth = hermitian(one_coil)
        shifted = np.roll(kspace, 1, axis=2)  # a linear phase of one cycle over the field of view
        raw = build(tmp_path, Setup(coils=1, first_line=9), shifted)
        image = on_image_grid(reconstruct(raw, ReconOptions(magnitude=False)).data)
        y = np.arange(36) - 18
        expected = truth * np.exp(2j * np.pi * y / 36)[:, None]
        inside = truth > 0.5
        angle = np.angle(image * expected.conj())[inside]
        assert np.abs(angle).mean() < 0.05  # edges ring in the low-resolution phase
        assert relative(np.abs(image), truth) < 0.05

    def test_with_grappa(self, measure, optimum):
        combined, _ = optimum
        changes = {"acceleration": 2, "acs": 18, "first_line": 8}
        image = on_image_grid(reconstruct(measure(**changes)).data)
        zero = on_image_grid(reconstruct(measure(**changes), ReconOptions(partial_fourier="zero")).data)
        assert relative(image, combined) < 0.05
        assert relative(image, combined) < relative(zero, combined)

    def test_symmetric_truncation_is_not_partial(self, tmp_path, one_coil):
        kspace, _ = one_coil
        lines = [s for s in synthetic.sampling(Setup(coils=1)) if 4 <= s[0] < 32]
        image = reconstruct(build(tmp_path, Setup(coils=1), kspace, lines=lines))
        assert "partial_fourier_phase" not in image.meta["recipe"]


class TestFinish:
    def test_window_in_the_pipeline(self, tmp_path, one_coil):
        from recon.windows import window_array

        from .conftest import dft_images

        kspace, _ = one_coil
        window = Window(kind="hamming", elliptical=True)
        image = reconstruct(build(tmp_path, Setup(coils=1), kspace), ReconOptions(window=window)).data
        # The image's own k-space, after removal of the oversampling, times the window: by explicit sums.
        plain = reconstruct(build(tmp_path, Setup(coils=1), kspace), ReconOptions(magnitude=False)).data
        plain = on_image_grid(plain)
        matrices = [
            np.exp(-2j * np.pi * np.outer(np.arange(n) - n // 2, np.arange(n) - n // 2) / n) / np.sqrt(n)
            for n in plain.shape
        ]
        k = np.einsum("ai,bj,ck,ijk->abc", *matrices, plain, optimize=True) * window_array(
            window, plain.shape
        )
        expected = np.abs(np.einsum("ai,bj,ck,abc->ijk", *[m.conj() for m in matrices], k, optimize=True))
        assert relative(on_image_grid(image), expected) < 1e-5
        assert dft_images is not None

    def test_header_asks_for_interpolation(self, tmp_path, one_coil):
        kspace, truth = one_coil
        image = reconstruct(build(tmp_path, Setup(coils=1, recon_matrix=(80, 72, 20)), kspace))
        assert image.data.shape == (80, 72, 20)
        assert np.linalg.norm(image.affine[:3, :3], axis=0) == pytest.approx([0.0025, 0.0025, 0.006])
        # Every second voxel of the interpolated image is a voxel of the original one.
        fine = image.data[::-1, ::-1][::2, ::2]
        assert relative(fine, truth) < 1e-5

    def test_rounding_to_twelve_bits(self, measure):
        raw = measure()
        plain = reconstruct(raw).data
        image = reconstruct(raw, ReconOptions(bits=12))
        assert image.data.dtype == np.int16
        assert (image.data.min(), image.data.max()) == (image.data.min(), 4095)
        error = image.data / image.meta["recipe"]["intensity_scale"] - plain
        lsb = plain.max() / 4095
        bright = plain > 20 * lsb
        # Uniform rounding error: SD 1 / sqrt(12) = 0.2887 LSB; some 1e4 voxels know it to 1 %.
        assert error[bright].std() / lsb == pytest.approx(0.2887, rel=0.04)

    def test_receive_profile(self):
        """A uniform ellipsoid under a smooth profile comes out flatter."""
        shape, size = (60, 50, 40), (0.003, 0.004, 0.004)
        grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"), -1)
        inside = (grid**2).sum(-1) < 0.8
        image = (inside * (1 + 0.8 * grid[..., 0] + 0.3 * grid[..., 1] ** 2)).astype(np.float32)
        flat = image / receive_profile(image, size)
        before = image[inside].std() / image[inside].mean()
        after = flat[inside].std() / flat[inside].mean()
        assert before > 0.15
        # At the rim the Gaussian sees one side only, so up to half of the variation there stays.
        assert after < 0.5 * before
        assert flat[inside].mean() == pytest.approx(image[inside].mean(), rel=0.1)
        empty = np.zeros((4, 5, 6), np.float32)
        assert np.array_equal(receive_profile(empty, size), np.ones_like(empty))

    def test_receive_profile_in_the_pipeline(self, measure):
        raw = measure()
        plain = reconstruct(raw).data
        corrected = reconstruct(raw, ReconOptions(intensity_correction="prescan_normalize"))
        assert corrected.meta["sidecar"]["IntensityNormalization"] == "prescan_normalize"
        main = (plain > 0.3 * plain.max()) & (plain < 0.9 * plain.max())
        assert (
            corrected.data[main].std() / corrected.data[main].mean() < plain[main].std() / plain[main].mean()
        )

    @pytest.mark.parametrize(
        "bad",
        [
            {"combine": "sum"},
            {"acceleration": "magic"},
            {"partial_fourier": "half"},
            {"intensity_correction": "pure"},
            {"bits": 1},
            {"zero_fill": (0, 1, 1)},
            {"slab": 0},
            {"profile_width": 0.0},
        ],
    )
    def test_bad_options(self, bad):
        with pytest.raises(ValueError, match=next(iter(bad))):
            ReconOptions(**bad)


@pytest.mark.skipif(not KOMA.is_file(), reason="reference data folder ../shared is not beside the repository")
class TestKoma:
    """An echo-planar brain written by another simulator (KomaMRI), with stored trajectory."""

    @pytest.fixture
    def image(self):
        return reconstruct(read_raw(KOMA))

    def test_header_quirk(self, image):
        # KomaMRI writes the field of view in metres: 0.2323 m over 101 pixels.
        assert np.linalg.norm(image.affine[:3, :2], axis=0) == pytest.approx([0.0023, 0.0023])
        assert any("KomaMRI" in note for note in image.meta["notes"])

    def test_against_explicit_sums(self, image):
        raw = read_raw(KOMA)
        group = raw.groups[0]
        k = group.trajectory.reshape(-1, 2).astype(float)
        r = np.arange(101) - 50
        ex, ey = (np.exp(2j * np.pi * np.outer(r, k[:, d])) for d in (0, 1))
        # The grid includes both ends of its period (101 points in steps of 1 / 100): they count half each.
        w = np.ones(101)
        w[[0, -1]] = 0.5
        expected = np.abs((ex * group.data.ravel() * np.outer(w, w).ravel()) @ ey.T) / 100**2 * 101
        ours = image.data[::-1, ::-1, 0]
        assert relative(ours, expected) < 0.005
        inner = np.s_[1:-1, 1:-1]  # the outermost voxels are one period apart and share their signal
        assert relative(ours[inner], expected[inner]) < 1e-4

    def test_it_looks_like_a_head(self, image):
        data = image.data[:, :, 0]
        bright = data > 0.2 * np.median(data[30:70, 30:70])
        assert 0.3 < bright.mean() < 0.7
        assert data[:8].mean() < 0.1 * data[30:70, 30:70].mean()  # no ghost beside the head
        columns, rows = np.flatnonzero(bright.any(1)), np.flatnonzero(bright.any(0))
        assert np.ptp(rows) > np.ptp(columns)  # longer front to back
        mirrored = np.corrcoef(data.ravel(), np.roll(data[::-1], 1, axis=0).ravel())[0, 1]
        upside = np.corrcoef(data.ravel(), data[:, ::-1].ravel())[0, 1]
        assert mirrored > upside  # left-right symmetric, not front-back

"""Slices excited together, with and without blips along the slice axis, from single-band references."""

from dataclasses import replace

import numpy as np
import pytest

from recon import RawDataError, ReconOptions, read_raw, reconstruct
from recon.multiband import apply_slice_kernels, fit_slice_kernels, slice_leakage

from . import synthetic, trains
from .synthetic import CALIBRATION, Setup, on_image_grid
from .trains import Train

SETUP = Setup(matrix=(40, 36, 1), fov=(0.192, 0.180, 0.004), coils=8)
GAP = 0.024
ORIGIN = 0.031  # where gradients encode nothing, along the slice axis [m]
OBJECTS = (
    (((0.0, 0.0, 0.0), (0.34, 0.36, 1e3), 1e-3), ((0.1, 0.1, 0.0), (0.1, 0.1, 1e3), 0.7e-3)),
    (((0.05, 0.0, 0.0), (0.25, 0.30, 1e3), 1e-3), ((-0.1, 0.1, 0.0), (0.08, 0.05, 1e3), -0.6e-3)),
    (((-0.04, 0.03, 0.0), (0.28, 0.22, 1e3), 1.3e-3),),
)
LOWEST = -0.011  # position of the lowest slice from that point [m]


def relative(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


def xml(setup, train, factor, extra=""):
    gaps = "".join(f"<dZ>{1e3 * GAP}</dZ>" for _ in range(factor - 1))
    band = (
        f"<multiband><spacing>{gaps}</spacing><deltaKz>0</deltaKz><multiband_factor>{factor}"
        "</multiband_factor><calibration>separable2D</calibration><calibration_encoding>0"
        "</calibration_encoding></multiband>"
    )
    text = trains.header(setup, train, extra=band)
    origin = "".join(
        f"<userParameterDouble><name>k_origin_mm_{a}</name><value>{v}</value></userParameterDouble>"
        for a, v in zip("xyz", (0.0, 0.0, 1e3 * ORIGIN), strict=True)
    )
    return text.replace("<userParameters>", "<userParameters>" + origin + extra)


def measurement(setup, train, factor, caipi, stride=1, reference_lines=None):
    """References of all slices, and one group: kz cycles through `caipi` positions, 0 on the central line."""
    heights = [LOWEST + s * GAP for s in range(factor)]
    lines = np.arange(0, 36, stride)
    kz = ((lines - 18) // stride) % caipi / (caipi * GAP)
    acqs = []
    for s, height in enumerate(heights):
        for shot in range(stride):
            chosen = np.arange(36)[shot::stride] if reference_lines is None else reference_lines[shot::stride]
            acqs += trains.play(
                setup, train, chosen, flags=[CALIBRATION], slice=s, segment=shot, height=height,
                objects=OBJECTS[s], position=1e3 * (ORIGIN + height),
            )  # fmt: skip
    acqs += trains.play(
        setup, train, lines, kz=kz, height=None, slice=0, position=1e3 * (ORIGIN + heights[0]),
        objects=[(h, OBJECTS[s]) for s, h in enumerate(heights)],
    )  # fmt: skip
    return acqs


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    folder, result = tmp_path_factory.mktemp("truth"), []
    for number, objects in enumerate(OBJECTS):
        path = synthetic.write(folder / f"{number}.h5", SETUP, trains.reference(SETUP, objects))
        result.append(reconstruct(read_raw(path), ReconOptions(combine="rss")).data)
    return np.concatenate(result, axis=2)


@pytest.mark.parametrize(("factor", "caipi"), [(2, 1), (2, 2), (3, 3)])
def test_slices_come_apart(tmp_path, truth, factor, caipi):
    """In place, in order and unshifted.

    All coils see all slices alike here (no sensitivity changes with z), so that only the shift by CAIPI lets
    the slices be told apart.
    """
    train = Train(delay=0.2)
    path = synthetic.write(
        tmp_path / "a.h5", SETUP, measurement(SETUP, train, factor, caipi), xml=xml(SETUP, train, factor)
    )
    image = reconstruct(read_raw(path), ReconOptions(combine="rss"))
    assert image.data.shape == (40, 36, factor)
    assert image.affine[2, 2] == pytest.approx(GAP)
    assert image.affine[2, 3] == pytest.approx(ORIGIN + LOWEST)
    assert image.meta["sidecar"]["MultibandAccelerationFactor"] == factor
    leakage = np.array(image.meta["recipe"]["multiband_leakage"])
    assert leakage.shape == (1, factor)
    error = relative(image.data, truth[:, :, :factor])
    if caipi == 1:
        assert leakage.max() > 0.2
        assert error > 0.1  # what is told apart is told by the slices' own outlines
    else:
        # Eight coils with unfolding by one half or third of 36 lines.
        assert leakage.max() < 0.03
        assert error < 0.03


def test_with_in_plane_acceleration(tmp_path, truth):
    """Kernels from the calibration lines that lie on the lattice, then GRAPPA from the same lines."""
    setup = replace(SETUP, acceleration=2, coils=8)
    train = Train(delay=0.2)
    acqs = measurement(setup, train, 2, 2, stride=2, reference_lines=np.arange(6, 32))
    path = synthetic.write(tmp_path / "a.h5", setup, acqs, xml=xml(setup, train, 2))
    image = reconstruct(read_raw(path), ReconOptions(combine="rss"))
    # Fourfold in all from eight coils on 36 lines.
    assert relative(image.data, truth[:, :, :2]) < 0.2
    assert relative(image.data, truth[:, :, 1::-1]) > 0.3


def test_shared_sensitivities(tmp_path):
    """Two equal volumes with maps of the first one; kernels are fitted once."""
    train = Train(delay=0.2)
    acqs = measurement(SETUP, train, 2, 2)
    heights = (LOWEST, LOWEST + GAP)
    kz = (np.arange(36) - 18) % 2 / (2 * GAP)
    acqs += trains.play(
        SETUP, train, range(36), kz=kz, height=None, slice=0, position=1e3 * (ORIGIN + LOWEST), repetition=1,
        objects=[(h, OBJECTS[s]) for s, h in enumerate(heights)],
    )  # fmt: skip
    raw = read_raw(synthetic.write(tmp_path / "a.h5", SETUP, acqs, xml=xml(SETUP, train, 2)))
    shared = reconstruct(raw, ReconOptions(shared_maps=True))
    own = reconstruct(raw, ReconOptions())
    assert len(shared.meta["recipe"]["multiband_leakage"]) == 1
    assert relative(shared.data[..., 1], shared.data[..., 0]) < 1e-5
    assert relative(shared.data, own.data) < 1e-5


def test_kernels_block_the_other_slice():
    """The fit asks for silence from the other slices: less leaks than of kernels fitted to the sum."""
    rng = np.random.default_rng(2)
    y, x = np.meshgrid(np.linspace(-1, 1, 32), np.linspace(-1, 1, 40))
    slices = []
    for shift in (0, 16):
        body = (x**2 + (y * 1.2) ** 2 < 0.5) * (1 + 0.3 * rng.random(x.shape))
        maps = [np.exp(-((x - a) ** 2) - (y - b) ** 2 + 1j * a * y) for a in (-1, 1) for b in (-1, 0, 1)]
        image = np.roll(np.array([m * body for m in maps]), shift, axis=2)
        slices.append(np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image, axes=(1, 2))), axes=(1, 2)))
    single = np.array(slices, np.complex64)
    kernels = fit_slice_kernels(single)
    assert max(slice_leakage(single, kernels)) < 0.1
    apart = apply_slice_kernels(single.sum(axis=0), kernels)
    assert relative(apart, single) < 0.1
    swapped = slice_leakage(single, kernels[::-1])
    assert min(swapped) > 0.5


def test_missing_reference(tmp_path):
    train = Train()
    acqs = [a for a in measurement(SETUP, train, 2, 2) if a.idx.slice != 1]
    raw = read_raw(synthetic.write(tmp_path / "a.h5", SETUP, acqs, xml=xml(SETUP, train, 2)))
    with pytest.raises(RawDataError, match=r"no single-band reference for the slice at 13\.00 mm"):
        reconstruct(raw)


def test_too_few_reference_lines(tmp_path):
    train = Train()
    acqs = measurement(SETUP, train, 2, 2, reference_lines=np.arange(16, 22))
    raw = read_raw(synthetic.write(tmp_path / "a.h5", SETUP, acqs, xml=xml(SETUP, train, 2)))
    with pytest.raises(RawDataError, match="at least 10 neighbouring lines"):
        reconstruct(raw)


def test_origin_that_is_no_number(tmp_path):
    train = Train()
    text = xml(SETUP, train, 2).replace(f"<value>{1e3 * ORIGIN}</value>", "<value>here</value>")
    acqs = measurement(SETUP, train, 2, 2)
    raw = read_raw(synthetic.write(tmp_path / "a.h5", SETUP, acqs, xml=text))
    with pytest.raises(RawDataError, match="k_origin_mm_x, y and z must be numbers"):
        reconstruct(raw)


def test_too_few_distances(tmp_path):
    train = Train()
    text = xml(SETUP, train, 2).replace("<dZ>24.0</dZ>", "")
    with pytest.raises(RawDataError, match="must hold 1 distances dZ"):
        read_raw(synthetic.write(tmp_path / "a.h5", SETUP, measurement(SETUP, train, 2, 2), xml=text))


def test_orientation_of_slices(tmp_path, truth):
    """Each slice is like its own truth, not like its neighbour's."""
    train = Train()
    path = synthetic.write(
        tmp_path / "a.h5", SETUP, measurement(SETUP, train, 3, 3), xml=xml(SETUP, train, 3)
    )
    data = on_image_grid(reconstruct(read_raw(path), ReconOptions(combine="rss")).data)
    expected = on_image_grid(truth)
    table = [[relative(data[..., a], expected[..., b]) for b in range(3)] for a in range(3)]
    assert np.argmin(table, axis=1).tolist() == [0, 1, 2]

"""Series: volumes with their own sidecars, stacks of slices with gaps, MP2RAGE."""

from dataclasses import replace

import numpy as np
import pytest

from recon import (
    RawDataError,
    ReconOptions,
    mp2rage_uniform,
    read_raw,
    reconstruct,
    reconstruct_mp2rage,
    reconstruct_volumes,
    write_nifti,
)

from . import synthetic
from .synthetic import Setup

SETUP = Setup(matrix=(16, 12, 6), fov=(0.16, 0.144, 0.06), coils=4)


def times(te=(2.98,), ti=(900,), flip=(9,), tr=(2300,)):
    lists = (("TR", tr), ("TE", te), ("TI", ti), ("flipAngle_deg", flip))
    body = "".join(f"<{name}>{v}</{name}>" for name, values in lists for v in values)
    return f"<sequenceParameters>{body}</sequenceParameters>"


def series(tmp_path, factors, counter="contrast", setup=SETUP, noise=0.0, **lists):
    """One volume for each factor (a number or an image-like multiplier of k-space)."""
    kspace, acqs = synthetic.full_kspace(setup), []
    rng = np.random.default_rng(5)
    for number, factor in enumerate(factors):
        k = kspace * factor
        k = k + noise * (rng.standard_normal(k.shape) + 1j * rng.standard_normal(k.shape))
        for a in synthetic.acquisitions(setup, k):
            setattr(a.idx, counter, number)
            acqs.append(a)
    xml = synthetic.header_xml(setup, sequence=times(**lists))
    return read_raw(synthetic.write(tmp_path / "a.h5", setup, acqs, xml=xml))


def test_echoes(tmp_path):
    raw = series(tmp_path, (1.0, 0.5, 0.25), te=(5, 10, 15))
    whole, parts = reconstruct(raw), reconstruct_volumes(raw)
    assert whole.meta["sidecar"]["EchoTime"] == [0.005, 0.010, 0.015]
    assert [p.meta["sidecar"]["EchoTime"] for p in parts] == [0.005, 0.010, 0.015]
    assert [p.meta["counters"]["contrast"] for p in parts] == [0, 1, 2]
    for number, part in enumerate(parts):
        assert part.data.ndim == 3
        np.testing.assert_array_equal(part.data, whole.data[..., number])
        np.testing.assert_array_equal(part.affine, whole.affine)
        assert part.meta["sidecar"]["RepetitionTime"] == 2.3
    np.testing.assert_allclose(parts[1].data, 0.5 * parts[0].data, rtol=1e-4, atol=1e-6)
    write_nifti(tmp_path / "echo-1.nii.gz", parts[0])


@pytest.mark.parametrize("counter", ["repetition", "set", "phase"])
def test_flip_angles_follow_other_counters(tmp_path, counter):
    parts = reconstruct_volumes(series(tmp_path, (1.0, 2.0), counter, flip=(4, 18)))
    assert [p.meta["sidecar"]["FlipAngle"] for p in parts] == [4.0, 18.0]
    assert parts[0].meta["sidecar"]["EchoTime"] == pytest.approx(2.98e-3)


def test_integers_share_their_scale(tmp_path):
    parts = reconstruct_volumes(series(tmp_path, (1.0, 0.5), te=(5, 10)), ReconOptions(bits=12))
    assert [p.data.max() for p in parts] == [4095, 2048]


def test_philips_display_values(tmp_path):
    """DV = PV RS + RI, FP = DV / (RS SS): stored integers, displayed values and the receiver's."""
    raw = series(tmp_path, (1.0,))
    plain = reconstruct(raw).data
    image = reconstruct(raw, ReconOptions(bits=12, scaling="philips", rescale_slope=1.71))
    keys = image.meta["sidecar"]
    assert image.data.max() == pytest.approx(4095 * 1.71)
    np.testing.assert_allclose(image.data / 1.71, np.rint(image.data / 1.71), atol=1e-3)
    floats = image.data / (keys["PhilipsRescaleSlope"] * keys["PhilipsScaleSlope"])
    np.testing.assert_allclose(floats, plain, atol=0.51 * plain.max() / 4095)
    with pytest.raises(ValueError, match="bits"):
        ReconOptions(scaling="philips")


def test_stack_with_gaps(tmp_path):
    """Slices of 4 mm every 5 mm, excited interleaved and counted by position."""
    setup = Setup(matrix=(16, 12, 1), fov=(0.16, 0.144, 0.004), coils=1)
    acqs = []
    for number in (0, 2, 4, 1, 3):
        for a in synthetic.acquisitions(setup, (number + 1) * synthetic.full_kspace(setup)):
            a.idx.slice = number
            a.position[:] = [0, 0, 5.0 * number - 10.0]
            acqs.append(a)
    image = reconstruct(read_raw(synthetic.write(tmp_path / "a.h5", setup, acqs)))
    keys = image.meta["sidecar"]
    assert keys["SliceThickness"] == pytest.approx(4.0)
    assert keys["SpacingBetweenSlices"] == pytest.approx(5.0)
    assert keys["MRAcquisitionType"] == "2D"
    assert image.affine[:3, 2] == pytest.approx([0, 0, 0.005])
    assert image.affine[2, 3] == pytest.approx(-0.010)
    brightness = image.data.max(axis=(0, 1))
    np.testing.assert_allclose(brightness / brightness[0], np.arange(1, 6), rtol=1e-4)


class TestMP2RAGE:
    def test_formula(self):
        first = np.array([1, -1, 1j, 2, 0, 0.5], complex)
        second = np.array([1, 1, 1j, 1, 0, 0.5j], complex)
        np.testing.assert_allclose(mp2rage_uniform(first, second), [0.5, -0.5, 0.5, 0.4, 0, 0], atol=1e-7)
        robust = mp2rage_uniform(first, second, regularisation=0.5)
        np.testing.assert_allclose(robust[4], -0.5)
        np.testing.assert_allclose(robust[0], (1 - 0.5) / (2 + 1))
        with pytest.raises(ValueError, match="one shape"):
            mp2rage_uniform(first, second[:2])

    def test_from_raw_data(self, tmp_path):
        """An inverted first image of 0.6 of the second's size: -0.6 / 1.36 wherever there is object."""
        raw = series(tmp_path, (-0.6, 1.0), ti=(700, 2500), flip=(4, 5), noise=1e-3)
        images = reconstruct_mp2rage(raw, ReconOptions(bits=12))
        magnitude = np.abs(images["inv2"].data)
        inside = magnitude > 0.3 * magnitude.max()
        # Noise of 1e-3 in four coils of brightness 1.
        np.testing.assert_allclose(images["uni"].data[inside], -0.6 / 1.36, atol=0.02)
        assert images["inv1"].meta["sidecar"]["InversionTime"] == 0.7
        assert images["inv2"].meta["sidecar"]["InversionTime"] == 2.5
        assert "InversionTime" not in images["uni"].meta["sidecar"]
        assert np.iscomplexobj(images["inv1"].data)
        background = magnitude < 0.02 * magnitude.max()
        robust = reconstruct_mp2rage(raw, robust=0.1)["uni"].data
        assert robust[background].std() < 0.1 * images["uni"].data[background].std()

    def test_one_volume(self, tmp_path):
        with pytest.raises(RawDataError, match="two inversion images; got 1"):
            reconstruct_mp2rage(series(tmp_path, (1.0,)))


def test_shared_maps_keep_relative_phase(tmp_path):
    """A phase between volumes survives, to the accuracy of single precision."""
    setup = replace(SETUP, coils=6)
    raw = series(tmp_path, (0.5 * np.exp(0.7j), 1.0), setup=setup, te=(5, 10))
    data = reconstruct(raw, ReconOptions(magnitude=False, shared_maps=True)).data
    bright = np.abs(data[..., 1]) > 0.2 * np.abs(data).max()
    ratio = (data[..., 0] / np.where(bright, data[..., 1], 1))[bright]
    np.testing.assert_allclose(ratio, 0.5 * np.exp(0.7j), atol=1e-4)

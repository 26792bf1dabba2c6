"""Radial and spiral measurements of several coils, slices and partitions."""

from dataclasses import replace

import numpy as np
import pytest

from recon import RawDataError, ReconOptions, read_raw, reconstruct
from recon.gridding import NufftPlan

from . import synthetic, trains
from .synthetic import Setup, on_image_grid

SETUP = Setup(matrix=(40, 40, 1), fov=(0.2, 0.2, 0.004), coils=6, oversampling=1)
GOLDEN = np.pi * (np.sqrt(5) - 1) / 2


def relative(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


def spokes(count, samples=80, n=40):
    """Positions [1/FOV], (spoke, sample, 2)."""
    radius = (np.arange(samples) - samples // 2 + 0.5) * n / samples
    angle = GOLDEN * np.arange(count)
    return np.stack([np.outer(np.cos(angle), radius), np.outer(np.sin(angle), radius)], axis=-1)


def spirals(count, samples=400, n=40, turns=10):
    t = np.linspace(0, 1, samples)
    arm = 0.5 * n * t * np.exp(2j * np.pi * turns * t)
    arms = arm * np.exp(2j * np.pi * np.arange(count) / count)[:, None]
    return np.stack([arms.real, arms.imag], axis=-1)


def measured(setup, k, *, objects=trains.OBJECT, kz=0.0, three=False, **idx):
    """Acquisitions along trajectories k [1/FOV]."""
    fov, result = np.array(setup.fov), []
    for arm, where in enumerate(k):
        full = np.concatenate([where, np.full((len(where), 1), kz)], axis=-1)
        if three:
            frequencies, amplitudes = synthetic.coil_waves(setup.coils, fov)
            parts = [synthetic.ellipsoids(full / fov - f, objects, fov) for f in frequencies]
            values = amplitudes @ np.array(parts) * np.sqrt(np.prod(setup.matrix))
        else:
            values = trains.signal(full / fov, setup, objects)
        result.append(trains.acquisition(values, setup, trajectory=full, kspace_encode_step_1=arm, **idx))
    return result


def image(tmp_path, setup, acqs, kind, **options):
    xml = synthetic.header_xml(setup).replace("<trajectory>cartesian", f"<trajectory>{kind}")
    path = synthetic.write(tmp_path / f"{len(list(tmp_path.iterdir()))}.h5", setup, acqs, xml=xml)
    return reconstruct(read_raw(path), ReconOptions(**options))


def disc(data, n=40):
    """Band-limit to the circle of k-space that the arms cover, by explicit sums."""
    index = np.arange(n) - n // 2
    wave = np.exp(-2j * np.pi * np.outer(index, index) / n)
    k = np.einsum("ai,bj,ij->ab", wave, wave, data)
    k *= index[:, None] ** 2 + index[None, :] ** 2 <= (n // 2) ** 2
    return np.einsum("ai,bj,ab->ij", wave.conj(), wave.conj(), k) / n**2


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    folder = tmp_path_factory.mktemp("truth")
    xml = synthetic.header_xml(SETUP)
    path = synthetic.write(folder / "a.h5", SETUP, trains.reference(SETUP), xml=xml)
    data = reconstruct(read_raw(path), ReconOptions(magnitude=False)).data[..., 0]
    return np.abs(disc(data))


@pytest.mark.parametrize(("kind", "k"), [("radial", spokes(90)), ("spiral", spirals(8))])
def test_coils_are_combined(tmp_path, truth, kind, k):
    """As the Cartesian image inside the circle; its corners, and what is put there, are the difference."""
    data = image(tmp_path, SETUP, measured(SETUP, k), kind).data
    assert relative(data[..., 0], truth) < 0.05


def test_brightness_is_that_of_cartesian_data(tmp_path, truth):
    data = image(tmp_path, SETUP, measured(SETUP, spokes(90)), "radial").data[..., 0]
    inside = truth > 0.5 * truth.max()
    assert np.median(data[inside] / truth[inside]) == pytest.approx(1.0, abs=0.01)


def test_sense_of_few_spokes(tmp_path, truth):
    """Undersampled threefold below Nyquist at the rim: CG-SENSE beats gridding."""
    acqs = measured(SETUP, spokes(22))
    plain = image(tmp_path, SETUP, acqs, "radial").data[..., 0]
    sense = image(tmp_path, SETUP, acqs, "radial", acceleration="cg_sense")
    assert sense.meta["recipe"]["acceleration_method"] == "cg_sense"
    assert relative(sense.data[..., 0], truth) < 0.12
    assert relative(sense.data[..., 0], truth) < 0.6 * relative(plain, truth)


def test_slices_of_a_stack(tmp_path, truth):
    """Each slice from its own spokes, in order of position; positions along the slice axis do not matter."""
    acqs = []
    for number, factor in ((1, 2.0), (0, 1.0)):
        objects = tuple((c, a, factor * d) for c, a, d in trains.OBJECT)
        own = measured(SETUP, spokes(90), objects=objects, slice=number, position=5.0 * number)
        for a in own:
            a.traj[:, 2] = 0.3
        acqs += own
    found = image(tmp_path, SETUP, acqs, "radial")
    assert found.data.shape == (40, 40, 2)
    assert found.affine[2, 2] == pytest.approx(0.005)
    for z, factor in enumerate((1.0, 2.0)):
        assert relative(found.data[..., z], factor * truth) < 0.05


@pytest.mark.parametrize("acceleration", ["auto", "cg_sense"])
def test_stack_of_stars(tmp_path, acceleration):
    """Partitions with equal spokes against the full Cartesian volume."""
    setup = replace(SETUP, matrix=(32, 32, 10), fov=(0.2, 0.2, 0.12), coils=3, oversampling=1)
    acqs = []
    for partition in range(10):
        acqs += measured(
            setup, spokes(56, 64, 32), objects=synthetic.OBJECT, kz=partition - 5.0, three=True,
            kspace_encode_step_2=partition,
        )  # fmt: skip
    found = image(tmp_path, setup, acqs, "radial", acceleration=acceleration)
    assert any("equal planes" in note for note in found.meta["notes"])
    xml = synthetic.header_xml(setup)
    path = synthetic.write(tmp_path / "cartesian.h5", setup, xml=xml)
    plain = reconstruct(read_raw(path), ReconOptions(magnitude=False)).data
    expected = np.abs(np.stack([disc(plain[..., z], 32) for z in range(10)], axis=2))
    # The maps are estimated plane by plane here, over the whole volume there.
    assert relative(found.data, expected) < 0.08
    assert on_image_grid(found.data).shape == (32, 32, 10)


def test_partitions_that_turn(tmp_path):
    """Spokes that differ from partition to partition are gridded in three dimensions."""
    setup = replace(SETUP, matrix=(20, 20, 6), fov=(0.2, 0.2, 0.12), coils=2, oversampling=1)
    acqs, every = [], spokes(40 * 6, 40, 20).reshape(6, 40, 40, 2)
    for partition in range(6):
        acqs += measured(setup, every[partition], objects=synthetic.OBJECT, kz=partition - 3.0, three=True)
    found = image(tmp_path, setup, acqs, "radial", combine="rss")
    assert not any("equal planes" in note for note in found.meta["notes"])
    path = synthetic.write(tmp_path / "cartesian.h5", setup)
    coils = reconstruct(read_raw(path), ReconOptions(combine="rss")).data
    inside = coils > 0.3 * coils.max()
    # The Cartesian image has the corners of k-space as well.
    assert relative(found.data[inside], coils[inside]) < 0.15


def test_matrix_too_large_to_grid(tmp_path):
    setup = replace(SETUP, coils=1, recon_matrix=(20000, 20000, 1))
    with pytest.raises(RawDataError, match=r"exceeds \d+ points"):
        image(tmp_path, setup, measured(setup, spokes(4)), "radial")


def test_normal_operator():
    """The convolution equals forward and adjoint sums written out."""
    rng = np.random.default_rng(4)
    points = [rng.uniform(-np.pi, np.pi, 60) for _ in range(2)]
    plan = NufftPlan(points, (7, 6))
    image_ = rng.standard_normal((2, 7, 6)) + 1j * rng.standard_normal((2, 7, 6))
    x, y = np.meshgrid(np.arange(7) - 3, np.arange(6) - 3, indexing="ij")
    waves = np.exp(-1j * (np.multiply.outer(points[0], x) + np.multiply.outer(points[1], y))).reshape(60, -1)
    direct = image_.reshape(2, -1) @ waves.T
    back = (direct * plan.weights) @ waves.conj()
    np.testing.assert_allclose(plan.normal(image_), back.reshape(2, 7, 6), atol=1e-4)
    np.testing.assert_allclose(plan.adjoint(direct), back.reshape(2, 7, 6), atol=1e-4)

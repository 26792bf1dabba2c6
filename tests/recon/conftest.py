import pytest

from recon import read_raw

from . import synthetic


@pytest.fixture(scope="session")
def kspace():
    """Complete k-space of the default setup (6 coils, 80 x 36 x 20 with oversampling)."""
    return synthetic.full_kspace(synthetic.Setup())


@pytest.fixture(scope="session")
def optimum():
    """Coil images combined with the true sensitivities, and the object's mask."""
    import numpy as np

    setup = synthetic.Setup()
    positions = synthetic.voxel_positions(setup.matrix, setup.fov)
    waves = synthetic.coil_waves(setup.coils, setup.fov)
    sensitivity = synthetic.sensitivities(waves, positions)
    images = dft_images(synthetic.full_kspace(setup), setup)
    norm = np.sqrt((np.abs(sensitivity) ** 2).sum(0))
    combined = np.abs((images * sensitivity.conj()).sum(0)) / norm
    return combined, combined > 0.1 * combined.max()


def dft_images(kspace, setup):
    """Coil images by explicit Fourier sums over the voxel positions (no FFT, no shifts)."""
    import numpy as np

    images = kspace
    matrix = (setup.matrix[0] * setup.oversampling, *setup.matrix[1:])
    for axis, (n, m) in enumerate(zip(setup.matrix, matrix, strict=True)):
        r, k = np.arange(n) - n // 2, np.arange(m) - m // 2
        inverse = np.exp(2j * np.pi * np.outer(r, k) / m) / np.sqrt(m)
        images = np.moveaxis(np.tensordot(inverse, images, axes=(1, axis + 1)), 0, axis + 1)
    return images


@pytest.fixture
def measure(tmp_path, kspace):
    """Write a measurement of the default object and read it back."""

    def run(name="raw.h5", lines=None, xml=None, group="dataset", **changes):
        setup = synthetic.Setup(**changes)
        same = changes.get("matrix", setup.matrix) == synthetic.Setup().matrix and setup.coils == 6
        data = kspace if same and setup.oversampling == 2 else synthetic.full_kspace(setup)
        path = synthetic.write(
            tmp_path / name, setup, synthetic.acquisitions(setup, data, lines=lines), xml=xml, group=group
        )
        return read_raw(path)

    return run

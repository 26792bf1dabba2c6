"""Fourier encoding of a 1 mm head at the k-space positions of a 2 mm scan, one coil, one thread.

The tensor DFT and the NUFFT do the same job. The FFT does not: it gives k only on the phantom's own grid,
which is the inverse crime that the engine avoids; it stands here as the price of an unattainable bound.
"""

import numpy as np
import scipy.fft

from mrsim.simulation.kspace.encode import Grid, TensorEncoder, nufft

from .measure import Row, cpu_seconds

GRID = Grid(shape=(200, 220, 170), spacing=(1e-3, 1e-3, 1e-3), first=(-0.1003, -0.1101, -0.0852))
SAMPLES = (256, 128, 104)
"""Along (read, phase, slice): a 256 x 256 x 208 mm field of view at 2 mm, readout oversampled twice."""
FOV = (0.512, 0.256, 0.208)


def _sgemm_peak() -> float:
    """Return float32 multiply-adds of this machine's BLAS on one thread, counted as 2 [GFLOP/s]."""
    n = 2048
    a, b = (np.random.default_rng(i).random((n, n), np.float32) for i in range(2))
    return 2 * n**3 / cpu_seconds(lambda: a @ b) / 1e9


def _operations() -> float:
    """Real operations of the three complex matrix products, 8 for each complex multiply-add."""
    n_read, n_phase, n_slice = GRID.shape
    k_read, k_phase, k_slice = SAMPLES
    return 8.0 * (
        k_phase * n_phase * n_slice * n_read
        + k_phase * k_slice * n_slice * n_read
        + k_phase * k_slice * k_read * n_read
    )


def run() -> list[Row]:
    rng = np.random.default_rng(0)
    image = (rng.random(GRID.array_shape) + 1j * rng.random(GRID.array_shape)).astype(np.complex64)
    k = [(np.arange(n) - n // 2) / fov for n, fov in zip(SAMPLES, FOV, strict=True)]
    encoder = TensorEncoder.build(GRID, *k)
    phase, part, read = np.meshgrid(k[1], k[2], k[0], indexing="ij")
    points = np.stack([read, phase, part], axis=-1).reshape(-1, 3)

    tensor = cpu_seconds(lambda: encoder.forward(image))
    scattered = cpu_seconds(lambda: nufft(image, GRID, points))
    fft = cpu_seconds(lambda: scipy.fft.fftn(image, workers=1))
    error = np.linalg.norm(encoder.forward(image).reshape(-1) - nufft(image, GRID, points))
    error /= np.linalg.norm(encoder.forward(image))
    peak, speed = _sgemm_peak(), _operations() / tensor / 1e9
    return [
        Row(job="sgemm peak, one thread", value=peak, unit="GFLOP/s"),
        Row(job="tensor DFT", value=tensor, unit="CPU-s"),
        Row(job="tensor DFT, speed", value=speed, unit="GFLOP/s", ratio=speed / peak, against="sgemm peak"),
        Row(job="finufft type 2, eps 1e-5", value=scattered, unit="CPU-s", ratio=scattered / tensor,
            against="tensor DFT"),
        Row(job="difference of the two", value=float(error), unit="relative"),
        Row(job="scipy FFT of the phantom grid", value=fft, unit="CPU-s", ratio=tensor / fft,
            against="tensor DFT / FFT"),
    ]  # fmt: skip

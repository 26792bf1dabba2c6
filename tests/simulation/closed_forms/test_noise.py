"""Noise of magnitude images: Rician for one coil, non-central chi for the root sum of squares of many.

With sigma per real component and n equal, uncorrelated coils: without signal the mean is
sqrt(2) Gamma(n + 1/2) / Gamma(n) sigma; with a signal A (root sum of squares) it is
sqrt(pi / 2) L_(1/2)^(n-1)(-A^2 / (2 sigma^2)) sigma, and the mean square is A^2 + 2 n sigma^2. Correlated
coils, lambda_i the eigenvalues of their covariance, keep the mean square 2 sum lambda_i, but the square has
the variance 4 sum lambda_i^2 instead of 4 n: as if there were n' = (sum lambda)^2 / sum lambda^2 coils.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.special import gammaln, hyp1f1

from mrsim.simulation import simulate, write_ismrmrd
from mrsim.simulation.gradients import GradientSystem
from protocols import load_scanner
from protocols.cards.settings import Readout, Rf, Timing
from recon import read_raw, reconstruct

from .bench import IDEAL, PERFECT, PLAIN, axis, body, card, cloud, quiet

MATRIX, PIXEL = (48, 32, 16), 4e-3
PRISMA = load_scanner("siemens-prisma-3t")
WHITENED = replace(PLAIN, prewhiten=True)
NOISE_SAMPLES = 32768
BACKGROUND = {1: (1.253314, 0.655136), 8: (3.938, 0.70), 12: (4.848, 0.70), 32: (7.969, 0.705)}
"""Mean and standard deviation over sigma without signal (reference table; .706 is the limit)."""


def volume(bandwidth=400.0):
    """Gradient echo of a volume, all of k-space."""
    fov = tuple(n * PIXEL for n in MATRIX)
    return card(
        "gre", fov, MATRIX, timing=Timing(tr=0.02, te=0.008, dummy_shots=0),
        rf=Rf(flip_deg=2.0, spoil_increment_deg=50.0), readout=Readout(bandwidth=bandwidth),
    )  # fmt: skip


def lump():
    """Smooth cloud, so that away from it there is no signal; on water's properties."""
    axes = (axis(32, 4e-3), axis(28, 4e-3), axis(16, 4e-3))
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    maps = {"water": cloud(x, 0.0, 14e-3) * cloud(y, 0.0, 12e-3) * cloud(z, 0.0, 7e-3)}
    return body(maps, axes, water={"t1": 1.0, "t2": 0.05})


def chi_mean(n, signal):
    """Mean of the root sum of squares over sigma; signal in sigma."""
    scale = np.sqrt(2) * np.exp(gammaln(n + 0.5) - gammaln(n))
    return scale * hyp1f1(-0.5, n, -0.5 * np.asarray(signal) ** 2)


def chi_sd(n, signal):
    """Its standard deviation over sigma."""
    return np.sqrt(2 * n + np.asarray(signal) ** 2 - chi_mean(n, signal) ** 2)


def chi_density(n, magnitude, scale):
    """Density of the central chi distribution of n (also broken) coils of sigma `scale` at magnitudes > 0."""
    m = np.maximum(np.asarray(magnitude) / scale, 1e-9)
    return np.exp((2 * n - 1) * np.log(m) - 0.5 * m**2 - gammaln(n) - (n - 1) * np.log(2)) / scale


def scanned(coils):
    """Noiseless scan of one uniform coil, or of an array of the size asked for."""
    if coils == 1:
        return quiet(volume(), lump(), scanner=IDEAL, options=PERFECT, noise_samples=NOISE_SAMPLES)
    options = replace(PERFECT, coils=True, channels=coils, tolerance=1e-3)
    return quiet(volume(), lump(), scanner=PRISMA, options=options, noise_samples=NOISE_SAMPLES)


def measure(source, options=WHITENED, seed=0, level=None):
    """Magnitudes of a noisy scan and of the noiseless one through the same chain, over sigma.

    ``level`` : largest signal over sigma, by scaling the noise; None leaves the noise as it is.
    """
    if level is not None:
        plain = measure(source, options, seed)[1].max()
        source = replace(source, covariance=source.covariance * (plain / level) ** 2)
    raw = source.noisy(seed)
    noisy, clean = reconstruct(raw, options), reconstruct(source.clean(raw), options)
    sigma = noisy.meta["recipe"]["noise_sigma"]
    if sigma is None:
        dwell = source.simulated.readouts.dwell[0]
        sigma = np.sqrt(np.trace(source.covariance).real / len(source.covariance) / 2 / dwell)
    return noisy.data / sigma, clean.data / sigma, sigma


def measure_background(coils, options=WHITENED):
    """Mean, standard deviation of the background over sigma, its number of voxels."""
    noisy, clean, _ = measure(scanned(coils), options, level=3.0)
    empty = clean < 0.02
    return noisy[empty].mean(), noisy[empty].std(), int(empty.sum())


def measure_signal(coils, level=6.0, seeds=4):
    """Per bin of signal over sigma: mean signal, mean and standard deviation found, number of voxels."""
    source = scanned(coils)
    noisy, clean = [], []
    for seed in range(seeds):
        a, b, _ = measure(source, seed=seed, level=level)
        noisy.append(a.ravel())
        clean.append(b.ravel())
    m, s = np.concatenate(noisy), np.concatenate(clean)
    edges, rows = np.concatenate([[0.0, 0.05], np.arange(0.5, level, 0.5)]), []
    for low, high in pairwise(edges):
        own = (s >= low) & (s < high)
        excess = m[own] - chi_mean(coils, s[own])  # within a bin the signal varies
        rows.append((s[own].mean(), chi_mean(coils, s[own].mean()) + excess.mean(), excess.std(), own.sum()))
    return np.array(rows)


def correlated(source):
    """Predicted mean square and its standard deviation over sigma^2 without whitening; effective coils."""
    psi = source.covariance / (np.trace(source.covariance).real / len(source.covariance))
    squares = np.trace(psi @ psi).real
    return 2 * len(psi), np.sqrt(4 * squares), len(psi) ** 2 / squares


@pytest.mark.parametrize("coils", [1, pytest.param(8), pytest.param(12, marks=pytest.mark.slow),
                                   pytest.param(32, marks=pytest.mark.slow)])  # fmt: skip
def test_background(coils):
    """Within four standard errors of the voxels and of sigma, which 32768 noise samples per coil tell."""
    mean, sd, count = measure_background(coils)
    expected, spread = chi_mean(coils, 0.0), chi_sd(coils, 0.0)
    print(f"{coils} coils: mean {mean:.4f} ({expected:.4f}), SD {sd:.4f} ({spread:.4f}), {count} voxels")
    assert expected == pytest.approx(BACKGROUND[coils][0], abs=1e-3)
    assert spread == pytest.approx(BACKGROUND[coils][1], abs=5e-3)
    of_sigma = 1 / np.sqrt(4 * coils * NOISE_SAMPLES)
    assert mean == pytest.approx(expected, rel=4 * np.hypot(of_sigma, spread / expected / np.sqrt(count)))
    assert sd == pytest.approx(spread, rel=4 * np.hypot(of_sigma, 1 / np.sqrt(2 * count)))


@pytest.mark.parametrize("coils", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_signal_and_noise(coils):
    rows = measure_signal(coils, seeds=6)
    for signal, mean, sd, count in rows:
        expected, spread = chi_mean(coils, signal), chi_sd(coils, signal)
        print(
            f"{coils} coils, A = {signal:.2f}: mean {mean:.3f} ({expected:.3f}), SD {sd:.3f} ({spread:.3f})"
        )
        assert mean == pytest.approx(expected, abs=4 * spread / np.sqrt(count) + 2e-3 * expected)
        # Within a bin the spread itself varies by up to 5 %.
        assert sd == pytest.approx(spread, rel=4 / np.sqrt(2 * count) + 0.05)


def test_correlated_coils_act_as_fewer():
    """The mean square stays, its spread grows."""
    source = scanned(8)
    noisy, clean, _ = measure(source, PLAIN, level=3.0)
    empty = clean < 0.02
    square = noisy[empty] ** 2
    mean, spread, fewer = correlated(source)
    print(f"correlated: mean square {square.mean():.3f} ({mean:.3f}), SD {square.std():.3f} ({spread:.3f}; "
          f"uncorrelated {np.sqrt(4 * 8):.3f}), effective coils {fewer:.2f}, mean {noisy[empty].mean():.4f} "
          f"(effective {chi_mean(fewer, 0.0) * np.sqrt(8 / fewer):.4f})")  # fmt: skip
    assert fewer < 7.9
    assert square.mean() == pytest.approx(mean, rel=4 * spread / mean / np.sqrt(empty.sum()))
    # The square's fourth moment is that of a chi-square of 2 n' degrees.
    assert square.std() == pytest.approx(spread, rel=4 * np.sqrt((2 + 12 / (2 * fewer)) / 4 / empty.sum()))
    assert noisy[empty].mean() == pytest.approx(chi_mean(fewer, 0.0) * np.sqrt(8 / fewer), rel=5e-3)


def test_the_bench_adds_the_noise_of_the_engine():
    """`Quiet.noisy` and `simulate` with noise: the same bytes."""
    source, protocol = scanned(1), volume()
    raw = simulate(
        lump(), source.simulated.sequence, IDEAL, protocol.prescription(), rng=np.random.default_rng(5),
        options=replace(PERFECT, noise=True), gradients=GradientSystem(),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        write_ismrmrd(Path(name) / "raw.h5", raw)
        stored = read_raw(Path(name) / "raw.h5")
    for a, b in zip(stored.groups, source.noisy(5).groups, strict=True):
        np.testing.assert_array_equal(a.data, b.data)


def measure_bandwidth(bandwidths=(100.0, 400.0, 800.0)):
    """Rows (bandwidth per pixel [Hz], standard deviation of the real part of the image's background)."""
    rows = []
    for bandwidth in bandwidths:
        protocol = volume(bandwidth).replace(timing=Timing(tr=0.04, te=0.015, dummy_shots=0))
        source = quiet(protocol, lump(), scanner=IDEAL, options=PERFECT, noise_samples=64)
        noisy = reconstruct(source.noisy(1), replace(PLAIN, combine="adaptive", magnitude=False)).data
        clean = reconstruct(source.clean(source.noisy(1)), PLAIN).data
        rows.append((1.0 / source.simulated.readouts.dwell[0] / 2 / MATRIX[0],
                     noisy[clean < 1e-3 * clean.max()].real.std()))  # fmt: skip
    return np.array(rows)


def measure_averages(counts=(1, 4)):
    """Rows (averages, standard deviation of the background), from files with repeated readouts."""
    source = quiet(volume(), lump(), scanner=IDEAL, options=PERFECT, noise_samples=64)
    clean, rows = reconstruct(source.clean(source.noisy(0)), PLAIN).data, []
    with tempfile.TemporaryDirectory() as name:
        for count in counts:
            raw = averaged(source, Path(name), count)
            data = reconstruct(raw, replace(PLAIN, combine="adaptive", magnitude=False)).data
            rows.append((count, data[clean < 1e-3 * clean.max()].real.std()))
    return np.array(rows)


def averaged(source, folder, count):
    """File in which every readout comes `count` times with fresh noise, as averages."""
    tables = []
    for average in range(count):
        write_ismrmrd(folder / "one.h5", source.with_noise(average))
        with h5py.File(folder / "one.h5", "r") as file:
            xml, table = file["dataset/xml"][:], file["dataset/data"][:]
            kind = file["dataset/data"].dtype
        table["head"]["idx"]["average"] = average
        tables.append(table)
    whole = np.concatenate(tables).astype(kind)
    with h5py.File(folder / "all.h5", "w", libver="latest") as file:
        file.create_dataset("dataset/xml", data=xml, dtype=h5py.string_dtype())
        file.create_dataset("dataset/data", data=whole, dtype=kind)
    return read_raw(folder / "all.h5")


def test_averages():
    rows = measure_averages()
    print(rows)
    # 2 x 4 standard errors of 12000 voxels.
    np.testing.assert_allclose(rows[:, 1] * np.sqrt(rows[:, 0]), rows[0, 1], rtol=0.05)


def test_bandwidth():
    rows = measure_bandwidth()
    print(rows)
    np.testing.assert_allclose(rows[:, 1] / np.sqrt(rows[:, 0]), rows[0, 1] / np.sqrt(rows[0, 0]), rtol=0.05)

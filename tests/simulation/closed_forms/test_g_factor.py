"""The geometry factor of parallel imaging with a simulated array: noise of many images against closed forms.

SENSE (Pruessmann 1999): g_i = sqrt([(S^H Psi^-1 S)^-1]_ii [S^H Psi^-1 S]_ii), with S the sensitivities
(coils, aliases) where the reconstruction expects signal. An image that is accelerated R times has g sqrt(R)
times the noise of the full one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mrsim.simulation import SimulationOptions
from protocols import load_scanner
from protocols.cards.settings import Acceleration, Readout, Rf, Timing
from recon import AcquisitionFlag, ReconOptions, g_factor, reconstruct

from .bench import Quiet, axis, body, card, quiet, slices

MATRIX, PIXEL, THICKNESS, COILS, REFERENCE = (32, 36), 6e-3, 5e-3, 8, 24
OPTIONS = SimulationOptions(b0=False, b1=False, coils=True, noise=False, channels=COILS, tolerance=1e-3)
PRISMA = load_scanner("siemens-prisma-3t")


def ellipse():
    """Ellipse with soft edges, a head's size, uniform through the slice."""
    axes = (axis(65, 3e-3), axis(73, 3e-3), axis(7, 2e-3))  # every second point is an image's voxel
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    radius = np.hypot(x / 0.072, y / 0.088)
    # A trace everywhere keeps the whole field of view on the simulation's grid, with its sensitivities.
    fraction = np.maximum(1.0 / (1.0 + np.exp((radius - 1.0) / 0.03)), 1e-4) * np.ones_like(z)
    return body({"water": fraction}, axes, water={"t1": 0.3, "t2": 0.06})


def scanned(acceleration) -> Quiet:
    """Noiseless slice; every R-th line and, apart from the image, reference lines."""
    fov = (MATRIX[0] * PIXEL, MATRIX[1] * PIXEL, THICKNESS)
    lines = REFERENCE if acceleration > 1 else 0
    protocol = card(
        "gre", fov, (*MATRIX, 1), selection=slices(THICKNESS), rf=Rf(flip_deg=30.0, spoiler_cycles=4.0),
        timing=Timing(tr=0.5, te=0.006, dummy_shots=0), readout=Readout(bandwidth=500.0),
        acceleration=Acceleration(phase=acceleration, reference_lines=lines),
    )  # fmt: skip
    return quiet(protocol, ellipse(), scanner=PRISMA, options=OPTIONS, noise_samples=16384)


def sensitivities(source):
    """True sensitivities (coil, x, y) at the image's voxels: every second point of the body's grid."""
    fine = np.array([m[:, 3] for m in source.receiver.maps()])  # arrays (phase, slice, read)
    return fine[:, : 2 * MATRIX[1] : 2, : 2 * MATRIX[0] : 2].swapaxes(1, 2)


def closed_form(sensitivity, covariance, acceleration, support):
    """g (x, y) by the definition; only aliases inside the support count."""
    inverse, g = np.linalg.inv(covariance), np.zeros(MATRIX)
    step = MATRIX[1] // acceleration
    for x, y in np.argwhere(support):
        rows = [(y + a * step) % MATRIX[1] for a in range(acceleration)]
        s = sensitivity[:, x, [r for r in rows if support[x, r]]]
        m = s.conj().T @ inverse @ s
        g[x, y] = np.sqrt((np.linalg.inv(m)[0, 0] * m[0, 0]).real)
    return g


SHARED = AcquisitionFlag.CALIBRATION_AND_IMAGING
ALONE = AcquisitionFlag.CALIBRATION


def apart(noisy, clean):
    """Raw data whose calibration lines and noise scan are those of ``clean``, the image's lines of ``noisy``.

    Lines that serve both come twice, as from a separate calibration: noise that sensitivities or weights
    share with the image is no noise of its own, and a few per cent of it cancel.
    """
    kept = clean.flagged(AcquisitionFlag.NOISE | ALONE)
    both = np.flatnonzero(clean.flagged(SHARED))
    flags = noisy.heads["flags"].copy()
    flags[both] &= ~np.uint64(SHARED)
    copies = clean.heads[both].copy()
    copies["flags"] = (copies["flags"] & ~np.uint64(SHARED)) | np.uint64(ALONE)
    heads = np.concatenate([noisy.heads, copies])
    heads["flags"][: len(flags)] = flags
    number = np.full(len(noisy.heads), -1)
    number[both] = len(noisy.heads) + np.arange(len(both))
    groups = []
    for group, other in zip(noisy.groups, clean.groups, strict=True):
        data = np.where(kept[group.index][:, None, None], other.data, group.data)
        own = number[group.index] >= 0
        groups.append(
            replace(
                group, index=np.concatenate([group.index, number[group.index][own]]),
                data=np.concatenate([data, other.data[own]]),
            )
        )  # fmt: skip
    return replace(noisy, heads=heads, groups=tuple(groups))


def spread(source, options, images):
    """Standard deviation (x, y) of the magnitude over replicas of the noise, over its sigma.

    The signal is thousands of times the noise, so that a magnitude has the noise of one real part.
    """
    first = source.noisy(0)
    clean = source.clean(first)
    results = [reconstruct(apart(source.noisy(1 + seed), clean), options) for seed in range(images)]
    sigma = results[0].meta["recipe"]["noise_sigma"]
    return np.array([r.data[:, :, 0] for r in results]).std(axis=0, ddof=1) / sigma


def measure(acceleration, method, images):
    """g from noise, from the definition and from `recon.g_factor`, and where there is signal: (x, y) each."""
    options = ReconOptions(acceleration=method, regularisation=0.0, partial_fourier="zero", canonical=False)
    source = scanned(acceleration)
    first = source.noisy(0)
    clean = source.clean(first)
    strength = reconstruct(apart(first, clean), options).data[:, :, 0]
    mapped = g_factor(apart(first, clean), options).data[:, :, 0]
    expected = closed_form(sensitivities(source), source.covariance, acceleration, mapped > 0)
    inside = (strength > 0.3 * strength.max()) & (mapped > 0)
    return spread(source, options, images) / np.sqrt(acceleration), expected, mapped, inside


def ratio(found, expected, inside):
    """Root mean square of found / expected over voxels: variances are unbiased, deviations are not."""
    return float(np.sqrt(np.mean((found[inside] / expected[inside]) ** 2)))


def error_of(images, inside, acceleration):
    """Standard error of `ratio`: aliases of one another share their noise."""
    return 0.5 * np.sqrt(2 / (images - 1) / (inside.sum() / acceleration))


def check(acceleration, method, images, *, kernel=0.0, coils):
    """``kernel`` and ``coils`` : what weights cut at the ends of k-space, and estimated coils, may differ."""
    found, expected, mapped, inside = measure(acceleration, method, images)
    sampling = 4 * error_of(images, inside, acceleration)
    of_map, of_truth = ratio(found, mapped, inside), ratio(found, expected, inside)
    print(
        f"{method}, R = {acceleration}: noise over g_factor {of_map:.4f}, over the definition {of_truth:.4f} "
        f"(+-{sampling:.4f}); g up to {mapped[inside].max():.3f} ({expected[inside].max():.3f})"
    )
    assert of_map == pytest.approx(1.0, abs=sampling + kernel)
    if method == "sense":
        assert of_truth == pytest.approx(1.0, abs=sampling + coils)
    return found, expected, mapped, inside


def test_no_acceleration():
    """g is exactly 1, and the noise of the image that of a whitened sample."""
    _, expected, mapped, inside = check(1, "sense", 20, coils=0.0)
    np.testing.assert_array_equal(mapped, 1.0)
    np.testing.assert_allclose(expected[inside], 1.0, rtol=1e-12)


def test_sense_twofold():
    """The reconstruction's estimated coils are within 1 % of the true ones in g."""
    _, expected, mapped, inside = check(2, "sense", 30, coils=0.01)
    np.testing.assert_allclose(mapped[inside], expected[inside], rtol=0.06)


@pytest.mark.slow
def test_sense_threefold():
    """Where g is 3, small errors of the estimated coils matter: 5 % in the mean."""
    found, *_ = check(3, "sense", 80, coils=0.06)
    assert found.max() > 3


@pytest.mark.slow
@pytest.mark.parametrize("acceleration", [2, 3])
def test_grappa(acceleration):
    """The map has the kernel wrap around the ends of k-space, where it reads zeros: up to 3 %."""
    check(acceleration, "grappa", 80, kernel=0.04, coils=0.0)

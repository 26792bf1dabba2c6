"""Thermal noise of the receiver, correlated between coils, from first principles.

Voltage noise of a resistance matrix R over bandwidth BW has covariance 4 k T R BW (Nyquist). The signal
is omega M0 B1- per unit current, with M0 from Curie's law, so SNR grows with B0, voxel volume and
1/sqrt(BW) without any calibration; losses of coil and preamplifier enter as a noise factor.
"""

from __future__ import annotations

import numpy as np

from .constants import BODY_TEMPERATURE, BOLTZMANN, GAMMA_BAR, HBAR, PROTONS_PER_M3

BRAIN_CONDUCTIVITY = 0.55
"""Conductivity of the head [S/m] near 64-128 MHz. A choice between grey matter (0.51-0.59), white matter
(0.29-0.34), CSF (2.1) and fat (0.04) at these frequencies (Gabriel et al., Phys Med Biol 41:2271, 1996;
values from general knowledge, not re-read)."""


def equilibrium_magnetization(b0: float) -> float:
    """M0 [A/m] of pure water protons at body temperature (Curie's law) at ``b0`` [T]."""
    gamma = 2 * np.pi * GAMMA_BAR
    return PROTONS_PER_M3 * (gamma * HBAR) ** 2 * b0 / (4 * BOLTZMANN * BODY_TEMPERATURE)


def noise_covariance(
    resistance: np.ndarray, *, f0: float, noise_factor: float, coil_loss: float = 0.05
) -> np.ndarray:
    """Covariance of the complex noise per hertz of bandwidth.

    Parameters
    ----------
    resistance : array (coils, coils)
        Sample resistance per omega^2 [ohm s^2] (`mrsim.simulation.coils.sample_resistance`).
    f0 : float
        Larmor frequency [Hz].
    noise_factor : float
        Noise power of the chain over that of the sample and coil; >= 1. What preamplifier, cable and
        converter of a channel add is its own: it makes the noise of the array less correlated.
    coil_loss : float
        Uncorrelated resistance of each coil over the array's mean sample resistance at 123 MHz, growing
        with sqrt(f) (skin effect). A choice: small enough that SNR grows about linearly from 1.5 to 3 T, as
        measured (exponent 0.96 to 0.98 from 0.55 to 3 T, doi:10.1002/mrm.70202).

    Returns
    -------
    array (coils, coils) [V^2/Hz]: E[n n^H] of complex samples is this times the receiver bandwidth.
    """
    if noise_factor < 1.0:
        raise ValueError(f"noise_factor must be at least 1; got {noise_factor}. Check the scanner record.")
    omega = 2 * np.pi * f0
    reference = 2 * np.pi * 123.2e6
    loss = coil_loss * np.trace(resistance) / len(resistance) * reference**2 * np.sqrt(omega / reference)
    total = omega**2 * resistance + loss * np.eye(len(resistance))
    total += (noise_factor - 1.0) * np.diag(np.diag(total))
    return np.asarray(4 * BOLTZMANN * BODY_TEMPERATURE * total)


def draw_noise(
    rng: np.random.Generator, covariance: np.ndarray, readouts: int, samples: int, bandwidth: float
) -> np.ndarray:
    """Correlated complex Gaussian noise, complex64 (readouts, coils, samples).

    Parameters
    ----------
    rng : numpy.random.Generator
    covariance : array (coils, coils)
        [V^2/Hz] as of `noise_covariance`.
    readouts, samples : int
    bandwidth : float
        Receiver bandwidth = 1 / dwell [Hz].
    """
    coils = covariance.shape[0]
    root = np.linalg.cholesky(covariance * (0.5 * bandwidth)).astype(np.float32)
    white = rng.standard_normal((readouts, coils, samples, 2), dtype=np.float32)
    mixed = np.matmul(root, white.reshape(readouts, coils, samples * 2))
    return np.asarray(mixed.reshape(readouts, coils, samples, 2).view(np.complex64)[..., 0])

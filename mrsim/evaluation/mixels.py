"""The intensity model of the segmentation: three pure tissues and their pairwise mixtures.

A pure voxel of tissue k is N(mu_k, sigma^2). A mixed voxel of tissues (i, j) holds a fraction a of i, uniform
on [0, 1]: x | a ~ N(a mu_i + (1 - a) mu_j, sigma^2). Its likelihood and the moments of a given x (a normal
truncated to [0, 1]) are closed forms (Santago and Gage, IEEE TMI 12(3):566-574, 1993, with one noise level).
One sigma serves all: noise is a property of the scan, tissue heterogeneity shows up as mixtures.

Likelihoods are tabulated over intensity levels, so that expectation maximisation touches a voxel only to look
up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .inputs import FloatArray

TISSUES = ("csf", "gm", "wm")
PAIRS = ((0, 1), (1, 2), (0, 2))
"""The mixtures, as indices into `TISSUES`: CSF-GM, GM-WM and CSF-WM (the ventricle's wall)."""
N_CLASSES = 3 + len(PAIRS)


@dataclass(frozen=True, kw_only=True)
class MixelModel:
    """Parameters: tissue means, one sd (both on the normalised scale) and the six classes' weights."""

    means: FloatArray
    sd: float
    weights: FloatArray

    def likelihood(self, levels: FloatArray) -> FloatArray:
        """Return p(level | class), shape (level, 6)."""
        out = np.empty((levels.size, N_CLASSES))
        z = (levels[:, None] - self.means[None, :]) / self.sd
        out[:, :3] = np.exp(-0.5 * z * z) / (self.sd * np.sqrt(2.0 * np.pi))
        for c, pair in enumerate(PAIRS):
            out[:, 3 + c] = self._fraction(levels, pair)[0]
        # A level that no class explains must still have a finite logarithm.
        return np.maximum(out, 1e-30)

    def moments(self, levels: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return E[f | level, class], shape (level, 6, 3), and E[f f^T], shape (level, 6, 3, 3)."""
        first = np.zeros((levels.size, N_CLASSES, 3))
        second = np.zeros((levels.size, N_CLASSES, 3, 3))
        for k in range(3):
            first[:, k, k] = second[:, k, k, k] = 1.0
        for c, (i, j) in enumerate(PAIRS, start=3):
            _, a, a2 = self._fraction(levels, (i, j))
            first[:, c, i], first[:, c, j] = a, 1.0 - a
            second[:, c, i, i], second[:, c, j, j] = a2, 1.0 - 2.0 * a + a2
            second[:, c, i, j] = second[:, c, j, i] = a - a2
        return first, second

    def update(self, levels: FloatArray, counts: FloatArray, *, min_sd: float) -> tuple[FloatArray, float]:
        """Return the means and sd that maximise the expected log likelihood.

        Parameters
        ----------
        levels
            Intensity levels.
        counts
            Expected voxels per (level, class).
        min_sd
            Lower limit of sigma (a few level widths).
        """
        first, second = self.moments(levels)
        gram = np.einsum("lc,lcij->ij", counts, second)
        right = np.einsum("lc,lci,l->i", counts, first, levels)
        # A weak pull to the old means keeps an empty class from making the system singular.
        ridge = 1e-6 * float(counts.sum())
        means = np.linalg.solve(gram + ridge * np.eye(3), right + ridge * self.means)
        total = float(np.einsum("lc,l->", counts, levels**2)) - 2.0 * float(means @ right)
        variance = (total + float(means @ gram @ means)) / float(counts.sum())
        return means, float(np.sqrt(max(variance, min_sd**2)))

    def _fraction(
        self, levels: FloatArray, pair: tuple[int, int]
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return p(level | mixture), E[a | level], E[a^2 | level]."""
        from scipy.special import ndtr

        i, j = pair
        # Means that coincide leave nothing to mix: keep the formula finite.
        delta = float(self.means[i] - self.means[j])
        delta = delta if abs(delta) > 1e-3 * self.sd else 1e-3 * self.sd
        centre, width = (levels - self.means[j]) / delta, self.sd / abs(delta)
        alpha, beta = -centre / width, (1.0 - centre) / width
        # The upper tail mirrored to the lower one, where ndtr keeps its relative precision.
        mass = np.where(alpha > 0.0, ndtr(-alpha) - ndtr(-beta), ndtr(beta) - ndtr(alpha))
        safe = np.maximum(mass, 1e-200)
        pa, pb = _phi(alpha), _phi(beta)
        ratio = (pa - pb) / safe
        mean = np.clip(centre + width * ratio, 0.0, 1.0)
        edge = np.where(np.isfinite(alpha), alpha * pa, 0.0) - np.where(np.isfinite(beta), beta * pb, 0.0)
        variance = np.clip(width**2 * (1.0 + edge / safe - ratio**2), 0.0, mean * (1.0 - mean))
        far = mass < 1e-100
        mean = np.where(far, np.clip(centre, 0.0, 1.0), mean)
        variance = np.where(far, 0.0, variance)
        return mass / abs(delta), mean, mean**2 + variance


def _phi(x: FloatArray) -> FloatArray:
    return np.asarray(np.exp(-0.5 * x * x) / np.sqrt(2.0 * np.pi))


def pair_priors(priors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the six class priors (6, voxel) that three tissue priors (3, voxel) imply.

    A voxel is taken as two halves drawn from the tissue prior: both of k with p_k^2, one of each with 2 p_i
    p_j. These add up to 1, keep a certain voxel pure, and let an uncertain one be mixed.
    """
    pure = priors**2
    mixed = [2.0 * priors[i] * priors[j] for i, j in PAIRS]
    return np.concatenate([pure, np.stack(mixed)]).astype(np.float32)

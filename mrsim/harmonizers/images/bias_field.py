"""Bias-field correction alone: the control that says how much of a site effect is shading."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..base import Capabilities, ImageHarmonizer
from ..volumes import Volume
from .fuzzy_classes import fuzzy_classes

Array = NDArray[np.float64]

_ROUNDS = 100
# Largest change of the log field between rounds: a hundredth of a per cent of the intensity.
_SETTLED = 1e-4
# The field is smooth: so many voxels, taken evenly, determine it.
_VOXELS = 30000
# Weak pull towards a flat field, relative to the data's weight per function, for badly covered functions.
_RIDGE = 1e-4


class BiasFieldCorrection(ImageHarmonizer):
    r"""Divide the image by a smooth field, estimated together with three tissue classes; nothing else.

    .. math::
        \log x_v = \mu_{k(v)} + \sum_j c_j \phi_j(v) + \varepsilon_v, \qquad
        \varepsilon_v \sim \mathcal{N}(0, \sigma_k^2), \qquad y = x \, e^{-\sum_j c_j \phi_j}

    The phi are products of cosines along the axes with half-wavelengths down to `cutoff` / 2; classes and
    field are fitted in turn by expectation maximisation on positive voxels inside the mask (30000 of them,
    evenly taken). The field's mean logarithm inside the mask is 0, so the brightness of the image stays.

    Parameters
    ----------
    cutoff
        Shortest wavelength of the field along an axis [m].

    References
    ----------
    Van Leemput K, Maes F, Vandermeulen D, Suetens P. Automated model-based bias field correction of MR
    images of the brain. IEEE Trans Med Imaging 18(10) (1999) 885-896, doi 10.1109/42.811268.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(needs_site_labels=False, handles_unseen_site=True)

    def __init__(self, cutoff: float = 0.15) -> None:
        self.cutoff = cutoff

    def _apply(self, volume: Volume) -> Array:
        # A head is 0.2 m wide: a larger number is millimetres by mistake.
        if not (math.isfinite(self.cutoff) and 0.02 <= self.cutoff <= 2.0):
            raise ValueError(
                f"cutoff must be in metres, from 0.02 to 2; got {self.cutoff}. "
                "Divide millimetres by 1000 (150 mm is cutoff=0.15)."
            )
        corrected: Array = volume.data * np.exp(-self.log_field(volume))
        return corrected

    def log_field(self, volume: Volume) -> Array:
        """Return the logarithm of the field in every voxel, shape (x, y, z)."""
        axes = [
            _cosines(n, int(2.0 * n * size / self.cutoff))
            for n, size in zip(volume.data.shape, volume.voxel_size, strict=True)
        ]
        used = np.argwhere(volume.mask & (volume.data > 0.0))
        # read_volume has refused what is not finite inside the mask
        used = used[:: max(1, len(used) // _VOXELS)]
        i, j, k = used.T
        design = np.einsum("va,vb,vc->vabc", axes[0][i], axes[1][j], axes[2][k]).reshape(len(used), -1)
        if len(used) <= design.shape[1]:
            raise ValueError(
                f"image must have more positive voxels inside the mask than the field has functions "
                f"({design.shape[1]}); got {len(used)}. Raise cutoff, or check image and mask."
            )
        coefficients = _fitted(np.log(volume.data[i, j, k]), design)
        field = np.einsum(
            "ia,jb,kc,abc->ijk", *axes, coefficients.reshape([a.shape[1] for a in axes]), optimize=True
        )
        centred: Array = field - field[volume.mask].mean()
        return centred


def _cosines(n: int, highest: int) -> Array:
    """Return cosines over n voxels, columns 0 (constant) to `highest`."""
    place = (np.arange(n) + 0.5) / n
    return np.asarray(np.cos(np.pi * place[:, None] * np.arange(highest + 1)), dtype=np.float64)


def _fitted(logs: Array, design: Array) -> Array:
    """Return the coefficients of the field; the constant one is left at 0."""
    shares = fuzzy_classes(logs)[1]
    field, coefficients = np.zeros_like(logs), np.zeros(design.shape[1])
    smooth = design[:, 1:]
    if smooth.shape[1] == 0:
        return coefficients
    narrowest = (1e-3 * logs.std()) ** 2
    for _ in range(_ROUNDS):
        flat = logs - field
        total = shares.sum(axis=1)
        mean = shares @ flat / total
        variance = np.maximum((shares * (flat - mean[:, None]) ** 2).sum(axis=1) / total, narrowest)
        shares = _shares(flat, total / total.sum(), mean, variance)
        precision = (shares / variance[:, None]).sum(axis=0)
        residual = logs - (shares * (mean / variance)[:, None]).sum(axis=0) / precision
        normal = smooth.T @ (precision[:, None] * smooth)
        normal[np.diag_indices_from(normal)] *= 1.0 + _RIDGE
        coefficients[1:] = np.linalg.solve(normal, smooth.T @ (precision * residual))
        before, field = field, smooth @ coefficients[1:]
        field -= field.mean()
        if np.abs(field - before).max() < _SETTLED:
            break
    return coefficients


def _shares(values: Array, weight: Array, mean: Array, variance: Array) -> Array:
    logs = np.log(weight) - 0.5 * np.log(variance)
    density = logs[:, None] - 0.5 * (values - mean[:, None]) ** 2 / variance[:, None]
    density -= density.max(axis=0)
    shares = np.exp(density)
    shares /= shares.sum(axis=0)
    return np.asarray(shares, dtype=np.float64)

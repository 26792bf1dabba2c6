"""Maps of the diffusion truth: what a perfect measurement of the phantom must give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .fodf import fibre_odf
from .phantom import Phantom, PhantomError


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class DiffusionTruth:
    """Truth on the phantom's grid, zero where there is no signal.

    Attributes
    ----------
    tensor : ndarray, (x, y, z, 3, 3)
        Mean diffusion tensor, RAS of the phantom [m^2/s].
    directions : ndarray, (fibres, x, y, z, 3)
        Unit vectors.
    weights : ndarray, (fibres, x, y, z)
        Share of each population in the signal of the voxel (the fibre orientation distribution is a sum of
        these peaks).
    """

    tensor: NDArray[np.float32]
    directions: NDArray[np.float32]
    weights: NDArray[np.float32]

    @property
    def mean_diffusivity(self) -> NDArray[np.float64]:
        """Mean diffusivity (x, y, z) [m^2/s]."""
        return mean_diffusivity(self.tensor)

    @property
    def fractional_anisotropy(self) -> NDArray[np.float64]:
        """Fractional anisotropy (x, y, z)."""
        return fractional_anisotropy(self.tensor)

    def fibre_odf(self, order: int = 8) -> NDArray[np.float32]:
        """Fibre orientation distribution (x, y, z, coefficients) as spherical harmonics, see `fodf`."""
        return fibre_odf(self.directions, self.weights, order)

    @property
    def principal_direction(self) -> NDArray[np.float64]:
        """Unit vector (x, y, z, 3) of the largest eigenvalue; its sign means nothing."""
        return np.asarray(np.linalg.eigh(np.asarray(self.tensor, np.float64))[1][..., -1])


def mean_diffusivity(tensor: ArrayLike) -> NDArray[np.float64]:
    """Return trace(D) / 3 of tensors (..., 3, 3)."""
    return np.asarray(np.trace(np.asarray(tensor, np.float64), axis1=-2, axis2=-1) / 3.0)


def fractional_anisotropy(tensor: ArrayLike) -> NDArray[np.float64]:
    """Return sqrt(3/2) |D - MD I| / |D| of tensors (..., 3, 3), 0 for a zero tensor.

    Basser and Pierpaoli, J Magn Reson B 111:209-219, 1996.
    """
    d = np.asarray(tensor, np.float64)
    rest = d - mean_diffusivity(d)[..., None, None] * np.eye(3)
    size = np.linalg.norm(d, axis=(-2, -1))
    ratio = np.linalg.norm(rest, axis=(-2, -1)) / np.where(size > 0, size, 1.0)
    return np.asarray(np.sqrt(1.5) * ratio)


def diffusion_truth(phantom: Phantom, *, b0: float = 3.0, weight: ArrayLike | None = None) -> DiffusionTruth:
    """Return the truth of a phantom voxel by voxel, partial volumes included.

    A voxel's tensor is the mean over its tissues by signal: minus the slope of ln S at b = 0. At finite b the
    tensor that a fit finds differs where a voxel holds several compartments.

    Parameters
    ----------
    phantom : Phantom
    b0 : float
        Field strength [T], for the table.
    weight : array_like (tissues,), optional
        Signal per volume of each tissue, e.g. PD exp(-TE/T2); proton density by default.

    Returns
    -------
    DiffusionTruth
    """
    properties = phantom.properties(b0)
    signal = np.array([p.pd for p in properties]) if weight is None else np.asarray(weight, np.float64)
    if signal.shape != (len(phantom.tissues),) or not (np.isfinite(signal) & (signal >= 0)).all():
        raise PhantomError(f"weight must be finite, >= 0, ({len(phantom.tissues)},); got {signal}.")
    model = phantom.diffusion
    count = 0 if model is None or model.directions is None else len(model.directions)
    size = int(np.prod(phantom.shape))
    tensor = np.zeros((size, 3, 3), np.float32)
    directions, weights = np.zeros((count, size, 3), np.float32), np.zeros((count, size), np.float32)
    total = np.zeros(size)
    for name, f, p, s in zip(phantom.tissues, phantom.fractions, properties, signal, strict=True):
        where = np.flatnonzero(f)
        share = s * f.reshape(-1)[where].astype(np.float64)
        total[where] += share
        if model is None or name not in model.tissues:
            for axis in range(3):
                tensor[where, axis, axis] += share * p.adc
            continue
        cells = model.cells(_centres(phantom, where))
        tensor[where] += share[:, None, None] * model.tensor(name, cells)
        if count and model.oriented(name):
            n, w = model.fibres(cells)
            directions[:, where] = n
            weights[:, where] += w * share
    inverse = 1.0 / np.where(total > 0, total, 1.0)
    return DiffusionTruth(
        tensor=(tensor * inverse[:, None, None]).astype(np.float32).reshape(*phantom.shape, 3, 3),
        directions=directions.reshape(count, *phantom.shape, 3),
        weights=(weights * inverse).astype(np.float32).reshape(count, *phantom.shape),
    )


def _centres(phantom: Phantom, where: NDArray[np.intp]) -> NDArray[np.float64]:
    """Centres (m, 3) [m] of voxels in the phantom's frame."""
    index = np.stack(np.unravel_index(where, phantom.shape), axis=-1)
    return np.asarray(index @ phantom.affine[:3, :3].T + phantom.affine[:3, 3])

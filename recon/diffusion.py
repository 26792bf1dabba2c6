"""Diffusion weighting of the volumes: b-values and b-vectors in the axes of the image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .errors import RawDataError
from .raw import RawData

__all__ = ["bvectors", "gradient_table", "volume_diffusion"]


def volume_diffusion(
    raw: RawData, keys: list[dict[str, int]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """b-values (n,) [s/m^2] and directions (n, 3) in world RAS of the volumes, None without diffusion.

    Raises
    ------
    RawDataError
        The header has fewer entries than the counter that it names reaches.
    """
    diffusion = raw.header.diffusion
    if diffusion is None or not keys:
        return None
    dimension = diffusion.dimension
    if dimension in ("average", "segment"):
        return None  # averaged over, or part of one volume
    index = np.array([key[dimension] for key in keys])
    if index.max() >= len(diffusion.bvalues):
        raise RawDataError(
            f"{raw.source}: header has {len(diffusion.bvalues)} diffusion entries, but {dimension} reaches "
            f"{index.max()}. Add the missing entries to sequenceParameters."
        )
    return diffusion.bvalues[index], diffusion.directions[index] * [-1.0, -1.0, 1.0]


def bvectors(directions: NDArray[np.float64], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Directions (n, 3) in world RAS as rows x, y, z of a ``.bvec`` file, (3, n).

    FSL counts them along the voxel axes, with the first one flipped where the affine's determinant is
    positive (its images are then stored neurologically, its vectors radiologically);
    fsl.fmrib.ox.ac.uk/fsl/fslwiki/FDT/FAQ.
    """
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    vectors = np.linalg.solve(axes, directions.T)
    length = np.linalg.norm(vectors, axis=0)
    vectors = np.where(length > 1e-6, vectors / np.maximum(length, 1e-30), 0.0)
    if np.linalg.det(affine[:3, :3]) > 0:
        vectors[0] *= -1
    return np.asarray(np.round(vectors, 7) + 0.0)


def gradient_table(diffusion: dict[str, list[float]] | dict[str, list[list[float]]]) -> tuple[str, str]:
    """Contents of the ``.bval`` and ``.bvec`` files."""
    bval = " ".join(f"{b:.6g}" for b in diffusion["bval"]) + "\n"
    bvec = "".join(" ".join(f"{v:.7g}" for v in row) + "\n" for row in diffusion["bvec"])  # type: ignore[union-attr]
    return bval, bvec

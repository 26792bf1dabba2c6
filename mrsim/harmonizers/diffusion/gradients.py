"""Diffusion weightings: what bval and bvec files say, and the shells in them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_PER_M2 = 1e6  # s/mm2 -> s/m2
# Below 50 s/mm2 a volume counts as unweighted; shells are at least 100 s/mm2 apart.
_UNWEIGHTED = 50 * _PER_M2
_APART = 100 * _PER_M2


class GradientError(ValueError):
    """Diffusion weightings are missing, damaged or do not fit the image."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gradients:
    """Diffusion weighting of each volume of a scan.

    Attributes
    ----------
    bvals
        b-values [s/m2], shape (n,); 1000 s/mm2 is 1e9.
    bvecs
        Unit vectors in the axes of the image, shape (n, 3); zero where unweighted.
    """

    bvals: Array
    bvecs: Array

    def __post_init__(self) -> None:
        bvals, bvecs = (np.asarray(a, dtype=np.float64) for a in (self.bvals, self.bvecs))
        if bvals.ndim != 1 or bvecs.shape != (bvals.size, 3) or bvals.size == 0:
            raise GradientError(
                f"bvals must have shape (n,) and bvecs (n, 3); got {bvals.shape} and {bvecs.shape}. "
                "Transpose bvecs, or take both from the same scan."
            )
        if not (np.isfinite(bvals).all() and np.isfinite(bvecs).all() and (bvals >= 0.0).all()):
            raise GradientError(
                "bvals and bvecs must be finite and bvals not negative; got others. Repair the files."
            )
        if 0.0 < bvals.max() < 1e6:
            raise GradientError(
                f"bvals must be in s/m2; got a largest one of {bvals.max():g}. Multiply s/mm2 by 1e6."
            )
        lengths = np.linalg.norm(bvecs, axis=1)
        wrong = (bvals > _UNWEIGHTED) & (np.abs(lengths - 1.0) > 0.05)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise GradientError(
                f"bvecs must have length 1 where b > 50 s/mm2; got {lengths[row]:.3g} in volume {row}. "
                "Normalise them, and keep b-values in bvals."
            )
        unit = np.divide(bvecs, lengths[:, None], out=np.zeros_like(bvecs), where=lengths[:, None] > 0.0)
        object.__setattr__(self, "bvals", bvals)
        object.__setattr__(self, "bvecs", unit)

    @property
    def unweighted(self) -> NDArray[np.intp]:
        """Numbers of the volumes without diffusion weighting."""
        return np.flatnonzero(self.bvals <= _UNWEIGHTED)

    def shells(self) -> Iterator[tuple[float, NDArray[np.intp]]]:
        """Yield mean b-value [s/m2] and volume numbers of each shell, weakest first."""
        order = np.argsort(self.bvals, kind="stable")
        order = order[self.bvals[order] > _UNWEIGHTED]
        for part in np.split(order, np.flatnonzero(np.diff(self.bvals[order]) > _APART) + 1):
            if part.size:
                yield float(self.bvals[part].mean()), np.sort(part)


def read_gradients(bval: str | os.PathLike[str], bvec: str | os.PathLike[str]) -> Gradients:
    """Read FSL's text files: b-values in s/mm2 in one row, vectors in three rows.

    Raises
    ------
    GradientError
        If a file is absent, holds no numbers, or the two do not fit; names the file.
    """
    values, vectors = _numbers(Path(bval)), _numbers(Path(bvec))
    if vectors.shape[0] != 3 and vectors.shape[1] == 3:
        vectors = vectors.T
    try:
        return Gradients(bvals=values.ravel() * _PER_M2, bvecs=vectors.T)
    except GradientError as error:
        raise GradientError(f"'{Path(bval).name}' and '{Path(bvec).name}': {error}") from None


def _numbers(path: Path) -> Array:
    try:
        return np.loadtxt(path, ndmin=2, dtype=np.float64)
    except (OSError, ValueError) as error:
        raise GradientError(
            f"'{path.name}' must be a text file of numbers (FSL's format); got an error: {error}. "
            "Take the file that came with the image."
        ) from None

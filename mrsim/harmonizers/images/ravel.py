"""RAVEL: removal of the variation that images share in tissue where only the scanner can vary."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from typing import IO, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..base import Capabilities, ImageHarmonizer
from ..volumes import Volume
from .fuzzy_classes import FLUID_RANK, fuzzy_classes, tissue_rank
from .intensity import WhiteStripe

Array = NDArray[np.float64]

# Values per block of voxels: 32 MB of float64, whatever the number of images.
_BLOCK_VALUES = 2**22


class Ravel(ImageHarmonizer):
    r"""WhiteStripe, then subtract what the unwanted factors of control voxels explain, voxel by voxel.

    .. math::
        V_c \approx U_k S_k Z^T, \qquad \hat\beta_v = (Z^T Z)^{-1} Z^T V_v, \qquad
        V^*_v = V_v - \hat\beta_v z + \bar V_v

    V holds the white-striped images, V_c their control voxels: those whose membership in the fluid class
    (fuzzy c-means) exceeds `membership` in at least the share `agreement` of the training images. Z are the
    first right singular vectors; an image's own z is its projection on the left ones, which for training
    images is their row of Z, so held-out images are treated alike. All images must be registered to one
    grid. Fluid is taken to be free of biology, which disease can break.

    The white-striped images go to a temporary file while fitting (4 bytes per voxel and image); memory does
    not grow with their number but for the square matrix of their products over the control voxels.

    Parameters
    ----------
    n_factors
        Number of unwanted factors.
    contrast
        "T1w", "T2w", "FLAIR" or "PDw", for the white stripe and for which class is fluid.
    membership
        Membership in the fluid class above which a voxel is a control, in (0, 1).
    agreement
        Share of images in which a control voxel must be one, in (0, 1].

    References
    ----------
    Fortin JP et al. Removing inter-subject technical variability in magnetic resonance imaging studies.
    NeuroImage 132 (2016) 198-212, doi 10.1016/j.neuroimage.2016.02.036.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        needs_site_labels=False, handles_unseen_site=True, scaling="invariant"
    )

    def __init__(
        self,
        n_factors: int = 1,
        contrast: str = "T1w",
        membership: float = 0.99,
        agreement: float = 1.0,
    ) -> None:
        self.n_factors = n_factors
        self.contrast = contrast
        self.membership = membership
        self.agreement = agreement

    def _learn(self, volumes: Iterable[Volume]) -> None:
        self._check()
        with tempfile.TemporaryFile() as spill:
            shape, votes, count = self._spilled(volumes, spill)
            control = votes >= self.agreement * count - 1e-9
            if not control.any():
                raise ValueError(
                    "images must share control voxels in the fluid; got none in "
                    f"{count} images at membership={self.membership}, agreement={self.agreement}. "
                    "Register the images to one grid, or lower membership or agreement."
                )
            store = np.memmap(spill, dtype=np.float32, mode="r", shape=(count, votes.size))
            self._decompose(store, control, shape)
            del store

    def _apply(self, volume: Volume) -> Array:
        if volume.data.shape != self.mean_.shape:
            raise ValueError(
                f"image must lie on the grid of the training images, {self.mean_.shape}; "
                f"got shape {volume.data.shape}. Register it to them."
            )
        striped = self._striped(volume)
        controls = striped[self.control_]
        if not np.isfinite(controls).all():
            raise ValueError(
                "image must be finite in the control voxels; got NaN or inf. Set them to 0, or fit again "
                "without them."
            )
        factors = controls @ self.projection_
        corrected: Array = striped - self.beta_ @ factors + self.mean_
        return corrected

    def _check(self) -> None:
        whole = isinstance(self.n_factors, int) and not isinstance(self.n_factors, bool)
        if not whole or self.n_factors < 1:
            raise ValueError(f"n_factors must be an integer above 0; got {self.n_factors!r}. Use 1.")
        if not 0.0 < self.membership < 1.0 or not 0.0 < self.agreement <= 1.0:
            raise ValueError(
                "membership must be in (0, 1) and agreement in (0, 1]; got "
                f"{self.membership} and {self.agreement}. The usual values are 0.99 and 1."
            )

    def _striped(self, volume: Volume) -> Array:
        return np.asarray(WhiteStripe(contrast=self.contrast)._apply(volume), dtype=np.float64)

    def _spilled(
        self, volumes: Iterable[Volume], spill: IO[bytes]
    ) -> tuple[tuple[int, ...], NDArray[np.intp], int]:
        """Append each white-striped image to the file; return the grid, votes for fluid, and the number."""
        shape: tuple[int, ...] = ()
        rank, count = tissue_rank(FLUID_RANK, self.contrast), 0
        votes = np.zeros(0, dtype=np.intp)
        for volume in volumes:
            if count == 0:
                shape, votes = volume.data.shape, np.zeros(volume.data.size, dtype=np.intp)
            if volume.data.shape != shape:
                raise ValueError(
                    f"images must lie on one grid; image {count} (site '{volume.site}') has shape "
                    f"{volume.data.shape}, the first one {shape}. Register them to a template."
                )
            fluid = fuzzy_classes(volume.inside)[1][rank] > self.membership
            votes[np.flatnonzero(volume.mask)[fluid]] += 1
            np.nan_to_num(self._striped(volume), posinf=0.0, neginf=0.0).astype(np.float32).tofile(spill)
            count += 1
        spill.flush()
        return shape, votes, count

    def _decompose(
        self, store: NDArray[np.float32], control: NDArray[np.bool_], shape: tuple[int, ...]
    ) -> None:
        """Find the factors from products of images over control voxels, then each voxel's coefficients."""
        voxels = np.flatnonzero(control)
        products = sum(block.T @ block for block in _blocks(store, voxels))
        values, vectors = np.linalg.eigh(products)
        Z = vectors[:, ::-1][:, : self.n_factors]
        strength = values[::-1][: self.n_factors]
        if len(values) < self.n_factors or not strength[-1] > 1e-10 * strength[0]:
            raise ValueError(
                f"n_factors must not exceed the rank of the control voxels in {len(values)} images; "
                f"got {self.n_factors}. Lower n_factors, or give more images."
            )
        self.projection_ = np.concatenate([block @ Z for block in _blocks(store, voxels)]) / strength
        beta, mean = [], []
        for block in _blocks(store, np.arange(control.size)):
            beta.append(block @ Z)  # Z is orthonormal
            mean.append(block.mean(axis=1))
        self.beta_ = np.concatenate(beta).reshape(*shape, self.n_factors)
        self.mean_ = np.concatenate(mean).reshape(shape)
        self.control_ = control.reshape(shape)


def _blocks(store: NDArray[np.float32], voxels: NDArray[np.intp]) -> Iterator[Array]:
    """Yield (voxels, images) pieces of the stored images."""
    step = max(1, _BLOCK_VALUES // len(store))
    for start in range(0, voxels.size, step):
        yield store[:, voxels[start : start + step]].T.astype(np.float64)

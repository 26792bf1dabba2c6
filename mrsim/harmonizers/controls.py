"""Controls that every study runs beside the methods: doing nothing, and destroying detail.

A site classifier alone rewards blurring (a Gaussian blur lowers its accuracy to chance while the images move
away from the target), so the blur must be in every comparison and must never win it.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .base import Capabilities, ImageHarmonizer
from .features.feature_harmonizer import FeatureHarmonizer
from .volumes import Volume

# Full width at half maximum of a Gaussian of standard deviation 1: 2 sqrt(2 ln 2).
_FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))


class Identity(ImageHarmonizer):
    r"""Return the image as it is (as float32): the control for "no harmonization", y = x."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        needs_site_labels=False, handles_unseen_site=True, one_site_identity=True
    )

    def _apply(self, volume: Volume) -> NDArray[np.float64]:
        return volume.data


class GaussianBlur(ImageHarmonizer):
    r"""Convolve the image with a Gaussian: a control that must never win.

    .. math:: y = x * \mathcal{N}(0, \sigma^2 I), \qquad \sigma = \mathrm{fwhm} / (2 \sqrt{2 \ln 2})

    The width is physical, so anisotropic voxels get an isotropic blur. The mask plays no part; beyond the
    border the outermost voxel is repeated, so a constant image stays constant.

    Parameters
    ----------
    fwhm
        Full width at half maximum [m]; 4e-3 is a 4 mm kernel.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(needs_site_labels=False, handles_unseen_site=True)

    def __init__(self, fwhm: float = 4e-3) -> None:
        self.fwhm = fwhm

    def _apply(self, volume: Volume) -> NDArray[np.float64]:
        from scipy.ndimage import gaussian_filter

        # A head is 0.2 m wide: a larger number is millimetres by mistake.
        if not (math.isfinite(self.fwhm) and 0.0 < self.fwhm <= 0.2):
            raise ValueError(
                f"fwhm must be in metres, above 0 and at most 0.2; got {self.fwhm}. "
                "Divide millimetres by 1000 (a 4 mm kernel is fwhm=4e-3)."
            )
        if not np.isfinite(volume.data).all():
            raise ValueError(
                "image must be finite everywhere, since a blur spreads NaN and inf into the brain; "
                f"got {int((~np.isfinite(volume.data)).sum())} non-finite voxels. Set them to 0 first."
            )
        sigma = self.fwhm / _FWHM_PER_SIGMA / volume.voxel_size
        blurred: NDArray[np.float64] = gaussian_filter(volume.data, sigma=sigma, mode="nearest")
        return blurred


class FeatureIdentity(FeatureHarmonizer):
    r"""Return the features as they are: the control for "no harmonization", y = x."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        needs_site_labels=False, handles_unseen_site=True, one_site_identity=True
    )

    def _learn(
        self,
        X: NDArray[np.float64],
        sites: NDArray[np.str_],
        covariates: NDArray[np.float64],
        columns: list[str],
    ) -> None:
        pass

    def _apply(
        self, X: NDArray[np.float64], sites: NDArray[np.str_], covariates: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        return X.copy()

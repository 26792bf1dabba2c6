"""Normalization by tissue intensity: histogram mode (KDE), fuzzy c-means, Gaussian mixture, least squares.

All divide the image by one number, so zero stays zero and ratios of tissues are kept.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..base import Capabilities, ImageHarmonizer
from ..volumes import Volume, at_reference
from .density import tissue_mode
from .fuzzy_classes import FLUID_RANK, WHITE_MATTER_RANK, class_means, fuzzy_classes, tissue_rank

_INVARIANT = Capabilities(needs_site_labels=False, handles_unseen_site=True, scaling="invariant")


class _WhiteMatterScaling(ImageHarmonizer):
    """Division by a white matter level, which subclasses estimate."""

    capabilities: ClassVar[Capabilities] = _INVARIANT

    def __init__(self, contrast: str = "T1w") -> None:
        self.contrast = contrast

    @abstractmethod
    def _level(self, inside: NDArray[np.float64]) -> float:
        """Return the level of white matter among the values inside the head."""

    def _apply(self, volume: Volume) -> NDArray[np.float64]:
        return _divided(volume.data, self._level(volume.inside))


class KernelDensity(_WhiteMatterScaling):
    r"""Divide the image by the mode of its white matter, read from a smoothed histogram.

    .. math:: y = x / m

    The mode m is that of :class:`WhiteStripe` (a kernel density estimate whose bandwidth follows the image).

    Parameters
    ----------
    contrast
        "T1w", "T2w", "FLAIR" or "PDw" (BIDS suffixes).

    References
    ----------
    Reinhold JC, Dewey BE, Carass A, Prince JL. Evaluating the impact of intensity normalization on MR image
    synthesis. Proc SPIE 10949 (2019), doi 10.1117/12.2513089.
    """

    def _level(self, inside: NDArray[np.float64]) -> float:
        return tissue_mode(inside, contrast=self.contrast)


class FuzzyCMeans(_WhiteMatterScaling):
    r"""Divide the image by the mean of its white matter, found by fuzzy c-means.

    .. math:: y = x \, / \, \frac{\sum_v u_v x_v}{\sum_v u_v}

    u is the membership in the white matter class of three (exponent 2, converged, no random start).

    Parameters
    ----------
    contrast
        "T1w", "T2w", "FLAIR" or "PDw": which class is white matter (brightest, darkest, middle, darkest).

    References
    ----------
    Reinhold JC et al., Proc SPIE 10949 (2019), doi 10.1117/12.2513089.
    """

    def _level(self, inside: NDArray[np.float64]) -> float:
        rank = tissue_rank(WHITE_MATTER_RANK, self.contrast)
        return float(class_means(inside, fuzzy_classes(inside)[1])[rank])


class GaussianMixture(_WhiteMatterScaling):
    r"""Divide the image by the mean of its white matter in a mixture of three normal distributions.

    .. math:: y = x / \mu_\mathrm{WM}, \qquad p(x) = \sum_{k=1}^3 w_k \, \mathcal{N}(x; \mu_k, \sigma_k^2)

    Fitted by expectation maximisation (scikit-learn), started from the fuzzy classes, so without chance.

    Parameters
    ----------
    contrast
        "T1w", "T2w", "FLAIR" or "PDw": which component is white matter.

    References
    ----------
    Reinhold JC et al., Proc SPIE 10949 (2019), doi 10.1117/12.2513089.
    """

    def _level(self, inside: NDArray[np.float64]) -> float:
        from sklearn import mixture

        rank = tissue_rank(WHITE_MATTER_RANK, self.contrast)
        _, shares = fuzzy_classes(inside)
        # The library's smallest variance is absolute: data of unit spread make it relative.
        spread = inside.std()
        values = inside / spread
        means = class_means(values, shares)
        variances = (shares * (values - means[:, None]) ** 2).sum(axis=1) / shares.sum(axis=1)
        model = mixture.GaussianMixture(
            3,
            tol=1e-6,
            max_iter=2000,
            weights_init=shares.sum(axis=1) / shares.sum(),
            means_init=means[:, None],
            precisions_init=1.0 / variances[:, None, None],
        )
        return float(np.sort(model.fit(values[:, None]).means_[:, 0])[rank] * spread)


class LeastSquares(ImageHarmonizer):
    r"""Scale each image so that its tissue means come closest to standard ones.

    .. math::
        y = x \, \frac{m \cdot s}{m \cdot m}, \qquad
        s = \text{mean over training images of } m / m_\mathrm{CSF}

    m are the fluid, grey and white matter means by fuzzy c-means; the factor minimises
    :math:`\lVert a m - s \rVert`. intensity-normalization takes s from the first image; here it does not
    depend on the order: name the site of that image as `reference_site` for the same result.

    Parameters
    ----------
    contrast
        "T1w", "T2w", "FLAIR" or "PDw": which class is fluid.
    reference_site
        Site whose images give the standard; all of them if None.

    References
    ----------
    Reinhold JC et al., Proc SPIE 10949 (2019), doi 10.1117/12.2513089.
    """

    capabilities: ClassVar[Capabilities] = _INVARIANT

    def __init__(self, contrast: str = "T1w", reference_site: str | None = None) -> None:
        self.contrast = contrast
        self.reference_site = reference_site

    def _learn(self, volumes: Iterable[Volume]) -> None:
        total, count = np.zeros(3), 0
        fluid = tissue_rank(FLUID_RANK, self.contrast)
        for volume in at_reference(volumes, self.reference_site):
            means = _tissue_means(volume.inside)
            total += means / _positive(float(means[fluid]))
            count += 1
        self.standard_means_ = total / count

    def _apply(self, volume: Volume) -> NDArray[np.float64]:
        means = _tissue_means(volume.inside)
        return _divided(volume.data, float(means @ means / (means @ self.standard_means_)))


def _tissue_means(inside: NDArray[np.float64]) -> NDArray[np.float64]:
    return class_means(inside, fuzzy_classes(inside)[1])


def _positive(level: float) -> float:
    if not level > 0.0:
        raise ValueError(
            f"image must have a positive tissue level inside the mask; got {level:g}. "
            "Pass magnitude images, not standardised ones."
        )
    return level


def _divided(data: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    return data / _positive(level)

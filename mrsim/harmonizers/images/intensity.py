"""Intensity normalization of single images and of collections: z-score, min-max, WhiteStripe, Nyul."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..base import Capabilities, ImageHarmonizer
from ..volumes import Volume
from .density import tissue_mode
from .histogram import mapped

_INVARIANT = Capabilities(needs_site_labels=False, handles_unseen_site=True, scaling="invariant")


class ZScore(ImageHarmonizer):
    r"""Centre each image on its mean inside the mask and divide by its standard deviation there.

    .. math:: y = (x - \mu) / \sigma, \qquad \mu, \sigma \text{ over the mask (divisor } n)

    References
    ----------
    Reinhold JC, Dewey BE, Carass A, Prince JL. Evaluating the impact of intensity normalization on MR image
    synthesis. Proc SPIE 10949 (2019), doi 10.1117/12.2513089.
    """

    capabilities: ClassVar[Capabilities] = _INVARIANT

    def _apply(self, volume: Volume) -> NDArray[np.float64]:
        inside = volume.inside
        return _standardise(volume.data, inside.mean(), inside.std(), where="the mask")


class MinMax(ImageHarmonizer):
    r"""Map two percentiles inside the mask to 0 and 1.

    .. math:: y = (x - q_\mathrm{low}) / (q_\mathrm{high} - q_\mathrm{low})

    Nothing is clipped: voxels outside the percentiles, or outside the mask, go below 0 and above 1.

    Parameters
    ----------
    percentile_min, percentile_max
        Percentiles [percent]; 0 and 100 are the extremes, which single voxels decide.
    """

    capabilities: ClassVar[Capabilities] = _INVARIANT

    def __init__(self, percentile_min: float = 0.0, percentile_max: float = 100.0) -> None:
        self.percentile_min = percentile_min
        self.percentile_max = percentile_max

    def _apply(self, volume: Volume) -> NDArray[np.float64]:
        if not 0.0 <= self.percentile_min < self.percentile_max <= 100.0:
            raise ValueError(
                "percentile_min must be below percentile_max, both in [0, 100]; got "
                f"{self.percentile_min} and {self.percentile_max}. The extremes are 0 and 100."
            )
        low, high = np.percentile(volume.inside, [self.percentile_min, self.percentile_max])
        return mapped(volume.data, np.array([low, high]), np.array([0.0, 1.0]))


class WhiteStripe(ImageHarmonizer):
    r"""Express intensities in units of normal-appearing white matter.

    The mode m of the reference tissue is read from a smoothed histogram of the masked voxels. The stripe
    holds the masked voxels strictly between the quantiles :math:`F(m) \mp \mathrm{width}`, F being the
    empirical distribution, and

    .. math:: y = (x - \mu_\mathrm{stripe}) / \sigma_\mathrm{stripe}.

    Which mode is the reference depends on the contrast, as in intensity-normalization 2.2.4: the rightmost
    one below the 96th percentile on T1w (white matter), the highest one on T2w and FLAIR, the leftmost one
    below the 99th percentile on PDw. Shinohara et al. define the method for T1w; the others are customary
    extensions.

    Parameters
    ----------
    contrast
        "T1w", "T2w", "FLAIR" or "PDw" (BIDS suffixes).
    width
        Half-width of the stripe as a fraction of the masked voxels, in (0, 0.5).

    References
    ----------
    Shinohara RT et al. Statistical normalization techniques for magnetic resonance imaging.
    NeuroImage: Clinical 6 (2014) 9-19, doi 10.1016/j.nicl.2014.08.008.
    """

    capabilities: ClassVar[Capabilities] = _INVARIANT

    def __init__(self, contrast: str = "T1w", width: float = 0.05) -> None:
        self.contrast = contrast
        self.width = width

    def _apply(self, volume: Volume) -> NDArray[np.float64]:
        if not 0.0 < self.width < 0.5:
            raise ValueError(
                f"width must be a fraction of voxels in (0, 0.5); got {self.width}. The usual one is 0.05."
            )
        inside = volume.inside
        quantile = float(np.mean(inside < tissue_mode(inside, contrast=self.contrast)))
        low, high = np.quantile(inside, (max(quantile - self.width, 0.0), min(quantile + self.width, 1.0)))
        stripe = inside[(inside > low) & (inside < high)]
        if stripe.size == 0:
            raise ValueError(
                f"width must leave voxels between the stripe's quantiles; got {self.width} and an empty "
                "stripe "
                f"between {low:g} and {high:g}. Widen the stripe, or check mask and contrast."
            )
        return _standardise(volume.data, stripe.mean(), stripe.std(), where="the white stripe")


class Nyul(ImageHarmonizer):
    r"""Map percentile landmarks piecewise linearly onto a standard scale learned from all images.

    Landmarks are the percentiles p = (percentile_min, step, 2 step, ..., 100 - step, percentile_max) inside
    the mask. With q_i(p) the landmarks of training image i, stretched linearly so that the two outermost ones
    become output_min and output_max, the standard scale is

    .. math:: s(p) = \frac{1}{N} \sum_i q_i(p),

    and transform interpolates linearly from the landmarks of the new image to s, continuing the outermost
    segments beyond it. Landmarks that coincide (quantised images) are merged, their standard values averaged.
    One instance serves one contrast. With the scale 0 to 100 the result is that of TorchIO's histogram
    standardisation.

    Parameters
    ----------
    output_min, output_max
        Ends of the standard scale.
    percentile_min, percentile_max
        Outermost landmarks [percent].
    percentile_step
        Distance of the landmarks in between [percent].

    References
    ----------
    Nyul LG, Udupa JK, Zhang X. New variants of a method of MRI scale standardization. IEEE Trans Med Imaging
    19(2) (2000) 143-150, doi 10.1109/42.836373. The percentile variant with averaged landmarks: Shah M et al.
    Evaluating intensity normalization on MRIs of human brain with multiple sclerosis. Med Image Anal 15
    (2011) 267-282, doi 10.1016/j.media.2010.12.003.
    """

    capabilities: ClassVar[Capabilities] = _INVARIANT

    def __init__(
        self,
        output_min: float = 1.0,
        output_max: float = 100.0,
        percentile_min: float = 1.0,
        percentile_max: float = 99.0,
        percentile_step: float = 10.0,
    ) -> None:
        self.output_min = output_min
        self.output_max = output_max
        self.percentile_min = percentile_min
        self.percentile_max = percentile_max
        self.percentile_step = percentile_step

    def _learn(self, volumes: Iterable[Volume]) -> None:
        percentiles = self._percentiles()
        total, count = np.zeros(percentiles.size), 0
        for volume in volumes:
            marks = np.percentile(volume.inside, percentiles)
            if not marks[-1] > marks[0]:
                raise ValueError(
                    f"images must vary inside the mask; image {count} (site '{volume.site}') has "
                    f"percentiles {marks[0]:g} and {marks[-1]:g} at its outermost landmarks. "
                    "Check the image and its mask, or leave it out."
                )
            total += np.interp(marks, marks[[0, -1]], [self.output_min, self.output_max])
            count += 1
        self.percentiles_ = percentiles
        self.standard_scale_ = total / count

    def _apply(self, volume: Volume) -> NDArray[np.float64]:
        marks = np.percentile(volume.inside, self.percentiles_)
        return mapped(volume.data, marks, self.standard_scale_)

    def _percentiles(self) -> NDArray[np.float64]:
        if not self.output_min < self.output_max:
            raise ValueError(
                f"output_min must be below output_max; got {self.output_min} and {self.output_max}. Swap "
                "them."
            )
        low, step, high = self.percentile_min, self.percentile_step, self.percentile_max
        if not 0.0 <= low < step <= 50.0 or not 100.0 - step < high <= 100.0:
            raise ValueError(
                "percentile_min < percentile_step <= 50 and 100 - percentile_step < percentile_max must "
                "hold; "
                f"got {low}, {step}, {high}. The usual landmarks are 1, 10, 20, ..., 90, 99."
            )
        inner = np.arange(1, int(np.floor((100.0 - step) / step + 1e-9)) + 1) * step
        return np.concatenate([[low], inner, [high]])


def _standardise(
    data: NDArray[np.float64], location: float, scale: float, *, where: str
) -> NDArray[np.float64]:
    # Spread below rounding (1e-12 of the level) is no spread: dividing by it would amplify noise of the
    # format.
    if not scale > 1e-12 * abs(location):
        raise ValueError(
            f"image must vary inside {where}; got mean {location:g} and standard deviation {scale:g}. "
            "Check the image and its mask."
        )
    return (data - location) / scale

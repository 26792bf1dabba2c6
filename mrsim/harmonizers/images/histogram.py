"""Maps between intensity distributions: matching to a template, and alignment of travelers' distributions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..base import Capabilities, ImageHarmonizer
from ..site_groups import SiteGroups
from ..traveling.travelers import TravelerError, Travels
from ..volumes import Volume, at_reference

Array = NDArray[np.float64]


def mapped(data: Array, landmarks: Array, standard: Array) -> Array:
    """Map values piecewise linearly from landmarks to standard values, continuing the outermost segments.

    Landmarks that coincide (quantised images) are merged, their standard values averaged.

    Raises
    ------
    ValueError
        If all landmarks are equal.
    """
    marks, groups = np.unique(landmarks, return_inverse=True)
    if marks.size < 2:
        raise ValueError(
            f"image must vary inside the mask; got the single value {marks[0]:g} at every landmark. "
            "Check the image and its mask."
        )
    values = np.bincount(groups, weights=standard) / np.bincount(groups)
    segment = np.clip(np.searchsorted(marks, data, side="right") - 1, 0, marks.size - 2)
    slope = np.diff(values) / np.diff(marks)
    result: Array = values[segment] + slope[segment] * (data - marks[segment])
    return result


class HistogramMatching(ImageHarmonizer):
    r"""Give every image the intensity distribution of a template.

    .. math:: y = Q_T(F(x)), \qquad Q_T(p) = \frac{1}{N} \sum_i Q_i(p)

    F is the empirical distribution inside the mask, Q its inverse at `n_quantiles` equidistant
    probabilities, with linear interpolation between; the template is the mean quantile function of the
    training images at `reference_site`. Beyond the extremes the map goes on in parallel to the line through
    them, so noise outside the mask is not amplified. Equal distributions are forced: differences in tissue
    fractions, as with atrophy, go too.

    Parameters
    ----------
    reference_site
        Site whose images are the template; all of them if None.
    n_quantiles
        Number of quantiles, at least 2.

    References
    ----------
    Gonzalez RC, Woods RE. Digital image processing, section on histogram specification.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(needs_site_labels=True, handles_unseen_site=True)

    def __init__(self, reference_site: str | None = None, n_quantiles: int = 257) -> None:
        self.reference_site = reference_site
        self.n_quantiles = n_quantiles

    def _learn(self, volumes: Iterable[Volume]) -> None:
        grid = _probabilities(self.n_quantiles)
        total, count = np.zeros(grid.size), 0
        for volume in at_reference(volumes, self.reference_site):
            total += np.quantile(volume.inside, grid)
            count += 1
        self.template_quantiles_ = total / count

    def _apply(self, volume: Volume) -> Array:
        grid = _probabilities(self.n_quantiles)
        return _matched(volume.data, np.quantile(volume.inside, grid), self.template_quantiles_)


class MultiImageCDFAlignment(ImageHarmonizer):
    r"""Align intensity distributions of scanners as subjects who were scanned on several of them tell (mica).

    .. math::
        h_s = \bar T_s \circ \bar Q_s^{-1}, \qquad
        \bar Q_s = \operatorname*{mean}_{i \in s} Q_{is}, \quad
        \bar T_s = \operatorname*{mean}_{i \in s} T_i, \quad
        T_i = \operatorname*{mean}_{s} Q_{is}

    Q_is is the quantile function of subject i at site s, T_i the subject's own template: its mean over
    sites, or the one at `reference_site`. Only within-subject differences between scanners enter the warp
    h_s, so differences between the sites' people stay. The warp of the site is applied to new subjects as
    well. Wrobel et al. warp each image of the travelers by its own map and predict new scans from the
    others'; here every image gets the map of its site, so that nothing of it leaks into the fit.

    ``fit`` needs covariates with a column "subject"; it keeps one quantile function per image (2 kB).

    Parameters
    ----------
    reference_site
        Site that the others are mapped to; the mean over all sites if None.
    n_quantiles
        Number of quantiles, at least 2.

    References
    ----------
    Wrobel J et al. Intensity warping for multisite MRI harmonization. NeuroImage 223 (2020) 117242,
    doi 10.1016/j.neuroimage.2020.117242 (authors and title confirmed, DOI unverified).
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        needs_site_labels=True, needs_traveling_subjects=True, one_site_identity=True
    )

    def __init__(self, reference_site: str | None = None, n_quantiles: int = 257) -> None:
        self.reference_site = reference_site
        self.n_quantiles = n_quantiles

    def _learn(self, volumes: Iterable[Volume]) -> None:
        grid = _probabilities(self.n_quantiles)
        seen = [(v.site, v.subject, np.quantile(v.inside, grid)) for v in volumes]
        sites, subjects, curves = zip(*seen, strict=True)
        if None in subjects:
            raise TravelerError(
                "covariates must have a column 'subject', since travelers tell the sites apart; got none. "
                "Pass covariates={'subject': [...]} with one label per image."
            )
        table, groups = np.array(curves), SiteGroups.of(np.array(sites))
        if groups.labels.size == 1:
            self.source_ = self.target_ = table.mean(axis=0)[None]
            return
        travels = Travels.of(groups, np.unique(np.array(subjects), return_inverse=True)[1])
        reference = travels.reference(self.reference_site)
        pairs = [travels.pairs(table, s, reference) for s in range(groups.labels.size)]
        self.source_ = np.array([source.mean(axis=0) for source, _ in pairs])
        self.target_ = np.array([target.mean(axis=0) for _, target in pairs])

    def _apply(self, volume: Volume) -> Array:
        row = int(np.searchsorted(self.sites_, volume.site))
        return _matched(volume.data, self.source_[row], self.target_[row])


def _probabilities(count: int) -> Array:
    if isinstance(count, bool) or not isinstance(count, int) or not 2 <= count <= 65536:
        raise ValueError(
            f"n_quantiles must be an integer from 2 to 65536; got {count!r}. The usual number is 257."
        )
    return np.linspace(0.0, 1.0, count)


def _matched(data: Array, source: Array, target: Array) -> Array:
    """Map quantiles to quantiles; beyond the extremes with the slope of the ranges."""
    inner = mapped(np.clip(data, source[0], source[-1]), source, target)
    slope = (target[-1] - target[0]) / (source[-1] - source[0])
    inner += slope * (np.minimum(data - source[0], 0.0) + np.maximum(data - source[-1], 0.0))
    return inner

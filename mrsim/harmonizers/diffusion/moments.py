"""Method of moments for diffusion-weighted images: mean and spread over directions, without a model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .diffusion_harmonizer import DiffusionHarmonizer

Array = NDArray[np.float64]


class MethodOfMoments(DiffusionHarmonizer):
    r"""Map the diffusion signal linearly, so that its mean and variance over directions match.

    .. math::
        S' = \alpha S + \beta, \qquad
        \alpha = \sqrt{\frac{\bar v_\mathrm{ref}}{\bar v_\mathrm{site}}}, \qquad
        \beta = \bar m_\mathrm{ref} - \alpha \bar m_\mathrm{site}

    S is the signal over the unweighted one in a voxel and shell, m and v its mean and variance over the
    directions, the bars means over the scans of a site. No diffusion model is fitted.

    Parameters
    ----------
    reference_site
        Site that the others are brought to; the mean over the sites if None.

    References
    ----------
    Huynh KM, Chen G, Wu Y, Shen D, Yap PT. Multi-site harmonization of diffusion MRI data via method of
    moments. IEEE Trans Med Imaging 38(7) (2019) 1599-1609, doi 10.1109/TMI.2019.2895020.
    """

    def _description(self, signal: Array, directions: Array) -> Array:
        return np.stack([signal.mean(axis=1), signal.var(axis=1)], axis=1)

    def _adjusted(self, signal: Array, directions: Array, source: Array, target: Array) -> Array:
        ratio = np.divide(target[:, 1], source[:, 1], out=np.ones(len(source)), where=source[:, 1] > 0.0)
        alpha = np.sqrt(ratio)[:, None]
        adjusted: Array = alpha * signal + target[:, :1] - alpha * source[:, :1]
        return adjusted

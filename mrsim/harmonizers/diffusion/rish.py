"""Rotation invariant spherical harmonic (RISH) harmonization of diffusion-weighted images."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..base import Capabilities
from .diffusion_harmonizer import DiffusionHarmonizer
from .spherical_harmonics import even_degrees, fit_matrix, harmonics, rotation_invariants

Array = NDArray[np.float64]


class _RishHarmonizer(DiffusionHarmonizer):
    """Scaling of each degree of the signal, so that its energy moves to that of the reference."""

    def __init__(
        self,
        reference_site: str | None = None,
        sh_order: int = 6,
        smoothing: float = 1e-5,
        keep_residual: bool = True,
    ) -> None:
        super().__init__(reference_site)
        self.sh_order = sh_order
        self.smoothing = smoothing
        self.keep_residual = keep_residual

    def declared(self) -> Capabilities:
        """Return the capabilities; the smooth signal alone is never the input."""
        return replace(self.capabilities, one_site_identity=self.keep_residual)

    @abstractmethod
    def _factors(self, own: Array, source: Array, target: Array) -> Array:
        """Return the factor of each degree, (voxels, degrees), from the energies of voxel and sites."""

    def _description(self, signal: Array, directions: Array) -> Array:
        return rotation_invariants(signal @ self._basis(directions)[1].T, self.sh_order)

    def _adjusted(self, signal: Array, directions: Array, source: Array, target: Array) -> Array:
        basis, fit = self._basis(directions)
        coefficients = signal @ fit.T
        own = rotation_invariants(coefficients, self.sh_order)
        factors = self._factors(own, source, target)[:, even_degrees(self.sh_order) // 2]
        if self.keep_residual:
            change: Array = (coefficients * (factors - 1.0)) @ basis.T
            return signal + change
        smooth: Array = (coefficients * factors) @ basis.T
        return smooth

    def _basis(self, directions: Array) -> tuple[Array, Array]:
        order, whole = self.sh_order, isinstance(self.sh_order, int) and not isinstance(self.sh_order, bool)
        if not whole or order % 2 or not 0 <= order <= 16:
            raise ValueError(f"sh_order must be an even integer from 0 to 16; got {order!r}. Use 4, 6 or 8.")
        if not 0.0 <= self.smoothing < np.inf:
            raise ValueError(f"smoothing must be finite and not negative; got {self.smoothing}. Use 1e-5.")
        basis = harmonics(directions, order)
        return basis, fit_matrix(basis, order, self.smoothing)


class LinearRish(_RishHarmonizer):
    r"""Scale each degree of the diffusion signal by the ratio of the sites' mean energies (linear RISH).

    .. math::
        c'_{lm} = c_{lm} \sqrt{\frac{\bar F_l^\mathrm{ref}}{\bar F_l^\mathrm{site}}}, \qquad
        F_l = \sum_m c_{lm}^2

    c are spherical harmonic coefficients of S / S(b=0) in a voxel and shell, F their rotation invariant
    energies, the bars means over the scans of a site. The map is linear in the signal.

    Parameters
    ----------
    reference_site
        Site that the others are brought to; the mean over the sites if None.
    sh_order
        Highest (even) degree; (L + 1)(L + 2) / 2 directions are needed.
    smoothing
        Weight of the Laplace-Beltrami penalty.
    keep_residual
        Keep what the harmonics do not describe (so that equal sites stay as they are), or return the
        smooth signal alone.

    References
    ----------
    Cetin Karayumak S et al. Retrospective harmonization of multi-site diffusion MRI data acquired with
    different acquisition parameters. NeuroImage 184 (2019) 180-200, doi 10.1016/j.neuroimage.2018.08.073.
    """

    def _factors(self, own: Array, source: Array, target: Array) -> Array:
        ratio = np.divide(target, source, out=np.ones_like(source), where=source > 0.0)
        return np.asarray(np.sqrt(ratio), dtype=np.float64)


class Rish(_RishHarmonizer):
    r"""Shift each degree's energy of the diffusion signal by the difference of the sites' means (RISH).

    .. math::
        c'_{lm} = c_{lm} \sqrt{\frac{\max(F_l + \bar F_l^\mathrm{ref} - \bar F_l^\mathrm{site}, \, 0)}{F_l}},
        \qquad F_l = \sum_m c_{lm}^2

    c are spherical harmonic coefficients of S / S(b=0) in a voxel and shell, F their rotation invariant
    energies, the bars means over the scans of a site, taken voxel by voxel instead of per region.

    Parameters
    ----------
    reference_site, sh_order, smoothing, keep_residual
        See :class:`LinearRish`.

    References
    ----------
    Mirzaalian H et al. Inter-site and inter-scanner diffusion MRI data harmonization. NeuroImage 135 (2016)
    311-323, doi 10.1016/j.neuroimage.2016.04.041.
    """

    def _factors(self, own: Array, source: Array, target: Array) -> Array:
        wanted = np.maximum(own + (target - source), 0.0)
        ratio = np.divide(wanted, own, out=np.ones_like(own), where=own > 0.0)
        return np.asarray(np.sqrt(ratio), dtype=np.float64)

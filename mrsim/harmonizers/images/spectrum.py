"""Spectrum swapping: the coarse appearance of a reference, the detail and phase of the image."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..base import Capabilities, ImageHarmonizer
from ..volumes import Volume, at_reference

Array = NDArray[np.float64]


class SpectrumSwap(ImageHarmonizer):
    r"""Replace the image's low-frequency amplitudes by those of a reference; phases stay.

    .. math::
        Y(k) = \begin{cases} \bar A(k) \, X(k) / |X(k)| & |k| \le k_c \\ X(k) & \text{else} \end{cases},
        \qquad \bar A(k) = \frac{1}{N} \sum_i |X_i(k)|

    X is the discrete Fourier transform of the whole image (the mask plays no part), A the mean amplitude of
    the training images at `reference_site`. Amplitudes below the cutoff hold contrast and shading, but the
    size of the head too, so anatomy can be carried over: small cutoffs are the safe ones. All images must
    have the same grid.

    Parameters
    ----------
    cutoff
        Radius of the swapped sphere [1/m]; 12 keeps everything finer than 8 cm.
    reference_site
        Site whose images give the amplitudes; all of them if None.

    References
    ----------
    Guan H, Liu S, Lin W, Yap PT, Liu M. Fast image-level MRI harmonization via spectrum analysis. MLMI 2022,
    LNCS 13583, 201-209, doi 10.1007/978-3-031-21014-3_21.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(needs_site_labels=True, handles_unseen_site=True)

    def __init__(self, cutoff: float = 12.0, reference_site: str | None = None) -> None:
        self.cutoff = cutoff
        self.reference_site = reference_site

    def _learn(self, volumes: Iterable[Volume]) -> None:
        # Frequencies are per metre: 1 / (10 um) is beyond every image, and millimetres come out below 1.
        if not (math.isfinite(self.cutoff) and 1.0 <= self.cutoff <= 1e5):
            raise ValueError(
                f"cutoff must be in 1/m, from 1 to 1e5; got {self.cutoff}. "
                "Multiply cycles per millimetre by 1000."
            )
        total, count = np.zeros(0), 0
        for volume in at_reference(volumes, self.reference_site):
            if count == 0:
                self.grid_ = np.array([*volume.data.shape, *volume.voxel_size])
                total = np.zeros(int(self._low(volume).sum()))
            self._require_grid(volume)
            total += np.abs(np.fft.rfftn(_finite(volume))[self._low(volume)])
            count += 1
        self.amplitude_ = total / count

    def _apply(self, volume: Volume) -> Array:
        self._require_grid(volume)
        spectrum, low = np.fft.rfftn(_finite(volume)), self._low(volume)
        own = np.abs(spectrum[low])
        # Where the image has no amplitude it has no phase either: left at zero.
        factor = np.divide(self.amplitude_, own, out=np.zeros_like(own), where=own > 1e-12 * own.max())
        spectrum[low] *= factor
        swapped: Array = np.fft.irfftn(spectrum, s=volume.data.shape, axes=(0, 1, 2))
        return swapped

    def _low(self, volume: Volume) -> NDArray[np.bool_]:
        counts, sizes = volume.data.shape, volume.voxel_size
        axes = [np.fft.fftfreq(n, d) for n, d in zip(counts[:2], sizes[:2], strict=True)]
        axes.append(np.fft.rfftfreq(counts[2], sizes[2]))
        kx, ky, kz = np.meshgrid(*axes, indexing="ij", sparse=True)
        low: NDArray[np.bool_] = kx**2 + ky**2 + kz**2 <= self.cutoff**2
        return low

    def _require_grid(self, volume: Volume) -> None:
        grid = np.array([*volume.data.shape, *volume.voxel_size])
        # 1 um: headers of other software carry float32 rounding.
        if not np.allclose(grid, self.grid_, rtol=0.0, atol=1e-6):
            raise ValueError(
                f"image must have the grid of the reference images, shape and voxel size [m] "
                f"{self.grid_.tolist()}; got {grid.tolist()}. Resample it."
            )


def _finite(volume: Volume) -> Array:
    if not np.isfinite(volume.data).all():
        raise ValueError(
            "image must be finite everywhere, since its spectrum mixes all voxels; "
            f"got {int((~np.isfinite(volume.data)).sum())} non-finite voxels. Set them to 0 first."
        )
    return volume.data

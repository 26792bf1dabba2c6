"""k-space windows and zero-fill interpolation.

A window is a function of the normalised k-space radius: 1 at the edge of the sampled matrix along an axis.
Vendors differ here, and the point spread function and the noise texture follow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .fourier import fft_centred, ifft_centred, resize_centred

__all__ = ["WINDOWS", "Window", "filter_and_interpolate", "window_1d"]

WINDOWS = ("none", "hamming", "hann", "tukey", "fermi", "gaussian")


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """Apodisation of k-space.

    kind : one of ``none``, ``hamming``, ``hann``, ``tukey``, ``fermi``, ``gaussian``
    alpha : tapered fraction of ``tukey``
    radius, width : of ``fermi``, 1 / (1 + exp((|k| - radius) / width)), in units of the edge of k-space
    sigma : of ``gaussian``, exp(-k^2 / (2 sigma^2)), in units of the edge of k-space
    radial : apply to the radius sqrt(kx^2 + ky^2 + kz^2) instead of separably along each axis
    elliptical : also drop the corners of k-space, over the phase and partition axes
    """

    kind: str = "none"
    alpha: float = 0.5
    radius: float = 0.9
    width: float = 0.05
    sigma: float = 0.5
    radial: bool = False
    elliptical: bool = False

    def __post_init__(self) -> None:
        if self.kind not in WINDOWS:
            raise ValueError(f"kind must be one of {WINDOWS}; got {self.kind!r}. Choose one of them.")
        for name, low, high in (("alpha", 0, 1), ("radius", 0, 2), ("width", 0, 1), ("sigma", 0, 10)):
            value = getattr(self, name)
            if not low < value <= high:
                raise ValueError(
                    f"{name} must be in ({low}, {high}]; got {value}. Use a value in that range."
                )

    @property
    def active(self) -> bool:
        """Whether the window changes anything."""
        return self.kind != "none" or self.elliptical


def window_1d(window: Window, radius: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights at normalised distances |k| / k_edge (0 at the centre, 1 at the edge; 0 beyond for most)."""
    r = np.abs(radius)
    inside = r <= 1
    if window.kind == "hamming":
        return np.where(inside, 0.54 + 0.46 * np.cos(np.pi * r), 0.08)
    if window.kind == "hann":
        return np.where(inside, 0.5 + 0.5 * np.cos(np.pi * r), 0.0)
    if window.kind == "tukey":
        taper = np.clip((r - 1 + window.alpha) / window.alpha, 0, 1)
        return 0.5 + 0.5 * np.cos(np.pi * taper)
    if window.kind == "fermi":
        return np.asarray(1 / (1 + np.exp(np.clip((r - window.radius) / window.width, -60, 60))))
    if window.kind == "gaussian":
        return np.asarray(np.exp(-0.5 * (r / window.sigma) ** 2))
    return np.ones_like(r)


def _normalised(n: int) -> NDArray[np.float64]:
    return (np.arange(n) - n // 2) / max(n / 2, 1.0)


def window_array(window: Window, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Weights of a window on the (read, phase, partition) matrix; axes of length 1 are left alone."""
    axes = [_normalised(n) if n > 1 else np.zeros(1) for n in shape]
    grid = np.meshgrid(*axes, indexing="ij", sparse=True)
    if window.radial:
        weights = window_1d(window, np.sqrt(sum(g**2 for g in grid)))
    else:
        weights = np.ones(shape)
        for g in grid:
            weights = weights * window_1d(window, g)
    if window.elliptical:
        weights = weights * (grid[1] ** 2 + grid[2] ** 2 <= 1)
    return weights.astype(np.float32)


def filter_and_interpolate(
    image: NDArray[np.complex64], window: Window, shape: tuple[int, int, int]
) -> NDArray[np.complex64]:
    """Apply a window to an image's k-space and zero-fill (or crop) it to `shape`, brightness kept."""
    axes = (0, 1, 2)
    k = fft_centred(image, axes)
    if window.active:
        k *= window_array(window, image.shape)
    scale = np.sqrt(np.prod(shape) / image.size)
    return np.asarray(ifft_centred(resize_centred(k, shape, axes), axes) * np.float32(scale))

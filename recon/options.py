"""Choices of a reconstruction and the image it returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .partial_fourier import PARTIAL_FOURIER
from .windows import Window

__all__ = ["Image", "ReconOptions"]

_CHOICES = {
    "combine": ("adaptive", "rss", "espirit"),
    "acceleration": ("auto", "grappa", "sense", "cg_sense", "none"),
    "partial_fourier": PARTIAL_FOURIER,
    "intensity_correction": ("none", "prescan_normalize"),
    "sensitivities": ("walsh", "espirit"),
    "ghost_correction": ("auto", "navigator", "entropy", "none"),
    "distortion_correction": ("none", "2d", "3d"),
    "scaling": ("max", "philips"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ReconOptions:
    """Switchable stages of a reconstruction.

    combine : coil combination, ``adaptive`` (Walsh), ``espirit`` or ``rss``
    acceleration : ``auto`` (GRAPPA where the header says the data are accelerated), ``grappa``, ``sense``,
        ``cg_sense``, or ``none`` (zero-filled)
    sensitivities : maps of the SENSE methods, ``walsh`` or ``espirit``
    partial_fourier : ``zero``, ``homodyne`` or ``pocs``
    ghost_correction : of echo trains: ``auto`` (navigators where there are some), ``navigator``, ``entropy``
        (from the image itself) or ``none``
    distortion_correction : of gradient nonlinearity, from the harmonics in the header: ``none``, ``2d``
        (within the slices) or ``3d``
    shared_maps : one set of sensitivities for all volumes of a slice, from the brightest of them, so that
        the phases of volumes can be compared
    window : k-space apodisation
    zero_fill : matrix (read, phase, partition) to interpolate to; None follows the header
    intensity_correction : ``none``, or ``prescan_normalize``: divide by a smooth receive profile estimated
        from the data
    profile_width : width of that profile's smoothing [m]
    bits : round to unsigned integers of this many bits, the series maximum at the top; None keeps float32
    scaling : what becomes of the rounded values: ``max`` keeps the integers, ``philips`` multiplies them by
        the rescale slope as that vendor displays them
    rescale_slope : that slope
    prewhiten : use the noise scan where there is one
    magnitude : return magnitudes; otherwise complex
    canonical : order the axes closest to RAS+
    encoding : which of the header's encodings
    regularisation : Tikhonov term of the SENSE methods
    slab : slices in x processed at once (bounds the memory)
    """

    combine: str = "adaptive"
    acceleration: str = "auto"
    sensitivities: str = "walsh"
    partial_fourier: str = "homodyne"
    ghost_correction: str = "auto"
    distortion_correction: str = "none"
    shared_maps: bool = False
    window: Window = field(default_factory=Window)
    zero_fill: tuple[int, int, int] | None = None
    intensity_correction: str = "none"
    profile_width: float = 0.03
    bits: int | None = None
    scaling: str = "max"
    rescale_slope: float = 1.0
    prewhiten: bool = True
    magnitude: bool = True
    canonical: bool = True
    encoding: int = 0
    regularisation: float = 1e-3
    slab: int = 8

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            value = getattr(self, name)
            if value not in allowed:
                raise ValueError(f"{name} must be one of {allowed}; got {value!r}. Choose one of them.")
        if self.bits is not None and not 2 <= self.bits <= 16:
            raise ValueError(
                f"bits must be 2 to 16 or None; got {self.bits}. Use 12 for scanner-like images."
            )
        if self.bits is not None and not self.magnitude:
            raise ValueError(
                "bits must be None for complex images; got both. Drop bits or ask for magnitude."
            )
        if self.zero_fill is not None and (len(self.zero_fill) != 3 or min(self.zero_fill) < 1):
            raise ValueError(
                f"zero_fill must be three positive sizes (read, phase, partition); "
                f"got {self.zero_fill}. Give three sizes."
            )
        if not 0 < self.rescale_slope < 1e9 or (self.scaling == "philips" and self.bits is None):
            raise ValueError(
                f"scaling 'philips' needs bits and a rescale_slope above 0; got bits={self.bits}, "
                f"rescale_slope={self.rescale_slope}. Set bits=12."
            )
        if not 0 < self.profile_width < 1:
            raise ValueError(f"profile_width must be in (0, 1) m; got {self.profile_width}. Use about 0.03.")
        if self.slab < 1 or self.encoding < 0 or not self.regularisation >= 0:
            raise ValueError("slab must be >= 1, encoding >= 0 and regularisation >= 0. Correct the options.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """A reconstructed image.

    data : array (x, y, z), or (x, y, z, volume) where the file holds several volumes
    affine : voxel index (centre) -> world RAS+ [m], shape (4, 4)
    meta : JSON-able record: ``sidecar`` (BIDS keys), ``recipe`` (what was done), ``notes``
    """

    data: NDArray[Any]
    affine: NDArray[np.float64]
    meta: dict[str, Any] = field(default_factory=dict)

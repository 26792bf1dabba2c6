"""Small synthetic diffusion scans for the conformance checks of diffusion harmonizers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base import Harmonizer
from ..diffusion.gradients import Gradients
from .bench import Array, Case
from .bench_images import ImageBench

_SHELLS = (1e9, 2.5e9)
_DIRECTIONS = 32
# The middle of the heads: full size would cost seconds per method.
_CUT = (slice(6, 13), slice(7, 15), slice(6, 12))


class DiffusionBench(ImageBench):
    """The heads of :class:`ImageBench` with two shells of fibres that turn; sites attenuate differently."""

    argument = "image"

    def __init__(self, prototype: Harmonizer) -> None:
        super().__init__(prototype)
        from nibabel import Nifti1Image

        rng = np.random.default_rng(20160904)
        self.gradients = _gradients()
        affine = self.images[0].affine
        heads = [np.asanyarray(image.dataobj)[_CUT] for image in self.images]
        self.images = [
            Nifti1Image(_weighted(rng, head, self.gradients, broad=1.0 + 0.2 * (site == "south")), affine)
            for head, site in zip(heads, self.sites, strict=True)
        ]
        self.masks = [Nifti1Image(np.asanyarray(mask.dataobj)[_CUT], affine) for mask in self.masks]

    def beside_images(self, rows: Iterable[int]) -> dict[str, Any]:
        """Return the weightings of each scan."""
        return {"gradients": [self.gradients for _ in rows]}

    @property
    def beside_image(self) -> dict[str, Any]:
        """The weightings of one scan."""
        return {"gradients": self.gradients}

    def mistakes(self) -> list[Case]:
        """Offer those of images, and weightings of another scan, without b=0, with other shells."""
        fitted = self.fit(self.fresh())
        given = self.gradients
        few = Gradients(bvals=given.bvals[:5], bvecs=given.bvecs[:5])
        no_zero = Gradients(bvals=np.maximum(given.bvals, 1e9), bvecs=_directions(given.bvals.size))
        stronger = Gradients(bvals=given.bvals * 1.3, bvecs=given.bvecs)

        def transform(gradients: Any) -> Any:
            return fitted.transform(self.images[6], site="south", mask=self.masks[6], gradients=gradients)

        return [
            *super().mistakes(),
            ("weightings of another length", "gradients", lambda: transform(few)),
            ("weightings without b=0", "gradients", lambda: transform(no_zero)),
            ("other shells", "gradients", lambda: transform(stronger)),
            ("b-values alone", "gradients", lambda: transform(given.bvals)),
        ]


def _directions(count: int) -> NDArray[np.float64]:
    """Return unit vectors spread over the sphere on a spiral, (count, 3)."""
    place = np.arange(count) + 0.5
    polar, azimuth = np.arccos(1.0 - 2.0 * place / count), np.pi * (1.0 + 5.0**0.5) * place
    return np.stack([np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)], axis=1)


def _gradients() -> Gradients:
    directions = _directions(_DIRECTIONS)
    bvals = np.concatenate([[0.0, 0.0], *(np.full(_DIRECTIONS, b) for b in _SHELLS)])
    return Gradients(bvals=bvals, bvecs=np.concatenate([np.zeros((2, 3)), directions, directions]))


def _weighted(rng: np.random.Generator, head: Array, gradients: Gradients, *, broad: float) -> Array:
    """Return a scan of fibres: S = S0 exp(-b (0.3 + 1.4 (g.n)^2) 1e-9) with 1 % noise."""
    turn = np.linspace(0.0, np.pi, head.shape[0])[:, None, None] * np.ones(head.shape)
    fibre = np.stack([np.cos(turn), np.sin(turn), np.zeros_like(turn)], axis=-1)
    along = (fibre @ gradients.bvecs.T) ** 2
    signal = head[..., None] * np.exp(-gradients.bvals * 1e-9 * broad * (0.3 + 1.4 * along))
    noisy: Array = signal * (1.0 + 0.01 * rng.standard_normal(signal.shape))
    return noisy

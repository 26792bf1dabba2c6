"""Small synthetic heads for the conformance checks of image harmonizers."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base import Harmonizer
from .bench import Array, Bench, Case

_SITES = ("north", "south", "north", "south", "south", "north")
# Everybody travels: both sites are visited.
_SUBJECTS = ("ann", "ann", "bob", "bob", "cat", "cat")
_SHAPE = (20, 23, 18)


class ImageBench(Bench):
    """Six training heads at two sites and one held out: three tissues in an ellipsoid, oblique voxels."""

    tolerance = 1e-6
    argument = "image"
    other_order = np.array([4, 1, 5, 0, 3, 2])

    def __init__(self, prototype: Harmonizer) -> None:
        super().__init__(prototype)
        from nibabel import Nifti1Image

        rng = np.random.default_rng(20140908)
        heads = [
            _head(rng, gain=1.0 + 0.4 * (s == "south") + 0.05 * i) for i, s in enumerate((*_SITES, "south"))
        ]
        affine = _oblique_affine()
        self.images = [Nifti1Image(data, affine) for data, _ in heads]
        self.masks = [Nifti1Image(mask.astype(np.uint8), affine) for _, mask in heads]
        self.sites = [*_SITES, "south"]

    def fit(
        self,
        harmonizer: Any,
        *,
        order: NDArray[np.intp] | None = None,
        gain: float = 1.0,
        one_site: bool = False,
    ) -> Any:
        """Fit on the six training heads."""
        rows = range(6) if order is None else order.tolist()
        sites = ["north" if one_site else self.sites[i] for i in rows]
        images = [self._scaled(i, gain) for i in rows]
        masks = [self.masks[i] for i in rows]
        return harmonizer.fit(images, site=sites, masks=masks, **self.beside_images(rows))

    def outputs(
        self,
        harmonizer: Any,
        *,
        gain: float = 1.0,
        one_by_one: bool = False,
        one_site: bool = False,
        site: str | None = None,
    ) -> list[Array]:
        """Transform all seven heads, in reverse order for `one_by_one`."""
        rows = range(7)[:: -1 if one_by_one else 1]
        found = {}
        for i in rows:
            label = site or ("north" if one_site else self.sites[i])
            image = harmonizer.transform(
                self._scaled(i, gain), site=label, mask=self.masks[i], **self.beside_image
            )
            found[i] = np.asanyarray(image.dataobj)
        return [found[i] for i in range(7)]

    def beside_images(self, rows: Iterable[int]) -> dict[str, Any]:
        """Return further arguments of ``fit``: who was scanned, where travelers are needed."""
        if not self.prototype.declared().needs_traveling_subjects:
            return {}
        return {"covariates": {"subject": [_SUBJECTS[i] for i in rows]}}

    @property
    def beside_image(self) -> dict[str, Any]:
        """Further arguments of ``transform``."""
        return {}

    def inputs(self, *, one_site: bool = False) -> list[Array]:
        """Return the voxels of all seven heads."""
        return [np.asanyarray(image.dataobj) for image in self.images]

    def fingerprint(self) -> bytes:
        """Return voxels, affines and headers of images and masks."""
        parts = [
            (np.asanyarray(i.dataobj), i.affine, i.header.binaryblock) for i in (*self.images, *self.masks)
        ]
        return b"".join(d.tobytes() + a.tobytes() + h for d, a, h in parts)

    def geometry_problem(self, fitted: Any) -> str | None:
        """Compare a transformed float64 head, and one stored as int16, with their originals."""
        from nibabel import Nifti1Image

        integer = Nifti1Image(np.round(self.inputs()[6]).astype(np.int16), self.images[6].affine)
        for image in (self.images[6], integer):
            out = fitted.transform(image, site="south", mask=self.masks[6], **self.beside_image)
            data = np.asanyarray(out.dataobj)
            if data.dtype != np.float32 or out.get_data_dtype() != np.float32:
                return f"the output must be float32; got {data.dtype} stored as {out.get_data_dtype()}"
            if out.shape != image.shape or not np.array_equal(out.affine, image.affine):
                return f"shape and affine must be kept; got {out.shape}, {out.affine.tolist()}"
            if not np.array_equal(out.header.get_zooms(), image.header.get_zooms()):
                return f"voxel sizes in the header must be kept; got {out.header.get_zooms()}"
        return None

    def transform_nan(self, fitted: Any) -> tuple[Array, Array]:
        """Put one NaN at the centre of the held-out head."""
        from nibabel import Nifti1Image

        data = self.inputs()[6].copy()
        data[tuple(n // 2 for n in data.shape[:3])] = np.nan
        image = Nifti1Image(data, self.images[6].affine)
        out = fitted.transform(image, site="south", mask=self.masks[6], **self.beside_image)
        return data, np.asanyarray(out.dataobj)

    def mistakes(self) -> list[Case]:
        """Offer wrong dimensions, masks on other grids, what is no image."""
        from nibabel import Nifti1Image

        fitted = self.fit(self.fresh())
        image, mask, more = self.images[6], self.masks[6], self.beside_image
        stack = Nifti1Image(np.stack([self.inputs()[6]] * 2, axis=-1), image.affine)
        small = Nifti1Image(np.ones((4, 5, 6), np.uint8), image.affine)
        beside = image.affine.copy()
        beside[0, 3] += 2.0
        shifted = Nifti1Image(np.asanyarray(mask.dataobj), beside)

        def transform(given: Any, inside: Any) -> Any:
            return fitted.transform(given, site="south", mask=inside, **more)

        return [
            ("an image of too many dimensions", "image", lambda: transform(stack, None)),
            ("an array", "image", lambda: transform(self.inputs()[6], mask)),
            ("a mask of another shape", "mask", lambda: transform(image, small)),
            ("a mask with another affine", "mask", lambda: transform(image, shifted)),
            (
                "an empty site list",
                "site",
                lambda: self.fresh().fit([], site=[], **self.beside_images([])),
            ),
        ]

    def hard_cases(self) -> list[Case]:
        """Offer a constant image."""
        from nibabel import Nifti1Image

        flat = Nifti1Image(np.full(self.images[0].shape, 7.0), self.images[0].affine)
        fitted = self.fit(self.fresh())

        def constant() -> list[Array]:
            made = fitted.transform(flat, site="south", mask=self.masks[6], **self.beside_image)
            return [np.asanyarray(made.dataobj)]

        return [("a constant image", "image", constant)]

    def fit_lazily(self, harmonizer: Any) -> tuple[Any, int]:
        """Fit on a sequence that builds each image when asked; return also how many lived at once."""
        lazy = _LazyImages(self.images[:6])
        masks = self.masks[:6]
        fitted = harmonizer.fit(lazy, site=self.sites[:6], masks=masks, **self.beside_images(range(6)))
        return fitted, lazy.most_alive

    def _scaled(self, i: int, gain: float) -> Any:
        if gain == 1.0:
            return self.images[i]
        from nibabel import Nifti1Image

        return Nifti1Image(self.inputs()[i] * gain, self.images[i].affine)


class _LazyImages:
    """A sequence that builds an image per access and counts how many are alive."""

    def __init__(self, images: list[Any]) -> None:
        self._source = images
        self._alive: weakref.WeakSet[Any] = weakref.WeakSet()
        self.most_alive = 0

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, i: int) -> Any:
        from nibabel import Nifti1Image

        if not 0 <= i < len(self._source):
            raise IndexError(i)
        image = Nifti1Image(np.array(self._source[i].dataobj), self._source[i].affine)
        self._alive.add(image)
        self.most_alive = max(self.most_alive, len(self._alive))
        return image


def _head(rng: np.random.Generator, *, gain: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    axes = [np.linspace(-1.0, 1.0, n) for n in _SHAPE]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    radius = np.sqrt((x / 0.85) ** 2 + (y / 0.9) ** 2 + (z / 0.8) ** 2)
    tissue = np.digitize(radius, [0.68, 0.88, 1.0])  # white matter, grey matter, fluid, air
    level = np.array([800.0, 550.0, 250.0, 15.0])[tissue]
    magnitude = np.abs(gain * (level + 25.0 * rng.standard_normal(_SHAPE)))
    return magnitude, radius < 1.0


def _oblique_affine() -> NDArray[np.float64]:
    """Voxels of 9 x 8 x 9.5 mm, turned by 20 degrees about z and moved off the origin."""
    c, s = np.cos(np.deg2rad(20.0)), np.sin(np.deg2rad(20.0))
    affine = np.diag([9.0, 8.0, 9.5, 1.0])
    affine[:3, :3] = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]) @ affine[:3, :3]
    affine[:3, 3] = -80.0, -95.0, -60.0
    return affine

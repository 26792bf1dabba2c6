"""The dissection of whole images: one group of Fourier coefficients per radial frequency band."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .dissection import Design, Dissection, dissect
from .image_metrics import IntensityMatch
from .image_structure import frequency_radius
from .inputs import (
    BoolArray,
    FloatArray,
    MetricInputError,
    bounding_box,
    check_finite,
    check_mask,
    check_voxel_size,
)


@dataclass(frozen=True, kw_only=True)
class Bands:
    """Real Fourier elements of masked images on one grid, split into radial bands.

    The sum of an image's squared elements is its mean square over the mask (Parseval), so band energies add
    up to a mean squared error per voxel. `centres` are band centres [1/m]; the last band holds every higher
    frequency too.
    """

    shape: tuple[int, ...]
    voxel_size: tuple[float, ...]
    n_bands: int
    box: tuple[slice, ...]
    n_voxels: float

    @property
    def centres(self) -> FloatArray:
        """Band centres [1/m]."""
        edges = np.linspace(0.0, 0.5 / max(self.voxel_size), self.n_bands + 1)
        return np.asarray(0.5 * (edges[1:] + edges[:-1]))

    def groups(self) -> npt.NDArray[np.int64]:
        """Return the band number of every element."""
        radius = frequency_radius(self._size(), self.voxel_size).ravel()
        band = np.minimum(
            (radius * 2.0 * max(self.voxel_size) * self.n_bands).astype(np.int64), self.n_bands - 1
        )
        return np.concatenate([band, band])

    def elements(self, image: npt.ArrayLike, mask: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return the elements of `image * mask` as a float32 vector.

        Raises
        ------
        MetricInputError
            If the shape differs from the bands' grid or a value in the mask is not finite.
        """
        flags = check_mask(mask, self.shape)
        values = np.asarray(image)
        if values.shape != self.shape:
            raise MetricInputError(
                f"image must have shape {self.shape}; got {values.shape}. Resample it first."
            )
        check_finite("image", values[flags])
        volume = np.where(flags[self.box], values[self.box], 0.0).astype(np.float32)
        from scipy.fft import rfftn

        weighted = rfftn(volume) * self._half_plane_weight()
        return np.concatenate([weighted.real.ravel(), weighted.imag.ravel()]).astype(np.float32)

    def _size(self) -> tuple[int, ...]:
        return tuple(s.stop - s.start for s in self.box)

    def _half_plane_weight(self) -> npt.NDArray[np.float32]:
        size = self._size()
        # rfftn keeps half of k-space: planes that stand for their conjugate too count twice.
        twice = np.full(size[-1] // 2 + 1, 2.0)
        twice[0] = 1.0
        if size[-1] % 2 == 0:
            twice[-1] = 1.0
        return np.sqrt(twice / (float(np.prod(size)) * self.n_voxels)).astype(np.float32)


def make_bands(masks: Sequence[npt.ArrayLike], voxel_size: Sequence[float], *, n_bands: int = 12) -> Bands:
    """Return bands for images on one grid, cropped to the union of the masks (one per subject)."""
    sizes = check_voxel_size(voxel_size)
    if not masks or n_bands < 1:
        raise MetricInputError("masks must hold at least one mask and n_bands be positive.")
    shape = np.shape(masks[0])
    union: BoolArray = np.zeros(shape, dtype=bool)
    counts = []
    for mask in masks:
        flags = check_mask(mask, shape)
        union |= flags
        counts.append(int(np.count_nonzero(flags)))
    return Bands(
        shape=tuple(shape),
        voxel_size=sizes,
        n_bands=n_bands,
        box=bounding_box(union),
        n_voxels=float(np.mean(counts)),
    )


def match_set(
    images: Sequence[npt.ArrayLike], references: Sequence[npt.ArrayLike], masks: Sequence[npt.ArrayLike]
) -> IntensityMatch:
    """Return the one linear map that brings a whole set of images to reference units.

    Least squares, slope never negative. One map for all scans of a harmonizer undoes its change of units; a
    map per scan would itself harmonize.
    """
    if not images or not len(images) == len(references) == len(masks):
        raise MetricInputError("images, references and masks must be equally many, at least one.")
    n, sums = 0, np.zeros(4)
    for image, reference, mask in zip(images, references, masks, strict=True):
        flags = check_mask(mask, np.shape(image))
        x = check_finite("image", np.asarray(image)[flags])
        y = check_finite("reference", np.asarray(reference)[flags])
        n += x.size
        sums += (x.sum(), y.sum(), x @ x, x @ y)
    mx, my = sums[0] / n, sums[1] / n
    variance = sums[2] / n - mx * mx
    slope = max(float((sums[3] / n - mx * my) / variance), 0.0) if variance > 0.0 else 0.0
    return IntensityMatch(slope=slope, intercept=float(my - slope * mx))


@dataclass(frozen=True, kw_only=True)
class ReducedSet:
    """Images of a study, reduced to few elements per band without losing any inner product between them.

    `raw`, `harmonized` and `truth` are (scan, element), `groups` the band centre [1/m] of every element as
    text; with `site` and `subject` they are the arguments of `dissect` and `dissection_intervals`.
    """

    raw: FloatArray
    harmonized: FloatArray
    truth: FloatArray
    groups: npt.NDArray[np.str_]
    site: npt.NDArray[np.str_]
    subject: npt.NDArray[np.str_]

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of `dissect`."""
        names = ("raw", "harmonized", "truth", "groups", "site", "subject")
        return {name: getattr(self, name) for name in names}


def reduce_images(
    raw: Sequence[npt.ArrayLike],
    harmonized: Sequence[npt.ArrayLike],
    truth: Mapping[Hashable, npt.ArrayLike],
    masks: Mapping[Hashable, npt.ArrayLike],
    *,
    site: Sequence[Any],
    subject: Sequence[Hashable],
    voxel_size: Sequence[float],
    n_bands: int = 12,
    match: bool = True,
) -> ReducedSet:
    """Reduce a set of images for the dissection, one group per frequency band.

    A dissection knows images only by their inner products, band by band. So every band's Fourier
    coefficients are replaced by coordinates with the same Gram matrix: at most as many as there are images.

    Parameters
    ----------
    raw, harmonized
        One array per scan, all on one grid.
    truth, masks
        Subject -> image under the reference scanner, and brain mask, on the same grid.
    site, subject
        Labels per scan.
    voxel_size
        Voxel edges [m].
    n_bands
        Number of radial bands up to Nyquist; corners of k-space go to the last.
    match
        Bring the raw and the harmonized set, each by its own `match_set`, to the truth's units first; so
        identity still scores exactly nothing.
    """
    if not len(raw) == len(harmonized) == len(site) == len(subject) or not len(raw):
        raise MetricInputError("raw, harmonized, site and subject must be equally many, at least one.")
    missing = sorted({str(s) for s in subject if s not in truth or s not in masks})
    if missing:
        raise MetricInputError(f"truth and masks must hold every subject; missing {missing}.")
    own = [masks[s] for s in subject]
    goal = [truth[s] for s in subject]
    same = IntensityMatch(slope=1.0, intercept=0.0)
    lines = [match_set(images, goal, own) if match else same for images in (raw, harmonized)]
    people = list(dict.fromkeys(subject))
    bands = make_bands([masks[s] for s in people], voxel_size, n_bands=n_bands)
    rows = [bands.elements(lines[0].apply(v), m) for v, m in zip(raw, own, strict=True)]
    rows += [bands.elements(lines[1].apply(v), m) for v, m in zip(harmonized, own, strict=True)]
    rows += [bands.elements(truth[s], masks[s]) for s in people]
    group = bands.groups()
    parts, names = [], []
    for band in range(n_bands):
        take = np.flatnonzero(group == band)
        if take.size:
            parts.append(_coordinates(np.stack([r[take] for r in rows])))
            names += [f"{bands.centres[band]:.4g}"] * parts[-1].shape[1]
    coordinates = np.concatenate(parts, axis=1)
    n = len(rows) - len(people)
    order = [people.index(s) for s in subject]
    return ReducedSet(
        raw=coordinates[: n // 2],
        harmonized=coordinates[n // 2 : n],
        truth=coordinates[n:][order],
        groups=np.array(names),
        site=np.array([str(s) for s in site]),
        subject=np.array([str(s) for s in subject]),
    )


def dissect_images(
    raw: Sequence[npt.ArrayLike],
    harmonized: Sequence[npt.ArrayLike],
    truth: Mapping[Hashable, npt.ArrayLike],
    masks: Mapping[Hashable, npt.ArrayLike],
    *,
    site: Sequence[Any],
    subject: Sequence[Hashable],
    voxel_size: Sequence[float],
    n_bands: int = 12,
    match: bool = True,
    design: Design = "auto",
) -> Dissection:
    """Return the dissection of a set of images: `reduce_images`, then `dissect`, with their parameters.

    The groups are named by band centres [1/m].
    """
    reduced = reduce_images(
        raw,
        harmonized,
        truth,
        masks,
        site=site,
        subject=subject,
        voxel_size=voxel_size,
        n_bands=n_bands,
        match=match,
    )
    return dissect(**reduced.arguments(), design=design)


def _coordinates(rows: npt.NDArray[np.float32]) -> FloatArray:
    """Return few coordinates (row, element) with the Gram matrix of `rows`."""
    if rows.shape[1] <= rows.shape[0]:
        return rows.astype(np.float64)
    # float64 before the product: differences of near-equal images are what the dissection lives on.
    wide = rows.astype(np.float64)
    values, vectors = np.linalg.eigh(wide @ wide.T)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))

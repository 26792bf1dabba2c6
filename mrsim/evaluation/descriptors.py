"""Image descriptors for the site probe: what a classifier could tell a site by.

Every descriptor comes with its name, so that a report can say what gives the site away. Families:

* `intensity`: quantiles of the image in the mask;
* `tissue`: median intensity per tissue (if maps are given) and the medians' ratios to white matter;
* `shape`: the same quantiles of the standardised image: the histogram's form, blind to scale and offset;
* `gradient`: quantiles of the gradient magnitude of the standardised image;
* `spectrum`: log power in radial frequency bands of the standardised image, by which blur and noise are seen;
* `thumbnail`: the standardised image, averaged over a coarse grid of blocks of the mask's bounding box.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from .image_structure import gradient_magnitude, power_spectrum
from .inputs import (
    BoolArray,
    FloatArray,
    MetricInputError,
    bounding_box,
    check_mask,
    check_voxel_size,
    masked,
)

QUANTILES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
FAMILIES = ("intensity", "tissue", "shape", "gradient", "spectrum", "thumbnail")


def image_descriptors(
    image: npt.ArrayLike,
    mask: npt.ArrayLike,
    voxel_size: Sequence[float],
    *,
    tissues: Mapping[str, npt.ArrayLike] | None = None,
    families: Sequence[str] = FAMILIES,
    thumbnail: int = 4,
) -> dict[str, float]:
    """Return named descriptors of one image.

    Parameters
    ----------
    image, mask
        Arrays (x, y, z).
    voxel_size
        Voxel edges [m].
    tissues
        Name -> fraction map; pure means at least 0.8. Without it the family `tissue` is empty.
    families
        Families to compute, of `FAMILIES`.
    thumbnail
        Blocks per axis.

    Raises
    ------
    MetricInputError
        For unknown families, an empty mask or a constant image.
    """
    unknown = sorted(set(families) - set(FAMILIES))
    if unknown:
        raise MetricInputError(f"families must be among {FAMILIES}; got {unknown}.")
    (x,) = masked(mask, image=image)
    flags = check_mask(mask, np.shape(image))
    mean, sd = float(x.mean()), float(x.std())
    if sd == 0.0:
        raise MetricInputError("image must vary inside the mask; got a constant image.")
    result: dict[str, float] = {}
    if "intensity" in families:
        result |= _quantiles("intensity", x)
    if "tissue" in families and tissues:
        result |= _tissue_medians(np.asarray(image, dtype=np.float64), flags, tissues)
    if "shape" in families:
        result |= _quantiles("shape", (x - mean) / sd)
    if "gradient" in families:
        result |= _quantiles("gradient", gradient_magnitude(image, flags, voxel_size) / sd)
    if "spectrum" in families:
        frequency, power = power_spectrum(image, flags, voxel_size, n_bands=12)
        logs = np.log(np.maximum(power, 1e-12))
        result |= {f"spectrum:{f:.0f}": float(p) for f, p in zip(frequency, logs, strict=True)}
    if "thumbnail" in families:
        result |= _thumbnail((np.asarray(image, dtype=np.float64) - mean) / sd, flags, thumbnail)
    return result


def mask_descriptors(
    mask: npt.ArrayLike, voxel_size: Sequence[float], *, thumbnail: int = 4
) -> dict[str, float]:
    """Return descriptors of the mask alone: volume, extents, moments, surface and a coarse picture.

    Masks leak site (field of view, distortion, resolution): their probe stands beside the image probe.
    """
    sizes = check_voxel_size(voxel_size)
    flags = check_mask(mask, np.shape(mask))
    box = bounding_box(flags)
    index = np.argwhere(flags) * np.asarray(sizes)
    result = {"mask:volume": float(np.count_nonzero(flags)) * float(np.prod(sizes)) * 1e6}
    for axis, (part, size) in enumerate(zip(box, sizes, strict=True)):
        result[f"mask:extent{axis}"] = (part.stop - part.start) * size
        result[f"mask:spread{axis}"] = float(index[:, axis].std())
        result[f"mask:faces{axis}"] = float(np.count_nonzero(np.diff(flags, axis=axis)))
    return result | {
        f"mask:{k}": v for k, v in _thumbnail(flags.astype(np.float64), flags, thumbnail, whole=True).items()
    }


def descriptor_matrix(rows: Sequence[Mapping[str, float]]) -> tuple[FloatArray, tuple[str, ...]]:
    """Return (scan, descriptor) and the names all rows share, in the order of the first row."""
    if not rows:
        raise MetricInputError("rows must hold at least one scan's descriptors; got none.")
    names = tuple(n for n in rows[0] if all(n in r and np.isfinite(r[n]) for r in rows))
    if not names:
        raise MetricInputError("rows must share at least one finite descriptor; got none.")
    return np.array([[r[n] for n in names] for r in rows], dtype=np.float64), names


def _quantiles(family: str, values: FloatArray) -> dict[str, float]:
    return {
        f"{family}:{q:g}": float(v) for q, v in zip(QUANTILES, np.quantile(values, QUANTILES), strict=True)
    }


def _tissue_medians(
    image: FloatArray, mask: BoolArray, tissues: Mapping[str, npt.ArrayLike]
) -> dict[str, float]:
    result: dict[str, float] = {}
    for name, fraction in tissues.items():
        pure = image[mask & (np.asarray(fraction) >= 0.8)]
        result[f"tissue:{name}"] = float(np.median(pure)) if pure.size else float("nan")
    wm = result.get("tissue:wm", float("nan"))
    if np.isfinite(wm) and wm != 0.0:
        result |= {f"{k}/wm": v / wm for k, v in list(result.items()) if k != "tissue:wm"}
    return result


def _thumbnail(volume: FloatArray, mask: BoolArray, blocks: int, *, whole: bool = False) -> dict[str, float]:
    """Return block means over the mask's bounding box; blocks that hold no mask voxel are 0."""
    box = bounding_box(mask)
    values, inside = volume[box], mask[box]
    axes = [np.minimum(np.arange(n) * blocks // n, blocks - 1) for n in values.shape]
    code = np.zeros(values.shape, dtype=np.int64)
    for axis, line in enumerate(axes):
        code = code * blocks + line.reshape([-1 if a == axis else 1 for a in range(values.ndim)])
    use = np.ones_like(inside) if whole else inside
    size = blocks**values.ndim
    counts = np.bincount(code[use], minlength=size)
    sums = np.bincount(code[use], weights=values[use], minlength=size)
    means = sums / np.maximum(counts, 1)
    return {f"thumbnail:{k}": float(m) for k, m in enumerate(means)}

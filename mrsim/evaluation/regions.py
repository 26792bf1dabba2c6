"""Numbers per region from a segmented image: volumes, intensities, boundary width, mean thickness.

Regions come as data: soft prior maps (0..1) or boolean masks on the image's grid, by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from .inputs import BoolArray, FloatArray, MetricInputError, check_mask, check_voxel_size, masked
from .mixels import TISSUES
from .segmentation import Segmentation

ML_PER_M3 = 1e6


def label_regions(labels: npt.ArrayLike, names: Mapping[int, str]) -> dict[str, BoolArray]:
    """Return boolean masks by name from a label map and its names."""
    values = np.asarray(labels)
    return {name: values == number for number, name in names.items()}


def regional_volumes(
    posteriors: npt.ArrayLike,
    *,
    voxel_volume: float,
    regions: Mapping[str, npt.ArrayLike] | None = None,
    tissues_of: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, float]:
    """Return volumes [mL]: `csf`, `gm`, `wm`, `brain` (gm + wm), and one per region.

    Parameters
    ----------
    posteriors
        Tissue fractions (3, x, y, z) in the order csf, gm, wm.
    voxel_volume
        In m^3.
    regions
        Name -> weight map (0..1) or mask. A region's volume is the sum of weight times fraction of its
        tissues.
    tissues_of
        Region -> tissues that belong to it, e.g. `{"ventricles": ("csf",), "hippocampus": ("gm",)}`; default:
        gm and wm.

    Raises
    ------
    MetricInputError
        For wrong shapes, unknown tissues, or a region named like a total.
    """
    maps = np.asarray(posteriors, dtype=np.float64)
    if maps.ndim != 4 or maps.shape[0] != 3:
        raise MetricInputError(f"posteriors must be (3, x, y, z); got {maps.shape}.")
    if not 0.0 < voxel_volume < 1e-3:
        raise MetricInputError(f"voxel_volume must be in m^3 (2 mm: 8e-9); got {voxel_volume}.")
    scale = voxel_volume * ML_PER_M3
    totals = {name: float(maps[t].sum()) * scale for t, name in enumerate(TISSUES)}
    totals["brain"] = totals["gm"] + totals["wm"]
    chosen = tissues_of or {}
    result = dict(totals)
    for name, weight in (regions or {}).items():
        if name in totals:
            raise MetricInputError(f"a region must not be named like a total; got {name!r}.")
        part = _weights(name, weight, maps.shape[1:])
        own = tuple(chosen.get(name, ("gm", "wm")))
        unknown = sorted(set(own) - set(TISSUES))
        if unknown or not own:
            raise MetricInputError(f"tissues of region {name!r} must be among {TISSUES}; got {own}.")
        where = part > 0.0
        inside = sum(maps[TISSUES.index(t)][where] for t in own)
        result[name] = float(np.sum(inside * part[where])) * scale
    return result


def regional_intensities(
    image: npt.ArrayLike, regions: Mapping[str, npt.ArrayLike], mask: npt.ArrayLike, *, purity: float = 0.7
) -> dict[str, float]:
    """Return the median per region over mask voxels whose weight is at least `purity`; nan without any."""
    masked(mask, image=image)
    flags = check_mask(mask, np.shape(image))
    values = np.asarray(image, dtype=np.float64)
    result: dict[str, float] = {}
    for name, weight in regions.items():
        inside = values[flags & (_weights(name, weight, flags.shape) >= purity)]
        result[name] = float(np.median(inside)) if inside.size else float("nan")
    return result


def boundary_width(
    image: npt.ArrayLike,
    posteriors: npt.ArrayLike,
    mask: npt.ArrayLike,
    voxel_size: Sequence[float],
    *,
    step: float | None = None,
) -> float:
    """Return the width [m] of the grey-white boundary: intensity step over median gradient.

    For a Gaussian point spread of sd s it is s sqrt(2 pi). Boundary voxels have at least 30 % of both tissues
    and at most 5 % CSF; nan with fewer than 20 of them. Free of the image's scale and offset.

    Parameters
    ----------
    image
        Bias-corrected image.
    posteriors
        Tissue fractions (3, x, y, z).
    mask, voxel_size
        Mask and voxel edges [m].
    step
        |WM - GM| [image units]; default: difference of the medians where the fraction is above 0.9.
    """
    sizes = check_voxel_size(voxel_size)
    masked(mask, image=image)
    flags = check_mask(mask, np.shape(image))
    csf, gm, wm = np.asarray(posteriors)
    values = np.asarray(image, dtype=np.float64)
    edge = flags & (gm >= 0.3) & (wm >= 0.3) & (csf <= 0.05)
    pure = [flags & (part > 0.9) for part in (gm, wm)]
    if np.count_nonzero(edge) < 20 or (step is None and not all(p.any() for p in pure)):
        return float("nan")
    if step is None:
        step = abs(float(np.median(values[pure[1]])) - float(np.median(values[pure[0]])))
    gradient = float(np.median(_gradient(values, sizes)[edge]))
    return step / gradient if gradient > 0.0 else float("nan")


def mean_thickness(posteriors: npt.ArrayLike, voxel_size: Sequence[float]) -> float:
    """Return grey-matter volume over the mean of its two surfaces' areas [m]: the ribbon's thickness.

    Surface areas are total variations of the fraction maps (coarea formula): |grad wm| for the inner, |grad
    (wm + gm)| for the outer surface, integrated over the volume. Deep grey matter makes it larger than
    cortical thickness; its *change* between scanners is what it is for.
    """
    sizes = check_voxel_size(voxel_size)
    _, gm, wm = np.asarray(posteriors, dtype=np.float64)
    # Voxel volume cancels between volume and area.
    areas = [float(_gradient(part, sizes).sum()) for part in (wm, wm + gm)]
    mean = 0.5 * sum(areas)
    return float(gm.sum()) / mean if mean > 0.0 else float("nan")


def scan_features(
    image: npt.ArrayLike,
    segmentation: Segmentation,
    mask: npt.ArrayLike,
    voxel_size: Sequence[float],
    *,
    regions: Mapping[str, npt.ArrayLike] | None = None,
    tissues_of: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, float]:
    """Return the feature row of one scan.

    The image is the segmented one; its bias field is taken out first. Keys: `volume:<name>` [mL],
    `intensity:<name>` (median in image units; the three tissues where the posterior is at least 0.7, and
    regions), `boundary_width` and `thickness` [mm, for tables].
    """
    sizes = check_voxel_size(voxel_size)
    volumes = regional_volumes(
        segmentation.posteriors,
        voxel_volume=float(np.prod(sizes)),
        regions=regions,
        tissues_of=tissues_of,
    )
    parts: dict[str, npt.ArrayLike] = dict(zip(TISSUES, segmentation.posteriors, strict=True))
    corrected = segmentation.correct(image)
    intensities = regional_intensities(corrected, {**parts, **(regions or {})}, mask)
    return {
        **{f"volume:{k}": v for k, v in volumes.items()},
        **{f"intensity:{k}": v for k, v in intensities.items()},
        "boundary_width": 1e3 * boundary_width(corrected, segmentation.posteriors, mask, sizes),
        "thickness": 1e3 * mean_thickness(segmentation.posteriors, sizes),
    }


def align_to_mask(
    maps: npt.ArrayLike,
    source_mask: npt.ArrayLike,
    source_affine: npt.ArrayLike,
    target_mask: npt.ArrayLike,
    target_affine: npt.ArrayLike,
) -> npt.NDArray[np.float32]:
    """Resample prior maps of a template onto an image's grid so that the brain masks' place and size agree.

    Per world axis, a shift and a scale bring the template mask's centre of gravity and standard deviation to
    the target mask's: six parameters, no search, enough for priors that are smooth.

    Parameters
    ----------
    maps
        Array (map, x, y, z) on the template's grid.
    source_mask, target_mask
        Brain masks on the two grids.
    source_affine, target_affine
        Voxel index -> world [m], shape (4, 4).

    Returns
    -------
    ndarray
        float32 (map, *target shape), linear interpolation, 0 outside the template's grid.
    """
    from scipy.ndimage import affine_transform

    stack = np.asarray(maps, dtype=np.float32)
    source, target = np.asarray(source_affine, dtype=np.float64), np.asarray(target_affine, dtype=np.float64)
    inside = check_mask(target_mask, np.shape(target_mask))
    if stack.ndim != 4 or source.shape != (4, 4) or target.shape != (4, 4):
        raise MetricInputError(f"maps must be (map, x, y, z) and affines (4, 4); got {stack.shape}.")
    centre_s, spread_s = _mask_moments(check_mask(source_mask, stack.shape[1:]), source)
    centre_t, spread_t = _mask_moments(inside, target)
    world = np.eye(4)
    world[:3, :3] = np.diag(spread_s / spread_t)
    world[:3, 3] = centre_s - (spread_s / spread_t) * centre_t
    # affine_transform wants target index -> source index.
    index = np.linalg.inv(source) @ world @ target
    out = np.empty((stack.shape[0], *inside.shape), dtype=np.float32)
    for k, volume in enumerate(stack):
        affine_transform(
            volume, index[:3, :3], index[:3, 3], output_shape=inside.shape, output=out[k], order=1, cval=0.0
        )
    return out


def _mask_moments(mask: BoolArray, affine: FloatArray) -> tuple[FloatArray, FloatArray]:
    index = np.argwhere(mask).astype(np.float64)
    world = index @ affine[:3, :3].T + affine[:3, 3]
    return world.mean(axis=0), np.maximum(world.std(axis=0), 1e-6)


def _weights(name: str, weight: npt.ArrayLike, shape: tuple[int, ...]) -> FloatArray:
    part = np.asarray(weight, dtype=np.float64)
    if part.shape != shape:
        raise MetricInputError(
            f"region {name!r} must have shape {shape}; got {part.shape}. Resample it first."
        )
    return part


def _gradient(volume: FloatArray, sizes: Sequence[float]) -> FloatArray:
    parts = np.gradient(volume, *sizes)
    return np.asarray(np.sqrt(sum(p * p for p in parts)))

"""What an error number hides: tissue contrast, edges and the power spectrum.

Blur keeps PSNR and correlation high and wins a frozen site classifier; it cannot keep edges. The measures
here are free of the image's units (scale and offset) wherever that is possible.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from .inputs import (
    BoolArray,
    FloatArray,
    MetricInputError,
    bounding_box,
    check_mask,
    check_voxel_size,
    masked,
)

MIN_VOXELS = 20


def tissue_values(
    image: npt.ArrayLike,
    fractions: Mapping[str, npt.ArrayLike],
    mask: npt.ArrayLike,
    *,
    purity: float = 0.8,
) -> dict[str, tuple[float, float]]:
    """Return (median, robust sd) of the image in the pure voxels of every tissue.

    Parameters
    ----------
    image
        Array (x, y, z).
    fractions
        Tissue name -> fraction map (0..1) or boolean mask of the same shape.
    mask
        Voxels to use.
    purity
        A voxel is pure where its fraction is at least this.

    Raises
    ------
    MetricInputError
        If a tissue has fewer than 20 pure voxels.
    """
    masked(mask, image=image)
    flags = check_mask(mask, np.shape(image))
    values = np.asarray(image, dtype=np.float64)
    result: dict[str, tuple[float, float]] = {}
    for name, fraction in fractions.items():
        part = np.asarray(fraction)
        if part.shape != values.shape:
            raise MetricInputError(f"fraction map {name!r} must have shape {values.shape}; got {part.shape}.")
        pure = values[flags & (part >= purity)]
        if pure.size < MIN_VOXELS:
            raise MetricInputError(
                f"tissue {name!r} must have at least {MIN_VOXELS} voxels of fraction >= {purity}; got "
                f"{pure.size}. Lower purity or check the map's grid."
            )
        median = float(np.median(pure))
        # 1.4826: a Gaussian's sd over its median absolute deviation.
        result[name] = (median, 1.4826 * float(np.median(np.abs(pure - median))))
    return result


def tissue_contrast(values: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """Return contrast measures from the (median, sd) of `csf`, `gm` and `wm`.

    `wm_gm_ratio`, `gm_csf_ratio` (need a physical zero), `wm_gm_cnr` and `gm_csf_cnr` = |difference| /
    sqrt(mean variance), and `gm_position` = (gm - csf) / (wm - csf), which no change of scale or offset can
    move. A division by zero gives nan.
    """
    missing = sorted({"csf", "gm", "wm"} - set(values))
    if missing:
        raise MetricInputError(f"values must hold csf, gm and wm; missing {missing}.")
    (csf, s_csf), (gm, s_gm), (wm, s_wm) = (values[k] for k in ("csf", "gm", "wm"))
    return {
        "wm_gm_ratio": _divide(wm, gm),
        "gm_csf_ratio": _divide(gm, csf),
        "wm_gm_cnr": _divide(abs(wm - gm), float(np.sqrt((s_wm**2 + s_gm**2) / 2.0))),
        "gm_csf_cnr": _divide(abs(gm - csf), float(np.sqrt((s_gm**2 + s_csf**2) / 2.0))),
        "gm_position": _divide(gm - csf, wm - csf),
    }


def contrast_error(
    image: npt.ArrayLike,
    reference: npt.ArrayLike,
    fractions: Mapping[str, npt.ArrayLike],
    mask: npt.ArrayLike,
    *,
    purity: float = 0.8,
) -> dict[str, float]:
    """Return the signed relative error [%] of every contrast of `tissue_contrast` against the reference.

    `gm_position_error` is in percentage points of the CSF-to-WM span.
    """
    got = tissue_contrast(tissue_values(image, fractions, mask, purity=purity))
    want = tissue_contrast(tissue_values(reference, fractions, mask, purity=purity))
    errors = {
        f"{name}_error": 100.0 * _divide(got[name] - want[name], abs(want[name]))
        for name in got
        if name != "gm_position"
    }
    errors["gm_position_error"] = 100.0 * (got["gm_position"] - want["gm_position"])
    return errors


def gradient_magnitude(image: npt.ArrayLike, mask: npt.ArrayLike, voxel_size: Sequence[float]) -> FloatArray:
    """Return |grad image| [units/m] by central differences at the interior voxels of the mask.

    The rim is left out: it would show the mask's own edge.
    """
    sizes = check_voxel_size(voxel_size)
    masked(mask, image=image)
    flags = check_mask(mask, np.shape(image))
    box = bounding_box(flags)
    volume, inside = np.asarray(image)[box].astype(np.float64), flags[box]
    core = interior(inside)
    if not core.any():
        raise MetricInputError(
            "mask must hold a voxel with all its neighbours; got none. Use a thicker mask."
        )
    squared = np.zeros(int(np.count_nonzero(core)))
    centre = tuple(slice(1, -1) for _ in range(volume.ndim))
    for axis in range(volume.ndim):
        up, down = list(centre), list(centre)
        up[axis], down[axis] = slice(2, None), slice(None, -2)
        slope = (volume[tuple(up)] - volume[tuple(down)]) / (2.0 * sizes[axis])
        squared += slope[core[centre]] ** 2
    return np.asarray(np.sqrt(squared))


def interior(mask: BoolArray) -> BoolArray:
    """Return the mask voxels whose face neighbours all lie in the mask (never on the array's border)."""
    core = np.zeros_like(mask)
    centre = tuple(slice(1, -1) for _ in range(mask.ndim))
    keep = mask[centre].copy()
    for axis in range(mask.ndim):
        for side in (slice(2, None), slice(None, -2)):
            shifted = list(centre)
            shifted[axis] = side
            keep &= mask[tuple(shifted)]
    core[centre] = keep
    return core


def edge_energy(image: npt.ArrayLike, mask: npt.ArrayLike, voxel_size: Sequence[float]) -> float:
    """Return the rms gradient magnitude over the sd in the mask [1/m]; free of scale and offset."""
    gradient = gradient_magnitude(image, mask, voxel_size)
    (x,) = masked(mask, image=image)
    return _divide(float(np.sqrt(np.mean(gradient**2))), float(x.std()))


def power_spectrum(
    image: npt.ArrayLike, mask: npt.ArrayLike, voxel_size: Sequence[float], *, n_bands: int = 16
) -> tuple[FloatArray, FloatArray]:
    """Return band centres [1/m] and the mean power in radial frequency bands of the standardised image.

    The image is standardised in the mask (zero mean, unit sd) and faded out over the mask's rim, so that
    power is free of scale and offset. The bands split 0 to the coarsest axis's Nyquist frequency 1/(2 max
    voxel) evenly.
    """
    sizes = check_voxel_size(voxel_size)
    (x,) = masked(mask, image=image)
    flags = check_mask(mask, np.shape(image))
    box = bounding_box(flags)
    window = _fade(flags[box])
    spread = float(x.std())
    if spread == 0.0:
        raise MetricInputError("image must vary inside the mask; got a constant image.")
    volume = (np.asarray(image)[box].astype(np.float64) - x.mean()) / spread
    spectrum = np.abs(np.fft.rfftn(np.where(flags[box], volume, 0.0) * window)) ** 2
    radius = frequency_radius(volume.shape, sizes)
    edges = np.linspace(0.0, 0.5 / max(sizes), n_bands + 1)
    index = np.digitize(radius.ravel(), edges) - 1
    valid = (index >= 0) & (index < n_bands)
    counts = np.bincount(index[valid], minlength=n_bands)
    total = np.bincount(index[valid], weights=spectrum.ravel()[valid], minlength=n_bands)
    power = total / np.maximum(counts, 1) / float(np.sum(window**2))
    return np.asarray(0.5 * (edges[1:] + edges[:-1])), np.asarray(power)


def power_spectrum_ratio(
    image: npt.ArrayLike,
    reference: npt.ArrayLike,
    mask: npt.ArrayLike,
    voxel_size: Sequence[float],
    *,
    n_bands: int = 16,
) -> tuple[FloatArray, FloatArray]:
    """Return band centres [1/m] and the image's band power over the reference's (1: equal texture)."""
    frequency, top = power_spectrum(image, mask, voxel_size, n_bands=n_bands)
    bottom = power_spectrum(reference, mask, voxel_size, n_bands=n_bands)[1]
    return frequency, np.asarray(top / np.maximum(bottom, np.finfo(float).tiny))


def structure_scores(
    image: npt.ArrayLike, reference: npt.ArrayLike, mask: npt.ArrayLike, voxel_size: Sequence[float]
) -> dict[str, float]:
    """Return `edge_energy_ratio`, `edge_correlation` and `high_frequency_ratio` of image against reference.

    Ratios of 1 are right: less is blur, more is noise or ringing. `high_frequency_ratio` compares the summed
    band power above half of Nyquist; `edge_correlation` is Pearson's r of the gradient magnitudes.
    """
    gx, gy = (gradient_magnitude(v, mask, voxel_size) for v in (image, reference))
    x, y = masked(mask, image=image, reference=reference)
    energy = [_divide(float(np.sqrt(np.mean(g**2))), float(v.std())) for g, v in ((gx, x), (gy, y))]
    dx, dy = gx - gx.mean(), gy - gy.mean()
    top, bottom = (power_spectrum(v, mask, voxel_size)[1] for v in (image, reference))
    half = top.size // 2
    return {
        "edge_energy_ratio": _divide(energy[0], energy[1]),
        "edge_correlation": _divide(float(dx @ dy), float(np.sqrt((dx @ dx) * (dy @ dy)))),
        "high_frequency_ratio": _divide(float(top[half:].sum()), float(bottom[half:].sum())),
    }


def frequency_radius(shape: Sequence[int], voxel_size: Sequence[float]) -> FloatArray:
    """Return |k| [1/m] of every coefficient of `numpy.fft.rfftn` of an array of `shape`."""
    axes = [np.fft.fftfreq(n, d) for n, d in zip(shape[:-1], voxel_size[:-1], strict=True)]
    axes.append(np.fft.rfftfreq(shape[-1], voxel_size[-1]))
    grids = np.meshgrid(*axes, indexing="ij", sparse=True)
    squared: FloatArray = np.zeros(np.broadcast_shapes(*(g.shape for g in grids)))
    for grid in grids:
        squared = squared + grid**2
    return np.asarray(np.sqrt(squared))


def _fade(mask: BoolArray) -> FloatArray:
    from scipy.ndimage import gaussian_filter

    # 0.5 on a flat rim becomes 0, deep inside stays 1.
    soft = gaussian_filter(mask.astype(np.float32), 1.5, mode="constant")
    return np.asarray(np.where(mask, np.clip(2.0 * soft - 1.0, 0.0, 1.0), 0.0), dtype=np.float64)


def _divide(top: float, bottom: float) -> float:
    return top / bottom if bottom != 0.0 else float("nan")

"""Error of an image to a reference image of the same anatomy, inside a mask.

Harmonizers change units (z-scores, percentile scales), so every error is offered raw and after one linear map
of the image onto the reference (`match_intensity`); both belong in a report. Formulas: Wang et al., IEEE TIP
13(4):600-612, 2004 (SSIM). Background voxels inflate SSIM, hence the window here never looks outside the
mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from .inputs import BoolArray, FloatArray, MetricInputError, bounding_box, check_mask, masked

Normalisation = Literal["rms", "mean", "range", "sd"]


def mae(image: npt.ArrayLike, reference: npt.ArrayLike, mask: npt.ArrayLike) -> float:
    """Return the mean absolute error inside the mask, in the units of the images."""
    x, y = masked(mask, image=image, reference=reference)
    return float(np.mean(np.abs(x - y)))


def rmse(image: npt.ArrayLike, reference: npt.ArrayLike, mask: npt.ArrayLike) -> float:
    """Return the root mean squared error inside the mask, in the units of the images."""
    x, y = masked(mask, image=image, reference=reference)
    return float(np.sqrt(np.mean((x - y) ** 2)))


def nrmse(
    image: npt.ArrayLike,
    reference: npt.ArrayLike,
    mask: npt.ArrayLike,
    *,
    normalisation: Normalisation = "rms",
) -> float:
    """Return the root mean squared error divided by a scale of the *reference* inside the mask.

    Parameters
    ----------
    image, reference, mask
        Arrays of one shape.
    normalisation
        `rms`: root mean square of the reference (so the zero image scores 1); `mean`, `range` (max - min) or
        `sd`.

    Raises
    ------
    MetricInputError
        If the scale is zero.
    """
    x, y = masked(mask, image=image, reference=reference)
    scales = {
        "rms": float(np.sqrt(np.mean(y**2))),
        "mean": abs(float(np.mean(y))),
        "range": float(np.ptp(y)),
        "sd": float(np.std(y)),
    }
    if normalisation not in scales:
        raise MetricInputError(f"normalisation must be one of {sorted(scales)}; got {normalisation!r}.")
    scale = scales[normalisation]
    if scale == 0.0:
        raise MetricInputError(
            f"reference must have a non-zero {normalisation} in the mask; got 0. Use another normalisation."
        )
    return float(np.sqrt(np.mean((x - y) ** 2))) / scale


def reference_range(reference: npt.ArrayLike, mask: npt.ArrayLike, *, quantile: float = 0.995) -> float:
    """Return the data range used for PSNR and SSIM: from 0 to a high quantile of the reference in the mask.

    Magnitude images start at 0; the quantile keeps one bright vessel from setting the scale.
    """
    (y,) = masked(mask, reference=reference)
    high = float(np.quantile(y, quantile))
    if high <= 0.0:
        raise MetricInputError(
            f"reference must be a magnitude image; got {quantile} quantile {high:.4g}. State data_range."
        )
    return high


def psnr(image: npt.ArrayLike, reference: npt.ArrayLike, mask: npt.ArrayLike, *, data_range: float) -> float:
    """Return 10 log10(data_range^2 / MSE) [dB] inside the mask; infinite for identical images."""
    _check_range(data_range)
    error = rmse(image, reference, mask)
    return float("inf") if error == 0.0 else float(20.0 * np.log10(data_range / error))


def correlation(image: npt.ArrayLike, reference: npt.ArrayLike, mask: npt.ArrayLike) -> float:
    """Return Pearson's correlation inside the mask; nan where one of the two is constant."""
    x, y = masked(mask, image=image, reference=reference)
    x, y = x - x.mean(), y - y.mean()
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return float("nan") if norm == 0.0 else float(np.clip(x @ y / norm, -1.0, 1.0))


@dataclass(frozen=True, kw_only=True)
class LocalMoments:
    """Local means, variances and covariance in a window that never leaves the mask; vectors over it."""

    mean_x: FloatArray
    mean_y: FloatArray
    var_x: FloatArray
    var_y: FloatArray
    cov: FloatArray

    def ssim(self, data_range: float, *, slope: float = 1.0, intercept: float = 0.0) -> FloatArray:
        """Return the SSIM of `slope * x + intercept` against y per voxel (K1 = 0.01, K2 = 0.03)."""
        _check_range(data_range)
        c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
        mx, my = slope * self.mean_x + intercept, self.mean_y
        vx, cov = slope**2 * self.var_x, slope * self.cov
        top = (2.0 * mx * my + c1) * (2.0 * cov + c2)
        return np.asarray(top / ((mx**2 + my**2 + c1) * (vx + self.var_y + c2)))


def local_moments(
    image: npt.ArrayLike, reference: npt.ArrayLike, mask: npt.ArrayLike, *, sigma: float = 1.5
) -> LocalMoments:
    """Return windowed moments at every mask voxel.

    The window is a Gaussian of `sigma` voxels, cut at 3.5 sigma and renormalised over the mask (normalised
    convolution), so neither background nor the volume's border enters. Variances are population variances.
    """
    masked(mask, image=image, reference=reference)
    flags = check_mask(mask, np.shape(image))
    box = bounding_box(flags)
    inside = flags[box]
    # Moments about the reference's mean: no cancellation in the variances.
    centre = float(np.asarray(reference)[flags].mean(dtype=np.float64))
    x = np.where(inside, np.asarray(image)[box].astype(np.float64) - centre, 0.0)
    y = np.where(inside, np.asarray(reference)[box].astype(np.float64) - centre, 0.0)
    weight = _smooth(inside.astype(np.float64), sigma)[inside]

    def average(values: FloatArray) -> FloatArray:
        return np.asarray(_smooth(values, sigma)[inside] / weight)

    mx, my = average(x), average(y)
    return LocalMoments(
        mean_x=mx + centre,
        mean_y=my + centre,
        var_x=np.maximum(average(x * x) - mx * mx, 0.0),
        var_y=np.maximum(average(y * y) - my * my, 0.0),
        cov=average(x * y) - mx * my,
    )


def ssim(
    image: npt.ArrayLike,
    reference: npt.ArrayLike,
    mask: npt.ArrayLike,
    *,
    data_range: float,
    sigma: float = 1.5,
) -> float:
    """Return the mean structural similarity over the mask (any number of dimensions, usually 3).

    Parameters
    ----------
    image, reference, mask
        Arrays of one shape.
    data_range
        Dynamic range L of the constants C1 = (0.01 L)^2 and C2 = (0.03 L)^2, e.g. `reference_range(...)`.
    sigma
        Gaussian window width in voxels (Wang 2004: 1.5).
    """
    return float(local_moments(image, reference, mask, sigma=sigma).ssim(data_range).mean())


@dataclass(frozen=True, kw_only=True)
class IntensityMatch:
    """A linear map `slope * image + intercept` of one image onto another's units."""

    slope: float
    intercept: float

    def apply(self, image: npt.ArrayLike) -> FloatArray:
        """Return the mapped image as float64."""
        return np.asarray(image, dtype=np.float64) * self.slope + self.intercept


def match_intensity(
    image: npt.ArrayLike,
    reference: npt.ArrayLike,
    mask: npt.ArrayLike,
    *,
    model: Literal["affine", "scale", "robust"] = "affine",
) -> IntensityMatch:
    """Fit the linear map of the image onto the reference inside the mask.

    Parameters
    ----------
    image, reference, mask
        Arrays of one shape.
    model
        `affine`: least squares slope and intercept; `scale`: least squares slope through the origin;
        `robust`: slope is the ratio of the interquartile ranges, intercept aligns the medians.

    Returns
    -------
    IntensityMatch
        The slope is never negative: an inverted contrast is not forgiven, it becomes a constant image.
    """
    x, y = masked(mask, image=image, reference=reference)
    return _fit(x, y, model)


def image_errors(
    image: npt.ArrayLike, reference: npt.ArrayLike, mask: npt.ArrayLike, *, data_range: float | None = None
) -> dict[str, float]:
    """Return every error of this module, raw and after the affine match (suffix `_matched`).

    Keys: `mae`, `nrmse` (by the reference's rms), `psnr` [dB], `ssim`, their `_matched` twins, `correlation`,
    `match_slope`, `match_intercept`, `data_range`. One pass of window filters serves both SSIMs.
    """
    x, y = masked(mask, image=image, reference=reference)
    limit = reference_range(reference, mask) if data_range is None else data_range
    moments = local_moments(image, reference, mask)
    match = _fit(x, y, "affine")
    scores: dict[str, float] = {}
    for suffix, line in (("", IntensityMatch(slope=1.0, intercept=0.0)), ("_matched", match)):
        error = line.apply(x) - y
        mse = float(np.mean(error**2))
        scores[f"mae{suffix}"] = float(np.mean(np.abs(error)))
        scores[f"nrmse{suffix}"] = float(np.sqrt(mse / np.mean(y**2)))
        scores[f"psnr{suffix}"] = float("inf") if mse == 0.0 else float(10.0 * np.log10(limit**2 / mse))
        scores[f"ssim{suffix}"] = float(
            moments.ssim(limit, slope=line.slope, intercept=line.intercept).mean()
        )
    scores["correlation"] = correlation(image, reference, mask)
    scores |= {"match_slope": match.slope, "match_intercept": match.intercept, "data_range": limit}
    return scores


def _fit(x: FloatArray, y: FloatArray, model: str) -> IntensityMatch:
    if model == "scale":
        energy = float(x @ x)
        return IntensityMatch(slope=max(float(x @ y) / energy, 0.0) if energy else 0.0, intercept=0.0)
    if model == "robust":
        qx, qy = np.quantile(x, (0.25, 0.5, 0.75)), np.quantile(y, (0.25, 0.5, 0.75))
        spread = float(qx[2] - qx[0])
        slope = float(qy[2] - qy[0]) / spread if spread > 0.0 else 0.0
        return IntensityMatch(slope=slope, intercept=float(qy[1] - slope * qx[1]))
    if model != "affine":
        raise MetricInputError(f"model must be 'affine', 'scale' or 'robust'; got {model!r}.")
    dx = x - x.mean()
    energy = float(dx @ dx)
    slope = max(float(dx @ (y - y.mean())) / energy, 0.0) if energy > 0.0 else 0.0
    return IntensityMatch(slope=slope, intercept=float(y.mean() - slope * x.mean()))


def _smooth(values: npt.NDArray[np.float64] | BoolArray, sigma: float) -> FloatArray:
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(values, sigma, mode="constant", cval=0.0, truncate=3.5))


def _check_range(data_range: float) -> None:
    if not (np.isfinite(data_range) and data_range > 0.0):
        raise MetricInputError(f"data_range must be positive and finite; got {data_range}.")

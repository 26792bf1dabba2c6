"""Tissue segmentation by expectation maximisation: spatial priors, bias field, partial volume.

A compact unified segmentation (after Ashburner and Friston, NeuroImage 26(3):839-851, 2005, without the
warps, and Van Leemput et al., IEEE TMI 18(10):885-896, 1999, for the bias field): intensity model in
`mixels.py`, tissue priors given as data, a smooth field of Legendre polynomials in log intensity. No Markov
random field: partial volume is explicit.

The intensities are first mapped so that the 0.1 and 99.9 percentile of the mask sit at 0.1 and 1.1. The
volumes are therefore exactly the same for any scale and offset of the image: a z-scored image scores as its
original.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .inputs import BoolArray, FloatArray, MetricInputError, check_mask, masked
from .mixels import N_CLASSES, TISSUES, MixelModel, pair_priors

CONTRAST_ORDER: Mapping[str, tuple[str, str, str]] = {
    "T1w": ("csf", "gm", "wm"),
    "T2w": ("wm", "gm", "csf"),
    "FLAIR": ("csf", "wm", "gm"),
    "PDw": ("wm", "gm", "csf"),
}
"""Tissues from dark to bright."""
N_LEVELS = 1024
BIAS_STRIDE = 4
START_QUANTILES = (0.03, 0.95)


@dataclass(frozen=True, kw_only=True)
class SegmentationOptions:
    """How to segment.

    Attributes
    ----------
    contrast
        Key of `CONTRAST_ORDER`; sets the order of the starting means.
    bias_order
        Total order of the Legendre polynomials of the bias field; 0 for none.
    partial_volume
        Whether mixtures are modelled.
    max_iterations, tolerance
        Stop when the mean log likelihood changes by less than `tolerance`.
    prior_floor
        Smallest prior of any tissue: a misplaced prior must not forbid what the image shows.
    max_voxels
        Parameters are estimated from an even subsample of at most this many voxels (all voxels are
        classified).
    """

    contrast: str = "T1w"
    bias_order: int = 3
    partial_volume: bool = True
    max_iterations: int = 60
    tolerance: float = 2e-5
    prior_floor: float = 0.01
    max_voxels: int = 60_000

    def __post_init__(self) -> None:
        if self.contrast not in CONTRAST_ORDER:
            raise MetricInputError(
                f"contrast must be one of {sorted(CONTRAST_ORDER)}; got {self.contrast!r}."
            )
        if not 0 <= self.bias_order <= 5 or self.max_iterations < 2 or self.max_voxels < 1000:
            raise MetricInputError(
                "bias_order must lie in 0..5, max_iterations >= 2 and max_voxels >= 1000; got "
                f"{self.bias_order}, {self.max_iterations}, {self.max_voxels}."
            )
        if not 0.0 < self.prior_floor < 0.3:
            raise MetricInputError(f"prior_floor must lie in (0, 0.3); got {self.prior_floor}.")


@dataclass(frozen=True, kw_only=True)
class Segmentation:
    """Result: expected tissue fractions and what was estimated on the way.

    Attributes
    ----------
    posteriors
        float32 (3, x, y, z) in the order csf, gm, wm; sums to 1 in the mask, 0 outside.
    bias
        float32 (x, y, z) multiplicative field (1 outside the mask, mean log 0 inside).
    means, sd
        Tissue means and noise sd in the image's units.
    order_kept
        Whether the means are in the contrast's order: False tells of an inverted or destroyed contrast.
    log_likelihood
        Mean log likelihood per voxel and iteration.
    zero
        Intensity [image units] that the multiplicative field leaves in place.
    """

    posteriors: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    means: dict[str, float]
    sd: float
    order_kept: bool
    log_likelihood: tuple[float, ...]
    zero: float

    def correct(self, image: npt.ArrayLike) -> FloatArray:
        """Return the image (the one segmented, or one in its units) without the bias field."""
        values = np.asarray(image, dtype=np.float64)
        return np.asarray(self.zero + (values - self.zero) / self.bias)


def segment(
    image: npt.ArrayLike,
    mask: npt.ArrayLike,
    priors: npt.ArrayLike | None = None,
    *,
    options: SegmentationOptions | None = None,
) -> Segmentation:
    """Segment a brain image into CSF, grey and white matter.

    Parameters
    ----------
    image
        Array (x, y, z), any units.
    mask
        Brain mask, CSF included.
    priors
        Array (3, x, y, z): prior probability of csf, gm, wm (any positive scale). None: uniform.
    options
        See `SegmentationOptions`.

    Raises
    ------
    MetricInputError
        For shape mismatches, fewer than 500 voxels or a constant image.
    """
    opts = options or SegmentationOptions()
    (values,) = masked(mask, image=image)
    flags = check_mask(mask, np.shape(image))
    if flags.ndim != 3 or values.size < 500:
        raise MetricInputError(
            f"image must be 3-D with 500 mask voxels; got shape {flags.shape} and {values.size}."
        )
    low, high = (float(v) for v in np.quantile(values, (0.001, 0.999)))
    if high <= low:
        raise MetricInputError("image must vary inside the mask; got a constant image.")
    y = np.clip(0.1 + (values - low) / (high - low), 0.01, 1.5)
    classes = pair_priors(_tissue_priors(priors, flags, opts.prior_floor))
    step = max(1, -(-values.size // opts.max_voxels))
    basis = _bias_basis(flags, opts.bias_order)
    fit = _Fit(y[::step], classes[:, ::step].copy(), basis[::step], opts)
    fit.run()
    log_bias = basis @ fit.coefficients
    log_bias -= log_bias.mean()
    fractions = fit.classify(y * np.exp(-log_bias), classes)
    posteriors = np.zeros((3, *flags.shape), dtype=np.float32)
    posteriors[:, flags] = fractions.T
    bias = np.ones(flags.shape, dtype=np.float32)
    bias[flags] = np.exp(log_bias)
    means = dict(zip(TISSUES, low + (fit.model.means - 0.1) * (high - low), strict=True))
    order = [means[t] for t in CONTRAST_ORDER[opts.contrast]]
    return Segmentation(
        posteriors=posteriors,
        bias=bias,
        means={k: float(v) for k, v in means.items()},
        sd=fit.model.sd * (high - low),
        order_kept=bool(order[0] < order[1] < order[2]),
        log_likelihood=tuple(fit.trace),
        zero=low - 0.1 * (high - low),
    )


class _Fit:
    """The iteration: mutable state kept in one place, driven by `segment`."""

    def __init__(
        self, y: FloatArray, classes: npt.NDArray[np.float32], basis: FloatArray, opts: SegmentationOptions
    ) -> None:
        self.y, self.classes, self.basis, self.opts = y, classes, basis, opts
        self.grid = np.linspace(0.0, 1.6, N_LEVELS)
        self.width = float(self.grid[1])
        self.coefficients = np.zeros(basis.shape[1])
        # Twenty coefficients need no more than some thousand voxels.
        thin = slice(None, None, BIAS_STRIDE)
        self.design = np.column_stack([np.ones(y[thin].size), basis[thin]])
        self.thin_classes, self.log_thin = classes[:, thin].copy(), np.log(y[thin])
        self.trace: list[float] = []
        weights = np.ones(N_CLASSES)
        # Mixtures join after the means have settled: at the start they would swallow every tissue.
        weights[3:] = 0.0
        self.model = MixelModel(means=self._start_means(), sd=0.12, weights=weights)

    def run(self) -> None:
        from ._voxels import expectation

        levels = self._levels(self.y)
        warm_up = min(8, self.opts.max_iterations // 2)
        for iteration in range(self.opts.max_iterations):
            if iteration == warm_up and self.opts.partial_volume:
                self.model = MixelModel(means=self.model.means, sd=self.model.sd, weights=np.ones(N_CLASSES))
            counts, mass = np.zeros((N_LEVELS, N_CLASSES)), np.zeros(N_CLASSES)
            table = self.model.likelihood(self.grid)
            total = expectation(levels, self.classes, table, self.model.weights, counts, mass)
            self.trace.append(total / self.y.size)
            means, sd = self.model.update(self.grid, counts, min_sd=2.0 * self.width)
            weights = np.where(self.model.weights > 0.0, counts.sum(axis=0) / np.maximum(mass, 1e-9), 0.0)
            # A class may not die out: its weight could never come back.
            weights = np.where(self.model.weights > 0.0, np.maximum(weights, 1e-4), 0.0)
            self.model = MixelModel(means=means, sd=sd, weights=weights / weights.sum())
            bias_due = self.basis.shape[1] > 0 and iteration % 3 == 2
            settled = iteration > warm_up + 3 and abs(self.trace[-1] - self.trace[-2]) < self.opts.tolerance
            if settled and not bias_due:
                break
            if bias_due:
                self._fit_bias(levels)
                levels = self._levels(self.y * np.exp(-(self.basis @ self.coefficients)))

    def classify(self, y: FloatArray, classes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        from ._voxels import expected_fractions

        first = self.model.moments(self.grid)[0]
        table = self.model.likelihood(self.grid)
        return np.asarray(
            expected_fractions(self._levels(y), classes, table, self.model.weights, first), dtype=np.float32
        )

    def _levels(self, y: FloatArray) -> npt.NDArray[np.int32]:
        return np.clip(np.rint(y / self.width), 0, N_LEVELS - 1).astype(np.int32)

    def _start_means(self) -> FloatArray:
        """Prior-weighted means; dark, middle, bright in the contrast's order where priors do not tell."""
        order = [TISSUES.index(t) for t in CONTRAST_ORDER[self.opts.contrast]]
        # A high power of the prior keeps the voxels where it is sure.
        trust = self.classes[:3].astype(np.float64) ** 4
        means = (trust @ self.y) / np.maximum(trust.sum(axis=1), 1e-12)
        spread = float(np.quantile(self.y, 0.9) - np.quantile(self.y, 0.1))
        if np.any(np.diff(means[order]) < 0.05 * spread):
            dark, bright = np.quantile(self.y, START_QUANTILES)
            means[order] = dark, 0.5 * (dark + bright), bright
        return np.asarray(means)

    def _fit_bias(self, levels: npt.NDArray[np.int32]) -> None:
        """Weighted least squares of log y - log(expected pure intensity) on the basis, Van Leemput's step."""
        from ._voxels import pure_expectation

        model = self.model
        table = model.likelihood(self.grid)
        share, expected = pure_expectation(
            levels[::BIAS_STRIDE].copy(), self.thin_classes, table, model.weights, model.means
        )
        expected = np.maximum(expected, 0.02)
        # Delta method: var(log x) = (sd / mean)^2.
        weight = share * (expected / model.sd) ** 2
        residual = self.log_thin - np.log(expected)
        weighted = self.design * weight[:, None]
        gram = weighted.T @ self.design
        ridge = 1e-4 * float(weight.sum()) * np.eye(gram.shape[0])
        ridge[0, 0] = 0.0
        self.coefficients = np.linalg.solve(gram + ridge, weighted.T @ residual)[1:]


def _tissue_priors(priors: npt.ArrayLike | None, mask: BoolArray, floor: float) -> npt.NDArray[np.float32]:
    count = int(np.count_nonzero(mask))
    if priors is None:
        return np.full((3, count), 1.0 / 3.0, dtype=np.float32)
    maps = np.asarray(priors)
    if maps.shape != (3, *mask.shape):
        raise MetricInputError(f"priors must have shape {(3, *mask.shape)} (csf, gm, wm); got {maps.shape}.")
    values = maps[:, mask].astype(np.float32)
    if not np.isfinite(values).all() or values.min() < 0.0:
        raise MetricInputError("priors must be finite and not negative inside the mask.")
    total = values.sum(axis=0)
    values = np.where(total > 0.0, values / np.where(total > 0.0, total, 1.0), np.float32(1.0 / 3.0))
    values = np.maximum(values, floor)
    return np.asarray(values / values.sum(axis=0), dtype=np.float32)


def _bias_basis(mask: BoolArray, order: int) -> FloatArray:
    """Return products of Legendre polynomials up to a total order (no constant) at the mask voxels."""
    from numpy.polynomial.legendre import legvander

    axes = np.nonzero(mask)
    tables = []
    for index in axes:
        span = max(int(index.max() - index.min()), 1)
        line = 2.0 * (np.arange(int(index.max()) + 1) - int(index.min())) / span - 1.0
        tables.append(np.ascontiguousarray(legvander(line, order).T)[:, index])
    orders = [
        (i, j, k)
        for i in range(order + 1)
        for j in range(order + 1 - i)
        for k in range(order + 1 - i - j)
        if i + j + k > 0
    ]
    # Column-major: every polynomial is written in one sweep.
    basis = np.empty((axes[0].size, len(orders)), order="F")
    for column, (i, j, k) in enumerate(orders):
        np.multiply(tables[0][i], tables[1][j], out=basis[:, column])
        basis[:, column] *= tables[2][k]
    return basis


def smooth_priors(fractions: npt.ArrayLike, *, sigma: Sequence[float]) -> npt.NDArray[np.float32]:
    """Return tissue fractions (3, x, y, z) blurred by `sigma` voxels per axis: priors for other brains."""
    from scipy.ndimage import gaussian_filter

    maps = np.asarray(fractions, dtype=np.float32)
    if maps.ndim != 4 or maps.shape[0] != 3 or len(sigma) != 3:
        raise MetricInputError(
            f"fractions must be (3, x, y, z) with 3 sigmas; got {maps.shape}, {len(sigma)}."
        )
    return np.asarray(gaussian_filter(maps, (0.0, *sigma), mode="nearest"), dtype=np.float32)

"""The site probe: whether the site can still be told from the harmonized images.

The probe is *trained on the harmonizer's output* and judged on subjects it has not seen, next to the
distribution of its own score when the site labels are shuffled. A probe trained on raw images and applied to
harmonized ones (frozen) is offered only to be exposed beside it: plain blur drives it to chance and removes
nothing.

Folds never split a subject. Where subjects travel, labels are shuffled within each subject, since only those
orders are exchangeable, and descriptors may be centred per subject, which uses no label and leaves the probe
nothing but what differs between a subject's scans. A score *below* the null is no success: it is the trace of
centring.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .inputs import FloatArray, MetricInputError, check_finite

Model = Literal["kernel", "linear", "logistic", "forest", "boosting"]
MODELS: tuple[Model, ...] = ("kernel", "linear", "logistic", "forest", "boosting")
Codes = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ProbeOptions:
    """How to probe.

    Attributes
    ----------
    model
        `linear`: ridge regression on the one-hot site, solved in closed form for all shuffles at once (needs
        no sklearn); `logistic`, `forest` (extremely randomised trees) and `boosting` are sklearn's.
    n_permutations
        Shuffles of the null. `kernel` and `linear` take thousands, sklearn's cost one training each.
    n_folds
        Folds of subjects (fewer subjects: leave one out).
    center_subjects
        Subtract each subject's mean descriptors; `auto`: where every subject was seen on at least two sites.
    ridge
        Penalty of `kernel` and `linear`, and inverse C of `logistic`.
    """

    model: Model = "kernel"
    n_permutations: int = 500
    n_folds: int = 10
    center_subjects: bool | Literal["auto"] = "auto"
    ridge: float = 0.1

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise MetricInputError(f"model must be one of {MODELS}; got {self.model!r}.")
        if self.n_permutations < 1 or self.n_folds < 2 or self.ridge <= 0.0:
            raise MetricInputError("n_permutations must be >= 1, n_folds >= 2 and ridge > 0.")


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """Balanced accuracy of a site probe and its shuffled-label null.

    `p_low` and `p_high` are the shares of the null (the observed score counted in) that are at most and at
    least the score; `excess` = score - mean of the null is what to compare between methods.
    """

    balanced_accuracy: float
    chance: float
    null: FloatArray
    p_low: float
    p_high: float
    model: str
    frozen: bool
    centered: bool
    n_scans: int
    n_subjects: int
    predictions: tuple[str, ...]

    @property
    def excess(self) -> float:
        """Score minus the null's mean."""
        return self.balanced_accuracy - float(self.null.mean())

    @property
    def null_interval(self) -> tuple[float, float]:
        """Middle 95 % of the null."""
        low, high = np.quantile(self.null, (0.025, 0.975))
        return float(low), float(high)


def probe_site(
    descriptors: npt.ArrayLike,
    site: npt.ArrayLike,
    subject: npt.ArrayLike,
    *,
    rng: np.random.Generator,
    options: ProbeOptions | None = None,
) -> ProbeResult:
    """Train and judge a site probe on one set of descriptors.

    Parameters
    ----------
    descriptors
        Array (scan, descriptor): of images, of masks, or of demographics (age, sex, volume).
    site, subject
        Labels per scan.
    rng
        For folds, shuffles and trees.
    options
        See `ProbeOptions`.

    Raises
    ------
    MetricInputError
        With fewer than two sites, or a site seen in fewer than two subjects.
    """
    return _probe(descriptors, descriptors, site, subject, rng, options or ProbeOptions(), frozen=False)


def frozen_probe(
    raw: npt.ArrayLike,
    harmonized: npt.ArrayLike,
    site: npt.ArrayLike,
    subject: npt.ArrayLike,
    *,
    rng: np.random.Generator,
    options: ProbeOptions | None = None,
) -> ProbeResult:
    """Judge a probe trained on raw scans on harmonized scans of unseen subjects.

    Flattering, never a score. Descriptors are centred per subject only if the options say so outright, since
    a frozen classifier sees one scan at a time. The rows of `raw` and `harmonized` are the same scans.
    """
    return _probe(raw, harmonized, site, subject, rng, options or ProbeOptions(), frozen=True)


def demographics_matrix(table: Mapping[str, npt.ArrayLike]) -> FloatArray:
    """Return demographics as a matrix (numbers as they are, labels one-hot) for their own probe."""
    columns: list[FloatArray] = []
    for values in (np.asarray(v) for v in table.values()):
        if np.issubdtype(values.dtype, np.number):
            columns.append(values.astype(np.float64))
        else:
            columns += [(values == level).astype(np.float64) for level in np.unique(values)]
    if not columns:
        raise MetricInputError("table must hold at least one column; got none.")
    return np.column_stack(columns)


def balanced_accuracy(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Return the mean over classes of the share of a class's scans that are predicted right."""
    t, p = np.asarray(truth), np.asarray(predicted)
    return float(np.mean([np.mean(p[t == c] == c) for c in np.unique(t)]))


def _probe(
    train: npt.ArrayLike,
    test: npt.ArrayLike,
    site: npt.ArrayLike,
    subject: npt.ArrayLike,
    rng: np.random.Generator,
    options: ProbeOptions,
    *,
    frozen: bool,
) -> ProbeResult:
    x, z = (check_finite("descriptors", np.asarray(v)) for v in (train, test))
    labels, people = np.asarray(site), np.asarray(subject)
    if x.ndim != 2 or x.shape != z.shape or labels.shape != x.shape[:1] or people.shape != x.shape[:1]:
        raise MetricInputError(
            f"descriptors must be (scan, descriptor) with one site and subject per scan; got {x.shape}, "
            f"{z.shape}, {labels.shape}, {people.shape}."
        )
    names, codes = np.unique(labels, return_inverse=True)
    owners = np.unique(people, return_inverse=True)[1].astype(np.int64)
    per_site = [np.unique(owners[codes == c]).size for c in range(names.size)]
    if names.size < 2 or min(per_site) < 2:
        raise MetricInputError(
            f"a probe needs at least 2 sites with 2 subjects each; got subjects per site {per_site}."
        )
    travels = all(np.unique(codes[owners == s]).size > 1 for s in range(int(owners.max()) + 1))
    auto = travels and not frozen
    centered = auto if options.center_subjects == "auto" else bool(options.center_subjects)
    if centered:
        x, z = _center(x, owners), _center(z, owners)
    folds = _folds(codes, owners, options.n_folds, rng)
    truth = np.concatenate(
        [codes[None], _shuffle(codes, owners, options.n_permutations, rng, within=travels)]
    )
    if options.model in ("kernel", "linear"):
        predicted = _kernel(x, z, truth, folds, names.size, options)
    else:
        predicted = _sklearn(x, z, truth, folds, options, rng)
    scores = _balanced(truth, predicted, names.size)
    null, score = scores[1:], float(scores[0])
    # The observed labelling belongs to the permutation group: p is never zero.
    size = null.size + 1
    return ProbeResult(
        balanced_accuracy=score,
        chance=1.0 / names.size,
        null=null,
        p_low=(1 + int(np.count_nonzero(null <= score + 1e-12))) / size,
        p_high=(1 + int(np.count_nonzero(null >= score - 1e-12))) / size,
        model=options.model,
        frozen=frozen,
        centered=centered,
        n_scans=x.shape[0],
        n_subjects=int(owners.max()) + 1,
        predictions=tuple(str(names[p]) for p in predicted[0]),
    )


def _center(x: FloatArray, owners: Codes) -> FloatArray:
    sums = np.zeros((int(owners.max()) + 1, x.shape[1]))
    np.add.at(sums, owners, x)
    return x - (sums / np.bincount(owners)[:, None])[owners]


def _folds(codes: Codes, owners: Codes, n_folds: int, rng: np.random.Generator) -> Codes:
    """Return the fold of every scan: subjects dealt out in turn, site by site, in random order."""
    count = int(owners.max()) + 1
    first_site = np.array([codes[owners == s][0] for s in range(count)])
    order = np.lexsort((rng.random(count), first_site))
    fold = np.empty(count, dtype=np.int64)
    fold[order] = np.arange(count) % min(n_folds, count)
    return np.asarray(fold[owners])


def _shuffle(codes: Codes, owners: Codes, n: int, rng: np.random.Generator, *, within: bool) -> Codes:
    """Return `n` exchangeable relabellings (n, scan): within subjects, or whole subjects among each other."""
    if within:
        out = np.tile(codes, (n, 1))
        for s in range(int(owners.max()) + 1):
            own = np.flatnonzero(owners == s)
            out[:, own] = rng.permuted(out[:, own], axis=1)
        return out
    # A subject keeps one site; scans per site may shift where subjects have unequal numbers of scans.
    first = np.array([codes[owners == s][0] for s in range(int(owners.max()) + 1)])
    return np.asarray(rng.permuted(np.tile(first, (n, 1)), axis=1)[:, owners])


def _standardise(train: FloatArray, test: FloatArray) -> tuple[FloatArray, FloatArray]:
    mean, sd = train.mean(axis=0), train.std(axis=0)
    # A descriptor that does not vary in training tells nothing; it must not explode in the test fold.
    keep = sd > 1e-12 * (1.0 + np.abs(mean))
    return (train[:, keep] - mean[keep]) / sd[keep], (test[:, keep] - mean[keep]) / sd[keep]


def _kernel(
    x: FloatArray, z: FloatArray, truth: Codes, folds: Codes, n_sites: int, options: ProbeOptions
) -> Codes:
    """Predict all labellings (labelling, scan) with one kernel ridge smoother per fold: it sees no label."""
    predicted = np.empty_like(truth)
    for fold in np.unique(folds):
        held = folds == fold
        a, b = _standardise(x[~held], z[held])
        kernel, cross = _similarity(a, a, options.model), _similarity(b, a, options.model)
        smoother = np.linalg.solve(kernel + options.ridge * np.eye(a.shape[0]), cross.T).T
        one_hot = (truth[:, ~held, None] == np.arange(n_sites)).astype(np.float64)
        share = one_hot.mean(axis=1, keepdims=True)
        # Dividing by the class share makes unequal sites vote alike.
        votes = np.einsum("ti,pik->ptk", smoother, (one_hot - share) / np.maximum(share, 1e-12))
        predicted[:, held] = np.argmax(np.where(share > 0.0, votes, -np.inf), axis=-1)
    return predicted


def _similarity(a: FloatArray, b: FloatArray, model: str) -> FloatArray:
    size = max(a.shape[1], 1)
    linear = a @ b.T / size
    if model == "linear":
        return np.asarray(linear)
    distance = np.sum(a * a, axis=1)[:, None] / size + np.sum(b * b, axis=1)[None, :] / size - 2.0 * linear
    # Standardised descriptors of two unrelated scans are 2 apart: one unit of bandwidth.
    return np.asarray(np.exp(-0.5 * np.maximum(distance, 0.0)))


def _sklearn(
    x: FloatArray, z: FloatArray, truth: Codes, folds: Codes, options: ProbeOptions, rng: np.random.Generator
) -> Codes:
    predicted = np.empty_like(truth)
    for fold in np.unique(folds):
        held = folds == fold
        a, b = _standardise(x[~held], z[held])
        for row, labels in enumerate(truth):
            model = _classifier(options, int(rng.integers(2**31)))
            predicted[row, held] = model.fit(a, labels[~held]).predict(b)
    return predicted


def _classifier(options: ProbeOptions, seed: int) -> Any:
    if options.model == "logistic":
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(C=1.0 / options.ridge, class_weight="balanced", max_iter=500, tol=1e-3)
    from sklearn.ensemble import ExtraTreesClassifier, GradientBoostingClassifier

    if options.model == "forest":
        return ExtraTreesClassifier(100, class_weight="balanced", min_samples_leaf=1, random_state=seed)
    return GradientBoostingClassifier(
        n_estimators=40, max_depth=2, subsample=0.8, max_features="sqrt", random_state=seed
    )


def _balanced(truth: Codes, predicted: Codes, n_sites: int) -> FloatArray:
    right = truth == predicted
    shares = []
    for c in range(n_sites):
        own = truth == c
        count = own.sum(axis=1)
        share = np.sum(right & own, axis=1) / np.maximum(count, 1)
        shares.append(np.where(count > 0, share, np.nan))
    return np.asarray(np.nanmean(np.stack(shares), axis=0))

"""Methods of images and diffusion scans beside harmref and beside the stored outputs of other packages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import nibabel as nib
import numpy as np

from mrsim.harmonizers import (
    FuzzyCMeans,
    HistogramMatching,
    KernelDensity,
    LeastSquares,
    Nyul,
    Ravel,
    WhiteStripe,
    ZScore,
)
from mrsim.harmonizers.diffusion.spherical_harmonics import fit_matrix, harmonics, rotation_invariants

from .agreement_features import Row
from .data.packages import one_head, some
from .references import DATA, HARMREF

CONTRASTS = ("T1w", "T2w", "FLAIR", "PDw")
FLOAT32 = 1e-6
"""Images are written as float32: 6e-8 relative at best."""


@cache
def volumes() -> tuple[list[nib.Nifti1Image], list[nib.Nifti1Image], np.ndarray, np.ndarray]:
    with np.load(HARMREF / "volumes.npz") as stored:
        vols, masks = stored["vols"].astype(np.float64), stored["masks"].astype(bool)
    images = [nib.Nifti1Image(v, np.eye(4)) for v in vols]
    return images, [nib.Nifti1Image(m.astype(np.uint8), np.eye(4)) for m in masks], vols, masks


def made_by(method) -> np.ndarray:
    """Every volume after a fit on all of them, each at a site of its own."""
    images, masks, _, _ = volumes()
    method.fit(images, site=list("abcde"), masks=masks)
    made = [method.transform(i, site=s, mask=m) for i, s, m in zip(images, "abcde", masks, strict=True)]
    return np.array([np.asanyarray(i.dataobj, dtype=np.float64) for i in made])


def relative(ours: np.ndarray, wanted: np.ndarray) -> float:
    """Largest difference per value; where a value is 0, ours must be."""
    size = np.where(wanted == 0.0, 1.0, np.abs(wanted))
    return float((np.abs(ours - wanted) / size).max())


def harmref() -> Iterator[Row]:
    """Yield what is compared with outputs on the shared volumes."""
    if not (HARMREF / "README.md").is_file():
        yield ("every method of images", "harmref", 0.0, lambda: np.inf)
        return
    named = {"zscore": ZScore(), "whitestripe": WhiteStripe(), "nyul": Nyul(), "fcm": FuzzyCMeans()}
    for key, method in named.items():
        # The reference's fuzzy classes start at random and stop early.
        asked = 1e-4 if key == "fcm" else FLOAT32
        yield (
            f"{type(method).__name__}",
            "intensity-normalization 2.2.4",
            asked,
            _whole(method, "intnorm_v2.2.4", key),
        )
    yield "Nyul, 0 to 100", "TorchIO 1.2.1, of the scale", FLOAT32, _torchio
    for contrast in CONTRASTS:
        yield (
            f"KernelDensity, {contrast}",
            "intensity-normalization 2.2.4",
            FLOAT32,
            _factors(KernelDensity(contrast=contrast), f"kde_{contrast}"),
        )
        yield (
            f"WhiteStripe, {contrast}",
            "intensity-normalization 2.2.4",
            FLOAT32,
            _striped(contrast),
        )
    yield (
        "LeastSquares",
        "intensity-normalization 2.2.4",
        1e-4,
        _factors(LeastSquares(reference_site="a"), "lsq"),
    )
    for factors in (1, 2):
        yield f"Ravel, {factors} factors", "intensity-normalization 2.2.4", FLOAT32, _ravel(factors)
    # A step function there, a line between 65536 quantiles here.
    yield "HistogramMatching", "scikit-image 0.26.0, of the range", 1e-3, _matching
    for name in ("B", "fit_matrix", "coeff", "L0", "L2", "L4", "L6", "L8"):
        yield f"RISH, {name}", "harmref rish_ref (DIPY)", 1e-10, _rish(name)
    for order in (2, 4, 6, 8):
        yield f"RISH, basis of order {order}", "DIPY 1.12.1", 1e-10, _basis(order)
        for smoothing in (0.0, 0.006):
            yield (
                f"RISH, fit of order {order}, lambda {smoothing:g}",
                "DIPY 1.12.1",
                1e-10,
                _fit(order, smoothing),
            )


def stored() -> Iterator[Row]:
    """Yield nothing: every reference of images is for the shared volumes."""
    yield from ()


def _package(key: str) -> np.ndarray:
    with np.load(DATA / "packages.npz") as packages:
        return packages[key]


def _whole(method, file: str, key: str) -> Callable[[], float]:
    def largest() -> float:
        with np.load(HARMREF / "img" / f"{file}.npz") as reference:
            wanted = reference[key]
        return relative(made_by(method), wanted)

    return largest


def _torchio() -> float:
    with np.load(HARMREF / "img" / "torchio_1.2.1.npz") as reference:
        wanted = reference["histstd"]
    return float(np.abs(made_by(Nyul(output_min=0.0, output_max=100.0)) - wanted).max() / 100.0)


def _factors(method, key: str) -> Callable[[], float]:
    """The number that an image is divided by."""

    def largest() -> float:
        _, _, vols, masks = volumes()
        found = [np.median(v[m] / o[m]) for v, o, m in zip(vols, made_by(method), masks, strict=True)]
        return relative(np.array(found), _package(key))

    return largest


def _striped(contrast: str) -> Callable[[], float]:
    def largest() -> float:
        made, wanted = made_by(WhiteStripe(contrast=contrast)), _package(f"whitestripe_{contrast}")
        ours = np.array([some(o[m]) for o, m in zip(made, volumes()[3], strict=True)])
        return float(np.abs(ours - wanted).max() / np.abs(wanted).max())

    return largest


def _ravel(factors: int) -> Callable[[], float]:
    def largest() -> float:
        _, masks, vols, inside = volumes()
        images = [nib.Nifti1Image(v, np.eye(4)) for v in one_head(vols[0], inside[0])]
        method = Ravel(n_factors=factors).fit(images, site=list("abcde"), masks=masks[:1] * 5)
        made = [np.asanyarray(method.transform(i, site="a", mask=masks[0]).dataobj) for i in images]
        ours, wanted = np.array([some(o[inside[0]]) for o in made]), _package(f"ravel_{factors}")
        return float(np.abs(ours - wanted).max() / np.abs(wanted).max())

    return largest


def _matching() -> float:
    made = made_by(HistogramMatching(reference_site="a", n_quantiles=65536))
    _, _, vols, masks = volumes()
    ours = np.array([some(o[m]) for o, m in zip(made, masks, strict=True)])
    return float(np.abs(ours - _package("match_skimage")).max() / np.ptp(vols[0][masks[0]]))


@cache
def _rish_reference() -> dict[str, np.ndarray]:
    with np.load(HARMREF / "dmri" / "rish_ref.npz") as reference:
        return {name: reference[name] for name in reference.files}


def _directions() -> np.ndarray:
    reference = _rish_reference()
    return reference["bvecs"][reference["bvals"] > 0]


def _rish(name: str) -> Callable[[], float]:
    def largest() -> float:
        reference, vectors = _rish_reference(), _directions()
        basis = harmonics(vectors, 8)
        matrix = fit_matrix(basis, 8, 1e-5)
        coefficients = reference["signal_norm"] @ matrix.T
        ours = {
            "B": np.concatenate([basis, harmonics(-vectors, 8)]),
            # The reference fits directions and antipodes, half of the matrix each.
            "fit_matrix": np.hstack([matrix, matrix]) / 2.0,
            "coeff": coefficients,
            **{f"L{k}": rotation_invariants(coefficients, 8)[..., k // 2] for k in range(0, 9, 2)},
        }
        return float(np.abs(ours[name] - reference[name]).max())

    return largest


def _basis(order: int) -> Callable[[], float]:
    return lambda: float(np.abs(harmonics(_directions(), order) - _package(f"sh_basis_{order}")).max())


def _fit(order: int, smoothing: float) -> Callable[[], float]:
    def largest() -> float:
        matrix = fit_matrix(harmonics(_directions(), order), order, smoothing)
        return float(np.abs(matrix - _package(f"sh_fit_{order}_{smoothing}")).max())

    return largest

"""Reference outputs of Python packages; writes packages.npz. No dependency: runs in an environment apart.

``python packages.py HARMREF VARIANTS packages.npz``, with numpy 1.26.4, statsmodels 0.15.0, intensity-
normalization 2.2.4, scikit-fuzzy 0.5.0, pymedio 0.2.14, scikit-image 0.26.0, dipy 1.12.1. HARMREF holds
volumes.npz, VARIANTS the tables of make_variants.py.
"""

import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd


def every(image, mask):
    """Some voxels inside the mask, evenly: stored in place of whole images."""
    return some(image[mask])


def some(values):
    return values[:: values.size // 150][:150]


def intensity(vols, masks):
    """intensity-normalization: KDE and least squares are factors, RAVEL (images on one grid) some voxels."""
    sys.modules["ants"] = types.SimpleNamespace(ANTsImage=np.ndarray, core=None)
    coregister = types.ModuleType("intensity_normalization.util.coregister")
    coregister.register, coregister.to_ants = None, lambda image: image
    sys.modules["intensity_normalization.util.coregister"] = coregister
    from intensity_normalization.normalize.kde import KDENormalize
    from intensity_normalization.normalize.lsq import LeastSquaresNormalize
    from intensity_normalization.normalize.ravel import RavelNormalize
    from intensity_normalization.normalize.whitestripe import WhiteStripeNormalize
    from intensity_normalization.typing import Modality

    made = {}
    for name, modality in (
        ("T1w", Modality.T1),
        ("T2w", Modality.T2),
        ("FLAIR", Modality.FLAIR),
        ("PDw", Modality.PD),
    ):
        kde = KDENormalize()
        made[f"kde_{name}"] = np.array(
            [kde.calculate_scale(v, m, modality=modality) for v, m in zip(vols, masks, strict=True)]
        )
        stripe = WhiteStripeNormalize()
        made[f"whitestripe_{name}"] = np.array(
            [every(stripe(v, m, modality=modality), m) for v, m in zip(vols, masks, strict=True)]
        )
    lsq = LeastSquaresNormalize()
    lsq.fit(list(vols), list(masks), modality=Modality.T1)
    made["lsq"] = np.array(
        [lsq.calculate_scale(v, m, modality=Modality.T1) for v, m in zip(vols, masks, strict=True)]
    )
    # On one grid: the same head by five scanners.
    for factors in (1, 2):
        ravel = RavelNormalize(register=False, num_unwanted_factors=factors)
        same = one_head(vols[0], masks[0])
        matrix, control = ravel.create_image_matrix_and_control_voxels(same, [masks[0]] * len(same))
        Z = ravel.estimate_unwanted_factors(control)
        out = ravel._ravel_correction(matrix, Z)
        made[f"ravel_{factors}"] = np.array([every(o.reshape(vols[0].shape), masks[0]) for o in out.T])
    return made


def one_head(volume, mask):
    """Five scans of one head: a smooth shading, a bent contrast and noise of their own."""
    rng = np.random.default_rng(4)
    x = np.linspace(-1, 1, len(volume))[:, None, None]
    level = volume[mask].max()
    return [
        np.where(mask, volume * (1 + 0.1 * a * x) + 0.1 * b * volume**2 / level + 0.005 * level * e, 0.0)
        for a, b, e in zip(
            rng.normal(size=5), rng.normal(size=5), rng.normal(size=(5, *volume.shape)), strict=True
        )
    ]


def histograms(vols, masks):
    """Histogram matching of the masked voxels to those of the first image."""
    from skimage.exposure import match_histograms

    flat = [v[m] for v, m in zip(vols, masks, strict=True)]
    return {"match_skimage": np.array([some(match_histograms(f, flat[0])) for f in flat])}


def gam(covariates, Y):
    """statsmodels' GLMGam with fixed alpha on site, group and two splines; then no shrinkage."""
    from statsmodels.gam.api import BSplines, GLMGam

    site = pd.get_dummies(covariates["SITE"]).to_numpy(float)
    group = pd.get_dummies(covariates["group"]).to_numpy(float)[:, 1:]
    spline = BSplines(covariates[["age", "dose"]], df=[10, 10], degree=[3, 3])
    made = np.empty_like(Y)
    for v, y in enumerate(Y.T):
        scale = y.mean()
        fit = GLMGam(y / scale, exog=np.hstack([site, group]), smoother=spline, alpha=[1.0, 1.0]).fit()
        residual = y / scale - fit.fittedvalues
        sd = np.sqrt((residual**2).mean())
        intercept = np.asarray(fit.params)[: site.shape[1]]
        target = fit.fittedvalues - site @ intercept + site.mean(axis=0) @ intercept
        z = (y / scale - target) / sd
        for rows in site.T.astype(bool):
            z[rows] = (z[rows] - z[rows].mean()) / z[rows].std(ddof=1)
        made[:, v] = (z * sd + target) * scale
    return {"gam_two_terms": made}


def harmonics(harmref):
    """DIPY's legacy descoteaux07 basis at other orders, and fits with its regularisation; two shells."""
    from dipy.core.geometry import cart2sphere
    from dipy.reconst.shm import real_sh_descoteaux, smooth_pinv

    with np.load(harmref / "dmri" / "rish_ref.npz") as stored:
        vectors = stored["bvecs"][stored["bvals"] > 0]
    _, theta, phi = cart2sphere(*vectors.T)
    made = {}
    for order in (2, 4, 6, 8):
        basis, _, degree = real_sh_descoteaux(order, theta, phi, legacy=True)
        made[f"sh_basis_{order}"] = basis
        for smoothing in (0.0, 0.006):
            penalty = np.sqrt(smoothing / 2.0) * degree * (degree + 1)
            made[f"sh_fit_{order}_{smoothing}"] = smooth_pinv(basis, penalty)
    return made


if __name__ == "__main__":
    harmref, variants, out = map(Path, sys.argv[1:])
    with np.load(harmref / "volumes.npz") as stored:
        vols, masks = stored["vols"].astype(np.float64), stored["masks"].astype(bool)
    covariates = pd.read_csv(variants / "covariates.csv")
    Y = pd.read_csv(variants / "features.csv").to_numpy()
    made = {**intensity(vols, masks), **histograms(vols, masks), **gam(covariates, Y)}
    np.savez_compressed(out, **made, **harmonics(harmref))

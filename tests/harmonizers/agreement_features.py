"""Methods of features beside harmref and beside the stored outputs of R, statsmodels and numpyro."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import pandas as pd

from mrsim.harmonizers import (
    BayesComBat,
    ComBat,
    ComBatGAM,
    ComBatLS,
    CovBat,
    DistributedComBat,
    LongitudinalComBat,
    MComBat,
    MixedResidual,
    Relief,
    TravelingSubjectGLM,
)

from .references import DATA, HARMREF, table, values

Row = tuple[str, str, float, Callable[[], float]]
SAME = 1e-10
"""Closed forms and sva's own stopping rule: rounding; one more round would differ by 1e-7."""

COMBAT = {
    "param": {},
    "nonparam": {"parametric": False},
    "meanonly": {"mean_only": True},
    "noeb": {"empirical_bayes": False},
    "refB": {"reference_site": "B"},
    "nocov": {},
}
PACKAGES = {
    "py/neurocombat": ("neuroCombat 0.2.12", COMBAT),
    "r/sva": ("sva 3.46", ("param", "nonparam", "meanonly", "refB", "nocov")),
    "r/neuroCombatR": ("neuroCombat R", ("param", "nonparam", "meanonly", "noeb", "refB")),
}
OTHERS = {
    "r/comfam_lm": ("ComBatFamily", "param"),
    "r/comfam_lm_noeb": ("ComBatFamily", "noeb"),
    "r/comfam_lm_refB": ("ComBatFamily", "refB"),
    "py/neuroharmonize_linear": ("neuroHarmonize 2.5.2", "param"),
    "py/neuroharmonize_linear_noeb": ("neuroHarmonize 2.5.2", "noeb"),
    "py/neuroharmonize_linear_refB": ("neuroHarmonize 2.5.2", "refB"),
    "r/dcombatR_param": ("Distributed-ComBat R", "param"),
}


@cache
def train() -> tuple[np.ndarray, list[str], pd.DataFrame]:
    rows = table("train_covars.csv")
    return values("train_features.csv"), rows["SITE"].tolist(), rows[["age", "sex"]]


def on_train(method, name: str, protect: bool = True) -> Callable[[], float]:
    """Largest difference on the training table."""

    def largest() -> float:
        X, site, covariates = train()
        made = method.fit_transform(X, site=site, covariates=covariates if protect else None)
        return float(np.abs(made - values(f"{name}.csv")).max())

    return largest


def held_out(method, name: str) -> Callable[[], float]:
    """Largest difference on samples of known sites that the fit has not seen."""

    def largest() -> float:
        X, site, covariates = train()
        rows = table("holdout_covars.csv")
        known = (rows["SITE"] != "D").to_numpy()
        made = method.fit(X, site=site, covariates=covariates).transform(
            values("holdout_features.csv")[known],
            site=rows["SITE"][known].tolist(),
            covariates=rows[["age", "sex"]][known],
        )
        return float(np.abs(made - values(f"{name}.csv")).max())

    return largest


def seeded_gam() -> ComBatGAM:
    """With the penalties that neuroHarmonize drew; statsmodels' normal equations hold 2 alpha S."""
    outcomes = json.loads((HARMREF / "py" / "outcomes.json").read_text(encoding="utf-8"))
    return ComBatGAM("age", penalty=[2.0 * alpha for alpha in outcomes["GAM alphas seed0"]])


def harmref() -> Iterator[Row]:
    """Yield what is compared with the shared reference outputs."""
    if not (HARMREF / "README.md").is_file():
        yield ("every method of features", "harmref", 0.0, lambda: np.inf)
        return
    for prefix, (package, names) in PACKAGES.items():
        for name in names:
            compared = on_train(ComBat(**COMBAT[name]), f"{prefix}_{name}", protect=name != "nocov")
            yield f"ComBat, {name}", package, SAME, compared
    for file, (package, name) in OTHERS.items():
        yield f"ComBat, {name}", package, SAME, on_train(ComBat(**COMBAT[name]), file)
    yield (
        "ComBat, held-out samples",
        "neuroHarmonize 2.5.2",
        SAME,
        held_out(ComBat(), "py/neuroharmonize_linear_apply_holdout_ABC"),
    )
    yield "M-ComBat, refB", "sva 3.46", SAME, on_train(MComBat(reference_site="B"), "r/sva_refB")
    for name in COMBAT:
        method = DistributedComBat(**COMBAT[name])
        against = on_train(method, f"py/neurocombat_{name}", protect=name != "nocov")
        yield f"d-ComBat, {name}", "neuroCombat 0.2.12, pooled", SAME, against
    for method, file in (
        (CovBat(n_components=12), "r/covbatR_p90"),
        (CovBat(explained=0.9), "r/covbatR_p90"),
        (CovBat(n_components=15), "r/covbatR_p95"),
        (CovBat(n_components=12), "r/covfam_lm_p90"),
        (CovBat(n_components=15), "r/covfam_lm_p95"),
    ):
        chosen = f"{method.n_components} PCs" if method.n_components else f"{method.explained:.0%}"
        yield f"CovBat, {chosen}", f"harmref {file}", 1e-8, on_train(method, file)
    yield from _smooth()
    yield "RELIEF", "RELIEF R", 1e-6, on_train(Relief(), "r/relief_cov")
    yield "longitudinal ComBat", "longCombat", 1e-6, _longitudinal
    yield "TS-GLM, random participants", "lme4 1.1-31", 1e-10, _travelers
    # lme4's optimiser stops near 1e-7 of the ratio of the variances.
    yield "TS-GLM, variances, relative", "lme4 1.1-31", 1e-6, _variances


def _smooth() -> Iterator[Row]:
    fixed = ComBatGAM("age", penalty=2.0)
    yield (
        "ComBat-GAM, alpha = 1",
        "neuroHarmonize 2.5.2",
        1e-6,
        on_train(fixed, "py/neuroharmonize_gam_age_alpha1"),
    )
    seeded = seeded_gam()
    yield (
        "ComBat-GAM, alpha given",
        "neuroHarmonize 2.5.2",
        1e-6,
        on_train(seeded, "py/neuroharmonize_gam_age_seed0"),
    )
    yield (
        "ComBat-GAM, held-out samples",
        "neuroHarmonize 2.5.2",
        1e-6,
        held_out(seeded, "py/neuroharmonize_gam_apply_holdout_ABC"),
    )
    # mgcv stops its search for the penalty at a relative change near 1e-7; harmref asks 1e-4.
    plates = {"smooth": "age", "basis": "thin_plate"}
    yield "ComBat-GAM, GCV", "mgcv 1.8-41", 1e-5, on_train(ComBatGAM(**plates), "r/comfam_gam_default")
    reml = ComBatGAM(**plates, penalty="reml")
    yield "ComBat-GAM, REML", "mgcv 1.8-41", 1e-5, on_train(reml, "r/comfam_gam_reml")
    yield "ComBat-GAM, GCV, estimates", "ComBatFamily, mgcv", 1e-5, _gam_estimates
    smooth = CovBat(n_components=16, **plates)
    yield "CovBat on ComBat-GAM", "ComBatFamily, mgcv", 1e-5, on_train(smooth, "r/covfam_gam_p95")


def _gam_estimates() -> float:
    """Mean model, gamma* and delta* of ComBatFamily on mgcv's GCV."""
    X, site, covariates = train()
    fitted = ComBatGAM("age", basis="thin_plate").fit(X, site=site, covariates=covariates)

    def read(name: str) -> np.ndarray:
        return np.loadtxt(HARMREF / "r" / f"_comfam_gam_{name}.csv", delimiter=",")

    differences = (
        fitted.predicted(covariates.to_numpy(dtype=np.float64)) - read("standmean"),
        np.vstack([fitted.gamma_star_, fitted.delta_star_]) - read("gammastar_deltastar"),
    )
    return float(max(np.abs(d).max() for d in differences))


def _longitudinal() -> float:
    rows = table("long_covars.csv")
    made = LongitudinalComBat().fit_transform(
        values("long_features.csv"),
        site=rows["SITE"].tolist(),
        covariates=rows[["subject", "time", "age0", "sex"]],
    )
    reference = table("r/longCombat_REML.csv").to_numpy()[:, -20:].astype(np.float64)
    return float(np.abs(made - reference).max())


def _variances() -> float:
    rows, reference = table("ts_covars.csv"), table("r/_ts_lme_reml.csv")
    fitted = TravelingSubjectGLM(participants="random").fit(
        values("ts_features.csv"), site=rows["SITE"].tolist(), covariates=rows[["subject"]]
    )
    ours = np.array([fitted.subject_variance_, fitted.residual_variance_])
    return float(np.abs(ours / reference[["var_subj", "var_res"]].to_numpy(dtype=np.float64).T - 1.0).max())


def _travelers() -> float:
    """Balanced travels: the estimates are differences of means, whatever the variances."""
    rows = table("ts_covars.csv")
    fitted = TravelingSubjectGLM(participants="random").fit(
        values("ts_features.csv"), site=rows["SITE"].tolist(), covariates=rows[["subject"]]
    )
    reference = table("r/_ts_lme_reml.csv")[["SITEB", "SITEC"]].to_numpy().T
    return float(np.abs(fitted.measurement_bias_[1:] - fitted.measurement_bias_[0] - reference).max())


# Stored variants -------------------------------------------------------------------------------------------


@cache
def variants() -> dict[str, np.ndarray]:
    with np.load(DATA / "variants.npz") as stored:
        return {name: stored[name] for name in stored.files}


def people(*names: str) -> pd.DataFrame | None:
    """Covariates of the variants' table; "product" is age times dose."""
    found = {name: variants()[f"covariates/{name}"] for name in ("age", "dose", "group", "subject")}
    found["product"] = found["age"] * found["dose"]
    return pd.DataFrame({name: found[name] for name in names}) if names else None


def on_variants(method, name: str, *covariates: str, output: np.ndarray | None = None) -> Callable[[], float]:
    """Largest difference in units of a feature's standard deviation."""

    def largest() -> float:
        stored = variants()
        X = stored["features"]
        made = method.fit_transform(
            X, site=stored["covariates/SITE"].tolist(), covariates=people(*covariates)
        )
        return float((np.abs(made - (stored[name] if output is None else output)) / X.std(axis=0)).max())

    return largest


DESIGNS = {"none": (), "age": ("age",), "all": ("age", "dose", "group")}
UNSHRUNK = {"empirical_bayes": False}


def stored() -> Iterator[Row]:
    """Yield what is compared with the outputs that lie beside these tests."""
    for prior in ("parametric", "nonparametric"):
        for scale in ("full", "mean"):
            for target in ("pooled", "east"):
                yield from _combats(prior, scale, target)
    yield "ComBat, unseen site", "sva's functions, as ComBatFamily's predict", SAME, _unseen
    for share in (50, 80, 99):
        method = CovBat(explained=share / 100)
        compared = on_variants(method, f"covbat_explained{share}", *DESIGNS["all"])
        yield f"CovBat, {share} %", "sva and prcomp, variants", 1e-8, compared
    for k in (1, 3, 14):
        compared = on_variants(CovBat(n_components=k), f"covbat_components{k}", *DESIGNS["all"])
        yield f"CovBat, {k} PCs", "sva and prcomp, variants", 1e-8, compared
    method = CovBat(n_components=5, reference_site="east")
    compared = on_variants(method, "covbat_east", *DESIGNS["all"])
    yield "CovBat, 5 PCs, reference site", "sva and prcomp, variants", 1e-8, compared
    plates = {"basis": "thin_plate", **UNSHRUNK}
    yield (
        "ComBat-GAM, GCV",
        "mgcv 1.8-41, variants",
        1e-6,
        on_variants(ComBatGAM("age", **plates), "gam_age_gcv", "age", "group"),
    )
    one = ComBatGAM("age", penalty="reml", **plates)
    yield "ComBat-GAM, REML", "mgcv 1.8-41, variants", 1e-6, on_variants(one, "gam_age_reml", "age", "group")
    # The penalty of straight curves is bounded at 1e7 of its scale where several terms share coordinates.
    two = ComBatGAM(["age", "dose"], penalty="reml", **plates)
    compared = on_variants(two, "gam_age_dose_reml", *DESIGNS["all"])
    yield "ComBat-GAM, REML, two curves", "mgcv 1.8-41, variants", 1e-4, compared
    with np.load(DATA / "packages.npz") as packages:
        output = packages["gam_two_terms"]
    compared = on_variants(
        ComBatGAM(["age", "dose"], penalty=2.0, **UNSHRUNK), "", *DESIGNS["all"], output=output
    )
    yield "ComBat-GAM, alpha = 1, two curves", "statsmodels 0.15.0, variants", 1e-6, compared
    # nlme stops at 1e-7 of the likelihood's parameters.
    yield (
        "ComBatLS",
        "nlme::gls 3.1-162, variants",
        1e-5,
        on_variants(ComBatLS(**UNSHRUNK), "combatls_age", "age"),
    )
    compared = on_variants(LongitudinalComBat(**UNSHRUNK), "longitudinal_age", "subject", "age")
    yield "longitudinal ComBat, age", "lme4 1.1-31, variants", 1e-6, compared
    columns = ("subject", "age", "dose", "product", "group")
    compared = on_variants(LongitudinalComBat(**UNSHRUNK), "longitudinal_interaction", *columns)
    yield "longitudinal ComBat, interaction", "lme4 1.1-31, variants", 1e-6, compared
    compared = on_variants(MixedResidual(), "mixed_residual", "subject", *DESIGNS["all"])
    yield "LME residual", "lme4 1.1-31, variants", 1e-6, compared
    # Both posteriors are sampled; 12,000 draws bring 0.005, empirical Bayes in place of the posterior 0.1.
    yield "fully Bayesian ComBat, 2000 draws, rms", "numpyro 0.22.0, variants", 0.02, _bayes


def _combats(prior: str, scale: str, target: str) -> Iterator[Row]:
    """Without, with one and with three covariates; the largest difference of the three."""
    options = {
        "parametric": prior == "parametric",
        "mean_only": scale == "mean",
        "reference_site": None if target == "pooled" else target,
    }
    methods = {"ComBat": ComBat(**options), "d-ComBat": DistributedComBat(**options)}
    if target != "pooled":
        methods["M-ComBat"] = MComBat(**options)
    for kind, method in methods.items():
        each = [
            on_variants(method, f"combat_{design}_{prior}_{scale}_{target}", *columns)
            for design, columns in DESIGNS.items()
        ]
        label = f"{kind}, {prior}, {scale}, {target}; 0, 1, 3 covariates"
        yield label, "sva 3.46, variants", SAME, lambda each=each: max(one() for one in each)


def _unseen() -> float:
    stored = variants()
    X, site, columns = stored["features"], stored["covariates/SITE"], people(*DESIGNS["all"])
    new = site == "east"
    fitted = ComBat().fit(X[~new], site=site[~new].tolist(), covariates=columns[~new])
    made = fitted.transform(X[new], site=site[new].tolist(), covariates=columns[new])
    return float((np.abs(made - stored["unseen_east"]) / X.std(axis=0)).max())


def _bayes() -> float:
    with np.load(DATA / "bayes.npz") as reference:
        wanted, sd = reference["harmonized"], reference["sd"]
        mean = reference["mean"]
    stored = variants()
    fitted = BayesComBat(draws=2000, warmup=300)
    made = fitted.fit_transform(
        stored["features"], site=stored["covariates/SITE"].tolist(), covariates=people(*DESIGNS["all"])
    )
    difference = (made - mean) / sd - wanted
    return float(np.sqrt((difference**2).mean()))

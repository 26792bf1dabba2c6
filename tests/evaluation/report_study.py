"""A report's worth of plausible results: six people, four scanners, two contrasts, eight methods."""

from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter

from mrsim.evaluation import make_score, scores_table
from mrsim.evaluation.report import ReportData, ReportImage

from .brain import bias_field, make_brain

SCANNERS = {
    "prisma": ("Siemens", "Prisma", 123.23e6, 1.0, (40.0, 70.0, 100.0), 0.10),
    "premier": ("GE", "SIGNA Premier", 127.716e6, 1.15, (30.0, 72.0, 104.0), 0.22),
    "ingenia": ("Philips", "Ingenia", 127.8e6, 0.8, (46.0, 68.0, 96.0), -0.2),
    "avanto": ("Siemens", "Avanto", 63.6e6, 0.9, (45.0, 73.0, 92.0), 0.05),
}
IMAGE_METHODS = ("raw", "identity", "blur", "zscore", "nyul", "whitestripe")
FEATURE_METHODS = ("featureidentity", "combat")
CONTRASTS = ("T1w", "FLAIR")
REGIONS = tuple(
    f"volume:{r}" for r in ("hippocampus", "lateral_ventricle", "cortical_gm", "cerebral_wm", "thalamus")
)
PLANTED = (-0.02, 0.5, -2.0, -0.4, 0.0)
# fixed, left, destroyed, invented of the raw error
PARTS = ("fixed", "left", "destroyed", "invented")
SPLIT = {
    "raw": (0.0, 0.62, 0.0, 0.0),
    "identity": (0.0, 0.62, 0.0, 0.0),
    "blur": (0.16, 0.46, 0.31, 0.05),
    "zscore": (0.35, 0.27, 0.03, 0.02),
    "nyul": (0.47, 0.15, 0.05, 0.06),
    "whitestripe": (0.28, 0.34, 0.01, 0.02),
    "featureidentity": (0.0, 0.7, 0.0, 0.0),
    "combat": (0.61, 0.09, -0.02, 0.07),
}
SITE_LEFT = {"blur": 0.8, "zscore": 0.55, "nyul": 0.35, "whitestripe": 0.6, "combat": 0.2}


def make_report(*, shape=(50, 60, 44), size=1.0, seed=3, **changes):
    """Return report data; keyword arguments replace fields, `images=()` makes it light."""
    rng = np.random.default_rng(seed)
    brain = make_brain(shape, size)
    values = {
        "title": "Traveling subjects on four scanners",
        "study": study_record(),
        "scanners": {k: scanner_record(k) for k in SCANNERS},
        "cards": {f"{k}/{c}": card_record(k, c) for k in SCANNERS for c in CONTRASTS},
        "reference": "prisma",
        "participants": [
            {"subject": f"{s:02d}", "age": 22.0 + 9.5 * s, "sex": "FM"[s % 2], "icv": 1380.0 + 31.0 * s}
            for s in range(1, 7)
        ],
        "scores": scores(rng),
        "details": {m: details(m, rng) for m in (*IMAGE_METHODS, *FEATURE_METHODS)},
        "images": list(images(brain, shape, rng)),
        "mask": brain.mask,
        "example_subject": "01",
        "recipe": {
            "seed": 1,
            "plan": "9f2c" * 16,
            "cells": 148,
            "versions": {"mrsim": "0.1.0", "numpy": "2.4.6", "pypulseq": "1.5.0"},
        },
    }
    return ReportData(**(values | changes))


def bare(**changes):
    """Return a report of nothing but a title."""
    values = {"title": "t", "study": {}, "scanners": {}, "cards": {}, "reference": ""}
    return ReportData(**(values | changes))


def small_report():
    """Return a report with every kind of evidence, of two methods in one contrast, with few pictures."""
    data = make_report()
    kept, place = ("raw", "nyul"), "T1w"
    details = {}
    for m in kept:
        given = data.details[m]
        rows = ("embedding", "age", "age_slopes")
        details[m] = given | {k: [r for r in given[k] if r["contrast"] == place] for k in rows}
        details[m] |= {k: {place: given[k][place]} for k in ("probe", "dissection")}
        details[m] |= {"contrasts": [place]}
    shown = [i for i in data.images if i.method in kept and i.contrast == place]
    study = data.study | {"protocols": [{"contrast": place}]}
    return replace(data, details=details, images=shown, study=study, scores=None)


def study_record():
    harmonizers = ("identity", "blur", "zscore", "nyul", "whitestripe", "feature-identity", "combat")
    return {
        "study": {
            "name": "demo", "seed": 1, "reference_scanner": "prisma",
            "description": "Six people travel to four scanners of three vendors and two field strengths.",
        },
        "cohort": {"subjects": 6, "age_range": [20.0, 80.0], "anatomy": "icbm152"},
        "scanners": [{"name": k, "label": k, "repeats": 2 if k == "prisma" else 1} for k in SCANNERS],
        "protocols": [{"contrast": c, "voxel_size_mm": 2.0} for c in CONTRASTS],
        "recon": {"combine": "native", "scanners": {"avanto": {"combine": "rss"}}},
        "harmonizers": [{"name": n, "label": None, "params": {}} for n in harmonizers],
    }  # fmt: skip


def scanner_record(label):
    vendor, model, f0, *_ = SCANNERS[label]
    return {
        "name": f"{vendor.lower()}-{label}-3t", "vendor": vendor, "model": model, "field": {"f0": f0},
        "receive": {"coil": "Head_32", "n_channels": 32, "simulated_channels": 8},
        "recon": {"combine": "adaptive", "intensity_correction": "none", "partial_fourier": "zero_fill"},
        "provenance": {
            "field": {"source": "ON-Harmony (OpenNeuro ds004712, CC0), DICOM sidecars", "verified": True},
            "noise": {"source": "Relative figure assumed", "verified": False},
        },
    }  # fmt: skip


def card_record(label, contrast):
    return {
        "name": f"onharmony-{label}-{contrast.lower()}", "sequence": "mprage" if contrast == "T1w" else "tse",
        "geometry": {"fov": [0.256, 0.256, 0.208], "matrix": [128, 128, 104]},
        "timing": {"tr": 2.0, "te": 0.00203, "ti": 0.88}, "rf": {"flip_deg": 8.0},
        "readout": {"bandwidth": 240.0}, "acceleration": {"phase": 2},
        "provenance": {
            "timing": {"source": "DICOM sidecars", "verified": True},
            "timing.echo_spacing": {"source": "Not in the header; assumed", "verified": False},
        },
    }  # fmt: skip


def images(brain, shape, rng):
    voxel = (2e-3, 2e-3, 2e-3)
    for contrast in CONTRASTS:
        means = (40.0, 70.0, 100.0) if contrast == "T1w" else (15.0, 103.0, 70.0)
        clean = brain.image(means, bias=bias_field(shape, 0.1)).astype(np.float32)
        yield ReportImage(
            method="truth", session="truth", run=1, contrast=contrast, data=clean, voxel_size=voxel
        )
        for session, run in [("prisma", 2), *((s, 1) for s in SCANNERS)]:
            *_, scale, means, shade = SCANNERS[session]
            means = means if contrast == "T1w" else (15.0, 95.0 + 0.2 * means[0], 70.0)
            clean = brain.image(means, noise=3.0, rng=rng, bias=bias_field(shape, shade))
            raw = (scale * np.maximum(clean, 0.0)).astype(np.float32)
            for method in IMAGE_METHODS:
                yield ReportImage(
                    method=method, session=session, run=run, contrast=contrast,
                    data=harmonized(method, raw, brain.mask), voxel_size=voxel,
                )  # fmt: skip


def harmonized(method, raw, mask):
    if method in ("raw", "identity"):
        return raw
    if method == "blur":
        return gaussian_filter(raw, 0.9)
    low, middle, high = np.percentile(raw[mask], (2, 50, 98))
    if method == "nyul":
        return np.interp(raw, [0.0, low, middle, high], [0.0, 20.0, 55.0, 90.0]).astype(np.float32)
    spread = raw[mask].std() if method == "zscore" else 0.3 * (high - middle)
    return ((raw - (raw[mask].mean() if method == "zscore" else high)) / spread).astype(np.float32)


def details(method, rng):
    site = SITE_LEFT.get(method, 1.0)
    record = {
        "method": method,
        "kind": "feature" if method in FEATURE_METHODS else "image",
        "contrasts": list(CONTRASTS),
        "embedding": embedding(site, rng),
        "probe": {c: probe(site) for c in CONTRASTS},
        "age": [row | {"contrast": c} for c in CONTRASTS for row in ages(site, rng)],
        "age_slopes": [row | {"contrast": c} for c in CONTRASTS for row in slopes(method, rng)],
    }
    spaces = ("{}", "{} features") if method in IMAGE_METHODS else ("{} features",)
    record["dissection"] = {s.format(c): split(method, c, s) for c in CONTRASTS for s in spaces}
    if method == "raw":
        steps = [("scan-rescan", 0.9), ("across vendors", 8.2), ("across fields", 11.5)]
        record["ladder"] = [{"step": s, "cov": v, "low": 0.8 * v, "high": 1.3 * v, "n": 6} for s, v in steps]
    return record


def split(method, contrast, space):
    factor = (1.0 if contrast == "T1w" else 0.85) * (1.0 if space == "{}" else 1.1)
    parts = list(zip(PARTS, SPLIT[method], strict=True))
    if method == "blur" and space != "{}":
        parts = list(zip(PARTS, (-2.4, 3.1, 0.01, 0.02), strict=True))
    return {
        name: {
            "value": factor * v,
            "low": factor * v - 0.03 - 0.1 * abs(v),
            "high": factor * v + 0.04 + 0.1 * abs(v),
        }
        for name, v in parts
    }


def embedding(site, rng):
    people = rng.normal(0.0, 0.5, (6, 2))
    places = {"prisma": (0.0, 0.0), "premier": (2.4, 0.9), "ingenia": (-2.0, 1.2), "avanto": (0.4, -2.4)}
    return [
        {
            "contrast": c, "subject": f"{s + 1:02d}", "session": k, "run": 1,
            "x": float(site * x + people[s, 0] + 0.1 * rng.normal()),
            "y": float(site * y + people[s, 1] + 0.1 * rng.normal()),
        }
        for c in CONTRASTS for s in range(6) for k, (x, y) in places.items()
    ]  # fmt: skip


def probe(site):
    return {
        "balanced_accuracy": min(1.0, 0.3 + 0.75 * site), "null_low": 0.08, "null_high": 0.42, "chance": 0.25,
        "p_value": 0.002, "frozen": 0.25 if site in (0.8, 0.35) else min(1.0, 0.2 + 0.7 * site),
        "mask_only": 0.46, "demographics": 0.25,
    }  # fmt: skip


def ages(site, rng):
    levels = (4.1, 28.0, 520.0, 470.0, 7.9)
    return [
        {
            "feature": f, "subject": f"{s:02d}", "age": 22.0 + 9.5 * s, "truth": level + a * (9.5 * s - 30.0),
            "measured": level * (1.03 + 0.02 * site * rng.normal()) + 0.9 * a * (9.5 * s - 30.0),
        }
        for f, level, a in zip(REGIONS, levels, PLANTED, strict=True) for s in range(1, 7)
    ]  # fmt: skip


def slopes(method, rng):
    kept = {"blur": 0.55, "nyul": 0.8}.get(method, 0.93)
    return [
        {
            "feature": f, "slope": kept * a, "truth": a,
            "low": kept * a - 0.35 * abs(a), "high": kept * a + 0.3 * abs(a),
        }
        for f, a in zip(REGIONS, PLANTED, strict=True)
    ]  # fmt: skip


def scores(rng):
    rows = []
    for method in (*IMAGE_METHODS, *FEATURE_METHODS):
        left = SITE_LEFT.get(method, 1.0)
        names = {
            "within_subject_cov": 8.0 * left,
            "icc_2_1": 1 - 0.5 * left,
            "site_balanced_accuracy": 0.3 + 0.7 * left,
        }
        names |= {"age_slope_ratio": 0.9 - 0.1 * left, "volume_bias:hippocampus": 3.0 * left - 1.0}
        names |= {"volume_bias:thalamus": 2.0 - left, "site_frozen_accuracy": 0.1 + left}
        if method in IMAGE_METHODS:
            names |= {"nrmse_matched": 0.1 * left, "ssim_matched": 1.0 - 0.12 * left, "mae": 31.0 * left}
            names |= {
                "edge_energy_ratio": 0.6 if method == "blur" else 1.02,
                "wm_gm_ratio_error": -4.0 * left,
            }
        names |= dict(zip(PARTS, SPLIT[method], strict=True))
        for contrast in CONTRASTS:
            for name, value in names.items():
                v = value + 0.01 * rng.normal()
                interval = (v - 0.1 * abs(v) - 0.01, v + 0.1 * abs(v) + 0.01)
                rows.append(make_score(name, v, method=method, contrast=contrast, n=6, interval=interval))
    return scores_table(rows)

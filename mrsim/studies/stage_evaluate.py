"""The stage that judges a method: every score with its interval, and what the report draws from."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .canonical import pretty_json
from .scored import MEASURED_VOLUMES, Judged, ScanKey
from .stage import StageContext

if TYPE_CHECKING:
    import numpy as np

    from mrsim.evaluation import Score

_IMAGE_METRICS = ("nrmse", "nrmse_matched", "ssim", "ssim_matched", "psnr_matched", "correlation")
_SHARES = ("fixed", "left", "destroyed", "invented", "residue_removed", "gap_closed", "biology_lost_share")


class _Card:
    """Collects the scores of one method."""

    def __init__(self, judged: Judged, settings: dict[str, Any], rng: "np.random.Generator") -> None:
        self.judged = judged
        self.settings = settings
        self.rng = rng
        self.scores: list[Score] = []
        self.details: dict[str, Any] = {
            "method": judged.method,
            "kind": judged.kind,
            "contrasts": list(judged.contrasts),
            "embedding": [],
            "probe": {},
            "age": [],
            "age_slopes": [],
            "dissection": {},
        }

    def add(
        self, metric: str, value: float, contrast: str, n: int, low: float = math.nan, high: float = math.nan
    ) -> None:
        """Add one score of the study's table."""
        from mrsim.evaluation import make_score

        self.scores.append(
            make_score(
                metric, value, method=self.judged.method, contrast=contrast, n=n, interval=(low, high)
            )
        )

    def mean(self, metric: str, values: "np.ndarray[Any, Any]", subject: Sequence[str], contrast: str) -> None:
        """Add the mean of a per-scan value with an interval over subjects."""
        import numpy as np

        from mrsim.evaluation import bootstrap_ci

        n = len(set(subject))
        if n < 2 or not self.settings["bootstrap"] or not np.isfinite(values).all():
            self.add(metric, float(np.nanmean(values)), contrast, n)
            return
        interval = bootstrap_ci(
            lambda v: np.mean(v, axis=-1),
            values,
            rng=self.rng,
            clusters=np.asarray(subject),
            n_boot=int(self.settings["bootstrap"]),
            level=float(self.settings["confidence"]),
            method="expanded",
        )
        value, low, high = interval.scalars()
        self.add(metric, value, contrast, n, low, high)


def evaluate(ctx: StageContext) -> None:
    """Judge one method: ``scores.tsv``, ``scores.json`` and ``details.json``."""
    from mrsim.evaluation import scores_table, write_table

    judged = Judged.of(ctx)
    card = _Card(judged, dict(ctx.params["settings"]), ctx.rng)
    for contrast in judged.contrasts:
        if judged.kind == "image":
            _image_scores(card, contrast)
        _feature_scores(card, contrast)
        _site(card, contrast)
        if contrast == "T1w":
            _biology(card, contrast)
    if judged.method == "raw":
        card.details["ladder"] = _ladder(card, ctx.params["scanners"])
    write_table(scores_table(card.scores), ctx.out_dir / "scores")
    (ctx.out_dir / "details.json").write_bytes(pretty_json(_plain(card.details)))


def _plain(value: Any) -> Any:
    """JSON has no NaN: missing numbers become null."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _image_scores(card: _Card, contrast: str) -> None:
    """Errors to the counterfactual, contrast, structure, and the dissection of the images."""
    import numpy as np

    from mrsim.evaluation import contrast_error, image_errors, structure_scores

    judged = card.judged
    scans = [k for k in judged.scans(contrast, judged.images) if k[0] in judged.maps and k in judged.raw]
    scans = [k for k in scans if (k[0], contrast) in judged.truth]
    if not scans:
        return
    own = judged.volumes([judged.images[k] for k in scans])
    truth = {s: judged.volumes([judged.truth[s, contrast]])[0] for s in sorted({k[0] for k in scans})}
    rows: list[dict[str, float]] = []
    for key, image in zip(scans, own, strict=True):
        maps = judged.maps[key[0]]
        voxel = np.linalg.norm(maps["affine"][:3, :3], axis=0)
        fractions = dict(zip(("csf", "gm", "wm"), maps["fractions"], strict=True))
        target = truth[key[0]]
        row = image_errors(image, target, maps["mask"])
        contrasts = contrast_error(image, target, fractions, maps["mask"])
        # Signed errors of scanners would cancel in the mean.
        row |= {name: abs(value) for name, value in contrasts.items()}
        rows.append(row | structure_scores(image, target, maps["mask"], voxel))
    subject = [k[0] for k in scans]
    names = [
        *_IMAGE_METRICS,
        *(n for n in ("wm_gm_ratio_error", "gm_csf_ratio_error", "wm_gm_cnr_error") if n in rows[0]),
        "edge_energy_ratio",
        "edge_correlation",
        "high_frequency_ratio",
    ]
    for name in names:
        card.mean(name, np.array([row[name] for row in rows]), subject, contrast)
    _image_dissection(card, contrast, scans, own, truth)


def _image_dissection(
    card: _Card,
    contrast: str,
    scans: Sequence[ScanKey],
    own: "Sequence[np.ndarray[Any, Any]]",
    truth: "dict[str, np.ndarray[Any, Any]]",
) -> None:
    import numpy as np

    from mrsim.evaluation import reduce_images

    judged = card.judged
    if len({k[0] for k in scans}) < 3 or len({k[1] for k in scans}) < 2:
        return
    same = judged.method == "raw"
    raw = own if same else judged.volumes([judged.raw[k] for k in scans])
    voxel = np.linalg.norm(next(iter(judged.maps.values()))["affine"][:3, :3], axis=0)
    reduced = reduce_images(
        raw,
        own,
        truth,
        {s: judged.maps[s]["mask"] for s in truth},
        site=[k[1] for k in scans],
        subject=[k[0] for k in scans],
        voxel_size=voxel,
    )
    _add_dissection(card, contrast, reduced.arguments())


def _add_dissection(card: _Card, place: str, arguments: dict[str, Any], weights: Any = None) -> None:
    from mrsim.evaluation import dissection_intervals

    level = float(card.settings["confidence"])
    shares = dissection_intervals(**arguments, weights=weights, level=level)
    n = len(set(arguments["subject"]))
    for name in _SHARES:
        value, low, high = shares[name]
        card.add(name, value, place, n, low, high)
    shown = ("fixed", "left", "destroyed", "invented")
    card.details["dissection"][place] = {
        name: dict(zip(("value", "low", "high"), shares[name], strict=True)) for name in shown
    }


def _complete(rows: Sequence[dict[str, float]], *others: Sequence[dict[str, float]]) -> list[str]:
    """Names that all rows of all tables have as finite numbers, in the order of the first row."""
    tables = [*rows, *(row for table in others for row in table)]
    return [n for n in rows[0] if all(math.isfinite(row.get(n, math.nan)) for row in tables)]


def _feature_scores(card: _Card, contrast: str) -> None:
    """Agreement between scanners, and the dissection of the feature table."""
    import numpy as np
    import pandas as pd

    from mrsim.evaluation import feature_weights, variance_table

    judged = card.judged
    scans = judged.scans(contrast)
    if len({k[0] for k in scans}) < 3 or len({k[1] for k in scans}) < 2:
        return
    own, raw = ([t[k] for k in scans] for t in (judged.features, judged.raw_features))
    truth = [judged.truth_features[k[0], contrast] for k in scans]
    names = _complete(own, raw, truth)
    volumes = [n for n in names if n.startswith("volume:")]
    table = pd.DataFrame([{n: row[n] for n in names} for row in own])
    table["subject"], table["scanner"] = [k[0] for k in scans], [k[1] for k in scans]
    found = variance_table(table, volumes)
    place = f"{contrast} features"
    for metric in ("within_subject_cov", "scanner_share", "icc_2_1", "icc_3_1"):
        card.add(metric, float(found[metric].median()), place, int(found["n"].max()))
    if found["scan_rescan_cov"].notna().any():
        card.add("scan_rescan_cov", float(found["scan_rescan_cov"].median()), place, int(found["n"].max()))
    # Intensities change units with the harmonizer: volumes and millimetres can be compared.
    kept = [n for n in names if not n.startswith("intensity:")]
    arrays = [np.array([[row[n] for n in kept] for row in rows]) for rows in (raw, own, truth)]
    subject = np.array([k[0] for k in scans])
    arguments = dict(zip(("raw", "harmonized", "truth"), arrays, strict=True))
    weights = feature_weights(arrays[2], subject)
    _add_dissection(
        card, place, {**arguments, "site": np.array([k[1] for k in scans]), "subject": subject}, weights
    )


def _site(card: _Card, contrast: str) -> None:
    """Site probe retrained on this method's output, beside its null, a frozen probe and a mask-only probe."""
    import numpy as np

    from mrsim.evaluation import ProbeOptions, demographics_matrix, frozen_probe, mask_descriptors, probe_site

    judged = card.judged
    own, raw = judged.descriptors, judged.raw_descriptors
    if judged.kind == "feature":
        own, raw = judged.features, judged.raw_features
    scans = [k for k in judged.scans(contrast, own) if k in raw]
    site, subject = [k[1] for k in scans], [k[0] for k in scans]
    if len(set(site)) < 2 or len(set(subject)) < 3:
        return
    rows, raw_rows = [own[k] for k in scans], [raw[k] for k in scans]
    names = _complete(rows, raw_rows)
    matrix, before = (np.array([[row[n] for n in names] for row in t]) for t in (rows, raw_rows))
    options = ProbeOptions(n_permutations=max(1, int(card.settings["permutations"])))
    trained = probe_site(matrix, site, subject, rng=card.rng, options=options)
    low, high = trained.null_interval
    entry: dict[str, Any] = {
        "balanced_accuracy": trained.balanced_accuracy,
        "null_low": low,
        "null_high": high,
        "chance": trained.chance,
        "p_value": trained.p_high,
        "frozen": None,
        "mask_only": None,
        "demographics": None,
    }
    if judged.method != "raw":
        frozen = frozen_probe(before, matrix, site, subject, rng=card.rng, options=options)
        entry["frozen"] = frozen.balanced_accuracy
        card.add("site_frozen_accuracy", frozen.excess, contrast, len(set(subject)))
    probes = card.settings["probes"]
    if "mask" in probes:
        voxel = {s: np.linalg.norm(m["affine"][:3, :3], axis=0) for s, m in judged.maps.items()}
        masks = [mask_descriptors(judged.maps[s]["mask"], voxel[s]) for s in subject]
        flat = np.array([[row[n] for n in masks[0]] for row in masks])
        entry["mask_only"] = probe_site(
            flat, site, subject, rng=card.rng, options=options
        ).balanced_accuracy
    if "demographics" in probes:
        known = demographics_matrix({n: [judged.people[s][n] for s in subject] for n in ("age", "sex")})
        entry["demographics"] = probe_site(
            known, site, subject, rng=card.rng, options=options
        ).balanced_accuracy
    if "forest" in probes:
        forest = ProbeOptions(model="forest", n_permutations=min(20, options.n_permutations))
        entry["forest"] = probe_site(matrix, site, subject, rng=card.rng, options=forest).balanced_accuracy
    card.details["probe"][contrast] = entry
    card.add("site_balanced_accuracy", trained.balanced_accuracy, contrast, len(set(subject)), low, high)
    card.add("site_excess", trained.excess, contrast, len(set(subject)))
    _embedding(card, contrast, scans, matrix, before)


def _embedding(
    card: _Card,
    contrast: str,
    scans: Sequence[ScanKey],
    matrix: "np.ndarray[Any, Any]",
    raw: "np.ndarray[Any, Any]",
) -> None:
    """Two principal axes of the raw scans; every method is shown on these same axes."""
    import numpy as np

    centre, spread = raw.mean(axis=0), raw.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    axes = np.linalg.svd((raw - centre) / spread, full_matrices=False)[2][:2]
    # The sign of an axis is free: make its largest weight positive.
    axes *= np.sign(axes[np.arange(len(axes)), np.argmax(np.abs(axes), axis=1)])[:, None]
    places = (matrix - matrix.mean(axis=0)) / spread @ axes.T
    for key, (x, y) in zip(scans, places, strict=True):
        card.details["embedding"].append(
            {"contrast": contrast, "subject": key[0], "session": key[1], "run": key[2], "x": float(x), "y": float(y)}
        )


def _biology(card: _Card, contrast: str) -> None:
    """Measured against true volumes: bias, ranks, and the age effect that is left of the planted one."""
    import numpy as np

    from mrsim.evaluation import age_recovery, volume_errors

    judged = card.judged
    scans = judged.scans(contrast)
    subjects = sorted({k[0] for k in scans if k[0] in judged.people})
    names = [n for n in MEASURED_VOLUMES if all(math.isfinite(judged.features[k].get(n, math.nan)) for k in scans)]
    if len(subjects) < 2 or not names:
        return
    measured = np.array(
        [[np.mean([judged.features[k][n] for k in scans if k[0] == s]) for n in names] for s in subjects]
    )
    truth = np.array([[judged.true_volume(s, n) for n in names] for s in subjects])
    age = np.array([float(judged.people[s]["age"]) for s in subjects])
    place = f"{contrast} features"
    errors = volume_errors(measured, truth, names=names)
    for row in errors.itertuples():
        short = str(row.feature).removeprefix("volume:")
        card.add(f"volume_bias:{short}", float(row.bias_percent), place, len(subjects))
        card.add(f"volume_rank:{short}", float(row.rank), place, len(subjects))
    for i, s in enumerate(subjects):
        for j, n in enumerate(names):
            card.details["age"].append(
                {"feature": n, "contrast": contrast, "subject": s, "age": float(age[i]), "measured": float(measured[i, j]),
                 "truth": float(truth[i, j])}
            )  # fmt: skip
    if len(subjects) < 4 or np.ptp(age) <= 0:
        return
    draws = max(2, int(card.settings["bootstrap"]))
    found = age_recovery(measured, truth, age, names=names, rng=card.rng, n_boot=draws)
    for row in found.itertuples():
        short = str(row.feature).removeprefix("volume:")
        low, high = float(row.ci_low), float(row.ci_high)
        card.add(f"age_slope_ratio:{short}", float(row.ratio), place, len(subjects), low, high)
        card.details["age_slopes"].append(
            {"feature": row.feature, "contrast": contrast, "slope": float(row.recovered), "truth": float(row.planted),
             "ratio": float(row.ratio), "low": low, "high": high}
        )  # fmt: skip
    if card.settings["false_positive"]:
        _false_positives(card, measured, place)


def _false_positives(card: _Card, measured: "np.ndarray[Any, Any]", place: str) -> None:
    """Share of shuffled ages that give a 'significant' slope: what chance finds where nothing was planted."""
    import numpy as np

    from mrsim.evaluation import age_slopes, false_positive_rate

    values = [
        age_slopes(measured, card.rng.permutation(len(measured)).astype(float)).p_value for _ in range(200)
    ]
    rate = false_positive_rate(np.stack(values))
    card.add("false_positive_rate", rate.rate, place, len(measured), rate.low, rate.high)


def _ladder(card: _Card, scanners: dict[str, Any]) -> list[dict[str, Any]]:
    """Pairwise CoV of volumes and of the WM/GM ratio: rescan, same vendor, across vendors, across fields."""
    import pandas as pd

    from mrsim.evaluation import MetricInputError, site_effect_ladder

    from .sidecar import field_strength

    judged = card.judged
    if "T1w" not in judged.contrasts:
        return []
    scans = judged.scans("T1w")
    names = _complete([judged.features[k] for k in scans])
    volumes = [n for n in MEASURED_VOLUMES if n in names]
    rows = []
    for key in scans:
        row = judged.features[key]
        record = scanners[key[1]]
        rows.append(
            {
                "subject": key[0], "scanner": key[1], "vendor": record["vendor"],
                "field": field_strength(record), "repeat": key[2], **{n: row[n] for n in volumes},
                "wm_gm_ratio": row["intensity:wm"] / row["intensity:gm"],
            }
        )  # fmt: skip
    try:
        found = site_effect_ladder(
            pd.DataFrame(rows), [*volumes, "wm_gm_ratio"], rng=card.rng, n_boot=max(2, int(card.settings["bootstrap"]))
        )
    except MetricInputError:
        return []
    return [
        {"feature": str(r.feature), "step": str(r.rung), "cov": float(r.cov), "low": float(r.ci_low),
         "high": float(r.ci_high), "n": int(r.n_pairs)}
        for r in found.itertuples()
    ]  # fmt: skip



"""The stage that judges a method: every score with its interval, and what the report draws from."""

import math
import statistics
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .biology_scores import biology_scores
from .canonical import pretty_json
from .scorecard import Card, complete, table_rows
from .scored import MEASURED_VOLUMES, Judged, ScanKey
from .site_scores import site_scores
from .stage import StageContext

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_IMAGE_METRICS = ("nrmse", "nrmse_matched", "ssim", "ssim_matched", "psnr_matched", "correlation")
_CONTRAST_METRICS = ("wm_gm_ratio_error", "gm_csf_ratio_error", "wm_gm_cnr_error")
_ONE_SCANNER = "this design has every person on one scanner only; traveling subjects would tell"
_TOO_FEW = "three people and two scanners are the least that can be split"
_STRUCTURE_METRICS = ("edge_energy_ratio", "edge_correlation", "high_frequency_ratio")


def evaluate(ctx: StageContext) -> None:
    """Judge one method: ``scores.tsv``, ``scores.json`` and ``details.json``."""
    from mrsim.evaluation import scores_table, write_table

    judged = Judged.of(ctx)
    card = Card(judged, dict(ctx.params["settings"]), ctx.rng)
    for contrast in judged.contrasts:
        evaluate_contrast(card, contrast)
    if judged.method == "raw":
        card.details["ladder"] = _ladder(card, ctx.params["scanners"])
    write_table(scores_table(card.scores), ctx.out_dir / "scores")
    (ctx.out_dir / "details.json").write_bytes(pretty_json(_plain(card.details)))


def evaluate_contrast(card: Card, contrast: str) -> None:
    """Add all scores of one contrast."""
    _held_out(card, contrast)
    if card.judged.kind == "image":
        _image_scores(card, contrast)
    _feature_scores(card, contrast)
    site_scores(card, contrast)
    if contrast == "T1w":
        biology_scores(card, contrast)


def _held_out(card: Card, contrast: str) -> None:
    """Say where a method could not be applied to the scanner that is held out."""
    judged = card.judged
    label = judged.design["held_out"]
    sessions = {key[1] for key in judged.features if key[3] == contrast}
    if label and label not in sessions and any(k[1] == label for k in judged.raw_features):
        why = f"the method cannot be applied to a scanner that it was not fitted on ({label})"
        card.leave_out(f"all scores of the scans on {label}", contrast, why)


def _plain(value: Any) -> Any:
    """JSON has no NaN: missing numbers become null."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _image_scores(card: Card, contrast: str) -> None:
    """Score errors to the counterfactual, contrast, structure, and the dissection of the images."""
    import numpy as np

    judged = card.judged
    scans = [k for k in judged.scans(contrast, judged.images) if k[0] in judged.maps and k in judged.raw]
    scans = [k for k in scans if (k[0], contrast) in judged.truth]
    if not scans:
        return
    own = judged.volumes([judged.images[k] for k in scans])
    truth = {s: judged.volumes([judged.truth[s, contrast]])[0] for s in sorted({k[0] for k in scans})}
    rows = [
        _image_row(image, truth[key[0]], judged.maps[key[0]]) for key, image in zip(scans, own, strict=True)
    ]
    label = judged.design["held_out"]
    groups = {"": scans, f":{label}": [k for k in scans if k[1] == label]}
    contrasts = [n for n in _CONTRAST_METRICS if n in rows[0]]
    for suffix, part in groups.items():
        chosen = [row for key, row in zip(scans, rows, strict=True) if key in part]
        for name in (*_IMAGE_METRICS, *contrasts, *_STRUCTURE_METRICS) if chosen else ():
            values = np.array([row[name] for row in chosen])
            card.mean(f"{name}{suffix}", values, [k[0] for k in part], contrast)
    _image_dissection(card, contrast, scans, own, truth)


def _image_row(
    image: "np.ndarray[Any, Any]", target: "np.ndarray[Any, Any]", maps: Mapping[str, Any]
) -> dict[str, float]:
    """Compare one image with the counterfactual of its subject."""
    import numpy as np

    from mrsim.evaluation import contrast_error, image_errors, structure_scores

    voxel = np.linalg.norm(maps["affine"][:3, :3], axis=0)
    fractions = dict(zip(("csf", "gm", "wm"), maps["fractions"], strict=True))
    row = image_errors(image, target, maps["mask"])
    contrasts = contrast_error(image, target, fractions, maps["mask"])
    # Signed errors of scanners would cancel in the mean.
    row |= {name: abs(value) for name, value in contrasts.items()}
    return row | structure_scores(image, target, maps["mask"], voxel)


def _image_dissection(
    card: Card,
    contrast: str,
    scans: Sequence[ScanKey],
    own: "Sequence[np.ndarray[Any, Any]]",
    truth: "Mapping[str, np.ndarray[Any, Any]]",
) -> None:
    import numpy as np

    from mrsim.evaluation import reduce_images

    judged = card.judged
    if len({k[0] for k in scans}) < 3 or len({k[1] for k in scans}) < 2:
        card.leave_out("dissection", contrast, _TOO_FEW)
        return
    same = judged.method == "raw"
    raw = own if same else judged.volumes([judged.raw[k] for k in scans])
    voxel = np.linalg.norm(next(iter(judged.maps.values()))["affine"][:3, :3], axis=0)
    targets: dict[Hashable, Any] = {s: truth[s] for s in truth}
    reduced = reduce_images(
        raw,
        own,
        targets,
        {s: judged.maps[s]["mask"] for s in truth},
        site=[k[1] for k in scans],
        subject=[k[0] for k in scans],
        voxel_size=voxel,
    )
    card.dissection(contrast, reduced.arguments())


def _feature_scores(card: Card, contrast: str) -> None:
    """Score the agreement between scanners, and the dissection of the feature table."""
    import numpy as np
    import pandas as pd

    from mrsim.evaluation import feature_weights

    judged = card.judged
    scans = judged.scans(contrast)
    if len({k[0] for k in scans}) < 3 or len({k[1] for k in scans}) < 2:
        card.leave_out("agreement between scanners and dissection", f"{contrast} features", _TOO_FEW)
        return
    own, raw = ([t[k] for k in scans] for t in (judged.features, judged.raw_features))
    truth = [judged.truth_features[k[0], contrast] for k in scans]
    names = complete(own, raw, truth)
    volumes = [n for n in names if n.startswith("volume:")]
    table = pd.DataFrame([{n: row[n] for n in names} for row in own])
    table["subject"], table["scanner"] = [k[0] for k in scans], [k[1] for k in scans]
    place = f"{contrast} features"
    _agreement(card, place, table, volumes)
    # Intensities change units with the harmonizer: volumes and millimetres can be compared.
    kept = [n for n in names if not n.startswith("intensity:")]
    arrays = [np.array([[row[n] for n in kept] for row in rows]) for rows in (raw, own, truth)]
    site, subject = np.array([k[1] for k in scans]), np.array([k[0] for k in scans])
    arguments = dict(zip(("raw", "harmonized", "truth"), arrays, strict=True))
    weights = feature_weights(arrays[2], subject)
    card.dissection(place, {**arguments, "site": site, "subject": subject}, weights)


def _agreement(card: Card, place: str, table: "pd.DataFrame", volumes: Sequence[str]) -> None:
    """Score how well scanners and rescans of one person agree; pairs that nobody has are left out."""
    from mrsim.evaluation import MetricInputError, scan_rescan_cov, variance_table

    people = table["subject"].nunique()
    try:
        found = variance_table(table, volumes)
    except MetricInputError as error:
        why = str(error) if card.judged.travels else _ONE_SCANNER
        card.leave_out("agreement between scanners", place, why)
    else:
        people = int(found["n"].max())
        for metric in ("within_subject_cov", "scanner_share", "icc_2_1", "icc_3_1"):
            card.add(metric, float(found[metric].median()), place, people)
    rescans = [scan_rescan_cov(table, name) for name in volumes]
    measured = [value for value in rescans if math.isfinite(value)]
    if measured:
        card.add("scan_rescan_cov", statistics.median(measured), place, people)


def _ladder(card: Card, scanners: dict[str, Any]) -> list[dict[str, Any]]:
    """Pairwise CoV of volumes and of the WM/GM ratio: rescan, same vendor, across vendors, across fields."""
    import pandas as pd

    from mrsim.evaluation import MetricInputError, site_effect_ladder

    from .sidecar import field_strength

    judged = card.judged
    if "T1w" not in judged.contrasts:
        return []
    scans = judged.scans("T1w")
    names = complete([judged.features[k] for k in scans])
    volumes = [n for n in MEASURED_VOLUMES if n in names]
    rows = []
    for key in scans:
        row = judged.features[key]
        record = scanners[key[1]]
        rows.append(
            {
                "subject": key[0],
                "scanner": key[1],
                "vendor": record["vendor"],
                "field": field_strength(record),
                "repeat": key[2],
                **{n: row[n] for n in volumes},
                "wm_gm_ratio": row["intensity:wm"] / row["intensity:gm"],
            }
        )
    try:
        found = site_effect_ladder(
            pd.DataFrame(rows), [*volumes, "wm_gm_ratio"], rng=card.rng, n_boot=card.draws
        )
    except MetricInputError as error:
        why = str(error) if judged.travels else _ONE_SCANNER
        card.leave_out("ladder of site effects", "T1w", why)
        return []
    return [_rung(row) for row in table_rows(found)]


def _rung(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "feature": str(row["feature"]),
        "step": str(row["rung"]),
        "cov": float(row["cov"]),
        "low": float(row["ci_low"]),
        "high": float(row["ci_high"]),
        "n": int(row["n_pairs"]),
    }

"""Can a probe still tell the scanner? Scores of site probes, and the map of scans that the report shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .scorecard import Card, complete
from .scored import ScanKey

if TYPE_CHECKING:
    import numpy as np

    from mrsim.evaluation import ProbeOptions


@dataclass(frozen=True, kw_only=True)
class _Probed:
    """What the probes see: (scans, descriptors) of the method and of the raw data, same names."""

    scans: Sequence[ScanKey]
    own: "np.ndarray[Any, Any]"
    raw: "np.ndarray[Any, Any]"

    @property
    def site(self) -> list[str]:
        """Scanner of each scan."""
        return [key[1] for key in self.scans]

    @property
    def subject(self) -> list[str]:
        """Person of each scan."""
        return [key[0] for key in self.scans]


def site_scores(card: Card, contrast: str) -> None:
    """Score a site probe retrained on this method's output beside its null, a frozen probe and controls."""
    from mrsim.evaluation import ProbeOptions, frozen_probe, probe_site

    judged = card.judged
    probed = _probed(card, contrast)
    if probed is None:
        card.leave_out("site probe", contrast, "a probe needs two scanners that saw two people each")
        return
    options = ProbeOptions(n_permutations=max(1, int(card.settings["permutations"])))
    site, subject, people = probed.site, probed.subject, len(set(probed.subject))
    trained = probe_site(probed.own, site, subject, rng=card.rng, options=options)
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
        frozen = frozen_probe(probed.raw, probed.own, site, subject, rng=card.rng, options=options)
        entry["frozen"] = frozen.balanced_accuracy
        card.add("site_frozen_accuracy", frozen.excess, contrast, people)
    entry |= _controls(card, probed, options)
    card.details["probe"][contrast] = entry
    card.add("site_balanced_accuracy", trained.balanced_accuracy, contrast, people, low, high)
    card.add("site_excess", trained.excess, contrast, people)
    _embedding(card, contrast, probed)


def _probed(card: Card, contrast: str) -> _Probed | None:
    """Collect the descriptors of a contrast; None where too few sites or people are left."""
    import numpy as np

    judged = card.judged
    own, raw = judged.descriptors, judged.raw_descriptors
    if judged.kind == "feature":
        own, raw = judged.features, judged.raw_features
    scans = [k for k in judged.scans(contrast, own) if k in raw]
    seen = {site: {k[0] for k in scans if k[1] == site} for site in {k[1] for k in scans}}
    if len(seen) < 2 or len({k[0] for k in scans}) < 3 or min(map(len, seen.values())) < 2:
        return None
    rows, raw_rows = [own[k] for k in scans], [raw[k] for k in scans]
    names = complete(rows, raw_rows)
    matrix, before = (np.array([[row[n] for n in names] for row in t]) for t in (rows, raw_rows))
    return _Probed(scans=scans, own=matrix, raw=before)


def _controls(card: Card, probed: _Probed, options: "ProbeOptions") -> dict[str, float]:
    """Balanced accuracy of the other probes that the study asks for.

    The mask alone and age with sex tell how far sites differ by who was scanned; a forest, whether the
    linear probe misses something.
    """
    import numpy as np

    from mrsim.evaluation import ProbeOptions, demographics_matrix, mask_descriptors, probe_site

    judged, subject = card.judged, probed.subject

    def accuracy(matrix: "np.ndarray[Any, Any]", options: ProbeOptions) -> float:
        found = probe_site(matrix, probed.site, subject, rng=card.rng, options=options)
        return found.balanced_accuracy

    probes, found = card.settings["probes"], {}
    if "mask" in probes:
        voxel = {s: np.linalg.norm(m["affine"][:3, :3], axis=0) for s, m in judged.maps.items()}
        masks = [mask_descriptors(judged.maps[s]["mask"], voxel[s]) for s in subject]
        flat = np.array([[row[n] for n in masks[0]] for row in masks])
        found["mask_only"] = accuracy(flat, options)
    if "demographics" in probes:
        known = demographics_matrix({n: [judged.people[s][n] for s in subject] for n in ("age", "sex")})
        found["demographics"] = accuracy(known, options)
    if "forest" in probes:
        forest = ProbeOptions(model="forest", n_permutations=min(20, options.n_permutations))
        found["forest"] = accuracy(probed.own, forest)
    return found


def _embedding(card: Card, contrast: str, probed: _Probed) -> None:
    """Place the scans on two principal axes of the raw ones; every method is shown on these same axes."""
    import numpy as np

    matrix, raw = probed.own, probed.raw
    centre, spread = raw.mean(axis=0), raw.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    axes = np.linalg.svd((raw - centre) / spread, full_matrices=False)[2][:2]
    # The sign of an axis is free: make its largest weight positive.
    axes *= np.sign(axes[np.arange(len(axes)), np.argmax(np.abs(axes), axis=1)])[:, None]
    places = (matrix - matrix.mean(axis=0)) / spread @ axes.T
    for (subject, session, run, _), (x, y) in zip(probed.scans, places, strict=True):
        card.details["embedding"].append(
            {
                "contrast": contrast,
                "subject": subject,
                "session": session,
                "run": run,
                "x": float(x),
                "y": float(y),
            }
        )

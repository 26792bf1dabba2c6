"""What one method is judged on: its images and features beside the raw ones and the truth, as arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .stage import StageContext
from .stage_harmonize import people, read_row
from .stage_scan import load_maps
from .volumes import load_volume

if TYPE_CHECKING:
    import numpy as np

ScanKey = tuple[str, str, int, str]
"""Subject, session, run, contrast."""
MEASURED_VOLUMES: Mapping[str, tuple[str, ...]] = {
    "volume:ventricles": ("ventricles",),
    "volume:cortex": ("cortical_gm",),
    "volume:cerebral_wm": ("cerebral_wm",),
    "volume:deep_gm": ("thalamus", "caudate", "putamen", "pallidum"),
    "volume:hippocampus": ("hippocampus",),
    "volume:cerebellum": ("cerebellum_gm", "cerebellum_wm"),
    "volume:brainstem": ("brainstem",),
}
"""Measured volume -> true regions that it should equal."""


def scan_key(key: Mapping[str, str | int]) -> ScanKey:
    """Identity of a scan from a cell's key."""
    return str(key["subject"]), str(key["session"]), int(key["run"]), str(key["contrast"])


def _rows(ctx: StageContext, role: str, name: str) -> dict[ScanKey, dict[str, float]]:
    return {scan_key(key): read_row(folder / name) for key, folder in ctx.keyed(role)}


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One method of one study.

    images, raw : folder of each scan's image (the method's, the raw one);
    truth : folder of each subject's and contrast's counterfactual;
    features, raw_features, truth_features : rows of numbers;
    descriptors, raw_descriptors : image descriptors of the site probe;
    maps : arrays of each subject;  people : truth block of each subject;
    design : which scanner sees whom (`[cohort.design]`);  planted : planted effects by region.
    """

    method: str
    kind: str
    images: dict[ScanKey, Path]
    raw: dict[ScanKey, Path]
    truth: dict[tuple[str, str], Path]
    features: dict[ScanKey, dict[str, float]]
    raw_features: dict[ScanKey, dict[str, float]]
    truth_features: dict[tuple[str, str], dict[str, float]]
    descriptors: dict[ScanKey, dict[str, float]]
    raw_descriptors: dict[ScanKey, dict[str, float]]
    map_folders: dict[str, Path]
    people: dict[str, dict[str, Any]]
    design: Mapping[str, Any]
    planted: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, ctx: StageContext) -> "Judged":
        """Collect the inputs of an evaluation cell; what failed is simply not there."""
        kind = str(ctx.params["kind"])
        truth = {(k[0], k[3]): f for k, f in ((scan_key(key), f) for key, f in ctx.keyed("truth"))}
        reference = _rows(ctx, "truth_features", "features.json")
        feature_kind = kind == "feature"
        return cls(
            method=str(ctx.key["method"]),
            kind=kind,
            images={} if feature_kind else {scan_key(k): f for k, f in ctx.keyed("images")},
            raw={scan_key(k): f for k, f in ctx.keyed("raw")},
            truth=truth,
            features=_tables(ctx) if feature_kind else _rows(ctx, "features", "features.json"),
            raw_features=_rows(ctx, "raw_features", "features.json"),
            truth_features={(k[0], k[3]): row for k, row in reference.items()},
            descriptors={} if feature_kind else _rows(ctx, "features", "descriptors.json"),
            raw_descriptors=_rows(ctx, "raw_features", "descriptors.json"),
            map_folders={str(key["subject"]): folder for key, folder in ctx.keyed("maps")},
            people=people(ctx.keyed("phantoms")),
            design=ctx.params["design"],
            planted=ctx.params["planted"],
        )

    @property
    def travels(self) -> bool:
        """Whether everybody is seen on every scanner."""
        return bool(self.design["kind"] == "traveling")

    @cached_property
    def maps(self) -> dict[str, dict[str, Any]]:
        """Mask and fractions of each subject, loaded once."""
        wanted = ("mask", "fractions", "affine")
        return {s: {n: load_maps(f)[n] for n in wanted} for s, f in self.map_folders.items()}

    @property
    def contrasts(self) -> tuple[str, ...]:
        """Contrasts that this method has, in a fixed order."""
        found = {key[3] for key in self.features}
        return tuple(c for c in ("T1w", "T2w", "FLAIR") if c in found)

    def scans(self, contrast: str, table: Mapping[ScanKey, Any] | None = None) -> list[ScanKey]:
        """List the scans of a contrast with everything that a comparison needs, in a fixed order."""
        own = self.features if table is None else table
        return sorted(
            key
            for key in own
            if key[3] == contrast and key in self.raw_features and (key[0], contrast) in self.truth_features
        )

    def volumes(self, folders: Sequence[Path]) -> "list[np.ndarray[Any, Any]]":
        """Images of some folders, float32."""
        return [load_volume(folder / "image.nii.gz")[0] for folder in folders]

    def true_volume(self, subject: str, name: str) -> float:
        """Return the true volume of a measured one [mL]."""
        achieved = self.people[subject]["volumes_ml"]
        return float(sum(achieved[region] for region in MEASURED_VOLUMES[name]))

    def plants_age(self, name: str) -> bool:
        """Return whether the cohort plants an effect of age on a measured volume.

        A region without a law of its own follows the others.
        """
        parts = [r for r in MEASURED_VOLUMES[name] if r in self.planted] or list(self.planted)
        return any(slope != 0 for r in parts for slope in self.planted[r]["age_log_per_year"])

    def planted_effect(self, name: str, diagnosis: str) -> tuple[float | None, float | None]:
        """Return log ratio and Cohen's d of a diagnosis in a measured volume; None where its parts differ."""
        parts = [self.planted.get(region, {}) for region in MEASURED_VOLUMES[name]]
        found = (
            {part.get(key, {}).get(diagnosis) for part in parts} for key in ("diagnosis_log", "diagnosis_d")
        )
        log, d = (values.pop() if len(values) == 1 else None for values in found)
        return log, d


def _tables(ctx: StageContext) -> dict[ScanKey, dict[str, float]]:
    """Rows of harmonized feature tables."""
    import json

    out: dict[ScanKey, dict[str, float]] = {}
    for _, folder in ctx.keyed("features"):
        for row in json.loads((folder / "table.json").read_text()):
            out[scan_key(row)] = {name: float(value) for name, value in row["features"].items()}
    return out

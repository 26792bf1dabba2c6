"""Stages of an attribution: the scan of one state, and the split of the difference into causes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import seeds
from .attribute_measures import (
    ImageMeasures,
    complete_names,
    feature_differences,
    measure_of,
    white_matter,
)
from .attribute_output import Split, write_results
from .canonical import pretty_json
from .records import from_record
from .stage import MIB, Cost, StageContext

if TYPE_CHECKING:
    import numpy as np

    from mrsim.evaluation import Coalition


def scan(ctx: StageContext) -> None:
    """Simulate one state of a scanner: ``raw.h5`` (ISMRMRD) and ``session.json``."""
    from dataclasses import replace

    import numpy as np

    from mrsim.simulation import Session, SimulationOptions, simulate, write_ismrmrd
    from phantoms import load_phantom
    from protocols import Protocol, Scanner, read_seq

    from .noise_scan import noise_scan_only
    from .stage_scan import brain_centroid, head_center

    p = ctx.params
    head = load_phantom(ctx.one("phantom") / "phantom.h5")
    played = read_seq(ctx.one("sequence") / "sequence.seq")
    session = from_record(Session, p["session"])
    pose = replace(session.pose, pivot=brain_centroid(head))
    moved = pose.matrix[:3, :3] @ pose.pivot + pose.matrix[:3, 3]
    session = replace(session, pose=pose, pivot=tuple(moved.tolist()))
    prescription = replace(from_record(Protocol, p["card"]).prescription(), center=head_center(head))
    # The noise of the study's own scan, whatever else is switched off.
    rng = ctx.rng if p["draws"] is None else seeds.stream(ctx.seed, "scan", p["draws"])
    if not p["noise"]:
        rng = noise_scan_only(rng, played.label("NOISE") > 0)
    raw = simulate(
        head,
        played,
        from_record(Scanner, p["scanner"]),
        prescription,
        rng=rng,
        session=session,
        options=from_record(SimulationOptions, p["options"]),
    )
    write_ismrmrd(ctx.out_dir / "raw.h5", raw)
    recipe = {**raw.recipe, "center_m": np.asarray(prescription.center).tolist()}
    (ctx.out_dir / "session.json").write_bytes(pretty_json(recipe))


def scan_cost(params: Mapping[str, Any]) -> Cost:
    """Return what a scan is expected to take: linear in its samples, dearer with every field that acts."""
    card = params["card"]
    nx, ny, nz = (int(v) for v in card["geometry"]["matrix"])
    lines = ny * nz / max(1, int(card["acceleration"]["phase"]))
    coils = int(params["options"]["channels"] or params["scanner"]["receive"]["simulated_channels"])
    samples = lines * nx * int(card["readout"]["oversampling"]) * coils
    return Cost(
        core_seconds=(2.0 + 3.5e-7 * samples) * _effort(params),
        memory=int(900 * MIB + 30 * samples),
        size=int(8 * samples),
    )


def _effort(params: Mapping[str, Any]) -> float:
    """Return how many times a scan costs what one in perfect fields does (measured on a 4 mm MPRAGE)."""
    scanner, session, options = (params[name] for name in ("scanner", "session", "options"))
    off_resonance = scanner["field"]["susceptibility"] or any(session["shim_error"])
    response = any(scanner["response"]["delay"]) or scanner["response"]["eddy"]
    return (
        1.0
        + (3.0 if options["b0"] and off_resonance else 0.0)
        + (2.0 if response or scanner["response"]["low_pass"] else 0.0)
        + (2.0 if scanner["gradients"]["coil"] != "none" else 0.0)
    )


def attribution(ctx: StageContext) -> None:
    """Split the difference: ``attribution.tsv``, ``attribution.json`` and ``report.html``."""
    from mrsim.evaluation import Game, attribute

    p = ctx.params
    game = Game(players=tuple(p["players"]), orders=tuple(map(tuple, p["orders"])))
    table = _Table(ctx)
    rows = {frozenset(pair["causes"]): table.row(*pair["images"]) for pair in p["pairs"]}
    names, lost = complete_names(list(rows.values()))
    values = {coalition: [row[name] for name in names] for coalition, row in rows.items()}
    found = attribute(game, values, confidence=float(p["confidence"]))
    split = Split(
        params=p,
        game=game,
        measures=tuple(measure_of(name) for name in names),
        lost=tuple(lost),
        found=found,
        values=values,
    )
    write_results(ctx.out_dir, split, table.pictures())


class _Table:
    """Rows of measures, one per pair of images."""

    def __init__(self, ctx: StageContext) -> None:
        from .stage_scan import load_maps

        self._wanted = tuple(ctx.params["measures"])
        self._pairs: dict[Coalition, tuple[str, str]] = {
            frozenset(pair["causes"]): tuple(pair["images"]) for pair in ctx.params["pairs"]
        }
        self._players = tuple(ctx.params["players"])
        self._images = {str(key["state"]): folder for key, folder in ctx.keyed("images")}
        self._features: dict[str, Path] = {}
        if "features" in self._wanted:
            self._features = {str(key["state"]): folder for key, folder in ctx.keyed("features")}
        maps = load_maps(ctx.one("maps"))
        self._mask = maps["mask"].astype(bool)
        full = self._load(self._pairs[frozenset(self._players)])
        white = white_matter(maps["fractions"][2], self._mask)
        self._compare = ImageMeasures(full, self._mask, white)

    def _load(self, names: tuple[str, str]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        from .volumes import load_volume

        first, second = (load_volume(self._images[name] / "image.nii.gz")[0] for name in names)
        return first, second

    def row(self, first: str, second: str) -> dict[str, float]:
        """Return all measures of a pair of images, by the names of their states."""
        found: dict[str, float] = {}
        if "image" in self._wanted:
            found |= self._compare(*self._load((first, second)))
        if "features" in self._wanted:
            a, b = (_row(self._features[name] / "features.json") for name in (first, second))
            found |= feature_differences(a, b)
        return found

    def pictures(self) -> dict[str, Any]:
        """Return what the report draws: the two images, and difference images by cause, over WM's median."""
        everyone = frozenset(self._players)
        first, second = (self._compare.scaled(image, "wm") for image in self._load(self._pairs[everyone]))
        differences = {"": second - first}
        for name in self._players:
            a, b = (self._compare.scaled(image, "wm") for image in self._load(self._pairs[frozenset([name])]))
            differences[name] = b - a
        return {
            "mask": self._mask, "reference_image": first, "other_image": second, "differences": differences,
        }  # fmt: skip


def _row(path: Path) -> dict[str, float]:
    values = json.loads(path.read_text())
    return {name: float("nan") if value is None else float(value) for name, value in values.items()}

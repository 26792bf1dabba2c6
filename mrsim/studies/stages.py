"""All stages of a study, with what they are expected to cost."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from . import attribute_stages, stage_evaluate, stage_harmonize, stage_report, stage_scan
from .stage import MIB, Cost, Stage

_HEAD = 0.18 * 0.23 * 0.21
"""Volume of the box around a head with its neck [m^3]."""


def _voxels(voxel_size: float) -> float:
    return _HEAD / voxel_size**3


def _phantom_cost(params: Mapping[str, Any]) -> Cost:
    n = _voxels(float(params["voxel_size"]))
    return Cost(core_seconds=3.0 + 1.5e-6 * n, memory=int(1600 * MIB + 100 * n), size=int(2 * n))


def _scan_cost(params: Mapping[str, Any]) -> Cost:
    card, options = params["card"], params["options"]
    nx, ny, nz = (int(v) for v in card["geometry"]["matrix"])
    lines = ny * nz / max(1, int(card["acceleration"]["phase"]))
    coils = int(options["coils"] or params["scanner"]["receive"]["simulated_channels"])
    samples = lines * nx * int(card["readout"]["oversampling"]) * coils
    return Cost(
        core_seconds=2.0 + 3.5e-7 * samples, memory=int(900 * MIB + 30 * samples), size=int(8 * samples)
    )


def _image_cost(params: Mapping[str, Any]) -> Cost:
    nx, ny, nz = (int(v) for v in params["card"]["geometry"]["matrix"])
    coils = int(params["scanner"]["receive"]["simulated_channels"])
    n = nx * ny * nz
    return Cost(core_seconds=0.5 + 1e-7 * n * coils, memory=int(500 * MIB + 40 * n * coils), size=2 * n)


def _same(cost: Cost, params: Mapping[str, Any]) -> Cost:
    return cost


def _fixed(seconds: float, mib: int, size: int = 0) -> Callable[[Mapping[str, Any]], Cost]:
    """Cost that does not depend on parameters (a partial, since stages travel to worker processes)."""
    return partial(_same, Cost(core_seconds=seconds, memory=mib * MIB, size=size))


STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage(name="phantom", version="1", run=stage_scan.phantom, cost=_phantom_cost),
        Stage(name="sequence", version="1", run=stage_scan.sequence, cost=_fixed(3.0, 300, 2 * MIB)),
        Stage(name="scan", version="6", run=stage_scan.scan, cost=_scan_cost),
        Stage(name="recon", version="2", run=stage_scan.recon, cost=_image_cost),
        Stage(name="maps", version="2", run=stage_scan.maps, cost=_fixed(2.0, 700, 8 * MIB)),
        Stage(name="align", version="1", run=stage_scan.align, cost=_fixed(0.5, 400, 3 * MIB)),
        Stage(name="features", version="1", run=stage_harmonize.features, cost=_fixed(0.7, 500)),
        Stage(name="harmonize_fit", version="1", run=stage_harmonize.harmonize_fit, cost=_fixed(1.5, 400)),
        Stage(name="harmonize", version="1", run=stage_harmonize.harmonize, cost=_fixed(0.3, 400, 3 * MIB)),
        Stage(
            name="feature_harmonize",
            version="1",
            run=stage_harmonize.feature_harmonize,
            cost=_fixed(0.5, 300),
        ),
        Stage(name="evaluate", version="3", run=stage_evaluate.evaluate, cost=_fixed(10.0, 1200)),
        Stage(name="dataset", version="3", run=stage_report.dataset, cost=_fixed(0.1, 200)),
        Stage(name="report", version="3", run=stage_report.report, cost=_fixed(10.0, 800, 8 * MIB)),
    )
}
"""Stages by name, for planning and running."""

ATTRIBUTION_STAGES: dict[str, Stage] = STAGES | {
    stage.name: stage
    for stage in (
        Stage(name="attribute_scan", version="1", run=attribute_stages.scan, cost=attribute_stages.scan_cost),
        Stage(
            name="attribution", version="1", run=attribute_stages.attribution, cost=_fixed(10.0, 800, 4 * MIB)
        ),
    )
}
"""Stages of an attribution: those of a study, the scan of one state, and the split."""

"""A subject from its description to its maps; targets on two cores: 1 mm 60 s and 4 GiB, 2 mm 8 s."""

from __future__ import annotations

import json
import subprocess
import sys

from .measure import Row, cpu_seconds

_JOB = """
import json, resource, sys, time
start = time.perf_counter()
from phantoms import CohortSpec, make_subject, sample_cohort
size = float(sys.argv[1])
spec = CohortSpec(n_subjects=2, seed=2, age_range=(60, 80), lesions=1.0, texture=0.02)
times = []
for subject in sample_cohort(spec):
    made = make_subject(subject, voxel_size=size, fibres=True)
    times.append(time.perf_counter() - start)
    start = time.perf_counter()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"first": times[0], "next": times[1], "peak": peak / 1024**2}))
"""


def run() -> list[Row]:
    rows = []
    for size, limit in ((1e-3, 60.0), (2e-3, 8.0)):
        command = [sys.executable, "-c", _JOB, str(size)]
        subprocess.run(command, check=True, capture_output=True)  # compiles and fills the file cache
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        told = json.loads(done.stdout)
        name = f"{size * 1e3:g} mm, lesions, texture, fibres"
        target = f"{limit:g} s"
        rows += [
            Row(job=f"{name}: first, with imports and head", value=told["first"], unit="s",
                ratio=told["first"] / limit, against=target),
            Row(job=f"{name}: next", value=told["next"], unit="s", ratio=told["next"] / limit,
                against=target),
            Row(job=f"{name}: peak memory", value=told["peak"], unit="GiB", ratio=told["peak"] / 4,
                against="4 GiB"),
        ]  # fmt: skip
    return [*rows, *_kernels()]


def _kernels() -> list[Row]:
    """Parts of the deformation, on the velocity's grid of the packaged head."""
    import numpy as np

    from phantoms.cohorts.deformation import exponential, potential_velocity, random_velocity
    from phantoms.cohorts.laws import LAWS
    from phantoms.cohorts.template import prepared, warp

    template = prepared(None, tuple(LAWS))
    grid = template.grid
    v = random_velocity(grid, np.random.default_rng(1))
    nodes = float(np.prod(grid.shape))
    u = exponential(v, grid.spacing)
    fine = np.full(3, 1e-3)
    voxels = float(np.prod(warp(template, u, 1.0, fine, 1).fractions.shape[1:]))
    return [
        Row(job="exponential of a velocity field, per node",
            value=1e9 * cpu_seconds(lambda: exponential(v, grid.spacing)) / nodes, unit="CPU-ns"),
        Row(job="Poisson solve and gradient, per node",
            value=1e9 * cpu_seconds(lambda: potential_velocity(v[0], grid.spacing)) / nodes, unit="CPU-ns"),
        Row(job="warp of all tissues at 1 mm, per voxel",
            value=1e9 * cpu_seconds(lambda: warp(template, u, 1.0, fine, 1)) / voxels, unit="CPU-ns"),
    ]  # fmt: skip

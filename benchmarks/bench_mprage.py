"""A whole-head MPRAGE at 1 mm with 32 coils by the k-space engine, in a process of its own.

256 x 256 x 176, B0, B1+ and T2*, tolerance 1 %. Compared with its bare Fourier transforms (one complex64 FFT
of the acquired grid, 512 x 256 x 176 with oversampling, for each coil and term, on as many threads) and with
the exact engine on the same job, extrapolated: its cost model (`mrsim.simulation.bloch.cost`, measured
spin-samples per second) times 16 spins for each occupied voxel and tissue. Smaller jobs show how time grows
with coils and terms.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from .measure import Row, peak_memory

TOLERANCE, SPINS = 1e-2, 16


def _card(voxel: float) -> Any:
    """MPRAGE of 256 x 256 x 176 mm, sagittal."""
    from protocols import Protocol, Provenance
    from protocols.cards.settings import Geometry, Readout, Rf, Timing

    origin = Provenance(source="benchmark", verified=False)
    source = dict.fromkeys(("geometry", "timing", "rf", "readout"), origin)
    card = Protocol(
        name="bench-mprage", title="MPRAGE", study="benchmark", scanner="siemens-prisma-3t",
        sequence="mprage", suffix="T1w", provenance=source,
        geometry=Geometry(orientation="sagittal", fov=(0.256, 0.256, 0.176), matrix=(256, 256, 176)),
        timing=Timing(tr=2.3, te=2.9e-3, ti=0.9, echo_spacing=7.1e-3, turbo_factor=176, dummy_shots=1),
        rf=Rf(flip_deg=9.0, inversion="hypsec"), readout=Readout(bandwidth=240.0),
    )  # fmt: skip
    return card.at_resolution(voxel)


def _job(voxel: float, coils: int, tolerance: float) -> dict[str, float]:
    """Simulate once; wall seconds, peak memory and what the comparison needs."""
    import numpy as np
    from scipy import fft

    from mrsim.simulation import SimulationOptions, simulate
    from mrsim.simulation.bloch.cost import estimated_seconds
    from mrsim.simulation.gradients import GradientSystem
    from phantoms import icbm152_head
    from protocols import load_scanner, read_seq, write_seq

    card, scanner = _card(voxel), load_scanner("siemens-prisma-3t")
    head = icbm152_head(voxel)
    with tempfile.TemporaryDirectory() as folder:
        write_seq(Path(folder) / "scan.seq", card, scanner)
        sequence = read_seq(Path(folder) / "scan.seq")
    options = SimulationOptions(channels=coils, tolerance=tolerance)
    start = time.perf_counter()
    raw = simulate(
        head, sequence, scanner, card.prescription(), rng=np.random.default_rng(0), options=options,
        gradients=GradientSystem(),
    )  # fmt: skip
    seconds = time.perf_counter() - start
    memory = peak_memory()
    terms = raw.recipe["engine"]["transforms_per_coil"]
    x, y, z = card.geometry.matrix
    grid = np.ones((y, z, 2 * x), np.complex64)
    del raw
    fft.fftn(grid, workers=2)
    bare = []
    for _ in range(5):
        begin = time.perf_counter()
        fft.fftn(grid, workers=2)
        bare.append(time.perf_counter() - begin)
    points = int(sum(np.count_nonzero(f) for f in head.fractions)) * SPINS
    exact = estimated_seconds(sequence, points, coils=coils, workers=2, double=False)
    transform = float(np.median(bare))
    return {"seconds": seconds, "memory": memory, "terms": terms, "fft": transform, "exact": exact}


def _child(voxel: float, coils: int, tolerance: float) -> dict[str, float]:
    job = f"_job({voxel}, {coils}, {tolerance})"
    code = f"from benchmarks.bench_mprage import _job; import json; print(json.dumps({job}))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def run() -> list[Row]:
    """Run the jobs, each in a process of its own."""
    whole = _child(1e-3, 32, TOLERANCE)
    bare = whole["fft"] * whole["terms"] * 32
    rows = [
        Row(job="256 x 256 x 176, 32 coils", value=whole["seconds"] / 60, unit="min",
            ratio=whole["seconds"] / bare, against=f"{whole['terms']:.0f} terms x 32 bare FFTs"),
        Row(job="peak memory", value=whole["memory"], unit="MB"),
        Row(job="exact engine, extrapolated", value=whole["exact"] / 3600, unit="h",
            ratio=whole["exact"] / whole["seconds"], against="k-space engine"),
    ]  # fmt: skip
    first = None
    for coils in (8, 16, 32):
        part = _child(2e-3, coils, TOLERANCE)
        first = first or part["seconds"] / coils
        job = f"2 mm, {coils} coils, {part['terms']:.0f} terms"
        ratio = part["seconds"] / coils / first
        rows.append(Row(job=job, value=part["seconds"], unit="s", ratio=ratio, against="time per coil of 8"))
    for tolerance in (3e-2, 1e-3):
        part = _child(2e-3, 32, tolerance)
        rows.append(Row(job=f"2 mm, 32 coils, tolerance {tolerance:g}: {part['terms']:.0f} terms",
                        value=part["seconds"] / part["terms"], unit="s per term"))  # fmt: skip
    return rows

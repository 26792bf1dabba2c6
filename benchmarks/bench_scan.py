"""One scan of the demo, stage by stage, in a process of its own (for its peak memory).

2 mm images of a head on 1.6 mm, six coils, tolerance 0.02. The bound of the simulation is what its Fourier
transforms alone cost: one for each coil and term.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .measure import REPEATS, Row, peak_memory

CARDS = {"MPRAGE": "onharmony-prisma-t1w-mprage", "FLAIR": "onharmony-prisma-flair-space"}
VOXEL, PHANTOM_VOXEL = 2e-3, 1.6e-3
COILS, TOLERANCE = 6, 0.02


def _once(card_name: str, folder: Path) -> tuple[dict[str, float], dict[str, float]]:
    """CPU seconds of each stage, and the engine's own figures."""
    import numpy as np

    from mrsim.simulation import SimulationOptions, draw_session, simulate, write_ismrmrd
    from phantoms import icbm152_head
    from protocols import load_protocol, load_scanner, read_seq, write_seq
    from recon import read_raw, reconstruct, write_nifti

    card = load_protocol(card_name).at_resolution(VOXEL)
    scanner = load_scanner(card.scanner)
    head = icbm152_head(PHANTOM_VOXEL)
    visit = draw_session(scanner, np.random.default_rng(1), pivot=np.zeros(3))
    marks = {"start": time.process_time()}
    write_seq(folder / "scan.seq", card, scanner)
    marks["build and write .seq"] = time.process_time()
    sequence = read_seq(folder / "scan.seq")
    marks["read .seq"] = time.process_time()
    options = SimulationOptions(channels=COILS, tolerance=TOLERANCE)
    raw = simulate(
        head,
        sequence,
        scanner,
        card.prescription(),
        rng=np.random.default_rng(2),
        session=visit,
        options=options,
    )
    marks["simulate"] = time.process_time()
    write_ismrmrd(folder / "scan.h5", raw)
    marks["write ISMRMRD"] = time.process_time()
    measured = read_raw(folder / "scan.h5")
    marks["read ISMRMRD"] = time.process_time()
    image = reconstruct(measured)
    marks["reconstruct"] = time.process_time()
    write_nifti(folder / "scan.nii.gz", image)
    marks["write NIfTI"] = time.process_time()
    names, times = list(marks), list(marks.values())
    spent = {name: after - before for name, before, after in zip(names[1:], times, times[1:], strict=False)}
    return spent, raw.recipe["engine"]


def _transform_seconds(card_name: str, folder: Path) -> float:
    """CPU seconds of one Fourier transform of the head at the k-space positions of the scan."""
    import numpy as np

    from mrsim.simulation import Session, SimulationOptions
    from mrsim.simulation.kspace.encode import TensorEncoder
    from mrsim.simulation.kspace.train import timeline
    from mrsim.simulation.scanned import scan_object
    from phantoms import icbm152_head
    from protocols import load_protocol, load_scanner, read_seq

    from .measure import cpu_seconds

    card = load_protocol(card_name).at_resolution(VOXEL)
    scanner = load_scanner(card.scanner)
    readouts = timeline(read_seq(folder / "scan.seq"), f0=scanner.f0).readouts
    head = icbm152_head(PHANTOM_VOXEL)
    obj = scan_object(head, card.prescription(), scanner, Session(), SimulationOptions(b0=False, b1=False))
    offsets = readouts.offsets[0]
    across = readouts.base + offsets[0]
    k = [readouts.base[0, 0] + offsets[:, 0], *(np.unique(np.round(across[:, a], 2)) for a in (1, 2))]
    encoder = TensorEncoder.build(obj.placed.grid, *k)
    image = obj.placed.fractions.sum(axis=0).astype(np.complex64)
    return cpu_seconds(lambda: encoder.forward(image))


def _measure(card_name: str) -> None:
    import statistics

    with tempfile.TemporaryDirectory() as name:
        runs = [_once(card_name, Path(name)) for _ in range(REPEATS + 1)][1:]  # the first one compiles
        memory = peak_memory()
        transform = _transform_seconds(card_name, Path(name))
    stages = {stage: statistics.median(run[0][stage] for run in runs) for stage in runs[0][0]}
    print(json.dumps({"stages": stages, "engine": runs[0][1], "memory": memory, "transform": transform}))


def run() -> list[Row]:
    rows = []
    for label, card in CARDS.items():
        code = f"from benchmarks.bench_scan import _measure; _measure({card!r})"
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        total = sum(found["stages"].values())
        rows += [
            Row(
                job=f"{label} {stage}",
                value=seconds,
                unit="CPU-s",
                ratio=seconds / total,
                against="whole scan",
            )
            for stage, seconds in found["stages"].items()
        ]
        transforms = COILS * found["engine"]["transforms_per_coil"]
        bare = transforms * found["transform"]
        simulate = found["stages"]["simulate"]
        rows += [
            Row(job=f"{label} whole scan", value=total, unit="CPU-s"),
            Row(job=f"{label} {transforms:.0f} bare transforms", value=bare, unit="CPU-s",
                ratio=simulate / bare, against="simulate / bare"),
            Row(job=f"{label} peak memory", value=found["memory"], unit="MB"),
        ]  # fmt: skip
    return rows

"""One 2 mm scan of the 1 mm head, stage by stage, in a process of its own (for its peak memory)."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .measure import REPEATS, Row, peak_memory

CARDS = {"MPRAGE": "onharmony-prisma-t1w-mprage", "FLAIR": "onharmony-prisma-flair-space"}
VOXEL = 2e-3


def _once(card_name: str, folder: Path) -> tuple[dict[str, float], dict[str, float]]:
    """CPU seconds of each stage, and the engine's own figures."""
    import numpy as np

    from mrsim.simulation import draw_session, simulate, write_ismrmrd
    from phantoms import icbm152_head
    from protocols import load_protocol, load_scanner, read_seq, write_seq
    from recon import read_raw, reconstruct, write_nifti

    card = load_protocol(card_name).at_resolution(VOXEL)
    scanner = load_scanner(card.scanner)
    head = icbm152_head(1e-3)
    visit = draw_session(scanner, np.random.default_rng(1), pivot=np.zeros(3))
    marks = {"start": time.process_time()}
    write_seq(folder / "scan.seq", card, scanner)
    marks["build and write .seq"] = time.process_time()
    sequence = read_seq(folder / "scan.seq")
    marks["read .seq"] = time.process_time()
    raw = simulate(head, sequence, scanner, card.prescription(), rng=np.random.default_rng(2), session=visit)
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
    return spent, {"channels": raw.channels, **raw.recipe["engine"]}


def _measure(card_name: str) -> None:
    import statistics

    with tempfile.TemporaryDirectory() as name:
        runs = [_once(card_name, Path(name)) for _ in range(REPEATS + 1)][1:]  # the first one compiles
    stages = {stage: statistics.median(run[0][stage] for run in runs) for stage in runs[0][0]}
    print(json.dumps({"stages": stages, "engine": runs[0][1], "memory": peak_memory()}))


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
        engine = found["engine"]
        rows += [
            Row(job=f"{label} whole scan", value=total, unit="CPU-s"),
            Row(job=f"{label} transforms per coil", value=engine["transforms_per_coil"], unit="1"),
            Row(job=f"{label} coils", value=engine["channels"], unit="1"),
            Row(job=f"{label} peak memory", value=found["memory"], unit="MB"),
        ]
    return rows

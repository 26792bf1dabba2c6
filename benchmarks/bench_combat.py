"""ComBat and ComBat-GAM on 1000 samples of ten sites beside neuroCombat and neuroHarmonize, same tables.

Every tool runs in a process of its own that loads the table: CPU seconds and peak memory of the process,
import included, medians of REPEATS. Peers stay outside, since they pin numpy < 2: MRSIM_PEERS names Python
interpreters (one, or several joined by the path separator) that have them, see ``peers/requirements.txt``.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from .measure import Row

SAMPLES, SITES, REPEATS = 1000, 10, 3
PEERS = {"neurocombat": "neuroCombat", "neuroharmonize": "neuroHarmonize"}
GAM_PEER_FEATURES = 20
"""About one CPU second per feature: the peer is measured on few."""
STREAMED = 1_000_000
SCRIPT = Path(__file__).with_name("peers") / "harmonize_table.py"


def _write_table(folder: Path, features: int) -> None:
    """Made-up features: age slope, site shifts and scales, noise."""
    rng = np.random.default_rng(0)
    index = np.arange(SAMPLES) % SITES
    covariates = np.column_stack([(rng.uniform(40, 160, SAMPLES).round() / 2), rng.integers(0, 2, SAMPLES)])
    shift, scale = rng.normal(0, 0.5, (SITES, features)), rng.gamma(20, 0.05, (SITES, features))
    values = rng.standard_normal((SAMPLES, features))
    values *= scale[index]
    values += shift[index] + 3.0 + 0.01 * covariates[:, :1]
    np.save(folder / "features.npy", values)
    np.save(folder / "site.npy", np.array([f"site{i}" for i in range(SITES)])[index])
    np.save(folder / "covariates.npy", covariates)


def _run(tool: str, python: str, folder: Path, repeats: int = REPEATS) -> tuple[float, float]:
    """Median CPU seconds and peak memory [GiB] of a tool on the table in a folder."""
    runs = []
    for _ in range(repeats):
        done = subprocess.run(
            [python, str(SCRIPT), tool, str(folder)], check=True, capture_output=True, text=True
        )
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    seconds = statistics.median(run["cpu_seconds"] for run in runs)
    return seconds, statistics.median(run["peak_bytes"] for run in runs) / 2**30


def _interpreters() -> dict[str, str]:
    found: dict[str, str] = {}
    for python in filter(None, os.environ.get("MRSIM_PEERS", "").split(os.pathsep)):
        for tool, package in PEERS.items():
            code = f"import importlib.util as u, sys; sys.exit(u.find_spec({package!r}) is None)"
            if subprocess.run([python, "-c", code], check=False, capture_output=True).returncode == 0:
                found.setdefault(tool, python)
    return found


def _beside_peers(features: int, peers: dict[str, str]) -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_table(folder, features)
        seconds, peak = _run("mrsim", sys.executable, folder)
        label = f"{features} features"
        rows = [
            Row(job=f"ComBat, {label}", value=seconds, unit="CPU-s"),
            Row(job=f"ComBat, {label}, peak memory", value=peak, unit="GiB"),
        ]
        ours = np.load(folder / "mrsim.npy")
        for tool, python in peers.items():
            theirs, their_peak = _run(tool, python, folder)
            difference = float(np.abs(np.load(folder / f"{tool}.npy") - ours).max())
            peer = PEERS[tool]
            rows += [
                Row(job=f"{peer}, {label}", value=theirs, unit="CPU-s", ratio=theirs / seconds,
                    against="ComBat"),
                Row(job=f"{peer}, {label}, peak memory", value=their_peak, unit="GiB",
                    ratio=their_peak / peak, against="ComBat"),
                Row(job=f"{peer}, {label}, largest difference", value=difference, unit="of SD about 1"),
            ]  # fmt: skip
    return rows


def _gam(features: int, peers: dict[str, str]) -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_table(folder, features)
        seconds, _ = _run("mrsim_gam", sys.executable, folder)
        rows = [Row(job=f"ComBat-GAM, {features} features", value=seconds, unit="CPU-s")]
    if "neuroharmonize" not in peers:
        return rows
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_table(folder, GAM_PEER_FEATURES)
        theirs, _ = _run("neuroharmonize_gam", peers["neuroharmonize"], folder, repeats=1)
    per_feature = theirs / GAM_PEER_FEATURES
    return [
        *rows,
        Row(job="neuroHarmonize GAM, per feature", value=per_feature, unit="CPU-s",
            ratio=per_feature * features / seconds, against="ComBat-GAM"),
    ]  # fmt: skip


def stream(features: int = STREAMED) -> None:
    """Harmonize a table on disk into another; prints peak memory and CPU seconds of the process."""
    import time

    import h5py

    from mrsim.harmonizers import ComBat

    from .peers.harmonize_table import peak_bytes

    rng = np.random.default_rng(0)
    index, width = np.arange(SAMPLES) % SITES, 1000
    site = [f"site{i}" for i in index]
    age = rng.uniform(20, 80, (SAMPLES, 1))
    with tempfile.TemporaryDirectory() as name, h5py.File(Path(name) / "tables.h5", "w") as file:
        shape = (SAMPLES, features)
        source = file.create_dataset("features", shape, "f4", chunks=(SAMPLES, 250))
        target = file.create_dataset("harmonized", shape, "f4", chunks=(SAMPLES, 250))
        for start in range(0, features, width):
            shift = rng.normal(0, 0.5, (SITES, width)).astype("f4")
            noise = rng.standard_normal((SAMPLES, width), dtype="f4")
            source[:, start : start + width] = 3 + 0.01 * age + shift[index] + noise
        before = time.process_time()
        combat = ComBat().fit(source, site=site, covariates=age)
        for block, values in combat.transform_blocks(source, site=site, covariates=age):
            target[:, block] = values
        seconds = time.process_time() - before
    print(json.dumps({"cpu_seconds": seconds, "peak_gib": peak_bytes() / 2**30}))


def _streamed(features: int = STREAMED) -> list[Row]:
    code = f"from benchmarks.bench_combat import stream; stream({features})"
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=root)
    found = json.loads(done.stdout.splitlines()[-1])
    label = f"ComBat, {features} features from disk to disk"
    return [
        Row(job=label, value=found["cpu_seconds"], unit="CPU-s"),
        Row(job=f"{label}, peak memory", value=found["peak_gib"], unit="GiB"),
    ]


def run() -> list[Row]:
    peers = _interpreters()
    rows = [row for features in (10_000, 100_000) for row in _beside_peers(features, peers)]
    return rows + _gam(10_000, peers) + _streamed()

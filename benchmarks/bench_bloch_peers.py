"""The exact Bloch engine beside other simulators: the same tables of steps on the same spins.

2D spoiled gradient echo of 64 repetitions (4,096 samples) and single-shot spin-echo EPI (10,000 samples), one
thread, CPU seconds without compilation. Peers stay outside: MRSIM_PEERS names Python interpreters (one, or
several joined by the path separator) that have MRzeroCore or cmrsim; ``peers/*.py`` run in them.

MRzeroCore's voxels are boxes; in the gradient echo the engine therefore gives the signal of 256 spins per
voxel too, which is what the agreement is taken with. cmrsim gets isochromats without off-resonance.
"""

import json
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from mrsim.simulation.bloch import BlochOptions, simulate_cloud
from phantoms import PointCloud

from .bloch_jobs import Segment, body, gradient_echo, spin_echo_epi, step_table, to_sequence
from .measure import Row, SkippedBenchmark, cpu_seconds

PEERS = {"MRzeroCore": "play_mrzero.py", "cmrsim": "play_cmrsim.py"}
SHAPES = {"1e4": (100, 100), "1e5": (400, 250)}
TOO_LARGE = {("MRzeroCore", "SE-EPI 100x100", "1e5")}
"""Would need about 54 GB."""
SUB_SPINS = 256
LIMIT = 900.0
"""Seconds after which a peer is given up."""


def _jobs() -> dict[str, list[Segment]]:
    return {"GRE 64x64": gradient_echo(), "SE-EPI 100x100": spin_echo_epi()}


def _ours(cloud: PointCloud, job: list[Segment], spins: int = 1) -> tuple[float, np.ndarray]:
    """CPU seconds and signal, single precision on one thread."""
    sequence, heard = to_sequence(job), []
    options = BlochOptions(precision="single", threads=1, spins_per_voxel=spins)
    seconds = cpu_seconds(
        lambda: heard.append(simulate_cloud(cloud, sequence, options=options).samples[0]),
        repeats=5 if spins == 1 else 1, warm=spins == 1,
    )  # fmt: skip
    return seconds, heard[-1]


def _interpreters() -> dict[str, str]:
    """Peers that are there, with the interpreter that has each."""
    found: dict[str, str] = {}
    for python in filter(None, os.environ.get("MRSIM_PEERS", "").split(os.pathsep)):
        for package in PEERS:
            code = f"import importlib.util as u, sys; sys.exit(u.find_spec({package!r}) is None)"
            if subprocess.run([python, "-c", code], check=False, capture_output=True).returncode == 0:
                found.setdefault(package, python)
    return found


def _play(peer: str, python: str, cloud: PointCloud, job: list[Segment], voxel: np.ndarray) -> tuple:
    """Report and signal of a peer."""
    with tempfile.TemporaryDirectory() as folder:
        given, result = Path(folder, "job.npz"), Path(folder, "signal.npz")
        np.savez(
            given, table=step_table(job), position=cloud.position, pd=cloud.m0, t1=cloud.t1, t2=cloud.t2,
            b0=cloud.df, voxel=voxel,
        )  # fmt: skip
        driver = Path(__file__).parent / "peers" / PEERS[peer]
        single = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
        done = subprocess.run(
            [python, str(driver), str(given), str(result)], check=True, capture_output=True, text=True,
            timeout=LIMIT, env={**os.environ, **single},
        )  # fmt: skip
        return json.loads(done.stdout.splitlines()[-1]), np.load(result)["signal"]


def _nrmse(signal: np.ndarray, reference: np.ndarray) -> float:
    """Relative difference after one global complex factor."""
    factor = np.vdot(signal, reference) / np.vdot(signal, signal)
    return float(np.linalg.norm(factor * signal - reference) / np.linalg.norm(reference))


def _rows_of(peer: str, python: str, name: str, size: str, job: list[Segment], ours: float) -> list[Row]:
    cloud, point = body(SHAPES[size]), np.full(3, 1e-9)
    boxes = peer == "MRzeroCore" and name.startswith("GRE")
    if peer == "cmrsim":
        cloud = body(SHAPES[size], off_resonance=0.0)
    report, signal = _play(peer, python, cloud, job, np.diag(cloud.voxel) if boxes else point)
    title = f"{name}, {size} spins: {peer} {report['version']}"
    rows = [
        Row(job=title, value=report["cpu_s"], unit="CPU-s", ratio=report["cpu_s"] / ours, against="ours"),
        Row(job=f"{title}, peak memory", value=report["peak_mb"], unit="MB"),
    ]
    if boxes and size != "1e4":
        return rows
    seconds, reference = _ours(cloud, job, SUB_SPINS if boxes else 1)
    if boxes:
        rows.append(Row(job=f"{name}, {size} voxels x {SUB_SPINS} spins: ours", value=seconds, unit="CPU-s"))
    rows.append(Row(job=f"{title}, difference from ours", value=_nrmse(signal, reference), unit="NRMSE"))
    return rows


def run() -> list[Row]:
    peers = _interpreters()
    if not peers:
        raise SkippedBenchmark(
            "MRSIM_PEERS names no Python interpreter that has MRzeroCore or cmrsim: install them outside"
        )
    rows = []
    for name, job in _jobs().items():
        for size, shape in SHAPES.items():
            ours, _ = _ours(body(shape), job)
            samples = sum(s.count for s in job if s.adc) * shape[0] * shape[1]
            rows.append(Row(job=f"{name}, {size} spins: ours", value=ours, unit="CPU-s"))
            rows.append(
                Row(job=f"{name}, {size} spins: ours, rate", value=samples / ours, unit="spin-samples/s")
            )
            for peer, python in peers.items():
                if (peer, name, size) not in TOO_LARGE:
                    rows += _rows_of(peer, python, name, size, job, ours)
    return rows

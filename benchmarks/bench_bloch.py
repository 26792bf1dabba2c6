"""The exact Bloch engine: its kernels against what this core can do, and how its time and memory grow.

Kernels play hand-made windows of operations through the engine's own processor, 2^17 spins in its blocks,
single precision. A spin-sample of a readout is one complex multiply and one complex add, 8 operations in 6
instructions, so that two thirds of the multiply-add peak is the bound where additions share its units; four
samples a pass load 16 and store 8 bytes. A spin-step of a pulse is 64 operations, 36 bytes loaded and 12
stored. Two threads: work by CPU second of either, times two, and by the best wall time, which a busy machine
makes worse.

The GEMM is (coils x spins) @ (spins x samples) of complex64 on one thread, given its right-hand side ready;
the engine makes that matrix itself, a few samples at a time.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from threadpoolctl import threadpool_limits

from mrsim.simulation.bloch import BlochOptions, simulate_cloud
from mrsim.simulation.bloch.processor import Processor
from mrsim.simulation.bloch.program import Window
from mrsim.simulation.bloch.tables import PULSE, READ, Ops, Pulses, Spins, Steps

from .bloch_jobs import gradient_echo, scattered, to_sequence
from .measure import Row

SPINS = 1 << 17
RUN = 128
"""Samples from one exact phase to the next, as the engine takes in single precision."""
SAMPLE_OPERATIONS, STEP_OPERATIONS = 8, 64
SAMPLE_BYTES, STEP_BYTES = 24 / 4, 48
REPEATS = 7
_FAST: dict[str, Any] = {"fastmath": {"contract", "reassoc", "nsz"}, "error_model": "numpy"}


@njit(fastmath={"contract"}, error_model="numpy")
def _chains(x: np.ndarray, c: float, d: float, repeats: int) -> None:
    """Chains of multiply-adds in registers: 32 of each of four for every load and store."""
    c, d = x.dtype.type(c), x.dtype.type(d)
    for _ in range(repeats):
        for i in range(x.size):
            p, q, r, s = x[i], x[i] + d, x[i] - d, x[i] + c
            for _ in range(32):
                p, q, r, s = p * c + d, q * c + d, r * c + d, s * c + d
            x[i] = p + q + r + s


@njit(**_FAST)
def _triad(a: np.ndarray, b: np.ndarray, c: np.ndarray, repeats: int) -> None:
    """Two loads, a multiply-add and a store: 12 bytes each."""
    for j in range(repeats):
        s = a.dtype.type(j)
        for i in range(a.size):
            a[i] = b[i] + s * c[i]


def best(job: Callable[[], Any], repeats: int = REPEATS) -> tuple[float, float]:
    """Least CPU seconds and wall seconds after one unmeasured call: ceilings are what is reached at best."""
    job()
    found = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        job()
        found.append((time.process_time() - cpu, time.perf_counter() - wall))
    return min(c for c, _ in found), min(w for _, w in found)


def _ceilings() -> tuple[float, float, list[Row]]:
    """Multiply-add peak [operation/s], L1 bandwidth [byte/s], their rows."""
    x = np.zeros(1024, np.float32)
    peak = 256 * x.size * 20_000 / best(lambda: _chains(x, 0.5, 0.5, 20_000))[0]
    # 16 KB in all: three arrays and some room, half of a level 1 cache.
    arrays = [np.zeros(1344, np.float32) for _ in range(3)]
    speed = 12 * arrays[0].size * 200_000 / best(lambda: _triad(*arrays, 200_000))[0]
    a, b = (np.random.default_rng(i).random((1536, 1536), np.float32) for i in range(2))
    with threadpool_limits(1):
        sgemm = 2 * 1536**3 / best(lambda: a @ b)[0]
    return peak, speed, [
        Row(job="ceiling: float32 multiply-adds in registers", value=peak / 1e9, unit="GFLOP/s"),
        Row(job="ceiling: level 1 cache, loads and stores of a triad", value=speed / 1e9, unit="GB/s"),
        Row(job="sgemm", value=sgemm / 1e9, unit="GFLOP/s", ratio=sgemm / peak, against="multiply-adds"),
    ]  # fmt: skip


def _spins(coils: int = 0) -> Spins:
    rng = np.random.default_rng(0)
    psi = np.stack([*(rng.random((3, SPINS)) - 0.5) * 0.2, 20 * rng.standard_normal(SPINS), np.ones(SPINS)])
    one, none = np.ones(SPINS, np.float32), np.zeros(SPINS, np.float32)
    coil = rng.standard_normal((coils, 2, SPINS)).astype(np.float32)
    return Spins(
        psi=psi, r1=one, r2=10 * one, m0=one, adc=none, b1=np.stack([one, none])[None], coil=coil,
        bound=np.zeros((0, 0), np.float32), key=np.zeros(SPINS, np.uint64),
    )  # fmt: skip


def _window(kind: int, count: int, samples: int, *, curved: bool = False, steps: int = 0) -> Window:
    """``count`` equal operations: readouts of ``samples`` samples, or pulses of ``steps`` steps."""
    rate, phase = np.array([5.0, 0.5, 0, 1e-5, 0]), np.tile([20.0, 3.0, 0, 1e-3, 0], (count, 1))
    first = np.arange(count) * samples if kind == READ else np.zeros(count, int)
    ops = Ops(
        kind=np.full(count, kind, np.int8), time=np.full(count, 1e-3), dphi=phase,
        link=np.zeros(count, np.int64), first=first.astype(np.int64),
        samples=np.full(count, samples, np.int64), turn=np.zeros(count), shim=np.zeros(count, np.int64),
        path=np.zeros(count), walk=np.zeros((0, 5)),
    )  # fmt: skip
    curve = np.array([[1e-2 if curved else 0.0, 0, 0, 0, 0]])
    angle = 0.02 * np.sin(np.pi * (np.arange(steps) + 0.5) / max(steps, 1))
    pulses = Pulses(
        pulse=np.array([0, 1]), run=np.array([0, steps]), dt=np.array([1e-6]),
        b1=np.stack([angle, 0 * angle], axis=1), dphi=np.tile([0.1, 0, 0, 1e-6, 0], (steps, 1)),
        same=np.arange(steps) > 0, line=np.array([4]),
    )  # fmt: skip
    table = Steps(
        rate=rate[None], curve=curve, dwell=np.array([1e-5]), path=np.zeros(1), curved=np.array([curved])
    )
    total = count * samples if kind == READ else 0
    knots = np.zeros(1)
    return Window(ops=ops, steps=table, samples=total, receiver=np.zeros(total), knots=knots, pulses=pulses)


def _play(window: Window, coils: int = 0, threads: int = 1) -> tuple[float, float]:
    """Least CPU and wall seconds of one window."""
    processor = Processor(_spins(coils), walk=False, threads=threads)
    return best(lambda: processor.play(window))


def _single_coil(peak: float, speed: float) -> list[Row]:
    jobs = (
        ("readout, one coil", _window(READ, 8, RUN), 8 * RUN, SAMPLE_OPERATIONS, SAMPLE_BYTES),
        ("curved readout, one coil", _window(READ, 8, RUN, curved=True), 8 * RUN, 14, 40 / 2),
        # Fewer uses than make a map worth while: played step by step.
        ("RF pulse", _window(PULSE, 4, 0, steps=100), 400, STEP_OPERATIONS, STEP_BYTES),
    )
    rows = []
    for name, window, count, operations, size in jobs:
        unit = "spin-steps/s" if name == "RF pulse" else "spin-samples/s"
        alone = SPINS * count / _play(window)[0]
        rows += [
            Row(job=name, value=alone, unit=unit, ratio=alone * operations / peak,
                against="multiply-add peak"),
            Row(job=f"{name}, bytes moved", value=alone * size / 1e9, unit="GB/s", ratio=alone * size / speed,
                against="level 1 cache"),
        ]  # fmt: skip
        cpu, wall = _play(window, threads=2)
        rows += [
            Row(job=f"{name}, two threads, by CPU time", value=2 * SPINS * count / cpu, unit=unit),
            Row(job=f"{name}, two threads, by wall time", value=SPINS * count / wall, unit=unit),
        ]
    return rows


def _many_coils() -> list[Row]:
    rows, count = [], 2
    samples = count * RUN
    rng = np.random.default_rng(1)
    matrix = np.empty((SPINS, samples), np.complex64)
    matrix.real, matrix.imag = rng.random((2, SPINS, samples), np.float32)
    for coils in (8, 32):
        left = (rng.random((coils, SPINS)) + 1j).astype(np.complex64)
        with threadpool_limits(1):
            gemm = best(lambda: left @ matrix, repeats=5)[0]  # noqa: B023
        ours = _play(_window(READ, count, RUN), coils)[0]
        rate = SPINS * samples * coils / ours
        rows += [
            Row(job=f"readout, {coils} coils", value=rate, unit="spin-sample-coils/s", ratio=ours / gemm,
                against="time of the GEMM"),
            Row(job=f"GEMM, {coils} coils", value=8 * SPINS * samples * coils / gemm / 1e9, unit="GFLOP/s"),
        ]  # fmt: skip
    return rows


def whole(spins: int, samples: int) -> float:
    """CPU seconds of one gradient echo scan on one thread."""
    cloud, sequence = scattered(spins), to_sequence(gradient_echo(samples=samples))
    options = BlochOptions(precision="single", threads=1)
    return best(lambda: simulate_cloud(cloud, sequence, options=options), 20 if spins < 100_000 else 5)[0]


def _high_water() -> float:
    """Largest resident size of this program so far [MB]; getrusage counts the program that started it too."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e3


def peak(spins: int) -> None:
    """Print the largest resident size [MB] of a program before and after it simulates a cloud once."""
    cloud, sequence = scattered(spins), to_sequence(gradient_echo())
    options = BlochOptions(precision="single", threads=1)
    simulate_cloud(scattered(100), sequence, options=options)  # loads the compiled kernels
    before = _high_water()
    simulate_cloud(cloud, sequence, options=options)
    print(before, _high_water())


def _size(spins: int) -> str:
    return f"1e{len(str(spins)) - 1}"


def _scaling() -> list[Row]:
    fixed = whole(16, 64)
    rows = [Row(job="GRE, 16 spins x 4096 samples: compiling the sequence", value=fixed, unit="CPU-s")]
    # The first is what the others are compared with: 1e4 spins take hardly longer than compiling.
    base = 0.0
    for spins, samples in ((100_000, 64), (10_000, 64), (1_000_000, 64), (100_000, 256)):
        seconds, count = whole(spins, samples), spins * 64 * samples
        each = (seconds - fixed) / count
        base = base or each
        rows.append(
            Row(job=f"GRE, {_size(spins)} spins x {64 * samples} samples", value=1e9 * seconds / count,
                unit="ns/spin-sample", ratio=each / base, against="1e5 x 4096, less compiling")
        )  # fmt: skip
    for spins in (10_000, 100_000, 1_000_000):
        code = f"from benchmarks.bench_bloch import peak; peak({spins})"
        root = Path(__file__).parents[1]
        told = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=root
        )
        before, after = (float(word) for word in told.stdout.split())
        rows.append(Row(job=f"GRE, {_size(spins)} spins: peak memory", value=after, unit="MB"))
        rows.append(
            Row(job=f"GRE, {_size(spins)} spins: of it the engine's", value=after - before, unit="MB")
        )
    return rows


def run() -> list[Row]:
    multiply_adds, bandwidth, rows = _ceilings()
    return [*rows, *_single_coil(multiply_adds, bandwidth), *_many_coils(), *_scaling()]

"""Clocks, rows of the table, and a description of the machine."""

from __future__ import annotations

import datetime
import os
import platform
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

REPEATS = 3


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measured number; ``ratio`` compares it with ``against``, measured in the same run."""

    job: str
    value: float
    unit: str
    ratio: float | None = None
    against: str = ""


class SkippedBenchmark(Exception):  # noqa: N818 - not an error
    """This benchmark needs something that is not installed."""


def cpu_seconds(job: Callable[[], Any], *, repeats: int = REPEATS, warm: bool = True) -> float:
    """Median CPU seconds of all threads of this process; one unmeasured call first (caches, compilation)."""
    if warm:
        job()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        job()
        times.append(time.process_time() - start)
    return statistics.median(times)


def child_cpu_seconds(command: Sequence[str], *, repeats: int = 7) -> float:
    """Median CPU seconds of a command, user and system, of its whole process tree that it waits for."""
    times = []
    for _ in range(repeats + 1):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(times[1:])  # the first one fills the file cache


def peak_memory() -> float:
    """Largest resident size of this process so far [MB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def machine() -> dict[str, Any]:
    """Where and with what the numbers were measured."""
    packages = {}
    for name in ("numpy", "scipy", "numba", "finufft", "sigpy", "h5py", "ismrmrd", "neuroCombat"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "load": [round(value, 1) for value in os.getloadavg()],
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "packages": packages,
    }

"""Options that several verbs share, and the reading of their values."""

import os
import re
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from .guard import set_debug

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", re.IGNORECASE)
_DEVICE = re.compile(r"auto|cpu|cuda:\d{1,3}")

StudyArgument = Annotated[
    str,
    typer.Argument(
        metavar="STUDY.toml", help="Study file, or the name of one in the library.", show_default=False
    ),
]
FolderArgument = Annotated[
    Path, typer.Argument(metavar="DIR", help="Output folder of a run.", show_default=False)
]
Jobs = Annotated[
    int | None,
    typer.Option("--jobs", "-j", min=1, help="Cells at a time (default: all cores).", show_default=False),
]
Threads = Annotated[int, typer.Option("--threads", min=1, help="Threads per cell.")]
Device = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda:N", help="Where to compute.")]
Memory = Annotated[
    str | None,
    typer.Option(
        "--mem",
        metavar="SIZE",
        help="Memory cap, as 6GiB (default: 80 % of what is free).",
        show_default=False,
    ),
]
Debug = Annotated[bool, typer.Option("--debug", callback=set_debug, help="Show tracebacks.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]


def parse_size(text: str) -> int:
    """Return bytes of a size such as ``6GiB``, ``500M`` or ``2e9``-like plain numbers.

    Raises
    ------
    ValueError
        Telling the form.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"--mem must be a size such as 6GiB or 800MB; got {text!r}")
    power = " KMGT".index(match[2].upper() or " ")
    size = int(float(match[1]) * (1024 if match[3] or not power else 1000) ** power)
    if size < 1 << 20:
        raise ValueError(f"--mem must be at least 1 MiB; got {text!r}")
    return size


def free_memory() -> int | None:
    """Return the memory [bytes] that is free for us: the system's, or what a control group leaves."""
    limits: list[int] = []
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                limits.append(int(line.split()[1]) * 1024)
    except OSError:
        pass
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            limits.append(int(Path(limit).read_text()) - int(Path(used).read_text()))
        except (OSError, ValueError):
            continue
    return max(min(limits), 0) if limits else None


def memory_cap(text: str | None) -> int | None:
    """Return the cap [bytes] asked for, or 80 % of the free memory."""
    if text is not None:
        return parse_size(text)
    free = free_memory()
    return None if free is None else int(0.8 * free)


def cores() -> int:
    """Return the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def resolve_device(text: str) -> str:
    """Return ``cpu`` or ``cuda:N``.

    Raises
    ------
    ValueError
        For another spelling, or a CUDA device that is not there.
    """
    if _DEVICE.fullmatch(text) is None:
        raise ValueError(f"--device must be auto, cpu or cuda:N; got {text!r}")
    if text == "cpu":
        return text
    count = cuda_devices()
    if text == "auto":
        return "cuda:0" if count else "cpu"
    number = int(text.removeprefix("cuda:"))
    if number >= count:
        raise ValueError(
            f"--device {text}: there are {count} CUDA devices. Use cpu, or install the gpu extra."
        )
    return text


def cuda_devices() -> int:
    """Return the number of CUDA devices that CuPy can use."""
    from importlib.util import find_spec

    if find_spec("cupy") is None:
        return 0
    cuda = import_module("cupy").cuda  # an extra, absent in most installations
    return int(cuda.runtime.getDeviceCount()) if cuda.is_available() else 0

"""doctor: is this computer fit, and what is installed."""

import importlib.metadata
import os
import platform
import shutil
from pathlib import Path

from .options import Debug, cores, cuda_devices, free_memory

_PACKAGES = (
    "numpy",
    "scipy",
    "numba",
    "finufft",
    "h5py",
    "ismrmrd",
    "nibabel",
    "pypulseq",
    "sigpy",
    "pandas",
    "scikit-learn",
    "pydantic",
    "typer",
    "rich",
    "torch",
    "cupy-cuda13x",
    "cupy-cuda12x",
    "bids-validator-deno",
)
# h5py pull request 2947 lists what each HDF5 release repaired: CVEs of 2.0.0 in 2.1.0, two more in 2.2.0.
_HDF5_REPAIRED = (2, 2, 0)


def doctor(debug: Debug = False) -> None:
    """Show versions, cores, memory, devices and known weaknesses of this installation."""
    from rich.markup import escape

    from .. import __version__
    from .tables import console, spelled_bytes, table

    out = console()
    system = table(f"mrsim {__version__}", ("what", "found", "note"))
    free = free_memory()
    rows = [
        ("Python", platform.python_version(), ""),
        ("system", f"{platform.system()} {platform.machine()}", ""),
        ("cores", str(cores()), "default of --jobs"),
        (
            "free memory",
            "unknown" if free is None else spelled_bytes(free),
            "cells are limited to 80 % of it",
        ),
        ("free disk here", spelled_bytes(shutil.disk_usage(Path.cwd()).free), ""),
        ("CUDA devices", str(cuda_devices()), "the gpu extra brings CuPy" if not cuda_devices() else ""),
        _hdf5_row(),
        _numba_row(),
    ]
    for what, found, note in rows:
        system.add_row(what, escape(found), escape(note))
    out.print(system)
    packages = table("Packages", ("package", "version"))
    for name in _PACKAGES:
        packages.add_row(name, _version(name))
    out.print(packages)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "[dim]not installed[/]"


def _hdf5_row() -> tuple[str, str, str]:
    import h5py

    version = tuple(int(part) for part in h5py.version.hdf5_version.split(".")[:3])
    note = "" if version >= _HDF5_REPAIRED else "has known CVEs on crafted files; open only files you trust"
    return "HDF5", h5py.version.hdf5_version, note


def _numba_row() -> tuple[str, str, str]:
    folder = os.environ.get("NUMBA_CACHE_DIR")
    if folder:
        return "compiled code", folder, "from NUMBA_CACHE_DIR"
    package = Path(__file__).resolve().parents[1]
    writable = os.access(package, os.W_OK)
    return "compiled code", "beside the package" if writable else "in the output folder", ""

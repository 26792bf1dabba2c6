"""A device whose memory is numpy's and whose kernels run on the CPU."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np

from mrsim.simulation.bloch.gpu_device import TABLES, THREADS, source

HERE = Path(__file__).parent
COMPILER = shutil.which("g++")


class ShimDevice:
    """Compiles the kernels with g++ into ``folder``; ``blocks`` as a device would have."""

    def __init__(self, folder, blocks=3):
        self.folder, self.blocks = Path(folder), blocks

    def compile(self, defines):
        name = "_".join(f"{k}{v}" for k, v in sorted(defines.items()))
        library = self.folder / f"{name}.so"
        if not library.exists():
            code = self.folder / f"{name}.cu"
            code.write_text(source())
            macros = [f"-D{k}={v}" for k, v in defines.items()]
            # Warnings of a CUDA source that only nvcc understands are off; longjmp between stacks is meant.
            command = [
                COMPILER, "-std=c++17", "-O1", "-shared", "-fPIC", "-U_FORTIFY_SOURCE", "-w", *macros,
                f'-DSOURCE="{code}"', str(HERE / "kernels.cpp"), "-o", str(library),
            ]  # fmt: skip
            subprocess.run(command, check=True)
        return ShimKernels(library)

    def put(self, values):
        return values.copy()

    def zeros(self, shape, kind):
        return np.zeros(shape, kind)

    def get(self, values):
        return values.copy()

    def address(self, values):
        return values.ctypes.data


class ShimKernels:
    def __init__(self, library):
        self._library = ctypes.CDLL(str(library))
        self._library.shim_tables_size.restype = ctypes.c_size_t
        assert self._library.shim_tables_size() == TABLES.itemsize

    def launch(self, name, blocks, tables):
        status = self._library.shim_launch(
            name.encode(), blocks, THREADS, ctypes.c_void_p(tables.ctypes.data)
        )
        if status:
            raise RuntimeError(f"kernel {name}: status {status}")

"""What the GPU engine asks of a device, and CUDA devices by CuPy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

THREADS = 128
"""Threads of a block, as in bloch_tables.cuh."""
PARTS = ("bloch_tables.cuh", "bloch_spin.cuh", "bloch.cu")

_INTEGERS = ("ops", "fields", "pulse_fields", "spins", "coils", "total", "played", "blocks")
_POINTERS = (
    "kind", "time", "dphi", "link", "first", "samples", "turn", "shim", "path", "walk",
    "rate", "curve", "dwell", "growth", "curved",
    "pulse", "run", "dt", "b1", "gain", "same", "line",
    "psi", "r1", "r2", "m0", "adc", "transmit", "coil", "bound", "key",
    "m", "mb", "shift", "part", "signal",
)  # fmt: skip
TABLES = np.dtype([(name, np.uint64) for name in _POINTERS] + [(name, np.int64) for name in _INTEGERS])
"""The argument of all kernels: addresses of arrays (0 = not there) and sizes, as `Tables` in the source."""


class Kernels(Protocol):
    """Compiled kernels."""

    def launch(self, name: str, blocks: int, tables: np.ndarray) -> None:
        """Run ``play`` or ``add_blocks`` on blocks of `THREADS` threads; ``tables`` (1,) of `TABLES`."""


class Device(Protocol):
    """Memory and kernels of one device."""

    blocks: int
    """Blocks that keep the device busy."""

    def compile(self, defines: Mapping[str, str]) -> Kernels:
        """Compile `source` with macros."""

    def put(self, values: np.ndarray) -> Any:
        """Copy an array to the device."""

    def zeros(self, shape: tuple[int, ...], kind: Any) -> Any:
        """Array of zeros on the device."""

    def get(self, values: Any) -> np.ndarray:
        """Copy an array from the device, once all kernels are done."""

    def address(self, values: Any) -> int:
        """Address of an array on the device."""


def source() -> str:
    """CUDA C++ source of all kernels, with the file names that a compiler shall report."""
    folder = Path(__file__).parent
    return "".join(f'#line 1 "{name}"\n{(folder / name).read_text(encoding="utf-8")}' for name in PARTS)


class CupyDevice:
    """A CUDA device.

    Parameters
    ----------
    name : str
        'cuda:0' and so on.

    Raises
    ------
    ValueError
        For another name.
    RuntimeError
        If CuPy or the device is not there.
    """

    def __init__(self, name: str) -> None:
        match = re.fullmatch(r"cuda:(\d+)", name)
        if match is None:
            raise ValueError(f"device must be 'cpu' or 'cuda:N'; got {name!r}.")
        try:
            self._cupy = import_module("cupy")  # an extra, absent in most installations
        except ImportError as error:
            raise RuntimeError(
                f"device {name!r} needs CuPy; it cannot be imported ({error}). Install the gpu extra "
                "(mrsim[gpu], or mrsim[gpu-cu12] for CUDA 12), or take device='cpu'."
            ) from error
        number, count = int(match[1]), self._count()
        if number >= count:
            raise RuntimeError(
                f"device must be one of {count} CUDA devices; got {name!r}. Take device='cpu'."
            )
        self._device = self._cupy.cuda.Device(number)
        self.blocks = 4 * int(self._device.attributes["MultiProcessorCount"])

    def _count(self) -> int:
        cuda = self._cupy.cuda
        return int(cuda.runtime.getDeviceCount()) if cuda.is_available() else 0

    def compile(self, defines: Mapping[str, str]) -> Kernels:
        """Compile `source` with macros."""
        options = ("--std=c++17", *(f"-D{key}={value}" for key, value in defines.items()))
        with self._device:
            return _CupyKernels(self._device, self._cupy.RawModule(code=source(), options=options))

    def put(self, values: np.ndarray) -> Any:
        """Copy an array to the device."""
        with self._device:
            return self._cupy.asarray(values)

    def zeros(self, shape: tuple[int, ...], kind: Any) -> Any:
        """Array of zeros on the device."""
        with self._device:
            return self._cupy.zeros(shape, kind)

    def get(self, values: Any) -> np.ndarray:
        """Copy an array from the device, once all kernels are done."""
        with self._device:
            return np.asarray(self._cupy.asnumpy(values))

    def address(self, values: Any) -> int:
        """Address of an array on the device."""
        return int(values.data.ptr)


class _CupyKernels:
    def __init__(self, device: Any, module: Any) -> None:
        self._device, self._module = device, module

    def launch(self, name: str, blocks: int, tables: np.ndarray) -> None:
        # CuPy passes a structured array of one element by value.
        with self._device:
            self._module.get_function(name)((blocks,), (THREADS,), (tables,))

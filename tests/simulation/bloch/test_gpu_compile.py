"""The GPU kernels through NVIDIA's runtime compiler, which needs neither a GPU nor a driver."""

from __future__ import annotations

import re

import pytest

from mrsim.simulation.bloch.gpu import SHAPE
from mrsim.simulation.bloch.gpu_device import source

MISSING = "NVRTC is not there (pip install cuda-bindings nvidia-cuda-nvrtc)"
nvrtc = pytest.importorskip("cuda.bindings.nvrtc", reason=MISSING, exc_type=ImportError)


@pytest.fixture(autouse=True, scope="module")
def library():
    try:
        nvrtc.nvrtcVersion()
    except RuntimeError:  # the bindings without the library
        pytest.skip(MISSING)


def compiled(architecture, defines):
    """Machine code and the assembler's report."""
    options = [
        f"--gpu-architecture={architecture}", "--std=c++17", "--ptxas-options=-v",
        *(f"-D{key}={value}" for key, value in defines.items()),
    ]  # fmt: skip
    error, program = nvrtc.nvrtcCreateProgram(source().encode(), b"bloch.cu", 0, None, None)
    assert error == nvrtc.nvrtcResult.NVRTC_SUCCESS
    (status,) = nvrtc.nvrtcCompileProgram(program, len(options), [o.encode() for o in options])
    log = b" " * nvrtc.nvrtcGetProgramLogSize(program)[1]
    nvrtc.nvrtcGetProgramLog(program, log)
    assert status == nvrtc.nvrtcResult.NVRTC_SUCCESS, log.decode()
    code = b" " * nvrtc.nvrtcGetCUBINSize(program)[1]
    nvrtc.nvrtcGetCUBIN(program, code)
    nvrtc.nvrtcDestroyProgram(program)
    return code, log.decode()


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
@pytest.mark.parametrize(
    ("real", "shape"),
    [("float", SHAPE[4]), ("float", {**SHAPE[4], "SPINS": 1}), ("double", SHAPE[8])],
    ids=["single", "single, few spins", "double"],
)
def test_compiles_without_spilling(architecture, real, shape, record_property):
    code, report = compiled(architecture, {"REAL": real, **shape})
    assert code[:4] == b"\x7fELF"
    assert "warning" not in report
    registers = [int(n) for n in re.findall(r"Used (\d+) registers", report)]
    print(f"\n{architecture} {real} {shape}: registers {registers}")
    record_property("registers", registers)
    # Four blocks of 128 threads share 65536 registers; a stack would mean arrays that left the registers.
    assert len(registers) == 2
    assert max(registers) <= 128
    assert set(re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill", report)) == {("0", "0")}

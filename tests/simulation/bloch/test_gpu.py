"""The GPU engine without a GPU: its kernels compiled for the CPU, driven as on a device, against numba's."""

from __future__ import annotations

import re
from importlib.util import find_spec

import numpy as np
import pytest

from mrsim.simulation.bloch import BlochOptions, engine, simulate_cloud
from mrsim.simulation.bloch.gpu import GpuProcessor
from mrsim.simulation.bloch.gpu_device import TABLES, THREADS, CupyDevice, source

from .shim.cases import CASES, LIMIT, Case, compare, pulses_of, spins_of, window_of
from .shim.device import COMPILER, ShimDevice
from .test_jemris import JEMRIS, setting

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="g++ is not there to compile the kernels")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("kernels")


@needs_compiler
@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.parametrize("name", CASES)
def test_windows_equal_the_cpu(folder, name, kind):
    device = ShimDevice(folder)
    differences = compare(
        CASES[name], kind, lambda spins, walk: GpuProcessor(spins, walk=walk, device=device)
    )
    assert max(differences) < LIMIT[kind]


@needs_compiler
def test_several_spins_per_thread(folder):
    # One block that is busy with 256 spins: single precision takes two per thread.
    device = ShimDevice(folder, blocks=1)
    case = Case(spins=601, coils=2, pools=True, walk=True, fields=5)
    made = []

    def make(spins, walk):
        made.append(GpuProcessor(spins, walk=walk, device=device))
        return made[0]

    assert max(compare(case, np.float32, make)) < LIMIT[np.float32]
    assert made[0]._group == 2 * THREADS


@needs_compiler
def test_repeats_bit_by_bit_and_keeps_to_its_memory(folder):
    case = Case(spins=700, coils=2)
    rng = np.random.default_rng(3)
    spins = spins_of(case, np.float32, rng)
    window = window_of(case, pulses_of(case, rng), rng)
    launched = []

    class Spy(ShimDevice):
        def zeros(self, shape, kind):
            launched.append(shape)
            return super().zeros(shape, kind)

    def heard(budget):
        device = Spy(folder, blocks=5)
        return GpuProcessor(spins, walk=False, device=device, budget=budget).play(window)

    plenty = heard(1 << 30)
    assert launched[0][0] == 5
    np.testing.assert_array_equal(plenty, heard(1 << 30))
    launched.clear()
    scarce = heard(2 * 16 * 2 * window.samples)
    assert launched[0][0] == 2
    # Other blocks, other order of sums of float32 values over a block.
    np.testing.assert_allclose(scarce, plenty, rtol=0, atol=1e-5 * np.abs(plenty).max())


@needs_compiler
@pytest.mark.skipif(not JEMRIS.is_dir(), reason="reference signals are not at ../shared/refdata/jemris")
@pytest.mark.parametrize(
    "name", ["ste_3pulses", "gre64_rfspoil_shepplogan", "gre64_rx4_shepplogan", "slicesel_sinc_column_z"]
)
@pytest.mark.parametrize(("precision", "limit"), [("double", 1e-10), ("single", 1e-5)])
def test_sequences_equal_the_cpu(folder, monkeypatch, name, precision, limit):
    # Limits as for the tables, over up to 4000 operations.
    cloud, sequence, machine = setting(name)

    def play(precision):
        options = BlochOptions(precision=precision, phase_convention="jemris", threads=1)
        return simulate_cloud(cloud, sequence, machine=machine, options=options)

    wanted = play("double")
    device = ShimDevice(folder)
    monkeypatch.setattr(
        engine, "Processor", lambda spins, *, walk, threads: GpuProcessor(spins, walk=walk, device=device)
    )
    got = play(precision)
    for a, b in ((got.samples, wanted.samples), (got.magnetization, wanted.magnetization)):
        assert np.linalg.norm(a - b) < limit * np.linalg.norm(b)


@needs_compiler
def test_shim_notices_a_barrier_that_not_all_threads_reach(folder):
    kernels = ShimDevice(folder).compile({"REAL": "float", "SPINS": "1", "CHUNK": "32", "BLOCKS": "4"})
    with pytest.raises(RuntimeError, match="status 1"):
        kernels.launch("stuck", 1, np.zeros(1, TABLES))


def test_arguments_are_in_the_order_of_the_source():
    body = re.search(r"struct Tables \{(.*?)\n\};", source(), re.DOTALL)[1]
    fields = re.findall(r"(\*?) ?(\w+);", body)
    assert [name for _, name in fields] == list(TABLES.names)
    assert [bool(star) for star, _ in fields] == [TABLES[name] == np.uint64 for name in TABLES.names]


def test_threads_are_those_of_the_source():
    assert f"#define THREADS {THREADS}\n" in source()


@pytest.mark.parametrize("name", ["cuda", "gpu:0", "cuda:-1", ""])
def test_device_by_another_name(name):
    with pytest.raises(ValueError, match="device must be"):
        CupyDevice(name)


@pytest.mark.skipif(find_spec("cupy") is not None, reason="CuPy is there")
def test_device_without_cupy():
    with pytest.raises(RuntimeError, match="needs CuPy"):
        CupyDevice("cuda:0")

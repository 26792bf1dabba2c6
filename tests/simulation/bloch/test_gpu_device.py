"""The GPU engine on a GPU."""

from __future__ import annotations

import numpy as np
import pytest

from mrsim.simulation.bloch.gpu import GpuProcessor
from mrsim.simulation.bloch.gpu_device import CupyDevice

from .shim.cases import CASES, LIMIT, Case, compare

pytestmark = pytest.mark.gpu
LARGE = {
    # More spins than run at a time on any device: blocks take several groups, threads two spins.
    "large": Case(spins=400_001, coils=2),
    "large walk": Case(spins=400_001, walk=True, pools=True),
}


@pytest.fixture(scope="module")
def device():
    pytest.importorskip("cupy", reason="CuPy is not installed (extra gpu)")
    try:
        return CupyDevice("cuda:0")
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.parametrize("name", [*CASES, *LARGE])
def test_windows_equal_the_cpu(device, name, kind):
    case = {**CASES, **LARGE}[name]
    differences = compare(case, kind, lambda spins, walk: GpuProcessor(spins, walk=walk, device=device))
    assert max(differences) < LIMIT[kind]


def test_repeats_bit_by_bit(device):
    def heard():
        kept = []

        class Kept(GpuProcessor):
            def play(self, *arguments):
                kept.append(super().play(*arguments))
                return kept[-1]

        compare(LARGE["large"], np.float32, lambda spins, walk: Kept(spins, walk=walk, device=device))
        return kept

    for a, b in zip(heard(), heard(), strict=True):
        np.testing.assert_array_equal(a, b)

"""Playing compiled windows on the spins, on all cores.

The spins are cut into blocks that fit the cache; the blocks are dealt to a fixed number of lanes, each lane
sums its blocks in order, and the lanes are summed in order. So the result is the same, bit by bit, for any
number of threads, and memory is bounded by lanes x samples of one window.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from .program import Window
from .tables import Spins, State, Work

LANES = 16
BLOCK_BYTES = 8192
"""Size of one array of a block: 2048 spins in single precision. A dozen of them fit the L2 cache."""


def new_state(spins: Spins, *, walk: bool) -> State:
    """Thermal equilibrium."""
    n, kind = spins.r1.size, spins.r1.dtype
    m = np.zeros((3, n), kind)
    m[2] = spins.m0
    bound = spins.bound[0].copy() if spins.bound.size else np.zeros(0, kind)
    return State(m=m, bound=bound, walk=np.zeros((3, n if walk else 0)))


class Processor:
    """Plays windows on a set of spins with the CPU kernels.

    Parameters
    ----------
    spins : Spins
    walk : bool
        Whether spins diffuse at random.
    threads : int
    """

    def __init__(self, spins: Spins, *, walk: bool, threads: int) -> None:
        self._spins, self.state, self._threads = spins, new_state(spins, walk=walk), threads
        n = spins.r1.size
        most = BLOCK_BYTES // spins.r1.itemsize
        self._block = int(np.clip(-(-n // (LANES * 16)) * 16, 64, most))
        self._lanes = min(LANES, -(-n // self._block))
        self._played = 0

    def play(self, window: Window, psi: np.ndarray | None = None) -> np.ndarray:
        """Play a window; return its signal (coils, samples) complex128 before receiver phases.

        psi : (D, N) spatial factors where they changed since the last window.
        """
        from .kernel_play import play_lane

        if psi is not None:
            self._spins = self._spins._replace(psi=psi)
        coils = max(self._spins.coil.shape[0], 1)
        out = np.zeros((self._lanes, coils, 2, window.samples))

        def lane(number: int) -> None:
            play_lane(
                number, self._lanes, self._block, self._played, window.ops, window.steps, window.pulses,
                self._spins, self.state, self._work(), out[number],
            )  # fmt: skip

        if self._threads == 1 or self._lanes == 1:
            for number in range(self._lanes):
                lane(number)
        else:
            with ThreadPoolExecutor(min(self._threads, self._lanes)) as pool:
                list(pool.map(lane, range(self._lanes)))
        self._played += window.ops.kind.size
        total = out[0]
        for part in out[1:]:
            total = total + part
        return np.asarray(total[:, 0] + 1j * total[:, 1])

    def _work(self) -> Work:
        kind: Any = self._spins.r1.dtype
        block, fields = self._block, self._spins.psi.shape[0]
        return Work(
            phase=np.empty(block), row=np.empty((12, block), kind), psi=np.empty((fields, block)),
            tile=np.empty((4, 2, block), kind),
        )  # fmt: skip

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
from .tables import PULSE, Maps, Spins, State, Work

LANES = 16
BLOCK_BYTES = 8192
"""Size of one array of a block: 2048 spins in single precision. A dozen of them fit the L2 cache."""


OFTEN = 6
"""A map costs as much as four pulses; from this many uses in a window on it is made and kept."""
MAP_BYTES = 1 << 30
"""Memory that maps of pulses may take."""


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
        self._maps: dict[tuple[int, int], int] = {}
        room = MAP_BYTES // max(12 * n * spins.r1.itemsize, 1)
        mappable = not spins.bound.size and not walk
        self._table = np.empty((min(room, 16) if mappable else 0, 12, n), spins.r1.dtype)

    def _map_pulses(self, window: Window) -> Maps:
        """Choose which pulses of a window are played by maps; memory is taken when one is written."""
        ops, use = window.ops, np.full(window.ops.kind.size, -1, np.int64)
        rows = np.flatnonzero(ops.kind == PULSE)
        kinds, which, times = np.unique(
            np.stack([ops.link[rows], ops.shim[rows]], axis=1),
            axis=0,
            return_inverse=True,
            return_counts=True,
        )
        make: list[tuple[int, int, int]] = []
        for k, ((pulse, shim), count) in enumerate(zip(kinds.tolist(), times.tolist(), strict=True)):
            if (pulse, shim) not in self._maps:
                if count < OFTEN or len(self._maps) == self._table.shape[0]:
                    continue
                self._maps[pulse, shim] = len(self._maps)
                make.append((self._maps[pulse, shim], pulse, shim))
            use[rows[which.reshape(-1) == k]] = self._maps[pulse, shim]
        return Maps(use=use, make=np.array(make, np.int64).reshape(-1, 3), table=self._table)

    def play(self, window: Window, psi: np.ndarray | None = None) -> np.ndarray:
        """Play a window; return its signal (coils, samples) complex128 before receiver phases.

        psi : (D, N) spatial factors where they changed since the last window.
        """
        from .kernel_play import play_lane

        if psi is not None:
            self._spins = self._spins._replace(psi=psi)
            # Pulses of another window are other pulses, and so are the fields.
            self._maps.clear()
        maps = self._map_pulses(window)
        coils = max(self._spins.coil.shape[0], 1)
        out = np.zeros((self._lanes, coils, 2, window.samples))

        def lane(number: int) -> None:
            play_lane(
                number, self._lanes, self._block, self._played, window.ops, window.steps, window.pulses,
                self._spins, self.state, maps, self._work(), out[number],
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

"""Playing compiled windows on the spins of a GPU: the twin of `mrsim.simulation.bloch.processor`.

The spins stay on the device from the first window to the last; a window's tables go there and its signal
comes back. Sums have a fixed order, so a device gives the same result in every run.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .gpu_device import TABLES, THREADS, CupyDevice, Device
from .processor import new_state
from .program import Window
from .tables import Ops, Pulses, Spins, State, Steps

BUDGET = 1 << 30
"""Memory of the partial signals of all blocks [bytes]."""
SHAPE = {4: {"SPINS": 2, "CHUNK": 32, "BLOCKS": 4}, 8: {"SPINS": 1, "CHUNK": 16, "BLOCKS": 4}}
"""By bytes per value: spins of a thread, samples at a time and blocks per multiprocessor for which the
compiler keeps everything in registers (128 at most)."""


class GpuProcessor:
    """Plays windows on a set of spins with the GPU kernels.

    Parameters
    ----------
    spins : Spins
    walk : bool
        Whether spins diffuse at random.
    device : str or Device
        'cuda:0' and so on.
    budget : int
        Memory of the partial signals [bytes]: fewer blocks of spins run at a time where it is short.

    Raises
    ------
    ValueError, RuntimeError
        If there is no such device.
    """

    def __init__(
        self, spins: Spins, *, walk: bool, device: str | Device = "cuda:0", budget: int = BUDGET
    ) -> None:
        self._device = CupyDevice(device) if isinstance(device, str) else device
        self._budget, self._count, self._played = budget, spins.r1.size, 0
        self._kind = spins.r1.dtype
        shape = dict(SHAPE[self._kind.itemsize])
        if self._count < shape["SPINS"] * THREADS * self._device.blocks:
            shape["SPINS"] = 1  # few spins: rather more threads
        self._group = THREADS * shape["SPINS"]
        self._padded = -(-self._count // self._group) * self._group
        real = "float" if self._kind.itemsize == 4 else "double"
        self._kernels = self._device.compile({"REAL": real, **{k: str(v) for k, v in shape.items()}})
        self._arrays: dict[str, Any] = {}
        self._tables = np.zeros(1, TABLES)
        self._pulses: Pulses | None = None
        self._load_spins(spins, walk)

    @property
    def state(self) -> State:
        """Copy of the state as it is now."""
        n, kind = self._count, self._kind
        bound, shift = self._arrays["mb"], self._arrays["shift"]
        return State(
            m=self._device.get(self._arrays["m"])[:, :n],
            bound=np.zeros(0, kind) if bound is None else self._device.get(bound)[:n],
            walk=np.zeros((3, 0)) if shift is None else self._device.get(shift)[:, :n],
        )

    def play(self, window: Window, psi: np.ndarray | None = None) -> np.ndarray:
        """Play a window; return its signal (coils, samples) complex128 before receiver phases.

        psi : (D, N) spatial factors where they changed since the last window.
        """
        if psi is not None:
            self._put("psi", self._pad(psi))
        if window.pulses is not self._pulses:
            self._load_pulses(window.pulses)
        self._load_window(window.ops, window.steps)
        coils, samples = int(self._tables["coils"][0]), window.samples
        one = max(16 * coils * samples, 1)
        blocks = min(self._padded // self._group, self._device.blocks, max(self._budget // one, 1))
        self._set("part", None)  # never two of them
        self._set("part", self._device.zeros((blocks, coils, samples), np.complex128))
        self._set("signal", self._device.zeros((coils, samples), np.complex128))
        self._tables["blocks"], self._tables["total"] = blocks, samples
        self._tables["played"] = self._played
        self._kernels.launch("play", blocks, self._tables)
        if samples:
            self._kernels.launch("add_blocks", -(-coils * samples // THREADS), self._tables)
        self._played += window.ops.kind.size
        heard = self._device.get(self._arrays["signal"])
        return np.concatenate([heard, np.zeros((self._silent, samples), complex)])

    def _load_spins(self, spins: Spins, walk: bool) -> None:
        state = new_state(spins, walk=walk)
        coil = spins.coil
        # The CPU's kernels want coils in pairs, with a silent last one; here it would only cost time.
        self._silent = int(len(coil) > 1 and not coil[-1].any())
        coil = coil[: len(coil) - self._silent]
        self._tables["spins"], self._tables["coils"] = self._padded, max(len(coil), 1)
        for name, values in (
            ("psi", spins.psi), ("r1", spins.r1), ("r2", spins.r2), ("m0", spins.m0), ("adc", spins.adc),
            ("transmit", spins.b1), ("coil", coil), ("bound", spins.bound), ("key", spins.key),
            ("m", state.m), ("mb", state.bound), ("shift", state.walk),
        ):  # fmt: skip
            # What is absent (no coils, one pool, no random walk) has the address 0.
            self._put(name, self._pad(values) if values.size else None)

    def _load_pulses(self, pulses: Pulses) -> None:
        for name, values in (
            ("pulse", pulses.pulse), ("run", pulses.run), ("dt", pulses.dt), ("gain", pulses.dphi),
            ("b1", pulses.b1.astype(self._kind)), ("same", pulses.same.astype(np.uint8)),
            ("line", pulses.line),
        ):  # fmt: skip
            self._put(name, values)
        self._tables["pulse_fields"] = pulses.dphi.shape[1]
        self._pulses = pulses

    def _load_window(self, ops: Ops, steps: Steps) -> None:
        self._tables["ops"], self._tables["fields"] = ops.dphi.shape
        turn = 2 * np.pi * ops.turn
        turned = np.stack([np.cos(turn), np.sin(turn)], axis=1).astype(self._kind)
        for name, values in (
            ("kind", ops.kind), ("time", ops.time), ("dphi", ops.dphi), ("link", ops.link),
            ("first", ops.first), ("samples", ops.samples), ("turn", turned), ("shim", ops.shim),
            ("path", ops.path), ("walk", ops.walk),
            ("rate", steps.rate), ("curve", steps.curve), ("dwell", steps.dwell), ("growth", steps.path),
            ("curved", steps.curved.astype(np.uint8)),
        ):  # fmt: skip
            self._put(name, values)

    def _pad(self, values: np.ndarray) -> np.ndarray:
        """Zeros behind the last spin, so that the kernels need no bounds: spins without magnetization."""
        wide = np.zeros((*values.shape[:-1], self._padded), values.dtype)
        wide[..., : self._count] = values
        return wide

    def _put(self, name: str, values: np.ndarray | None) -> None:
        self._set(name, None if values is None else self._device.put(np.ascontiguousarray(values)))

    def _set(self, name: str, array: Any) -> None:
        """Keep an array alive and its address in the tables."""
        self._arrays[name] = array
        self._tables[name] = 0 if array is None else self._device.address(array)

"""Labels of a Pulseq file: their values at each readout."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..sequence import IntArray
from .extensions import Extensions
from .seqfile import SeqFileError


def evaluate_labels(
    extensions: Extensions, ext: NDArray[np.int64], adc: NDArray[np.int64], lines: Sequence[int]
) -> dict[str, IntArray]:
    """Return the value of every label at each block with an ADC.

    Parameters
    ----------
    extensions : Extensions
        Tables of the file.
    ext, adc : ndarray of int, shape (n_blocks,)
        Extension list and ADC event of each block.
    lines : sequence of int
        File line of each block.

    Notes
    -----
    The labels of a block are applied before its ADC; in one block, LABELSET before LABELINC.
    """
    state: dict[str, int] = {}
    chains: dict[int, list[tuple[str, int]]] = {}
    history: dict[str, list[int]] = {}
    n_adc = 0
    for block in np.flatnonzero(ext | adc).tolist():
        number = int(ext[block])
        if number:
            if number not in chains:
                chain = extensions.chain(number, lines[block])
                chains[number] = sorted(
                    ((n, r) for n, r in chain if n.startswith("LABEL")),
                    key=lambda item: item[0],
                    reverse=True,
                )
            _apply(extensions, chains[number], state)
        if adc[block]:
            for label, value in state.items():
                if label not in history:
                    history[label] = [0] * n_adc
                history[label].append(value)
            n_adc += 1
    return {label: np.array(values, dtype=np.int32) for label, values in history.items()}


def _apply(extensions: Extensions, chain: list[tuple[str, int]], state: dict[str, int]) -> None:
    for name, ref in chain:
        label, value = extensions.labels[name][ref]
        state[label] = value + (state.get(label, 0) if name == "LABELINC" else 0)
        if abs(state[label]) >= 2**31:
            raise SeqFileError(f"label {label} must stay within 32 bits")

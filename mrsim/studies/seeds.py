"""Random streams that depend on what is drawn for, never on when or where.

A stream is keyed by the study's seed and the *identity* of a cell: its stage and its key (subject, session,
run, contrast, method). Deliberately **not** part of the identity, so that they never change a draw:

* the size of the study: adding subjects, scanners, contrasts or methods leaves all earlier draws as they
  were;
* parameters, stage versions and inputs: two versions of a study differ by what was changed, not by luck
  (common random numbers), and a repaired stage sees the same noise;
* order, workers, hosts, threads.

Changing a label changes the identity: labels are names, and other names are other draws.
"""

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .canonical import canonical_json

if TYPE_CHECKING:
    import numpy as np


def stream_words(stage: str, key: Mapping[str, str | int]) -> tuple[int, int, int, int]:
    """Return four 32-bit words for an identity: the first 16 bytes of its sha256, little-endian."""
    digest = hashlib.sha256(canonical_json({"stage": stage, "key": dict(key)})).digest()
    first, second, third, fourth = (int.from_bytes(digest[4 * i : 4 * i + 4], "little") for i in range(4))
    return first, second, third, fourth


def stream(seed: int, stage: str, key: Mapping[str, str | int]) -> "np.random.Generator":
    """Return the generator of a cell: Philox, counter-based.

    Parameters
    ----------
    seed : int
        Seed of the study, not negative.
    stage, key
        Identity of the cell.
    """
    import numpy as np

    if seed < 0:
        raise ValueError(f"seed must not be negative; got {seed}")
    sequence = np.random.SeedSequence(entropy=seed, spawn_key=stream_words(stage, key))
    return np.random.Generator(np.random.Philox(sequence))

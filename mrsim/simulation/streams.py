"""One random stream per cause, so that switching one off leaves all other draws as they were."""

from __future__ import annotations

import hashlib

import numpy as np

Entropy = tuple[int, int]


def draw_entropy(rng: np.random.Generator) -> Entropy:
    """Draw the entropy of a visit: 126 bits, whatever is drawn from them later."""
    first, second = rng.integers(0, 2**63, 2)
    return int(first), int(second)


def cause_stream(entropy: Entropy, cause: str, key: str = "") -> np.random.Generator:
    """Return the stream of one cause of one visit.

    Parameters
    ----------
    entropy : tuple of int
        Of the visit (`draw_entropy`).
    cause : str
        Name, such as ``"shim"``.
    key : str
        What tells the scans of a visit apart, such as the name of the exam card.

    Returns
    -------
    numpy.random.Generator, Philox: counter-based, the same on every machine.
    """
    digest = hashlib.sha256(f"{cause}\n{key}".encode()).digest()
    words = tuple(int.from_bytes(digest[4 * i : 4 * i + 4], "little") for i in range(4))
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy=entropy, spawn_key=words)))

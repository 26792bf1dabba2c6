"""Where the numeric references lie, and how to read them; tests that need them skip where they are absent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

HARMREF = Path(__file__).parents[2].parent / "shared" / "refdata" / "harmref"
DATA = Path(__file__).with_name("data")

needs_harmref = pytest.mark.skipif(
    not (HARMREF / "README.md").is_file(), reason=f"numeric references are not at ../shared ({HARMREF.name})"
)


def table(name: str) -> pd.DataFrame:
    # The C parser's default may be one unit in the last place off, 1e-16 relative: far below every tolerance.
    return pd.read_csv(HARMREF / name)


def values(name: str) -> np.ndarray:
    return table(name).to_numpy(dtype=np.float64)

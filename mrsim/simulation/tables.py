"""Tables over B1+ and off-resonance, and the maps that they give on an object."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Evenly spaced entries of a table: first value, step and number of entries."""

    low: float
    step: float
    size: int

    @classmethod
    def over(cls, low: float, high: float, size: int) -> Axis:
        """Return ``size`` entries from ``low`` to ``high``, both included."""
        return cls(low=low, step=(high - low) / (size - 1), size=size)

    @property
    def values(self) -> np.ndarray:
        """Where the entries lie, shape (size,)."""
        return self.low + self.step * np.arange(self.size)


@njit(cache=True)  # type: ignore[untyped-decorator]
def coefficient_maps(
    fractions: np.ndarray, b1: np.ndarray, b1_low: float, b1_step: float, df: np.ndarray, df_low: float,
    df_step: float, table: np.ndarray, out: np.ndarray,
) -> None:  # fmt: skip
    """Write ``out[q, x] = sum_t f_t(x) table[t, B1(x), df(x), q]``, the table interpolated bilinearly.

    fractions : (tissue, voxel);  b1, df : (voxel,) relative transmit field and off-resonance [Hz], clamped to
    the table's axes (``low``, ``step``);  table : (tissue, B1, df, Q);  out : complex64 (Q, voxel).
    """
    n_tissue, n_b, n_d, n_q = table.shape
    total = np.empty(n_q, np.complex64)
    for x in range(b1.size):
        u = min(max((b1[x] - b1_low) / b1_step, 0.0), n_b - 1.001)
        w = min(max((df[x] - df_low) / df_step, 0.0), n_d - 1.001)
        i, j = int(u), int(w)
        fu, fw = np.float32(u - i), np.float32(w - j)
        one = np.float32(1.0)
        total[:] = 0.0
        for t in range(n_tissue):
            f = fractions[t, x]
            if f > 0.0:
                c00, c01 = f * (one - fu) * (one - fw), f * (one - fu) * fw
                c10, c11 = f * fu * (one - fw), f * fu * fw
                r00, r01 = table[t, i, j], table[t, i, j + 1]
                r10, r11 = table[t, i + 1, j], table[t, i + 1, j + 1]
                for q in range(n_q):
                    total[q] += c00 * r00[q] + c01 * r01[q] + c10 * r10[q] + c11 * r11[q]
        for q in range(n_q):
            out[q, x] = total[q]

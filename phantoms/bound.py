"""The bound pool of a point cloud, and the check of arrays with one value per point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from .phantom import PhantomError
from .semisolid import Lineshape


@dataclass(frozen=True, kw_only=True, eq=False)
class BoundPool:
    """Protons bound to macromolecules that exchange magnetization with the free water of the same point.

    The back rate follows from detailed balance: k_f m0_free = k_b m0_bound.

    Parameters
    ----------
    m0 : ndarray, shape (n,)
        Equilibrium magnetization of the bound pool, in the unit of the cloud's `m0`.
    k_f : ndarray, shape (n,)
        Exchange rate from the free to the bound pool [1/s].
    t1, t2 : ndarray, shape (n,)
        Relaxation times of the bound pool [s]; may be infinite.
    lineshape : {'super_lorentzian', 'lorentzian', 'gaussian'}
        Absorption line of the bound pool.
    """

    m0: NDArray[np.float64]
    k_f: NDArray[np.float64]
    t1: NDArray[np.float64]
    t2: NDArray[np.float64]
    lineshape: Lineshape = "super_lorentzian"

    def __post_init__(self) -> None:
        n = int(np.size(self.m0))
        for name in ("m0", "k_f"):
            store_points(self, name, n, "bound.", low=0.0)
        for name in ("t1", "t2"):
            store_points(self, name, n, "bound.", positive_time=True)
        if self.lineshape not in get_args(Lineshape):
            raise PhantomError(
                f"bound.lineshape must be one of {get_args(Lineshape)}; got {self.lineshape!r}."
            )

    @property
    def size(self) -> int:
        """Number of points."""
        return self.m0.size

    def select(self, index: NDArray[np.intp], divide: float = 1.0) -> BoundPool:
        """Return the pools of some points, their magnetization divided by a number."""
        picked = {k: getattr(self, k)[index] for k in ("m0", "k_f", "t1", "t2")}
        return BoundPool(**{**picked, "m0": picked["m0"] / divide}, lineshape=self.lineshape)


def store_points(
    owner: Any, name: str, n: int, prefix: str = "", *, low: float | None = None, positive_time: bool = False
) -> None:
    """Replace a field by its float64 array of shape (n,), checked."""
    value = np.asarray(getattr(owner, name), np.float64)
    if value.ndim == 0 or (value.shape == (1,) and n > 1):
        value = np.full(n, value)
    if value.shape != (n,):
        raise PhantomError(f"{prefix}{name} must have one value per point, shape ({n},); got {value.shape}.")
    if positive_time:
        bad, wanted = ~(value > 0), "positive seconds (infinity allowed)"
    elif low is None:
        bad, wanted = ~np.isfinite(value), "finite"
    else:
        bad, wanted = ~(np.isfinite(value) & (value >= low)), f"finite and >= {low:g}"
    if bad.any():
        i = first_true(bad)
        raise PhantomError(f"{prefix}{name} must be {wanted}; got {value[i]} at point {i}.")
    object.__setattr__(owner, name, value)


def first_true(bad: NDArray[np.bool_]) -> int:
    """Return the number of the first row with a true entry."""
    return int(np.argwhere(bad)[0][0])

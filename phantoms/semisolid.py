"""The semisolid pool of a tissue: what magnetization transfer needs besides T1 and T2."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

Lineshape = Literal["super_lorentzian", "lorentzian", "gaussian"]


@dataclass(frozen=True, kw_only=True)
class SemisolidPool:
    """Macromolecular protons of the two-pool model of magnetization transfer, at any field.

    In the notation of Henkelman (MRM 29:759-766, 1993) and Stanisz (MRM 54:507-512, 2005), M0a = 1: the free
    pool loses `rate` * `ratio` and the semisolid pool `rate` per second.

    Parameters
    ----------
    ratio : float
        Equilibrium magnetization relative to that of the free pool, M0b.
    rate : float
        Exchange constant R [1/s], the rate from the semisolid to the free pool.
    t1, t2 : float
        Relaxation times of the pool [s].
    lineshape : {'super_lorentzian', 'lorentzian', 'gaussian'}
        Its absorption line.
    source : str
        Where the values come from.
    verified : bool
        Whether that source was opened and read.
    """

    ratio: float
    rate: float
    t1: float
    t2: float
    lineshape: Lineshape = "super_lorentzian"
    source: str = ""
    verified: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.ratio < 1:
            raise ValueError(f"ratio of a semisolid pool must be between 0 and 1; got {self.ratio}.")
        for key in ("rate", "t1", "t2"):
            value = getattr(self, key)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{key} of a semisolid pool must be positive and finite; got {value}.")
        if self.lineshape not in get_args(Lineshape):
            raise ValueError(f"lineshape must be one of {get_args(Lineshape)}; got {self.lineshape!r}.")

    @property
    def k_f(self) -> float:
        """Rate from the free to the semisolid pool [1/s], as in `phantoms.BoundPool`."""
        return self.rate * self.ratio

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SemisolidPool:
        """Build the pool that `to_dict` described."""
        return cls(
            **{k: float(data[k]) for k in ("ratio", "rate", "t1", "t2")},
            lineshape=data["lineshape"],
            source=str(data["source"]),
            verified=bool(data["verified"]),
        )

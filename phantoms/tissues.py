"""Tissue parameters as functions of the field strength."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from .semisolid import SemisolidPool

_TIMES = ("t1", "t2", "t2_prime")


class TissueError(ValueError):
    """A tissue or its parameters are not usable."""


@dataclass(frozen=True, kw_only=True)
class TissueProperties:
    """Parameters of one tissue at one field strength.

    Parameters
    ----------
    name : str
        Name of the tissue.
    t1, t2, t2_prime : float
        Relaxation times [s]; each may be infinite. 1/T2* = 1/T2 + 1/T2'.
    pd : float
        Proton density relative to cerebrospinal fluid.
    chi : float
        Susceptibility [ppm] relative to tissue water.
    adc : float
        Apparent diffusion coefficient [m^2/s].
    shift_ppm : float
        Chemical shift [ppm]: 0 for water, negative for fat.
    chi_plus : float, optional
        Paramagnetic part of `chi` [ppm], where it is known; the rest is diamagnetic.
    semisolid : SemisolidPool, optional
        Pool that exchanges magnetization with the water, where it is known.
    sources : dict
        Where each value comes from.
    verified : bool
        Whether the source of every value was opened and read.
    """

    name: str
    t1: float
    t2: float
    t2_prime: float = math.inf
    pd: float = 1.0
    chi: float = 0.0
    adc: float = 0.0
    shift_ppm: float = 0.0
    chi_plus: float | None = None
    semisolid: SemisolidPool | None = None
    sources: dict[str, str] = field(default_factory=dict)
    verified: bool = False

    def __post_init__(self) -> None:
        for key in ("t1", "t2", "t2_prime"):
            value = getattr(self, key)
            if not value > 0:
                raise TissueError(f"{key} must be positive; got {value} s for tissue {self.name!r}.")
        for key in ("pd", "adc"):
            value = getattr(self, key)
            if not (math.isfinite(value) and value >= 0):
                raise TissueError(f"{key} must be finite and not negative; got {value} for {self.name!r}.")
        for key in ("chi", "shift_ppm"):
            if not math.isfinite(getattr(self, key)):
                raise TissueError(f"{key} must be finite; got {getattr(self, key)} for {self.name!r}.")
        # Both parts are rounded to 1e-6 ppm.
        if self.chi_plus is not None and not max(self.chi, 0.0) - 1e-6 <= self.chi_plus < math.inf:
            raise TissueError(
                f"chi_plus must be finite, not negative and at least chi = {self.chi} ppm; got "
                f"{self.chi_plus} for {self.name!r}."
            )
        if self.t2 > self.t1:
            raise TissueError(
                f"t2 must not exceed t1; got t2={self.t2} s, t1={self.t1} s for tissue {self.name!r}. "
                "Check the tissue table."
            )

    @property
    def t2_star(self) -> float:
        """Effective transverse relaxation time [s]."""
        rate = 1.0 / self.t2 + 1.0 / self.t2_prime
        return 1.0 / rate if rate > 0 else math.inf

    @property
    def chi_minus(self) -> float | None:
        """Diamagnetic part of the susceptibility [ppm], not positive; None where it is not known."""
        return None if self.chi_plus is None else min(round(self.chi - self.chi_plus, 6), 0.0)

    def scaled(self, factors: Mapping[str, float]) -> TissueProperties:
        """Return a copy with parameters multiplied, e.g. ``{"t1": 1.02}``; chi takes both its parts along."""
        allowed = ("t1", "t2", "t2_prime", "pd", "chi", "adc")
        values = {k: getattr(self, k) for k in allowed}
        for key, factor in factors.items():
            if key not in values or not (math.isfinite(factor) and factor >= 0):
                raise TissueError(
                    f"scale of tissue {self.name!r} must map one of {allowed} to a finite number >= 0; "
                    f"got {key!r}: {factor!r}."
                )
            values[key] *= factor
        if self.chi_plus is not None:
            values["chi_plus"] = self.chi_plus * factors.get("chi", 1.0)
        return replace(self, **values)


@dataclass(frozen=True, kw_only=True)
class TissueCurve:
    """Parameters of one tissue tabulated over the field strength.

    Parameters
    ----------
    name : str
        Name of the tissue.
    b0 : tuple of float
        Field strengths [T], increasing. One entry means: valid at any field.
    t1, t2, t2_prime : tuple of float
        Times [s], one per field.
    pd, chi, adc, shift_ppm, chi_plus, semisolid
        As in `TissueProperties`, independent of the field.
    sources : dict
        Text per parameter.
    verified : tuple of bool
        One per field: whether every value used at that field was read at its source.
    flags : dict
        The same for each value: per parameter of `sources`, one flag per field.
    """

    name: str
    b0: tuple[float, ...]
    t1: tuple[float, ...]
    t2: tuple[float, ...]
    t2_prime: tuple[float, ...]
    pd: float = 1.0
    chi: float = 0.0
    adc: float = 0.0
    shift_ppm: float = 0.0
    chi_plus: float | None = None
    semisolid: SemisolidPool | None = None
    sources: dict[str, str] = field(default_factory=dict)
    verified: tuple[bool, ...] = ()
    flags: dict[str, tuple[bool, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lengths = {len(v) for v in (self.b0, self.t1, self.t2, self.t2_prime)}
        if lengths != {len(self.b0)} or not self.b0:
            raise TissueError(f"tissue {self.name!r} must have one t1, t2 and t2_prime per field.")
        if any(b <= 0 for b in self.b0) or any(a >= b for a, b in pairwise(self.b0)):
            raise TissueError(f"b0 of tissue {self.name!r} must be positive and increasing; got {self.b0}.")
        if self.verified and len(self.verified) != len(self.b0):
            raise TissueError(f"verified of tissue {self.name!r} must have one entry per field.")
        if any(len(v) != len(self.b0) for v in self.flags.values()):
            raise TissueError(f"flags of tissue {self.name!r} must have one entry per field.")
        for k in range(len(self.b0)):
            self._build(self.t1[k], self.t2[k], self.t2_prime[k], verified=False)

    def _build(self, t1: float, t2: float, t2_prime: float, *, verified: bool) -> TissueProperties:
        return TissueProperties(
            name=self.name,
            t1=t1,
            t2=t2,
            t2_prime=t2_prime,
            pd=self.pd,
            chi=self.chi,
            adc=self.adc,
            shift_ppm=self.shift_ppm,
            chi_plus=self.chi_plus,
            semisolid=self.semisolid,
            sources=self.sources,
            verified=verified,
        )

    def at(self, b0: float) -> TissueProperties:
        """Return the parameters at a field strength.

        ln T1, ln T2 and R2' are interpolated by monotone cubics (PCHIP) in ln B0. T1 and T2 are held
        constant outside the table, R2' is continued in proportion to B0.

        Parameters
        ----------
        b0 : float
            Field strength [T].

        Returns
        -------
        TissueProperties
            Values at `b0`; `verified` only if the neighbouring columns are.
        """
        if not (math.isfinite(b0) and b0 > 0):
            raise TissueError(f"b0 must be a positive field strength in tesla; got {b0}.")
        fields = np.asarray(self.b0)
        x = min(max(b0, fields[0]), fields[-1])
        near = [int(np.searchsorted(fields, x, "right")) - 1, int(np.searchsorted(fields, x, "left"))]
        inside = len(self.b0) == 1 or fields[0] <= b0 <= fields[-1]
        verified = inside and bool(self.verified) and all(self.verified[k] for k in near)
        if len(self.b0) == 1:
            return self._build(self.t1[0], self.t2[0], self.t2_prime[0], verified=verified)
        r2_prime = _monotone(self.b0, tuple(1.0 / v for v in self.t2_prime), x) * b0 / x
        return self._build(
            math.exp(_monotone(self.b0, tuple(np.log(self.t1)), x)),
            math.exp(_monotone(self.b0, tuple(np.log(self.t2)), x)),
            1.0 / r2_prime if r2_prime > 0 else math.inf,
            verified=verified,
        )


@lru_cache(maxsize=1024)  # every phantom of a cohort asks for the same values
def _monotone(b0: tuple[float, ...], values: tuple[float, ...], at: float) -> float:
    from scipy.interpolate import PchipInterpolator

    return float(PchipInterpolator(np.log(b0), values)(np.log(at)))


@dataclass(frozen=True, kw_only=True)
class TissueTable:
    """A named set of tissues.

    Parameters
    ----------
    curves : dict
        `TissueCurve` per tissue name.
    """

    curves: dict[str, TissueCurve]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all tissues."""
        return tuple(self.curves)

    def at(self, name: str, b0: float) -> TissueProperties:
        """Return the parameters of one tissue at one field strength [T]."""
        try:
            return self.curves[name].at(b0)
        except KeyError:
            raise TissueError(f"tissue must be one of {sorted(self.curves)}; got {name!r}.") from None

    @classmethod
    def uniform(cls, *tissues: TissueProperties) -> TissueTable:
        """Return a table whose tissues have the same parameters at every field."""
        return cls(
            curves={
                t.name: TissueCurve(
                    name=t.name,
                    b0=(1.0,),
                    t1=(t.t1,),
                    t2=(t.t2,),
                    t2_prime=(t.t2_prime,),
                    pd=t.pd,
                    chi=t.chi,
                    adc=t.adc,
                    shift_ppm=t.shift_ppm,
                    chi_plus=t.chi_plus,
                    semisolid=t.semisolid,
                    sources=t.sources,
                    verified=(t.verified,),
                )
                for t in tissues
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers, ready for JSON (infinite times become None)."""
        out: dict[str, Any] = {}
        for name, c in self.curves.items():
            times = {k: [v if math.isfinite(v) else None for v in getattr(c, k)] for k in _TIMES}
            rest = {k: getattr(c, k) for k in ("pd", "chi", "adc", "shift_ppm", "sources")}
            flags = {k: list(v) for k, v in c.flags.items()}
            if c.chi_plus is not None:
                rest["chi_plus"] = c.chi_plus
            if c.semisolid is not None:
                rest["semisolid"] = c.semisolid.to_dict()
            out[name] = {"b0": list(c.b0), **times, **rest, "verified": list(c.verified), "flags": flags}
        return out

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TissueTable:
        """Build the table that `to_dict` described."""
        curves = {}
        for name, entry in data.items():
            try:
                curves[name] = TissueCurve(
                    name=name,
                    b0=_times(entry["b0"]),
                    t1=_times(entry["t1"]),
                    t2=_times(entry["t2"]),
                    t2_prime=_times(entry["t2_prime"]),
                    pd=float(entry["pd"]),
                    chi=float(entry["chi"]),
                    adc=float(entry["adc"]),
                    shift_ppm=float(entry["shift_ppm"]),
                    chi_plus=None if entry.get("chi_plus") is None else float(entry["chi_plus"]),
                    semisolid=None
                    if entry.get("semisolid") is None
                    else SemisolidPool.from_dict(entry["semisolid"]),
                    sources={str(k): str(v) for k, v in entry.get("sources", {}).items()},
                    verified=tuple(bool(v) for v in entry.get("verified", ())),
                    flags={str(k): tuple(bool(x) for x in v) for k, v in entry.get("flags", {}).items()},
                )
            except (KeyError, TypeError, AttributeError) as error:
                raise TissueError(f"tissue table entry {name!r} is not complete: {error!r}.") from error
        return cls(curves=curves)


def _times(values: Any) -> tuple[float, ...]:
    """Numbers of a JSON list; None stands for infinity."""
    return tuple(math.inf if v is None else float(v) for v in values)

"""Gradient coils: the spatial harmonics of the field of each coil, as library records."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from ..records import Provenance, find_record, list_records, load_record, read_toml, require


@dataclass(frozen=True, kw_only=True)
class CoilHarmonic:
    """One harmonic of one coil, relative to its linear term.

    Attributes
    ----------
    n, m : int
        Degree (2..20) and order (0..n).
    cosine, sine : float
        Coefficients of cos(m phi) and sin(m phi); phi from +x (right) towards +y (anterior).
    """

    n: int
    m: int
    cosine: float = 0.0
    sine: float = 0.0

    def __post_init__(self) -> None:
        require(
            "harmonic",
            [
                (2 <= self.n <= 20, f"n must be 2..20 (the linear term is exact); got {self.n}"),
                (0 <= self.m <= self.n, f"m must be 0..n; got m={self.m}, n={self.n}"),
                (abs(self.cosine) <= 10, f"cosine must be -10..10; got {self.cosine}"),
                (abs(self.sine) <= 10, f"sine must be -10..10; got {self.sine}"),
                (self.m > 0 or self.sine == 0, f"sine has no meaning for m = 0; got {self.sine}"),
            ],
        )


@dataclass(frozen=True, kw_only=True)
class GradientCoil:
    """Field of three gradient coils per unit gradient.

    Of each coil: its coordinate + r0 sum of coefficient (r/r0)^n P_nm(cos theta) cos or sin(m phi).

    Attributes
    ----------
    name : str
        Library name.
    description : str
        What the coil stands for.
    synthetic : bool
        Whether the values were made up to behave like a class of coils.
    radius : float
        Reference radius r0 [m].
    valid_radius : float
        Radius around the isocentre within which the field is one-to-one and may be used [m].
    normalization : {'unnormalised', 'siemens'}
        Of P_nm, both without the Condon-Shortley phase. 'siemens': for m >= 1 times
        sqrt((2n + 1)(n - m)! / (2 (n + m)!)), as FreeSurfer's gradient unwarping documents it.
    x, y, z : tuple of CoilHarmonic
        Harmonics of the coils along right, anterior and superior.
    source : str
        Where the table comes from.
    verified : bool
        Whether that source was opened.
    """

    name: str
    description: str
    synthetic: bool
    radius: float
    valid_radius: float
    normalization: Literal["unnormalised", "siemens"]
    x: tuple[CoilHarmonic, ...]
    y: tuple[CoilHarmonic, ...]
    z: tuple[CoilHarmonic, ...]
    source: str
    verified: bool

    def __post_init__(self) -> None:
        require(
            "coil",
            [
                (bool(self.name), "name must not be empty"),
                (bool(self.source), "source must not be empty; say where the table comes from"),
                (0.01 <= self.radius <= 1, f"radius must be 0.01..1 m; got {self.radius}"),
                (0.01 <= self.valid_radius <= 1, f"valid_radius must be 0.01..1 m; got {self.valid_radius}"),
                (
                    self.normalization in ("unnormalised", "siemens"),
                    f"normalization must be unnormalised or siemens; got {self.normalization!r}",
                ),
            ],
        )

    @property
    def provenance(self) -> Provenance:
        """Where the table comes from."""
        return Provenance(source=self.source, verified=self.verified)

    def unnormalised(self) -> GradientCoil:
        """Return the same coil with coefficients of unnormalised Legendre functions."""
        if self.normalization == "unnormalised":
            return self
        x, y, z = (tuple(_unnormalised(term) for term in coil) for coil in (self.x, self.y, self.z))
        return dataclasses.replace(self, normalization="unnormalised", x=x, y=y, z=z)


def siemens_factor(n: int, m: int) -> float:
    """Siemens's normalisation of P_nm over the unnormalised function (without Condon-Shortley phase)."""
    if m == 0:
        return 1.0
    return math.sqrt((2 * n + 1) * math.factorial(n - m) / (2 * math.factorial(n + m)))


def _unnormalised(term: CoilHarmonic) -> CoilHarmonic:
    factor = siemens_factor(term.n, term.m)
    return dataclasses.replace(term, cosine=term.cosine * factor, sine=term.sine * factor)


def load_coil(name_or_path: str | Path) -> GradientCoil:
    """Load a gradient coil from the library (by name) or from a TOML file (by path).

    Raises
    ------
    RecordError
        With all errors of the record at once.
    """
    path = find_record("coils", name_or_path)
    return _load(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _load(path: Path, _changed: int) -> GradientCoil:
    return load_record(GradientCoil, read_toml(path), path.name)


def list_coils() -> tuple[str, ...]:
    """Names of the gradient coils in the library."""
    return list_records("coils")

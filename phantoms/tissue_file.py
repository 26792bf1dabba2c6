"""The tissue table of the package and its file format."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from .semisolid import SemisolidPool
from .tissues import TissueCurve, TissueTable

TISSUE_FILE = Path(__file__).parent / "data" / "tissues.toml"
R2_PRIME_PER_PPM_3T = 137.0
"""Rate of reversible dephasing per ppm of susceptibility sources at 3 T, 1/s/ppm (Shin 2021)."""


@cache
def default_tissue_table() -> TissueTable:
    """Return the tissue table of the package (``phantoms/data/tissues.toml``)."""
    return load_tissue_table(TISSUE_FILE)


def load_tissue_table(path: str | Path) -> TissueTable:
    """Read a tissue table in the layout of ``phantoms/data/tissues.toml``.

    Parameters
    ----------
    path : str or Path
        TOML file; its header comment explains the keys.

    Returns
    -------
    TissueTable
        The table.
    """
    data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    sources = data.pop("sources", {})
    curves: dict[str, TissueCurve] = {}
    for name, entry in data.items():
        if "alias" not in entry:
            curves[name] = _curve(name, entry, sources)
    for name, entry in data.items():
        if "alias" in entry:
            curves[name] = _alias(name, curves[entry["alias"]], sources[entry["alias_source"]]["text"])
    return TissueTable(curves={name: curves[name] for name in data})


def _alias(name: str, other: TissueCurve, text: str) -> TissueCurve:
    values = {k: getattr(other, k) for k in TissueCurve.__dataclass_fields__ if k not in ("name", "sources")}
    sources = {k: f"{text}: {v}" for k, v in other.sources.items()}
    values["verified"] = tuple(False for _ in other.b0)
    values["flags"] = {k: values["verified"] for k in other.flags}
    if other.semisolid is not None:
        pool = other.semisolid
        values["semisolid"] = replace(pool, source=f"{text}: {pool.source}", verified=False)
    return TissueCurve(name=name, sources=sources, **values)


def _curve(name: str, entry: Mapping[str, Any], sources: Mapping[str, Mapping[str, Any]]) -> TissueCurve:
    b0 = tuple(float(v) for v in entry["b0"])
    chi_pos, chi_neg = float(entry["chi_pos"]), float(entry["chi_neg"])
    t1 = tuple(v * 1e-3 for v in _column(entry["t1_ms"], len(b0)))
    t2 = tuple(v * 1e-3 for v in _column(entry["t2_ms"], len(b0)))
    t2_star = tuple(v * 1e-3 for v in _column(entry["t2star_ms"], len(b0)))
    law = R2_PRIME_PER_PPM_3T * (chi_pos + abs(chi_neg)) / 3.0
    t2_prime = tuple(_t2_prime(s, t, law * b) for s, t, b in zip(t2_star, t2, b0, strict=True))

    texts: dict[str, str] = {}
    flags: dict[str, tuple[bool, ...]] = {}
    for key in ("t1", "t2", "t2star", "pd", "chi", "adc", "shift"):
        used = entry.get(f"{key}_source")
        if used is None:
            continue
        column = list(used) if isinstance(used, list) else [used] * len(b0)
        flags[key] = tuple(bool(sources[source]["verified"]) for source in column)
        parts = [f"{b:g} T: {sources[s]['text']}" for b, s in zip(b0, column, strict=True)]
        texts[key] = "; ".join(parts) if isinstance(used, list) else str(sources[used]["text"])
    return TissueCurve(
        name=name,
        b0=b0,
        t1=t1,
        t2=t2,
        t2_prime=t2_prime,
        pd=float(entry["pd"]),
        chi=round(chi_pos + chi_neg, 6),
        adc=float(entry["adc_um2_ms"]) * 1e-9,
        shift_ppm=float(entry.get("shift_ppm", 0.0)),
        chi_plus=chi_pos,
        semisolid=_semisolid(entry, sources),
        sources=texts,
        verified=tuple(all(values) for values in zip(*flags.values(), strict=True)),
        flags=flags,
    )


def _semisolid(entry: Mapping[str, Any], sources: Mapping[str, Mapping[str, Any]]) -> SemisolidPool | None:
    if "mt_ratio" not in entry:
        return None
    source = sources[entry["mt_source"]]
    return SemisolidPool(
        ratio=float(entry["mt_ratio"]),
        rate=float(entry["mt_rate"]),
        t1=float(entry["mt_t1_ms"]) * 1e-3,
        t2=float(entry["mt_t2_us"]) * 1e-6,
        source=str(source["text"]),
        verified=bool(source["verified"]),
    )


def _column(value: float | list[float], n: int) -> list[float]:
    return [float(v) for v in value] if isinstance(value, list) else [float(value)] * n


def _t2_prime(t2_star: float, t2: float, law_rate: float) -> float:
    """T2' from T2* [s]; the susceptibility law where T2* is absent or not below T2."""
    if math.isinf(t2_star):
        return math.inf
    if math.isnan(t2_star) or t2_star >= t2:
        return 1.0 / law_rate if law_rate > 0 else math.inf
    return 1.0 / (1.0 / t2_star - 1.0 / t2)

"""Objects made of nested bodies: closed-form k-space and voxels of the same thing.

A body fills its inside with one tissue and takes that room from its host, another body that contains it, or
from air. Bodies of one host must not overlap.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..phantom import Phantom, PhantomError
from ..tissues import TissueCurve, TissueTable
from .bodies import Body, Vector, voxel_fractions
from .covering import covering_lines, voxel_edges


@dataclass(frozen=True, kw_only=True)
class BodyPhantom:
    """Nested bodies with their tissues.

    Parameters
    ----------
    name : str
        Name of the phantom.
    bodies : tuple of Body
        Hosts before the bodies they contain.
    table : TissueTable
        Has every tissue.
    mixtures : dict
        Fillings that are made of several tissues, with the share of each, e.g. an emulsion
        ``{"cream": {"water": 0.7, "oil": 0.3}}``; all other fillings of bodies are tissues.
    truth : dict
        What is known of the object; JSON-able.
    chi_outside : float
        Susceptibility of the air around [ppm], relative to water.
    """

    name: str
    bodies: tuple[Body, ...]
    table: TissueTable
    mixtures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    truth: dict[str, Any] = field(default_factory=dict)
    chi_outside: float = 9.4

    def __post_init__(self) -> None:
        known: set[str] = set()
        for body in self.bodies:
            if body.host and body.host not in known:
                raise PhantomError(f"host must be an earlier body; got {body.host!r} for {body.name!r}.")
            if unknown := sorted(set(self._shares(body.tissue)) - set(self.table.curves)):
                raise PhantomError(f"tissues {unknown} must be in the table {sorted(self.table.curves)}.")
            if body.name in known:
                raise PhantomError(f"names of bodies must differ; got {body.name!r} twice.")
            if body.name:
                known.add(body.name)
        for name, shares in self.mixtures.items():
            if min(shares.values()) < 0 or abs(sum(shares.values()) - 1.0) > 1e-9:
                raise PhantomError(f"shares of {name!r} must be 0..1 and sum to 1; got {dict(shares)}.")

    def _shares(self, filling: str) -> Mapping[str, float]:
        return self.mixtures.get(filling, {filling: 1.0})

    @property
    def tissues(self) -> tuple[str, ...]:
        """Tissues in the order of their first body."""
        return tuple(dict.fromkeys(t for b in self.bodies for t in self._shares(b.tissue)))

    def _changes(self) -> Iterator[tuple[Body, dict[str, float]]]:
        """Bodies with what each adds to, and takes from, the share of every tissue in its place."""
        filling = {b.name: b.tissue for b in self.bodies}
        for body in self.bodies:
            change = dict(self._shares(body.tissue))
            if body.host:
                for tissue, share in self._shares(filling[body.host]).items():
                    change[tissue] = change.get(tissue, 0.0) - share
            yield body, change

    def volumes(self) -> dict[str, float]:
        """Return the exact volume of each tissue [m^3]."""
        out = dict.fromkeys(self.tissues, 0.0)
        for body, change in self._changes():
            for tissue, share in change.items():
                out[tissue] += share * body.volume
        return out

    def kspace(self, k: ArrayLike, signal: Mapping[str, complex]) -> NDArray[np.complex128]:
        """Return the closed-form k-space.

        Parameters
        ----------
        k : array_like, shape (..., 3)
            Positions [1/m].
        signal : dict
            Magnetisation per volume and tissue, e.g. its proton density times its relaxation weight; tissues
            without an entry are silent.

        Returns
        -------
        ndarray, complex128, shape (...)
            S(0) is the integral of the signal [m^3].
        """
        points = np.asarray(k, float)
        if points.ndim == 0 or points.shape[-1] != 3:
            raise PhantomError(f"k must have shape (..., 3); got {points.shape}.")
        if unknown := sorted(set(signal) - set(self.tissues)):
            raise PhantomError(f"signal must name tissues of the phantom {self.tissues}; got {unknown}.")
        flat = points.reshape(-1, 3)
        total = np.zeros(len(flat), np.complex128)
        for body, change in self._changes():
            step = sum(share * signal.get(tissue, 0.0) for tissue, share in change.items())
            if step:
                total += step * body.kspace(flat)
        return total.reshape(points.shape[:-1])

    def phantom(self, voxel_size: float | Vector, *, sub: int = 5, overlaps: bool = False) -> Phantom:
        """Return the object on a grid that covers it with a voxel to spare.

        Parameters
        ----------
        voxel_size : float or tuple of float
            Voxel size [m].
        sub : int
            Samples per axis of voxels that a surface may cross; small bodies have more.
        overlaps : bool
            Let bodies of one host that overlap share the voxel; otherwise they are an error.
        """
        low = np.min([np.subtract(b.center, b.reach) for b in self.bodies], axis=0)
        high = np.max([np.add(b.center, b.reach) for b in self.bodies], axis=0)
        index = {t: n for n, t in enumerate(self.tissues)}
        lines = covering_lines(voxel_size, low, high, bytes_per_voxel=4 * len(index) + 16)
        count = [line.size for line in lines]
        fractions = np.zeros((len(index), *count), np.float32)
        labels = np.zeros(count, np.int16)
        regions: dict[int, str] = {}
        for body, change in self._changes():
            where, part = voxel_fractions(body, lines, sub)
            for tissue, share in change.items():
                fractions[index[tissue]][where] += np.float32(share) * part
            if body.name:
                regions[len(regions) + 1] = body.name
                labels[where][part > 0.5] = len(regions)
        np.clip(fractions, 0.0, 1.0, out=fractions)
        if overlaps:
            fractions /= np.maximum(fractions.sum(axis=0), 1.0)
        affine = np.diag([*voxel_edges(voxel_size).tolist(), 1.0])
        affine[:3, 3] = [line[0] for line in lines]
        return Phantom(
            name=self.name,
            tissues=tuple(index),
            fractions=fractions,
            affine=affine,
            table=TissueTable(curves={t: self.table.curves[t] for t in index}),
            labels=labels,
            regions=regions,
            truth={**self.truth, "volumes_ml": {t: 1e6 * v for t, v in self.volumes().items()}},
            chi_outside=self.chi_outside,
        )


def liquid(
    name: str,
    b0: Sequence[float],
    t1: Sequence[float],
    t2: Sequence[float],
    *,
    sources: Mapping[str, str],
    verified: bool,
    pd: float = 1.0,
    adc: float = 2.02e-9,
    chi: float = 0.0,
    shift_ppm: float = 0.0,
    t2_prime: float = math.inf,
) -> TissueCurve:
    """Return a liquid from fields [T] and times [s]; by default the diffusion of water at 20 degrees."""
    fields = tuple(float(b) for b in b0)
    return TissueCurve(
        name=name,
        b0=fields,
        t1=tuple(float(v) for v in t1),
        t2=tuple(float(v) for v in t2),
        t2_prime=(t2_prime,) * len(fields),
        pd=pd,
        chi=chi,
        adc=adc,
        shift_ppm=shift_ppm,
        sources=dict(sources),
        verified=(verified,) * len(fields),
    )

"""The spins that one class of readouts hears."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..scanned import ScannedObject
from .slices import Selection, SliceClass


@dataclass(frozen=True, kw_only=True, eq=False)
class Species:
    """Kinds of spins (S): a tissue, or one half of a tissue's coherences in a balanced sequence.

    tissue : (S,) index of the tissue;  pd, t1, t2, adc : (S,);  rate : (S,) 1 / T2' [1/s];
    shift : (S,) chemical shift [Hz];  side : (S,) 0 where T2' acts along the echo path, else the sign with
    which it acts on the time after the pulse;  order : (S,) coherence order relative to the echo path's: what
    crushers leave of others where a slice's profile is steep;  late : (S,) how much longer than the echo
    path that order has dephased [s].
    """

    tissue: np.ndarray
    pd: np.ndarray
    t1: np.ndarray
    t2: np.ndarray
    adc: np.ndarray
    rate: np.ndarray
    shift: np.ndarray
    side: np.ndarray
    order: np.ndarray
    late: np.ndarray

    @property
    def size(self) -> int:
        """Number of species."""
        return int(self.tissue.size)

    @classmethod
    def of(
        cls, obj: ScannedObject, shift: np.ndarray, *, balanced: bool, orders: tuple[int, ...] = (0,),
        unit_time: float = 0.0,
    ) -> Species:  # fmt: skip
        """Return the species of an object; ``shift`` (tissues,) [Hz], ``orders`` heard, time of an order."""
        columns = {
            name: np.array([getattr(t, name) for t in obj.tissues], float)
            for name in ("pd", "t1", "t2", "adc")
        }
        rate = np.array([1.0 / t.t2_prime for t in obj.tissues])
        tissue, side = np.arange(rate.size), np.zeros(rate.size, np.int64)
        if balanced and np.any(rate > 0):
            tissue = np.repeat(tissue, 2)
            side = np.tile([1, -1], rate.size)
        order = np.repeat(np.asarray(orders, np.int64), tissue.size)
        tissue, side = np.tile(tissue, len(orders)), np.tile(side, len(orders))
        return cls(
            tissue=tissue, side=side, order=order, late=order * unit_time, rate=rate[tissue],
            shift=shift[tissue],
            **{name: values[tissue] for name, values in columns.items()},
        )  # fmt: skip

    def decay(self, since_rf: np.ndarray, tau: np.ndarray) -> np.ndarray:
        """Relaxation and chemical shift since the pulse, complex (..., S) for times (...,) [s]."""
        time = np.where(self.side == 0, np.abs(tau)[..., None], self.side * tau[..., None])
        real = -since_rf[..., None] / self.t2 - self.rate * time
        return np.asarray(np.exp(real - 2j * np.pi * self.shift * (tau[..., None] + self.late)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Window:
    """The part of the object that a class hears, arrays flat over its voxels (N).

    part : slices into (phase, slice, read);  fractions : (tissues, N);  b1, df : (N,);
    place : (N,) position along the direction of selection from the class's centre [m];
    width : extent of a voxel along it [m];  deviations : (7, N) their maps (`deviations`), or (0, N);
    waves : per order beside the echo path its phase and its mean over each voxel, complex64 (N,).
    """

    part: tuple[slice, slice, slice]
    fractions: np.ndarray
    b1: np.ndarray
    df: np.ndarray
    place: np.ndarray
    width: float
    deviations: np.ndarray
    waves: dict[int, np.ndarray]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along (phase, slice, read)."""
        a, b, c = (s.stop - s.start for s in self.part)
        return (a, b, c)

    @property
    def occupied(self) -> np.ndarray:
        """Mask (N,) of voxels with tissue."""
        return np.asarray(self.fractions.any(axis=0))


def window_of(
    obj: ScannedObject, heard: SliceClass, chosen: Selection | None, coordinate: np.ndarray | None,
    shift: np.ndarray, terms: int,
) -> Window | None:  # fmt: skip
    """Cut out what a class hears; None where it hears nothing of the object.

    ``coordinate`` (phase, slice, read) [m] along the direction of selection, where there is one; ``terms`` of
    the deviations.
    """
    grid = obj.placed.grid
    shape = grid.array_shape
    part = [slice(0, n) for n in shape]
    margin = 0.0
    if chosen is not None and heard.slope:
        reach = np.abs(obj.df).max(initial=0.0) + np.abs(shift).max(initial=0.0)
        margin = float(reach / abs(heard.slope))
    if coordinate is not None and np.isfinite(heard.low):
        width = float(np.abs(chosen.direction) @ np.asarray(grid.spacing))  # type: ignore[union-attr]
        near = (coordinate >= heard.low - margin - width) & (coordinate <= heard.high + margin + width)
        near &= obj.occupied
        if not near.any():
            return None
        for axis in range(3):
            hits = np.flatnonzero(near.any(axis=tuple(a for a in range(3) if a != axis)))
            part[axis] = slice(int(hits[0]), int(hits[-1]) + 1)
    cut = (part[0], part[1], part[2])
    whole = obj.placed.fractions[(slice(None), *cut)]
    if obj.placed.density is not None:
        whole = whole * obj.placed.density[cut]
    count = int(np.prod(whole.shape[1:]))
    place = np.zeros(count, np.float32)
    width = 0.0
    if coordinate is not None:
        place = (coordinate[cut].reshape(-1) - heard.center).astype(np.float32)
        width = float(np.abs(chosen.direction) @ np.asarray(grid.spacing))  # type: ignore[union-attr]
    return Window(
        part=cut, fractions=np.ascontiguousarray(whole.reshape(len(whole), -1)),
        b1=np.ascontiguousarray(obj.b1[cut]).reshape(-1), df=np.ascontiguousarray(obj.df[cut]).reshape(-1),
        place=place, width=width, deviations=obj.deviation_maps(cut, terms), waves={},
    )  # fmt: skip

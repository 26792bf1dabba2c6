"""The `PointCloud`: isochromats at positions, each with its own parameters, for exact simulation."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .bound import BoundPool, first_true, store_points
from .motion import Motion
from .phantom import PhantomError

TAIL = 1e-4
"""Share of each tail of the Lorentzian that is folded onto its border: keeps frequencies finite."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PointCloud:
    """Points of magnetization; the signal of coil c is signal_scale * sum over points of m0 m sensitivity[c].

    Arrays of one value are spread over all points. No order between t1 and t2 is asked for: files that test
    simulators break it.

    Parameters
    ----------
    name : str
        Name of the object.
    position : ndarray, shape (n, 3)
        World RAS [m], at rest.
    m0 : ndarray, shape (n,)
        Equilibrium magnetization of each point, any unit, not negative.
    t1, t2 : ndarray, shape (n,)
        Relaxation times [s], positive; may be infinite.
    t2_prime : ndarray, shape (n,)
        Reversible dephasing [s] by a Lorentzian distribution inside the point; infinite: none.
    df : ndarray, shape (n,)
        Off-resonance [Hz] including chemical shift, positive for a higher frequency.
    adc : ndarray, shape (n,)
        Apparent diffusion coefficient [m^2/s].
    b1 : ndarray, complex128, shape (tx, n)
        Transmit field relative to nominal.
    sensitivity : ndarray, complex128, shape (coils, n), optional
        Receive sensitivity; None: one coil that receives 1 everywhere.
    voxel : ndarray, shape (3, 3), optional
        Edge vectors [m], one per column, of the parallelepiped centred on each point that the point stands
        for. None: isochromats without extent.
    signal_scale : float
        Factor of the signal.
    motion : Motion, optional
        Movement of the points.
    bound : BoundPool, optional
        Bound pool of each point.
    index : ndarray, int64, shape (n,), optional
        Place of each point on the grid it came from, as a flat (C order) voxel number.
    source : dict
        Where the cloud comes from; JSON-able.
    b0 : float, optional
        Field strength [T] the values hold for.
    """

    name: str
    position: NDArray[np.float64]
    m0: NDArray[np.float64]
    t1: NDArray[np.float64]
    t2: NDArray[np.float64]
    t2_prime: NDArray[np.float64] = field(default_factory=lambda: np.array(np.inf))
    df: NDArray[np.float64] = field(default_factory=lambda: np.array(0.0))
    adc: NDArray[np.float64] = field(default_factory=lambda: np.array(0.0))
    b1: NDArray[np.complex128] = field(default_factory=lambda: np.ones((1, 1), np.complex128))
    sensitivity: NDArray[np.complex128] | None = None
    voxel: NDArray[np.float64] | None = None
    signal_scale: float = 1.0
    motion: Motion | None = None
    bound: BoundPool | None = None
    index: NDArray[np.int64] | None = None
    source: dict[str, Any] = field(default_factory=dict)
    b0: float | None = None

    def __post_init__(self) -> None:
        position = np.asarray(self.position, np.float64)
        if position.ndim != 2 or position.shape[1] != 3 or len(position) == 0:
            raise PhantomError(f"position must have shape (n, 3) with n >= 1; got {position.shape}.")
        if not np.isfinite(position).all():
            raise PhantomError(f"position must be finite; point {first_true(~np.isfinite(position))} is not.")
        object.__setattr__(self, "position", position)
        n = len(position)
        for name in ("m0", "adc"):
            store_points(self, name, n, low=0.0)
        for name in ("t1", "t2", "t2_prime"):
            store_points(self, name, n, positive_time=True)
        store_points(self, "df", n)
        object.__setattr__(self, "b1", _field("b1", self.b1, n))
        if self.sensitivity is not None:
            object.__setattr__(self, "sensitivity", _field("sensitivity", self.sensitivity, n))
        self._check_rest(n)

    def _check_rest(self, n: int) -> None:
        if self.voxel is not None:
            object.__setattr__(self, "voxel", _voxel(self.voxel))
        if self.index is not None:
            object.__setattr__(self, "index", _grid_index(self.index, n))
        if self.bound is not None and self.bound.size != n:
            raise PhantomError(f"bound must describe all {n} points; got {self.bound.size}.")
        if not math.isfinite(self.signal_scale):
            raise PhantomError(f"signal_scale must be finite; got {self.signal_scale}.")
        if self.b0 is not None and not 0 < self.b0 < math.inf:
            raise PhantomError(f"b0 must be positive or None; got {self.b0} T.")
        if self.motion is not None and not isinstance(self.motion, Motion):
            raise PhantomError(f"motion must be a Motion or None; got {type(self.motion).__name__}.")
        try:
            json.dumps(self.source, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise PhantomError(f"source must hold plain JSON values; got {error}.") from error

    @property
    def size(self) -> int:
        """Number of points."""
        return len(self.position)

    @property
    def coils(self) -> int:
        """Number of receive coils."""
        return 1 if self.sensitivity is None else len(self.sensitivity)

    def replace(self, changes: Mapping[str, Any]) -> PointCloud:
        """Return a copy with some fields replaced, validated again."""
        values = {k: getattr(self, k) for k in self.__dataclass_fields__}
        return PointCloud(**{**values, **changes})

    def select(self, which: ArrayLike) -> PointCloud:
        """Return some of the points.

        Parameters
        ----------
        which : array_like
            Boolean mask of shape (n,), or point numbers (repeats allowed). `signal_scale` stays.

        Raises
        ------
        PhantomError
            If no point is left or a number is outside the cloud.
        """
        return self._gather(self._numbers(np.asarray(which)))

    def _numbers(self, which: NDArray[Any]) -> NDArray[np.intp]:
        if which.dtype == np.bool_ and which.shape == (self.size,):
            index = np.flatnonzero(which)
        elif which.ndim == 1 and np.issubdtype(which.dtype, np.integer):
            index = which.astype(np.intp)
        else:
            raise PhantomError(
                f"which must be a mask of shape ({self.size},) or point numbers; "
                f"got {which.dtype} {which.shape}."
            )
        if index.size == 0 or index.min() < 0 or index.max() >= self.size:
            raise PhantomError(f"which must choose at least one of the points 0..{self.size - 1}.")
        return index

    def _gather(self, index: NDArray[np.intp], divide: float = 1.0) -> PointCloud:
        rows = ("position", "m0", "t1", "t2", "t2_prime", "df", "adc", "index", "b1", "sensitivity")
        changes: dict[str, Any] = {
            k: getattr(self, k)[..., index] if k in ("b1", "sensitivity") else getattr(self, k)[index]
            for k in rows
            if getattr(self, k) is not None
        }
        changes["m0"] = changes["m0"] / divide
        if self.motion is not None:
            changes["motion"] = self.motion.select(index)
        if self.bound is not None:
            changes["bound"] = self.bound.select(index, divide)
        return self.replace(changes)

    @property
    def widest_shift(self) -> float:
        """Largest off-resonance [Hz] that sampling T2' by `expand` can add to a point."""
        return float(np.tan(np.pi * (0.5 - TAIL)) / (2.0 * np.pi * self.t2_prime.min()))

    def expand(
        self, n: int, *, seed: int, common: int | None = None, df_gradient: ArrayLike | None = None
    ) -> PointCloud:
        """Return a cloud in which each point has become n sub-spins.

        The sub-spins of point p are the points p n .. p n + n - 1, each with 1/n of its magnetization. They
        lie on a rank-1 lattice of the unit cube in four dimensions: three spread over the voxel, shifted at
        random (modulo 1) but equally in all voxels, so that on a grid the lattice runs through them all; the
        fourth, shifted at random for each point, chooses a frequency of the Lorentzian line
        ``df + tan(pi (u - 1/2)) / (2 pi t2_prime)``, whose mean decays as exp(-t/T2').

        Accuracy: every one-dimensional projection of the lattice is equally spaced, so n sub-spins sum a
        dephasing of any order 1..n-1 cycles across the voxel along one axis to exactly zero; a broken number
        of cycles cancels in the sum over neighbouring voxels. The decay of
        one point at t = tau T2' is met to about ``(2 tau)^(1/4) n^(-3/4) / sqrt(pi)`` of its start (the size
        of the n-th Laguerre coefficient of the line); errors of different points are independent.

        Parameters
        ----------
        n : int
            Sub-spins per point. With 1 the cloud itself is returned: points in the centres of their voxels,
            `t2_prime` as it is and not sampled.
        seed : int
            Of the random shifts.
        common : int, optional
            Seed of the shift in space where it must be the same for several clouds; `seed` by default.
        df_gradient : array_like, shape (n_points, 3), optional
            Gradient of the off-resonance [Hz/m] at each point: adds gradient times offset to `df`.

        Returns
        -------
        PointCloud
            With infinite `t2_prime`; `voxel` is kept and says what volume the n sub-spins of a point fill.
            Without `voxel` the positions are repeated and only T2' is sampled.

        Raises
        ------
        PhantomError
            If n or the gradient do not fit.
        """
        from .lattice import lattice_points

        if n < 1:
            raise PhantomError(f"n must be at least 1 sub-spin per point; got {n}.")
        gradient = None if df_gradient is None else np.asarray(df_gradient, np.float64)
        if gradient is not None and (gradient.shape != (self.size, 3) or not np.isfinite(gradient).all()):
            raise PhantomError(
                f"df_gradient must be finite, of shape ({self.size}, 3); got shape {gradient.shape}."
            )
        if n == 1:
            return self
        shifts = np.random.default_rng([seed, 1]).random((self.size, 1, 4))
        # In space the lattice goes on from voxel to voxel: what one voxel leaves over the next one cancels.
        shifts[..., :3] = np.random.default_rng([seed if common is None else common, 0]).random(3)
        u = np.mod(lattice_points(n)[None] + shifts, 1.0)
        many = self._gather(np.repeat(np.arange(self.size), n), divide=n)
        df, position = many.df, many.position
        if self.voxel is not None:
            offset = (u[..., :3] - 0.5) @ self.voxel.T
            position = position + offset.reshape(-1, 3)
            if gradient is not None:
                df = df + np.einsum("pid,pd->pi", offset, gradient).ravel()
        # 1/inf = 0: points without T2' keep their frequency.
        line = np.tan(np.pi * (np.clip(u[..., 3], TAIL, 1.0 - TAIL) - 0.5)).ravel()
        df = df + line / (2.0 * np.pi * many.t2_prime)
        return many.replace({"position": position, "df": df, "t2_prime": np.array(np.inf)})


def _field(name: str, value: Any, n: int) -> NDArray[np.complex128]:
    array = np.asarray(value, np.complex128)
    if array.ndim == 2 and array.shape[1] == 1 and n > 1:
        array = np.repeat(array, n, axis=1)
    if array.ndim != 2 or array.shape[1] != n or len(array) == 0 or not np.isfinite(array).all():
        raise PhantomError(f"{name} must be finite and of shape (channels, {n}); got shape {array.shape}.")
    return array


def _voxel(value: Any) -> NDArray[np.float64]:
    voxel = np.asarray(value, np.float64)
    if voxel.shape != (3, 3) or not np.isfinite(voxel).all():
        raise PhantomError(f"voxel must be a finite (3, 3) matrix of edge vectors [m]; got {voxel.tolist()}.")
    return voxel


def _grid_index(value: Any, n: int) -> NDArray[np.int64]:
    index = np.asarray(value)
    if index.shape != (n,) or not np.issubdtype(index.dtype, np.integer) or index.min() < 0:
        raise PhantomError(f"index must be {n} voxel numbers >= 0; got {index.dtype} of shape {index.shape}.")
    return index.astype(np.int64)

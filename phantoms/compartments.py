"""Gaussian compartments of a tissue: sticks, zeppelins, balls and plain tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .phantom import PhantomError

Array = NDArray[np.float64]
Value = float | NDArray[np.float32]
"""A constant, or a map (x, y, z) on the grid of the model."""

MAX_DIFFUSIVITY = 1e-7
"""Far above any liquid's [m^2/s]: what is larger was given in other units."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Compartment:
    """Axially symmetric diffusion: D = d_perpendicular I + (d_parallel - d_perpendicular) n n^T.

    With different diffusivities the compartment is oriented: it follows every fibre population n of the model
    in proportion to its weight.

    Parameters
    ----------
    fraction : float or ndarray (x, y, z)
        Share of the tissue's signal, 0..1.
    d_parallel, d_perpendicular : float or ndarray (x, y, z)
        Diffusivities along and across the fibre [m^2/s].
    """

    fraction: Value
    d_parallel: Value
    d_perpendicular: Value

    def __post_init__(self) -> None:
        object.__setattr__(self, "fraction", _value("fraction", self.fraction, 1.0))
        for name in ("d_parallel", "d_perpendicular"):
            object.__setattr__(self, name, _value(name, getattr(self, name), MAX_DIFFUSIVITY))

    @property
    def oriented(self) -> bool:
        """Whether the compartment diffuses differently along and across the fibres."""
        return not np.array_equal(self.d_parallel, self.d_perpendicular)


def stick(*, fraction: Value, diffusivity: Value) -> Compartment:
    """Return water inside axons: it diffuses along the fibre only."""
    return Compartment(fraction=fraction, d_parallel=diffusivity, d_perpendicular=0.0)


def zeppelin(*, fraction: Value, d_parallel: Value, d_perpendicular: Value) -> Compartment:
    """Return water between axons: hindered across the fibre."""
    return Compartment(fraction=fraction, d_parallel=d_parallel, d_perpendicular=d_perpendicular)


def ball(*, fraction: Value, diffusivity: Value) -> Compartment:
    """Return water that diffuses equally in all directions."""
    return Compartment(fraction=fraction, d_parallel=diffusivity, d_perpendicular=diffusivity)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class TensorCompartment:
    """Water with a diffusion tensor of its own, whatever the fibres.

    Parameters
    ----------
    fraction : float or ndarray (x, y, z)
        Share of the tissue's signal, 0..1.
    tensor : ndarray (3, 3) or (x, y, z, 3, 3)
        Symmetric and not negative, in the phantom's RAS frame [m^2/s].
    """

    fraction: Value
    tensor: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "fraction", _value("fraction", self.fraction, 1.0))
        d = np.asarray(self.tensor, np.float64)
        if d.shape[-2:] != (3, 3) or d.ndim not in (2, 5) or not np.isfinite(d).all():
            raise PhantomError(f"tensor must be finite, (3, 3) or (x, y, z, 3, 3); got shape {d.shape}.")
        top = max(float(np.abs(d).max()), 1e-300)
        if np.abs(d - np.swapaxes(d, -1, -2)).max() > 1e-9 * top or top > MAX_DIFFUSIVITY:
            raise PhantomError(
                f"tensor must be symmetric with entries up to {MAX_DIFFUSIVITY:g} m^2/s; got {top:g}. "
                "1e-3 mm^2/s is 1e-9 m^2/s."
            )
        if (low := float(np.linalg.eigvalsh(d).min())) < -1e-9 * top:
            raise PhantomError(f"tensor must have no negative eigenvalue; got {low:g} m^2/s.")
        object.__setattr__(self, "tensor", d)

    @classmethod
    def from_eigenvalues(
        cls, *, fraction: Value, eigenvalues: ArrayLike, axes: ArrayLike
    ) -> TensorCompartment:
        """Build the tensor sum_i lambda_i e_i e_i^T.

        eigenvalues : (3,) [m^2/s];  axes : (3, 3) or (x, y, z, 3, 3) whose columns are the unit vectors e_i.
        """
        e, values = np.asarray(axes, np.float64), np.asarray(eigenvalues, np.float64)
        if values.shape != (3,) or e.shape[-2:] != (3, 3):
            raise PhantomError(f"eigenvalues must be (3,), axes (..., 3, 3); got {values.shape}, {e.shape}.")
        if not np.allclose(np.swapaxes(e, -1, -2) @ e, np.eye(3), atol=1e-6):
            raise PhantomError("axes must have orthonormal columns: the eigenvectors e1, e2, e3.")
        return cls(fraction=fraction, tensor=(e * values) @ np.swapaxes(e, -1, -2))


AnyCompartment = Compartment | TensorCompartment


def at_cells(value: Value, cells: NDArray[np.int64]) -> Array:
    """Return a constant or a map in some cells, shape (m,)."""
    if isinstance(value, np.ndarray):
        return np.asarray(value.reshape(-1)[cells], np.float64)
    return np.full(cells.size, value)


def _value(name: str, value: Value, top: float) -> Value:
    array = np.asarray(value, np.float64)
    if array.ndim not in (0, 3) or array.size == 0:
        raise PhantomError(f"{name} must be a number or a map (x, y, z); got shape {array.shape}.")
    low, high = float(array.min()), float(array.max())
    if not (low >= 0.0 and high <= top * (1.0 + 1e-6)):  # also catches NaN
        unit = "" if top == 1.0 else " m^2/s; 1e-3 mm^2/s is 1e-9 m^2/s"
        raise PhantomError(f"{name} must lie in 0..{top:g}; got {low:g}..{high:g}{unit}.")
    return float(array) if array.ndim == 0 else array.astype(np.float32)


def maps_of(c: AnyCompartment) -> list[NDArray[np.generic]]:
    """Return the maps of a compartment; what is constant has none."""
    if isinstance(c, TensorCompartment):
        candidates: list[object] = [c.fraction, c.tensor if c.tensor.ndim == 5 else None]
    else:
        candidates = [c.fraction, c.d_parallel, c.d_perpendicular]
    return [v for v in candidates if isinstance(v, np.ndarray)]

"""Diffusion truth: what compartments a tissue has and where its fibres point.

Signal law. A tissue under a b-tensor b (3, 3) [s/m^2] gives, relative to b = 0,

    S/S0 = sum_c f_c exp(-b : D_c),    b : D = sum_ij b_ij D_ij,

with Gaussian compartments c of volume fraction f_c (Stejskal and Tanner, J Chem Phys 42:288-292, 1965;
for tensors Basser, Mattiello and LeBihan, J Magn Reson B 103:247-254, 1994; for arbitrary b-tensors Westin et
al., NeuroImage 135:345-362, 2016). Conventional encoding along g has b = b g g^T.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .compartments import AnyCompartment, Array, Compartment, TensorCompartment, at_cells, maps_of
from .phantom import PhantomError

MAX_FIBRES = 3
_SUM_TOLERANCE = 1e-5


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class DiffusionModel:
    """Compartments of tissues and directions of fibres; tissues that it does not name diffuse isotropically.

    Maps live on a grid of the model's own, in the phantom's RAS frame. They are constant within its cells,
    and the outermost cells extend to infinity, so that the truth is defined at every point.

    Parameters
    ----------
    tissues : mapping of str to tuple of Compartment or TensorCompartment
        The fractions of a tissue's compartments add up to 1.
    directions : ndarray, float32, shape (fibres, x, y, z, 3), optional
        Unit vectors of up to three fibre populations; ignored where the weight is 0.
    weights : ndarray, float32, shape (fibres, x, y, z), optional
        Share of each population in the oriented compartments, with a sum of at most 1. The remainder has no
        direction: it diffuses isotropically with the same mean diffusivity. One population has 1 by default.
    affine : ndarray, shape (4, 4), optional
        Cell index (centre) -> phantom's RAS [m]; needed if there is any map.
    """

    tissues: Mapping[str, tuple[AnyCompartment, ...]]
    directions: NDArray[np.float32] | None = None
    weights: NDArray[np.float32] | None = None
    affine: Array | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "tissues", {str(k): tuple(v) for k, v in self.tissues.items()})
        self._check_fibres()
        self._check_grid()
        for name, compartments in self.tissues.items():
            self._check_tissue(name, compartments)

    def _check_fibres(self) -> None:
        if self.directions is None:
            if self.weights is not None:
                raise PhantomError("weights must come with directions; got weights alone.")
            return
        d = np.asarray(self.directions, np.float64)
        if d.ndim != 5 or d.shape[4] != 3 or not 1 <= d.shape[0] <= MAX_FIBRES or d.size == 0:
            raise PhantomError(
                f"directions must have shape (fibres, x, y, z, 3) with 1..{MAX_FIBRES} fibres; got {d.shape}."
            )
        if self.weights is None and d.shape[0] > 1:
            raise PhantomError(f"weights must be given for {d.shape[0]} fibre populations; got none.")
        w = np.ones(d.shape[:4], np.float32) if self.weights is None else np.asarray(self.weights, np.float32)
        if w.shape != d.shape[:4] or not np.isfinite(w).all() or w.min() < 0:
            raise PhantomError(f"weights must be finite, >= 0, of shape {d.shape[:4]}; got shape {w.shape}.")
        if (top := float(w.sum(axis=0).max())) > 1.0 + _SUM_TOLERANCE:
            raise PhantomError(f"weights must sum to at most 1 per cell; got {top:.5f}.")
        length = np.linalg.norm(d, axis=-1)
        if not (np.abs(length - 1.0) < 1e-3)[w > 0].all():  # also catches NaN
            raise PhantomError("directions must be unit vectors where the weight is above 0. Normalize them.")
        # What is unit to single precision stays as it is: files give back the same bits.
        unit = d / np.where((w > 0) & (np.abs(length - 1.0) > 1e-6), length, 1.0)[..., None]
        object.__setattr__(self, "directions", np.where((w > 0)[..., None], unit, 0.0).astype(np.float32))
        object.__setattr__(self, "weights", w)

    def _check_grid(self) -> None:
        shapes = {v.shape[:3] for c in self.tissues.values() for k in c for v in maps_of(k)}
        if self.directions is not None:
            shapes.add(self.directions.shape[1:4])
        if len(shapes) > 1:
            raise PhantomError(f"all maps must lie on one grid; got {sorted(shapes)}.")
        if self.affine is None:
            if shapes:
                raise PhantomError("affine must be given with maps: it says where they lie.")
            return
        a = np.asarray(self.affine, np.float64)
        if a.shape != (4, 4) or not np.isfinite(a).all() or not np.array_equal(a[3], (0, 0, 0, 1)):
            raise PhantomError(f"affine must be finite, (4, 4), with last row 0 0 0 1; got {a.tolist()}.")
        if not abs(np.linalg.det(a[:3, :3])) > 1e-6 * np.prod(np.linalg.norm(a[:3, :3], axis=0)):
            raise PhantomError("affine must be invertible; its columns are (nearly) dependent.")
        object.__setattr__(self, "affine", a)

    def _check_tissue(self, name: str, compartments: tuple[AnyCompartment, ...]) -> None:
        if not compartments or not all(isinstance(c, Compartment | TensorCompartment) for c in compartments):
            raise PhantomError(f"tissue {name!r} must have one or more compartments; got {compartments}.")
        if self.directions is None and self.oriented(name):
            raise PhantomError(f"tissue {name!r} is oriented: the model must have directions; got none.")
        total = sum((np.asarray(c.fraction, np.float64) for c in compartments), np.zeros(()))
        if (worst := float(np.abs(total - 1.0).max())) > _SUM_TOLERANCE:
            raise PhantomError(
                f"fractions of tissue {name!r} must add up to 1; they miss it by {worst:.2g}. "
                "Give the rest to a ball."
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Cells along x, y, z; (1, 1, 1) for a model without maps."""
        if self.directions is not None:
            _, nx, ny, nz, _ = self.directions.shape
            return nx, ny, nz
        for compartments in self.tissues.values():
            for c in compartments:
                for v in maps_of(c):
                    return v.shape[0], v.shape[1], v.shape[2]
        return 1, 1, 1

    def oriented(self, tissue: str) -> bool:
        """Return whether a tissue follows the fibres."""
        return any(isinstance(c, Compartment) and c.oriented for c in self._of(tissue))

    def cells(self, points: ArrayLike) -> NDArray[np.int64]:
        """Return the flat (C order) number of the cell around points (m, 3) [m] in the phantom's frame."""
        p = np.asarray(points, np.float64)
        if self.affine is None:
            return np.zeros(len(p), np.int64)
        inverse = np.linalg.inv(self.affine)
        index = np.rint(p @ inverse[:3, :3].T + inverse[:3, 3]).astype(np.int64)
        nx, ny, nz = self.shape
        i, j, k = (np.clip(index[:, a], 0, n - 1) for a, n in enumerate((nx, ny, nz)))
        return np.asarray((i * ny + j) * nz + k)

    def fibres(self, cells: NDArray[np.int64]) -> tuple[Array, Array]:
        """Return directions (fibres, m, 3) and weights (fibres, m) in some cells."""
        if self.directions is None or self.weights is None:
            return np.zeros((0, cells.size, 3)), np.zeros((0, cells.size))
        n = len(self.directions)
        d, w = self.directions.reshape(n, -1, 3)[:, cells], self.weights.reshape(n, -1)[:, cells]
        return d.astype(np.float64), w.astype(np.float64)

    def tensor(self, tissue: str, cells: NDArray[np.int64]) -> Array:
        """Return the mean diffusion tensor (m, 3, 3) [m^2/s] of a tissue: from the slope of S at b = 0."""
        directions, weights = self.fibres(cells)
        outer = np.einsum("pm,pmi,pmj->mij", weights, directions, directions)
        # What has no direction counts as a third of every axis.
        outer += (1.0 - weights.sum(axis=0))[:, None, None] * np.eye(3) / 3.0
        out = np.zeros((cells.size, 3, 3))
        for c in self._of(tissue):
            f = at_cells(c.fraction, cells)
            if isinstance(c, TensorCompartment):
                d = c.tensor if c.tensor.ndim == 2 else c.tensor.reshape(-1, 3, 3)[cells]
                out += f[:, None, None] * d
                continue
            along, across = at_cells(c.d_parallel, cells), at_cells(c.d_perpendicular, cells)
            out += (f * across)[:, None, None] * np.eye(3) + (f * (along - across))[:, None, None] * outer
        return out

    def attenuation(self, tissue: str, b: ArrayLike, cells: NDArray[np.int64]) -> Array:
        """Return S/S0 (n, m) of a tissue for b-tensors (n, 3, 3) [s/m^2] in the phantom's frame.

        The law in its plainest form; `mrsim.simulation.diffusion` computes it for whole scans.
        """
        tensors = np.asarray(b, np.float64)
        if tensors.ndim != 3 or tensors.shape[1:] != (3, 3):
            raise PhantomError(f"b must have shape (n, 3, 3); got {tensors.shape}.")
        directions, weights = self.fibres(cells)
        trace = np.trace(tensors, axis1=1, axis2=2)[:, None]
        along = np.einsum("nij,pmi,pmj->pnm", tensors, directions, directions)
        out = np.zeros((len(tensors), cells.size))
        for c in self._of(tissue):
            f = at_cells(c.fraction, cells)
            if isinstance(c, TensorCompartment):
                d = np.broadcast_to(c.tensor, (cells.size, 3, 3)) if c.tensor.ndim == 2 else (
                    c.tensor.reshape(-1, 3, 3)[cells])  # fmt: skip
                out += f * np.exp(-np.einsum("nij,mij->nm", tensors, d))
                continue
            par, perp = at_cells(c.d_parallel, cells), at_cells(c.d_perpendicular, cells)
            rest = np.exp(-trace * (par + 2.0 * perp) / 3.0)
            out += f * (1.0 - weights.sum(axis=0)) * rest
            for w, q in zip(weights, along, strict=True):
                out += f * w * np.exp(-(trace * perp + q * (par - perp)))
        return out

    def _of(self, tissue: str) -> tuple[AnyCompartment, ...]:
        if tissue not in self.tissues:
            raise PhantomError(f"tissue must be one of {sorted(self.tissues)}; got {tissue!r}.")
        return self.tissues[tissue]

"""Attenuation of a placed object by diffusion: what the signal of every voxel is multiplied with.

A tissue's factor under the b-tensor of the echo path is S/S0 = sum_c f_c exp(-b : D_c), see
`phantoms.DiffusionModel`. b-tensors come along logical axes. The head's directions turn with its pose and the
prescription; instead of turning every direction, the b-tensor is taken to the head:

    b_head = A b A^T,    A = Q^T L^T R,

R logical -> world axes, Q head -> world, and L = dF_c/dr_i the gradients that the coils really make (unit
matrix if they are linear): of a played g a spin sees L^T g, so of b the tensor L^T b L (Bammer et al., Magn
Reson Med 50:560-569, 2003).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from phantoms import DiffusionModel, Phantom, TissueProperties

from .diffusion_kernel import Tables, attenuate, isotropic_tables, model_tables
from .gradient_fields import GradientField
from .placement import PlacedPhantom, Pose

_CHUNK = 1 << 16
"""Voxels worked on at a time: 5 MB of matrices."""
FASTEST = 3.2e-9
"""Diffusivity of cerebrospinal fluid [m^2/s], about that of free water: nothing in a head is faster."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PlacedDiffusion:
    """Diffusion of a phantom's tissues on the grid of a scan.

    placed : the phantom on that grid;  tissues : names along the first axis of its fractions;
    adc : (tissues,) isotropic coefficients [m^2/s];  model : compartments and fibres, None = isotropic;
    rotation : (3, 3) head -> world axes;  to_head : (4, 4) logical coordinates -> phantom's frame [m];
    field : spatial field of the gradients, None = linear.
    """

    placed: PlacedPhantom
    tissues: tuple[str, ...]
    adc: np.ndarray
    model: DiffusionModel | None
    rotation: np.ndarray
    to_head: np.ndarray
    field: GradientField | None = None

    @classmethod
    def of(
        cls,
        phantom: Phantom,
        tissues: Sequence[TissueProperties],
        placed: PlacedPhantom,
        pose: Pose,
        *,
        field: GradientField | None = None,
    ) -> PlacedDiffusion:
        """Place the diffusion of a phantom as `place` has placed its fractions.

        Parameters
        ----------
        phantom : Phantom
            That was placed (`merge_alike` keeps modelled tissues apart).
        tissues : sequence of TissueProperties
            Of its tissues, in their order.
        placed : PlacedPhantom
        pose : Pose
            With which it was placed.
        field : GradientField, optional
            For b-tensors that differ from place to place.
        """
        if not len(phantom.tissues) == len(tissues) == len(placed.fractions):
            raise ValueError(
                f"phantom, tissues and placed must have the same tissues; got {len(phantom.tissues)}, "
                f"{len(tissues)}, {len(placed.fractions)}. Pass the phantom that was placed."
            )
        return cls(
            placed=placed,
            tissues=phantom.tissues,
            adc=np.array([t.adc for t in tissues]),
            model=phantom.diffusion,
            rotation=pose.rotation,
            to_head=np.linalg.inv(pose.matrix) @ placed.to_world,
            field=field,
        )

    def turned(self, rotation: np.ndarray) -> PlacedDiffusion:
        """Diffusion after the head has turned further in the scanner, by (3, 3) about world axes.

        Voxels keep their numbers: they move with the head. Gradients are taken where the head was placed.
        """
        return replace(self, rotation=np.asarray(rotation, float) @ self.rotation)

    def at(
        self, tissue: int, where: np.ndarray, *, matrices: tuple[np.ndarray, ...] | None = None
    ) -> VoxelDiffusion:
        """Diffusion of one tissue in some voxels.

        Parameters
        ----------
        tissue : int
            Its number.
        where : int array (m,)
            Flat (C order) numbers of voxels on the grid (phase, slice, read).
        matrices : tuple of arrays, optional
            As of `matrices`, where several tissues share them.
        """
        name = self.tissues[tissue]
        modelled = self.model if self.model is not None and name in self.model.tissues else None
        if modelled is None:
            tables = isotropic_tables(float(self.adc[tissue]))
        else:
            tables = model_tables(modelled, name)
        where = np.asarray(where, np.int64)
        cells, index = np.zeros(1, np.int64), np.zeros(where.size, np.int64)
        if modelled is not None and tables.varies:
            number = np.empty(where.size, np.int64)
            for first, points in zip(range(0, where.size, _CHUNK), self._head_points(where), strict=True):
                number[first : first + _CHUNK] = modelled.cells(points)
            cells, index = np.unique(number, return_inverse=True)
        return VoxelDiffusion(
            owner=self, tables=tables, cells=cells, index=index, where=where, known=matrices
        )

    def _logical(self, where: np.ndarray) -> Iterator[np.ndarray]:
        grid = self.placed.grid
        read, phase, part = (grid.axis(i) for i in range(3))
        for first in range(0, where.size, _CHUNK):
            p, s, r = np.unravel_index(where[first : first + _CHUNK], grid.array_shape)
            yield np.stack([read[r], phase[p], part[s]], axis=1)

    def _head_points(self, where: np.ndarray) -> Iterator[np.ndarray]:
        for logical in self._logical(where):
            yield logical @ self.to_head[:3, :3].T + self.to_head[:3, 3]

    def matrices(self, where: np.ndarray) -> Iterator[np.ndarray]:
        """Matrices A with b_head = A b A^T, chunk by chunk (m, 3, 3); one (1, 3, 3) for linear gradients."""
        to_world = self.placed.to_world
        if self.field is None:
            yield (self.rotation.T @ to_world[:3, :3])[None]
            return
        for logical in self._logical(where):
            coils = self.field.jacobian(logical @ to_world[:3, :3].T + to_world[:3, 3])
            yield self.rotation.T @ np.swapaxes(coils, 1, 2) @ to_world[:3, :3]


@dataclass(frozen=True, kw_only=True, eq=False)
class VoxelDiffusion:
    """Diffusion of one tissue in some voxels of a `PlacedDiffusion`, ready for b-tensors.

    cells : (k,) different cells of the model that the voxels lie in;  index : (m,) which of them a voxel has;
    known : chunks of the voxels' matrices, where they are at hand.
    """

    owner: PlacedDiffusion
    tables: Tables
    cells: np.ndarray
    index: np.ndarray
    where: np.ndarray
    known: tuple[np.ndarray, ...] | None = None

    @property
    def uniform(self) -> bool:
        """Whether the factor is the same in all voxels."""
        return self.owner.field is None and not self.tables.varies

    def distinct(self, b: np.ndarray) -> np.ndarray:
        """Factors (n, k) float32 of the different cells; voxel v has column ``index[v]``.

        b : (n, 3, 3) tensors along logical axes [s/m^2].
        """
        if self.owner.field is not None:
            raise ValueError(
                "distinct needs linear gradients; the field differs in every voxel. Use factors."
            )
        tensors = _checked(b)
        out = np.empty((self.cells.size, len(tensors)), np.float32)
        (matrix,) = self.owner.matrices(self.where[:0])
        attenuate(tensors, matrix, self.cells, self.tables, out)
        return out.T

    def factors(self, b: np.ndarray) -> np.ndarray:
        """S/S0 of every voxel for b-tensors.

        Parameters
        ----------
        b : array (n, 3, 3)
            Along logical axes [s/m^2], symmetric.

        Returns
        -------
        float32 array (n, m), or (n, 1) where all voxels have the same (`uniform`).
        """
        if self.owner.field is None:
            values = self.distinct(b)
            return values if self.uniform else values[:, self.index]
        tensors = _checked(b)
        out = np.empty((self.where.size, len(tensors)), np.float32)
        first = 0
        for matrices in self.known or self.owner.matrices(self.where):
            part = slice(first, first + len(matrices))
            attenuate(tensors, matrices, self.cells[self.index[part]], self.tables, out[part])
            first += len(matrices)
        return out.T

    def apparent(self, b: np.ndarray) -> np.ndarray:
        """Apparent diffusion coefficients -ln(S/S0) / tr b (n, m) or (n, 1) [m^2/s]; nan where b is zero.

        Given to points that diffuse isotropically they attenuate as the tissue does under this very tensor.
        """
        tensors = _checked(b)
        trace = np.trace(tensors, axis1=1, axis2=2)[:, None]
        logarithm = np.log(self.factors(tensors).astype(np.float64))
        return -logarithm / np.where(trace > 0.0, trace, np.nan)


def distinct_tensors(b: np.ndarray, *, tolerance: float = 1e-4) -> tuple[np.ndarray, np.ndarray]:
    """Few b-tensors that stand for many, such as those of the readouts of an echo train.

    Parameters
    ----------
    b : array (n, 3, 3)
        [s/m^2].
    tolerance : float
        Error of a factor S/S0 at most, for diffusivities up to `FASTEST`: |d(b:D)| <= max|db_ij| sum|D_ij|
        and sum|D_ij| <= 9 `FASTEST`.

    Returns
    -------
    tensors : (k, 3, 3), each the mean of those it stands for;  index : (n,) which one stands for each.
    """
    tensors = _checked(b)
    if not 0.0 < tolerance < 1.0:
        raise ValueError(f"tolerance must lie between 0 and 1; got {tolerance}. Try 1e-4.")
    step = tolerance / (9.0 * FASTEST)
    keys = np.rint(tensors / step).reshape(len(tensors), 9)
    _, index, count = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    index = index.reshape(-1)
    sums = np.zeros((count.size, 3, 3))
    np.add.at(sums, index, tensors)
    return sums / count[:, None, None], index


def _checked(b: np.ndarray) -> np.ndarray:
    tensors = np.ascontiguousarray(b, np.float64)
    if tensors.ndim != 3 or tensors.shape[1:] != (3, 3) or not np.isfinite(tensors).all():
        raise ValueError(f"b must be finite tensors of shape (n, 3, 3) [s/m^2]; got shape {tensors.shape}.")
    size = float(np.abs(tensors).max(initial=0.0))
    if float(np.abs(tensors - np.swapaxes(tensors, 1, 2)).max(initial=0.0)) > 1e-9 * size:
        raise ValueError("b must hold symmetric tensors; got some that are not.")
    return tensors

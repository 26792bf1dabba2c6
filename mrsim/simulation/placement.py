"""A head in a scanner: the phantom's maps on a grid along the logical axes of the scan.

Logical coordinates are metres along (read, phase, slice) from the centre of the field of view. Where the
axes of phantom and scan coincide the voxels are used as they are (no interpolation); otherwise the maps are
resampled trilinearly at the phantom's own spacing, with a grid origin that is not tied to the acquisition.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numba import njit

from phantoms import Phantom
from protocols import Prescription

from .kspace.encode import Grid

_DISPLACED = 15e-3
"""Room around a displaced object [m]."""
_ALIGNED = 1e-6
"""Axes count as coinciding when their direction cosines differ by less (0.2 micrometre over a head)."""


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Rigid placement of the head: world = rotation @ (head - pivot) + pivot + translation.

    rotation : (3, 3);  translation : (3,) [m];  pivot : (3,) head coordinates [m].
    """

    rotation: np.ndarray
    translation: np.ndarray
    pivot: np.ndarray

    def __post_init__(self) -> None:
        if self.rotation.shape != (3, 3) or not np.allclose(
            self.rotation @ self.rotation.T, np.eye(3), atol=1e-9
        ):
            raise ValueError(f"pose rotation must be orthonormal (3, 3); got {self.rotation.tolist()}.")

    @classmethod
    def identity(cls) -> Pose:
        """Leave the head where the phantom file has it."""
        return cls(rotation=np.eye(3), translation=np.zeros(3), pivot=np.zeros(3))

    @classmethod
    def draw(
        cls, rng: np.random.Generator, *, rotation_sd: float, translation_sd: float, pivot: np.ndarray
    ) -> Pose:
        """Draw a repositioning: rotation vector and shift with the given SD per axis [rad], [m]."""
        from scipy.spatial.transform import Rotation

        vector = rng.normal(0.0, 1.0, 3) * rotation_sd
        shift = rng.normal(0.0, 1.0, 3) * translation_sd
        matrix = Rotation.from_rotvec(vector).as_matrix()
        return cls(rotation=matrix, translation=shift, pivot=np.asarray(pivot, float))

    @property
    def matrix(self) -> np.ndarray:
        """Homogeneous matrix (4, 4), head -> world [m]."""
        full = np.eye(4)
        full[:3, :3] = self.rotation
        full[:3, 3] = self.pivot + self.translation - self.rotation @ self.pivot
        return full


class Displacement(ABC):
    """What gradients that are not linear do to space: places as encoded, and where the object really is."""

    @abstractmethod
    def shift(self, axes: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
        """Real minus encoded place (3, phase, slice, read) [m] on a tensor grid (read, phase, slice)."""

    @abstractmethod
    def volume(self, axes: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
        """Real volume over the encoded one, (phase, slice, read)."""


@dataclass(frozen=True, kw_only=True)
class PlacedPhantom:
    """A phantom in the logical frame of a scan.

    fractions : (tissue, phase, slice, read) float32 on ``grid``;  brain : (phase, slice, read) likewise;
    to_world : (4, 4) logical coordinates -> world [m];  displacement : where the object really is of which
    gradients that are not linear make the grid's points, None = there;  density : (phase, slice, read) proton
    density relative to that of the tissues, None = 1.
    """

    fractions: np.ndarray
    brain: np.ndarray
    grid: Grid
    to_world: np.ndarray
    displacement: Displacement | None = None
    density: np.ndarray | None = None

    def coordinates(self, axes: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
        """World coordinates (phase, slice, read, 3) [m] of a tensor grid of ``axes`` (read, phase, slice)."""
        read, phase, part = axes
        p, s, r = np.meshgrid(phase, part, read, indexing="ij")
        logical = np.stack([r, p, s], axis=-1)
        if self.displacement is not None:
            logical = logical + np.moveaxis(self.displacement.shift(axes), 0, -1)
        return np.asarray(logical @ self.to_world[:3, :3].T + self.to_world[:3, 3])


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def _trilinear(source: np.ndarray, x: float, y: float, z: float) -> float:
    """Trilinear sample of source (x, y, z), 0 outside."""
    nx, ny, nz = source.shape
    if x <= 0 or y <= 0 or z <= 0 or x >= nx - 1 or y >= ny - 1 or z >= nz - 1:
        return 0.0
    a, b, c = int(x), int(y), int(z)
    fx, fy, fz = x - a, y - b, z - c
    v00 = source[a, b, c] * (1 - fz) + source[a, b, c + 1] * fz
    v01 = source[a, b + 1, c] * (1 - fz) + source[a, b + 1, c + 1] * fz
    v10 = source[a + 1, b, c] * (1 - fz) + source[a + 1, b, c + 1] * fz
    v11 = source[a + 1, b + 1, c] * (1 - fz) + source[a + 1, b + 1, c + 1] * fz
    value: float = (v00 * (1 - fy) + v01 * fy) * (1 - fx) + (v10 * (1 - fy) + v11 * fy) * fx
    return value


@njit(cache=True)  # type: ignore[untyped-decorator]
def _gather(source: np.ndarray, m: np.ndarray, shift: np.ndarray, out: np.ndarray) -> None:
    """Trilinear samples of source (x, y, z) at ``m @ (i, j, k, 1)`` for all voxels (i, j, k) of out.

    ``shift`` (3, i, j, k) moves the points, in voxels of the source; an empty one does not.
    """
    moved = shift.size > 0
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            x0 = m[0, 0] * i + m[0, 1] * j + m[0, 3]
            y0 = m[1, 0] * i + m[1, 1] * j + m[1, 3]
            z0 = m[2, 0] * i + m[2, 1] * j + m[2, 3]
            for k in range(out.shape[2]):
                x, y, z = x0 + m[0, 2] * k, y0 + m[1, 2] * k, z0 + m[2, 2] * k
                if moved:
                    x += shift[0, i, j, k]
                    y += shift[1, i, j, k]
                    z += shift[2, i, j, k]
                out[i, j, k] = _trilinear(source, x, y, z)


def _gather_occupied(
    source: np.ndarray, matrix: np.ndarray, out: np.ndarray, shift: np.ndarray | None = None
) -> None:
    """Sample ``source``, padded by one empty voxel, into the part of ``out`` (zeros) that it can reach.

    ``shift`` (3, *out) moves the points, in voxels of the source.
    """
    hits = [np.flatnonzero(source.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    if not hits[0].size:
        return
    # In padded coordinates tissue reaches from one voxel before the first to one after the last.
    reach = [(int(h[0]), int(h[-1]) + 2) for h in hits]
    corners = np.array([[x, y, z, 1.0] for x in reach[0] for y in reach[1] for z in reach[2]])
    index = (corners @ np.linalg.inv(matrix).T)[:, :3]
    room = 0 if shift is None else int(np.ceil(1.5 * float(np.abs(shift).max())))
    low = np.maximum(np.floor(index.min(axis=0)).astype(int) - room, 0)
    high = np.minimum(np.ceil(index.max(axis=0)).astype(int) + 1 + room, out.shape)
    if (high <= low).any():
        return
    shifted = matrix.copy()
    shifted[:3, 3] += matrix[:3, :3] @ low
    part = out[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    moved = np.zeros((3, 0, 0, 0), np.float32)
    if shift is not None:
        moved = shift[:, low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    _gather(np.pad(source, 1), shifted, moved, part)


def _occupied(fractions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last occupied index per axis (one empty voxel kept around) of maps (tissue, x, y, z)."""
    anything = np.asarray(fractions.any(axis=0))
    if not anything.any():
        raise ValueError("the phantom must hold some tissue; got fractions that are zero everywhere.")
    low, high = np.empty(3, int), np.empty(3, int)
    for axis in range(3):
        hit = np.flatnonzero(anything.any(axis=tuple(a for a in range(3) if a != axis)))
        low[axis], high[axis] = hit[0], hit[-1]
    return low, high


def place(
    phantom: Phantom, prescription: Prescription, pose: Pose, *, brain: np.ndarray | None = None,
    displacement: Displacement | None = None,
) -> PlacedPhantom:  # fmt: skip
    """Put a phantom into the logical frame of a scan.

    Parameters
    ----------
    phantom : Phantom
    prescription : Prescription
        Direction cosines and centre of the field of view in world RAS [m].
    pose : Pose
        Head to world.
    brain : bool array (x, y, z), optional
        Brain mask on the phantom's grid; the phantom's own by default.
    displacement : Displacement, optional
        Puts the object where gradients encode it: maps are resampled and scaled by the change of volume.

    Returns
    -------
    PlacedPhantom, cropped to the object.
    """
    rotation = np.stack([prescription.read_dir, prescription.phase_dir, prescription.slice_dir], axis=1)
    world_to_logical = np.eye(4)
    world_to_logical[:3, :3] = rotation.T
    world_to_logical[:3, 3] = -rotation.T @ np.asarray(prescription.center)
    to_logical = world_to_logical @ pose.matrix @ phantom.affine
    spacing = np.linalg.norm(to_logical[:3, :3], axis=0)
    direction = to_logical[:3, :3] / spacing
    low, high = _occupied(phantom.fractions)
    mask = phantom.brain_mask() if brain is None else brain
    to_world = np.eye(4)
    to_world[:3, :3], to_world[:3, 3] = rotation, prescription.center
    nearest = np.rint(direction)
    signed_permutation = np.array_equal(np.abs(nearest).sum(axis=0), np.ones(3)) and np.array_equal(
        np.abs(nearest).sum(axis=1), np.ones(3)
    )
    if displacement is None and signed_permutation and np.abs(direction - nearest).max() < _ALIGNED:
        return _aligned(phantom, mask, to_logical, nearest.astype(int), spacing, low, high, to_world)
    return _resampled(phantom, mask, to_logical, spacing, low, high, to_world, displacement)


def _aligned(
    phantom: Phantom, mask: np.ndarray, to_logical: np.ndarray, direction: np.ndarray, spacing: np.ndarray,
    low: np.ndarray, high: np.ndarray, to_world: np.ndarray,
) -> PlacedPhantom:  # fmt: skip
    """Crop, transpose and flip the voxels themselves."""
    box = tuple(slice(int(a), int(b) + 1) for a, b in zip(low, high, strict=True))
    source_axis = [int(np.flatnonzero(direction[i])[0]) for i in range(3)]
    sign = [int(direction[i, source_axis[i]]) for i in range(3)]
    order = (source_axis[1], source_axis[2], source_axis[0])
    flips = tuple(slice(None, None, s) for s in (sign[1], sign[2], sign[0]))
    maps = phantom.fractions[(slice(None), *box)].transpose(0, *(a + 1 for a in order))[(slice(None), *flips)]
    brain = mask[box].transpose(order)[flips]
    density = None
    if phantom.texture is not None:
        density = np.ascontiguousarray(phantom.texture[box].transpose(order)[flips])
    corner = np.where([direction[:, a].sum() > 0 for a in range(3)], low, high).astype(float)
    first = (to_logical @ np.append(corner, 1.0))[:3]
    shape = tuple(int(high[source_axis[i]] - low[source_axis[i]] + 1) for i in range(3))
    grid = Grid(
        shape=(shape[0], shape[1], shape[2]),
        spacing=tuple(float(spacing[source_axis[i]]) for i in range(3)),  # type: ignore[arg-type]
        first=(float(first[0]), float(first[1]), float(first[2])),
    )
    return PlacedPhantom(
        fractions=np.ascontiguousarray(maps, dtype=np.float32),
        brain=np.ascontiguousarray(brain, dtype=np.float32),
        grid=grid,
        to_world=to_world,
        density=density,
    )


def _resampled(
    phantom: Phantom, mask: np.ndarray, to_logical: np.ndarray, spacing: np.ndarray,
    low: np.ndarray, high: np.ndarray, to_world: np.ndarray, displacement: Displacement | None,
) -> PlacedPhantom:  # fmt: skip
    """Trilinear resampling onto a cubic grid of the phantom's finest spacing."""
    h = float(spacing.min())
    margin = 0.0 if displacement is None else _DISPLACED
    corners = np.array([[x, y, z, 1.0] for x in (low[0] - 1, high[0] + 1) for y in (low[1] - 1, high[1] + 1)
                        for z in (low[2] - 1, high[2] + 1)])  # fmt: skip
    logical = (corners @ to_logical.T)[:, :3]
    first = logical.min(axis=0) - margin
    shape = np.ceil((logical.max(axis=0) + margin - first) / h).astype(int) + 1
    grid = Grid(
        shape=(int(shape[0]), int(shape[1]), int(shape[2])),
        spacing=(h, h, h),
        first=(float(first[0]), float(first[1]), float(first[2])),
    )
    # Voxel (phase, slice, read) of the grid -> logical -> phantom index.
    index_to_logical = np.zeros((4, 4))
    index_to_logical[0, 2] = index_to_logical[1, 0] = index_to_logical[2, 1] = h
    index_to_logical[:3, 3] = first
    index_to_logical[3, 3] = 1.0
    matrix = np.linalg.solve(to_logical, index_to_logical)
    # One empty voxel around the maps, so that tissue at the edge of the array fades as everywhere else.
    matrix[:3, 3] += 1.0
    shift = None
    if displacement is not None:
        axes = (grid.axis(0), grid.axis(1), grid.axis(2))
        per_metre = np.linalg.inv(to_logical[:3, :3])
        shift = np.tensordot(per_metre, displacement.shift(axes), axes=1).astype(np.float32)
    maps = np.zeros((len(phantom.tissues), *grid.array_shape), np.float32)
    for source, out in zip(phantom.fractions, maps, strict=True):
        _gather_occupied(source, matrix, out, shift)
    brain = np.zeros(grid.array_shape, np.float32)
    _gather_occupied(mask.astype(np.float32), matrix, brain, shift)
    density = None
    if phantom.texture is not None:
        density = np.zeros(grid.array_shape, np.float32)
        _gather_occupied(phantom.texture, matrix, density, shift)
    if displacement is not None:
        maps *= displacement.volume(axes).astype(np.float32)
    return PlacedPhantom(
        fractions=maps, brain=brain, grid=grid, to_world=to_world, displacement=displacement, density=density
    )

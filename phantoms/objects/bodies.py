"""Ellipsoids, cylinders and boxes: closed-form k-space, volume, and the share of a voxel that they fill.

The k-space convention is S(k) = integral of m(r) exp(-2 pi i k.r).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..phantom import PhantomError
from .ellipsoids import ball_transform, disk_transform

Vector = tuple[float, float, float]
Floats = NDArray[np.float64]
_BLOCK = 200_000
"""Sample points at once, about 5 MB per array."""


@dataclass(frozen=True, kw_only=True)
class Body(ABC):
    """A solid of one tissue.

    Parameters
    ----------
    tissue : str
        What it is filled with.
    center : tuple of float
        Centre [m].
    turns : tuple of float
        Rotation [rad] about x, then y, then z (fixed axes).
    host : str
        Name of the body that contains this one; empty: air.
    name : str
        Name; needed for hosts and for labels.
    """

    tissue: str
    center: Vector
    turns: Vector = (0.0, 0.0, 0.0)
    host: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        values = (*self.center, *self.turns)
        if not np.isfinite(values).all() or len(values) != 6:
            raise PhantomError(f"center and turns must be three finite numbers each; got {values}.")
        if not all(math.isfinite(v) and v > 0 for v in self.half_lengths):
            raise PhantomError(
                f"lengths of a body must be positive metres; got half lengths {self.half_lengths} "
                f"of {self.name or self.tissue!r}."
            )

    @property
    @abstractmethod
    def half_lengths(self) -> Vector:
        """Half lengths [m] along the body's own axes."""

    @property
    @abstractmethod
    def volume(self) -> float:
        """Volume [m^3]."""

    @abstractmethod
    def _transform(self, k: Floats) -> Floats:
        """Fourier transform at k (n, 3) [1/m] in the body's own frame, centred."""

    @abstractmethod
    def _inside(self, local: Floats) -> NDArray[np.bool_]:
        """Whether points (..., 3) [m] in the body's own frame lie inside."""

    @property
    def rotation(self) -> Floats:
        """Columns are the body's own axes in the world."""
        out = np.eye(3)
        for axis, angle in enumerate(self.turns):
            c, s = math.cos(angle), math.sin(angle)
            i, j = (axis + 1) % 3, (axis + 2) % 3
            turn = np.eye(3)
            turn[i, i], turn[j, j], turn[i, j], turn[j, i] = c, c, -s, s
            out = turn @ out
        return out

    @property
    def reach(self) -> Vector:
        """Half lengths [m] of the smallest box along the world's axes that is sure to contain the body."""
        x, y, z = (np.abs(self.rotation) @ np.asarray(self.half_lengths)).tolist()
        return x, y, z

    def contains(self, points: Floats) -> NDArray[np.bool_]:
        """Return whether points (..., 3) [m] lie inside."""
        return self._inside((points - np.asarray(self.center)) @ self.rotation)

    def kspace(self, k: Floats) -> NDArray[np.complex128]:
        """Return the closed-form k-space of the full body at k (n, 3) [1/m]: S(0) is the volume."""
        phase = np.exp(-2j * np.pi * (k @ np.asarray(self.center)))
        return np.asarray(self._transform(k @ self.rotation) * phase)


@dataclass(frozen=True, kw_only=True)
class EllipsoidBody(Body):
    """An ellipsoid with half `axes` [m]."""

    axes: Vector

    @property
    def half_lengths(self) -> Vector:
        """Half axes [m]."""
        return self.axes

    @property
    def volume(self) -> float:
        """Volume [m^3]."""
        return 4.0 / 3.0 * math.pi * math.prod(self.axes)

    def _transform(self, k: Floats) -> Floats:
        q = 2.0 * np.pi * np.sqrt(((k * np.asarray(self.axes)) ** 2).sum(axis=1))
        return math.prod(self.axes) * ball_transform(q)

    def _inside(self, local: Floats) -> NDArray[np.bool_]:
        return np.asarray(((local / np.asarray(self.axes)) ** 2).sum(axis=-1) <= 1.0)


def ball(tissue: str, center: Vector, radius: float, **options: Any) -> EllipsoidBody:
    """Return a ball of `radius` [m]."""
    return EllipsoidBody(tissue=tissue, center=center, axes=(radius,) * 3, **options)


@dataclass(frozen=True, kw_only=True)
class Cylinder(Body):
    """A circular cylinder along its own z axis, of `radius` and full `length` [m]."""

    radius: float
    length: float

    @property
    def half_lengths(self) -> Vector:
        """Radius twice, half the length [m]."""
        return self.radius, self.radius, 0.5 * self.length

    @property
    def volume(self) -> float:
        """Volume [m^3]."""
        return math.pi * self.radius**2 * self.length

    def _transform(self, k: Floats) -> Floats:
        q = 2.0 * np.pi * self.radius * np.hypot(k[:, 0], k[:, 1])
        return np.asarray(self.radius**2 * disk_transform(q) * self.length * np.sinc(k[:, 2] * self.length))

    def _inside(self, local: Floats) -> NDArray[np.bool_]:
        across = local[..., 0] ** 2 + local[..., 1] ** 2 <= self.radius**2
        return np.asarray(across & (np.abs(local[..., 2]) <= 0.5 * self.length))


@dataclass(frozen=True, kw_only=True)
class Box(Body):
    """A box with full edge `lengths` [m]."""

    lengths: Vector

    @property
    def half_lengths(self) -> Vector:
        """Half edges [m]."""
        x, y, z = self.lengths
        return 0.5 * x, 0.5 * y, 0.5 * z

    @property
    def volume(self) -> float:
        """Volume [m^3]."""
        return math.prod(self.lengths)

    def _transform(self, k: Floats) -> Floats:
        edges = np.asarray(self.lengths)
        return np.asarray(np.prod(edges * np.sinc(k * edges), axis=1))

    def _inside(self, local: Floats) -> NDArray[np.bool_]:
        return np.asarray((np.abs(local) <= np.asarray(self.half_lengths)).all(axis=-1))


def voxel_fractions(
    body: Body, lines: Sequence[Floats], sub: int
) -> tuple[tuple[slice, slice, slice], NDArray[np.float32]]:
    """Volume fractions of a body on a regular grid.

    Parameters
    ----------
    body : Body
        The body.
    lines : sequence of three ndarray
        Voxel centres along x, y, z [m], evenly spaced.
    sub : int
        Samples per axis of a voxel; more where the body is as small as a voxel. Upright boxes are exact.

    Returns
    -------
    where : tuple of slice
        The part of the grid that the body reaches; empty where it lies outside.
    fractions : ndarray, float32
        Fractions 0..1 on that part.
    """
    size = np.array([line[1] - line[0] for line in lines])
    sub = min(24, max(sub, math.ceil(3.0 * float(size.max()) / min(body.half_lengths))))
    span = []
    for line, c, r, s in zip(lines, body.center, body.reach, size.tolist(), strict=True):
        near = np.flatnonzero(np.abs(line - c) < r + 0.5 * s)
        span.append(slice(int(near[0]), int(near[-1]) + 1) if near.size else slice(0, 0))
    where = (span[0], span[1], span[2])
    # The surface crosses a voxel only where its corners disagree, or where it is smaller than the voxel.
    edges = [
        np.append(line[w] - 0.5 * s, line[w][-1:] + 0.5 * s)
        for line, w, s in zip(lines, where, size, strict=True)
    ]
    shape = tuple(w.stop - w.start for w in where)
    if 0 in shape:
        return where, np.zeros(shape, np.float32)
    if isinstance(body, Box) and not any(body.turns):
        share = [
            np.clip(np.minimum(e[1:], c + h) - np.maximum(e[:-1], c - h), 0.0, None) / s
            for e, c, h, s in zip(edges, body.center, body.half_lengths, size.tolist(), strict=True)
        ]
        product = share[0][:, None, None] * share[1][None, :, None] * share[2]
        return where, np.asarray(product, np.float32)
    corner = body.contains(np.stack(np.meshgrid(*edges, indexing="ij"), axis=-1))
    corner = np.stack(
        [
            corner[i : i + shape[0], j : j + shape[1], m : m + shape[2]]
            for i in (0, 1)
            for j in (0, 1)
            for m in (0, 1)
        ]
    )
    full = corner.all(axis=0)
    out: NDArray[np.float32] = np.asarray(full, np.float32)
    # A convex body that holds all corners holds the voxel. Around a body thicker than a voxel only its
    # neighbourhood is crossed by the surface; a thin one may pass between all corners.
    touched = corner.any(axis=0)
    if min(body.half_lengths) > float(size.max()):
        candidate = ndimage.binary_dilation(touched, np.ones((3, 3, 3), bool)) & ~full
    else:
        candidate = ~full
    at = np.argwhere(candidate)
    offsets = (np.arange(sub) + 0.5) / sub - 0.5
    inner = np.stack(np.meshgrid(*[offsets * s for s in size], indexing="ij"), -1).reshape(-1, 3)
    centers = np.stack(
        [line[w][at[:, a]] for a, (line, w) in enumerate(zip(lines, where, strict=True))], axis=-1
    )
    # Far from the body no sample can be inside.
    local = np.abs((centers - np.asarray(body.center)) @ body.rotation)
    close = (local <= np.asarray(body.half_lengths) + 0.5 * float(np.linalg.norm(size))).all(axis=1)
    at, centers = at[close], centers[close]
    step = max(1, _BLOCK // len(inner))
    for k in range(0, len(at), step):
        block = centers[k : k + step, None, :] + inner
        share = body.contains(block).mean(axis=1)
        out[tuple(at[k : k + step].T)] = share
    return where, out

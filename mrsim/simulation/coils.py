"""Receive arrays: circular loops on a helmet, by Biot-Savart, with the noise they see in the sample.

Quasi-static: the receive sensitivity of a loop is the transverse field of unit current, Bx - i By
(reciprocity; Hoult and Richards, J Magn Reson 24:71-85, 1976). The sample's noise resistance between two
loops is omega^2 times the integral of sigma A_i . A_j (Roemer et al., Magn Reson Med 16:192-225, 1990;
surface charges neglected), so the noise covariance follows from the same geometry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numba import njit

from .constants import MU_0

_SEGMENTS = 64
"""Straight pieces per loop; the field is right to about 1e-3 (a polygon of equal area: 0.12 % more wire)."""


@dataclass(frozen=True, kw_only=True)
class LoopArray:
    """Circular loops: ``center`` (n, 3) [m], unit ``normal`` (n, 3), ``radius`` (n,) [m]."""

    center: np.ndarray
    normal: np.ndarray
    radius: np.ndarray

    @property
    def size(self) -> int:
        """Number of loops."""
        return int(self.radius.size)

    def segments(self) -> tuple[np.ndarray, np.ndarray]:
        """Midpoints and vectors of the wire pieces, each (n, pieces, 3) [m]."""
        reference = np.where(np.abs(self.normal[:, 2:3]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
        u = np.cross(self.normal, reference)
        u /= np.linalg.norm(u, axis=1, keepdims=True)
        v = np.cross(self.normal, u)
        edge = 2 * np.pi * np.arange(_SEGMENTS + 1) / _SEGMENTS
        # Circumscribed so that the polygon has the area of the circle.
        grow = np.sqrt(2 * np.pi / (_SEGMENTS * np.sin(2 * np.pi / _SEGMENTS)))
        radius = (grow * self.radius)[:, None, None]
        ring = radius * (np.cos(edge)[None, :, None] * u[:, None] + np.sin(edge)[None, :, None] * v[:, None])
        corners = self.center[:, None] + ring
        return 0.5 * (corners[:, 1:] + corners[:, :-1]), corners[:, 1:] - corners[:, :-1]


def helmet(
    channels: int,
    *,
    semi_axes: tuple[float, float, float],
    center: np.ndarray,
    lowest: float = -0.55,
    layout: Literal["even", "rings"] = "even",
) -> LoopArray:
    """Loops on the upper part of an ellipsoid.

    Parameters
    ----------
    channels : int
        Number of loops, at least 1.
    semi_axes : tuple of float
        Semi-axes of the helmet along world x, y, z [m].
    center : array (3,)
        Centre of the helmet in the scanner frame [m].
    lowest : float
        Height of the lowest loop centre in units of the z semi-axis; the face and neck stay open.
    layout : {'even', 'rings'}
        Spread evenly (Fibonacci lattice), as the panels of a soccer ball are, or on rings around z
        (`ring_counts`), loops of neighbouring rings staggered.

    Returns
    -------
    LoopArray whose loops overlap slightly, as decoupled arrays do (area = 1.2 x share of the surface).
    """
    if channels < 1:
        raise ValueError(f"channels must be at least 1; got {channels}. Check the scanner's receive array.")
    if layout == "rings":
        z, turn = _on_rings(channels, lowest)
    else:
        i = np.arange(channels)
        z = 1.0 - (1.0 - lowest) * (i + 0.5) / channels
        turn = i * np.pi * (3.0 - np.sqrt(5.0))
    flat = np.sqrt(1.0 - z**2)
    unit = np.stack([flat * np.cos(turn), flat * np.sin(turn), z], axis=1)
    axes = np.asarray(semi_axes, float)
    normal = unit / axes
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    mean_radius = float(np.cbrt(axes.prod()))
    surface = 2 * np.pi * mean_radius**2 * (1.0 - lowest)
    radius = np.full(channels, np.sqrt(1.2 * surface / channels / np.pi))
    return LoopArray(center=unit * axes + np.asarray(center, float), normal=normal, radius=radius)


def ring_counts(channels: int, lowest: float = -0.55) -> tuple[int, ...]:
    """Loops of each ring from the crown down, so that all loops have about the same size and shape.

    Rings are as high as a loop is wide: their number is the arc from the crown to the lowest loop over the
    side of a loop's share of the surface; loops go in proportion to the area of each ring.
    """
    arc = np.arccos(lowest)
    side = np.sqrt(2 * np.pi * (1.0 - lowest) / channels)
    rings = int(np.clip(round(arc / side), 1, channels))
    edges = np.cos(np.linspace(0.0, arc, rings + 1))
    share = channels * (edges[:-1] - edges[1:]) / (edges[0] - edges[-1])
    # Largest remainders, at least one loop per ring.
    counts = np.maximum(np.floor(share).astype(int), 1)
    while counts.sum() < channels:
        counts[np.argmax(share - counts)] += 1
    while counts.sum() > channels:
        counts[np.argmax(np.where(counts > 1, counts - share, -np.inf))] -= 1
    return tuple(int(c) for c in counts)


def _on_rings(channels: int, lowest: float) -> tuple[np.ndarray, np.ndarray]:
    """Heights in units of the z semi-axis, and azimuths [rad]."""
    counts = ring_counts(channels, lowest)
    # Every loop has the same share of the sphere's surface, which is linear in height.
    ends = 1.0 - (1.0 - lowest) * np.concatenate([[0], np.cumsum(counts)]) / channels
    heights = 0.5 * (ends[:-1] + ends[1:])
    z = np.repeat(heights, counts)
    turn = np.concatenate(
        [2 * np.pi * (np.arange(n) + 0.5 * (ring % 2)) / n for ring, n in enumerate(counts)]
    )
    return z, turn


@njit(cache=True)  # type: ignore[untyped-decorator]
def _fields(points: np.ndarray, mid: np.ndarray, vec: np.ndarray, b: np.ndarray, a: np.ndarray) -> None:
    """Write Biot-Savart sums over the wire, mu0 / 4 pi left out: field ``b``, vector potential ``a``."""
    for c in range(mid.shape[0]):
        for p in range(points.shape[0]):
            bx = by = bz = ax = ay = az = 0.0
            for s in range(mid.shape[1]):
                dx = points[p, 0] - mid[c, s, 0]
                dy = points[p, 1] - mid[c, s, 1]
                dz = points[p, 2] - mid[c, s, 2]
                inv = 1.0 / np.sqrt(dx * dx + dy * dy + dz * dz + 1e-12)
                inv3 = inv * inv * inv
                lx, ly, lz = vec[c, s, 0], vec[c, s, 1], vec[c, s, 2]
                bx += (ly * dz - lz * dy) * inv3
                by += (lz * dx - lx * dz) * inv3
                bz += (lx * dy - ly * dx) * inv3
                ax += lx * inv
                ay += ly * inv
                az += lz * inv
            b[c, p, 0], b[c, p, 1], b[c, p, 2] = bx, by, bz
            a[c, p, 0], a[c, p, 1], a[c, p, 2] = ax, ay, az


def loop_fields(array: LoopArray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Magnetic field and vector potential of 1 A in each loop.

    Parameters
    ----------
    array : LoopArray
    points : array (p, 3)
        Positions in the scanner frame [m].

    Returns
    -------
    b : array (loops, p, 3) [T/A];  a : array (loops, p, 3) [T m/A]
    """
    mid, vec = array.segments()
    points = np.ascontiguousarray(points, float)
    b = np.empty((array.size, points.shape[0], 3))
    a = np.empty_like(b)
    _fields(points, mid, vec, b, a)
    return b * (MU_0 / (4 * np.pi)), a * (MU_0 / (4 * np.pi))


def sensitivity(b: np.ndarray) -> np.ndarray:
    """Receive sensitivity Bx - i By [T/A] from the field (loops, p, 3) of unit currents."""
    return np.asarray(b[..., 0] - 1j * b[..., 1])


def sample_resistance(a: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Noise resistance matrix per omega^2.

    Parameters
    ----------
    a : array (loops, p, 3)
        Vector potential of unit currents [T m/A].
    weight : array (p,)
        Conductivity times volume of each point [S m^2].

    Returns
    -------
    array (loops, loops) [ohm s^2]; times (2 pi f)^2 it is the resistance matrix [ohm].
    """
    flat = (a * np.sqrt(weight)[None, :, None]).reshape(a.shape[0], -1)
    return np.asarray(flat @ flat.T)


_WIRE = 2e-3
"""Radius of the conductor, of the self inductance [m]."""


def mutual_inductance(array: LoopArray) -> np.ndarray:
    """Inductance matrix of the loops [H], (loops, loops).

    Mutual: the vector potential of one loop along the wire of the other (Neumann's formula). Self: mu0 a
    (ln(8 a / w) - 2) of a thin ring of conductor radius w (Jackson, Classical Electrodynamics, problem 5.32).
    """
    mid, vec = array.segments()
    n, pieces = mid.shape[:2]
    _, a = loop_fields(array, mid.reshape(-1, 3))
    matrix = np.einsum("ijpk,jpk->ij", a.reshape(n, n, pieces, 3), vec)
    matrix = 0.5 * (matrix + matrix.T)
    np.fill_diagonal(matrix, MU_0 * array.radius * (np.log(8 * array.radius / _WIRE) - 2.0))
    return np.asarray(matrix)


def coupling_matrix(array: LoopArray, residual: float) -> np.ndarray:
    """Mixing of signals and noise between loops that preamplifier decoupling leaves, (loops, loops).

    A voltage v_j drives the current v_j / Z_j in loop j, which induces j omega M_ij v_j / Z_j in loop i
    (Roemer et al., Magn Reson Med 16:192-225, 1990). Perfect preamplifiers make Z_j infinite; here
    omega L_j / |Z_j| = ``residual``: mixing = 1 - residual M_ij / sqrt(L_i L_j), its phase left out.

    Parameters
    ----------
    array : LoopArray
    residual : float
        0 (perfect decoupling) to 1.
    """
    inductance = mutual_inductance(array)
    root = np.sqrt(np.diag(inductance))
    mixing = -residual * inductance / np.outer(root, root)
    np.fill_diagonal(mixing, 1.0)
    return np.asarray(mixing)

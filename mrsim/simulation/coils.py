"""Receive arrays: circular loops on a helmet, by Biot-Savart, with the noise they see in the sample.

Quasi-static: the receive sensitivity of a loop is the transverse field of unit current, Bx - i By
(reciprocity; Hoult and Richards, J Magn Reson 24:71-85, 1976). The sample's noise resistance between two
loops is omega^2 times the integral of sigma A_i . A_j (Roemer et al., Magn Reson Med 16:192-225, 1990;
surface charges neglected), so the noise covariance follows from the same geometry.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    channels: int, *, semi_axes: tuple[float, float, float], center: np.ndarray, lowest: float = -0.55
) -> LoopArray:
    """Loops spread evenly (Fibonacci lattice) on the upper part of an ellipsoid.

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

    Returns
    -------
    LoopArray whose loops overlap slightly, as decoupled arrays do (area = 1.2 x share of the surface).
    """
    if channels < 1:
        raise ValueError(f"channels must be at least 1; got {channels}. Check the scanner's receive array.")
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

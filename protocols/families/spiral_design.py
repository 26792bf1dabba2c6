"""Spirals in k-space: the curve by its density, and the fastest way along it inside the gradient limits.

The radius grows by ``arms / FOV(r)`` per turn, with FOV(r) falling linearly from the field of view at the
centre to `edge_density` times it at the edge. The speed along the curve is time-optimal for limits on the
length of gradient and slew vectors: the phase-plane solution of Lustig, Kim and Pauly (2008,
doi:10.1109/TMI.2008.922699), so that every rotation of the spiral stays inside the limits as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..sequence import FloatArray

_POINTS_PER_TURN = 400
_LEAST_POINTS = 4000
_MARGIN = 0.995  # of both limits, for what sampling on the raster adds


@dataclass(frozen=True, kw_only=True, eq=False)
class SpiralDesign:
    """One interleaf at angle 0 on the edges of the gradient raster.

    Attributes
    ----------
    times : ndarray of float, shape (n,)
        Raster edges [s] from the start; the ramp to zero at the end is included.
    gradient : ndarray of float, shape (n, 2)
        gamma-bar G [Hz/m]; zero at both ends, linear in between.
    readout : float
        Time at which the edge of k-space is reached [s], not later than the ramp to zero.
    end : ndarray of float, shape (2,)
        k after the last edge [1/m].
    """

    times: FloatArray
    gradient: FloatArray
    readout: float
    end: FloatArray


def spiral_curve(fov: float, radius: float, arms: int, edge_density: float) -> tuple[FloatArray, FloatArray]:
    """Points of one interleaf, evenly spaced in radius.

    Parameters
    ----------
    fov : float
        Field of view [m].
    radius : float
        k at the edge [1/m].
    arms : int
        Interleaves.
    edge_density : float
        Density at the edge relative to the centre.

    Returns
    -------
    r : ndarray of float, shape (n,)
        Distance from the k-space centre [1/m].
    angle : ndarray of float, shape (n,)
        ``2 pi / arms int_0^r FOV(r') dr'`` [rad].
    """
    turns = fov * radius * 0.5 * (1.0 + edge_density) / arms
    r = np.linspace(0.0, radius, max(_LEAST_POINTS, math.ceil(_POINTS_PER_TURN * turns)))
    angle = 2.0 * np.pi * fov / arms * (r + 0.5 * (edge_density - 1.0) * r**2 / radius)
    return r, np.asarray(angle)


def fastest_speed(curvature: FloatArray, step: FloatArray, amplitude: float, slew: float) -> FloatArray:
    """Speed along a curve from rest, shape (n,), in [1/m/s].

    Parameters
    ----------
    curvature : ndarray of float, shape (n,)
        [m], as k is in 1/m.
    step : ndarray of float, shape (n - 1,)
        Arc length between points [1/m].
    amplitude, slew : float
        Limits of speed [1/m/s = Hz/m] and acceleration [Hz/m/s].

    Notes
    -----
    ``v <= min(amplitude, sqrt(slew / curvature))`` and ``|d(v^2)/ds| <= 2 sqrt(slew^2 - curvature^2 v^4)``,
    met by one pass forward and one backward; the speed at the end is free.
    """
    limit = np.minimum(amplitude**2, slew / np.maximum(curvature, 1e-30))  # of v^2

    def sweep(square: list[float], order: range, ahead: int) -> None:
        for n in order:
            turning = curvature[n] * square[n]
            along = math.sqrt(max(0.0, slew**2 - turning**2))
            reach = square[n] + 2.0 * along * step[min(n, n + ahead)]
            square[n + ahead] = min(square[n + ahead], reach)

    square = [0.0, *limit[1:].tolist()]
    sweep(square, range(len(square) - 1), 1)
    sweep(square, range(len(square) - 1, 1, -1), -1)
    return np.asarray(np.sqrt(np.array(square)))


def design_spiral(
    *,
    fov: float,
    radius: float,
    arms: int,
    edge_density: float,
    amplitude: float,
    slew: float,
    raster: float,
) -> SpiralDesign:
    """Design an outward spiral; parameters as in `spiral_curve` and `fastest_speed`, raster in s."""
    amplitude, slew = _MARGIN * amplitude, _MARGIN * slew
    r, _ = spiral_curve(fov, radius, arms, edge_density)
    turn = 2.0 * np.pi * fov / arms * (1.0 + (edge_density - 1.0) * r / radius)  # d(angle)/dr
    bend = np.full(r.size, 2.0 * np.pi * fov / arms * (edge_density - 1.0) / radius)  # d2(angle)/dr2
    stretch = np.sqrt(1.0 + (r * turn) ** 2)  # ds/dr
    # Curvature of r exp(i angle): |2 turn + r bend + r^2 turn^3| / stretch^3.
    curvature = np.abs(2.0 * turn + r * bend + r**2 * turn**3) / stretch**3
    step = 0.5 * (stretch[1:] + stretch[:-1]) * np.diff(r)
    speed = fastest_speed(curvature, step, amplitude, slew)
    time = np.concatenate(([0.0], np.cumsum(2.0 * step / (speed[1:] + speed[:-1]))))
    count = math.ceil(time[-1] / raster - 1e-9)
    at = np.minimum(np.arange(count + 1) * raster, time[-1])
    # s grows with the square of time at rest: speed, not position, is interpolated there.
    v, radial = np.interp(at, time, speed), _position(at, time, r)
    phi = 2.0 * np.pi * fov / arms * (radial + 0.5 * (edge_density - 1.0) * radial**2 / radius)
    swirl = 2.0 * np.pi * fov / arms * (1.0 + (edge_density - 1.0) * radial / radius) * radial
    tangent = (1.0 + 1j * swirl) * np.exp(1j * phi) / np.sqrt(1.0 + swirl**2)
    g = v * tangent
    fall = max(1, math.ceil(abs(g[-1]) / (slew * raster)))
    g = np.concatenate((g, g[-1] * (1.0 - np.arange(1, fall + 1) / fall)))
    end = complex(np.sum(0.5 * (g[1:] + g[:-1])) * raster)
    return SpiralDesign(
        times=np.round(np.arange(g.size) * raster, 12),
        gradient=np.stack([g.real, g.imag], axis=1),
        readout=count * raster,
        end=np.array([end.real, end.imag]),
    )


def _position(at: FloatArray, time: FloatArray, r: FloatArray) -> FloatArray:
    """Radius at given times; piecewise quadratic near the start, where the speed vanishes."""
    from scipy.interpolate import PchipInterpolator

    return np.asarray(PchipInterpolator(time, r)(at))

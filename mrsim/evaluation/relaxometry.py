"""Relaxation times from images or tables of region means: T1 by flip angles or inversion, T2* by echoes.

All functions take measurements of shape (..., n), one entry of the last axis per setting, in any common unit,
and fit all voxels at once over a whole range of the relaxation time; times in seconds, angles in radians.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from .inputs import FloatArray, MetricInputError
from .profile_fit import minimise, per_voxel, project, settings, voxels

T1_RANGE = (1e-3, 30.0)
"""Range in which T1 is sought [s]."""
T2_RANGE = (5e-4, 30.0)
"""Range in which T2 and T2* are sought [s]."""

_SAME = 1e-9
"""Relative difference below which repetition times count as one."""


@dataclass(frozen=True, kw_only=True)
class RelaxationFit:
    """Result of a fit, one entry per voxel.

    Attributes
    ----------
    time : ndarray
        T1, T2 or T2* [s]; a bound of the range means that the data do not determine it.
    amplitude : ndarray
        Signal of fully recovered (T1) or undecayed (T2) magnetization, in the unit of the data.
    residual : ndarray
        Root mean square of the residuals, in the unit of the data.
    """

    time: FloatArray
    amplitude: npt.NDArray[np.inexact]
    residual: FloatArray


def spoiled_signal(t1: npt.ArrayLike, flip: npt.ArrayLike, tr: npt.ArrayLike) -> FloatArray:
    """Signal of an ideally spoiled gradient echo, M0 = 1: sin a (1 - E1)/(1 - E1 cos a), E1 = exp(-TR/T1).

    Parameters broadcast; times [s], angles [rad].
    """
    e1 = np.exp(-np.asarray(tr, float) / np.asarray(t1, float))
    angle = np.asarray(flip, float)
    return np.asarray(np.sin(angle) * (1.0 - e1) / (1.0 - e1 * np.cos(angle)))


def fit_vfa(
    signals: npt.ArrayLike, flips: npt.ArrayLike, tr: npt.ArrayLike, *, b1: npt.ArrayLike | None = None
) -> RelaxationFit:
    """T1 from spoiled gradient echoes with variable flip angles, by nonlinear least squares.

    Parameters
    ----------
    signals : array_like, shape (..., n)
        Magnitudes or complex values.
    flips : array_like, shape (n,)
        Nominal flip angles [rad].
    tr : array_like, scalar or shape (n,)
        Repetition time of each measurement [s]; they may differ.
    b1 : array_like, shape (...), optional
        Flip angle over nominal; 1 by default.

    Returns
    -------
    RelaxationFit
        `amplitude` contains receiver gain and T2* decay.
    """
    angles = settings(flips, "flips", 2)
    data, shape = voxels(signals, angles.size)
    times = np.broadcast_to(settings(tr, "tr", 1), angles.shape)
    actual = per_voxel(b1, shape, "b1", 1.0)[:, None] * angles

    def model(t1: FloatArray) -> FloatArray:
        return spoiled_signal(t1[:, None], actual, times)

    t1 = minimise(lambda t: project(data, model(t))[1], len(data), T1_RANGE)
    (amplitude,), rest = project(data, model(t1))
    return _result(shape, t1, amplitude, rest / angles.size)


def fit_vfa_linear(
    signals: npt.ArrayLike,
    flips: npt.ArrayLike,
    tr: float,
    *,
    b1: npt.ArrayLike | None = None,
    weighted: bool = True,
) -> RelaxationFit:
    """T1 from variable flip angles by the straight line S/sin a = E1 S/tan a + M0 (1 - E1).

    Parameters
    ----------
    signals : array_like, shape (..., n)
        Magnitudes.
    flips : array_like, shape (n,)
        Nominal flip angles [rad].
    tr : float
        One repetition time [s].
    b1 : array_like, shape (...), optional
        Flip angle over nominal.
    weighted : bool
        Weigh each point by the noise it has on the line, (sin a/(1 - E1 cos a))^2, in four rounds (Chang et
        al., Magn Reson Med 60:496-501, 2008); without weights noise at small angles dominates and biases T1.

    Returns
    -------
    RelaxationFit
        NaN where the slope is not between 0 and 1.
    """
    angles = settings(flips, "flips", 2)
    data, shape = voxels(signals, angles.size, magnitude=True)
    interval = _one_tr(tr)
    actual = per_voxel(b1, shape, "b1", 1.0)[:, None] * angles
    values = np.asarray(data.real, np.float64)
    y, x = values / np.sin(actual), values / np.tan(actual)
    weights = np.ones_like(x)
    for _ in range(5 if weighted else 1):
        slope, offset = _line(x, y, weights)
        weights = (np.sin(actual) / (1.0 - np.clip(slope, 0.0, 1.0)[:, None] * np.cos(actual))) ** 2
    valid = (slope > 0.0) & (slope < 1.0)
    e1 = np.where(valid, slope, 0.5)
    t1 = np.where(valid, -interval / np.log(e1), np.nan)
    amplitude = np.where(valid, offset / (1.0 - e1), np.nan)
    rest = values - amplitude[:, None] * spoiled_signal(np.where(valid, t1, 1.0)[:, None], actual, interval)
    return _result(shape, t1, amplitude, (rest**2).mean(axis=1))


def _one_tr(tr: npt.ArrayLike) -> float:
    times = settings(tr, "tr", 1)
    if np.ptp(times) > _SAME * times[0]:
        raise MetricInputError(
            f"tr must be one repetition time for the linear fit; got {times.tolist()}. Use fit_vfa."
        )
    return float(times[0])


def _line(x: FloatArray, y: FloatArray, w: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Slope and offset of weighted straight lines through the rows."""
    total = w.sum(axis=1)
    mx, my = (w * x).sum(axis=1) / total, (w * y).sum(axis=1) / total
    dx = x - mx[:, None]
    spread = (w * dx * dx).sum(axis=1)
    slope = (w * dx * (y - my[:, None])).sum(axis=1) / np.where(spread > 0.0, spread, np.inf)
    return slope, my - slope * mx


def vfa_precision(
    t1: npt.ArrayLike, flips: npt.ArrayLike, tr: npt.ArrayLike, noise: float, *, b1: float = 1.0
) -> FloatArray:
    """Cramer-Rao bound of T1 from variable flip angles: least standard deviation [s] without bias.

    Parameters
    ----------
    t1 : array_like
        True T1 [s].
    flips : array_like, shape (n,)
        Nominal flip angles [rad].
    tr : array_like, scalar or shape (n,)
        Repetition times [s].
    noise : float
        Standard deviation of the noise over M0.
    b1 : float
        Flip angle over nominal.
    """
    angles, times = b1 * settings(flips, "flips", 2), settings(tr, "tr", 1)
    t = np.asarray(t1, float)[..., None]
    e1 = np.exp(-times / t)
    f = spoiled_signal(t, angles, times)
    # d/dE1 of (1 - E1)/(1 - E1 cos a) is (cos a - 1)/(1 - E1 cos a)^2; dE1/dT1 = E1 TR/T1^2.
    slope = np.sin(angles) * (np.cos(angles) - 1.0) / (1.0 - e1 * np.cos(angles)) ** 2 * e1 * times / t**2
    ff, fg, gg = (f * f).sum(-1), (f * slope).sum(-1), (slope * slope).sum(-1)
    return np.asarray(noise * np.sqrt(ff / (ff * gg - fg * fg)))


def inversion_signal(t1: npt.ArrayLike, ti: npt.ArrayLike, tr: float = np.inf, te: float = 0.0) -> FloatArray:
    """Signal after a perfect inversion, M0 = 1, of a 90 degree excitation repeated every TR.

    1 - 2 exp(-TI/T1) + 2 exp(-(TR - TE/2)/T1) - exp(-TR/T1): a spin echo at TE whose refocusing pulse inverts
    what has recovered by TE/2. TE = 0 stands for a gradient echo: 1 - 2 exp(-TI/T1) + exp(-TR/T1).

    Parameters
    ----------
    t1, ti : array_like
        Times [s]; they broadcast. TI counts from the inversion to the excitation.
    tr : float
        Inversion to inversion [s].
    te : float
        Echo time of a spin echo [s].
    """
    t1 = np.asarray(t1, float)
    rest = 2.0 * np.exp(-(tr - 0.5 * te) / t1) - np.exp(-tr / t1)
    return np.asarray(1.0 - 2.0 * np.exp(-np.asarray(ti, float) / t1) + rest)


def fit_inversion_recovery(
    signals: npt.ArrayLike,
    ti: npt.ArrayLike,
    *,
    model: Literal["general", "perfect"] = "general",
    magnitude: bool = True,
    tr: float = np.inf,
    te: float = 0.0,
) -> RelaxationFit:
    """T1 from inversion recovery.

    Parameters
    ----------
    signals : array_like, shape (..., n)
        Magnitudes, or with ``magnitude=False`` values with their sign or complex phase.
    ti : array_like, shape (n,)
        Inversion times [s], one repetition time for all.
    model : {'general', 'perfect'}
        Three parameters, a + b exp(-TI/T1) (Barral et al., Magn Reson Med 64:1057-1067, 2010): exact for any
        inversion and excitation angle and any TR that is the same for all TI. Two parameters,
        `inversion_signal`: for perfect pulses and a known TR.
    magnitude : bool
        Restore the sign of magnitudes: the point nearest the null is tried with both signs.
    tr, te : float
        Of the two-parameter model [s].

    Returns
    -------
    RelaxationFit
        `amplitude` is a, or M0 of the two-parameter model.
    """
    if model not in ("general", "perfect"):
        raise MetricInputError(f"model must be 'general' or 'perfect'; got {model!r}.")
    times = settings(ti, "ti", 3 if model == "general" else 2)
    data, shape = voxels(signals, times.size, magnitude=magnitude)
    order = np.argsort(times)
    times, data = times[order], data[:, order]
    ones = np.ones_like(data, float)

    def columns(t1: FloatArray) -> tuple[FloatArray, ...]:
        if model == "perfect":
            return (inversion_signal(t1[:, None], times, tr, te),)
        return ones, np.exp(-times / t1[:, None])

    def fit(values: npt.NDArray[np.inexact]) -> tuple[FloatArray, npt.NDArray[np.inexact], FloatArray]:
        t1 = minimise(lambda t: project(values, *columns(t))[1], len(values), T1_RANGE)
        amplitudes, rest = project(values, *columns(t1))
        return t1, amplitudes[0], rest / times.size

    if not magnitude:
        return _result(shape, *fit(data))
    without, including = (fit(values) for values in _restored(np.asarray(data.real, np.float64)))
    better = including[2] < without[2]
    return _result(shape, *(np.where(better, b, a) for a, b in zip(without, including, strict=True)))


def _restored(data: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Rows in order of TI with signs: negative before the smallest magnitude, without it and with it."""
    place = np.arange(data.shape[1])
    null = data.argmin(axis=1)[:, None]
    return np.where(place < null, -data, data), np.where(place <= null, -data, data)


def fit_exponential(signals: npt.ArrayLike, times: npt.ArrayLike) -> RelaxationFit:
    """Mono-exponential decay: T2* from multi-echo gradient echoes, or T2 where refocusing is perfect.

    Parameters
    ----------
    signals : array_like, shape (..., n)
        Magnitudes or complex values.
    times : array_like, shape (n,)
        Echo times [s].
    """
    echo = settings(times, "times", 2)
    data, shape = voxels(signals, echo.size)
    t2 = minimise(lambda t: project(data, np.exp(-echo / t[:, None]))[1], len(data), T2_RANGE)
    (amplitude,), rest = project(data, np.exp(-echo / t2[:, None]))
    return _result(shape, t2, amplitude, rest / echo.size)


def _result(
    shape: tuple[int, ...], time: FloatArray, amplitude: npt.NDArray[np.inexact], mean_square: FloatArray
) -> RelaxationFit:
    return RelaxationFit(
        time=time.reshape(shape),
        amplitude=amplitude.reshape(shape),
        residual=np.sqrt(mean_square).reshape(shape),
    )

"""T2 from multi-echo spin echoes whose refocusing pulses are not perfect, by the phase graph of the train."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .inputs import FloatArray, MetricInputError
from .profile_fit import minimise, per_voxel, project, settings, voxels
from .relaxometry import T2_RANGE, RelaxationFit


def echo_train(
    t2: npt.ArrayLike,
    echo_spacing: float,
    echoes: int,
    *,
    t1: npt.ArrayLike = np.inf,
    refocusing: npt.ArrayLike = np.pi,
) -> FloatArray:
    """Echo amplitudes of a CPMG train, M0 = 1, excitation of 90 degrees along the refocusing axis.

    Extended phase graph with instantaneous pulses and crushed free decay (Hennig, J Magn Reson 78:397-407,
    1988; recursion as in Weigel, J Magn Reson Imaging 41:266-295, 2015).

    Parameters
    ----------
    t2, t1 : array_like, shape (...)
        Relaxation times [s]; they broadcast with `refocusing`.
    echo_spacing : float
        Refocusing to refocusing [s].
    echoes : int
        Length of the train.
    refocusing : array_like, shape (...)
        Refocusing angle [rad], the same for all pulses.

    Returns
    -------
    ndarray, shape (..., echoes)
        Amplitudes, real.
    """
    t1, t2, angle = np.broadcast_arrays(
        np.asarray(t1, float), np.asarray(t2, float), np.asarray(refocusing, float)
    )
    shape, angle = t2.shape, angle.reshape(-1, 1)
    e1 = np.exp(-0.5 * echo_spacing / t1.reshape(-1, 1))
    e2 = np.exp(-0.5 * echo_spacing / t2.reshape(-1, 1))
    c2, s2, sine = np.cos(0.5 * angle) ** 2, np.sin(0.5 * angle) ** 2, np.sin(angle)
    # In the CPMG condition all transverse states stay real (along the axis) and Z states imaginary; M+ = 1.
    plus = np.zeros((angle.size, echoes + 2))
    minus, z = np.zeros_like(plus), np.zeros_like(plus)
    plus[:, 0] = minus[:, 0] = 1.0
    out = np.empty((angle.size, echoes))
    for n in range(echoes):
        plus, minus, z = _half(plus, minus, z, e1, e2)
        plus, minus, z = (
            c2 * plus + s2 * minus + sine * z,
            s2 * plus + c2 * minus - sine * z,
            -0.5 * sine * plus + 0.5 * sine * minus + (c2 - s2) * z,
        )
        plus, minus, z = _half(plus, minus, z, e1, e2)
        out[:, n] = plus[:, 0]
    return out.reshape(*shape, echoes)


def _half(
    plus: FloatArray, minus: FloatArray, z: FloatArray, e1: FloatArray, e2: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Half an echo spacing: decay, and one step of dephasing."""
    up, down = np.empty_like(plus), np.zeros_like(minus)
    up[:, 1:], down[:, :-1] = plus[:, :-1], minus[:, 1:]
    up[:, 0] = down[:, 0]
    return e2 * up, e2 * down, e1 * z


def fit_t2_echo_train(
    signals: npt.ArrayLike,
    echo_spacing: float,
    *,
    t1: npt.ArrayLike | None = None,
    b1: npt.ArrayLike | None = None,
    refocusing: float = np.pi,
) -> RelaxationFit:
    """T2 from a multi-echo spin echo with known transmit field.

    Parameters
    ----------
    signals : array_like, shape (..., n)
        Magnitudes of the echoes, the first at one echo spacing.
    echo_spacing : float
        [s].
    t1 : array_like, shape (...), optional
        T1 [s], which stimulated echoes remember; 1 s by default.
    b1 : array_like, shape (...), optional
        Refocusing angle over nominal.
    refocusing : float
        Nominal refocusing angle [rad].
    """
    data, shape = voxels(signals, np.shape(signals)[-1] if np.ndim(signals) else 0)
    echoes = data.shape[1]
    (spacing,) = settings(echo_spacing, "echo_spacing", 1)
    if echoes < 2:
        raise MetricInputError(f"signals must hold at least 2 echoes; got {echoes}.")
    long = per_voxel(t1, shape, "t1", 1.0)
    angle = refocusing * per_voxel(b1, shape, "b1", 1.0)

    def model(t2: FloatArray) -> FloatArray:
        return echo_train(t2, float(spacing), echoes, t1=long, refocusing=angle)

    t2 = minimise(lambda t: project(data, model(t))[1], len(data), T2_RANGE)
    (amplitude,), rest = project(data, model(t2))
    return RelaxationFit(
        time=t2.reshape(shape),
        amplitude=amplitude.reshape(shape),
        residual=np.sqrt(rest / echoes).reshape(shape),
    )

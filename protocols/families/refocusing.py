"""Refocusing flip angles of long spin-echo trains (SPACE, Cube, VISTA) and the contrast they give.

A train holds its signal by staying near the pseudo-steady state of a low flip angle. The angles are computed
one by one: the phase graph of the train so far says which angle makes the next echo as large as prescribed.
After Alsop 1997 (doi:10.1002/mrm.1910370206) and Busse 2006 (doi:10.1002/mrm.20863), whose schedule this
follows in its shape: a fast approach to a minimum, a rise to the k-space centre, a rise to the end. The
papers were not opened; the equations below are derived here and tested against independent phase graphs.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..cards.contrasts import RefocusingDesign

FloatArray = NDArray[np.float64]

REFERENCE_T1, REFERENCE_T2 = 1.0, 0.1
"""Tissue of the contrast-equivalent TE [s]: a choice, between white and gray matter at 1.5 and 3 T."""
EFFECTIVE_TE_MEANING = "TE of a constant 180 deg train with the same T2 weighting, T1 1 s and T2 0.1 s"
_APPROACH = 6  # echoes of the approach to the minimum


class PhaseGraph:
    """Phase graph of a CPMG train, real because all pulses turn about the axis of the magnetization.

    Parameters
    ----------
    echoes : int
        Length of the train: bounds the number of states.
    decay : tuple of float
        Factors ``exp(-tau / T1), exp(-tau / T2)`` of half an echo spacing tau; (1, 1) without relaxation.

    Notes
    -----
    States F+(k), F-(k) and z(k) with Z = i z; a pulse about x mixes them by
    ``F+' = c2 F+ + s2 F- + sin a z``, ``F-' = s2 F+ + c2 F- - sin a z``,
    ``z' = (F- - F+) sin(a) / 2 + z cos a``, with c2, s2 = cos^2(a / 2), sin^2(a / 2) (Weigel 2015,
    doi:10.1002/jmri.24619).
    """

    def __init__(self, echoes: int, decay: tuple[float, float] = (1.0, 1.0)) -> None:
        size = 2 * echoes + 3
        self.plus, self.minus, self.z = np.zeros(size), np.zeros(size), np.zeros(size)
        self.plus[0] = self.minus[0] = 1.0
        self.decay = decay
        self._wait()

    def _wait(self) -> None:
        """Half an echo spacing: relaxation (recovery never reaches a CPMG echo) and one step of k."""
        e1, e2 = self.decay
        self.plus[1:] = e2 * self.plus[:-1]
        self.minus[:-1] = e2 * self.minus[1:]
        self.minus[-1] = 0.0
        self.plus[0] = self.minus[0]
        self.z *= e1

    def angle_for(self, signal: float) -> float:
        """Flip angle [rad], 0..pi, that makes the next echo as large as `signal`, or as near as can be."""
        mean = 0.5 * (self.plus[1] + self.minus[1])
        half = 0.5 * (self.plus[1] - self.minus[1])
        # The echo is mean - half cos a - z sin a = mean - reach cos(a - turn).
        reach, turn = math.hypot(half, self.z[1]), math.atan2(self.z[1], half)
        echo = signal / self.decay[1]
        opening = math.acos(min(1.0, max(-1.0, (mean - echo) / reach)))
        angles = [a for a in (turn + opening, turn - opening) if 0.0 < a <= math.pi + 1e-12]
        return min(angles) if angles else math.pi

    def echo(self, angle: float) -> float:
        """Play a refocusing pulse [rad] and return the echo that follows."""
        c, s = math.cos(angle), math.sin(angle)
        c2, s2 = 0.5 * (1.0 + c), 0.5 * (1.0 - c)
        plus, minus, z = self.plus, self.minus, self.z
        self.plus = c2 * plus + s2 * minus + s * z
        self.minus = s2 * plus + c2 * minus - s * z
        self.z = 0.5 * s * (minus - plus) + c * z
        self._wait()
        amplitude = float(self.plus[0])
        self._wait()
        return amplitude


def pseudo_steady_state(angle: float) -> float:
    """Echo amplitude that a long train of one refocusing angle [rad] can hold, without relaxation.

    Spins locked along the axis of one refocusing period keep their length; over the dephasing of a voxel
    the transverse part is ``(2 / pi) s K(1 - s^2)``, s = sin(angle / 2), K the complete elliptic integral of
    parameter m (after Alsop 1997, doi:10.1002/mrm.1910370206).
    """
    from scipy.special import ellipkm1

    s = math.sin(0.5 * angle)
    return float(2.0 / math.pi * s * ellipkm1(s * s))


def prescribed_signal(design: RefocusingDesign, echoes: int, center: int) -> FloatArray:
    """Echo amplitudes of a schedule without relaxation, shape (echoes,).

    Parameters
    ----------
    design : RefocusingDesign
        Three control angles.
    echoes, center : int
        Length of the train and echo of the k-space centre (0-based).
    """
    low, middle, high = (
        pseudo_steady_state(math.radians(a))
        for a in (design.minimum_deg, design.center_deg, design.maximum_deg)
    )
    number = np.arange(echoes)
    if center < 2 * _APPROACH:  # an early centre leaves no time to go down and up again
        low = middle
    approach = low + (1.0 - low) * 0.5 ** (number + 1.0)  # each echo goes half the way that is left
    knots = [_APPROACH, max(center, _APPROACH + 1), max(echoes - 1, center + 1, _APPROACH + 2)]
    rise = np.interp(number, knots, [low, middle, high])
    return np.asarray(np.where(number < _APPROACH, approach, rise))


def designed_angles(design: RefocusingDesign, echoes: int, center: int) -> list[float]:
    """Refocusing angles [rad] of a prescribed signal, by the phase graph of the train so far."""
    graph, angles = PhaseGraph(echoes), []
    for signal in prescribed_signal(design, echoes, center).tolist():
        angle = graph.angle_for(signal)
        graph.echo(angle)
        angles.append(angle)
    return angles


def train_signal(
    angles: list[float], spacing: float, t1: float = math.inf, t2: float = math.inf
) -> FloatArray:
    """Echo amplitudes of a CPMG train with angles [rad] and echo spacing [s], shape (echoes,)."""
    half = 0.5 * spacing
    graph = PhaseGraph(len(angles), (math.exp(-half / t1), math.exp(-half / t2)))
    return np.array([graph.echo(angle) for angle in angles])


def effective_te(angles: list[float], spacing: float, echo: int) -> float:
    """Contrast-equivalent TE [s] of one echo (0-based): the spin-echo TE with the same T2 weighting.

    ``-T2 ln(S(T1, T2) / S(no relaxation))`` for the reference tissue, the definition of Busse 2006
    (doi:10.1002/mrm.20863). Magnetization stored along z decays by T1, so it is shorter than the time to
    the echo.
    """
    angles = angles[: echo + 1]
    relaxed = train_signal(angles, spacing, REFERENCE_T1, REFERENCE_T2)[echo]
    return float(-REFERENCE_T2 * math.log(relaxed / train_signal(angles, spacing)[echo]))


def te_for_effective(design: RefocusingDesign, echoes: int, spacing: float, effective: float) -> float:
    """Time to the k-space centre [s] whose contrast-equivalent TE is nearest to `effective` [s].

    Vendors that report the equivalent TE (GE) need it to place the k-space centre in a designed train.
    """
    found = [effective_te(designed_angles(design, echoes, n), spacing, n) for n in range(echoes)]
    return (1 + int(np.argmin(np.abs(np.array(found) - effective)))) * spacing

"""What a real gradient system does to the waveform it is asked for, and to space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from .gradient_fields import GradientField, PolynomialField, SphericalHarmonicField
from .waveform import Waveform

__all__ = [
    "EddyCurrent",
    "GradientField",
    "GradientSystem",
    "ImpulseResponse",
    "PolynomialField",
    "SphericalHarmonicField",
]

_LOW_PASS_MARGIN = 2e-3
"""Memory of delays and the low-pass on either side of a stretch of time [s]."""
_EDDY_MEMORY = 8.0
"""Time constants after which an eddy current is forgotten: exp(-8) = 3e-4 of a term that is itself 1e-2."""


@final
@dataclass(frozen=True, kw_only=True)
class EddyCurrent:
    """One exponential eddy-current term: the field that opposes changes of one gradient and decays.

    source : axis of the changing gradient (0, 1, 2 = world x, y, z);
    target : axis of the induced field, 0..2, or None for a homogeneous one (B0 eddy current);
    amplitude : share of the gradient step that the field starts with [1]; for a homogeneous field [m];
    time_constant : [s].
    """

    source: int
    target: int | None
    amplitude: float
    time_constant: float

    def __post_init__(self) -> None:
        if self.source not in (0, 1, 2) or self.target not in (0, 1, 2, None):
            raise ValueError(
                "eddy current axes must be 0, 1 or 2 (target None: homogeneous); got "
                f"{self.source}, {self.target}."
            )
        if not 0 < self.time_constant <= 10 or not abs(self.amplitude) < 1:
            raise ValueError(
                "eddy currents need 0 < time_constant <= 10 s and |amplitude| < 1; got "
                f"{self.time_constant}, {self.amplitude}. Amplitudes are shares, not percent."
            )


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ImpulseResponse:
    """Measured gradient impulse response of each axis.

    Parameters
    ----------
    frequency : array (n,)
        Increasing from 0 [Hz].
    response : complex array (3, n)
        Transfer function of each axis, 1 for a perfect one; linear in between, zero above the last frequency.
    """

    frequency: np.ndarray
    response: np.ndarray

    def __post_init__(self) -> None:
        f, r = np.asarray(self.frequency, float), np.asarray(self.response, complex)
        if f.ndim != 1 or f.size < 2 or r.shape != (3, f.size) or f[0] != 0 or np.any(np.diff(f) <= 0):
            raise ValueError(
                f"frequency must be (n,) and increase from 0 Hz, response (3, n); got {f.shape}, {r.shape}."
            )
        object.__setattr__(self, "frequency", f)
        object.__setattr__(self, "response", r)

    def at(self, frequency: np.ndarray) -> np.ndarray:
        """Transfer function (3, m) at frequencies >= 0 [Hz]."""
        return np.stack(
            [
                np.interp(frequency, self.frequency, h.real, right=0.0)
                + 1j * np.interp(frequency, self.frequency, h.imag, right=0.0)
                for h in self.response
            ]
        )


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class GradientSystem:
    """Imperfections of a gradient system; the default is a perfect one.

    delay : (3,) delay of each world axis [s];
    eddy : eddy-current terms;
    impulse_response : measured transfer function, applied to the demanded waveform;
    low_pass : frequency at which a Gaussian low-pass exp(-(f/fc)^2) falls to 1/e [Hz], None = none;
    raster : time step at which filtered waveforms are represented [s];
    field : spatial field of the coils, None = linear;
    concomitant : whether Maxwell terms act (they need the main field).
    """

    delay: tuple[float, float, float] = (0.0, 0.0, 0.0)
    eddy: tuple[EddyCurrent, ...] = ()
    impulse_response: ImpulseResponse | None = None
    low_pass: float | None = None
    raster: float = 2e-6
    field: GradientField | None = None
    concomitant: bool = False

    def __post_init__(self) -> None:
        if len(self.delay) != 3 or not all(abs(d) <= 1e-3 for d in self.delay):
            raise ValueError(f"delay must be three times of at most 1 ms; got {self.delay}. Give seconds.")
        if self.low_pass is not None and not 100 <= self.low_pass <= 1e6:
            raise ValueError(f"low_pass must be 100..1e6 Hz; got {self.low_pass}.")
        if not 1e-7 <= self.raster <= 1e-4:
            raise ValueError(f"raster must be 1e-7..1e-4 s; got {self.raster}.")

    @property
    def _filtered(self) -> bool:
        return bool(self.eddy) or self.impulse_response is not None or self.low_pass is not None

    @property
    def changes_waveforms(self) -> bool:
        """Whether the played waveform differs from the demanded one."""
        return self._filtered or any(self.delay)

    @property
    def memory(self) -> tuple[float, float]:
        """How long before and after a stretch of time the demanded waveform must be known [s]."""
        if not self.changes_waveforms:
            return 0.0, 0.0
        late = max([_LOW_PASS_MARGIN, *(_EDDY_MEMORY * e.time_constant for e in self.eddy)])
        if self.impulse_response is not None:
            late = max(late, 1.0 / float(self.impulse_response.frequency[1]))
        reach = max(abs(d) for d in self.delay)
        return late + reach, _LOW_PASS_MARGIN + reach

    def play(self, wave: Waveform, first: float, last: float) -> Waveform:
        """Return the waveform played on [first, last], of axes x, y, z and homogeneous [Hz].

        ``wave`` is the demanded one on world axes, known `memory` longer on both sides.
        """
        if not self._filtered:
            played = wave.delayed(np.asarray(self.delay)).cut(first, last)
            extra = np.zeros((played.left.shape[0], 1))
            return Waveform(
                times=played.times,
                left=np.hstack([played.left, extra]),
                right=np.hstack([played.right, extra]),
            )
        steps = int(np.ceil((wave.times[-1] - wave.times[0]) / self.raster)) + 1
        # The raster passes through ``first``, where most knots of a sequence lie on it too.
        before = int(np.ceil((first - wave.times[0]) / self.raster))
        times = first + (np.arange(steps + 1) - before) * self.raster
        values = self._filter(wave.sampled(times))
        axes = [(times, values[:, a]) for a in range(4)]
        return Waveform.join(axes, first, last)

    def _filter(self, demanded: np.ndarray) -> np.ndarray:
        """Return samples (n, 3) after delays, transfer functions and eddy currents; (n, 4) with B0."""
        n = demanded.shape[0]
        size = 2 * n
        spectrum = np.fft.rfft(demanded, size, axis=0).T
        played = np.einsum("tsf,sf->tf", self.transfer(np.fft.rfftfreq(size, self.raster)), spectrum)
        return np.asarray(np.fft.irfft(played, size, axis=1)[:, :n].T)

    def transfer(self, frequency: np.ndarray) -> np.ndarray:
        """Transfer function from demanded to played gradients (the GIRF).

        H_ts(f) = [delta_ts LP(f) - sum a i2pi f / (i2pi f + 1/tau)] exp(-i 2 pi f delay_t), LP the measured
        response times exp(-(f/fc)^2), the sum over the eddy currents from s to t (scanners differ in it as
        Vannesjo et al., Magn Reson Med 69:583-593, 2013, measured).

        Parameters
        ----------
        frequency : array (f,)
            Frequencies >= 0 [Hz].

        Returns
        -------
        complex array (4, 3, f): targets x, y, z [1] and homogeneous [m], from sources x, y, z.
        """
        s = 2j * np.pi * np.asarray(frequency)
        pass_band = np.ones((3, s.size), complex)
        if self.impulse_response is not None:
            pass_band = pass_band * self.impulse_response.at(np.asarray(frequency))
        if self.low_pass is not None:
            pass_band = pass_band * np.exp(-((np.asarray(frequency) / self.low_pass) ** 2))
        out = np.zeros((4, 3, s.size), complex)
        out[range(3), range(3)] = pass_band
        for term in self.eddy:
            target = 3 if term.target is None else term.target
            # Lenz: the field opposes the change.
            out[target, term.source] -= term.amplitude * s / (s + 1.0 / term.time_constant)
        out[:3] *= np.exp(-s * np.asarray(self.delay)[:, None])[:, None]
        return out

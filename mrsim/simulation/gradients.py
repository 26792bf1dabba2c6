"""What a real gradient system does to the waveform it is asked for, and to space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from scipy import fft

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
    straight : samples go that lie this close to the chord between others, over the largest gradient;
    field : spatial field of the coils, None = linear;
    concomitant : whether Maxwell terms act (they need the main field).
    """

    delay: tuple[float, float, float] = (0.0, 0.0, 0.0)
    eddy: tuple[EddyCurrent, ...] = ()
    impulse_response: ImpulseResponse | None = None
    low_pass: float | None = None
    raster: float = 2e-6
    straight: float = 1e-10
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
        keep = _corners(values, self.straight)
        at = np.concatenate([[first], times[keep & (times > first) & (times < last)], [last]])
        ends = np.stack([np.interp(at, times[keep], values[keep, a]) for a in range(4)], axis=1)
        return Waveform(times=at, left=ends[:-1], right=ends[1:])

    def _filter(self, demanded: np.ndarray) -> np.ndarray:
        """Return samples (n, 3) after delays, transfer functions and eddy currents; (n, 4) with B0."""
        n = demanded.shape[0]
        size = int(fft.next_fast_len(2 * n, real=True))
        spectrum = fft.rfft(demanded, size, axis=0, workers=1).T
        played = self._respond(fft.rfftfreq(size, self.raster), spectrum)
        return np.asarray(fft.irfft(played, size, axis=1, workers=1)[:, :n].T)

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
        f = np.asarray(frequency, float)
        unit = np.broadcast_to(np.eye(3)[:, :, None], (3, 3, f.size))
        return np.stack([self._respond(f, source) for source in unit], axis=1)

    def _respond(self, frequency: np.ndarray, demanded: np.ndarray) -> np.ndarray:
        """Return the spectra (4, f) played for demanded ones (3, f); see `transfer`."""
        s = 2j * np.pi * frequency
        played = np.zeros((4, frequency.size), complex)
        played[:3] = demanded
        if self.impulse_response is not None:
            played[:3] *= self.impulse_response.at(frequency)
        if self.low_pass is not None:
            played[:3] *= np.exp(-((frequency / self.low_pass) ** 2))
        for term in self.eddy:
            target = 3 if term.target is None else term.target
            # Lenz: the field opposes the change.
            played[target] -= term.amplitude * s / (s + 1.0 / term.time_constant) * demanded[term.source]
        for axis, delay in enumerate(self.delay):
            if delay:
                played[axis] *= np.exp(-delay * s)
        return played


def _corners(values: np.ndarray, tolerance: float) -> np.ndarray:
    """Return which samples (n, axes) of a smooth waveform to keep: the rest lies on chords between them.

    Runs of 64 and of 8 samples go that deviate by less than ``tolerance`` of the largest value: flat tops,
    idle times, tails. At 1e-8, 2 s of a gradient of 30 mT/m err by 0.03 cycles per metre at the very most.
    """
    count, axes = values.shape
    keep = np.ones(count, bool)
    allowed = tolerance * np.maximum(np.abs(values).max(axis=0), 1e-300)
    for length in (8, 64):
        runs = (count - 1) // length
        if runs == 0:
            continue
        body = values[: runs * length].reshape(runs, length, axes)
        end = values[length : runs * length + 1 : length]
        share = (np.arange(length) / length)[None, :, None]
        chord = body[:, :1] * (1.0 - share) + end[:, None] * share
        straight = (np.abs(body - chord) <= allowed).all(axis=(1, 2))
        inner = keep[: runs * length].reshape(runs, length)
        inner[straight, 1:] = False
    return keep

"""What one radiofrequency pulse does to the magnetization, relaxation included.

A pulse is an affine map of (M+, M-, Mz): ``M -> R M + c M0``. It is found by stepping the Bloch equation
through the waveform's raster with a closed-form rotation per step and relaxation split evenly around it
(second order in the step). Sign convention as in CONTRIBUTING.md; internally the complex conjugate system
is used (M+ turns with exp(+2 pi i f t)), so a waveform enters as it stands in the Pulseq file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numba import njit

from protocols import Sequence

_TWO_PI = 2.0 * math.pi


@dataclass(frozen=True, kw_only=True)
class Bins:
    """Distinct magnetizations to simulate, one entry per bin.

    t1, t2 : relaxation times [s];  adc : diffusion coefficient [m^2/s];  b1 : transmit scale [1];
    shift : off-resonance, chemical shift included [Hz];  position : along the direction of slice selection
    [m], 0 where absent. All of shape (n_bins,).
    """

    t1: np.ndarray
    t2: np.ndarray
    adc: np.ndarray
    b1: np.ndarray
    shift: np.ndarray
    position: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        if self.position.size == 0:
            object.__setattr__(self, "position", np.zeros(np.shape(self.t1)))
        names = ("t1", "t2", "adc", "b1", "shift", "position")
        shapes = {name: np.shape(getattr(self, name)) for name in names}
        if len(set(shapes.values())) != 1 or len(shapes["t1"]) != 1:
            raise ValueError(f"all bin properties must be 1-D and equally long; got shapes {shapes}")
        if np.any(self.t2 > self.t1 * (1 + 1e-9)):
            worst = int(np.argmax(self.t2 - self.t1))
            raise ValueError(
                f"t2 must not exceed t1; got t2={self.t2[worst]:g} s, t1={self.t1[worst]:g} s "
                f"in bin {worst}. Check the tissue table."
            )

    @property
    def size(self) -> int:
        """Number of bins."""
        return int(self.t1.size)


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def _rotation(wx: float, wy: float, wz: float, h: float) -> tuple[float, float, float, float, float]:
    """Return axis, cosine and sine of the rotation by angular velocity w [rad/s] over h [s]."""
    w = math.sqrt(wx * wx + wy * wy + wz * wz)
    if w > 0.0:
        return wx / w, wy / w, wz / w, math.cos(w * h), math.sin(w * h)
    return 0.0, 0.0, 1.0, 1.0, 0.0


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def _advance(
    m: np.ndarray, nx: float, ny: float, nz: float, c: float, sn: float, e1: float, e2: float
) -> None:
    """Advance the columns m (4, 3) by one step: decay by e1 and e2, rotation, decay again.

    The last column is the response to thermal recovery.
    """
    for q in range(4):
        x, y, z = m[q, 0] * e2, m[q, 1] * e2, m[q, 2] * e1
        if q == 3:
            z += 1.0 - e1
        dot = (nx * x + ny * y + nz * z) * (1.0 - c)
        # Rodrigues rotation by +w h about n (right-handed in the conjugate system).
        x1 = x * c + (ny * z - nz * y) * sn + nx * dot
        y1 = y * c + (nz * x - nx * z) * sn + ny * dot
        z1 = z * c + (nx * y - ny * x) * sn + nz * dot
        m[q, 0], m[q, 1], m[q, 2] = x1 * e2, y1 * e2, z1 * e1
        if q == 3:
            m[q, 2] += 1.0 - e1


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def _component(v: np.ndarray, row: int) -> complex:
    """Return M+, M- or Mz (row 0, 1, 2) of a vector (x, y, z)."""
    if row == 2:
        return complex(v[2], 0.0)
    return complex(v[0], v[1] if row == 0 else -v[1])


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _pulse_maps(
    b1: np.ndarray, dt: np.ndarray, slope: np.ndarray, r1: np.ndarray, r2: np.ndarray, scale: np.ndarray,
    shift: np.ndarray, position: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Affine maps of one waveform for every bin: (bins, 3, 3) and (bins, 3), complex."""
    n_bins = r1.size
    matrices = np.empty((n_bins, 3, 3), np.complex128)
    offsets = np.empty((n_bins, 3), np.complex128)
    # Columns: unit magnetization along x, y, z, and the response to thermal recovery from zero.
    m = np.empty((4, 3))
    for i in range(n_bins):
        m[:] = 0.0
        m[0, 0] = m[1, 1] = m[2, 2] = 1.0
        last, e1, e2 = -1.0, 1.0, 1.0
        for s in range(b1.size):
            h = dt[s]
            if h != last:
                e1, e2, last = math.exp(-0.5 * h * r1[i]), math.exp(-0.5 * h * r2[i]), h
            wx = _TWO_PI * b1[s].real * scale[i]
            wy = _TWO_PI * b1[s].imag * scale[i]
            wz = _TWO_PI * (shift[i] + slope[s] * position[i])
            nx, ny, nz, c, sn = _rotation(wx, wy, wz, h)
            _advance(m, nx, ny, nz, c, sn, e1, e2)
        for row in range(3):
            # x = (M+ + M-)/2, y = (M+ - M-)/(2i)
            x, y = _component(m[0], row), _component(m[1], row)
            matrices[i, row, 0] = 0.5 * (x - 1j * y)
            matrices[i, row, 1] = 0.5 * (x + 1j * y)
            matrices[i, row, 2] = _component(m[2], row)
            offsets[i, row] = _component(m[3], row)
    return matrices, offsets


def pulse_maps(
    waveform: np.ndarray,
    steps: np.ndarray,
    bins: Bins,
    *,
    freq_offset: float = 0.0,
    center: float | None = None,
    gradient: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Affine map of one RF waveform for every bin.

    Parameters
    ----------
    waveform : complex array (n,)
        B1 [Hz], constant over each step, without the pulse's phase offset.
    steps : array (n,)
        Step lengths [s].
    bins : Bins
        Where to evaluate it.
    freq_offset : float
        Carrier offset [Hz]; its phase counts from ``center`` where that is given, else from the start of the
        pulse as in Pulseq.
    center : float, optional
        Time [s] from the start of the pulse at which it counts as played. The free precession of the bins
        before and after it, in their shift and in the gradient, is then left to the time that runs, and to
        the gradient moment that builds up, between the centres of pulses.
    gradient : array (n,), optional
        Gradient along the direction of the bins' positions during each step [Hz/m].

    Returns
    -------
    matrices : complex array (bins, 3, 3), acting on (M+, M-, Mz)
    offsets : complex array (bins, 3), times M0 = 1
    """
    waveform = np.ascontiguousarray(waveform, dtype=np.complex128)
    steps = np.ascontiguousarray(steps, dtype=np.float64)
    if waveform.shape != steps.shape:
        raise ValueError(f"waveform and steps must be equally long; got {waveform.shape} and {steps.shape}")
    slope = np.zeros(steps.size) if gradient is None else np.ascontiguousarray(gradient, dtype=np.float64)
    if freq_offset:
        middle = np.cumsum(steps) - 0.5 * steps - (center or 0.0)
        waveform = waveform * np.exp(2j * np.pi * freq_offset * middle)
    matrices, offsets = _pulse_maps(
        waveform, steps, slope, 1.0 / bins.t1, 1.0 / bins.t2, bins.b1, bins.shift, bins.position
    )
    if center is None:
        return matrices, offsets
    ends = np.cumsum(steps)
    early = np.clip(center - (ends - steps), 0.0, steps)
    turns = [bins.shift * t.sum() + bins.position * (slope @ t) for t in (early, steps - early)]
    before, after = (np.exp(-2j * np.pi * t) for t in turns)
    one = np.ones_like(before)
    rows, columns = (
        np.stack([after, after.conj(), one], axis=1),
        np.stack([before, before.conj(), one], axis=1),
    )
    return rows[:, :, None] * matrices * columns[:, None, :], rows * offsets


@dataclass(frozen=True, kw_only=True, eq=False)
class PulseShape:
    """One distinct RF waveform with the gradients played under it.

    b1 : (n,) [Hz], held over ``steps`` (n,) [s];  freq_offset : carrier [Hz];  center : from the start [s];
    gradient : (n, 3) along the logical axes [Hz/m].
    """

    b1: np.ndarray
    steps: np.ndarray
    freq_offset: float
    center: float
    gradient: np.ndarray

    @property
    def at_center(self) -> np.ndarray:
        """Gradient at the centre [Hz/m], (3,)."""
        i = int(np.searchsorted(np.cumsum(self.steps), self.center))
        return np.asarray(self.gradient[min(i, len(self.gradient) - 1)])

    @property
    def duration(self) -> float:
        """Length [s]."""
        return float(self.steps.sum())

    def refined(self, longest: float) -> PulseShape:
        """Shape with steps of at most ``longest`` [s]: relaxation is split from rotation in each."""
        parts = np.maximum(np.ceil(self.steps / longest - 1e-6), 1).astype(int)
        if parts.max() == 1:
            return self
        return PulseShape(
            b1=np.repeat(self.b1, parts), steps=np.repeat(self.steps / parts, parts),
            freq_offset=self.freq_offset, center=self.center,
            gradient=np.repeat(self.gradient, parts, axis=0),
        )  # fmt: skip

    def merged(self, most: int) -> PulseShape:
        """Shape of at most about ``most`` steps, neighbours averaged with the carrier's turn between them."""
        if self.steps.size <= most:
            return self
        length = self.duration / most
        kind = np.minimum(((np.cumsum(self.steps) - 0.5 * self.steps) / length).astype(int), most - 1)
        heads = np.flatnonzero(np.diff(kind, prepend=-1))
        steps = np.add.reduceat(self.steps, heads)
        middle = np.cumsum(self.steps) - 0.5 * self.steps
        around = (np.cumsum(steps) - 0.5 * steps)[np.cumsum(np.diff(kind, prepend=kind[0]) > 0)]
        turned = self.b1 * np.exp(2j * np.pi * self.freq_offset * (middle - around)) * self.steps
        gradient = np.add.reduceat(self.gradient * self.steps[:, None], heads, axis=0) / steps[:, None]
        return PulseShape(
            b1=np.add.reduceat(turned, heads) / steps, steps=steps, freq_offset=self.freq_offset,
            center=self.center, gradient=gradient,
        )  # fmt: skip


def _gradients_under(sequence: Sequence, block: int, at: np.ndarray) -> np.ndarray:
    """Gradients (n, 3) at times ``at`` of a block [Hz/m]."""
    columns = [
        np.zeros(at.size) if e is None else np.interp(at, e.times, e.values, left=0.0, right=0.0)
        for e in sequence.gradients(block)
    ]
    return np.stack(columns, axis=1)


def distinct_shapes(sequence: Sequence, f0: float) -> tuple[np.ndarray, np.ndarray, tuple[PulseShape, ...]]:
    """Return shape index and phase at the centre [rad] of every pulse (P,), and the distinct shapes."""
    blocks = sequence.rf_blocks
    index = np.zeros(blocks.size, np.int64)
    phases = np.zeros(blocks.size)
    shapes: list[PulseShape] = []
    of_content: dict[tuple[object, ...], int] = {}
    of_events: dict[tuple[int, ...], tuple[int, float]] = {}
    for p, block in enumerate(blocks):
        ids = tuple(int(getattr(sequence, name)[block]) for name in ("rf", "gx", "gy", "gz"))
        if ids not in of_events:
            event = sequence.rf_events[ids[0] - 1]
            steps = event.sample_widths
            middle = event.delay + np.cumsum(steps) - 0.5 * steps
            gradient = _gradients_under(sequence, int(block), middle)
            freq, center = event.total_freq_offset(f0), round(event.center - event.delay, 12)
            key = (
                event.b1.tobytes(), np.round(steps, 12).tobytes(), round(freq, 6), center,
                np.round(gradient, 3).tobytes(),
            )  # fmt: skip
            number = of_content.setdefault(key, len(shapes))
            if number == len(shapes):
                shapes.append(
                    PulseShape(b1=event.b1, steps=steps, freq_offset=freq, center=center, gradient=gradient)
                )
            of_events[ids] = number, event.total_phase_offset(f0) + 2 * np.pi * freq * center
        index[p], phases[p] = of_events[ids]
    return index, phases, tuple(shapes)

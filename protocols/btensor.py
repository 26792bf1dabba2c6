"""Diffusion weighting of a sequence: b-tensors from the gradients that are really played.

Along the direct echo path the dephasing is ``q(t) = 2 pi int gamma-bar G dt`` [rad/m]: it starts at zero
at the centre of each excitation and changes its sign at the centre of each refocusing pulse. Then
``B = int q q^T dt`` and a tensor D attenuates by ``exp(-B : D)`` (Mattiello, Basser and LeBihan 1997,
doi:10.1002/mrm.1910370226). Every gradient counts: diffusion lobes, slice selection, crushers,
prephasers and the readout itself. Gradients are piecewise linear, q is piecewise quadratic, and the
integral below is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .sequence import FloatArray, GradEvent, Sequence, gradient_integral, infer_use

Axes = tuple[GradEvent | None, GradEvent | None, GradEvent | None]
_TIME_TOLERANCE = 1e-12  # s; knots closer than this are one


@dataclass(frozen=True, kw_only=True, eq=False)
class Stretch:
    """Gradients from time 0 to `length`, reduced to what a b-tensor needs.

    With k(t) = k0 + p(t) and p(0) = 0, a stretch adds
    ``int k k^T = k0 k0^T length + k0 first^T + first k0^T + second``.

    Attributes
    ----------
    length : float
        [s].
    moment : ndarray of float, shape (3,)
        p at the end [1/m].
    first : ndarray of float, shape (3,)
        int p dt [s/m].
    second : ndarray of float, shape (3, 3)
        int p p^T dt [s/m^2].
    """

    length: float
    moment: FloatArray
    first: FloatArray
    second: FloatArray

    def added(self, start: FloatArray) -> FloatArray:
        """Integral of k k^T [s/m^2] over the stretch, for k = `start` [1/m] at its beginning."""
        cross = np.outer(start, self.first)
        return np.asarray(np.outer(start, start) * self.length + cross + cross.T + self.second)


def stretch(axes: Axes, begin: float, end: float) -> Stretch:
    """Integrate the gradients of a block between two times [s] from its start.

    Between knots p = b u + c u^2; the products integrate to ``b b^T h^3 / 3 + ...`` without error.
    """
    knots = [np.array([begin, end])]
    for event in axes:
        if event is not None:
            knots.append(event.times[(event.times > begin) & (event.times < end)])
    t = np.unique(np.concatenate(knots))
    t = t[np.concatenate(([True], np.diff(t) > _TIME_TOLERANCE))]
    left, right = (np.stack([_value(e, t[s], side) for e in axes], axis=1) for s, side in _SIDES)
    h = np.diff(t)[:, None]
    c = 0.5 * (right - left) / np.where(h > 0.0, h, 1.0)
    steps = left * h + c * h**2
    a = np.concatenate((np.zeros((1, 3)), np.cumsum(steps, axis=0)))
    moment, a = a[-1], a[:-1]
    first = np.sum(a * h + left * h**2 / 2.0 + c * h**3 / 3.0, axis=0)
    second = (
        _outer(a * h, a)
        + _both(a * h**2 / 2.0, left)
        + _both(a * h**3 / 3.0, c)
        + _outer(left * h**3 / 3.0, left)
        + _both(left * h**4 / 4.0, c)
        + _outer(c * h**5 / 5.0, c)
    )
    return Stretch(length=end - begin, moment=moment, first=first, second=second)


_SIDES = ((slice(None, -1), "right"), (slice(1, None), "left"))


def _value(event: GradEvent | None, at: FloatArray, side: str) -> FloatArray:
    """Gradient just after ('right') or just before ('left') the times `at` [Hz/m]."""
    if event is None:
        return np.zeros(at.size)
    nudge = _TIME_TOLERANCE if side == "right" else -_TIME_TOLERANCE
    return np.asarray(np.interp(at + nudge, event.times, event.values, left=0.0, right=0.0))


def _outer(a: FloatArray, b: FloatArray) -> FloatArray:
    return np.asarray(np.einsum("ni,nj->ij", a, b))


def _both(a: FloatArray, b: FloatArray) -> FloatArray:
    product = _outer(a, b)
    return product + product.T


def b_tensors(sequence: Sequence) -> NDArray[np.float64]:
    """Diffusion weighting of every readout along its direct echo path.

    Parameters
    ----------
    sequence : Sequence
        Any sequence; pulses of old files are classified by `infer_use`.

    Returns
    -------
    ndarray of float, shape (n_adc, 3, 3)
        B [s/m^2] in logical axes (x, y, z), at the sample of each readout that lies nearest to the
        k-space centre; zeros for readouts before the first excitation. 1 s/mm^2 = 1e6 s/m^2.

    Notes
    -----
    Pulses act at their centres. Excitations start a path, refocusing pulses turn it, other pulses
    (inversion, saturation, preparation) leave it alone; stimulated echoes are not followed.
    """
    walker = _Walker(sequence)
    return np.array([walker.step(block) for block in range(sequence.n_blocks)])[sequence.adc_blocks]


def volume_b_tensors(sequence: Sequence) -> NDArray[np.float64]:
    """Diffusion weighting of every volume (label REP), at its sample nearest to the k-space centre.

    Returns
    -------
    ndarray of float, shape (n_volumes, 3, 3)
        B [s/m^2] in logical axes; noise, navigator and pure reference readouts do not count. A volume
        without imaging readouts is NaN.
    """
    walker = _Walker(sequence)
    tensors = np.array([walker.step(block) for block in range(sequence.n_blocks)])[sequence.adc_blocks]
    distance = np.array(walker.distance)
    volume = sequence.label("REP")
    imaging = (sequence.label("NOISE") == 0) & (sequence.label("NAV") == 0)
    imaging &= (sequence.label("REF") == 0) | (sequence.label("IMA") == 1)
    result = np.full((int(volume.max(initial=-1)) + 1, 3, 3), np.nan)
    for number in np.unique(volume[imaging]).tolist():
        mine = np.flatnonzero(imaging & (volume == number))
        result[number] = tensors[mine[np.argmin(distance[mine])]]
    return result


class _Walker:
    """Walks through the blocks with the dephasing and the tensor of the direct path."""

    def __init__(self, sequence: Sequence) -> None:
        self.sequence = sequence
        self.k, self.total = np.zeros(3), np.zeros((3, 3))
        self.excited = False
        self.distance: list[float] = []
        self._stretches: dict[tuple[int, int, int, float, float], Stretch] = {}
        self._offsets: dict[tuple[int, int, int, int], FloatArray] = {}

    def step(self, block: int) -> FloatArray:
        """Pass one block; return the tensor at its readout's centre (zeros without a readout)."""
        sequence, begin, result = self.sequence, 0.0, np.zeros((3, 3))
        pulse = sequence.rf_event(block)
        if pulse is not None:
            use = infer_use(pulse)
            if use in ("excitation", "refocusing"):
                self._pass(block, 0.0, pulse.center)
                self._turn(use)
                begin = pulse.center
        if sequence.adc[block]:
            at, distance = self._center(block, begin)
            self.distance.append(distance)
            if self.excited:
                piece = self._stretch(block, begin, max(begin, at))
                result = 4.0 * np.pi**2 * (self.total + piece.added(self.k))
        self._pass(block, begin, float(sequence.duration[block]))
        return result

    def _turn(self, use: str) -> None:
        if use == "excitation":
            self.k, self.total, self.excited = np.zeros(3), np.zeros((3, 3)), True
        else:
            self.k = -self.k

    def _pass(self, block: int, begin: float, end: float) -> None:
        piece = self._stretch(block, begin, end)
        self.total = self.total + piece.added(self.k)
        self.k = self.k + piece.moment

    def _stretch(self, block: int, begin: float, end: float) -> Stretch:
        numbers = self._numbers(block)
        key = (*numbers, begin, end)
        if key not in self._stretches:
            self._stretches[key] = stretch(self.sequence.gradients(block), begin, end)
        return self._stretches[key]

    def _numbers(self, block: int) -> tuple[int, int, int]:
        sequence = self.sequence
        return int(sequence.gx[block]), int(sequence.gy[block]), int(sequence.gz[block])

    def _center(self, block: int, begin: float) -> tuple[float, float]:
        """Time [s] of the sample nearest to the k-space centre, and its distance from it [1/m]."""
        sequence = self.sequence
        event = sequence.adc_event(block)
        assert event is not None
        key = (*self._numbers(block), int(sequence.adc[block]))
        if key not in self._offsets:
            columns = [
                np.zeros(event.num) if g is None else gradient_integral(g, event.sample_times)
                for g in sequence.gradients(block)
            ]
            self._offsets[key] = np.stack(columns, axis=1)
        start = self.k - self._moment_before(block, begin)
        away = np.linalg.norm(start + self._offsets[key], axis=1)
        sample = int(np.argmin(away))
        return float(event.sample_times[sample]), float(away[sample])

    def _moment_before(self, block: int, begin: float) -> FloatArray:
        return self._stretch(block, 0.0, begin).moment if begin > 0.0 else np.zeros(3)

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
_CHUNK = 200_000  # samples looked at together


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
    return _readout_tensors(sequence)[0]


def volume_b_tensors(sequence: Sequence) -> NDArray[np.float64]:
    """Diffusion weighting of every volume (label REP), at its sample nearest to the k-space centre.

    Returns
    -------
    ndarray of float, shape (n_volumes, 3, 3)
        B [s/m^2] in logical axes; noise, navigator and pure reference readouts do not count. A volume
        without imaging readouts is NaN.
    """
    tensors, distance = _readout_tensors(sequence)
    volume = sequence.label("REP")
    imaging = (sequence.label("NOISE") == 0) & (sequence.label("NAV") == 0)
    imaging &= (sequence.label("REF") == 0) | (sequence.label("IMA") == 1)
    result = np.full((int(volume.max(initial=-1)) + 1, 3, 3), np.nan)
    for number in np.unique(volume[imaging]).tolist():
        mine = np.flatnonzero(imaging & (volume == number))
        result[number] = tensors[mine[np.argmin(distance[mine])]]
    return result


@dataclass(frozen=True, kw_only=True, eq=False)
class _Path:
    """The sequence cut at the centres of excitation and refocusing pulses, piece by piece.

    Attributes
    ----------
    block, begin : ndarray, shape (n,)
        Block of each piece and where it starts in it [s].
    sign : ndarray of float, shape (n,)
        Product of the turns since the excitation.
    start : ndarray of float, shape (n, 3)
        k at the start [1/m], times `sign`: moments then add up across refocusing pulses.
    total : ndarray of float, shape (n, 3, 3)
        int k k^T dt from the excitation to the start [s/m^2].
    excited : ndarray of bool, shape (n,)
        False in front of the first excitation.
    """

    block: NDArray[np.intp]
    begin: FloatArray
    sign: FloatArray
    start: FloatArray
    total: FloatArray
    excited: NDArray[np.bool_]


def _path(sequence: Sequence) -> _Path:
    """Follow the direct path through the whole sequence by running sums."""
    uses = np.array(["", *(infer_use(event) for event in sequence.rf_events)])[sequence.rf]
    centers = np.array([0.0, *(event.center for event in sequence.rf_events)])[sequence.rf]
    turns = np.isin(uses, ("excitation", "refocusing"))
    count = 1 + turns.astype(np.intp)
    block = np.repeat(np.arange(sequence.n_blocks), count)
    second = np.zeros(block.size, dtype=bool)
    second[np.cumsum(count)[turns] - 1] = True  # the piece behind the centre of a pulse
    begin = np.where(second, centers[block], 0.0)
    end = np.where(turns[block] & ~second, centers[block], sequence.duration[block])
    pieces, which = _stretches(sequence, block, begin, end)
    excites = second & (uses[block] == "excitation")
    shot = np.cumsum(excites)
    turned = np.cumsum(second & (uses[block] == "refocusing"))
    first = np.flatnonzero(np.concatenate(([True], excites[1:])))  # first piece of each path
    path = np.cumsum(np.isin(np.arange(block.size), first)) - 1
    sign = 1.0 - 2.0 * ((turned - turned[first][path]) % 2)
    length, moment, lever, square = (
        np.array([getattr(piece, name) for piece in pieces])[which]
        for name in ("length", "moment", "first", "second")
    )
    start = _running(sign[:, None] * moment, first, path)
    cross = sign[:, None, None] * start[:, :, None] * lever[:, None, :]
    added = start[:, :, None] * start[:, None, :] * length[:, None, None] + cross
    added += cross.transpose(0, 2, 1) + square
    return _Path(
        block=block,
        begin=begin,
        sign=sign,
        start=start,
        total=_running(added, first, path),
        excited=shot > 0,
    )


def _running(values: FloatArray, first: NDArray[np.intp], path: NDArray[np.intp]) -> FloatArray:
    """Sum of the values in front of each entry, anew from each entry in `first`."""
    before = np.cumsum(values, axis=0) - values
    return np.asarray(before - before[first][path])


def _stretches(
    sequence: Sequence, block: NDArray[np.intp], begin: FloatArray, end: FloatArray
) -> tuple[list[Stretch], NDArray[np.intp]]:
    """Integrate every distinct piece once: the pieces, and which of them each row is."""
    columns: list[NDArray[np.float64]] = [
        np.asarray(column, dtype=np.float64)
        for column in (sequence.gx[block], sequence.gy[block], sequence.gz[block], begin, end)
    ]
    rows, example, which = np.unique(
        np.stack(columns, axis=1), axis=0, return_index=True, return_inverse=True
    )
    pieces = [
        stretch(sequence.gradients(int(block[n])), float(row[3]), float(row[4]))
        for row, n in zip(rows, example, strict=True)
    ]
    return pieces, which.reshape(-1)


def _readout_tensors(sequence: Sequence) -> tuple[NDArray[np.float64], FloatArray]:
    """B [s/m^2] of each readout at its sample nearest to the k-space centre, and that distance [1/m]."""
    path, adc = _path(sequence), sequence.adc_blocks
    piece = np.searchsorted(path.block, adc, side="right") - 1  # the last one of each block
    numbers = np.stack([getattr(sequence, name)[adc] for name in ("gx", "gy", "gz", "adc")], axis=1)
    kinds, which = np.unique(np.column_stack((numbers, path.begin[piece])), axis=0, return_inverse=True)
    tensors, distance = np.zeros((adc.size, 3, 3)), np.zeros(adc.size)
    for kind in range(len(kinds)):
        rows = np.flatnonzero(which.reshape(-1) == kind)
        here = piece[rows]
        k = path.sign[here, None] * path.start[here]
        block, begin = int(adc[rows[0]]), float(kinds[kind, 4])
        times, offsets = _sample_offsets(sequence, block, begin)
        sample, distance[rows] = _nearest(k, offsets)
        for number in np.unique(sample).tolist():
            same = sample == number
            part = stretch(sequence.gradients(block), begin, max(begin, float(times[number])))
            added = path.total[here[same]] + np.array([part.added(start) for start in k[same]])
            tensors[rows[same]] = added * path.excited[here[same], None, None]
    return 4.0 * np.pi**2 * tensors, distance


def _sample_offsets(sequence: Sequence, block: int, begin: float) -> tuple[FloatArray, FloatArray]:
    """Sample times of a readout [s] and the moments since `begin`, shape (num, 3)."""
    event = sequence.adc_event(block)
    assert event is not None
    at = event.sample_times
    columns = [
        np.zeros(event.num) if g is None else gradient_integral(g, at) - gradient_integral(g, begin)
        for g in sequence.gradients(block)
    ]
    return at, np.stack(columns, axis=1)


def _nearest(k: FloatArray, offsets: FloatArray) -> tuple[NDArray[np.intp], FloatArray]:
    """Sample of each row nearest to the k-space centre, and its distance [1/m]."""
    sample, distance = np.empty(len(k), dtype=np.intp), np.empty(len(k))
    step = max(1, _CHUNK // len(offsets))
    for low in range(0, len(k), step):
        part = slice(low, low + step)
        away = np.linalg.norm(k[part, None, :] + offsets, axis=2)
        sample[part] = np.argmin(away, axis=1)
        distance[part] = np.min(away, axis=1)
    return sample, distance
